// Rich rules: the grammar as a whole. Text ↔ RichRule; each element's own words and checks are in its file.
// Names (services, ICMP types, ipsets) are looked up by the resolver and by the checks of a change, not here.
import type { Family } from '../addr.ts'
import { DerpanetError } from '../../errors.ts'
import { actionAttributes, checkAction, formatAction, parseAction } from './action.ts'
import type { ActionKind } from './action.ts'
import { checkAddress, destinationAttributes, formatAddress, parseAddress, sourceAttributes } from './address.ts'
import { checkAudit, formatAudit } from './audit.ts'
import { forwardPort } from './forward-port.ts'
import { icmpBlock } from './icmp-block.ts'
import { icmpType } from './icmp-type.ts'
import { tokens } from './lexer.ts'
import { limitAttributes, parseLimit } from './limit.ts'
import { checkLog, formatLog, logAttributes, nflogAttributes, parseLog, parseNflog } from './log.ts'
import { masquerade } from './masquerade.ts'
import { port } from './port.ts'
import { protocol } from './protocol.ts'
import { service } from './service.ts'
import { sourcePort } from './source-port.ts'
import { tcpMssClamp } from './tcp-mss-clamp.ts'
import type { Attributes, ElementGrammar, RichElement, RichElementKind, RichLimit, RichRule } from './types.ts'
import { refuse } from './types.ts'

export type { RichAction, RichAddress, RichAudit, RichElement, RichElementKind, RichLimit, RichLog, RichRule } from './types.ts'
export { rejectWords } from './action.ts'
export { logLevels } from './log.ts'

/** Every element, by the word that begins it. */
const elements: { readonly [Kind in RichElementKind]: ElementGrammar<Kind> } = {
  service, port, 'source-port': sourcePort, protocol, 'icmp-block': icmpBlock, 'icmp-type': icmpType, masquerade,
  'forward-port': forwardPort, 'tcp-mss-clamp': tcpMssClamp,
}

type Part = 'source' | 'destination' | 'log' | 'nflog' | 'audit' | ActionKind | RichElementKind

const elementAttributes = Object.fromEntries(Object.entries(elements).map(([word, grammar]) => [word, grammar.attributes]))

const attributesOf: Readonly<Record<Part, readonly string[]>> = {
  ...(elementAttributes as Record<RichElementKind, readonly string[]>),
  source: sourceAttributes, destination: destinationAttributes, log: logAttributes, nflog: nflogAttributes, audit: [], ...actionAttributes,
}

/**
 * A limit belongs to the part whose words it follows if that is one of these; an attribute of the rule ends a part. Otherwise
 * it belongs to the next of these, as in firewalld. Where that one has its own or there is none, firewalld drops the limit
 * without a word, and a rule that is meant to be limited is unlimited: here it goes to the last one before, or any later.
 */
const limitable: ReadonlySet<Part> = new Set<Part>(['log', 'nflog', 'audit', 'accept', 'drop', 'reject', 'mark'])

interface Clause {
  readonly word: Part
  readonly attributes: Map<string, string>
  not: boolean
  limit: ReadLimit | null
}

/** A bad one is told only when everything before it is right, as in firewalld. */
type ReadLimit = { readonly value: RichLimit } | { readonly wrong: DerpanetError }

/** A limit that follows no part of its own: it stands before the clause of that index. */
interface LooseLimit {
  readonly before: number
  readonly limit: ReadLimit
}

interface Words {
  readonly clauses: readonly Clause[]
  readonly family: Family | null
  readonly priority: number
}

/**
 * Any order of parts, any quoting. The result says exactly what the rule says; two texts of one rule give equal values.
 * Throws INVALID_RULE, MISSING_FAMILY, INVALID_PRIORITY, INVALID_ADDR, INVALID_MAC, INVALID_DESTINATION, INVALID_PORT,
 * INVALID_PROTOCOL, INVALID_LIMIT, INVALID_MARK, INVALID_LOG_LEVEL, INVALID_LOG_PREFIX, INVALID_NFLOG_GROUP,
 * INVALID_NFLOG_QUEUE, INVALID_AUDIT_TYPE.
 */
export function parseRichRule(text: string): RichRule {
  const words = readWords(text)
  const rule = assemble(words)
  checkRule(rule, (parts) => {
    for (const { word, limit } of words.clauses) if (limit !== null && 'wrong' in limit && parts.includes(word)) throw limit.wrong
  })
  return rule
}

/** Canonical text, as firewalld 2.5 prints it. parseRichRule(formatRichRule(rule)) equals rule. */
export function formatRichRule(rule: RichRule): string {
  return 'rule'
    + (rule.priority === 0 ? '' : ` priority="${rule.priority}"`)
    + (rule.family === null ? '' : ` family="${rule.family}"`)
    + formatAddress('source', rule.source)
    + formatAddress('destination', rule.destination)
    + (rule.element === null ? '' : ` ${formatElement(rule.element)}`)
    + formatLog(rule.log)
    + formatAudit(rule.audit)
    + formatAction(rule.action)
}

function readWords(text: string): Words {
  const [head, ...rest] = tokens(text)
  if (head === undefined) return refuse('INVALID_RULE', 'no element, no action')
  if (head.kind !== 'word' || head.text !== 'rule') return refuse('INVALID_RULE', "does not begin with 'rule'")
  const clauses: Clause[] = []
  let family: Family | null = null
  let priority = 0
  const loose: LooseLimit[] = []
  let open: Clause | undefined
  let isOver = false
  let limit: Map<string, string> | null = null
  let owner: Clause | undefined
  const closeLimit = (): void => {
    if (limit === null) return
    const parsed = readLimit(limit)
    limit = null
    if (owner !== undefined) owner.limit = parsed
    else loose.push({ before: clauses.length, limit: parsed })
  }
  for (const token of rest) {
    if (token.kind === 'attribute') {
      const { name, value } = token
      if (name === 'family' || name === 'priority') {
        if (name === 'family') family = parseFamily(value)
        else priority = parsePriority(value)
        isOver = true
      } else if (limit !== null && !(limit as Map<string, string>).has(name) && (limitAttributes as readonly string[]).includes(name)) (limit as Map<string, string>).set(name, value)
      else if (limit !== null && limit.size === 0) refuse('INVALID_RULE', "'limit' without a value")
      else if (open !== undefined && takes(open, name)) open.attributes.set(name, value)
      else refuse('INVALID_RULE', knownAttributes.has(name) ? outside(name) : `bad attribute '${name}'`)
      continue
    }
    const word = token.text
    if (word === 'limit') {
      closeLimit()
      limit = new Map()
      owner = open !== undefined && limitable.has(open.word) && !isOver ? open : undefined
    } else if (word === 'NOT' || word === 'not') {
      if (open?.word !== 'source' && open?.word !== 'destination') return refuse('INVALID_RULE', "'NOT' outside of source and destination")
      open.not = true
    } else if (isPart(word)) {
      closeLimit()
      open = { word, attributes: new Map(), not: false, limit: null }
      clauses.push(open)
      isOver = false
    } else refuse('INVALID_RULE', `unknown element ${word}`)
  }
  closeLimit()
  return { clauses: withLoose(clauses, loose), family, priority }
}

function readLimit(attributes: Attributes): ReadLimit {
  try {
    return { value: parseLimit(attributes) }
  } catch (error) {
    if (error instanceof DerpanetError && error.code === 'INVALID_LIMIT') return { wrong: error }
    throw error
  }
}

/** Of several limits in one place the last one counts, as in firewalld. */
function withLoose(clauses: readonly Clause[], loose: readonly LooseLimit[]): readonly Clause[] {
  for (const { before, limit } of new Map(loose.map((one) => [one.before, one])).values()) {
    const able = clauses.filter(({ word }) => limitable.has(word))
    const next = able.filter((clause) => clauses.indexOf(clause) >= before)
    const earlier = able.filter((clause) => !next.includes(clause)).reverse()
    const taker = [...next.slice(0, 1), ...earlier, ...next.slice(1)].find((clause) => clause.limit === null)
    if (taker === undefined) return refuse('INVALID_RULE', 'limit without log, audit or action')
    taker.limit = limit
  }
  return clauses
}

/** Parts that firewalld reads together with their one attribute: a second one stands outside of them. */
const singles: ReadonlySet<Part> = new Set<Part>(['service', 'protocol', 'icmp-block', 'icmp-type'])

/** Of two equal attributes the last one counts, as in firewalld. */
function takes(clause: Clause, name: string): boolean {
  return attributesOf[clause.word].includes(name) && !(singles.has(clause.word) && clause.attributes.has(name))
}

const knownAttributes: ReadonlySet<string> = new Set([...Object.values(attributesOf).flat(), ...limitAttributes])

function outside(name: string): string {
  return `attribute '${name}' outside of any element. Use 'rule <element> ${name}= ...'.`
}

function isPart(word: string): word is Part {
  return Object.hasOwn(attributesOf, word)
}

function parseFamily(text: string): Family {
  if (text === 'ipv4' || text === 'ipv6') return text
  return refuse('INVALID_RULE', `'family' attribute cannot have '${text}' value. Use 'ipv4' or 'ipv6' instead.`)
}

function parsePriority(text: string): number {
  if (!/^[+-]?\d{1,9}$/.test(text)) refuse('INVALID_PRIORITY', `invalid 'priority' attribute value '${text}'.`)
  const priority = Number(text)
  return priority === 0 ? 0 : priority
}

function assemble({ clauses, family, priority }: Words): RichRule {
  const only = (words: readonly string[], what: string): Clause | null => {
    const [first, second] = clauses.filter((clause) => words.includes(clause.word))
    if (second !== undefined) refuse('INVALID_RULE', `more than one ${what}. There cannot be both '${first!.word}' and '${second.word}' in one rule.`)
    return first ?? null
  }
  const limitOf = ({ limit }: Clause): RichLimit | null => (limit !== null && 'value' in limit ? limit.value : null)
  const source = only(['source'], "'source' element")
  const destination = only(['destination'], "'destination' element")
  const element = only(Object.keys(elements), 'element')
  const log = only(['log', 'nflog'], 'logging element')
  const audit = only(['audit'], "'audit' element")
  const action = only(Object.keys(actionAttributes), "'action' element")
  return {
    priority,
    family,
    source: source && parseAddress('source', source.attributes, source.not),
    destination: destination && parseAddress('destination', destination.attributes, destination.not),
    element: element && elements[element.word as RichElementKind].parse(element.attributes),
    log: log && (log.word === 'log' ? parseLog : parseNflog)(log.attributes, limitOf(log)),
    audit: audit && { limit: limitOf(audit) },
    action: action && parseAction(action.word as ActionKind, action.attributes, limitOf(action)),
  }
}

/** The order is firewalld's: a client sees the code of the first check that fails. `checkLimits` throws for a bad limit of these parts. */
function checkRule(rule: RichRule, checkLimits: (parts: readonly Part[]) => void): void {
  const { element, action, priority } = rule
  if (rule.family === null) {
    if (rule.source?.kind === 'address' || rule.destination !== null || element?.kind === 'forward-port') refuse('MISSING_FAMILY')
  }
  if (priority < -32768 || priority > 32767) refuse('INVALID_PRIORITY', "'priority' attribute must be between -32768 and 32767.")
  if (element === null) {
    if (action === null && (rule.log === null || rule.priority === 0)) refuse('INVALID_RULE', 'no element, no action')
    if (rule.source === null && rule.destination === null && rule.priority === 0) {
      refuse('INVALID_RULE', 'no element, no source, no destination')
    }
  } else if (elements[element.kind].action === 'needed' && action === null && rule.log === null && rule.audit === null) {
    refuse('INVALID_RULE', 'no action, no log, no audit')
  }
  if (rule.source !== null) checkAddress(rule.source, rule)
  if (rule.destination !== null) checkAddress(rule.destination, rule)
  if (element !== null) {
    checkElement(element, rule)
    if (elements[element.kind].action === 'refused' && action !== null) refuse('INVALID_RULE', `${element.kind} and action`)
  }
  if (rule.log !== null) checkLog(rule.log)
  checkLimits(['log', 'nflog'])
  checkAudit(rule)
  checkLimits(['audit'])
  checkAction(rule)
  checkLimits(['accept', 'drop', 'reject', 'mark'])
}

function checkElement<Kind extends RichElementKind>(element: Extract<RichElement, { kind: Kind }>, rule: RichRule): void {
  const grammar: ElementGrammar<Kind> = elements[element.kind as Kind]
  grammar.check(element, rule)
}

function formatElement<Kind extends RichElementKind>(element: Extract<RichElement, { kind: Kind }>): string {
  const grammar: ElementGrammar<Kind> = elements[element.kind as Kind]
  return grammar.format(element)
}
