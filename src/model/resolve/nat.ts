// Masquerading and forward-ports → which connections get other addresses, in the order in which that is decided.
import { DerpanetError, printable } from '../../errors.ts'
import { parseAddr4, parseAddr6 } from '../addr.ts'
import type { Family } from '../addr.ts'
import type { Match, NatRule, PortRange, ProtocolMatch, Translation } from '../firewall.ts'
import { parsePortRange } from '../port.ts'
import type { RichElement, RichRule } from '../rich/index.ts'
import type { ForwardPort, Origin } from '../settings.ts'
import type { Lookup } from './lookup.ts'
import { baseMatch, richLog } from './rich.ts'
import { portMatch } from './service.ts'

/** What stands between a zone's plain forward-ports and its rich ones: they are one sort of thing by now. */
export interface NatItem {
  readonly side: 'destination' | 'source'
  readonly priority: number
  readonly rule: NatRule
}

/** A zone's own masquerading: IPv4 only, as firewalld's. */
export function plainMasquerade(id: string, origin: Origin): NatItem {
  return { side: 'source', priority: 0, rule: { id, match: { family: 'ipv4' }, translation: { kind: 'masquerade' }, origin } }
}

/** IPv6 only when `toAddr` is. Throws INVALID_PORT, INVALID_PROTOCOL, INVALID_ADDR, INVALID_FORWARD. */
export function plainForwardPort(id: string, forward: ForwardPort, origin: Origin): NatItem {
  const family: Family = parseAddr6(forward.toAddr) === null ? 'ipv4' : 'ipv6'
  return { side: 'destination', priority: 0, rule: forwardRule(id, forward, { family }, family, origin) }
}

/**
 * null when the rule translates nothing. Throws INVALID_IPSET and, for what no packet can be asked any more when
 * addresses are rewritten, INVALID_RULE.
 */
export function richTranslation(id: string, rule: RichRule, origin: Origin, lookup: Lookup): NatItem | null {
  const { element, priority, family } = rule
  if (element?.kind === 'masquerade') {
    const match = baseMatch(rule, lookup)
    if (asksMac(match, lookup)) throw new DerpanetError('INVALID_RULE', 'masquerade and mac source')
    return { side: 'source', priority, rule: withRecords({ id, match, translation: { kind: 'masquerade' }, origin }, rule) }
  }
  if (element?.kind !== 'forward-port') return null
  if (family === null) throw new DerpanetError('MISSING_FAMILY')
  return { side: 'destination', priority, rule: withRecords(forwardRule(id, element, baseMatch(rule, lookup), family, origin), rule) }
}

function withRecords(nat: NatRule, rule: RichRule): NatRule {
  const log = richLog(rule, nat.match)
  return log === null ? nat : { ...nat, records: [{ ...log, id: `${nat.id}#${log.id}`, origin: nat.origin }] }
}

/** A sender's MAC address, by itself or in a set. */
export function asksMac({ source }: Match, lookup: Lookup): boolean {
  return source?.kind === 'mac' || (source?.kind === 'ipset' && lookup.sourceSet(source.name).type === 'hash:mac')
}

type ForwardElement = Pick<Extract<RichElement, { kind: 'forward-port' }>, 'port' | 'protocol' | 'toPort' | 'toAddr'>

function forwardRule(id: string, forward: ForwardElement, base: Match, family: Family, origin: Origin): NatRule {
  const protocol: ProtocolMatch = portMatch('port', forward)
  return { id, match: { ...base, protocol }, translation: forwardTranslation(forward, family), origin }
}

function forwardTranslation({ toPort, toAddr }: ForwardElement, family: Family): Translation {
  const ports: PortRange | null = toPort === '' ? null : parsePortRange(toPort)
  if (toPort !== '' && ports === null) throw new DerpanetError('INVALID_PORT', printable(toPort))
  if (toAddr === '') {
    if (ports === null) throw new DerpanetError('INVALID_FORWARD', 'port-forwarding is missing to-port AND to-addr')
    return { kind: 'redirect', ports }
  }
  const addr = family === 'ipv4' ? parseAddr4(toAddr) : parseAddr6(toAddr)
  if (addr === null) throw new DerpanetError('INVALID_ADDR', printable(toAddr))
  return { kind: 'destination', family, addr: BigInt(addr), ports }
}
