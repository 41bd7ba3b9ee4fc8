// The permanent world on disk, as the one writer sees it: Settings in, Settings out. Which files there are and how they
// are written is the store's; here its parts are put together, and whole worlds are written or compared.
import { isDeepStrictEqual } from 'node:util'
import type { Diagnostic } from '../config/diagnostic.ts'
import { peekStamp, sameStamp } from '../config/files.ts'
import { rememberedStamp } from '../config/layers.ts'
import type { LoadOptions } from '../config/load.ts'
import type { ObjectKindName, Permanent, PermanentLoaded, PermanentStore } from '../config/store/store.ts'
import { DerpanetError } from '../errors.ts'
import type { DirectSettings, LockdownSettings } from '../model/direct.ts'
import { emptyDirect, emptyLockdown } from '../model/direct.ts'
import type { PermanentEffect, PermanentEvent, PermanentKind } from '../model/permanent.ts'
import { directOf, lockdownOf } from '../model/query.ts'
import type { Entry, Settings, ZoneSettings } from '../model/settings.ts'
import type { RuntimeToPermanentOptions } from '../service.ts'
import type { Face } from '../settings/dict.ts'
import { kinds, objectsOf } from '../settings/kinds.ts'
import { kindOf } from '../settings/permanent.ts'

export interface Loaded {
  /** null when any diagnostic is an error. */
  readonly settings: Settings | null
  readonly diagnostics: readonly Diagnostic[]
}

/** What the daemon needs of the files. */
export interface PermanentFiles {
  /** `previous` lets unchanged files be shared. */
  load(previous?: Settings, options?: { readonly forceLists?: boolean }): Promise<Loaded>
  /** The shipped definitions alone. */
  loadShipped(): Promise<Loaded>
  /** The settings after it. Rejects with DerpanetError, and then nothing changed. */
  apply(before: Settings, effect: PermanentEffect): Promise<Settings>
  /** Is the file what these settings were read from, or written to? Then load() finds nothing new in it. */
  isKnown(settings: Settings, path: string): boolean
  /** Sets all files aside; load() tells what is left. */
  reset(): Promise<void>
}

const none: Entry<DirectSettings> = { value: emptyDirect, layer: 'builtin', positions: new Map() }
const nobody: Entry<LockdownSettings> = { value: emptyLockdown, layer: 'builtin', positions: new Map() }

function toPermanent(settings: Settings): Permanent {
  return { settings, direct: settings.direct ?? none, lockdown: settings.lockdown ?? nobody }
}

/** Direct rules and whitelist become parts of the settings; what no file says is absent. The same object where nothing changed. */
function fromPermanent({ settings, direct, lockdown }: Permanent): Settings {
  const { direct: _direct, lockdown: _lockdown, ...rest } = settings
  const found: Settings = {
    ...rest, ...(direct.layer === 'builtin' ? {} : { direct }), ...(lockdown.layer === 'builtin' ? {} : { lockdown }),
  }
  return settings.direct === found.direct && settings.lockdown === found.lockdown ? settings : found
}

export interface FilesOptions {
  /** The store for a face of firewalld's interface: which keys firewalld.conf has, and their defaults. */
  readonly storeOf: (face: Face) => PermanentStore
  /** The face where the configuration names none. */
  readonly face: Face
  /** Asked for at each load: the host's addresses change. */
  readonly loadOptions: () => LoadOptions
}

export function permanentFiles({ storeOf, face, loadOptions }: FilesOptions): PermanentFiles {
  let current = face
  let store = storeOf(face)
  const loaded = ({ permanent, diagnostics }: PermanentLoaded): Loaded => ({ settings: permanent === null ? null : fromPermanent(permanent), diagnostics })
  const load = async (previous?: Settings, options: { readonly forceLists?: boolean } = {}): Promise<Loaded> => {
    const found = loaded(await store.load(previous === undefined ? undefined : toPermanent(previous), { ...loadOptions(), ...options }))
    const wanted = found.settings?.main.value.firewalldCompat ?? 'auto'
    const chosen = wanted === 'auto' || wanted === 'no' ? face : wanted
    if (found.settings === null || chosen === current) return found
    current = chosen
    store = storeOf(chosen)
    return load()
  }
  return {
    load,
    loadShipped: async () => loaded(await store.loadShipped()),
    apply: async (before, effect) => fromPermanent(await applyTo(store, toPermanent(before), effect)),
    isKnown,
    reset: () => store.resetToDefaults(),
  }
}

function isKnown(settings: Settings, path: string): boolean {
  const stamp = peekStamp(path)
  const entry = entriesOf(settings).find(({ file }) => file === path)
  // Of what is not there an object's file has been taken away already; a list or a whole folder has no entry to tell.
  if (entry === undefined) return stamp === null && /\.(yaml|xml)$/.test(path)
  const remembered = rememberedStamp(entry)
  return stamp !== null && remembered !== undefined && sameStamp(stamp, remembered)
}

function entriesOf(settings: Settings): readonly Entry<unknown>[] {
  const single = [settings.main, settings.direct, settings.lockdown].filter((entry) => entry !== undefined)
  return [...single, ...Object.keys(kinds).flatMap((kind) => [...objectsOf(settings, kind as ObjectKindName).values()])]
}

function applyTo(store: PermanentStore, before: Permanent, effect: PermanentEffect): Promise<Permanent> {
  switch (effect.kind) {
    case 'write': {
      const isNew = !objectsOf(before.settings, effect.object).has(effect.name)
      return isNew ? store.add(before, effect.object, effect.name, effect.value) : store.write(before, effect.object, effect.name, effect.value)
    }
    case 'remove': return store.remove(before, effect.object, effect.name)
    case 'rename': return store.rename(before, effect.object, effect.name, effect.to)
    case 'defaults': return store.loadDefaults(before, effect.object, effect.name)
    case 'direct': return store.writeDirect(before, effect.value)
    case 'lockdown': return store.writeLockdown(before, effect.value)
    case 'conf': return store.setMain(before, effect.key, effect.value)
  }
}

/** What a caller may know of a failure: codes of ours as they are, anything else as COMMAND_FAILED. */
export function asRefusal(error: unknown): DerpanetError {
  return error instanceof DerpanetError ? error : new DerpanetError('COMMAND_FAILED', (error as Error).message, { cause: error })
}

interface Part {
  readonly effect: PermanentEffect
  readonly event: PermanentEvent
}

/** In the order in which firewalld writes: what others name comes first. */
const changedOnly: readonly PermanentKind[] = ['ipset', 'icmptype', 'service', 'helper']

/**
 * What runtimeToPermanent writes: every zone and policy, changed or not; everything else where it differs. Combined zones
 * are made of several permanent ones, so they have no file to be written to.
 */
export function partsOfRuntime(runtime: Settings, permanent: Settings, options: RuntimeToPermanentOptions): readonly Part[] {
  const parts: Part[] = []
  const put = (object: PermanentKind, name: string, value: object): void => {
    const event = { kind: objectsOf(permanent, object).has(name) ? 'object-updated' : 'object-added', object, name } as const
    parts.push({ effect: { kind: 'write', object, name, value } as PermanentEffect, event })
  }
  for (const object of changedOnly) {
    const before = objectsOf(permanent, object)
    for (const [name, { value }] of objectsOf(runtime, object)) {
      if (!isDeepStrictEqual(before.get(name)?.value, value)) put(object, name, value as object)
    }
  }
  const combined = new Set([...permanent.zones.keys()].flatMap((name) => (name.includes('/') ? [name.split('/')[0]] : [])))
  for (const [name, { value }] of sorted(runtime.zones)) if (!combined.has(name)) put('zone', name, withoutForeign(value, options.leaveOut))
  for (const [name, { value }] of sorted(runtime.policies)) put('policy', name, value)
  if (!isDeepStrictEqual(directOf(runtime), directOf(permanent))) parts.push({ effect: { kind: 'direct', value: directOf(runtime) }, event: { kind: 'direct-updated' } })
  if (options.withLockdown) parts.push({ effect: { kind: 'lockdown', value: lockdownOf(runtime) }, event: { kind: 'lockdown-updated' } })
  return parts
}

function sorted<T>(objects: ReadonlyMap<string, T>): readonly (readonly [string, T])[] {
  return [...objects].sort(([one], [other]) => (one < other ? -1 : 1))
}

function withoutForeign(zone: ZoneSettings, leaveOut: ReadonlySet<string>): ZoneSettings {
  const interfaces = zone.interfaces.filter((name) => !leaveOut.has(name))
  return interfaces.length === zone.interfaces.length ? zone : { ...zone, interfaces }
}

/** What somebody who only listens to events has to be told to get from one to the other. */
export function differences(before: Settings, after: Settings): readonly PermanentEvent[] {
  const events: PermanentEvent[] = []
  for (const object of ['ipset', 'icmptype', 'service', 'zone', 'helper', 'policy'] as const) {
    const [old, now] = [objectsOf(before, object), objectsOf(after, object)]
    for (const name of [...old.keys()].sort()) if (!now.has(name)) events.push({ kind: 'object-removed', object, name })
    for (const [name, entry] of sorted(now)) {
      const known = old.get(name)
      if (known === undefined) events.push({ kind: 'object-added', object, name })
      else if (known !== entry && !isDeepStrictEqual(known.value, entry.value)) events.push({ kind: 'object-updated', object, name })
    }
  }
  if (!isDeepStrictEqual(directOf(before), directOf(after))) events.push({ kind: 'direct-updated' })
  if (!isDeepStrictEqual(lockdownOf(before), lockdownOf(after))) events.push({ kind: 'lockdown-updated' })
  return events
}

/** `zone public`, for the log. */
export function describeEffect(effect: PermanentEffect): string {
  switch (effect.kind) {
    case 'write':
    case 'remove':
    case 'defaults': return `${effect.kind} ${kindOf(effect.object).kind} ${effect.name}`
    case 'rename': return `rename ${effect.object} ${effect.name} ${effect.to}`
    case 'direct':
    case 'lockdown': return `write ${effect.kind}`
    case 'conf': return `set ${effect.key}`
  }
}
