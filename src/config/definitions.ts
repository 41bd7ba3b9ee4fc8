// The snapshot of a definitions folder: definitions.json beside the YAML files holds what they say, so that the daemon
// need not parse hundreds of files at start. A record counts only while its file is the one it was made from.
import { createHash } from 'node:crypto'
import type { Position } from '../model/settings.ts'

export const snapshotName = 'definitions.json'

/** Raised when the shape of settings values changes; a snapshot of another format is passed over. */
const format = 1

export interface SnapshotRecord {
  readonly sizeBytes: number
  /** Whole seconds: all that packages keep. */
  readonly mtimeSec: number
  /** SHA-256 of the file, hex: decides when the time differs, because copying a folder changes times. */
  readonly sha256: string
  /** Keys that differ from the kind's empty value. */
  readonly value: Readonly<Record<string, unknown>>
  /** Flat: key, line, column, key, line, column… */
  readonly positions: readonly (string | number)[]
}

/** By path below the folder: `services/ssh.yaml`. */
export type Snapshot = ReadonlyMap<string, SnapshotRecord>

export function sha256Of(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}

export function encodeSnapshot(snapshot: Snapshot): string {
  return `${JSON.stringify({ format, files: Object.fromEntries([...snapshot].sort(([a], [b]) => (a < b ? -1 : 1))) })}\n`
}

/** Empty for another format. Throws for text that is no snapshot: then the package is broken. */
export function decodeSnapshot(text: string): Snapshot {
  const found = JSON.parse(text) as { readonly format?: unknown; readonly files?: Readonly<Record<string, SnapshotRecord>> }
  return new Map(found.format === format ? Object.entries(found.files ?? {}) : [])
}

export function flattenPositions(positions: ReadonlyMap<string, Position>): (string | number)[] {
  return [...positions].flatMap(([key, { line, column }]) => [key, line, column])
}

export function unflattenPositions(flat: readonly (string | number)[]): ReadonlyMap<string, Position> {
  const positions = new Map<string, Position>()
  for (let at = 0; at < flat.length; at += 3) positions.set(flat[at] as string, { line: flat[at + 1] as number, column: flat[at + 2] as number })
  return positions
}

/** What of `value` differs from `empty`: the record's `value`. */
export function differing(empty: object, value: object): Readonly<Record<string, unknown>> {
  const base = empty as Readonly<Record<string, unknown>>
  return Object.fromEntries(Object.entries(value).filter(([key, found]) => JSON.stringify(found) !== JSON.stringify(base[key])))
}
