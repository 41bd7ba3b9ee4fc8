// What the way back from a change needs, on disk: what was in force before it, until when somebody must confirm it, and
// which configuration was found not to be confirmed. The daemon writes; the guard, another process, reads and may act.
//   RUN/way-back.json    a change waits for its confirmation (this boot only); its guard acts on it
//   RUN/way-back.guard   the guard that watches it, with the change's number: written by the guard
//   RUN/way-back.work    a guard is going back, or was: it is the one writer then, and a daemon that starts waits for it
//   STATE/refused.json   own configuration that was not confirmed: never enforced again without being asked for
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { asCount, asDigest, asObject, asText, onlyKeys } from './codec.ts'
import { writeAtomic } from './atomic.ts'
import { decodeHeader, encodeHeader, type JournalHeader } from './journal.ts'

export interface PendingChange {
  /** Random, so that a guard knows which change it watches. */
  readonly id: string
  /** Number of the generation that waits. */
  readonly generation: number
  /** Of the monotonic clock, which all processes of one boot share. */
  readonly dueMs: number
  /** The daemon that made it: process and its start in clock ticks, so that nobody else of that number is meant. */
  readonly pid: number
  readonly started: string
  /** digestOwn of the permanent configuration that is not to be enforced unless confirmed; null = only the runtime changed. */
  readonly refused: string | null
  /** The runtime before it, as a journal's header tells it. */
  readonly before: JournalHeader
}

const pendingKeys = ['format', 'boot', 'id', 'generation', 'dueMs', 'pid', 'started', 'refused', 'before'] as const

export class WayBackFile {
  readonly path: string
  private readonly guardPath: string
  private readonly workPath: string
  private readonly boot: string

  constructor(runFolder: string, boot: string) {
    this.path = join(runFolder, 'way-back.json')
    this.guardPath = join(runFolder, 'way-back.guard')
    this.workPath = join(runFolder, 'way-back.work')
    this.boot = boot
  }

  /** null when nothing waits. Throws when the file cannot be understood. */
  read(): PendingChange | null {
    const text = readOrNull(this.path)
    if (text === null) return null
    const stored = asObject(JSON.parse(text), 'way back')
    onlyKeys(stored, pendingKeys, 'way back')
    if (stored['format'] !== 1) throw new Error(`way back: format ${String(stored['format'])} is not known`)
    // A reboot makes it void: the permanent configuration that was not confirmed is not the last known good one.
    if (stored['boot'] !== this.boot) return null
    return {
      id: asText(stored['id'], 'way back id'),
      generation: asCount(stored['generation'], 'way back generation'),
      dueMs: asCount(stored['dueMs'], 'way back time'),
      pid: asCount(stored['pid'], 'way back pid'),
      started: asText(stored['started'], 'way back start'),
      refused: stored['refused'] === null ? null : asDigest(stored['refused']),
      before: decodeHeader(asObject(stored['before'], 'way back header')),
    }
  }

  /** /run is memory: a rename is enough. */
  write(pending: PendingChange): void {
    mkdirSync(dirname(this.path), { recursive: true, mode: 0o700 })
    writeFileSync(`${this.path}.new`, `${JSON.stringify({ format: 1, boot: this.boot, ...pending, before: encodeHeader(pending.before) })}\n`, { mode: 0o600 })
    renameSync(`${this.path}.new`, this.path)
  }

  remove(): void {
    rmSync(this.path, { force: true })
    rmSync(this.guardPath, { force: true })
  }

  /** By the guard that has the lock. It stays until somebody else has it: the guard's end and the lock's are not one moment. */
  beginWork(): void {
    writeFileSync(this.workPath, '', { mode: 0o600 })
  }

  /** By a daemon that has the lock. */
  endWork(): void {
    rmSync(this.workPath, { force: true })
  }

  /** May who has the lock be a guard, which has it for a moment? */
  mayBeGuarded(): boolean {
    return existsSync(this.path) || existsSync(this.workPath)
  }

  /** By the guard, when it watches. */
  writeGuard(id: string): void {
    writeFileSync(`${this.guardPath}.new`, `${id}\n`, { mode: 0o600 })
    renameSync(`${this.guardPath}.new`, this.guardPath)
  }

  hasGuard(id: string): boolean {
    return readOrNull(this.guardPath)?.trim() === id
  }
}

/** A configuration that must not come into force by itself. */
export interface Refused {
  /** digestOwn. */
  readonly settings: string
  /** ISO 8601, UTC. */
  readonly at: string
  /** Generation in which it had been tried. */
  readonly generation: number
}

export class RefusedFile {
  private readonly path: string

  constructor(stateFolder: string) {
    this.path = join(stateFolder, 'refused.json')
  }

  /** Throws when it cannot be understood. */
  read(): Refused | null {
    const text = readOrNull(this.path)
    if (text === null) return null
    const stored = asObject(JSON.parse(text), 'refused configuration')
    onlyKeys(stored, ['settings', 'at', 'generation'], 'refused configuration')
    return { settings: asDigest(stored['settings']), at: asText(stored['at'], 'time'), generation: asCount(stored['generation'], 'generation') }
  }

  /** Durable when it resolves. */
  async write(refused: Refused): Promise<void> {
    await writeAtomic(this.path, `${JSON.stringify(refused)}\n`)
  }

  remove(): void {
    rmSync(this.path, { force: true })
  }
}

function readOrNull(path: string): string | null {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
    throw error
  }
}
