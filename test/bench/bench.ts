// `npm run bench`: derpanetd beside Debian's firewalld, in two private hosts, the same work taken in turns so that the
// machine's mood falls on both. Medians of 9 with the spread. --json prints the samples; --runs N changes the 9;
// --only derpanetd|firewalld runs one of them; --quick leaves out the big set, which costs firewalld a minute a reload.
import { readFile, writeFile, mkdir } from 'node:fs/promises'
import { parseArgs } from 'node:util'
import dbus from 'dbus-next'
import { daemonCommands, firewalldBus, installConfiguration, startDaemon, writeConfiguration, type DaemonKind } from '../support/daemon.ts'
import { benchChanges } from './changes.ts'
import { benchGetters } from './getters.ts'
import { benchPackets } from './packets.ts'
import { benchUnderLoad } from './reload-under-load.ts'
import { createPrivateHost, eventually, pidOf, runCommand, whyNoPrivateHost, type PrivateHost, type Running } from '../support/private-host.ts'

const { values: options } = parseArgs({ options: { json: { type: 'boolean' }, runs: { type: 'string', default: '9' }, only: { type: 'string' }, quick: { type: 'boolean' } } })
const runs = Number(options.runs)
const kinds: readonly DaemonKind[] = (['derpanetd', 'firewalld'] as const).filter((kind) => options.only === undefined || options.only === kind)
const bigSize = 100_000

interface Row {
  readonly what: string
  readonly unit: 'ms' | 'MB'
  readonly samples: Record<DaemonKind, number[]>
  /** How many times better than firewalld is promised; 1 = better at all. */
  readonly promised: number
}

function row(what: string, unit: Row['unit'], promised = 1): Row {
  return { what, unit, samples: { derpanetd: [], firewalld: [] }, promised }
}

function median(samples: readonly number[]): number {
  if (samples.length === 0) return NaN
  const sorted = [...samples].sort((a, b) => a - b)
  const middle = Math.floor(sorted.length / 2)
  return sorted.length % 2 === 1 ? sorted[middle] as number : ((sorted[middle - 1] as number) + (sorted[middle] as number)) / 2
}

/** One side of the comparison: a host, its bus, and how to start and stop the daemon in it. */
interface Side {
  readonly kind: DaemonKind
  readonly host: PrivateHost
  readonly bus: dbus.MessageBus
  running: Running | null
}

async function openSide(kind: DaemonKind): Promise<Side> {
  const host = await createPrivateHost({ name: `bench-${kind}`, boundSec: 3000 })
  const bus = dbus.sessionBus({ busAddress: `unix:path=${host.path('/run/dbus/system_bus_socket')}` })
  await call(bus, 'org.freedesktop.DBus', '/org/freedesktop/DBus', 'org.freedesktop.DBus', 'GetId')
  return { kind, host, bus, running: null }
}

async function call(bus: dbus.MessageBus, destination: string, path: string, iface: string, member: string, signature = '', body: unknown[] = []): Promise<unknown> {
  const reply = await bus.call(new dbus.Message({ destination, path, interface: iface, member, signature, body, flags: dbus.MessageFlag.NO_AUTO_START }))
  return reply?.body[0]
}

const firewall = (side: Side, member: string, signature = '', body: unknown[] = [], iface: string = firewalldBus.name): Promise<unknown> =>
  call(side.bus, firewalldBus.name, firewalldBus.path, iface, member, signature, body)

async function isRunning(side: Side): Promise<boolean> {
  try {
    const state = await firewall(side, 'Get', 'ss', [firewalldBus.name, 'state'], 'org.freedesktop.DBus.Properties') as dbus.Variant<string>
    return state.value === 'RUNNING'
  } catch (failure) {
    if (failure instanceof dbus.DBusError) return false // nobody owns the name yet
    throw failure
  }
}

/** Milliseconds from exec to the state RUNNING. Asks every 2 ms once the name has an owner. */
async function start(side: Side): Promise<number> {
  const begun = performance.now()
  const running = side.host.firewall.start(daemonCommands[side.kind])
  side.running = running
  while (!(await isRunning(side))) {
    if (running.child.exitCode !== null || performance.now() - begun > 60_000) throw new Error(`${side.kind} does not start: ${running.output()}`)
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
  return performance.now() - begun
}

async function stop(side: Side): Promise<void> {
  await side.running?.stop('SIGTERM', 30_000)
  side.running = null
  if (side.kind === 'derpanetd') await side.host.firewall.ok([...daemonCommands.derpanetd, '--purge'])
  await eventually('the name is free', 5000, async () => !(await isRunning(side)))
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const begun = performance.now()
  await work()
  return performance.now() - begun
}

async function anonymousMb({ running }: Side): Promise<number> {
  if (running === null) throw new Error('it does not run')
  const rollup = await readFile(`/proc/${pidOf(running)}/smaps_rollup`, 'utf8')
  return Number(/^Anonymous:\s+(\d+) kB/m.exec(rollup)?.[1]) / 1024
}

/** 100,000 addresses, `changed` of them different. */
function bigEntries(changed: number): string[] {
  return Array.from({ length: bigSize }, (_, index) => {
    const number = index < changed ? bigSize + index : index
    return `10.${(number >> 16) & 255}.${(number >> 8) & 255}.${number & 255}`
  })
}

/**
 * The same thing in each one's own words: every source of the set goes to zone drop. firewalld gets hash:ip, which is the
 * faster kind for it: with hash:net and its default backend a reload takes 80 s instead.
 */
async function writeBig(side: Side, changed: number): Promise<void> {
  const entries = bigEntries(changed)
  if (side.kind === 'derpanetd') {
    await writeConfiguration(side.host, { 'lists/big.list': `${entries.join('\n')}\n`, 'zones/drop.yaml': 'target: DROP\nsources: ["list:big"]\n' })
    return
  }
  await mkdir(side.host.path('/etc/firewalld/ipsets'), { recursive: true })
  await mkdir(side.host.path('/etc/firewalld/zones'), { recursive: true })
  const xml = entries.map((entry) => `  <entry>${entry}</entry>`).join('\n')
  await writeFile(side.host.path('/etc/firewalld/ipsets/big.xml'),
    `<?xml version="1.0" encoding="utf-8"?>\n<ipset type="hash:ip"><option name="maxelem" value="200000"/>\n${xml}\n</ipset>\n`)
  await writeFile(side.host.path('/etc/firewalld/zones/drop.xml'),
    '<?xml version="1.0" encoding="utf-8"?>\n<zone target="DROP"><short>Drop</short><source ipset="big"/></zone>\n')
}

async function inTurns(sides: readonly Side[], work: (side: Side, run: number) => Promise<void>): Promise<void> {
  for (let run = 0; run < runs; run++) {
    for (const side of run % 2 === 0 ? sides : [...sides].reverse()) await work(side, run)
  }
}

function print(rows: readonly Row[]): boolean {
  const show = (samples: readonly number[], unit: string): string => {
    if (samples.length === 0) return '–'
    const digits = unit === 'MB' || median(samples) < 10 ? 1 : 0
    return `${median(samples).toFixed(digits)} ${unit} (${Math.min(...samples).toFixed(digits)}–${Math.max(...samples).toFixed(digits)})`
  }
  const lines = rows.filter(({ samples }) => samples.derpanetd.length + samples.firewalld.length > 0).map((one) => {
    const ratio = median(one.samples.firewalld) / median(one.samples.derpanetd)
    return [one.what, show(one.samples.derpanetd, one.unit), show(one.samples.firewalld, one.unit), `${ratio.toFixed(ratio < 10 ? 1 : 0)}×`, Number.isNaN(ratio) || ratio >= one.promised ? 'ok' : `BELOW ${one.promised}×`]
  })
  const table = [['median of ' + runs + ' (min–max)', 'derpanetd', 'firewalld', 'better', ''], ...lines]
  const widths = [0, 1, 2, 3, 4].map((column) => Math.max(...table.map((line) => (line[column] as string).length)))
  for (const line of table) console.log(line.map((cell, column) => cell.padEnd(widths[column] as number)).join('  ').trimEnd())
  return lines.every((line) => line[4] === 'ok')
}

async function main(): Promise<void> {
  const why = whyNoPrivateHost()
  if (why !== null) throw new Error(`the bench cannot run here: ${why}`)
  const ready = row('start until RUNNING', 'ms')
  const memory = row('anonymous memory, default configuration', 'MB')
  const reload = row('reload, default configuration', 'ms')
  const port = row('addPort over D-Bus', 'ms')
  const bigReload = row(`reload with a set of ${bigSize} entries, unchanged`, 'ms', 20)
  const bigChanged = row(`reload with a set of ${bigSize} entries, 100 changed`, 'ms', 20)
  const bigMemory = row(`anonymous memory with that set`, 'MB')
  const rows = [ready, reload, port, bigReload, bigChanged, memory, bigMemory]

  const sides: Side[] = []
  try {
    for (const kind of kinds) sides.push(await openSide(kind))
    for (const { kind, host } of sides) if (kind === 'derpanetd') await installConfiguration(host)
    await inTurns(sides, async (side) => {
      ready.samples[side.kind].push(await start(side))
      // at rest: what a start leaves behind is packed away in the first lull
      await new Promise((resolve) => setTimeout(resolve, 1000))
      memory.samples[side.kind].push(await anonymousMb(side))
      await stop(side)
    })
    for (const side of sides) await start(side)
    await inTurns(sides, async (side) => { reload.samples[side.kind].push(await timed(() => firewall(side, 'reload'))) })
    // one sample is the mean of ten, so that it is not one lucky call
    await inTurns(sides, async (side, run) => {
      let sumMs = 0
      for (let number = 0; number < 10; number++) {
        const where = ['public', String(20_000 + run * 20 + number * 2), 'tcp']
        sumMs += await timed(() => firewall(side, 'addPort', 'sssi', [...where, 0], `${firewalldBus.name}.zone`))
        await firewall(side, 'removePort', 'sss', where, `${firewalldBus.name}.zone`)
      }
      port.samples[side.kind].push(sumMs / 10)
    })
    const bigSides = options.quick === true ? [] : sides
    for (const side of bigSides) {
      await writeBig(side, 0)
      await firewall(side, 'reload')
    }
    await inTurns(bigSides, async (side, run) => {
      // firewalld builds its set anew in any case and needs about a minute for it: its one reload counts for both rows
      if (side.kind === 'derpanetd') bigReload.samples[side.kind].push(await timed(() => firewall(side, 'reload')))
      await writeBig(side, (run + 1) * 100)
      const elapsedMs = await timed(() => firewall(side, 'reload'))
      for (const one of side.kind === 'firewalld' ? [bigReload, bigChanged] : [bigChanged]) one.samples[side.kind].push(elapsedMs)
      bigMemory.samples[side.kind].push(await anonymousMb(side))
    })
    for (const side of sides) await stop(side)
  } finally {
    for (const side of sides) {
      side.bus.disconnect()
      await side.host.stop()
    }
  }
  if (options.json === true) console.log(JSON.stringify({ runs, rows: rows.map(({ what, unit, promised, samples }) => ({ what, unit, promised, samples })) }))
  const version = (await runCommand(['dpkg-query', '-W', '-f', '${Version}', 'firewalld'])).stdout.trim()
  if (options.json !== true) console.log(`derpanetd beside firewalld ${version}, node ${process.version}, ${(await runCommand(['uname', '-r'])).stdout.trim()}\n`)
  const good = options.json === true || print(rows)
  if (options.json !== true) console.log('')
  const isQuick = await benchGetters(kinds, options.quick === true ? 3 : runs, options.json === true)
  if (options.json !== true) console.log('')
  const [reloads, kills] = options.quick === true ? [20, 2] : [200, 20]
  const holds = await benchUnderLoad(kinds, reloads, kills, options.json === true)
  if (options.json !== true) console.log('')
  const quick = options.quick === true
  const changes = await benchChanges({ kinds, calls: quick ? 50 : 200, seconds: quick ? 5 : 10, json: options.json === true, ...(quick ? { world: 'default' } : {}) })
  if (options.json !== true) console.log('')
  const packets = await benchPackets(kinds, quick ? 3 : 7, 300_000, options.json === true)
  process.exitCode = good && isQuick && holds && changes && packets ? 0 : 1
}

await main()
