// Sampled drops: records of the ring buffer → values, and the timer that fetches them. No text, no sockets.
import { layout, reasons, records } from '../../compile/xdp/layout.ts'
import type { XdpReason } from '../../compile/xdp/layout.ts'
import { formatAddr } from '../../model/addr.ts'
import type { Family } from '../../model/addr.ts'
import type { RingReader } from './libbpf.ts'

/** A packet that XDP dropped. Ports are null where it has none or they could not be read (a later fragment). */
export interface DropEvent {
  /** Since boot, as CLOCK_MONOTONIC. */
  readonly timeNs: bigint
  readonly ifindex: number
  readonly zone: string | null
  /** The deciding rule's id, as counters use it. */
  readonly rule: string | null
  readonly reason: XdpReason
  readonly verdict: 'drop' | 'pass'
  readonly lengthBytes: number
  /** VLAN ids, outer first. */
  readonly vlans: readonly number[]
  readonly sourceMac: string
  readonly destinationMac: string
  readonly ethertype: number
  readonly family: Family
  readonly source: string
  readonly destination: string
  readonly protocol: number
  readonly sourcePort: number | null
  readonly destinationPort: number | null
  readonly tcpFlags: number
  readonly icmpType: number
  readonly icmpCode: number
  readonly isFragment: boolean
}

export interface EventNames {
  zoneOf(id: number): string | null
  ruleOf(slot: number): string | null
}

const xdpDrop = 1
const withPorts: ReadonlySet<number> = new Set([6, 17, 33, 132])
const at = records.dp_event

/** Throws an Error for a record of another size: another layout. */
export function decodeEvent(record: Uint8Array, names: EventNames): DropEvent {
  if (record.length !== at.size) throw new Error(`drop event of ${record.length} bytes, not ${at.size}`)
  const view = new DataView(record.buffer, record.byteOffset, record.length)
  const u16 = (offset: number): number => view.getUint16(offset, true)
  const u32 = (offset: number): number => view.getUint32(offset, true)
  const bytes = (offset: number, count: number): Uint8Array => record.subarray(offset, offset + count)
  const family: Family = record[at.family] === layout.FAMILY_IPV4 ? 'ipv4' : 'ipv6'
  const addrBytes = family === 'ipv4' ? 4 : 16
  const protocol = record[at.protocol]!
  const hasPorts = withPorts.has(protocol) && (u16(at.source_port) !== 0 || u16(at.destination_port) !== 0)
  return {
    timeNs: view.getBigUint64(at.time_ns, true),
    ifindex: u32(at.ifindex),
    zone: names.zoneOf(u32(at.zone)),
    rule: names.ruleOf(u32(at.slot)),
    reason: reasons[record[at.reason]!] ?? 'no-match',
    verdict: record[at.verdict] === xdpDrop ? 'drop' : 'pass',
    lengthBytes: u32(at.length),
    vlans: [u16(at.vlan_outer), u16(at.vlan_inner)].slice(0, record[at.tags]!),
    sourceMac: formatMac(bytes(at.source_mac, 6)),
    destinationMac: formatMac(bytes(at.destination_mac, 6)),
    ethertype: u16(at.ethertype),
    family,
    source: formatAddr(family, bigintOf(bytes(at.source, addrBytes))),
    destination: formatAddr(family, bigintOf(bytes(at.destination, addrBytes))),
    protocol,
    sourcePort: hasPorts ? u16(at.source_port) : null,
    destinationPort: hasPorts ? u16(at.destination_port) : null,
    tcpFlags: record[at.tcp_flags]!,
    icmpType: record[at.icmp_type]!,
    icmpCode: record[at.icmp_code]!,
    isFragment: record[at.fragment] !== 0,
  }
}

/** Fetches what is there every `intervalMs`, without keeping the process alive. Returns the stopper. */
export function pollRing(ring: RingReader, intervalMs: number, onTrouble: (error: Error) => void): () => void {
  const timer = setInterval(() => {
    try {
      ring.consume()
    } catch (error) {
      onTrouble(error as Error)
    }
  }, intervalMs)
  timer.unref()
  return () => {
    clearInterval(timer)
    ring.close()
  }
}

function formatMac(bytes: Uint8Array): string {
  return [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join(':')
}

function bigintOf(bytes: Uint8Array): bigint {
  return bytes.reduce((sum, byte) => (sum << 8n) | BigInt(byte), 0n)
}
