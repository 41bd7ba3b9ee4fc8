// TEST_ALONE: it holds the host to milliseconds
// A machine's boot as far as derpanet sees it: the daemon has written down its good configuration, the kernel is empty, and
// derpanet-load restores, without the daemon, what the daemon then adopts. With the real daemon in a private host.
import { readFile, writeFile, readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { createPrivateHost, eventually, repository, whyNoPrivateHost, type PrivateHost } from '../support/private-host.ts'
import { startDaemon, writeConfiguration } from '../support/daemon.ts'

// TEST_TIMEOUT_SEC=540
const why = whyNoPrivateHost()
const loader = join(repository, 'dist/derpanet-load')
const bootFolder = '/var/lib/derpanet/boot'

async function connects(host: PrivateHost, port: number, from = '192.0.2.2'): Promise<boolean> {
  const tried = await host.outside.run(['python3', '-c', `import socket; socket.create_connection(('192.0.2.1', ${port}), 1, ('${from}', 0))`])
  return tried.status === 0
}

/** Rules and sets of everybody, without what counts. */
async function kernelState(host: PrivateHost): Promise<string> {
  const shown = await host.firewall.ok(['bash', '-c', `
    for save in iptables-save ip6tables-save; do $save | grep -v '^#' | sed 's/\\[[0-9]*:[0-9]*\\]//' ; done
    ipset save | sed 's/ packets [0-9]* bytes [0-9]*//; s/ initval [^ ]*//; s/ bucketsize [0-9]*//' | sort`])
  return shown
}

/** What a reboot does to our kernel objects: gone, pins and runtime files too. Other things stay. */
async function forgetEverything(host: PrivateHost): Promise<void> {
  await host.firewall.ok(['node', join(repository, 'dist/derpanetd.js'), '--purge'])
  await host.firewall.ok(['bash', '-c', 'rm -f /run/derpanet/*.json* /run/derpanet/*.jsonl'])
  t.equal((await host.firewall.ok(['bash', '-c', 'iptables-save; ip6tables-save; ipset list -n'])).includes('ERPA_'), false, 'nothing of ours is left')
}

/** The same in a hurry, for a host where all rules and sets are ours. */
async function wipe(host: PrivateHost): Promise<void> {
  await host.firewall.ok(['bash', '-c', `nft flush ruleset; ipset destroy; ${loader} unload --pin /run/derpanet/bpf; rm -f /run/derpanet/*.json*`])
}

async function restore(host: PrivateHost, prefix: readonly string[] = []): Promise<{ readonly status: number; readonly lines: readonly Readonly<Record<string, unknown>>[] }> {
  const { status, stdout } = await host.firewall.run([
    ...prefix, loader, 'restore', '--boot', bootFolder, '--fallback', join(repository, 'dist/lib/boot'), '--run', '/run/derpanet', '--pin', '/run/derpanet/bpf'])
  return { status, lines: stdout.split('\n').filter((line) => line !== '').map((line) => JSON.parse(line) as Record<string, unknown>) }
}

async function bootIsWritten(host: PrivateHost, contains: string): Promise<void> {
  await eventually(`the boot file says ${contains}`, 10_000, async () => (await readFile(host.path(join(bootFolder, 'boot')), 'utf8').catch(() => '')).includes(contains))
}

const timeOf = (lines: readonly Readonly<Record<string, unknown>>[], key: string): number => Number(lines.find((line) => line['restored'] === true)?.[key])

t.test('what the daemon wrote is restored without it and adopted by the next one', { skip: why ?? false, timeout: 300_000 }, async (t) => {
  const host = await createPrivateHost({ name: 'boot', boundSec: 330 })
  t.teardown(() => host.stop())
  await (await host.firewall.agent()).serve(['tcp:22', 'tcp:80', 'tcp:81'])
  await writeConfiguration(host, {
    'zones/public.yaml': 'services: [ssh]\nports: [80/tcp]\n',
    'lists/bad.list': '192.0.2.3\n2001:db8:bad::/48\n',
    'derpanet.yaml': 'block: [bad]\n',
  })
  let daemon = await startDaemon(host)
  await bootIsWritten(host, 'link ext0 native')
  const permanent = await kernelState(host)

  await t.test('runtime changes are not part of it', async (t) => {
    t.equal((await daemon.firewallCmd('--add-port=81/tcp')).status, 0)
    t.equal(await connects(host, 81), true)
    await new Promise((resolve) => setTimeout(resolve, 2500))
    await daemon.running.stop('SIGKILL')
    await forgetEverything(host)
    t.equal(await connects(host, 81), true, 'without rules all is open')
    const { status, lines } = await restore(host)
    t.equal(status, 0, JSON.stringify(lines))
    t.match(timeOf(lines, 'attached'), 2)
    t.equal(await connects(host, 80), true)
    t.equal(await connects(host, 81), false)
    t.equal(await connects(host, 80, '192.0.2.3'), false, 'blocked')
  })

  await t.test('the kernel holds to the byte what the daemon had enforced', async (t) => {
    t.equal(await kernelState(host), permanent)
  })

  await t.test('a second restore leaves alone what is in force', async (t) => {
    const { status, lines } = await restore(host)
    t.equal(status, 0)
    t.match(lines, [{ restored: false }])
    t.equal(await kernelState(host), permanent)
  })

  await t.test('the daemon adopts rules, sets and program', async (t) => {
    const links = async (): Promise<string> => host.firewall.ok(['bash', '-c', 'ip -d link show dev ext0 | grep -o "prog/xdp id [0-9]*"'])
    const program = await links()
    daemon = await startDaemon(host)
    t.match(daemon.running.output(), /netfilter: nothing to do/)
    t.match(daemon.running.output(), /"adopted":true/)
    t.equal(await links(), program, 'the same program')
    t.equal(await kernelState(host), permanent)
    t.equal(await connects(host, 80, '192.0.2.3'), false)
    t.equal(await daemon.stop(), 0)
  })

  await t.test('purged after a restored boot, the kernel is as before', async (t) => {
    await forgetEverything(host)
    const before = await host.firewall.ok(['nft', 'list', 'ruleset'])
    await restore(host)
    daemon = await startDaemon(host)
    await daemon.stop()
    await forgetEverything(host)
    t.equal(await host.firewall.ok(['nft', 'list', 'ruleset']), before)
  })

  await t.test('with a damaged boot file the one before it is restored, with both damaged the shipped one', async (t) => {
    daemon = await startDaemon(host)
    await writeConfiguration(host, { 'zones/public.yaml': 'services: [ssh]\nports: [81/tcp]\n' })
    t.equal((await daemon.firewallCmd('--reload')).status, 0)
    await bootIsWritten(host, ' 81\n')
    await daemon.stop()
    const path = host.path(join(bootFolder, 'boot'))
    const whole = await readFile(path, 'utf8')
    await writeFile(path, whole.replace(' 81\n', ' 80\n'))
    await forgetEverything(host)
    const first = await restore(host)
    t.equal(first.status, 0)
    t.match(first.lines[0], { error: /boot: damaged/ })
    t.match(first.lines.at(-1), { restored: true, from: /boot\.previous$/ })
    t.equal(await connects(host, 80), true, 'the configuration before')
    t.equal(await connects(host, 81), false)
    await writeFile(host.path(join(bootFolder, 'boot.previous')), whole.slice(0, -20))
    await forgetEverything(host)
    const second = await restore(host)
    t.match(second.lines.at(-1), { restored: true, from: /dist\/lib\/boot\/boot$/ })
    t.equal(await connects(host, 22), true)
    t.equal(await connects(host, 80), false)
    await writeFile(path, whole)
    await forgetEverything(host)
    t.match((await restore(host)).lines.at(-1), { from: /\/boot$/ })
    t.equal(await connects(host, 81), true)
  })

  await t.test('sets that a killed restore left behind do not matter', async (t) => {
    await forgetEverything(host)
    const create = (await readFile(host.path(join(bootFolder, 'boot')), 'utf8')).split('\n').find((line) => line.startsWith('create '))!
    await host.firewall.ok(['ipset', ...create.split(' ')])
    await host.firewall.ok(['ipset', 'add', create.split(' ')[1]!, '82'])
    const { status, lines } = await restore(host)
    t.equal(status, 0, JSON.stringify(lines))
    t.notMatch(await host.firewall.ok(['ipset', 'list', create.split(' ')[1]!]), /^82 /m)
  })

  await t.test('a daemon that cannot write leaves the older file and says so', async (t) => {
    await forgetEverything(host)
    daemon = await startDaemon(host, { args: ['--state-dir', '/var/lib/other'] })
    await eventually('written', 10_000, async () => (await stat(host.path('/var/lib/other/boot/boot')).catch(() => null)) !== null)
    await host.firewall.ok(['mount', '-t', 'tmpfs', '-o', 'size=4k', 'tiny', '/var/lib/other/boot'])
    await writeConfiguration(host, { 'zones/public.yaml': 'services: [ssh]\nports: [83/tcp]\n' })
    t.equal((await daemon.firewallCmd('--reload')).status, 0, 'the reload itself does not depend on it')
    await eventually('said', 10_000, async () => /boot file cannot be written/.test(daemon.running.output()))
    await host.firewall.ok(['umount', '/var/lib/other/boot'])
    t.notMatch(await readFile(host.path('/var/lib/other/boot/boot'), 'utf8'), / 83\n/)
    await daemon.stop()
    t.same((await readdir(host.path('/var/lib/other/boot'))).filter((name) => name.includes('tmp') || name.includes('next')), [])
  })
})

t.test('restoring 1,000 rules takes 100 ms, a list of 100,000 prefixes a second more', { skip: why ?? false, timeout: 240_000 }, async (t) => {
  const host = await createPrivateHost({ name: 'boot-time', boundSec: 250 })
  t.teardown(() => host.stop())
  const rules = Array.from({ length: 1000 }, (_, i) => `  - rule family="ipv4" source address="198.51.${100 + (i >> 8)}.${i & 255}" port port="${2000 + i}" protocol="tcp" accept\n`)
  await writeConfiguration(host, { 'zones/public.yaml': `services: [ssh]\nrich-rules:\n${rules.join('')}` })
  const daemon = await startDaemon(host)
  // real-time priority: what is measured is the restore, not what else this machine does
  const measure = async (): Promise<number> => {
    const times: number[] = []
    for (let round = 0; round < 5; round++) {
      await wipe(host)
      const { status, lines } = await restore(host, ['chrt', '-f', '30'])
      if (status !== 0) throw new Error(JSON.stringify(lines))
      times.push(timeOf(lines, 'elapsedMs'))
    }
    t.comment(times.map((time) => `${time} ms`).join(', '))
    return Math.min(...times)
  }
  await bootIsWritten(host, 'link ext0 native')
  await daemon.running.stop('SIGKILL')
  const small = await measure()
  const list = Array.from({ length: 100_000 }, (_, i) => `${11 + (i >> 16)}.${(i >> 8) & 255}.${i & 255}.${(i * 7) & 255}\n`)
  await writeConfiguration(host, { 'lists/big.list': list.join(''), 'derpanet.yaml': 'block: [big]\n' })
  const again = await startDaemon(host)
  await bootIsWritten(host, 'pages4 ')
  await again.running.stop('SIGKILL')
  const big = await measure()
  t.ok(small <= 100, `1,000 rules: ${small.toFixed(0)} ms, XDP attached`)
  t.ok(big - small <= 1000, `100,000 prefixes: ${(big - small).toFixed(0)} ms more`)
})
