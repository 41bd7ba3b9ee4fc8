// Policies at runtime: firewalld changes them only as a whole.
import { DerpanetError, printable } from '../../errors.ts'
import type { Change, Expiry, PolicyItemField, Reduced } from '../change.ts'
import { checkEgress, policyMistakes, symbolicZones } from '../policy.ts'
import { policyNamed } from '../query.ts'
import type { NamedPolicy } from '../query.ts'
import { Lookup } from '../resolve/lookup.ts'
import type { PolicySettings, Runtime } from '../settings.ts'
import { itemRule } from './items.ts'
import { replaceLists } from './many.ts'
import { checkTimeout, reduced, refuseInPanic, withSettings } from './world.ts'

type Of<Kind extends Change['kind']> = Extract<Change, { kind: Kind }>

const fixed: readonly (keyof PolicySettings)[] = ['version', 'short', 'description', 'target', 'priority', 'disable']
const zoneFields = ['ingressZones', 'egressZones'] as const

function itemKey(policy: string, field: string, text: string): string {
  return `policy ${policy} ${field}=${text}`
}

function flagKey(policy: string, field: string): string {
  return `policy ${policy} ${field}`
}

function withPolicy(runtime: Runtime, { name, entry }: NamedPolicy, change: Partial<PolicySettings>): Runtime {
  const policies = new Map(runtime.settings.policies)
  policies.set(name, { ...entry, value: { ...entry.value, ...change } })
  return withSettings(runtime, { policies })
}

/**
 * Keys that are absent stay. Throws INVALID_POLICY, INVALID_VALUE, INVALID_SETTING for what the runtime cannot change,
 * INVALID_ZONE, INVALID_FORWARD, what the items throw, and last PANIC_MODE.
 */
export function setPolicy(runtime: Runtime, change: Of<'policy-settings'>): Reduced<Runtime> {
  const { settings, timeoutSec, asWritten } = change
  const policy = policyNamed(runtime.settings, change.policy)
  const { name, entry } = policy
  checkTimeout(timeoutSec)
  const before = entry.value
  for (const key of fixed) {
    if (settings[key] !== undefined && settings[key] !== before[key]) throw new DerpanetError('INVALID_SETTING', `${key} cannot be changed at runtime`)
  }
  const { lists, expiries, cancelled } = replaceLists(before, settings, timeoutSec, new Lookup(runtime.settings), {
    itemKey: (field, text) => itemKey(name, field, text),
    flagKey: (field) => flagKey(name, field),
    expireItem: (field, item) => ({ kind: 'policy-item-expire', policy: name, field, item }),
  })
  const timers: { readonly expiries: Expiry[]; readonly cancelled: string[] } = { expiries: [...expiries], cancelled: [...cancelled] }
  const next: PolicySettings = { ...before, ...settings, ...lists }
  for (const field of zoneFields) {
    for (const zone of settings[field] ?? []) {
      if (!symbolicZones.includes(zone) && !runtime.settings.zones.has(zone)) throw new DerpanetError('INVALID_ZONE', printable(zone))
      if (timeoutSec > 0 && !before[field].includes(zone)) {
        timers.expiries.push({ key: itemKey(name, field, zone), timeoutSec, change: { kind: 'policy-item-expire', policy: name, field, item: [zone] } })
      }
    }
  }
  if (settings.masquerade !== undefined && settings.masquerade !== before.masquerade) {
    const key = flagKey(name, 'masquerade')
    if (timeoutSec > 0 && settings.masquerade) timers.expiries.push({ key, timeoutSec, change: { kind: 'policy-flag-expire', policy: name, field: 'masquerade' } })
    else timers.cancelled.push(key)
  }
  const [mistake] = policyMistakes(next)
  if (mistake !== undefined) throw mistake.error
  checkEgress(name, next, runtime.settings.zones)
  refuseInPanic(runtime)
  return reduced(
    withPolicy(runtime, policy, next), name,
    [{ kind: 'policy-updated', policy: name, settings, ...(asWritten === undefined ? {} : { asWritten }) }], timers,
  )
}

/** Throws NOT_ENABLED when nothing of it is left. */
export function expirePolicyItem(runtime: Runtime, change: Of<'policy-item-expire'>): Reduced<Runtime> {
  const policy = policyNamed(runtime.settings, change.policy)
  const next = withoutItem(policy.entry.value, change.field, change.item, runtime)
  if (next === policy.entry.value[change.field]) throw new DerpanetError('NOT_ENABLED', `'${printable(change.item.join(':'))}' not in '${policy.name}'`)
  return whole(withPolicy(runtime, policy, { [change.field]: next }), policy.name)
}

function withoutItem(policy: PolicySettings, field: PolicyItemField, item: readonly string[], runtime: Runtime): readonly unknown[] {
  if (field === 'ingressZones' || field === 'egressZones') {
    const [zone = ''] = item
    return policy[field].includes(zone) ? policy[field].filter((other) => other !== zone) : policy[field]
  }
  const rule = itemRule(field)
  const value = rule.parseRemoval(item, new Lookup(runtime.settings))
  return value === null ? policy[field] : rule.remove(policy[field], value)
}

/** Throws NOT_ENABLED. */
export function expirePolicyFlag(runtime: Runtime, change: Of<'policy-flag-expire'>): Reduced<Runtime> {
  const policy = policyNamed(runtime.settings, change.policy)
  if (!policy.entry.value[change.field]) throw new DerpanetError('NOT_ENABLED', `${change.field} not enabled in '${policy.name}'`)
  return whole(withPolicy(runtime, policy, { [change.field]: false }), policy.name)
}

function whole(world: Runtime, name: string): Reduced<Runtime> {
  return reduced(world, name, [{ kind: 'policy-updated', policy: name, settings: policyNamed(world.settings, name).entry.value }])
}
