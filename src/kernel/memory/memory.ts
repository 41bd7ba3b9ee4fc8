// The Dataplane without a kernel: it keeps what the real one would have written. For tests of everything above the kernel, and
// for the diff itself: what it holds after apply() is what the diff said must be done, and nothing else.
import type { Plan } from '../../compile/plan.ts'
import { afterChanges, diff, formatChangeSet, isEmptyChangeSet } from '../../diff/diff.ts'
import { nothingObserved } from '../../diff/observed.ts'
import type { Observed } from '../../diff/observed.ts'
import type { ApplyReport, Counters, Dataplane, DataplaneStatus } from '../dataplane.ts'

export interface MemoryDataplane extends Dataplane {
  readonly plan: Plan | null
  readonly observed: Observed
  /** What each apply changed, in words; "" = nothing. */
  readonly changes: readonly string[]
  /** The next apply fails with this, and changes nothing. */
  failNext(error: Error): void
}

export function createMemory(start: Observed = nothingObserved): MemoryDataplane {
  let plan: Plan | null = null
  let observed = start
  let failure: Error | null = null
  const changes: string[] = []
  return {
    name: 'memory',
    get plan() {
      return plan
    },
    get observed() {
      return observed
    },
    changes,
    failNext(error) {
      failure = error
    },
    async apply(next: Plan): Promise<ApplyReport> {
      if (failure !== null) {
        const thrown = failure
        failure = null
        throw thrown
      }
      const todo = diff(next, observed, plan)
      observed = afterChanges(observed, todo)
      plan = next
      changes.push(formatChangeSet(todo))
      return { summary: isEmptyChangeSet(todo) ? 'nothing to do' : 'done', elapsedMs: 0 }
    },
    async counters(): Promise<Counters> {
      return new Map()
    },
    async status(): Promise<DataplaneStatus> {
      return { name: 'memory', state: plan === null ? 'off' : 'ok', details: [] }
    },
    async purge(): Promise<void> {
      plan = null
      observed = nothingObserved
    },
  }
}
