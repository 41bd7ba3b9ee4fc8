// Entries of user ipsets: which text is an entry of which type, its canonical form and its parts, and which entries overlap.
import { DerpanetError, printable } from '../errors.ts'
import { addressBits, formatAddr, formatAddr4, formatPrefix, isMac, parseAddr4, parsePrefix } from './addr.ts'
import type { Family } from './addr.ts'
import { checkInterfaceName } from './interface-name.ts'
import { parsePortRange } from './port.ts'
import { parseProtocol } from './protocol.ts'

/** firewalld's types, in the order its property shows them. */
export const ipsetTypes = [
  'hash:ip', 'hash:ip,port', 'hash:ip,port,ip', 'hash:ip,port,net', 'hash:ip,mark', 'hash:net', 'hash:net,net', 'hash:net,port',
  'hash:net,port,net', 'hash:net,iface', 'hash:mac',
] as const
export type IpSetType = (typeof ipsetTypes)[number]

/** Types that say where a packet comes from, and nothing of where it goes: only these can be sources. */
export const sourceTypes: ReadonlySet<string> = new Set<IpSetType>([
  'hash:ip', 'hash:ip,port', 'hash:ip,mark', 'hash:net', 'hash:net,port', 'hash:net,iface', 'hash:mac',
])

export const ipsetOptions = ['family', 'hashsize', 'maxelem', 'timeout'] as const
export function isIpSetType(type: string): type is IpSetType {
  return (ipsetTypes as readonly string[]).includes(type)
}

/** The family of a set's addresses: option family, inet without one; null for hash:mac, which has no addresses. */
export function ipSetFamily(type: string, options: Readonly<Record<string, string>>): Family | null {
  if (type === 'hash:mac') return null
  return options['family'] === 'inet6' ? 'ipv6' : 'ipv4'
}

/** Inclusive, as numbers of the set's family. */
export interface AddressRange {
  readonly first: bigint
  readonly last: bigint
}

/** One part of an entry, between commas. */
export type EntryPart =
  | { readonly kind: 'addresses'; readonly range: AddressRange }
  /** `protocol` is the IP protocol number; without ports for protocols that have none. */
  | { readonly kind: 'port'; readonly protocol: number; readonly first: number; readonly last: number }
  | { readonly kind: 'mark'; readonly mark: number }
  | { readonly kind: 'interface'; readonly name: string; readonly physical: boolean }
  | { readonly kind: 'mac'; readonly mac: string }

export interface IpSetEntry {
  /** Canonical: host bits cleared, IPv6 compressed lower case, MAC as typed, `1.2.3.4/32` stays so. */
  readonly text: string
  readonly parts: readonly EntryPart[]
}

/** As {@link parseEntryParts}, the canonical text alone. */
export function parseIpSetEntry(type: string, options: Readonly<Record<string, string>>, text: string): string {
  return parseBounded(type, options, text).text
}

/** IPv4 addresses are numbers and IPv6 addresses bigints; the two never meet in one set. */
export interface Bounds {
  readonly first: number | bigint
  readonly last: number | bigint
}

/** `bounds` null for entries of several parts and MACs, which are not compared for overlaps. */
export interface BoundedEntry {
  readonly text: string
  readonly bounds: Bounds | null
}

/** As {@link parseEntryParts}, with just what comparing needs: a million entries of the usual kind take a second, not ten. */
export function parseBounded(type: string, options: Readonly<Record<string, string>>, text: string): BoundedEntry {
  const usual = (type === 'hash:net' || type === 'hash:ip') && options['family'] !== 'inet6' ? parseUsual4(text) : null
  if (usual !== null) return usual
  const entry = parseEntryParts(type, options, text)
  const range = rangeOf(entry)
  if (range === null) return { text: entry.text, bounds: null }
  const isIpv4 = ipSetFamily(type, options) === 'ipv4'
  return { text: entry.text, bounds: isIpv4 ? { first: Number(range.first), last: Number(range.last) } : range }
}

/** `1.2.3.4` and `1.2.3.0/24` without any allocation but the result; null for everything else, which goes the long way. */
function parseUsual4(text: string): BoundedEntry | null {
  let addr = 0
  let octet = -1
  let octets = 0
  let at = 0
  for (; at < text.length; at++) {
    const code = text.charCodeAt(at)
    if (code >= 48 && code <= 57) {
      if (octet === 0) return null
      octet = (octet < 0 ? 0 : octet * 10) + code - 48
      if (octet > 255) return null
    } else if (code === 46 && octet >= 0 && octets < 3) {
      addr = addr * 256 + octet
      octet = -1
      octets++
    } else break
  }
  if (octets !== 3 || octet < 0) return null
  addr = addr * 256 + octet
  if (at === text.length) return addr === 0 ? null : { text, bounds: { first: addr, last: addr } }
  if (text.charCodeAt(at) !== 47 || text.length - at > 3 || text.charCodeAt(at + 1) === 48) return null
  let length = 0
  for (at++; at < text.length; at++) {
    const code = text.charCodeAt(at)
    if (code < 48 || code > 57) return null
    length = length * 10 + code - 48
  }
  if (length < 1 || length > 32 || addr === 0) return null
  const size = 2 ** (32 - length)
  const first = addr - (addr % size)
  return { text: first === addr ? text : `${formatAddr4(first)}/${length}`, bounds: { first, last: first + size - 1 } }
}

/** Throws INVALID_ENTRY; INVALID_TYPE when the set's type is not one of ours. */
export function parseEntryParts(type: string, options: Readonly<Record<string, string>>, text: string): IpSetEntry {
  if (!isIpSetType(type)) throw new DerpanetError('INVALID_TYPE', printable(type))
  const kinds = type.slice('hash:'.length).split(',')
  const texts = text.split(',')
  if (texts.length !== kinds.length) return invalid(`entry '${text}' does not match ipset type '${type}'`)
  const family = ipSetFamily(type, options) ?? 'ipv4'
  const parts = kinds.map((kind, at) => parsePart(kind, at, type, family, texts[at]!, text))
  return { text: parts.map((part) => part.text).join(','), parts: parts.map((part) => part.part) }
}

interface Part {
  readonly text: string
  readonly part: EntryPart
}

function parsePart(kind: string, at: number, type: string, family: Family, text: string, entry: string): Part {
  switch (kind) {
    case 'ip':
    case 'net': {
      const part = parseAddresses(family, text, kind === 'net' || (family === 'ipv4' && at === 0), at === 0)
      return part ?? invalid(`invalid address '${text}' in '${entry}' for ${type} (${family})`)
    }
    case 'port':
      return parsePort(text) ?? invalid(`invalid port '${text}' in '${entry}'`)
    case 'mark': {
      const mark = /^(0[xX][0-9a-fA-F]{1,8}|\d{1,10})$/.test(text) ? Number(text) : Infinity
      return mark > 0xffff_ffff ? invalid(`invalid mark '${text}' in '${entry}'`) : { text, part: { kind: 'mark', mark } }
    }
    case 'iface': {
      const physical = text.startsWith('physdev:')
      const name = physical ? text.slice('physdev:'.length) : text
      try {
        checkInterfaceName(name)
      } catch (cause) {
        throw new DerpanetError('INVALID_ENTRY', printable(`invalid interface '${name}' in '${entry}'`), { cause })
      }
      return { text, part: { kind: 'interface', name, physical } }
    }
    case 'mac':
      // an all-zero MAC is the kernel's "nothing here"
      if (!isMac(text) || /^[0:]+$/.test(text)) return invalid(`invalid mac address '${text}' in '${entry}'`)
      return { text, part: { kind: 'mac', mac: text.toLowerCase() } }
    default:
      throw new Error(`ipset type with part '${kind}'`)
  }
}

/** A prefix of length 0 is refused everywhere: the kernel's hash sets cannot hold it. */
function parseAddresses(family: Family, text: string, prefixes: boolean, ranges: boolean): Part | null {
  const dash = text.indexOf('-')
  if (dash >= 0) {
    if (!ranges || family !== 'ipv4') return null
    const one = parseAddr4(text.slice(0, dash))
    const other = parseAddr4(text.slice(dash + 1))
    if (one === null || other === null || one === 0 || other === 0) return null
    const range = { first: BigInt(Math.min(one, other)), last: BigInt(Math.max(one, other)) }
    return { text: `${formatAddr(family, range.first)}-${formatAddr(family, range.last)}`, part: { kind: 'addresses', range } }
  }
  const prefix = parsePrefix(text)
  if (prefix === null || prefix.family !== family || prefix.length === 0 || (text.includes('/') && !prefixes)) return null
  const bits = addressBits(family)
  // 0.0.0.0 alone is the kernel's "nothing here"
  if (prefix.addr === 0n && prefix.length === bits) return null
  const canonical = formatPrefix(prefix)
  const range = { first: prefix.addr, last: prefix.addr | ((1n << BigInt(bits - prefix.length)) - 1n) }
  return { text: text.includes('/') && prefix.length === bits ? `${canonical}/${bits}` : canonical, part: { kind: 'addresses', range } }
}

/** `80`, `tcp:80`, `udp:80-90`, `icmp:echo-request`, `gre:0`: tcp when no protocol is given. */
function parsePort(text: string): Part | null {
  const trimmed = text.trim()
  const colon = trimmed.indexOf(':')
  const protocolText = colon < 0 ? 'tcp' : trimmed.slice(0, colon)
  const portText = trimmed.slice(colon + 1)
  const protocol = parseProtocol(protocolText)
  if (protocol === null || portText === '') return null
  const icmp = protocol === 1 || protocol === 58 ? parseIcmp(portText) : null
  if (icmp !== null) return { text: trimmed, part: { kind: 'port', protocol, first: icmp, last: icmp } }
  const ports = parsePortRange(portText)
  return ports === null ? null : { text: trimmed, part: { kind: 'port', protocol, ...ports } }
}

/** `type/code` as the kernel keeps it in a set: type × 256 + code. Names are the tool's business and are not taken. */
function parseIcmp(text: string): number | null {
  const match = /^(\d{1,3})\/(\d{1,3})$/.exec(text)
  if (match === null || Number(match[1]) > 255 || Number(match[2]) > 255) return null
  return Number(match[1]) * 256 + Number(match[2])
}

function invalid(detail: string): never {
  throw new DerpanetError('INVALID_ENTRY', printable(detail))
}

/** Entries of one part that cover addresses: only these are compared for overlaps, as firewalld does. */
export function rangeOf(entry: IpSetEntry): AddressRange | null {
  const [only, ...more] = entry.parts
  return more.length === 0 && only?.kind === 'addresses' ? only.range : null
}

/**
 * Pairs [entry, the earlier entry that is the same, contains it or lies within it], one for each entry that overlaps.
 * n log n: sets may have a million entries.
 */
export function findOverlaps(
  type: string, options: Readonly<Record<string, string>>, texts: readonly string[],
): readonly (readonly [string, string])[] {
  return overlapsAmong(texts.map((text) => parseBounded(type, options, text))).map(([one, other]) => [texts[one]!, texts[other]!])
}

/** As {@link findOverlaps}, by index. */
export function overlapsAmong(entries: readonly BoundedEntry[]): readonly (readonly [number, number])[] {
  const overlaps: (readonly [number, number])[] = []
  const ranges: { readonly bounds: Bounds; readonly at: number }[] = []
  const seen = new Map<string, number>()
  entries.forEach(({ text, bounds }, at) => {
    if (bounds !== null) ranges.push({ bounds, at })
    else if (seen.has(text)) overlaps.push([at, seen.get(text)!])
    else seen.set(text, at)
  })
  if (!isAscending(ranges)) {
    ranges.sort((one, other) => compare(one.bounds.first, other.bounds.first) || compare(other.bounds.last, one.bounds.last) || one.at - other.at)
  }
  let reach: { readonly bounds: Bounds; readonly at: number } | null = null
  for (const here of ranges) {
    if (reach !== null && here.bounds.first <= reach.bounds.last) overlaps.push([Math.max(reach.at, here.at), Math.min(reach.at, here.at)])
    if (reach === null || here.bounds.last > reach.bounds.last) reach = here
  }
  return overlaps
}

function isAscending(ranges: readonly { readonly bounds: Bounds }[]): boolean {
  for (let at = 1; at < ranges.length; at++) if (ranges[at]!.bounds.first < ranges[at - 1]!.bounds.first) return false
  return true
}

function compare(one: number | bigint, other: number | bigint): number {
  return one < other ? -1 : one > other ? 1 : 0
}
