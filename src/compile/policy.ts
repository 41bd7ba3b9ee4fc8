// One policy's decisions: a chain that is visited on the way and left again when nothing in it decides.
import type { Firewall, Policy, PolicySide, Rule } from '../model/firewall.ts'
import { keptOf } from './fold.ts'
import { areSame, ipsetsOf } from './match.ts'
import type { MatchContext, NamedIpSets } from './match.ts'
import type { PlanChain, PlanMatch, PlanRule, PlanSet } from './plan.ts'
import { compileRules } from './rules.ts'
import { SetRegistry } from './sets.ts'

export function policyChainName(policy: string): string {
  return `policy:${policy}`
}

/** Policies from one side to the other; null = this host. */
export function policiesBetween(firewall: Firewall, from: string | null, to: string | null): { readonly before: readonly Policy[]; readonly after: readonly Policy[] } {
  const between = firewall.policies.filter(({ ingress, egress }) => sideHas(ingress, from) && sideHas(egress, to))
  return { before: between.filter(({ priority }) => priority < 0), after: between.filter(({ priority }) => priority > 0) }
}

export function sideHas(side: PolicySide, zone: string | null): boolean {
  return zone === null ? side.kind === 'host' : side.kind === 'any' || (side.kind === 'zones' && side.zones.includes(zone))
}

/** Nothing for a policy without rules. What all of its rules ask for is asked before the jump. */
export function policyJump({ name, rules }: Policy): readonly PlanRule[] {
  if (rules.length === 0) return []
  return [{ id: '', match: commonMatch(rules), verdict: { kind: 'jump', chain: policyChainName(name) } }]
}

function commonMatch(rules: readonly Rule[]): readonly PlanMatch[] {
  const family = rules[0]?.match.family
  const isCommon = family !== undefined && rules.every(({ match }) => match.family === family)
  const isIcmp = rules.every(({ match }) => match.protocol?.kind === 'icmp' || match.protocol?.kind === 'any-icmp')
  return [...(isCommon ? [{ kind: 'family', family } as const] : []), ...(isIcmp ? [{ kind: 'any-icmp' } as const] : [])]
}

/** What was compiled of an object that keeps its identity, good as long as the ipsets it names are the same. */
export interface Kept<T> {
  readonly value: T
  readonly sets: readonly PlanSet[]
  readonly ipsets: NamedIpSets
  /** Of the owner. */
  readonly kept: string
}

/** `make` runs once for an object; its sets, whose roles begin with `owner`, come into the registry every time. */
export function keep<Key extends object, T>(known: WeakMap<Key, Kept<T>>, key: Key, owner: string, context: MatchContext, make: (context: MatchContext) => T): T {
  let kept = known.get(key)
  const roles = keptOf(owner, context.kept)
  if (kept === undefined || kept.kept !== roles || !areSame(kept.ipsets, context)) {
    const own = { ...context, sets: new SetRegistry() }
    const value = make(own)
    const sets = own.sets.list()
    kept = { value, sets, ipsets: ipsetsOf(sets, context), kept: roles }
    known.set(key, kept)
  }
  for (const set of kept.sets) context.sets.add(set)
  return kept.value
}

const compiled = new WeakMap<Policy, Kept<PlanChain>>()

/** null for a policy without rules. */
export function compilePolicy(policy: Policy, context: MatchContext): PlanChain | null {
  if (policy.rules.length === 0) return null
  return keep(compiled, policy, policyChainName(policy.name), context, (own) => (
    { name: policyChainName(policy.name), rules: compileRules(policyChainName(policy.name), policy.rules, own, 'many') }))
}
