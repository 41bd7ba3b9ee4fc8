// What happens to a packet that arrived before anything judges it: helpers of its zone's services before connection tracking,
// marks of its zone, and the reverse path filter. Marks must be there before routing, and on every packet of a connection,
// so known connections are no exception here.
import type { Firewall, Rule, Zone } from '../model/firewall.ts'
import { deniedLog } from '../model/resolve/denied.ts'
import { failsafeRule, reversePathExempt, stageRules } from '../model/stages.ts'
import { activeZones, compileIngress } from './dispatch.ts'
import { neverBlockRules } from './early.ts'
import type { MatchContext } from './match.ts'
import type { PlanChain, PlanMatch, PlanRule } from './plan.ts'
import { compileRule } from './rules.ts'
import { helpersChainName, marksChainName } from './zone.ts'

/** The hook's chain comes last. Empty when there is nothing to do: no hook needed. */
export function preroutingChains(firewall: Firewall, context: MatchContext): readonly PlanChain[] {
  const marks = zoneChains(firewall, context, 'marks', ({ marks: rules }) => rules, marksChainName)
  const filter = reversePathRules(firewall, context)
  if (filter.length === 0) return marks.map((chain, index) => (index === marks.length - 1 ? { ...chain, name: 'prerouting' } : chain))
  const jump: PlanRule[] = marks.length === 0 ? [] : [{ id: '', match: [], verdict: { kind: 'jump', chain: 'marks' } }]
  return [...marks, { name: 'prerouting', rules: [...jump, ...filter] }]
}

/** The hook's chain comes last. Empty when no service wants a helper. */
export function helperChains(firewall: Firewall, context: MatchContext): readonly PlanChain[] {
  return zoneChains(firewall, context, 'helpers', ({ helpers }) => helpers, helpersChainName)
}

/** One chain for each zone that has such rules, and last the one that finds a packet's zone. */
function zoneChains(
  firewall: Firewall, context: MatchContext, name: string, rulesOf: (zone: Zone) => readonly Rule[] | undefined, nameOf: (zone: string) => string,
): readonly PlanChain[] {
  const active = activeZones(firewall)
  const chains = [...firewall.zones.values()].flatMap((zone): readonly PlanChain[] => {
    const rules = active.has(zone.name) ? rulesOf(zone) ?? [] : []
    return rules.length === 0 ? [] : [{ name: nameOf(zone.name), rules: rules.flatMap((rule) => compileRule(rule, context)) }]
  })
  if (chains.length === 0) return []
  const present = new Set(chains.map((chain) => chain.name))
  return [...chains, { name, rules: compileIngress(firewall, (zone) => (present.has(nameOf(zone)) ? nameOf(zone) : null), context) }]
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
