// `source` and `destination`: whom a rule is about.
import { isMac, parsePrefix } from '../addr.ts'
import type { Attributes, RichAddress, RichRule } from './types.ts'
import { quoted, refuse } from './types.ts'

export const sourceAttributes = ['address', 'mac', 'ipset', 'invert'] as const
export const destinationAttributes = ['address', 'ipset', 'invert'] as const

/** `invert` = the word NOT was there. Throws INVALID_RULE, INVALID_DESTINATION. */
export function parseAddress(side: 'source' | 'destination', attributes: Attributes, not: boolean): RichAddress {
  const given = (['address', 'mac', 'ipset'] as const).filter((kind) => attributes.has(kind))
  const [kind, second] = given
  if (kind === undefined) return refuse('INVALID_RULE', side === 'source' ? 'no address, mac and ipset' : 'no address and ipset')
  if (second !== undefined) refuse(side === 'source' ? 'INVALID_RULE' : 'INVALID_DESTINATION', `${kind} and ${second}`)
  return { kind, text: attributes.get(kind)!, invert: not || parseInvert(attributes.get('invert')) }
}

/** firewalld takes every word for yes, "no" included; a word that means the opposite of what it does is refused here. */
function parseInvert(text: string | undefined): boolean {
  if (text === undefined) return false
  if (!/^(true|yes|1)$/i.test(text)) refuse('INVALID_RULE', `invert="${text}": write NOT, or leave it out`)
  return true
}

/** Throws INVALID_ADDR, INVALID_MAC. Whether an ipset exists is looked up elsewhere. */
export function checkAddress(address: RichAddress, rule: RichRule): void {
  if (address.kind === 'mac' && !isMac(address.text)) refuse('INVALID_MAC', address.text)
  if (address.kind === 'address') {
    const prefix = parsePrefix(address.text)
    if (prefix === null || prefix.family !== rule.family) refuse('INVALID_ADDR', address.text)
  }
}

/** With a leading blank; "" for none. */
export function formatAddress(side: 'source' | 'destination', address: RichAddress | null): string {
  return address === null ? '' : ` ${side} ${address.invert ? 'NOT ' : ''}${address.kind}=${quoted(address.text)}`
}
