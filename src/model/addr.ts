// Addresses, prefixes and MAC addresses: parsing, canonical text, containment. No lookups, no names.
import { DerpanetError, printable } from '../errors.ts'

export type Family = 'ipv4' | 'ipv6'
export const families: readonly Family[] = ['ipv4', 'ipv6']

/** An address block. `addr` is the numeric address (IPv4 32 bits, IPv6 128 bits) with host bits zero; `length` 0–32 / 0–128. */
export interface Prefix {
  readonly family: Family
  readonly addr: bigint
  readonly length: number
}

export function addressBits(family: Family): 32 | 128 {
  return family === 'ipv4' ? 32 : 128
}

/** Dotted quad, four decimal parts without leading zeros → number 0–2^32-1, or null. */
export function parseAddr4(text: string): number | null {
  const parts = text.split('.')
  if (parts.length !== 4) return null
  let addr = 0
  for (const part of parts) {
    if (!/^(0|[1-9]\d{0,2})$/.test(part)) return null
    const byte = Number(part)
    if (byte > 255) return null
    addr = addr * 256 + byte
  }
  return addr
}

/**
 * RFC 4291 text (with `::` and an embedded dotted quad, without a zone id) → 128-bit number, or null. In brackets as well, as in
 * a URL: firewalld takes them wherever it takes an address.
 */
export function parseAddr6(given: string): bigint | null {
  const text = given.startsWith('[') && given.endsWith(']') ? given.slice(1, -1) : given
  if (text.length > 45 || !/^[0-9a-fA-F:.]+$/.test(text)) return null
  let body = text
  const dot = body.lastIndexOf('.')
  if (dot >= 0) {
    const colon = body.lastIndexOf(':')
    const quad = parseAddr4(body.slice(colon + 1))
    if (colon < 0 || quad === null) return null
    body = `${body.slice(0, colon + 1)}${(quad >>> 16).toString(16)}:${(quad & 0xffff).toString(16)}`
  }
  const halves = body.split('::')
  if (halves.length > 2) return null
  const groups = (half: string): string[] => (half === '' ? [] : half.split(':'))
  const head = groups(halves[0] ?? '')
  const tail = halves.length === 2 ? groups(halves[1] ?? '') : []
  const missing = 8 - head.length - tail.length
  if (halves.length === 2 ? missing < 1 : missing !== 0) return null
  let addr = 0n
  for (const group of [...head, ...Array<string>(missing).fill('0'), ...tail]) {
    if (!/^[0-9a-fA-F]{1,4}$/.test(group)) return null
    addr = (addr << 16n) | BigInt(`0x${group}`)
  }
  return addr
}

export function formatAddr4(addr: number): string {
  return `${addr >>> 24}.${(addr >>> 16) & 255}.${(addr >>> 8) & 255}.${addr & 255}`
}

/** RFC 5952 text: lower case, longest run of zeros (two groups at least) as `::`. */
export function formatAddr6(addr: bigint): string {
  const groups: number[] = []
  for (let shift = 112n; shift >= 0n; shift -= 16n) groups.push(Number((addr >> shift) & 0xffffn))
  let best = -1
  let bestLength = 1
  for (let start = 0; start < 8; start++) {
    let end = start
    while (end < 8 && groups[end] === 0) end++
    if (end - start > bestLength) {
      best = start
      bestLength = end - start
    }
    if (end > start) start = end
  }
  const hex = groups.map((group) => group.toString(16))
  if (best < 0) return hex.join(':')
  return `${hex.slice(0, best).join(':')}::${hex.slice(best + bestLength).join(':')}`
}

export function formatAddr(family: Family, addr: bigint): string {
  return family === 'ipv4' ? formatAddr4(Number(addr)) : formatAddr6(addr)
}

const prefixTexts = new WeakMap<Prefix, string>()

/** Canonical text: the address alone for a host, `addr/length` otherwise. */
export function formatPrefix(prefix: Prefix): string {
  // the same thousand prefixes are written out at every change
  const known = prefixTexts.get(prefix)
  if (known !== undefined) return known
  const addr = formatAddr(prefix.family, prefix.addr)
  const text = prefix.length === addressBits(prefix.family) ? addr : `${addr}/${prefix.length}`
  prefixTexts.set(prefix, text)
  return text
}

export function maskPrefix(family: Family, addr: bigint, length: number): Prefix {
  const hostBits = BigInt(addressBits(family) - length)
  return { family, addr: (addr >> hostBits) << hostBits, length }
}

/** Address, address/length or IPv4 address/dotted-mask; host bits are cleared. null when it is none of them. */
export function parsePrefix(text: string): Prefix | null {
  const slash = text.indexOf('/')
  const addrText = slash < 0 ? text : text.slice(0, slash)
  const lengthText = slash < 0 ? null : text.slice(slash + 1)
  const addr4 = parseAddr4(addrText)
  if (addr4 !== null) {
    const length = lengthText === null ? 32 : parseLength4(lengthText)
    return length === null ? null : maskPrefix('ipv4', BigInt(addr4), length)
  }
  const addr6 = parseAddr6(addrText)
  if (addr6 === null) return null
  if (lengthText === null) return { family: 'ipv6', addr: addr6, length: 128 }
  if (!/^\d{1,3}$/.test(lengthText) || Number(lengthText) > 128) return null
  return maskPrefix('ipv6', addr6, Number(lengthText))
}

function parseLength4(text: string): number | null {
  if (/^\d{1,2}$/.test(text)) return Number(text) <= 32 ? Number(text) : null
  const mask = parseAddr4(text)
  if (mask === null) return null
  const inverted = ~mask >>> 0
  return (inverted & (inverted + 1)) === 0 ? 32 - Math.log2(inverted + 1) : null
}

/** As {@link parsePrefix}. Throws INVALID_ADDR. */
export function requirePrefix(text: string): Prefix {
  const prefix = parsePrefix(text)
  if (prefix === null) throw new DerpanetError('INVALID_ADDR', printable(text))
  return prefix
}

export function prefixContains(outer: Prefix, inner: Prefix): boolean {
  if (outer.family !== inner.family || outer.length > inner.length) return false
  const hostBits = BigInt(addressBits(outer.family) - outer.length)
  return outer.addr >> hostBits === inner.addr >> hostBits
}

export function prefixHasAddr(prefix: Prefix, family: Family, addr: bigint): boolean {
  if (prefix.family !== family) return false
  const hostBits = BigInt(addressBits(family) - prefix.length)
  return prefix.addr >> hostBits === addr >> hostBits
}

/** Six colon-separated hex bytes. */
export function isMac(text: string): boolean {
  return /^([0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}$/.test(text)
}
