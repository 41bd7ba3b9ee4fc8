// Lines: the hash table of a source table. All prefixes of one length share a region of 64-byte lines; a key lies in its
// home line or, when that is full, in one of the few lines behind it, and the home line says how many. No chains, so no
// list of addresses makes a lookup longer than eight lines.
import { layout, mix, records } from './layout.ts'
import type { Merged4, Merged6 } from './merge.ts'
import { chunkEntries } from './merge.ts'

/** As dp_region. `first` counts lines from the start of the pages. */
export interface Region {
  readonly length: number
  readonly first: number
  readonly lines: number
}

/** Keys a line holds on average when it is built: half of what fits. */
const aim = { line4: layout.LINE4_KEYS / 2, line6: layout.LINE6_KEYS / 2, line16: layout.LINE16_KEYS / 2 } as const
const words = layout.LINE_BYTES / 4
const halves = layout.LINE_BYTES / 2

/** Line of a hash in a region: home_line() of the program. */
export function homeLine(region: Region, hash: number): number {
  return region.first + Math.floor((hash * region.lines) / 2 ** 32)
}

export function hash4(key: number, salt: number): number {
  return mix(key ^ salt)
}

/** For prefixes up to /64: `word0` and `word1` with host bits zero. */
export function hash6(word0: number, word1: number, salt: number): number {
  return mix(mix(word0 ^ salt) ^ word1)
}

/** For longer prefixes. */
export function hash16(word0: number, word1: number, word2: number, word3: number, salt: number): number {
  return mix(mix(hash6(word0, word1, salt) ^ word2) ^ word3)
}

/** A region was too full for some key: `length` needs more lines. */
export interface Overflow {
  readonly length: number
}

/**
 * Regions for `counts[length]` keys a length, longest first, laid out from line `first` on.
 * `grow[length]` multiplies a region that overflowed before. The last region ends with spill lines like every other.
 */
export function layRegions(counts: readonly number[], family: 'ipv4' | 'ipv6', first: number, grow: ReadonlyMap<number, number>): Region[] {
  const regions: Region[] = []
  let line = first
  for (let length = counts.length - 1; length >= 0; length--) {
    const keys = counts[length]!
    if (keys === 0) continue
    const perLine = family === 'ipv4' ? aim.line4 : length <= layout.SHORT_LENGTH6 ? aim.line6 : aim.line16
    const lines = Math.ceil((keys / perLine) * (grow.get(length) ?? 1))
    regions.push({ length, first: line, lines })
    line += lines + layout.SPILL_MAX
  }
  return regions
}

export function endOfRegions(regions: readonly Region[], first: number): number {
  const last = regions.at(-1)
  return last === undefined ? first : last.first + last.lines + layout.SPILL_MAX
}

function byLength(regions: readonly Region[], lengths: number): readonly (Region | undefined)[] {
  const found: (Region | undefined)[] = Array.from({ length: lengths })
  for (const region of regions) found[region.length] = region
  return found
}

/** Puts every entry into its line of `pages`. `classOf[source]` is the class a source's entries get. Yields between chunks. */
export function* fillLines4(
  pages: Uint8Array, regions: readonly Region[], merged: Merged4, classOf: readonly number[], salt: number,
): Generator<void, Overflow | null> {
  const page32 = new Uint32Array(pages.buffer)
  const page16 = new Uint16Array(pages.buffer)
  const used = new Uint8Array(pages.length / layout.LINE_BYTES)
  const regionOf = byLength(regions, layout.REGIONS4)
  const classAt = records.dp_line4.class / 2
  const spillAt = records.dp_line4.spill / 4

  for (let entry = 0; entry < merged.count; entry++) {
    if (entry % chunkEntries === chunkEntries - 1) yield
    const key = merged.addrs[entry]!
    const length = merged.lengths[entry]!
    const home = homeLine(regionOf[length]!, hash4(key, salt))
    const step = findRoom(used, home, layout.LINE4_KEYS)
    if (step < 0) return { length }
    const line = home + step
    const slot = used[line]!++
    page32[line * words + slot] = key
    page16[line * halves + classAt + slot] = classOf[merged.sources[entry]!]!
    if (page32[home * words + spillAt]! < step) page32[home * words + spillAt] = step
  }
  return null
}

/** As {@link fillLines4}, with the two key sizes of IPv6. */
export function* fillLines6(
  pages: Uint8Array, regions: readonly Region[], merged: Merged6, classOf: readonly number[], salt: number,
): Generator<void, Overflow | null> {
  const page32 = new Uint32Array(pages.buffer)
  const page16 = new Uint16Array(pages.buffer)
  const used = new Uint8Array(pages.length / layout.LINE_BYTES)
  const regionOf = byLength(regions, layout.REGIONS6)

  for (let entry = 0; entry < merged.count; entry++) {
    if (entry % chunkEntries === chunkEntries - 1) yield
    const length = merged.lengths[entry]!
    const isShort = length <= layout.SHORT_LENGTH6
    const record = isShort ? records.dp_line6 : records.dp_line16
    const keyWords = isShort ? 2 : 4
    const at = entry * 4
    const key = merged.words
    const hash = isShort ? hash6(key[at]!, key[at + 1]!, salt) : hash16(key[at]!, key[at + 1]!, key[at + 2]!, key[at + 3]!, salt)
    const home = homeLine(regionOf[length]!, hash)
    const step = findRoom(used, home, isShort ? layout.LINE6_KEYS : layout.LINE16_KEYS)
    if (step < 0) return { length }
    const line = home + step
    const slot = used[line]!++
    for (let word = 0; word < keyWords; word++) page32[line * words + slot * keyWords + word] = key[at + word]!
    page16[line * halves + record.class / 2 + slot] = classOf[merged.sources[entry]!]!
    const spillAt = home * words + record.spill / 4
    if (page32[spillAt]! < step) page32[spillAt] = step
  }
  return null
}

/** How many lines behind the home line there is room; -1 = in none that a lookup would read. */
function findRoom(used: Uint8Array, home: number, keys: number): number {
  for (let step = 0; step <= layout.SPILL_MAX; step++) if (used[home + step]! < keys) return step
  return -1
}
