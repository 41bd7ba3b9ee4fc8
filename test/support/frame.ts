// Packets as bytes: builds Ethernet frames for a model Packet, and reads what came back. Checksums are right, because
// the kernel answers no packet with a wrong one. Every built packet bears a marker by which it is known again:
// the IPv4 identification or the IPv6 flow label.
import { parseAddr4, parseAddr6 } from '../../src/model/addr.ts'
import type { Packet } from '../../src/model/packet.ts'

/** The DSCP of everything built here. A kernel's errors have another one, its echo replies and resets take over the question's. */
export const probeDscp = 42

/** Neighbour discovery is only valid with a hop limit that no router has lowered; what a kernel sends on its own begins with 64. */
const hopLimit = 255
/** A packet with {@link probeDscp} and more hops left than this was built here. */
export const leastHops = 128

export const tcpFlags = { fin: 1, syn: 2, rst: 4, psh: 8, ack: 16 } as const

export interface FrameOptions {
  /** 1–65535, unique among packets in flight. */
  readonly marker: number
  /** Default SYN. */
  readonly tcpFlags?: number
  readonly tcpSequence?: number
  readonly tcpAcknowledgement?: number
  /** Identifier of an ICMP query; default the marker. */
  readonly icmpIdentifier?: number
  /** What an ICMP error quotes: an IP packet. */
  readonly quoted?: Uint8Array
  readonly payload?: Uint8Array
}

/** The IP packet, without Ethernet. */
export function buildPacket(packet: Packet, options: FrameOptions): Buffer {
  const body = buildBody(packet, options)
  if (packet.family === 'ipv4') {
    const header = Buffer.alloc(20)
    header[0] = 0x45
    header[1] = probeDscp << 2
    header.writeUInt16BE(20 + body.length, 2)
    header.writeUInt16BE(options.marker, 4)
    header[8] = hopLimit
    header[9] = packet.protocol
    header.writeUInt32BE(Number(packet.source), 12)
    header.writeUInt32BE(Number(packet.destination), 16)
    header.writeUInt16BE(checksum(header), 10)
    return Buffer.concat([header, body])
  }
  const header = Buffer.alloc(40)
  header.writeUInt32BE(((6 << 28) | (probeDscp << 22) | options.marker) >>> 0, 0)
  header.writeUInt16BE(body.length, 4)
  header[6] = packet.protocol
  header[7] = hopLimit
  addrBytes(packet.source).copy(header, 8)
  addrBytes(packet.destination).copy(header, 24)
  return Buffer.concat([header, body])
}

/** Ethernet frame around an IP packet; MACs as colon text. */
export function buildFrame(family: 'ipv4' | 'ipv6', packet: Uint8Array, macs: { readonly source: string; readonly destination: string }): Buffer {
  return Buffer.concat([macBytes(macs.destination), macBytes(macs.source), Buffer.from(family === 'ipv4' ? [0x08, 0x00] : [0x86, 0xdd]), packet])
}

function buildBody(packet: Packet, options: FrameOptions): Buffer {
  const { protocol } = packet
  const payload = Buffer.from(options.payload ?? 'derpanet')
  if (protocol === 6) {
    const tcp = Buffer.alloc(20)
    tcp.writeUInt16BE(packet.sourcePort ?? 0, 0)
    tcp.writeUInt16BE(packet.destinationPort ?? 0, 2)
    tcp.writeUInt32BE(options.tcpSequence ?? options.marker, 4)
    const flags = options.tcpFlags ?? tcpFlags.syn
    tcp.writeUInt32BE((flags & tcpFlags.ack) === 0 ? 0 : options.tcpAcknowledgement ?? options.marker, 8)
    tcp[12] = 5 << 4
    tcp[13] = flags
    tcp.writeUInt16BE(64000, 14)
    tcp.writeUInt16BE(checksum(Buffer.concat([pseudoHeader(packet, tcp.length), tcp])), 16)
    return tcp
  }
  if (protocol === 17) {
    const udp = Buffer.alloc(8)
    udp.writeUInt16BE(packet.sourcePort ?? 0, 0)
    udp.writeUInt16BE(packet.destinationPort ?? 0, 2)
    udp.writeUInt16BE(8 + payload.length, 4)
    const sum = checksum(Buffer.concat([pseudoHeader(packet, 8 + payload.length), udp, payload]))
    udp.writeUInt16BE(sum === 0 ? 0xffff : sum, 6)
    return Buffer.concat([udp, payload])
  }
  if (protocol === (packet.family === 'ipv4' ? 1 : 58)) {
    const icmp = Buffer.alloc(8)
    icmp[0] = packet.icmpType ?? 0
    icmp[1] = packet.icmpCode ?? 0
    if (options.quoted === undefined) {
      icmp.writeUInt16BE(options.icmpIdentifier ?? options.marker, 4)
      icmp.writeUInt16BE(1, 6)
    }
    // 20 bytes hold the target address of a neighbour message
    const rest = Buffer.from(options.quoted ?? Buffer.concat([addrBytes(packet.destination), payload]))
    const whole = Buffer.concat([icmp, rest])
    const pseudo = packet.family === 'ipv4' ? Buffer.alloc(0) : pseudoHeader(packet, whole.length)
    whole.writeUInt16BE(checksum(Buffer.concat([pseudo, whole])), 2)
    return whole
  }
  if (protocol === 132) {
    // common header and an INIT chunk: the only start of an association that connection tracking takes as new
    const sctp = Buffer.alloc(12 + 20)
    sctp.writeUInt16BE(packet.sourcePort ?? 0, 0)
    sctp.writeUInt16BE(packet.destinationPort ?? 0, 2)
    sctp[12] = 1
    sctp.writeUInt16BE(20, 14)
    sctp.writeUInt32BE(options.marker, 16)
    sctp.writeUInt32BE(64000, 20)
    sctp.writeUInt16BE(1, 24)
    sctp.writeUInt16BE(1, 26)
    sctp.writeUInt32BE(1, 28)
    sctp.writeUInt32LE(crc32c(sctp), 8)
    return sctp
  }
  if (protocol === 33) {
    // DCCP Request: generic header with 48-bit sequence numbers, and a service code
    const dccp = Buffer.alloc(20)
    dccp.writeUInt16BE(packet.sourcePort ?? 0, 0)
    dccp.writeUInt16BE(packet.destinationPort ?? 0, 2)
    dccp[4] = 5
    dccp[8] = 1
    dccp.writeUInt32BE(options.marker, 12)
    dccp.writeUInt16BE(rejectChecksum(packet, dccp), 6)
    return dccp
  }
  const other = Buffer.concat([payload, Buffer.alloc(payload.length % 2 + 2)])
  other.writeUInt16BE(rejectChecksum(packet, other), other.length - 2)
  return other
}

/** What a frame that came back says about a packet of ours. */
export type Reply =
  /** `marker` of the quoted packet. `isOurs` = one that was crafted here, on its way through: a kernel's own has another DSCP. */
  | { readonly kind: 'icmp-error'; readonly family: 'ipv4' | 'ipv6'; readonly source: bigint; readonly type: number; readonly code: number
      readonly marker: number; readonly isOurs: boolean }
  | { readonly kind: 'tcp'; readonly family: 'ipv4' | 'ipv6'; readonly flags: number; readonly source: bigint; readonly destination: bigint
      readonly sourcePort: number; readonly destinationPort: number; readonly marker: number }
  | { readonly kind: 'other'; readonly family: 'ipv4' | 'ipv6'; readonly protocol: number; readonly source: bigint; readonly destination: bigint
      readonly body: Buffer; readonly marker: number }

/** null for what is not IP. IPv6 extension headers are not followed. */
export function readFrame(frame: Buffer): Reply | null {
  if (frame.length < 34) return null
  const ethertype = frame.readUInt16BE(12)
  return ethertype === 0x0800 ? readPacket('ipv4', frame.subarray(14)) : ethertype === 0x86dd ? readPacket('ipv6', frame.subarray(14)) : null
}

function readPacket(family: 'ipv4' | 'ipv6', packet: Buffer): Reply | null {
  const four = family === 'ipv4'
  const headerBytes = four ? ((packet[0] ?? 0) & 15) * 4 : 40
  if (packet.length < headerBytes + 8) return null
  const protocol = packet[four ? 9 : 6] as number
  const source = four ? BigInt(packet.readUInt32BE(12)) : readAddr6(packet, 8)
  const destination = four ? BigInt(packet.readUInt32BE(16)) : readAddr6(packet, 24)
  const body = packet.subarray(headerBytes)
  const type = body[0] as number
  if (four ? protocol === 1 && (type === 3 || type === 11) : protocol === 58 && type < 128) {
    const quoted = body.subarray(8)
    if (quoted.length < 8) return null
    const isOurs = (four ? (packet[1] as number) >> 2 : (packet.readUInt16BE(0) >> 6) & 0x3f) === probeDscp
    return { kind: 'icmp-error', family, source, type, code: body[1] as number, marker: markerOf(family, quoted), isOurs }
  }
  if (protocol === 6 && body.length >= 20) {
    return {
      kind: 'tcp', family, flags: body[13] as number, source, destination, sourcePort: body.readUInt16BE(0), destinationPort: body.readUInt16BE(2),
      marker: markerOf(family, packet),
    }
  }
  return { kind: 'other', family, protocol, source, destination, body, marker: markerOf(family, packet) }
}

function markerOf(family: 'ipv4' | 'ipv6', packet: Buffer): number {
  return family === 'ipv4' ? packet.readUInt16BE(4) : packet.readUInt32BE(0) & 0xfffff
}

/** Numeric address of text in either family. Throws on nonsense: test data is ours. */
export function addrOf(text: string): bigint {
  const addr = parseAddr4(text)
  const value = addr === null ? parseAddr6(text) : BigInt(addr)
  if (value === null) throw new Error(`not an address: ${text}`)
  return value
}

function addrBytes(addr: bigint): Buffer {
  return Buffer.from(addr.toString(16).padStart(32, '0'), 'hex')
}

function readAddr6(buffer: Buffer, offset: number): bigint {
  return BigInt(`0x${buffer.toString('hex', offset, offset + 16)}`)
}

function macBytes(mac: string): Buffer {
  return Buffer.from(mac.replaceAll(':', ''), 'hex')
}

function pseudoHeader(packet: Packet, length: number): Buffer {
  if (packet.family === 'ipv4') {
    const pseudo = Buffer.alloc(12)
    pseudo.writeUInt32BE(Number(packet.source), 0)
    pseudo.writeUInt32BE(Number(packet.destination), 4)
    pseudo[9] = packet.protocol
    pseudo.writeUInt16BE(length, 10)
    return pseudo
  }
  const pseudo = Buffer.alloc(40)
  addrBytes(packet.source).copy(pseudo, 0)
  addrBytes(packet.destination).copy(pseudo, 16)
  pseudo.writeUInt32BE(length, 32)
  pseudo[39] = packet.protocol
  return pseudo
}

/**
 * REJECT answers no packet whose checksum it finds wrong, and it takes protocols it does not know for ones with a plain
 * checksum over the payload (IPv4) or also the pseudo header (IPv6).
 */
function rejectChecksum(packet: Packet, body: Buffer): number {
  return checksum(packet.family === 'ipv4' ? body : Buffer.concat([pseudoHeader(packet, body.length), body]))
}

/** RFC 1071. */
function checksum(bytes: Buffer): number {
  let sum = 0
  for (let at = 0; at + 1 < bytes.length; at += 2) sum += bytes.readUInt16BE(at)
  if (bytes.length % 2 === 1) sum += (bytes[bytes.length - 1] as number) << 8
  while (sum > 0xffff) sum = (sum & 0xffff) + Math.floor(sum / 0x10000)
  return ~sum & 0xffff
}

/** Castagnoli, as SCTP uses it (little end first on the wire). */
function crc32c(bytes: Buffer): number {
  let crc = 0xffffffff
  for (const byte of bytes) {
    crc ^= byte
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ ((crc & 1) === 0 ? 0 : 0x82f63b78)
  }
  return (crc ^ 0xffffffff) >>> 0
}
