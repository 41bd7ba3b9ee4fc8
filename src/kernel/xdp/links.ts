// Which interfaces the XDP program belongs on. Reads `ip -json link`; the choosing is a pure function.
import { execOk } from '../exec.ts'
import type { Exec } from '../exec.ts'

/** A link as far as XDP cares. */
export interface Link {
  readonly name: string
  readonly ifindex: number
  /** Frames start with an Ethernet header. */
  readonly isEthernet: boolean
  readonly isUp: boolean
  readonly isLoopback: boolean
  /** veth, bridge, vlan…; "" for hardware. */
  readonly kind: string
  /** The bridge, bond, team or switch it is a port of; null for none. A VRF is none: its packets are still this host's. */
  readonly master: string | null
  /** ifindex of the device below (VLAN, macvlan); null for none or in another namespace. */
  readonly lower: string | null
}

interface IpLink {
  readonly ifname: string
  readonly ifindex: number
  readonly flags: readonly string[]
  readonly link_type: string
  readonly master?: string
  readonly link?: string
  readonly linkinfo?: { readonly info_kind?: string; readonly info_slave_kind?: string }
}

export async function observeLinks(exec: Exec): Promise<readonly Link[]> {
  const { stdout } = await execOk(exec, { command: 'ip', args: ['-json', '-details', 'link', 'show'] })
  return (JSON.parse(stdout) as readonly IpLink[]).map((link) => ({
    name: link.ifname,
    ifindex: link.ifindex,
    isEthernet: link.link_type === 'ether',
    isUp: link.flags.includes('UP'),
    isLoopback: link.flags.includes('LOOPBACK'),
    kind: link.linkinfo?.info_kind ?? '',
    master: link.master !== undefined && link.linkinfo?.info_slave_kind !== 'vrf' ? link.master : null,
    lower: link.link ?? null,
  }))
}

/** Devices with own addresses that share a lower one: what arrives for them below is not this host's to judge. */
const childKinds = new Set(['macvlan', 'macvtap', 'ipvlan', 'ipvtap'])
/** Their frames pass the device below, where the program is, tags and all. */
const coveredKinds = new Set(['vlan', ...childKinds])

/**
 * Why the program must not be on a link although it is there, or null when it may.
 * Bridge ports and the like: bridged frames never meet the ruleset, so XDP would drop what the ruleset lets pass.
 */
export function whyNot(link: Link, links: readonly Link[]): string | null {
  if (link.isLoopback) return 'loopback'
  if (!link.isEthernet) return 'no Ethernet device'
  if (link.master !== null) return `port of ${link.master}`
  if (coveredKinds.has(link.kind)) return `judged on ${link.lower ?? 'the device below'}`
  const child = links.find((other) => other.lower === link.name && childKinds.has(other.kind))
  if (child !== undefined) return `carries ${child.name} (${child.kind})`
  return link.isUp ? null : 'down'
}

/**
 * Why `auto` leaves a link to the ruleset, or null: native XDP keeps the speed of accepted traffic where a driver receives each
 * frame into memory of its own. Devices made of software hand over what somebody else sent, often 64 KiB at a time: for the
 * program it is cut up and copied (docs/adr/0011 has the figures). What a driver itself would lose, derpanet-load asks it.
 */
export function whyNotAuto(link: Link, links: readonly Link[]): string | null {
  const soft = link.kind === 'bond' ? links.find(({ master, kind }) => master === link.name && kind !== '') : link.kind === '' ? undefined : link
  return soft === undefined ? null : `auto: ${soft === link ? '' : `${soft.name} is a ${soft.kind}, and `}native XDP on a ${soft.kind} slows accepted traffic down; "native" or "generic" asks for it all the same`
}
