// What is decided before and beside the zones, the same for every interpreter (oracle, ruleset, XDP):
// the names under which these decisions are counted and reported, and the packets no zone may stop.
import type { Family, Prefix } from './addr.ts'
import { formatPrefix } from './addr.ts'
import { formatPortRange } from './port.ts'
import type { PortMatch } from './firewall.ts'

/** Rule ids of decisions that belong to no zone. */
export const stageRules = {
  panic: 'panic',
  established: 'connection/established',
  dnat: 'connection/dnat',
  invalid: 'connection/invalid',
  loopback: 'loopback',
  output: 'output',
  reversePath: 'reverse-path',
  hiddenIpv4: 'rfc3964',
} as const

export function failsafeRule(port: PortMatch): string {
  return `failsafe/${formatPortRange(port.ports)}/${port.protocol}`
}

export function neverBlockRule(prefix: Prefix): string {
  return `never-block/${formatPrefix(prefix)}`
}

export function blockListRule(list: string): string {
  return `block/${list}`
}

/** A forwarded packet that leaves by the zone it came from, in a zone with `forward`. */
export function zoneForwardRule(zone: string): string {
  return `zone/${zone}/forward`
}

/**
 * ICMPv6 types by which neighbours and routers find each other: IPv6's ARP. Neither panic nor a list stops them, because without
 * them nobody reaches a failsafe port and never-block means nothing; no answer leads further than the link.
 */
export const discovery: readonly number[] = [133, 134, 135, 136]

/**
 * By these a router says that it cannot hand on what this host sends, because it is too big. Panic does not stop them where
 * something else passes (failsafe ports, never-block): a session that passes would hang with its first long line.
 */
export const tooBig: Readonly<Record<Family, { readonly type: number; readonly code: number | null }>> = {
  ipv4: { type: 3, code: 4 }, ipv6: { type: 2, code: null },
}

/** Neighbour and router discovery, which the reverse path filter must not ask about: kernels had no answer for them. */
export const reversePathExempt: readonly number[] = [134, 135]

/**
 * RFC 3964: IPv4-compatible and -mapped addresses, and 6to4 ones of 0.0.0.0/8, 10.0.0.0/8, 127.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16,
 * 169.254.0.0/16 and of everything from 224.0.0.0 on.
 */
export const hiddenIpv4: readonly Prefix[] = [
  { family: 'ipv6', addr: 0n, length: 96 },
  { family: 'ipv6', addr: 0xffffn << 32n, length: 96 },
  ...([[0x00, 24], [0x0a00_0000, 24], [0x7f00_0000, 24], [0xac10_0000, 28], [0xc0a8_0000, 32], [0xa9fe_0000, 32], [0xe000_0000, 19]] as const)
    .map(([addr, length]): Prefix => ({ family: 'ipv6', addr: (0x2002n << 112n) | (BigInt(addr) << 80n), length })),
]

export interface Essential {
  readonly id: string
  readonly family: Family
  readonly source?: Prefix
  readonly protocol:
    | { readonly kind: 'icmp'; readonly type: number }
    | { readonly kind: 'udp'; readonly sourcePort: number; readonly destinationPort: number }
}

const linkLocal: Prefix = { family: 'ipv6', addr: 0xfe80n << 112n, length: 10 }

function icmp6(name: string, type: number): Essential {
  return { id: `essential/${name}`, family: 'ipv6', protocol: { kind: 'icmp', type } }
}

/**
 * Packets to this host without which it loses IPv6, whatever anybody configures: neighbours, routers, the question that
 * switches ask before they go on delivering multicast (neighbour discovery is multicast), and the answers to its own DHCPv6
 * client (they come from another address than the question went to, so they are never ESTABLISHED). Decided before INVALID,
 * because connection tracking does not know most of them. The rest of what IPv6 likes is the policy allow-host-ipv6.
 */
export const essentials: readonly Essential[] = [
  icmp6('neighbour-solicitation', 135),
  icmp6('neighbour-advertisement', 136),
  icmp6('router-advertisement', 134),
  icmp6('mld-query', 130),
  { id: 'essential/dhcpv6-reply', family: 'ipv6', source: linkLocal, protocol: { kind: 'udp', sourcePort: 547, destinationPort: 546 } },
]

/**
 * The same for what this host sends: only policies from HOST could stop it. Errors about known connections are known themselves;
 * those about what connection tracking does not follow (multicast membership) are named here, or a reject would not be heard.
 */
export const outgoingEssentials: readonly Essential[] = [
  icmp6('destination-unreachable', 1),
  icmp6('packet-too-big', 2),
  icmp6('time-exceeded', 3),
  icmp6('parameter-problem', 4),
  icmp6('neighbour-solicitation', 135),
  icmp6('neighbour-advertisement', 136),
  icmp6('router-solicitation', 133),
  icmp6('mld-report', 131),
  icmp6('mld-done', 132),
  icmp6('mld2-report', 143),
  { id: 'essential/dhcpv6-request', family: 'ipv6', protocol: { kind: 'udp', sourcePort: 546, destinationPort: 547 } },
]
