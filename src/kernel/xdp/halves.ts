// The two halves of the maps and the word that switches between them. Knows which half holds what and in which order
// things may be written while packets flow; knows no interfaces and starts no programs.
//
// A half that packets may read is never written: the word first says not to read it, then one RCU grace period passes.
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { EarlyPlan } from '../../compile/plan.ts'
import type { SourceTable, XdpImage } from '../../compile/xdp/image.ts'
import { assignSlots, imageKey, imageSteps } from '../../compile/xdp/image.ts'
import { layout, records, tableIndex } from '../../compile/xdp/layout.ts'
import type { Counters } from '../dataplane.ts'
import { families } from '../../model/addr.ts'
import type { Family } from '../../model/addr.ts'
import { stageRules } from '../../model/stages.ts'
import type { PageMap, XdpMaps } from './maps.ts'

type Half = 0 | 1
const pagesPerTurn = 16
const switchFlags = layout.SWITCH_DEFER | layout.SWITCH_PANIC | layout.SWITCH_IDLE

interface Content {
  /** imageKey of what the half holds; null = unknown. */
  key: string | null
  readonly tables: Partial<Record<Family, { readonly table: SourceTable; readonly pages: PageMap | null }>>
}

/** What a commit did, for the log. */
export interface Staged {
  readonly entries: number
  readonly written: boolean
}

export class Halves {
  private readonly maps: XdpMaps
  private readonly salt: number
  private active: Half
  private word: number
  private readonly content: readonly [Content, Content]
  /** Whether the ruleset is known to agree with the active half, so that DEFER may still drop. */
  private trusted: boolean
  private slots: ReadonlyMap<string, number>

  /** Reads what an earlier daemon left. */
  constructor(maps: XdpMaps, salt: number) {
    this.maps = maps
    this.salt = salt
    this.word = maps.readControl(layout.CONTROL_SWITCH)
    this.active = (this.word & layout.SWITCH_HALF) as Half
    const fresh = this.word === 0 ? imageKey({ panic: false, allow: [], failsafePorts: [], deny: [] }) : null
    this.content = [{ key: fresh, tables: {} }, { key: fresh, tables: {} }]
    // a crash between narrowing and commit: nobody knows what the ruleset holds until it is applied again
    this.trusted = (this.word & (layout.SWITCH_DEFER | layout.SWITCH_IDLE)) === 0 // without lists too: there DEFER has nothing to drop either
    this.slots = readSlots(maps)
  }

  get generation(): number {
    return this.word >>> layout.SWITCH_GENERATION_SHIFT
  }

  get entries(): number {
    const { tables } = this.content[this.active]
    return families.reduce((sum, family) => sum + (tables[family]?.table.entries ?? 0), 0)
  }

  /**
   * From here on only what the current configuration *and* `next` drop is dropped. Fills the other half with `next`.
   * After a throw nothing is dropped by lists and panic is off.
   */
  async stage(next: EarlyPlan): Promise<Staged> {
    if (!next.panic) this.writeWord(this.word & ~layout.SWITCH_PANIC)
    const key = imageKey(next)
    if (this.content[this.active].key === key) {
      // lists do not change, so what is dropped now, `next` drops too (less while an earlier change is under way)
      return { entries: this.entries, written: false }
    }
    const other = this.other()
    const written = this.content[other].key !== key
    try {
      if (written) await this.fill(other, next, key)
    } catch (error) {
      this.stopDropping()
      throw error
    }
    this.writeWord((this.word & ~switchFlags) | (this.word & layout.SWITCH_PANIC) | (this.trusted ? layout.SWITCH_DEFER : layout.SWITCH_IDLE))
    return { entries: this.countEntries(other), written }
  }

  /** The ruleset holds `plan`, which was staged: decide by it alone. */
  commit(plan: EarlyPlan): void {
    const key = imageKey(plan)
    if (this.content[this.active].key !== key) {
      if (this.content[this.other()].key !== key) throw new Error('XDP: commit without stage')
      this.active = this.other()
    }
    this.trusted = true
    this.writeWord(this.active | (plan.deny.length === 0 ? layout.SWITCH_IDLE : 0) | (plan.panic ? layout.SWITCH_PANIC : 0) | (((this.generation + 1) << layout.SWITCH_GENERATION_SHIFT) >>> 0))
  }

  /** Does the kernel's switch stand where it was put last? */
  isInForce(): boolean {
    return this.maps.readControl(layout.CONTROL_SWITCH) >>> 0 === this.word >>> 0
  }

  /** Nothing is dropped any more, until the next commit. */
  stopDropping(): void {
    this.trusted = false
    this.writeWord((this.word & ~switchFlags) | layout.SWITCH_IDLE)
  }

  counters(): Counters {
    const counters = new Map<string, { packets: bigint; bytes: bigint }>()
    const panic = this.maps.readCounter(layout.REASON_PANIC)
    if (panic.packets > 0n) counters.set(stageRules.panic, panic)
    for (const [rule, slot] of this.slots) if (slot >= layout.SLOT_FIRST_RULE) counters.set(rule, this.maps.readCounter(slot))
    return counters
  }

  /** The rule a slot counts for, where one does. */
  ruleOf(slot: number): string | null {
    if (slot === layout.REASON_PANIC) return stageRules.panic
    return [...this.slots].find(([, its]) => its === slot)?.[0] ?? null
  }

  private other(): Half {
    return (this.active ^ 1) as Half
  }

  private countEntries(half: Half): number {
    return families.reduce((sum, family) => sum + (this.content[half].tables[family]?.table.entries ?? 0), 0)
  }

  private async fill(half: Half, next: EarlyPlan, key: string): Promise<void> {
    const image = await this.build(next)
    if (this.word & layout.SWITCH_DEFER) this.writeWord((this.word & ~layout.SWITCH_DEFER) | layout.SWITCH_IDLE)
    this.maps.waitForPackets()
    this.content[half].key = null
    for (const family of families) await this.writeTable(half, family, image.tables[family])
    this.maps.writeClasses(half, image.classes)
    this.maps.writeFailsafe(half, image.failsafe)
    this.content[half].key = key
  }

  private async build(next: EarlyPlan): Promise<XdpImage> {
    // a rule whose id does not fit into a note is counted with the nameless ones
    const { slots, recycled } = assignSlots(this.slots, next.deny.map(({ rule }) => rule).filter((rule) => Buffer.byteLength(rule) < records.dp_rule.size))
    for (const slot of recycled) this.maps.zeroCounter(slot)
    for (const [rule, slot] of slots) if (this.slots.get(rule) !== slot) this.maps.writeRule(slot, ruleRecord(rule))
    this.slots = slots
    const known = this.content.flatMap(({ tables }) => families.flatMap((family) => tables[family]?.table ?? []))
    const steps = imageSteps(next, slots, this.salt, known)
    for (;;) {
      const step = steps.next()
      if (step.done === true) return step.value
      await nextTurn()
    }
  }

  /** A table that the other half has already is shared: both slots point to the same pages. */
  private async writeTable(half: Half, family: Family, table: SourceTable): Promise<void> {
    const mine = this.content[half].tables[family]
    const shared = this.content[(half ^ 1) as Half].tables[family]
    const index = tableIndex(half, family)
    if (mine?.table === table) return
    delete this.content[half].tables[family]
    let pages: PageMap | null = null
    if (shared?.table === table) {
      pages = shared.pages
    } else if (table.pages.length > 0) {
      pages = this.maps.createPages(table.pages.length / layout.PAGE_BYTES)
      for (let page = 0; page < pages.pages; page++) {
        if (page % pagesPerTurn === pagesPerTurn - 1) await nextTurn()
        pages.write(page, table.pages.subarray(page * layout.PAGE_BYTES, (page + 1) * layout.PAGE_BYTES))
      }
    }
    this.maps.setPages(index, pages)
    this.maps.writeTable(index, table.record)
    if (mine !== undefined && mine.pages !== null && mine.pages !== shared?.pages) mine.pages.close()
    // the kernel has the bytes; here only the identity is needed from now on
    this.content[half].tables[family] = { table: shared?.table === table ? table : { ...table, pages: new Uint8Array() }, pages }
  }

  private writeWord(word: number): void {
    if (word >>> 0 === this.word >>> 0) return
    this.maps.writeControl(layout.CONTROL_SWITCH, word >>> 0)
    this.word = word >>> 0
  }
}

function ruleRecord(rule: string): Uint8Array {
  const record = new Uint8Array(records.dp_rule.size)
  record.set(Buffer.from(rule))
  return record
}

function readSlots(maps: XdpMaps): ReadonlyMap<string, number> {
  const slots = new Map<string, number>()
  for (let slot = layout.SLOT_FIRST_RULE; slot < layout.SLOTS; slot++) {
    const record = maps.readRule(slot)
    const end = record.indexOf(0)
    if (end === 0) break // slots are given in order
    slots.set(Buffer.from(record.subarray(0, end < 0 ? record.length : end)).toString(), slot)
  }
  return slots
}
