// firewalld's own configuration as the permanent one: a writable folder (/etc/firewalld) over a shipped one
// (/usr/lib/firewalld), XML and firewalld.conf. Zones in folders are parts of combined zones.
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { printable } from '../../errors.ts'
import type { DirectSettings, LockdownSettings } from '../../model/direct.ts'
import type { Entry, MainSettings, PortSpec, Position, Settings, ZoneSettings } from '../../model/settings.ts'
import { emptyZone } from '../../model/settings.ts'
import type { Face } from '../../settings/dict.ts'
import { fieldRows } from '../../settings/field.ts'
import { confFields, confKey } from '../../settings/firewalld-conf.ts'
import { kinds } from '../../settings/kinds.ts'
import type { KindSettings, NamedKind, ObjectKind } from '../../settings/kinds.ts'
import { zoneFields } from '../../settings/zone.ts'
import { directKind, lockdownKind } from '../../settings/direct.ts'
import { hasErrors, sortDiagnostics } from '../diagnostic.ts'
import type { Diagnostic } from '../diagnostic.ts'
import { fileDiagnostic } from '../files.ts'
import { loadEntry, loadStack, makeEntry, openLayer, readText, reuse, stackOf, startLoading, withSourceLine } from '../layers.ts'
import type { LayerTree, Loading } from '../layers.ts'
import { loadLists, loadMain, shareWhole } from '../load.ts'
import type { LoadOptions } from '../load.ts'
import type { Parsed } from '../parse.ts'
import { checkReferences } from '../references.ts'
import type { Permanent, PermanentLoaded } from '../store/store.ts'
import { maxFileBytes } from '../yaml.ts'
import { decodeConf, mainOfConf, parseConf } from './conf.ts'
import { parseDirectXml, parseLockdownXml } from './direct-xml.ts'

/** Absolute folders. */
export interface FirewalldPaths {
  /** --system-config: the writable one. */
  readonly system: string
  /** --default-config: the shipped one. Where it does not exist, the program's own definitions take its place. */
  readonly defaults: string
  readonly shipped: string
  /** Where derpanet.yaml and lists/ are, for what firewalld cannot say; null = nowhere. */
  readonly own: string | null
}

export const confFile = 'firewalld.conf'
export const directFile = 'direct.xml'
export const lockdownFile = 'lockdown-whitelist.xml'

export interface FirewalldLayers {
  readonly system: LayerTree | null
  readonly below: readonly LayerTree[]
}

export function openFirewalldLayers(loading: Loading, paths: FirewalldPaths): FirewalldLayers {
  const shipped = existsSync(join(paths.defaults, 'zones'))
    ? openLayer(loading, paths.defaults, 'vendor', { format: 'xml' }) : openLayer(loading, paths.shipped, 'shipped')
  return { system: openLayer(loading, paths.system, 'admin', { format: 'xml', nested: true }), below: shipped === null ? [] : [shipped] }
}

/**
 * Reads the whole tree, reusing what is unchanged since `previous`. `only: 'shipped'` leaves the writable folder out: what
 * firewalld falls back to when that is broken. Rejects only for bugs.
 */
export async function loadFirewalldTree(
  paths: FirewalldPaths, face: Face, previous?: Permanent, options: LoadOptions & { readonly only?: 'shipped' } = {},
): Promise<PermanentLoaded> {
  const loading = startLoading()
  const { system: opened, below } = openFirewalldLayers(loading, paths)
  const system = options.only === 'shipped' ? null : opened
  const own = paths.own === null || options.only === 'shipped' ? null : openLayer(loading, paths.own, 'admin')
  const layers = [...below, ...(system === null ? [] : [system])]
  if (below.length === 0) loading.diagnostics.push(fileDiagnostic(paths.defaults, 'INVALID_DIRECTORY', 'the shipped definitions are not there'))
  const before = previous?.settings
  const named = <K extends keyof KindSettings>(kind: NamedKind<KindSettings[K]>): ReadonlyMap<string, Entry<KindSettings[K]>> =>
    loadStack(loading, stackOf(loading, layers, kind), before?.[kind.folder] as ReadonlyMap<string, Entry<KindSettings[K]>> | undefined)
  const base = loadMain({ ...loading, options, previous: undefined }, own).value
  const found: Settings = {
    main: loadConf(loading, system, face, base, before?.main),
    zones: named<'zone'>(kinds.zone),
    policies: named<'policy'>(kinds.policy),
    services: named<'service'>(kinds.service),
    ipsets: named<'ipset'>(kinds.ipset),
    icmptypes: named<'icmptype'>(kinds.icmptype),
    helpers: named<'helper'>(kinds.helper),
    lists: own === null ? before?.lists ?? new Map() : await loadLists({ ...loading, options, previous: before }, own.tree),
  }
  const direct = loadSingle(loading, system, directFile, directKind, parseDirectXml, previous?.direct)
  const lockdown = loadSingle(loading, system, lockdownFile, lockdownKind, parseLockdownXml, previous?.lockdown)
  const chosen = withExistingDefault(loading, found)
  const settings = before !== undefined && isDeepStrictEqual(before.main, chosen.main) ? { ...chosen, main: before.main } : chosen
  if (below.length > 0) loading.diagnostics.push(...references(settings, loading.unreadable))
  const diagnostics = sortDiagnostics(loading.diagnostics).map((diagnostic) => withSourceLine(loading, layers, diagnostic))
  if (hasErrors(diagnostics)) return { permanent: null, diagnostics }
  return { permanent: { settings: shareWhole(before, settings), direct, lockdown }, diagnostics }
}

/** direct.xml and the lockdown whitelist: absent means empty. */
function loadSingle<S extends DirectSettings | LockdownSettings>(
  loading: Loading, at: LayerTree | null, file: string, kind: ObjectKind<S>, parse: (path: string, text: string) => Parsed<S>, previous: Entry<S> | undefined,
): Entry<S> {
  const entry = at === null ? null : loadEntry(loading, at, file, kind, previous, false, parse)
  return entry ?? (previous?.layer === 'builtin' ? previous : { value: kind.empty, layer: 'builtin', positions: new Map() })
}

function loadConf(loading: Loading, at: LayerTree | null, face: Face, base: MainSettings, previous: Entry<MainSettings> | undefined): Entry<MainSettings> {
  const path = at === null ? null : join(at.tree.root, confFile)
  if (at === null || path === null) return { value: mainOfConf(new Map(), face, base), layer: 'builtin', positions: new Map() }
  const unchanged = previous !== undefined && sameBase(previous.value, base, face) ? reuse(loading, path, previous) : null
  if (unchanged !== null) return unchanged
  const read = readText(loading, at, path, maxFileBytes, (_path, bytes) => decodeConf(bytes))
  if (read === null) {
    loading.diagnostics.push(fileDiagnostic(path, 'INVALID_FILENAME', 'is not there: every key has its default', 'warning'))
    return { value: mainOfConf(new Map(), face, base), layer: 'builtin', positions: new Map() }
  }
  const { values, positions, diagnostics } = parseConf(path, read.text, face)
  loading.diagnostics.push(...diagnostics)
  return makeEntry('admin', path, mainOfConf(values, face, base), confPositions(positions), false, read.stamp, diagnostics)
}

/** What does not come from firewalld.conf is as it was. */
function sameBase(before: MainSettings, base: MainSettings, face: Face): boolean {
  const fromConf: readonly (keyof MainSettings)[] = [...confFields(face), 'onStop']
  return (Object.keys(base) as (keyof MainSettings)[]).every((key) => fromConf.includes(key) || isDeepStrictEqual(before[key], base[key]))
}

/** Keys of firewalld.conf → keys of the settings. */
function confPositions(positions: ReadonlyMap<string, Position>): ReadonlyMap<string, Position> {
  return new Map([...positions].map(([name, place]) => [confKey(name)?.meaning?.key ?? `firewalld=${name}`, place]))
}

/** firewalld never refuses to start for a default zone that is not there. */
function withExistingDefault(loading: Loading, settings: Settings): Settings {
  const { main, zones } = settings
  const wanted = main.value.defaultZone
  const names = new Set([...zones.keys()].flatMap((name) => [name, name.split('/')[0]!]))
  const chosen = [wanted, 'public', 'external', 'block'].find((name) => names.has(name)) ?? wanted
  if (chosen === wanted) return settings
  const place = main.positions.get('defaultZone') ?? { line: 1, column: 1 }
  loading.diagnostics.push({
    severity: 'warning', code: 'INVALID_ZONE', file: main.file ?? '(builtin)', ...place,
    text: `Default zone '${printable(wanted)}' is not valid. Using '${chosen}'.`,
  })
  return { ...settings, main: { ...main, value: { ...main.value, defaultZone: chosen } } }
}

/** A default zone made of parts is one, and an unknown helper is the service's own affair, as in firewalld. */
function references(settings: Settings, unreadable: ReadonlySet<string>): readonly Diagnostic[] {
  const { main, zones } = settings
  const { defaultZone } = main.value
  const part = zones.has(defaultZone) ? undefined : [...zones.keys()].find((name) => name.startsWith(`${defaultZone}/`))
  const checked = part === undefined ? settings : { ...settings, main: { ...main, value: { ...main.value, defaultZone: part } } }
  return checkReferences(checked, unreadable).map((diagnostic): Diagnostic => {
    switch (diagnostic.code) {
      case 'INVALID_HELPER': return { ...diagnostic, severity: 'warning' }
      // what firewalld calls it in files
      case 'ZONE_CONFLICT': return { ...diagnostic, code: diagnostic.text.startsWith('interface') ? 'INVALID_INTERFACE' : 'INVALID_ADDR' }
      default: return diagnostic
    }
  })
}

/**
 * The runtime's zones: parts FOLDER/NAME become one zone FOLDER with all that is in them, in the order of their names.
 * As in firewalld it has no text and no target of its own. The same settings when there are none.
 */
export function combineZones(settings: Settings): Settings {
  const parts = new Map<string, string[]>()
  for (const name of settings.zones.keys()) {
    const slash = name.indexOf('/')
    if (slash > 0) parts.set(name.slice(0, slash), [...(parts.get(name.slice(0, slash)) ?? []), name])
  }
  if (parts.size === 0) return settings
  const zones = new Map([...settings.zones].filter(([name]) => !name.includes('/')))
  for (const [head, names] of parts) {
    const all = [...(zones.has(head) ? [head] : []), ...names.sort()].map((name) => settings.zones.get(name)!)
    const [first] = all
    zones.set(head, { ...first!, value: all.map(({ value }) => value).reduce(mergeZones, emptyZone) })
  }
  return { ...settings, zones: new Map([...zones].sort(([a], [b]) => (a < b ? -1 : 1))) }
}

function mergeZones(one: ZoneSettings, other: ZoneSettings): ZoneSettings {
  const merged: Record<string, unknown> = { ...one }
  for (const [key, field] of fieldRows(zoneFields)) {
    if (field.shape === 'flag') merged[key] = one[key] === true || other[key] === true
    if (field.shape !== 'list') continue
    const had = one[key] as readonly PortSpec[]
    const texts = new Set(had.map((item) => field.item.toText(item)))
    merged[key] = [...had, ...(other[key] as readonly PortSpec[]).filter((item) => !texts.has(field.item.toText(item)))]
  }
  return {
    ...(merged as unknown as ZoneSettings),
    ingressPriority: Math.min(one.ingressPriority, other.ingressPriority),
    egressPriority: Math.min(one.egressPriority, other.egressPriority),
  }
}

