// The shape of a parsed rich rule, and what one element file gives to the index.
import type { Family } from '../addr.ts'
import type { ErrorCode } from '../../errors.ts'
import { DerpanetError, printable } from '../../errors.ts'

/** "3/m" in parts; `burst` null = not given. `unit`: s m h d. */
export interface RichLimit {
  readonly count: number
  readonly unit: 's' | 'm' | 'h' | 'd'
  readonly burst: number | null
}

/** `text` as the caller typed it: addresses and MACs keep their spelling. */
export interface RichAddress {
  readonly kind: 'address' | 'mac' | 'ipset'
  readonly text: string
  readonly invert: boolean
}

export type RichElement =
  | { readonly kind: 'service'; readonly name: string }
  | { readonly kind: 'port'; readonly port: string; readonly protocol: string }
  | { readonly kind: 'source-port'; readonly port: string; readonly protocol: string }
  | { readonly kind: 'protocol'; readonly value: string }
  | { readonly kind: 'icmp-block'; readonly name: string }
  | { readonly kind: 'icmp-type'; readonly name: string }
  | { readonly kind: 'masquerade' }
  | { readonly kind: 'forward-port'; readonly port: string; readonly protocol: string; readonly toPort: string; readonly toAddr: string }
  /** "" = path MTU without saying so, "pmtu", or bytes. */
  | { readonly kind: 'tcp-mss-clamp'; readonly value: string }

export type RichElementKind = RichElement['kind']

export type RichLog =
  /** "" = not given. */
  | { readonly kind: 'log'; readonly prefix: string; readonly level: string; readonly limit: RichLimit | null }
  | { readonly kind: 'nflog'; readonly group: string; readonly prefix: string; readonly queueSize: string; readonly limit: RichLimit | null }

export interface RichAudit {
  readonly limit: RichLimit | null
}

export type RichAction =
  | { readonly kind: 'accept'; readonly limit: RichLimit | null }
  | { readonly kind: 'drop'; readonly limit: RichLimit | null }
  /** `type` as typed, "" = none given. */
  | { readonly kind: 'reject'; readonly type: string; readonly limit: RichLimit | null }
  | { readonly kind: 'mark'; readonly set: string; readonly limit: RichLimit | null }

/** A whole rule. null = that part is absent. */
export interface RichRule {
  /** -32768…32767. */
  readonly priority: number
  readonly family: Family | null
  readonly source: RichAddress | null
  readonly destination: RichAddress | null
  readonly element: RichElement | null
  readonly log: RichLog | null
  readonly audit: RichAudit | null
  readonly action: RichAction | null
}

/** `name=value` pairs of one element, quotes removed. */
export type Attributes = ReadonlyMap<string, string>

/** One kind of element: everything the grammar needs to know about it. */
export interface ElementGrammar<Kind extends RichElementKind> {
  readonly attributes: readonly string[]
  /** Does it decide by an action of the rule, or is it an action itself? */
  readonly action: 'needed' | 'refused'
  /** Throws INVALID_RULE when an attribute is missing. */
  parse(attributes: Attributes): Extract<RichElement, { kind: Kind }>
  /** What can be said about the values without looking names up; throws the code that fits. */
  check(element: Extract<RichElement, { kind: Kind }>, rule: RichRule): void
  /** Without leading blank. */
  format(element: Extract<RichElement, { kind: Kind }>): string
}

export function refuse(code: ErrorCode, detail = ''): never {
  throw new DerpanetError(code, printable(detail))
}

/** A value in double quotes. Quotes and backslashes inside are escaped, so that parsing gives the same value back. */
export function quoted(value: string): string {
  return `"${value.replace(/["\\]/g, '\\$&')}"`
}

/** The attribute, which an element cannot do without. Throws INVALID_RULE. */
export function needAttribute(word: string, name: string, attributes: Attributes): string {
  return attributes.get(name) ?? refuse('INVALID_RULE', `invalid '${word}' element`)
}
