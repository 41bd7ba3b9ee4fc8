// One value that is made again only when what it is made of is another.
import type { Problems } from './problem.ts'

export class Last<T> {
  private key: readonly unknown[] | null = null
  private value: T | undefined

  /** `key` is compared item by item, by identity. What comes with a problem is not kept. */
  get(key: readonly unknown[], problems: Problems, make: () => T): T {
    if (this.key !== null && this.key.length === key.length && key.every((item, index) => item === this.key![index])) return this.value as T
    const before = problems.found.length
    const value = make()
    this.key = problems.found.length === before ? key : null
    this.value = value
    return value
  }
}
