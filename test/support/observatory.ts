// What really happens to packets in a private host's firewall: crafted packets go in from outside, inside and the host itself,
// and each is found again by its marker — past the last netfilter hook (accept), in an answer (reject), or nowhere (drop).
// It looks with nftables chains behind every table of iptables, so it sees the same with either iptables variant.
import { families, formatAddr } from '../../src/model/addr.ts'
import { addresses, type PrivateHost } from './private-host.ts'
import { addrOf, buildFrame, buildPacket, leastHops, probeDscp, readFrame, tcpFlags } from './frame.ts'
import { foreignNat } from './private-route.ts'
import { frameOptions, routeOf, type PacketCase } from './random-packets.ts'
import { world } from './random-settings.ts'

/** `accept 192.0.2.2>192.0.2.1:80`, the same with `mark 0x5`, `drop`, `reject icmpT/C`, `reject rst`. */
export type Observed = string

/** `ends` as {@link endsOf} writes them. */
export function acceptedWith(ends: string, mark: number): Observed {
  return `accept ${ends}${mark === 0 ? '' : ` mark 0x${mark.toString(16)}`}`
}

export interface Observatory {
  /** By marker. Followers are sent after everything they follow. `waitMs` is how long answers may take. */
  observe(cases: readonly PacketCase[], waitMs: number): Promise<ReadonlyMap<number, Observed>>
}

interface SeenElement {
  readonly concat: readonly [marker: number, mark: number, source: string, destination: string] | readonly [marker: number, port: number]
}

/** How a packet was when the last hook let it go. */
interface Passed {
  readonly mark: number
  readonly ends: string
  /** Of protocols that have one. */
  readonly port: number
}

const own6and4 = new Set(families.flatMap((family) => Object.values(world.own[family]).map(addrOf)))

const probes = `
table inet probe {
  set seen4 { typeof ip id . meta mark . ip saddr . ip daddr; flags dynamic; size 65535; }
  set seen6 { typeof ip6 flowlabel . meta mark . ip6 saddr . ip6 daddr; flags dynamic; size 65535; }
  set ports4 { typeof ip id . tcp dport; flags dynamic; size 65535; }
  set ports6 { typeof ip6 flowlabel . tcp dport; flags dynamic; size 65535; }
  chain remember {
    ip dscp ${probeDscp} ip ttl > ${leastHops} add @seen4 { ip id . meta mark . ip saddr . ip daddr } add @ports4 { ip id . th dport }
    ip6 dscp ${probeDscp} ip6 hoplimit > ${leastHops} add @seen6 { ip6 flowlabel . meta mark . ip6 saddr . ip6 daddr } add @ports6 { ip6 flowlabel . th dport }
  }
  chain input { type filter hook input priority 1000; jump remember; }
  chain postrouting { type filter hook postrouting priority 1000; jump remember; }
}`

/** Peers hear with packet sockets, which come before this; their kernels must not answer into the experiment. */
const silence = `
table inet silence {
  chain input { type filter hook prerouting priority -500; ip dscp ${probeDscp} drop; ip6 dscp ${probeDscp} drop; }
}`

/** A machine with much else to do may keep nftables waiting. */
const busy = { timeoutMs: 180_000 }

export async function createObservatory(host: PrivateHost): Promise<Observatory> {
  await host.firewall.ok(['nft', '-f', '-'], { input: `${probes}\n${foreignNat}` })
  await host.outside.ok(['nft', '-f', '-'], { input: silence })
  await host.inside.ok(['nft', '-f', '-'], { input: silence })
  // sources on the firewall's own nets are made up: without these nobody would tell it where to send its answers
  await host.firewall.ok(['ip', '-batch', '-'], { input: families.flatMap((family) => world.sources[family].flatMap((addr) => {
    const side = routeOf(family, addrOf(addr))
    return [`neigh replace ${addr} lladdr ${side === 'ext0' ? addresses.macs.outside : addresses.macs.inside} dev ${side} nud permanent\n`]
  })).join('') })
  const sides = { ext0: await host.outside.agent(), int0: await host.inside.agent() }
  const own = await host.firewall.agent()
  const macs = { ext0: addresses.macs.ext, int0: addresses.macs.int }

  /** By `ipv4 marker`. */
  async function seen(): Promise<ReadonlyMap<string, Passed>> {
    const listing = JSON.parse(await host.firewall.ok(['nft', '-j', 'list', 'table', 'inet', 'probe'], busy)) as {
      nftables: { set?: { name: string; elem?: (SeenElement | { elem: { val: SeenElement } })[] } }[]
    }
    const elements = (name: string): readonly SeenElement['concat'][] => listing.nftables.flatMap(({ set }) => (
      set?.name !== name ? [] : (set.elem ?? []).map((element) => ('elem' in element ? element.elem.val : element).concat)))
    return new Map(([['ipv4', 4], ['ipv6', 6]] as const).flatMap(([family, number]) => {
      const ports = new Map(elements(`ports${number}`).map(([marker, port]) => [marker, port]))
      return elements(`seen${number}`).map(([marker, mark, source, destination]) => (
        [`${family} ${marker}`, { mark, ends: `${source}>${destination}`, port: ports.get(marker) ?? 0 }] as const))
    }))
  }

  return {
    async observe(cases, waitMs) {
      await host.firewall.ok(['nft', 'flush set inet probe seen4; flush set inet probe seen6; flush set inet probe ports4; flush set inet probe ports6'], busy)
      await host.firewall.ok(['conntrack', '-F'], busy)
      const bytes = new Map<number, Buffer>()
      for (const one of cases) bytes.set(one.marker, buildPacket(one.packet, frameOptions(one)))

      const heard: Buffer[] = []
      for (const agent of Object.values(sides)) await agent.exchange(['eth0'], [], { waitMs: 0 })
      for (const phase of [cases.filter((one) => one.follows === undefined), cases.filter((one) => one.follows !== undefined)]) {
        if (phase.length === 0) continue
        await own.raw(phase.filter((one) => one.packet.direction === 'out').map(({ packet, marker }) => ({
          family: packet.family === 'ipv4' ? 4 : 6, destination: formatAddr(packet.family, packet.destination), packet: bytes.get(marker) as Buffer,
        })))
        for (const side of ['ext0', 'int0'] as const) {
          const frames = phase.filter(({ packet }) => packet.inInterface === side).map(({ packet, marker }) =>
            buildFrame(packet.family, bytes.get(marker) as Buffer, { source: packet.sourceMac as string, destination: macs[side] }))
          heard.push(...await sides[side].exchange(['eth0'], frames, { waitMs: 0, keep: true }))
        }
      }
      for (const agent of Object.values(sides)) heard.push(...await agent.exchange(['eth0'], [], { waitMs, keep: true }))

      const accepted = await seen()
      const byFlow = new Map(cases.map((one) => [flowKey(one), one.marker]))
      const byName = new Map(cases.map((one) => [`${one.packet.family} ${one.marker}`, one]))
      const answers = new Map<number, string>()
      for (const reply of heard.map(readFrame)) {
        if (reply?.kind === 'icmp-error' && !reply.isOurs) {
          const about = byName.get(`${reply.family} ${reply.marker}`)
          // our own ICMP errors, on their way through, quote markers too: only the firewall itself answers, of a translated
          // packet in the name of whom it was for
          if (about !== undefined && (own6and4.has(reply.source) || reply.source === about.packet.destination)) answers.set(reply.marker, `reject icmp${reply.type}/${reply.code}`)
        }
        if (reply?.kind === 'tcp' && (reply.flags & tcpFlags.rst) !== 0) {
          const marker = byFlow.get(`${reply.family} ${reply.destination}:${reply.destinationPort} ${reply.source}:${reply.sourcePort}`)
          if (marker !== undefined) answers.set(marker, 'reject rst')
        }
      }
      return new Map(cases.map(({ marker, packet }) => {
        const passed = accepted.get(`${packet.family} ${marker}`)
        if (passed === undefined) return [marker, answers.get(marker) ?? 'drop']
        // what other protocols have there is no port
        return [marker, acceptedWith(packet.destinationPort === undefined ? passed.ends : `${passed.ends}:${passed.port}`, passed.mark)]
      }))
    },
  }
}

function flowKey({ packet }: PacketCase): string {
  return `${packet.family} ${packet.source}:${packet.sourcePort ?? 0} ${packet.destination}:${packet.destinationPort ?? 0}`
}
