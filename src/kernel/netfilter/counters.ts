// Counters by rule id: what living chains and sets count now, plus what those that are gone had counted.
import type { Family } from '../../model/addr.ts'
import { families } from '../../model/addr.ts'
import type { RenderedFamily } from '../../compile/netfilter/render.ts'
import { portOwner } from '../../diff/sets.ts'
import type { Count, SavedFamily } from './observe.ts'
import type { SetRecord } from './state.ts'

export class Tally {
  readonly byRule: Map<string, Count>

  constructor(start: Iterable<readonly [string, Count]> = []) {
    this.byRule = new Map(start)
  }

  add(rule: string, { packets, bytes }: Count): void {
    if (rule === '') return
    const sum = this.byRule.get(rule)
    this.byRule.set(rule, sum === undefined ? { packets, bytes } : { packets: sum.packets + packets, bytes: sum.bytes + bytes })
  }
}

export function chainKey(family: Family, table: string, chain: string): string {
  return `${family}/${table}/${chain}`
}

/** Rule ids of all chains in the form the state keeps them. */
export function chainIds(rendered: Readonly<Record<Family, RenderedFamily>>): Map<string, readonly string[]> {
  const ids = new Map<string, readonly string[]>()
  for (const family of families) {
    for (const { table, chains } of rendered[family]) {
      for (const { name, ruleIds } of chains) {
        if (ruleIds.some((id) => id !== '')) ids.set(chainKey(family, table, name), ruleIds)
      }
    }
  }
  return ids
}

/** Adds what the chains in `keys` (all that are known when absent) have counted. */
export function tallyChains(
  tally: Tally, saved: Readonly<Record<Family, SavedFamily>>, ids: ReadonlyMap<string, readonly string[]>, keys?: ReadonlySet<string>,
): void {
  for (const family of families) {
    for (const [table, { counts }] of saved[family]) {
      for (const [chain, rules] of counts) {
        const key = chainKey(family, table, chain)
        if (keys !== undefined && !keys.has(key)) continue
        const owners = ids.get(key)
        // another number of rules: somebody wrote into it, and which count is whose cannot be told
        if (owners === undefined || owners.length !== rules.length) continue
        owners.forEach((id, index) => tally.add(id, rules[index]!))
      }
    }
  }
}

/** Whose packets those of an element are. */
export type OwnerOf = (element: string) => string | undefined

/** null for sets that do not count. */
export function ownerOf({ ports, owners }: Pick<SetRecord, 'ports' | 'owners'>): OwnerOf | null {
  if (ports !== undefined) return (port) => portOwner(ports, Number(port)) ?? undefined
  if (owners === undefined) return null
  const byElement = new Map(owners)
  return (element) => byElement.get(element)
}

/** Adds what elements have counted to the rules they belong to. */
export function tallyElements(tally: Tally, counts: ReadonlyMap<string, Count>, owner: OwnerOf): void {
  for (const [element, count] of counts) {
    const rule = owner(element)
    if (rule !== undefined && count.packets > 0n) tally.add(rule, count)
  }
}
