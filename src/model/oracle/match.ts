// Does a packet fit a Match? One reading of the model, written without a look at how rulesets say the same.
import { prefixHasAddr } from '../addr.ts'
import { listContains } from '../address-list.ts'
import type { AddressMatch, Firewall, Match, PortRange, ProtocolMatch } from '../firewall.ts'
import { icmpProtocol } from '../icmp.ts'
import type { Packet } from '../packet.ts'
import { protocolNumbers } from '../port.ts'
import { ipsetHas } from './ipset.ts'

export function fitsMatch(match: Match, packet: Packet, firewall: Firewall): boolean {
  return (match.family === undefined || match.family === packet.family)
    && (match.source === undefined || fitsAddress(match.source, packet, 'source', firewall))
    && (match.destination === undefined || fitsAddress(match.destination, packet, 'destination', firewall))
    && (match.protocol === undefined || fitsProtocol(match.protocol, packet))
}

/** Of another family than the match: never, inverted or not. */
export function fitsAddress(match: AddressMatch, packet: Packet, side: 'source' | 'destination', firewall: Firewall): boolean {
  switch (match.kind) {
    case 'prefix':
      if (match.prefix.family !== packet.family) return false
      return prefixHasAddr(match.prefix, packet.family, packet[side]) !== match.invert
    case 'mac':
      // what came by no Ethernet has no MAC, not another one
      return side === 'source' && packet.sourceMac !== undefined && (packet.sourceMac === match.mac) !== match.invert
    case 'list':
      return listContains(match.list, packet.family, packet[side]) !== match.invert
    case 'ipset': {
      const ipset = firewall.ipsets.get(match.name)
      if (ipset === undefined || (ipset.family !== null && ipset.family !== packet.family)) return false
      return ipsetHas(ipset, packet, side) !== match.invert
    }
  }
}

function fitsProtocol(match: ProtocolMatch, packet: Packet): boolean {
  switch (match.kind) {
    case 'port': return protocolNumbers[match.protocol] === packet.protocol && inRange(match.ports, packet.destinationPort)
    case 'source-port': return protocolNumbers[match.protocol] === packet.protocol && inRange(match.ports, packet.sourcePort)
    case 'protocol': return match.number === packet.protocol
    case 'any-icmp': return icmpProtocol[packet.family] === packet.protocol
    case 'icmp':
      return icmpProtocol[packet.family] === packet.protocol && match.type === packet.icmpType
        && (match.code === null || match.code === packet.icmpCode)
  }
}

export function inRange(range: PortRange, port: number | undefined): boolean {
  return port !== undefined && range.first <= port && port <= range.last
}
