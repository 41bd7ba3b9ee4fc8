// The addresses this host depends on: its own, its gateways, its DNS servers. A block list that holds one of them would
// cut the host off.
import { readFileSync } from 'node:fs'
import { networkInterfaces } from 'node:os'
import { parsePrefix, type Family } from '../model/addr.ts'

export interface HostAddressFound {
  readonly family: Family
  readonly addr: bigint
  /** `this host's own address on eth0`. */
  readonly what: string
}

/** Of the network namespace of this process. What cannot be read is left out: a host without IPv6 has no such file. */
export function hostAddresses(resolvConf = '/etc/resolv.conf'): readonly HostAddressFound[] {
  const own = Object.entries(networkInterfaces()).flatMap(([name, addresses]) =>
    (addresses ?? []).filter(({ internal }) => !internal).map(({ address }) => found(address, `this host's own address on ${name}`)))
  const gateways4 = lines('/proc/net/route').flatMap(gateway4)
  const gateways6 = lines('/proc/net/ipv6_route').flatMap(gateway6)
  const servers = lines(resolvConf).map((line) => /^\s*nameserver\s+(\S+)/.exec(line)?.[1]).map((server) => (server === undefined ? null : found(server, 'a DNS server of this host')))
  return [...own, ...gateways4, ...gateways6, ...servers].filter((address) => address !== null)
}

/** A scope id (`fe80::1%eth0`) does not matter to a list. */
function found(text: string, what: string): HostAddressFound | null {
  const prefix = parsePrefix(text.split('%')[0] ?? '')
  return prefix === null ? null : { family: prefix.family, addr: prefix.addr, what }
}

/** Columns: interface, destination, gateway, flags…; numbers in hex, addresses in the byte order of the machine. */
function gateway4(line: string): readonly HostAddressFound[] {
  const [, , gateway] = line.trim().split(/\s+/)
  if (gateway === undefined || !/^[0-9A-F]{8}$/.test(gateway) || gateway === '00000000') return []
  const bytes = Buffer.from(gateway, 'hex').reverse()
  return [{ family: 'ipv4', addr: BigInt(bytes.readUInt32BE(0)), what: 'a gateway of this host' }]
}

/** Columns: destination, length, source, length, next hop, …; addresses as 32 hex digits. */
function gateway6(line: string): readonly HostAddressFound[] {
  const [, , , , hop] = line.trim().split(/\s+/)
  if (hop === undefined || !/^[0-9a-f]{32}$/.test(hop) || /^0+$/.test(hop)) return []
  return [{ family: 'ipv6', addr: BigInt(`0x${hop}`), what: 'a gateway of this host' }]
}

function lines(path: string): readonly string[] {
  try {
    return readFileSync(path, 'utf8').split('\n')
  } catch (error) {
    // No such file: no IPv6, or no resolver configured.
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw error
  }
}
