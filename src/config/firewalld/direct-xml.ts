// direct.xml and lockdown-whitelist.xml ↔ values: flat lists, so two small tables instead of those of kinds.ts.
import type { ErrorCode } from '../../errors.ts'
import { DerpanetError, printable } from '../../errors.ts'
import type { DirectSettings, LockdownSettings } from '../../model/direct.ts'
import { emptyDirect, emptyLockdown } from '../../model/direct.ts'
import type { Position } from '../../model/settings.ts'
import {
  directFields, lockdownFields, parseDirectChain, parseDirectPassthrough, parseDirectRule, requireCommand, requireContext, requireUid, requireUser,
} from '../../settings/direct.ts'
import type { ListField } from '../../settings/field.ts'
import { joinWords, splitWords } from '../../settings/words.ts'
import type { Diagnostic } from '../diagnostic.ts'
import { hasErrors } from '../diagnostic.ts'
import type { Parsed } from '../parse.ts'
import { attributeMistake } from './rich-xml.ts'
import { readXml, xmlLimits } from './xml-reader.ts'
import type { XmlElement } from './xml-reader.ts'
import { formatXml } from './xml-writer.ts'
import type { XmlNode } from './xml-writer.ts'

/** What an element adds to which list; `twice` is what a second one is. */
interface ItemElement {
  readonly required: readonly string[]
  readonly optional?: readonly string[]
  readonly twice: 'warning' | 'error'
  /** Throws DerpanetError; null = the element adds nothing, which is a warning. */
  read(value: (attribute: string) => string, element: XmlElement): { readonly key: string; readonly item: unknown } | { readonly ignored: string }
}

interface FlatFile<S> {
  readonly root: string
  readonly empty: S
  readonly fields: { readonly [Key in keyof S]: unknown }
  readonly elements: Readonly<Record<string, ItemElement>>
}

const direct: FlatFile<DirectSettings> = {
  root: 'direct', empty: emptyDirect, fields: directFields,
  elements: {
    chain: {
      required: ['ipv', 'table', 'chain'], twice: 'warning',
      read: (value) => ({ key: 'chains', item: parseDirectChain(value('ipv'), value('table'), value('chain')) }),
    },
    rule: {
      required: ['ipv', 'table', 'chain', 'priority'], twice: 'warning',
      read(value, element) {
        const args = splitWords(element.text)
        if (args.length === 0) return { ignored: 'rule does not have any arguments, ignoring.' }
        return { key: 'rules', item: parseDirectRule(value('ipv'), value('table'), value('chain'), value('priority').trim(), args) }
      },
    },
    passthrough: {
      required: ['ipv'], twice: 'warning',
      read(value, element) {
        const args = splitWords(element.text)
        if (args.length === 0) return { ignored: 'passthrough does not have any arguments, ignoring.' }
        return { key: 'passthroughs', item: parseDirectPassthrough(value('ipv'), args) }
      },
    },
  },
}

const lockdown: FlatFile<LockdownSettings> = {
  root: 'whitelist', empty: emptyLockdown, fields: lockdownFields,
  elements: {
    command: { required: ['name'], twice: 'error', read: (value) => ({ key: 'commands', item: requireCommand(value('name')) }) },
    selinux: { required: ['context'], twice: 'error', read: (value) => ({ key: 'contexts', item: requireContext(value('context')) }) },
    user: {
      required: [], optional: ['id', 'name'], twice: 'error',
      read(value, element) {
        if (element.attributes.has('id')) {
          if (!/^[+-]?\d+$/.test(value('id'))) return { ignored: `${printable(value('id'))} is not a valid uid` }
          return { key: 'uids', item: requireUid(value('id')) }
        }
        return element.attributes.has('name') ? { key: 'users', item: requireUser(value('name')) } : { ignored: 'user without id or name, ignoring.' }
      },
    },
  },
}

/** direct.xml. Never throws for any text. */
export function parseDirectXml(file: string, text: string): Parsed<DirectSettings> {
  return parseFlat(direct, file, text)
}

/** lockdown-whitelist.xml. Never throws for any text. */
export function parseLockdownXml(file: string, text: string): Parsed<LockdownSettings> {
  return parseFlat(lockdown, file, text)
}

function parseFlat<S>(table: FlatFile<S>, file: string, text: string): Parsed<S> {
  const diagnostics: Diagnostic[] = []
  const positions = new Map<string, Position>()
  const values: Record<string, unknown[]> = {}
  const report = (severity: 'error' | 'warning', code: ErrorCode, { line, column }: Position, message: string): void => {
    const sourceLine = text.replace(/^\ufeff/, '').split('\n')[line - 1]?.replace(/\r$/, '').slice(0, 4096)
    diagnostics.push({ severity, code, file, line, column, text: printable(message, 500), ...(sourceLine === undefined ? {} : { sourceLine }) })
  }
  const take = (element: XmlElement): void => {
    const row = Object.hasOwn(table.elements, element.name) ? table.elements[element.name]! : null
    const unknown = row === null ? element : element.children[0]
    if (row === null || unknown !== undefined) {
      report('error', 'PARSE_ERROR', (unknown ?? element).position, `Unexpected element ${printable((unknown ?? element).name)}`)
      return
    }
    const wrong = attributeMistake(element, { required: row.required, optional: row.optional ?? [] })
    if (wrong !== null) return report(wrong.severity, wrong.code, wrong.position, wrong.text)
    try {
      const found = row.read((attribute) => element.attributes.get(attribute)?.value ?? '', element)
      if ('ignored' in found) return report('warning', 'INVALID_RULE', element.position, found.ignored)
      add(row, found.key, found.item, element)
    } catch (error) {
      if (!(error instanceof DerpanetError)) throw error
      report('error', error.code, element.position, error.detail === '' ? error.code : error.detail)
    }
  }
  const add = (row: ItemElement, key: string, item: unknown, element: XmlElement): void => {
    const field = table.fields[key as keyof S] as ListField<unknown>
    const place = `${key}=${field.item.toText(item)}`
    if (positions.has(place)) return report(row.twice, 'ALREADY_ENABLED', element.position, `${element.name} "${printable(field.item.toText(item))}" already in list`)
    positions.set(place, element.position)
    if (!positions.has(key)) positions.set(key, element.position)
    ;(values[key] ??= []).push(item)
  }
  const root = (element: XmlElement): void => {
    if (element.name !== table.root) return report('error', 'PARSE_ERROR', element.position, `Unexpected element ${printable(element.name)}`)
    const wrong = attributeMistake(element, { required: [], optional: [] })
    if (wrong !== null) report(wrong.severity, wrong.code, wrong.position, wrong.text)
  }
  const mistake = readXml(text, { root, child: take }, xmlLimits)
  if (mistake !== null) report('error', 'INVALID_TYPE', mistake.position, `Not a valid file: ${mistake.text}`)
  return { value: hasErrors(diagnostics) ? null : { ...table.empty, ...values }, positions, diagnostics }
}

export function formatDirectXml(value: DirectSettings): string {
  const chains = value.chains.map(({ ipv, table, chain }): XmlNode => ({ name: 'chain', attributes: [['ipv', ipv], ['table', table], ['chain', chain]] }))
  const rules = value.rules.map(({ ipv, table, chain, priority, args }): XmlNode =>
    ({ name: 'rule', attributes: [['ipv', ipv], ['table', table], ['chain', chain], ['priority', String(priority)]], text: joinWords(args) }))
  const passthroughs = value.passthroughs.map(({ ipv, args }): XmlNode => ({ name: 'passthrough', attributes: [['ipv', ipv]], text: joinWords(args) }))
  return formatXml({ name: 'direct', children: [...chains, ...rules, ...passthroughs] })
}

export function formatLockdownXml(value: LockdownSettings): string {
  const element = (name: string, attribute: string) => (item: string | number): XmlNode => ({ name, attributes: [[attribute, String(item)]] })
  return formatXml({
    name: 'whitelist',
    children: [
      ...value.commands.map(element('command', 'name')), ...value.uids.map(element('user', 'id')),
      ...value.users.map(element('user', 'name')), ...value.contexts.map(element('selinux', 'context')),
    ],
  })
}
