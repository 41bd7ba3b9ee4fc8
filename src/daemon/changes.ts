// What the writer has to know of a change beside its meaning: when it has its turn, what it writes, how a log tells it.
import { DerpanetError } from '../errors.ts'
import type { Change } from '../model/change.ts'
import type { PermanentEffect } from '../model/permanent.ts'
import { reduceRuntime } from '../model/reduce.ts'
import type { Runtime, Settings } from '../model/settings.ts'
import type { Caller } from '../service.ts'
import { digestSettings } from '../state/codec.ts'
import type { TaskKind } from './queue.ts'

/** Which key of the main file a change of the runtime writes too. */
export function mainEffect(change: Change): PermanentEffect | null {
  switch (change.kind) {
    case 'default-zone-set': return { kind: 'conf', key: 'DefaultZone', value: change.zone }
    case 'log-denied-set': return { kind: 'conf', key: 'LogDenied', value: change.value }
    default: return null
  }
}

/** The keys of the main file that a runtime change writes too. */
export function withRuntimeKeys(applied: Settings, permanent: Settings): Settings {
  const { defaultZone, logDenied, firewalld } = permanent.main.value
  return { ...applied, main: { ...applied.main, value: { ...applied.main.value, defaultZone, logDenied, firewalld } } }
}

/** Removing what is not there any more is fine here: a reload already forgot it, or it was merged into something wider. */
export function removeIfStill(runtime: Runtime, change: Change): Runtime {
  try {
    return { ...reduceRuntime({ ...runtime, panic: false }, change).world, panic: runtime.panic }
  } catch (error) {
    if (error instanceof DerpanetError) return runtime
    throw error
  }
}

/** Removals that let somebody in again go before reloads. */
export function kindOf(change: Change): Exclude<TaskKind, 'reload'> {
  if (change.kind === 'panic-set') return 'panic'
  const isUnban = change.kind === 'ipset-entry-remove' || change.kind === 'source-remove' || (change.kind === 'zone-item-remove' && change.field === 'richRules')
  return isUnban ? 'unban' : 'change'
}

export function isSameRuntime(before: Runtime, after: Runtime): boolean {
  const bound = (runtime: Runtime): string => [...runtime.defaultBound ?? []].sort().join(' ')
  return before.panic === after.panic && bound(before) === bound(after) && digestSettings(before.settings) === digestSettings(after.settings)
}

/** Short and without content of files: `interface-add public eth0`. */
export function describe(change: Change): string {
  return Object.values(change).map((value) => (Array.isArray(value) ? (value.length > 4 ? `${value.length} items` : value.join('/')) : typeof value === 'object' ? '…' : String(value))).join(' ')
}

export function describeCaller(caller: Caller): string {
  return [caller.name, ...(caller.uid === undefined ? [] : [`uid ${caller.uid}`]), ...(caller.pid === undefined ? [] : [`pid ${caller.pid}`])].join(' ')
}
