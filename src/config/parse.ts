// Text of one file → one settings value, the position of everything in it, and every mistake. Files are not read here.
import { isMap, isScalar, isSeq } from 'yaml'
import type { Node, Scalar, YAMLMap, YAMLSeq } from 'yaml'
import { DerpanetError, printable } from '../errors.ts'
import type { ErrorCode } from '../errors.ts'
import type { Position } from '../model/settings.ts'
import { fieldRows } from '../settings/field.ts'
import type { AnyField, DictField, FlagField, ItemCodec, ListField, ScalarField } from '../settings/field.ts'
import { parseDictEntry } from '../settings/dict.ts'
import type { ObjectKind } from '../settings/kinds.ts'
import { didYouMean } from '../settings/suggest.ts'
import type { Diagnostic } from './diagnostic.ts'
import { hasErrors } from './diagnostic.ts'
import { findPlainList, withoutItems } from './plain-list.ts'
import type { PlainList } from './plain-list.ts'
import { readYaml } from './yaml.ts'
import type { YamlFile } from './yaml.ts'

export interface Parsed<S> {
  /** null when there is an error. Keys that the file does not have are those of the kind's empty value. */
  readonly value: S | null
  /** As Entry.positions says. */
  readonly positions: ReadonlyMap<string, Position>
  /** In the order of the text. */
  readonly diagnostics: readonly Diagnostic[]
}

/** A value that could not be read; its diagnostic is reported already. */
const wrong = Symbol('wrong')
type Wrong = typeof wrong

/** Reading one file: the node tree, where to report, and the positions found so far. */
interface Reading {
  readonly yaml: YamlFile
  readonly positions: Map<string, Position>
}

const startOf = (node: unknown): number => (node as Node | null)?.range?.[0] ?? 0

/** `file` is the name in the diagnostics. Never throws for any text. */
export function parseSettings<S>(file: string, text: string, kind: ObjectKind<S>): Parsed<S> {
  const long = findPlainList(text, longLists(kind))
  const yaml = long === null ? readYaml(file, text) : readYaml(file, withoutItems(text, long), text)
  const reading: Reading = { yaml, positions: new Map() }
  const found: Record<string, unknown> = {}
  if (yaml.root !== null) {
    if (isMap(yaml.root)) {
      readMap(reading, kind, yaml.root, found)
      if (long !== null) readLong(reading, kind, long, found)
    }
    else if (!(isScalar(yaml.root) && yaml.root.value === null)) yaml.report(startOf(yaml.root), 'PARSE_ERROR', 'expected keys and values, like `short: Name`')
  }
  let value: S = { ...kind.empty, ...(found as Partial<S>) }
  if (!hasErrors(yaml.diagnostics)) value = checkWhole(reading, kind, value)
  const diagnostics = distinct(yaml.diagnostics)
  return { value: hasErrors(diagnostics) ? null : value, positions: reading.positions, diagnostics }
}

/** Keys of lists that may be very long. */
function longLists<S>({ fields }: ObjectKind<S>): readonly string[] {
  return fieldRows(fields).filter(([, field]) => field.shape === 'list' && field.long === true).map(([, field]) => field.yaml)
}

function readLong<S>(reading: Reading, kind: ObjectKind<S>, { key: name, items, line }: PlainList, found: Record<string, unknown>): void {
  const row = fieldRows(kind.fields).find(([, field]) => field.yaml === name)
  // the same key twice, which is reported already
  if (row === undefined || row[1].shape !== 'list' || (found[row[0]] as readonly unknown[] | undefined)?.length !== 0) return
  const [key, field] = row
  const list: unknown[] = []
  let failed = false
  items.forEach((text, index) => {
    const position = { line: line + index, column: 5 }
    try {
      const item = field.item.fromText(text)
      const place = `${key}=${field.item.toText(item)}`
      if (reading.positions.has(place)) return reading.yaml.reportAt(position, 'ALREADY_ENABLED', `'${printable(field.item.toText(item))}' is in ${field.yaml} twice`, 'warning')
      reading.positions.set(place, position)
      list.push(item)
    } catch (error) {
      if (!(error instanceof DerpanetError)) throw error
      reading.yaml.reportAt(position, error.code, explain(error))
      failed = true
    }
  })
  if (failed) delete found[key]
  else found[key] = list
}

/** In the order of the text, one for each place: what is wrong at the same place twice has the same cause. */
function distinct(diagnostics: readonly Diagnostic[]): Diagnostic[] {
  const sorted = [...diagnostics].sort((a, b) => a.line - b.line || a.column - b.column)
  return sorted.filter((diagnostic, index) => {
    const before = sorted[index - 1]
    return before === undefined || before.line !== diagnostic.line || before.column !== diagnostic.column || before.severity !== diagnostic.severity
  })
}

function checkWhole<S>(reading: Reading, kind: ObjectKind<S>, value: S): S {
  const mistakes = kind.check(value)
  for (const { key, item, error } of mistakes) {
    const place = reading.positions.get(`${key}=${item}`) ?? reading.positions.get(key)
    reportAt(reading.yaml, place ?? { line: 1, column: 1 }, error)
  }
  if (mistakes.length > 0 || kind.canonical === undefined) return value
  const canonical = kind.canonical(value)
  for (const [key, field] of fieldRows(kind.fields)) {
    if (field.shape === 'list') renamePositions(reading.positions, key, field, value[key] as readonly unknown[], canonical[key] as readonly unknown[])
  }
  return canonical
}

/** An item that became canonical keeps its place under its new text. */
function renamePositions(
  positions: Map<string, Position>, key: string, field: ListField<unknown>, before: readonly unknown[], after: readonly unknown[],
): void {
  const moved = before.map((item, index) => [field.item.toText(item), field.item.toText(after[index])] as const).filter(([from, to]) => from !== to)
  for (const [from, to] of moved) {
    const place = positions.get(`${key}=${from}`)
    if (place !== undefined) positions.set(`${key}=${to}`, place)
  }
}

function reportAt(yaml: YamlFile, place: Position, error: DerpanetError): void {
  yaml.reportAt(place, error.code, error.detail === '' ? error.code : error.detail)
}

function readMap<S>(reading: Reading, kind: ObjectKind<S>, map: YAMLMap, found: Record<string, unknown>): void {
  const rows = new Map(fieldRows(kind.fields).map(([key, field]) => [field.yaml, { key, field }]))
  for (const { key: keyNode, value: valueNode } of map.items) {
    const name = isScalar(keyNode) && typeof keyNode.value === 'string' ? keyNode.value : null
    if (name === null) {
      reading.yaml.report(startOf(keyNode), 'PARSE_ERROR', 'a key is a word')
      continue
    }
    const row = rows.get(name)
    if (row === undefined) {
      if (name !== '<<') reading.yaml.report(startOf(keyNode), 'INVALID_OPTION', `unknown key '${printable(name)}'${didYouMean(name, rows.keys())}`)
      continue
    }
    reading.positions.set(row.key, reading.yaml.position(startOf(keyNode)))
    const value = readField(reading, row.key, row.field, valueNode as Node | null, startOf(keyNode))
    if (value !== wrong) found[row.key] = value
  }
}

function readField(reading: Reading, key: string, field: AnyField, node: Node | null, keyOffset: number): unknown {
  const nothing = node === null || (isScalar(node) && node.value === null)
  switch (field.shape) {
    case 'scalar': return readScalar(reading, field, node, keyOffset)
    case 'flag': return readFlag(reading, field, node, keyOffset)
    // A key with nothing after it is an empty list: what is left when the last item is taken out by hand.
    case 'list': return nothing ? [] : readList(reading, key, field, node)
    case 'dict': return nothing ? {} : readDict(reading, key, field, node)
  }
}

/** Codecs throw what firewalld answers, often the bare word; a person reading a file wants to know what it should have been. */
const expected: Partial<Record<ErrorCode, string>> = {
  INVALID_PORT: 'a port like 8080/tcp or 6000-6010/udp', INVALID_PROTOCOL: 'a protocol', INVALID_SERVICE: 'a service name',
  INVALID_ICMPTYPE: 'an ICMP type name', INVALID_INTERFACE: 'an interface name', INVALID_ADDR: 'an address or prefix',
  INVALID_IPSET: 'an ipset name', INVALID_ZONE: 'a zone name', INVALID_SOURCE: 'a list name', INVALID_HELPER: 'a helper name',
  INVALID_MODULE: 'a module name', MISSING_PROTOCOL: 'a port and a protocol, like 8080/tcp',
}

function explain(error: DerpanetError): string {
  const noun = expected[error.code]
  if (noun === undefined) return error.detail === '' ? 'empty' : error.detail
  if (error.detail === '') return `expected ${noun}`
  return /\s/.test(error.detail) ? error.detail : `'${error.detail}' is not ${noun}`
}

/** Runs a codec and turns what it throws into a diagnostic at `offset`. */
function attempt<T>(reading: Reading, offset: number, work: () => T): T | Wrong {
  try {
    return work()
  } catch (error) {
    if (!(error instanceof DerpanetError)) throw error
    reading.yaml.report(offset, error.code, explain(error))
    return wrong
  }
}

/** Text, or a number as it is written (`80`, `2.5`, `0x10`); null for everything else. */
function textOf(node: Scalar): string | null {
  if (typeof node.value === 'string') return node.value
  return typeof node.value === 'number' || typeof node.value === 'bigint' ? node.source ?? String(node.value) : null
}

function describe(node: Node | null): string {
  if (node === null) return 'nothing'
  if (isSeq(node)) return 'a list'
  if (isMap(node)) return 'keys and values'
  const value = isScalar(node) ? node.value : null
  return value === null ? 'nothing' : typeof value === 'boolean' ? `the truth value ${value}, which has to be quoted to be text` : 'a value'
}

function refuse(reading: Reading, offset: number, code: ErrorCode, text: string): Wrong {
  reading.yaml.report(offset, code, text)
  return wrong
}

function readScalar(reading: Reading, field: ScalarField<unknown>, node: Node | null, keyOffset: number): unknown {
  const offset = node === null ? keyOffset : startOf(node)
  const text = isScalar(node) ? textOf(node) : null
  if (text === null) return refuse(reading, offset, field.code, `${field.yaml} takes ${field.type === 'i' ? 'a whole number' : 'text'}, not ${describe(node)}`)
  const plain = field.type === 'i' && isScalar(node) && typeof node.value !== 'string' ? node.value : text
  return attempt(reading, offset, () => field.parse(plain))
}

function readFlag(reading: Reading, field: FlagField, node: Node | null, keyOffset: number): boolean | Wrong {
  const value = isScalar(node) ? node.value : null
  if (typeof value === 'boolean') return value
  if (value === 'yes' || value === 'no') return value === 'yes'
  return refuse(reading, node === null ? keyOffset : startOf(node), 'INVALID_VALUE', `${field.yaml} is true or false`)
}

function readList(reading: Reading, key: string, field: ListField<unknown>, node: Node | null): readonly unknown[] | Wrong {
  if (!isSeq(node)) return refuse(reading, startOf(node), field.code, `${field.yaml} takes a list, like ${field.example ?? '[item]'}`)
  const items: unknown[] = []
  let failed = false
  for (const itemNode of (node as YAMLSeq).items) {
    const offset = startOf(itemNode)
    const item = readItem(reading, field, itemNode as Node | null)
    if (item === wrong) {
      failed = true
      continue
    }
    const place = `${key}=${field.item.toText(item)}`
    if (reading.positions.has(place)) {
      reading.yaml.report(offset, 'ALREADY_ENABLED', `'${printable(field.item.toText(item))}' is in ${field.yaml} twice`, 'warning')
      continue
    }
    reading.positions.set(place, reading.yaml.position(offset))
    items.push(item)
  }
  return failed ? wrong : items
}

function readItem(reading: Reading, field: ListField<unknown>, node: Node | null): unknown {
  const offset = startOf(node)
  if (isScalar(node)) {
    const text = textOf(node)
    if (text !== null) return attempt(reading, offset, () => field.item.fromText(text))
  }
  if (isMap(node) && field.item.yamlKeys !== undefined) return readColumns(reading, field, field.item, field.item.yamlKeys, node)
  return refuse(reading, offset, field.code, `an item of ${field.yaml} is text, not ${describe(node)}`)
}

/** {port: 80, protocol: tcp}: a map whose keys are the columns of the item; a column left out is empty. */
function readColumns(reading: Reading, field: ListField<unknown>, item: ItemCodec<unknown>, names: readonly string[], map: YAMLMap): unknown {
  const columns = new Map<string, string>()
  let failed = false
  for (const { key: keyNode, value: valueNode } of map.items) {
    const name = isScalar(keyNode) ? String(keyNode.value) : ''
    const text = isScalar(valueNode) ? textOf(valueNode as Scalar) : null
    if (!names.includes(name)) {
      reading.yaml.report(startOf(keyNode), 'INVALID_OPTION', `unknown key '${printable(name)}'${didYouMean(name, names)}`)
      failed = true
    } else if (text === null) {
      reading.yaml.report(startOf(valueNode ?? keyNode), field.code, `${name} takes text, not ${describe(valueNode as Node | null)}`)
      failed = true
    } else {
      columns.set(name, text)
    }
  }
  return failed ? wrong : attempt(reading, startOf(map), () => item.parse(names.map((name) => columns.get(name) ?? '')))
}

function readDict(reading: Reading, key: string, field: DictField, node: Node | null): Readonly<Record<string, string>> | Wrong {
  if (!isMap(node)) return refuse(reading, startOf(node), field.code, `${field.yaml} takes keys and values, like ${field.example ?? '{key: value}'}`)
  const entries: [string, string][] = []
  let failed = false
  for (const { key: keyNode, value: valueNode } of node.items) {
    const name = isScalar(keyNode) ? textOf(keyNode) : null
    const text = isScalar(valueNode) ? textOf(valueNode as Scalar) : null
    if (name === null || text === null) {
      reading.yaml.report(startOf(valueNode ?? keyNode), field.code, `${name === null ? 'a key' : printable(name)} takes text, not ${describe(valueNode as Node | null)}`)
      failed = true
      continue
    }
    const value = attempt(reading, startOf(field.keys === null || field.keys.includes(name) ? valueNode : keyNode), () => parseDictEntry(field, name, text))
    if (value === wrong) failed = true
    else {
      entries.push([name, value])
      reading.positions.set(`${key}=${name}`, reading.yaml.position(startOf(keyNode)))
    }
  }
  return failed ? wrong : Object.fromEntries(entries)
}
