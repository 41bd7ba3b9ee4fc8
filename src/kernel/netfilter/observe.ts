// Reading the kernel: iptables-save → what of it is ours. Parsing only; running the tools is the caller's.
import type { Family } from '../../model/addr.ts'
import { families } from '../../model/addr.ts'
import { chainMarker } from '../../compile/netfilter/names.ts'
import { tables } from '../../compile/netfilter/render.ts'
import type { Table } from '../../compile/netfilter/render.ts'
import type { ObservedFamily, ObservedJump, ObservedTable } from '../../diff/observed.ts'

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
  for (const line of wholeLines(text)) {
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
    const rule = /^(?:\[(\d+):(\d+)\] )?-A (\S+) ?(.*)$/s.exec(line)
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

/** A quoted comment may hold line ends: such a rule is one line here, or somebody's comment could pass for a rule. */
function* wholeLines(text: string): Generator<string> {
  let begun = ''
  for (const line of text.split('\n')) {
    const whole = begun === '' ? line : `${begun}\n${line}`
    begun = whole.includes('"') && isQuoteOpen(whole) ? whole : ''
    if (begun === '') yield whole
  }
  if (begun !== '') yield begun
}

function isQuoteOpen(line: string): boolean {
  let open = false
  for (let at = 0; at < line.length; at++) {
    if (open && line[at] === '\\') at++
    else if (line[at] === '"') open = !open
  }
  return open
}

/** What is ours among it. */
export function ownTables(saved: SavedFamily): ObservedFamily {
  return new Map<Table, ObservedTable>(tables.flatMap((table) => {
    const present = saved.get(table)
    return present === undefined ? [] : [[table, { chains: present.chains, jumps: present.jumps }] as const]
  }))
}

export function mapFamilies<T>(make: (family: Family) => T): Record<Family, T> {
  const [ipv4, ipv6] = families.map(make)
  return { ipv4: ipv4!, ipv6: ipv6! }
}
