// What really happens to packets in a private host's firewall: crafted packets go in from outside, inside and the host itself,
// and each is found again by its marker — past the last netfilter hook (accept), in an answer (reject), or nowhere (drop).
// It looks with nftables chains behind every table of iptables, so it sees the same with either iptables variant.
import { families, formatAddr } from '../../src/model/addr.ts'
import { addresses, type PrivateHost } from './private-host.ts'
import { addrOf, buildFrame, buildPacket, probeDscp, readFrame, tcpFlags } from './frame.ts'
import { frameOptions, routeOf, type PacketCase } from './random-packets.ts'
import { world } from './random-settings.ts'

/** `accept`, `accept mark 0x5`, `drop`, `reject icmpT/C`, `reject rst`. */
export type Observed = string

export function acceptedWith(mark: number): Observed {
  return mark === 0 ? 'accept' : `accept mark 0x${mark.toString(16)}`
}

export interface Observatory {
  /** By marker. Followers are sent after everything they follow. `waitMs` is how long answers may take. */
  observe(cases: readonly PacketCase[], waitMs: number): Promise<ReadonlyMap<number, Observed>>
}

interface SeenElement {
  readonly concat: readonly [marker: number, mark: number]
}

const own6and4 = new Set(families.flatMap((family) => Object.values(world.own[family]).map(addrOf)))

const probes = `
table inet probe {
  set seen4 { typeof ip id . meta mark; flags dynamic; size 65535; }
  set seen6 { typeof ip6 flowlabel . meta mark; flags dynamic; size 65535; }
  chain remember { ip dscp ${probeDscp} add @seen4 { ip id . meta mark }; ip6 dscp ${probeDscp} add @seen6 { ip6 flowlabel . meta mark }; }
  chain input { type filter hook input priority 1000; jump remember; }
  chain forward { type filter hook forward priority 1000; jump remember; }
  chain output { type filter hook output priority 1000; jump remember; }
}`

/** Peers hear with packet sockets, which come before this; their kernels must not answer into the experiment. */
const silence = `
table inet silence {
  chain input { type filter hook prerouting priority -500; ip dscp ${probeDscp} drop; ip6 dscp ${probeDscp} drop; }
}`

export async function createObservatory(host: PrivateHost): Promise<Observatory> {
  await host.firewall.ok(['nft', '-f', '-'], { input: probes })
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

  /** Marks by `ipv4 marker`. */
  async function seen(): Promise<ReadonlyMap<string, number>> {
    const listing = JSON.parse(await host.firewall.ok(['nft', '-j', 'list', 'table', 'inet', 'probe'])) as {
      nftables: { set?: { name: string; elem?: (SeenElement | { elem: { val: SeenElement } })[] } }[]
    }
    return new Map(listing.nftables.flatMap(({ set }) => set === undefined ? [] : (set.elem ?? []).map((element) => {
      const [marker, mark] = ('elem' in element ? element.elem.val : element).concat
      return [`${set.name === 'seen4' ? 'ipv4' : 'ipv6'} ${marker}`, mark] as const
    })))
  }

  return {
    async observe(cases, waitMs) {
      await host.firewall.ok(['nft', 'flush set inet probe seen4; flush set inet probe seen6'])
      await host.firewall.ok(['conntrack', '-F'])
      const bytes = new Map<number, Buffer>()
      for (const one of cases) bytes.set(one.marker, buildPacket(one.packet, frameOptions(one, (marker) => bytes.get(marker) as Buffer)))

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
        // our own ICMP errors, on their way through, quote markers too: only the firewall itself answers
        if (reply?.kind === 'icmp-error' && own6and4.has(reply.source) && byName.has(`${reply.family} ${reply.marker}`)) answers.set(reply.marker, `reject icmp${reply.type}/${reply.code}`)
        if (reply?.kind === 'tcp' && (reply.flags & tcpFlags.rst) !== 0) {
          const marker = byFlow.get(`${reply.family} ${reply.destination}:${reply.destinationPort} ${reply.source}:${reply.sourcePort}`)
          if (marker !== undefined) answers.set(marker, 'reject rst')
        }
      }
      return new Map(cases.map(({ marker, packet }) => {
        const mark = accepted.get(`${packet.family} ${marker}`)
        return [marker, mark === undefined ? answers.get(marker) ?? 'drop' : acceptedWith(mark)]
      }))
    },
  }
}

function flowKey({ packet }: PacketCase): string {
  return `${packet.family} ${packet.source}:${packet.sourcePort ?? 0} ${packet.destination}:${packet.destinationPort ?? 0}`
}
