// apply, confirm and undo: a change as a whole, with the way back open. Everything here runs alone in the writer's queue;
// how a runtime comes into force and is committed is the daemon's, given as functions.
import { DerpanetError } from '../errors.ts'
import type { Log } from '../log.ts'
import type { Change, Reduced } from '../model/change.ts'
import type { Firewall } from '../model/firewall.ts'
import { reduceRuntime } from '../model/reduce.ts'
import type { Runtime, Settings } from '../model/settings.ts'
import type { ApplyOptions, ApplyResult, Caller, Version } from '../service.ts'
import { differences, formatDifference } from '../settings/difference.ts'
import { decodeChange, digestOwn, digestSettings } from '../state/codec.ts'
import type { GenerationRecord, GenerationStore } from '../state/generations.ts'
import type { JournalHeader, PendingExpiry, RuntimeJournal } from '../state/journal.ts'
import type { FileContents } from '../state/snapshots.ts'
import type { Clock } from './clock.ts'
import { asRefusal, type Loaded } from './permanent.ts'
import { linesSince, WayBack } from './way-back.ts'

/** All that says what the daemon is at: taken before a change, given back to return to it. */
export interface Standing {
  readonly runtime: Runtime
  /** The permanent configuration in force; the files may say something else by now. */
  readonly applied: Settings
  readonly generation: number
  readonly expiries: readonly PendingExpiry[]
}

/** What the daemon does for it. */
export interface ApplyHost {
  readonly wayBack: WayBack
  readonly generations: GenerationStore
  readonly journal: RuntimeJournal
  readonly clock: Clock
  readonly log: Log
  /** Throws NOT_RUNNING. */
  standing(): Standing
  /** As the journal's header tells it. */
  headerOf(standing: Standing): JournalHeader
  load(forceLists: boolean): Promise<Loaded>
  /** Throws the first mistake, logs all. */
  requireGood(loaded: Loaded): Settings
  /** What a reload of these settings would make of the runtime. */
  reloaded(settings: Settings): Runtime
  /** Throws the first problem. */
  firewallOf(runtime: Runtime): Firewall
  /** `leases`: what of it is timed. */
  enforce(runtime: Runtime, leases: readonly PendingExpiry[]): Promise<string>
  /** The standing is in force: remembers it, begins the journal anew. `fromFiles`: files and runtime agree about what is permanent. */
  take(standing: Standing, fromFiles: boolean): void
  /** Stores the permanent configuration as a generation; resolves when it is durable. */
  record(what: GenerationRecord['what'], by: Caller): Promise<void>
  tellPermanent(): void
  emitReloaded(): void
}

/** What a change makes of the world, before anything is done. */
interface Goal {
  readonly what: 'apply' | 'undo'
  readonly settings: Settings
  readonly runtime: Runtime
  readonly expiries: readonly PendingExpiry[]
  readonly fromFiles: boolean
}

export class Applier {
  private former: Standing | null = null

  constructor(private readonly host: ApplyHost) {}

  async apply(changes: readonly unknown[], options: ApplyOptions, caller: Caller): Promise<ApplyResult> {
    this.host.wayBack.requireSettled()
    this.requireExpected(options)
    const goal = changes.length === 0 ? await this.goalOfFiles(options.forceLists === true) : this.goalOfChanges(changes)
    return this.bring(goal, options, caller)
  }

  private requireExpected({ expectedGeneration }: ApplyOptions): void {
    const { generation } = this.host.standing()
    if (expectedGeneration === undefined || expectedGeneration === generation) return
    throw new DerpanetError('NOT_APPLIED', `generation ${generation} is in force, not ${expectedGeneration}: somebody else changed something`)
  }

  private async goalOfFiles(forceLists: boolean): Promise<Goal> {
    const settings = this.host.requireGood(await this.host.load(forceLists))
    return { what: 'apply', settings, runtime: this.host.reloaded(settings), expiries: [], fromFiles: true }
  }

  private goalOfChanges(changes: readonly unknown[]): Goal {
    const { runtime: before, applied, expiries: pending } = this.host.standing()
    const expiries = new Map(pending.map((expiry) => [expiry.key, expiry]))
    let runtime = before
    for (const change of changes.map(readChange)) {
      const reduced: Reduced<Runtime> = reduceRuntime(runtime, change)
      runtime = reduced.world
      for (const key of reduced.cancelled) expiries.delete(key)
      for (const { key, timeoutSec, change: removal } of reduced.expiries) expiries.set(key, { key, dueMs: this.host.clock.monotonicMs() + timeoutSec * 1000, change: removal })
    }
    return { what: 'apply', settings: applied, runtime, expiries: [...expiries.values()], fromFiles: false }
  }

  /** `prepare`: done after everything was judged and before anything is enforced; it may give the goal its last form, and undoes itself. */
  private async bring(
    judged: Goal, options: ApplyOptions, caller: Caller, prepare?: () => Promise<{ readonly goal: Goal; undo(): Promise<void> }>,
  ): Promise<ApplyResult> {
    const { host } = this
    const before = host.standing()
    const confirmSec = options.confirmSec === undefined ? null : WayBack.requireConfirmSec(options.confirmSec)
    const lines = differences(before.runtime.settings, judged.runtime.settings).map(formatDifference)
    const after = host.firewallOf(judged.runtime)
    const cutsOff = await host.wayBack.judgeCuts(host.firewallOf(before.runtime), after, options)
    if (options.dryRun === true) return { applied: false, generation: before.generation, differences: lines, cutsOff, confirmWithinSec: null }

    const prepared = await prepare?.()
    const goal = prepared?.goal ?? judged
    try {
      if (confirmSec !== null) await this.armWayBack(goal, confirmSec, before, caller)
      await host.enforce(goal.runtime, goal.expiries)
    } catch (error) {
      host.wayBack.drop()
      this.former = null
      await prepared?.undo()
      throw error
    }
    const changed = !isSame(before, goal)
    const generation = host.wayBack.pending()?.generation ?? (changed ? host.generations.nextNumber() : before.generation)
    host.wayBack.forgive(goal.settings)
    host.take({ runtime: goal.runtime, applied: goal.settings, generation, expiries: goal.expiries }, goal.fromFiles)
    const waits = confirmSec === null ? '' : `, taken back after ${confirmSec} s unless confirmed`
    host.wayBack.note(generation, caller, goal.what, `${lines.length} differences${waits}`)
    host.log.info({ generation, what: goal.what, by: caller.name, uid: caller.uid, pid: caller.pid, differences: lines.length, cutsOff: cutsOff.length, confirmSec }, 'change is applied')
    if (confirmSec === null) await this.keep(goal.what, caller)
    host.emitReloaded()
    return { applied: true, generation, differences: lines, cutsOff, confirmWithinSec: confirmSec }
  }

  /** What is to come back must be on disk first: the guard and the next daemon know nothing else. */
  private async armWayBack(goal: Goal, confirmSec: number, before: Standing, caller: Caller): Promise<void> {
    const { generations, wayBack } = this.host
    if (generations.newest()?.settings !== digestSettings(before.applied)) await this.host.record('change', caller)
    if (generations.newest()?.settings !== digestSettings(before.applied)) {
      throw new DerpanetError('NOT_APPLIED', 'the way back cannot be armed: what is in force now cannot be stored')
    }
    this.former = before
    await wayBack.arm(generations.nextNumber(), confirmSec, this.host.headerOf(before), goal.settings, before.applied)
  }

  /** A permanent configuration that is to stay: the last known good one, and that of the next boot. */
  private async keep(what: 'apply' | 'undo', caller: Caller): Promise<void> {
    const { generations } = this.host
    if (generations.newest()?.settings !== digestSettings(this.host.standing().applied)) await this.host.record(what, caller)
    this.host.tellPermanent()
  }

  async confirm(caller: Caller): Promise<number> {
    const { wayBack } = this.host
    const pending = wayBack.pending()
    if (pending === null) throw new DerpanetError('NOT_ENABLED', 'nothing waits for a confirmation')
    wayBack.drop()
    this.former = null
    wayBack.note(pending.generation, caller, 'confirm', 'stays')
    this.host.log.info({ generation: pending.generation, by: caller.name, uid: caller.uid }, 'change is confirmed')
    await this.keep('apply', caller)
    return pending.generation
  }

  /** The time is over, or somebody asked for it. When it fails the guard goes on trying, from outside. */
  async goBack(caller: Caller): Promise<void> {
    const { host, former } = this
    const pending = host.wayBack.pending()
    if (pending === null || former === null) return
    await host.wayBack.refuse(pending)
    const lines = linesSince(host.journal.read())
    let expiries = former.expiries
    let runtime = former.runtime
    for (const { change, atMs } of lines) {
      try {
        const reduced = reduceRuntime({ ...runtime, panic: false }, change)
        runtime = { ...reduced.world, panic: former.runtime.panic }
        const fresh = reduced.expiries.map(({ key, timeoutSec, change: removal }) => ({ key, dueMs: atMs + timeoutSec * 1000, change: removal }))
        expiries = [...expiries.filter(({ key }) => !reduced.cancelled.includes(key) && !fresh.some((one) => one.key === key)), ...fresh]
      } catch (error) {
        host.log.warn({ change: change.kind, reason: (error as Error).message }, 'a change made since does not fit what comes back')
      }
    }
    const now = host.clock.monotonicMs()
    for (const { change } of expiries.filter(({ dueMs }) => dueMs <= now)) runtime = withoutIfThere(runtime, change)
    await host.enforce(runtime, expiries.filter(({ dueMs }) => dueMs > now))
    const generation = host.generations.nextNumber()
    host.take({ runtime, applied: former.applied, generation, expiries: expiries.filter(({ dueMs }) => dueMs > now) }, false)
    host.wayBack.drop()
    this.former = null
    host.wayBack.note(generation, caller, 'revert', `generation ${pending.generation} was not confirmed`)
    host.log.warn({ generation, unconfirmed: pending.generation, by: caller.name }, 'a change was not confirmed: what was in force before it is in force again')
    host.emitReloaded()
  }

  async undo(number: number | null, options: ApplyOptions, caller: Caller): Promise<ApplyResult> {
    const { host } = this
    if (host.wayBack.pending() !== null) {
      const { runtime } = host.standing()
      await this.goBack(caller)
      const back = host.standing()
      return { applied: true, generation: back.generation, differences: differences(runtime.settings, back.runtime.settings).map(formatDifference), cutsOff: [], confirmWithinSec: null }
    }
    this.requireExpected(options)
    const record = this.recordFor(number)
    const stored = await host.generations.load(record).catch((cause: unknown) => {
      throw new DerpanetError('NOT_APPLIED', `generation ${record.number}: ${(cause as Error).message}`, { cause })
    })
    const now = await host.load(true)
    const isEdited = now.settings === null || digestOwn(now.settings) !== digestOwn(host.standing().applied)
    if (isEdited && options.discardEdits !== true && options.dryRun !== true && digestOwn(stored) !== (now.settings === null ? '' : digestOwn(now.settings))) {
      throw new DerpanetError('NOT_APPLIED', 'files were edited and are not in force: derpanetctl diff now files shows how; --discard-edits overwrites them')
    }
    const files = await host.wayBack.filesOf(record.number, stored, now.settings)
    const goal: Goal = { what: 'undo', settings: stored, runtime: host.reloaded(stored), expiries: [], fromFiles: true }
    // Judged by what is stored; enforced is what the files say when they are back.
    return this.bring(goal, options, caller, options.dryRun === true ? undefined : async () => this.putBack(files, record.number, goal))
  }

  private async putBack(files: FileContents, number: number, goal: Goal): Promise<{ readonly goal: Goal; undo(): Promise<void> }> {
    const { host } = this
    const before = await host.wayBack.readFiles()
    const undo = async (): Promise<void> => {
      try {
        await host.wayBack.writeFiles(before)
      } catch (error) {
        host.log.error({ error }, 'files that were put back for an undo could not be taken away again')
      }
    }
    try {
      await host.wayBack.writeFiles(files)
      const settings = host.requireGood(await host.load(true))
      if (digestOwn(settings) !== digestOwn(goal.settings)) throw new DerpanetError('NOT_APPLIED', `the files of generation ${number} are not stored whole`)
      return { goal: { ...goal, settings, runtime: host.reloaded(settings) }, undo }
    } catch (error) {
      await undo()
      throw asRefusal(error)
    }
  }

  /** null = the newest that says something else than what is permanent now. */
  private recordFor(number: number | null): GenerationRecord {
    const records = this.host.generations.list()
    const applied = digestSettings(this.host.standing().applied)
    const found = number === null ? [...records].reverse().find(({ settings }) => settings !== applied) : records.find((record) => record.number === number)
    if (found !== undefined) return found
    throw new DerpanetError('INVALID_VALUE', number === null ? 'there is no earlier generation' : `generation ${number} is not stored: derpanetctl log`)
  }

  async difference(from: Version, to: Version): Promise<readonly string[]> {
    const [before, after] = [await this.settingsOf(from), await this.settingsOf(to)]
    return differences(before, after).map(formatDifference)
  }

  private async settingsOf(version: Version): Promise<Settings> {
    const { generations } = this.host
    if (version === 'now') return this.host.standing().runtime.settings
    if (version === 'files') return this.host.requireGood(await this.host.load(true))
    const record = generations.list().find(({ number }) => number === version)
    if (record === undefined) throw new DerpanetError('INVALID_VALUE', `generation ${version} is not stored: derpanetctl log`)
    return generations.load(record)
  }
}

function isSame(before: Standing, goal: Goal): boolean {
  return before.runtime.panic === goal.runtime.panic && digestSettings(before.applied) === digestSettings(goal.settings)
    && digestSettings(before.runtime.settings) === digestSettings(goal.runtime.settings)
}

function readChange(stored: unknown): Change {
  try {
    return decodeChange(stored)
  } catch (cause) {
    throw cause instanceof DerpanetError ? cause : new DerpanetError('INVALID_VALUE', (cause as Error).message, { cause })
  }
}

function withoutIfThere(runtime: Runtime, change: Change): Runtime {
  try {
    return { ...reduceRuntime({ ...runtime, panic: false }, change).world, panic: runtime.panic }
  } catch (error) {
    if (error instanceof DerpanetError) return runtime
    throw error
  }
}
