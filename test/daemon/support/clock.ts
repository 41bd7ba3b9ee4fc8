// A clock that is turned by hand.
import type { Clock } from '../../../src/daemon/clock.ts'

export class FakeClock implements Clock {
  nowMs: number
  private readonly waiting = new Set<{ readonly atMs: number; readonly run: () => void }>()

  constructor(nowMs = 1_000_000) {
    this.nowMs = nowMs
  }

  monotonicMs(): number {
    return this.nowMs
  }

  wallTime(): Date {
    return new Date(Date.UTC(2026, 0, 1) + this.nowMs)
  }

  after(delayMs: number, run: () => void): () => void {
    const timer = { atMs: this.nowMs + Math.max(0, delayMs), run }
    this.waiting.add(timer)
    return () => void this.waiting.delete(timer)
  }

  armed(): number {
    return this.waiting.size
  }

  /** Runs what is due on the way, in order of time, also what that arms. */
  turn(ms: number): void {
    const end = this.nowMs + ms
    for (;;) {
      const next = [...this.waiting].filter((timer) => timer.atMs <= end).sort((a, b) => a.atMs - b.atMs)[0]
      if (next === undefined) break
      this.waiting.delete(next)
      this.nowMs = next.atMs
      next.run()
    }
    this.nowMs = end
  }
}
