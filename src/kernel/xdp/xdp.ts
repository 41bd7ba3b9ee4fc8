// The XDP dataplane: drops early what the ruleset would drop anyway, and is never needed. Whatever is missing (loader,
// kernel, BPF file system, driver) ends as a reason in status(), not as a failed change. The one thing that does fail a
// change is a program that still drops by an old configuration and cannot be told to stop.
import { randomBytes } from 'node:crypto'
import { existsSync, readdirSync } from 'node:fs'
import { performance } from 'node:perf_hooks'
import { printable } from '../../errors.ts'
import type { Plan } from '../../compile/plan.ts'
import { layout, reasons, records } from '../../compile/xdp/layout.ts'
import type { XdpReason } from '../../compile/xdp/layout.ts'
import type { XdpMode } from '../../model/settings.ts'
import type { ApplyReport, Counters, Dataplane, DataplaneStatus, Drift } from '../dataplane.ts'
import type { Exec } from '../exec.ts'
import { Attachments } from './attachments.ts'
import { decodeEvent, pollRing } from './events.ts'
import type { DropEvent } from './events.ts'
import { Halves } from './halves.ts'
import { loadLibBpf } from './libbpf.ts'
import type { LibBpf } from './libbpf.ts'
import { createLoader, type AttachMode } from './loader.ts'
import { openMaps } from './maps.ts'
import type { XdpMaps } from './maps.ts'

/** Fields first, then one constant sentence. */
export interface XdpLog {
  info(fields: Readonly<Record<string, unknown>>, message: string): void
  warn(fields: Readonly<Record<string, unknown>>, message: string): void
}

export interface XdpOptions {
  /** On a BPF file system, ours alone; derpanet-load checks that. */
  readonly pinDir: string
  /** derpanet-load. */
  readonly loader: string
  /** derpanet.bpf.o. */
  readonly object: string
  readonly exec: Exec
  readonly log: XdpLog
  /** What `auto` in the plan means; `off` wins over whatever the plan says and removes what an earlier daemon attached. Default auto. */
  readonly mode?: XdpMode
  /** Drops reported to onDrop listeners: one in `every`, at most `perSec` a second and CPU. Default 1 and 100. */
  readonly events?: { readonly every: number; readonly perSec: number }
  /** Any u32; default random. Tests fix it. */
  readonly salt?: number
  /** Milliseconds that only grow; default the process's. */
  readonly now?: () => number
}

/** What the loaded program says about a frame. */
export interface FrameVerdict {
  readonly verdict: 'drop' | 'pass'
  readonly reason: XdpReason
  readonly rule: string | null
}

export interface XdpDataplane extends Dataplane {
  readonly name: 'xdp'
  prepare(next: Plan): Promise<void>
  drift(): Promise<Drift>
  /** Follows new, renamed and removed interfaces. Call it when links change; never concurrently with the other methods. */
  refreshLinks(): Promise<void>
  /** Is something that could not be loaded or attached to be tried again? Cheap. */
  isRetryDue(): boolean
  /** Tries it; what cannot be done now either is due again later, ever more slowly. Never concurrently with the other methods. */
  retry(): Promise<void>
  /** Links that carry the program; null when XDP is off. */
  attached(): readonly { readonly name: string; readonly mode: AttachMode }[] | null
  /** Sampled drops, while somebody listens. Returns the unsubscriber. */
  onDrop(listener: (event: DropEvent) => void): () => void
  /**
   * Asks the running program about a frame (from the Ethernet header on), without counting it. `ifindex` 0 = loopback, which
   * is never dropped on. Rejects when XDP is off.
   */
  judgeFrame(frame: Uint8Array, ifindex: number): Promise<FrameVerdict>
  /** Lets go of everything; what is attached goes on filtering. */
  close(): void
}

const pollIntervalMs = 100
/** A program that was refused: the verifier's work is worth it now and then. */
const firstReloadMs = 10_000
const longestReloadMs = 600_000
const xdpDrop = 1

interface Open {
  /** Name of the directory below the pins. */
  readonly version: string
  readonly libbpf: LibBpf
  readonly maps: XdpMaps
  readonly halves: Halves
  readonly attachments: Attachments
  readonly prog: number
}

export function createXdp(options: XdpOptions): XdpDataplane {
  return new Xdp(options)
}

class Xdp implements XdpDataplane {
  readonly name = 'xdp'
  private readonly options: XdpOptions
  private readonly loader: ReturnType<typeof createLoader>
  private open: Open | null = null
  /** Why XDP is not there; null when it is, or was not tried yet. */
  private offReason: string | null = null
  /** When loading is tried again, and how long it waits the time after. */
  private loadAgain = { atMs: Infinity, waitMs: firstReloadMs }
  private plan: Plan | null = null
  private readonly listeners = new Set<(event: DropEvent) => void>()
  private stopPolling: (() => void) | null = null
  private readonly zones = new ZoneIds()

  constructor(options: XdpOptions) {
    this.options = options
    this.loader = createLoader({ pinDir: options.pinDir, path: options.loader, object: options.object, exec: options.exec })
  }

  async prepare(next: Plan): Promise<void> {
    // At a first start nothing of ours drops anything yet; loading the program can wait until rules are in force.
    if (this.open === null && !this.hasPins()) return
    const open = await this.ready()
    if (open === null) return
    try {
      await open.halves.stage(next.early)
    } catch (error) {
      // the lists are off by now: the ruleset decides alone, and apply() tries again
      this.options.log.warn({ error }, 'XDP could not take the next configuration; the ruleset decides alone')
    }
  }

  async apply(plan: Plan): Promise<ApplyReport> {
    const started = performance.now()
    const open = await this.ready()
    this.plan = plan
    if (open === null) return { summary: `off: ${this.offReason}`, elapsedMs: performance.now() - started }
    const before = open.halves.generation
    await open.halves.stage(plan.early)
    open.halves.commit(plan.early)
    const changes = await open.attachments.follow(plan)
    const summary = `generation ${before} → ${open.halves.generation}, ${open.halves.entries} prefixes${changes === '' ? '' : `; ${changes}`}`
    return { summary, elapsedMs: performance.now() - started }
  }

  async refreshLinks(): Promise<void> {
    if (this.open === null || this.plan === null) return
    const changes = await this.open.attachments.refresh(this.plan)
    if (changes !== '') this.options.log.info({ changes }, 'XDP follows the interfaces')
  }

  isRetryDue(): boolean {
    return this.open === null ? this.now() >= this.loadAgain.atMs : this.open.attachments.isRetryDue()
  }

  async retry(): Promise<void> {
    if (this.plan === null || !this.isRetryDue()) return
    if (this.open !== null) return this.refreshLinks()
    this.offReason = null
    await this.apply(this.plan)
  }

  private now(): number {
    return (this.options.now ?? performance.now.bind(performance))()
  }

  attached(): ReturnType<XdpDataplane['attached']> {
    return this.open === null ? null : this.open.attachments.attached()
  }

  /** Nobody tells who detached a program. */
  async drift(): Promise<Drift> {
    const { open } = this
    if (open === null || this.plan === null) return { lines: [], by: null }
    const { pinDir } = this.options
    const lost = open.attachments.carrying().filter(([name, ifindex]) => open.libbpf.linkIfindex(`${pinDir}/links/${pinName(name)}`) !== ifindex)
    const lines = lost.map(([name]) => `XDP: our program is gone from ${name}`)
    if (!existsSync(`${pinDir}/${open.version}/prog`)) {
      // our handles keep the maps alive, but nobody after us would find them: load it all anew
      lines.push('XDP: the pins of our program are gone')
      this.close()
    } else if (!open.halves.isInForce()) {
      lines.push('XDP: our switch is set otherwise')
      this.close()
    } else if (lost.length > 0) open.attachments.forget(lost.map(([name]) => name))
    return { lines, by: null }
  }

  async counters(): Promise<Counters> {
    return this.open === null ? new Map() : this.open.halves.counters()
  }

  async status(): Promise<DataplaneStatus> {
    if (this.open === null) return { name: 'xdp', state: 'off', details: [{ subject: 'xdp', text: `off: ${this.offReason ?? 'not started'}` }] }
    const { halves, attachments } = this.open
    const { state, details } = attachments.status()
    const lists = { subject: 'xdp', text: `generation ${halves.generation}, ${halves.entries} prefixes` }
    return { name: 'xdp', state, details: [lists, ...details] }
  }

  async purge(): Promise<void> {
    this.close()
    this.plan = null
    if (this.hasPins()) await this.loader.unload()
  }

  onDrop(listener: (event: DropEvent) => void): () => void {
    this.listeners.add(listener)
    this.startPolling()
    return () => {
      this.listeners.delete(listener)
      if (this.listeners.size === 0) this.endPolling()
    }
  }

  async judgeFrame(frame: Uint8Array, ifindex: number): Promise<FrameVerdict> {
    if (this.open === null) throw new Error(`XDP is off: ${this.offReason ?? 'not started'}`)
    const { libbpf, prog, halves } = this.open
    const metaBytes = records.dp_dry.size
    const input = new Uint8Array(metaBytes + frame.length)
    new DataView(input.buffer).setUint32(records.dp_dry.magic, layout.DRY_MAGIC, true)
    input.set(frame, metaBytes)
    const { verdict, output } = libbpf.testRun(prog, { input, metaBytes, ifindex, repeat: 1 })
    const answer = new DataView(output.buffer, output.byteOffset, metaBytes)
    return {
      verdict: verdict === xdpDrop ? 'drop' : 'pass',
      reason: reasons[answer.getUint32(records.dp_dry.reason, true)] ?? 'no-match',
      rule: halves.ruleOf(answer.getUint32(records.dp_dry.slot, true)),
    }
  }

  close(): void {
    this.endPolling()
    this.open?.maps.close()
    if (this.open !== null) this.open.libbpf.closePin(this.open.prog)
    this.open = null
  }

  /** The opened program, or null with `offReason` said. Throws only when an old program drops and cannot be stopped. */
  private async ready(): Promise<Open | null> {
    if (this.open !== null) return this.open
    if (this.offReason !== null) return null
    try {
      if (this.options.mode === 'off') throw new Error('xdp: off')
      this.open = await this.load()
      this.loadAgain = { atMs: Infinity, waitMs: firstReloadMs }
      if (this.listeners.size > 0) this.startPolling()
      return this.open
    } catch (error) {
      const reason = printable((error as Error).message, 500)
      await this.removeOldProgram(reason)
      this.offReason = reason
      if (this.options.mode !== 'off') this.loadAgain = { atMs: this.now() + this.loadAgain.waitMs, waitMs: Math.min(longestReloadMs, 2 * this.loadAgain.waitMs) }
      this.options.log.info({ reason }, 'XDP is off; the ruleset decides alone')
      return null
    }
  }

  private async load(): Promise<Open> {
    const libbpf = await loadLibBpf()
    const { version, adopted } = await this.loader.load()
    const dir = `${this.options.pinDir}/${version}`
    const maps = await openMaps(dir, libbpf)
    try {
      const salt = this.options.salt ?? randomBytes(4).readUInt32LE()
      const halves = new Halves(maps, salt)
      const attachments = new Attachments({
        loader: this.loader, exec: this.options.exec, maps, zones: this.zones, override: this.options.mode ?? 'auto', log: this.options.log, now: () => this.now(),
      })
      const prog = libbpf.openPin(`${dir}/prog`)
      this.options.log.info({ version, adopted }, 'XDP program is loaded')
      return { version, libbpf, maps, halves, attachments, prog }
    } catch (error) {
      maps.close()
      throw error
    }
  }

  /** What an earlier daemon attached follows a configuration that is about to change: away with it. */
  private async removeOldProgram(why: string): Promise<void> {
    if (!this.hasPins()) return
    try {
      await this.loader.unload()
    } catch (error) {
      throw new Error(`XDP is off (${why}), but an earlier program is still attached and cannot be removed: ${(error as Error).message}`, { cause: error })
    }
  }

  private hasPins(): boolean {
    return existsSync(this.options.pinDir) && readdirSync(this.options.pinDir).some((name) => /^(v\d+-[0-9a-f]{16}|links)$/.test(name))
  }

  private startPolling(): void {
    if (this.open === null || this.stopPolling !== null) return
    const { libbpf, maps, halves } = this.open
    const names = { zoneOf: (id: number) => this.zones.nameOf(id), ruleOf: (slot: number) => halves.ruleOf(slot) }
    const { every, perSec } = this.options.events ?? { every: 1, perSec: 100 }
    const ring = libbpf.openRing(maps.eventsFd, (record) => {
      const event = decodeEvent(record, names)
      for (const listener of this.listeners) listener(event)
    })
    this.stopPolling = pollRing(ring, pollIntervalMs, (error) => this.options.log.warn({ error }, 'drop events cannot be read'))
    maps.writeControl(layout.CONTROL_EVENTS_PER_SEC, perSec)
    maps.writeControl(layout.CONTROL_SAMPLE_EVERY, every)
  }

  /** Without a listener the program does not even try. */
  private endPolling(): void {
    if (this.stopPolling === null) return
    this.open?.maps.writeControl(layout.CONTROL_SAMPLE_EVERY, 0)
    this.stopPolling()
    this.stopPolling = null
  }
}

/** As derpanet-load names the pin of an interface's link: a BPF file system forbids dots. */
function pinName(ifname: string): string {
  return [...Buffer.from(ifname)].map((byte) => (/[A-Za-z0-9_-]/.test(String.fromCharCode(byte)) ? String.fromCharCode(byte) : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`)).join('')
}

/** Zone names as numbers for the interface rows; a number is never given to another name. */
export class ZoneIds {
  private readonly ids = new Map<string, number>()

  idOf(name: string): number {
    const id = this.ids.get(name) ?? this.ids.size + 1
    this.ids.set(name, id)
    return id
  }

  nameOf(id: number): string | null {
    return [...this.ids].find(([, its]) => its === id)?.[0] ?? null
  }
}
