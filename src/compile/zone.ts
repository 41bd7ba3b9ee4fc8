// One zone's own decisions for packets to this host.
import type { Zone } from '../model/firewall.ts'
import type { MatchContext } from './match.ts'
import type { PlanRule } from './plan.ts'
import { keep } from './policy.ts'
import type { Kept } from './policy.ts'
import { compileRule, compileRules } from './rules.ts'

export function inputChainName(zone: string): string {
  return `zone:${zone}:input`
}

export function forwardChainName(zone: string): string {
  return `zone:${zone}:forward`
}

export function marksChainName(zone: string): string {
  return `zone:${zone}:marks`
}

export function helpersChainName(zone: string): string {
  return `zone:${zone}:helpers`
}

export interface ZoneRules {
  readonly rules: readonly PlanRule[]
  /** Ends in a rule that matches everything. */
  readonly target: readonly PlanRule[]
}

const compiled = new WeakMap<Zone, Kept<ZoneRules>>()

/** Adds the zone's sets to the registry. A zone that kept its identity (resolve.ts) is compiled once. */
export function compileZoneRules(zone: Zone, context: MatchContext): ZoneRules {
  return keep(compiled, zone, `zone:${zone.name}`, context, (own) => ({
    rules: compileRules(`zone:${zone.name}`, zone.rules, own, 'always'),
    target: zone.targetRules.flatMap((rule) => compileRule(rule, own)),
  }))
}
