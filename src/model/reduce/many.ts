// Many settings of a zone or policy at once: lists are replaced item by item, so that each keeps its own timer.
import type { Change, Expiry, ZoneItemField } from '../change.ts'
import type { Lookup } from '../resolve/lookup.ts'
import { itemRule } from './items.ts'

export const itemFields: readonly ZoneItemField[] = ['services', 'ports', 'protocols', 'sourcePorts', 'icmpBlocks', 'forwardPorts', 'richRules']

export interface Replaced {
  /** The lists that were given, canonical. */
  readonly lists: Readonly<Record<string, readonly unknown[]>>
  /** For each of them the canonical text of what is in it now. */
  readonly keys: Readonly<Record<string, ReadonlySet<string>>>
  readonly expiries: readonly Expiry[]
  readonly cancelled: readonly string[]
}

export interface Owner {
  /** Name of the timer of an item or a flag. */
  readonly itemKey: (field: string, text: string) => string
  readonly flagKey: (field: string) => string
  readonly expireItem: (field: ZoneItemField, item: readonly string[]) => Change
}

/** With a time, what the call added goes when it is over; what it took away does not come back, as in firewalld 2.5. */
export function replaceLists(
  before: object, settings: object, timeoutSec: number, lookup: Lookup, owner: Owner,
): Replaced {
  const old = before as Readonly<Record<string, readonly unknown[]>>
  const given = settings as Readonly<Record<string, readonly unknown[] | undefined>>
  const lists: Record<string, readonly unknown[]> = {}
  const keys: Record<string, ReadonlySet<string>> = {}
  const expiries: Expiry[] = []
  const cancelled: string[] = []
  for (const field of itemFields) {
    const wanted = given[field]
    if (wanted === undefined) continue
    const rule = itemRule(field)
    const had = old[field] ?? []
    const values = wanted.map((item) => rule.parse(columnsOf(item), lookup))
    const texts = new Set(values.map((value) => rule.text(value)))
    // as if what goes were removed and what is new were added: what stays keeps its place
    const kept = had.filter((item) => texts.has(rule.text(item)))
    const list = values.reduce<readonly unknown[]>((sofar, value) => (rule.has(sofar, value) ? sofar : rule.add(sofar, value)), kept)
    lists[field] = list
    keys[field] = new Set(list.map((item) => rule.text(item)))
    for (const item of wanted) {
      const key = owner.itemKey(field, rule.text(item))
      if (rule.has(had, item)) continue
      if (timeoutSec > 0) expiries.push({ key, timeoutSec, change: owner.expireItem(field, columnsOf(item)) })
      else cancelled.push(key)
    }
    for (const item of had) if (!rule.has(list, item)) cancelled.push(owner.itemKey(field, rule.text(item)))
  }
  return { lists, keys, expiries, cancelled }
}

/** Items as a call would have written them. */
export function columnsOf(item: unknown): readonly string[] {
  if (typeof item === 'string') return [item]
  const { port, protocol, toPort, toAddr } = item as { port: string; protocol: string; toPort?: string; toAddr?: string }
  return toPort === undefined ? [port, protocol] : [port, protocol, toPort, toAddr ?? '']
}
