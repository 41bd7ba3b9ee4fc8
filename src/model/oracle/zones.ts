// Which zone a packet comes from and goes to: the first binding that fits.
import type { AddressMatch, Binding, Firewall, PolicySide, Zone } from '../firewall.ts'
import { interfaceMatches } from '../interface-name.ts'
import type { Packet } from '../packet.ts'
import { fitsAddress } from './match.ts'

/** The default zone's last binding fits everything. */
export function zoneOf(firewall: Firewall, packet: Packet): Zone {
  const binding = firewall.ingress.find((candidate) => fits(candidate, packet, 'source', packet.inInterface, firewall))
  return zoneNamed(firewall, binding)
}

export interface Outgoing {
  readonly zone: Zone
  /** By a binding of its own, not because the default zone takes what nothing binds. */
  readonly isBound: boolean
}

export function outgoingZone(firewall: Firewall, packet: Packet): Outgoing {
  const binding = firewall.egress.find((candidate) => fits(candidate, packet, 'destination', packet.outInterface, firewall))
  return { zone: zoneNamed(firewall, binding), isBound: binding?.kind !== 'any' }
}

/** Before routing: the zone whose source binding the destination is in, or null. */
export function destinationZone(firewall: Firewall, packet: Packet): string | null {
  const sources = firewall.egress.filter(({ kind }) => kind === 'source')
  return sources.find((candidate) => fits(candidate, packet, 'destination', undefined, firewall))?.zone ?? null
}

function zoneNamed(firewall: Firewall, binding: Binding | undefined): Zone {
  const zone = firewall.zones.get(binding?.zone ?? '')
  if (zone === undefined) throw new Error(`no zone for the packet: ${binding?.zone ?? 'no binding fits'}`)
  return zone
}

function fits({ kind, source, interface: match }: Binding, packet: Packet, side: 'source' | 'destination', ifname: string | undefined, firewall: Firewall): boolean {
  switch (kind) {
    case 'source': return source !== undefined && fitsSide(source.match, packet, side, firewall)
    case 'interface': return match !== undefined && ifname !== undefined && interfaceMatches(match, ifname)
    case 'any': return true
  }
}

function fitsSide(match: AddressMatch, packet: Packet, side: 'source' | 'destination', firewall: Firewall): boolean {
  return fitsAddress(match, packet, side, firewall)
}

/** `zone` null = this host. */
export function sideHas(side: PolicySide, zone: string | null): boolean {
  switch (side.kind) {
    case 'any': return zone !== null
    case 'host': return zone === null
    case 'zones': return zone !== null && side.zones.includes(zone)
  }
}
