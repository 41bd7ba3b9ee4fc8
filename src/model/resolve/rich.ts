// A rich rule → what it matches and what it decides.
import { DerpanetError, printable, unreachable } from '../../errors.ts'
import { families, requirePrefix } from '../addr.ts'
import type { Family } from '../addr.ts'
import type { AddressMatch, Effect, Limit, Match, RejectType, Rule, Verdict } from '../firewall.ts'
import { icmpNumbers } from '../icmp.ts'
import { protocolNumbers } from '../port.ts'
import { requireMatchableProtocol } from '../protocol.ts'
import { rejectWords } from '../rich/index.ts'
import type { RichAction, RichAddress, RichElement, RichLog, RichRule } from '../rich/index.ts'
import type { Lookup } from './lookup.ts'
import { portMatch, serviceMatches } from './service.ts'

export interface RichDecision<V extends Rule['verdict'] = Verdict> {
  /** Names it within the rule; "" when there is only one. */
  readonly id: string
  readonly match: Match
  readonly limit?: Limit
  readonly verdict: V
}

/**
 * Everything the rule decides for packets to this host, in any order (they all say the same). Empty for a rule that only
 * logs or only concerns forwarded packets. Throws INVALID_SERVICE, INVALID_ICMPTYPE, INVALID_IPSET for unknown names and
 * INVALID_RULE for what can never be built: firewalld accepts such rules and fails when the zone becomes active.
 */
export function richDecisions(rule: RichRule, lookup: Lookup): readonly RichDecision[] {
  const verdict = verdictOf(rule)
  const matches = matchesOf(rule, lookup)
  if (verdict === null) return []
  const limit = limited(rule.action?.limit)
  return matches.map(({ id, match }) => ({ id, match: needsTcp(verdict) ? tcpOnly(match) : match, ...limit, verdict }))
}

/** What the rule writes down about the packets it stands for, whether it decides anything or not. Throws like {@link richDecisions}. */
export function richRecords({ log, audit, action, ...rest }: RichRule, lookup: Lookup): readonly RichDecision<Effect>[] {
  if (log === null && audit === null) return []
  const matches = matchesOf({ log, audit, action, ...rest }, lookup)
  return matches.flatMap(({ id, match }): readonly RichDecision<Effect>[] => [
    ...orNone(richLog({ log }, match)).map((one) => ({ ...one, id: joined(id, one.id) })),
    ...(audit === null || action === null || action.kind === 'mark'
      ? []
      : [{ id: joined(id, 'audit'), match, ...limited(audit.limit), verdict: { kind: 'audit', decision: action.kind } } as const]),
  ])
}

/** Marks that the rule gives to packets from its zone, wherever they go. Throws like {@link richDecisions}, INVALID_MARK. */
export function richMarks(rule: RichRule, lookup: Lookup): readonly RichDecision<Effect>[] {
  const { action } = rule
  if (action?.kind !== 'mark') return []
  const verdict = markEffect(action.set)
  return matchesOf(rule, lookup).map(({ id, match }) => ({ id: joined(id, 'mark'), match, ...limited(action.limit), verdict }))
}

/** What the rule does to packets that are forwarded from its zone. Throws INVALID_IPSET, INVALID_RULE. */
export function richForwardEffects(rule: RichRule, lookup: Lookup): readonly RichDecision<Effect>[] {
  if (rule.element?.kind !== 'tcp-mss-clamp') return []
  const { value } = rule.element
  const bytes = value === '' || value === 'pmtu' ? null : Number(value)
  if (bytes !== null && bytes > 65535) throw new DerpanetError('INVALID_RULE', printable(`tcp-mss-clamp value '${value}' is more than TCP can say`))
  const match = baseMatch(rule, lookup)
  // known connections do not come here: what is written down is their first packet
  return [...orNone(richLog(rule, { ...match, protocol: { kind: 'protocol', number: protocolNumbers.tcp } })), { id: '', match, verdict: { kind: 'tcp-mss', bytes } }]
}

/** Its log or nflog part, for packets that `match`. null = it has none. */
export function richLog({ log }: Pick<RichRule, 'log'>, match: Match): RichDecision<Effect> | null {
  return log === null ? null : { id: log.kind, match, ...limited(log.limit), verdict: logEffect(log) }
}

function orNone<T>(value: T | null): readonly T[] {
  return value === null ? [] : [value]
}

/** What the kernel's buffers hold of a prefix; iptables refuses more. Rules may say 127 characters. */
const maxPrefixBytes = { log: 29, nflog: 63 } as const

/** null when the prefix is kept whole. */
export function cutPrefix(log: RichLog): { readonly of: string; readonly to: string; readonly max: number } | null {
  const max = maxPrefixBytes[log.kind]
  const to = beginning(log.prefix, max)
  return to === log.prefix ? null : { of: log.kind, to, max }
}

/** Whole characters. */
function beginning(text: string, maxBytes: number): string {
  let taken = ''
  let bytes = 0
  for (const character of text) {
    bytes += new TextEncoder().encode(character).length
    if (bytes > maxBytes) break
    taken += character
  }
  return taken
}

function logEffect(log: RichLog): Effect {
  const prefix = beginning(log.prefix, maxPrefixBytes[log.kind])
  if (log.kind === 'log') return { kind: 'log', prefix, level: log.level }
  return { kind: 'nflog', group: Number(log.group), prefix, threshold: log.queueSize === '' ? null : Number(log.queueSize) }
}

function markEffect(set: string): Effect {
  const [value = 0, mask = 0xffff_ffff] = set.split('/').map(Number)
  // what bears it is being rejected (docs/adr/0001)
  if ((value & mask) >>> 4 === 0xde9a000) throw new DerpanetError('INVALID_MARK', printable(`${set}: marks 0xde9a0000 to 0xde9a000f are derpanet's own`))
  return { kind: 'mark', value, mask }
}

function limited(limit: Limit | null | undefined): { limit?: Limit } {
  return limit === null || limit === undefined ? {} : { limit }
}

function joined(id: string, what: string): string {
  return id === '' ? what : `${id}/${what}`
}

export function baseMatch(rule: RichRule, lookup: Lookup): Match {
  const source = rule.source === null ? {} : { source: address(rule.source, 'source', rule, lookup) }
  const destination = rule.destination === null ? {} : { destination: address(rule.destination, 'destination', rule, lookup) }
  return { ...(rule.family === null ? {} : { family: rule.family }), ...source, ...destination }
}

function matchesOf(rule: RichRule, lookup: Lookup): readonly Named[] {
  const base = baseMatch(rule, lookup)
  return rule.element === null ? [{ id: '', match: base }] : elementMatches(rule.element, rule, base, lookup)
}

/** Family, source and destination: what every rule may say. */
export function richBase(rule: RichRule, lookup: Lookup): Match {
  const source = rule.source === null ? {} : { source: address(rule.source, 'source', rule, lookup) }
  const destination = rule.destination === null ? {} : { destination: address(rule.destination, 'destination', rule, lookup) }
  return { ...(rule.family === null ? {} : { family: rule.family }), ...source, ...destination }
}

type Named = { readonly id: string; readonly match: Match }

function elementMatches(element: RichElement, rule: RichRule, base: Match, lookup: Lookup): readonly Named[] {
  switch (element.kind) {
    case 'service':
      return serviceMatches(element.name, lookup).flatMap(({ id, match }): readonly Named[] => {
        if (match.family !== undefined && rule.family !== null && match.family !== rule.family) return []
        if (match.destination !== undefined && base.destination !== undefined) {
          throw new DerpanetError('INVALID_RULE', printable(`Destination conflict with service '${element.name}'.`))
        }
        return [{ id, match: { ...base, ...match } }]
      })
    case 'port':
    case 'source-port':
      return [{ id: '', match: { ...base, protocol: portMatch(element.kind, element) } }]
    case 'protocol':
      return [{ id: '', match: { ...base, protocol: { kind: 'protocol', number: requireMatchableProtocol(element.value) } } }]
    case 'icmp-block':
    case 'icmp-type':
      return icmpMatches(element.name, rule.family === null ? families : [rule.family], base, lookup)
    case 'masquerade':
    case 'forward-port':
    case 'tcp-mss-clamp':
      return []
    default:
      return unreachable(element)
  }
}

/** One match a number; the id says the family. Throws INVALID_ICMPTYPE when the type has no number in any of `among`. */
export function icmpMatches(name: string, among: readonly Family[], base: Match, lookup: Lookup): readonly Named[] {
  const type = lookup.icmpType(name)
  const found = among.flatMap((family) => icmpNumbers(type, family).map(([number, code]): Named => ({
    id: `${family}/${number}${code === null ? '' : `/${code}`}`,
    match: { ...base, family, protocol: { kind: 'icmp', type: number, code } },
  })))
  // the one number that iptables reads as "every type"
  if (found.some(({ match: { family, protocol } }) => family === 'ipv4' && protocol?.kind === 'icmp' && protocol.type === 255)) {
    throw new DerpanetError('INVALID_ICMPTYPE', printable(`${name}: type 255 cannot be matched by iptables`))
  }
  if (found.length === 0) throw new DerpanetError('INVALID_ICMPTYPE', printable(`${name} does not exist in ${among.join(' or ')}`))
  return found
}

function address(side: RichAddress, which: 'source' | 'destination', rule: RichRule, lookup: Lookup): AddressMatch {
  const { invert } = side
  switch (side.kind) {
    case 'address':
      return { kind: 'prefix', prefix: requirePrefix(side.text), invert }
    case 'mac':
      return { kind: 'mac', mac: side.text.toLowerCase(), invert }
    case 'ipset': {
      const set = lookup.sourceSet(side.text)
      if (which === 'destination' && set.type === 'hash:mac') {
        throw new DerpanetError('INVALID_IPSET', printable(`ipset '${set.name}' holds MAC addresses: no packet goes to one`))
      }
      if (set.family !== null && rule.family !== null && set.family !== rule.family) {
        throw new DerpanetError('INVALID_RULE', printable(`ipset '${set.name}' is ${set.family}, the rule is ${rule.family}`))
      }
      return { kind: 'ipset', name: set.name, invert }
    }
    default:
      return unreachable(side.kind)
  }
}

/** null = decides nothing by itself. */
function verdictOf(rule: RichRule): Verdict | null {
  // a rich icmp-block rejects, whatever the zone's inversion says
  if (rule.element?.kind === 'icmp-block') return { kind: 'reject', type: 'admin-prohibited' }
  return rule.action === null ? null : actionVerdict(rule.action, rule.family)
}

function actionVerdict(action: RichAction, family: Family | null): Verdict | null {
  switch (action.kind) {
    case 'accept':
    case 'drop':
      return { kind: action.kind }
    case 'reject':
      return { kind: 'reject', type: rejectType(action.type, family) }
    case 'mark':
      return null
    default:
      return unreachable(action)
  }
}

/** Without a word the kernel's own answer, which is port-unreachable in both families. */
function rejectType(word: string, family: Family | null): RejectType {
  if (word === '') return 'port-unreachable'
  const type = family === null ? undefined : rejectWords[family][word]
  if (type === undefined) throw new DerpanetError('INVALID_RULE', printable(`Wrong reject type ${word}`))
  return type
}

function needsTcp(verdict: Verdict): boolean {
  return verdict.kind === 'reject' && verdict.type === 'tcp-reset'
}

/** Only TCP can be reset; a rule that says nothing of the protocol means TCP then. */
function tcpOnly(match: Match): Match {
  const { protocol } = match
  if (protocol === undefined) return { ...match, protocol: { kind: 'protocol', number: protocolNumbers.tcp } }
  const isTcp = protocol.kind === 'protocol'
    ? protocol.number === protocolNumbers.tcp
    : (protocol.kind === 'port' || protocol.kind === 'source-port') && protocol.protocol === 'tcp'
  if (!isTcp) throw new DerpanetError('INVALID_RULE', 'tcp-reset is for TCP only')
  return match
}
