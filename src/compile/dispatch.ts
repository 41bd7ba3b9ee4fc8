// Which way a packet goes through zones and policies: to this host, through it, from it.
import type { Firewall, Zone } from '../model/firewall.ts'
import { zoneForwardRule } from '../model/stages.ts'
import { compileWalk, goOn } from './bindings.ts'
import type { Walk } from './bindings.ts'
import type { MatchContext } from './match.ts'
import type { PlanChain, PlanRule } from './plan.ts'
import { policiesBetween, policyJump } from './policy.ts'
import { acceptOwnTranslated, judgePublished } from './published.ts'
import { compileRule } from './rules.ts'
import { forwardChainName, inputChainName } from './zone.ts'
import type { ZoneRules } from './zone.ts'

/** Zones that some binding leads to. */
export function activeZones(firewall: Firewall): readonly Zone[] {
  const named = new Set(firewall.ingress.map((binding) => binding.zone))
  return [...firewall.zones.values()].filter(({ name }) => named.has(name))
}

/** By where a packet comes from. */
export function ingressWalk(firewall: Firewall): Walk {
  return { bindings: firewall.ingress, side: 'source', what: 'sources' }
}

/** By where it goes, before routing: only source bindings tell that. */
export function destinationWalk(firewall: Firewall): Walk {
  return { bindings: firewall.egress.filter(({ kind }) => kind === 'source'), side: 'destination', what: 'destinations' }
}

/** By where it goes. */
export function egressWalk(firewall: Firewall): Walk {
  return { bindings: firewall.egress, side: 'destination', what: 'egress' }
}

/** Rules that send a packet to its zone's chain by where it comes from. The last one takes everything. A zone without a chain has it return. */
export function compileIngress(firewall: Firewall, chainOf: (zone: string) => string | null, context: MatchContext): readonly PlanRule[] {
  return compileWalk(ingressWalk(firewall), (zone) => {
    const chain = chainOf(zone)
    return chain === null ? null : { id: '', verdict: { kind: 'goto', chain } }
  }, context)
}

/** For this host: policies before the zone's rules, the rules, policies after them, the target. */
export function compileZoneInput(firewall: Firewall, zone: Zone, own: ZoneRules, context: MatchContext): PlanChain {
  const { before, after } = policiesBetween(firewall, zone.name, null)
  return {
    name: inputChainName(zone.name),
    rules: [
      ...acceptOwnTranslated(firewall, zone, 'input', context), ...judgePublished(firewall, zone),
      ...before.flatMap(policyJump), ...own.rules, ...after.flatMap(policyJump), ...own.target,
    ],
  }
}

/**
 * Packets forwarded from a zone: policies before, the zone's own forwarding, policies after, the target, as far as they
 * concern the zone that the packet leaves by. Ways out that decide alike share their chain; the common one stands in line.
 */
export function compileZoneForward(firewall: Firewall, zone: Zone, context: MatchContext): readonly PlanChain[] {
  const { id, verdict, origin } = zone.forwardRule
  const log = zone.forwardLog === undefined ? [] : compileRule(zone.forwardLog, context)
  const target: readonly PlanRule[] = [...log, { id, match: [], verdict, origin }]
  const inner: PlanRule = { id: zoneForwardRule(zone.name), match: [], verdict: { kind: 'accept' }, origin: zone.origin }
  const towards = (out: string, isBound: boolean): readonly PlanRule[] => {
    const { before, after } = policiesBetween(firewall, zone.name, out)
    const own = zone.forward && isBound && out === zone.name ? [inner] : [...after.flatMap(policyJump), ...target]
    return [...before.flatMap(policyJump), ...own]
  }
  const effects = (zone.forwardEffects ?? []).flatMap((rule) => compileRule(rule, context))
  const ways = compileWays(firewall, `zone:${zone.name}`, towards, context)
  const rules = [...acceptOwnTranslated(firewall, zone, 'forward', context), ...judgePublished(firewall, zone), ...effects, ...ways.rules]
  return [...ways.chains, { name: forwardChainName(zone.name), rules }]
}

/** What this host sends; null when no policy is about that. Known connections, loopback and what IPv6 needs are the caller's. */
export function compileHostOutput(firewall: Firewall, context: MatchContext): { readonly rules: readonly PlanRule[]; readonly chains: readonly PlanChain[] } | null {
  if (!firewall.policies.some(({ ingress, rules }) => ingress.kind === 'host' && rules.length > 0)) return null
  const towards = (out: string): readonly PlanRule[] => {
    const { before, after } = policiesBetween(firewall, null, out)
    return [...before, ...after].flatMap(policyJump)
  }
  return compileWays(firewall, 'host', towards, context)
}

/** `towards` says what happens to packets that leave by a zone; without a last word they go on behind our chains. */
function compileWays(
  firewall: Firewall, owner: string, towards: (zone: string, isBound: boolean) => readonly PlanRule[], context: MatchContext,
): { readonly rules: readonly PlanRule[]; readonly chains: readonly PlanChain[] } {
  const chains = new Map<string, PlanChain>()
  const rest = towards(firewall.defaultZone, false)
  const restKey = wayKey(rest)
  const way = (name: string, rules: readonly PlanRule[]): Omit<PlanRule, 'match'> => {
    const [only, second] = rules
    // said even at the end: what takes the rest comes behind
    if (only === undefined) return goOn
    // one rule without a condition needs no chain of its own
    if (second === undefined && only.match.length === 0 && only.verdict.kind !== 'jump') return only
    chains.set(name, { name, rules })
    return { id: '', verdict: { kind: 'goto', chain: name } }
  }
  const bound = firewall.egress.filter(({ kind }) => kind !== 'any')
  const last = bound.findLastIndex(({ zone }) => wayKey(towards(zone, true)) !== restKey)
  const decide = (zone: string): Omit<PlanRule, 'match'> => {
    const rules = towards(zone, true)
    return wayKey(rules) === restKey ? way(`${owner}:rest`, rest) : way(`${owner}:to:${zone}`, rules)
  }
  const walk = { ...egressWalk(firewall), bindings: bound.slice(0, last + 1) }
  const branches = last < 0 ? [] : compileWalk(walk, decide, context)
  const end: readonly PlanRule[] = chains.has(`${owner}:rest`) ? [{ id: '', match: [], verdict: { kind: 'goto', chain: `${owner}:rest` } }] : rest
  return { rules: [...branches, ...end], chains: [...chains.values()] }
}

function wayKey(rules: readonly PlanRule[]): string {
  return JSON.stringify(rules.map(({ id, verdict }) => [id, verdict]))
}
