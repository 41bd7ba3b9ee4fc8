// Random numbers that replay: every property test prints its seed, DERPANET_SEED=<n> runs it again.

/** Uniform in [0, 1). */
export type Random = () => number

export const seed: number = process.env['DERPANET_SEED'] === undefined ? Date.now() % 2 ** 31 : Number(process.env['DERPANET_SEED'])

/** mulberry32: small, fast, good enough to choose test cases. */
export function random(from: number): Random {
  let state = from >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

export function pick<T>(rnd: Random, from: readonly T[]): T {
  return from[Math.floor(rnd() * from.length)]!
}

/** Inclusive. */
export function int(rnd: Random, least: number, most: number): number {
  return least + Math.floor(rnd() * (most - least + 1))
}

export function chance(rnd: Random, probability: number): boolean {
  return rnd() < probability
}
