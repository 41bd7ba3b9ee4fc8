// What the kernel holds of ours, as the diff sees it: everything that carries our marker and nothing else.
import type { Family } from '../compile/plan.ts'
import type { Jump, Table } from '../compile/netfilter/render.ts'

export interface ObservedSet {
  readonly name: string
  /** What the kernel counts; null where it was not asked. */
  readonly entries: number | null
  /** Room for elements; null for sets without such a limit. */
  readonly maxElements: number | null
  /** Of the PlanSet that was loaded into it, by our own records; null = unknown content. */
  readonly digest: string | null
}

export interface ObservedJump extends Jump {
  /** Place in its chain, from 0. */
  readonly position: number
}

export interface ObservedTable {
  /** Our chains with their rules in iptables-save's words, without `-A NAME`. */
  readonly chains: ReadonlyMap<string, readonly string[]>
  /** Rules of chains that are not ours which lead to one of ours. */
  readonly jumps: readonly ObservedJump[]
}

/** Tables without anything of ours may be left out. */
export type ObservedFamily = ReadonlyMap<Table, ObservedTable>

export interface Observed {
  readonly sets: ReadonlyMap<string, ObservedSet>
  readonly families: Readonly<Record<Family, ObservedFamily>>
}

export const nothingObserved: Observed = { sets: new Map(), families: { ipv4: new Map(), ipv6: new Map() } }
