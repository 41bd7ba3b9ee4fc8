// Lists and dictionaries of permanent objects: one item more or less, as the rows of the tables say.
import { DerpanetError, printable } from '../../errors.ts'
import { checkNewEntry, soughtEntry } from '../../model/ipset.ts'
import type { PermanentKind } from '../../model/permanent.ts'
import { parsePortRange } from '../../model/port.ts'
import { addPorts, coversPorts, removePorts } from '../../model/reduce/ports.ts'
import type { PortSpec } from '../../model/settings.ts'
import { portItem } from '../codec.ts'
import { parseDictEntry } from '../dict.ts'
import { fieldRows, type AnyField, type ListField } from '../field.ts'
import type { NamedKind } from '../kinds.ts'

type Value = Readonly<Record<string, unknown>>

interface ItemChange {
  readonly object: PermanentKind
  readonly name: string
  readonly field: string
  readonly item: readonly string[]
}

const shown = (item: readonly string[]): string => printable(item.join(':'))

function listOf(field: AnyField): ListField<unknown> {
  if (field.shape !== 'list') throw new Error(`${field.yaml} is no list`)
  return field
}

/** Zones and policies have ranges, of which a part can be taken and whose parts grow together. Of services and helpers each port stays as it was written, as in firewalld. */
function isPorts(object: PermanentKind, field: AnyField): boolean {
  return (object === 'zone' || object === 'policy') && field.shape === 'list' && (field.item as unknown) === portItem
}

/** Entries of a set with a timeout come and go in the kernel. */
function entryRules(object: Value): { readonly type: string; readonly options: Readonly<Record<string, string>> } {
  const { type, options } = object as { readonly type: string; readonly options: Readonly<Record<string, string>> }
  if (options['timeout'] !== undefined && options['timeout'] !== '0') throw new DerpanetError('IPSET_WITH_TIMEOUT')
  return { type, options }
}

/** Throws what the item throws, and ALREADY_ENABLED. */
export function addToList(row: AnyField, value: unknown, object: Value, change: ItemChange): unknown {
  const field = listOf(row)
  const list = value as readonly unknown[]
  if (change.object === 'ipset' && change.field === 'entries') {
    const { type, options } = entryRules(object)
    return [...list, checkNewEntry(type, options, list as readonly string[], change.item[0] ?? '', change.name)]
  }
  const item = field.item.parse(change.item)
  if (isPorts(change.object, field)) {
    const { port, protocol } = item as PortSpec
    const range = parsePortRange(port)!
    if (coversPorts(list as readonly PortSpec[], protocol, range)) throw new DerpanetError('ALREADY_ENABLED', shown(change.item))
    return addPorts(list as readonly PortSpec[], protocol, range)
  }
  const text = field.item.toText(item)
  if (list.some((other) => field.item.toText(other) === text)) {
    // firewalld takes an include twice, and so do those who ask it
    if (change.field === 'includes') return list
    throw new DerpanetError('ALREADY_ENABLED', shown(change.item))
  }
  return [...list, item]
}

/** Throws what the item throws, and NOT_ENABLED unless all of it is there. */
export function removeFromList(row: AnyField, value: unknown, object: Value, change: ItemChange): unknown {
  const field = listOf(row)
  const list = value as readonly unknown[]
  const missing = (): DerpanetError => new DerpanetError('NOT_ENABLED', shown(change.item))
  if (change.object === 'ipset' && change.field === 'entries') {
    const { type, options } = entryRules(object)
    const text = soughtEntry(type, options, change.item[0] ?? '')
    if (text === null || !list.includes(text)) throw missing()
    return list.filter((other) => other !== text)
  }
  if (isPorts(change.object, field)) {
    const [port = '', protocol = ''] = change.item
    const range = parsePortRange(port)
    if (range === null || !coversPorts(list as readonly PortSpec[], protocol, range)) throw missing()
    return removePorts(list as readonly PortSpec[], protocol, range)
  }
  const text = field.item.toText(field.item.parse(change.item))
  const rest = list.filter((other) => field.item.toText(other) !== text)
  if (rest.length === list.length) throw missing()
  return rest
}

interface KeyChange {
  readonly field: string
  readonly key: string
}

/** A key that has another value gets the new one. Throws what the row throws, and ALREADY_ENABLED. */
export function addToDict(row: AnyField, value: unknown, _object: Value, change: KeyChange & { readonly value: string }): unknown {
  if (row.shape !== 'dict') throw new Error(`${row.yaml} is no dictionary`)
  const dict = value as Readonly<Record<string, string>>
  const parsed = parseDictEntry(row, change.key, change.value)
  if (dict[change.key] === parsed) throw new DerpanetError('ALREADY_ENABLED', printable(change.key))
  return { ...dict, [change.key]: parsed }
}

/** Throws NOT_ENABLED. */
export function removeFromDict(row: AnyField, value: unknown, _object: Value, change: KeyChange): unknown {
  if (row.shape !== 'dict') throw new Error(`${row.yaml} is no dictionary`)
  const { [change.key]: gone, ...rest } = value as Readonly<Record<string, string>>
  if (gone === undefined) throw new DerpanetError('NOT_ENABLED', printable(change.key))
  return rest
}

/** Ports of zones and policies that touch become ranges, and nothing is in a list twice. Entries of ip sets are judged as they are. */
export function tidyLists(object: PermanentKind, kind: NamedKind<any>, value: Value): Value {
  const tidy: Record<string, unknown> = { ...value }
  for (const [key, field] of fieldRows(kind.fields) as readonly (readonly [string, AnyField])[]) {
    if (field.shape !== 'list' || (object === 'ipset' && key === 'entries')) continue
    const list = value[key] as readonly unknown[]
    if (isPorts(object, field)) tidy[key] = tidyPorts(list as readonly PortSpec[])
    else tidy[key] = list.filter((item, at) => list.findIndex((other) => field.item.toText(other) === field.item.toText(item)) === at)
  }
  return tidy
}

function tidyPorts(list: readonly PortSpec[]): readonly PortSpec[] {
  return list.reduce<readonly PortSpec[]>((sofar, { port, protocol }) => {
    const range = parsePortRange(port)
    return range === null || coversPorts(sofar, protocol, range) ? sofar : addPorts(sofar, protocol, range)
  }, [])
}
