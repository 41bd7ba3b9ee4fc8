// One plan rule in the words of iptables-restore. Each match and verdict kind has its words here and nowhere else.
import type { Family } from '../../model/addr.ts'
import { formatAddr, formatPrefix } from '../../model/addr.ts'
import type { PortRange, RejectType } from '../../model/firewall.ts'
import { rejectTypes } from '../../model/firewall.ts'
import { DerpanetError, printable, unreachable } from '../../errors.ts'
import type { PlanMatch, PlanRule, PlanSet, PlanVerdict } from '../plan.ts'
import { helperWord, interfaceWord, macWord, numberWord, prefixWord } from './words.ts'

/**
 * The mark that a packet bears between our `reject` (given in mangle) and its answer (REJECT works in filter only). The whole
 * word is taken, so no bit of it can be anybody's flag and only dying packets ever bear it: 0xde9a0001 = first reject type.
 */
export const rejectMark = 0xde9a0000
export const rejectMarkMask = 0xfffffff0

export function rejectMarkOf(type: RejectType): string {
  return `0x${(rejectMark + rejectTypes.indexOf(type) + 1).toString(16)}`
}

/** REJECT's words. A type that a family does not know is answered by its nearest relative there. */
export const rejectWith: Readonly<Record<Family, Readonly<Record<RejectType, string>>>> = {
  ipv4: {
    'admin-prohibited': 'icmp-admin-prohibited',
    'net-unreachable': 'icmp-net-unreachable',
    'host-unreachable': 'icmp-host-unreachable',
    'port-unreachable': 'icmp-port-unreachable',
    'proto-unreachable': 'icmp-proto-unreachable',
    'net-prohibited': 'icmp-net-prohibited',
    'host-prohibited': 'icmp-host-prohibited',
    'tcp-reset': 'tcp-reset',
    'no-route': 'icmp-net-unreachable',
    'addr-unreachable': 'icmp-host-unreachable',
  },
  ipv6: {
    'admin-prohibited': 'icmp6-adm-prohibited',
    'net-unreachable': 'icmp6-no-route',
    'host-unreachable': 'icmp6-addr-unreachable',
    'port-unreachable': 'icmp6-port-unreachable',
    'proto-unreachable': 'icmp6-port-unreachable',
    'net-prohibited': 'icmp6-adm-prohibited',
    'host-prohibited': 'icmp6-adm-prohibited',
    'tcp-reset': 'tcp-reset',
    'no-route': 'icmp6-no-route',
    'addr-unreachable': 'icmp6-addr-unreachable',
  },
}

export interface RuleContext {
  readonly family: Family
  readonly setOf: (role: string) => PlanSet
  readonly setNameOf: (role: string) => string
  readonly chainNameOf: (chain: string) => string
}

/**
 * The rule's words without `-A CHAIN`, or null when no packet of this family can match.
 * Throws DerpanetError for values iptables has no words for.
 */
export function formatRule(rule: PlanRule, context: RuleContext): string | null {
  if (!concernsFamily(rule.match, rule.verdict, context)) return null
  // two port matches of one rule share their `-p udp` and `-m udp`
  const words = [...new Set(rule.match.flatMap((match) => matchWords(match, context)))]
  return [...words, verdictWords(rule.verdict, context)].join(' ')
}

/** false = no packet of this family can match, or the verdict knows none. */
export function concernsFamily(match: readonly PlanMatch[], verdict: PlanVerdict, context: Pick<RuleContext, 'family' | 'setOf'>): boolean {
  return match.every((one) => concerns(one, context)) && !(verdict.kind === 'destination-nat' && verdict.family !== context.family)
}

/** false = never matches in this family. */
function concerns(match: PlanMatch, { family, setOf }: Pick<RuleContext, 'family' | 'setOf'>): boolean {
  switch (match.kind) {
    case 'family':
      return match.family === family
    case 'source-prefix':
    case 'destination-prefix':
    case 'original-destination':
      return match.prefix.family === family
    case 'set':
    case 'interface-set':
      return (setOf(match.role).family ?? family) === family
    default:
      return true
  }
}

function matchWords(match: PlanMatch, context: RuleContext): readonly string[] {
  const not = 'invert' in match && match.invert ? '! ' : ''
  switch (match.kind) {
    case 'family':
      return []
    case 'in-interface':
      return [`-i ${interfaceWord(match.name, match.wildcard)}`]
    case 'out-interface':
      return [`-o ${interfaceWord(match.name, match.wildcard)}`]
    case 'source-prefix':
      return [`${not}-s ${formatPrefix(match.prefix)}`]
    case 'destination-prefix':
      return [`${not}-d ${formatPrefix(match.prefix)}`]
    case 'source-mac':
      return [`-m mac ${not}--mac-source ${macWord(match.mac)}`]
    case 'set':
      return [`-m set ${not}--match-set ${context.setNameOf(match.role)} ${setDirection(context.setOf(match.role), match.side)}`]
    case 'port-set':
      return [`-p ${match.protocol}`, `-m set --match-set ${context.setNameOf(match.role)} ${match.side === 'source' ? 'src' : 'dst'}`]
    case 'port':
      return [`-p ${match.protocol}`, `-m ${match.protocol}`, `--${match.side === 'source' ? 'sport' : 'dport'} ${portWord(match.ports)}`]
    case 'protocol':
      // iptables reads 0 as "every protocol"
      if (match.number === 0) throw new DerpanetError('INVALID_PROTOCOL', 'protocol 0 (hopopt) cannot be matched by iptables')
      return [`-p ${numberWord(match.number, 255)}`]
    case 'icmp': {
      // the one number that iptables reads as "every type"
      if (context.family === 'ipv4' && match.type === 255) throw new DerpanetError('INVALID_ICMPTYPE', 'type 255 cannot be matched by iptables')
      const type = numberWord(match.type, 255) + (match.code === null ? '' : `/${numberWord(match.code, 255)}`)
      return [context.family === 'ipv4' ? `-p icmp -m icmp --icmp-type ${type}` : `-p ipv6-icmp -m icmp6 --icmpv6-type ${type}`]
    }
    case 'any-icmp':
      return [context.family === 'ipv4' ? '-p icmp' : '-p ipv6-icmp']
    case 'state':
      return [`-m conntrack --ctstate ${match.states.map((state) => state.toUpperCase()).join(',')}`]
    case 'dnat':
      return ['-m conntrack --ctstate DNAT']
    case 'original-destination':
      return [`-m conntrack ${not}--ctorigdst ${formatPrefix(match.prefix)}`]
    case 'original-port':
      return [`-m conntrack --ctproto ${match.protocol} --ctorigdstport ${portWord(match.ports)}`]
    case 'interface-set': {
      const side = match.side === 'source' ? 'src' : 'dst'
      return [`-m set --match-set ${context.setNameOf(match.role)} ${side},${side}`]
    }
    case 'local-destination':
      return ['-m addrtype --dst-type LOCAL']
    case 'local-source':
      return ['-m addrtype --src-type LOCAL']
    case 'limit': {
      const { count, unit, burst } = match.limit
      return [`-m limit --limit ${numberWord(count, 864_000_000)}/${limitUnits[unit]}${burst === null ? '' : ` --limit-burst ${numberWord(burst, 10_000_000)}`}`]
    }
    case 'no-way-back':
      return [`-m rpfilter${match.loose ? ' --loose' : ''} --validmark --invert`]
    case 'packet-type':
      return [`-m pkttype --pkt-type ${match.type}`]
    case 'mark':
      return [`-m mark --mark ${wordMark(match.value)}`]
    case 'tcp-syn':
      return ['-p tcp', '-m tcp', '--tcp-flags SYN,RST SYN']
    default:
      return unreachable(match)
  }
}

const limitUnits = { s: 'second', m: 'minute', h: 'hour', d: 'day' } as const

/** Which part of the packet each dimension of a set is looked up with: as a source, the sender's address and port, as in firewalld. */
function setDirection(set: PlanSet, side: 'source' | 'destination'): string {
  // where it comes from and where to it wants
  if (set.kind === 'prefix-port') return 'src,dst'
  const flag = side === 'source' ? 'src' : 'dst'
  const dimensions = set.user === undefined ? [''] : set.user.type.slice(set.user.type.indexOf(':') + 1).split(',')
  return dimensions.map((dimension) => (dimension === 'iface' || dimension === 'mac' ? 'src' : flag)).join(',')
}

function portWord({ first, last }: PortRange): string {
  return first === last ? numberWord(first, 65535) : `${numberWord(first, 65535)}:${numberWord(last, 65535)}`
}

function verdictWords(verdict: PlanVerdict, { chainNameOf }: RuleContext): string {
  switch (verdict.kind) {
    case 'accept':
      return '-j ACCEPT'
    case 'drop':
      return '-j DROP'
    case 'return':
      return '-j RETURN'
    case 'goto':
      return `-g ${chainNameOf(verdict.chain)}`
    case 'jump':
      return `-j ${chainNameOf(verdict.chain)}`
    case 'redirect':
      return `-j REDIRECT --to-ports ${targetPorts(verdict.ports)}`
    case 'destination-nat': {
      const addr = formatAddr(verdict.family, verdict.addr)
      if (verdict.ports === null) return `-j DNAT --to-destination ${addr}`
      return `-j DNAT --to-destination ${verdict.family === 'ipv6' ? `[${addr}]` : addr}:${targetPorts(verdict.ports)}`
    }
    case 'masquerade':
      return '-j MASQUERADE'
    case 'reject':
      // a chain of its own marks and leaves the table: two rules here would be two counters for one decision
      return `-g ${chainNameOf(rejectChain(verdict.type))}`
    case 'log':
      return `-j LOG${textOption('--log-prefix', verdict.prefix, maxLogPrefix)}${verdict.level === '' ? '' : ` --log-level ${logLevelNumber(verdict.level)}`}`
    case 'nflog': {
      const threshold = verdict.threshold === null ? '' : ` --nflog-threshold ${numberWord(verdict.threshold, 65535)}`
      return `-j NFLOG --nflog-group ${numberWord(verdict.group, 65535)}${textOption('--nflog-prefix', verdict.prefix, maxNflogPrefix)}${threshold}`
    }
    case 'audit':
      return `-j AUDIT --type ${verdict.decision}`
    case 'mark':
      return `-j MARK --set-xmark ${wordMark(verdict.value)}/${wordMark(verdict.mask)}`
    case 'helper':
      return `-j CT --helper ${helperWord(verdict.name)}`
    case 'tcp-mss':
      return verdict.bytes === null ? '-j TCPMSS --clamp-mss-to-pmtu' : `-j TCPMSS --set-mss ${numberWord(verdict.bytes, 65535)}`
    default:
      return unreachable(verdict)
  }
}

/** Targets write ranges otherwise than matches. */
function targetPorts({ first, last }: PortRange): string {
  return first === last ? numberWord(first, 65535) : `${numberWord(first, 65535)}-${numberWord(last, 65535)}`
}

/** The kernel's buffers hold so many bytes of a prefix; iptables refuses longer ones. */
export const maxLogPrefix = 29
export const maxNflogPrefix = 63

const logLevels = ['emerg', 'alert', 'crit', 'error', 'warning', 'notice', 'info', 'debug']

function logLevelNumber(level: string): number {
  const number = logLevels.indexOf(level)
  if (number < 0) throw new DerpanetError('INVALID_LOG_LEVEL', printable(level))
  return number
}

function textOption(option: string, text: string, maxBytes: number): string {
  return text === '' ? '' : ` ${option} ${prefixWord(text, maxBytes)}`
}

function wordMark(value: number): string {
  return `0x${Number(numberWord(value, 0xffff_ffff)).toString(16)}`
}

/** Logical name of the chain that marks a packet for this answer. */
export function rejectChain(type: RejectType): string {
  return `reject:${type}`
}
