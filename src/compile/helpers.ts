// Connection helpers of a plan. A kernel may lack one; the zone that wanted it still works, only less well.
import type { Plan, PlanChain, PlanRule } from './plan.ts'

/** Names as the kernel has them, sorted. */
export function helperNames(plan: Plan): readonly string[] {
  const names = plan.chains.flatMap(({ rules }) => rules.flatMap(({ verdict }) => (verdict.kind === 'helper' ? [verdict.name] : [])))
  return [...new Set(names)].sort()
}

/** The plan without the helpers that `isMissing` names; the same object when there are none of them. */
export function withoutHelpers(plan: Plan, isMissing: (name: string) => boolean): Plan {
  const goes = ({ verdict }: PlanRule): boolean => verdict.kind === 'helper' && isMissing(verdict.name)
  if (!plan.chains.some(({ rules }) => rules.some(goes))) return plan
  return { ...plan, chains: plan.chains.map((chain): PlanChain => (chain.rules.some(goes) ? { ...chain, rules: chain.rules.filter((rule) => !goes(rule)) } : chain)) }
}
