// `npm run bench` ends with this; alone: node --import=tsx test/bench/packets.ts [--rounds N] [--packets N] [--json]
// Packets a second and core through a zone that accepts them, with 10, 100 and 1,000 open ports and as many sources, beside
// Debian's firewalld and beside no firewall. Connection tracking is left out (raw: notrack), so that what is measured is the
// way of a first packet through the rules, for every packet; each is counted where it arrives, behind all verdicts.
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { fileURLToPath } from 'node:url'
import type { DaemonKind } from '../support/daemon.ts'
import { addresses, createPrivateHost, repository, type PrivateHost } from '../support/private-host.ts'
import { closeSide, configure, median, openSide, printTable, startSide, stopSide, type BenchZone, type Side } from './sides.ts'

const sizes = [10, 100, 1000] as const
/** The cost of a packet with 1,000 ports and sources may be so much of that with 10. */
const promised = 1.15
const firstPort = 20_000
const range = <T>(count: number, make: (index: number) => T): T[] => Array.from({ length: count }, (_, index) => make(index))

/** Like blast.c: sources count up, ports by two so that nobody merges them. */
function zoneOf(size: number): BenchZone {
  return { sources: range(size, (index) => `10.9.${index >> 8}.${index & 255}`), ports: range(size, (index) => `${firstPort + 2 * index}/udp`) }
}

interface Subject {
  readonly what: DaemonKind | 'none'
  readonly size: number
  readonly host: PrivateHost
  readonly side: Side | null
  /** Nanoseconds of processor time a packet. */
  readonly samples: number[]
}

async function prepare(host: PrivateHost): Promise<void> {
  await host.firewall.ok(['iptables', '-w', '5', '-t', 'raw', '-I', 'PREROUTING', '-i', 'ext0', '-p', 'udp', '-j', 'CT', '--notrack'])
  // behind every verdict: nothing answers, and it says how many came
  await host.firewall.ok(['iptables', '-w', '5', '-t', 'security', '-A', 'INPUT', '-i', 'ext0', '-p', 'udp', '-j', 'DROP'])
}

async function arrived(host: PrivateHost): Promise<number> {
  const text = await host.firewall.ok(['iptables', '-w', '5', '-t', 'security', '-nvxL', 'INPUT'])
  return Number(/^\s*(\d+)\s+\d+\s+DROP\s+(?:17|udp)/m.exec(text)?.[1])
}

/** Prints the table; false when derpanetd did not keep its promise. */
export async function benchPackets(kinds: readonly DaemonKind[], rounds: number, packets: number, json: boolean): Promise<boolean> {
  const folder = mkdtempSync(join(tmpdir(), 'derpanet-packets-'))
  const blast = join(folder, 'blast')
  execFileSync('gcc', ['-O2', '-o', blast, join(repository, 'test/bench/blast.c')])
  const subjects: Subject[] = []
  try {
    // more sources and ports cost without any firewall too: sending, routes, caches
    for (const size of [10, 1000]) {
      const bare = await createPrivateHost({ name: `packets-none-${size}`, boundSec: 1800 })
      subjects.push({ what: 'none', size, host: bare, side: null, samples: [] })
      await prepare(bare)
    }
    for (const kind of kinds) {
      for (const size of sizes) {
        const side = await openSide(kind, 1800)
        subjects.push({ what: kind, size, host: side.host, side, samples: [] })
        await configure(side, { zones: { public: { interfaces: ['ext0'], services: ['ssh'] }, work: zoneOf(size) } })
        await prepare(side.host)
        await startSide(side, 120_000)
      }
    }
    for (let round = 0; round < rounds; round++) {
      for (const { host, size, samples, what } of round % 2 === 0 ? subjects : [...subjects].reverse()) {
        const before = await arrived(host)
        const count = String(size)
        const text = await host.outside.ok([blast, 'eth0', addresses.macs.ext, addresses.firewall.ext4, '10.9.0.0', count, String(firstPort), count, String(packets)], { timeoutMs: 120_000 })
        const { nanoseconds, stalls, packets: sent } = JSON.parse(text) as { nanoseconds: number; stalls: number; packets: number }
        const share = (await arrived(host) - before) / sent
        if (share < 0.999) throw new Error(`${what} with ${size}: only ${(share * 100).toFixed(1)} % of the packets arrived`)
        // a busy machine: somebody else's time is in it
        if (stalls === 0) samples.push(nanoseconds)
      }
    }
    for (const { side } of subjects) if (side !== null) await stopSide(side)
  } finally {
    for (const { side, host } of subjects) await (side === null ? host.stop() : closeSide(side))
    rmSync(folder, { recursive: true, force: true })
  }
  const costOf = (what: Subject['what'], size: number): number => median(subjects.filter((one) => one.what === what && one.size === size).flatMap(({ samples }) => samples))
  const own = costOf('derpanetd', 1000) / costOf('derpanetd', 10)
  if (json) console.log(JSON.stringify({ packets: subjects.map(({ what, size, samples }) => ({ what, size, samples })) }))
  else {
    const line = (what: Subject['what'], size: number): string => `${(1e6 / costOf(what, size)).toFixed(0)}k/s, ${costOf(what, size).toFixed(0)} ns`
    printTable([
      ['packets a second and core', ...kinds], ...sizes.map((size) => [`${size} open ports and ${size} sources`, ...kinds.map((kind) => line(kind, size))]),
      ['cost at 1,000 of that at 10', ...kinds.map((kind) => `${(costOf(kind, 1000) / costOf(kind, 10) * 100).toFixed(0)} %`)],
    ])
    console.log(`without any firewall, 10 of each: ${line('none', 10)}; 1,000 of each: ${line('none', 1000)} (${(costOf('none', 1000) / costOf('none', 10) * 100).toFixed(0)} %); sending included everywhere`)
  }
  return Number.isNaN(own) || own <= promised
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values } = parseArgs({ options: { rounds: { type: 'string', default: '9' }, packets: { type: 'string', default: '300000' }, json: { type: 'boolean' }, only: { type: 'string' } } })
  const kinds = (['derpanetd', 'firewalld'] as const).filter((kind) => values.only === undefined || values.only === kind)
  process.exitCode = (await benchPackets(kinds, Number(values.rounds), Number(values.packets), values.json === true)) ? 0 : 1
}
