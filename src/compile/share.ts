// What one plan has in common with the one before it is the same object in both: whoever renders, compares or follows a plan
// need not look at what it has seen.
import type { Plan, PlanChain, PlanSet } from './plan.ts'

/** `plan` itself, or as much of `previous` as says the same. */
export function shareWith(previous: Plan | null, plan: Plan): Plan {
  if (previous === null) return plan
  const chains = new Map(previous.chains.map((chain) => [chain.name, chain]))
  const sets = new Map(previous.sets.map((set) => [set.role, set]))
  const shared: Plan = {
    ...plan,
    sets: plan.sets.map((set) => sameSet(sets.get(set.role), set)),
    chains: plan.chains.map((chain) => same<PlanChain>(chains.get(chain.name), chain)),
    hooks: same(previous.hooks, plan.hooks),
    early: same(previous.early, plan.early),
    interfaces: same(previous.interfaces, plan.interfaces),
    ...(plan.xdp === undefined ? {} : { xdp: same(previous.xdp, plan.xdp) }),
  }
  return shared
}

/** A step is a fact about the set before it, not about the content: without it once it was made. */
function sameSet(before: PlanSet | undefined, set: PlanSet): PlanSet {
  return before !== undefined && before.digest === set.digest && before.kind === set.kind && before.family === set.family && before.user?.name === set.user?.name ? before : set
}

function same<T>(before: T | undefined, value: T): T {
  return before !== undefined && isEqual(before, value) ? before : value
}

/** Data of plain objects and arrays. Anything else (packed lists) is equal to itself alone. */
export function isEqual(one: unknown, other: unknown): boolean {
  if (Object.is(one, other)) return true
  if (typeof one !== 'object' || typeof other !== 'object' || one === null || other === null) return false
  if (Array.isArray(one)) return Array.isArray(other) && one.length === other.length && one.every((item, index) => isEqual(item, other[index]))
  if (Object.getPrototypeOf(one) !== Object.prototype || Object.getPrototypeOf(other) !== Object.prototype) return false
  const keys = Object.keys(one)
  return keys.length === Object.keys(other).length
    && keys.every((key) => isEqual((one as Record<string, unknown>)[key], (other as Record<string, unknown>)[key]))
}
