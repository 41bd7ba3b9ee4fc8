// The one writer. Calls, signals, timers and changed files all end here as a Change or a reload; one at a time they are
// reduced, resolved, compiled, enforced, and only then answered and told. Getters read values and never wait.
//
// Invariants
//  1. `runtime` is what the kernel enforces. A failure on the way leaves both as they were.
//  2. `permanent` is what the files said when they were last loaded without a mistake.
//  3. A generation's number rises when what is enforced changes, and is never given out twice.
//  4. Events are told after the commit, in commit order.
import { DerpanetError } from './errors.ts'
import { decision, type Log } from './log.ts'
import type { Caller, ChangeResult, ConfigurationProblem, FirewallService, ServiceEvent, ServiceStatus } from './service.ts'
import type { Change, Reduced } from './model/change.ts'
import type { Runtime, Settings } from './model/settings.ts'
import { resolve, type Problem } from './model/resolve.ts'
import { reduceRuntime } from './model/reduce.ts'
import { compile } from './compile/compile.ts'
import type { Plan } from './compile/plan.ts'
import type { Counters, Dataplane } from './kernel/dataplane.ts'
import type { Diagnostic } from './config/diagnostic.ts'
import { decodeSettings, digestSettings, encodeSettings } from './state/codec.ts'
import type { GenerationRecord, GenerationStore } from './state/generations.ts'
import type { JournalContent, PendingExpiry, RuntimeJournal } from './state/journal.ts'
import { builtinSettings } from './daemon/builtin.ts'
import type { Clock } from './daemon/clock.ts'
import { Enforcer } from './daemon/enforcer.ts'
import { keepRuntimeBindings } from './daemon/keep.ts'
import { mistakesIn, problemText, warningsIn, type Mistakes } from './daemon/mistakes.ts'
import { WriterQueue, type TaskKind } from './daemon/queue.ts'
import { replayJournal } from './daemon/replay.ts'
import { ExpiryTimers } from './daemon/timers.ts'

export interface Loaded {
  /** null when any diagnostic is an error. */
  readonly settings: Settings | null
  readonly diagnostics: readonly Diagnostic[]
}

export interface DaemonOptions {
  readonly version: string
  /** Reads the files; `previous` lets unchanged ones be shared. */
  readonly load: (previous?: Settings) => Promise<Loaded>
  /** The shipped definitions alone. */
  readonly loadShipped: () => Promise<Loaded>
  /** Sets one key of derpanet.yaml. */
  readonly writeMainKey: (key: string, value: string) => Promise<void>
  readonly dataplanes: readonly Dataplane[]
  readonly generations: GenerationStore
  readonly journal: RuntimeJournal
  readonly clock: Clock
  readonly log: Log
  /** At start, when it is clear what is going to be enforced first: edges can get ready while the kernel works. */
  readonly onChosen?: (settings: Settings) => void
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

const repairDelayMs = 5000
const expiryRetryMs = 1000

export class Daemon implements FirewallService {
  private readonly options: DaemonOptions
  private readonly log: Log
  private readonly queue = new WriterQueue()
  private readonly enforcer: Enforcer
  private readonly timers: ExpiryTimers
  private readonly listeners = new Set<(event: ServiceEvent) => void>()

  private state: ServiceStatus['state'] = 'INIT'
  private source: Source = 'builtin'
  private inForce: InForce | null = null
  private permanentSettings: Settings = builtinSettings
  private problem: ConfigurationProblem | null = null
  private warnings: readonly string[] = []
  private pending: ServiceStatus['pending'] = { changed: false, problem: null }
  /** Unbans that overtook a waiting reload: done again after it, as if they had waited. */
  private overtook: Change[] = []
  private looks = 0
  private repairing = false
  private persisting: Promise<void> = Promise.resolve()
  private stopped = false

  constructor(options: DaemonOptions) {
    this.options = options
    this.log = options.log
    this.enforcer = new Enforcer(options.dataplanes, options.log)
    this.timers = new ExpiryTimers(options.clock, (expiry) => void this.expire(expiry))
  }

  runtime(): Runtime {
    return this.inForce?.runtime ?? { settings: this.permanentSettings, panic: false }
  }

  permanent(): Settings {
    return this.permanentSettings
  }

  counters(): Promise<Counters> {
    return this.enforcer.counters()
  }

  async status(): Promise<ServiceStatus> {
    const { settings, panic } = this.runtime()
    return {
      version: this.options.version,
      state: this.state,
      generation: this.inForce?.generation ?? 0,
      source: this.source,
      panic,
      defaultZone: settings.main.value.defaultZone,
      dataplanes: await this.enforcer.status(),
      pending: this.pending,
      problem: this.problem,
      warnings: this.warnings,
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
    for await (const candidate of this.candidates(facts, refused)) {
      const replayed = this.replay(candidate)
      this.permanentSettings = candidate.settings
      this.options.onChosen?.(candidate.settings)
      try {
        const summary = await this.enforce(replayed?.runtime ?? { settings: candidate.settings, panic: false }, true)
        this.begin(candidate, replayed, facts, summary)
        return
      } catch (error) {
        const text = (error as Error).message
        refused.push(`${candidate.source}: ${text}`)
        facts[candidate.source] = text
        this.log.error({ source: candidate.source, error }, 'configuration could not be enforced')
        if (this.problem === null) this.problem = { diagnostics: [text] }
      }
    }
    throw new Error(`nothing could be enforced: ${refused.join('; ')}`)
  }

  private async *candidates(facts: Record<string, string | number>, refused: string[]): AsyncGenerator<Candidate> {
    const files = await this.options.load()
    this.logWarnings(files.diagnostics)
    const mistakes = this.judge(files)
    if (mistakes === null && files.settings !== null) {
      facts['files'] = 'good'
      yield { source: 'files', settings: files.settings, record: null }
    } else if (mistakes !== null) {
      facts['files'] = `${mistakes.lines.length} mistakes`
      refused.push(`files: ${mistakes.first.message}`)
      this.noteMistakes(mistakes, 'configuration is broken')
    }
    const good = await this.options.generations.lastKnownGood()
    for (const { number, reason } of good?.skipped ?? []) this.log.error({ generation: number, reason }, 'stored generation cannot be used')
    if (good !== null) {
      facts['last-known-good'] = good.record.number
      yield { source: 'last-known-good', settings: good.settings, record: good.record }
    } else {
      facts['last-known-good'] = 'none'
    }
    const shipped = await this.options.loadShipped()
    if (this.judge(shipped) === null && shipped.settings !== null) yield { source: 'builtin', settings: shipped.settings, record: null }
    else facts['shipped'] = 'broken'
    yield { source: 'builtin', settings: builtinSettings, record: null }
  }

  private replay(candidate: Candidate): ReturnType<typeof replayJournal> | null {
    const content = this.readJournal()
    if (content === null) return null
    const digest = digestSettings(candidate.settings)
    const base = content.header.runtime === undefined || content.header.settings !== digest ? candidate.settings
      : decodeSettings(content.header.runtime, new Map([...candidate.settings.lists.values()].map((list) => [list.digest, list])))
    const replayed = replayJournal(base, content, this.options.clock.monotonicMs(), reduceRuntime)
    for (const { change, reason } of replayed.failed) this.log.warn({ change: change.kind, reason }, 'runtime change could not be brought back')
    decision(this.log, 'runtime-journal', {
      base: content.header.generation, same: content.header.settings === digest, changes: content.lines.length, replayed: replayed.applied,
      failed: replayed.failed.length, timers: replayed.expiries.length,
    })
    return replayed
  }

  private readJournal(): JournalContent | null {
    try {
      return this.options.journal.read()
    } catch (error) {
      this.log.error({ error }, 'runtime journal cannot be read; the permanent configuration alone is in force')
      return null
    }
  }

  private begin(candidate: Candidate, replayed: ReturnType<typeof replayJournal> | null, facts: Record<string, string | number>, summary: string): void {
    const { generations } = this.options
    this.permanentSettings = candidate.settings
    this.source = candidate.source
    const newest = generations.newest()
    const unchanged = newest !== null && newest.settings === digestSettings(candidate.settings)
    const generation = this.firstNumber(candidate, replayed?.generation ?? null, unchanged ? newest.number : null)
    this.inForce = { runtime: replayed?.runtime ?? { settings: candidate.settings, panic: false }, generation }
    this.state = candidate.source === 'files' ? 'RUNNING' : 'FAILED'
    for (const { key, dueMs, change } of replayed?.expiries ?? []) this.timers.arm(key, dueMs, change)
    this.beginJournal()
    if (candidate.source === 'files' && !unchanged) this.record('start', { name: 'start' })
    decision(this.log, 'configuration', { ...facts, chosen: candidate.source, state: this.state, generation })
    this.log.info({ generation, source: candidate.source, state: this.state, summary }, 'rules are in force')
    this.tellReady()
    if (this.enforcer.needsRepair()) this.scheduleRepair()
  }

  /**
   * To be called once after start(), when everybody who waits for the rules has been told: nobody has to wait for what only
   * makes things faster. Brings the subtracting dataplanes (XDP) to the plan; every later change does so by itself.
   */
  async followUp(): Promise<void> {
    await this.queue.add('repair', async () => {
      const summary = await this.enforcer.followUp()
      if (summary !== '') this.log.info({ summary }, 'early drops are in force')
      if (this.enforcer.needsRepair()) this.scheduleRepair()
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
    const before = this.requireRunning()
    if (this.state === 'FAILED' && change.kind !== 'panic-set') throw new DerpanetError('RUNNING_BUT_FAILED', 'the configuration is broken: derpanetctl status')
    const started = this.options.clock.monotonicMs()
    const reduced = reduceRuntime(before.runtime, change)
    if (reduced.world === before.runtime) return { name: reduced.name, generation: before.generation, events: [] }
    const summary = await this.enforce(reduced.world)
    await this.persist(change, before)
    this.commitChange(change, caller, reduced)
    const generation = this.requireRunning().generation
    this.log.info({ generation, change: describe(change), by: describeCaller(caller), elapsedMs: this.options.clock.monotonicMs() - started, summary }, 'change is in force')
    if (kindOf(change) === 'unban' && this.queue.hasWaitingReload()) this.overtook.push(change)
    for (const event of reduced.events) this.emit({ kind: 'change', event })
    return { name: reduced.name, generation, events: reduced.events }
  }

  /** Changes of the main settings are permanent too, as in firewalld. A file that cannot be written undoes the change. */
  private async persist(change: Change, before: InForce): Promise<void> {
    if (change.kind !== 'default-zone-set' && change.kind !== 'log-denied-set') return
    const main = this.permanentSettings.main
    const [key, field, value] = change.kind === 'default-zone-set' ? (['default-zone', 'defaultZone', change.zone] as const) : (['log-denied', 'logDenied', change.value] as const)
    try {
      await this.options.writeMainKey(key, value)
    } catch (error) {
      await this.enforce(before.runtime)
      if (error instanceof DerpanetError) throw error
      throw new DerpanetError('COMMAND_FAILED', (error as Error).message, { cause: error })
    }
    const reloaded = await this.options.load(this.permanentSettings)
    const patched = { ...main, value: { ...main.value, [field]: value } }
    // What a person edited in the same file meanwhile stays pending.
    const same = reloaded.settings !== null && JSON.stringify(reloaded.settings.main.value) === JSON.stringify(patched.value)
    this.permanentSettings = { ...this.permanentSettings, main: same && reloaded.settings !== null ? reloaded.settings.main : patched }
  }

  private commitChange(change: Change, caller: Caller, reduced: Reduced<Runtime>): void {
    const nowMs = this.options.clock.monotonicMs()
    const generation = this.options.generations.nextNumber()
    this.inForce = { runtime: reduced.world, generation }
    for (const key of reduced.cancelled) this.timers.cancel(key)
    for (const { key, timeoutSec, change: removal } of reduced.expiries) this.timers.arm(key, nowMs + timeoutSec * 1000, removal)
    if (change.kind === 'default-zone-set' || change.kind === 'log-denied-set') {
      this.record('change', caller)
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

  reload(caller: Caller): Promise<void> {
    return this.queue.addReload(() => this.reloadAlone(caller))
  }

  private async reloadAlone(caller: Caller): Promise<void> {
    const overtook = this.overtook
    this.overtook = []
    const before = this.requireRunning()
    const started = this.options.clock.monotonicMs()
    this.options.tell?.('reloading', 'reading the configuration')
    try {
      const loaded = await this.options.load(this.permanentSettings)
      this.logWarnings(loaded.diagnostics)
      const settings = this.requireGood(loaded)
      const kept = settings.main.value.flushAllOnReload ? { settings } : keepRuntimeBindings(before.runtime, settings)
      const runtime = overtook.reduce(removeIfStill, { ...kept, panic: before.runtime.panic } as Runtime)
      const summary = await this.enforceOrNote(runtime)
      this.commitReload(settings, runtime, before, caller)
      this.log.info({ generation: this.requireRunning().generation, by: describeCaller(caller), elapsedMs: this.options.clock.monotonicMs() - started, summary }, 'configuration is reloaded')
      this.emit({ kind: 'reloaded' })
    } finally {
      this.tellReady()
    }
  }

  private commitReload(settings: Settings, runtime: Runtime, before: InForce, caller: Caller): void {
    const { generations } = this.options
    const newest = generations.newest()
    const samePermanent = newest !== null && digestSettings(settings) === newest.settings
    const sameRuntime = isSameRuntime(before.runtime, runtime)
    this.timers.clear()
    this.permanentSettings = settings
    this.source = 'files'
    this.state = 'RUNNING'
    this.problem = null
    this.pending = { changed: false, problem: null }
    this.inForce = { runtime, generation: samePermanent && sameRuntime ? before.generation : generations.nextNumber() }
    this.beginJournal()
    if (!samePermanent) this.record('reload', caller)
  }

  private requireGood(loaded: Loaded): Settings {
    const mistakes = this.judge(loaded)
    if (mistakes !== null) {
      this.noteMistakes(mistakes, 'reload refused: the configuration is broken and the old one stays in force')
      throw mistakes.first
    }
    if (loaded.settings === null) throw new Error('no settings and no diagnostic')
    return loaded.settings
  }

  private async enforceOrNote(runtime: Runtime): Promise<string> {
    try {
      return await this.enforce(runtime)
    } catch (error) {
      this.problem = { diagnostics: [(error as Error).message] }
      this.log.error({ error }, 'reload failed; the old configuration stays in force')
      throw error
    }
  }

  // --- files changed on disk

  /** Looks at changed files at once and says what is wrong; they take effect on reload, or now with `auto-reload: yes`. */
  async filesChanged(files: readonly string[]): Promise<void> {
    const look = ++this.looks
    const loaded = await this.options.load(this.permanentSettings)
    // A newer look, or the end, makes this one worthless.
    if (look !== this.looks || this.stopped) return
    const mistakes = this.judge(loaded)
    const changed = mistakes !== null || (loaded.settings !== null && digestSettings(loaded.settings) !== digestSettings(this.permanentSettings))
    const before = this.pending
    this.pending = { changed, problem: mistakes === null ? null : { diagnostics: mistakes.lines } }
    if (!changed) {
      if (before.changed) this.log.info({ files }, 'changed files are back to what is in force')
      return
    }
    if (mistakes !== null) this.log.warn({ files, mistakes: mistakes.lines }, 'changed files have mistakes; what is in force stays')
    else if (loaded.settings?.main.value.autoReload === true) await this.autoReload(files)
    else this.log.info({ files }, 'changed files are valid and wait for a reload')
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
      if (this.inForce !== null && this.permanentSettings.main.value.onStop === 'open') {
        await this.enforcer.purge()
        this.log.info({}, 'stopped; the firewall is open (on-stop: open)')
      } else {
        await this.closeTimedOpenings()
        this.log.info({ generation: this.inForce?.generation ?? 0 }, 'stopped; filtering stays in place')
      }
      this.timers.clear()
    })
    await this.settle()
    this.options.journal.remove()
    await this.options.generations.close()
  }

  private async closeTimedOpenings(): Promise<void> {
    const expiries = this.timers.pending()
    if (expiries.length === 0 || this.inForce === null) return
    try {
      await this.enforce(expiries.reduce((runtime, { change }) => removeIfStill(runtime, change), this.inForce.runtime))
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
    await this.options.generations.settle()
  }

  // --- parts

  private requireRunning(): InForce {
    if (this.stopped) throw new DerpanetError('NOT_RUNNING', 'derpanetd is stopping')
    if (this.inForce === null) throw new DerpanetError('NOT_RUNNING', 'derpanetd is starting')
    return this.inForce
  }

  /** Resolve, compile, apply. Throws DerpanetError; then the kernel holds what it held. */
  private async enforce(runtime: Runtime, later = false): Promise<string> {
    const { firewall, problems, warnings } = resolve(runtime)
    if (firewall === null) throw mistakesIn([], problems)?.first ?? new Error('resolve: no firewall and no problem')
    try {
      const summary = await this.enforcer.apply(compile(firewall), later)
      this.noteWarnings(warnings.map(problemText))
      return summary
    } catch (error) {
      this.log.error({ error }, 'plan could not be applied; the previous one is in force')
      if (this.enforcer.needsRepair()) this.scheduleRepair()
      throw error
    }
  }

  private judge(loaded: Loaded): Mistakes | null {
    const problems: readonly Problem[] = loaded.settings === null ? [] : problemsOf(loaded.settings)
    return mistakesIn(loaded.diagnostics, problems)
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
    const { runtime, generation } = this.requireRunning()
    const isCopy = runtime.settings === this.permanentSettings
    try {
      this.options.journal.begin({
        generation, settings: digestSettings(this.permanentSettings), panic: runtime.panic,
        ...(isCopy ? {} : { runtime: encodeSettings(runtime.settings) }), defaultBound: [...runtime.defaultBound ?? []], expiries: this.timers.pending(),
      })
    } catch (error) {
      this.log.error({ error }, 'runtime journal cannot be written; a crash would lose runtime changes')
    }
  }

  /** In the background: no caller waits for a disk. */
  private record(what: GenerationRecord['what'], by: Caller): void {
    const { generations, clock } = this.options
    const settings = this.permanentSettings
    const number = this.requireRunning().generation
    const write = async (): Promise<void> => {
      try {
        await generations.record(settings, { number, at: clock.wallTime().toISOString(), by, what })
      } catch (error) {
        this.log.error({ generation: number, error }, 'generation cannot be stored; the last known good one is older')
      }
    }
    this.persisting = this.persisting.then(write)
  }

  private scheduleRepair(): void {
    if (this.repairing || this.stopped) return
    this.repairing = true
    this.options.clock.after(repairDelayMs, () => void this.repair())
  }

  private async repair(): Promise<void> {
    this.repairing = false
    try {
      await this.queue.add('repair', async () => {
        const plan = this.enforcer.inForce()
        if (plan === null || this.stopped || !this.enforcer.needsRepair()) return
        await this.enforcer.apply(plan)
      })
    } catch (error) {
      this.log.error({ error }, 'repair failed')
    }
    if (this.enforcer.needsRepair()) this.scheduleRepair()
    else this.log.info({}, 'dataplanes hold the plan again')
  }

  private tellReady(): void {
    const zone = this.runtime().settings.main.value.defaultZone
    this.options.tell?.('ready', `${this.state}, generation ${this.inForce?.generation ?? 0} from ${this.source}, default zone ${zone}`)
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

function problemsOf(settings: Settings): readonly Problem[] {
  const { firewall, problems } = resolve({ settings, panic: false })
  return firewall === null ? problems : []
}

/** Removing what is not there any more is fine here: a reload already forgot it, or it was merged into something wider. */
function removeIfStill(runtime: Runtime, change: Change): Runtime {
  try {
    return { ...reduceRuntime({ ...runtime, panic: false }, change).world, panic: runtime.panic }
  } catch (error) {
    if (error instanceof DerpanetError) return runtime
    throw error
  }
}

/** Removals that let somebody in again go before reloads. */
function kindOf(change: Change): Exclude<TaskKind, 'reload'> {
  if (change.kind === 'panic-set') return 'panic'
  const isUnban = change.kind === 'ipset-entry-remove' || change.kind === 'source-remove' || (change.kind === 'zone-item-remove' && change.field === 'richRules')
  return isUnban ? 'unban' : 'change'
}

function isSameRuntime(before: Runtime, after: Runtime): boolean {
  const bound = (runtime: Runtime): string => [...runtime.defaultBound ?? []].sort().join(' ')
  return before.panic === after.panic && bound(before) === bound(after) && digestSettings(before.settings) === digestSettings(after.settings)
}

/** Short and without content of files: `interface-add public eth0`. */
function describe(change: Change): string {
  return Object.values(change).map((value) => (Array.isArray(value) ? (value.length > 4 ? `${value.length} items` : value.join('/')) : typeof value === 'object' ? '…' : String(value))).join(' ')
}

function describeCaller(caller: Caller): string {
  return [caller.name, ...(caller.uid === undefined ? [] : [`uid ${caller.uid}`]), ...(caller.pid === undefined ? [] : [`pid ${caller.pid}`])].join(' ')
}
