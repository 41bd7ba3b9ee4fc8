// (Runtime, Change) → Runtime: the only place where a call, a timer or the client changes the runtime world.
// Every check of firewalld is here, in its order and with its codes; whether the result can be enforced says resolve().
import { unreachable } from '../errors.ts'
import type { Change, Reduced } from './change.ts'
import { addInterface, addSource, changeInterface, changeSource, removeInterface, removeSource } from './reduce/binding.ts'
import { changeDirect } from './reduce/direct.ts'
import { addEntry, removeEntry, setEntries } from './reduce/ipset.ts'
import { changeWhitelist, setLockdown } from './reduce/lockdown.ts'
import { setDefaultZone, setLogDenied, setPanic } from './reduce/main.ts'
import { expirePolicyFlag, expirePolicyItem, setPolicy } from './reduce/policy.ts'
import { addFlag, addItem, expireItem, removeFlag, removeItem, setZone } from './reduce/zone.ts'
import type { Runtime } from './settings.ts'

/** Throws DerpanetError as firewalld 2.5 would answer; then nothing changed. */
export function reduceRuntime(runtime: Runtime, change: Change): Reduced<Runtime> {
  switch (change.kind) {
    case 'zone-item-add': return addItem(runtime, change)
    case 'zone-item-remove': return removeItem(runtime, change)
    case 'zone-item-expire': return expireItem(runtime, change)
    case 'zone-flag-add': return addFlag(runtime, change)
    case 'zone-flag-remove':
    case 'zone-flag-expire': return removeFlag(runtime, change)
    case 'interface-add': return addInterface(runtime, change)
    case 'interface-change': return changeInterface(runtime, change)
    case 'interface-remove': return removeInterface(runtime, change)
    case 'source-add': return addSource(runtime, change)
    case 'source-change': return changeSource(runtime, change)
    case 'source-remove': return removeSource(runtime, change)
    case 'zone-settings': return setZone(runtime, change)
    case 'ipset-entry-add': return addEntry(runtime, change)
    case 'ipset-entry-remove': return removeEntry(runtime, change)
    case 'ipset-entries-set': return setEntries(runtime, change)
    case 'default-zone-set': return setDefaultZone(runtime, change)
    case 'log-denied-set': return setLogDenied(runtime, change)
    case 'panic-set': return setPanic(runtime, change)
    case 'policy-settings': return setPolicy(runtime, change)
    case 'policy-item-expire': return expirePolicyItem(runtime, change)
    case 'policy-flag-expire': return expirePolicyFlag(runtime, change)
    case 'lockdown-set': return setLockdown(runtime, change)
    case 'lockdown-item-add':
    case 'lockdown-item-remove': return changeWhitelist(runtime, change)
    case 'direct-chain-add':
    case 'direct-chain-remove':
    case 'direct-rule-add':
    case 'direct-rule-remove':
    case 'direct-rules-remove':
    case 'direct-passthrough-add':
    case 'direct-passthrough-remove':
    case 'direct-passthroughs-clear': return changeDirect(runtime, change)
    default: return unreachable(change)
  }
}
