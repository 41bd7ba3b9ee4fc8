// Which rules give a packet a mark, and a new connection another destination or another sender.
import type { Firewall, NatRule, Policy, Rule, Zone } from '../firewall.ts'
import type { Packet } from '../packet.ts'
import { fitsMatch } from './match.ts'
import { destinationZone, outgoingZone, sideHas, zoneOf } from './zones.ts'

type Kind = 'destinationNat' | 'sourceNat'

/** Policies of negative priority, the zone, policies of positive priority. */
function inOrder<T>(policies: readonly Policy[], zone: Zone | null, rulesOf: (of: Policy | Zone) => readonly T[]): readonly T[] {
  return [
    ...policies.filter(({ priority }) => priority < 0).flatMap(rulesOf),
    ...(zone === null ? [] : rulesOf(zone)),
    ...policies.filter(({ priority }) => priority > 0).flatMap(rulesOf),
  ]
}

function firstRule(firewall: Firewall, packet: Packet, kind: Kind, zone: Zone | null, isAsked: (policy: Policy) => boolean): NatRule | null {
  const rules = inOrder(firewall.policies.filter(isAsked), zone, (of) => of[kind])
  return rules.find(({ match }) => fitsMatch(match, packet, firewall)) ?? null
}

/** Policies that concern a packet that comes in, before anybody knows where it goes: as far as its destination tells. */
function beforeRouting(firewall: Firewall, packet: Packet, zone: Zone): (policy: Policy) => boolean {
  const goes = destinationZone(firewall, packet)
  return ({ ingress, egress }) => sideHas(ingress, zone.name) && (egress.kind !== 'zones' || sideHas(egress, goes))
}

/** All of them are asked, one after the other. */
export function incomingMarks(firewall: Firewall, packet: Packet): readonly Rule[] {
  const zone = zoneOf(firewall, packet)
  return inOrder(firewall.policies.filter(beforeRouting(firewall, packet, zone)), zone, ({ marks = [] }) => marks)
}

/** Of a packet that comes in, before anybody knows where it goes. Only the forward-ports of the zone it comes by count. */
export function incomingTranslation(firewall: Firewall, packet: Packet): NatRule | null {
  const zone = zoneOf(firewall, packet)
  return firstRule(firewall, packet, 'destinationNat', zone, beforeRouting(firewall, packet, zone))
}

/** Of a packet that this host sends: only policies from HOST. */
export function hostTranslation(firewall: Firewall, packet: Packet): NatRule | null {
  if (packet.outInterface === 'lo') return null
  const goes = outgoingZone(firewall, packet).zone.name
  return firstRule(firewall, packet, 'destinationNat', null, ({ ingress, egress }) => sideHas(ingress, null) && sideHas(egress, goes))
}

/** Of a packet about to leave. `ANY` as the ingress side of a policy has this host's own packets too, here and nowhere else. */
export function leavingTranslation(firewall: Firewall, packet: Packet): NatRule | null {
  if (packet.outInterface === 'lo') return null
  const { zone } = outgoingZone(firewall, packet)
  const from = packet.direction === 'out' ? null : zoneOf(firewall, packet).name
  return firstRule(firewall, packet, 'sourceNat', zone, ({ ingress, egress }) => (
    (ingress.kind === 'any' || sideHas(ingress, from)) && sideHas(egress, zone.name)))
}
