// A host that does not play along: no IPv6, a full disk below the state. Filtering goes on with what there is.
// TEST_TIMEOUT_SEC=120
import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, rmdirSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { compile } from '../../../src/compile/compile.ts'
import { createExec } from '../../../src/kernel/exec.ts'
import { createNetfilter } from '../../../src/kernel/netfilter/netfilter.ts'
import { firewallOf, type ConfigurationWords } from '../../support/configuration.ts'
import { createNetfilterHost, variants } from '../../support/netfilter-host.ts'
import { openSocketIn } from '../../support/netlink.ts'
import { addresses, whyNoPrivateHost } from '../../support/private-host.ts'

const skip = whyNoPrivateHost() ?? false
const { ext4 } = addresses.firewall
const base: ConfigurationWords = { zones: { public: { ports: ['22/tcp'], interfaces: ['ext0'] } } }
const more: ConfigurationWords = { zones: { public: { ports: ['22/tcp', '23/tcp'], interfaces: ['ext0'] } } }
const other: ConfigurationWords = { zones: { public: { ports: ['22/tcp'], interfaces: ['ext0'], target: 'DROP' } } }

t.test('on a kernel without IPv6 the rules of IPv4 are in force, and status says so', { skip }, async (t) => {
  const one = await createNetfilterHost('noipv6', 'nft', t.testdir())
  t.teardown(() => one.stop())
  await (await one.host.firewall.agent()).serve(['tcp:22', 'tcp:23'])
  const direct = createExec({ wrap: one.host.firewall.prefix })
  const asked: string[] = []
  const make = (hasIpv6: boolean) => createNetfilter({
    stateDir: join(t.testdirName, 'other'), variant: 'nft', hasIpv6: () => hasIpv6, log: () => undefined,
    openSocket: () => openSocketIn(one.host.firewall.namespace),
    exec: async (request) => {
      if (!request.command.startsWith('ip6tables')) return direct(request)
      asked.push(request.command)
      return { exitCode: 3, stdout: '', stderr: "can't initialize ip6tables table: Address family not supported by protocol", elapsedMs: 0 }
    },
  })
  const plain = make(false)
  await plain.apply(compile(firewallOf(base)))
  t.match((await plain.status()).details, [{}, { subject: 'IPv6', text: /no/ }])
  t.match(await one.probe({ kind: 'tcp', host: ext4, port: 22 }, { kind: 'tcp', host: ext4, port: 23 }), [/^open/, /^reject/])
  await plain.apply(compile(firewallOf(more)), undefined, true)
  await plain.settle()
  t.match(await one.probe({ kind: 'tcp', host: ext4, port: 23 }), [/^open/])
  await plain.apply(compile(firewallOf(other)))
  t.match(await one.probe({ kind: 'tcp', host: ext4, port: 23 }), [/^timeout|^drop/])
  t.strictSame(asked, ['ip6tables-nft-save'], 'asked once')
  t.equal((await make(false).apply(compile(firewallOf(other)))).summary, 'nothing to do')
  await t.rejects(make(true).apply(compile(firewallOf(base))), /ip6tables-nft-save/, 'with IPv6 in the kernel a tool that fails is a failure')
  await plain.purge()
  t.strictSame(await one.sets(), [])
})

t.test('a failsafe port is reached over IPv6 in panic mode too when nobody knows his neighbour yet', { skip }, async (t) => {
  const one = await createNetfilterHost('nd', 'nft', t.testdir())
  t.teardown(() => one.stop())
  await (await one.host.firewall.agent()).serve(['tcp:22', 'tcp:23'])
  const forget = async (): Promise<void> => {
    for (const place of [one.host.firewall, one.host.outside]) await place.ok(['ip', '-6', 'neigh', 'flush', 'all'])
  }
  const knock = (port: number) => ({ kind: 'tcp', host: addresses.firewall.ext6, port, src: addresses.outside.second6, timeoutMs: 4000 } as const)
  await one.apply({ zones: { public: { interfaces: ['ext0'] } }, main: { failsafePorts: ['22/tcp'] }, panic: true })
  await forget()
  t.match(await one.probe(knock(22), knock(23)), [/^open/, /^drop/])
})

for (const variant of variants) {
  t.test(`${variant}: rules that somebody else flushed are missed, and come back`, { skip }, async (t) => {
    const one = await createNetfilterHost('flush', variant, t.testdir())
    t.teardown(() => one.stop())
    await (await one.host.firewall.agent()).serve(['tcp:22', 'tcp:23'])
    await one.apply(base)
    t.strictSame((await one.dataplane.drift?.())?.lines, [])
    await one.iptables('-A', 'INPUT', '-s', '203.0.113.9', '-j', 'DROP')
    t.strictSame((await one.dataplane.drift?.())?.lines, [], 'rules of others are their business')
    await one.host.firewall.ok([`iptables-${variant}`, '-t', 'mangle', '-F', 'INPUT'])
    t.match(await one.probe({ kind: 'tcp', host: ext4, port: 23 }), [/^open/])
    t.match((await one.dataplane.drift?.())?.lines, [/mangle: our jump in INPUT is gone/])
    await one.apply(base)
    t.match(await one.probe({ kind: 'tcp', host: ext4, port: 23 }), [/^reject/])
    t.strictSame((await one.dataplane.drift?.())?.lines, [])
  })
}

t.test('a full disk keeps nothing out of the kernel, and the next start trusts nothing it cannot know', { skip }, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'derpanet-full-'))
  t.equal(spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=16k', 'derpanet-test', folder]).status, 0)
  const one = await createNetfilterHost('full', 'nft', folder)
  t.teardown(async () => {
    await one.stop()
    spawnSync('umount', ['-l', folder])
    rmdirSync(folder)
  })
  await (await one.host.firewall.agent()).serve(['tcp:22', 'tcp:23'])
  await one.apply(base)
  t.equal(existsSync(join(folder, 'netfilter.json')), true)
  t.throws(() => writeFileSync(join(folder, 'ballast'), Buffer.alloc(64 * 1024)), /ENOSPC/)
  await one.change(more)
  await one.dataplane.settle()
  t.match(await one.probe({ kind: 'tcp', host: ext4, port: 23 }), [/^open/])
  await one.apply(other)
  t.match(await one.probe({ kind: 'tcp', host: ext4, port: 23 }), [/^timeout|^drop/])
  t.match((await one.dataplane.status()).details, [{}, {}, { subject: 'state file', text: /cannot be written/ }])
  t.equal(existsSync(join(folder, 'netfilter.json')), false, 'an old one would lie')
  await one.restarted().apply(compile(firewallOf(base)))
  t.match(await one.probe({ kind: 'tcp', host: ext4, port: 22 }, { kind: 'tcp', host: ext4, port: 23 }), [/^open/, /^reject/])
})
