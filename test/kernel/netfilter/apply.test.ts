// How the dataplane gets from one plan to the next: least work, no mixture, counters that survive, and back to nothing.
// TEST_TIMEOUT_SEC=240
import t from 'tap'
import { compile } from '../../../src/compile/compile.ts'
import type { TimedEdit } from '../../../src/model/change.ts'
import { createNetfilterHost, variants, type NetfilterHost } from '../../support/netfilter-host.ts'
import { openSocketIn } from '../../support/netlink.ts'
import { firewallOf, type ConfigurationWords } from '../../support/configuration.ts'
import { addresses, whyNoPrivateHost } from '../../support/private-host.ts'

const { ext4, ext6 } = addresses.firewall
const why = whyNoPrivateHost()

const base: ConfigurationWords = { zones: { public: { ports: ['22/tcp', '6000-6010/udp'], interfaces: ['ext0'] }, home: { sources: ['203.0.113.0/24'] } } }
const withPorts = (...ports: readonly string[]): ConfigurationWords => ({ zones: { ...base.zones, public: { ports, interfaces: ['ext0'] } } })

function writes(one: NetfilterHost): readonly string[] {
  return one.ran.filter((command) => /-restore|set (create|add|del|destroy)|nft delete|-X/.test(command))
}

for (const variant of variants) {
  t.test(variant, { skip: why ?? false }, async (t) => {
    const one = await createNetfilterHost('apply', variant, t.testdir())
    t.teardown(() => one.stop())
    await (await one.host.firewall.agent()).serve(['tcp:22', 'tcp:23', 'udp:6000'])
    const untouched = await one.tables()

    t.test('the same plan again writes nothing, and neither does a restarted daemon', async (t) => {
      const report = await one.apply(base)
      t.match(report.summary, /sets: \d+ loaded/)
      one.ran.length = 0
      t.equal((await one.apply(base)).summary, 'nothing to do')
      t.equal((await one.restarted().apply(compile(firewallOf(base)))).summary, 'nothing to do')
      t.same(writes(one), [])
    })

    t.test('one more or one less port or source is an edit of a live set: one message to the kernel and nothing else', async (t) => {
      one.ran.length = 0
      await one.change(withPorts('22/tcp', '6000-6010/udp', '23/tcp'))
      t.same(one.ran, ['set add'])
      t.match(await one.probe({ kind: 'tcp', host: ext4, port: 23 }, { kind: 'tcp', host: ext6, port: 23 }), [/^open/, /^open/])
      one.ran.length = 0
      await one.change({ zones: { ...withPorts('22/tcp', '6000-6010/udp', '23/tcp').zones, home: { sources: ['203.0.113.0/24', '192.0.2.3'] } } })
      t.same(one.ran, ['set add'])
      t.match(await one.probe({ kind: 'tcp', host: ext4, port: 23, src: addresses.outside.second4 }), [/^reject/], 'that source is in home now')
      one.ran.length = 0
      await one.change(base)
      t.same(one.ran, ['set list', 'set del', 'set del'], 'and one look at the counters of the port that goes')
      t.match(await one.probe({ kind: 'tcp', host: ext4, port: 23 }), [/^reject/])
      one.ran.length = 0
      await one.dataplane.settle()
      t.same(one.ran, ['set list'], 'read back afterwards')
      await one.apply(base)
      t.same(writes(one), [], 'the kernel holds the plan')
      await one.dataplane.settle()
    })

    t.test('a range is split and merged without closing what stays open', async (t) => {
      for (const ports of [['6000-6003/udp', '6005-6010/udp'], ['6000-6010/udp'], ['6001-6020/udp'], ['6000/udp', '6002-6020/udp']]) {
        one.ran.length = 0
        await one.change(withPorts('22/tcp', ...ports))
        t.ok(writes(one).every((command) => /^set (add|del)$/.test(command)))
        const { stdout } = await one.host.firewall.run(['ipset', 'list'])
        const held = [...stdout.matchAll(/^(60\d\d) packets/gm)].map((match) => Number(match[1]))
        const wanted = ports.flatMap((text) => {
          const [first = 0, last = first] = text.replace('/udp', '').split('-').map(Number)
          return Array.from({ length: last - first + 1 }, (_, index) => first + index)
        })
        t.same(held, wanted, ports.join(' '))
      }
      await one.apply(base)
    })

    t.test('entries of a set with a timeout live in the kernel alone: they stay through reloads and restarts, and go by themselves', async (t) => {
      const guests: ConfigurationWords = {
        zones: { ...base.zones, home: { sources: ['ipset:guests'], target: 'DROP' } }, ipsets: { guests: { type: 'hash:ip', options: { timeout: '3' } } },
      }
      const edit = (words: Partial<TimedEdit>): Promise<void> => one.dataplane.editTimed!({ ipset: 'guests', flush: false, add: [], remove: [], ...words })
      const probe = (): Promise<readonly string[]> => one.probe({ kind: 'tcp', host: ext4, port: 22 })
      await one.apply(guests)
      t.match(await probe(), [/^open/])
      await edit({ add: [addresses.outside.v4] })
      t.match(await probe(), [/^drop/], 'it is in the zone home now')
      t.equal((await one.apply(guests)).summary, 'nothing to do')
      t.equal((await one.restarted().apply(compile(firewallOf(guests)))).summary, 'nothing to do')
      t.same((await one.dataplane.drift!()).lines, [])
      t.match(await probe(), [/^drop/])
      await edit({ remove: [addresses.outside.v4] })
      t.match(await probe(), [/^open/])
      await edit({ flush: true, add: [addresses.outside.v4, '192.0.2.77'] })
      await edit({ flush: true, add: [addresses.outside.v4] })
      t.equal((await one.host.firewall.ok(['ipset', 'save'])).match(/^add .* timeout [0-3]$/gm)?.length, 1)
      await new Promise((resolve) => setTimeout(resolve, 3100))
      t.match(await probe(), [/^open/], 'its time is over')
      await t.rejects(one.dataplane.editTimed!({ ipset: 'nosuch', flush: false, add: [], remove: [] }), { message: /ipset 'nosuch' is not in the kernel/ })
      await one.apply({ ...base, ipsets: guests.ipsets! })
      await edit({ add: ['192.0.2.78'] })
      t.match(await one.host.firewall.ok(['ipset', 'save']), /^add .* 192\.0\.2\.78 timeout/m, 'there although no rule asks for it')
      await one.apply(base)
    })

    t.test('an address that goes out of a set while a prefix around it comes in is in the set, and one that stays of a prefix that goes', async (t) => {
      const banned = (...entries: readonly string[]): ConfigurationWords => ({ zones: { ...base.zones, home: { sources: ['ipset:banned'], target: 'DROP' } }, ipsets: { banned: { type: 'hash:ip', entries } } })
      const { v4 } = addresses.outside
      const around = `${v4.slice(0, v4.lastIndexOf('.'))}.0/29`
      for (const entries of [[v4], [around], [v4], ['203.0.113.9']]) {
        await one.change(banned(...entries))
        t.match(await one.probe({ kind: 'tcp', host: ext4, port: 22 }), [entries.includes('203.0.113.9') ? /^open/ : /^drop/], entries.join(' '))
      }
      await one.apply(base)
    })

    t.test('rules count under their ids; removing, reloading and restarting lose nothing', async (t) => {
      const count = async (id: string, dataplane = one.dataplane): Promise<number> => Number((await dataplane.counters()).get(id)?.packets ?? 0n)
      const start = { ssh: await count('zone/public/ports=22/tcp'), udp: await count('zone/public/ports=6000-6010/udp'), target: await count('zone/public/target') }
      await one.probe({ kind: 'tcp', host: ext4, port: 22 }, { kind: 'tcp', host: ext6, port: 22 }, { kind: 'udp', host: ext4, port: 6000 }, { kind: 'tcp', host: ext4, port: 99 })
      const now = { ssh: start.ssh + 2, udp: start.udp + 1, target: start.target + 1 }
      const check = async (dataplane: typeof one.dataplane, message: string): Promise<void> => {
        t.same({ ssh: await count('zone/public/ports=22/tcp', dataplane), udp: await count('zone/public/ports=6000-6010/udp', dataplane), target: await count('zone/public/target', dataplane) }, now, message)
      }
      await check(one.dataplane, 'each probe is counted once, in both families')
      await one.apply(withPorts('22/tcp'))
      await check(one.dataplane, 'after the udp ports were closed')
      await one.apply({ zones: { ...base.zones, public: { ports: ['22/tcp', '6000-6010/udp'], protocols: ['gre'], target: 'DROP', interfaces: ['ext0'] } } })
      await check(one.dataplane, 'after the chain was replaced')
      await check(one.restarted(), 'after a restart')
      await one.apply(base)
      await check(one.dataplane, 'after all came back')
    })

    t.test('what somebody broke is mended by the next apply', async (t) => {
      const zoneChain = /DERPA_IN_public_\w+/.exec(await one.iptables('-t', 'mangle', '-S'))![0]
      const breaks: readonly (readonly [string, () => Promise<unknown>])[] = [
        ['our jump is deleted', () => one.both('-t', 'mangle', '-D', 'INPUT', '-j', 'DERPA_INPUT')],
        ['our chain is emptied', () => one.iptables('-t', 'mangle', '-F', zoneChain)],
        ['our chain has one rule more', () => one.iptables('-t', 'mangle', '-I', zoneChain, '-j', 'ACCEPT')],
        ['the whole table is flushed', () => one.both('-t', 'mangle', '-F')],
        ['the reject answer is gone', () => one.both('-t', 'filter', '-F', 'INPUT')],
        ['a set has one port more', async () => one.host.firewall.ok(['ipset', 'add', (await one.sets()).find((name) => name.startsWith('derpa-public-tcp-'))!, '23'])],
        ['our jump is there twice', () => one.iptables('-t', 'mangle', '-A', 'INPUT', '-j', 'DERPA_INPUT')],
      ]
      const good = await one.tables()
      for (const [what, harm] of breaks) {
        await harm()
        await one.apply(base)
        t.same(await one.probe({ kind: 'tcp', host: ext4, port: 23 }), ['reject icmp3/13'], what)
        t.match(await one.probe({ kind: 'tcp', host: ext4, port: 22 }), [/^open/])
      }
      t.equal((await one.tables()).split('\n').length, good.split('\n').length)
    })

    t.test('a commit that fails leaves the old rules in force, nothing new behind, and names tool, line and rule', async (t) => {
      const next: ConfigurationWords = { zones: { public: { ports: ['23/tcp'], target: 'DROP', interfaces: ['ext0'] }, other: { sources: ['192.0.2.77'] } } }
      // the kernel lists chains in the order of their making, which means nothing
      const held = async (): Promise<unknown> => ({ tables: (await one.tables()).split('\n').sort(), sets: await one.sets() })
      const before = await held()
      const breakInput = (command: RegExp, spoil: (text: string) => string) => {
        let done = false
        one.intercept = (request) => {
          if (done || !command.test(`${request.command} ${request.args.join(' ')}`) || typeof request.input !== 'string') return null
          done = true
          return { ...request, input: spoil(request.input) }
        }
      }
      for (const [command, family] of [[/^iptables.*restore/, 'ipv4'], [/^ip6tables.*restore/, 'ipv6']] as const) {
        breakInput(command, (text) => text.replace(/^-A DERPA_IN_public\S* .*$/m, '$& --no-such-option'))
        await t.rejects(one.apply(next), { message: /^commit netfilter: ip6?tables.*restore.*line \d+ is: -A DERPA_IN_public.*; the former ruleset is in force$/ }, family)
        one.intercept = null
        t.same(await held(), before, `${family}: as before`)
        t.match(await one.probe({ kind: 'tcp', host: ext4, port: 22 }, { kind: 'tcp', host: ext6, port: 22 }), [/^open/, /^open/])
      }
      one.spoil = 'add'
      await t.rejects(one.apply(next), { message: /load sets .*zone:other:sources4.*add to derpa-\S+: the set does not exist.*former ruleset is in force/ })
      t.same(await held(), before, 'sets: as before')
      await one.apply(next)
      t.match(await one.probe({ kind: 'tcp', host: ext4, port: 23 }, { kind: 'tcp', host: ext4, port: 22 }), [/^open/, 'drop'], 'and then it works')
    })

    t.test('a tool that hangs is killed and named', async (t) => {
      one.intercept = (request) => (/-restore$/.test(request.command) ? { command: 'sleep', args: ['60'], timeoutMs: 200 } : null)
      await t.rejects(one.apply(base), { message: /sleep 60: no end after 200 ms, killed/ })
      one.intercept = null
      await one.apply(base)
      t.match(await one.probe({ kind: 'tcp', host: ext4, port: 22 }), [/^open/])
    })

    t.test('a single change whose edit fails: the next apply puts everything right, and never trusts the set', async (t) => {
      const more = withPorts('22/tcp', '6000-6010/udp', '24/tcp')
      one.spoil = 'add'
      await t.rejects(one.change(more), { message: /^edit sets zone:public:tcp: add to derpa-\S+: the set does not exist$/ })
      await one.apply(base)
      t.match(await one.probe({ kind: 'tcp', host: ext4, port: 22 }, { kind: 'tcp', host: ext4, port: 24 }), [/^open/, /^reject/])
      await one.change(more)
      await one.dataplane.settle()
      await one.change(base)
    })

    t.test('a single change of rules reads and writes the tables that change, and is read back afterwards', async (t) => {
      const words = (target: 'DROP' | 'default'): ConfigurationWords => ({ zones: { ...base.zones, home: { sources: ['203.0.113.0/24'], target } } })
      one.ran.length = 0
      await one.change(words('DROP'))
      t.same(one.ran.filter((command) => !/^set/.test(command)).map((command) => command.replace(/-(nft|legacy)/, '')),
        ['iptables-save -c -t mangle', 'iptables-restore --noflush -w 30'], 'the sources of that zone are all IPv4')
      one.ran.length = 0
      await one.dataplane.settle()
      t.same(one.ran.map((command) => command.replace(/-(nft|legacy)/, '')).sort(), ['iptables-save -c -t mangle', 'set list'])
      await one.change(words('default'))
      await one.iptables('-t', 'mangle', '-F', 'DERPA_INPUT')
      await t.rejects(one.dataplane.settle(), { message: /the kernel does not hold what was written: ipv4 mangle: point DERPA_INPUT/ })
      await one.apply(base)
      t.match(await one.probe({ kind: 'tcp', host: ext4, port: 23 }), [/^reject/])
    })

    t.test('a daemon that died after single changes is followed by one that knows which sets it cannot trust', async (t) => {
      await one.apply(base)
      // as many ports as before: their number tells nothing
      await one.change(withPorts('25/tcp', '6000-6010/udp'))
      await one.restarted().apply(compile(firewallOf(base)))
      t.match(await one.probe({ kind: 'tcp', host: ext4, port: 22 }, { kind: 'tcp', host: ext4, port: 25 }), [/^open/, /^reject/])
      await one.apply(base)
      await one.change(withPorts('25/tcp', '6000-6010/udp'))
      await one.dataplane.settle()
      one.ran.length = 0
      t.equal((await one.restarted().apply(compile(firewallOf(withPorts('25/tcp', '6000-6010/udp'))))).summary, 'nothing to do', 'what was settled is known')
      await one.restarted().apply(compile(firewallOf(base)))
      await one.apply(base)
    })

    // Only nf_tables counts its commits; the legacy tables have to be read.
    if (variant === 'nft') {
      t.test('a reload reads nothing again as long as nobody has changed a rule', async (t) => {
        await one.apply(base)
        one.ran.length = 0
        t.equal((await one.apply(base)).summary, 'nothing to do')
        t.same(one.ran, ['set list'])
        await one.iptables('-t', 'mangle', '-N', 'FOREIGN')
        one.ran.length = 0
        await one.apply(base)
        t.ok(one.ran.some((command) => /save/.test(command)))
        await one.iptables('-t', 'mangle', '-X', 'FOREIGN')
      })
    }

    t.test('purge leaves the host as it was found', async (t) => {
      await one.apply({ ...base, panic: true, lists: { bad: ['198.51.100.77'] }, main: { block: ['bad'] } })
      await one.dataplane.purge()
      const now = await one.tables()
      // the legacy kernel modules keep their empty tables until the namespace ends
      if (variant === 'nft') t.equal(now, untouched)
      else t.notMatch(now, /^-A|DERPA/m)
      t.same(await one.sets(), [])
      t.match(await one.probe({ kind: 'tcp', host: ext4, port: 23 }), [/^open/])
      await one.dataplane.purge()
      t.pass('twice is fine')
    })

    t.test('a first apply that fails leaves nothing', async (t) => {
      one.intercept = (request) => (/^ip6tables.*-restore$/.test(request.command) && !String(request.input).includes('-F DERPA') ? { ...request, command: 'false', args: [] } : null)
      await t.rejects(one.restarted().apply(compile(firewallOf(base))), { message: /nothing of ours is left in the kernel/ })
      one.intercept = null
      t.notMatch(await one.tables(), /DERPA/)
      t.same(await one.sets(), [])
    })
  })
}

t.test('a change of the variant puts the new in force before the old goes', { skip: why ?? false }, async (t) => {
  const stateDir = t.testdir()
  const one = await createNetfilterHost('variant', 'legacy', stateDir)
  t.teardown(() => one.stop())
  await one.apply(base)
  const { createNetfilter } = await import('../../../src/kernel/netfilter/netfilter.ts')
  const { createExec } = await import('../../../src/kernel/exec.ts')
  const direct = createExec({ wrap: one.host.firewall.prefix })
  const order: string[] = []
  const nft = createNetfilter({ exec: (request) => { order.push(request.command); return direct(request) }, openSocket: () => openSocketIn(one.host.firewall.namespace), stateDir, variant: 'nft', log: () => undefined })
  await nft.apply(compile(firewallOf(base)))
  t.notMatch(await one.host.firewall.ok(['iptables-legacy-save']), /DERPA/)
  t.match(await one.host.firewall.ok(['iptables-nft-save']), /DERPA_INPUT/)
  const restores = order.filter((command) => /-restore$/.test(command))
  t.same(restores, ['iptables-nft-restore', 'ip6tables-nft-restore', 'iptables-legacy-restore', 'ip6tables-legacy-restore'])
  await nft.purge()
  t.same(await one.sets(), [])
})

t.test('a list of 100,000 is loaded once and costs nothing afterwards', { skip: why ?? false }, async (t) => {
  const one = await createNetfilterHost('list', 'nft', t.testdir())
  t.teardown(() => one.stop())
  const prefixes = Array.from({ length: 50_000 }, (_, i) => `${11 + (i >> 16)}.${(i >> 8) & 255}.${i & 255}.0/24`)
  const hosts = Array.from({ length: 50_000 }, (_, i) => `2001:db8:${(i >> 8).toString(16)}:${(i & 255).toString(16)}::/64`)
  const words: ConfigurationWords = { ...base, lists: { big: [...prefixes, ...hosts] }, main: { block: ['big'] } }
  const plan = compile(firewallOf(words))
  const first = await one.dataplane.apply(plan)
  t.comment(`first apply ${first.elapsedMs.toFixed(0)} ms`)
  t.match(await one.host.firewall.ok(['ipset', 'list', '-t']), /Number of entries: 50000\n/)
  one.ran.length = 0
  const again = await one.dataplane.apply(compile(firewallOf({ ...words, zones: { ...words.zones, extra: { sources: ['192.0.2.9'] } } })))
  t.comment(`a new zone beside it ${again.elapsedMs.toFixed(0)} ms`)
  t.match(again.summary, /^sets: 3 loaded/, 'the two port sets and the source of the new zone')
  const port = await one.change({ ...words, zones: { ...words.zones, extra: { sources: ['192.0.2.9'], ports: ['1/tcp'] } } })
  t.comment(`one port ${port.elapsedMs.toFixed(1)} ms`)
  t.equal(port.summary, 'sets: 1 edited')
})
