// Seeded random choices for property tests. The same seed gives the same run on every machine.

export interface Random {
  readonly seed: number
  /** Integer, first ≤ n ≤ last. */
  between(first: number, last: number): number
  /** True with that probability, 0–1. */
  chance(probability: number): boolean
  pick<T>(from: readonly T[]): T
  /** Up to `most` different members, in random order. */
  some<T>(from: readonly T[], most: number): T[]
  shuffle<T>(from: readonly T[]): T[]
  /** An independent stream, so that one part's draws do not move another's. */
  fork(label: number): Random
}

/** mulberry32: 32 bits of state, good enough to choose test cases with. */
export function createRandom(seed: number): Random {
  let state = seed >>> 0
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
  const self: Random = {
    seed,
    between: (first, last) => first + Math.floor(next() * (last - first + 1)),
    chance: (probability) => next() < probability,
    pick(from) {
      if (from.length === 0) throw new Error('nothing to pick from')
      return from[Math.floor(next() * from.length)] as (typeof from)[number]
    },
    shuffle(from) {
      const list = [...from]
      for (let last = list.length - 1; last > 0; last--) {
        const other = self.between(0, last)
        const kept = list[last] as (typeof list)[number]
        list[last] = list[other] as (typeof list)[number]
        list[other] = kept
      }
      return list
    },
    some: (from, most) => self.shuffle(from).slice(0, self.between(0, Math.min(most, from.length))),
    fork: (label) => createRandom((Math.imul(seed ^ 0x9e3779b9, 0x85ebca6b) ^ Math.imul(label + 1, 0xc2b2ae35)) >>> 0),
  }
  return self
}

/** DERPANET_SEED, or a new seed. Tests print it, so that a failure can be played again. */
export function seedOfRun(): number {
  const given = process.env['DERPANET_SEED']
  if (given === undefined || given === '') return Math.floor(Math.random() * 2 ** 32)
  if (!/^\d+$/.test(given)) throw new Error(`DERPANET_SEED is not a number: ${given}`)
  return Number(given) >>> 0
}
