// Entries of user ipsets.
import { DerpanetError, printable } from '../../errors.ts'
import type { Change, ChangeEvent, Reduced, TimedEdit } from '../change.ts'
import { checkIpSetEntries, checkNewEntry, isTimed, soughtEntry, withEntry, withoutEntry } from '../ipset.ts'
import { parseIpSetEntry } from '../ipset-entry.ts'
import type { Entry, IpSetSettings, Runtime } from '../settings.ts'
import { reduced, withIpSet } from './world.ts'

type Of<Kind extends Change['kind']> = Extract<Change, { kind: Kind }>

/** Throws INVALID_IPSET. */
function ipsetNamed(runtime: Runtime, name: string): Entry<IpSetSettings> {
  const entry = runtime.settings.ipsets.get(name)
  if (entry === undefined) throw new DerpanetError('INVALID_IPSET', printable(name))
  return entry
}

/** The world stays as it is: entries of a set with a timeout live in the kernel alone. */
function timed(runtime: Runtime, ipset: string, edit: Omit<TimedEdit, 'ipset'>, events: readonly ChangeEvent[]): Reduced<Runtime> {
  return { ...reduced({ ...runtime }, ipset, events), timed: { ipset, ...edit } }
}

/** Throws INVALID_IPSET, INVALID_ENTRY, ALREADY_ENABLED, COMMAND_FAILED. */
export function addEntry(runtime: Runtime, change: Of<'ipset-entry-add'>): Reduced<Runtime> {
  const entry = ipsetNamed(runtime, change.ipset)
  const { type, options, entries } = entry.value
  const events: readonly ChangeEvent[] = [{ kind: 'ipset-entry-added', ipset: change.ipset, entry: change.entry }]
  // what is there already gets its time anew
  if (isTimed(options)) return timed(runtime, change.ipset, { flush: false, add: [checkNewEntry(type, options, [], change.entry)], remove: [] }, events)
  const text = checkNewEntry(type, options, entries, change.entry, change.ipset)
  return reduced(withIpSet(runtime, change.ipset, entry, withEntry(type, options, entries, text)), change.ipset, events)
}

/** Throws INVALID_IPSET, NOT_ENABLED; INVALID_ENTRY where only the kernel knows what is there. */
export function removeEntry(runtime: Runtime, change: Of<'ipset-entry-remove'>): Reduced<Runtime> {
  const entry = ipsetNamed(runtime, change.ipset)
  const { type, options, entries } = entry.value
  const events: readonly ChangeEvent[] = [{ kind: 'ipset-entry-removed', ipset: change.ipset, entry: change.entry }]
  if (isTimed(options)) return timed(runtime, change.ipset, { flush: false, add: [], remove: [parseIpSetEntry(type, options, change.entry)] }, events)
  const text = soughtEntry(type, options, change.entry)
  const left = text === null ? entries : withoutEntry(type, options, entries, text)
  if (left === entries) throw new DerpanetError('NOT_ENABLED', `'${printable(text ?? change.entry)}' not in '${printable(change.ipset)}'`)
  return reduced(withIpSet(runtime, change.ipset, entry, left), change.ipset, events)
}

/** The whole content. Every difference is told by itself: first what came, then what went. */
export function setEntries(runtime: Runtime, change: Of<'ipset-entries-set'>): Reduced<Runtime> {
  const entry = ipsetNamed(runtime, change.ipset)
  const { type, options, entries } = entry.value
  const next = checkIpSetEntries(type, options, change.entries)
  const events: ChangeEvent[] = []
  const before = new Set(entries)
  next.forEach((text, at) => {
    // what stays is taken from `before`, so that what went is left there
    if (!before.delete(text)) events.push({ kind: 'ipset-entry-added', ipset: change.ipset, entry: change.entries[at]! })
  })
  for (const text of before) events.push({ kind: 'ipset-entry-removed', ipset: change.ipset, entry: text })
  if (isTimed(options)) return timed(runtime, change.ipset, { flush: true, add: next, remove: [] }, events)
  return reduced(events.length === 0 ? runtime : withIpSet(runtime, change.ipset, entry, next), change.ipset, events)
}
