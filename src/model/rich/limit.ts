// `limit value="3/m" burst=5`: how often a log, audit or action may happen.
import type { Attributes, RichLimit } from './types.ts'
import { needAttribute, refuse } from './types.ts'

const secondsOf = { s: 1, m: 60, h: 3600, d: 86400 } as const
const longUnits: Readonly<Record<string, RichLimit['unit']>> = { second: 's', minute: 'm', hour: 'h', day: 'd' }
/** xt_limit counts in 1/10000 seconds and cannot be slower than it can hold in 32 bits. */
const ticksPerSecond = 10_000
const maxBurst = 10_000_000

export const limitAttributes = ['value', 'burst'] as const

/** Throws INVALID_RULE without a value, INVALID_LIMIT for a bad one. */
export function parseLimit(attributes: Attributes): RichLimit {
  const value = needAttribute('limit', 'value', attributes)
  const match = /^\+?(\d{1,15})\/([a-z]+)$/.exec(value)
  const word = match?.[2] ?? ''
  const unit = Object.hasOwn(longUnits, word) ? longUnits[word]! : word
  if (match === null || !isUnit(unit)) return refuse('INVALID_LIMIT', value)
  const count = Number(match[1])
  if (count < 1) refuse('INVALID_LIMIT', value)
  if (ticksPerSecond * secondsOf[unit] < count) refuse('INVALID_LIMIT', `${value} too fast`)
  if (count === 1 && unit === 'd') refuse('INVALID_LIMIT', `${count}/${unit} too slow`)
  return { count, unit, burst: parseBurst(attributes.get('burst')) }
}

function isUnit(text: string): text is RichLimit['unit'] {
  return Object.hasOwn(secondsOf, text)
}

function parseBurst(text: string | undefined): number | null {
  if (text === undefined) return null
  if (!/^\d{1,8}$/.test(text) || Number(text) < 1 || Number(text) > maxBurst) return refuse('INVALID_LIMIT', `burst ${text}`)
  return Number(text)
}

/** With a leading blank; "" for none. */
export function formatLimit(limit: RichLimit | null): string {
  if (limit === null) return ''
  return ` limit value="${limit.count}/${limit.unit}"${limit.burst === null ? '' : ` burst=${limit.burst}`}`
}
