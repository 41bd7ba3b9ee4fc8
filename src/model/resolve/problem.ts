// What is wrong with a configuration beyond its single files, and where it was written.
import { DerpanetError } from '../../errors.ts'
import type { ErrorCode } from '../../errors.ts'
import type { Entry, Origin } from '../settings.ts'

export interface Problem {
  readonly code: ErrorCode
  readonly detail: string
  readonly origin: Origin
}

/**
 * Where an item of an object was written. `key` is a key of the object's value, `item` its canonical text.
 * What stands in no file although the object has places of its own came by a call.
 */
export function originOf(entry: Entry<unknown>, text: string, key?: string, item?: string): Origin {
  const position = item === undefined ? entry.positions.get(key ?? '') : entry.positions.get(`${key}=${item}`)
  const layer = item !== undefined && position === undefined && entry.positions.size > 0 ? 'runtime' : entry.layer
  if (entry.file === undefined || layer === 'runtime') return { layer, text }
  return { layer, file: entry.file, text, ...(position === undefined ? {} : { position }) }
}

/** Collects instead of stopping: a person wants to see all mistakes at once. */
export class Problems {
  readonly found: Problem[] = []

  add(code: ErrorCode, detail: string, origin: Origin): void {
    this.found.push({ code, detail, origin })
  }

  /** Runs `work`; a DerpanetError becomes a problem at `origin` and the answer null. */
  attempt<T>(origin: Origin, work: () => T): T | null {
    try {
      return work()
    } catch (error) {
      if (!(error instanceof DerpanetError)) throw error
      this.add(error.code, error.detail, origin)
      return null
    }
  }
}
