// The way back: changes that are taken back unless somebody confirms them, configurations that were not confirmed, and
// undoing. What is in force stays the one writer's business (daemon.ts); here is what must be known to return to it.
//
// A change that waits is written down before it is made, and a guard outside of the daemon watches the note (main.ts,
// docs/adr/0008). Whoever finds the note due goes back: this daemon by its clock, the next daemon at its start, or the guard.
import { randomBytes } from 'node:crypto'
import { DerpanetError } from '../errors.ts'
import type { Log } from '../log.ts'
import { isSameConnection, type Connection, type SeenConnection } from '../model/connection.ts'
import type { Firewall } from '../model/firewall.ts'
import type { Settings } from '../model/settings.ts'
import type { ApplyOptions, Caller, HistoryEntry } from '../service.ts'
import { digestOwn } from '../state/codec.ts'
import type { History } from '../state/history.ts'
import type { JournalContent, JournalHeader, JournalLine, RuntimeJournal } from '../state/journal.ts'
import type { FileContents, Snapshots } from '../state/snapshots.ts'
import type { PendingChange, Refused, RefusedFile, WayBackFile } from '../state/way-back.ts'
import type { Clock } from './clock.ts'
import { cutOff, describeCut, type Cut } from './cut-off.ts'

/** The edges it works through. */
export interface WayBackEdges {
  readonly file: WayBackFile
  readonly refused: RefusedFile
  readonly history: History
  readonly snapshots: Snapshots
  /** This process, for the guard. */
  readonly self: { readonly pid: number; readonly started: string }
  /** Resolves when a guard watches the note. Rejects with the reason for a person. */
  arm(pending: { readonly id: string }): Promise<void>
  /** Connections others have to this host. */
  incoming(): Promise<readonly Connection[]>
  locate(connections: readonly Connection[]): Promise<readonly SeenConnection[]>
  /** The configuration's files as they are. */
  readFiles(): Promise<FileContents>
  writeFiles(files: FileContents): Promise<void>
  /** systemd unit of a process; null where it cannot be seen. */
  unitOf(pid: number): string | null
}

const longestConfirmSec = 86_400
/** More than any guard needs to come. */
const longestArmingMs = 60_000
/** sshd's: what a caller hangs on who does not say. */
const usualPort = 22

export class WayBack {
  private readonly edges: WayBackEdges
  private readonly clock: Clock
  private readonly log: Log
  private readonly due: () => void
  private waiting: { readonly pending: PendingChange; readonly callOff: () => void } | null = null
  private refusedNow: Refused | null = null
  private saidHistory = false
  private lastCaller: { readonly name: string; readonly pid: number; readonly unit: string | null } | null = null

  /** `due` is called when the time of the change that waits is over. */
  constructor(edges: WayBackEdges, clock: Clock, log: Log, due: () => void) {
    this.edges = edges
    this.clock = clock
    this.log = log
    this.due = due
    try {
      this.refusedNow = edges.refused.read()
    } catch (error) {
      log.error({ error }, 'what was not confirmed before cannot be read')
    }
  }

  unconfirmed(): { readonly generation: number; readonly secondsLeft: number } | null {
    if (this.waiting === null) return null
    const { generation, dueMs } = this.waiting.pending
    return { generation, secondsLeft: Math.max(0, Math.ceil((dueMs - this.clock.monotonicMs()) / 1000)) }
  }

  /** Throws NOT_APPLIED while a change waits: what replaces it could not be told from it when it is taken back. */
  requireSettled(): void {
    const waits = this.unconfirmed()
    if (waits === null) return
    throw new DerpanetError('NOT_APPLIED', `generation ${waits.generation} waits for its confirmation, ${waits.secondsLeft} s left: derpanetctl confirm, or derpanetctl undo`)
  }

  // --- who would be cut off

  /**
   * Lines about connections of others that would be cut off. Throws NOT_APPLIED when one of them is the caller's own, unless
   * `evenIfCutOff`: then that line is among the others.
   */
  async judgeCuts(before: Firewall, after: Firewall, options: ApplyOptions): Promise<readonly string[]> {
    const cuts = await this.findCuts(before, after, options)
    if (cuts.own.length > 0 && options.evenIfCutOff !== true) {
      throw new DerpanetError('NOT_APPLIED', `it would cut off your own session ${describeCut(cuts.own[0]!)}; --even-if-cut-off does it all the same`)
    }
    return [...cuts.own, ...cuts.others].map(describeCut)
  }

  private async findCuts(before: Firewall, after: Firewall, options: ApplyOptions): Promise<{ readonly own: readonly Cut[]; readonly others: readonly Cut[] }> {
    try {
      return await this.lookForCuts(before, after, options)
    } catch (cause) {
      if (options.evenIfCutOff === true) return { own: [], others: [] }
      throw new DerpanetError('NOT_APPLIED', `whom it would cut off cannot be found out: ${(cause as Error).message}; --even-if-cut-off does it all the same`, { cause })
    }
  }

  private async lookForCuts(before: Firewall, after: Firewall, options: ApplyOptions): Promise<{ readonly own: readonly Cut[]; readonly others: readonly Cut[] }> {
    const incoming = await this.edges.incoming()
    const own = options.sessions ?? incoming.filter(({ localPort }) => localPort === usualPort)
    const others = incoming.filter((one) => !own.some((session) => isSameConnection(one, session)))
    const cuts = cutOff(before, after, await this.edges.locate([...own, ...others]))
    const isOwn = ({ connection }: Cut): boolean => own.some((session) => isSameConnection(connection, session))
    return { own: cuts.filter(isOwn), others: cuts.filter((cut) => !isOwn(cut)) }
  }

  // --- a change that waits

  /** Throws INVALID_VALUE. */
  static requireConfirmSec(sec: number): number {
    if (Number.isInteger(sec) && sec >= 1 && sec <= longestConfirmSec) return sec
    throw new DerpanetError('INVALID_VALUE', `a confirmation takes 1 to ${longestConfirmSec} seconds, not ${sec}`)
  }

  /** Before the change is made: from here on it is taken back at its time. Throws NOT_APPLIED, and then nothing is armed. */
  async arm(generation: number, sec: number, before: JournalHeader, next: Settings, permanent: Settings): Promise<void> {
    const { file, self } = this.edges
    const own = digestOwn(next)
    const refused = own === digestOwn(permanent) ? null : own
    const pending = {
      id: randomBytes(8).toString('hex'), generation, pid: self.pid, started: self.started, refused, before,
    }
    try {
      // The time runs from the change on, not from the guard's start: one that takes long to come must not find it over.
      const dueMs = (): number => this.clock.monotonicMs() + sec * 1000
      file.write({ ...pending, dueMs: dueMs() + longestArmingMs })
      await this.edges.arm(pending)
      const armed = { ...pending, dueMs: dueMs() }
      file.write(armed)
      this.wait(armed)
    } catch (error) {
      this.drop()
      throw new DerpanetError('NOT_APPLIED', `the way back cannot be armed: ${(error as Error).message}`, { cause: error })
    }
  }

  private wait(pending: PendingChange): void {
    this.waiting = { pending, callOff: this.clock.after(pending.dueMs - this.clock.monotonicMs(), this.due) }
  }

  /** Nothing waits any more: it was not made after all, it is confirmed, or it is taken back. */
  drop(): void {
    this.waiting?.callOff()
    this.waiting = null
    this.edges.file.remove()
  }

  /** The change that waits; null = none. */
  pending(): PendingChange | null {
    return this.waiting?.pending ?? null
  }

  /**
   * Remembers that this configuration must not come into force by itself. A disk that is full does not keep anybody from
   * going back: then only this run of the daemon knows.
   */
  async refuse(pending: PendingChange): Promise<void> {
    if (pending.refused === null) return
    this.refusedNow = { settings: pending.refused, at: this.clock.wallTime().toISOString(), generation: pending.generation }
    try {
      await this.edges.refused.write(this.refusedNow)
    } catch (error) {
      this.log.error({ error }, 'that the files were not confirmed cannot be written down; the next start would enforce them')
    }
  }

  /** Asked for by name: it may come into force again. */
  forgive(settings: Settings): void {
    if (this.refusedNow === null || this.refusedNow.settings !== digestOwn(settings)) return
    this.edges.refused.remove()
    this.refusedNow = null
  }

  /** Why this configuration must not come into force by itself; null = it may. */
  refusalOf(settings: Settings): string | null {
    return this.refusedNow?.settings === digestOwn(settings) ? this.refusal() : null
  }

  /** The same about the configuration that was not confirmed last. */
  refusal(): string | null {
    const refused = this.refusedNow
    return refused === null ? null : `the files were not confirmed when they were generation ${refused.generation} (${refused.at}): derpanetctl apply enforces them, derpanetctl undo puts the old ones back`
  }

  /**
   * At start: a change that was not confirmed does not survive its daemon. The journal is rewritten so that what was in
   * force before comes back, with what others changed meanwhile; `nextNumber` gives it a number. Resolves with true when the
   * files are what is not to be enforced. Call drop() when it is in force.
   */
  async takeUp(journal: RuntimeJournal, skipTo: (number: number) => void, nextNumber: () => number): Promise<boolean> {
    let pending: PendingChange | null
    try {
      pending = this.edges.file.read()
    } catch (error) {
      this.log.error({ error }, 'the note about an unconfirmed change cannot be read')
      return false
    }
    if (pending === null) return false
    skipTo(pending.generation)
    await this.refuse(pending)
    const generation = nextNumber()
    const lines = linesSince(this.readJournal(journal)).map((line) => ({ ...line, generation }))
    journal.rewrite({ header: { ...pending.before, generation }, lines })
    this.log.warn({ generation: pending.generation, by: 'start' }, 'a change was not confirmed: what was in force before it comes back')
    this.waiting = { pending, callOff: () => {} }
    return pending.refused !== null
  }

  private readJournal(journal: RuntimeJournal): JournalContent | null {
    try {
      return journal.read()
    } catch (error) {
      this.log.error({ error }, 'runtime journal cannot be read')
      return null
    }
  }

  // --- history

  note(number: number, by: Caller, what: string, text: string): void {
    const unit = this.unitOf(by)
    const entry: HistoryEntry = { number, at: this.clock.wallTime().toISOString(), by, ...(unit === null ? {} : { unit }), what, text }
    try {
      this.edges.history.append(entry)
      this.saidHistory = false
    } catch (error) {
      if (!this.saidHistory) this.log.error({ error: (error as Error).message }, 'history cannot be written')
      this.saidHistory = true
    }
  }

  /** A name on the bus is given out once, so whoever calls often is looked up once. */
  private unitOf({ name, pid }: Caller): string | null {
    if (pid === undefined) return null
    if (name !== this.lastCaller?.name || pid !== this.lastCaller.pid) this.lastCaller = { name, pid, unit: this.edges.unitOf(pid) }
    return this.lastCaller.unit
  }

  history(count: number): readonly HistoryEntry[] {
    return this.edges.history.read(count)
  }

  // --- files of generations

  async storeFiles(generation: number, keep: readonly number[]): Promise<void> {
    await this.edges.snapshots.store(generation, await this.edges.readFiles(), keep)
  }

  /** What writeFiles() needs to make the files those of a stored generation. Throws NOT_APPLIED. */
  async filesOf(generation: number, settings: Settings, now: Settings | null): Promise<FileContents> {
    const stored = await this.edges.snapshots.load(generation).catch((cause: unknown) => {
      throw new DerpanetError('NOT_APPLIED', (cause as Error).message, { cause })
    })
    if (stored === null) throw new DerpanetError('NOT_APPLIED', `the files of generation ${generation} are not stored`)
    return new Map([...stored].map(([path, content]) => {
      const name = /^lists\/(.+)\.list$/.exec(path)?.[1]
      const list = content === null && name !== undefined ? settings.lists.get(name) : undefined
      return [path, list === undefined || now?.lists.get(list.name)?.digest === list.digest ? content : listText(list)]
    }))
  }

  readFiles(): Promise<FileContents> {
    return this.edges.readFiles()
  }

  writeFiles(files: FileContents): Promise<void> {
    return this.edges.writeFiles(files)
  }
}

/** Changes by others since the change that is taken back. Panic is left out: it would keep out whoever is to get back in. */
export function linesSince(content: JournalContent | null): readonly JournalLine[] {
  return (content?.lines ?? []).filter(({ change }) => change.kind !== 'panic-set')
}


function listText(list: Settings['lists'] extends ReadonlyMap<string, infer List> ? List : never): Uint8Array {
  const lines = [`# put back by derpanetctl undo; comments of big lists are not kept`]
  list.lengths4.forEach((length, index) => {
    const addr = list.addrs4[index]!
    lines.push(`${[24, 16, 8, 0].map((shift) => (addr >>> shift) & 255).join('.')}/${length}`)
  })
  list.lengths6.forEach((length, index) => {
    const words = Array.from(list.addrs6.subarray(index * 4, index * 4 + 4))
    lines.push(`${words.flatMap((word) => [(word >>> 16).toString(16), (word & 0xffff).toString(16)]).join(':')}/${length}`)
  })
  return Buffer.from(`${lines.join('\n')}\n`)
}
