// Time as an argument: the daemon's own timers use nothing else, so tests turn the clock by hand.

export interface Clock {
  /** Whole milliseconds since boot, the same for every process of this boot; never jumps. */
  monotonicMs(): number
  /** For people: ISO 8601 in records and logs. */
  wallTime(): Date
  /** Calls `run` once after `delayMs`; the result calls it off. */
  after(delayMs: number, run: () => void): () => void
}

export function pause(clock: Clock, delayMs: number): Promise<void> {
  return new Promise((resolve) => void clock.after(delayMs, resolve))
}

/** setTimeout takes 31 bits; a timeout of a month is legal for clients. */
const longestDelayMs = 2 ** 31 - 1

export const systemClock: Clock = {
  monotonicMs: () => Number(process.hrtime.bigint() / 1_000_000n),
  wallTime: () => new Date(),
  after(delayMs, run) {
    let timer: NodeJS.Timeout
    const wait = (restMs: number): void => {
      const step = Math.min(restMs, longestDelayMs)
      timer = setTimeout(() => (restMs > step ? wait(restMs - step) : run()), step)
    }
    wait(Math.max(0, delayMs))
    return () => clearTimeout(timer)
  },
}
