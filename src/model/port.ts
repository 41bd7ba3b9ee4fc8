// Ports, port ranges and protocols: text to numbers and back.
import { DerpanetError, printable } from '../errors.ts'
import type { PortProtocol, PortRange } from './firewall.ts'
import type { PortSpec } from './settings.ts'
import { portOfName } from './port-names.ts'

export const portProtocols: readonly PortProtocol[] = ['tcp', 'udp', 'sctp', 'dccp']
export const protocolNumbers: Readonly<Record<PortProtocol, number>> = { tcp: 6, udp: 17, sctp: 132, dccp: 33 }

/**
 * "80", "80-90" (either order), a service name of {@link portOfName}; blanks around it do not matter → inclusive range.
 * `a:b`, negative and > 65535 → null.
 */
export function parsePortRange(text: string): PortRange | null {
  // nearly all of them, and whole lists of them are read at every change
  if (/^[1-9]\d{0,3}$/.test(text)) return { first: Number(text), last: Number(text) }
  const trimmed = text.trim()
  const named = portOfName(trimmed)
  if (named !== null) return { first: named, last: named }
  const match = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(trimmed)
  if (match === null) return null
  const one = Number(match[1])
  const other = match[2] === undefined ? one : Number(match[2])
  if (one > 65535 || other > 65535) return null
  return one <= other ? { first: one, last: other } : { first: other, last: one }
}

export function formatPortRange(range: PortRange): string {
  return range.first === range.last ? String(range.first) : `${range.first}-${range.last}`
}

export function isPortProtocol(text: string): text is PortProtocol {
  return (portProtocols as readonly string[]).includes(text)
}

/** Canonical port and protocol. Throws INVALID_PORT or INVALID_PROTOCOL. */
export function parsePortSpec(port: string, protocol: string): PortSpec {
  const range = parsePortRange(port)
  if (range === null) throw new DerpanetError('INVALID_PORT', printable(port))
  if (protocol === '') throw new DerpanetError('INVALID_PROTOCOL', 'no protocol: expected tcp, udp, sctp or dccp')
  if (!isPortProtocol(protocol)) throw new DerpanetError('INVALID_PROTOCOL', `'${printable(protocol)}' not in {'tcp'|'udp'|'sctp'|'dccp'}`)
  return { port: formatPortRange(range), protocol }
}

/** As {@link parsePortSpec}, where somebody wrote one port alone: MISSING_PROTOCOL for "". Among many settings firewalld calls that invalid. */
export function parseSinglePort(port: string, protocol: string): PortSpec {
  if (protocol === '' && parsePortRange(port) !== null) throw new DerpanetError('MISSING_PROTOCOL')
  return parsePortSpec(port, protocol)
}
