// Settings ↔ the shapes of the bus: the a{sv} dictionary, the older positional tuple, and the type of each.
// Values are plain JS (string, number, boolean, arrays, records); whoever speaks the wire wraps them into variants.
import { DerpanetError, printable } from '../errors.ts'
import type { AnyField } from './field.ts'
import { fieldRows } from './field.ts'
import type { FieldTable } from './field.ts'
import type { ObjectKind, TupleColumn } from './kinds.ts'
import { didYouMean } from './suggest.ts'

export type BusValue = string | number | boolean | readonly string[] | readonly (readonly string[])[] | Readonly<Record<string, string>>

/** One value of a settings dictionary and the D-Bus type of its variant. */
export interface BusEntry {
  readonly signature: string
  readonly value: BusValue
}

/** In the order of the field table. */
export type BusDict = Readonly<Record<string, BusEntry>>

/** Which version's keys exist. */
export type Face = '1.3' | '2.5'

/** D-Bus type of a field: s, i, b, as, a(ss), a{ss}. */
export function fieldSignature(field: AnyField): string {
  switch (field.shape) {
    case 'scalar': return field.type
    case 'flag': return 'b'
    case 'list': return `a${field.item.signature}`
    case 'dict': return 'a{ss}'
  }
}

/** One field's value as the bus carries it. Items of one column are texts, others arrays of texts. */
export function encodeField(field: AnyField, value: unknown): BusValue {
  switch (field.shape) {
    case 'scalar': return field.toBus === undefined ? (value as BusValue) : field.toBus(value)
    case 'flag': return value as boolean
    case 'list': {
      const items = (value as readonly unknown[]).map((item) => field.item.format(item))
      return field.item.columns.length === 1 ? items.map((columns) => columns[0] ?? '') : items
    }
    case 'dict': return value as Readonly<Record<string, string>>
  }
}

/** Inverse of encodeField with every check of the field. Throws the field's DerpanetError, INVALID_TYPE for another shape. */
export function decodeField(key: string, field: AnyField, value: unknown): unknown {
  switch (field.shape) {
    case 'scalar': {
      const expected = field.type === 's' ? 'string' : field.type === 'b' ? 'boolean' : 'number'
      const found = typeof value === 'bigint' ? Number(value) : value
      if (typeof found !== expected) throw wrongType(key, fieldSignature(field))
      return (field.fromBus ?? field.parse)(found)
    }
    case 'flag':
      if (typeof value !== 'boolean') throw wrongType(key, 'b')
      return value
    case 'list': {
      if (!Array.isArray(value)) throw wrongType(key, fieldSignature(field))
      return value.map((item: unknown) => {
        const columns = field.item.columns.length === 1 && typeof item === 'string' ? [item] : item
        if (!Array.isArray(columns) || !columns.every((column) => typeof column === 'string')) throw wrongType(key, fieldSignature(field))
        return field.item.parse(columns as string[])
      })
    }
    case 'dict': {
      if (typeof value !== 'object' || value === null || Array.isArray(value)) throw wrongType(key, 'a{ss}')
      return Object.fromEntries(Object.entries(value).map(([name, text]) => {
        if (typeof text !== 'string') throw wrongType(key, 'a{ss}')
        return [name, parseDictEntry(field, name, text)]
      }))
    }
  }
}

/** One key of a dict field. Throws the field's code for a key it does not have. */
export function parseDictEntry(field: AnyField & { readonly shape: 'dict' }, name: string, text: string): string {
  if (field.keys === null ? !/^[A-Za-z0-9_.:+-]{1,64}$/.test(name) : !field.keys.includes(name)) {
    const own = field.elsewhere?.get(name)
    const hint = own === undefined ? didYouMean(name, field.keys ?? []) : `: write ${own}`
    throw new DerpanetError(field.code, `'${printable(name)}' is not a key of ${field.yaml}${hint}`)
  }
  return field.parse(name, text)
}

function wrongType(key: string, signature: string): DerpanetError {
  return new DerpanetError('INVALID_TYPE', `'${printable(key)}' is not of type ${signature}`)
}

function isEmpty(value: BusValue): boolean {
  if (typeof value === 'object') return (Array.isArray(value) ? value : Object.keys(value)).length === 0
  return value === ''
}

function onFace(field: AnyField, face: Face): boolean {
  return field.dbus !== undefined && (field.since === undefined || face === field.since)
}

/** Settings → dictionary. Empty texts, lists and dictionaries are left out, numbers and booleans never. */
export function encodeSettings<S>(fields: FieldTable<S>, value: NoInfer<S>, face: Face = '2.5'): BusDict {
  return encodePartial(fields, value, face, false)
}

/** The keys that are there, empty ones too: what a signal about a partial change repeats. */
export function encodePartial<S>(fields: FieldTable<S>, value: Partial<NoInfer<S>>, face: Face = '2.5', keepEmpty = true): BusDict {
  const found: [string, BusEntry][] = []
  for (const [key, field] of fieldRows(fields)) {
    const plain = value[key]
    if (plain === undefined || field.dbus === undefined || !onFace(field, face)) continue
    const encoded = encodeField(field, plain)
    if (keepEmpty || !isEmpty(encoded)) found.push([field.dbus, { signature: fieldSignature(field), value: encoded }])
  }
  return Object.fromEntries(found)
}

/**
 * Dictionary → the settings it names, for merging into others: `{ ...current, ...decodeSettings(fields, dict) }`.
 * Values are plain (variants taken off). Throws INVALID_OPTION for an unknown key and what the fields throw. Keys that
 * only a call knows (`timeout`) are for the caller to take out first.
 */
export function decodeSettings<S>(fields: FieldTable<S>, dict: Readonly<Record<string, unknown>>, face: Face = '2.5'): Partial<S> {
  const byName = new Map(fieldRows(fields).filter(([, field]) => onFace(field, face)).map(([key, field]) => [field.dbus, { key, field }]))
  const found: Partial<Record<string, unknown>> = {}
  for (const [name, value] of Object.entries(dict)) {
    const row = byName.get(name)
    if (row === undefined) throw new DerpanetError('INVALID_OPTION', `'${printable(name)}' is not a valid key`)
    found[row.key] = decodeField(name, row.field, value)
  }
  return found as Partial<S>
}

type Tuple<S> = readonly TupleColumn<S>[]

/** `(sssbsasa(ss)…)` of a tuple layout. */
export function tupleSignature<S>(kind: ObjectKind<S>, tuple: Tuple<S>): string {
  const fields = kind.fields as unknown as Readonly<Record<string, AnyField>>
  return `(${tuple.map((column) => 'field' in column ? fieldSignature(fields[column.field]!) : column.signature).join('')})`
}

export function encodeTuple<S>(kind: ObjectKind<S>, tuple: Tuple<S>, value: S): readonly BusValue[] {
  const fields = kind.fields as unknown as Readonly<Record<string, AnyField>>
  return tuple.map((column) => 'field' in column ? encodeField(fields[column.field]!, value[column.field]) : column.constant)
}

/** Inverse of encodeTuple: only the fields the tuple has. Throws INVALID_TYPE for another number of columns, and what the fields throw. */
export function decodeTuple<S>(kind: ObjectKind<S>, tuple: Tuple<S>, values: readonly unknown[]): Partial<S> {
  if (values.length !== tuple.length) throw new DerpanetError('INVALID_TYPE', `structure size mismatch, expected ${tuple.length}, got ${values.length}`)
  const fields = kind.fields as unknown as Readonly<Record<string, AnyField>>
  const found: Partial<Record<string, unknown>> = {}
  tuple.forEach((column, index) => {
    if ('field' in column) found[column.field] = decodeField(column.field, fields[column.field]!, values[index])
  })
  return found as Partial<S>
}
