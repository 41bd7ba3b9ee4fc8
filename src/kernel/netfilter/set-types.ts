// Which types of users' sets this kernel has: asked once in a daemon's life. What it lacks is written as rules where rules can
// say it, and refused by name otherwise.
import { canSpellOut, setUsers, spellOut } from '../../compile/spell-out.ts'
import type { Plan, PlanSet } from '../../compile/plan.ts'
import { DerpanetError, printable } from '../../errors.ts'
import type { KernelSets } from './kernel-sets.ts'

/** So many of those who ask for a set are named. */
const namedUsers = 3

export class SetTypes {
  private readonly present = new Map<string, boolean>()
  /** Names of the users' sets of the last plan that this kernel cannot hold, with their types. */
  private unheld: ReadonlyMap<string, string> = new Map()
  /** The same plan is the same plan afterwards, too. */
  private readonly spelled = new WeakMap<Plan, Plan>()

  constructor(private readonly kernel: KernelSets, private readonly log: (message: string, fields: Readonly<Record<string, unknown>>) => void) {}

  /** Types that the kernel was asked for in vain. */
  missing(): readonly string[] {
    return [...this.present].filter(([, present]) => !present).map(([type]) => type)
  }

  /** Is it a set that this kernel cannot hold? */
  isMissing({ user }: PlanSet): boolean {
    return user !== undefined && this.present.get(user.type) === false
  }

  /** The plan without sets that this kernel cannot hold. Throws COMMAND_FAILED for one that is needed. */
  async possible(plan: Plan): Promise<Plan> {
    for (const set of plan.sets) {
      const type = set.user?.type
      if (type === undefined || this.present.has(type)) continue
      const present = await this.kernel.hasType(set)
      this.present.set(type, present)
      if (!present) this.log('type of sets not in this kernel', { type })
    }
    const missing = plan.sets.filter((one) => this.isMissing(one))
    for (const set of missing.filter((one) => !canSpellOut(one))) {
      const users = setUsers(plan, set.role)
      const named = [...users.slice(0, namedUsers), ...(users.length > namedUsers ? [`${users.length - namedUsers} more`] : [])].join('; ')
      const { name, type } = set.user!
      throw new DerpanetError('COMMAND_FAILED', printable(
        `ipset '${name}': this kernel has no sets of type ${type}, and these entries cannot be written as rules; asked for by ${named}`, 1000))
    }
    this.unheld = new Map(missing.map(({ user }) => [user!.name, user!.type]))
    return this.known(plan)
  }

  /** For entries that come one by one. Throws COMMAND_FAILED. */
  requireHeld(ipset: string): void {
    const type = this.unheld.get(ipset)
    if (type !== undefined) throw new DerpanetError('COMMAND_FAILED', `ipset '${printable(ipset)}': this kernel has no sets of type ${type}, and entries with a timeout cannot be rules`)
  }

  /** The same by what is known so far: a type that nobody asked for counts as there. */
  known(plan: Plan): Plan {
    const roles = plan.sets.filter((set) => this.isMissing(set) && canSpellOut(set)).map(({ role }) => role)
    if (roles.length === 0) return plan
    const spelled = this.spelled.get(plan) ?? spellOut(plan, new Set(roles))
    this.spelled.set(plan, spelled)
    return spelled
  }
}
