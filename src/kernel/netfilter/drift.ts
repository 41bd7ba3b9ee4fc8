// Has somebody else changed what is ours? What was right when it was looked at last is remembered in a form that is cheap to
// compare; only when that differs everything is read, and then each difference is one line for a person.
import { families } from '../../model/addr.ts'
import type { Family } from '../../model/addr.ts'
import type { ChangeSet } from '../../diff/diff.ts'
import type { Observed, ObservedSet } from '../../diff/observed.ts'
import { chainKey } from './counters.ts'

/** What was right, and by which signs it is known again. */
export interface Baseline {
  /** One text a chain or table; equal texts mean that nobody was there. */
  readonly signs: ReadonlyMap<string, string>
  /** Rules of our chains, for the variant whose signs do not show every change. */
  readonly lines: ReadonlyMap<string, string>
}

/** Entries of our sets by name, when they were right. */
export type SetCounts = ReadonlyMap<string, number>

export function countsOf(sets: Iterable<ObservedSet>): SetCounts {
  return new Map([...sets].flatMap(({ name, entries }) => (entries === null ? [] : [[name, entries]])))
}

/** Sets that are gone or hold another number of elements. `expires`: those whose elements may go by themselves. */
export function changedSets(before: SetCounts, now: SetCounts, expires: (name: string) => boolean): readonly { readonly name: string; readonly text: string }[] {
  return [...before].flatMap(([name, count]) => {
    const entries = now.get(name)
    if (entries === undefined) return [{ name, text: `set ${name} is gone` }]
    return entries === count || expires(name) ? [] : [{ name, text: `set ${name} holds ${entries} elements, not ${count}` }]
  })
}

export function linesOf({ families: own }: Observed): ReadonlyMap<string, string> {
  return new Map(families.flatMap((family) => [...own[family]].flatMap(([table, { chains }]) => [...chains].map(([name, lines]) => [chainKey(family, table, name), lines.join('\n')] as const))))
}

/** Keys of chains whose signs or rules differ, of those that are there. */
export function touchedChains(before: Baseline, signs: ReadonlyMap<string, string>, lines: ReadonlyMap<string, string>): ReadonlySet<string> {
  const touched = [...before.signs].filter(([key, sign]) => signs.get(key) !== sign).map(([key]) => key)
  const rewritten = [...before.lines].filter(([key, text]) => lines.has(key) && lines.get(key) !== text).map(([key]) => key)
  return new Set([...touched, ...rewritten].filter((key) => lines.has(key)))
}

/** What must be done to be right again, told as what is wrong. */
export function wrongLines({ tables, load, rendered }: ChangeSet, observed: Observed): readonly string[] {
  return [
    ...load.map(({ name, set }) => `the set of ${set.role} is gone or changed (${name} takes its place)`),
    ...families.flatMap((family) => tables[family].flatMap(({ table, chains, entries, addJumps, dropJumps }) => {
      const there = observed.families[family].get(table)?.chains
      const wrong = [...chains, ...entries].map(({ name }) => `${name} ${there?.has(name) === true ? 'changed' : 'gone'}`)
      const text = wrong.length > 4 ? `${wrong.slice(0, 3).join(', ')} and ${wrong.length - 3} more` : wrong.join(', ')
      const moved = [...new Set([...addJumps, ...dropJumps].map(({ chain }) => chain))].map((chain) => jumpText(family, table, chain, observed, rendered))
      return [...(wrong.length === 0 ? [] : [`${ip(family)} ${table}: ${text}`]), ...moved]
    })),
  ]
}

function jumpText(family: Family, table: ChangeSet['tables'][Family][number]['table'], chain: string, observed: Observed, rendered: ChangeSet['rendered']): string {
  const jumps = (observed.families[family].get(table)?.jumps ?? []).filter((jump) => jump.chain === chain)
  const wanted = rendered[family].find((one) => one.table === table)?.jumps.filter((jump) => jump.chain === chain).length ?? 0
  const what = jumps.length < wanted ? 'gone' : jumps.length > wanted ? 'there twice' : 'not first'
  return `${ip(family)} ${table}: our jump in ${chain} is ${what}`
}

function ip(family: Family): string {
  return family === 'ipv4' ? 'ip' : 'ip6'
}
