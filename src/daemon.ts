// The one writer. Calls, signals, timers and changed files all end here as a Change or a reload; one at a time they are
// reduced, resolved, compiled, enforced, and only then answered and told. Getters read values and never wait.
//
// Invariants
//  1. `runtime` is what the kernel enforces. A failure on the way leaves both as they were.
//  2. `permanent` is what the files said when they were last loaded without a mistake, and what callers wrote since.
//  3. A generation's number rises when what is enforced changes, and is never given out twice.
//  4. Events are told after the commit, in commit order.
import { DerpanetError } from './errors.ts'
import { decision, type Log } from './log.ts'
import type {
  ApplyOptions, ApplyResult, Caller, ChangeResult, ConfigurationProblem, FirewallService, HistoryEntry, RuntimeToPermanentOptions, ServiceEvent,
  ServiceStatus, Version,
} from './service.ts'
import { maxEventsAtOnce, type Change, type Reduced } from './model/change.ts'
import type { DirectChange } from './model/direct.ts'
import { checkToolArgs, onlyReads } from './model/direct-args.ts'
import { withLeases, type Lease } from './model/lease.ts'
import type { PermanentChange } from './model/permanent.ts'
import type { Runtime, Settings } from './model/settings.ts'
import { resolve } from './model/resolve.ts'
import { reduceRuntime } from './model/reduce.ts'
import { compile } from './compile/compile.ts'
import { keptRoles } from './compile/fold.ts'
import type { Plan } from './compile/plan.ts'
import type { Counters, Dataplane } from './kernel/dataplane.ts'
import type { Passthrough } from './kernel/passthrough.ts'
import type { Diagnostic } from './config/diagnostic.ts'
import { combineZones } from './config/firewalld/tree.ts'
import { digestSettings, encodeSettings } from './state/codec.ts'
import type { GenerationRecord, GenerationStore } from './state/generations.ts'
import type { JournalHeader, PendingExpiry, RuntimeJournal } from './state/journal.ts'
import { Applier, type Standing } from './daemon/apply.ts'
import { builtinSettings } from './daemon/builtin.ts'
import { describe, describeCaller, isSameRuntime, kindOf, mainEffect, removeIfStill, withRuntimeKeys } from './daemon/changes.ts'
import type { Clock } from './daemon/clock.ts'
import { DriftWatch } from './daemon/drift.ts'
import { Enforcer } from './daemon/enforcer.ts'
import { keepRuntimeBindings } from './daemon/keep.ts'
import { mistakesIn, problemText, resolved, warningsIn, type Mistakes } from './daemon/mistakes.ts'
import { asRefusal, type Loaded, type PermanentFiles } from './daemon/permanent.ts'
import { PermanentWorld } from './daemon/permanent-world.ts'
import { WriterQueue } from './daemon/queue.ts'
import { Repairs } from './daemon/repairs.ts'
import { bringBack, type Replayed } from './daemon/replay.ts'
import { ExpiryTimers } from './daemon/timers.ts'
import { WayBack, type WayBackEdges } from './daemon/way-back.ts'

export interface DaemonOptions {
  readonly version: string
  readonly files: PermanentFiles
  readonly dataplanes: readonly Dataplane[]
  readonly generations: GenerationStore
  readonly journal: RuntimeJournal
  readonly clock: Clock
  readonly log: Log
  /** Absent = nothing can be passed through. */
  readonly passthrough?: Passthrough
  readonly wayBack: WayBackEdges
  /** At start, when it is clear what is going to be enforced first: edges can get ready while the kernel works. */
  readonly onChosen?: (settings: Settings) => void
  /** The permanent configuration is good and in force; what it alone would be enforced as, for the next boot. */
  readonly onPermanent?: (plan: () => Plan, generation: number) => void
  /** For systemd: a reload begins (it ends with the next call), or what is in force now. */
  readonly tell?: (phase: 'reloading' | 'ready', text: string) => void
}

type Source = ServiceStatus['source']

interface InForce {
  readonly runtime: Runtime
  readonly generation: number
}

/** Something that could be enforced at start. */
interface Candidate {
  readonly source: Source
  readonly settings: Settings
  readonly record: GenerationRecord | null
}

const firstRetryDelayMs = 5000
const nothingKept = { sets: [] }
/** A failure that took longer came from a tool that hung until its limit: what can be enforced comes first then. */
const hiccupMs = 25_000
const expiryRetryMs = 1000
const retryLimitMs = 300_000

export class Daemon implements FirewallService {
  private readonly options: DaemonOptions
  private readonly log: Log
  private readonly queue = new WriterQueue()
  private readonly enforcer: Enforcer
  private readonly timers: ExpiryTimers
  private readonly driftWatch: DriftWatch
  private readonly repairs: Repairs
  private readonly wayBack: WayBack
  private readonly applier: Applier
  private readonly permanentWorld: PermanentWorld
  private readonly listeners = new Set<(event: ServiceEvent) => void>()

  private phase: ServiceStatus['state'] = 'INIT'
  /** Not even what packages ship can be read. */
  private hasBrokenShipped = false
  /** Why the files are not in force although nothing is wrong with them. */
  private unconfirmedFiles: string | null = null
  private source: Source = 'builtin'
  private inForce: InForce | null = null
  private permanentSettings: Settings = builtinSettings
  /** The permanent configuration that is in force: what `permanentSettings` was at the last start, reload or apply. */
  private appliedSettings: Settings = builtinSettings
  private problem: ConfigurationProblem | null = null
  private warnings: readonly string[] = []
  /** Of the files that were loaded last without a mistake. */
  private fileWarnings: readonly string[] = []
  /** From the edges, by subject. */
  private readonly notices = new Map<string, string>()
  /** The next reload takes lists that became empty or changed a lot. */
  private forceLists = false
  private pending: ServiceStatus['pending'] = { changed: false, problem: null }
  /** Unbans that overtook a waiting reload: done again after it, as if they had waited. */
  private overtook: Change[] = []
  private looks = 0
  private persisting: Promise<void> = Promise.resolve()
  private stopped = false

  constructor(options: DaemonOptions) {
    this.options = options
    this.log = options.log
    this.enforcer = new Enforcer(options.dataplanes, options.log)
    this.timers = new ExpiryTimers(options.clock, (expiry) => void this.expire(expiry))
    this.repairs = new Repairs({ enforcer: this.enforcer, queue: this.queue, clock: options.clock, log: options.log })
    this.driftWatch = new DriftWatch({
      clock: options.clock, log: options.log,
      look: () => this.queue.add('repair', async () => (this.stopped ? null : this.enforcer.drift())),
      repair: () => this.queue.add('repair', () => this.repairs.putRight()),
      notice: (text) => this.notice('drift', text),
    })
    this.wayBack = new WayBack(options.wayBack, options.clock, options.log, () => void this.goBack())
    this.applier = this.createApplier()
    this.permanentWorld = this.createPermanentWorld()
  }

  runtime(): Runtime {
    return this.inForce?.runtime ?? this.runtimeOf(this.permanentSettings)
  }

  permanent(): Settings {
    return this.permanentSettings
  }

  state(): ServiceStatus['state'] {
    return this.phase
  }

  /** Known once the files were found broken at start. */
  isShippedBroken(): boolean {
    return this.hasBrokenShipped
  }

  counters(): Promise<Counters> {
    return this.enforcer.counters()
  }

  async status(): Promise<ServiceStatus> {
    const { settings, panic } = this.runtime()
    return {
      version: this.options.version,
      state: this.phase,
      generation: this.inForce?.generation ?? 0,
      source: this.source,
      panic,
      defaultZone: settings.main.value.defaultZone,
      dataplanes: await this.enforcer.status(),
      pending: this.pending,
      problem: this.problem,
      warnings: [...this.notices.values(), ...this.fileWarnings, ...this.warnings],
      ...(this.unconfirmed()),
    }
  }

  /** What an edge wants a person to know, in status and once in the log; null takes it back. */
  notice(subject: string, text: string | null): void {
    if (text === null) this.notices.delete(subject)
    else {
      if (this.notices.get(subject) !== text) this.log.warn({ subject }, text)
      this.notices.set(subject, text)
    }
  }

  subscribe(listener: (event: ServiceEvent) => void): () => void {
    this.listeners.add(listener)
    return () => void this.listeners.delete(listener)
  }

  /** Plan in force, for edges that follow it (links, XDP); null before start. */
  plan(): Plan | null {
    return this.enforcer.inForce()
  }

  // --- start

  /**
   * Enforces the first of: the files · the last known good generation · the shipped definitions · the program's own
   * minimum. Anything but the files leaves the state FAILED. Throws when not even the last could be enforced.
   */
  async start(): Promise<void> {
    await this.queue.add('change', () => this.startAlone())
  }

  private async startAlone(): Promise<void> {
    const refused: string[] = []
    const facts: Record<string, string | number> = {}
    const { generations, journal } = this.options
    const wentBack = await this.wayBack.takeUp(journal, (number) => generations.skipTo(number), () => generations.nextNumber())
    for await (const candidate of this.candidates(facts, refused, wentBack)) {
      const replayed = bringBack(this.options, candidate.settings)
      this.permanentSettings = candidate.settings
      this.options.onChosen?.(candidate.settings)
      try {
        const summary = await this.enforce(replayed?.runtime ?? this.runtimeOf(candidate.settings), replayed?.expiries ?? [], true)
        if (candidate.source === 'files') this.problem = null
        this.begin(candidate, replayed, facts, summary)
        this.wayBack.drop()
        if (this.unconfirmedFiles !== null) void this.adoptFiles({ name: 'start' }).catch((error: unknown) => this.log.warn({ error: (error as Error).message }, 'files that are not in force cannot be read'))
        return
      } catch (error) {
        const text = (error as Error).message
        // The files are good: it may have been a passing trouble, such as a lock that another program held.
        if (candidate.source === 'files' && facts['files'] === 'good') this.retryFiles(firstRetryDelayMs)
        refused.push(`${candidate.source}: ${text}`)
        facts[candidate.source] = text
        this.log.error({ source: candidate.source, error }, 'configuration could not be enforced')
        if (this.problem === null) this.problem = { diagnostics: [text] }
      }
    }
    throw new Error(`nothing could be enforced: ${refused.join('; ')}`)
  }

  private retryFiles(delayMs: number): void {
    this.options.clock.after(delayMs, () => {
      if (this.stopped || this.phase !== 'FAILED') return
      this.reload({ name: 'retry' }).catch((error: unknown) => {
        this.log.error({ error: (error as Error).message }, 'the files still cannot be enforced')
        this.retryFiles(Math.min(delayMs * 2, retryLimitMs))
      })
    })
  }

  private async *candidates(facts: Record<string, string | number>, refused: string[], wentBack: boolean): AsyncGenerator<Candidate> {
    // Somebody waits to be let in again, and the files are what keeps him out: they are not even read.
    const files: Loaded = wentBack ? { settings: null, diagnostics: [] } : await this.options.files.load()
    this.logWarnings(files.diagnostics)
    const mistakes = this.judge(files)
    const refusal = wentBack ? this.wayBack.refusal() : files.settings === null ? null : this.wayBack.refusalOf(files.settings)
    if (refusal !== null) {
      facts['files'] = 'not confirmed'
      refused.push(`files: ${refusal}`)
      this.unconfirmedFiles = refusal
      this.problem = { diagnostics: [refusal] }
      this.log.warn({ reason: refusal }, 'the files are not enforced')
    } else if (mistakes === null && files.settings !== null) {
      facts['files'] = 'good'
      this.fileWarnings = warningsIn(files.diagnostics)
      const begunMs = this.options.clock.monotonicMs()
      yield { source: 'files', settings: files.settings, record: null }
      // Good files that the kernel or a tool refused: one hiccup must not leave the host with something else for seconds.
      if (this.options.clock.monotonicMs() - begunMs < hiccupMs) yield { source: 'files', settings: files.settings, record: null }
    } else if (mistakes !== null) {
      facts['files'] = `${mistakes.lines.length} mistakes`
      refused.push(`files: ${mistakes.first.message}`)
      this.noteMistakes(mistakes, 'configuration is broken')
    }
    const shipped = await this.options.files.loadShipped()
    const isShippedGood = this.judge(shipped) === null && shipped.settings !== null
    this.hasBrokenShipped = !isShippedGood
    const good = await this.options.generations.lastKnownGood()
    for (const { number, reason } of good?.skipped ?? []) this.log.error({ generation: number, reason }, 'stored generation cannot be used')
    if (good !== null) {
      facts['last-known-good'] = good.record.number
      yield { source: 'last-known-good', settings: good.settings, record: good.record }
    } else {
      facts['last-known-good'] = 'none'
    }
    if (isShippedGood && shipped.settings !== null) yield { source: 'builtin', settings: shipped.settings, record: null }
    else facts['shipped'] = 'broken'
    yield { source: 'builtin', settings: builtinSettings, record: null }
  }

  private begin(candidate: Candidate, replayed: Replayed | null, facts: Record<string, string | number>, summary: string): void {
    const { generations } = this.options
    this.permanentSettings = candidate.settings
    this.appliedSettings = candidate.settings
    this.source = candidate.source
    const newest = generations.newest()
    const unchanged = newest !== null && newest.settings === digestSettings(candidate.settings)
    const generation = this.firstNumber(candidate, replayed?.generation ?? null, unchanged ? newest.number : null)
    this.inForce = { runtime: replayed?.runtime ?? this.runtimeOf(candidate.settings), generation }
    // Files that were not confirmed are no mistake: what was confirmed is in force, and everything works on it.
    const isConfirmed = candidate.source === 'last-known-good' && this.unconfirmedFiles !== null
    this.phase = candidate.source === 'files' || isConfirmed ? 'RUNNING' : 'FAILED'
    for (const { key, dueMs, change } of replayed?.expiries ?? []) this.timers.arm(key, dueMs, change)
    this.beginJournal()
    if (candidate.source === 'files' && !unchanged) this.record('start', { name: 'start' })
    if (candidate.source === 'files') this.tellPermanent()
    this.wayBack.note(generation, { name: 'start' }, 'start', `from ${candidate.source}`)
    decision(this.log, 'configuration', { ...facts, chosen: candidate.source, state: this.phase, generation })
    this.log.info({ generation, source: candidate.source, state: this.phase, summary }, 'rules are in force')
    this.tellReady()
    this.repairs.scheduleIfNeeded()
  }

  /**
   * To be called once after start(), when everybody who waits for the rules has been told: nobody has to wait for what only
   * makes things faster. Brings the subtracting dataplanes (XDP) to the plan; every later change does so by itself.
   */
  async followUp(): Promise<void> {
    await this.queue.add('repair', async () => {
      const summary = await this.enforcer.followUp()
      if (summary !== '') this.log.info({ summary }, 'early drops are in force')
      this.repairs.scheduleIfNeeded()
    })
  }

  /** The same configuration keeps its number through a restart. */
  private firstNumber(candidate: Candidate, journal: number | null, stored: number | null): number {
    const { generations } = this.options
    if (journal !== null) {
      generations.skipTo(journal)
      return journal
    }
    return stored ?? candidate.record?.number ?? generations.nextNumber()
  }

  // --- changes

  async change(change: Change, caller: Caller): Promise<ChangeResult> {
    return this.queue.add(kindOf(change), () => this.changeAlone(change, caller))
  }

  private async changeAlone(change: Change, caller: Caller): Promise<ChangeResult> {
    // The runtime can be changed with broken files too: that is when somebody has to open a port to repair them.
    const before = mainEffect(change) === null ? this.requireRunning() : this.requireUsable()
    const started = this.options.clock.monotonicMs()
    const reduced = reduceRuntime(before.runtime, change)
    if (reduced.world === before.runtime) return { name: reduced.name, generation: before.generation, events: [] }
    // in an emergency nothing is left for later
    const summary = reduced.timed !== undefined
      ? await this.enforcer.editTimed(reduced.timed)
      : await this.enforce(reduced.world, this.leasesAfter(reduced, started), false, change.kind !== 'panic-set')
    await this.persist(change, before)
    this.commitChange(change, caller, reduced, started)
    const generation = this.requireRunning().generation
    this.log.info({ generation, change: describe(change), by: describeCaller(caller), elapsedMs: this.options.clock.monotonicMs() - started, summary }, 'change is in force')
    if (kindOf(change) === 'unban' && this.queue.hasWaitingReload()) this.overtook.push(change)
    this.tell(reduced.events.map((event) => ({ kind: 'change', event })))
    return { name: reduced.name, generation, events: reduced.events }
  }

  /** Changes of the main settings are permanent too, as in firewalld. A file that cannot be written undoes the change. */
  private async persist(change: Change, before: InForce): Promise<void> {
    const effect = mainEffect(change)
    if (effect === null) return
    try {
      this.wayBack.requireSettled()
      this.permanentSettings = await this.options.files.apply(this.permanentSettings, effect)
    } catch (error) {
      await this.enforce(before.runtime, this.timers.pending())
      throw asRefusal(error)
    }
  }

  /** What is timed when the change is made. */
  private leasesAfter({ cancelled, expiries }: Reduced<Runtime>, nowMs: number): readonly Lease[] {
    const fresh = expiries.map(({ key, timeoutSec, change }) => ({ key, dueMs: nowMs + timeoutSec * 1000, change }))
    const gone = new Set([...cancelled, ...fresh.map(({ key }) => key)])
    return [...this.timers.pending().filter(({ key }) => !gone.has(key)), ...fresh]
  }

  private commitChange(change: Change, caller: Caller, reduced: Reduced<Runtime>, nowMs: number): void {
    const generation = this.options.generations.nextNumber()
    this.inForce = { runtime: reduced.world, generation }
    this.wayBack.note(generation, caller, 'change', describe(change))
    for (const key of reduced.cancelled) this.timers.cancel(key)
    for (const { key, timeoutSec, change: removal } of reduced.expiries) this.timers.arm(key, nowMs + timeoutSec * 1000, removal)
    if (mainEffect(change) !== null) {
      this.appliedSettings = withRuntimeKeys(this.appliedSettings, this.permanentSettings)
      this.record('change', caller)
      this.tellPermanent()
      this.beginJournal()
      return
    }
    try {
      if (!this.options.journal.append({ generation, by: caller, atMs: nowMs, change })) this.beginJournal()
    } catch (error) {
      // The change is in force and answered; only a crash right now would lose it.
      this.log.error({ error }, 'runtime journal cannot be written; a crash would lose runtime changes')
    }
  }

  private async expire(expiry: PendingExpiry): Promise<void> {
    try {
      await this.queue.add('change', async () => {
        if (!this.timers.isCurrent(expiry)) return
        await this.changeAlone(expiry.change, { name: 'timer' })
        this.timers.cancel(expiry.key)
      })
    } catch (error) {
      if (error instanceof DerpanetError && (error.code === 'NOT_ENABLED' || error.code === 'UNKNOWN_INTERFACE' || error.code === 'UNKNOWN_SOURCE')) {
        // Removed in another way than by the change that would have called the timer off: merged into a wider range.
        this.timers.cancel(expiry.key)
        return
      }
      // Under panic, or when the kernel refused: what was opened for a time must not stay open.
      this.log.warn({ key: expiry.key, error: (error as Error).message }, 'timed setting could not be taken back yet')
      this.timers.retry(expiry, expiryRetryMs)
    }
  }

  // --- reload

  reload(caller: Caller, options: { readonly forceLists?: boolean } = {}): Promise<void> {
    this.forceLists ||= options.forceLists === true
    return this.queue.addReload(() => this.reloadAlone(caller))
  }

  private async reloadAlone(caller: Caller): Promise<void> {
    // Waiting reloads are done as one: then it is forced for all of them.
    const { forceLists } = this
    this.forceLists = false
    const overtook = this.overtook
    this.overtook = []
    const before = this.requireRunning()
    const started = this.options.clock.monotonicMs()
    this.options.tell?.('reloading', 'reading the configuration')
    try {
      const loaded = await this.options.files.load(this.permanentSettings, forceLists ? { forceLists } : {})
      this.logWarnings(loaded.diagnostics)
      const settings = this.requireGood(loaded)
      this.wayBack.requireSettled()
      const refusal = this.wayBack.refusalOf(settings)
      if (refusal !== null) throw new DerpanetError('NOT_APPLIED', refusal)
      const runtime = overtook.reduce(removeIfStill, this.reloaded(settings, before.runtime))
      const summary = await this.enforceOrNote(runtime)
      this.commitReload(settings, runtime, before, caller)
      this.fileWarnings = warningsIn(loaded.diagnostics)
      this.log.info({ generation: this.requireRunning().generation, by: describeCaller(caller), elapsedMs: this.options.clock.monotonicMs() - started, summary }, 'configuration is reloaded')
      this.emit({ kind: 'reloaded' })
    } finally {
      this.tellReady()
    }
  }

  private reloaded(settings: Settings, before: Runtime): Runtime {
    const fresh = this.runtimeOf(settings, before.panic)
    return settings.main.value.flushAllOnReload ? fresh : { ...fresh, ...keepRuntimeBindings(before, this.appliedSettings, fresh.settings) }
  }

  private commitReload(settings: Settings, runtime: Runtime, before: InForce, caller: Caller): void {
    const { generations } = this.options
    const newest = generations.newest()
    const samePermanent = newest !== null && digestSettings(settings) === newest.settings
    const sameRuntime = isSameRuntime(before.runtime, runtime)
    this.timers.clear()
    this.appliedSettings = settings
    this.filesAreInForce(settings)
    this.inForce = { runtime, generation: samePermanent && sameRuntime ? before.generation : generations.nextNumber() }
    this.beginJournal()
    this.wayBack.note(this.inForce.generation, caller, 'reload', samePermanent ? 'the same files' : 'changed files')
    if (!samePermanent) this.record('reload', caller)
    this.tellPermanent()
  }

  private requireGood(loaded: Loaded): Settings {
    const mistakes = this.judge(loaded)
    if (mistakes !== null) {
      this.noteMistakes(mistakes, 'reload refused: the configuration is broken and the old one stays in force')
      // a file that cannot be read is nothing yet; one that can, and cannot be enforced, is what is configured now
      if (loaded.settings !== null) this.phase = 'FAILED'
    }
    return this.goodOf(loaded, mistakes)
  }

  /** Throws the first mistake. */
  private goodOf(loaded: Loaded, mistakes = this.judge(loaded)): Settings {
    if (mistakes !== null || loaded.settings === null) throw mistakes?.first ?? new Error('no settings and no diagnostic')
    return loaded.settings
  }

  private async enforceOrNote(runtime: Runtime): Promise<string> {
    try {
      return await this.enforce(runtime, [])
    } catch (error) {
      this.problem = { diagnostics: [(error as Error).message] }
      this.phase = 'FAILED'
      this.log.error({ error }, 'reload failed; the old configuration stays in force')
      throw error
    }
  }

  // --- the way back (daemon/apply.ts)

  apply(changes: readonly unknown[], options: ApplyOptions, caller: Caller): Promise<ApplyResult> {
    return this.queue.add('change', () => this.applier.apply(changes, options, caller))
  }

  confirm(caller: Caller): Promise<number> {
    return this.queue.add('change', () => this.applier.confirm(caller))
  }

  undo(generation: number | null, options: ApplyOptions, caller: Caller): Promise<ApplyResult> {
    return this.queue.add('change', () => this.applier.undo(generation, options, caller))
  }

  history(count: number): readonly (HistoryEntry & { readonly isStored: boolean })[] {
    const stored = new Set(this.options.generations.list().map(({ number }) => number))
    return this.wayBack.history(count).map((entry) => ({ ...entry, isStored: stored.has(entry.number) }))
  }

  difference(from: Version, to: Version): Promise<readonly string[]> {
    return this.queue.add('change', () => this.applier.difference(from, to))
  }

  /** The time to confirm is over. The guard outside does the same when this fails. */
  private async goBack(): Promise<void> {
    try {
      await this.queue.add('panic', () => this.applier.goBack({ name: 'timer' }))
    } catch (error) {
      this.log.error({ error }, 'an unconfirmed change could not be taken back')
    }
  }

  private unconfirmed(): Pick<ServiceStatus, 'unconfirmed'> {
    const unconfirmed = this.wayBack.unconfirmed()
    return unconfirmed === null ? {} : { unconfirmed }
  }

  private createApplier(): Applier {
    const { generations, journal, clock, log, files } = this.options
    return new Applier({
      wayBack: this.wayBack, generations, journal, clock, log,
      standing: () => ({ ...this.requireRunning(), applied: this.appliedSettings, expiries: this.timers.pending() }),
      headerOf: (standing) => this.headerOf(standing),
      load: (forceLists) => files.load(this.permanentSettings, forceLists ? { forceLists } : {}),
      requireGood: (loaded) => {
        const settings = this.requireGood(loaded)
        this.fileWarnings = warningsIn(loaded.diagnostics)
        return settings
      },
      reloaded: (settings) => this.reloaded(settings, this.requireRunning().runtime),
      firewallOf: (runtime) => resolved(runtime).firewall,
      enforce: (runtime, leases) => this.enforce(runtime, leases),
      take: (standing, fromFiles) => this.take(standing, fromFiles),
      record: async (what, by) => {
        this.record(what, by)
        await this.persisting
      },
      tellPermanent: () => this.tellPermanent(),
      emitReloaded: () => this.emit({ kind: 'reloaded' }),
    })
  }

  private take({ runtime, applied, generation, expiries }: Standing, fromFiles: boolean): void {
    this.timers.clear()
    for (const { key, dueMs, change } of expiries) this.timers.arm(key, dueMs, change)
    const isOther = applied !== this.appliedSettings
    this.appliedSettings = applied
    this.inForce = { runtime, generation }
    if (fromFiles) this.filesAreInForce(applied)
    else if (isOther) {
      // Gone back: the files say something else, and are not to be taken by themselves.
      this.pending = { changed: true, problem: null }
    }
    this.beginJournal()
    this.tellReady()
  }

  private filesAreInForce(settings: Settings): void {
    this.permanentSettings = settings
    this.source = 'files'
    this.phase = 'RUNNING'
    this.unconfirmedFiles = null
    this.problem = null
    this.pending = { changed: false, problem: null }
  }

  // --- the permanent world

  changePermanent(change: PermanentChange | DirectChange, caller: Caller): Promise<void> {
    return this.queue.add('change', () => this.permanentWorld.change(change, caller))
  }

  private createPermanentWorld(): PermanentWorld {
    const { files, log } = this.options
    return new PermanentWorld({
      files, log,
      settings: () => this.permanentSettings,
      requireSettled: () => this.wayBack.requireSettled(),
      requireRunning: () => void this.requireRunning(),
      requireUsable: () => void this.requireUsable(),
      requireGood: (loaded) => this.goodOf(loaded),
      seen: (settings) => {
        this.pending = { changed: digestSettings(settings) !== digestSettings(this.appliedSettings), problem: null }
      },
      take: (settings, events) => {
        this.permanentSettings = settings
        this.beginJournal()
        this.tell(events.map((event) => ({ kind: 'permanent', event })))
      },
    })
  }

  async checkPermanent(): Promise<void> {
    this.goodOf(await this.options.files.load(this.permanentSettings))
  }

  runtimeToPermanent(options: RuntimeToPermanentOptions, caller: Caller): Promise<void> {
    return this.queue.add('change', () => this.permanentWorld.fromRuntime(this.requireUsable().runtime, options, caller))
  }

  resetToDefaults(caller: Caller): Promise<void> {
    return this.queue.add('change', () => this.permanentWorld.reset(() => this.reloadAlone(caller), caller))
  }

  adoptFiles(caller: Caller): Promise<void> {
    return this.queue.add('change', () => this.permanentWorld.adoptFiles(caller))
  }

  async passthrough(ipv: string, args: readonly string[], caller: Caller): Promise<string> {
    const checked = checkToolArgs(ipv, args)
    const run = this.options.passthrough
    if (run === undefined) throw new DerpanetError('COMMAND_FAILED', 'this daemon has no tables')
    if (onlyReads(args)) return run(checked.ipv, args)
    return this.queue.add('change', async () => {
      this.requireRunning()
      const output = await run(checked.ipv, args)
      this.log.info({ ipv, args: args.join(' '), by: describeCaller(caller) }, 'passed through')
      // It may have hit our own rules: what is not as it should be is put back before anybody hears of success.
      const plan = this.enforcer.inForce()
      if (plan !== null) await this.enforcer.apply(plan)
      return output
    })
  }

  // --- files changed on disk

  /** Absolute paths. Looks at changed files at once and says what is wrong; they take effect on reload, or now with `auto-reload: yes`. */
  async filesChanged(files: readonly string[]): Promise<void> {
    if (this.areOurs(files)) return
    const look = ++this.looks
    const loaded = await this.options.files.load(this.permanentSettings)
    // A newer look, or the end, makes this one worthless.
    if (look !== this.looks || this.stopped) return
    const mistakes = this.judge(loaded)
    const changed = mistakes !== null || (loaded.settings !== null && digestSettings(loaded.settings) !== digestSettings(this.appliedSettings))
    const before = this.pending
    this.pending = { changed, problem: mistakes === null ? null : { diagnostics: mistakes.lines } }
    if (!changed) {
      if (before.changed) this.log.info({ files }, 'changed files are back to what is in force')
      return
    }
    if (mistakes !== null) this.log.warn({ files, mistakes: mistakes.lines }, 'changed files have mistakes; what is in force stays')
    else if (loaded.settings?.main.value.autoReload === true) await this.autoReload(files)
    else {
      this.log.info({ files }, 'changed files are valid and wait for a reload')
      this.emit({ kind: 'files-changed' })
    }
  }

  /** What the permanent world has just written is known: all that can be new is whether it waits for a reload. */
  private areOurs(files: readonly string[]): boolean {
    const settings = this.permanentSettings
    if (settings.main.value.autoReload || !files.every((file) => this.options.files.isKnown(settings, file))) return false
    const differs = digestSettings(settings) !== digestSettings(this.appliedSettings)
    // what somebody else did may have been mended or taken back by it
    if (this.pending.problem !== null || (this.pending.changed && !differs)) return false
    this.pending = { changed: differs, problem: null }
    return true
  }

  private async autoReload(files: readonly string[]): Promise<void> {
    this.log.info({ files }, 'changed files are valid and take effect')
    try {
      await this.reload({ name: 'watch' })
    } catch (error) {
      this.log.error({ error: (error as Error).message }, 'automatic reload failed')
    }
  }

  // --- end

  /**
   * SIGTERM: filtering stays as it is, except that timed openings are closed, because nobody is left to do it;
   * with `on-stop: open` everything of ours is removed. Nothing is queued afterwards.
   */
  async stop(): Promise<void> {
    await this.queue.add('change', async () => {
      this.stopped = true
      this.driftWatch.stop()
      this.repairs.stop()
      if (this.inForce !== null && this.permanentSettings.main.value.onStop === 'open') {
        this.wayBack.drop()
        await this.enforcer.purge()
        this.log.info({}, 'stopped; the firewall is open (on-stop: open)')
      } else {
        await this.closeTimedOpenings()
        await this.repairs.settle()
        this.log.info({ generation: this.inForce?.generation ?? 0 }, 'stopped; filtering stays in place')
      }
      this.timers.clear()
    })
    await this.settle()
    await this.onDisk(async () => this.options.journal.remove())
    await this.onDisk(() => this.options.generations.close())
  }

  private async closeTimedOpenings(): Promise<void> {
    const expiries = this.timers.pending()
    if (expiries.length === 0 || this.inForce === null) return
    try {
      await this.enforce(expiries.reduce((runtime, { change }) => removeIfStill(runtime, change), this.inForce.runtime), [])
      this.log.info({ closed: expiries.map(({ key }) => key) }, 'timed settings are taken back early')
    } catch (error) {
      this.log.error({ error }, 'timed settings could not be taken back and stay until the next start')
    }
  }

  /** Removes everything of ours from the kernel. */
  async purge(): Promise<void> {
    await this.queue.add('change', () => this.enforcer.purge())
  }

  /** Runs `edge` alone, between two changes: for parts of a dataplane that follow the host (links). */
  alone<Result>(edge: () => Promise<Result>): Promise<Result> {
    return this.queue.add('repair', edge)
  }

  /** Resolves when nothing waits and everything that goes to disk in the background is there. */
  async settle(): Promise<void> {
    await this.queue.idle()
    await this.persisting
    await this.onDisk(() => this.options.generations.settle())
  }

  // --- parts

  /** A disk that fails is told, and ends nothing. */
  private async onDisk(write: () => Promise<void>): Promise<void> {
    try {
      await write()
    } catch (error) {
      this.log.error({ error }, 'state on disk could not be written')
    }
  }

  /** What is enforced when nobody changes anything: zones made of several files are one. */
  private runtimeOf(settings: Settings, panic = false): Runtime {
    return { settings: combineZones(settings), panic }
  }

  /** For the permanent world. Throws RUNNING_BUT_FAILED: what would be changed is not what is written. */
  private requireUsable(): InForce {
    const before = this.requireRunning()
    if (this.phase === 'FAILED') throw new DerpanetError('RUNNING_BUT_FAILED', 'the configuration is broken: derpanetctl status')
    return before
  }

  private requireRunning(): InForce {
    if (this.stopped) throw new DerpanetError('NOT_RUNNING', 'derpanetd is stopping')
    if (this.inForce === null) throw new DerpanetError('NOT_RUNNING', 'derpanetd is starting')
    return this.inForce
  }

  /** Resolve, compile, apply. Throws DerpanetError; then the kernel holds what it held. */
  private async enforce(runtime: Runtime, leases: readonly Lease[], later = false, single = false): Promise<string> {
    const { firewall, warnings } = resolved(runtime)
    try {
      const summary = await this.enforcer.apply(compile(withLeases(firewall, leases), keptRoles(this.enforcer.inForce() ?? nothingKept)), later, single)
      if (single) this.repairs.scheduleSettle()
      this.noteWarnings(warnings.map(problemText))
      return summary
    } catch (error) {
      this.log.error({ error }, 'plan could not be applied; the previous one is in force')
      this.repairs.scheduleIfNeeded()
      throw error
    }
  }

  private judge(loaded: Loaded): Mistakes | null {
    const found = loaded.settings === null ? null : resolve(this.runtimeOf(loaded.settings))
    return mistakesIn(loaded.diagnostics, found?.firewall === null ? found.problems : [])
  }

  private noteMistakes(mistakes: Mistakes, message: string): void {
    this.problem = { diagnostics: mistakes.lines }
    this.log.error({ mistakes: mistakes.lines.length }, message)
    for (const mistake of mistakes.lines) this.log.error({ mistake }, 'mistake in the configuration')
  }

  /** Each is logged when it first appears. */
  private noteWarnings(warnings: readonly string[]): void {
    for (const warning of warnings) if (!this.warnings.includes(warning)) this.log.warn({ warning }, 'in force, but not whole')
    this.warnings = warnings
  }

  private logWarnings(diagnostics: readonly Diagnostic[]): void {
    for (const warning of warningsIn(diagnostics)) this.log.warn({ warning }, 'warning about the configuration')
  }

  /** The journal begins anew with what is in force now. */
  private beginJournal(): void {
    try {
      this.options.journal.begin(this.headerOf({ ...this.requireRunning(), applied: this.permanentSettings, expiries: this.timers.pending() }))
    } catch (error) {
      this.log.error({ error }, 'runtime journal cannot be written; a crash would lose runtime changes')
    }
  }

  private headerOf({ runtime, applied, generation, expiries }: Standing): JournalHeader {
    const isCopy = runtime.settings === applied
    return {
      generation, settings: digestSettings(applied), panic: runtime.panic,
      ...(isCopy ? {} : { runtime: encodeSettings(runtime.settings) }), defaultBound: [...runtime.defaultBound ?? []], expiries,
    }
  }

  private tellPermanent(): void {
    const settings = this.appliedSettings
    this.options.onPermanent?.(() => compile(resolved({ settings, panic: false }).firewall), this.requireRunning().generation)
  }

  /** In the background: no caller waits for a disk. */
  private record(what: GenerationRecord['what'], by: Caller): void {
    const { generations, clock } = this.options
    const settings = this.appliedSettings
    const number = this.requireRunning().generation
    const write = async (): Promise<void> => {
      try {
        await generations.record(settings, { number, at: clock.wallTime().toISOString(), by, what })
        await this.wayBack.storeFiles(number, generations.list().map((one) => one.number))
        this.notice('disk', null)
      } catch (error) {
        this.notice('disk', `generation ${number} cannot be stored (${(error as Error).message}): filtering is not affected, but a broken file or a boot would bring an older one`)
        this.log.error({ generation: number, error }, 'generation cannot be stored; the last known good one is older')
      }
    }
    this.persisting = this.persisting.then(write)
  }

  /** From now on what others do to our rules is put right. To be called once, when the rules are in force. */
  watchDrift(): void {
    this.driftWatch.start()
  }

  /** Somebody committed something: look at once. */
  hintDrift(): void {
    this.driftWatch.hint()
  }

  private tellReady(): void {
    const zone = this.runtime().settings.main.value.defaultZone
    this.options.tell?.('ready', `${this.phase}, generation ${this.inForce?.generation ?? 0} from ${this.source}, default zone ${zone}`)
  }

  /** More at once than clients can take are told as a reload, on which all of them look at everything again. */
  private tell(events: readonly ServiceEvent[]): void {
    if (events.length > maxEventsAtOnce) {
      this.log.info({ events: events.length }, 'too many changes to be told one by one: told as a reload')
      return this.emit({ kind: 'reloaded' })
    }
    for (const event of events) this.emit(event)
  }

  private emit(event: ServiceEvent): void {
    for (const listener of [...this.listeners]) {
      try {
        listener(event)
      } catch (error) {
        this.log.error({ event: event.kind, error }, 'a listener failed')
      }
    }
  }
}
