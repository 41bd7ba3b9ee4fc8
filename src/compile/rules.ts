// The decisions of one zone or policy as plan rules. Plain open ports are gathered in sets, so that opening one more is
// an edit of a set and the price of a packet does not grow with the number of ports.
import type { PortProtocol, Rule } from '../model/firewall.ts'
import { foldSources, sourceFoldOf } from './fold.ts'
import type { Ends, Moved, SourceFold } from './fold.ts'
import { compileMatch } from './match.ts'
import { families } from './plan.ts'
import type { MatchContext } from './match.ts'
import type { PlanMatch, PlanRule, PortRule } from './plan.ts'
import { leaseSet, portSet } from './sets.ts'

type FoldedProtocol = Extract<PortProtocol, 'tcp' | 'udp'>

/** An open port, or one that packets come from. */
interface PortFold {
  readonly kind: `${FoldedProtocol} ${'source' | 'destination'}`
  readonly part: PortRule
}

const kinds: readonly PortFold['kind'][] = ['tcp destination', 'udp destination', 'tcp source', 'udp source']

/** Each rule's part in sets, beside the list. A list that differs by a few rules from the last one is read at these alone. */
interface Columns {
  readonly list: readonly Rule[]
  readonly ports: readonly (PortFold | null)[]
  readonly sources: readonly (SourceFold | null)[]
  /** null = groups must be looked for anew. */
  readonly moved: Moved | null
}

const lastColumns = new Map<string, Columns>()
const maxRemembered = 1000

function columnsOf(owner: string, list: readonly Rule[]): Columns {
  const last = lastColumns.get(owner) ?? { list: [], ports: [], sources: [], moved: null }
  let start = 0
  while (start < list.length && start < last.list.length && list[start] === last.list[start]) start++
  let end = 0
  while (end < list.length - start && end < last.list.length - start && list[list.length - 1 - end] === last.list[last.list.length - 1 - end]) end++
  const fresh = list.slice(start, list.length - end)
  const merge = <T>(column: readonly T[], read: (rule: Rule) => T): readonly T[] =>
    [...column.slice(0, start), ...fresh.map(read), ...column.slice(column.length - end)]
  const ports = merge(last.ports, portFoldOf)
  const isPlain = (column: readonly (PortFold | null)[], from: number, to: number): boolean => column.slice(from, to).every((fold) => fold !== null)
  const hasNeighbour = (ports[start - 1] ?? null) !== null || (end > 0 && ports[list.length - end] !== null)
  const moved = hasNeighbour && isPlain(last.ports, start, last.list.length - end) && isPlain(ports, start, list.length - end)
    ? { from: last.list, end: list.length - end, by: list.length - last.list.length }
    : null
  const columns = { list, ports, sources: merge(last.sources, sourceFoldOf), moved }
  if (lastColumns.size >= maxRemembered) lastColumns.clear()
  lastColumns.set(owner, columns)
  return columns
}

/** A set costs a packet as much as some rules, and a megabyte of kernel memory for its counters. */
const manyPorts = 8

/**
 * `owner` (`zone:public`) begins the roles of the sets. Ends without deciding the rest.
 * `sets`: `always` = sets of open destination ports are there even when empty, so that the first port is an edit too;
 * `many` = only where they save rules, for lists that no single change touches.
 */
export function compileRules(owner: string, list: readonly Rule[], context: MatchContext, sets: 'always' | 'many'): readonly PlanRule[] {
  const columns = columnsOf(owner, list)
  const found = foldPlace(columns)
  const place = sets === 'many' && found.count < manyPorts ? { start: 0, end: 0, at: list.length } : found
  const { groups, isGrouped } = foldSources(owner, list, columns.sources, endsOf(list, found), columns.moved, context.kept)
  const ports = new Map<PortFold['kind'], PortRule[]>()
  const rules: PlanRule[] = []
  let portsAt = -1
  const writeGroups = (index: number): void => {
    for (const { set, rule: member } of groups.get(index) ?? []) {
      context.sets.add(set)
      rules.push(member)
    }
  }
  list.forEach((rule, index) => {
    writeGroups(index)
    if (index === place.at) portsAt = rules.length
    const fold = index >= place.start && index < place.end ? columns.ports[index]! : null
    if (fold !== null) {
      const parts = ports.get(fold.kind)
      if (parts === undefined) ports.set(fold.kind, [fold.part])
      else parts.push(fold.part)
    } else if (isGrouped[index] === 0) rules.push(...compileRule(rule, context))
  })
  writeGroups(list.length)
  if (portsAt < 0) portsAt = rules.length
  rules.splice(portsAt, 0, ...portSetRules(owner, ports, context, sets))
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

function portSetRules(owner: string, ports: ReadonlyMap<PortFold['kind'], readonly PortRule[]>, context: MatchContext, sets: 'always' | 'many'): PlanRule[] {
  return kinds.flatMap((kind) => {
    const parts = ports.get(kind) ?? []
    const [protocol, side] = kind.split(' ') as [FoldedProtocol, 'source' | 'destination']
    if (parts.length === 0 && (side === 'source' || sets === 'many')) return []
    const role = context.sets.add(portSet(`${owner}:${protocol}${side === 'source' ? '-source' : ''}`, parts))
    return [{ id: '', match: [{ kind: 'port-set', role, protocol, side }], verdict: { kind: 'accept' } }]
  })
}

/** A rule that a port set can stand for: accepts tcp or udp ports from and to anywhere in both families. */
function portFoldOf(rule: Rule): PortFold | null {
  const { family, source, destination, protocol } = rule.match
  if (rule.verdict.kind !== 'accept' || rule.limit !== undefined || rule.untilMs !== undefined || family !== undefined || source !== undefined || destination !== undefined) return null
  if (protocol?.kind !== 'port' && protocol?.kind !== 'source-port') return null
  if (protocol.protocol !== 'tcp' && protocol.protocol !== 'udp') return null
  return {
    kind: `${protocol.protocol} ${protocol.kind === 'port' ? 'destination' : 'source'}`,
    part: { first: protocol.ports.first, last: protocol.ports.last, rule: rule.id },
  }
}

/**
 * Where the sets stand. Accepting rules may change places with each other but not with a reject, a drop or a limit, so only
 * the rules of one run of accepts are folded: the run with most plain ports (the last of equals), which is the zone's
 * own ports and services; rich rules with other priorities have runs of their own and stay single rules.
 * `at`: index before which the set rules go; the end without any plain port.
 */
function foldPlace({ list: rules, ports }: Columns): { start: number; end: number; at: number; count: number } {
  let best = { start: 0, end: 0, at: rules.length, count: 0 }
  for (let start = 0; start < rules.length; start++) {
    if (!isPlainAccept(rules[start]!)) continue
    let end = start
    let count = 0
    let at = -1
    for (; end < rules.length && isPlainAccept(rules[end]!); end++) {
      if (ports[end] === null) continue
      if (at < 0) at = end
      count++
    }
    if (count > 0 && count >= best.count) best = { start, end, at, count }
    start = end
  }
  return best
}

/** Denials of priority 0 stand before the zone's own ports and services, accepts behind them. */
function endsOf(list: readonly Rule[], { start, end, count }: ReturnType<typeof foldPlace>): Ends {
  if (count > 0) return { denials: start, accepts: end }
  const first = list.findIndex(isPlainAccept)
  return { denials: first < 0 ? list.length : first, accepts: list.length }
}

function isPlainAccept({ verdict, limit }: Rule): boolean {
  return verdict.kind === 'accept' && limit === undefined
}
