// What an oracle must be told of the private host: its routes and addresses, and what somebody else on it does to destinations.
import { formatAddr, type Family } from '../../src/model/addr.ts'
import type { Host } from '../../src/model/oracle.ts'
import type { Packet } from '../../src/model/packet.ts'
import { addrOf } from './frame.ts'
import { routeOf } from './random-packets.ts'
import { world } from './random-settings.ts'

/** Ports that somebody else publishes, as containers' programs do: behind our own rules, wherever a packet was going. */
const published = [
  { family: 'ipv4', protocol: 6, port: 1999, to: world.beyond.ipv4.int0[0], toPort: 81 },
  { family: 'ipv6', protocol: 6, port: 1999, to: world.beyond.ipv6.int0[0], toPort: 81 },
  { family: 'ipv4', protocol: 17, port: 1001, to: world.own.ipv4.ext0, toPort: 53 },
  { family: 'ipv6', protocol: 17, port: 1001, to: world.own.ipv6.ext0, toPort: 53 },
] as const

/** The same as nftables rules, which come behind those of either variant of iptables. */
export const foreignNat = (['ipv4', 'ipv6'] as const).map((family) => {
  const rules = published.filter((one) => one.family === family).map(({ protocol, port, to, toPort }) =>
    `${protocol === 6 ? 'tcp' : 'udp'} dport ${port} dnat to ${family === 'ipv6' ? `[${to}]` : to}:${toPort};`)
  return `table ${family === 'ipv4' ? 'ip' : 'ip6'} foreign { chain prerouting { type nat hook prerouting priority -80; ${rules.join(' ')} }; }`
}).join('\n')

export const privateRoute: Host = {
  route(family, destination) {
    if (isOwn(family, destination)) return 'local'
    return { interface: routeOf(family, destination) }
  },
  addressOf(family, ifname) {
    const own: Readonly<Record<string, string>> = world.own[family]
    return own[ifname] === undefined ? null : addrOf(own[ifname])
  },
  foreign({ family, protocol, destinationPort }: Packet) {
    const found = published.find((one) => one.family === family && one.protocol === protocol && one.port === destinationPort)
    return found === undefined ? null : { destination: addrOf(found.to), destinationPort: found.toPort }
  },
}

export function isOwn(family: Family, addr: bigint): boolean {
  return Object.values(world.own[family]).some((text) => addrOf(text) === addr)
}

/** `192.0.2.2>198.51.100.2:80`; `*` for a port that the kernel chooses. */
export function endsOf(packet: Packet, anyPort = false): string {
  const end = (addr: bigint): string => formatAddr(packet.family, addr)
  const port = packet.destinationPort === undefined ? '' : `:${anyPort ? '*' : packet.destinationPort}`
  return `${end(packet.source)}>${end(packet.destination)}${port}`
}
