// Settings as the bus carries them, encoded once per entry: dictionaries, the older tuples, single fields.
import { isTimed } from '../../model/ipset.ts'
import type { Entry } from '../../model/settings.ts'
import { encodeField, encodeSettings, encodeTuple, tupleSignature, type BusDict } from '../../settings/dict.ts'
import { fieldRows, type AnyField } from '../../settings/field.ts'
import { kinds, type KindSettings, type NamedKind } from '../../settings/kinds.ts'
import type { Face } from '../members.ts'
import type { ObjectKind } from '../members/firewalld.ts'
import type { Body } from '../wire/encode.ts'
import { memoised } from './handler.ts'

type AnyEntry = Entry<any>
type Encoder = (entry: AnyEntry) => Body

const encoders = new Map<string, Encoder>()

function encoder(name: string, make: () => Encoder): Encoder {
  const known = encoders.get(name)
  if (known !== undefined) return known
  const made = make()
  encoders.set(name, made)
  return made
}

function kindOf(kind: ObjectKind): NamedKind<any> {
  return kinds[kind] as unknown as NamedKind<any>
}

/** An ip set with a timeout is the kernel's own: its entries are never shown. */
function shown(kind: ObjectKind, value: unknown): unknown {
  if (kind !== 'ipset') return value
  const ipset = value as KindSettings['ipset']
  return !isTimed(ipset.options) || ipset.entries.length === 0 ? ipset : { ...ipset, entries: [] }
}

/** `a{sv}`. */
export function dictBody(kind: ObjectKind, face: Face, entry: AnyEntry): Body {
  return encoder(`dict ${kind} ${face}`, () =>
    memoised('a{sv}', (one: AnyEntry): BusDict => encodeSettings(kindOf(kind).fields, shown(kind, one.value), face)))(entry)
}

/** The positional form. Throws for policies, which have none. */
export function tupleBody(kind: ObjectKind, entry: AnyEntry): Body {
  return encoder(`tuple ${kind}`, () => {
    const { tuple } = kindOf(kind)
    if (tuple === null) throw new Error(`${kind} has no tuple`)
    return memoised(tupleSignature(kindOf(kind), tuple), (one: AnyEntry) => encodeTuple(kindOf(kind), tuple, shown(kind, one.value)))
  })(entry)
}

/** One field with the type the member declares: `aas` at runtime where the dictionary has `a(ss)`. */
export function fieldBody(kind: ObjectKind, key: string, type: string, entry: AnyEntry): Body {
  return encoder(`field ${kind} ${key} ${type}`, () => {
    const field = fieldOf(kind, key)
    return memoised(type, (one: AnyEntry) => encodeField(field, (shown(kind, one.value) as Record<string, unknown>)[key]))
  })(entry)
}

export function fieldOf(kind: ObjectKind, key: string): AnyField {
  const row = fieldRows(kindOf(kind).fields).find(([name]) => name === key)
  if (row === undefined) throw new Error(`${kind} has no field ${key}`)
  return row[1]
}
