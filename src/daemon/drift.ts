// Notices within two seconds that somebody else took away or changed what is ours, and has it put right, once a line in the log.
// Whoever insists is answered ever more slowly: two programs that undo each other must not keep a host busy for ever.
import type { Drift } from '../kernel/dataplane.ts'
import type { Log } from '../log.ts'
import type { Clock } from './clock.ts'

export interface DriftEdges {
  readonly clock: Clock
  readonly log: Log
  /** Runs alone among the writer's work; null = not now. */
  look(): Promise<Drift | null>
  /** Puts everything right. Resolves with one line. Rejects when it cannot. */
  repair(): Promise<string>
  /** For status; null takes it back. */
  notice(text: string | null): void
}

const everyMs = 1000
/** After a hint: whoever changes something has mostly more to change. */
const soonMs = 100
/** So many repairs of the same thing, and of all things, are answered at once; after a calm they are forgotten. */
const patience = 5
const patienceInAll = 20
const calmMs = 60_000
const longestWaitMs = 60_000

export class DriftWatch {
  private readonly edges: DriftEdges
  private callOff: (() => void) | null = null
  private isStopped = false
  private isLooking = false
  private hinted = false
  /** When what was put right, the newest last. */
  private repairs: { readonly atMs: number; readonly what: string }[] = []
  private waitUntilMs = 0

  constructor(edges: DriftEdges) {
    this.edges = edges
  }

  start(): void {
    this.schedule(everyMs)
  }

  /** Something may have happened. */
  hint(): void {
    if (this.isStopped || this.hinted) return
    this.hinted = true
    if (!this.isLooking) this.schedule(soonMs)
  }

  stop(): void {
    this.isStopped = true
    this.callOff?.()
  }

  private schedule(delayMs: number): void {
    this.callOff?.()
    if (!this.isStopped) this.callOff = this.edges.clock.after(delayMs, () => void this.tick())
  }

  private async tick(): Promise<void> {
    this.isLooking = true
    this.hinted = false
    try {
      await this.lookAndRepair()
    } catch (error) {
      this.edges.log.error({ error: (error as Error).message }, 'what others did to our rules cannot be put right yet')
      // whoever insists waits for as long as status says already
      if (this.edges.clock.monotonicMs() >= this.waitUntilMs) this.waitLonger(1)
    }
    this.isLooking = false
    this.schedule(this.hinted ? soonMs : everyMs)
  }

  private async lookAndRepair(): Promise<void> {
    const { clock, log } = this.edges
    const now = clock.monotonicMs()
    this.calm(now)
    if (now < this.waitUntilMs) return
    const drift = await this.edges.look()
    if (drift === null || drift.lines.length === 0) return
    const by = drift.by ?? 'unknown'
    // what cannot be put right counts too: whoever is faster than we are insists most
    const insisted = this.insisted(drift.lines, now)
    const waitMs = insisted > 0 ? this.waitLonger(insisted) : 0
    if (insisted > 0) this.edges.notice(`${by} keeps changing what is ours (${drift.lines[0]}); it is put right every ${Math.round(waitMs / 1000)} s`)
    const done = await this.edges.repair()
    log.warn({ changed: drift.lines, by, summary: done }, 'somebody changed what is ours; it is put right')
    // so that what is right now is known before anybody else comes
    this.hinted ||= insisted <= 0
  }

  /** How often beyond patience; notes this time too. */
  private insisted(lines: readonly string[], atMs: number): number {
    const what = lines.join('\n')
    this.repairs.push({ atMs, what })
    return Math.max(this.repairs.filter((repair) => repair.what === what).length - patience, this.repairs.length - patienceInAll)
  }

  private waitLonger(insisted: number): number {
    const waitMs = Math.min(longestWaitMs, everyMs * 2 ** Math.min(insisted, 16))
    this.waitUntilMs = this.edges.clock.monotonicMs() + waitMs
    return waitMs
  }

  private calm(now: number): void {
    const last = this.repairs.at(-1)?.atMs
    if (last === undefined || now - last < calmMs + Math.max(0, this.waitUntilMs - last)) return
    this.repairs = []
    this.edges.notice(null)
  }
}
