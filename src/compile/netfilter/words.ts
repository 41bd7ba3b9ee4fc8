// The gate between values and the text that iptables-restore and ipset read: what passes here is one word that cannot
// be taken for an option, a quote or a line end. Everything of foreign origin in that text goes through these functions.
import { DerpanetError, printable } from '../../errors.ts'

/** Longest interface name the kernel takes. */
const maxInterfaceName = 15

/** Throws INVALID_INTERFACE for what the kernel or iptables would read differently than it is written. */
export function interfaceWord(name: string, wildcard: boolean): string {
  const ok = /^[A-Za-z0-9_.@#~=%,^&(){}<>?[\]|][A-Za-z0-9_.@#~=%,^&(){}<>?[\]|:+-]*$/.test(name) || (wildcard && name === '')
  // a + at the end means every ending
  if (!ok || (!wildcard && name.endsWith('+')) || name.length > maxInterfaceName - (wildcard ? 1 : 0)) throw new DerpanetError('INVALID_INTERFACE', printable(name))
  return wildcard ? `${name}+` : name
}

/** Throws INVALID_MAC. */
export function macWord(mac: string): string {
  if (!/^([0-9a-f]{2}:){5}[0-9a-f]{2}$/i.test(mac)) throw new DerpanetError('INVALID_MAC', printable(mac))
  return mac
}

/** An ipset element. Throws INVALID_ENTRY. */
export function entryWord(entry: string): string {
  const isEntry = /^[A-Za-z0-9][A-Za-z0-9.:,/_@+-]*$/.test(entry) || /^::[0-9a-zA-Z.:,/]*$/.test(entry)
  // an interface name is a word of its own set type, and may be the beginning of many
  const isInterface = /^(0\.0\.0\.0|::)\/0,[A-Za-z0-9_.@#~=%^&(){}<>?[\]|:-]{1,15}( wildcard)?$/.test(entry)
  if (!isEntry && !isInterface) throw new DerpanetError('INVALID_ENTRY', printable(entry))
  return entry
}

/** A kernel helper's name, at most 15 characters. Throws INVALID_HELPER. */
export function helperWord(name: string): string {
  if (!/^[A-Za-z0-9][A-Za-z0-9.-]{0,14}$/.test(name)) throw new DerpanetError('INVALID_HELPER', printable(name))
  return name
}

/** A log prefix in quotes: iptables takes the word behind --log-prefix as it is, whatever it begins with. Throws INVALID_LOG_PREFIX for more than `maxBytes` and for what would end the line. */
export function prefixWord(text: string, maxBytes: number): string {
  if (/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/.test(text)) throw new DerpanetError('INVALID_LOG_PREFIX', `control character in '${printable(text)}'`)
  if (new TextEncoder().encode(text).length > maxBytes) {
    throw new DerpanetError('INVALID_LOG_PREFIX', `'${printable(text)}' has more than ${maxBytes} bytes`)
  }
  return `"${text.replace(/["\\]/g, '\\$&')}"`
}

export function numberWord(value: number, max: number): string {
  if (!Number.isInteger(value) || value < 0 || value > max) throw new Error(`number out of range: ${value}`)
  return String(value)
}
