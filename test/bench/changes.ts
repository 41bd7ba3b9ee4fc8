// Single changes over D-Bus, derpanetd beside Debian's firewalld: medians with the default configuration, with a big one
// (1,000 ports, 1,000 rich rules, a set of 100,000 entries) and with 20,000 foreign rules beside that one.
// `npm run bench` holds this; alone: node --import=tsx test/bench/changes.ts. `processor` is the daemon's (and its programs') time for a call and its undoing, which a busy machine does not blur.
// --calls N per row and side (200); --seconds N at most for a row of one side (20); --only derpanetd|firewalld; --world NAME; --json.
import { writeFile } from 'node:fs/promises'
import { parseArgs } from 'node:util'
import { fileURLToPath } from 'node:url'
import type { DaemonKind } from '../support/daemon.ts'
import { runCommand, whyNoPrivateHost } from '../support/private-host.ts'
import { closeSide, configure, cpuMs, firewall, median, openSide, printTable, startSide, stopSide, timed, type BenchConfiguration, type Side } from './sides.ts'

export interface ChangesOptions {
  readonly kinds: readonly DaemonKind[]
  /** A row and side. */
  readonly calls: number
  /** At most so long for a row of one side. */
  readonly seconds: number
  /** Only this configuration. Absent = all. */
  readonly world?: string
  readonly json: boolean
}

const only = process.env['BENCH_CALL']

const range = <T>(count: number, make: (index: number) => T): T[] => Array.from({ length: count }, (_, index) => make(index))
const dotted = (number: number): string => `${(number >> 24) & 255}.${(number >> 16) & 255}.${(number >> 8) & 255}.${number & 255}`
const tenNet = 10 << 24
const benchNet = (198 << 24) | (18 << 16)

/** Every fourth rule is for a port only, accepts and drops take turns. */
const richRule = (index: number): string =>
  `rule family="ipv4" source address="${dotted(benchNet + index)}"${index % 4 === 0 ? ` port port="${3000 + index}" protocol="tcp"` : ''} ${index % 2 === 0 ? 'accept' : 'drop'}`

const zones = { public: { interfaces: ['ext0'], services: ['ssh', 'dhcpv6-client'] }, home: { sources: ['192.0.2.0/25'], services: ['ssh'] } }
const small: BenchConfiguration = { zones: { ...zones, drop: { target: 'DROP', sources: ['ipset:banned'] } }, ipsets: { banned: ['10.255.0.1'] } }
const big: BenchConfiguration = {
  zones: {
    ...zones,
    public: { ...zones.public, ports: range(1000, (index) => `${10_000 + index * 3}/tcp`), richRules: range(1000, richRule) },
    drop: { target: 'DROP', sources: ['ipset:banned'] },
  },
  ipsets: { banned: range(100_000, (index) => `1.${Math.floor(index / 10_000)}.${Math.floor(index / 100) % 100}.${index % 100}`) },
}
const worlds = {
  default: { configuration: small, foreign: false },
  big: { configuration: big, foreign: false },
  'big, 20,000 foreign rules': { configuration: big, foreign: true },
} as const
type World = keyof typeof worlds

interface Operation {
  readonly what: string
  readonly promisedMs: number
  /** The most of firewalld's median that it may take. */
  readonly promisedShare: number
  readonly once: (side: Side, index: number) => Promise<unknown>
  readonly undo?: (side: Side, index: number) => Promise<unknown>
}

const source = (index: number): string => dotted(tenNet + (200 << 16) + index)
const port = (index: number): unknown[] => ['public', String(20_000 + index), 'tcp']
const newRule = (index: number): string => `rule family="ipv4" source address="${dotted(benchNet + 70_000 + index)}" accept`
const operations: readonly Operation[] = [
  // what any call costs: the bus, twice, and the client of this bench
  { what: 'queryPort', promisedMs: Infinity, promisedShare: 1, once: (side, index) => firewall(side, 'zone', 'queryPort', 'sss', port(index)) },
  { what: 'addPort', promisedMs: 3, promisedShare: 1, once: (side, index) => firewall(side, 'zone', 'addPort', 'sssi', [...port(index), 0]), undo: (side, index) => firewall(side, 'zone', 'removePort', 'sss', port(index)) },
  { what: 'removePort', promisedMs: 3, promisedShare: 1, once: (side, index) => firewall(side, 'zone', 'removePort', 'sss', port(index)), undo: (side, index) => firewall(side, 'zone', 'addPort', 'sssi', [...port(index), 0]) },
  { what: 'addSource', promisedMs: 3, promisedShare: 1, once: (side, index) => firewall(side, 'zone', 'addSource', 'ss', ['home', source(index)]), undo: (side, index) => firewall(side, 'zone', 'removeSource', 'ss', ['home', source(index)]) },
  { what: 'addEntry', promisedMs: 3, promisedShare: 1, once: (side, index) => firewall(side, 'ipset', 'addEntry', 'ss', ['banned', source(index)]), undo: (side, index) => firewall(side, 'ipset', 'removeEntry', 'ss', ['banned', source(index)]) },
  { what: 'addRichRule', promisedMs: 60, promisedShare: 1 / 3, once: (side, index) => firewall(side, 'zone', 'addRichRule', 'ssi', ['public', newRule(index), 0]), undo: (side, index) => firewall(side, 'zone', 'removeRichRule', 'ss', ['public', newRule(index)]) },
  { what: 'reload', promisedMs: 300, promisedShare: 1, once: (side) => firewall(side, '', 'reload') },
]

interface Row {
  readonly world: World
  readonly operation: Operation
  readonly samples: Record<DaemonKind, number[]>
  /** Processor time of one call and its undoing. */
  readonly cpu: Record<DaemonKind, number>
}

/** The undone call is not counted; for removePort the counted and the other one change places. */
async function sample(side: Side, { once, undo, what }: Operation, calls: number, maxMs: number): Promise<number[]> {
  const samples: number[] = []
  const begun = performance.now()
  const most = what === 'reload' ? Math.min(calls, 15) : calls
  for (let index = 0; index < most && (samples.length < 3 || performance.now() - begun < maxMs); index++) {
    if (what === 'removePort') await undo?.(side, index)
    samples.push(await timed(() => once(side, index)))
    if (what !== 'removePort') await undo?.(side, index)
  }
  return samples
}

/** 20,000 rules in nat as kube-proxy writes them: 10,000 chains of two. */
async function writeForeign(side: Side): Promise<void> {
  const names = range(10_000, (index) => `KUBE-SVC-${index.toString(36).toUpperCase().padStart(8, '0')}`)
  const lines = ['*nat', ...names.map((name) => `:${name} - [0:0]`), ...names.flatMap((name, index) => [
    `-A ${name} ! -s 10.244.0.0/16 -d 10.96.${index >> 8}.${index & 255}/32 -p tcp -m tcp --dport 80 -j MARK --set-xmark 0x4000/0x4000`,
    `-A ${name} -d 10.96.${index >> 8}.${index & 255}/32 -p tcp -m tcp --dport 80 -j RETURN`,
  ]), 'COMMIT', '']
  await writeFile(side.host.path('/run/foreign'), lines.join('\n'))
  await side.host.firewall.ok(['sh', '-c', 'iptables-restore --noflush -w 5 </run/foreign'], { timeoutMs: 120_000 })
}

/** Prints the table; false when derpanetd did not keep its promises. */
export async function benchChanges(options: ChangesOptions): Promise<boolean> {
  const { kinds } = options
  const rows: Row[] = []
  for (const [world, { configuration, foreign }] of Object.entries(worlds) as [World, (typeof worlds)[World]][]) {
    if (options.world !== undefined && options.world !== world) continue
    const sides: Side[] = []
    try {
      for (const kind of kinds) sides.push(await openSide(kind))
      const these = operations.filter(({ what }) => only === undefined || what === only).map((operation): Row => ({ world, operation, samples: { derpanetd: [], firewalld: [] }, cpu: { derpanetd: NaN, firewalld: NaN } }))
      for (const side of sides) {
        await configure(side, configuration)
        if (foreign) await writeForeign(side)
        await startSide(side, side.kind === 'derpanetd' ? 60_000 : 300_000)
      }
      for (const row of these) {
        for (const side of sides) {
          const before = await cpuMs(side)
          row.samples[side.kind].push(...await sample(side, row.operation, options.calls, options.seconds * 1000))
          row.cpu[side.kind] = (await cpuMs(side) - before) / row.samples[side.kind].length
        }
      }
      rows.push(...these)
      for (const side of sides) await stopSide(side)
    } finally {
      for (const side of sides) await closeSide(side)
    }
  }
  if (options.json === true) console.log(JSON.stringify(rows.map(({ world, operation, samples, cpu }) => ({ world, what: operation.what, samples, cpu }))))
  else return await print(rows)
  return rows.every(isKept)
}

function mostMs({ operation, samples }: Row): number {
  const theirs = median(samples.firewalld)
  return Math.min(operation.promisedMs, Number.isNaN(theirs) ? Infinity : operation.promisedShare * theirs)
}

function isKept(row: Row): boolean {
  const mine = median(row.samples.derpanetd)
  return Number.isNaN(mine) || row.operation.what === 'queryPort' || mine <= mostMs(row)
}

async function print(rows: readonly Row[]): Promise<boolean> {
  const version = (await runCommand(['dpkg-query', '-W', '-f', '${Version}', 'firewalld'])).stdout.trim()
  console.log(`derpanetd beside firewalld ${version}, node ${process.version}, ${(await runCommand(['uname', '-r'])).stdout.trim()}; median in ms (calls)\n`)
  const shown = (samples: readonly number[]): string => (samples.length === 0 ? '–' : `${median(samples).toFixed(median(samples) < 100 ? 2 : 0)} (${samples.length})`)
  const time = (ms: number): string => (Number.isNaN(ms) ? '–' : ms.toFixed(1))
  const lines = rows.map((row) => {
    const { world, operation, samples, cpu } = row
    return [
      world, operation.what, shown(samples.derpanetd), shown(samples.firewalld), time(cpu.derpanetd), time(cpu.firewalld),
      isKept(row) ? 'ok' : `ABOVE ${mostMs(row).toFixed(1)}`,
    ]
  })
  printTable([['configuration', 'call', 'derpanetd', 'firewalld', 'processor', 'firewalld', ''], ...lines])
  return rows.every(isKept)
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values } = parseArgs({ options: {
    calls: { type: 'string', default: '200' }, seconds: { type: 'string', default: '20' }, json: { type: 'boolean' }, only: { type: 'string' }, world: { type: 'string' },
  } })
  const why = whyNoPrivateHost()
  if (why !== null) throw new Error(`the bench cannot run here: ${why}`)
  const kinds = (['derpanetd', 'firewalld'] as const).filter((kind) => values.only === undefined || values.only === kind)
  const holds = await benchChanges({
    kinds, calls: Number(values.calls), seconds: Number(values.seconds), json: values.json === true, ...(values.world === undefined ? {} : { world: values.world }),
  })
  process.exitCode = holds ? 0 : 1
}
