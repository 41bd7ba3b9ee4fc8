// Is a packet in a user ipset? Reads the set as the kernel would: every part of an entry must fit the packet.
import type { IpSet } from '../firewall.ts'
import { parseEntryParts } from '../ipset-entry.ts'
import type { AddressRange, EntryPart } from '../ipset-entry.ts'
import { icmpProtocol } from '../icmp.ts'
import type { Packet } from '../packet.ts'

interface Content {
  /** Entries that are addresses and nothing else, by start, overlapping ones joined. */
  readonly ranges: readonly AddressRange[]
  /** All other entries. */
  readonly others: readonly (readonly EntryPart[])[]
}

const contents = new WeakMap<IpSet, Content>()

function contentOf(ipset: IpSet): Content {
  const known = contents.get(ipset)
  if (known !== undefined) return known
  const ranges: { first: bigint; last: bigint }[] = []
  const others: (readonly EntryPart[])[] = []
  for (const text of ipset.entries) {
    const { parts } = parseEntryParts(ipset.type, ipset.options, text)
    const [only, more] = parts
    if (only?.kind === 'addresses' && more === undefined) ranges.push({ ...only.range })
    else others.push(parts)
  }
  ranges.sort((one, other) => (one.first < other.first ? -1 : one.first > other.first ? 1 : 0))
  const joined: { first: bigint; last: bigint }[] = []
  for (const range of ranges) {
    const before = joined.at(-1)
    if (before !== undefined && range.first <= before.last) before.last = range.last > before.last ? range.last : before.last
    else joined.push(range)
  }
  const content = { ranges: joined, others }
  contents.set(ipset, content)
  return content
}

/** `side` says which address and port are looked up; interfaces and MACs are always the incoming ones. */
export function ipsetHas(ipset: IpSet, packet: Packet, side: 'source' | 'destination'): boolean {
  if (ipset.family !== null && ipset.family !== packet.family) return false
  const { ranges, others } = contentOf(ipset)
  if (inRanges(ranges, packet[side])) return true
  return others.some((parts) => parts.every((part) => fits(part, packet, side)))
}

function fits(part: EntryPart, packet: Packet, side: 'source' | 'destination'): boolean {
  switch (part.kind) {
    case 'addresses': return part.range.first <= packet[side] && packet[side] <= part.range.last
    case 'port': {
      const port = portOf(packet, side)
      return part.protocol === packet.protocol && part.first <= port && port <= part.last
    }
    case 'mark': return part.mark === (packet.mark ?? 0)
    case 'interface': return !part.physical && part.name === packet.inInterface
    case 'mac': return part.mac === packet.sourceMac
  }
}

/** As the kernel's sets count: ICMP is type × 256 + code, a protocol without ports is 0. */
function portOf(packet: Packet, side: 'source' | 'destination'): number {
  if (packet.protocol === icmpProtocol[packet.family]) return (packet.icmpType ?? 0) * 256 + (packet.icmpCode ?? 0)
  return (side === 'source' ? packet.sourcePort : packet.destinationPort) ?? 0
}

function inRanges(ranges: readonly AddressRange[], addr: bigint): boolean {
  let low = 0
  let high = ranges.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (ranges[middle]!.first <= addr) low = middle + 1
    else high = middle
  }
  const range = ranges[low - 1]
  return range !== undefined && addr <= range.last
}
