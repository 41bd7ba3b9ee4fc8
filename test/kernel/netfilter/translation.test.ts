// What firewalld promises about masquerading, forward-ports, forwarding and policies, with real packets: outside — firewall —
// inside, both families, both variants. Titles are the statements.
// TEST_TIMEOUT_SEC=300
import t from 'tap'
import type { Probe } from '../../support/agent.ts'
import type { ConfigurationWords } from '../../support/configuration.ts'
import { createNetfilterHost, variants, type NetfilterHost } from '../../support/netfilter-host.ts'
import { addresses, whyNoPrivateHost } from '../../support/private-host.ts'

const { ext4, ext6 } = addresses.firewall
const { inside, outside } = addresses
const why = whyNoPrivateHost()
const prohibited = ['reject icmp3/13', 'reject icmp1/1']

type Kind = 'tcp' | 'udp'
const to = (four: string, six: string, port: number, kind: Kind = 'tcp'): readonly Probe[] => [{ kind, host: four, port }, { kind, host: six, port }]
const host = (port: number, kind: Kind = 'tcp'): readonly Probe[] => to(ext4, ext6, port, kind)
const through = (port: number, kind: Kind = 'tcp'): readonly Probe[] => to(inside.v4, inside.v6, port, kind)
const pingThrough: readonly Probe[] = [{ kind: 'ping', host: inside.v4 }, { kind: 'ping', host: inside.v6 }]
const words = (results: readonly string[]): readonly string[] => results.map((result) => result.replace(/^open .*/, 'open'))
const forwardPort = (port: string, toPort: string, toAddr = '', protocol = 'tcp') => ({ port, protocol, toPort, toAddr })

const outer = { interfaces: ['ext0'] } as const
const inner = { interfaces: ['int0'] } as const

for (const variant of variants) {
  t.test(variant, { skip: why ?? false }, async (t) => {
    const one: NetfilterHost = await createNetfilterHost('translation', variant, t.testdir())
    t.teardown(() => one.stop())
    const own = await one.host.firewall.agent()
    const within = await one.host.inside.agent()
    await own.serve(['tcp:22', 'tcp:8080', 'udp:8080', 'tcp:8081'])
    await within.serve(['tcp:80', 'udp:80', 'tcp:81'])
    await one.outside.serve(['tcp:443', 'udp:443', 'tcp:444'])
    const seen = async (configuration: ConfigurationWords, probes: readonly Probe[]): Promise<readonly string[]> => {
      await one.apply(configuration)
      return words(await one.probe(...probes))
    }

    t.test('forward-port without to-addr redirects to the host; the target port need not be open, nor the original one; IPv4 only', async (t) => {
      const zones = { public: { ...outer, forwardPorts: [forwardPort('80', '8080'), forwardPort('80', '8080', '', 'udp')] } }
      t.same(await seen({ zones }, [...host(80), ...host(80, 'udp')]), ['open', prohibited[1], 'open', prohibited[1]])
      t.same(words(await one.probe(...host(8080))), prohibited, 'the target itself stays closed')
    })

    t.test('a rich forward-port is for the family it names, and for its sources', async (t) => {
      const rule = (family: string, source: string): string => `rule family="${family}" source address="${source}" forward-port port="80" protocol="tcp" to-port="8080"`
      t.same(await seen({ zones: { public: { ...outer, richRules: [rule('ipv6', outside.v6), rule('ipv4', '203.0.113.0/24')] } } }, host(80)), [prohibited[0], 'open'])
    })

    t.test('forward-port with to-addr sends to another host; IPv6 only when to-addr is IPv6', async (t) => {
      const zones = { public: { ...outer, forwardPorts: [forwardPort('80', '', inside.v4), forwardPort('8000', '80', inside.v6), forwardPort('90', '80', inside.v4, 'udp')] } }
      t.same(await seen({ zones }, [...host(80), ...host(8000), ...host(90, 'udp')]), ['open', prohibited[1], prohibited[0], 'open', 'open', prohibited[1]])
      t.match(await one.outside.one({ kind: 'tcp', host: ext4, port: 80 }), `open ${outside.v4}`, 'the host behind sees who asks')
      t.same(words(await one.probe(...through(80))), prohibited, 'and asked for by its own name it is not reached')
    })

    t.test('exactly one zone decides: forward-ports of a later matching zone and of the default zone are not tried', async (t) => {
      const forwardPorts = [forwardPort('80', '8080')]
      const zones = { public: { forwardPorts }, later: { ...outer, forwardPorts }, aaa: { sources: ['192.0.2.0/24'] } }
      t.same(await seen({ zones }, [{ kind: 'tcp', host: ext4, port: 80 }]), [prohibited[0]])
      t.same(await seen({ zones: { public: { forwardPorts }, later: outer } }, [{ kind: 'tcp', host: ext4, port: 80 }]), [prohibited[0]])
      t.same(await seen({ zones: { ...zones, aaa: {} } }, [{ kind: 'tcp', host: ext4, port: 80 }]), ['open'])
    })

    t.test('masquerade: IPv4 only, on packets leaving by the zone', async (t) => {
      const zones = { public: { ...outer, masquerade: true }, trusted: { ...inner, target: 'ACCEPT' } } as const
      await one.apply({ zones })
      const ask = to(outside.v4, outside.v6, 443)
      t.same(await within.probe([...ask, ...to(outside.v4, outside.v6, 443, 'udp')]), [`open ${ext4}`, `open ${inside.v6}`, `open ${ext4}`, `open ${inside.v6}`])
      t.same(await within.probe([{ kind: 'ping', host: outside.v4 }, { kind: 'ping', host: outside.v6 }]), ['open', 'open'])
      await one.apply({ zones: { public: outer, trusted: { ...inner, target: 'ACCEPT', masquerade: true } } })
      t.same(await within.probe(ask), [`open ${inside.v4}`, `open ${inside.v6}`], 'not on those that come in by it')
    })

    t.test('a rich masquerade without family covers both families', async (t) => {
      const zones = { public: { ...outer, richRules: ['rule masquerade'] }, trusted: { ...inner, target: 'ACCEPT' } } as const
      await one.apply({ zones })
      t.same(await within.probe(to(outside.v4, outside.v6, 443)), [`open ${ext4}`, `open ${ext6}`])
      await one.apply({ zones: { ...zones, public: { ...outer, richRules: ['rule family="ipv6" masquerade', 'rule family="ipv4" source address="203.0.113.0/24" masquerade'] } } })
      t.same(await within.probe(to(outside.v4, outside.v6, 443)), [`open ${inside.v4}`, `open ${ext6}`], 'with one it is for that one')
    })

    t.test('forwarded packets: default and %%REJECT%% reject, DROP drops, ACCEPT forwards to anywhere; the ingress zone\'s target decides', async (t) => {
      const rows = [['default', prohibited], ['REJECT', prohibited], ['DROP', ['drop', 'drop']], ['ACCEPT', ['open', 'open']]] as const
      for (const [target, want] of rows) {
        const zones = { public: { ...outer, target }, drop: { ...inner, target: 'DROP' } } as const
        t.same(await seen({ zones }, [...through(80), ...through(80, 'udp'), ...pingThrough]), [...want, ...want, ...want], target)
      }
    })

    t.test('forward=yes: packets between two interfaces or sources of the same zone pass', async (t) => {
      t.same(await seen({ zones: { inner: { interfaces: ['ext0', 'int0'], forward: true } } }, [...through(80), ...through(80, 'udp')]), ['open', 'open', 'open', 'open'])
      t.same(await seen({ zones: { inner: { interfaces: ['ext0'], sources: ['198.51.100.0/24'], forward: true }, other: inner } }, through(80)), ['open', prohibited[1]], 'a source counts')
    })

    t.test('outgoing side of forwarded traffic: destination address before outgoing interface, egress_priority first', async (t) => {
      const policies = { p: { target: 'ACCEPT', ingressZones: ['public'], egressZones: ['servers'] } } as const
      const zones = { public: outer, servers: { sources: [inside.v4, inside.v6] }, lan: inner }
      t.same(await seen({ zones, policies }, through(80)), ['open', 'open'])
      t.same(await seen({ zones: { ...zones, lan: { ...inner, egressPriority: -1 } }, policies }, through(80)), prohibited, 'a lower number first')
    })

    t.test('zone services and ports apply only to packets for the host itself; forwarded packets ignore them', async (t) => {
      t.same(await seen({ zones: { public: { ...outer, ports: ['80/tcp'] } } }, through(80)), prohibited)
    })

    t.test('all DNATed packets are accepted, whoever made the DNAT; StrictForwardPorts=yes: only our own', async (t) => {
      const foreign = ['-t', 'nat', '-A', 'PREROUTING', '-p', 'tcp', '--dport', '8888', '-j', 'DNAT', '--to-destination'] as const
      await one.iptables(...foreign, `${inside.v4}:80`)
      await one.ip6tables(...foreign, `[${inside.v6}]:80`)
      const zones = { public: { ...outer, forwardPorts: [forwardPort('80', '', inside.v4), forwardPort('81', '8080')] } }
      const probes = [...host(8888), { kind: 'tcp', host: ext4, port: 80 }, { kind: 'tcp', host: ext4, port: 81 }] as const
      t.same(await seen({ zones }, probes), ['open', 'open', 'open', 'open'])
      t.same(await seen({ zones, main: { firewalld: { StrictForwardPorts: 'yes' } } }, probes), [...prohibited, 'open', 'open'])

      t.same(await seen({ zones, main: { published: 'zone' } }, probes), [...prohibited, 'open', 'open'], 'published: zone: not open in the zone')
      t.same(await seen({ zones: { public: { ...zones.public, ports: ['8888/tcp'] } }, main: { published: 'zone' } }, probes), ['open', 'open', 'open', 'open'],
        'published: zone: the port that was published is open')
      t.same(await seen({ zones: { public: { ...zones.public, ports: ['80/tcp'] } }, main: { published: 'zone' } }, host(8888)), prohibited, 'not the one behind it')
      const rich = [`rule family="ipv4" source address="${outside.v4}" port port="8888" protocol="tcp" drop`]
      t.same(await seen({ zones: { public: { ...zones.public, ports: ['8888/tcp'], richRules: rich } }, main: { published: 'zone' } }, host(8888)), ['drop', 'open'])
      const policies = { web: { ingressZones: ['public'], egressZones: ['HOST'], ports: ['8888/tcp'] } }
      t.same(await seen({ zones, policies, main: { published: 'zone' } }, host(8888)), ['open', 'open'], 'a policy to HOST opens it too')
      await one.iptables('-t', 'nat', '-F', 'PREROUTING')
      await one.ip6tables('-t', 'nat', '-F', 'PREROUTING')
    })

    t.test('a policy applies to packets from its ingress zones to its egress zones', async (t) => {
      const zones = { public: outer, lan: inner, other: { interfaces: ['tun9'] } }
      const accept = { target: 'ACCEPT' } as const
      t.same(await seen({ zones, policies: { p: { ...accept, ingressZones: ['public'], egressZones: ['lan'] } } }, [...through(80), ...pingThrough]), ['open', 'open', 'open', 'open'])
      t.same(await seen({ zones, policies: { p: { ...accept, ingressZones: ['lan'], egressZones: ['public'] } } }, through(80)), prohibited, 'not the other way')
      t.same(await seen({ zones, policies: { p: { ...accept, ingressZones: ['public'], egressZones: ['other'] } } }, through(80)), prohibited, 'not to elsewhere')
      t.same(await seen({ zones, policies: { p: { ...accept, ingressZones: ['public'], egressZones: ['lan'], disable: true } } }, through(80)), prohibited, 'not when disabled')
    })

    t.test('ANY does not include HOST', async (t) => {
      const zones = { public: outer, lan: inner }
      const any = { p: { target: 'ACCEPT', ingressZones: ['ANY'], egressZones: ['ANY'] } } as const
      t.same(await seen({ zones, policies: any }, [...through(80), ...host(22)]), ['open', 'open', ...prohibited])
      const toHost = { p: { target: 'ACCEPT', ingressZones: ['ANY'], egressZones: ['HOST'] } } as const
      t.same(await seen({ zones, policies: toHost }, [...through(80), ...host(22)]), [...prohibited, 'open', 'open'])
    })

    t.test('priority: lower first; negative before the zone\'s own rules, positive after them but before the zone\'s target', async (t) => {
      const zones = { public: { ...outer, ports: ['22/tcp'] } }
      const drop = { target: 'DROP', ingressZones: ['public'], egressZones: ['HOST'] } as const
      t.same(await seen({ zones, policies: { p: { ...drop, priority: -1 } } }, host(22)), ['drop', 'drop'])
      t.same(await seen({ zones, policies: { p: { ...drop, priority: 1 } } }, [...host(22), ...host(8080)]), ['open', 'open', 'drop', 'drop'])
      const open = { ingressZones: ['public'], egressZones: ['HOST'], ports: ['8080/tcp'] } as const
      t.same(await seen({ zones, policies: { a: { ...drop, priority: -1 }, b: { ...open, priority: -2 } } }, host(8080)), ['open', 'open'])
      t.same(await seen({ zones, policies: { a: { ...drop, priority: -2 }, b: { ...open, priority: -1 } } }, host(8080)), ['drop', 'drop'])
    })

    t.test('target CONTINUE (go on), ACCEPT, REJECT, DROP at the policy\'s end', async (t) => {
      const zones = { public: { ...outer, ports: ['22/tcp'] } }
      const rows = [['CONTINUE', ['open', 'open', ...prohibited]], ['ACCEPT', ['open', 'open', 'open', 'open']], ['REJECT', [...prohibited, ...prohibited]],
        ['DROP', ['drop', 'drop', 'drop', 'drop']]] as const
      for (const [target, want] of rows) {
        t.same(await seen({ zones, policies: { p: { target, priority: -1, ingressZones: ['public'], egressZones: ['HOST'] } } }, [...host(22), ...host(8080)]), want, target)
      }
    })

    t.test('a policy takes all elements of a zone: ports, protocols, icmp-blocks, rich rules', async (t) => {
      const zones = { public: outer, lan: inner }
      const between = { ingressZones: ['public'], egressZones: ['lan'] } as const
      t.same(await seen({ zones, policies: { p: { ...between, ports: ['80/tcp'] } } }, [...through(80), ...through(80, 'udp'), ...through(81)]), ['open', 'open', ...prohibited, ...prohibited])
      t.same(await seen({ zones, policies: { p: { ...between, protocols: ['udp'] } } }, [...through(80), ...through(80, 'udp')]), [...prohibited, 'open', 'open'])
      t.same(await seen({ zones, policies: { p: { ...between, target: 'ACCEPT', icmpBlocks: ['echo-request'] } } }, [...pingThrough, ...through(80)]), [...prohibited, 'open', 'open'])
      const richRules = [`rule family="ipv4" source address="${outside.v4}" port port="80" protocol="tcp" reject type="tcp-reset"`]
      t.same(await seen({ zones, policies: { p: { ...between, target: 'ACCEPT', richRules } } }, through(80)), ['closed', 'open'])
    })

    t.test('masquerade in a policy is for packets from its ingress to its egress zones', async (t) => {
      const zones = { public: outer, lan: inner }
      const policies = { p: { target: 'ACCEPT', masquerade: true, ingressZones: ['lan'], egressZones: ['public'] } } as const
      await one.apply({ zones, policies })
      t.same(await within.probe(to(outside.v4, outside.v6, 443)), [`open ${ext4}`, `open ${inside.v6}`])
      await one.apply({ zones, policies: { q: { target: 'ACCEPT', ingressZones: ['lan'], egressZones: ['public'] }, p: { masquerade: true, ingressZones: ['other'], egressZones: ['public'] } } })
      t.same(await within.probe(to(outside.v4, outside.v6, 443)), [`open ${inside.v4}`, `open ${inside.v6}`], 'not for those from elsewhere')
    })

    t.test('forward-port in a policy: to this host with egress HOST, to another one with egress ANY', async (t) => {
      const zones = { public: outer, lan: inner }
      t.same(await seen({ zones, policies: { p: { ingressZones: ['public'], egressZones: ['HOST'], forwardPorts: [forwardPort('80', '8080')] } } }, [host(80)[0]!]), ['open'])
      t.same(await seen({ zones, policies: { p: { ingressZones: ['public'], egressZones: ['ANY'], forwardPorts: [forwardPort('80', '', inside.v4)] } } }, [host(80)[0]!]), ['open'])
      t.same(await seen({ zones, policies: { p: { ingressZones: ['lan'], egressZones: ['ANY'], forwardPorts: [forwardPort('80', '', inside.v4)] } } }, [host(80)[0]!]), [prohibited[0]])
    })

    t.test('policies from HOST decide what the host sends, by the zone that it leaves by', async (t) => {
      const zones = { public: outer, lan: inner }
      const out = async (policies: ConfigurationWords['policies']): Promise<readonly string[]> => {
        await one.apply({ zones, ...(policies === undefined ? {} : { policies }) })
        return words(await own.probe([...to(outside.v4, outside.v6, 443), ...to(inside.v4, inside.v6, 80)]))
      }
      t.same(await out(undefined), ['open', 'open', 'open', 'open'])
      const reject = { target: 'REJECT', ingressZones: ['HOST'] } as const
      const toPublic = await out({ p: { ...reject, egressZones: ['public'] } })
      t.notOk(toPublic.slice(0, 2).includes('open'), toPublic.join())
      t.same(toPublic.slice(2), ['open', 'open'], 'another zone\'s interface is another zone')
      t.notOk((await out({ p: { ...reject, egressZones: ['ANY'] } })).includes('open'))
      t.same(words(await one.probe(...host(22))), prohibited, 'and packets that come in are none of its business')
      t.same((await out({ p: { ...reject, egressZones: ['public'], ports: ['443/tcp'] } })).slice(0, 2), ['open', 'open'])
    })

    t.test('nothing of nat is left after purge, and the default configuration never touches it', async (t) => {
      await one.apply({ zones: { public: { ...outer, masquerade: true, forwardPorts: [forwardPort('80', '8080')] } } })
      t.match(await one.tables(), /DERPA_NAT_IN[^]*DERPA_NAT_OUT/)
      await one.apply({ zones: { public: outer } })
      t.notMatch(await one.tables(), /DERPA_(NAT|DN|SN)/)
      await one.dataplane.purge()
      t.notMatch(await one.tables(), /DERPA/)
      t.same((await one.sets()).filter((name) => name.startsWith('derpa')), [])
    })
  })
}
