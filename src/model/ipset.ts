// The content of a user ipset as a whole: checking a list of entries, and adding or removing one without reading them all.
import { DerpanetError, printable } from '../errors.ts'
import { overlapsAmong, parseBounded, parseIpSetEntry } from './ipset-entry.ts'
import type { BoundedEntry, Bounds } from './ipset-entry.ts'

/** The kernel's default for `maxelem`. */
export const defaultMaxElements = 65536

/** Its entries go by themselves, so that the kernel alone knows which there are. */
export function isTimed({ timeout = '0' }: Readonly<Record<string, string>>): boolean {
  return timeout !== '0'
}

/**
 * Canonical entries in the given order. Throws INVALID_ENTRY for a bad entry, a duplicate, or an entry inside another;
 * COMMAND_FAILED for more than the set can hold.
 */
export function checkIpSetEntries(type: string, options: Readonly<Record<string, string>>, texts: readonly string[]): readonly string[] {
  const entries = texts.map((text) => parseBounded(type, options, text))
  const [overlap] = overlapsAmong(entries)
  if (overlap !== undefined) invalid(`Entry '${texts[overlap[0]]}' overlaps entry '${texts[overlap[1]]}'`)
  checkSize(type, options, entries)
  return entries.map((entry) => entry.text)
}

/** hash:ip holds every address of a range by itself. */
function checkSize(type: string, options: Readonly<Record<string, string>>, entries: readonly BoundedEntry[]): void {
  const most = maxElements(options)
  let size = 0
  for (const { bounds } of entries) size += type === 'hash:ip' && bounds !== null ? Number(bounds.last) - Number(bounds.first) + 1 : 1
  if (size > most) throw full(most)
}

function maxElements(options: Readonly<Record<string, string>>): number {
  return Number(options['maxelem'] ?? defaultMaxElements)
}

function full(most: number): DerpanetError {
  return new DerpanetError('COMMAND_FAILED', `more than ${most} elements in the set (maxelem)`)
}

/**
 * Canonical text of a new entry of `set` (its name, for the message). Throws INVALID_ENTRY for a bad or overlapping one, ALREADY_ENABLED when it is there.
 * `entries` are the set's canonical entries. Costs a search, not a scan: sets of a million entries take single changes.
 */
export function checkNewEntry(type: string, options: Readonly<Record<string, string>>, entries: readonly string[], text: string, set?: string): string {
  const { text: canonical, bounds } = parseBounded(type, options, text)
  const already = (): DerpanetError => new DerpanetError('ALREADY_ENABLED', `'${printable(canonical)}' already is in ${set === undefined ? 'the set' : `'${printable(set)}'`}`)
  if (bounds === null) {
    if (entries.includes(canonical)) throw already()
  } else {
    const index = indexOf(type, options, entries)
    const found = index[lastStartingAtOrBefore(index, bounds.last)]
    if (found !== undefined && found.last >= bounds.first) {
      if (found.text === canonical) throw already()
      invalid(`Entry '${canonical}' overlaps with existing entry '${found.text}'`)
    }
  }
  if (entries.length >= maxElements(options)) throw full(maxElements(options))
  return canonical
}

/** Canonical text of an entry that somebody looks for or wants removed; null when no such set can hold it. To firewalld that is no mistake: it is just not there. */
export function soughtEntry(type: string, options: Readonly<Record<string, string>>, text: string): string | null {
  try {
    return parseIpSetEntry(type, options, text)
  } catch (error) {
    if (error instanceof DerpanetError) return null
    throw error
  }
}

interface Indexed extends Bounds {
  readonly text: string
}

/** Ranges sorted by start; kept beside the list of entries and handed on when an entry is added or removed: the old list loses it. */
const indexes = new WeakMap<readonly string[], Indexed[]>()

/** How a list came of another one by one entry. `from` is weak: a long row of changes must not keep every list there was. */
export interface EntryStep {
  readonly from: WeakRef<readonly string[]>
  readonly kind: 'add' | 'remove'
  readonly text: string
}

const steps = new WeakMap<readonly string[], EntryStep>()

/** null when nothing is known about where the list came from. */
export function stepTo(entries: readonly string[]): EntryStep | null {
  return steps.get(entries) ?? null
}

function indexOf(type: string, options: Readonly<Record<string, string>>, entries: readonly string[]): Indexed[] {
  const known = indexes.get(entries)
  if (known !== undefined) return known
  const index: Indexed[] = []
  for (const text of entries) {
    const { bounds } = parseBounded(type, options, text)
    if (bounds !== null) index.push({ first: bounds.first, last: bounds.last, text })
  }
  index.sort((one, other) => (one.first < other.first ? -1 : one.first > other.first ? 1 : 0))
  indexes.set(entries, index)
  return index
}

function lastStartingAtOrBefore(index: readonly Indexed[], addr: number | bigint): number {
  let low = 0
  let high = index.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (index[middle]!.first <= addr) low = middle + 1
    else high = middle
  }
  return low - 1
}

/** A new list with `text` (canonical, checked) at the end. */
export function withEntry(type: string, options: Readonly<Record<string, string>>, entries: readonly string[], text: string): readonly string[] {
  // the cheapest copy there is: spreading takes three times as long
  const next = entries.concat([text])
  const { bounds } = parseBounded(type, options, text)
  const index = indexes.get(entries)
  if (bounds !== null && index !== undefined) {
    indexes.delete(entries)
    index.splice(lastStartingAtOrBefore(index, bounds.first) + 1, 0, { first: bounds.first, last: bounds.last, text })
    indexes.set(next, index)
  }
  steps.set(next, { from: new WeakRef(entries), kind: 'add', text })
  return next
}

/** A new list without `text` (canonical); the same list when it is not there. */
export function withoutEntry(type: string, options: Readonly<Record<string, string>>, entries: readonly string[], text: string): readonly string[] {
  const at = entries.lastIndexOf(text)
  if (at < 0) return entries
  const next = entries.toSpliced(at, 1)
  const { bounds } = parseBounded(type, options, text)
  const index = indexes.get(entries)
  if (bounds !== null && index !== undefined) {
    indexes.delete(entries)
    const place = lastStartingAtOrBefore(index, bounds.first)
    if (index[place]?.text === text) {
      index.splice(place, 1)
      indexes.set(next, index)
    }
  }
  steps.set(next, { from: new WeakRef(entries), kind: 'remove', text })
  return next
}

function invalid(detail: string): never {
  throw new DerpanetError('INVALID_ENTRY', printable(detail))
}
