// Entries of user ipsets: which text is an entry of which type, its canonical form, and which entries overlap.
import { DerpanetError, printable } from '../errors.ts'
import { addressBits, formatAddr, formatPrefix, isMac, parseAddr4, parseAddr6, parsePrefix } from './addr.ts'
import type { Family } from './addr.ts'
import { parsePortRange } from './port.ts'

const bad = (entry: string, why: string): DerpanetError => new DerpanetError('INVALID_ENTRY', `'${printable(entry)}': ${why}`)

function parseSingle(family: Family, text: string): bigint | null {
  const addr4 = family === 'ipv4' ? parseAddr4(text) : null
  return family === 'ipv4' ? (addr4 === null ? null : BigInt(addr4)) : parseAddr6(text)
}

/** An address, or an IPv4 range `first-last`: canonical text and inclusive bounds. */
function parseAddressRange(family: Family, text: string): { readonly text: string; readonly first: bigint; readonly last: bigint } | null {
  const single = parseSingle(family, text)
  if (single !== null) return { text: formatAddr(family, single), first: single, last: single }
  const [from, to, more] = text.split('-')
  const first = family === 'ipv4' && from !== undefined ? parseSingle(family, from) : null
  const last = to === undefined ? null : parseSingle(family, to)
  if (more !== undefined || first === null || last === null || first > last) return null
  return { text: `${formatAddr(family, first)}-${formatAddr(family, last)}`, first, last }
}

function isEntryPort(text: string): boolean {
  const colon = text.indexOf(':')
  if (colon < 0) return parsePortRange(text) !== null
  const protocol = text.slice(0, colon)
  const rest = text.slice(colon + 1)
  if (['tcp', 'udp', 'sctp', 'udplite'].includes(protocol)) return parsePortRange(rest) !== null
  if (protocol === 'icmp' || protocol === 'icmpv6') return /^([a-z-]+|\d{1,3}\/\d{1,3})$/.test(rest)
  return /^([a-z0-9-]{1,16}|\d{1,3})$/.test(protocol) && rest === '0'
}

function canonicalPart(part: string, kind: string, family: Family): string | null {
  switch (kind) {
    case 'ip': return parseAddressRange(family, part)?.text ?? null
    case 'net': {
      const prefix = parsePrefix(part)
      return prefix !== null && prefix.family === family && prefix.length > 0 ? formatPrefix(prefix) : null
    }
    case 'port': return isEntryPort(part) ? part : null
    case 'mark': return /^(0x[0-9a-fA-F]{1,8}|\d{1,10})(\/0x[0-9a-fA-F]{1,8})?$/.test(part) ? part : null
    case 'iface': return /^(physdev:)?[^\s/!*"'\\,:]{1,15}$/.test(part) ? part : null
    case 'mac': return isMac(part) && part !== '00:00:00:00:00:00' ? part : null
    default: return null
  }
}

/** The family of a set's addresses: option family, inet without one; null for hash:mac, which has no addresses. */
export function ipSetFamily(type: string, options: Readonly<Record<string, string>>): Family | null {
  if (type === 'hash:mac') return null
  return options['family'] === 'inet6' ? 'ipv6' : 'ipv4'
}

/**
 * Canonical text of an entry: host bits cleared, IPv6 compressed in lower case, a full-length prefix without its length,
 * MAC as written. Throws INVALID_ENTRY.
 */
export function parseIpSetEntry(type: string, options: Readonly<Record<string, string>>, entry: string): string {
  const parts = type.replace(/^hash:/, '').split(',')
  const found = entry.split(',')
  if (found.length !== parts.length) throw bad(entry, `${type} takes ${parts.join(',')}`)
  const family = ipSetFamily(type, options) ?? 'ipv4'
  return found.map((part, index) => {
    const canonical = canonicalPart(part, parts[index] ?? '', family)
    if (canonical === null) throw bad(entry, `'${printable(part)}' is not ${parts[index]}${type === 'hash:mac' ? '' : ` of ${family}`}`)
    return canonical
  }).join(',')
}

/** Inclusive numeric bounds of an entry that is one address, range or prefix; null for entries with more parts and MACs. */
export function entryBounds(entry: string): { readonly family: Family; readonly first: bigint; readonly last: bigint } | null {
  const prefix = parsePrefix(entry)
  if (prefix === null) {
    const range = parseAddressRange('ipv4', entry)
    return range === null ? null : { family: 'ipv4', first: range.first, last: range.last }
  }
  const hostBits = BigInt(addressBits(prefix.family) - prefix.length)
  return { family: prefix.family, first: prefix.addr, last: prefix.addr + (1n << hostBits) - 1n }
}

/**
 * Pairs [entry, the earlier entry that is the same, contains it or lies within it], one for each entry that overlaps.
 * Entries are canonical. n log n: sets may have a million entries.
 */
export function findOverlaps(entries: readonly string[]): readonly (readonly [string, string])[] {
  const seen = new Set<string>()
  const overlaps: (readonly [string, string])[] = []
  const ranges: { first: bigint; last: bigint; index: number }[] = []
  entries.forEach((entry, index) => {
    if (seen.has(entry)) overlaps.push([entry, entry])
    else {
      seen.add(entry)
      const bounds = entryBounds(entry)
      if (bounds !== null) ranges.push({ first: bounds.first, last: bounds.last, index })
    }
  })
  ranges.sort((a, b) => a.first < b.first ? -1 : a.first > b.first ? 1 : a.last > b.last ? -1 : 1)
  let reach: { last: bigint; index: number } | null = null
  for (const range of ranges) {
    if (reach !== null && range.first <= reach.last) {
      const [earlier, later] = [Math.min(reach.index, range.index), Math.max(reach.index, range.index)]
      overlaps.push([entries[later]!, entries[earlier]!])
    }
    if (reach === null || range.last > reach.last) reach = range
  }
  return overlaps
}
