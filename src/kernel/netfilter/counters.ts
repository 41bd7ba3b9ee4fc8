// Counters by rule id: what living chains and sets count now, plus what those that are gone had counted.
import type { Family } from '../../model/addr.ts'
import { families } from '../../model/addr.ts'
import type { PortRule } from '../../compile/plan.ts'
import type { RenderedFamily } from '../../compile/netfilter/render.ts'
import type { Count, SavedFamily } from './observe.ts'

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

/** Adds what the ports in `only` (all when absent) have counted to the rules they belong to. */
export function tallyPorts(tally: Tally, counts: ReadonlyMap<number, Count>, owners: readonly PortRule[], only?: (port: number) => boolean): void {
  for (const [port, count] of counts) {
    if (only !== undefined && !only(port)) continue
    const owner = owners.find(({ first, last }) => first <= port && port <= last)
    if (owner !== undefined) tally.add(owner.rule, count)
  }
}
