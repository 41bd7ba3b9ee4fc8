// What the items of a zone or policy were read as the last time. A change of one of a thousand does not read the others
// again, and whoever compiles the result sees by identity which they are.
import type { Entry, Position } from '../settings.ts'
import type { Answer, Lookup } from './lookup.ts'
import type { Problems } from './problem.ts'

interface Known {
  readonly value: unknown
  /** What was looked up for it. */
  readonly answers: readonly Answer[]
}

type Groups = Map<string, Map<unknown, Known>>

interface Remembered {
  readonly entry: Entry<unknown>
  readonly groups: Groups
}

/** By kind and name; what is in force is remembered, and nothing older. */
const remembered = new Map<string, Remembered>()

export class ItemMemory {
  private readonly before: Groups | null
  /** `key=item` of things whose place in a file is another one now. */
  private readonly moved: ReadonlySet<string>
  private readonly groups: Groups = new Map()

  constructor(owner: string, entry: Entry<unknown>, private readonly lookup: Lookup, private readonly watched: readonly Problems[]) {
    const last = remembered.get(owner)
    const moved = last === undefined ? null : movedBetween(last.entry, entry)
    this.before = moved === null ? null : last!.groups
    this.moved = moved ?? new Set()
    remembered.set(owner, { entry, groups: this.groups })
  }

  /**
   * What `make` gave for the same `key` the last time, as long as everything it looked up is the same. Something with a
   * problem or a warning is made anew every time. `place` = `key=item` of the item; null for what holds many items.
   */
  once<T>(group: string, key: unknown, place: (() => string) | null, make: () => T): T {
    const known = this.before?.get(group)?.get(key)
    const isMoved = this.moved.size > 0 && (place === null || this.moved.has(place()))
    if (known !== undefined && !isMoved && this.lookup.repeat(known.answers)) {
      this.keep(group, key, known)
      return known.value as T
    }
    const asked = this.lookup.asked
    const before = this.problemCount()
    const value = make()
    if (this.problemCount() === before) this.keep(group, key, { value, answers: this.lookup.since(asked) })
    return value
  }

  private problemCount(): number {
    return this.watched.reduce((sum, { found }) => sum + found.length, 0)
  }

  private keep(group: string, key: unknown, known: Known): void {
    let items = this.groups.get(group)
    if (items === undefined) this.groups.set(group, items = new Map())
    items.set(key, known)
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
