// Lockdown as firewalld 1.3 has it: whether it is on, and who may change the firewall then. Firewalld 2 accepts the calls
// and does nothing; its face does not come here.
import { DerpanetError, printable } from '../../errors.ts'
import type { Change, Reduced } from '../change.ts'
import type { LockdownSettings } from '../direct.ts'
import { isLockedDown, lockdownOf } from '../query.ts'
import type { Runtime } from '../settings.ts'
import { reduced, withSettings } from './world.ts'

type Of<Kind extends Change['kind']> = Extract<Change, { kind: Kind }>

/** Throws ALREADY_ENABLED, NOT_ENABLED. */
export function setLockdown(runtime: Runtime, { on }: Of<'lockdown-set'>): Reduced<Runtime> {
  if (isLockedDown(runtime.settings) === on) {
    throw on ? new DerpanetError('ALREADY_ENABLED', 'enable_lockdown()') : new DerpanetError('NOT_ENABLED', 'disable_lockdown()')
  }
  const { main } = runtime.settings
  return reduced(withSettings(runtime, { main: { ...main, value: { ...main.value, lockdown: on } } }), '', [{ kind: on ? 'lockdown-enabled' : 'lockdown-disabled' }])
}

const nouns: Readonly<Record<keyof LockdownSettings, string>> = { commands: 'command', contexts: 'context', users: 'user', uids: 'uid' }

/** One item more or less. The item is checked already. Throws ALREADY_ENABLED, NOT_ENABLED. */
export function reduceWhitelist(list: LockdownSettings, verb: 'add' | 'remove', field: keyof LockdownSettings, item: string | number): LockdownSettings {
  const items: readonly (string | number)[] = list[field]
  if (verb === 'add') {
    if (items.includes(item)) throw new DerpanetError('ALREADY_ENABLED', `${nouns[field]} '${printable(String(item))}' already in whitelist`)
    return { ...list, [field]: [...items, item] }
  }
  if (!items.includes(item)) throw new DerpanetError('NOT_ENABLED', `${nouns[field]} '${printable(String(item))}' not in whitelist`)
  return { ...list, [field]: items.filter((other) => other !== item) }
}

export function changeWhitelist(runtime: Runtime, change: Of<'lockdown-item-add' | 'lockdown-item-remove'>): Reduced<Runtime> {
  const { field, item } = change
  const verb = change.kind === 'lockdown-item-add' ? 'add' : 'remove'
  const value = reduceWhitelist(lockdownOf(runtime.settings), verb, field, item)
  const entry = runtime.settings.lockdown ?? { layer: 'runtime' as const, positions: new Map() }
  return reduced(withSettings(runtime, { lockdown: { ...entry, value } }), '', [{ kind: `lockdown-item-${verb === 'add' ? 'added' : 'removed'}`, field, item }])
}
