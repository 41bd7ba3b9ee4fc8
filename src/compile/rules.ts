// The decisions of one zone or policy as plan rules. Plain open ports are gathered in sets, so that opening one more is
// an edit of a set and the price of a packet does not grow with the number of ports.
import type { PortProtocol, Rule } from '../model/firewall.ts'
import { foldSources, keptOf, sourceFoldOf } from './fold.ts'
import type { Ends, SourceFold } from './fold.ts'
import { areSame, compileMatch, ipsetsOf } from './match.ts'
import { families } from './plan.ts'
import type { MatchContext, NamedIpSets } from './match.ts'
import type { PlanMatch, PlanRule, PlanSet, PortRule } from './plan.ts'
import { leaseSet, portSet, SetRegistry } from './sets.ts'

type FoldedProtocol = Extract<PortProtocol, 'tcp' | 'udp'>

/** An open port, or one that packets come from. */
interface PortFold {
  readonly kind: `${FoldedProtocol} ${'source' | 'destination'}`
  readonly part: PortRule
}

const kinds: readonly PortFold['kind'][] = ['tcp destination', 'udp destination', 'tcp source', 'udp source']

/** Each rule's part in sets, beside the list. */
interface Columns {
  readonly list: readonly Rule[]
  readonly ports: readonly (PortFold | null)[]
  readonly sources: readonly (SourceFold | null)[]
}

/** What the last compilation made of an owner's rules. */
interface Compiled {
  readonly columns: Columns
  readonly place: FoldPlace
  readonly kinds: readonly PortFold['kind'][]
  readonly rules: readonly PlanRule[]
  /** All but those of ports. */
  readonly sets: readonly PlanSet[]
  readonly ipsets: NamedIpSets
  readonly kept: string
}

const lastCompiled = new Map<string, Compiled>()
const maxRemembered = 1000
const noColumns: Columns = { list: [], ports: [], sources: [] }

/** A set costs a packet as much as some rules, and a megabyte of kernel memory for its counters. */
const manyPorts = 8

/**
 * `owner` (`zone:public`) begins the roles of the sets. Ends without deciding the rest.
 * `sets`: `always` = sets of open destination ports are there even when empty, so that the first port is an edit too;
 * `many` = only where they save rules, for lists that no single change touches.
 */
export function compileRules(owner: string, list: readonly Rule[], context: MatchContext, sets: 'always' | 'many'): readonly PlanRule[] {
  const last = lastCompiled.get(owner)
  const { columns, otherPorts } = columnsOf(last?.columns ?? noColumns, list)
  const kept = keptOf(owner, context.kept)
  const now = (last === undefined || otherPorts === null || last.kept !== kept || !areSame(last.ipsets, context) ? null : withOtherPorts(last, columns, otherPorts, sets))
    ?? { ...compileList(owner, columns, context, sets), columns, kept }
  if (lastCompiled.size >= maxRemembered) lastCompiled.clear()
  lastCompiled.set(owner, now)
  for (const set of now.sets) context.sets.add(set)
  const ports = portsIn(columns, now.place)
  for (const kind of now.kinds) context.sets.add(portSet(portRole(owner, kind), ports.get(kind) ?? []))
  return now.rules
}

/** The stretch in which a list differs from the last one. Indexes in the last one. */
interface Stretch {
  readonly start: number
  readonly end: number
  /** How many more there are. */
  readonly by: number
}

/** A list that differs by a few rules from the last one is read at these alone. `otherPorts`: only plain ports came and went. */
function columnsOf(last: Columns, list: readonly Rule[]): { readonly columns: Columns; readonly otherPorts: Stretch | null } {
  const shorter = Math.min(list.length, last.list.length)
  let start = 0
  while (start < shorter && list[start] === last.list[start]) start++
  let same = 0
  while (same < shorter - start && list[list.length - 1 - same] === last.list[last.list.length - 1 - same]) same++
  const end = last.list.length - same
  const fresh = list.slice(start, list.length - same)
  const merge = <T>(column: readonly T[], read: (rule: Rule) => T): readonly T[] => column.slice(0, start).concat(fresh.map(read), column.slice(end))
  const columns = { list, ports: merge(last.ports, portFoldOf), sources: merge(last.sources, sourceFoldOf) }
  const isPort = (fold: PortFold | null): boolean => fold !== null
  const onlyPorts = last.ports.slice(start, end).every(isPort) && columns.ports.slice(start, list.length - same).every(isPort)
  return { columns, otherPorts: onlyPorts ? { start, end, by: list.length - last.list.length } : null }
}

/** The same rules, when what came and went stands in the sets that there were. */
function withOtherPorts(last: Compiled, columns: Columns, { start, end, by }: Stretch, sets: 'always' | 'many'): Compiled | null {
  const { place } = last
  const count = place.count + by
  if (start <= place.at || end > place.end || count <= place.others || (sets === 'many' && count < manyPorts)) return null
  const now = { ...last, columns, place: { ...place, end: place.end + by, count } }
  return kindsOf(portsIn(columns, now.place), sets).join() === last.kinds.join() ? now : null
}

function compileList(owner: string, columns: Columns, context: MatchContext, sets: 'always' | 'many'): Omit<Compiled, 'columns' | 'kept'> {
  const { list } = columns
  const own = { ...context, sets: new SetRegistry() }
  const found = foldPlace(columns)
  const place = sets === 'many' && found.count < manyPorts ? { ...found, start: list.length, end: list.length, at: list.length } : found
  const { groups, isGrouped } = foldSources(owner, list, columns.sources, endsOf(list, found), context.kept)
  const kinds = kindsOf(portsIn(columns, place), sets)
  const rules: PlanRule[] = []
  const writeGroups = (index: number): void => {
    for (const { set, rule: member } of groups.get(index) ?? []) {
      own.sets.add(set)
      rules.push(member)
    }
  }
  const writePorts = (): void => { for (const kind of kinds) rules.push(portSetRule(owner, kind)) }
  list.forEach((rule, index) => {
    writeGroups(index)
    if (index === place.at) writePorts()
    const isFolded = index >= place.start && index < place.end && columns.ports[index] !== null
    if (!isFolded && isGrouped[index] === 0) rules.push(...compileRule(rule, own))
  })
  writeGroups(list.length)
  if (place.at >= list.length) writePorts()
  const added = own.sets.list()
  return { place, kinds, rules, sets: added, ipsets: ipsetsOf(added, context) }
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

function portsIn({ ports }: Columns, { start, end }: FoldPlace): ReadonlyMap<PortFold['kind'], readonly PortRule[]> {
  const byKind = new Map<PortFold['kind'], PortRule[]>()
  for (let index = start; index < end; index++) {
    const fold = ports[index]!
    if (fold === null) continue
    const parts = byKind.get(fold.kind)
    if (parts === undefined) byKind.set(fold.kind, [fold.part])
    else parts.push(fold.part)
  }
  return byKind
}

/** Those that have a set. */
function kindsOf(ports: ReadonlyMap<PortFold['kind'], unknown>, sets: 'always' | 'many'): readonly PortFold['kind'][] {
  return kinds.filter((kind) => ports.has(kind) || (sets === 'always' && kind.endsWith('destination')))
}

function portRole(owner: string, kind: PortFold['kind']): string {
  const [protocol, side] = kind.split(' ')
  return `${owner}:${protocol}${side === 'source' ? '-source' : ''}`
}

function portSetRule(owner: string, kind: PortFold['kind']): PlanRule {
  const [protocol, side] = kind.split(' ') as [FoldedProtocol, 'source' | 'destination']
  return { id: '', match: [{ kind: 'port-set', role: portRole(owner, kind), protocol, side }], verdict: { kind: 'accept' } }
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

/** Where the sets stand. Indexes in the list. */
interface FoldPlace {
  /** The run of accepts. */
  readonly start: number
  readonly end: number
  /** Before which the set rules go; the end without any plain port. */
  readonly at: number
  /** Of plain ports in it. */
  readonly count: number
  /** The most that another run has. */
  readonly others: number
}

/**
 * Accepting rules may change places with each other but not with a reject, a drop or a limit, so only
 * the rules of one run of accepts are folded: the run with most plain ports (the last of equals), which is the zone's
 * own ports and services; rich rules with other priorities have runs of their own and stay single rules.
 */
function foldPlace({ list: rules, ports }: Columns): FoldPlace {
  let best: FoldPlace = { start: 0, end: 0, at: rules.length, count: 0, others: 0 }
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
    if (count > 0 && count >= best.count) best = { start, end, at, count, others: best.count }
    else best = { ...best, others: Math.max(best.others, count) }
    start = end
  }
  return best
}

/** Denials of priority 0 stand before the zone's own ports and services, accepts behind them. */
function endsOf(list: readonly Rule[], { start, end, count }: FoldPlace): Ends {
  if (count > 0) return { denials: start, accepts: end }
  const first = list.findIndex(isPlainAccept)
  return { denials: first < 0 ? list.length : first, accepts: list.length }
}

function isPlainAccept({ verdict, limit }: Rule): boolean {
  return verdict.kind === 'accept' && limit === undefined
}
