// Denials that belong to no zone, and what log-denied writes down before them.
import type { Firewall } from '../model/firewall.ts'
import { deniedLog } from '../model/resolve/denied.ts'
import { hiddenIpv4, stageRules } from '../model/stages.ts'
import type { MatchContext } from './match.ts'
import type { PlanMatch, PlanRule, PlanVerdict } from './plan.ts'
import { compileRule } from './rules.ts'
import { prefixSet } from './sets.ts'

/** `rule`, and before it the line in the kernel log, if any. */
function denied(firewall: Firewall, context: MatchContext, rule: { id: string; match: readonly PlanMatch[]; verdict: PlanVerdict }, prefix: string): readonly PlanRule[] {
  const effect = deniedLog(firewall.logDenied, prefix)
  if (effect === null) return [rule]
  const log = compileRule({ id: `${rule.id}#log`, match: {}, verdict: effect, origin: { layer: 'builtin', text: 'log-denied' } }, context)
  return [...log.map((one) => ({ ...one, match: [...rule.match, ...one.match] })), rule]
}

export function invalidRules(firewall: Firewall, context: MatchContext): readonly PlanRule[] {
  return denied(firewall, context, { id: stageRules.invalid, match: [{ kind: 'state', states: ['invalid'] }], verdict: { kind: 'drop' } }, 'STATE_INVALID_DROP: ')
}

/** New packets to IPv6 addresses that hide an IPv4 address which is none of the Internet's. */
export function hiddenIpv4Rules(firewall: Firewall, context: MatchContext): readonly PlanRule[] {
  if (firewall.rejectHiddenIpv4 !== true) return []
  const role = context.sets.add(prefixSet('rfc3964', 'ipv6', hiddenIpv4))
  const match: readonly PlanMatch[] = [{ kind: 'family', family: 'ipv6' }, { kind: 'set', role, side: 'destination', invert: false }]
  const logged = firewall.logDenied === 'unicast' || firewall.logDenied === 'all' ? { ...firewall, logDenied: 'all' as const } : { ...firewall, logDenied: 'off' as const }
  return denied(logged, context, { id: stageRules.hiddenIpv4, match, verdict: { kind: 'reject', type: 'addr-unreachable' } }, 'RFC3964_IPv4_REJECT: ')
}
