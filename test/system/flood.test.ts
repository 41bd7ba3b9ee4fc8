// TEST_TIMEOUT_SEC=240
// TEST_ALONE: it takes what the machine has
// A hundred callers who never pause, on the daemon as it is built and a system bus as Debian configures it: getters, ports opened
// and closed, tools run, megabytes of arguments, callers who want no answer or never read theirs, and a user who may nothing.
// Meanwhile an admin asks and changes. 6 s of it: nothing fails, memory is bounded, all recovers. With DERPANET_TEST_FULL 20 s, and
// how long the admin waits is judged as well: that takes a machine that does nothing else. Where a getter takes more than a
// millisecond with no flood at all, the limits grow by as much as it takes more.
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { daemonState, installConfiguration, startDaemon } from '../support/daemon.ts'
import { createPrivateHost, repository, whyNoPrivateHost } from '../support/private-host.ts'

const isFull = process.env['DERPANET_TEST_FULL'] !== undefined
const seconds = isFull ? 20 : 6
const limits = { getterMs: 100, changeMs: 500, calmMs: 100, grownMb: 250, leftMb: 150 } as const
/** What a getter takes on a machine that has time for it is less. */
const usualMs = 1
/** Who wants no answer, and who reads none, sends as fast as the bus takes it: one of each, when another test runs beside this one. */
const [mute, deaf] = isFull ? [6, 5] : [1, 1]
const asRoot = ['getter:30', 'port:10', 'look:8', 'rule:2', 'big:8', 'introspect:8', `mute:${mute}`, `deaf:${deaf}`, 'permanent:3', 'reload:1', 'unknown:4', 'names:5']
const asNobody = ['getter:6', 'port:2', 'look:2']

interface Admin {
  /** Microseconds. */
  readonly getter: readonly number[]
  readonly change: readonly number[]
  readonly getterFailed: number
  readonly changeFailed: number
}

function quantileMs(samples: readonly number[], share: number): number {
  const sorted = [...samples].sort((a, b) => a - b)
  return (sorted[Math.ceil(sorted.length * share) - 1] ?? Infinity) / 1000
}
const p99Ms = (samples: readonly number[]): number => quantileMs(samples, 0.99)

t.test('an admin is answered while a hundred callers flood the daemon', { skip: whyNoPrivateHost() ?? false }, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'derpanet-flood-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const program = join(folder, 'flood')
  execFileSync('chmod', ['755', folder])
  execFileSync('gcc', ['-O2', '-o', program, join(repository, 'test/support/flood.c'), '-lsystemd'])
  const host = await createPrivateHost({ name: 'flood' })
  t.teardown(() => host.stop())
  await installConfiguration(host)
  const daemon = await startDaemon(host)

  const children = await readFile(`/proc/${daemon.running.child.pid}/task/${daemon.running.child.pid}/children`, 'utf8')
  const pid = children.trim().split(' ')[0]
  const status = async (key: 'VmRSS' | 'VmHWM'): Promise<number> => Number(new RegExp(`^${key}:\\s+(\\d+) kB`, 'm').exec(await readFile(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024
  const ask = async (forSeconds: number): Promise<Admin> =>
    JSON.parse(await host.firewall.ok([program, String(forSeconds), 'admin'], { timeoutMs: (forSeconds + 90) * 1000 })) as Admin

  const busy = Math.max(1, quantileMs((await ask(2)).getter, 0.5) / usualMs)
  t.comment(`without a flood the machine is ${busy.toFixed(1)} times as slow as it should be`)
  const before = await status('VmRSS')
  const user = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups']
  const flooding = [[program, String(seconds), ...asRoot], [...user, program, String(seconds), ...asNobody]]
    .map((argv) => host.firewall.run(argv, { timeoutMs: (seconds + 120) * 1000 }))
  await new Promise((resolve) => setTimeout(resolve, 500))
  const admin = await ask(seconds - 1)
  for (const { status: ended, stdout, stderr } of await Promise.all(flooding)) {
    t.equal(ended, 0, 'the callers flood to the end', { stderr })
    const told = JSON.parse(stdout) as Readonly<Record<string, { readonly sent: number; readonly answered: number; readonly refused: number }>>
    t.comment(Object.entries(told).filter(([, { sent }]) => sent > 0).map(([kind, { sent, answered, refused }]) => `${kind} ${sent} sent, ${answered} answered, ${refused} refused`).join('; '))
  }
  const [getterMs, changeMs] = [p99Ms(admin.getter), p99Ms(admin.change)]
  t.comment(`admin: ${admin.getter.length} getters, p99 ${getterMs.toFixed(1)} ms; ${admin.change.length} changes, p99 ${changeMs.toFixed(1)} ms, slowest ${(Math.max(...admin.change) / 1000).toFixed(1)} ms`)
  if (isFull) t.ok(getterMs < limits.getterMs * busy, `a getter takes ${getterMs.toFixed(1)} ms at p99`)
  if (isFull) t.ok(changeMs < limits.changeMs * busy, `a port takes ${changeMs.toFixed(1)} ms at p99`)
  t.strictSame([admin.getterFailed, admin.changeFailed], [0, 0], 'none fails')

  const peak = await status('VmHWM')
  t.ok(peak - before < limits.grownMb, `memory: ${before.toFixed(0)} MB before, ${peak.toFixed(0)} MB at most`)
  await new Promise((resolve) => setTimeout(resolve, 2000 * Math.min(busy, 10)))
  const calm = await ask(3)
  const after = await status('VmRSS')
  t.comment(`afterwards: getter p99 ${p99Ms(calm.getter).toFixed(1)} ms, change p99 ${p99Ms(calm.change).toFixed(1)} ms, ${after.toFixed(0)} MB`)
  if (isFull) t.ok(p99Ms(calm.change) < limits.calmMs * busy, 'afterwards all is as fast as before')
  t.ok(calm.change.length > 0 && calm.getter.length > 0, 'afterwards the admin is answered')
  t.strictSame([calm.getterFailed, calm.changeFailed], [0, 0], 'and nothing fails')
  t.ok(after - before < limits.leftMb, `${after.toFixed(0)} MB are left`)
  t.equal(await daemonState(host), 'RUNNING')
  t.equal(await daemon.stop(), 0, 'the daemon ends with status 0')
  t.notMatch(daemon.running.output(), /failed by a bug|handling a message from the bus failed/, 'no bug')
})
