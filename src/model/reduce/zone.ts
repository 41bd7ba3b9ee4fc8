// Changes of one zone: items, flags, many settings at once.
import { DerpanetError, printable } from '../../errors.ts'
import type { Change, Expiry, Reduced, ZoneFlagField, ZoneItemField } from '../change.ts'
import { checkInterfaceName } from '../interface-name.ts'
import { checkFirstInterface } from '../policy.ts'
import { zoneNamed, zoneOfInterface } from '../query.ts'
import type { NamedZone } from '../query.ts'
import { Lookup } from '../resolve/lookup.ts'
import type { Runtime, ZoneSettings } from '../settings.ts'
import { otherOwner, parseSource } from './binding.ts'
import { itemRule } from './items.ts'
import { replaceLists } from './many.ts'
import { checkTimeout, openZone, reduced, refuseInPanic, withZone } from './world.ts'

type Of<Kind extends Change['kind']> = Extract<Change, { kind: Kind }>

/** Removing a thing and adding it again without a time both void its timer. */
function itemKey(zone: string, field: ZoneItemField, text: string): string {
  return `zone ${zone} ${field}=${text}`
}

function flagKey(zone: string, field: ZoneFlagField): string {
  return `zone ${zone} ${field}`
}

/** `field=item` of what `before` has and `after` has not. Both in the same order, and nearly the same. */
function goneFrom(field: ZoneItemField, before: readonly unknown[], after: readonly unknown[]): readonly string[] {
  const { text } = itemRule(field)
  const gone: unknown[] = []
  let at = 0
  for (const item of before) {
    if (after[at] === item) at++
    else gone.push(item)
  }
  const came = new Set(after.slice(at).map(text))
  return gone.map(text).filter((one) => !came.has(one)).map((one) => `${field}=${one}`)
}

/** Throws what the field's item throws, and ALREADY_ENABLED. */
export function addItem(runtime: Runtime, change: Of<'zone-item-add'>): Reduced<Runtime> {
  const { field, item, timeoutSec } = change
  const zone = openZone(runtime, change.zone, timeoutSec)
  const rule = itemRule(field)
  const value = rule.parse(item, new Lookup(runtime.settings))
  const list: readonly unknown[] = zone.entry.value[field]
  if (rule.has(list, value)) throw new DerpanetError('ALREADY_ENABLED', `'${rule.shown(item)}' already in '${zone.name}'`)
  const next = rule.add(list, value)
  const key = itemKey(zone.name, field, rule.text(value))
  const expiry: Expiry = { key, timeoutSec, change: { kind: 'zone-item-expire', zone: zone.name, field, item } }
  return reduced(
    withZone(runtime, zone, { [field]: next }, {}, goneFrom(field, list, next)), zone.name,
    [{ kind: 'zone-item-added', zone: zone.name, field, item, timeoutSec }],
    timeoutSec > 0 ? { expiries: [expiry] } : { cancelled: [key] },
  )
}

/** Throws NOT_ENABLED unless all of the item is there. */
export function removeItem(runtime: Runtime, change: Of<'zone-item-remove'>): Reduced<Runtime> {
  const { field, item } = change
  const zone = openZone(runtime, change.zone)
  const rule = itemRule(field)
  const value = rule.parseRemoval(item, new Lookup(runtime.settings))
  const list: readonly unknown[] = zone.entry.value[field]
  if (value === null || !rule.has(list, value)) throw new DerpanetError('NOT_ENABLED', `'${rule.shown(item)}' not in '${zone.name}'`)
  return withoutItem(runtime, zone, field, item, value)
}

/** What a caller took out of a timed range meanwhile is gone already; the rest goes now. Throws NOT_ENABLED for nothing left. */
export function expireItem(runtime: Runtime, change: Of<'zone-item-expire'>): Reduced<Runtime> {
  const { field, item } = change
  const zone = zoneNamed(runtime.settings, change.zone)
  const rule = itemRule(field)
  const value = rule.parseRemoval(item, new Lookup(runtime.settings))
  const list: readonly unknown[] = zone.entry.value[field]
  if (value === null || rule.remove(list, value) === list) throw new DerpanetError('NOT_ENABLED', `'${rule.shown(item)}' not in '${zone.name}'`)
  return bySettings(withoutItem(runtime, zone, field, item, value), change)
}

/** What came with many settings at once is told by the whole zone. */
function bySettings(gone: Reduced<Runtime>, change: Of<'zone-item-expire' | 'zone-flag-remove' | 'zone-flag-expire'>): Reduced<Runtime> {
  if (change.kind === 'zone-flag-remove' || change.bySettings !== true) return gone
  return { ...gone, events: [{ kind: 'zone-updated', zone: gone.name, settings: zoneNamed(gone.world.settings, gone.name).entry.value }] }
}

function withoutItem(runtime: Runtime, zone: NamedZone, field: ZoneItemField, item: readonly string[], value: unknown): Reduced<Runtime> {
  const rule = itemRule(field)
  const list: readonly unknown[] = zone.entry.value[field]
  const next = rule.remove(zone.entry.value[field], value)
  return reduced(
    withZone(runtime, zone, { [field]: next }, {}, goneFrom(field, list, next)), zone.name,
    [{ kind: 'zone-item-removed', zone: zone.name, field, item }],
    { cancelled: [itemKey(zone.name, field, rule.text(value))] },
  )
}

const flagWords: Readonly<Record<ZoneFlagField, string>> = {
  masquerade: 'masquerade', icmpBlockInversion: 'icmp-block-inversion', forward: 'forward',
}

/** Throws ALREADY_ENABLED. */
export function addFlag(runtime: Runtime, change: Of<'zone-flag-add'>): Reduced<Runtime> {
  const { field, timeoutSec } = change
  const zone = openZone(runtime, change.zone, timeoutSec)
  if (zone.entry.value[field]) throw new DerpanetError('ALREADY_ENABLED', `${flagWords[field]} already enabled in '${zone.name}'`)
  const key = flagKey(zone.name, field)
  const expiry: Expiry = { key, timeoutSec, change: { kind: 'zone-flag-expire', zone: zone.name, field } }
  return reduced(
    withZone(runtime, zone, { [field]: true }), zone.name, [{ kind: 'zone-flag-added', zone: zone.name, field, timeoutSec }],
    timeoutSec > 0 ? { expiries: [expiry] } : { cancelled: [key] },
  )
}

/** Throws NOT_ENABLED. */
export function removeFlag(runtime: Runtime, change: Of<'zone-flag-remove' | 'zone-flag-expire'>): Reduced<Runtime> {
  const { field } = change
  const zone = change.kind === 'zone-flag-expire' ? zoneNamed(runtime.settings, change.zone) : openZone(runtime, change.zone)
  if (!zone.entry.value[field]) throw new DerpanetError('NOT_ENABLED', `${flagWords[field]} not enabled in '${zone.name}'`)
  return bySettings(reduced(
    withZone(runtime, zone, { [field]: false }), zone.name, [{ kind: 'zone-flag-removed', zone: zone.name, field }],
    { cancelled: [flagKey(zone.name, field)] },
  ), change)
}

const fixed: readonly (keyof ZoneSettings)[] = ['version', 'short', 'description', 'target', 'ingressPriority', 'egressPriority']

/**
 * Many settings of a zone at once; keys that are absent stay. With a time, what the call added goes when it is over (what it
 * took away does not come back, as in firewalld 2.5).
 * Throws INVALID_SETTING for what the runtime cannot change, INVALID_SERVICE, INVALID_ICMPTYPE, INVALID_INTERFACE,
 * INVALID_ADDR, and last PANIC_MODE.
 */
export function setZone(runtime: Runtime, change: Of<'zone-settings'>): Reduced<Runtime> {
  const { settings, timeoutSec, asWritten } = change
  const zone = zoneNamed(runtime.settings, change.zone)
  checkTimeout(timeoutSec)
  const before = zone.entry.value
  for (const key of fixed) {
    if (settings[key] !== undefined && settings[key] !== before[key]) {
      throw new DerpanetError('INVALID_SETTING', `${key} cannot be changed at runtime`)
    }
  }
  const replaced = replaceLists(before, settings, timeoutSec, new Lookup(runtime.settings), {
    itemKey: (field, text) => itemKey(zone.name, field as ZoneItemField, text),
    flagKey: (field) => flagKey(zone.name, field as ZoneFlagField),
    expireItem: (field, item) => ({ kind: 'zone-item-expire', zone: zone.name, field, item, bySettings: true }),
  })
  const next: Record<string, unknown> = { ...settings, ...replaced.lists }
  const keys: Record<string, ReadonlySet<string>> = { ...replaced.keys }
  const expiries: Expiry[] = [...replaced.expiries]
  const cancelled: string[] = [...replaced.cancelled]
  for (const field of ['masquerade', 'icmpBlockInversion', 'forward'] as const) {
    if (settings[field] === undefined || settings[field] === before[field]) continue
    const key = flagKey(zone.name, field)
    if (timeoutSec > 0 && settings[field]) expiries.push({ key, timeoutSec, change: { kind: 'zone-flag-expire', zone: zone.name, field, bySettings: true } })
    else cancelled.push(key)
  }
  if (settings.interfaces !== undefined) {
    next['interfaces'] = [...new Set(settings.interfaces)]
    keys['interfaces'] = new Set(settings.interfaces)
    settings.interfaces.forEach((name) => checkInterface(runtime, zone.name, name))
    checkFirstInterface(zone.name, settings.interfaces, runtime.settings)
  }
  if (settings.sources !== undefined) {
    const sources = settings.sources.map((text) => checkSource(runtime, zone.name, text))
    next['sources'] = [...new Set(sources)]
    keys['sources'] = new Set(sources)
  }
  refuseInPanic(runtime)
  return reduced(
    withZone(runtime, zone, next as Partial<ZoneSettings>, keys), zone.name,
    [{ kind: 'zone-updated', zone: zone.name, settings, ...(asWritten === undefined ? {} : { asWritten }) }], { expiries, cancelled },
  )
}

function checkInterface(runtime: Runtime, zone: string, name: string): void {
  checkInterfaceName(name)
  const owner = zoneOfInterface(runtime.settings, name)
  if (owner !== null && owner !== zone) {
    throw new DerpanetError('INVALID_INTERFACE', `Zone '${zone}': interface '${printable(name)}' already bound to zone '${owner}'`)
  }
}

function checkSource(runtime: Runtime, zone: string, text: string): string {
  const source = parseSource(runtime, text)
  const owner = otherOwner(runtime, zone, source)
  if (owner !== null) throw new DerpanetError('INVALID_ADDR', `Zone '${zone}': source '${printable(source.text)}' already bound to zone '${owner}'`)
  return source.text
}
