// What stays through a reload when `flush-all-on-reload: no`: interface bindings and ipset entries made at runtime.
import type { Entry, IpSetSettings, Settings, ZoneSettings } from '../model/settings.ts'

/**
 * `next` with the interface bindings and ipset entries of `runtime`. An interface of the old default zone follows a
 * changed default; one whose zone is gone goes where `next` says. Entries of a set whose type changed are not kept.
 */
export function keepRuntimeBindings(runtime: Settings, next: Settings): Settings {
  return { ...next, zones: keepInterfaces(runtime, next), ipsets: keepEntries(runtime, next) }
}

function keepInterfaces(runtime: Settings, next: Settings): ReadonlyMap<string, Entry<ZoneSettings>> {
  const wanted = new Map<string, string>()
  for (const [zone, entry] of runtime.zones) {
    const target = zone === runtime.main.value.defaultZone ? next.main.value.defaultZone : zone
    if (next.zones.has(target)) for (const name of entry.value.interfaces) wanted.set(name, target)
  }
  return new Map([...next.zones].map(([zone, entry]) => {
    const own = entry.value.interfaces.filter((name) => (wanted.get(name) ?? zone) === zone)
    const added = [...wanted].filter(([name, target]) => target === zone && !own.includes(name)).map(([name]) => name)
    const interfaces = [...own, ...added]
    const same = added.length === 0 && own.length === entry.value.interfaces.length
    return [zone, same ? entry : { ...entry, value: { ...entry.value, interfaces } }]
  }))
}

function keepEntries(runtime: Settings, next: Settings): ReadonlyMap<string, Entry<IpSetSettings>> {
  return new Map([...next.ipsets].map(([name, entry]) => {
    const before = runtime.ipsets.get(name)
    if (before === undefined || before === entry || before.value.type !== entry.value.type) return [name, entry]
    return [name, { ...entry, value: { ...entry.value, entries: before.value.entries } }]
  }))
}
