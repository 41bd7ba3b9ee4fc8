// What stays through a reload when `flush-all-on-reload: no`: interface bindings and ipset entries made at runtime.
import type { Entry, IpSetSettings, Runtime, Settings, ZoneSettings } from '../model/settings.ts'

/**
 * `next` with the interface bindings and ipset entries of `runtime`. Interfaces that were put into "the default zone" follow
 * a changed default; one whose zone is gone goes where `next` says. Entries of a set whose type changed are not kept.
 */
export function keepRuntimeBindings(runtime: Runtime, next: Settings): Pick<Runtime, 'settings' | 'defaultBound'> {
  const settings = { ...next, zones: keepInterfaces(runtime, next), ipsets: keepEntries(runtime.settings, next) }
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

function keepEntries(runtime: Settings, next: Settings): ReadonlyMap<string, Entry<IpSetSettings>> {
  return new Map([...next.ipsets].map(([name, entry]) => {
    const before = runtime.ipsets.get(name)
    if (before === undefined || before === entry || before.value.type !== entry.value.type) return [name, entry]
    return [name, { ...entry, value: { ...entry.value, entries: before.value.entries } }]
  }))
}
