// The whole configuration from disk: three layers of folders, one after the other, the same name in a higher layer
// replacing the object below. Whatever is wrong anywhere is reported, all of it; a configuration with one error is none.
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { ListBuilder } from '../lists/build.ts'
import { locateAddress } from '../lists/parse.ts'
import { judgeList } from '../lists/rules.ts'
import type { HostAddress } from '../lists/rules.ts'
import type { AddressList, Entry, Layer, MainSettings, Settings } from '../model/settings.ts'
import { defaultMain } from '../model/settings.ts'
import { kinds, mainKind } from '../settings/kinds.ts'
import type { KindSettings, NamedKind, ObjectKind } from '../settings/kinds.ts'
import { isName, requireName } from '../settings/names.ts'
import type { KindName } from '../settings/names.ts'
import { DerpanetError } from '../errors.ts'
import { didYouMean } from '../settings/suggest.ts'
import { decodeSnapshot, sha256Of, snapshotName, unflattenPositions } from './definitions.ts'
import type { Snapshot, SnapshotRecord } from './definitions.ts'
import { hasErrors, sortDiagnostics } from './diagnostic.ts'
import type { Diagnostic } from './diagnostic.ts'
import { decodeText, fileDiagnostic, listFolder, openFile, openTree, peekStamp, readAll, sameStamp } from './files.ts'
import type { FileStamp, FileTree } from './files.ts'
import { parseSettings } from './parse.ts'
import { checkReferences } from './references.ts'
import { maxFileBytes } from './yaml.ts'

/** Absolute folders. `shipped` comes with the program; `vendor` holds what other packages ship for firewalld, null = none. */
export interface ConfigPaths {
  readonly etc: string
  readonly vendor: string | null
  readonly shipped: string
}

export interface LoadOptions {
  /** Addresses no list may hold; none = nobody asks (offline checks). */
  readonly hostAddresses?: readonly HostAddress[]
  /** Take lists that became empty or changed by more than half. */
  readonly forceLists?: boolean
}

export interface Loaded {
  /** null when any diagnostic is an error. */
  readonly settings: Settings | null
  /** By file and place. */
  readonly diagnostics: readonly Diagnostic[]
}

const maxListBytes = 256 * 1024 * 1024
const mainFile = 'derpanet.yaml'

/** What an entry or list was read from: as long as the file has that stamp, the same object is used again. */
const remembered = new WeakMap<object, { readonly stamp: FileStamp; readonly diagnostics: readonly Diagnostic[] }>()

/** One load in progress. */
interface Loading {
  readonly options: LoadOptions
  readonly previous: Settings | undefined
  readonly diagnostics: Diagnostic[]
  /** `zones/public`, `lists/bad`: what exists but is wrong, so that those who name it are not blamed. */
  readonly unreadable: Set<string>
  /** Lines of files that later checks want to show. */
  readonly texts: Map<string, string>
}

interface LayerTree {
  readonly layer: Layer
  readonly tree: FileTree
  /** Read when first asked: a reload, which takes everything from the configuration before, never asks. */
  readonly snapshot: () => Snapshot
}

/**
 * Reads everything. What is unchanged since `previous` (a result of this function, or made from one) is taken from it by
 * reference, and when nothing changed `settings` is `previous` itself. Rejects only for bugs.
 */
export async function loadConfiguration(paths: ConfigPaths, previous?: Settings, options: LoadOptions = {}): Promise<Loaded> {
  const loading: Loading = { options, previous, diagnostics: [], unreadable: new Set(), texts: new Map() }
  const shipped = openLayer(loading, paths.shipped, 'shipped')
  const admin = openLayer(loading, paths.etc, 'admin')
  if (shipped === null) loading.diagnostics.push(fileDiagnostic(paths.shipped, 'INVALID_DIRECTORY', 'the shipped definitions are not there'))
  if (paths.vendor !== null) refuseVendor(loading, paths.vendor)
  if (admin !== null) checkTopNames(loading, admin.tree)
  const layers = [shipped, admin].filter((layer) => layer !== null)

  const named = <K extends keyof KindSettings>(kind: NamedKind<KindSettings[K]>): ReadonlyMap<string, Entry<KindSettings[K]>> =>
    loadKind(loading, layers, kind, previous?.[kind.folder] as ReadonlyMap<string, Entry<KindSettings[K]>> | undefined)
  const found: Settings = {
    main: loadMain(loading, admin),
    zones: named<'zone'>(kinds.zone),
    policies: named<'policy'>(kinds.policy),
    services: named<'service'>(kinds.service),
    ipsets: named<'ipset'>(kinds.ipset),
    icmptypes: named<'icmptype'>(kinds.icmptype),
    helpers: named<'helper'>(kinds.helper),
    lists: admin === null ? shareMap(previous?.lists, new Map()) : await loadLists(loading, admin.tree),
  }
  // Without the shipped definitions every name would be unknown.
  if (shipped !== null) loading.diagnostics.push(...checkReferences(found, loading.unreadable))
  const diagnostics = sortDiagnostics(loading.diagnostics).map((diagnostic) => withSourceLine(loading, layers, diagnostic))
  if (hasErrors(diagnostics)) return { settings: null, diagnostics }
  return { settings: shareWhole(previous, found), diagnostics }
}

/** The previous object where nothing in it changed. */
function shareWhole(previous: Settings | undefined, found: Settings): Settings {
  if (previous === undefined) return found
  const same = (Object.keys(found) as (keyof Settings)[]).every((key) => found[key] === previous[key])
  return same ? previous : found
}

function openLayer(loading: Loading, root: string, layer: Layer): LayerTree | null {
  const tree = openTree(root, layer === 'shipped')
  if (tree === null) return null
  if ('trouble' in tree) {
    loading.diagnostics.push(tree.trouble)
    return null
  }
  // Only the program's own definitions have a snapshot that is believed.
  return { layer, tree, snapshot: layer === 'shipped' ? lazySnapshot(loading, tree) : () => noSnapshot }
}

const noSnapshot: Snapshot = new Map()

function lazySnapshot(loading: Loading, tree: FileTree): () => Snapshot {
  let snapshot: Snapshot | null = null
  return () => {
    snapshot ??= readSnapshot(loading, tree)
    return snapshot
  }
}

/** Empty when there is none (running from source) or when it is broken (a warning): the YAML says the same, only slower. */
function readSnapshot(loading: Loading, tree: FileTree): Snapshot {
  const path = join(tree.root, snapshotName)
  const file = openFile(tree, path, maxListBytes)
  if (file === null) return noSnapshot
  const bytes = 'trouble' in file ? file : readAll(file, maxListBytes)
  try {
    if ('trouble' in bytes) throw new Error(bytes.trouble.text)
    return decodeSnapshot(new TextDecoder().decode(bytes))
  } catch (error) {
    loading.diagnostics.push(fileDiagnostic(path, 'PARSE_ERROR', `is passed over, its files are read instead: ${String(error)}`, 'warning'))
    return noSnapshot
  }
}

function refuseVendor(loading: Loading, vendor: string): void {
  for (const { folder } of Object.values(kinds)) {
    let names: string[] = []
    try {
      names = readdirSync(join(vendor, folder)).filter((name) => name.endsWith('.xml'))
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') {
        loading.diagnostics.push(fileDiagnostic(join(vendor, folder), 'INVALID_DIRECTORY', `cannot be read: ${(error as NodeJS.ErrnoException).code}`, 'warning'))
      }
    }
    if (names.length > 0) loading.diagnostics.push(fileDiagnostic(join(vendor, folder), 'INVALID_TYPE', `${names.length} XML files are not read: not supported yet`, 'warning'))
  }
}

const topNames = [mainFile, 'lists', ...Object.values(kinds).map(({ folder }) => folder)]

/** A folder written `service` would otherwise be silently nothing. */
function checkTopNames(loading: Loading, tree: FileTree): void {
  for (const name of readdirSync(tree.realRoot)) {
    if (topNames.includes(name) || /^\.|~$/.test(name)) continue
    const hint = didYouMean(name, topNames)
    if (hint !== '') loading.diagnostics.push(fileDiagnostic(join(tree.root, name), 'INVALID_FILENAME', `is not read${hint}`, 'warning'))
  }
}

/** The diagnostics of an entry are repeated each time it is used again: a warning does not go away by itself. */
function reuse<T extends object>(loading: Loading, path: string, candidate: T | undefined): T | null {
  const known = candidate === undefined ? undefined : remembered.get(candidate)
  if (candidate === undefined || known === undefined) return null
  const stamp = peekStamp(path)
  if (stamp === null || !sameStamp(stamp, known.stamp)) return null
  loading.diagnostics.push(...known.diagnostics)
  return candidate
}

/** null when it does not exist or is wrong (reported). */
function loadEntry<S>(
  loading: Loading, at: LayerTree, relative: string, kind: ObjectKind<S>, candidate: Entry<S> | undefined, overrides = false,
): Entry<S> | null {
  const path = join(at.tree.root, relative)
  const unchanged = candidate?.file === path && (candidate.overrides ?? false) === overrides ? reuse(loading, path, candidate) : null
  if (unchanged !== null) return unchanged
  const record = at.snapshot().get(relative)
  if (record !== undefined) {
    const stamp = peekStamp(path)
    if (stamp !== null && record.sizeBytes === stamp.sizeBytes && BigInt(record.mtimeSec) === stamp.mtimeNs / 1_000_000_000n) {
      return fromRecord(at.layer, path, kind, record, stamp)
    }
  }
  const file = openFile(at.tree, path, maxFileBytes)
  if (file === null) return null
  if ('trouble' in file) {
    loading.diagnostics.push(file.trouble)
    return null
  }
  const bytes = readAll(file, maxFileBytes)
  if (record !== undefined && !('trouble' in bytes) && record.sha256 === sha256Of(bytes)) return fromRecord(at.layer, path, kind, record, file.stamp)
  const text = 'trouble' in bytes ? bytes : decodeText(path, bytes)
  if (typeof text !== 'string') {
    loading.diagnostics.push(text.trouble)
    return null
  }
  loading.texts.set(path, text)
  const { value, positions, diagnostics } = parseSettings(path, text, kind)
  loading.diagnostics.push(...diagnostics)
  if (value === null) return null
  const entry: Entry<S> = { value, layer: at.layer, file: path, positions, ...(overrides ? { overrides } : {}) }
  remembered.set(entry, { stamp: file.stamp, diagnostics })
  return entry
}

function fromRecord<S>(layer: Layer, file: string, kind: ObjectKind<S>, record: SnapshotRecord, stamp: FileStamp): Entry<S> {
  const entry: Entry<S> = { value: { ...kind.empty, ...(record.value as Partial<S>) }, layer, file, positions: unflattenPositions(record.positions) }
  remembered.set(entry, { stamp, diagnostics: [] })
  return entry
}

function loadMain(loading: Loading, admin: LayerTree | null): Entry<MainSettings> {
  const entry = admin === null ? null : loadEntry(loading, admin, mainFile, mainKind, loading.previous?.main)
  if (entry !== null) return entry
  const before = loading.previous?.main
  return before?.layer === 'builtin' ? before : { value: defaultMain, layer: 'builtin', positions: new Map() }
}

function checkedName(loading: Loading, kind: KindName, path: string, name: string): boolean {
  if (isName(kind, name)) return true
  try {
    requireName(kind, name)
  } catch (error) {
    if (!(error instanceof DerpanetError)) throw error
    loading.diagnostics.push(fileDiagnostic(path, error.code, error.detail))
  }
  return false
}

/** Sorted by name; the previous map itself when every entry is the same. */
function loadKind<S>(
  loading: Loading, layers: readonly LayerTree[], kind: NamedKind<S>, previous: ReadonlyMap<string, Entry<S>> | undefined,
): ReadonlyMap<string, Entry<S>> {
  const found = new Map<string, Entry<S>>()
  const listings = layers.map((at) => ({ at, names: listNames(loading, at.tree, kind.folder, 'yaml') }))
  listings.forEach(({ at, names }, index) => {
    for (const name of names) {
      const relative = `${kind.folder}/${name}.yaml`
      // An object that a higher layer replaces is not even read.
      if (listings.slice(index + 1).some((higher) => higher.names.has(name))) continue
      if (!checkedName(loading, kind.kind, join(at.tree.root, relative), name)) continue
      const overrides = listings.slice(0, index).some((lower) => lower.names.has(name))
      const entry = loadEntry(loading, at, relative, kind, previous?.get(name), overrides)
      if (entry !== null) found.set(name, entry)
      else loading.unreadable.add(`${kind.folder}/${name}`)
    }
  })
  return shareMap(previous, found)
}

function listNames(loading: Loading, tree: FileTree, folder: string, extension: string): ReadonlySet<string> {
  const { names, diagnostics } = listFolder(tree, folder, extension)
  loading.diagnostics.push(...diagnostics)
  return new Set(names)
}

function shareMap<V>(previous: ReadonlyMap<string, V> | undefined, found: ReadonlyMap<string, V>): ReadonlyMap<string, V> {
  const same = previous !== undefined && previous.size === found.size && [...found].every(([name, value]) => previous.get(name) === value)
  return same ? previous : new Map([...found].sort(([a], [b]) => (a < b ? -1 : 1)))
}

async function loadLists(loading: Loading, tree: FileTree): Promise<ReadonlyMap<string, AddressList>> {
  const found = new Map<string, AddressList>()
  const builder = new ListBuilder()
  try {
    for (const name of listNames(loading, tree, 'lists', 'list')) {
      const path = join(tree.root, 'lists', `${name}.list`)
      if (!checkedName(loading, 'list', path, name)) continue
      const list = await loadList(loading, tree, builder, name, path)
      if (list !== null) found.set(name, list)
      else loading.unreadable.add(`lists/${name}`)
    }
  } finally {
    await builder.close()
  }
  return shareMap(loading.previous?.lists, found)
}

async function loadList(loading: Loading, tree: FileTree, builder: ListBuilder, name: string, path: string): Promise<AddressList | null> {
  const before = loading.previous?.lists.get(name)
  const unchanged = before?.file === path ? reuse(loading, path, before) : null
  const { hostAddresses = [], forceLists = false } = loading.options
  // The host may have got an address since the list was read, so an unchanged list is judged again.
  if (unchanged !== null && judgeList(unchanged, undefined, hostAddresses, true).kind === 'take') return unchanged
  const file = openFile(tree, path, maxListBytes)
  if (file === null) return null
  const bytes = 'trouble' in file ? file : readAll(file, maxListBytes)
  if ('trouble' in bytes) {
    loading.diagnostics.push(bytes.trouble)
    return null
  }
  const { list, diagnostics } = await builder.parse(name, path, bytes)
  loading.diagnostics.push(...diagnostics)
  if (list === null) return null
  const verdict = judgeList(list, before, hostAddresses, forceLists)
  switch (verdict.kind) {
    case 'take': {
      const kept = before?.digest === list.digest && before.file === path ? before : list
      remembered.set(kept, { stamp: (file as { readonly stamp: FileStamp }).stamp, diagnostics })
      return kept
    }
    case 'keep-old':
      loading.diagnostics.push(fileDiagnostic(path, 'INVALID_ENTRY', verdict.text, 'warning'))
      return before!
    case 'refuse': {
      const again = openFile(tree, path, maxListBytes)
      const text = again === null || 'trouble' in again ? null : readAll(again, maxListBytes)
      const place = text === null || 'trouble' in text ? null : locateAddress(text, verdict.address.family, verdict.address.addr)
      loading.diagnostics.push({ ...fileDiagnostic(path, 'INVALID_ENTRY', verdict.text), ...place })
      return null
    }
  }
}

/** Checks of the whole configuration know places, not texts: the line is fetched for showing it. */
function withSourceLine(loading: Loading, layers: readonly LayerTree[], diagnostic: Diagnostic): Diagnostic {
  if (diagnostic.sourceLine !== undefined || !diagnostic.file.endsWith('.yaml') || diagnostic.severity === 'warning') return diagnostic
  let text = loading.texts.get(diagnostic.file)
  if (text === undefined) {
    const at = layers.find(({ tree }) => diagnostic.file.startsWith(`${tree.root}/`))
    const file = at === undefined ? null : openFile(at.tree, diagnostic.file, maxFileBytes)
    const bytes = file === null || 'trouble' in file ? null : readAll(file, maxFileBytes)
    const decoded = bytes === null || 'trouble' in bytes ? null : decodeText(diagnostic.file, bytes)
    if (typeof decoded !== 'string') return diagnostic
    text = decoded
    loading.texts.set(diagnostic.file, text)
  }
  const sourceLine = text.split('\n')[diagnostic.line - 1]
  return sourceLine === undefined ? diagnostic : { ...diagnostic, sourceLine }
}
