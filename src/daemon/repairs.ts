// The kernel does not hold what it should, or not yet all of it: what single changes left to do, what failed and is tried
// again, what others changed. All of it takes its turn in the writer's queue.
import type { Log } from '../log.ts'
import { pause, type Clock } from './clock.ts'
import type { Enforcer } from './enforcer.ts'
import type { WriterQueue } from './queue.ts'

const repairDelayMs = 5000
const longestRepairDelayMs = 60_000
const againDelayMs = 200
/** After single changes: a burst of them is read back once. */
const settleDelayMs = 1000

export interface RepairsHost {
  readonly enforcer: Enforcer
  readonly queue: WriterQueue
  readonly clock: Clock
  readonly log: Log
}

export class Repairs {
  private readonly host: RepairsHost
  private isStopped = false
  private isScheduled = false
  private isSettling = false
  /** In a row. */
  private failed = 0

  constructor(host: RepairsHost) {
    this.host = host
  }

  /** Nothing is scheduled or repaired any more. */
  stop(): void {
    this.isStopped = true
  }

  /** Has what failed done again after a while, longer each time. To be called after everything that was applied. */
  scheduleIfNeeded(): void {
    const { enforcer, clock } = this.host
    if (!enforcer.needsRepair() || this.isScheduled || this.isStopped) return
    this.isScheduled = true
    clock.after(Math.min(repairDelayMs * 2 ** this.failed, longestRepairDelayMs), () => void this.repair())
  }

  /** What a single change left to do is done when there is time. */
  scheduleSettle(): void {
    const { enforcer, clock, queue } = this.host
    if (this.isSettling || this.isStopped || !enforcer.settles) return
    this.isSettling = true
    clock.after(settleDelayMs, () => {
      this.isSettling = false
      void queue.add('repair', () => this.settle())
    })
  }

  /** Only from within the queue. */
  async settle(): Promise<void> {
    try {
      await this.host.enforcer.settle()
    } catch (error) {
      this.host.log.error({ error }, 'the kernel does not hold what was written; it is put right')
      if (!this.isStopped) void this.repair()
    }
  }

  /** The plan in force anew, whatever somebody made of it; only from within the queue. Resolves with one line. */
  async putRight(): Promise<string> {
    const { enforcer, clock } = this.host
    const plan = enforcer.inForce()
    if (plan === null || this.isStopped) return 'stopping'
    try {
      return await enforcer.apply(plan)
    } catch {
      // Whoever was at work may not have been done: sets destroyed between our loading and using them.
      await pause(clock, againDelayMs)
      return await enforcer.apply(plan)
    } finally {
      this.scheduleIfNeeded()
    }
  }

  private async repair(): Promise<void> {
    const { enforcer, queue, log } = this.host
    this.isScheduled = false
    try {
      await queue.add('repair', async () => {
        const plan = enforcer.inForce()
        if (plan === null || this.isStopped || !enforcer.needsRepair()) return
        await enforcer.apply(plan)
      })
    } catch (error) {
      log.error({ error }, 'repair failed')
    }
    this.failed = enforcer.needsRepair() ? Math.min(this.failed + 1, 16) : 0
    if (enforcer.needsRepair()) this.scheduleIfNeeded()
    else log.info({}, 'dataplanes hold the plan again')
  }
}
