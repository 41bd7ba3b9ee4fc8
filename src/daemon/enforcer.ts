// Brings every dataplane to a plan, or back to the previous one. Knows no settings and no queue.
import { DerpanetError, printable } from '../errors.ts'
import type { Plan, TimedEdit } from '../compile/plan.ts'
import type { ApplyReport, Counters, Dataplane, DataplaneStatus, Drift } from '../kernel/dataplane.ts'
import type { Log } from '../log.ts'

/** What status says of a dataplane that is about to follow the ruleset. */
export const followsText = 'follows the ruleset in a moment'

/**
 * Dataplanes with `prepare` only subtract (XDP): they are narrowed first and widened last, and one that cannot follow is
 * degraded, not a failure, because the complete dataplanes decide alone then.
 */
export class Enforcer {
  private readonly dataplanes: readonly Dataplane[]
  private readonly log: Log
  private plan: Plan | null = null
  private readonly degraded = new Map<string, string>()
  /** The subtracting dataplanes were narrowed for `plan` and have not followed yet. */
  private lagging = false
  /** Why the kernel may hold something else than `plan`: a failed way back. */
  private unsure: string | null = null

  constructor(dataplanes: readonly Dataplane[], log: Log) {
    this.dataplanes = dataplanes
    this.log = log
  }

  inForce(): Plan | null {
    return this.plan
  }

  /** Should apply() be tried again with the same plan? */
  needsRepair(): boolean {
    return this.unsure !== null || this.degraded.size > 0
  }

  /**
   * Resolves with one line for the log. Throws DerpanetError COMMAND_FAILED (or a dataplane's own); the previous plan is in
   * force then. With `later` the subtracting dataplanes are only narrowed: {@link followUp} brings them to the plan. With
   * `single` what can wait is left to {@link settle}.
   */
  async apply(plan: Plan, later = false, single = false): Promise<string> {
    const reports: string[] = []
    try {
      for (const dataplane of this.dataplanes) await dataplane.prepare?.(plan)
      for (const dataplane of this.dataplanes.filter(isComplete)) reports.push(reportText(dataplane, await dataplane.apply(plan, undefined, single)))
    } catch (cause) {
      await this.goBack()
      throw asDerpanetError(cause)
    }
    this.plan = plan
    this.unsure = null
    this.lagging = later
    if (!later) reports.push(...await this.followAll(plan))
    return reports.join('; ')
  }

  /** Entries of a set with a timeout, in the kernel alone. Resolves with one line for the log. Throws DerpanetError. */
  async editTimed(edit: TimedEdit): Promise<string> {
    try {
      for (const dataplane of this.dataplanes) await dataplane.editTimed?.(edit)
    } catch (cause) {
      throw asDerpanetError(cause)
    }
    return `ipset ${edit.ipset}: ${edit.flush ? 'flushed, ' : ''}${edit.add.length} added, ${edit.remove.length} removed`
  }

  /** Can something be left to settle()? */
  get settles(): boolean {
    return this.dataplanes.some(({ settle }) => settle !== undefined)
  }

  /** Does what single changes left. Throws when the kernel does not hold the plan; {@link needsRepair} then. */
  async settle(): Promise<void> {
    try {
      for (const dataplane of this.dataplanes) await dataplane.settle?.()
    } catch (error) {
      this.unsure = printable((error as Error).message)
      throw error
    }
  }

  /** What others did to what is ours, everywhere; null while something is under way that repairs or follows anyway. */
  async drift(): Promise<Drift | null> {
    if (this.plan === null || this.lagging || this.needsRepair()) return null
    const lines: string[] = []
    let by: string | null = null
    for (const dataplane of this.dataplanes) {
      const drift = await dataplane.drift?.()
      lines.push(...drift?.lines ?? [])
      by ??= drift?.by ?? null
    }
    return { lines, by }
  }

  /** Does what `later` left, if it is still left. Resolves with one line for the log, or "". */
  async followUp(): Promise<string> {
    if (!this.lagging || this.plan === null) return ''
    const reports = await this.followAll(this.plan)
    this.lagging = false
    return reports.join('; ')
  }

  private async followAll(plan: Plan): Promise<readonly string[]> {
    const reports: string[] = []
    for (const dataplane of this.dataplanes.filter((each) => !isComplete(each))) reports.push(await this.follow(dataplane, plan))
    return reports
  }

  /** A subtracting dataplane was narrowed before, so what it drops is right even if it cannot take the whole plan. */
  private async follow(dataplane: Dataplane, plan: Plan): Promise<string> {
    try {
      const report = await dataplane.apply(plan)
      this.degraded.delete(dataplane.name)
      return reportText(dataplane, report)
    } catch (error) {
      this.degraded.set(dataplane.name, printable((error as Error).message))
      this.log.error({ dataplane: dataplane.name, error }, 'dataplane could not follow; the ruleset decides alone')
      return `${dataplane.name}: degraded`
    }
  }

  private async goBack(): Promise<void> {
    if (this.plan === null) return
    const failures: string[] = []
    for (const dataplane of [...this.dataplanes.filter(isComplete), ...this.dataplanes.filter((each) => !isComplete(each))]) {
      try {
        await dataplane.apply(this.plan)
      } catch (error) {
        failures.push(`${dataplane.name}: ${printable((error as Error).message)}`)
        this.log.error({ dataplane: dataplane.name, error }, 'previous plan could not be applied again')
      }
    }
    this.unsure = failures.length === 0 ? null : failures.join('; ')
  }

  async counters(): Promise<Counters> {
    const sums = new Map<string, { packets: bigint; bytes: bigint }>()
    for (const dataplane of this.dataplanes) {
      for (const [rule, { packets, bytes }] of await dataplane.counters()) {
        const before = sums.get(rule)
        sums.set(rule, { packets: packets + (before?.packets ?? 0n), bytes: bytes + (before?.bytes ?? 0n) })
      }
    }
    return sums
  }

  async status(): Promise<readonly DataplaneStatus[]> {
    return Promise.all(this.dataplanes.map(async (dataplane): Promise<DataplaneStatus> => {
      const status = await this.statusOf(dataplane)
      const trouble = isComplete(dataplane) ? this.unsure : this.degraded.get(dataplane.name) ?? (this.lagging ? followsText : null)
      if (trouble === null || trouble === undefined) return status
      return { ...status, state: 'degraded', details: [{ subject: dataplane.name, text: trouble }, ...status.details] }
    }))
  }

  /** Looking must not fail for one part that cannot be looked at. */
  private async statusOf(dataplane: Dataplane): Promise<DataplaneStatus> {
    try {
      return await dataplane.status()
    } catch (error) {
      return { name: dataplane.name, state: 'degraded', details: [{ subject: dataplane.name, text: printable((error as Error).message) }] }
    }
  }

  /** Removes everything of ours everywhere. Throws one error with all failures. */
  async purge(): Promise<void> {
    const failures: unknown[] = []
    for (const dataplane of [...this.dataplanes].reverse()) {
      try {
        await dataplane.purge()
      } catch (error) {
        failures.push(error)
      }
    }
    this.plan = null
    if (failures.length > 0) throw new AggregateError(failures, `purge: ${failures.map((error) => (error as Error).message).join('; ')}`)
  }
}

function isComplete(dataplane: Dataplane): boolean {
  return dataplane.prepare === undefined
}

function reportText(dataplane: Dataplane, report: ApplyReport): string {
  return `${dataplane.name}: ${report.summary} (${report.elapsedMs.toFixed(1)} ms)`
}

function asDerpanetError(cause: unknown): DerpanetError {
  if (cause instanceof DerpanetError) return cause
  return new DerpanetError('COMMAND_FAILED', printable((cause as Error).message.split('\n')[0] ?? ''), { cause })
}
