// The real derpanetd in a private host, with a real kernel: what it does when files break, when it is killed, stopped,
// started twice and purged. Rules are judged by connections, not by listings.
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { createPrivateHost, eventually, repository, whyNoPrivateHost, type PrivateHost } from '../support/private-host.ts'
import { daemonCommands, startDaemon, writeConfiguration, type HostDaemon } from '../support/daemon.ts'

const why = whyNoPrivateHost()
const publicZone = 'services: [ssh]\nports: [80/tcp]\n'
const broken = 'services: [ssh]\nports: [80/tcp, 99999/tcp]\nservises: [http]\n'
const file = '/etc/derpanet/zones/public.yaml'

async function connects(host: PrivateHost, port: number): Promise<boolean> {
  const tried = await host.outside.run(['timeout', '2', 'bash', '-c', `exec 3<>/dev/tcp/192.0.2.1/${port}`])
  return tried.status === 0
}

async function statusOf(daemon: HostDaemon): Promise<{ readonly state: string; readonly source: string; readonly generation: number; readonly problem: { readonly diagnostics: readonly string[] } | null; readonly pending: { readonly changed: boolean } }> {
  return JSON.parse((await daemon.ctl('status', '--json')).stdout) as Awaited<ReturnType<typeof statusOf>>
}

t.test('derpanetd keeps filtering through broken files, crashes and stops', { skip: why ?? false, timeout: 240_000 }, async (t) => {
  const host = await createPrivateHost({ name: 'daemon', boundSec: 300 })
  t.teardown(() => host.stop())
  await (await host.firewall.agent()).serve(['tcp:80', 'tcp:81', 'tcp:82'])
  await writeConfiguration(host, { 'zones/public.yaml': publicZone })
  let daemon = await startDaemon(host)

  await t.test('a mistake while running is shown as pending at once and changes nothing', async (t) => {
    t.equal(await connects(host, 80), true)
    t.equal(await connects(host, 81), false)
    await writeConfiguration(host, { 'zones/public.yaml': broken })
    await eventually('the change is seen', 5000, async () => (await statusOf(daemon)).pending.changed)
    const shown = await daemon.ctl('status')
    t.match(shown.stdout, new RegExp(`changed files have mistakes[^]*${file}:2:\\d+: INVALID_PORT[^]*${file}:3:1: `), 'both mistakes, each at its place')
    t.match(daemon.running.output(), /changed files have mistakes/, 'and in the log')
    t.equal(await connects(host, 80), true)
  })

  await t.test('a reload of it is refused with file, line and column, and the old rules stay', async (t) => {
    const reload = await daemon.firewallCmd('--reload')
    t.equal(reload.status, 102, 'INVALID_PORT is exit status 102')
    t.match(reload.stderr, new RegExp(`${file}:2:\\d+ \\(and 1 more mistake`))
    const own = await daemon.ctl('reload')
    t.equal(own.status, 102)
    t.match(own.stderr, /INVALID_PORT: .*public\.yaml:2:/)
    t.equal((await daemon.firewallCmd('--state')).stdout.trim(), 'running')
    t.equal(await connects(host, 80), true)
    t.equal((await daemon.firewallCmd('--add-port=81/tcp')).status, 0, 'runtime changes go on')
    t.equal(await connects(host, 81), true)
  })

  await t.test('killed: filtering stays, and the next daemon brings runtime changes back', async (t) => {
    await writeConfiguration(host, { 'zones/public.yaml': publicZone })
    await daemon.firewallCmd('--add-port=82/tcp', '--timeout=2')
    await daemon.running.stop('SIGKILL')
    t.equal(await connects(host, 81), true, 'nobody runs, the rules are there')
    t.equal((await host.outside.run(['timeout', '2', 'bash', '-c', 'exec 3<>/dev/tcp/192.0.2.1/22'])).status === 124, false, 'port 22 answers or refuses, it is not dropped')
    daemon = await startDaemon(host)
    t.equal(await connects(host, 81), true)
    await eventually('the timed port closes', 5000, async () => !(await connects(host, 82)))
    t.equal((await daemon.firewallCmd('--query-port=81/tcp')).status, 0)
  })

  await t.test('a second daemon in the same network namespace is refused', async (t) => {
    const second = await host.firewall.run([...daemonCommands.derpanetd, '--no-bus', '--run-dir', '/run/other', '--state-dir', '/run/other-state'])
    t.equal(second.status, 3)
    t.match(second.stderr, /another derpanetd runs/)
  })

  await t.test('a configuration folder that is gone is said aloud, in the log and in status', async (t) => {
    await host.firewall.ok(['mv', '/etc/derpanet', '/etc/derpanet.away'])
    t.equal((await daemon.ctl('reload')).status, 0)
    const text = '/etc/derpanet is missing: what is shipped is in force, and nothing of your own'
    await eventually('status says so', 5000, async () => (await daemon.ctl('status')).stdout.includes(`warning       ${text}`))
    t.match(daemon.running.output(), text)
    t.equal(await connects(host, 80), false, 'and it is so')
    await host.firewall.ok(['mv', '/etc/derpanet.away', '/etc/derpanet'])
    t.equal((await daemon.ctl('reload')).status, 0)
    await eventually('nothing more to say', 5000, async () => !(await daemon.ctl('status')).stdout.includes('is missing'))
    t.equal(await connects(host, 80), true)
  })

  await t.test('SIGHUP reloads', async (t) => {
    await writeConfiguration(host, { 'zones/public.yaml': 'services: [ssh]\nports: [82/tcp]\n' })
    await host.firewall.run(['bash', '-c', `kill -HUP $(pgrep -f dist/derpanetd.js | head -1)`])
    await eventually('port 82 opens', 5000, () => connects(host, 82))
    t.equal(await connects(host, 80), false)
    t.equal(await connects(host, 81), false, 'the runtime port is gone')
  })

  await t.test('SIGTERM ends it with 0 and leaves filtering in place', async (t) => {
    t.equal(await daemon.stop(), 0)
    t.equal(await connects(host, 82), true)
    t.equal(await connects(host, 80), false)
  })

  await t.test('broken files at start: the last known good is enforced, state FAILED, all mistakes named', async (t) => {
    await writeConfiguration(host, { 'zones/public.yaml': broken })
    daemon = await startDaemon(host, { state: 'FAILED' })
    const status = await statusOf(daemon)
    t.match(status, { state: 'FAILED', source: 'last-known-good' })
    t.equal(status.problem?.diagnostics.length, 2)
    t.equal(await connects(host, 82), true, 'port 82 was good')
    t.equal(await connects(host, 80), false)
    t.equal((await daemon.ctl('status')).status, 251)
    t.equal((await daemon.firewallCmd('--state')).status, 251)
    t.equal((await daemon.firewallCmd('--permanent', '--add-port=81/tcp')).status, 251, 'RUNNING_BUT_FAILED')
    await writeConfiguration(host, { 'zones/public.yaml': publicZone })
    t.equal((await daemon.ctl('reload')).status, 0)
    t.equal((await statusOf(daemon)).state, 'RUNNING')
    t.equal(await connects(host, 80), true)
    await daemon.stop()
  })

  await t.test('broken files at the very first start: the shipped public zone, and never an open host', async (t) => {
    for (const folder of ['/var/lib/derpanet', '/run/derpanet/runtime.jsonl']) await rm(host.path(folder), { recursive: true, force: true })
    await writeConfiguration(host, { 'zones/public.yaml': broken })
    daemon = await startDaemon(host, { state: 'FAILED' })
    t.match(await statusOf(daemon), { source: 'builtin' })
    t.equal(await connects(host, 80), false)
    t.match((await daemon.firewallCmd('--list-services')).stdout, /ssh/)
    await daemon.stop()
  })

  await t.test('--purge removes everything of ours', async (t) => {
    const purge = await host.firewall.run([...daemonCommands.derpanetd, '--purge'])
    t.equal(purge.status, 0, purge.stderr)
    const left = `${await host.firewall.ok(['iptables-save'])}${await host.firewall.ok(['ip6tables-save'])}${await host.firewall.ok(['ipset', 'list', '-n'])}${await host.firewall.ok(['ip', 'link'])}`
    t.notMatch(left, /DERPA_|derpa-|xdp/)
    t.equal(await connects(host, 81), true, 'the host is open again')
  })

  await t.test('without a daemon derpanetctl says so, with exit status 252', async (t) => {
    for (const verb of ['status', 'zones', 'counters', 'reload']) {
      const ran = await host.firewall.run([process.execPath, join(repository, 'dist/derpanetctl.js'), verb])
      t.equal(ran.status, 252, verb)
      t.equal(ran.stderr.trim(), 'derpanetctl: derpanetd is not running: systemctl start derpanetd')
    }
  })
})

t.test('a stranger who takes the name of the lock keeps nobody from starting, and a second daemon is refused all the same', { skip: why ?? false, timeout: 120_000 }, async (t) => {
  const host = await createPrivateHost({ name: 'lock', boundSec: 200 })
  t.teardown(() => host.stop())
  // both names that versions of Node make of it
  const squat = "import os, socket, time; os.setuid(65534); held = [socket.socket(socket.AF_UNIX) for _ in range(2)]; "
    + "[(s.bind(b'\\0derpanetd'.ljust(size, b'\\0')), s.listen(1)) for s, size in zip(held, (10, 108))]; print('ready', flush=True); time.sleep(600)"
  const stranger = host.firewall.start(['python3', '-c', squat])
  await eventually('the stranger is there', 5000, () => stranger.output().includes('ready'))
  const daemon = await startDaemon(host)
  t.match(daemon.running.output(), /a stranger holds the name by which a second derpanetd is noticed/)
  t.match(daemon.running.output(), /65534/)
  const second = (...more: readonly string[]): Promise<{ readonly status: number; readonly stderr: string }> => host.firewall.run([...daemonCommands.derpanetd, '--no-bus', ...more])
  t.match(await second(), { status: 3, stderr: /another derpanetd runs/ })
  await stranger.stop('SIGKILL')
  t.match(await second(), { status: 3, stderr: /another derpanetd runs/ }, 'also once the stranger is gone and the name is free')
  await daemon.running.stop('SIGKILL')
  const next = await startDaemon(host, { args: ['--xdp', 'auto'] })
  await eventually('XDP is where it costs accepted traffic nothing', 5000, async () =>
    /xdp +off\n(.*\n)* +ext0: off: auto: native XDP on a veth slows accepted traffic down/.test((await next.ctl('status')).stdout))
  t.match((await next.ctl('status', '--json')).stdout, /off: auto: native XDP on a veth/)
  t.match(await second(), { status: 3, stderr: /another derpanetd runs/ }, 'what a killed one left is in nobody\'s way')
  t.equal(await next.stop(), 0)

  // ours by another user of ours: root's purge beside the service
  const service = host.firewall.start(['python3', '-c', squat.replace('65534', '0')])
  await eventually('it is there', 5000, () => service.output().includes('ready'))
  t.match(await second(), { status: 3, stderr: /another derpanetd runs/ }, 'root is no stranger')
})
