// What rules do beside deciding, with real packets: limits, records and where they stand, helpers, segment sizes. Who decides what
// is the business of test/system/oracle.test.ts.
// TEST_TIMEOUT_SEC=240
import t from 'tap'
import { emptyHelper, emptyService } from '../../../src/model/settings.ts'
import { compile } from '../../../src/compile/compile.ts'
import { resolve } from '../../../src/model/resolve.ts'
import { runtimeOf } from '../../support/configuration.ts'
import { createNetfilterHost, variants } from '../../support/netfilter-host.ts'
import { addresses, whyNoPrivateHost } from '../../support/private-host.ts'
import { entry } from '../../support/random-settings.ts'

const why = whyNoPrivateHost()
const { ext4, ext6 } = addresses.firewall

for (const variant of variants) {
  t.test(variant, { skip: why ?? false }, async (t) => {
    const one = await createNetfilterHost('effects', variant, t.testdir())
    t.teardown(() => one.stop())
    await (await one.host.firewall.agent()).serve(['tcp:21', 'tcp:22', 'tcp:80'])
    await (await one.host.inside.agent()).serve(['tcp:80'])
    const probe = async (port: number): Promise<readonly string[]> =>
      (await one.probe(...[ext4, ext6].map((host) => ({ kind: 'tcp' as const, host, port })))).map((result) => result.replace(/^open .*/, 'open'))
    const counted = async (id: string): Promise<number> => Number((await one.dataplane.counters()).get(id)?.packets ?? 0n)

    t.test('LogDenied: logs just before each reject/drop at the end of a zone', async (t) => {
      await one.apply({ zones: { public: { ports: ['22/tcp'], interfaces: ['ext0'] } }, main: { logDenied: 'unicast' } })
      await probe(22)
      t.equal(await counted('zone/public/target#log'), 0)
      t.same(await probe(99), ['reject icmp3/13', 'reject icmp1/1'])
      t.equal(await counted('zone/public/target#log'), 2)
      await one.apply({ zones: { public: { interfaces: ['ext0'] } }, main: { logDenied: 'multicast' } })
      const before = await counted('zone/public/target#log')
      await probe(99)
      t.equal(await counted('zone/public/target#log'), before, 'another type of packet')
    })

    t.test('all log and audit parts, then reject/drop, then accept', async (t) => {
      const log = 'rule port port="22" protocol="tcp" log prefix="all of them " accept'
      await one.apply({ zones: { public: { interfaces: ['ext0'], richRules: ['rule port port="22" protocol="tcp" drop', log] } } })
      t.same(await probe(22), ['drop', 'drop'])
      t.ok(await counted(`zone/public/rich-rules=${log}#log`) >= 2, 'written down although dropped')
    })

    t.test('what exceeds the limit of an action goes on to the next rule', async (t) => {
      await one.apply({ zones: { public: { interfaces: ['ext0'], richRules: ['rule port port="22" protocol="tcp" accept limit value="2/h" burst=2'] } } })
      const all = [...await probe(22), ...await probe(22), ...await probe(22)]
      t.same(all, ['open', 'open', 'open', 'open', 'reject icmp3/13', 'reject icmp1/1'])
    })

    t.test('a service brings its connection helper, and one that the kernel lacks costs nothing else', async (t) => {
      const runtime = runtimeOf({ zones: { public: { interfaces: ['ext0'], services: ['ftp'] } } })
      const { firewall, problems } = resolve({ ...runtime, settings: {
        ...runtime.settings,
        services: new Map([['ftp', entry('services/ftp', { ...emptyService, ports: [{ port: '21', protocol: 'tcp' }], helpers: ['ftp', 'none'] })]]),
        helpers: new Map([
          ['ftp', entry('helpers/ftp', { ...emptyHelper, module: 'nf_conntrack_ftp', ports: [{ port: '21', protocol: 'tcp' }] })],
          ['none', entry('helpers/none', { ...emptyHelper, module: 'nf_conntrack_no_such', ports: [{ port: '21', protocol: 'tcp' }] })],
        ]),
      } })
      t.same(problems, [])
      await one.dataplane.apply(compile(firewall!))
      t.same(await probe(21), ['open', 'open'])
      t.equal(await counted('zone/public/services=ftp#helper/ftp@tcp/21') > 0, true)
      t.match((await one.dataplane.status()).details, [{}, {}, { subject: 'helper no-such' }])
    })

    t.test('sets of marks and of MACs decide, whether or not this kernel has their type', async (t) => {
      const { macs, outside: { v4: from4 } } = addresses
      const zones = (richRules: readonly string[] = []) => ({ public: { interfaces: ['ext0'], richRules }, home: { sources: ['ipset:s'], ports: ['80/tcp'] } })
      const of = (type: string, ...entries: readonly string[]) => ({ s: { type, entries, options: {} } })
      await one.apply({ zones: zones(), ipsets: of('hash:mac', '02:00:00:00:00:99', macs.outside) })
      t.same(await probe(80), ['open', 'open'], 'the MAC is in the set')
      await one.apply({ zones: zones(), ipsets: of('hash:mac', '02:00:00:00:00:99') })
      t.same(await probe(80), ['reject icmp3/13', 'reject icmp1/1'], 'it is not')
      await one.both('-t', 'raw', '-A', 'PREROUTING', '-p', 'tcp', '--dport', '80', '-j', 'MARK', '--set-mark', '0x200')
      await one.apply({ zones: zones(), ipsets: of('hash:ip,mark', `${from4},0x100`) })
      t.same(await probe(80), ['reject icmp3/13', 'reject icmp1/1'], 'another mark')
      await one.apply({ zones: zones(), ipsets: of('hash:ip,mark', `${from4},0x100`, `${from4},0x200`) })
      t.same(await probe(80), ['open', 'reject icmp1/1'], 'the mark; a set of IPv4 says nothing of IPv6')
      const not = 'rule family="ipv4" source NOT ipset="m" port port="22" protocol="tcp" accept'
      const both = (type: string, entry: string) => ({ m: { type, entries: [entry], options: {} } })
      await one.apply({ zones: { public: { interfaces: ['ext0'], richRules: [not] } }, ipsets: both('hash:ip,mark', `${from4},0x200`) })
      t.same(await probe(22), ['open', 'reject icmp1/1'], 'not in the set')
      await one.apply({ zones: { public: { interfaces: ['ext0'], richRules: [not] } }, ipsets: both('hash:ip,mark', `${from4},0`) })
      t.same(await probe(22), ['reject icmp3/13', 'reject icmp1/1'], 'in the set')
      await one.both('-t', 'raw', '-F', 'PREROUTING')
    })

    t.test('a set that the kernel cannot hold is empty or written as rules, and is refused by name otherwise', async (t) => {
      const lacks = async (type: string): Promise<boolean> => (await one.host.firewall.run(['ipset', 'create', 'probe', type])).status !== 0
      if (!await lacks('hash:mac')) return t.comment('this kernel has it')
      const zones = (...richRules: readonly string[]) => ({ public: { interfaces: ['ext0'], ports: ['22/tcp'], richRules }, home: { sources: ['ipset:timed'], ports: ['80/tcp'] } })
      const ipsets = {
        timed: { type: 'hash:mac', entries: [], options: { timeout: '600' } },
        many: { type: 'hash:mac', entries: Array.from({ length: 1025 }, (_, at) => `02:00:00:00:0${at >> 8}:${(at & 255).toString(16).padStart(2, '0')}`), options: {} },
      }
      await one.apply({ zones: zones(), ipsets })
      t.same([...await probe(22), ...await probe(80)], ['open', 'open', 'reject icmp3/13', 'reject icmp1/1'], 'nobody is in the empty set')
      await t.rejects(one.dataplane.editTimed!({ ipset: 'timed', flush: false, add: [addresses.macs.outside], remove: [] }),
        { code: 'COMMAND_FAILED', message: /ipset 'timed': this kernel has no sets of type hash:mac, and entries with a timeout cannot be rules/ })
      await t.rejects(one.apply({ zones: zones('rule source ipset="many" drop'), ipsets }),
        { code: 'COMMAND_FAILED', message: /ipset 'many': this kernel has no sets of type hash:mac, and these entries cannot be written as rules; asked for by zone public: .*many/ })
      t.same(await probe(22), ['open', 'open'], 'what was in force stays')
      t.ok((await one.dataplane.status()).details.some(({ subject }) => subject === 'sets of type hash:mac'))
    })

    t.test('tcp-mss-clamp: the segment size that a forwarded SYN announces', async (t) => {
      await one.apply({ zones: { public: { interfaces: ['ext0'], target: 'ACCEPT', richRules: ['rule tcp-mss-clamp value="1000"'] } } })
      await one.both('-t', 'mangle', '-A', 'POSTROUTING', '-p', 'tcp', '--tcp-flags', 'SYN,ACK', 'SYN', '-m', 'tcpmss', '--mss', '1000')
      t.match(await one.probe({ kind: 'tcp', host: addresses.inside.v4, port: 80 }, { kind: 'tcp', host: addresses.inside.v6, port: 80 }), [/^open/, /^open/])
      for (const list of [one.iptables, one.ip6tables]) t.match(await list('-t', 'mangle', '-v', '-x', '-n', '-L', 'POSTROUTING'), /^ +[1-9]\d* .*tcpmss match 1000/m)
    })
  })
}
