// Plan.early → the bytes of one half of the XDP program's maps. Pure: equal input and salt give equal bytes.
// Writing them and switching halves is kernel/xdp's job; which packets they decide is bpf/derpanet.bpf.c's.
import type { EarlyPlan } from '../plan.ts'
import type { Family } from '../../model/addr.ts'
import type { PortProtocol } from '../../model/firewall.ts'
import { formatPrefix } from '../../model/addr.ts'
import { markLength4, markPrefix4, markPrefix6, setBits } from './bitmap.ts'
import { layout, records } from './layout.ts'
import type { Overflow, Region } from './lines.ts'
import { endOfRegions, fillLines4, fillLines6, layRegions } from './lines.ts'
import type { Merged4, Merged6, Source4, Source6 } from './merge.ts'
import { chunkEntries, merge4, merge6 } from './merge.ts'

/** The source table of a family. No entries: `pages` is empty. */
export interface SourceTable {
  /** Equal keys (and salt) mean equal bytes. */
  readonly key: string
  readonly entries: number
  /** dp_table. */
  readonly record: Uint8Array
  /** Whole pages: bitmap, length masks, lines. */
  readonly pages: Uint8Array
}

export interface XdpImage {
  readonly tables: Readonly<Record<Family, SourceTable>>
  /** dp_failsafe. */
  readonly failsafe: Uint8Array
  /** dp_class × CLASSES. */
  readonly classes: Uint8Array
}

/** Rule ids → counter slots. `recycled` are slots that belonged to another rule: zero them before use. */
export interface SlotChange {
  readonly slots: ReadonlyMap<string, number>
  readonly recycled: readonly number[]
}

/** Class 1 = never-block, 2… = the block lists in order. */
const allowClass = 1
const firstDenyClass = 2
/** Up to here the lines alone fit into the cache, and the bitmap would cost more memory than it saves time. */
const smallTable = 4096
const portmaps: Readonly<Record<PortProtocol, number>> = {
  tcp: layout.PORTMAP_TCP, udp: layout.PORTMAP_UDP, sctp: layout.PORTMAP_SCTP, dccp: layout.PORTMAP_DCCP,
}

/**
 * Keeps the slot of every rule that had one, so that counters go on; new rules take a slot never used, then that of a
 * rule that is gone. Rules beyond the last slot share REASON_LIST's. Removed rules keep theirs until somebody needs it.
 */
export function assignSlots(previous: ReadonlyMap<string, number>, rules: readonly string[]): SlotChange {
  const slots = new Map(previous)
  const wanted = new Set(rules)
  const taken = new Set(previous.values())
  const recycled: number[] = []
  let next: number = layout.SLOT_FIRST_RULE
  for (const rule of wanted) {
    if (slots.has(rule)) continue
    while (next < layout.SLOTS && taken.has(next)) next++
    if (next < layout.SLOTS) {
      slots.set(rule, next)
      taken.add(next)
      continue
    }
    const gone = [...slots].find(([id, slot]) => !wanted.has(id) && slot >= layout.SLOT_FIRST_RULE)
    if (gone === undefined) {
      slots.set(rule, layout.REASON_LIST)
      continue
    }
    slots.delete(gone[0])
    slots.set(rule, gone[1])
    recycled.push(gone[1])
  }
  return { slots, recycled }
}

/** What decides the content of a table. */
export function tableKey(early: EarlyPlan, family: Family): string {
  const allow = early.allow.filter(({ prefix }) => prefix.family === family).map(({ prefix }) => formatPrefix(prefix))
  const deny = early.deny.map(({ list }) => ((family === 'ipv4' ? list.lengths4 : list.lengths6).length === 0 ? '-' : list.digest))
  return `${allow.sort().join(' ')}|${deny.join(' ')}`
}

/** Everything that decides an image but panic: equal keys need no new half. */
export function imageKey(early: EarlyPlan): string {
  const ports = early.failsafePorts.map(({ protocol, ports: { first, last } }) => `${first}-${last}/${protocol}`).sort()
  const rules = early.deny.map(({ rule }) => rule)
  return [tableKey(early, 'ipv4'), tableKey(early, 'ipv6'), ports.join(' '), rules.join(' ')].join('\n')
}

/**
 * Builds in steps: a caller on the event loop takes a breath at every yield, everybody else uses {@link buildImage}.
 * `salt` is any u32; an attacker must not know it. `reuse` are tables built before with the same salt.
 * Throws an Error for more lists than there are classes, or a table past 2^21 lines.
 */
export function* imageSteps(
  early: EarlyPlan, slots: ReadonlyMap<string, number>, salt: number, reuse: readonly SourceTable[] = [],
): Generator<void, XdpImage> {
  if (early.deny.length > layout.CLASSES - firstDenyClass) throw new Error(`${early.deny.length} block lists are more than XDP can tell apart`)
  const tables = { ipv4: yield* tableSteps(early, 'ipv4', salt, reuse), ipv6: yield* tableSteps(early, 'ipv6', salt, reuse) }
  return { tables, failsafe: failsafeRecord(early), classes: classRecords(early, slots) }
}

export function buildImage(early: EarlyPlan, slots: ReadonlyMap<string, number>, salt: number): XdpImage {
  const steps = imageSteps(early, slots, salt)
  for (;;) {
    const step = steps.next()
    if (step.done === true) return step.value
  }
}

function failsafeRecord(early: EarlyPlan): Uint8Array {
  const record = new Uint8Array(records.dp_failsafe.size)
  for (const { protocol, ports } of early.failsafePorts) {
    const first = records.dp_failsafe.ports + portmaps[protocol] * layout.PORTMAP_BYTES
    setBits(record.subarray(first, first + layout.PORTMAP_BYTES), ports.first, ports.last - ports.first + 1)
    record[records.dp_failsafe.any] = 1
  }
  return record
}

function classRecords(early: EarlyPlan, slots: ReadonlyMap<string, number>): Uint8Array {
  const words = new Uint32Array((layout.CLASSES * records.dp_class.size) / 4)
  const write = (index: number, action: number, slot: number): void => {
    words[index * 2] = action
    words[index * 2 + 1] = slot
  }
  write(allowClass, layout.ACTION_ALLOW, layout.REASON_NEVER_BLOCK)
  early.deny.forEach(({ rule }, index) => write(firstDenyClass + index, layout.ACTION_DENY, slots.get(rule) ?? layout.REASON_LIST))
  return new Uint8Array(words.buffer)
}

function* tableSteps(early: EarlyPlan, family: Family, salt: number, reuse: readonly SourceTable[]): Generator<void, SourceTable> {
  const key = tableKey(early, family)
  const known = reuse.find((table) => table.key === key)
  if (known !== undefined) return known
  const classOf = [allowClass, ...early.deny.map((_, index) => firstDenyClass + index)]
  if (family === 'ipv4') {
    const merged = yield* merge4([allowSource4(early), ...early.deny.map(({ list }) => ({ addrs: list.addrs4, lengths: list.lengths4 }))])
    return yield* buildTable(key, family, salt, merged, (pages, regions) => fillLines4(pages, regions, merged, classOf, salt))
  }
  const merged = yield* merge6([allowSource6(early), ...early.deny.map(({ list }) => ({ words: list.addrs6, lengths: list.lengths6 }))])
  return yield* buildTable(key, family, salt, merged, (pages, regions) => fillLines6(pages, regions, merged, classOf, salt))
}

type Fill = (pages: Uint8Array, regions: readonly Region[]) => Generator<void, Overflow | null>

function* buildTable(key: string, family: Family, salt: number, merged: Merged4 | Merged6, fill: Fill): Generator<void, SourceTable> {
  const counts: number[] = Array.from({ length: family === 'ipv4' ? layout.REGIONS4 : layout.REGIONS6 }, () => 0)
  for (let entry = 0; entry < merged.count; entry++) counts[merged.lengths[entry]!]!++
  const lengthsInUse = counts.filter((count) => count > 0).length
  const bitmapPages = merged.count > smallTable ? layout.BITMAP_PAGES : 0
  const maskPages = family === 'ipv4' && bitmapPages > 0 && lengthsInUse > 2 ? layout.MASK_PAGES : 0
  const firstLine = (bitmapPages + maskPages) * layout.LINES_PER_PAGE
  const grow = new Map<number, number>()

  for (;;) {
    const regions = layRegions(counts, family, firstLine, grow)
    const lines = endOfRegions(regions, firstLine)
    // beyond, hash × lines is no longer exact in a double and a table of 128 MiB no longer sensible
    if (lines > 2 ** 21) throw new Error(`a source table of ${merged.count} ${family} prefixes is larger than XDP takes`)
    const pages = new Uint8Array(merged.count === 0 ? 0 : Math.ceil(lines / layout.LINES_PER_PAGE) * layout.PAGE_BYTES)
    const overflow = yield* fill(pages, regions)
    if (overflow !== null) {
      grow.set(overflow.length, (grow.get(overflow.length) ?? 1) * 1.5)
      continue
    }
    if (bitmapPages > 0) yield* fillFilters(pages, merged, salt, maskPages > 0)
    return { key, entries: merged.count, record: tableRecord(regions, salt, bitmapPages, maskPages), pages }
  }
}

function* fillFilters(pages: Uint8Array, merged: Merged4 | Merged6, salt: number, withMasks: boolean): Generator<void, void> {
  const bitmapBytes = layout.BITMAP_PAGES * layout.PAGE_BYTES
  const bitmap = pages.subarray(0, bitmapBytes)
  const masks = new Uint32Array(pages.buffer, withMasks ? bitmapBytes : 0, withMasks ? 2 ** layout.MASK_BITS : 0)
  for (let entry = 0; entry < merged.count; entry++) {
    if (entry % chunkEntries === chunkEntries - 1) yield
    const length = merged.lengths[entry]!
    if ('addrs' in merged) {
      markPrefix4(bitmap, merged.addrs[entry]!, length)
      if (withMasks) markLength4(masks, merged.addrs[entry]!, length)
    } else if (length >= layout.BITMAP_LENGTH6) {
      markPrefix6(bitmap, merged.words[entry * 4]!, merged.words[entry * 4 + 1]!, salt)
    }
  }
}

function tableRecord(regions: readonly Region[], salt: number, bitmapPages: number, maskPages: number): Uint8Array {
  const words = new Uint32Array(records.dp_table.size / 4)
  words.set([regions.length, salt, bitmapPages, maskPages])
  regions.forEach(({ length, first, lines }, index) => words.set([length, first, lines], records.dp_table.region / 4 + index * 3))
  return new Uint8Array(words.buffer)
}

function allowSource4(early: EarlyPlan): Source4 {
  const prefixes = sortedAllow(early, 'ipv4')
  return { addrs: Uint32Array.from(prefixes, ({ addr }) => Number(addr)), lengths: Uint8Array.from(prefixes, ({ length }) => length) }
}

function allowSource6(early: EarlyPlan): Source6 {
  const prefixes = sortedAllow(early, 'ipv6')
  const words = prefixes.flatMap(({ addr }) => [96n, 64n, 32n, 0n].map((shift) => Number((addr >> shift) & 0xffffffffn)))
  return { words: Uint32Array.from(words), lengths: Uint8Array.from(prefixes, ({ length }) => length) }
}

function sortedAllow(early: EarlyPlan, family: Family): readonly { readonly addr: bigint; readonly length: number }[] {
  const prefixes = early.allow.map(({ prefix }) => prefix).filter((prefix) => prefix.family === family)
  return prefixes.sort((a, b) => (a.addr !== b.addr ? (a.addr < b.addr ? -1 : 1) : a.length - b.length))
}
