// What the name of an object may be. The name is the name of its file, so these rules also keep files inside their folder.
import { DerpanetError, printable } from '../errors.ts'

export type KindName = 'zone' | 'policy' | 'service' | 'ipset' | 'icmptype' | 'helper' | 'list'

interface NameRule {
  readonly pattern: RegExp
  readonly maxChars: number
  readonly text: string
}

/** Letters and digits of every script count, as firewalld's check does. An inner slash (zone groups) is allowed on the bus only. */
const rules: Readonly<Record<KindName, NameRule>> = {
  zone: { pattern: /^[\p{L}\p{N}_-]+(\/[\p{L}\p{N}_-]+)?$/u, maxChars: 96, text: 'letters, digits, _ and -' },
  policy: { pattern: /^[\p{L}\p{N}_-]+(\/[\p{L}\p{N}_-]+)?$/u, maxChars: 128, text: 'letters, digits, _ and -' },
  service: { pattern: /^[\p{L}\p{N}_-]+$/u, maxChars: 200, text: 'letters, digits, _ and -' },
  ipset: { pattern: /^[\p{L}\p{N}_:.-]+$/u, maxChars: 32, text: 'letters, digits, _ - : and .' },
  icmptype: { pattern: /^[\p{L}\p{N}_-]+$/u, maxChars: 200, text: 'letters, digits, _ and -' },
  helper: { pattern: /^[\p{L}\p{N}.-]+$/u, maxChars: 200, text: 'letters, digits, - and .' },
  list: { pattern: /^[A-Za-z0-9_][A-Za-z0-9_.-]*$/, maxChars: 64, text: 'letters, digits, _ - and .' },
}

/** The part before a slash counts for the length. `.` and `..` are no names. */
export function isName(kind: KindName, name: string): boolean {
  const rule = rules[kind]
  const head = name.split('/')[0] ?? ''
  return rule.pattern.test(name) && [...head].length <= rule.maxChars && !/^\.+$/.test(name)
}

/** Throws INVALID_NAME. */
export function requireName(kind: KindName, name: string): string {
  if (isName(kind, name)) return name
  const rule = rules[kind]
  throw new DerpanetError('INVALID_NAME', `'${printable(name)}': a ${kind} name is ${rule.text}, at most ${rule.maxChars} characters`)
}
