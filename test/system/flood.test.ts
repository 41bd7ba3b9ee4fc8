// TEST_TIMEOUT_SEC=150 TEST_TIMEOUT_FULL_SEC=900
// A hundred callers who never pause, on the daemon as it is built and a system bus as Debian configures it: getters, ports opened
// and closed, tools run, megabytes of arguments, callers who want no answer or never read theirs, and a user who may nothing.
// Meanwhile an admin asks and changes. Always: nothing fails, memory is bounded, all recovers; for 5 s, of all sorts together and
// at a rate that leaves another test room. With DERPANET_TEST_FULL each sort for 20 s as fast as it goes, and how long the admin
// waits is judged, by the clock: it wants an idle machine. Where the bus itself takes longer than the limits allow (callers whom
// its limit of unanswered calls does not bound), a service that does nothing is the measure: half as long again as beside that.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { daemonState, installConfiguration, startDaemon } from '../support/daemon.ts'
import { askAsAdmin, buildFlood, flood, floods, innerPid, quantileMs, statusMb, type Flooded } from '../support/flood.ts'
import { createPrivateHost, eventually, whyNoPrivateHost } from '../support/private-host.ts'

const isFull = process.env['DERPANET_TEST_FULL'] !== undefined
const limits = { getterMs: 100, changeMs: 500, grownMb: 250, leftMb: 150 } as const
/** `bus` = callers whom the bus's limit of unanswered calls does not bound. */
const kinds: Readonly<Record<string, 'daemon' | 'bus'>> = isFull
  ? { wait: 'daemon', pipe: 'daemon', change: 'daemon', look: 'daemon', big: 'daemon', mute: 'bus', deaf: 'bus', mix: 'bus' }
  : { mix: 'daemon' }
const besideNobody = 1.5
const seconds = isFull ? 20 : 5
/** Of root's callers and of the other user's each. */
const sampleRate = 1500

const p99 = (samples: readonly number[]): number => quantileMs(samples, 0.99)
const shown = (what: string, { admin: { getter, change, getterCpu, changeCpu }, processors }: Flooded): string =>
  `${what}: ${getter.length} getters, p99 ${p99(getter).toFixed(0)} ms (of work ${p99(getterCpu).toFixed(0)}); ${change.length} changes, p99 ${p99(change).toFixed(0)} ms (of work ${p99(changeCpu).toFixed(0)}); `
  + `processors: bus ${processors.bus.toFixed(0)} %, service ${processors.service.toFixed(0)} %, callers ${processors.callers.toFixed(0)} %`

/** The same flood on a service that does nothing. */
async function atNobody(kind: string, folder: string): Promise<Flooded> {
  const host = await createPrivateHost({ name: 'flood-null' })
  try {
    const running = host.firewall.start([join(folder, 'null-service'), 'all'])
    await eventually('the name is owned', 5000, async () => (await host.firewall.run(['busctl', '--system', 'status', 'org.fedoraproject.FirewallD1'])).status === 0)
    return await flood(host, { program: join(folder, 'flood'), servicePid: await innerPid(running), flood: floods[kind]!, seconds })
  } finally {
    await host.stop()
  }
}

t.test('an admin is answered while a hundred callers flood the daemon', { skip: whyNoPrivateHost() ?? false }, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'derpanet-flood-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const program = buildFlood(folder)
  buildFlood(folder, 'null-service')
  for (const [kind, whose] of Object.entries(kinds)) {
    await t.test(`callers of sort ${kind}`, async (t) => {
      const host = await createPrivateHost({ name: 'flood' })
      t.teardown(() => host.stop())
      await installConfiguration(host)
      const daemon = await startDaemon(host)
      const servicePid = await innerPid(daemon.running)
      await askAsAdmin(host, program, 1)
      const before = await statusMb(host, servicePid, 'VmRSS')
      const flooded = await flood(host, { program, servicePid, flood: floods[kind]!, seconds, ...(isFull ? {} : { rate: sampleRate }) })
      const { admin, told } = flooded
      for (const one of told) t.comment(Object.entries(one).filter(([, { sent }]) => sent > 0).map(([what, { sent, answered, refused }]) => `${what} ${sent} sent, ${answered} answered, ${refused} refused`).join('; '))
      t.comment(shown(kind, flooded))
      // what the bus has not read of a hundred sockets when they are closed it still reads, before it comes to him
      if (whose === 'daemon') t.strictSame([admin.getterWaiting, admin.changeWaiting], [0, 0], 'the admin is answered')
      t.strictSame([admin.getterFailed, admin.changeFailed], [0, 0], 'and nothing of his fails')
      if (isFull) {
        const bus = whose === 'bus' ? await atNobody(kind, folder) : null
        if (bus !== null) t.comment(shown('a service that does nothing', bus))
        for (const [what, samples, limitMs, beside] of [
          ['a getter', admin.getter, limits.getterMs, bus?.admin.getter], ['a port', admin.change, limits.changeMs, bus?.admin.change],
        ] as const) {
          const mostMs = Math.max(limitMs, beside === undefined ? 0 : p99(beside) * besideNobody)
          t.ok(samples.length > 0 && p99(samples) < mostMs, `${what} takes ${p99(samples).toFixed(0)} ms at p99, at most ${mostMs.toFixed(0)}`)
        }
      }
      const peak = await statusMb(host, servicePid, 'VmHWM')
      t.ok(peak - before < limits.grownMb, `memory: ${before.toFixed(0)} MB before, ${peak.toFixed(0)} MB at most`)
      const ended = performance.now()
      const calm = await eventually('the admin is answered as before', isFull ? 180_000 : 30_000, async () => {
        const asked = await askAsAdmin(host, program, 2)
        return asked.getter.length > 10 && asked.getterWaiting + asked.changeWaiting === 0 ? asked : null
      })
      const recoveredSec = (performance.now() - ended) / 1000
      const after = await statusMb(host, servicePid, 'VmRSS')
      t.comment(`${recoveredSec.toFixed(0)} s later: getter p50 ${quantileMs(calm.getter, 0.5).toFixed(1)} ms, change p50 ${quantileMs(calm.change, 0.5).toFixed(1)} ms, ${after.toFixed(0)} MB`)
      t.strictSame([calm.getterFailed, calm.changeFailed], [0, 0], 'and nothing fails')
      t.ok(after - before < limits.leftMb, `${after.toFixed(0)} MB are left`)
      t.equal(await daemonState(host), 'RUNNING')
      t.equal(await daemon.stop(), 0, 'the daemon ends with status 0')
      t.notMatch(daemon.running.output(), /failed by a bug|handling a message from the bus failed/, 'no bug')
    })
  }
})
