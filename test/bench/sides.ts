// Two private hosts, derpanetd in the one and Debian's firewalld in the other, each spoken to over its own bus.
// What is measured and promised is the business of the bench that opens them.
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import dbus from 'dbus-next'
import { daemonCommands, firewalldBus, installConfiguration, writeConfiguration, type DaemonKind } from '../support/daemon.ts'
import { createPrivateHost, eventually, pidOf, processorTimesMs, type PrivateHost, type Running } from '../support/private-host.ts'

/** One side of the comparison: a host, its bus, and the daemon in it. */
export interface Side {
  readonly kind: DaemonKind
  readonly host: PrivateHost
  readonly bus: dbus.MessageBus
  running: Running | null
}

export async function openSide(kind: DaemonKind, boundSec = 3000): Promise<Side> {
  const host = await createPrivateHost({ name: `bench-${kind}`, boundSec })
  const bus = dbus.sessionBus({ busAddress: `unix:path=${host.path('/run/dbus/system_bus_socket')}` })
  await busCall(bus, 'org.freedesktop.DBus', '/org/freedesktop/DBus', 'org.freedesktop.DBus', 'GetId')
  if (kind === 'derpanetd') await installConfiguration(host)
  return { kind, host, bus, running: null }
}

export async function closeSide(side: Side): Promise<void> {
  side.bus.disconnect()
  await side.host.stop()
}

async function busCall(bus: dbus.MessageBus, destination: string, path: string, iface: string, member: string, signature = '', body: unknown[] = []): Promise<unknown> {
  const reply = await bus.call(new dbus.Message({ destination, path, interface: iface, member, signature, body, flags: dbus.MessageFlag.NO_AUTO_START }))
  return reply?.body[0]
}

/** `iface` is what follows org.fedoraproject.FirewallD1: "", "zone", "ipset". */
export function firewall(side: Side, iface: string, member: string, signature = '', body: unknown[] = []): Promise<unknown> {
  const name = iface === '' ? firewalldBus.name : `${firewalldBus.name}.${iface}`
  return busCall(side.bus, firewalldBus.name, firewalldBus.path, name, member, signature, body)
}

async function isRunning(side: Side): Promise<boolean> {
  try {
    const state = await busCall(side.bus, firewalldBus.name, firewalldBus.path, 'org.freedesktop.DBus.Properties', 'Get', 'ss', [firewalldBus.name, 'state'])
    return (state as dbus.Variant<string>).value === 'RUNNING'
  } catch (failure) {
    if (failure instanceof dbus.DBusError) return false // nobody owns the name yet
    throw failure
  }
}

export async function startSide(side: Side, timeoutMs: number): Promise<void> {
  const extra = side.kind === 'derpanetd' ? (process.env['DERPANET_BENCH_NODE'] ?? '').split(' ').filter((word) => word !== '') : []
  const [program = '', ...args] = daemonCommands[side.kind]
  const running = side.host.firewall.start([program, ...extra, ...args])
  side.running = running
  try {
    await eventually(`${side.kind} is RUNNING`, timeoutMs, async () => {
      if (running.child.exitCode !== null) throw new Error('it ended')
      return await isRunning(side)
    })
  } catch (failure) {
    throw new Error(`${(failure as Error).message}; it said: ${running.output().slice(-4000)}`)
  }
}

/** Processor time of the daemon and of the programs it ran, in ms. */
export async function cpuMs({ running }: Side): Promise<number> {
  if (running === null) throw new Error('it does not run')
  return processorTimesMs(await readFile(`/proc/${pidOf(running)}/stat`, 'utf8')).reduce((sum, time) => sum + time, 0)
}

export async function stopSide(side: Side): Promise<void> {
  await side.running?.stop('SIGTERM', 30_000)
  side.running = null
  if (side.kind === 'derpanetd') await side.host.firewall.ok([...daemonCommands.derpanetd, '--purge'])
  await eventually('the name is free', 10_000, async () => !(await isRunning(side)))
}

/** One zone in the words both understand. */
export interface BenchZone {
  readonly target?: 'default' | 'ACCEPT' | 'DROP'
  readonly interfaces?: readonly string[]
  readonly sources?: readonly string[]
  readonly services?: readonly string[]
  /** `80/tcp`. */
  readonly ports?: readonly string[]
  readonly richRules?: readonly string[]
}

export interface BenchConfiguration {
  readonly zones: Readonly<Record<string, BenchZone>>
  /** Entries by name; hash:ip, which is the faster kind for firewalld. */
  readonly ipsets?: Readonly<Record<string, readonly string[]>>
}

/** Writes it in each one's own files; in force with the next start or reload. */
export async function configure(side: Side, { zones, ipsets = {} }: BenchConfiguration): Promise<void> {
  if (side.kind === 'derpanetd') {
    const list = (key: string, items: readonly string[] = []): string => (items.length === 0 ? '' : `${key}:\n${items.map((item) => `  - ${JSON.stringify(item)}\n`).join('')}`)
    await writeConfiguration(side.host, Object.fromEntries([
      ...Object.entries(zones).map(([name, zone]) => [`zones/${name}.yaml`, `target: ${zone.target ?? 'default'}\n`
        + list('interfaces', zone.interfaces) + list('sources', zone.sources) + list('services', zone.services) + list('ports', zone.ports) + list('rich-rules', zone.richRules)]),
      // as short as YAML allows: a file of more than 1 MiB is refused
      ...Object.entries(ipsets).map(([name, entries]) => [`ipsets/${name}.yaml`, `type: hash:ip\noptions: {maxelem: "262144"}\nentries: [${entries.join(',')}]\n`]),
    ]))
    return
  }
  for (const folder of ['zones', 'ipsets']) await mkdir(side.host.path(`/etc/firewalld/${folder}`), { recursive: true })
  for (const [name, zone] of Object.entries(zones)) {
    const attribute = zone.target === undefined || zone.target === 'default' ? '' : ` target="${zone.target}"`
    const lines = [
      ...(zone.interfaces ?? []).map((item) => `<interface name="${item}"/>`),
      ...(zone.sources ?? []).map((item) => (item.startsWith('ipset:') ? `<source ipset="${item.slice(6)}"/>` : `<source address="${item}"/>`)),
      ...(zone.services ?? []).map((item) => `<service name="${item}"/>`),
      ...(zone.ports ?? []).map((item) => `<port port="${item.split('/')[0]}" protocol="${item.split('/')[1]}"/>`),
      ...(zone.richRules ?? []).map(richXml),
    ]
    await writeFile(side.host.path(`/etc/firewalld/zones/${name}.xml`), `<?xml version="1.0" encoding="utf-8"?>\n<zone${attribute}><short>${name}</short>\n${lines.join('\n')}\n</zone>\n`)
  }
  for (const [name, entries] of Object.entries(ipsets)) {
    await writeFile(side.host.path(`/etc/firewalld/ipsets/${name}.xml`),
      `<?xml version="1.0" encoding="utf-8"?>\n<ipset type="hash:ip"><option name="maxelem" value="262144"/>\n${entries.map((entry) => `<entry>${entry}</entry>`).join('\n')}\n</ipset>\n`)
  }
}

/** The few shapes of rich rules that benches use: family, source address, port, accept or drop. */
function richXml(rule: string): string {
  const word = (pattern: RegExp): string | null => pattern.exec(rule)?.[1] ?? null
  const port = word(/ port port="([^"]*)"/)
  return `<rule family="${word(/family="([^"]*)"/) ?? ''}"><source address="${word(/source address="([^"]*)"/) ?? ''}"/>`
    + (port === null ? '' : `<port port="${port}" protocol="${word(/protocol="([^"]*)"/) ?? ''}"/>`) + `<${word(/ (accept|drop|reject)$/) ?? ''}/></rule>`
}

export function median(samples: readonly number[]): number {
  if (samples.length === 0) return NaN
  const sorted = [...samples].sort((a, b) => a - b)
  const middle = Math.floor(sorted.length / 2)
  return sorted.length % 2 === 1 ? sorted[middle] as number : ((sorted[middle - 1] as number) + (sorted[middle] as number)) / 2
}

export async function timed(work: () => Promise<unknown>): Promise<number> {
  const begun = performance.now()
  await work()
  return performance.now() - begun
}

/** Lines of equal columns, the first row is the heading. */
export function printTable(rows: readonly (readonly string[])[]): void {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => (row[column] ?? '').length)))
  for (const row of rows) console.log(row.map((cell, column) => cell.padEnd(widths[column] as number)).join('  ').trimEnd())
}
