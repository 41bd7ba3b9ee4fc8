// A firewall daemon that reloads and is killed while a client in the outside namespace makes a new connection a millisecond, keeps
// long flows and floods what is denied: a closed port, and an open one from a listed source. The figures are the client's, the server's and the kernel's own counts.
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { daemonCommands, daemonState, firewalldBus, installConfiguration, writeConfiguration, type DaemonKind } from './daemon.ts'
import { addresses, createPrivateHost, eventually, repository, type Place, type PrivateHost, type Running } from './private-host.ts'

export interface LoadFigures {
  readonly reloads: number
  readonly kills: number
  readonly seconds: number
  /** New connections that came about, failed with an error, took a second or more, or never came about. */
  readonly made: number
  readonly refused: number
  readonly delayed: number
  readonly givenUp: number
  readonly slowestMs: number
  /** SYNs of new connections, and of connections that are denied, that the client's kernel sent again; and what it counted itself. */
  readonly synsAgain: number
  readonly deniedSynsAgain: number
  readonly synRetransmits: number
  readonly flows: number
  readonly flowsLost: number
  /** Denied packets and connections sent, and how many arrived. */
  readonly flood: number
  readonly deniedPassed: number
}

export interface LoadOptions {
  readonly kind: DaemonKind
  readonly reloads: number
  readonly kills: number
  /** Of derpanetd; default `auto`, which on a veth is off. */
  readonly xdp?: 'auto' | 'native'
  readonly flows?: number
  readonly perSec?: number
  readonly floodPerSec?: number
}

const ports = { open: '8000', flow: '8001', denied: '8002', listed: '8003' }
const listed = (first: number): string => ['203.0.113.5', ...Array.from({ length: 400 }, (_, index) => `10.${(first + index) >> 8}.${(first + index) & 255}.0/24`)].join('\n')

/** Two configurations that differ in a zone, a list and nothing that the load uses, in each daemon's own words. */
async function configure(host: PrivateHost, kind: DaemonKind, turn: number, xdp: string): Promise<void> {
  const other = turn % 2 === 0 ? '9000' : '9001'
  if (kind === 'derpanetd') {
    await writeConfiguration(host, {
      'derpanet.yaml': `default-zone: public\nxdp: ${xdp}\n`,
      'zones/public.yaml': `services: [ssh]\nports: [${ports.open}/tcp, ${ports.flow}/tcp, ${ports.listed}/udp, ${other}/tcp]\n`,
      'zones/drop.yaml': 'target: DROP\nsources: ["list:bad"]\n', 'lists/bad.list': `${listed(turn % 2 === 0 ? 0 : 100)}\n`,
    })
    return
  }
  for (const folder of ['zones', 'ipsets']) await mkdir(host.path(`/etc/firewalld/${folder}`), { recursive: true })
  const port = (number: string, protocol = 'tcp'): string => `<port port="${number}" protocol="${protocol}"/>`
  await writeFile(host.path('/etc/firewalld/zones/public.xml'), `<?xml version="1.0" encoding="utf-8"?>\n<zone><short>Public</short><service name="ssh"/>${port(ports.open)}${port(ports.flow)}${port(ports.listed, 'udp')}${port(other)}</zone>\n`)
  await writeFile(host.path('/etc/firewalld/zones/drop.xml'), '<?xml version="1.0" encoding="utf-8"?>\n<zone target="DROP"><short>Drop</short><source ipset="bad"/></zone>\n')
  const entries = listed(turn % 2 === 0 ? 0 : 100).split('\n').map((entry) => `<entry>${entry}</entry>`).join('')
  await writeFile(host.path('/etc/firewalld/ipsets/bad.xml'), `<?xml version="1.0" encoding="utf-8"?>\n<ipset type="hash:net">${entries}</ipset>\n`)
}

async function startKind(host: PrivateHost, kind: DaemonKind): Promise<Running> {
  // without the --xdp of other tests: the files say it
  const running = host.firewall.start(kind === 'derpanetd' ? daemonCommands.derpanetd.slice(0, 2) : daemonCommands.firewalld)
  await eventually(`${kind} runs`, 60_000, async () => {
    if (running.child.exitCode !== null) throw new Error(`${kind} ended: ${running.output()}`)
    return (await daemonState(host)) === 'RUNNING'
  })
  return running
}

async function reload(host: PrivateHost): Promise<void> {
  const { name, path } = firewalldBus
  await host.firewall.ok(['busctl', '--system', '--timeout=60', 'call', name, path, name, 'reload'], { timeoutMs: 70_000 })
}

/** `TcpExt: … TCPSynRetrans …` in two lines: names and values. */
async function synRetransmits(place: Place): Promise<number> {
  const [names, values] = (await place.ok(['cat', '/proc/net/netstat'])).split('\n').filter((line) => line.startsWith('TcpExt:')).map((line) => line.split(' '))
  return Number(values?.[names?.indexOf('TCPSynRetrans') ?? -1])
}

export async function runUnderLoad({ kind, reloads, kills, xdp = 'auto', flows = 200, perSec = 1000, floodPerSec = 2000 }: LoadOptions): Promise<LoadFigures> {
  const folder = mkdtempSync(join(tmpdir(), 'derpanet-load-'))
  const load = join(folder, 'load')
  execFileSync('gcc', ['-O2', '-o', load, join(repository, 'test/bench/load.c')])
  const host = await createPrivateHost({ name: `load-${kind}`, boundSec: 1800 })
  try {
    if (kind === 'derpanetd') await installConfiguration(host)
    await configure(host, kind, 0, xdp)
    let daemon = await startKind(host, kind)
    if (xdp === 'native') await eventually('XDP is attached', 20_000, async () => (await host.firewall.ok(['ip', 'link', 'show', 'ext0'])).includes('prog/xdp'))
    const server = host.firewall.start([load, 'server', ports.open, ports.flow, ports.denied, ports.listed])
    await eventually('the server is ready', 5000, () => server.output().includes('ready'))
    const before = await synRetransmits(host.outside)
    const client = host.outside.start([load, 'client', addresses.firewall.ext4, ports.open, ports.flow, ports.denied, ports.listed, addresses.outside.far4, String(perSec), String(flows), String(floodPerSec)])
    await eventually('the client is ready', 5000, () => client.output().includes('ready'))
    const begun = performance.now()
    await new Promise((resolve) => setTimeout(resolve, 1500))
    const killEvery = kills === 0 ? Infinity : Math.max(1, Math.floor(reloads / kills))
    let killed = 0
    for (let turn = 1; turn <= reloads; turn++) {
      await configure(host, kind, turn, xdp)
      await reload(host)
      if (turn % killEvery === 0 && killed < kills) {
        killed++
        await daemon.stop('SIGKILL')
        daemon = await startKind(host, kind)
      }
    }
    await new Promise((resolve) => setTimeout(resolve, 1500))
    const seconds = (performance.now() - begun) / 1000
    await client.stop('SIGTERM')
    const retransmits = (await synRetransmits(host.outside)) - before
    await server.stop('SIGTERM')
    const sent = lastJson(client.output()) as Omit<LoadFigures, 'reloads' | 'kills' | 'seconds' | 'synRetransmits'>
    const arrived = lastJson(server.output()) as { deniedPassed: number }
    return { reloads, kills: killed, seconds, ...sent, deniedPassed: sent.deniedPassed + arrived.deniedPassed, synRetransmits: retransmits }
  } finally {
    await host.stop()
    rmSync(folder, { recursive: true, force: true })
  }
}

function lastJson(output: string): unknown {
  const line = output.trim().split('\n').filter((one) => one.startsWith('{')).at(-1)
  if (line === undefined) throw new Error(`no figures: ${output}`)
  return JSON.parse(line)
}
