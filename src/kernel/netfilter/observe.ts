// Reading the kernel: iptables-save and `ipset list` → what of it is ours. Parsing only; running the tools is the caller's.
import type { Family } from '../../model/addr.ts'
import { families } from '../../model/addr.ts'
import { chainMarker, setMarker } from '../../compile/netfilter/names.ts'
import { tables } from '../../compile/netfilter/render.ts'
import type { Table } from '../../compile/netfilter/render.ts'
import type { ObservedFamily, ObservedJump, ObservedSet, ObservedTable } from '../../diff/observed.ts'

export interface Count {
  readonly packets: bigint
  readonly bytes: bigint
}

/** One of the kernel's own chains. */
export interface BaseChain {
  readonly policy: string
  readonly rules: number
}

export interface SavedTable extends ObservedTable {
  /** Rule counters of our chains, in rule order. */
  readonly counts: ReadonlyMap<string, readonly Count[]>
  readonly base: ReadonlyMap<string, BaseChain>
}

/** Every table the tool printed, ours or not. */
export type SavedFamily = ReadonlyMap<string, SavedTable>

/** `text` as `iptables-save -c` prints it. Throws on a line it cannot read: then the tool is not what we think. */
export function parseSave(text: string): SavedFamily {
  const result = new Map<string, SavedTable>()
  let chains = new Map<string, string[]>()
  let counts = new Map<string, Count[]>()
  let base = new Map<string, { policy: string; rules: number }>()
  let jumps: ObservedJump[] = []
  const positions = new Map<string, number>()
  for (const line of text.split('\n')) {
    if (line === '' || line.startsWith('#') || line === 'COMMIT') continue
    if (line.startsWith('*')) {
      chains = new Map()
      counts = new Map()
      base = new Map()
      jumps = []
      positions.clear()
      result.set(line.slice(1), { chains, counts, base, jumps })
      continue
    }
    if (line.startsWith(':')) {
      const [name = '', policy = ''] = line.slice(1).split(' ')
      if (name.startsWith(chainMarker)) {
        chains.set(name, [])
        counts.set(name, [])
      } else if (policy !== '-') base.set(name, { policy, rules: 0 })
      continue
    }
    const rule = /^(?:\[(\d+):(\d+)\] )?-A (\S+) ?(.*)$/.exec(line)
    if (rule === null) throw new Error(`cannot read iptables-save: ${JSON.stringify(line.slice(0, 120))}`)
    const [, packets = '0', bytes = '0', chain = '', words = ''] = rule
    if (chain.startsWith(chainMarker)) {
      chains.get(chain)?.push(words)
      counts.get(chain)?.push({ packets: BigInt(packets), bytes: BigInt(bytes) })
      continue
    }
    const position = positions.get(chain) ?? 0
    positions.set(chain, position + 1)
    const kernelChain = base.get(chain)
    if (kernelChain !== undefined) kernelChain.rules++
    // the target is the last option that names a chain; a comment could only imitate it before a real one
    if (/(^| )-[jg] DERPA_\S+$/.test(words)) jumps.push({ chain, rule: words, position })
  }
  return result
}

/** What is ours among it. */
export function ownTables(saved: SavedFamily): ObservedFamily {
  return new Map<Table, ObservedTable>(tables.flatMap((table) => {
    const present = saved.get(table)
    return present === undefined ? [] : [[table, { chains: present.chains, jumps: present.jumps }] as const]
  }))
}

/** `text` as `ipset list -t` prints it; ours only. `digests` are our records of what was loaded. */
export function parseSets(text: string, digests: ReadonlyMap<string, string>): ReadonlyMap<string, ObservedSet> {
  const sets = new Map<string, ObservedSet>()
  for (const block of text.split(/\n\s*\n/)) {
    const name = /^(?:ipset> )?Name: (\S+)$/m.exec(block)?.[1]
    if (name === undefined || !name.startsWith(setMarker)) continue
    const entries = /^Number of entries: (\d+)$/m.exec(block)?.[1]
    const maxElements = / maxelem (\d+)/.exec(block)?.[1]
    sets.set(name, {
      name,
      entries: entries === undefined ? null : Number(entries),
      maxElements: maxElements === undefined ? null : Number(maxElements),
      digest: digests.get(name) ?? null,
    })
  }
  return sets
}

/** Port counters of `ipset list NAME…`: set name → port → count. */
export function parsePortCounts(text: string): ReadonlyMap<string, ReadonlyMap<number, Count>> {
  const sets = new Map<string, Map<number, Count>>()
  let ports: Map<number, Count> | undefined
  for (const line of text.split('\n')) {
    const name = /^(?:ipset> )?Name: (\S+)$/.exec(line)?.[1]
    if (name !== undefined) {
      ports = new Map()
      sets.set(name, ports)
      continue
    }
    const member = /^(\d+) packets (\d+) bytes (\d+)/.exec(line)
    if (member !== null) ports?.set(Number(member[1]), { packets: BigInt(member[2]!), bytes: BigInt(member[3]!) })
  }
  return sets
}

export function mapFamilies<T>(make: (family: Family) => T): Record<Family, T> {
  const [ipv4, ipv6] = families.map(make)
  return { ipv4: ipv4!, ipv6: ipv6! }
}
