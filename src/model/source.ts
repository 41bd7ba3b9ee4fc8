// The text of a zone source: an address or prefix, a MAC, `ipset:NAME` or `list:NAME`.
import { DerpanetError, printable } from '../errors.ts'
import { isMac, parsePrefix } from './addr.ts'
import type { Prefix } from './addr.ts'

/** `text` is what lists show: addresses as typed, MACs in capitals. */
export type ZoneSource =
  | { readonly kind: 'prefix'; readonly text: string; readonly prefix: Prefix }
  /** Lower-case colon text. */
  | { readonly kind: 'mac'; readonly text: string; readonly mac: string }
  | { readonly kind: 'ipset'; readonly text: string; readonly name: string }
  | { readonly kind: 'list'; readonly text: string; readonly name: string }

/** Whether an ipset or list exists is looked up by the caller. Throws INVALID_ADDR, INVALID_IPSET for an empty name. */
export function parseZoneSource(text: string): ZoneSource {
  if (text.startsWith('ipset:')) return { kind: 'ipset', text, name: needName(text.slice('ipset:'.length)) }
  if (text.startsWith('list:')) return { kind: 'list', text, name: needName(text.slice('list:'.length)) }
  if (isMac(text)) return { kind: 'mac', text: text.toUpperCase(), mac: text.toLowerCase() }
  const prefix = parsePrefix(text)
  if (prefix === null) throw new DerpanetError('INVALID_ADDR', printable(text))
  return { kind: 'prefix', text, prefix }
}

function needName(name: string): string {
  if (name === '') throw new DerpanetError('INVALID_IPSET')
  return name
}
