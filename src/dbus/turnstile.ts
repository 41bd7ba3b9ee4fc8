// Who of many callers may change something next. The daemon's own queue takes one task at a time as they come; a caller that
// sends thousands of changes without waiting must not have them all in it before somebody else's one. So each caller has a
// line of its own, of which one call is under way, and of the lines the one goes next that took the least time lately.
import type { Change } from '../model/change.ts'
import { onlyReads } from '../model/direct-args.ts'
import type { Caller, FirewallService } from '../service.ts'
import { limitsExceeded } from './errors.ts'

interface Task {
  run(): Promise<void>
  /** A reload: one that waits serves everybody who asks for one meanwhile, so it takes nobody's place. */
  readonly isReload: boolean
}

interface Line {
  readonly waiting: Task[]
  /** Under way. */
  running: number
  /** Of what is under way. */
  isReloading: boolean
  /** Time its calls took lately. */
  spentMs: number
  atMs: number
}

/** Spent time counts half after so long. */
const halfLifeMs = 2000
/** Whoever took nothing yet counts as this, so that of new ones those who want little go first. */
const leastSpentMs = 0.01

interface TurnstileOptions {
  readonly places: number
  /** Of one caller. */
  readonly maxWaiting: number
  readonly clock: () => number
  /** While it says no, nothing begins; whoever changes its mind calls `resume`. */
  readonly mayGo?: () => boolean
  /** Whether calls wait to be answered: what is done here keeps them waiting, so there is a pause after each. */
  readonly othersWait?: () => boolean
  readonly pause?: Pause
}

/**
 * Whoever starts a tool is held up until it runs, beside a flood for 7 to 30 ms, and what is not read meanwhile queues at the bus in
 * front of everybody's next call. So while others wait it pauses so many times what the last one took, up to a limit.
 */
interface Pause {
  readonly times: number
  readonly mostMs: number
}
const changePause: Pause = { times: 3, mostMs: 120 }
const lookPause: Pause = { times: 10, mostMs: 1000 }
const reloadPause: Pause = { times: 10, mostMs: 3000 }
const lookAgainMs = 20

function pauseAfter(tookMs: number, { times, mostMs }: Pause): number {
  return Math.min(tookMs * times, mostMs)
}

/** Lines of calls of one sort; so many of them are under way at once, reloads apart. */
export class Turnstile {
  private readonly lines = new Map<string, Line>()
  private readonly places: number
  private readonly maxWaiting: number
  private readonly clock: () => number
  private readonly mayGo: () => boolean
  private readonly othersWait: () => boolean
  private running = 0
  private readonly pause: Pause
  private pauseEndsMs = -Infinity
  private reloadPauseEndsMs = -Infinity
  private timer: NodeJS.Timeout | null = null

  constructor(options: TurnstileOptions) {
    this.places = options.places
    this.maxWaiting = options.maxWaiting
    this.clock = options.clock
    this.mayGo = options.mayGo ?? (() => true)
    this.othersWait = options.othersWait ?? (() => false)
    this.pause = options.pause ?? changePause
  }

  /** Resolves or rejects with what `run` does. Rejects with LimitsExceeded when too many of this caller wait. */
  pass<Result>(caller: string, run: () => Promise<Result>, isReload = false): Promise<Result> {
    let line = this.lines.get(caller)
    if (line === undefined) {
      line = { waiting: [], running: 0, isReloading: false, spentMs: 0, atMs: this.clock() }
      this.lines.set(caller, line)
    }
    if (line.waiting.length >= this.maxWaiting) return Promise.reject(limitsExceeded('too many calls of this caller wait'))
    const { waiting } = line
    return new Promise((resolve, reject) => {
      waiting.push({
        isReload,
        async run() {
          try {
            resolve(await run())
          } catch (error) {
            reject(error)
          }
        },
      })
      this.resume()
    })
  }

  resume(): void {
    while (this.mayGo()) {
      const line = this.nextLine()
      if (line === null || this.isPausing(this.pauseEndsMs)) return
      this.start(line)
    }
  }

  private isPausing(untilMs: number): boolean {
    const leftMs = untilMs - this.clock()
    if (leftMs <= 0 || !this.othersWait()) return false
    // looked at again before it ends: others may stop waiting, and there is one timer for two pauses
    this.timer ??= setTimeout(() => {
      this.timer = null
      this.resume()
    }, Math.min(leftMs, lookAgainMs))
    return true
  }

  private start(line: Line): void {
    const task = line.waiting.shift()
    if (task === undefined) return
    const begun = this.clock()
    line.running++
    line.isReloading = task.isReload
    if (!task.isReload) this.running++
    void task.run().finally(() => {
      line.running--
      if (!task.isReload) this.running--
      const now = this.clock()
      line.spentMs = this.spentOf(line) + now - begun
      line.atMs = now
      this.pauseEndsMs = now + pauseAfter(now - begun, this.pause)
      if (task.isReload) this.reloadPauseEndsMs = now + pauseAfter(now - begun, reloadPause)
      this.sweep()
      this.resume()
    })
  }

  /**
   * Of the lines that may, the one that took the least, times what its caller wants at once: of a hundred who never pause each
   * takes less than one who asks now and then. Of equal ones the first that came.
   */
  private nextLine(): Line | null {
    let best: Line | null = null
    let least = Infinity
    for (const line of this.lines.values()) {
      const [head] = line.waiting
      if (head === undefined) continue
      const mayStart = head.isReload ? (line.running === 0 || line.isReloading) && !this.isPausing(this.reloadPauseEndsMs) : line.running === 0 && this.running < this.places
      if (!mayStart) continue
      const weight = (this.spentOf(line) + leastSpentMs) * line.waiting.length
      if (weight < least) {
        best = line
        least = weight
      }
    }
    return best
  }

  private spentOf({ spentMs, atMs }: Line): number {
    return spentMs * 0.5 ** ((this.clock() - atMs) / halfLifeMs)
  }

  /** Forgets who wants nothing and took nothing worth remembering. */
  private sweep(): void {
    for (const [name, line] of this.lines) if (line.running === 0 && line.waiting.length === 0 && this.spentOf(line) < 1) this.lines.delete(name)
  }
}

const maxWaitingChanges = 8192
/** Each may give 15 MiB of text. */
const maxWaitingLooks = 256

interface FairOptions {
  readonly clock?: () => number
  readonly mayLook?: () => boolean
  /** Whether calls wait to be answered. */
  readonly othersWait?: () => boolean
  /** Resolves when the signals of what was done have left; null when they have. */
  readonly told?: () => Promise<void> | null
}

/** One service, in turns. */
export class FairService {
  private readonly service: FirewallService
  private readonly changes: Turnstile
  private readonly looks: Turnstile
  private readonly urgent: Turnstile
  private readonly told: () => Promise<void> | null
  private readonly views = new WeakMap<Caller, FirewallService>()

  constructor(service: FirewallService, options: FairOptions = {}) {
    const { clock = () => performance.now(), mayLook = () => true, othersWait = () => false, told = () => null } = options
    this.service = service
    this.told = told
    // one works and one waits: the writer is never without work, and who comes next is decided as late as can be
    this.changes = new Turnstile({ places: 2, maxWaiting: maxWaitingChanges, clock, othersWait })
    this.looks = new Turnstile({ places: 2, maxWaiting: maxWaitingLooks, clock, othersWait, pause: lookPause, mayGo: mayLook })
    // an emergency, and what ends one, wait for nobody but the caller's own
    this.urgent = new Turnstile({ places: Infinity, maxWaiting: maxWaitingLooks, clock })
  }

  /** `mayLook` may say yes again. */
  resume(): void {
    this.looks.resume()
  }

  /** What this caller's calls go through. */
  for(caller: Caller): FirewallService {
    let view = this.views.get(caller)
    if (view === undefined) {
      view = this.viewOf(caller.name)
      this.views.set(caller, view)
    }
    return view
  }

  private viewOf(name: string): FirewallService {
    const { service } = this
    const change = <Result>(run: () => Promise<Result>): Promise<Result> => this.changes.pass(name, run)
    /** Whoever waits for it hears first what it did. What may tell of hundreds of things keeps its place until that has left. */
    const whole = async <Result>(run: () => Promise<Result>): Promise<Result> => {
      const result = await run()
      await this.told()
      return result
    }
    const urgent = <Result>(run: () => Promise<Result>): Promise<Result> => this.urgent.pass(name, run)
    const look = <Result>(run: () => Promise<Result>): Promise<Result> => this.looks.pass(name, run)
    return {
      runtime: () => service.runtime(),
      permanent: () => service.permanent(),
      state: () => service.state(),
      history: (count) => service.history(count),
      subscribe: (listener) => service.subscribe(listener),
      change: (asked, caller) => (isUrgent(asked) ? urgent : change)(() => service.change(asked, caller)),
      confirm: (caller) => urgent(() => service.confirm(caller)),
      reload: (caller, options) => this.changes.pass(name, () => whole(() => service.reload(caller, options)), true),
      changePermanent: (asked, caller) => whole(() => change(() => service.changePermanent(asked, caller))),
      runtimeToPermanent: (options, caller) => whole(() => change(() => service.runtimeToPermanent(options, caller))),
      resetToDefaults: (caller) => change(() => whole(() => service.resetToDefaults(caller))),
      adoptFiles: (caller) => change(() => service.adoptFiles(caller)),
      apply: (changes, options, caller) => change(() => whole(() => service.apply(changes, options, caller))),
      undo: (generation, options, caller) => change(() => whole(() => service.undo(generation, options, caller))),
      passthrough: (ipv, args, caller) => (onlyReads(args) ? look : change)(() => service.passthrough(ipv, args, caller)),
      status: () => look(() => service.status()),
      counters: () => look(() => service.counters()),
      checkPermanent: () => look(() => service.checkPermanent()),
      difference: (from, to) => look(() => service.difference(from, to)),
    }
  }
}

function isUrgent(change: Change): boolean {
  return change.kind === 'panic-set'
}
