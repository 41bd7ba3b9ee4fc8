// Small steps of every reducer: replace one zone or set of an immutable Runtime, and the checks all changes share.
import { DerpanetError } from '../../errors.ts'
import type { ChangeEvent, Expiry, Reduced } from '../change.ts'
import { zoneNamed } from '../query.ts'
import type { NamedZone } from '../query.ts'
import type { Entry, IpSetSettings, Position, Runtime, Settings, ZoneSettings } from '../settings.ts'

interface Timers {
  readonly expiries?: readonly Expiry[]
  readonly cancelled?: readonly string[]
}

export function reduced(world: Runtime, name: string, events: readonly ChangeEvent[], timers: Timers = {}): Reduced<Runtime> {
  return { world, name, events, expiries: timers.expiries ?? [], cancelled: timers.cancelled ?? [] }
}

/** Throws PANIC_MODE. */
export function refuseInPanic(runtime: Runtime): void {
  if (runtime.panic) throw new DerpanetError('PANIC_MODE')
}

/** Zone, timeout and panic, in firewalld's order. Throws INVALID_ZONE, INVALID_VALUE, PANIC_MODE. */
export function openZone(runtime: Runtime, zone: string, timeoutSec = 0): NamedZone {
  const named = zoneNamed(runtime.settings, zone)
  checkTimeout(timeoutSec)
  refuseInPanic(runtime)
  return named
}

/** Throws INVALID_VALUE. */
export function checkTimeout(timeoutSec: number): void {
  if (!Number.isInteger(timeoutSec) || timeoutSec < 0) throw new DerpanetError('INVALID_VALUE', `timeout '${timeoutSec}' is not positive number`)
}

export function withSettings(runtime: Runtime, change: Partial<Settings>): Runtime {
  return { ...runtime, settings: { ...runtime.settings, ...change } }
}

/**
 * `listKeys`: for each list that changed, the canonical text of what is in it now; places of what is gone are forgotten.
 * `gone`: the same said the other way round, `field=item` of what left a list.
 */
export function withZone(
  runtime: Runtime, { name, entry }: NamedZone, change: Partial<ZoneSettings>, listKeys: Readonly<Record<string, ReadonlySet<string>>> = {},
  gone: readonly string[] = [],
): Runtime {
  const positions = Object.entries(listKeys).reduce((kept, [field, keys]) => keepPositions(kept, field, keys), withoutPlaces(entry.positions, gone))
  const zones = new Map(runtime.settings.zones)
  zones.set(name, { ...entry, value: { ...entry.value, ...change }, positions })
  return withSettings(runtime, { zones })
}

function keepPositions(positions: ReadonlyMap<string, Position>, field: string, keys: ReadonlySet<string>): ReadonlyMap<string, Position> {
  const gone = [...positions.keys()].filter((key) => key.startsWith(`${field}=`) && !keys.has(key.slice(field.length + 1)))
  return withoutPlaces(positions, gone)
}

/** The same map when none of them has a place. */
function withoutPlaces(positions: ReadonlyMap<string, Position>, gone: readonly string[]): ReadonlyMap<string, Position> {
  if (!gone.some((key) => positions.has(key))) return positions
  const kept = new Map(positions)
  for (const key of gone) kept.delete(key)
  return kept
}

export function withIpSet(runtime: Runtime, name: string, entry: Entry<IpSetSettings>, entries: readonly string[]): Runtime {
  const ipsets = new Map(runtime.settings.ipsets)
  ipsets.set(name, { ...entry, value: { ...entry.value, entries } })
  return withSettings(runtime, { ipsets })
}
