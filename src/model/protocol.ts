// IP protocol names and numbers (IANA facts, the names of /etc/protocols). No system lookup: see port-names.ts.
import { DerpanetError, printable } from '../errors.ts'

const numbers: Readonly<Record<string, number>> = {
  ip: 0, hopopt: 0, icmp: 1, igmp: 2, ggp: 3, ipencap: 4, st: 5, tcp: 6, egp: 8, igp: 9, pup: 12, udp: 17, hmp: 20, 'xns-idp': 22,
  rdp: 27, 'iso-tp4': 29, dccp: 33, xtp: 36, ddp: 37, 'idpr-cmtp': 38, ipv6: 41, 'ipv6-route': 43, 'ipv6-frag': 44, idrp: 45,
  rsvp: 46, gre: 47, esp: 50, ah: 51, skip: 57, 'ipv6-icmp': 58, 'ipv6-nonxt': 59, 'ipv6-opts': 60, rspf: 73, vmtp: 81, eigrp: 88,
  ospf: 89, 'ax.25': 93, ipip: 94, etherip: 97, encap: 98, pim: 103, ipcomp: 108, vrrp: 112, l2tp: 115, isis: 124, sctp: 132, fc: 133,
  'mobility-header': 135, udplite: 136, 'mpls-in-ip': 137, manet: 138, hip: 139, shim6: 140, wesp: 141, rohc: 142, ethernet: 143,
}

/** The aliases of /etc/protocols that are not the name in capitals. */
const aliases: Readonly<Record<string, number>> = {
  'IP-ENCAP': 4, 'IPv6': 41, 'IPv6-Route': 43, 'IPv6-Frag': 44, 'IPSEC-ESP': 50, 'IPSEC-AH': 51, 'IPv6-ICMP': 58, 'IPv6-NoNxt': 59,
  'IPv6-Opts': 60, OSPFIGP: 89, 'Mobility-Header': 135, UDPLite: 136, 'MPLS-in-IP': 137, Shim6: 140, Ethernet: 143,
}

/** "gre", "GRE" or "47" → 0–255; null for anything else. */
export function parseProtocol(text: string): number | null {
  if (/^\d{1,3}$/.test(text)) return Number(text) <= 255 ? Number(text) : null
  if (Object.hasOwn(numbers, text)) return numbers[text]!
  if (Object.hasOwn(aliases, text)) return aliases[text]!
  const lower = text.toLowerCase()
  return text === lower.toUpperCase() && Object.hasOwn(numbers, lower) ? numbers[lower]! : null
}

/** A number that a rule can ask packets for: iptables reads 0 as "every protocol". Throws INVALID_PROTOCOL. */
export function requireMatchableProtocol(text: string): number {
  const number = requireProtocol(text)
  if (number === 0) throw new DerpanetError('INVALID_PROTOCOL', `${printable(text)}: protocol 0 (hopopt) cannot be matched by iptables`)
  return number
}

/** As {@link parseProtocol}. Throws INVALID_PROTOCOL. */
export function requireProtocol(text: string): number {
  const number = parseProtocol(text)
  if (number === null) throw new DerpanetError('INVALID_PROTOCOL', printable(text))
  return number
}
