// Nothing that is not ours changes by a byte: a desktop with Docker and libvirt, through applies, changes, restart and purge.
// TEST_TIMEOUT_SEC=180
import { readFileSync } from 'node:fs'
import t from 'tap'
import { compile } from '../../../src/compile/compile.ts'
import { createExec } from '../../../src/kernel/exec.ts'
import { createNetfilterHost, variants, type NetfilterHost } from '../../support/netfilter-host.ts'
import { firewallOf, type ConfigurationWords } from '../../support/configuration.ts'
import { repository, whyNoPrivateHost } from '../../support/private-host.ts'

const why = whyNoPrivateHost()
const fixture = (name: string): string => readFileSync(`${repository}/test/netns/fixtures/${name}`, 'utf8')

/** Every line that is not ours: tables that hold nothing foreign are left out. */
async function foreign(one: NetfilterHost): Promise<string> {
  const texts = await Promise.all(['iptables', 'ip6tables'].map((tool) => one.host.firewall.ok([`${tool}-${one.variant}-save`])))
  const lines = texts.join('\n').replace(/\[\d+:\d+\]/g, '').split('\n').filter((line) => !/^#|DERPA_/.test(line))
  return lines.join('\n').replace(/\*\w+\n(:\S+ ACCEPT \n)+COMMIT\n?/g, '')
}

const generations: readonly ConfigurationWords[] = [
  { zones: { public: { ports: ['22/tcp'], interfaces: ['ext0'] } } },
  { zones: { public: { ports: ['22/tcp', '80/tcp'], interfaces: ['ext0'] } } },
  { zones: { drop: { target: 'DROP', interfaces: ['ext0'] }, home: { sources: ['198.51.100.0/24'] } }, lists: { bad: ['203.0.113.0/24'] }, main: { block: ['bad'] } },
  { zones: { public: { richRules: ['rule family="ipv4" source address="203.0.113.0/24" reject'] } }, panic: true },
  { zones: { trusted: { target: 'ACCEPT', interfaces: ['docker0', 'virbr1', 'br-9f1c8a2b7d40'], forward: true }, public: { services: [], interfaces: ['ext0'] } } },
]

for (const variant of variants) {
  t.test(variant, { skip: why ?? false }, async (t) => {
    const one = await createNetfilterHost('foreign', variant, t.testdir())
    t.teardown(() => one.stop())
    await one.host.firewall.ok([`iptables-${variant}-restore`], { input: fixture('docker-libvirt-desktop.restore') })
    await one.ip6tables('-t', 'filter', '-A', 'FORWARD', '-i', 'docker0', '-m', 'comment', '--comment', 'a "quoted" -j DERPA_X', '-j', 'ACCEPT')
    await one.host.firewall.ok(['ipset', 'create', 'foreign', 'hash:net', 'comment'])
    await one.host.firewall.ok(['ipset', 'add', 'foreign', '192.0.2.0/24', 'comment', 'not ours'])

    // in a namespace without any address, where the listing's name look-ups end at once
    const { stdout } = await createExec({ wrap: ['unshare', '-n'] })({
      command: 'sh', args: ['-c', `iptables-${variant}-restore && iptables-${variant} -w 5 -L`], input: fixture('docker-libvirt-desktop.restore'),
    })
    t.equal(stdout.trimEnd(), fixture('docker-libvirt-desktop.iptables-L.txt').trimEnd(), 'the fixture is the recorded host')
    const before = { foreign: await foreign(one), tables: await one.tables(), set: await one.host.firewall.ok(['ipset', 'list', 'foreign']) }

    await one.apply(generations[0]!)
    t.equal(await foreign(one), before.foreign, 'after start')
    for (let round = 0; round < 20; round++) {
      await one.apply(generations[round % generations.length]!)
      if (round % 5 === 4) t.equal(await foreign(one), before.foreign, `after ${round + 1} changes`)
    }
    await one.restarted().apply(compile(firewallOf(generations[1]!)))
    t.equal(await foreign(one), before.foreign, 'after a restart')
    await one.restarted().purge()
    t.equal(await foreign(one), before.foreign, 'after purge')
    // the legacy kernel modules keep tables that were used once, empty
    if (variant === 'nft') t.equal(await one.tables(), before.tables, 'the whole of nf_tables, too')
    t.equal(await one.host.firewall.ok(['ipset', 'list', 'foreign']), before.set, 'a foreign set')
    t.same(await one.sets(), ['foreign'])
  })

  t.test(`${variant}: what somebody moved into a chain that we made stays at purge`, { skip: why ?? false }, async (t) => {
    const one = await createNetfilterHost('moved-in', variant, t.testdir())
    t.teardown(() => one.stop())
    await one.apply(generations[0]!)
    await one.iptables('-t', 'mangle', '-A', 'INPUT', '-s', '203.0.113.9', '-j', 'DROP')
    await one.dataplane.purge()
    t.equal(await one.iptables('-t', 'mangle', '-S', 'INPUT'), '-P INPUT ACCEPT\n-A INPUT -s 203.0.113.9/32 -j DROP')
  })

  t.test(`${variant}: nothing of nat is left after purge, and the default configuration never touches it`, { skip: why ?? false }, async (t) => {
    const one = await createNetfilterHost('nat', variant, t.testdir())
    t.teardown(() => one.stop())
    await one.apply({ zones: { public: { interfaces: ['ext0'], masquerade: true, forwardPorts: [{ port: '80', protocol: 'tcp', toPort: '8080', toAddr: '' }] } } })
    t.match(await one.tables(), /DERPA_NAT_IN[^]*DERPA_NAT_OUT/)
    await one.apply(generations[0]!)
    t.notMatch(await one.tables(), /DERPA_(NAT|DN|SN)/)
    await one.dataplane.purge()
    t.notMatch(await one.tables(), /DERPA/)
    t.same((await one.sets()).filter((name) => name.startsWith('derpa')), [])
  })

  t.test(`${variant}: 20,000 foreign rules stay as they are and do not stop us`, { skip: why ?? false }, async (t) => {
    const one = await createNetfilterHost('kube', variant, t.testdir())
    t.teardown(() => one.stop())
    const chains = Array.from({ length: 5000 }, (_, i) => `KUBE-SVC-${i.toString(36).toUpperCase().padStart(16, '0')}`)
    await one.host.firewall.ok([`iptables-${variant}-restore`, '--noflush'], { input: [
      '*nat', ...chains.map((chain) => `:${chain} - [0:0]`),
      ...chains.flatMap((chain, i) => [
        `-A PREROUTING -d 10.${i >> 8}.${i & 255}.1/32 -p tcp -m tcp --dport 80 -j ${chain}`,
        `-A ${chain} -m statistic --mode random --probability 0.5 -j RETURN`,
        `-A ${chain} -p tcp -m comment --comment svc-${i} -j MARK --set-xmark 0x4000/0x4000`,
        `-A ${chain} -p tcp -j DNAT --to-destination 10.244.${i >> 8}.${i & 255}:8080`,
      ]),
      'COMMIT', '',
    ].join('\n') })
    const before = await foreign(one)
    const first = await one.apply(generations[0]!)
    const change = await one.apply(generations[2]!)
    const port = await one.change({ ...generations[2]!, zones: { ...generations[2]!.zones, home: { sources: ['198.51.100.0/24'], ports: ['1/tcp'] } } })
    t.comment(`first ${first.elapsedMs.toFixed(0)} ms, another configuration ${change.elapsedMs.toFixed(0)} ms, one port ${port.elapsedMs.toFixed(1)} ms`)
    t.equal(await foreign(one), before)
    await one.dataplane.purge()
    t.equal(await foreign(one), before)
    t.ok(port.elapsedMs < 200, 'one port never waits for them')
  })
}
