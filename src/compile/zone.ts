// One zone's decisions for packets to this host.
import type { IpSet, Zone } from '../model/firewall.ts'
import type { MatchContext } from './match.ts'
import type { PlanChain, PlanSet } from './plan.ts'
import { compileRule, compileRules } from './rules.ts'
import { SetRegistry } from './sets.ts'

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

interface CompiledZone {
  readonly chain: PlanChain
  readonly sets: readonly PlanSet[]
  /** The ipsets it was compiled with: another one under the same name may have another family. */
  readonly ipsets: readonly (readonly [string, IpSet | undefined])[]
}

const compiled = new WeakMap<Zone, CompiledZone>()

/**
 * Adds the zone's sets to the registry. The chain always ends in a rule that matches everything: it never returns.
 * A zone that kept its identity (resolve.ts) is compiled once.
 */
export function compileZoneInput(zone: Zone, context: MatchContext): PlanChain {
  let known = compiled.get(zone)
  if (known === undefined || !known.ipsets.every(([name, ipset]) => context.ipsets.get(name) === ipset)) {
    const sets = new SetRegistry()
    const chain = compileInput(zone, { sets, ipsets: context.ipsets })
    const names = sets.list().flatMap(({ user }) => (user === undefined ? [] : [user.name]))
    known = { chain, sets: sets.list(), ipsets: names.map((name) => [name, context.ipsets.get(name)]) }
    compiled.set(zone, known)
  }
  for (const set of known.sets) context.sets.add(set)
  return known.chain
}

function compileInput(zone: Zone, context: MatchContext): PlanChain {
  const rules = [
    ...compileRules(`zone:${zone.name}`, zone.rules, context, true),
    ...zone.targetRules.flatMap((rule) => compileRule(rule, context)),
  ]
  return { name: inputChainName(zone.name), rules }
}
