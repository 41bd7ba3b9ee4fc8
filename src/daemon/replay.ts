// Brings the runtime journal of a crashed daemon back: the changes in their order, without those whose time is over.
import type { Change, Reduced } from '../model/change.ts'
import type { Runtime, Settings } from '../model/settings.ts'
import type { JournalContent, PendingExpiry } from '../state/journal.ts'

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
