// Brings the runtime journal of a crashed daemon back: the changes in their order, without those whose time is over.
import { combineZones } from '../config/firewalld/tree.ts'
import { decision, type Log } from '../log.ts'
import type { Change, Reduced } from '../model/change.ts'
import { reduceRuntime } from '../model/reduce.ts'
import type { Runtime, Settings } from '../model/settings.ts'
import { decodeSettings, digestSettings } from '../state/codec.ts'
import type { GenerationStore } from '../state/generations.ts'
import type { JournalContent, PendingExpiry, RuntimeJournal } from '../state/journal.ts'
import type { Clock } from './clock.ts'

export interface Replayed {
  readonly runtime: Runtime
  /** Still to come. */
  readonly expiries: readonly PendingExpiry[]
  readonly generation: number
  readonly applied: number
  /** Changes that no longer fit, with why: the files may have been edited meanwhile. */
  readonly failed: readonly { readonly change: Change; readonly reason: string }[]
}

/** `base` is what the runtime began with; `reduce` is the model's, an argument so that this stays a pure function. */
export function replayJournal(
  base: Settings, content: JournalContent, nowMs: number, reduce: (runtime: Runtime, change: Change) => Reduced<Runtime>,
): Replayed {
  const { defaultBound } = content.header
  let runtime: Runtime = { settings: base, panic: false, ...(defaultBound.length === 0 ? {} : { defaultBound: new Set(defaultBound) }) }
  const expiries = new Map(content.header.expiries.map((expiry) => [expiry.key, expiry]))
  const failed: { change: Change; reason: string }[] = []
  let applied = 0

  const run = (change: Change): Reduced<Runtime> | null => {
    try {
      const reduced = reduce(runtime, change)
      runtime = reduced.world
      return reduced
    } catch (error) {
      failed.push({ change, reason: (error as Error).message })
      return null
    }
  }
  // Panic is set last: reduce() refuses other changes under panic, but in the journal they came before it or were timed.
  let panic = content.header.panic
  for (const { change, atMs } of content.lines) {
    if (change.kind === 'panic-set') {
      panic = change.on
      applied += 1
      continue
    }
    const reduced = run(change)
    if (reduced === null) continue
    applied += 1
    for (const key of reduced.cancelled) expiries.delete(key)
    for (const expiry of reduced.expiries) {
      expiries.set(expiry.key, { key: expiry.key, dueMs: atMs + expiry.timeoutSec * 1000, change: expiry.change })
    }
  }
  for (const expiry of [...expiries.values()]) {
    if (expiry.dueMs > nowMs) continue
    expiries.delete(expiry.key)
    run(expiry.change)
  }
  const generation = content.lines.at(-1)?.generation ?? content.header.generation
  return { runtime: { ...runtime, panic }, expiries: [...expiries.values()], generation, applied, failed }
}

export interface ReplayHost {
  readonly journal: RuntimeJournal
  readonly generations: GenerationStore
  readonly clock: Clock
  readonly log: Log
}

/**
 * The runtime that a daemon before this one left, on the configuration that is going to be in force; null = there was none.
 * What cannot be brought back is logged; that panic was on is never lost.
 */
export function bringBack(host: ReplayHost, settings: Settings): Replayed | null {
  const content = readJournal(host, settings)
  if (content === null) return null
  const isSame = content.header.settings === digestSettings(settings)
  const base = isSame ? baseOf(host, settings, content.header.runtime) : combineZones(settings)
  const replayed = replayJournal(base, content, host.clock.monotonicMs(), reduceRuntime)
  for (const { change, reason } of replayed.failed) host.log.warn({ change: change.kind, reason }, 'runtime change could not be brought back')
  decision(host.log, 'runtime-journal', {
    base: content.header.generation, same: isSame, changes: content.lines.length, replayed: replayed.applied,
    failed: replayed.failed.length, timers: replayed.expiries.length,
  })
  return replayed
}

function baseOf({ log }: ReplayHost, settings: Settings, stored: string | undefined): Settings {
  if (stored === undefined) return combineZones(settings)
  try {
    return decodeSettings(stored, new Map([...settings.lists.values()].map((list) => [list.digest, list])))
  } catch (error) {
    log.error({ error }, 'runtime in the journal cannot be read; changes made before it are lost')
    return combineZones(settings)
  }
}

function readJournal({ journal, generations, log }: ReplayHost, settings: Settings): JournalContent | null {
  try {
    const content = journal.read()
    for (const damage of content?.damaged ?? []) log.error({ damage }, 'runtime change is lost: its line in the journal is damaged')
    return content
  } catch (error) {
    const panic = journal.saysPanic()
    log.error({ error, panic }, 'runtime journal cannot be read; the permanent configuration alone is in force, and panic mode if it says so')
    if (!panic) return null
    const generation = generations.newest()?.number ?? 0
    return { header: { generation, settings: digestSettings(settings), panic, defaultBound: [], expiries: [] }, lines: [] }
  }
}
