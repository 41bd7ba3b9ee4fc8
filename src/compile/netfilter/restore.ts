// What to change in the tables of one family, as the text of one iptables-restore call.
import type { EntryChain, Jump, RenderedChain, Table } from './render.ts'

/** All of it comes into force together, when the table is committed. */
export interface TableChange {
  readonly table: Table
  /** Written whole; one that exists is emptied first. */
  readonly chains: readonly RenderedChain[]
  readonly entries: readonly EntryChain[]
  /** Our rules in the kernel's chains that go, in the words iptables-save printed. */
  readonly dropJumps: readonly Jump[]
  /** Put first, in this order. */
  readonly addJumps: readonly Jump[]
  readonly removeChains: readonly string[]
}

export function isEmptyChange(change: TableChange): boolean {
  return change.chains.length + change.entries.length + change.dropJumps.length + change.addJumps.length + change.removeChains.length === 0
}

/** "" for nothing to do. `--noflush` is what the caller must give, or everything foreign is lost. */
export function formatRestore(changes: readonly TableChange[]): string {
  return changes.filter((change) => !isEmptyChange(change)).map(formatTable).join('')
}

function formatTable({ table, chains, entries, dropJumps, addJumps, removeChains }: TableChange): string {
  const lines = [`*${table}`]
  for (const { name } of [...chains, ...entries]) lines.push(`:${name} - [0:0]`)
  for (const chain of [...chains, ...entries]) {
    for (const line of chain.lines) lines.push(`-A ${chain.name} ${line}`)
  }
  for (const { chain, rule } of dropJumps) lines.push(`-D ${chain} ${rule}`)
  const placed = new Map<string, number>()
  for (const { chain, rule } of addJumps) {
    const place = (placed.get(chain) ?? 0) + 1
    placed.set(chain, place)
    lines.push(`-I ${chain} ${place} ${rule}`)
  }
  // all are emptied before the first goes: they call each other
  for (const name of removeChains) lines.push(`-F ${name}`)
  for (const name of removeChains) lines.push(`-X ${name}`)
  lines.push('COMMIT', '')
  return lines.join('\n')
}
