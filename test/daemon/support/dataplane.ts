// A dataplane that holds plans in memory and fails when told to: what a kernel would do to the daemon.
import type { Plan } from '../../../src/compile/plan.ts'
import type { ApplyReport, Counters, Dataplane, DataplaneStatus } from '../../../src/kernel/dataplane.ts'

export class FakeDataplane implements Dataplane {
  readonly name = 'memory'
  /** What is in force. */
  plan: Plan | null = null
  readonly applied: Plan[] = []
  purged = 0
  failures: string[] = []
  /** Each apply waits for this. */
  gate: Promise<void> = Promise.resolve()

  async apply(plan: Plan): Promise<ApplyReport> {
    await this.gate
    this.applied.push(plan)
    const failure = this.failures.shift()
    if (failure !== undefined) throw new Error(failure)
    this.plan = plan
    return { summary: 'applied', elapsedMs: 0 }
  }

  async counters(): Promise<Counters> {
    return new Map([['r', { packets: 1n, bytes: 60n }]])
  }

  async status(): Promise<DataplaneStatus> {
    return { name: this.name, state: 'ok', details: [] }
  }

  async purge(): Promise<void> {
    this.purged += 1
    this.plan = null
  }
}

/** The same for one that only subtracts, like XDP. */
export class FakeSubtractor extends FakeDataplane {
  readonly prepared: Plan[] = []
  prepareFailures: string[] = []

  async prepare(next: Plan): Promise<void> {
    this.prepared.push(next)
    const failure = this.prepareFailures.shift()
    if (failure !== undefined) throw new Error(failure)
  }
}
