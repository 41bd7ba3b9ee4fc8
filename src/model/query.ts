// Questions about a configuration that several callers ask.
import { DerpanetError, printable } from '../errors.ts'
import { defaultLockdown, emptyDirect } from './direct.ts'
import type { DirectSettings, LockdownSettings } from './direct.ts'
import type { Entry, PolicySettings, Settings, ZoneSettings } from './settings.ts'

export interface NamedZone {
  readonly name: string
  readonly entry: Entry<ZoneSettings>
}

/** "" is the default zone. Throws INVALID_ZONE. */
export function zoneNamed(settings: Settings, name: string): NamedZone {
  const real = name === '' ? settings.main.value.defaultZone : name
  const entry = settings.zones.get(real)
  if (entry === undefined) throw new DerpanetError('INVALID_ZONE', printable(real))
  return { name: real, entry }
}

/** The zone that holds this very text, or null. Names with a trailing `+` are compared as names. */
export function zoneOfInterface(settings: Settings, name: string): string | null {
  for (const [zone, { value }] of settings.zones) if (value.interfaces.includes(name)) return zone
  return null
}

/** As {@link zoneOfInterface}: literal, so MAC addresses must be in capitals. */
export function zoneOfSource(settings: Settings, source: string): string | null {
  for (const [zone, { value }] of settings.zones) if (value.sources.includes(source)) return zone
  return null
}

export interface NamedPolicy {
  readonly name: string
  readonly entry: Entry<PolicySettings>
}

/** Throws INVALID_POLICY. */
export function policyNamed(settings: Settings, name: string): NamedPolicy {
  const entry = settings.policies.get(name)
  if (entry === undefined) throw new DerpanetError('INVALID_POLICY', printable(name))
  return { name, entry }
}

export function directOf(settings: Settings): DirectSettings {
  return settings.direct?.value ?? emptyDirect
}

export function lockdownOf(settings: Settings): LockdownSettings {
  return settings.lockdown?.value ?? defaultLockdown
}

export function isLockedDown(settings: Settings): boolean {
  return settings.main.value.lockdown
}
