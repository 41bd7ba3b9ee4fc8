// How long an admin waits while a hundred callers flood the bus, by sort of caller: at derpanetd, at Debian's firewalld, and
// at a service that does nothing (test/support/null-service.c), which is what the bus itself takes.
// node --import=tsx test/bench/flood.ts [--seconds 20] [--kinds wait,mix,getter:30+mute:5,…] [--services null,null-admin,derpanetd,firewalld] [--json]
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { installConfiguration, startDaemon } from '../support/daemon.ts'
import { askAsAdmin, buildFlood, flood, floods, innerPid, quantileMs, statusMb, type Flooded } from '../support/flood.ts'
import { createPrivateHost, eventually } from '../support/private-host.ts'
import { printTable } from './sides.ts'

const services = ['null', 'null-admin', 'derpanetd', 'firewalld'] as const
type Service = (typeof services)[number]

interface Line extends Flooded {
  readonly calmMs: number
  readonly grownMb: number
}

async function measure(kind: string, service: Service, seconds: number, folder: string): Promise<Line> {
  const host = await createPrivateHost({ name: `flood-${service}` })
  try {
    const program = join(folder, 'flood')
    if (service === 'derpanetd') await installConfiguration(host)
    const running = service === 'derpanetd' || service === 'firewalld'
      ? (await startDaemon(host, { kind: service })).running
      : host.firewall.start([join(folder, 'null-service'), service === 'null' ? 'all' : 'admin'])
    await eventually('the name is owned', 5000, async () =>
      (await host.firewall.run(['busctl', '--system', 'status', 'org.fedoraproject.FirewallD1'])).status === 0)
    const servicePid = await innerPid(running)
    const calm = await askAsAdmin(host, program, 1)
    const before = await statusMb(host, servicePid, 'VmRSS')
    const flooded = await flood(host, { program, servicePid, flood: floods[kind] ?? { asRoot: kind.split('+') }, seconds })
    return { ...flooded, calmMs: quantileMs(calm.getter, 0.5), grownMb: await statusMb(host, servicePid, 'VmHWM') - before }
  } finally {
    await host.stop()
  }
}

const { values } = parseArgs({ options: {
  seconds: { type: 'string', default: '20' }, kinds: { type: 'string', default: Object.keys(floods).join(',') },
  services: { type: 'string', default: 'null,derpanetd,firewalld' }, json: { type: 'boolean' },
} })
const seconds = Number(values.seconds)
const folder = mkdtempSync(join(tmpdir(), 'derpanet-flood-'))
const rows: string[][] = [['callers', 'service', 'getter p50', 'p99', 'CPU p50', 'p99', 'change p50', 'p99', 'max', 'CPU p99', 'sent/s', 'answered/s', 'refused/s', 'CPU bus', 'service', 'callers', 'grown', 'bus']]
try {
  for (const source of ['flood', 'null-service'] as const) buildFlood(folder, source)
  for (const kind of values.kinds.split(',')) {
    for (const service of services.filter((one) => values.services.split(',').includes(one))) {
      const line = await measure(kind, service, seconds, folder)
      if (values.json === true) console.log(JSON.stringify({ kind, service, ...line }))
      const { admin: { getter, change, getterCpu, changeCpu }, processors, told } = line
      const rate = (of: 'sent' | 'answered' | 'refused'): string => (told.flatMap((one) => Object.values(one)).reduce((sum, one) => sum + one[of], 0) / seconds).toFixed(0)
      const row = [kind, service, ...[quantileMs(getter, 0.5), quantileMs(getter, 0.99), quantileMs(getterCpu, 0.5), quantileMs(getterCpu, 0.99), quantileMs(change, 0.5), quantileMs(change, 0.99), Math.max(...change) / 1000, quantileMs(changeCpu, 0.99)].map((ms) => ms.toFixed(ms < 10 ? 1 : 0)),
        rate('sent'), rate('answered'), rate('refused'), ...Object.values(processors).map((share) => `${share.toFixed(0)} %`), `${line.grownMb.toFixed(0)} MB`, `${line.busMb.toFixed(0)} MB`]
      console.error(row.join('  '))
      rows.push(row)
    }
  }
} finally {
  rmSync(folder, { recursive: true })
}
if (values.json !== true) printTable(rows)
