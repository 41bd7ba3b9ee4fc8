// Default zone, log-denied, panic.
import { DerpanetError, printable } from '../../errors.ts'
import type { Change, Reduced } from '../change.ts'
import { zoneNamed } from '../query.ts'
import type { LogDenied, MainSettings, Runtime } from '../settings.ts'
import { followDefaultZone } from './binding.ts'
import { reduced, refuseInPanic, withSettings } from './world.ts'

type Of<Kind extends Change['kind']> = Extract<Change, { kind: Kind }>

export const logDeniedValues: readonly LogDenied[] = ['all', 'unicast', 'broadcast', 'multicast', 'off']

/** Throws INVALID_ZONE, ZONE_ALREADY_SET, PANIC_MODE, in this order. */
export function setDefaultZone(runtime: Runtime, change: Of<'default-zone-set'>): Reduced<Runtime> {
  const { name } = zoneNamed(runtime.settings, change.zone)
  const from = runtime.settings.main.value.defaultZone
  if (name === from) throw new DerpanetError('ZONE_ALREADY_SET', name)
  refuseInPanic(runtime)
  const world = withMain(followDefaultZone(runtime, from, name), { defaultZone: name })
  return reduced(world, name, [{ kind: 'default-zone-changed', zone: name }])
}

/** Throws INVALID_VALUE, ALREADY_SET. */
export function setLogDenied(runtime: Runtime, { value }: Of<'log-denied-set'>): Reduced<Runtime> {
  if (!logDeniedValues.includes(value)) {
    throw new DerpanetError('INVALID_VALUE', `'${printable(value)}', choose from ${logDeniedValues.map((word) => `'${word}'`).join(',')}`)
  }
  if (runtime.settings.main.value.logDenied === value) throw new DerpanetError('ALREADY_SET', value)
  return reduced(withMain(runtime, { logDenied: value }), value, [{ kind: 'log-denied-changed', value }])
}

/** Throws ALREADY_ENABLED, NOT_ENABLED. */
export function setPanic(runtime: Runtime, { on }: Of<'panic-set'>): Reduced<Runtime> {
  if (on && runtime.panic) throw new DerpanetError('ALREADY_ENABLED', 'panic mode already enabled')
  if (!on && !runtime.panic) throw new DerpanetError('NOT_ENABLED', 'panic mode is not enabled')
  return reduced({ ...runtime, panic: on }, '', [{ kind: on ? 'panic-enabled' : 'panic-disabled' }])
}

function withMain(runtime: Runtime, change: Partial<MainSettings>): Runtime {
  const { main } = runtime.settings
  return withSettings(runtime, { main: { ...main, value: { ...main.value, ...change } } })
}
