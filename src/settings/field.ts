// What a setting is, described once: from these rows come the YAML reader and writer, the a{sv} codec of the bus,
// the D-Bus member families and the tables of the manual.
import type { ErrorCode } from '../errors.ts'

/**
 * How one item of a list travels. `columns` name its D-Bus arguments; an item is always one string per column on the
 * bus and in a Change. `parse` canonicalises and throws DerpanetError; format(parse(x)) is canonical and parse(format(y)) = y.
 */
export interface ItemCodec<T> {
  /** D-Bus signature of one item in a settings dictionary: s, (ss), (ssss). */
  readonly signature: string
  readonly columns: readonly string[]
  parse(columns: readonly string[]): T
  format(item: T): readonly string[]
  /** One-line text for YAML and for `positions` keys: `8080/tcp`, `ssh`. */
  toText(item: T): string
  /** Inverse of toText; throws DerpanetError. */
  fromText(text: string): T
  /** YAML maps are taken too where a codec has columns and this is set: {port: 80, protocol: tcp, to-port: 8080}. */
  readonly yamlKeys?: readonly string[]
}

interface FieldBase {
  /** Key in the YAML file. */
  readonly yaml: string
  /** Key of the settings dictionary on the bus; absent = not on the bus. */
  readonly dbus?: string
  /** firewalld's word for it in member names: addPort, queryMasquerade. Absent = no member family. */
  readonly noun?: string
  /** Plural in getters, where it is not noun + "s". */
  readonly plural?: string
  /** Sentence for the manual. */
  readonly doc: string
  /** May a runtime call change it, and does it take a timeout? */
  readonly runtime: 'timed' | 'plain' | 'no'
  /** First face of the interface that has it. */
  readonly since?: '2.5'
  /** An example for the manual, in YAML. */
  readonly example?: string
}

export interface ScalarField<T> extends FieldBase {
  readonly shape: 'scalar'
  /** D-Bus type. */
  readonly type: 's' | 'i' | 'b'
  /** Text as the bus carries it ("%%REJECT%%"), where that differs from the YAML text. */
  readonly toBus?: (value: T) => string | number | boolean
  /** Accepts what YAML or the bus gave; throws DerpanetError with `code`. */
  readonly parse: (value: unknown) => T
  readonly code: ErrorCode
  /** The same for what the bus gave, where it does not take the YAML text. */
  readonly fromBus?: (value: unknown) => T
  /** All values, where there are few: for suggestions and the manual. */
  readonly values?: readonly string[]
  /** The member family has a query verb too: queryFamily. */
  readonly query?: true
}

export interface FlagField extends FieldBase {
  readonly shape: 'flag'
}

export interface ListField<T> extends FieldBase {
  readonly shape: 'list'
  readonly item: ItemCodec<T>
  /** What a bad item is called, e.g. INVALID_PORT. */
  readonly code: ErrorCode
  /** There may be a hundred thousand of them (config/plain-list.ts). */
  readonly long?: true
}

export interface DictField extends FieldBase {
  readonly shape: 'dict'
  /** Keys and the check of their values; null = any key of letters, digits, `-`, `_`. */
  readonly keys: readonly string[] | null
  /** What is none of `keys` because it has a key of its own in the file: that key. */
  readonly elsewhere?: ReadonlyMap<string, string>
  readonly parse: (key: string, value: string) => string
  readonly code: ErrorCode
}

/** The tuples keep a union of words one field instead of one field per word. */
export type Field<T> =
  [T] extends [boolean] ? FlagField | ScalarField<T>
  : [T] extends [readonly (infer Item)[]] ? ListField<Item>
  : [T] extends [Readonly<Record<string, string>>] ? DictField
  : ScalarField<T>

/** One row per key of a settings type: a missing or superfluous row does not compile. */
export type FieldTable<S> = { readonly [Key in keyof S]-?: Field<S[Key]> }

/** A row of any table, for code that works on all of them; what it reads and writes is `unknown`. */
export type AnyField = ScalarField<any> | FlagField | ListField<any> | DictField

/** The rows of a table in their order, which is the order of keys on the bus and in the manual. */
export function fieldRows<S>(table: FieldTable<S>): readonly (readonly [keyof S & string, AnyField])[] {
  return Object.entries(table) as unknown as readonly (readonly [keyof S & string, AnyField])[]
}
