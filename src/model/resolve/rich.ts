// A rich rule → what it matches and what it decides.
import { DerpanetError, printable, unreachable } from '../../errors.ts'
import { families, requirePrefix } from '../addr.ts'
import type { Family } from '../addr.ts'
import type { AddressMatch, Match, RejectType, Verdict } from '../firewall.ts'
import { icmpNumbers } from '../icmp.ts'
import { protocolNumbers } from '../port.ts'
import { requireProtocol } from '../protocol.ts'
import { rejectWords } from '../rich/index.ts'
import type { RichAction, RichAddress, RichElement, RichRule } from '../rich/index.ts'
import type { Lookup } from './lookup.ts'
import { portMatch, serviceMatches } from './service.ts'

export interface RichDecision {
  /** Names it within the rule; "" when there is only one. */
  readonly id: string
  readonly match: Match
  readonly verdict: Verdict
}

/**
 * Everything the rule decides for packets to this host, in any order (they all say the same). Empty for a rule that only
 * logs or only concerns forwarded packets. Throws INVALID_SERVICE, INVALID_ICMPTYPE, INVALID_IPSET for unknown names and
 * INVALID_RULE for what can never be built: firewalld accepts such rules and fails when the zone becomes active.
 */
export function richDecisions(rule: RichRule, lookup: Lookup): readonly RichDecision[] {
  const source = rule.source === null ? {} : { source: address(rule.source, 'source', rule, lookup) }
  const destination = rule.destination === null ? {} : { destination: address(rule.destination, 'destination', rule, lookup) }
  const base: Match = { ...(rule.family === null ? {} : { family: rule.family }), ...source, ...destination }
  const verdict = verdictOf(rule)
  const matches = rule.element === null ? [{ id: '', match: base }] : elementMatches(rule.element, rule, base, lookup)
  if (verdict === null) return []
  return matches.map(({ id, match }) => ({ id, match: needsTcp(verdict) ? tcpOnly(match) : match, verdict }))
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
      return [{ id: '', match: { ...base, protocol: { kind: 'protocol', number: requireProtocol(element.value) } } }]
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
