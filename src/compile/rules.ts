// The decisions of one zone or policy as plan rules. Plain open ports are gathered in sets, so that opening one more is
// an edit of a set and the price of a packet does not grow with the number of ports.
import type { PortProtocol, Rule } from '../model/firewall.ts'
import { compileMatch } from './match.ts'
import { families } from './plan.ts'
import type { MatchContext } from './match.ts'
import type { PlanMatch, PlanRule, PortRule } from './plan.ts'
import { leaseSet, portSet } from './sets.ts'

type FoldedProtocol = Extract<PortProtocol, 'tcp' | 'udp'>
interface Fold {
  readonly protocol: FoldedProtocol
  readonly side: 'source' | 'destination'
}

const folds: readonly Fold[] = [
  { protocol: 'tcp', side: 'destination' },
  { protocol: 'udp', side: 'destination' },
  { protocol: 'tcp', side: 'source' },
  { protocol: 'udp', side: 'source' },
]

/** A set costs a packet as much as some rules, and a megabyte of kernel memory for its counters. */
const manyPorts = 8

/**
 * `owner` (`zone:public`) begins the roles of the sets. Ends without deciding the rest.
 * `sets`: `always` = sets of open destination ports are there even when empty, so that the first port is an edit too;
 * `many` = only where they save rules, for lists that no single change touches.
 */
export function compileRules(owner: string, list: readonly Rule[], context: MatchContext, sets: 'always' | 'many'): readonly PlanRule[] {
  const found = foldPlace(list)
  const place = sets === 'many' && found.count < manyPorts ? { start: 0, end: 0, at: list.length } : found
  const isFolded = (rule: Rule, index: number): boolean => index >= place.start && index < place.end && foldOf(rule) !== null
  const folded = list.filter(isFolded)
  const rules: PlanRule[] = []
  list.forEach((rule, index) => {
    if (index === place.at) rules.push(...portSetRules(owner, folded, context, sets))
    if (!isFolded(rule, index)) rules.push(...compileRule(rule, context))
  })
  if (place.at === list.length) rules.push(...portSetRules(owner, folded, context, sets))
  return rules
}

const compiled = new WeakMap<Rule, readonly PlanRule[]>()

/** A rule that asks no set of its own compiles to the same objects again; of original destinations it says other things. */
export function compileRule(rule: Rule, context: MatchContext): readonly PlanRule[] {
  const asksSet = rule.untilMs !== undefined || [rule.match.source, rule.match.destination].some((address) => address?.kind === 'ipset' || address?.kind === 'list')
  if (asksSet || context.original === true) return writeRule(rule, context)
  const known = compiled.get(rule)
  if (known !== undefined) return known
  const made = writeRule(rule, context)
  compiled.set(rule, made)
  return made
}

function writeRule(rule: Rule, context: MatchContext): readonly PlanRule[] {
  const beside = besideMatches(rule)
  const matches = compileMatch(rule.match, context)
  const timed = rule.untilMs === undefined ? matches : matches.flatMap((match) => withLease(match, rule.untilMs!, context))
  return timed.map((match) => ({ id: rule.id, match: [...match, ...beside], verdict: rule.verdict, origin: rule.origin }))
}

/** A set of one family answers for that family alone. */
function withLease(match: readonly PlanMatch[], untilMs: number, context: MatchContext): readonly (readonly PlanMatch[])[] {
  const named = match.find((one) => one.kind === 'family')
  const rest = match.filter((one) => one !== named)
  return (named?.kind === 'family' ? [named.family] : families).map((family) => (
    [{ kind: 'family', family }, ...rest, { kind: 'set', role: context.sets.add(leaseSet(family, untilMs)), side: 'source', invert: false }]))
}

/** What the rule asks of a packet beside its match. The limit is last: only what fits all else may use it up. */
function besideMatches({ verdict, limit }: Rule): readonly PlanMatch[] {
  return [
    ...(verdict.kind === 'tcp-mss' ? [{ kind: 'tcp-syn' } as const] : []),
    ...(verdict.kind === 'log' && verdict.packetType !== undefined ? [{ kind: 'packet-type', type: verdict.packetType } as const] : []),
    ...(limit === undefined ? [] : [{ kind: 'limit', limit } as const]),
  ]
}

function portSetRules(owner: string, folded: readonly Rule[], context: MatchContext, sets: 'always' | 'many'): PlanRule[] {
  return folds.flatMap(({ protocol, side }) => {
    const portRules = folded.flatMap((rule): PortRule[] => {
      const fold = foldOf(rule)
      return fold !== null && fold.protocol === protocol && fold.side === side ? [{ ...portsOf(rule), rule: rule.id }] : []
    })
    if (portRules.length === 0 && (side === 'source' || sets === 'many')) return []
    const role = context.sets.add(portSet(`${owner}:${protocol}${side === 'source' ? '-source' : ''}`, portRules))
    return [{ id: '', match: [{ kind: 'port-set', role, protocol, side }], verdict: { kind: 'accept' } }]
  })
}

/** A rule that a port set can stand for: accepts tcp or udp ports from and to anywhere in both families. */
function foldOf(rule: Rule): Fold | null {
  const { family, source, destination, protocol } = rule.match
  if (rule.verdict.kind !== 'accept' || rule.limit !== undefined || rule.untilMs !== undefined || family !== undefined || source !== undefined || destination !== undefined) return null
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
 * `at`: index before which the set rules go; the end without any plain port.
 */
function foldPlace(rules: readonly Rule[]): { start: number; end: number; at: number; count: number } {
  let best = { start: 0, end: 0, at: rules.length, count: 0 }
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
  return best
}
