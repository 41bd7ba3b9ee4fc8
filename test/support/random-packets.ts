// Random packets for a configuration, biased towards what its rules name, and what connection tracking will make of each.
// A case is one packet, or the answer (or ICMP error) to an earlier one.
import { addressBits, families, formatAddr, prefixHasAddr, type Family } from '../../src/model/addr.ts'
import type { ConnectionState, Packet } from '../../src/model/packet.ts'
import type { RejectType } from '../../src/model/firewall.ts'
import type { Settings } from '../../src/model/settings.ts'
import { addresses } from './private-host.ts'
import { addrOf, buildPacket, tcpFlags, type FrameOptions } from './frame.ts'
import type { Random } from './random.ts'
import { world } from './random-settings.ts'

export interface PacketCase {
  /** As it is sent. */
  readonly packet: Packet
  /** 1–65535; also names the case. */
  readonly marker: number
  readonly tcpFlags?: number
  /** The earlier case this one answers or is an error about. */
  readonly follows?: Following
}

export interface Following {
  readonly marker: number
  readonly as: 'reply' | 'error'
  /** The first packet as its receiver saw it: what an error quotes. */
  readonly received: Packet
  /** What becomes of this packet once the firewall has given it back the first one's addresses. */
  readonly returned: Packet
}

/** How a packet arrives, if it does: translated or not; null = it does not. */
export type Delivery = (packet: Packet, state: ConnectionState) => Packet | null

type Interface = 'ext0' | 'int0'
const interfaces: readonly Interface[] = ['ext0', 'int0']
const peerMacs = { ext0: addresses.macs.outside, int0: addresses.macs.inside } as const
const unchecked = [47, 50, 89] // GRE, ESP, OSPF: protocols without ports that both families carry the same way

/**
 * `count` cases with different flows, in the order in which they must be sent: followers after what they follow.
 * `delivery` = how packets are expected to arrive, so that answers come from where they arrive.
 */
export function randomPackets(random: Random, settings: Settings, count: number, delivery: Delivery = (packet) => packet): PacketCase[] {
  const cases: PacketCase[] = []
  const flows = new Set<string>()
  const ports = portsOf(settings)
  let marker = 0
  for (let tries = 0; cases.length < count && tries < count * 20; tries++) {
    const packet = withWayBack(randomPacket(random, ports))
    const flags = packet.protocol === 6 ? random.pick([2, 2, 2, 2, 2, 2, tcpFlags.ack, tcpFlags.syn | tcpFlags.ack, tcpFlags.rst, tcpFlags.fin | tcpFlags.ack]) : undefined
    const first: PacketCase = { packet, marker: marker + 1, ...(flags === undefined ? {} : { tcpFlags: flags }) }
    const delivered = delivery(packet, connectionState(first, false))
    // two flows that look alike anywhere on their way would change each other's ports
    const own = [...new Set([flowOf(packet), ...(delivered === null ? [] : [flowOf(delivered)])])]
    // a router sends nothing on whose sender is of the link alone
    if (own.some((flow) => flows.has(flow)) || (delivered?.direction !== packet.direction && packet.source >> 118n === 0x3fan)) continue
    for (const flow of own) flows.add(flow)
    marker++
    cases.push(first)
    if (!random.chance(0.5) || cases.length >= count) continue
    const follower = followerOf(random, first, delivered ?? packet, marker + 1)
    if (follower !== null) {
      marker++
      cases.push(follower)
    }
  }
  return cases
}

function randomPacket(random: Random, ports: readonly number[]): Packet {
  const family = random.pick(families)
  const direction = random.pick(['in', 'in', 'in', 'in', 'forward', 'forward', 'out'] as const)
  const inInterface = random.pick(interfaces)
  const port = (): number => random.chance(0.8) ? random.pick(ports) : random.between(1, 65535)
  const kind = random.pick(['tcp', 'tcp', 'tcp', 'udp', 'udp', 'icmp', 'icmp', 'sctp', 'dccp', 'other'] as const)
  const protocol = kind === 'tcp' ? 6 : kind === 'udp' ? 17 : kind === 'sctp' ? 132 : kind === 'dccp' ? 33
    : kind === 'icmp' ? (family === 'ipv4' ? 1 : 58) : random.pick(unchecked)
  const body = kind === 'icmp' ? { icmpType: icmpType(random, family, direction), icmpCode: 0 }
    : kind === 'other' ? {} : { sourcePort: random.chance(0.3) ? port() : random.between(1024, 65535), destinationPort: port() }
  if (direction === 'out') {
    const outInterface = random.pick(interfaces)
    return {
      direction, family, protocol, ...body, outInterface,
      source: addrOf(world.own[family][outInterface]),
      destination: addrOf(random.pick(world.beyond[family][outInterface])),
    }
  }
  const base = {
    direction, family, protocol, ...body, inInterface,
    sourceMac: random.chance(0.7) ? peerMacs[inInterface] : random.pick(world.macs),
    source: addrOf(random.pick(world.sources[family])),
  }
  if (direction === 'in') {
    const dhcp = family === 'ipv6' && random.chance(0.05) ? { protocol: 17, sourcePort: 547, destinationPort: 546, source: addrOf('fe80::1') } : {}
    const home = random.chance(0.8) ? inInterface : random.pick(interfaces)
    const packet = { ...base, destination: addrOf(world.own[family][home]), ...dhcp }
    if (packet.protocol !== 17 || packet.sourcePort !== 547) return packet
    const { icmpType: _type, icmpCode: _code, ...rest } = packet as Packet
    return rest
  }
  const outInterface = random.pick(interfaces)
  const destination = addrOf(random.pick(world.beyond[family][outInterface]))
  return destination === base.source ? randomPacket(random, ports) : { ...base, destination, outInterface }
}

/** Every address has a way back by one of the two interfaces. */
function withWayBack(packet: Packet): Packet {
  if (packet.inInterface === undefined || packet.source >> 118n === 0x3fan) return packet
  return { ...packet, wayBack: routeOf(packet.family, packet.source) === packet.inInterface ? 'same' : 'other' }
}

function icmpType(random: Random, family: Family, direction: Packet['direction']): number {
  if (direction === 'out') return family === 'ipv4' ? 8 : 128
  return family === 'ipv4' ? random.pick([8, 8, 8, 0, 13, 17, 10, 3, 11]) : random.pick([128, 128, 128, 129, 139, 1, 2, 133, 134, 135, 136, 130, 143, 137])
}

/** A packet back along the same flow, or an ICMP error about it; only for flows that connection tracking follows. */
function followerOf(random: Random, first: PacketCase, received: Packet, marker: number): PacketCase | null {
  const { packet } = first
  const trackable = packet.protocol === 17 || (packet.protocol === 6 && first.tcpFlags === tcpFlags.syn) || packet.icmpType === 8 || packet.icmpType === 128
  // a packet for this host is answered by the kernel itself; only what leaves it can be answered from outside
  if (!trackable || received.direction === 'in' || received.outInterface === undefined || received.outInterface === 'lo') return null
  const from = received.outInterface as Interface
  // a forwarded answer must find its way back through the interface the question came from
  if (packet.direction !== 'out' && routeOf(packet.family, packet.source) !== packet.inInterface) return null
  const asError = random.chance(0.4)
  const icmp = packet.family === 'ipv4' ? { protocol: 1, icmpType: 3, icmpCode: 3 } : { protocol: 58, icmpType: 1, icmpCode: 4 }
  /** The way back of a packet, seen from there. */
  const back = (one: Packet): Packet => ({
    ...(asError ? icmp : { protocol: packet.protocol, ...replyPorts(one) }),
    direction: isOwnAddr(one.family, one.source) ? 'in' : 'forward', family: one.family, inInterface: from, sourceMac: peerMacs[from],
    source: one.destination, destination: one.source,
    ...(isOwnAddr(one.family, one.source) || packet.inInterface === undefined ? {} : { outInterface: packet.inInterface }),
  })
  return {
    packet: withWayBack(back(received)),
    marker,
    ...(packet.protocol === 6 && !asError ? { tcpFlags: tcpFlags.syn | tcpFlags.ack } : {}),
    follows: { marker: first.marker, as: asError ? 'error' : 'reply', received, returned: back(packet) },
  }
}

function replyPorts({ family, icmpType, sourcePort, destinationPort }: Packet): Partial<Packet> {
  if (icmpType !== undefined) return { icmpType: family === 'ipv4' ? 0 : 129, icmpCode: 0 }
  return { sourcePort: destinationPort as number, destinationPort: sourcePort as number }
}

function isOwnAddr(family: Family, addr: bigint): boolean {
  return Object.values(world.own[family]).some((text) => addrOf(text) === addr)
}

/** Which interface the firewall of the private host sends to that address by. */
export function routeOf(family: Family, addr: bigint): Interface {
  const inner = family === 'ipv4' ? { family, addr: addrOf('198.51.100.0'), length: 24 } : { family, addr: addrOf('2001:db8:2::'), length: 64 }
  return prefixHasAddr(inner, family, addr) ? 'int0' : 'ext0'
}

/** What connection tracking says of the case, given whether the case it follows was let through. */
export function connectionState(one: PacketCase, followedPassed: boolean): ConnectionState {
  const { packet } = one
  if (one.follows?.as === 'error') return followedPassed ? 'related' : 'invalid'
  if (one.follows?.as === 'reply' && followedPassed) return 'established'
  if (packet.protocol === 6) {
    // loose pick-up: a lone ACK may belong to a connection older than the tracking; SYN-ACK, RST and FIN cannot begin one
    return one.tcpFlags === tcpFlags.syn || one.tcpFlags === tcpFlags.ack ? 'new' : 'invalid'
  }
  if (packet.family === 'ipv4' && packet.protocol === 1) return [8, 13, 15, 17].includes(packet.icmpType ?? 0) ? 'new' : 'invalid'
  if (packet.family === 'ipv6' && packet.protocol === 58) {
    const type = packet.icmpType ?? 0
    if ((type >= 130 && type <= 136) || type === 143) return 'untracked'
    return type === 128 || type === 139 ? 'new' : 'invalid'
  }
  return 'new'
}

/** Can the kernel answer this packet with an ICMP error at all? It answers no ICMP errors, which for IPv4 router discovery counts as. */
export function canBeAnswered(packet: Packet): boolean {
  if (packet.family === 'ipv4' && packet.protocol === 1) return [0, 8, 13, 14, 15, 16, 17, 18].includes(packet.icmpType ?? 0)
  return !(packet.family === 'ipv6' && packet.protocol === 58) || (packet.icmpType ?? 0) >= 128
}

/** The answer a reject type sends: ICMP type/code of the family, or RST. */
export const rejectAnswers: Readonly<Record<Family, Readonly<Partial<Record<RejectType, string>>>>> = {
  ipv4: {
    'admin-prohibited': 'icmp3/13', 'net-unreachable': 'icmp3/0', 'host-unreachable': 'icmp3/1', 'port-unreachable': 'icmp3/3',
    'proto-unreachable': 'icmp3/2', 'net-prohibited': 'icmp3/9', 'host-prohibited': 'icmp3/10', 'tcp-reset': 'rst',
  },
  ipv6: { 'admin-prohibited': 'icmp1/1', 'port-unreachable': 'icmp1/4', 'no-route': 'icmp1/0', 'addr-unreachable': 'icmp1/3', 'tcp-reset': 'rst' },
}

/** The same for both directions, so that no case is by accident the answer to another. */
function flowOf(packet: Packet): string {
  // newer kernels track DCCP without looking at its ports
  const [from, to] = packet.protocol === 33 ? [0, 0] : [packet.sourcePort ?? 0, packet.destinationPort ?? 0]
  const ends = [`${packet.source}:${from}`, `${packet.destination}:${to}`].sort()
  return [packet.family, packet.protocol, ...ends, packet.icmpType ?? ''].join(' ')
}

/** Ports that rules name, and their neighbours. */
function portsOf(settings: Settings): number[] {
  const owners = [...settings.zones.values(), ...settings.policies.values()].map(({ value }) => value)
  const named = owners.flatMap(({ ports, sourcePorts, forwardPorts }) => [...ports, ...sourcePorts, ...forwardPorts, ...forwardPorts]).concat(settings.main.value.failsafePorts)
    .flatMap(({ port }) => port.split('-').map(Number)).flatMap((port) => [port - 1, port, port, port + 1])
  return [...named, ...world.ports, ...world.ports].filter((port) => port >= 1 && port <= 65535)
}

/** One line for a person: `in ext0 203.0.113.5:1234 > 192.0.2.1:22 tcp syn new`. */
export function describePacket(one: PacketCase): string {
  const { packet } = one
  const end = (addr: bigint, port?: number): string => {
    const text = formatAddr(packet.family, addr & ((1n << BigInt(addressBits(packet.family))) - 1n))
    return port === undefined ? text : packet.family === 'ipv4' ? `${text}:${port}` : `[${text}]:${port}`
  }
  return [
    `#${one.marker}`, packet.direction, packet.inInterface ?? '', packet.outInterface === undefined ? '' : `→ ${packet.outInterface}`,
    packet.sourceMac ?? '', end(packet.source, packet.sourcePort), '>', end(packet.destination, packet.destinationPort), `protocol ${packet.protocol}`,
    packet.icmpType === undefined ? '' : `icmp ${packet.icmpType}/${packet.icmpCode ?? 0}`,
    one.tcpFlags === undefined ? '' : `flags ${one.tcpFlags}`, one.follows === undefined ? '' : `${one.follows.as} of #${one.follows.marker}`,
  ].filter((word) => word !== '').join(' ')
}

/** Bytes options of a case. */
export function frameOptions({ marker, tcpFlags: flags, follows }: PacketCase): FrameOptions {
  return {
    marker,
    ...(flags === undefined ? {} : { tcpFlags: flags }),
    ...(follows?.as === 'reply' ? { tcpAcknowledgement: follows.marker + 1, icmpIdentifier: follows.marker } : {}),
    ...(follows?.as === 'error' ? { quoted: buildPacket(follows.received, { marker: follows.marker }) } : {}),
  }
}
