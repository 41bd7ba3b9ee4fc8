// Numbers of the permanent objects: /config/zone/6 is public because its name is the seventh. Numbers are given in
// order of names at start and at each reload; between reloads a new object gets the next one and none is used twice.
import type { Settings } from '../model/settings.ts'
import type { ObjectKind } from './members/firewalld.ts'

/** Key of Settings that holds the objects of a kind. */
export const settingsKey = {
  zone: 'zones', service: 'services', ipset: 'ipsets', icmptype: 'icmptypes', helper: 'helpers', policy: 'policies',
} as const satisfies Readonly<Record<ObjectKind, keyof Settings>>

export const objectKinds: readonly ObjectKind[] = ['helper', 'icmptype', 'ipset', 'policy', 'service', 'zone']

export function sortedNames(objects: ReadonlyMap<string, unknown>): readonly string[] {
  return [...objects.keys()].sort()
}

interface Numbers {
  readonly byName: Map<string, number>
  readonly byNumber: Map<number, string>
  next: number
}

export class ObjectNumbers {
  private settings: Settings | null = null
  private readonly kinds = new Map<ObjectKind, Numbers>()

  /** Names of `settings` get numbers; those that are gone lose theirs. Cheap while `settings` is the same. */
  follow(settings: Settings): void {
    if (this.settings === settings) return
    for (const kind of objectKinds) {
      const objects = settings[settingsKey[kind]]
      const numbers = this.kinds.get(kind) ?? { byName: new Map<string, number>(), byNumber: new Map<number, string>(), next: 0 }
      this.kinds.set(kind, numbers)
      for (const [name, number] of numbers.byName) {
        if (objects.has(name)) continue
        numbers.byName.delete(name)
        numbers.byNumber.delete(number)
      }
      for (const name of sortedNames(objects)) {
        if (numbers.byName.has(name)) continue
        numbers.byName.set(name, numbers.next)
        numbers.byNumber.set(numbers.next, name)
        numbers.next++
      }
    }
    this.settings = settings
  }

  /** After a reload everything is numbered again from 0. */
  renumber(settings: Settings): void {
    this.kinds.clear()
    this.settings = null
    this.follow(settings)
  }

  /** The number an object had when numbers were last asked for: also of one that the newest settings do not have any more. */
  lastNumberOf(kind: ObjectKind, name: string): number | undefined {
    return this.kinds.get(kind)?.byName.get(name)
  }

  /** The object keeps its number under another name. To be called before anybody asks about the new settings. */
  rename(kind: ObjectKind, from: string, to: string): void {
    const numbers = this.kinds.get(kind)
    const number = numbers?.byName.get(from)
    if (numbers === undefined || number === undefined) return
    numbers.byName.delete(from)
    numbers.byName.set(to, number)
    numbers.byNumber.set(number, to)
  }

  numberOf(settings: Settings, kind: ObjectKind, name: string): number | undefined {
    this.follow(settings)
    return this.kinds.get(kind)?.byName.get(name)
  }

  nameOf(settings: Settings, kind: ObjectKind, number: number): string | undefined {
    this.follow(settings)
    return this.kinds.get(kind)?.byNumber.get(number)
  }

  /** In ascending order. */
  numbers(settings: Settings, kind: ObjectKind): readonly number[] {
    this.follow(settings)
    return [...(this.kinds.get(kind)?.byNumber.keys() ?? [])].sort((a, b) => a - b)
  }
}
