// One file of firewalld ↔ one settings value, by the tables of kinds.ts. Files are not read here.
import type { ErrorCode } from '../../errors.ts'
import { printable } from '../../errors.ts'
import type { Position } from '../../model/settings.ts'
import { kinds } from '../../settings/kinds.ts'
import type { KindSettings } from '../../settings/kinds.ts'
import type { Diagnostic } from '../diagnostic.ts'
import { hasErrors } from '../diagnostic.ts'
import type { Parsed } from '../parse.ts'
import { checkWhole, xmlKinds } from './kinds.ts'
import type { XmlKind } from './kinds.ts'
import { attributeMistake, partAttributes, strayParts } from './rich-xml.ts'
import type { Reading } from './rows.ts'
import { readXml, xmlLimits } from './xml-reader.ts'
import type { XmlElement } from './xml-reader.ts'
import { formatXml } from './xml-writer.ts'

export type KindName = keyof KindSettings

/**
 * `file` is the name in the diagnostics, `name` that of the object (without .xml). A key that the file does not have is
 * that of the kind's empty value. Never throws for any text.
 */
export function parseXml<Kind extends KindName>(kind: Kind, file: string, text: string, name: string): Parsed<KindSettings[Kind]> {
  const table: XmlKind<KindSettings[Kind]> = xmlKinds[kind]
  const diagnostics: Diagnostic[] = []
  const lines = new LazyLines(text)
  const report = (severity: 'error' | 'warning', code: ErrorCode, { line, column }: Position, message: string): void => {
    diagnostics.push({ severity, code, file, line, column, text: printable(message, 500), ...lines.at(line) })
  }
  const reading: Reading = { name, values: {}, positions: new Map(), report }
  const mistake = readXml(text, { root: (element) => readRoot(reading, table, element), child: (element) => readChild(reading, table, element) },
    { ...xmlLimits, maxChars: table.maxChars })
  if (mistake !== null) report('error', table.notWellFormed, mistake.position, `not a valid ${table.root} file: ${mistake.text}`)
  else table.finish?.(reading)
  const value = { ...kinds[kind].empty, ...reading.values } as KindSettings[Kind]
  if (!hasErrors(diagnostics)) {
    for (const { key, item, error } of checkWhole(kind, value)) {
      const place = reading.positions.get(`${key}=${item}`) ?? reading.positions.get(key) ?? { line: 1, column: 1 }
      report('error', error.code, place, error.detail === '' ? error.code : error.detail)
    }
  }
  return { value: hasErrors(diagnostics) ? null : value, positions: reading.positions, diagnostics }
}

/** The layout of firewalld's own files. What XML cannot say (numbers of ICMP types, `list:` sources) is not in it. */
export function formatXmlFile<Kind extends KindName>(kind: Kind, value: KindSettings[Kind]): string {
  const table: XmlKind<KindSettings[Kind]> = xmlKinds[kind]
  const attributes = table.attributes.map((row) => [row.name, row.write(value)] as const).filter(([, text]) => text !== '')
  return formatXml({ name: table.root, attributes, children: table.elements.flatMap((row) => row.write(value)) })
}

function readRoot<S>(reading: Reading, table: XmlKind<S>, root: XmlElement): void {
  if (root.name !== table.root) return reading.report('error', 'PARSE_ERROR', root.position, `Unexpected element ${printable(root.name)}`)
  const required = table.attributes.filter((row) => row.required).map((row) => row.name)
  const wrong = attributeMistake(root, { required, optional: table.attributes.map((row) => row.name) })
  if (wrong !== null) reading.report(wrong.severity, wrong.code, wrong.position, wrong.text)
  for (const row of table.attributes) {
    const found = root.attributes.get(row.name)
    if (found !== undefined) row.read(reading, found)
  }
}

function readChild<S>(reading: Reading, table: XmlKind<S>, element: XmlElement): void {
  const row = table.elements.find((candidate) => candidate.name === element.name)
  if (row === undefined) {
    const hasRules = table.elements.some((candidate) => candidate.name === 'rule')
    if (hasRules && strayParts.has(element.name)) {
      const wrong = attributeMistake(element, partAttributes[element.name]!)
      if (wrong !== null) return reading.report(wrong.severity, wrong.code, wrong.position, wrong.text)
      return reading.report('warning', 'INVALID_RULE', element.position, `Invalid rule: ${element.name} outside of rule`)
    }
    return reading.report('error', 'PARSE_ERROR', element.position, `Unexpected element ${printable(element.name)}`)
  }
  const wrong = row.nested ? null : attributeMistake(element, row)
  if (wrong !== null) return reading.report(wrong.severity, wrong.code, wrong.position, wrong.text)
  const [inner] = element.children
  if (inner !== undefined && !row.nested) {
    return reading.report('error', 'PARSE_ERROR', inner.position, `Unexpected element ${printable(inner.name)} in ${element.name}`)
  }
  row.read(reading, element)
}

/** Lines are cut only when something is wrong. */
class LazyLines {
  private lines: readonly string[] | null = null

  constructor(private readonly text: string) {}

  at(line: number): { readonly sourceLine?: string } {
    this.lines ??= this.text.replace(/^\ufeff/, '').split('\n')
    const found = this.lines[line - 1]
    return found === undefined ? {} : { sourceLine: found.replace(/\r$/, '').slice(0, 4096) }
  }
}
