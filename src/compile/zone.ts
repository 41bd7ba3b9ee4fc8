// One zone's decisions for packets to this host. Plain open ports are gathered in sets, so that opening one more is
// an edit of a set and the price of a packet does not grow with the number of ports.
import type { IpSet, PortProtocol, Rule, Zone } from '../model/firewall.ts'
import { compileMatch } from './match.ts'
import type { MatchContext } from './match.ts'
import type { PlanChain, PlanRule, PlanSet, PortRule } from './plan.ts'
import { SetRegistry, portSet } from './sets.ts'

export function inputChainName(zone: string): string {
  return `zone:${zone}:input`
}

export function forwardChainName(zone: string): string {
  return `zone:${zone}:forward`
}

type FoldedProtocol = Extract<PortProtocol, 'tcp' | 'udp'>
interface Fold {
  readonly protocol: FoldedProtocol
  readonly side: 'source' | 'destination'
}

/** Destination sets exist in every active zone, source-port sets only where a zone has one. */
const folds: readonly Fold[] = [
  { protocol: 'tcp', side: 'destination' },
  { protocol: 'udp', side: 'destination' },
  { protocol: 'tcp', side: 'source' },
  { protocol: 'udp', side: 'source' },
]

interface CompiledZone {
  readonly chain: PlanChain
  readonly sets: readonly PlanSet[]
  /** The ipsets it was compiled with: another one under the same name may have another family. */
  readonly ipsets: readonly (readonly [string, IpSet | undefined])[]
}

const compiled = new WeakMap<Zone, CompiledZone>()

/**
 * Adds the zone's sets to the registry. The chain always ends in a rule that matches everything: it never returns.
 * A zone that kept its identity (resolve.ts) is compiled once.
 */
export function compileZoneInput(zone: Zone, context: MatchContext): PlanChain {
  let known = compiled.get(zone)
  if (known === undefined || !known.ipsets.every(([name, ipset]) => context.ipsets.get(name) === ipset)) {
    const sets = new SetRegistry()
    const chain = compileRules(zone, { sets, ipsets: context.ipsets })
    const names = sets.list().flatMap(({ user }) => (user === undefined ? [] : [user.name]))
    known = { chain, sets: sets.list(), ipsets: names.map((name) => [name, context.ipsets.get(name)]) }
    compiled.set(zone, known)
  }
  for (const set of known.sets) context.sets.add(set)
  return known.chain
}

function compileRules(zone: Zone, context: MatchContext): PlanChain {
  const place = foldPlace(zone.rules)
  const folded = zone.rules.slice(place.start, place.end).filter((rule) => foldOf(rule) !== null)
  const rules: PlanRule[] = []
  zone.rules.forEach((rule, index) => {
    if (index === place.at) rules.push(...portSetRules(zone, folded, context))
    if (index >= place.start && index < place.end && foldOf(rule) !== null) return
    for (const match of compileMatch(rule.match, context)) rules.push({ id: rule.id, match, verdict: rule.verdict, origin: rule.origin })
  })
  return { name: inputChainName(zone.name), rules }
}

function portSetRules(zone: Zone, folded: readonly Rule[], context: MatchContext): PlanRule[] {
  return folds.flatMap(({ protocol, side }) => {
    const portRules = folded.flatMap((rule): PortRule[] => {
      const fold = foldOf(rule)
      return fold !== null && fold.protocol === protocol && fold.side === side ? [{ ...portsOf(rule), rule: rule.id }] : []
    })
    if (side === 'source' && portRules.length === 0) return []
    const role = context.sets.add(portSet(`zone:${zone.name}:${protocol}${side === 'source' ? '-source' : ''}`, portRules))
    return [{ id: '', match: [{ kind: 'port-set', role, protocol, side }], verdict: { kind: 'accept' } }]
  })
}

/** A rule that a port set can stand for: accepts tcp or udp ports from and to anywhere in both families. */
function foldOf(rule: Rule): Fold | null {
  const { family, source, destination, protocol } = rule.match
  if (rule.verdict.kind !== 'accept' || family !== undefined || source !== undefined || destination !== undefined) return null
  if (protocol?.kind !== 'port' && protocol?.kind !== 'source-port') return null
  if (protocol.protocol !== 'tcp' && protocol.protocol !== 'udp') return null
  return { protocol: protocol.protocol, side: protocol.kind === 'port' ? 'destination' : 'source' }
}

function portsOf(rule: Rule): { first: number; last: number } {
  const { protocol } = rule.match
  if (protocol?.kind !== 'port' && protocol?.kind !== 'source-port') throw new Error(`rule ${rule.id} has no ports`)
  return { first: protocol.ports.first, last: protocol.ports.last }
}

/**
 * Where the sets stand. Accepting rules may change places with each other but not with a reject or drop, so only
 * the rules of one run of accepts are folded: the run with most plain ports (the last of equals), which is the zone's
 * own ports and services; rich rules with other priorities have runs of their own and stay single rules.
 * `at`: index before which the set rules go. Without any plain port that is in front of the zone's target.
 */
function foldPlace(rules: readonly Rule[]): { start: number; end: number; at: number } {
  let best = { start: 0, end: 0, at: -1, count: 0 }
  for (let start = 0; start < rules.length; start++) {
    if (rules[start]!.verdict.kind !== 'accept') continue
    let end = start
    let count = 0
    let at = -1
    for (; end < rules.length && rules[end]!.verdict.kind === 'accept'; end++) {
      if (foldOf(rules[end]!) === null) continue
      if (at < 0) at = end
      count++
    }
    if (count > 0 && count >= best.count) best = { start, end, at, count }
    start = end
  }
  if (best.at >= 0) return best
  const target = rules.findIndex((rule) => /\/target(#\w+)?$/.test(rule.id))
  return { start: 0, end: 0, at: target < 0 ? rules.length - 1 : target }
}
