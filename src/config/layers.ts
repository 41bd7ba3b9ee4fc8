// Layers of definitions on disk: one folder tree after the other, the same name in a higher one replacing the object
// below. Each layer has its format; what the objects mean together is not decided here.
import { join } from 'node:path'
import type { Entry, Layer, Position } from '../model/settings.ts'
import { DerpanetError } from '../errors.ts'
import { fieldRows } from '../settings/field.ts'
import type { KindSettings, NamedKind, ObjectKind } from '../settings/kinds.ts'
import { isName, requireName } from '../settings/names.ts'
import type { KindName } from '../settings/names.ts'
import { decodeSnapshot, sha256Of, snapshotName, unflattenPositions } from './definitions.ts'
import type { Snapshot, SnapshotRecord } from './definitions.ts'
import type { Diagnostic } from './diagnostic.ts'
import { decodeText, fileDiagnostic, listFolder, listNested, openFile, openTree, peekStamp, readAll, sameStamp } from './files.ts'
import type { FileStamp, FileTree, FileTrouble } from './files.ts'
import { parseXml } from './firewalld/codec.ts'
import { xmlKinds } from './firewalld/kinds.ts'
import { decodeXml } from './firewalld/xml-reader.ts'
import { parseSettings } from './parse.ts'
import type { Parsed } from './parse.ts'
import { maxFileBytes, maxLongFileBytes } from './yaml.ts'

/** One load in progress. */
export interface Loading {
  readonly diagnostics: Diagnostic[]
  /** `zones/public`, `lists/bad`: what exists but is wrong, so that those who name it are not blamed. */
  readonly unreadable: Set<string>
  /** Lines of files that later checks want to show. */
  readonly texts: Map<string, string>
}

export const startLoading = (): Loading => ({ diagnostics: [], unreadable: new Set(), texts: new Map() })

export interface LayerTree {
  readonly layer: Layer
  readonly tree: FileTree
  readonly format: 'yaml' | 'xml'
  /** A mistake hides the object that has it, and no more: packages of strangers must not take the whole configuration away. */
  readonly lenient: boolean
  /** zones/FOLDER/NAME is the zone FOLDER/NAME, a part of the combined zone FOLDER. */
  readonly nested: boolean
  /** Brings only names that no lower layer has. */
  readonly addsOnly: boolean
  /** Read when first asked: a reload, which takes everything from the configuration before, never asks. */
  readonly snapshot: () => Snapshot
}

export type LayerOptions = Partial<Pick<LayerTree, 'format' | 'lenient' | 'nested' | 'addsOnly'>>

const maxSnapshotBytes = 256 * 1024 * 1024

/** What an entry or list was read from: as long as the file has that stamp, the same object is used again. */
const remembered = new WeakMap<object, { readonly stamp: FileStamp; readonly diagnostics: readonly Diagnostic[] }>()

export function remember(value: object, stamp: FileStamp, diagnostics: readonly Diagnostic[] = []): void {
  remembered.set(value, { stamp, diagnostics })
}

/** What the file of an entry was when it was read or written; undefined for what has no file. */
export function rememberedStamp(value: object): FileStamp | undefined {
  return remembered.get(value)?.stamp
}

/** null when the folder does not exist, or must not be believed (reported). */
export function openLayer(loading: Loading, root: string, layer: Layer, options: LayerOptions = {}): LayerTree | null {
  const tree = openTree(root, layer === 'shipped')
  if (tree === null) return null
  if ('trouble' in tree) {
    loading.diagnostics.push(options.lenient ? passedOver(tree.trouble) : tree.trouble)
    return null
  }
  const { format = 'yaml', lenient = false, nested = false, addsOnly = false } = options
  // Only the program's own definitions have a snapshot that is believed.
  return { layer, tree, format, lenient, nested, addsOnly, snapshot: layer === 'shipped' ? lazySnapshot(loading, tree) : () => noSnapshot }
}

const passedOver = (diagnostic: Diagnostic): Diagnostic =>
  diagnostic.severity === 'warning' ? diagnostic : { ...diagnostic, severity: 'warning', text: `is passed over: ${diagnostic.text}` }

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
  const file = openFile(tree, path, maxSnapshotBytes)
  if (file === null) return noSnapshot
  const bytes = 'trouble' in file ? file : readAll(file, maxSnapshotBytes)
  try {
    if ('trouble' in bytes) throw new Error(bytes.trouble.text)
    return decodeSnapshot(new TextDecoder().decode(bytes))
  } catch (error) {
    loading.diagnostics.push(fileDiagnostic(path, 'PARSE_ERROR', `is passed over, its files are read instead: ${String(error)}`, 'warning'))
    return noSnapshot
  }
}

/** The diagnostics of an entry are repeated each time it is used again: a warning does not go away by itself. */
export function reuse<T extends object>(loading: Loading, path: string, candidate: T | undefined): T | null {
  const known = candidate === undefined ? undefined : remembered.get(candidate)
  if (candidate === undefined || known === undefined) return null
  const stamp = peekStamp(path)
  if (stamp === null || !sameStamp(stamp, known.stamp)) return null
  loading.diagnostics.push(...known.diagnostics)
  return candidate
}

/** The text of a file of a layer and its stamp, null when there is none or it is wrong (reported). */
export interface LayerText {
  readonly text: string
  readonly stamp: FileStamp
}

export function readText(
  loading: Loading, at: LayerTree, path: string, maxBytes: number, decode: (path: string, bytes: Uint8Array) => string | FileTrouble = decoderOf(at),
): LayerText | null {
  const read = readBytes(loading, at, path, maxBytes)
  return read === null ? null : decodeLayer(loading, at, path, read.bytes, read.stamp, decode)
}

const decoderOf = (at: LayerTree): ((path: string, bytes: Uint8Array) => string | FileTrouble) => (at.format === 'yaml' ? decodeText : decodeForeign)

function readBytes(loading: Loading, at: LayerTree, path: string, maxBytes: number): { readonly bytes: Uint8Array; readonly stamp: FileStamp } | null {
  const file = openFile(at.tree, path, maxBytes)
  if (file === null) return null
  const bytes = 'trouble' in file ? file : readAll(file, maxBytes)
  if (!('trouble' in bytes)) return { bytes, stamp: (file as { readonly stamp: FileStamp }).stamp }
  loading.diagnostics.push(at.lenient ? passedOver(bytes.trouble) : bytes.trouble)
  return null
}

function decodeLayer(
  loading: Loading, at: LayerTree, path: string, bytes: Uint8Array, stamp: FileStamp, decode = decoderOf(at),
): LayerText | null {
  const text = decode(path, bytes)
  if (typeof text === 'string') {
    loading.texts.set(path, text)
    return { text, stamp }
  }
  loading.diagnostics.push(at.lenient ? passedOver(text.trouble) : text.trouble)
  return null
}

function decodeForeign(path: string, bytes: Uint8Array): string | FileTrouble {
  const text = decodeXml(bytes)
  return typeof text === 'string' ? text : { trouble: { ...fileDiagnostic(path, 'PARSE_ERROR', text.text), ...text.position } }
}

type Parse<S> = (path: string, text: string) => Parsed<S>

/** null when it does not exist or is wrong (reported). `relative` is the path below the tree. */
export function loadEntry<S>(
  loading: Loading, at: LayerTree, relative: string, kind: ObjectKind<S>, candidate: Entry<S> | undefined, overrides = false,
  parse: Parse<S> = (path, text) => parseSettings(path, text, kind), maxBytes = maxFileBytes,
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
  const read = readBytes(loading, at, path, maxBytes)
  if (read === null) return null
  if (record !== undefined && record.sha256 === sha256Of(read.bytes)) return fromRecord(at.layer, path, kind, record, read.stamp)
  const decoded = decodeLayer(loading, at, path, read.bytes, read.stamp)
  if (decoded === null) return null
  const { value, positions, diagnostics: found } = parse(path, decoded.text)
  const diagnostics = at.lenient ? found.map(passedOver) : found
  loading.diagnostics.push(...diagnostics)
  return value === null ? null : makeEntry(at.layer, path, value, positions, overrides, read.stamp, diagnostics)
}

/** An entry of the layer that knows its file's stamp. */
export function makeEntry<S>(
  layer: Layer, file: string, value: S, positions: ReadonlyMap<string, Position>, overrides: boolean, stamp: FileStamp, diagnostics: readonly Diagnostic[] = [],
): Entry<S> {
  const entry: Entry<S> = { value, layer, file, positions, ...(overrides ? { overrides } : {}) }
  remember(entry, stamp, diagnostics)
  return entry
}

function fromRecord<S>(layer: Layer, file: string, kind: ObjectKind<S>, record: SnapshotRecord, stamp: FileStamp): Entry<S> {
  const entry: Entry<S> = { value: { ...kind.empty, ...(record.value as Partial<S>) }, layer, file, positions: unflattenPositions(record.positions) }
  remember(entry, stamp)
  return entry
}

/** Reports a name that cannot be one. */
export function checkedName(loading: Loading, kind: KindName, path: string, name: string): boolean {
  if (isName(kind, name)) return true
  try {
    requireName(kind, name)
  } catch (error) {
    if (!(error instanceof DerpanetError)) throw error
    loading.diagnostics.push(fileDiagnostic(path, error.code, error.detail))
  }
  return false
}

/** Path below the tree of an object of a layer. */
export function relativePath<S>(at: Pick<LayerTree, 'format'>, kind: NamedKind<S>, name: string): string {
  return `${kind.folder}/${name}.${at.format}`
}

/** Name → path below the tree. */
type LayerNames = ReadonlyMap<string, string>

/** The objects of a kind, layer by layer. */
export interface Stack<S> {
  readonly kind: NamedKind<S>
  readonly listings: readonly { readonly at: LayerTree; readonly names: LayerNames }[]
}

/** `layers`: the lowest first. */
export function stackOf<S>(loading: Loading, layers: readonly LayerTree[], kind: NamedKind<S>): Stack<S> {
  const listings: { readonly at: LayerTree; readonly names: LayerNames }[] = []
  for (const at of layers) {
    const names = listNames(loading, at, kind)
    const taken = (name: string): boolean => listings.some((lower) => lower.names.has(name))
    listings.push({ at, names: at.addsOnly ? new Map([...names].filter(([name]) => !taken(name))) : names })
  }
  return { kind, listings }
}

function listNames<S>(loading: Loading, at: LayerTree, kind: NamedKind<S>): LayerNames {
  const nested = at.nested && kind.kind === 'zone'
  const plain = at.format === 'yaml' && !nested
  const { names, diagnostics } = plain ? listFolder(at.tree, kind.folder, at.format) : listNested(at.tree, kind.folder, at.format, nested)
  loading.diagnostics.push(...(at.lenient ? diagnostics.map(passedOver) : diagnostics))
  // A folder within a folder still gives FOLDER/NAME.
  return new Map(names.map((path) => [path.split('/').slice(-2).join('/'), `${kind.folder}/${path}.${at.format}`]))
}

export function loadOne<S>(loading: Loading, { kind, listings }: Stack<S>, name: string, candidate: Entry<S> | undefined): Entry<S> | null {
  for (let index = listings.length - 1; index >= 0; index--) {
    const { at, names } = listings[index]!
    const relative = names.get(name)
    if (relative === undefined) continue
    if (!checkedName(loading, kind.kind, join(at.tree.root, relative), name)) return null
    const overrides = at.layer === 'admin' && listings.slice(0, index).some((lower) => lower.names.has(name))
    const entry = at.format === 'yaml'
      ? loadEntry(loading, at, relative, kind, candidate, overrides, undefined, maxBytesOf(kind))
      : loadEntry(loading, at, relative, kind, candidate, overrides, xmlParse(kind, name), xmlKinds[kind.kind].maxChars)
    if (entry !== null) return entry
    if (!at.lenient) {
      loading.unreadable.add(`${kind.folder}/${name}`)
      return null
    }
  }
  return null
}

export function maxBytesOf<S>({ fields }: NamedKind<S>): number {
  return fieldRows(fields).some(([, field]) => field.shape === 'list' && field.long === true) ? maxLongFileBytes : maxFileBytes
}

function xmlParse<S>(kind: NamedKind<S>, name: string): Parse<S> {
  return (path, text) => parseXml(kind.kind as keyof KindSettings, path, text, name) as unknown as Parsed<S>
}

/** Every object of a kind, sorted by name; the previous map itself when every entry is the same. */
export function loadStack<S>(loading: Loading, stack: Stack<S>, previous: ReadonlyMap<string, Entry<S>> | undefined): ReadonlyMap<string, Entry<S>> {
  const found = new Map<string, Entry<S>>()
  for (const name of new Set(stack.listings.flatMap(({ names }) => [...names.keys()]))) {
    const entry = loadOne(loading, stack, name, previous?.get(name))
    if (entry !== null) found.set(name, entry)
  }
  return shareMap(previous, found)
}

export function shareMap<V>(previous: ReadonlyMap<string, V> | undefined, found: ReadonlyMap<string, V>): ReadonlyMap<string, V> {
  const same = previous !== undefined && previous.size === found.size && [...found].every(([name, value]) => previous.get(name) === value)
  return same ? previous : new Map([...found].sort(([a], [b]) => (a < b ? -1 : 1)))
}

/** Checks of the whole configuration know places, not texts: the line is fetched for showing it. */
export function withSourceLine(loading: Loading, layers: readonly LayerTree[], diagnostic: Diagnostic): Diagnostic {
  if (diagnostic.sourceLine !== undefined || !/\.(yaml|xml)$/.test(diagnostic.file) || diagnostic.severity === 'warning') return diagnostic
  let text = loading.texts.get(diagnostic.file)
  if (text === undefined) {
    const at = layers.find(({ tree }) => diagnostic.file.startsWith(`${tree.root}/`))
    const aside = startLoading()
    const read = at === undefined ? null : readText(aside, at, diagnostic.file, maxFileBytes)
    if (read === null) return diagnostic
    text = read.text
    loading.texts.set(diagnostic.file, text)
  }
  const sourceLine = text.split('\n')[diagnostic.line - 1]
  return sourceLine === undefined ? diagnostic : { ...diagnostic, sourceLine }
}
