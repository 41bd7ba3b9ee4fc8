// What the XDP source table costs: build time (cold and warm), size, and nanoseconds a packet by BPF_PROG_TEST_RUN, beside a
// program without any list. Run as root: node --import=tsx test/bench/xdp-table.ts
import { pinDir, testLoader } from '../support/xdp-host.ts'
import { performance } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import type { EarlyPlan } from '../../src/compile/plan.ts'
import { buildImage } from '../../src/compile/xdp/image.ts'
import { layout } from '../../src/compile/xdp/layout.ts'
import { Halves } from '../../src/kernel/xdp/halves.ts'
import { loadLibBpf } from '../../src/kernel/xdp/libbpf.ts'
import { openMaps } from '../../src/kernel/xdp/maps.ts'
import type { AddressList } from '../../src/model/settings.ts'
import { noEarly } from '../compile/xdp-support.ts'
import { addrOf, buildFrame, buildPacket } from '../support/frame.ts'
import { createRandom } from '../support/random.ts'

const macs = { source: '02:00:5e:00:00:01', destination: '02:00:5e:00:00:02' }
const rounds = 5

function randomList(family: 'ipv4' | 'ipv6', entries: number, lengths: readonly number[]): AddressList {
  const random = createRandom(entries)
  const rows = Array.from({ length: entries }, () => {
    const length = random.pick(lengths)
    const words = family === 'ipv4'
      ? [random.between(0x01000000, 0xdfffffff)]
      : [0x20010db8, random.between(0, 0xffffffff), random.between(0, 0xffffffff), random.between(0, 0xffffffff)]
    return { words: words.map((word, at) => keepBits(word, length - at * 32)), length }
  }).sort((a, b) => {
    const at = a.words.findIndex((word, index) => word !== b.words[index])
    return at < 0 ? a.length - b.length : a.words[at]! - b.words[at]!
  })
  const packed = Uint32Array.from(rows.flatMap(({ words }) => words))
  const packedLengths = Uint8Array.from(rows, ({ length }) => length)
  const none = { addrs4: new Uint32Array(), lengths4: new Uint8Array(), addrs6: new Uint32Array(), lengths6: new Uint8Array() }
  const own = family === 'ipv4' ? { addrs4: packed, lengths4: packedLengths } : { addrs6: packed, lengths6: packedLengths }
  return { name: 'bench', file: 'bench', digest: `${family} ${entries} ${lengths.join()}`, ...none, ...own }
}

function keepBits(word: number, bits: number): number {
  return bits >= 32 ? word : bits <= 0 ? 0 : (word & (0xffffffff << (32 - bits))) >>> 0
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]!
}

async function main(): Promise<void> {
  const libbpf = await loadLibBpf()
  const { version } = await testLoader().load()
  const maps = await openMaps(`${pinDir}/${version}`, libbpf)
  const prog = libbpf.openPin(`${pinDir}/${version}/prog`)
  const halves = new Halves(maps, 0x9e3779b9)
  maps.setLink(1, { flags: layout.LINK_ENFORCE, zone: 1 })

  const costNs = (source: string | bigint): number => {
    const addr = typeof source === 'string' ? addrOf(source) : source
    const family = addr < 2n ** 32n ? 'ipv4' : 'ipv6'
    const destination = addrOf(family === 'ipv4' ? '192.0.2.1' : '2001:db8::1')
    const packet = buildPacket({ direction: 'in', family, source: addr, destination, protocol: 17, sourcePort: 1, destinationPort: 9 }, { marker: 1 })
    return Math.min(...Array.from({ length: rounds }, () => (
      libbpf.testRun(prog, { input: buildFrame(family, packet, macs), metaBytes: 0, ifindex: 0, repeat: 500_000 }).elapsedNs)))
  }
  const report = (row: Record<string, unknown>): void => void process.stdout.write(`${JSON.stringify(row)}\n`)

  report({ list: 'none, but frames are read', passNs4: costNs('198.51.100.1'), passNs6: costNs('2001:db8::7') })
  await halves.stage(noEarly)
  halves.commit(noEarly)
  report({ list: 'none', passNs4: costNs('198.51.100.1'), passNs6: costNs('2001:db8::7') })
  const cases = [
    ['ipv4', 10_000, [32, 32, 24]], ['ipv4', 100_000, [32, 32, 24]], ['ipv4', 1_000_000, [32, 32, 32, 24]],
    ['ipv4', 100_000, [12, 14, 16, 17, 18, 19, 20, 21, 22, 23, 24]], ['ipv6', 100_000, [48, 64, 64, 128]],
  ] as const
  for (const [family, entries, lengths] of cases) {
    const list = randomList(family, entries, lengths)
    const early: EarlyPlan = { ...noEarly, deny: [{ list, rule: 'block/bench' }] }
    const buildMs = Array.from({ length: rounds }, () => {
      const started = performance.now()
      buildImage(early, new Map(), 1)
      return performance.now() - started
    })
    const started = performance.now()
    await halves.stage(early)
    halves.commit(early)
    const stageMs = performance.now() - started
    const at = Math.floor(entries / 2)
    const member = family === 'ipv4' ? BigInt(list.addrs4[at]!) : [0, 1, 2, 3].reduce((sum, word) => (sum << 32n) | BigInt(list.addrs6[at * 4 + word]!), 0n)
    const { pages } = buildImage(early, new Map(), 1).tables[family]
    report({
      list: `${family} ${entries}, lengths ${[...new Set(lengths)].join(' ')}`, mib: (pages.length / 2 ** 20).toFixed(1), buildMsFirst: buildMs[0]!.toFixed(0),
      buildMsMedian: median(buildMs).toFixed(0), stageMs: stageMs.toFixed(0), dropNs: costNs(member), passNs: costNs(family === 'ipv4' ? '240.0.0.1' : 'fd00::1'),
    })
    await sleep(1)
  }
  const control = Array.from({ length: 200 }, () => {
    const started = performance.now()
    maps.writeControl(layout.CONTROL_SWITCH, maps.readControl(layout.CONTROL_SWITCH))
    return (performance.now() - started) * 1000
  })
  const waits = Array.from({ length: 20 }, () => {
    const started = performance.now()
    maps.waitForPackets()
    return performance.now() - started
  })
  report({ switchUsMedian: median(control).toFixed(1), graceMsMedian: median(waits).toFixed(1), graceMsWorst: Math.max(...waits).toFixed(1) })
  libbpf.closePin(prog)
  maps.close()
  await testLoader().unload()
}

await main()
