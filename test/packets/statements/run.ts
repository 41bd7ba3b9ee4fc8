// Runs cases on one private host: configures, sends everything of a case at once, and compares.
import type { Test } from 'tap'
import { families as bothFamilies } from '../../../src/model/addr.ts'
import type { Packet } from '../../../src/model/packet.ts'
import type { Agent } from '../../support/agent.ts'
import { addrOf, tcpFlags } from '../../support/frame.ts'
import { createNetfilterHost, type NetfilterHost } from '../../support/netfilter-host.ts'
import { createObservatory, type Observatory } from '../../support/observatory.ts'
import { addresses } from '../../support/private-host.ts'
import type { PacketCase } from '../../support/random-packets.ts'
import type { Variant } from '../../../src/kernel/netfilter/netfilter.ts'
import { fateOf, packetsOf, prohibited, told, type Case, type Crafted, type Fate, type Family, type Side } from './words.ts'

export interface Bench {
  readonly one: NetfilterHost
  readonly agents: Readonly<Record<Side, Agent>>
  readonly observatory: Observatory
}

const served = ['tcp:21-25', 'tcp:80-81', 'tcp:443', 'tcp:7000-7010', 'tcp:8080-8081', 'udp:53-54', 'udp:80-81', 'udp:443', 'udp:7000-7010', 'udp:8080']

export async function createBench(name: string, variant: Variant, stateDir: string): Promise<Bench> {
  const one = await createNetfilterHost(name, variant, stateDir)
  const agents = { outside: one.outside, inside: await one.host.inside.agent(), host: await one.host.firewall.agent() }
  const observatory = await createObservatory(one.host)
  for (const agent of Object.values(agents)) await agent.serve(served)
  return { one, agents, observatory }
}

/** One assertion for each packet and family. */
export async function runCase(t: Test, bench: Bench, row: Case): Promise<void> {
  const { one } = bench
  const beside = [
    ...(row.beside ?? []).flatMap((args) => [{ tool: one.iptables, args }, { tool: one.ip6tables, args }]),
    ...(row.beside4 ?? []).map((args) => ({ tool: one.iptables, args })),
    ...(row.beside6 ?? []).map((args) => ({ tool: one.ip6tables, args })),
  ]
  for (const { tool, args } of beside) await tool(...args)
  const after = await row.around?.(one)
  try {
    await one.apply(row.with)
    const before = row.logged === undefined ? new Map<string, number>() : await logLines(one)
    if (row.then !== undefined) await sendPackets(t, bench, row)
    if (row.crafted !== undefined) await sendCrafted(t, bench, row.when, row.crafted)
    if (row.logged !== undefined) t.same(changes(before, await logLines(one)), new Map(Object.entries(row.logged)), `${row.when}: what the log is told`)
    await after?.((what) => t.fail(`${row.when}: ${what}`))
  } finally {
    for (const { tool, args } of beside) await tool(...args.map((word) => (word === '-A' || word === '-I' ? '-D' : word)))
  }
}

async function sendPackets(t: Test, { agents }: Bench, row: Case): Promise<void> {
  const packets = packetsOf(row.then ?? {})
  const bySide = Object.entries(agents).map(async ([side, agent]) => {
    const mine = packets.filter((sent) => sent.side === side)
    const results = mine.length === 0 ? [] : await agent.probe(mine.map(({ probe }) => probe))
    return mine.map((sent, index) => ({ ...sent, result: told(results[index]!, sent.fate) }))
  })
  for (const { words, family, fate, result } of (await Promise.all(bySide)).flat()) t.equal(result, fate, `${row.when}: ${words}, ${family}: ${fate}`)
}

interface Expected {
  readonly one: PacketCase
  readonly fate: Fate
  readonly words: string
}

async function sendCrafted(t: Test, { observatory }: Bench, when: string, crafted: readonly Crafted[]): Promise<void> {
  let marker = 0
  const expected = crafted.flatMap((packet) => bothFamilies.flatMap((family, index): readonly Expected[] => {
    const fate = fateOf(packet.fate, index)
    const built = fate === null ? null : packetOf(packet, family, index, 20_000 + marker)
    if (fate === null || built === null) return []
    const what = `${packet.kind}${packet.flags === undefined ? '' : ` ${packet.flags}`} ${packet.from} > ${String(packet.to)}, ${family}`
    const first: PacketCase = { packet: built, marker: ++marker, ...(packet.kind === 'tcp' ? { tcpFlags: flagsOf(packet) } : {}) }
    const followers = (['reply', 'error'] as const).flatMap((as): readonly Expected[] => {
      const fates = packet.then?.[as]
      const follows = fates === undefined ? null : fateOf(fates, index)
      if (follows === null) return []
      return [{ one: followerOf(first, as, ++marker), fate: follows, words: `${as} to ${what}` }]
    })
    return [{ one: first, fate, words: what }, ...followers]
  }))
  const seen = await observatory.observe(expected.map(({ one }) => one), 250)
  for (const { one, fate, words } of expected) {
    const wanted = fate === 'prohibited' ? prohibited[one.packet.family === 'ipv4' ? 0 : 1] : fate
    const got = seen.get(one.marker) ?? 'nothing'
    t.equal(wanted === 'accept' ? got.replace(/^accept .*/, 'accept') : got.replace(/^accept \S+/, 'accept'), wanted, `${when}: ${words}: ${fate}`)
  }
}

const sides = {
  outside: { ifname: 'ext0', mac: addresses.macs.outside, ipv4: addresses.outside.v4, ipv6: addresses.outside.v6 },
  inside: { ifname: 'int0', mac: addresses.macs.inside, ipv4: addresses.inside.v4, ipv6: addresses.inside.v6 },
} as const
const own = { ipv4: { ext0: addresses.firewall.ext4, int0: addresses.firewall.int4 }, ipv6: { ext0: addresses.firewall.ext6, int0: addresses.firewall.int6 } } as const

function flagsOf({ flags }: Crafted): number {
  if (flags === undefined) return tcpFlags.syn
  return flags === 'rst' ? tcpFlags.rst : flags === 'syn-ack' ? tcpFlags.syn | tcpFlags.ack : tcpFlags.fin | tcpFlags.ack
}

/** null = not in this family. */
function packetOf({ from, to, kind, number, port, source }: Crafted, family: Family, index: number, sourcePort: number): Packet | null {
  const inner = to === 'inside'
  const destination = typeof to !== 'string' ? to[index]! : to === 'host' ? own[family][from === 'inside' ? 'int0' : 'ext0'] : sides[to][family]
  const sender = source === undefined ? (from === 'host' ? own[family][inner ? 'int0' : 'ext0'] : sides[from][family]) : source[index]!
  if (destination === null || sender === null) return null
  const given = typeof number === 'object' ? number[index]! : number
  const protocol = kind === 'tcp' ? 6 : kind === 'udp' ? 17 : kind === 'protocol' ? given! : family === 'ipv4' ? 1 : 58
  const addrs = { source: addrOf(sender), destination: addrOf(destination) }
  const body = kind === 'icmp' ? { icmpType: given ?? (family === 'ipv4' ? 8 : 128), icmpCode: 0 }
    : kind === 'protocol' ? {} : { sourcePort, destinationPort: port ?? 9 }
  const way = inner ? 'int0' : 'ext0'
  if (from === 'host') return { direction: 'out', family, protocol, ...addrs, ...body, outInterface: way }
  const arrives = { family, protocol, ...addrs, ...body, inInterface: sides[from].ifname, sourceMac: sides[from].mac } as const
  return to === 'host' ? { direction: 'in', ...arrives } : { direction: 'forward', ...arrives, outInterface: way }
}

/** What comes back about a packet that left by an interface. */
function followerOf(first: PacketCase, as: 'reply' | 'error', marker: number): PacketCase {
  const { packet } = first
  const from = packet.outInterface === 'int0' ? sides.inside : sides.outside
  const body = as === 'error' ? (packet.family === 'ipv4' ? { protocol: 1, icmpType: 3, icmpCode: 3 } : { protocol: 58, icmpType: 1, icmpCode: 4 })
    : packet.icmpType === undefined ? { protocol: packet.protocol, sourcePort: packet.destinationPort!, destinationPort: packet.sourcePort! }
      : { protocol: packet.protocol, icmpType: packet.family === 'ipv4' ? 0 : 129, icmpCode: 0 }
  const base = { family: packet.family, ...body, source: packet.destination, destination: packet.source, inInterface: from.ifname, sourceMac: from.mac }
  const back: Packet = packet.inInterface === undefined ? { direction: 'in', ...base } : { direction: 'forward', ...base, outInterface: packet.inInterface }
  return {
    packet: back, marker, follows: { marker: first.marker, as, received: packet, returned: back },
    ...(packet.protocol === 6 && as === 'reply' ? { tcpFlags: tcpFlags.syn | tcpFlags.ack } : {}),
  }
}

/** Packets that reached a rule that logs, by its prefix, in both families. */
async function logLines(one: NetfilterHost): Promise<ReadonlyMap<string, number>> {
  const counts = new Map<string, number>()
  for (const tool of ['iptables', 'ip6tables']) {
    for (const line of (await one.host.firewall.ok([`${tool}-${one.variant}-save`, '-c'])).split('\n')) {
      const found = /^\[(\d+):\d+\] .* -j (?:LOG|NFLOG) .*--(?:log|nflog)-prefix (?:"([^"]*)"|(\S+))/.exec(line)
      if (found === null) continue
      const prefix = found[2] ?? found[3]!
      counts.set(prefix, (counts.get(prefix) ?? 0) + Number(found[1]))
    }
  }
  return counts
}

function changes(before: ReadonlyMap<string, number>, after: ReadonlyMap<string, number>): ReadonlyMap<string, number> {
  return new Map([...after].map(([prefix, count]) => [prefix, count - (before.get(prefix) ?? 0)] as const).filter(([, count]) => count !== 0))
}
