// A zone or policy that was resolved stays good as long as it and everything it names are the same.
import type { Entry, Settings } from '../settings.ts'
import { Lookup } from './lookup.ts'

/** `resolve` runs once for an entry and name, until something that it looked up is answered differently. */
export function rememberEntries<Value, Result>(
  resolve: (name: string, entry: Entry<Value>, lookup: Lookup) => Result,
): (name: string, entry: Entry<Value>, settings: Settings) => Result {
  const remembered = new WeakMap<Entry<Value>, { readonly name: string; readonly lookup: Lookup; readonly resolved: Result }>()
  return (name, entry, settings) => {
    const known = remembered.get(entry)
    if (known !== undefined && known.name === name && known.lookup.holds(settings)) return known.resolved
    const lookup = new Lookup(settings)
    const resolved = resolve(name, entry, lookup)
    remembered.set(entry, { name, lookup, resolved })
    return resolved
  }
}
