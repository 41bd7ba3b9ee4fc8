// Who changed what and when: one JSON line a generation, runtime changes too, oldest first. A listing for people, not what
// anything is restored from, so a line is written without waiting for the disk, and what cannot be read is left out.
//   history.jsonl, and history.1.jsonl with the lines before it: together at most two limits
import { appendFileSync, readFileSync, renameSync, statSync } from 'node:fs'
import { join } from 'node:path'
import type { HistoryEntry } from '../service.ts'
import { asCount, asObject, asText, decodeCaller } from './codec.ts'

const limitBytes = 512 * 1024

export class History {
  private readonly path: string
  private readonly older: string
  private sizeBytes: number

  constructor(folder: string) {
    this.path = join(folder, 'history.jsonl')
    this.older = join(folder, 'history.1.jsonl')
    this.sizeBytes = statSync(this.path, { throwIfNoEntry: false })?.size ?? 0
  }

  /** Throws when the disk is full. */
  append(entry: HistoryEntry): void {
    if (this.sizeBytes > limitBytes) {
      renameSync(this.path, this.older)
      this.sizeBytes = 0
    }
    const line = `${JSON.stringify(entry)}\n`
    appendFileSync(this.path, line, { mode: 0o600 })
    this.sizeBytes += Buffer.byteLength(line)
  }

  /** Oldest first, at most the last `count`. */
  read(count: number): readonly HistoryEntry[] {
    const newer = entriesOf(this.path)
    return (newer.length >= count ? newer : [...entriesOf(this.older), ...newer]).slice(-count)
  }
}

function entriesOf(path: string): readonly HistoryEntry[] {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw error
  }
  return text.split('\n').flatMap((line) => {
    try {
      return line === '' ? [] : [decodeEntry(JSON.parse(line))]
    } catch {
      // half a line, from a crash or a full disk
      return []
    }
  })
}

function decodeEntry(stored: unknown): HistoryEntry {
  const entry = asObject(stored, 'history')
  return {
    number: asCount(entry['number'], 'number'),
    at: asText(entry['at'], 'time'),
    by: decodeCaller(entry['by']),
    ...(entry['unit'] === undefined ? {} : { unit: asText(entry['unit'], 'unit') }),
    what: asText(entry['what'], 'what'),
    text: asText(entry['text'], 'text'),
  }
}
