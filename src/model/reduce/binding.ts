// Interfaces and sources: one zone each, and which of them follow a change of the default zone.
import { DerpanetError, printable } from '../../errors.ts'
import { formatPrefix } from '../addr.ts'
import type { Change, Reduced } from '../change.ts'
import { checkInterfaceName } from '../interface-name.ts'
import { checkFirstInterface } from '../policy.ts'
import { zoneNamed, zoneOfInterface, zoneOfSource } from '../query.ts'
import type { NamedZone } from '../query.ts'
import { Lookup } from '../resolve/lookup.ts'
import type { Runtime } from '../settings.ts'
import { parseZoneSource } from '../source.ts'
import type { ZoneSource } from '../source.ts'
import { reduced, refuseInPanic, withZone } from './world.ts'

type Of<Kind extends Change['kind']> = Extract<Change, { kind: Kind }>

/** Throws PANIC_MODE, INVALID_ZONE, INVALID_INTERFACE, ZONE_ALREADY_SET, ZONE_CONFLICT. */
export function addInterface(runtime: Runtime, change: Of<'interface-add'>): Reduced<Runtime> {
  const { interface: name } = change
  refuseInPanic(runtime)
  const zone = zoneNamed(runtime.settings, change.zone)
  checkInterfaceName(name)
  const owner = zoneOfInterface(runtime.settings, name)
  if (owner !== null) throw alreadyBound(owner === zone.name ? 'ZONE_ALREADY_SET' : 'ZONE_CONFLICT', name, owner)
  const world = putInterface(runtime, zone, name, change.zone === '')
  return reduced(world, zone.name, [{ kind: 'interface-added', zone: zone.name, interface: name }])
}

/** From whatever zone it is in. A zone it is already in is told again, as firewalld does. */
export function changeInterface(runtime: Runtime, change: Of<'interface-change'>): Reduced<Runtime> {
  const { interface: name } = change
  refuseInPanic(runtime)
  checkInterfaceName(name)
  const zone = zoneNamed(runtime.settings, change.zone)
  const owner = zoneOfInterface(runtime.settings, name)
  let world: Runtime = { ...runtime }
  if (owner !== zone.name) {
    if (owner !== null) world = takeInterface(world, zoneNamed(world.settings, owner), name)
    world = putInterface(world, zoneNamed(world.settings, zone.name), name, change.zone === '')
  } else world = rememberDefault(world, name, change.zone === '')
  return reduced(world, zone.name, [{ kind: 'interface-changed', zone: zone.name, interface: name }])
}

/** `zone` "" = the one it is in. Throws PANIC_MODE, INVALID_INTERFACE, UNKNOWN_INTERFACE, INVALID_ZONE, ZONE_CONFLICT, in this order. */
export function removeInterface(runtime: Runtime, change: Of<'interface-remove'>): Reduced<Runtime> {
  const { interface: name } = change
  refuseInPanic(runtime)
  checkInterfaceName(name)
  const owner = zoneOfInterface(runtime.settings, name)
  if (owner === null) throw new DerpanetError('UNKNOWN_INTERFACE', `'${printable(name)}' is not in any zone`)
  if (change.zone !== '' && zoneNamed(runtime.settings, change.zone).name !== owner) throw alreadyBound('ZONE_CONFLICT', name, owner)
  const world = takeInterface(runtime, zoneNamed(runtime.settings, owner), name)
  return reduced(world, owner, [{ kind: 'interface-removed', zone: owner, interface: name }])
}

function alreadyBound(code: 'ZONE_ALREADY_SET' | 'ZONE_CONFLICT', item: string, zone: string): DerpanetError {
  return new DerpanetError(code, `'${printable(item)}' already bound to '${zone}'`)
}

function putInterface(runtime: Runtime, zone: NamedZone, name: string, byDefault: boolean): Runtime {
  checkFirstInterface(zone.name, [name], runtime.settings)
  const world = withZone(runtime, zone, { interfaces: [...zone.entry.value.interfaces, name] })
  return rememberDefault(world, name, byDefault)
}

function takeInterface(runtime: Runtime, zone: NamedZone, name: string): Runtime {
  const interfaces = zone.entry.value.interfaces.filter((other) => other !== name)
  return rememberDefault(withZone(runtime, zone, { interfaces }, { interfaces: new Set(interfaces) }), name, false)
}

function rememberDefault(runtime: Runtime, name: string, byDefault: boolean): Runtime {
  const known = runtime.defaultBound ?? new Set<string>()
  if (known.has(name) === byDefault) return runtime
  const defaultBound = new Set(known)
  if (byDefault) defaultBound.add(name)
  else defaultBound.delete(name)
  return { ...runtime, defaultBound }
}

/** Interfaces that were put into the default zone without naming it move to the new one. */
export function followDefaultZone(runtime: Runtime, from: string, to: string): Runtime {
  const old = runtime.settings.zones.get(from)
  const moved = (old?.value.interfaces ?? []).filter((name) => runtime.defaultBound?.has(name))
  return moved.reduce((world, name) => {
    const taken = takeInterface(world, zoneNamed(world.settings, from), name)
    return putInterface(taken, zoneNamed(taken.settings, to), name, true)
  }, runtime)
}

/** Throws INVALID_ADDR, INVALID_IPSET, INVALID_SOURCE. */
export function parseSource(runtime: Runtime, text: string): ZoneSource {
  const source = parseZoneSource(text)
  const lookup = new Lookup(runtime.settings)
  if (source.kind === 'ipset') lookup.sourceSet(source.name)
  if (source.kind === 'list') lookup.list(source.name)
  return source
}

/** A zone other than `zone` that has the source in whatever spelling, or null. */
export function otherOwner(runtime: Runtime, zone: string, source: ZoneSource): string | null {
  for (const [name, { value }] of runtime.settings.zones) {
    if (name !== zone && value.sources.some((other) => other === source.text || isSame(other, source))) return name
  }
  return null
}

function isSame(text: string, source: ZoneSource): boolean {
  if (source.kind !== 'prefix' || text.startsWith('ipset:') || text.startsWith('list:')) return false
  const other = parseZoneSource(text)
  return other.kind === 'prefix' && formatPrefix(other.prefix) === formatPrefix(source.prefix)
}

/** Throws PANIC_MODE, INVALID_ZONE, INVALID_ADDR, INVALID_IPSET, INVALID_SOURCE, ZONE_ALREADY_SET, ZONE_CONFLICT. */
export function addSource(runtime: Runtime, change: Of<'source-add'>): Reduced<Runtime> {
  refuseInPanic(runtime)
  const zone = zoneNamed(runtime.settings, change.zone)
  const source = parseSource(runtime, change.source)
  if (zone.entry.value.sources.includes(source.text)) throw alreadyBound('ZONE_ALREADY_SET', source.text, zone.name)
  if (otherOwner(runtime, zone.name, source) !== null) {
    throw new DerpanetError('ZONE_CONFLICT', `'${printable(source.text)}' already bound to a zone`)
  }
  return reduced(putSource(runtime, zone, source), zone.name, [{ kind: 'source-added', zone: zone.name, source: change.source }])
}

/** From whatever zone it is in, as {@link changeInterface}. */
export function changeSource(runtime: Runtime, change: Of<'source-change'>): Reduced<Runtime> {
  refuseInPanic(runtime)
  const source = parseSource(runtime, change.source)
  const zone = zoneNamed(runtime.settings, change.zone)
  let world: Runtime = { ...runtime }
  if (!zone.entry.value.sources.includes(source.text)) {
    const owner = otherOwner(runtime, zone.name, source)
    if (owner !== null) world = takeSource(world, zoneNamed(world.settings, owner), (text) => text === source.text || isSame(text, source))
    world = putSource(world, zoneNamed(world.settings, zone.name), source)
  }
  return reduced(world, zone.name, [{ kind: 'source-changed', zone: zone.name, source: change.source }])
}

/** `zone` "" = the one it is in. A set or list that no longer exists can still be taken out. The source is looked at before the zone. */
export function removeSource(runtime: Runtime, change: Of<'source-remove'>): Reduced<Runtime> {
  refuseInPanic(runtime)
  const { text } = parseZoneSource(change.source)
  const owner = zoneOfSource(runtime.settings, text)
  if (owner === null) {
    parseSource(runtime, change.source)
    throw new DerpanetError('UNKNOWN_SOURCE', `'${printable(text)}' is not in any zone`)
  }
  if (change.zone !== '' && zoneNamed(runtime.settings, change.zone).name !== owner) throw alreadyBound('ZONE_CONFLICT', text, owner)
  const world = takeSource(runtime, zoneNamed(runtime.settings, owner), (other) => other === text)
  return reduced(world, owner, [{ kind: 'source-removed', zone: owner, source: change.source }])
}

function putSource(runtime: Runtime, zone: NamedZone, source: ZoneSource): Runtime {
  return withZone(runtime, zone, { sources: [...zone.entry.value.sources, source.text] })
}

function takeSource(runtime: Runtime, zone: NamedZone, isIt: (text: string) => boolean): Runtime {
  const sources = zone.entry.value.sources.filter((text) => !isIt(text))
  return withZone(runtime, zone, { sources }, { sources: new Set(sources) })
}
