// A changed settings value → the changed text of its YAML file. What a person wrote stays byte for byte wherever the
// change allows it: only the scalars and lines that must change do. Where that does not work out, the file is printed
// anew from its document tree, which keeps comments and order.
import { isDeepStrictEqual } from 'node:util'
import { Document, LineCounter, Scalar, YAMLMap, YAMLSeq, isCollection, isMap, isPair, isScalar, isSeq, parseDocument } from 'yaml'
import type { Node, Pair } from 'yaml'
import { DerpanetError, printable } from '../../errors.ts'
import { fieldRows } from '../../settings/field.ts'
import type { AnyField } from '../../settings/field.ts'
import type { ObjectKind } from '../../settings/kinds.ts'
import { hasErrors } from '../diagnostic.ts'
import { parseSettings } from '../parse.ts'
import { findPlainList, isPlainItem } from '../plain-list.ts'

const layout = { lineWidth: 0, flowCollectionPadding: false } as const

/** A new file: the keys that differ from the kind's empty value, in the order of the table. */
export function formatYaml<S>(kind: ObjectKind<S>, value: S): string {
  const rows = fieldRows(kind.fields).filter(([key]) => !isDeepStrictEqual(value[key], kind.empty[key]))
  return rows.map(([key, field]) => renderPair(field, value[key])).join('')
}

/**
 * `text` with the keys changed in which `after` differs from what the text means. Throws COMMAND_FAILED when the text
 * has mistakes or the change cannot be expressed; the result always means `after`.
 */
export function editYaml<S>(kind: ObjectKind<S>, path: string, text: string, after: S): string {
  const parsed = parseSettings(path, text, kind)
  if (parsed.value === null) throw new DerpanetError('COMMAND_FAILED', `${printable(path)} is not changed, because it has mistakes`)
  const quick = editPlainList(kind, text, parsed.value, after)
  if (quick !== null) return quick
  const editing: Editing<S> = { kind, text, before: parsed.value, after, items: itemPlaces(text, parsed.positions) }
  for (const make of [splice<S>, reprint<S>]) {
    const edited = make(editing)
    if (edited === null) continue
    const found = parseSettings(path, edited, kind)
    if (!hasErrors(found.diagnostics) && isDeepStrictEqual(found.value, after)) return edited
  }
  throw new DerpanetError('COMMAND_FAILED', `${printable(path)}: the change cannot be written into this file`)
}

/** Only a long list differs, and it stays one: its lines are written anew. null = otherwise. */
function editPlainList<S>(kind: ObjectKind<S>, text: string, before: S, after: S): string | null {
  const [row, another] = fieldRows(kind.fields).filter(([key]) => !isDeepStrictEqual(before[key], after[key]))
  if (row === undefined || another !== undefined || row[1].shape !== 'list' || row[1].long !== true) return null
  const found = findPlainList(text, [row[1].yaml])
  const items = itemTexts(row[1], after[row[0]])
  // what is left of a list that becomes short is for people again
  if (found === null || items.length === 0 || !items.every(isPlainItem)) return null
  return `${text.slice(0, found.start)}${items.map((item) => `  - ${item}\n`).join('')}${text.slice(found.end)}`
}

interface Editing<S> {
  readonly kind: ObjectKind<S>
  readonly text: string
  readonly before: S
  readonly after: S
  /** Offset of an item's node → its canonical text. */
  readonly items: ReadonlyMap<number, string>
}

function itemPlaces(text: string, positions: ReadonlyMap<string, { readonly line: number; readonly column: number }>): ReadonlyMap<number, string> {
  const starts = [0]
  for (let at = text.indexOf('\n'); at >= 0; at = text.indexOf('\n', at + 1)) starts.push(at + 1)
  const places = new Map<number, string>()
  for (const [key, { line, column }] of positions) {
    const equals = key.indexOf('=')
    if (equals >= 0) places.set(starts[line - 1]! + column - 1, key.slice(equals + 1))
  }
  return places
}

function changedRows<S>({ kind, before, after }: Editing<S>): readonly (readonly [keyof S & string, AnyField])[] {
  return fieldRows(kind.fields).filter(([key]) => !isDeepStrictEqual(before[key], after[key]))
}

// --- values as text ---

/** A text with line breaks is quoted, so that it needs no more than its own line. */
const oneLine = (rendered: string, value: string): string => (rendered.includes('\n') ? JSON.stringify(value) : rendered)

function inFlow(value: string): string {
  const document = new Document([value])
  ;(document.contents as YAMLSeq).flow = true
  return oneLine(document.toString(layout).trimEnd().slice(1, -1), value)
}

function inBlock(value: string): string {
  if (isPlainItem(value)) return value
  return oneLine(new Document([value]).toString(layout).trimEnd().slice(2), value)
}

function scalarOf(field: AnyField, value: unknown): unknown {
  return field.shape === 'scalar' && field.type === 'i' ? Number(value) : value
}

const itemTexts = (field: AnyField, value: unknown): readonly string[] =>
  field.shape === 'list' ? (value as readonly unknown[]).map((item) => field.item.toText(item)) : []

/** Lists stand in one line while they are short. */
const maxFlowChars = 80

function renderPair(field: AnyField, value: unknown): string {
  switch (field.shape) {
    case 'scalar': return renderScalarPair(field, value)
    case 'flag': return `${field.yaml}: ${String(value)}\n`
    case 'list': {
      const texts = itemTexts(field, value)
      const flow = texts.length > maxFlowChars / 2 ? null : `${field.yaml}: [${texts.map(inFlow).join(', ')}]\n`
      return flow !== null && flow.length <= maxFlowChars && !texts.some((text) => /\s/.test(text)) ? flow : `${field.yaml}:\n${texts.map((text) => `  - ${inBlock(text)}\n`).join('')}`
    }
    case 'dict': return `${field.yaml}: {${renderEntries(value as Readonly<Record<string, string>>)}}\n`
  }
}

function renderScalarPair(field: AnyField, value: unknown): string {
  return new Document({ [field.yaml]: scalarOf(field, value) }).toString(layout)
}

function renderEntries(dict: Readonly<Record<string, string>>): string {
  return Object.entries(dict).map(([key, value]) => `${inFlow(key)}: ${inFlow(value)}`).join(', ')
}

// --- splicing ---

interface Edit {
  readonly start: number
  readonly end: number
  readonly text: string
}

/** null = this change needs more than a splice. */
function splice<S>(editing: Editing<S>): string | null {
  const { text, after } = editing
  const root = parseDocument(text).contents
  if (root !== null && !(isMap(root) && !root.flow) && !(isScalar(root) && root.value === null)) return null
  const pairs = new Map((isMap(root) ? root.items : []).map((pair) => [isScalar(pair.key) ? String(pair.key.value) : '', pair as Pair<Node, Node | null>]))
  const edits: Edit[] = []
  let appended = ''
  for (const [key, field] of changedRows(editing)) {
    const pair = pairs.get(field.yaml)
    if (pair === undefined) {
      appended += renderPair(field, after[key])
      continue
    }
    const found = editPair(editing, field, pair, after[key])
    if (found === null) return null
    edits.push(...found)
  }
  let edited = text
  for (const { start, end, text: replacement } of edits.sort((one, other) => other.start - one.start)) {
    edited = edited.slice(0, start) + replacement + edited.slice(end)
  }
  return appended === '' ? edited : `${edited}${edited === '' || edited.endsWith('\n') ? '' : '\n'}${appended}`
}

function editPair<S>(editing: Editing<S>, field: AnyField, pair: Pair<Node, Node | null>, value: unknown): readonly Edit[] | null {
  const node = pair.value
  if (node === null || (isScalar(node) && node.value === null)) return null
  switch (field.shape) {
    case 'scalar':
    case 'flag': return isScalar(node) ? editScalar(editing.text, node, renderScalar(field, value)) : null
    case 'list': return isSeq(node) ? editSeq(editing, field, pair.key, node, itemTexts(field, value)) : null
    case 'dict': return isMap(node) ? editMap(editing.text, pair.key, node, value as Readonly<Record<string, string>>) : null
  }
}

function renderScalar(field: AnyField, value: unknown): string | null {
  const text = renderScalarPair(field, value).trimEnd().slice(field.yaml.length + 2)
  return text.includes('\n') ? null : text
}

function editScalar(text: string, node: Scalar, replacement: string | null): readonly Edit[] | null {
  const [start, end] = node.range ?? [0, 0]
  if (replacement === null || node.type === Scalar.BLOCK_FOLDED || node.type === Scalar.BLOCK_LITERAL || text.slice(start, end).includes('\n')) return null
  return [{ start, end, text: replacement }]
}

function editSeq<S>({ text, items }: Editing<S>, field: AnyField, key: Node, seq: YAMLSeq, wanted: readonly string[]): readonly Edit[] | null {
  const nodes = seq.items.map((node) => {
    const [start, end] = (node as Node).range ?? [0, 0]
    return { start, end, item: items.get(start) }
  })
  if (seq.flow) {
    const source = new Map(nodes.flatMap(({ start, end, item }) => (item === undefined ? [] : [[item, text.slice(start, end)] as const])))
    return editFlow(text, seq, wanted.map((item) => source.get(item) ?? inFlow(item)))
  }
  // A repeated item has no place of its own and goes with the first change of the list.
  const kept = nodes.filter(({ item }) => item !== undefined && wanted.includes(item))
  const added = wanted.slice(kept.length)
  if (!isDeepStrictEqual(kept.map(({ item }) => item), wanted.slice(0, kept.length))) return null
  return editLines(text, key, nodes, (node) => kept.includes(node), '- ', added.map(inBlock), field.shape === 'list' ? '[]' : '{}')
}

function editMap(text: string, key: Node, map: YAMLMap, wanted: Readonly<Record<string, string>>): readonly Edit[] | null {
  const nodes = map.items.map((pair) => {
    const { key: name, value } = pair as Pair<Scalar, Scalar | null>
    return { name: String(name.value), start: name.range?.[0] ?? 0, end: value?.range?.[1] ?? 0, value }
  })
  const had = new Map(nodes.map((node) => [node.name, node]))
  if (map.flow) {
    return editFlow(text, map, Object.entries(wanted).map(([name, value]) => {
      const node = had.get(name)
      return node !== undefined && textOf(node.value) === value ? text.slice(node.start, node.end) : `${inFlow(name)}: ${inFlow(value)}`
    }))
  }
  const edits: Edit[] = []
  for (const { name, value: node } of nodes) {
    const value = wanted[name]
    if (value === undefined || textOf(node) === value) continue
    const edit = node === null ? null : editScalar(text, node, inBlock(value))
    if (edit === null) return null
    edits.push(...edit)
  }
  const added = Object.entries(wanted).filter(([name]) => !had.has(name)).map(([name, value]) => `${inBlock(name)}: ${inBlock(value)}`)
  const lines = editLines(text, key, nodes, ({ name }) => Object.hasOwn(wanted, name), '', added, '{}')
  return lines === null ? null : [...edits, ...lines]
}

function textOf(node: Scalar | null): string | null {
  if (node === null) return null
  return typeof node.value === 'string' ? node.value : node.source ?? String(node.value)
}

/** `[a, b]` or `{a: b}` in one line, without comments. */
function editFlow(text: string, node: YAMLSeq | YAMLMap, parts: readonly string[]): readonly Edit[] | null {
  const [start, end] = node.range ?? [0, 0]
  const source = text.slice(start, end)
  if (/[\n#]/.test(source)) return null
  const padding = /^.\s/.test(source) && parts.length > 0 ? ' ' : ''
  return [{ start, end, text: `${source[0]}${padding}${parts.join(', ')}${padding}${source.at(-1)}` }]
}

/** One item a line: lines go and come, the others stay. A comment line above an item stays even when the item goes. */
function editLines<Part extends { readonly start: number; readonly end: number }>(
  text: string, key: Node, parts: readonly Part[], keep: (part: Part) => boolean, bullet: string, added: readonly string[], empty: string,
): readonly Edit[] | null {
  const edits: Edit[] = []
  const lineEnd = (offset: number): number => {
    const end = text.indexOf('\n', offset)
    return end < 0 ? text.length : end + 1
  }
  for (const part of parts) {
    const start = text.lastIndexOf('\n', part.start - 1) + 1
    const before = text.slice(start, part.start)
    if (!(bullet === '' ? /^\s*$/ : /^\s*-\s+$/).test(before)) return null
    if (!keep(part)) edits.push({ start, end: lineEnd(part.end), text: '' })
  }
  const last = parts.at(-1)
  if (last === undefined) return null
  if (parts.some(keep) || added.length > 0) {
    const start = text.lastIndexOf('\n', last.start - 1) + 1
    const lead = text.slice(start, last.start)
    const at = lineEnd(last.end)
    const newline = text[at - 1] === '\n' ? '' : '\n'
    if (added.length > 0) edits.push({ start: at, end: at, text: newline + added.map((line) => `${lead}${line}\n`).join('') })
    return edits
  }
  const colon = text.indexOf(':', key.range?.[1] ?? 0) + 1
  return [...edits, { start: colon, end: colon, text: ` ${empty}` }]
}

// --- printing anew ---

function reprint<S>(editing: Editing<S>): string | null {
  const document = parseDocument(editing.text, { lineCounter: new LineCounter() })
  if (document.contents === null || (isScalar(document.contents) && document.contents.value === null)) {
    const { commentBefore, comment } = document
    document.contents = new YAMLMap() as never
    document.commentBefore = commentBefore ?? comment
    document.comment = null
  }
  const root = document.contents as unknown as Node
  if (!isMap(root)) return null
  for (const [key, field] of changedRows(editing)) {
    const pair = root.items.find((candidate) => isPair(candidate) && isScalar(candidate.key) && candidate.key.value === field.yaml)
    const old = (pair?.value ?? null) as Node | null
    const node = makeNode(document, editing, field, old, editing.after[key])
    if (old !== null) {
      // Comments inside a collection belong to its items; those of the value itself stay at the value.
      if (old.comment && !isCollection(old)) node.comment = old.comment
      if (old.commentBefore) node.commentBefore = old.commentBefore
      if (old.spaceBefore) node.spaceBefore = true
    }
    if (pair === undefined) root.set(field.yaml, node)
    else pair.value = node
  }
  return document.toString(layout)
}

function makeNode<S>(document: Document.Parsed, { items }: Editing<S>, field: AnyField, old: Node | null, value: unknown): Node {
  switch (field.shape) {
    case 'scalar':
    case 'flag': return document.createNode(scalarOf(field, value)) as Node
    case 'dict': return document.createNode(value) as Node
    case 'list': {
      const had = new Map(isSeq(old) ? old.items.map((node) => [items.get((node as Node).range?.[0] ?? -1), node as Node]) : [])
      const seq = new YAMLSeq()
      seq.items = itemTexts(field, value).map((text) => had.get(text) ?? (document.createNode(text) as Node))
      if (isSeq(old)) {
        if (old.flow) seq.flow = true
        keepComments(old, seq)
      }
      return seq
    }
  }
}

/** A comment above an item that goes moves to the next one that stays, or to the end of the list. */
function keepComments(old: YAMLSeq, seq: YAMLSeq): void {
  const joined = (...parts: readonly (string | null | undefined)[]): string => parts.filter((part) => part).join('\n')
  let pending = ''
  for (const node of old.items as Node[]) {
    if (!seq.items.includes(node)) pending = joined(pending, node.commentBefore)
    else if (pending !== '') {
      node.commentBefore = joined(pending, node.commentBefore)
      pending = ''
    }
  }
  const comment = joined(pending, old.comment)
  if (comment !== '') seq.comment = comment
}
