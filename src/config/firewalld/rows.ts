// How one element or attribute of firewalld's files becomes part of a settings value and back: the kinds of rows that
// the tables of kinds.ts are made of.
import { DerpanetError, printable } from '../../errors.ts'
import type { ErrorCode } from '../../errors.ts'
import { addPorts, coversPorts } from '../../model/reduce/ports.ts'
import { parsePortRange } from '../../model/port.ts'
import type { PortSpec, Position } from '../../model/settings.ts'
import type { ListField, ScalarField } from '../../settings/field.ts'
import { readRule, writeRule } from './rich-xml.ts'
import type { RuleMistake } from './rich-xml.ts'
import type { XmlAttribute, XmlElement } from './xml-reader.ts'
import type { XmlNode } from './xml-writer.ts'

/** One file being read. */
export interface Reading {
  /** The object's name, for messages. */
  readonly name: string
  /** Keys found so far. */
  readonly values: Record<string, unknown>
  readonly positions: Map<string, Position>
  report(severity: 'error' | 'warning', code: ErrorCode, position: Position, text: string): void
}

export interface AttributeRow<S> {
  readonly name: string
  readonly required?: true
  read(reading: Reading, attribute: XmlAttribute): void
  /** "" = the attribute is left out. */
  write(value: S): string
}

export interface ElementRow<S> {
  readonly name: string
  readonly required: readonly string[]
  readonly optional: readonly string[]
  /** The element may hold others, which the row reads itself. */
  readonly nested?: true
  read(reading: Reading, element: XmlElement): void
  write(value: S): readonly XmlNode[]
}

/** Runs a codec; what it throws is reported at `position`, and null is returned. */
export function attempt<T>(reading: Reading, position: Position, work: () => T): T | null {
  try {
    return work()
  } catch (error) {
    if (!(error instanceof DerpanetError)) throw error
    reading.report('error', error.code, position, error.detail === '' ? error.code : error.detail)
    return null
  }
}

function set(reading: Reading, key: string, value: unknown, position: Position): void {
  reading.values[key] = value
  if (!reading.positions.has(key)) reading.positions.set(key, position)
}

// --- attributes of the root ---

/** A scalar as the field reads and writes it; `without` is the value that a missing attribute means. */
export function attribute<S>(name: string, key: keyof S & string, field: ScalarField<any>, options: {
  readonly without: unknown; readonly required?: true; readonly refused?: readonly string[]
}): AttributeRow<S> {
  return {
    name,
    ...(options.required ? { required: true as const } : {}),
    read(reading, { value, position }) {
      if (options.refused?.includes(value)) return reading.report('error', field.code, position, printable(value))
      const parsed = attempt(reading, position, () => field.parse(value))
      if (parsed !== null) set(reading, key, parsed, position)
    },
    write(value) {
      const plain = value[key]
      if (plain === options.without && !options.required) return ''
      return String(field.toBus === undefined ? plain : field.toBus(plain))
    },
  }
}

/** Taken and forgotten; a warning unless `silent`. */
export function deprecated<S>(name: string, silent = false): AttributeRow<S> {
  return {
    name,
    read(reading, { value, position }) {
      if (!silent) reading.report('warning', 'INVALID_OPTION', position, `Ignoring deprecated attribute ${name}='${printable(value)}'`)
    },
    write: () => '',
  }
}

// --- elements ---

/** `<short>text</short>`: firewalld reads a line break as a blank; the last of several counts. */
export function textElement<S>(name: string, key: keyof S & string, field: ScalarField<any>): ElementRow<S> {
  return {
    name, required: [], optional: [],
    read(reading, element) {
      const parsed = attempt(reading, element.position, () => field.parse(element.text.replaceAll('\n', ' ')))
      if (parsed !== null) set(reading, key, parsed, element.position)
    },
    write: (value) => value[key] === '' ? [] : [{ name, text: String(value[key]) }],
  }
}

/** `<masquerade/>`: being there is what it says. */
export function flagElement<S>(name: string, key: keyof S & string, optional: readonly string[] = []): ElementRow<S> {
  return {
    name, required: [], optional,
    read(reading, element) {
      if (reading.values[key] === true) return reading.report('warning', 'ALREADY_ENABLED', element.position, `${name} already set, ignoring.`)
      set(reading, key, true, element.position)
    },
    write: (value) => value[key] === true ? [{ name }] : [],
  }
}

/** Adds an item unless it is there, which is a warning. */
export function addItem<T>(reading: Reading, key: string, field: ListField<T>, item: T, position: Position): void {
  const text = field.item.toText(item)
  if (reading.positions.has(`${key}=${text}`)) {
    return reading.report('warning', 'ALREADY_ENABLED', position, `'${printable(text)}' already set, ignoring.`)
  }
  set(reading, key, [...(reading.values[key] as readonly T[] | undefined ?? []), item], position)
  reading.positions.set(`${key}=${text}`, position)
}

/** One item an element; `attributes` stand for the columns of the item, in their order. */
export function itemElement<S>(name: string, key: keyof S & string, field: ListField<any>, attributes: readonly string[], optional: readonly string[] = []): ElementRow<S> {
  return {
    name, required: attributes.filter((attribute) => !optional.includes(attribute)), optional,
    read(reading, element) {
      const columns = attributes.map((attribute) => element.attributes.get(attribute)?.value ?? '')
      const item = attempt(reading, element.position, () => field.item.parse(columns))
      if (item !== null) addItem(reading, key, field, item, element.position)
    },
    write: (value) => (value[key] as readonly unknown[]).map((item) => {
      const columns = field.item.format(item)
      return { name, attributes: attributes.map((attribute, index) => [attribute, columns[index] ?? ''] as const).filter(([attribute, text]) => text !== '' || !optional.includes(attribute)) }
    }),
  }
}

/** Ports of zones and policies: ranges that overlap become one. */
export function portRangeElement<S>(name: string, key: keyof S & string, field: ListField<PortSpec>): ElementRow<S> {
  const plain = itemElement<S>(name, key, field, ['port', 'protocol'])
  return {
    ...plain,
    read(reading, element) {
      const found = attempt(reading, element.position, () => field.item.parse([element.attributes.get('port')!.value, element.attributes.get('protocol')!.value]))
      if (found === null) return
      const range = parsePortRange(found.port)!
      const before = reading.values[key] as readonly PortSpec[] | undefined ?? []
      if (coversPorts(before, found.protocol, range)) {
        return reading.report('warning', 'ALREADY_ENABLED', element.position, `'${found.port}:${found.protocol}' already in '${printable(reading.name)}'`)
      }
      const after = addPorts(before, found.protocol, range)
      for (const gone of before.filter((spec) => !after.includes(spec))) reading.positions.delete(`${key}=${field.item.toText(gone)}`)
      set(reading, key, after, element.position)
      reading.positions.set(`${key}=${field.item.toText(after.at(-1)!)}`, element.position)
    },
  }
}

/** What a list of ports becomes when a zone file holds it. */
export function mergePorts(ports: readonly PortSpec[]): readonly PortSpec[] {
  return ports.reduce<readonly PortSpec[]>((merged, { port, protocol }) => {
    const range = parsePortRange(port)!
    return coversPorts(merged, protocol, range) ? merged : addPorts(merged, protocol, range)
  }, [])
}

/** `<rule>`: a rich rule. */
export function ruleElement<S>(key: keyof S & string, field: ListField<string>): ElementRow<S> {
  return {
    name: 'rule', required: [], optional: ['family', 'priority'], nested: true,
    read(reading, element) {
      const mistakes: RuleMistake[] = []
      const rule = readRule(element, mistakes)
      for (const { severity, code, position, text } of mistakes) reading.report(severity, code, position, text)
      if (rule !== null) addItem(reading, key, field, rule, element.position)
    },
    write: (value) => (value[key] as readonly string[]).map(writeRule),
  }
}
