// Clients come the moment the name appears on the bus, and what a start leaves for afterwards (starting programs, collecting
// garbage) would make them wait: measured, the slowest hundredth of the first 1,000 getters took twice as long.
import { performance } from 'node:perf_hooks'
import { setTimeout as pause } from 'node:timers/promises'

const lookMs = 50
/** Share of the time in which the event loop works. A client that asks one getter after the other keeps it above a third. */
const calm = 0.1

/** Resolves when the event loop has had next to nothing to do for a moment, or after about `atMostMs`. */
export async function lull(atMostMs: number): Promise<void> {
  const end = performance.now() + atMostMs
  for (let before = performance.eventLoopUtilization(); performance.now() < end;) {
    await pause(lookMs)
    const now = performance.eventLoopUtilization()
    if (performance.eventLoopUtilization(now, before).utilization < calm) return
    before = now
  }
}
