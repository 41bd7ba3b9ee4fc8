// Which zone takes a packet: the order of sources and interfaces of all zones.
import { printable } from '../../errors.ts'
import type { AddressMatch, Binding, IpSet, Zone } from '../firewall.ts'
import type { Problems } from './problem.ts'
import { sourceKey } from './zone.ts'

/**
 * The order is firewalld 2.5's: the zone's number first, within a number sources before interfaces, within these zones by
 * name and items as written; the default zone's `any` last whatever its number. Exact interface names come before
 * wildcards and longer wildcards before shorter ones, so that a name given to one zone is not taken by another's `eth+`.
 */
export function ingressBindings(zones: readonly Zone[], defaultZone: string): readonly Binding[] {
  return [...ordered(zones, (zone) => zone.ingressPriority), { zone: defaultZone, kind: 'any' }]
}

/** The same for where packets go. A MAC address says where a packet comes from, never where it goes. */
export function egressBindings(zones: readonly Zone[], defaultZone: string, ipsets: ReadonlyMap<string, IpSet>): readonly Binding[] {
  const goes = ({ source }: Binding): boolean => source === undefined || !isMacOnly(source.match, ipsets)
  return [...ordered(zones, (zone) => zone.egressPriority).filter(goes), { zone: defaultZone, kind: 'any' }]
}

function isMacOnly(match: AddressMatch, ipsets: ReadonlyMap<string, IpSet>): boolean {
  return match.kind === 'mac' || (match.kind === 'ipset' && ipsets.get(match.name)?.type === 'hash:mac')
}

function ordered(zones: readonly Zone[], numberOf: (zone: Zone) => number): readonly Binding[] {
  const byName = [...zones].sort((one, other) => (one.name < other.name ? -1 : one.name > other.name ? 1 : 0))
  const numbers = [...new Set(byName.map(numberOf))].sort((one, other) => one - other)
  return numbers.flatMap((number) => {
    const same = byName.filter((zone) => numberOf(zone) === number)
    const sources = same.flatMap((zone) => zone.sources.map((source): Binding => ({ zone: zone.name, kind: 'source', source })))
    const interfaces = same.flatMap((zone) => zone.interfaces.map((match) => ({ zone: zone.name, match })))
    interfaces.sort((one, other) => Number(one.match.wildcard) - Number(other.match.wildcard)
      || (one.match.wildcard ? other.match.name.length - one.match.name.length : 0))
    return [...sources, ...interfaces.map(({ zone, match }): Binding => ({ zone, kind: 'interface', interface: match }))]
  })
}

/** A source or interface belongs to one zone. Reports ZONE_CONFLICT at the later one. */
export function checkConflicts(zones: readonly Zone[], problems: Problems): void {
  const owners = new Map<string, string>()
  const claim = (key: string, shown: string, zone: Zone, origin: Zone['origin']): void => {
    const owner = owners.get(key)
    if (owner === undefined) owners.set(key, zone.name)
    else if (owner !== zone.name) problems.add('ZONE_CONFLICT', `'${printable(shown)}' already bound to '${owner}'`, origin)
  }
  for (const zone of zones) {
    for (const { match, origin } of zone.sources) claim(`source ${sourceKey(match)}`, sourceKey(match), zone, origin)
    for (const { name, wildcard, origin } of zone.interfaces) {
      const shown = wildcard ? `${name}+` : name
      claim(`interface ${shown}`, shown, zone, origin)
    }
  }
}
