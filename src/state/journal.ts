// The runtime journal: what exists only at runtime, kept in /run so that a crashed daemon can bring it back within the
// same boot. A stop removes it, a reboot makes it void: then the permanent configuration alone is in force.
// One JSON line each: a header (what the runtime was based on), then every change in order.
import { closeSync, ftruncateSync, mkdirSync, openSync, readFileSync, renameSync, rmSync, writeSync } from 'node:fs'
import { dirname } from 'node:path'
import type { Caller } from '../service.ts'
import type { Change } from '../model/change.ts'
import { asArray, asCount, asDigest, asObject, asText, decodeCaller, decodeChange, encodeChange, onlyKeys } from './codec.ts'

/** A removal that was due at `dueMs` of the monotonic clock, which all processes of one boot share. */
export interface PendingExpiry {
  readonly key: string
  readonly dueMs: number
  readonly change: Change
}

export interface JournalHeader {
  /** The generation the runtime began with, and the digest of its permanent settings. */
  readonly generation: number
  readonly settings: string
  readonly panic: boolean
  /** Encoded settings (state/codec.ts) where the runtime did not begin as a copy of the permanent ones. */
  readonly runtime?: string
  /** Interfaces put into "the default zone" without naming it. */
  readonly defaultBound: readonly string[]
  readonly expiries: readonly PendingExpiry[]
}

export interface JournalLine {
  readonly generation: number
  readonly by: Caller
  readonly atMs: number
  readonly change: Change
}

export interface JournalContent {
  readonly header: JournalHeader
  readonly lines: readonly JournalLine[]
  /** Lines that could not be read, with why; their changes are lost. */
  readonly damaged?: readonly string[]
}

/** Above this many bytes the daemon begins the journal anew with the runtime as it is. */
export const journalLimitBytes = 1024 * 1024

export class RuntimeJournal {
  private readonly path: string
  private readonly boot: string
  private fd: number | null = null
  private size = 0

  /** `boot` names the running boot: /proc/sys/kernel/random/boot_id. */
  constructor(path: string, boot: string) {
    this.path = path
    this.boot = boot
  }

  /**
   * What a crashed daemon of this boot left; null when there is nothing to bring back.
   * A line without its newline was being written at the crash: its change was never answered. Damaged lines are left out and
   * named: losing one change must not lose panic mode, which would open the host. Throws when the header cannot be read.
   */
  read(): JournalContent | null {
    let text: string
    try {
      text = readFileSync(this.path, 'utf8')
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
      throw error
    }
    const [first, ...rest] = text.split('\n').slice(0, -1)
    if (first === undefined) return null
    const stored = asObject(JSON.parse(first), 'journal')
    if (stored['format'] !== 1) throw new Error(`journal: format ${String(stored['format'])} is not known`)
    if (stored['boot'] !== this.boot) return null
    const lines: JournalLine[] = []
    const damaged: string[] = []
    rest.forEach((line, index) => {
      try {
        lines.push(decodeLine(line, index + 2))
      } catch (error) {
        damaged.push((error as Error).message)
      }
    })
    const { format: _format, boot: _boot, ...header } = stored
    return { header: decodeHeader(header), lines, ...(damaged.length === 0 ? {} : { damaged }) }
  }

  /** Of a journal whose header is damaged: was panic mode on as far as anything in it says? Then it stays on. */
  saysPanic(): boolean {
    try {
      const found = readFileSync(this.path, 'utf8').match(/"panic":(true|false)|"kind":"panic-set","on":(true|false)/g)
      return found?.at(-1)?.endsWith('true') ?? false
    } catch {
      // what cannot be read says nothing; read() has told why
      return false
    }
  }

  /** Starts it anew, atomically. /run is memory: there is nothing to flush to a disk. */
  begin(header: JournalHeader): void {
    const line = `${JSON.stringify({ format: 1, boot: this.boot, ...encodeHeader(header) })}\n`
    mkdirSync(dirname(this.path), { recursive: true, mode: 0o700 })
    const fresh = openSync(`${this.path}.new`, 'w', 0o600)
    try {
      this.size = writeWhole(fresh, line, 0)
      renameSync(`${this.path}.new`, this.path)
    } catch (error) {
      // on a full disk: half of it is not left behind, what was there stays
      closeSync(fresh)
      rmSync(`${this.path}.new`, { force: true })
      throw error
    }
    this.close()
    this.fd = fresh
  }

  /** As {@link begin} with what `content` holds already: another past for the same boot. Nothing is appended by this process. */
  rewrite(content: JournalContent): void {
    this.begin(content.header)
    for (const line of content.lines) this.append(line)
    this.close()
  }

  /** Called after the change is in force and before its answer. Returns false when the journal has grown over its limit. */
  append(line: JournalLine): boolean {
    if (this.fd === null) throw new Error('journal: not begun')
    try {
      this.size += writeWhole(this.fd, `${JSON.stringify({ ...line, change: encodeChange(line.change) })}\n`, this.size)
    } catch (error) {
      // half a line would swallow the next one
      ftruncateSync(this.fd, this.size)
      throw error
    }
    return this.size <= journalLimitBytes
  }

  /** At a clean stop: nothing is to be brought back. */
  remove(): void {
    this.close()
    rmSync(this.path, { force: true })
  }

  close(): void {
    if (this.fd !== null) closeSync(this.fd)
    this.fd = null
  }
}

/** Writes at byte `from`. A full disk takes less than it was given and says nothing. Returns bytes; throws when not all could be written. */
function writeWhole(fd: number, text: string, from: number): number {
  const bytes = Buffer.from(text)
  for (let done = 0; done < bytes.length;) done += writeSync(fd, bytes, done, bytes.length - done, from + done)
  return bytes.length
}

/** Plain JSON; inverse of {@link decodeHeader}. */
export function encodeHeader(header: JournalHeader): Readonly<Record<string, unknown>> {
  return { ...header, expiries: header.expiries.map((expiry) => ({ ...expiry, change: encodeChange(expiry.change) })) }
}

/** Throws an Error that names the key. */
export function decodeHeader(stored: Readonly<Record<string, unknown>>): JournalHeader {
  onlyKeys(stored, ['generation', 'settings', 'panic', 'runtime', 'defaultBound', 'expiries'], 'journal')
  if (typeof stored['panic'] !== 'boolean') throw new Error('journal: panic is not true or false')
  return {
    generation: asCount(stored['generation'], 'journal generation'),
    settings: asDigest(stored['settings']),
    panic: stored['panic'],
    ...(stored['runtime'] === undefined ? {} : { runtime: asText(stored['runtime'], 'journal runtime') }),
    defaultBound: asArray(stored['defaultBound'], 'journal default zone').map((name) => asText(name, 'interface')),
    expiries: asArray(stored['expiries'], 'journal expiries').map((item) => {
      const expiry = asObject(item, 'expiry')
      onlyKeys(expiry, ['key', 'dueMs', 'change'], 'expiry')
      return { key: asText(expiry['key'], 'expiry'), dueMs: asCount(expiry['dueMs'], 'expiry'), change: decodeChange(expiry['change']) }
    }),
  }
}

function decodeLine(text: string, line: number): JournalLine {
  try {
    const stored = asObject(JSON.parse(text), 'line')
    onlyKeys(stored, ['generation', 'by', 'atMs', 'change'], 'line')
    return {
      generation: asCount(stored['generation'], 'generation'),
      by: decodeCaller(stored['by']),
      atMs: asCount(stored['atMs'], 'time'),
      change: decodeChange(stored['change']),
    }
  } catch (error) {
    throw new Error(`journal line ${line}: ${(error as Error).message}`, { cause: error })
  }
}
