// From a model Match to Plan matches: one model rule becomes as many plan rules as families and lists ask for.
import type { Family } from '../model/addr.ts'
import type { AddressMatch, IpSet, Match, ProtocolMatch } from '../model/firewall.ts'
import { DerpanetError, unreachable } from '../errors.ts'
import type { PlanMatch, PlanSet } from './plan.ts'
import { listSet, userSet } from './sets.ts'
import type { SetRegistry } from './sets.ts'

export interface MatchContext {
  readonly sets: SetRegistry
  readonly ipsets: ReadonlyMap<string, IpSet>
  /** Destinations are where a connection was going before that was rewritten. Sets cannot be asked for it (resolve/published.ts). */
  readonly original?: boolean
  /** Sets of rules as elements that stay although they got small or empty: see {@link keptRoles}. Absent = none. */
  readonly kept?: ReadonlySet<string>
}

/** The ipsets that something was compiled with: another one under the same name may have another family. */
export type NamedIpSets = readonly (readonly [string, IpSet | undefined])[]

export function ipsetsOf(sets: readonly PlanSet[], { ipsets }: MatchContext): NamedIpSets {
  return sets.flatMap(({ user }) => (user === undefined ? [] : [[user.name, ipsets.get(user.name)]]))
}

export function areSame(named: NamedIpSets, { ipsets }: MatchContext): boolean {
  return named.every(([name, ipset]) => ipsets.get(name) === ipset)
}

type Side = 'source' | 'destination'

interface Variant {
  /** null = both. */
  readonly family: Family | null
  readonly match: readonly PlanMatch[]
}

/** One variant per combination that some packet can fulfil. Throws INVALID_IPSET for a set that does not exist. */
export function compileMatch(match: Match, context: MatchContext): readonly (readonly PlanMatch[])[] {
  let variants: readonly Variant[] = [{ family: match.family ?? null, match: [] }]
  if (match.source !== undefined) variants = combine(variants, compileAddress(match.source, 'source', context))
  if (match.destination !== undefined) variants = combine(variants, compileAddress(match.destination, 'destination', context))
  if (match.protocol !== undefined) variants = combine(variants, [compileProtocol(match.protocol, context)])
  return variants.map((variant) => (variant.family === null ? variant.match : [{ kind: 'family', family: variant.family }, ...variant.match]))
}

function combine(left: readonly Variant[], right: readonly Variant[]): readonly Variant[] {
  return left.flatMap((a) => right
    .filter((b) => a.family === null || b.family === null || a.family === b.family)
    .map((b) => ({ family: a.family ?? b.family, match: [...a.match, ...b.match] })))
}

export function compileAddress(address: AddressMatch, side: Side, context: MatchContext): readonly Variant[] {
  switch (address.kind) {
    case 'prefix': {
      const { prefix, invert } = address
      // every address of the family: nothing to match, and iptables refuses the inverted form, which no packet fulfils
      if (prefix.length === 0) return invert ? [] : [{ family: prefix.family, match: [] }]
      const kind = side === 'source' ? 'source-prefix' : context.original === true ? 'original-destination' : 'destination-prefix'
      return [{ family: prefix.family, match: [{ kind, prefix, invert }] }]
    }
    case 'mac':
      return [{ family: null, match: [{ kind: 'source-mac', mac: address.mac, invert: address.invert }] }]
    case 'ipset': {
      const ipset = context.ipsets.get(address.name)
      if (ipset === undefined) throw new DerpanetError('INVALID_IPSET', address.name)
      if (side === 'destination' && context.original === true) throw new Error(`ipset ${ipset.name} is asked for an original destination`)
      const role = context.sets.add(userSet(ipset))
      return [{ family: ipset.family, match: [{ kind: 'set', role, side, invert: address.invert }] }]
    }
    case 'list':
      return (['ipv4', 'ipv6'] as const).map((family) => {
        const role = context.sets.add(listSet(address.list, family))
        return { family, match: [{ kind: 'set', role, side, invert: address.invert }] }
      })
    default:
      return unreachable(address)
  }
}

function compileProtocol(protocol: ProtocolMatch, { original }: MatchContext): Variant {
  switch (protocol.kind) {
    case 'port':
      if (original === true) return { family: null, match: [{ kind: 'original-port', protocol: protocol.protocol, ports: protocol.ports }] }
      return { family: null, match: [{ kind: 'port', protocol: protocol.protocol, side: 'destination', ports: protocol.ports }] }
    case 'source-port':
      return { family: null, match: [{ kind: 'port', protocol: protocol.protocol, side: 'source', ports: protocol.ports }] }
    case 'protocol':
      return { family: null, match: [{ kind: 'protocol', number: protocol.number }] }
    case 'icmp':
      return { family: null, match: [{ kind: 'icmp', type: protocol.type, code: protocol.code }] }
    case 'any-icmp':
      return { family: null, match: [{ kind: 'any-icmp' }] }
    default:
      return unreachable(protocol)
  }
}
