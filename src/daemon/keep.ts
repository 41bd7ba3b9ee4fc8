// What stays through a reload when `flush-all-on-reload: no`: interface bindings, ipset entries and direct configuration
// made at runtime.
import { DerpanetError } from '../errors.ts'
import type { DirectSettings } from '../model/direct.ts'
import { checkNewEntry, withEntry } from '../model/ipset.ts'
import { directOf } from '../model/query.ts'
import { directKey } from '../model/reduce/direct.ts'
import type { Entry, IpSetSettings, Runtime, Settings, ZoneSettings } from '../model/settings.ts'

/**
 * `next` with the interface bindings of `runtime`, and with its ipset entries and direct configuration as far as `applied` (the
 * files of the reload before) did not say it; what it had taken away of them is back, as with firewalld. Interfaces that were put into "the default zone" follow
 * a changed default; one whose zone is gone goes where `next` says. Entries of a set whose type changed are not kept.
 */
export function keepRuntimeBindings(runtime: Runtime, applied: Settings, next: Settings): Pick<Runtime, 'settings' | 'defaultBound'> {
  const direct = keepDirect(directOf(runtime.settings), directOf(applied), directOf(next))
  const settings: Settings = {
    ...next, zones: keepInterfaces(runtime, next), ipsets: keepEntries(runtime.settings, applied, next),
    ...(direct === null ? {} : { direct: { layer: 'runtime' as const, positions: new Map(), ...next.direct, value: direct } }),
  }
  return runtime.defaultBound === undefined ? { settings } : { settings, defaultBound: runtime.defaultBound }
}

function keepInterfaces(runtime: Runtime, next: Settings): ReadonlyMap<string, Entry<ZoneSettings>> {
  const wanted = new Map<string, string>()
  for (const [zone, entry] of runtime.settings.zones) {
    for (const name of entry.value.interfaces) {
      const target = runtime.defaultBound?.has(name) === true ? next.main.value.defaultZone : zone
      if (next.zones.has(target)) wanted.set(name, target)
    }
  }
  return new Map([...next.zones].map(([zone, entry]) => {
    const own = entry.value.interfaces.filter((name) => (wanted.get(name) ?? zone) === zone)
    const added = [...wanted].filter(([name, target]) => target === zone && !own.includes(name)).map(([name]) => name)
    const interfaces = [...own, ...added]
    const same = added.length === 0 && own.length === entry.value.interfaces.length
    return [zone, same ? entry : { ...entry, value: { ...entry.value, interfaces } }]
  }))
}

/** Entries that the runtime had and the files did not, behind those of the files; one that no longer fits there is not kept. */
function keepEntries(runtime: Settings, applied: Settings, next: Settings): ReadonlyMap<string, Entry<IpSetSettings>> {
  return new Map([...next.ipsets].map(([name, entry]) => {
    const before = runtime.ipsets.get(name)
    const { type, options } = entry.value
    if (before === undefined || before === entry || before.value.type !== type) return [name, entry]
    const permanent = new Set([...applied.ipsets.get(name)?.value.entries ?? [], ...entry.value.entries])
    const own = before.value.entries.filter((text) => !permanent.has(text))
    const entries = own.reduce((list, text) => (fits(type, options, list, text) ? withEntry(type, options, list, text) : list), entry.value.entries)
    return [name, entries === entry.value.entries ? entry : { ...entry, value: { ...entry.value, entries } }]
  }))
}

function fits(type: string, options: IpSetSettings['options'], entries: readonly string[], text: string): boolean {
  try {
    checkNewEntry(type, options, entries, text)
    return true
  } catch (error) {
    if (error instanceof DerpanetError) return false
    throw error
  }
}

/** null when there is nothing to keep. */
function keepDirect(runtime: DirectSettings, applied: DirectSettings, next: DirectSettings): DirectSettings | null {
  const kept = <Item extends Parameters<typeof directKey>[0]>(listOf: (direct: DirectSettings) => readonly Item[]): readonly Item[] => {
    const known = new Set([...listOf(applied), ...listOf(next)].map(directKey))
    const own = listOf(runtime).filter((item) => !known.has(directKey(item)))
    return own.length === 0 ? listOf(next) : [...listOf(next), ...own]
  }
  const found: DirectSettings = { chains: kept(({ chains }) => chains), rules: kept(({ rules }) => rules), passthroughs: kept(({ passthroughs }) => passthroughs) }
  return found.chains === next.chains && found.rules === next.rules && found.passthroughs === next.passthroughs ? null : found
}
