// What the items of a zone or policy were read as the last time. A change of one of a thousand does not read the others
// again, and whoever compiles the result sees by identity which they are.
import type { Entry, Position } from '../settings.ts'
import type { Answer, Lookup } from './lookup.ts'
import type { Problems } from './problem.ts'

interface Known {
  readonly value: unknown
  /** What was looked up for it. */
  readonly answers: readonly Answer[]
  /** False: something is wrong with it, which must be said again. */
  readonly isGood: boolean
}

interface KnownList {
  readonly list: readonly unknown[]
  readonly known: readonly Known[]
  readonly values: readonly unknown[]
  /** Nothing is wrong with it and nothing was looked up: the same list is the same again. */
  readonly isPlain: boolean
}

interface KnownValue {
  readonly inputs: readonly unknown[]
  readonly value: unknown
}

interface Remembered {
  readonly entry: Entry<unknown>
  readonly lists: Map<string, KnownList>
  readonly values: Map<string, KnownValue>
}

/** By kind and name: the last reading. */
const remembered = new Map<string, Remembered>()

export class ItemMemory {
  private readonly before: Remembered | null
  private readonly now: Remembered
  /** `key=item` of what has another place in its file now. */
  private readonly moved: ReadonlySet<string>

  constructor(owner: string, entry: Entry<unknown>, private readonly lookup: Lookup, private readonly watched: readonly Problems[]) {
    const last = remembered.get(owner)
    const moved = last === undefined ? null : movedBetween(last.entry, entry)
    this.before = moved === null ? null : last!
    this.moved = moved ?? new Set()
    this.now = { entry, lists: new Map(), values: new Map() }
    remembered.set(owner, this.now)
  }

  /**
   * What `read` makes of each item. Items at the begin and the end of the list that are the same as the last time (by identity,
   * with the same answers to what they look up) keep their values; the same list keeps its array. `placeOf` = `key=item`.
   */
  each<Item, Value>(name: string, list: readonly Item[], placeOf: (item: Item) => string, read: (item: Item) => Value): readonly Value[] {
    const last = this.before?.lists.get(name)
    if (last !== undefined && last.list === list && last.isPlain && this.moved.size === 0) {
      this.now.lists.set(name, last)
      return last.values as readonly Value[]
    }
    const length = list.length
    const lastLength = last?.list.length ?? 0
    let start = 0
    while (start < length && start < lastLength && list[start] === last!.list[start]) start++
    let end = 0
    while (end < length - start && end < lastLength - start && list[length - 1 - end] === last!.list[lastLength - 1 - end]) end++
    let same = last !== undefined && start === length && length === lastLength
    const known: Known[] = []
    for (let index = 0; index < length; index++) {
      const item = list[index]!
      const before = index < start ? last!.known[index]! : index >= length - end ? last!.known[index - length + lastLength]! : null
      if (before !== null && this.holds(before, item, placeOf)) known.push(before)
      else {
        known.push(this.watch(() => read(item)))
        same = false
      }
    }
    const made = same
      ? { ...last!, list }
      : { list, known, values: known.map(({ value }) => value), isPlain: known.every(({ isGood, answers }) => isGood && answers.length === 0) }
    this.now.lists.set(name, made)
    return made.values as readonly Value[]
  }

  /** A value of nothing but `inputs`, which are compared by identity. */
  of<Value>(name: string, inputs: readonly unknown[], make: () => Value): Value {
    const last = this.before?.values.get(name)
    const isSame = last !== undefined && last.inputs.length === inputs.length && inputs.every((input, index) => input === last.inputs[index])
    const made = isSame ? last : { inputs, value: make() }
    this.now.values.set(name, made)
    return made.value as Value
  }

  private holds<Item>({ isGood, answers }: Known, item: Item, placeOf: (item: Item) => string): boolean {
    if (!isGood || (this.moved.size > 0 && this.moved.has(placeOf(item)))) return false
    return answers.length === 0 || this.lookup.repeat(answers)
  }

  private watch(make: () => unknown): Known {
    const asked = this.lookup.asked
    const before = this.problemCount()
    const value = make()
    return { value, answers: this.lookup.since(asked), isGood: this.problemCount() === before }
  }

  private problemCount(): number {
    return this.watched.reduce((sum, { found }) => sum + found.length, 0)
  }
}

/** null when every origin may be another one. */
function movedBetween(before: Entry<unknown>, after: Entry<unknown>): ReadonlySet<string> | null {
  if (before.layer !== after.layer || before.file !== after.file) return null
  if (before.positions === after.positions) return new Set()
  // an object without any place is one whose items all came at once
  if ((before.positions.size === 0) !== (after.positions.size === 0)) return null
  const moved = new Set<string>()
  for (const [place, position] of before.positions) if (!isSame(position, after.positions.get(place))) moved.add(place)
  for (const place of after.positions.keys()) if (!before.positions.has(place)) moved.add(place)
  return moved
}

function isSame(one: Position, other: Position | undefined): boolean {
  return one === other || (other !== undefined && one.line === other.line && one.column === other.column)
}
