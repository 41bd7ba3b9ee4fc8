// Settings, changes and callers as JSON and back. Reading is strict: a stored thing passes the same checks as a file a
// person wrote, and unknown or missing keys are refused, because state on disk may be damaged or from another version.
import { createHash } from 'node:crypto'
import type { Caller } from '../service.ts'
import type { AnyField } from '../settings/field.ts'
import type { Change } from '../model/change.ts'
import type { AddressList, Entry, Layer, Position, Settings } from '../model/settings.ts'
import { defaultMain } from '../model/settings.ts'
import { mainFields } from '../settings/main.ts'
import { zoneFields } from '../settings/zone.ts'
import { policyFields } from '../settings/policy.ts'
import { serviceFields } from '../settings/service.ts'
import { ipSetFields } from '../settings/ipset.ts'
import { icmpTypeFields } from '../settings/icmptype.ts'
import { directFields, lockdownFields } from '../settings/direct.ts'
import { helperFields } from '../settings/helper.ts'

type Json = Readonly<Record<string, unknown>>
type AnyTable = Readonly<Record<string, AnyField>>

/** The kinds of named objects in Settings, in the order they are written. */
const kinds = {
  zones: zoneFields, policies: policyFields, services: serviceFields, ipsets: ipSetFields, icmptypes: icmpTypeFields, helpers: helperFields,
} as unknown as Readonly<Record<ObjectKind, AnyTable>>
const mainTable = mainFields as unknown as AnyTable
/** Single objects that may be absent. */
const singles = { direct: directFields, lockdown: lockdownFields } as unknown as Readonly<Record<'direct' | 'lockdown', AnyTable>>
const singleNames = Object.keys(singles) as readonly ('direct' | 'lockdown')[]

export type ObjectKind = 'zones' | 'policies' | 'services' | 'ipsets' | 'icmptypes' | 'helpers'
type Objects = ReadonlyMap<string, Entry<object>>
const kindNames = Object.keys(kinds) as readonly ObjectKind[]
const layers: ReadonlySet<string> = new Set<Layer>(['builtin', 'shipped', 'vendor', 'admin', 'runtime'])

/** Names and digests of the lists that a stored configuration needs, in name order. */
export interface ListReference {
  readonly name: string
  readonly digest: string
}

/** Canonical text: equal settings give equal bytes. Lists are only named; their content has its own files. */
export function encodeSettings(settings: Settings): string {
  const objects = kindNames.map((kind) => `${JSON.stringify(kind)}:${kindJson(kind, settings[kind])}`)
  const single = singleNames.flatMap((name) => {
    const entry = settings[name] as Entry<object> | undefined
    return entry === undefined ? [] : [`${JSON.stringify(name)}:${JSON.stringify(encodeEntry(singles[name], entry))}`]
  })
  const lists: ListReference[] = [...settings.lists.values()].map(({ name, digest }) => ({ name, digest })).sort((a, b) => (a.name < b.name ? -1 : 1))
  return `{"format":1,"main":${JSON.stringify(encodeEntry(mainTable, settings.main))},${[...objects, ...single].join(',')},"lists":${JSON.stringify(lists)}}`
}

/** Services and ICMP types are hundreds, and the same objects after nearly every change. */
const kindJson = remembering((kind, objects) => JSON.stringify(
  Object.fromEntries(sorted(objects).map(([name, entry]) => [name, encodeEntry(kinds[kind], entry)]))))

const maxRememberedChars = 512 * 1024

function remembering(make: (kind: ObjectKind, objects: Objects) => string): typeof make {
  const texts = new WeakMap<Objects, string>()
  return (kind, objects) => {
    const known = texts.get(objects)
    if (known !== undefined) return known
    const text = make(kind, objects)
    if (text.length <= maxRememberedChars) texts.set(objects, text)
    return text
  }
}

function sorted(objects: Objects): readonly (readonly [string, Entry<object>])[] {
  return [...objects].sort(([a], [b]) => (a < b ? -1 : 1))
}

/** Digests of big entries by identity: unchanged files share theirs between loads, so a reload hashes only what changed. */
const bigDigests = new WeakMap<object, string>()
const bigChars = 4096

const kindText = remembering((kind, objects) => textOf(kind, objects, everything))
const everything = (): boolean => true

function textOf(kind: ObjectKind, objects: Objects, counts: (entry: Entry<object>) => boolean): string {
  return sorted(objects).filter(([, entry]) => counts(entry)).map(([name, entry]) => entryText(`${kind}/${name}`, kinds[kind], entry)).join('')
}

/**
 * SHA-256, hex, of the content: equal settings have equal digests. Places in files count only for files of the
 * administrator, because only there they are shown to somebody.
 */
export function digestSettings(settings: Settings): string {
  return digestOf(settings, everything)
}

/**
 * The same of what the administrator wrote alone: it stays when a new version of the program ships other definitions.
 */
export function digestOwn(settings: Settings): string {
  return digestOf(settings, ({ layer }) => layer === 'admin' || layer === 'runtime')
}

function digestOf(settings: Settings, counts: (entry: Entry<object>) => boolean): string {
  const hash = createHash('sha256').update(entryText('main', mainTable, settings.main))
  for (const kind of kindNames) {
    hash.update(counts === everything ? kindText(kind, settings[kind]) : textOf(kind, settings[kind], counts))
  }
  for (const name of singleNames) {
    const entry = settings[name] as Entry<object> | undefined
    if (entry !== undefined && counts(entry)) hash.update(entryText(name, singles[name], entry))
  }
  for (const { name, digest } of [...settings.lists.values()].sort((a, b) => (a.name < b.name ? -1 : 1))) hash.update(`lists/${name} ${digest}\n`)
  return hash.digest('hex')
}

/** Values in the order of the table, whatever order the object has. */
function entryText(label: string, table: AnyTable, entry: Entry<object>): string {
  const known = bigDigests.get(entry)
  if (known !== undefined) return `${label} ${known}\n`
  const value = entry.value as Json
  const places = entry.layer === 'admin' ? [...entry.positions].map(([key, { line, column }]) => [key, line, column]) : []
  const text = JSON.stringify([entry.layer, entry.file, entry.overrides, Object.keys(table).map((key) => value[key]), places])
  if (text.length < bigChars) return `${label} ${text}\n`
  const digest = createHash('sha256').update(text).digest('hex')
  bigDigests.set(entry, digest)
  return `${label} ${digest}\n`
}

export function listReferences(text: string): readonly ListReference[] {
  const lists = (asObject(JSON.parse(text), 'configuration') as Json)['lists']
  return asArray(lists, 'lists').map((item) => {
    const reference = asObject(item, 'list')
    onlyKeys(reference, ['name', 'digest'], 'list')
    return { name: asText(reference['name'], 'list name'), digest: asDigest(reference['digest']) }
  })
}

/** Inverse of {@link encodeSettings}; `lists` by digest. Throws an Error naming the object and key at fault. */
export function decodeSettings(text: string, lists: ReadonlyMap<string, AddressList>): Settings {
  const stored = asObject(JSON.parse(text), 'configuration')
  onlyKeys(stored, ['format', 'main', 'lists', ...kindNames, ...singleNames], 'configuration')
  if (stored['format'] !== 1) throw new Error(`format ${String(stored['format'])} is not known`)
  const objects = kindNames.map((kind) => {
    const entries = Object.entries(asObject(stored[kind], kind))
    return [kind, new Map(entries.map(([name, entry]) => [name, decodeEntry(kinds[kind], entry, `${kind}/${name}`)]))] as const
  })
  const found = listReferences(text).map(({ name, digest }) => {
    const list = lists.get(digest)
    if (list === undefined) throw new Error(`list ${name} is missing`)
    return [name, { ...list, name }] as const
  })
  const main = decodeEntry(mainTable, stored['main'], 'main')
  const single = singleNames.flatMap((name) => (stored[name] === undefined ? [] : [[name, decodeEntry(singles[name], stored[name], name)] as const]))
  return { main, ...Object.fromEntries([...objects, ...single]), lists: new Map(found) } as unknown as Settings
}

function encodeEntry(table: AnyTable, entry: Entry<object>): Json {
  const positions = [...entry.positions].map(([key, { line, column }]) => [key, line, column])
  return {
    layer: entry.layer,
    ...(entry.file === undefined ? {} : { file: entry.file }),
    ...(entry.overrides === true ? { overrides: true } : {}),
    value: encodeValue(table, entry.value),
    ...(positions.length === 0 ? {} : { positions }),
  }
}

function decodeEntry(table: AnyTable, stored: unknown, where: string): Entry<object> {
  const entry = asObject(stored, where)
  onlyKeys(entry, ['layer', 'file', 'overrides', 'value', 'positions'], where)
  if (entry['overrides'] !== undefined && entry['overrides'] !== true) throw new Error(`${where}: overrides is not true`)
  const layer = asText(entry['layer'], `${where} layer`)
  if (!layers.has(layer)) throw new Error(`${where}: layer ${layer} is not known`)
  const positions = asArray(entry['positions'] ?? [], `${where} positions`).map((item): [string, Position] => {
    const [key, line, column] = asArray(item, `${where} position`)
    return [asText(key, `${where} position`), { line: asCount(line, where), column: asCount(column, where) }]
  })
  return {
    value: decodeValue(table, entry['value'], where),
    layer: layer as Layer,
    ...(entry['file'] === undefined ? {} : { file: asText(entry['file'], `${where} file`) }),
    ...(entry['overrides'] === true ? { overrides: true as const } : {}),
    positions: new Map(positions),
  }
}

/** Values that equal the empty object's ("" and []) are left out: most keys of most objects are empty. Main's are all there. */
function encodeValue(table: AnyTable, value: object): Json {
  const keys = Object.keys(table).map((key) => [key, encodeField(table[key] as AnyField, (value as Json)[key])] as const)
  return Object.fromEntries(table === mainTable ? keys : keys.filter(([, encoded]) => !isEmpty(encoded)))
}

function encodeField(field: AnyField, value: unknown): unknown {
  if (field.shape === 'list') return (value as readonly unknown[]).map((item) => field.item.toText(item as never))
  return value
}

function decodeValue(table: AnyTable, stored: unknown, where: string): object {
  const value = asObject(stored, where)
  onlyKeys(value, Object.keys(table), where)
  return Object.fromEntries(Object.keys(table).map((key) => {
    try {
      // An older program did not know it: what nobody wrote has its default.
      if (table === mainTable && value[key] === undefined) return [key, defaultMain[key as keyof typeof defaultMain]]
      return [key, decodeField(table[key] as AnyField, value[key])]
    } catch (cause) {
      throw new Error(`${where} ${key}: ${(cause as Error).message}`, { cause })
    }
  }))
}

function decodeField(field: AnyField, stored: unknown): unknown {
  switch (field.shape) {
    case 'flag':
      if (stored !== undefined && typeof stored !== 'boolean') throw new Error('not true or false')
      return stored ?? false
    case 'list':
      return asArray(stored ?? [], 'list').map((item) => field.item.fromText(asText(item, 'item')))
    case 'dict':
      return Object.fromEntries(Object.entries(asObject(stored ?? {}, 'dictionary')).map(([key, item]) => {
        if (field.keys !== null && !field.keys.includes(key)) throw new Error(`key ${key} is not known`)
        return [key, field.parse(key, asText(item, key))]
      }))
    case 'scalar':
      return field.parse(stored ?? (field.type === 's' ? '' : field.type === 'i' ? 0 : false))
  }
}

function isEmpty(value: unknown): boolean {
  if (value === '' || value === false || value === 0) return true
  return Array.isArray(value) ? value.length === 0 : typeof value === 'object' && value !== null && Object.keys(value).length === 0
}

type Shape = 'text' | 'texts' | 'word' | 'count' | 'number' | 'flag' | 'zone' | 'policy'

/** What each kind of change carries besides `kind`; keys with a `?` may be absent. */
const changeShapes = {
  'zone-item-add': { zone: 'text', field: 'text', item: 'texts', timeoutSec: 'count' },
  'zone-item-remove': { zone: 'text', field: 'text', item: 'texts' },
  'zone-item-expire': { zone: 'text', field: 'text', item: 'texts', 'bySettings?': 'flag' },
  'zone-flag-add': { zone: 'text', field: 'text', timeoutSec: 'count' },
  'zone-flag-remove': { zone: 'text', field: 'text' },
  'zone-flag-expire': { zone: 'text', field: 'text', 'bySettings?': 'flag' },
  'interface-add': { zone: 'text', interface: 'text' },
  'interface-change': { zone: 'text', interface: 'text' },
  'interface-remove': { zone: 'text', interface: 'text' },
  'source-add': { zone: 'text', source: 'text' },
  'source-change': { zone: 'text', source: 'text' },
  'source-remove': { zone: 'text', source: 'text' },
  'zone-settings': { zone: 'text', settings: 'zone', timeoutSec: 'count' },
  'policy-settings': { policy: 'text', settings: 'policy', timeoutSec: 'count' },
  'policy-item-expire': { policy: 'text', field: 'text', item: 'texts' },
  'policy-flag-expire': { policy: 'text', field: 'text' },
  'ipset-entry-add': { ipset: 'text', entry: 'text' },
  'ipset-entry-remove': { ipset: 'text', entry: 'text' },
  'ipset-entries-set': { ipset: 'text', entries: 'texts' },
  'default-zone-set': { zone: 'text' },
  'log-denied-set': { value: 'text' },
  'panic-set': { on: 'flag' },
  'lockdown-set': { on: 'flag' },
  'lockdown-item-add': { field: 'text', item: 'word' },
  'lockdown-item-remove': { field: 'text', item: 'word' },
  'direct-chain-add': { ipv: 'text', table: 'text', chain: 'text' },
  'direct-chain-remove': { ipv: 'text', table: 'text', chain: 'text' },
  'direct-rule-add': { ipv: 'text', table: 'text', chain: 'text', priority: 'number', args: 'texts' },
  'direct-rule-remove': { ipv: 'text', table: 'text', chain: 'text', priority: 'number', args: 'texts' },
  'direct-rules-remove': { ipv: 'text', table: 'text', chain: 'text' },
  'direct-passthrough-add': { ipv: 'text', args: 'texts' },
  'direct-passthrough-remove': { ipv: 'text', args: 'texts' },
  'direct-passthroughs-clear': {},
} satisfies Readonly<Record<string, Readonly<Record<string, Shape>>>>

/** Does not compile while a kind is missing above, and then names it. */
const complete: Exclude<Change['kind'], keyof typeof changeShapes> extends never ? true : Exclude<Change['kind'], keyof typeof changeShapes> = true
void complete

/** What a call looked like (`asWritten`) is for signals only and not kept. */
export function encodeChange(change: Change): Json {
  const { asWritten: _, ...kept } = change as Change & { readonly asWritten?: unknown }
  if (kept.kind === 'zone-settings') return { ...kept, settings: encodeSome(zoneFields as unknown as AnyTable, kept.settings) }
  if ((kept.kind as string) === 'policy-settings') return { ...kept, settings: encodeSome(kinds.policies, (kept as unknown as { settings: object }).settings) }
  return kept
}

/** Throws an Error. The values themselves are judged by reduce(), as for a caller. */
export function decodeChange(stored: unknown): Change {
  const change = asObject(stored, 'change')
  const kind = asText(change['kind'], 'kind of change')
  if (!Object.hasOwn(changeShapes, kind)) throw new Error(`change ${kind} is not known`)
  const shape = Object.entries(changeShapes[kind as keyof typeof changeShapes] as Readonly<Record<string, Shape>>)
  onlyKeys(change, ['kind', ...shape.map(([key]) => key.replace('?', ''))], kind)
  const values = shape.flatMap(([key, type]) => {
    const name = key.replace('?', '')
    if (key.endsWith('?') && change[name] === undefined) return []
    return [[name, decodeShape(type, change[name], `${kind} ${name}`)] as const]
  })
  return { kind, ...Object.fromEntries(values) } as Change
}

function decodeShape(type: Shape, value: unknown, where: string): unknown {
  switch (type) {
    case 'text': return asText(value, where)
    case 'texts': return asArray(value, where).map((item) => asText(item, where))
    case 'count': return asCount(value, where)
    case 'word': return typeof value === 'number' ? asCount(value, where) : asText(value, where)
    case 'number':
      if (!Number.isSafeInteger(value)) throw new Error(`${where}: not a whole number`)
      return value
    case 'flag':
      if (typeof value !== 'boolean') throw new Error(`${where}: not true or false`)
      return value
    case 'zone': return decodeSome(kinds.zones, value, where)
    case 'policy': return decodeSome(kinds.policies, value, where)
  }
}

function encodeSome(table: AnyTable, value: object): Json {
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, encodeField(table[key] as AnyField, item)]))
}

function decodeSome(table: AnyTable, stored: unknown, where: string): object {
  const value = asObject(stored, where)
  onlyKeys(value, Object.keys(table), where)
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, decodeField(table[key] as AnyField, item)]))
}

export function decodeCaller(stored: unknown): Caller {
  const caller = asObject(stored, 'caller')
  onlyKeys(caller, ['name', 'uid', 'pid'], 'caller')
  return {
    name: asText(caller['name'], 'caller'),
    ...(caller['uid'] === undefined ? {} : { uid: asCount(caller['uid'], 'uid') }),
    ...(caller['pid'] === undefined ? {} : { pid: asCount(caller['pid'], 'pid') }),
  }
}

export function asObject(value: unknown, where: string): Json {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new Error(`${where}: not an object`)
  return value as Json
}

export function asArray(value: unknown, where: string): readonly unknown[] {
  if (!Array.isArray(value)) throw new Error(`${where}: not a list`)
  return value
}

export function asText(value: unknown, where: string): string {
  if (typeof value !== 'string') throw new Error(`${where}: not text`)
  return value
}

/** Whole, 0 or more. */
export function asCount(value: unknown, where: string): number {
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0) throw new Error(`${where}: not a count`)
  return value
}

export function asDigest(value: unknown): string {
  if (typeof value !== 'string' || !/^[0-9a-f]{64}$/.test(value)) throw new Error('not a digest')
  return value
}

export function onlyKeys(value: Json, keys: readonly string[], where: string): void {
  const unknown = Object.keys(value).find((key) => !keys.includes(key))
  if (unknown !== undefined) throw new Error(`${where}: key ${unknown} is not known`)
}
