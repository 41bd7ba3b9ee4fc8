// TEST_TIMEOUT_SEC=240
// What survives what, line by line: a crash, kill -9, a hang, restart, stop, a reboot, a clock that jumps, time passing with the
// daemon dead, a full disk. Judged by packets; what a boot restores without the daemon is tested elsewhere (test/boot).
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import t from 'tap'
import { createPrivateHost, eventually, whyNoPrivateHost, type PrivateHost } from '../support/private-host.ts'
import { startDaemon, writeConfiguration, type HostDaemon } from '../support/daemon.ts'

const why = whyNoPrivateHost()
const files = { 'zones/public.yaml': 'services: [ssh]\nports: [80/tcp]\n', 'derpanet.yaml': 'default-zone: public\n' }

async function opens(host: PrivateHost, ...ports: readonly number[]): Promise<string> {
  const results = await (await host.outside.agent()).probe(ports.map((port) => ({ kind: 'tcp', host: '192.0.2.1', port, timeoutMs: 250 } as const)))
  return ports.filter((_, index) => results[index]?.startsWith('open')).join(' ')
}

const all = [22, 80, 81, 82, 83, 443] as const

async function startHost(name: string): Promise<{ host: PrivateHost; daemon: HostDaemon }> {
  const host = await createPrivateHost({ name, boundSec: 230 })
  await (await host.firewall.agent()).serve(all.map((port) => `tcp:${port}`))
  await writeConfiguration(host, files)
  return { host, daemon: await startDaemon(host) }
}

/** As after a reboot: /run and the kernel are empty, the boot has another id, the disk is what it was. */
async function reboot(host: PrivateHost): Promise<void> {
  await host.firewall.ok(['bash', '-c', 'for i in iptables ip6tables; do for t in raw mangle filter security; do $i -t $t -F; $i -t $t -X; done; done; for n in 1 2 3 4 5 6; do ipset destroy && break; sleep 0.1; done; rm -rf /run/derpanet/bpf/v* /run/derpanet/bpf/links /run/derpanet/*.json*'])
}

t.test('what survives what', { skip: why ?? false, timeout: 220_000 }, async (t) => {
  const { host, daemon: first } = await startHost('survival')
  t.teardown(() => host.stop())
  let daemon = first
  const start = async (): Promise<void> => { daemon = await startDaemon(host) }

  await t.test('kill -9: filtering stays, the next start brings runtime changes back, and adopts what is there', async (t) => {
    await daemon.firewallCmd('--add-port=81/tcp')
    const programs = async (): Promise<string> => (await host.firewall.ok(['ip', '-details', 'link', 'show', 'ext0'])).match(/prog\/xdp id \d+/)?.[0] ?? ''
    const rules = async (): Promise<string> => (await host.firewall.ok(['nft', '-a', 'list', 'ruleset'])).replace(/packets \d+ bytes \d+/g, '')
    // what a single change left to do is done a second later; before that a set would be loaded anew, which is safe but no adoption
    await new Promise((resolve) => setTimeout(resolve, 2000))
    const before = [await programs(), await rules(), await host.firewall.ok(['ipset', 'list', '-n'])]
    await daemon.running.stop('SIGKILL')
    t.equal(await opens(host, ...all), '22 80 81')
    await start()
    t.equal(await opens(host, ...all), '22 80 81')
    t.strictSame([await programs(), await rules(), await host.firewall.ok(['ipset', 'list', '-n'])], before, 'the same program, the same rules with the same handles, the same sets')
  })

  await t.test('a hang: filtering stays, and a daemon that is killed for it comes back the same', async (t) => {
    await daemon.running.signal('SIGSTOP')
    t.equal(await opens(host, ...all), '22 80 81')
    await daemon.running.stop('SIGKILL')
    await start()
    t.equal(await opens(host, ...all), '22 80 81')
  })

  await t.test('restart: the permanent configuration alone', async (t) => {
    await daemon.stop()
    t.equal(await opens(host, ...all), '22 80 81', 'a stop changes nothing in the kernel')
    await start()
    t.equal(await opens(host, ...all), '22 80')
  })

  await t.test('timed openings end in the kernel at their time, with the daemon dead', async (t) => {
    await writeConfiguration(host, { 'services/web.yaml': 'ports: [443/tcp]\n' })
    await daemon.ctl('reload')
    t.equal((await daemon.firewallCmd('--add-port=81/tcp', '--timeout=4')).status, 0)
    t.equal((await daemon.firewallCmd('--add-service=web', '--timeout=4')).status, 0)
    t.equal((await daemon.firewallCmd('--add-rich-rule=rule family=ipv4 source address=192.0.2.0/24 port port=82 protocol=tcp accept', '--timeout=60')).status, 0)
    await daemon.firewallCmd('--add-port=83/tcp')
    t.equal(await opens(host, ...all), '22 80 81 82 83 443')
    await daemon.running.stop('SIGKILL')
    await eventually('they are closed', 6000, async () => (await opens(host, ...all)) === '22 80 82 83')
    t.pass('those of 4 s, and only those')
    await start()
    t.equal(await opens(host, ...all), '22 80 82 83', 'the next daemon knows what is over and what is not')
    t.match((await daemon.firewallCmd('--list-all')).stdout, /ports: 80\/tcp 83\/tcp/)
    t.equal((await host.firewall.ok(['ipset', 'list', '-n'])).split('\n').filter((name) => name.includes('until')).length, 1, 'sets of what is over are gone')
  })

  await t.test('a stop closes timed openings, because nobody is left to do it', async (t) => {
    await daemon.stop()
    t.equal(await opens(host, ...all), '22 80 83')
    await start()
    t.equal(await opens(host, ...all), '22 80')
  })

  await t.test('a clock that jumps neither ends nor prolongs anything', async (t) => {
    // libfaketime is not everywhere; the daemon's times are of the monotonic clock, and what it writes down is too
    await daemon.firewallCmd('--add-port=81/tcp', '--timeout=3600')
    const journal = (await readFile(host.path('/run/derpanet/runtime.jsonl'), 'utf8')).trim().split('\n').map((line) => JSON.parse(line) as { atMs?: number })
    const uptimeMs = Number((await readFile('/proc/uptime', 'utf8')).split(' ')[0]) * 1000
    t.ok(Math.abs(journal.at(-1)!.atMs! - uptimeMs) < 60_000, 'time since boot, not of the day')
    await daemon.running.stop('SIGKILL')
    await start()
    t.equal(await opens(host, 81), '81')
    t.equal((await daemon.firewallCmd('--remove-port=81/tcp')).status, 0)
  })

  await t.test('a reboot: the permanent configuration alone, nothing of runtime, panic neither', async (t) => {
    await daemon.firewallCmd('--add-port=81/tcp')
    await daemon.firewallCmd('--panic-on')
    await daemon.running.stop('SIGKILL')
    await reboot(host)
    await start()
    t.equal(await opens(host, ...all), '22 80')
    t.equal((await daemon.firewallCmd('--query-panic')).stdout.trim(), 'no')
  })

  await t.test('panic survives a crash', async (t) => {
    await daemon.firewallCmd('--panic-on')
    await daemon.running.stop('SIGKILL')
    t.equal(await opens(host, ...all), '')
    await start()
    t.equal(await opens(host, ...all), '')
    await daemon.firewallCmd('--panic-off')
    t.equal(await opens(host, ...all), '22 80')
  })

  await t.test('a full disk: it filters, takes changes, and says so', async (t) => {
    await daemon.stop()
    // the state folder alone is full: a file system of its own without room
    await mkdir(host.path('/var/lib/derpanet'), { recursive: true })
    await host.firewall.ok(['mount', '-t', 'tmpfs', '-o', 'size=4m,mode=700', 'tmpfs', '/var/lib/derpanet'])
    await writeFile(host.path('/var/lib/derpanet/ballast'), Buffer.alloc(4 * 1024 * 1024)).catch(() => {})
    await start()
    t.equal(await opens(host, ...all), '22 80')
    t.equal((await daemon.firewallCmd('--add-port=81/tcp')).status, 0)
    t.equal(await opens(host, ...all), '22 80 81')
    await writeConfiguration(host, { 'zones/public.yaml': 'services: [ssh]\nports: [82/tcp]\n' })
    t.equal((await daemon.ctl('reload')).status, 0)
    t.equal(await opens(host, ...all), '22 82')
    t.match((await daemon.ctl('status')).stdout, /warning +.*cannot be (stored|written).*ENOSPC|warning +.*ENOSPC/, 'status says so')
    const refused = await daemon.ctl('apply', '--confirm', '2')
    t.equal(refused.status, 38, 'what cannot be taken back safely is not begun')
    await daemon.running.stop('SIGKILL')
    await start()
    t.equal(await opens(host, ...all), '22 82', 'and after a crash too')
    await rm(host.path('/var/lib/derpanet/ballast'))
    await writeConfiguration(host, { 'zones/public.yaml': 'services: [ssh]\nports: [83/tcp]\n' })
    t.equal((await daemon.ctl('reload')).status, 0)
    await eventually('the warning goes with the trouble', 5000, async () => !/ENOSPC/.test((await daemon.ctl('status')).stdout))
    t.ok(JSON.parse((await daemon.ctl('log', '--json')).stdout).length > 0)
  })
})
