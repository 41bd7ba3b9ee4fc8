// Timed openings: each has a key, a time when it is due, and the change that takes it back.
import type { Change } from '../model/change.ts'
import type { PendingExpiry } from '../state/journal.ts'
import type { Clock } from './clock.ts'

interface Armed extends PendingExpiry {
  readonly callOff: () => void
}

export class ExpiryTimers {
  private readonly clock: Clock
  private readonly due: (expiry: PendingExpiry) => void
  private readonly armed = new Map<string, Armed>()

  /** `due` is called at the time; the expiry stays pending until {@link cancel}, because taking it back may fail. */
  constructor(clock: Clock, due: (expiry: PendingExpiry) => void) {
    this.clock = clock
    this.due = due
  }

  /** Replaces what was armed under the same key. */
  arm(key: string, dueMs: number, change: Change): void {
    this.cancel(key)
    const expiry: PendingExpiry = { key, dueMs, change }
    const callOff = this.clock.after(dueMs - this.clock.monotonicMs(), () => this.due(expiry))
    this.armed.set(key, { ...expiry, callOff })
  }

  /** Asks again after `delayMs`, for one that could not be taken back. */
  retry(expiry: PendingExpiry, delayMs: number): void {
    if (!this.isCurrent(expiry)) return
    const callOff = this.clock.after(delayMs, () => this.due(expiry))
    this.armed.set(expiry.key, { ...expiry, callOff })
  }

  /** Is this expiry still the one under its key? Not when the thing was removed or added again meanwhile. */
  isCurrent(expiry: PendingExpiry): boolean {
    const armed = this.armed.get(expiry.key)
    return armed !== undefined && armed.dueMs === expiry.dueMs && armed.change === expiry.change
  }

  cancel(key: string): void {
    this.armed.get(key)?.callOff()
    this.armed.delete(key)
  }

  clear(): void {
    for (const key of [...this.armed.keys()]) this.cancel(key)
  }

  pending(): readonly PendingExpiry[] {
    return [...this.armed.values()].map(({ key, dueMs, change }) => ({ key, dueMs, change }))
  }
}
