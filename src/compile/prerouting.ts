// What happens to a packet that arrived before anything judges it: helpers of its zone's services before connection tracking,
// marks of its zone, and the reverse path filter. Marks must be there before routing, and on every packet of a connection,
// so known connections are no exception here.
import type { Firewall, Policy } from '../model/firewall.ts'
import { deniedLog } from '../model/resolve/denied.ts'
import { failsafeRule, reversePathExempt, stageRules } from '../model/stages.ts'
import { compileWalk } from './bindings.ts'
import { activeZones, compileIngress, destinationWalk } from './dispatch.ts'
import { neverBlockRules } from './early.ts'
import type { MatchContext } from './match.ts'
import type { PlanChain, PlanMatch, PlanRule } from './plan.ts'
import { sideHas } from './policy.ts'
import { compileRule } from './rules.ts'
import { helpersChainName, marksChainName } from './zone.ts'

/** The hook's chain comes last. Empty when there is nothing to do: no hook needed. */
export function preroutingChains(firewall: Firewall, context: MatchContext): readonly PlanChain[] {
  const marks = zoneChains(firewall, context, 'marks', marksChainName)
  const filter = reversePathRules(firewall, context)
  if (filter.length === 0) return marks.map((chain, index) => (index === marks.length - 1 ? { ...chain, name: 'prerouting' } : chain))
  const jump: PlanRule[] = marks.length === 0 ? [] : [{ id: '', match: [], verdict: { kind: 'jump', chain: 'marks' } }]
  return [...marks, { name: 'prerouting', rules: [...jump, ...filter] }]
}

/** The hook's chain comes last. Empty when no service wants a helper. */
export function helperChains(firewall: Firewall, context: MatchContext): readonly PlanChain[] {
  return zoneChains(firewall, context, 'helpers', helpersChainName)
}

/** One chain for each zone in which there are such rules, of its own or of policies from it, and last the one that finds a packet's zone. */
function zoneChains(firewall: Firewall, context: MatchContext, what: 'marks' | 'helpers', nameOf: (zone: string) => string): readonly PlanChain[] {
  const policies = firewall.policies.filter((policy) => (policy[what] ?? []).length > 0)
  const own = policies.flatMap((policy) => policyChains(firewall, policy, what, context))
  const zones = activeZones(firewall).flatMap((zone): readonly PlanChain[] => {
    const jumps = (when: (policy: Policy) => boolean): readonly PlanRule[] => policies
      .filter((policy) => sideHas(policy.ingress, zone.name) && when(policy))
      .map(({ name }) => ({ id: '', match: [], verdict: { kind: 'jump', chain: `policy:${name}:${what}` } }))
    const rules = [
      ...jumps(({ priority }) => priority < 0), ...(zone[what] ?? []).flatMap((rule) => compileRule(rule, context)), ...jumps(({ priority }) => priority > 0),
    ]
    return rules.length === 0 ? [] : [{ name: nameOf(zone.name), rules }]
  })
  if (zones.length === 0) return []
  const present = new Set(zones.map((chain) => chain.name))
  return [...own, ...zones, { name: what, rules: compileIngress(firewall, (zone) => (present.has(nameOf(zone)) ? nameOf(zone) : null), context) }]
}

/** A helper only listens, wherever packets go; a mark is for those to the policy's outgoing side, as far as destinations tell it. */
function policyChains(firewall: Firewall, policy: Policy, what: 'marks' | 'helpers', context: MatchContext): readonly PlanChain[] {
  const name = `policy:${policy.name}:${what}`
  const rules = (policy[what] ?? []).flatMap((rule) => compileRule(rule, context))
  if (what === 'helpers' || policy.egress.kind !== 'zones') return [{ name, rules }]
  const inner = `policy:${policy.name}:set-${what}`
  const walk = destinationWalk(firewall)
  const toInner = { id: '', verdict: { kind: 'goto', chain: inner } } as const
  return [{ name: inner, rules }, { name, rules: compileWalk(walk, (zone) => (sideHas(policy.egress, zone) ? toInner : null), context) }]
}

/** Who always passes passes here too. */
function reversePathRules(firewall: Firewall, context: MatchContext): readonly PlanRule[] {
  const { reversePath = 'off', logDenied } = firewall
  if (reversePath === 'off') return []
  const six: PlanMatch = { kind: 'family', family: 'ipv6' }
  const match: readonly PlanMatch[] = [six, { kind: 'no-way-back', loose: reversePath === 'loose' }]
  const log = deniedLog(logDenied, 'rpfilter_DROP: ')
  return [
    ...firewall.failsafePorts.map((port): PlanRule => ({
      id: failsafeRule(port),
      match: [six, { kind: 'port', protocol: port.protocol, side: 'destination', ports: port.ports }, { kind: 'local-destination' }],
      verdict: { kind: 'return' },
      origin: port.origin,
    })),
    ...neverBlockRules(firewall, context.sets, 'source', 'return').filter((rule) => rule.match.some((one) => one.kind === 'family' && one.family === 'ipv6')),
    ...reversePathExempt.map((type): PlanRule => ({ id: '', match: [six, { kind: 'icmp', type, code: null }], verdict: { kind: 'return' } })),
    ...(log === null ? [] : compileRule({ id: `${stageRules.reversePath}#log`, match: {}, verdict: log, origin: { layer: 'builtin', text: 'log-denied' } }, context)
      .map((rule): PlanRule => ({ ...rule, match: [...match, ...rule.match] }))),
    { id: stageRules.reversePath, match, verdict: { kind: 'drop' } },
  ]
}
