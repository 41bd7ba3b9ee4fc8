// The permanent configuration as something that can be changed: what a member of firewalld's configuration objects does
// to files. Two trees hold it, ours in YAML (native.ts) and firewalld's own (firewalld.ts); the rules are the same.
import { isDeepStrictEqual } from 'node:util'
import { basename, dirname, join } from 'node:path'
import { DerpanetError, printable } from '../../errors.ts'
import type { ErrorCode } from '../../errors.ts'
import type { DirectSettings, LockdownSettings } from '../../model/direct.ts'
import type { Entry, MainSettings, Settings } from '../../model/settings.ts'
import type { Face } from '../../settings/dict.ts'
import { fieldRows } from '../../settings/field.ts'
import { confKey } from '../../settings/firewalld-conf.ts'
import { kinds, objectsOf } from '../../settings/kinds.ts'
import type { KindSettings, NamedKind, ObjectKind } from '../../settings/kinds.ts'
import { requireName } from '../../settings/names.ts'
import { hasErrors } from '../diagnostic.ts'
import type { Diagnostic } from '../diagnostic.ts'
import type { FileStamp } from '../files.ts'
import { loadOne, makeEntry, rememberedStamp, stackOf, startLoading } from '../layers.ts'
import type { LayerTree, Loading } from '../layers.ts'
import type { LoadOptions } from '../load.ts'
import type { Parsed } from '../parse.ts'
import { moveFile, replaceFile, requireUnchanged, setAside } from './files.ts'

export type ObjectKindName = keyof KindSettings

/** The whole permanent configuration. Immutable: every change gives a new one, sharing what is the same. */
export interface Permanent {
  readonly settings: Settings
  readonly direct: Entry<DirectSettings>
  readonly lockdown: Entry<LockdownSettings>
}

export interface PermanentLoaded {
  /** null when any diagnostic is an error. */
  readonly permanent: Permanent | null
  /** By file and place. */
  readonly diagnostics: readonly Diagnostic[]
}

/** The properties of a configuration object on the bus. */
export interface ObjectProperties {
  readonly name: string
  readonly filename: string
  /** Folder of the file. */
  readonly path: string
  /** Nothing shipped is hidden by it. */
  readonly default: boolean
  /** It came with a package. */
  readonly builtin: boolean
}

/**
 * `before` is always the configuration the caller saw: a file that is no longer what it was read from is not written
 * (COMMAND_FAILED), because somebody else edited it. Every change is on disk when its promise resolves; when it rejects,
 * nothing changed. Changes run one after the other. Whether names in a value exist is for the caller to check
 * (config/references.ts).
 */
export interface PermanentStore {
  readonly tree: 'native' | 'firewalld'
  /** Where a change may be made by hand. */
  readonly folders: readonly string[]
  /** Reads everything, sharing what is unchanged with `previous`. */
  load(previous?: Permanent, options?: LoadOptions): Promise<PermanentLoaded>
  /** The shipped definitions alone: what is left when the rest is broken. */
  loadShipped(): Promise<PermanentLoaded>
  /** A new object. Throws NAME_CONFLICT, INVALID_NAME. */
  add<Kind extends ObjectKindName>(before: Permanent, kind: Kind, name: string, value: KindSettings[Kind]): Promise<Permanent>
  /** Another value; a shipped object is copied into the writable tree first. Throws INVALID_ZONE, …: there is none. */
  write<Kind extends ObjectKindName>(before: Permanent, kind: Kind, name: string, value: KindSettings[Kind]): Promise<Permanent>
  /** Throws BUILTIN_ZONE, … for what is shipped. */
  remove(before: Permanent, kind: ObjectKindName, name: string): Promise<Permanent>
  /** Throws BUILTIN_ZONE, …, NAME_CONFLICT, INVALID_NAME. */
  rename(before: Permanent, kind: ObjectKindName, name: string, to: string): Promise<Permanent>
  /** The shipped object again, the own one set aside. Throws NO_DEFAULTS. */
  loadDefaults(before: Permanent, kind: ObjectKindName, name: string): Promise<Permanent>
  /** A key of firewalld.conf (settings/firewalld-conf.ts). Throws INVALID_PROPERTY, INVALID_VALUE. */
  setMain(before: Permanent, key: string, value: string): Promise<Permanent>
  writeDirect(before: Permanent, value: DirectSettings): Promise<Permanent>
  writeLockdown(before: Permanent, value: LockdownSettings): Promise<Permanent>
  /** Sets every file of the writable tree aside, whatever is in it; load() tells what is left. Failsafe ports and lists stay. */
  resetToDefaults(): Promise<void>
  properties(permanent: Permanent, kind: ObjectKindName, name: string): ObjectProperties
}

/** How a tree writes and reads; the text of a new file, or of a changed one (`old` = its text now). */
export interface TreeFormat {
  readonly tree: PermanentStore['tree']
  readonly root: string
  readonly folders: readonly string[]
  readonly extension: 'yaml' | 'xml'
  /** Zones may be called FOLDER/NAME. */
  readonly nested: boolean
  load(previous: Permanent | undefined, options: LoadOptions, only?: 'shipped'): Promise<PermanentLoaded>
  /** The layers below the writable one, the lowest first. */
  below(loading: Loading): readonly LayerTree[]
  formatObject<Kind extends ObjectKindName>(kind: Kind, path: string, value: KindSettings[Kind], old: string | null): string
  parseObject<Kind extends ObjectKindName>(kind: Kind, path: string, text: string, name: string): Parsed<KindSettings[Kind]>
  /** What the format makes of a value by itself. */
  settle<Kind extends ObjectKindName>(kind: Kind, name: string, value: KindSettings[Kind]): KindSettings[Kind]
  readonly main: SingleFile<MainSettings>
  readonly direct: SingleFile<DirectSettings>
  readonly lockdown: SingleFile<LockdownSettings>
  /** The settings with a key of firewalld.conf changed. */
  withConfKey(main: MainSettings, key: string, value: string): MainSettings
  resetToDefaults(): Promise<void>
}

/** A file of which there is one. */
export interface SingleFile<S> {
  readonly path: string
  readonly kind: ObjectKind<S>
  /** `old`: the text that is there, null for none. */
  format(value: S, old: string | null, before: S): string
  parse(text: string, before: S): Parsed<S>
}

/** Reads a file of the writable tree by its rules; null when there is none. Throws COMMAND_FAILED when it may not be believed. */
export type ReadOld = (path: string) => string | null

const builtinCodes: Readonly<Record<ObjectKindName, readonly [code: ErrorCode, noun: string, unknown: ErrorCode]>> = {
  zone: ['BUILTIN_ZONE', 'zone', 'INVALID_ZONE'],
  // firewalld has no code of its own for policies
  policy: ['BUILTIN_ZONE', 'policy', 'INVALID_POLICY'],
  service: ['BUILTIN_SERVICE', 'service', 'INVALID_SERVICE'],
  ipset: ['BUILTIN_IPSET', 'ipset', 'INVALID_IPSET'],
  icmptype: ['BUILTIN_ICMPTYPE', 'icmp type', 'INVALID_ICMPTYPE'],
  helper: ['BUILTIN_HELPER', 'helper', 'INVALID_HELPER'],
}

export function createStore(format: TreeFormat, face: Face, readOld: ReadOld): PermanentStore {
  let last: Promise<unknown> = Promise.resolve()
  /** One change after the other: two at a time could both find the file unchanged. */
  const exclusive = <T>(work: () => Promise<T>): Promise<T> => {
    const next = last.then(work, work)
    last = next.catch(() => undefined)
    return next
  }

  /** Writes an object and gives its entry. */
  async function put<Kind extends ObjectKindName>(kind: Kind, name: string, value: KindSettings[Kind], old: Entry<KindSettings[Kind]> | undefined): Promise<Entry<KindSettings[Kind]>> {
    const own = old?.layer === 'admin' && old.file !== undefined
    const path = own ? old.file! : join(format.root, kinds[kind].folder, `${name}.${format.extension}`)
    const expected: FileStamp | null = own ? rememberedStamp(old) ?? staleStamp : null
    requireUnchanged(path, expected)
    const text = format.formatObject(kind, path, value, own ? readOld(path) : null)
    const parsed = format.parseObject(kind, path, text, name)
    const settled = format.settle(kind, name, withoutRepeats(kind, value))
    if (parsed.value === null || hasErrors(parsed.diagnostics) || !isDeepStrictEqual(parsed.value, settled)) throw inexpressible(path, parsed.diagnostics)
    const stamp = await replaceFile(path, text, expected)
    const overrides = old !== undefined && (old.layer !== 'admin' || old.overrides === true)
    return makeEntry('admin', path, parsed.value, parsed.positions, overrides, stamp, parsed.diagnostics)
  }

  function inexpressible(path: string, diagnostics: readonly Diagnostic[]): DerpanetError {
    const reason = diagnostics.find(({ severity }) => severity === 'error')
    return new DerpanetError(reason?.code ?? 'COMMAND_FAILED', `${printable(path)} cannot hold this${reason === undefined ? '' : `: ${reason.text}`}`)
  }

  async function putSingle<S>(file: SingleFile<S>, before: Entry<S>, value: S, expected: FileStamp | null | 'any'): Promise<Entry<S>> {
    requireUnchanged(file.path, expected)
    const text = file.format(value, readOld(file.path), before.value)
    const parsed = file.parse(text, before.value)
    if (parsed.value === null) throw inexpressible(file.path, parsed.diagnostics)
    const stamp = await replaceFile(file.path, text, expected)
    return makeEntry('admin', file.path, parsed.value, parsed.positions, false, stamp, parsed.diagnostics)
  }

  const expectedOf = (entry: Entry<unknown>): FileStamp | null => (entry.layer === 'admin' ? rememberedStamp(entry) ?? staleStamp : null)

  return {
    tree: format.tree,
    folders: format.folders,
    load: (previous, options = {}) => format.load(previous, options),
    loadShipped: () => format.load(undefined, {}, 'shipped'),

    add: (before, kind, name, value) => exclusive(async () => {
      requireNewName(format, kind, name)
      if (objectsOf(before.settings, kind).has(name)) throw new DerpanetError('NAME_CONFLICT', `new_${kind}(): '${printable(name)}'`)
      return withEntry(before, kind, name, await put(kind, name, value, undefined))
    }),

    write: (before, kind, name, value) => exclusive(async () => {
      const old = requireEntry(before, kind, name)
      const stamp = rememberedStamp(old)
      if (old.layer === 'admin' && stamp !== undefined && isDeepStrictEqual(old.value, format.settle(kind, name, withoutRepeats(kind, value)))) {
        requireUnchanged(old.file!, stamp)
        return before
      }
      return withEntry(before, kind, name, await put(kind, name, value, old))
    }),

    remove: (before, kind, name) => exclusive(async () => {
      const old = requireOwn(before, kind, name)
      await setAside(old.file!, rememberedStamp(old) ?? staleStamp)
      return withEntry(before, kind, name, null)
    }),

    rename: (before, kind, name, to) => exclusive(async () => {
      const old = requireOwn(before, kind, name)
      if (to === name) return before
      requireNewName(format, kind, to)
      if (objectsOf(before.settings, kind).has(to)) throw new DerpanetError('NAME_CONFLICT', `new_${kind}(): '${printable(to)}'`)
      const path = join(format.root, kinds[kind].folder, `${to}.${format.extension}`)
      const stamp = await moveFile(old.file!, path, rememberedStamp(old) ?? staleStamp)
      // The numbers of an ICMP type in XML depend on its name, so the file is understood anew.
      const parsed = format.parseObject(kind, path, readOld(path) ?? '', to)
      const entry = makeEntry('admin', path, (parsed.value ?? old.value) as typeof old.value, parsed.positions, false, stamp, parsed.diagnostics)
      return withEntry(withEntry(before, kind, name, null), kind, to, entry)
    }),

    loadDefaults: (before, kind, name) => exclusive(async () => {
      const old = requireEntry(before, kind, name)
      if (old.layer !== 'admin') throw new DerpanetError('NO_DEFAULTS', printable(name))
      const shipped = old.overrides === true ? loadBelow(format, kind, name) : null
      if (shipped === null) throw new DerpanetError('NO_DEFAULTS', `'${printable(name)}' not a built-in ${builtinCodes[kind][1]}`)
      await setAside(old.file!, rememberedStamp(old) ?? staleStamp)
      return withEntry(before, kind, name, shipped)
    }),

    setMain: (before, key, value) => exclusive(async () => {
      const row = confKey(key)
      if (row === null || row.defaults[face] === undefined) throw new DerpanetError('INVALID_PROPERTY', printable(key))
      if (!row.isValid(value, face)) throw new DerpanetError('INVALID_VALUE', `'${printable(value)}' is not valid for ${key}: ${row.values}`)
      const { main } = before.settings
      const changed = format.withConfKey(main.value, key, value)
      const entry = await putSingle(format.main, main, changed, 'any')
      // One key is changed in whatever the file says now; what else was edited counts from the next load on.
      const kept = isDeepStrictEqual(entry.value, changed) ? entry : { ...entry, value: changed }
      return { ...before, settings: { ...before.settings, main: kept } }
    }),

    writeDirect: (before, value) => exclusive(async () => ({ ...before, direct: await putSingle(format.direct, before.direct, value, expectedOf(before.direct)) })),
    writeLockdown: (before, value) => exclusive(async () => ({ ...before, lockdown: await putSingle(format.lockdown, before.lockdown, value, expectedOf(before.lockdown)) })),
    resetToDefaults: () => exclusive(() => format.resetToDefaults()),

    properties(permanent, kind, name) {
      const entry = requireEntry(permanent, kind, name)
      const file = entry.file ?? `${name}.${format.extension}`
      return { name, filename: basename(file), path: dirname(file), default: entry.overrides !== true, builtin: entry.layer !== 'admin' }
    },
  }
}

/** Of an entry that came from nowhere: no file is like it. */
const staleStamp: FileStamp = { dev: -1n, ino: -1n, sizeBytes: -1, mtimeNs: -1n, ctimeNs: -1n }

function requireEntry<Kind extends ObjectKindName>(permanent: Permanent, kind: Kind, name: string): Entry<KindSettings[Kind]> {
  const entry = objectsOf(permanent.settings, kind).get(name)
  if (entry === undefined) throw new DerpanetError(builtinCodes[kind][2], printable(name))
  return entry
}

/** An object that is not shipped. */
function requireOwn<Kind extends ObjectKindName>(permanent: Permanent, kind: Kind, name: string): Entry<KindSettings[Kind]> {
  const entry = requireEntry(permanent, kind, name)
  const [code, noun] = builtinCodes[kind]
  if (entry.layer !== 'admin' || entry.overrides === true || entry.file === undefined) throw new DerpanetError(code, `'${printable(name)}' is built-in ${noun}`)
  return entry
}

function requireNewName(format: TreeFormat, kind: ObjectKindName, name: string): void {
  requireName(kind, name)
  if (name.includes('/') && !(format.nested && kind === 'zone')) {
    throw new DerpanetError('INVALID_NAME', `'${printable(name)}': combined zones are for firewalld's own tree`)
  }
}

function withEntry<Kind extends ObjectKindName>(before: Permanent, kind: Kind, name: string, entry: Entry<KindSettings[Kind]> | null): Permanent {
  const found = new Map(objectsOf(before.settings, kind))
  if (entry === null) found.delete(name)
  else found.set(name, entry)
  const sorted = new Map([...found].sort(([a], [b]) => (a < b ? -1 : 1)))
  return { ...before, settings: { ...before.settings, [kinds[kind].folder]: sorted } }
}

/** A file says nothing twice. */
function withoutRepeats<Kind extends ObjectKindName>(kind: Kind, value: KindSettings[Kind]): KindSettings[Kind] {
  const result: Record<string, unknown> = { ...value }
  for (const [key, field] of fieldRows((kinds[kind] as unknown as NamedKind<Record<string, unknown>>).fields)) {
    if (field.shape !== 'list') continue
    const items = new Map((result[key] as readonly unknown[]).map((item) => [field.item.toText(item), item]))
    result[key] = [...items.values()]
  }
  return result as unknown as KindSettings[Kind]
}

/** The object of the layers below the writable one. Throws COMMAND_FAILED when it is broken. */
function loadBelow<Kind extends ObjectKindName>(format: TreeFormat, kind: Kind, name: string): Entry<KindSettings[Kind]> | null {
  const loading = startLoading()
  const stack = stackOf(loading, format.below(loading), kinds[kind] as NamedKind<KindSettings[Kind]>)
  const entry = loadOne(loading, stack, name, undefined)
  const [mistake] = entry === null ? loading.diagnostics.filter(({ severity }) => severity === 'error') : []
  if (mistake !== undefined) throw new DerpanetError('COMMAND_FAILED', `${printable(mistake.file)}:${mistake.line}:${mistake.column}: ${mistake.code}`)
  return entry
}
