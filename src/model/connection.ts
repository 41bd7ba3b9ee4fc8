// A TCP connection of this host as its socket table shows it: who talks to which of our ports.
import { formatAddr, parsePrefix, type Family } from './addr.ts'
import { DerpanetError, printable } from '../errors.ts'

export interface Connection {
  readonly family: Family
  readonly peer: bigint
  readonly peerPort: number
  readonly local: bigint
  readonly localPort: number
}

/** A connection and the way its packets come in, as far as the host knows it. */
export interface SeenConnection extends Connection {
  readonly interface: string
  /** Lower-case colon text. */
  readonly mac?: string
}

/** The form of sshd's SSH_CONNECTION, `PEER PEERPORT LOCAL LOCALPORT`. A scope id is left out. null when it is none. */
export function parseConnection(text: string): Connection | null {
  const [peerText = '', peerPort, localText = '', localPort, ...more] = text.trim().split(/\s+/)
  const peer = parseHost(peerText)
  const local = parseHost(localText)
  if (peer === null || local === null || peer.family !== local.family || more.length > 0) return null
  const ports = [peerPort, localPort].map((port) => (port !== undefined && /^\d{1,5}$/.test(port) && Number(port) <= 65535 ? Number(port) : null))
  if (ports[0] === null || ports[1] === null) return null
  return { family: peer.family, peer: peer.addr, peerPort: ports[0]!, local: local.addr, localPort: ports[1]! }
}

/** As {@link parseConnection}; throws INVALID_VALUE. */
export function requireConnection(text: string): Connection {
  const connection = parseConnection(text)
  if (connection === null) throw new DerpanetError('INVALID_VALUE', `'${printable(text)}' is not PEER PORT LOCAL PORT`)
  return connection
}

/** `PEER PEERPORT LOCAL LOCALPORT`: the inverse of {@link parseConnection}. */
export function formatConnection({ family, peer, peerPort, local, localPort }: Connection): string {
  return `${formatAddr(family, peer)} ${peerPort} ${formatAddr(family, local)} ${localPort}`
}

/** For people: `192.0.2.2:51514 → 192.0.2.1:22`. */
export function describeConnection({ family, peer, peerPort, local, localPort }: Connection): string {
  const host = (addr: bigint): string => (family === 'ipv6' ? `[${formatAddr(family, addr)}]` : formatAddr(family, addr))
  return `${host(peer)}:${peerPort} → ${host(local)}:${localPort}`
}

export function isSameConnection(one: Connection, other: Connection): boolean {
  return formatConnection(one) === formatConnection(other)
}

const mappedPrefix = 0xffffn << 32n

/** `::ffff:192.0.2.1` of a socket for both families is the IPv4 address. */
export function unmapped(family: Family, addr: bigint): { readonly family: Family; readonly addr: bigint } {
  return family === 'ipv6' && addr >> 32n === mappedPrefix >> 32n ? { family: 'ipv4', addr: addr & 0xffff_ffffn } : { family, addr }
}

function parseHost(text: string): { readonly family: Family; readonly addr: bigint } | null {
  const prefix = parsePrefix(text.split('%')[0] ?? '')
  if (prefix === null || prefix.length !== (prefix.family === 'ipv4' ? 32 : 128)) return null
  return unmapped(prefix.family, prefix.addr)
}
