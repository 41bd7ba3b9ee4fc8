// <rule> elements ↔ rich rules. As in firewalld a rule that makes no sense is passed over with a warning, while an
// element or attribute that nobody knows is an error of the file.
import { DerpanetError } from '../../errors.ts'
import type { ErrorCode } from '../../errors.ts'
import type { Position } from '../../model/settings.ts'
import { formatRichRule, parseRichRule } from '../../model/rich/index.ts'
import type { RichAction, RichAddress, RichElement, RichLimit, RichLog, RichRule } from '../../model/rich/index.ts'
import { parseLimit } from '../../model/rich/limit.ts'
import type { XmlElement } from './xml-reader.ts'
import type { XmlNode } from './xml-writer.ts'

interface Attributes {
  readonly required: readonly string[]
  readonly optional: readonly string[]
}

const takes = (required: readonly string[] = [], optional: readonly string[] = []): Attributes => ({ required, optional })

/** Everything that may stand inside a rule. */
export const partAttributes: Readonly<Record<string, Attributes>> = {
  source: takes([], ['address', 'mac', 'ipset', 'invert', 'family']),
  destination: takes([], ['address', 'ipset', 'invert', 'family']),
  service: takes(['name']),
  port: takes(['port', 'protocol']),
  'source-port': takes(['port', 'protocol']),
  protocol: takes(['value']),
  'icmp-block': takes(['name']),
  'icmp-type': takes(['name']),
  masquerade: takes([], ['enabled']),
  'forward-port': takes(['port', 'protocol'], ['to-port', 'to-addr']),
  'tcp-mss-clamp': takes([], ['value']),
  log: takes([], ['prefix', 'level']),
  nflog: takes([], ['group', 'prefix', 'queue-size']),
  audit: takes(),
  accept: takes(),
  drop: takes(),
  reject: takes([], ['type']),
  mark: takes(['set']),
  limit: takes(['value'], ['burst']),
}

/** Parts of rules that firewalld knows by themselves too, where they mean nothing and are passed over. */
export const strayParts: ReadonlySet<string> = new Set([
  'destination', 'icmp-type', 'tcp-mss-clamp', 'log', 'nflog', 'audit', 'accept', 'drop', 'reject', 'mark', 'limit',
])

export interface RuleMistake {
  readonly severity: 'error' | 'warning'
  readonly code: ErrorCode
  readonly position: Position
  readonly text: string
}

class Refused extends Error {
  constructor(readonly mistake: RuleMistake) {
    super(mistake.text)
  }
}

/** The attributes an element may and must have; throws what is wrong with them. */
export function attributeMistake(element: XmlElement, { required, optional }: Attributes): RuleMistake | null {
  const unknown = [...element.attributes].find(([name]) => !required.includes(name) && !optional.includes(name))
  const position = unknown?.[1].position ?? element.position
  if (unknown !== undefined) return { severity: 'error', code: 'PARSE_ERROR', position, text: `${element.name}: Unexpected attribute ${unknown[0]}` }
  const missing = required.find((name) => !element.attributes.has(name))
  if (missing === undefined) return null
  return { severity: 'error', code: 'PARSE_ERROR', position, text: `Missing attribute ${missing} for ${element.name}` }
}

/** Canonical text, or null for a rule that is passed over. `mistakes` get what is wrong. */
export function readRule(element: XmlElement, mistakes: RuleMistake[]): string | null {
  const draft: Draft = { family: null, priority: 0, source: null, destination: null, element: null, log: null, audit: null, action: null }
  try {
    const wrong = attributeMistake(element, takes([], ['family', 'priority']))
    if (wrong !== null) throw new Refused(wrong)
    readFamily(draft, element)
    readPriority(draft, element)
    readParts(draft, element, mistakes)
    const rule = assemble(draft)
    return formatRichRule(parseRichRule(formatRichRule(rule)))
  } catch (error) {
    if (error instanceof Refused) mistakes.push(error.mistake)
    else if (error instanceof DerpanetError) {
      mistakes.push({ severity: 'warning', code: error.code, position: element.position, text: `the rule is passed over: ${error.detail === '' ? error.code : error.detail}` })
    } else throw error
    return null
  }
}

type Draft = { -readonly [Key in keyof Omit<RichRule, 'element' | 'log' | 'audit' | 'action'>]: RichRule[Key] } & {
  element: RichElement | null
  log: WithLimit<RichLog> | null
  audit: WithLimit<object> | null
  action: WithLimit<RichAction> | null
}

/** The limit is found after the part it belongs to. */
interface WithLimit<Part> {
  readonly part: Part
  limit: RichLimit | null
}

function passOver(at: XmlElement, text: string): never {
  throw new Refused({ severity: 'warning', code: 'INVALID_RULE', position: at.position, text: `the rule is passed over: ${text}` })
}

const valueOf = (element: XmlElement, name: string): string => element.attributes.get(name)?.value ?? ''

function readFamily(draft: Draft, element: XmlElement): void {
  const family = element.attributes.get('family')?.value
  if (family === undefined) return
  if (family !== 'ipv4' && family !== 'ipv6') passOver(element, `family '${family}'`)
  draft.family = family
}

function readPriority(draft: Draft, element: XmlElement): void {
  const priority = element.attributes.get('priority')
  if (priority === undefined) return
  if (!/^\s*[+-]?\d{1,9}\s*$/.test(priority.value)) {
    throw new Refused({ severity: 'error', code: 'INVALID_PRIORITY', position: priority.position, text: `priority '${priority.value}' is no whole number` })
  }
  draft.priority = Number(priority.value)
}

/** In the order of the text, however deep: firewalld does not mind what is within what, apart from limits. */
function readParts(draft: Draft, parent: XmlElement, mistakes: RuleMistake[]): void {
  for (const part of parent.children) {
    const attributes = Object.hasOwn(partAttributes, part.name) ? partAttributes[part.name]! : null
    if (attributes === null) {
      if (part.name === 'short' || part.name === 'description') continue
      if (part.name === 'interface' || part.name === 'rule') passOver(part, `${part.name} inside a rule`)
      throw new Refused({ severity: 'error', code: 'PARSE_ERROR', position: part.position, text: `Unexpected element ${part.name}` })
    }
    const wrong = attributeMistake(part, attributes)
    if (wrong !== null) throw new Refused(wrong)
    readPart(draft, part, parent, mistakes)
    readParts(draft, part, mistakes)
  }
}

function readPart(draft: Draft, part: XmlElement, parent: XmlElement, mistakes: RuleMistake[]): void {
  const again = (what: string): void => {
    mistakes.push({ severity: 'warning', code: 'INVALID_RULE', position: part.position, text: `a second ${what} in a rule is passed over` })
  }
  switch (part.name) {
    case 'source':
      if (draft.source !== null) passOver(part, 'more than one source')
      draft.source = readAddress(part, ['address', 'mac', 'ipset'])
      return
    case 'destination':
      if (draft.destination !== null) return again('destination')
      draft.destination = readAddress(part, ['address', 'ipset'])
      return
    case 'log':
    case 'nflog':
      if (draft.log !== null) return again('log')
      draft.log = { part: readLog(part), limit: null }
      return
    case 'audit':
      if (draft.audit !== null) passOver(part, 'more than one audit')
      draft.audit = { part: {}, limit: null }
      return
    case 'accept':
    case 'drop':
    case 'reject':
    case 'mark':
      if (draft.action !== null) passOver(part, 'more than one action')
      draft.action = { part: readAction(part, part.name), limit: null }
      return
    case 'limit':
      return readLimit(draft, part, parent)
    default:
      if (draft.element !== null) passOver(part, 'more than one element')
      draft.element = readElement(part)
  }
}

function readAddress(part: XmlElement, kinds: readonly RichAddress['kind'][]): RichAddress {
  const [kind, second] = kinds.filter((candidate) => valueOf(part, candidate) !== '')
  if (kind === undefined) {
    const text = kinds.length === 3 ? 'no address, mac and ipset' : 'no address and ipset'
    throw new Refused({ severity: 'error', code: 'INVALID_RULE', position: part.position, text })
  }
  if (second !== undefined) passOver(part, `${kind} and ${second}`)
  // Every other word means no in firewalld's reader.
  return { kind, text: valueOf(part, kind), invert: /^(yes|true)$/i.test(valueOf(part, 'invert')) }
}

function readLog(part: XmlElement): RichLog {
  if (part.attributes.get('prefix')?.value === '') passOver(part, 'an empty log prefix')
  return part.name === 'log'
    ? { kind: 'log', prefix: valueOf(part, 'prefix'), level: valueOf(part, 'level'), limit: null }
    : { kind: 'nflog', group: valueOf(part, 'group'), prefix: valueOf(part, 'prefix'), queueSize: valueOf(part, 'queue-size'), limit: null }
}

function readAction(part: XmlElement, kind: RichAction['kind']): RichAction {
  if (kind === 'reject') return { kind, type: valueOf(part, 'type'), limit: null }
  if (kind === 'mark') return { kind, set: valueOf(part, 'set'), limit: null }
  return { kind, limit: null }
}

function readLimit(draft: Draft, part: XmlElement, parent: XmlElement): void {
  const owner = parent.name === 'log' || parent.name === 'nflog' ? draft.log : parent.name === 'audit' ? draft.audit
    : ['accept', 'drop', 'reject', 'mark'].includes(parent.name) ? draft.action : null
  if (owner === null) passOver(part, 'a limit outside of log, audit and action')
  if (owner.limit !== null) passOver(part, 'more than one limit')
  owner.limit = parseLimit(new Map([...part.attributes].map(([name, { value }]) => [name, value])))
}

function readElement(part: XmlElement): RichElement {
  const value = (name: string): string => valueOf(part, name)
  switch (part.name) {
    case 'service': return { kind: 'service', name: value('name') }
    case 'icmp-block': return { kind: 'icmp-block', name: value('name') }
    case 'icmp-type': return { kind: 'icmp-type', name: value('name') }
    case 'port': return { kind: 'port', port: value('port'), protocol: value('protocol') }
    case 'source-port': return { kind: 'source-port', port: value('port'), protocol: value('protocol') }
    case 'protocol': return { kind: 'protocol', value: value('value') }
    case 'masquerade': return { kind: 'masquerade' }
    case 'forward-port': return { kind: 'forward-port', port: value('port'), protocol: value('protocol'), toPort: value('to-port'), toAddr: value('to-addr') }
    // firewalld reads the empty element as this word, and shows it.
    case 'tcp-mss-clamp': return { kind: 'tcp-mss-clamp', value: value('value') === '' ? 'pmtu' : value('value') }
    default: throw new Error(`part '${part.name}' without a reader`)
  }
}

function assemble(draft: Draft): RichRule {
  const { log, audit, action, ...rest } = draft
  return {
    ...rest,
    log: log === null ? null : { ...log.part, limit: log.limit },
    audit: audit === null ? null : { limit: audit.limit },
    action: action === null ? null : { ...action.part, limit: action.limit },
  }
}

/** The rule that comes back from a file: an empty clamp is read as a word. */
export function settleRule(text: string): string {
  const rule = text.includes('tcp-mss-clamp') ? parseRichRule(text) : null
  return rule?.element?.kind === 'tcp-mss-clamp' && rule.element.value === '' ? formatRichRule({ ...rule, element: { ...rule.element, value: 'pmtu' } }) : text
}

// --- writing ---

type Pairs = readonly (readonly [string, string])[]

const present = (pairs: Pairs): Pairs => pairs.filter(([, value]) => value !== '')

/** `text` is canonical. */
export function writeRule(text: string): XmlNode {
  const rule = parseRichRule(text)
  const children = [
    ...(rule.source === null ? [] : [writeAddress('source', rule.source)]),
    ...(rule.destination === null ? [] : [writeAddress('destination', rule.destination)]),
    ...(rule.element === null ? [] : [writeElement(rule.element)]),
    ...(rule.log === null ? [] : [writeLog(rule.log)]),
    ...(rule.audit === null ? [] : [limited('audit', [], rule.audit.limit)]),
    ...(rule.action === null ? [] : [writeAction(rule.action)]),
  ]
  return { name: 'rule', attributes: present([['priority', rule.priority === 0 ? '' : String(rule.priority)], ['family', rule.family ?? '']]), children }
}

function writeAddress(name: string, address: RichAddress): XmlNode {
  return { name, attributes: present([[address.kind, address.text], ['invert', address.invert ? 'True' : '']]) }
}

function writeElement(element: RichElement): XmlNode {
  const node = (...pairs: Pairs): XmlNode => ({ name: element.kind, attributes: present(pairs) })
  switch (element.kind) {
    case 'service':
    case 'icmp-block':
    case 'icmp-type': return node(['name', element.name])
    case 'port':
    case 'source-port': return node(['port', element.port], ['protocol', element.protocol])
    case 'protocol':
    case 'tcp-mss-clamp': return node(['value', element.value])
    case 'masquerade': return node()
    case 'forward-port': return node(['port', element.port], ['protocol', element.protocol], ['to-port', element.toPort], ['to-addr', element.toAddr])
  }
}

function writeLog(log: RichLog): XmlNode {
  const pairs: Pairs = log.kind === 'log' ? [['prefix', log.prefix], ['level', log.level]]
    : [['group', log.group], ['prefix', log.prefix], ['queue-size', log.queueSize]]
  return limited(log.kind, pairs, log.limit)
}

function writeAction(action: RichAction): XmlNode {
  return limited(action.kind, action.kind === 'reject' ? [['type', action.type]] : action.kind === 'mark' ? [['set', action.set]] : [], action.limit)
}

function limited(name: string, pairs: Pairs, limit: RichLimit | null): XmlNode {
  const attributes = present(pairs)
  if (limit === null) return { name, attributes }
  const burst: Pairs = limit.burst === null ? [] : [['burst', String(limit.burst)]]
  return { name, attributes, children: [{ name: 'limit', attributes: [['value', `${limit.count}/${limit.unit}`], ...burst] }] }
}
