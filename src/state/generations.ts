// Generations on disk: every permanent configuration that was in force, with who, when and what, so that the last good
// one can be enforced when the files are broken. Capped in count and bytes; content is shared by its hash.
//   generations/00000041.json  one record     objects/<sha256>.json  settings     lists/<digest>.list  packed lists
//   number                     no number above this one was ever given out
import { createHash } from 'node:crypto'
import { mkdir, readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { Caller } from '../service.ts'
import type { AddressList, Settings } from '../model/settings.ts'
import { readIfThere, removeIfThere, writeAtomic } from './atomic.ts'
import { asCount, asDigest, asObject, asText, decodeCaller, decodeSettings, digestSettings, encodeSettings, listReferences, onlyKeys } from './codec.ts'
import { decodeList, encodeList } from './list-file.ts'

export interface GenerationRecord {
  readonly number: number
  /** ISO 8601, UTC. */
  readonly at: string
  readonly by: Caller
  readonly what: 'start' | 'reload' | 'change' | 'apply' | 'undo'
  /** Digest of the settings (state/codec.ts). */
  readonly settings: string
}

export interface GenerationLimits {
  readonly count: number
  /** Of objects and lists together. */
  readonly sizeBytes: number
}

export const defaultLimits: GenerationLimits = { count: 50, sizeBytes: 256 * 1024 * 1024 }

/** Numbers reserved at once: runtime changes take numbers too and must not wait for a disk. */
const reserved = 100

export interface Restored {
  readonly record: GenerationRecord
  readonly settings: Settings
  /** Newer records that could not be read, with why. */
  readonly skipped: readonly { readonly number: number; readonly reason: string }[]
}

export class GenerationStore {
  private readonly folder: string
  private readonly limits: GenerationLimits
  private records: GenerationRecord[]
  private last: number
  private reservedUpTo: number
  private reserving: Promise<void> = Promise.resolve()

  private constructor(folder: string, limits: GenerationLimits, records: GenerationRecord[], last: number) {
    this.folder = folder
    this.limits = limits
    this.records = records
    this.last = last
    this.reservedUpTo = last
  }

  /** Makes the folders (0700) and reads the records; what cannot be used is passed to `warn` and left out. Never rejects. */
  static async open(folder: string, warn: (text: string) => void, limits: GenerationLimits = defaultLimits): Promise<GenerationStore> {
    try {
      return await GenerationStore.read(folder, warn, limits)
    } catch (error) {
      // A disk that cannot be read or written must not keep the firewall from starting: each record() fails, and is reported.
      warn(`stored generations cannot be used, none is kept: ${(error as Error).message}`)
      return new GenerationStore(folder, limits, [], 0)
    }
  }

  private static async read(folder: string, warn: (text: string) => void, limits: GenerationLimits): Promise<GenerationStore> {
    for (const name of ['generations', 'objects', 'lists']) await mkdir(join(folder, name), { recursive: true, mode: 0o700 })
    const records: GenerationRecord[] = []
    for (const name of (await readdir(join(folder, 'generations'))).sort()) {
      if (!/^\d{8}\.json$/.test(name)) continue
      try {
        records.push(decodeRecord(JSON.parse(String(await readIfThere(join(folder, 'generations', name))))))
      } catch (error) {
        warn(`generation ${name} is left out: ${(error as Error).message}`)
      }
    }
    const stored = Number.parseInt(String((await readIfThere(join(folder, 'number'))) ?? '0'), 10)
    const last = Math.max(Number.isSafeInteger(stored) ? stored : 0, ...records.map((record) => record.number))
    return new GenerationStore(folder, limits, records, last)
  }

  /** Oldest first. */
  list(): readonly GenerationRecord[] {
    return this.records
  }

  newest(): GenerationRecord | null {
    return this.records.at(-1) ?? null
  }

  /** A number never given out before. The reservation on disk follows in the background; {@link settle} waits for it. */
  nextNumber(): number {
    this.last += 1
    if (this.last > this.reservedUpTo) this.reserve(this.last + reserved)
    return this.last
  }

  /** After a crash the runtime journal knows numbers that the disk does not. */
  skipTo(number: number): void {
    this.last = Math.max(this.last, number)
  }

  /** Stores a configuration that is in force; durable when it resolves. Then evicts what exceeds the limits. */
  async record(settings: Settings, record: Omit<GenerationRecord, 'settings'>): Promise<GenerationRecord> {
    const complete: GenerationRecord = { ...record, settings: digestSettings(settings) }
    for (const list of settings.lists.values()) await this.writeOnce(this.listPath(list.digest), () => encodeList(list))
    await this.writeOnce(this.objectPath(complete.settings), () => withChecksum(encodeSettings(settings)))
    await writeAtomic(this.recordPath(complete.number), `${JSON.stringify(complete)}\n`)
    this.records = [...this.records.filter(({ number }) => number !== complete.number), complete].sort((a, b) => a.number - b.number)
    await this.evict()
    return complete
  }

  /** The newest stored configuration that reads without fault; null when there is none. */
  async lastKnownGood(): Promise<Restored | null> {
    const skipped: { number: number; reason: string }[] = []
    for (const record of [...this.records].reverse()) {
      try {
        return { record, settings: await this.load(record), skipped }
      } catch (error) {
        skipped.push({ number: record.number, reason: (error as Error).message })
      }
    }
    return null
  }

  /** Throws an Error when anything of it is missing, damaged or not valid. */
  async load(record: GenerationRecord): Promise<Settings> {
    const bytes = await readIfThere(this.objectPath(record.settings))
    if (bytes === null) throw new Error('its settings are missing')
    const { text, isWhole } = checkedText(bytes.toString('utf8'))
    if (isWhole === false) throw new Error('its settings are damaged')
    const lists = new Map<string, AddressList>()
    for (const { name, digest: listDigest } of listReferences(text)) {
      const list = await readIfThere(this.listPath(listDigest))
      if (list === null) throw new Error(`list ${name} is missing`)
      try {
        lists.set(listDigest, decodeList(list, listDigest))
      } catch (error) {
        throw new Error(`list ${name}: ${(error as Error).message}`)
      }
    }
    const settings = decodeSettings(text, lists)
    // The digest is of values as this program knows them: what an older one stored lacks keys, and is as good as it was.
    if (isWhole === null && digestSettings(settings) !== record.settings) throw new Error('its settings are damaged')
    return settings
  }

  /** At a clean stop: gives unused reserved numbers back. */
  async close(): Promise<void> {
    await this.settle()
    await writeAtomic(join(this.folder, 'number'), `${this.last}\n`)
  }

  async settle(): Promise<void> {
    await this.reserving
  }

  private reserve(upTo: number): void {
    this.reservedUpTo = upTo
    const write = (): Promise<void> => writeAtomic(join(this.folder, 'number'), `${upTo}\n`)
    this.reserving = this.reserving.then(write, write)
    // Reported by settle() and close(); a number given twice after a crash on a full disk costs a line in a listing.
    this.reserving.catch(() => {})
  }

  private async writeOnce(path: string, content: () => string | readonly Uint8Array[]): Promise<void> {
    if (await isThere(path)) return
    await writeAtomic(path, content())
  }

  /** The newest record always stays: it is the last known good one. */
  private async evict(): Promise<void> {
    const costs = await Promise.all(this.records.map((record) => this.filesOf(record)))
    const sizes = new Map<string, number>()
    for (const path of new Set(costs.flat())) sizes.set(path, await sizeOf(path))
    let from = Math.max(0, this.records.length - this.limits.count)
    const size = (start: number): number => [...new Set(costs.slice(start).flat())].reduce((sum, path) => sum + (sizes.get(path) ?? 0), 0)
    while (from < this.records.length - 1 && size(from) > this.limits.sizeBytes) from++
    if (from > 0) {
      for (const { number } of this.records.slice(0, from)) await removeIfThere(this.recordPath(number))
      this.records = this.records.slice(from)
    }
    const kept = new Set(costs.slice(from).flat())
    for (const folder of ['objects', 'lists']) {
      for (const name of await readdir(join(this.folder, folder))) {
        const path = join(this.folder, folder, name)
        if (!kept.has(path)) await removeIfThere(path)
      }
    }
  }

  private async filesOf(record: GenerationRecord): Promise<readonly string[]> {
    const path = this.objectPath(record.settings)
    const text = await readIfThere(path)
    if (text === null) return []
    try {
      return [path, ...listReferences(checkedText(text.toString('utf8')).text).map((list) => this.listPath(list.digest))]
    } catch {
      // A damaged object names no lists; it is kept as evidence until its record is evicted.
      return [path]
    }
  }

  private recordPath(number: number): string {
    return join(this.folder, 'generations', `${String(number).padStart(8, '0')}.json`)
  }

  private objectPath(hash: string): string {
    return join(this.folder, 'objects', `${hash}.json`)
  }

  private listPath(hash: string): string {
    return join(this.folder, 'lists', `${hash}.list`)
  }
}

/** One line of JSON, and one with its SHA-256. */
function withChecksum(text: string): string {
  return `${text}\n${checksum(text)}\n`
}

function checkedText(stored: string): { readonly text: string; readonly isWhole: boolean | null } {
  const [text = '', sum = ''] = stored.split('\n')
  return { text, isWhole: sum === '' ? null : sum === checksum(text) }
}

function checksum(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}
const recordWords = ['start', 'reload', 'change', 'apply', 'undo'] as const

function decodeRecord(stored: unknown): GenerationRecord {
  const record = asObject(stored, 'generation')
  onlyKeys(record, ['number', 'at', 'by', 'what', 'settings'], 'generation')
  const what = recordWords.find((word) => word === record['what'])
  if (what === undefined) throw new Error(`what ${asText(record['what'], 'what')} is not known`)
  const at = asText(record['at'], 'at')
  if (Number.isNaN(Date.parse(at))) throw new Error('its time is no time')
  return { number: asCount(record['number'], 'number'), at, by: decodeCaller(record['by']), what, settings: asDigest(record['settings']) }
}

async function isThere(path: string): Promise<boolean> {
  return (await sizeOf(path)) > 0
}

async function sizeOf(path: string): Promise<number> {
  try {
    return (await stat(path)).size
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return 0
    throw error
  }
}
