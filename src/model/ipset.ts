// The content of a user ipset as a whole: checking a list of entries, and adding or removing one without reading them all.
import { DerpanetError, printable } from '../errors.ts'
import { findOverlaps, parseEntryParts, rangeOf } from './ipset-entry.ts'
import type { AddressRange, IpSetEntry } from './ipset-entry.ts'

/** The kernel's default for `maxelem`. */
export const defaultMaxElements = 65536

/**
 * Canonical entries in the given order. Throws INVALID_ENTRY for a bad entry, a duplicate, or an entry inside another;
 * COMMAND_FAILED for more than the set can hold.
 */
export function checkIpSetEntries(type: string, options: Readonly<Record<string, string>>, texts: readonly string[]): readonly string[] {
  const entries = texts.map((text) => parseEntryParts(type, options, text))
  const [overlap] = findOverlaps(type, options, texts)
  if (overlap !== undefined) invalid(`Entry '${overlap[0]}' overlaps entry '${overlap[1]}'`)
  checkSize(type, options, entries)
  return entries.map((entry) => entry.text)
}

/** hash:ip holds every address of a range by itself. */
function checkSize(type: string, options: Readonly<Record<string, string>>, entries: readonly IpSetEntry[]): void {
  const most = BigInt(options['maxelem'] ?? defaultMaxElements)
  let size = 0n
  for (const entry of entries) {
    const [first] = entry.parts
    size += type.startsWith('hash:ip') && first?.kind === 'addresses' ? first.range.last - first.range.first + 1n : 1n
  }
  if (size > most) throw new DerpanetError('COMMAND_FAILED', `more than ${most} elements in the set (maxelem)`)
}

/**
 * Canonical text of a new entry. Throws INVALID_ENTRY for a bad or overlapping one, ALREADY_ENABLED when it is there.
 * `entries` are the set's canonical entries. Costs a search, not a scan: sets of a million entries take single changes.
 */
export function checkNewEntry(type: string, options: Readonly<Record<string, string>>, entries: readonly string[], text: string): string {
  const entry = parseEntryParts(type, options, text)
  const range = rangeOf(entry)
  if (range === null) {
    if (entries.includes(entry.text)) throw new DerpanetError('ALREADY_ENABLED', `'${printable(entry.text)}' already is in the set`)
  } else {
    const index = indexOf(type, options, entries)
    const at = lastStartingAtOrBefore(index, range.last)
    const found = at < 0 ? undefined : index[at]!
    if (found !== undefined && found.last >= range.first) {
      if (found.text === entry.text) throw new DerpanetError('ALREADY_ENABLED', `'${printable(entry.text)}' already is in the set`)
      invalid(`Entry '${entry.text}' overlaps with existing entry '${found.text}'`)
    }
  }
  if (entries.length >= Number(options['maxelem'] ?? defaultMaxElements)) {
    throw new DerpanetError('COMMAND_FAILED', `more than ${options['maxelem'] ?? defaultMaxElements} elements in the set (maxelem)`)
  }
  return entry.text
}

interface Indexed extends AddressRange {
  readonly text: string
}

/** Ranges sorted by start; kept beside the list of entries and handed on when an entry is added or removed. */
const indexes = new WeakMap<readonly string[], Indexed[]>()

function indexOf(type: string, options: Readonly<Record<string, string>>, entries: readonly string[]): Indexed[] {
  const known = indexes.get(entries)
  if (known !== undefined) return known
  const index = entries.flatMap((text): Indexed[] => {
    const range = rangeOf(parseEntryParts(type, options, text))
    return range === null ? [] : [{ ...range, text }]
  })
  index.sort((one, other) => (one.first < other.first ? -1 : one.first > other.first ? 1 : 0))
  indexes.set(entries, index)
  return index
}

function lastStartingAtOrBefore(index: readonly Indexed[], addr: bigint): number {
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
  const next = [...entries, text]
  const range = rangeOf(parseEntryParts(type, options, text))
  const index = indexes.get(entries)
  if (range !== null && index !== undefined) {
    const handed = index.slice()
    handed.splice(lastStartingAtOrBefore(index, range.first) + 1, 0, { ...range, text })
    indexes.set(next, handed)
  }
  return next
}

/** A new list without `text` (canonical). */
export function withoutEntry(entries: readonly string[], text: string): readonly string[] {
  const next = entries.filter((entry) => entry !== text)
  const index = indexes.get(entries)
  if (index !== undefined) indexes.set(next, index.filter((entry) => entry.text !== text))
  return next
}

function invalid(detail: string): never {
  throw new DerpanetError('INVALID_ENTRY', printable(detail))
}
