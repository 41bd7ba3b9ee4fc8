// Which types of users' sets this kernel has: asked once in a daemon's life. What it lacks is written as rules.
import { canSpellOut, spellOut } from '../../compile/spell-out.ts'
import type { Plan } from '../../compile/plan.ts'
import type { KernelSets } from './kernel-sets.ts'

export class SetTypes {
  private readonly present = new Map<string, boolean>()
  /** The same plan is the same plan afterwards, too. */
  private readonly spelled = new WeakMap<Plan, Plan>()

  constructor(private readonly kernel: KernelSets, private readonly log: (message: string, fields: Readonly<Record<string, unknown>>) => void) {}

  /** Types that the kernel was asked for in vain. */
  missing(): readonly string[] {
    return [...this.present].filter(([, present]) => !present).map(([type]) => type)
  }

  /** The plan with rules in the place of sets that this kernel cannot hold. What cannot be written as rules stays, and is refused later. */
  async possible(plan: Plan): Promise<Plan> {
    for (const set of plan.sets) {
      const type = set.user?.type
      if (type === undefined || this.present.has(type) || !canSpellOut(set)) continue
      const present = await this.kernel.hasType(set)
      this.present.set(type, present)
      if (!present) this.log('type of sets not in this kernel: written as rules', { type })
    }
    return this.known(plan)
  }

  /** The same by what is known so far: a type that nobody asked for counts as there. */
  known(plan: Plan): Plan {
    const roles = plan.sets.filter((set) => set.user !== undefined && this.present.get(set.user.type) === false && canSpellOut(set)).map(({ role }) => role)
    if (roles.length === 0) return plan
    const spelled = this.spelled.get(plan) ?? spellOut(plan, new Set(roles))
    this.spelled.set(plan, spelled)
    return spelled
  }
}
