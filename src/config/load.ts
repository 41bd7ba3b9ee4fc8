// The whole configuration from disk: three layers of folders, one after the other, the same name in a higher layer
// replacing the object below. Whatever is wrong anywhere is reported, all of it; a configuration with one error is none.
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { ListBuilder } from '../lists/build.ts'
import { locateAddress } from '../lists/parse.ts'
import { judgeList } from '../lists/rules.ts'
import type { HostAddress } from '../lists/rules.ts'
import type { AddressList, Entry, MainSettings, Settings } from '../model/settings.ts'
import { defaultMain } from '../model/settings.ts'
import { kinds, mainKind } from '../settings/kinds.ts'
import type { KindSettings, NamedKind } from '../settings/kinds.ts'
import { didYouMean } from '../settings/suggest.ts'
import { hasErrors, sortDiagnostics } from './diagnostic.ts'
import type { Diagnostic } from './diagnostic.ts'
import { fileDiagnostic, listFolder, openFile, readAll } from './files.ts'
import type { FileStamp, FileTree } from './files.ts'
import { checkedName, loadEntry, loadStack, openLayer, remember, reuse, shareMap, stackOf, startLoading, withSourceLine } from './layers.ts'
import type { LayerTree, Loading as LayerLoading } from './layers.ts'
import { checkReferences } from './references.ts'

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

/** One load in progress. */
export interface Loading extends LayerLoading {
  readonly options: LoadOptions
  readonly previous: Settings | undefined
}

/**
 * Reads everything. What is unchanged since `previous` (a result of this function, or made from one) is taken from it by
 * reference, and when nothing changed `settings` is `previous` itself. Rejects only for bugs.
 */
export async function loadConfiguration(paths: ConfigPaths, previous?: Settings, options: LoadOptions = {}): Promise<Loaded> {
  const loading: Loading = { ...startLoading(), options, previous }
  const { shipped, admin, layers } = openLayers(loading, paths)
  if (shipped === null) loading.diagnostics.push(fileDiagnostic(paths.shipped, 'INVALID_DIRECTORY', 'the shipped definitions are not there'))
  if (admin !== null) checkTopNames(loading, admin.tree)

  const named = <K extends keyof KindSettings>(kind: NamedKind<KindSettings[K]>): ReadonlyMap<string, Entry<KindSettings[K]>> =>
    loadStack(loading, stackOf(loading, layers, kind), previous?.[kind.folder] as ReadonlyMap<string, Entry<KindSettings[K]>> | undefined)
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
export function shareWhole(previous: Settings | undefined, found: Settings): Settings {
  if (previous === undefined) return found
  const same = (Object.keys(found) as (keyof Settings)[]).every((key) => found[key] === previous[key])
  return same ? previous : found
}

export interface NativeLayers {
  readonly shipped: LayerTree | null
  readonly admin: LayerTree | null
  /** Those that exist, the lowest first. */
  readonly layers: readonly LayerTree[]
}

/** The three layers of the native tree. */
export function openLayers(loading: LayerLoading, paths: ConfigPaths): NativeLayers {
  const shipped = openLayer(loading, paths.shipped, 'shipped')
  // What has a shipped name there is firewalld's own file, from which ours was made: only what other packages add is read.
  // (Parsing all of firewalld's would cost 0.2 s at each start of a host that still has it installed.)
  const vendor = paths.vendor === null ? null : openLayer(loading, paths.vendor, 'vendor', { format: 'xml', lenient: true, addsOnly: true })
  const admin = openLayer(loading, paths.etc, 'admin')
  return { shipped, admin, layers: [shipped, vendor, admin].filter((layer) => layer !== null) }
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

export function loadMain(loading: Loading, admin: LayerTree | null): Entry<MainSettings> {
  const entry = admin === null ? null : loadEntry(loading, admin, mainFile, mainKind, loading.previous?.main)
  if (entry !== null) return entry
  const before = loading.previous?.main
  return before?.layer === 'builtin' ? before : { value: defaultMain, layer: 'builtin', positions: new Map() }
}

function listNames(loading: Loading, tree: FileTree, folder: string, extension: string): ReadonlySet<string> {
  const { names, diagnostics } = listFolder(tree, folder, extension)
  loading.diagnostics.push(...diagnostics)
  return new Set(names)
}

export async function loadLists(loading: Loading, tree: FileTree): Promise<ReadonlyMap<string, AddressList>> {
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
      remember(kept, (file as { readonly stamp: FileStamp }).stamp, diagnostics)
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
