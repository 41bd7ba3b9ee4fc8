// `log` (kernel log) and `nflog` (userspace log).
import { printable } from '../../errors.ts'
import { formatLimit } from './limit.ts'
import type { Attributes, RichLimit, RichLog } from './types.ts'
import { quoted, refuse } from './types.ts'

export const logAttributes = ['prefix', 'level'] as const
export const nflogAttributes = ['group', 'prefix', 'queue-size'] as const
export const logLevels = ['emerg', 'alert', 'crit', 'error', 'warning', 'notice', 'info', 'debug'] as const
const maxPrefixChars = 127
/** What would end a line, for a tool or for whoever reads the log. */
const control = /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/

export function parseLog(attributes: Attributes, limit: RichLimit | null): RichLog {
  return { kind: 'log', prefix: attributes.get('prefix') ?? '', level: attributes.get('level') ?? '', limit }
}

export function parseNflog(attributes: Attributes, limit: RichLimit | null): RichLog {
  const text = (name: string): string => attributes.get(name) ?? ''
  return { kind: 'nflog', group: text('group'), prefix: text('prefix'), queueSize: text('queue-size'), limit }
}

/** Throws INVALID_LOG_PREFIX, INVALID_LOG_LEVEL, INVALID_NFLOG_GROUP, INVALID_NFLOG_QUEUE. */
export function checkLog(log: RichLog): void {
  if (log.prefix.length > maxPrefixChars) refuse('INVALID_LOG_PREFIX', `maximum accepted length of 'prefix' is ${maxPrefixChars}.`)
  if (control.test(log.prefix)) refuse('INVALID_LOG_PREFIX', `control character in '${printable(log.prefix)}'`)
  if (log.kind === 'log') {
    if (log.level !== '' && !(logLevels as readonly string[]).includes(log.level)) refuse('INVALID_LOG_LEVEL', log.level)
    return
  }
  if (!isU16(log.group)) refuse('INVALID_NFLOG_GROUP', "nflog 'group' must be an integer between 0 and 65535.")
  if (!isU16(log.queueSize)) refuse('INVALID_NFLOG_QUEUE', "nflog 'queue-size' must be an integer between 0 and 65535.")
}

function isU16(text: string): boolean {
  return text === '' || (/^(0|[1-9]\d{0,4})$/.test(text) && Number(text) <= 65535)
}

/** With a leading blank; "" for none. */
export function formatLog(log: RichLog | null): string {
  if (log === null) return ''
  const attribute = (name: string, value: string): string => (value === '' ? '' : ` ${name}=${quoted(value)}`)
  const attributes = log.kind === 'log'
    ? attribute('prefix', log.prefix) + attribute('level', log.level)
    : attribute('group', log.group) + attribute('prefix', log.prefix) + attribute('queue-size', log.queueSize)
  return ` ${log.kind}${attributes}${formatLimit(log.limit)}`
}
