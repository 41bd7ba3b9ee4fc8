// What the older face refuses because its clients could not read it back.
import { DerpanetError, printable } from '../../errors.ts'
import { parseRichRule } from '../../model/rich/index.ts'
import type { Face } from '../members.ts'
import type { ObjectKind } from '../members/firewalld.ts'

/** In 1.3 zone and policy names had to fit into the names of chains. */
const maxChars: Readonly<Partial<Record<ObjectKind, number>>> = { zone: 17, policy: 18 }

/** Throws INVALID_NAME. */
export function requireFaceName(face: Face, kind: ObjectKind, name: string): void {
  const most = maxChars[kind]
  const head = name.split('/')[0] ?? ''
  if (face === '2.5' || most === undefined || [...head].length <= most) return
  throw new DerpanetError('INVALID_NAME', `${kind} of '${printable(name)}' has ${[...head].length} chars, max is ${most}`)
}

/** The rule of a call: firewalld reads it before it looks at anything else. Throws INVALID_RULE and what else a rule can be. */
export function requireRule(face: Face, rule: string): void {
  parseRichRule(rule)
  refuseNewerRules(face, [rule])
}

/** `rules`: texts of rich rules, or nothing. Throws INVALID_RULE for a burst, which came with 2.x; rules that are none are for others to refuse. */
export function refuseNewerRules(face: Face, rules: unknown): void {
  if (face === '2.5' || !Array.isArray(rules)) return
  for (const rule of rules) if (typeof rule === 'string' && /\bburst\b/.test(rule) && hasBurst(rule)) throw new DerpanetError('INVALID_RULE', 'bad attribute \'burst\'')
}

function hasBurst(text: string): boolean {
  const { log, audit, action } = parseRichRule(text)
  return [log?.limit, audit?.limit, action?.limit].some((limit) => limit !== null && limit !== undefined && limit.burst !== null)
}
