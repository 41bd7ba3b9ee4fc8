// What XDP costs traffic that is accepted: bytes and round trips a second over one TCP connection into the host, with XDP off,
// generic and native, without and with 20,000 rules of somebody else, under a block list of 100,000 prefixes (without any, the
// program does not even read frames). Over a veth, in packets of up to 64 KiB as virtual devices hand them over, and in frames
// of 1,500 bytes; and over what is nearest to a card here: a tap whose other end sends frames of 1,500 bytes, which its driver
// receives into memory of its own and merges (GRO). Modes in turns, at each turn the fastest of some tries (whatever else the
// machine does only takes away), medians of the turns, shares beside off on the same host and medians of those. The hosts are made anew several times: how memory and processors fall to
// one of them is worth 10 % and stays for as long as it lives. Of the card also the CPU time that one frame of the stream takes
// from the wire up to TCP, which is what a busy machine disturbs least. Run as root:
// node --import=tsx test/bench/accepted.ts [--hosts 7] [--rounds 3] [--tries 3] [--seconds 0.3] [--only LINK] [--json]
import { execFileSync } from 'node:child_process'
import { closeSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import koffi from 'koffi'
import { setTimeout as sleep } from 'node:timers/promises'
import { startDaemon, writeConfiguration } from '../support/daemon.ts'
import { addresses, createPrivateHost, eventually, repository, startCommand, type PrivateHost, type Running } from '../support/private-host.ts'

const { values } = parseArgs({ options: { hosts: { type: 'string', default: '7' }, rounds: { type: 'string', default: '3' }, tries: { type: 'string', default: '3' }, seconds: { type: 'string', default: '0.3' }, only: { type: 'string' }, json: { type: 'boolean' } } })
const modes = ['off', 'generic', 'native'] as const
type Mode = (typeof modes)[number]
const foreign = [0, 20_000] as const
const links = ['veth, 64 KiB', 'veth, 1,500', 'card, 1,500'] as const
const device = { veth: 'ext0', card: 'card0' } as const
const address = { veth: addresses.firewall.ext4, card: '198.18.0.1' } as const
const port = '8000'
/** What the daemon still does after a reload: the file for the next boot. */
const settleMs = 1000
const chosen = links.filter((link) => values.only === undefined || link === values.only)
/** Ahead of whatever else the machine does: both ends, and the kernel's work on their behalf. */
const urgent = ['chrt', '--fifo', '50']

interface Sample {
  /** Which of the hosts made anew. */
  readonly host: number
  readonly mode: Mode
  readonly rules: number
  readonly link: (typeof links)[number]
  readonly bytesPerSec: number
  readonly turnsPerSec: number
  /** Only of the card. */
  readonly frameNs: number | null
  /** The program's own time of that, as the kernel counts it while a stream runs, its two looks at the clock included; 0 without XDP. */
  readonly programNs: number | null
}

type Figure = 'bytesPerSec' | 'turnsPerSec' | 'frameNs' | 'programNs'

const libbpf = koffi.load('libbpf.so.1')
/** int bpf_enable_stats(BPF_STATS_RUN_TIME = 0): the kernel counts for as long as the descriptor is open. */
const enableStats = libbpf.func('bpf_enable_stats', 'int', ['int']) as (type: number) => number

/** As kube-proxy writes them: services, endpoints and marks, asked for new connections. */
function kubeRules(count: number): string {
  const services = Math.floor(count / 4)
  const lines = ['*nat', ':KUBE-SERVICES - [0:0]']
  for (let index = 0; index < services; index++) lines.push(`:KUBE-SVC-${index} - [0:0]`, `:KUBE-SEP-${index} - [0:0]`)
  lines.push('-A PREROUTING -j KUBE-SERVICES', '-A OUTPUT -j KUBE-SERVICES')
  for (let index = 0; index < services; index++) {
    const service = `10.${96 + (index >> 16)}.${(index >> 8) & 255}.${index & 255}`
    const pod = `10.244.${(index >> 8) & 255}.${index & 255}`
    lines.push(`-A KUBE-SERVICES -d ${service}/32 -p tcp -m tcp --dport 80 -j KUBE-SVC-${index}`, `-A KUBE-SVC-${index} -j KUBE-SEP-${index}`,
      `-A KUBE-SEP-${index} -s ${pod}/32 -j MARK --set-xmark 0x4000/0x4000`, `-A KUBE-SEP-${index} -p tcp -m tcp -j DNAT --to-destination ${pod}:8080`)
  }
  return [...lines, 'COMMIT', ''].join('\n')
}

function settings(mode: Mode): string {
  return `xdp: ${mode}\nblock: [big]\n`
}

async function attached(host: PrivateHost): Promise<string> {
  const shown = await Promise.all(Object.values(device).map((name) => host.firewall.ok(['ip', '-details', 'link', 'show', name])))
  return shown.map((text) => (/ xdpgeneric/.test(text) ? 'generic' : / xdp /.test(text) ? 'native' : 'off')).join()
}

/** The tap of the host and the one of the outside, and what carries frames between them. */
async function layWire(host: PrivateHost, load: string): Promise<Running> {
  const wire = startCommand([...urgent, load, 'wire', `/run/netns/${host.firewall.namespace}`, device.card, `/run/netns/${host.outside.namespace}`, device.card])
  await eventually('the wire is ready', 5000, () => wire.output().includes('ready'))
  for (const [place, ip] of [[host.firewall, '198.18.0.1/30'], [host.outside, '198.18.0.2/30']] as const) {
    await place.ok(['ip', 'addr', 'add', ip, 'dev', device.card])
    await place.ok(['ip', 'link', 'set', device.card, 'up'])
  }
  return wire
}

/** CPU nanoseconds a frame since the last time. */
async function frameCost(wire: Running): Promise<number> {
  const said = wire.output().length
  await wire.signal('SIGUSR1')
  const [, frames, cpuNs] = await eventually('the wire answers', 5000, () => /"frames":(\d+),"cpuNs":(\d+)/.exec(wire.output().slice(said)))
  return Number(cpuNs) / Number(frames)
}

/** Nanoseconds a run of our program while `work` goes on; 0 when it did not run. */
async function programCost(host: PrivateHost, work: () => Promise<unknown>): Promise<number> {
  const counted = async (): Promise<{ run_time_ns?: number; run_cnt?: number }> =>
    JSON.parse(await host.firewall.ok(['sh', '-c', 'bpftool -j prog show pinned /run/derpanet/bpf/v*/prog'])) as { run_time_ns?: number; run_cnt?: number }
  const fd = enableStats(0)
  if (fd < 0) throw new Error('the kernel does not count what BPF programs take')
  try {
    const before = await counted()
    await work()
    const after = await counted()
    const runs = (after.run_cnt ?? 0) - (before.run_cnt ?? 0)
    return runs === 0 ? 0 : ((after.run_time_ns ?? 0) - (before.run_time_ns ?? 0)) / runs
  } finally {
    closeSync(fd)
  }
}

function median(numbers: readonly number[]): number {
  const sorted = [...numbers].sort((a, b) => a - b)
  return sorted[Math.floor(sorted.length / 2)] ?? NaN
}

/** One host, in all modes by turns. */
async function measure(load: string, rules: number, made: number): Promise<readonly Sample[]> {
  const samples: Sample[] = []
  const host = await createPrivateHost({ name: `accepted-${rules}`, boundSec: 600 })
  let wire: Running | undefined
  try {
    wire = await layWire(host, load)
    await host.firewall.ok(['ethtool', '-K', 'ext0', 'gro', 'on'])
    if (rules > 0) await host.firewall.ok(['iptables-restore', '--noflush'], { input: kubeRules(rules), timeoutMs: 120_000 })
    const list = Array.from({ length: 100_000 }, (_, i) => `${11 + (i >> 16)}.${(i >> 8) & 255}.${i & 255}.${(i * 7) & 255}\n`).join('')
    await writeConfiguration(host, { 'zones/public.yaml': `ports: [${port}/tcp]\n`, 'lists/big.list': list, 'derpanet.yaml': settings('off') })
    await startDaemon(host, { timeoutMs: 120_000 })
    const sink = host.firewall.start([...urgent, load, 'sink', port])
    await eventually('the sink is ready', 5000, () => sink.output().includes('ready'))
    for (let round = 0; round < Number(values.rounds); round++) {
      for (const mode of round % 2 === 0 ? modes : [...modes].reverse()) {
        await writeConfiguration(host, { 'derpanet.yaml': settings(mode) })
        await host.firewall.ok(['busctl', '--system', 'call', 'org.fedoraproject.FirewallD1', '/org/fedoraproject/FirewallD1', 'org.fedoraproject.FirewallD1', 'reload'], { timeoutMs: 60_000 })
        await eventually(`XDP is ${mode}`, 10_000, async () => (await attached(host)) === `${mode},${mode}`)
        await sleep(settleMs)
        for (const link of chosen) {
          const meter = link.startsWith('card') ? wire : null
          const once = async (what: string): Promise<number> => (JSON.parse(await host.outside.ok([...urgent, load, what, address[meter === null ? 'veth' : 'card'], port, values.seconds])) as { perSec: number }).perSec
          const best = { stream: 0, turns: 0, frameNs: Infinity }
          // what merges frames stays on at the receiver in all modes: cards and their drivers do it too
          await host.outside.ok(['ethtool', '-K', 'eth0', ...['tso', 'gso'].flatMap((feature) => [feature, link.endsWith('1,500') ? 'off' : 'on'])])
          for (let turn = 0; turn < Number(values.tries); turn++) {
            best.turns = Math.max(best.turns, await once('turns'))
            if (meter !== null) await frameCost(meter)
            best.stream = Math.max(best.stream, await once('stream'))
            if (meter !== null) best.frameNs = Math.min(best.frameNs, await frameCost(meter))
          }
          const programNs = meter === null ? null : await programCost(host, () => once('stream'))
          samples.push({ host: made, mode, rules, link, bytesPerSec: best.stream, turnsPerSec: best.turns, frameNs: meter === null ? null : best.frameNs, programNs })
        }
      }
    }
  } finally {
    await wire?.stop()
    await host.stop()
  }
  return samples
}

async function main(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'derpanet-accepted-'))
  const load = join(folder, 'load')
  execFileSync('gcc', ['-O2', '-o', load, join(repository, 'test/bench/load.c'), '-lpthread'])
  const samples: Sample[] = []
  try {
    for (let hosts = 0; hosts < Number(values.hosts); hosts++) {
      console.error(`host ${hosts + 1} of ${values.hosts}`)
      for (const rules of foreign) samples.push(...await measure(load, rules, hosts))
    }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
  if (values.json === true) return void console.log(JSON.stringify(samples))
  console.log(`| link | rules of others | XDP | Gbit/s (of off) | round trips a second (of off) | CPU a frame | the program's |\n|---|---|---|---|---|---|---|`)
  for (const [link, rules] of chosen.flatMap((one) => foreign.map((count) => [one, count] as const))) {
    const of = (mode: Mode, key: Figure, host?: number): number =>
      median(samples.filter((one) => one.mode === mode && one.rules === rules && one.link === link && (host ?? one.host) === one.host).map((one) => one[key] ?? NaN))
    for (const mode of modes) {
      // beside off on the same host
      const share = (key: Figure): string => `${(100 * median([...new Set(samples.map(({ host }) => host))].map((host) => of(mode, key, host) / of('off', key, host)))).toFixed(0)} %`
      console.log(`| ${link} | ${rules} | ${mode} | ${(of(mode, 'bytesPerSec') * 8 / 1e9).toFixed(2)} (${share('bytesPerSec')}) | ${of(mode, 'turnsPerSec').toFixed(0)} (${share('turnsPerSec')}) | ${link.startsWith('card') ? `${of(mode, 'frameNs').toFixed(0)} ns (${share('frameNs')}) | ${of(mode, 'programNs').toFixed(0)} ns` : ' |'} |`)
    }
  }
}

await main()
