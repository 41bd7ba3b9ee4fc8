// Elements of a zone, and what becomes of packets that none of them names.
import { addresses } from '../../support/private-host.ts'
import type { Case, Crafted, Fates, PacketWords } from './words.ts'

const { outside, inside, firewall } = addresses
const outer = { interfaces: ['ext0'] } as const
const inner = { interfaces: ['int0'] } as const
const take = { target: 'ACCEPT' } as const
const forward = (port: string, toPort: string, toAddr = '', protocol = 'tcp') => ({ port, protocol, toPort, toAddr })
const through = (fates: Fates): Readonly<Record<PacketWords, Fates>> => ({ 'inside tcp 80': fates, 'inside udp 80': fates, 'inside ping': fates })
const unreachable = 'reject icmp1/3'

const publish = (to: string) => ['tcp', 'udp'].map((protocol) => ['-t', 'nat', '-A', 'PREROUTING', '-p', protocol, '--dport', '8888', '-j', 'DNAT', '--to-destination', to])
/** What a container's program does: port 8888 leads to port 80 inside. */
const [beside4, beside6] = [publish(`${inside.v4}:80`), publish(`[${inside.v6}]:80`)]

/** Timestamp in IPv4, node information in IPv6: questions, as echo requests are. */
const question = { from: 'outside', kind: 'icmp', number: [13, 139] } as const
const unnamed = (fate: Fates): Crafted => ({ ...question, to: 'host', fate })

export const verdictCases: readonly Case[] = [
  {
    of: 'host.only', when: 'everything is open to the host', with: {
      zones: { public: { ...outer, services: ['web'], ports: ['80/tcp', '80/udp'], protocols: ['tcp', 'udp', 'icmp', 'ipv6-icmp', 'gre'], sourcePorts: ['1024-65535/tcp', '1024-65535/udp'] } },
      services: { web: { ports: ['80-81/tcp'] } },
    },
    then: { ...through('prohibited'), 'inside tcp 81': 'prohibited', 'tcp 81': 'open', 'udp 80': 'open', 'ping': 'open' },
    crafted: [{ from: 'outside', to: 'inside', kind: 'protocol', number: 47, fate: 'prohibited' }, { from: 'outside', to: 'host', kind: 'protocol', number: 47, fate: 'accept' }],
  },
  {
    of: 'host.only', when: 'ping is blocked, and the zone forwards', with: { zones: { public: { ...outer, ...take, icmpBlocks: ['echo-request'] } } },
    then: { 'ping': 'prohibited', 'inside ping': 'open' },
  },
  {
    of: 'host.only', when: 'ICMP is blocked inverted, and the zone forwards', with: { zones: { public: { ...outer, ...take, icmpBlockInversion: true } } },
    then: { 'ping': 'prohibited', 'inside ping': 'open' },
  },
  {
    of: 'ports', when: '22/tcp, 7002-7004/tcp, 53/udp', with: { zones: { public: { ...outer, ports: ['22/tcp', '7002-7004/tcp', '53/udp'] } } },
    then: {
      'tcp 22': 'open', 'udp 53': 'open', 'tcp 53': 'prohibited', 'udp 54': 'prohibited', 'tcp 21': 'prohibited', 'tcp 23': 'prohibited',
      'tcp 7001': 'prohibited', 'tcp 7002': 'open', 'tcp 7003': 'open', 'tcp 7004': 'open', 'tcp 7005': 'prohibited', 'udp 7003': 'prohibited',
      'tcp 22 from 53': 'open', 'inside tcp 22': 'prohibited',
    },
  },
  {
    of: 'ports', when: 'sctp and dccp', with: { zones: { public: { ...outer, ports: ['22/sctp', '22/dccp'] } } },
    then: { 'tcp 22': 'prohibited', 'udp 53': 'prohibited' },
  },
  {
    of: 'protocols', when: 'gre, 50 and udp', with: { zones: { public: { ...outer, protocols: ['gre', '50', 'udp'] } } },
    then: { 'udp 53': 'open', 'udp 54': 'open', 'tcp 22': 'prohibited' },
    crafted: [47, 50, 89].map((number) => ({ from: 'outside', to: 'host', kind: 'protocol', number, fate: number === 89 ? 'prohibited' : 'accept' })),
  },
  {
    of: 'service', when: 'one that includes one that includes the first', with: {
      zones: { public: { ...outer, services: ['all'] } },
      services: { all: { ports: ['22/tcp'], includes: ['more'] }, more: { ports: ['53/udp'], protocols: ['gre'], sourcePorts: ['2000/tcp'], includes: ['all'] } },
    },
    then: { 'tcp 22': 'open', 'udp 53': 'open', 'tcp 23': 'prohibited', 'tcp 23 from 2000': 'open', 'tcp 23 from 2001': 'prohibited', 'udp 54 from 2000': 'prohibited' },
    crafted: [{ from: 'outside', to: 'host', kind: 'protocol', number: 47, fate: 'accept' }],
  },
  {
    of: 'service.destination', when: 'IPv4 alone', with: { zones: { public: { ...outer, services: ['web'] } }, services: { web: { ports: ['80/tcp'], destination: { ipv4: firewall.ext4 } } } },
    then: { 'tcp 80': ['open', 'reject icmp1/1'] },
  },
  {
    of: 'service.destination', when: 'both families, IPv4 to another address of this host',
    with: { zones: { public: { ...outer, services: ['web'] } }, services: { web: { ports: ['80/tcp', '80/udp'], destination: { ipv4: firewall.int4, ipv6: '2001:db8:1::/64' } } } },
    then: { 'tcp 80': ['reject icmp3/13', 'open'], 'udp 80': ['reject icmp3/13', 'open'] },
    crafted: [{ from: 'outside', to: [firewall.int4, null], kind: 'tcp', port: 80, fate: 'accept' }],
  },
  {
    of: 'source.port', when: '2000-2001/tcp and 2000/udp', with: { zones: { public: { ...outer, sourcePorts: ['2000-2001/tcp', '2000/udp'] } } },
    then: {
      'tcp 22 from 2000': 'open', 'tcp 23 from 2001': 'open', 'tcp 22 from 2002': 'prohibited', 'udp 53 from 2000': 'open', 'udp 53 from 2003': 'prohibited',
      'tcp 22': 'prohibited', 'inside tcp 80 from 2000': 'prohibited',
    },
  },

  {
    of: 'target', when: 'default', with: { zones: { public: { ...outer, target: 'default', ports: ['22/tcp'] } } },
    then: { 'tcp 22': 'open', 'tcp 23': 'prohibited', 'udp 53': 'prohibited', 'ping': 'open' }, crafted: [unnamed('accept'), { from: 'outside', to: 'host', kind: 'protocol', number: 47, fate: 'prohibited' }],
  },
  {
    of: 'target', when: 'REJECT', with: { zones: { public: { ...outer, target: 'REJECT', ports: ['22/tcp'] } } },
    then: { 'tcp 22': 'open', 'tcp 23': 'prohibited', 'udp 53': 'prohibited', 'ping': 'prohibited' }, crafted: [unnamed('prohibited')],
  },
  {
    of: 'target', when: 'DROP', with: { zones: { public: { ...outer, target: 'DROP', ports: ['22/tcp'] } } },
    then: { 'tcp 22': 'open', 'tcp 23': 'drop', 'udp 53': 'drop', 'ping': 'drop' }, crafted: [unnamed('drop'), { from: 'outside', to: 'host', kind: 'protocol', number: 47, fate: 'drop' }],
  },
  {
    of: 'target', when: 'ACCEPT', with: { zones: { public: { ...outer, target: 'ACCEPT' } } },
    then: { 'tcp 23': 'open', 'udp 53': 'open', 'ping': 'open', 'tcp 999': 'closed' }, crafted: [unnamed('accept'), { from: 'outside', to: 'host', kind: 'protocol', number: 47, fate: 'accept' }],
  },
  ...(['default', 'REJECT', 'DROP', 'ACCEPT'] as const).map((target): Case => ({
    of: 'target.forward', when: `from ${target} to DROP`, with: { zones: { public: { ...outer, target }, drop: { ...inner, target: 'DROP' } } },
    then: through(target === 'ACCEPT' ? 'open' : target === 'DROP' ? 'drop' : 'prohibited'),
  })),
  {
    of: 'target.forward', when: 'from the default zone, which accepts, to interfaces of none', with: { zones: { public: take } },
    then: { ...through('open'), 'inside > outside tcp 443': 'open' },
  },
  { of: 'forward', when: 'two interfaces', with: { zones: { lan: { interfaces: ['ext0', 'int0'], forward: true } } }, then: { ...through('open'), 'inside > outside udp 443': 'open', 'tcp 22': 'prohibited' } },
  { of: 'forward', when: 'two interfaces of a zone without it', with: { zones: { lan: { interfaces: ['ext0', 'int0'], forward: false } } }, then: through('prohibited') },
  {
    of: 'forward', when: 'an interface and sources', with: { zones: { lan: { interfaces: ['ext0'], sources: ['198.51.100.0/24', '2001:db8:2::/64'], forward: true }, other: inner } },
    then: { ...through('open'), 'inside > outside tcp 443': 'open' },
  },
  { of: 'forward', when: 'the other interface in another zone', with: { zones: { lan: { ...outer, forward: true }, other: { ...inner, forward: true } } }, then: through('prohibited') },
  {
    of: 'forward', when: 'the other side taken away by a source', with: { zones: { lan: { interfaces: ['ext0', 'int0'], forward: true }, other: { sources: [inside.v4] } } },
    then: through(['reject icmp3/13', 'open']),
  },

  {
    of: 'masquerade', when: 'in the zone that packets leave by', with: { zones: { public: { ...outer, masquerade: true }, trusted: { ...inner, ...take } } },
    then: {
      'inside > outside tcp 443': [`open ${firewall.ext4}`, `open ${inside.v6}`], 'inside > outside udp 443': [`open ${firewall.ext4}`, `open ${inside.v6}`],
      'inside > outside ping': 'open', 'host > outside tcp 443': [`open ${firewall.ext4}`, `open ${firewall.ext6}`],
      'host > itself tcp 22': ['open 127.0.0.1', 'open ::1'], 'host > tcp 22': [`open ${firewall.ext4}`, `open ${firewall.ext6}`],
    },
  },
  {
    of: 'masquerade', when: 'in the zone that packets come in by', with: { zones: { public: outer, trusted: { ...inner, ...take, masquerade: true } } },
    then: { 'inside > outside tcp 443': [`open ${inside.v4}`, `open ${inside.v6}`] },
  },
  {
    of: 'masquerade', when: 'in a zone of lo', with: { zones: { public: { interfaces: ['ext0', 'lo'], masquerade: true } } },
    then: { 'host > itself tcp 22': ['open 127.0.0.1', 'open ::1'] },
  },
  {
    of: 'masquerade', when: 'rich, without family', with: { zones: { public: { ...outer, richRules: ['rule masquerade'] }, trusted: { ...inner, ...take } } },
    then: { 'inside > outside tcp 443': [`open ${firewall.ext4}`, `open ${firewall.ext6}`], 'inside > outside udp 443': [`open ${firewall.ext4}`, `open ${firewall.ext6}`], 'inside > outside ping': 'open' },
  },
  {
    of: 'masquerade', when: 'rich, for IPv6, and for other sources of IPv4', with: {
      zones: { public: { ...outer, richRules: ['rule family="ipv6" masquerade', 'rule family="ipv4" source address="203.0.113.0/24" masquerade'] }, trusted: { ...inner, ...take } },
    },
    then: { 'inside > outside tcp 443': [`open ${inside.v4}`, `open ${firewall.ext6}`] },
  },
  {
    of: 'forward.port', when: 'to a port of this host', with: { zones: { public: { ...outer, forwardPorts: [forward('90', '8080'), forward('90', '8080', '', 'udp')] } } },
    then: { 'tcp 90': ['open', 'reject icmp1/1'], 'udp 90': ['open', 'reject icmp1/1'], 'tcp 8080': 'prohibited', 'udp 8080': 'prohibited' },
  },
  {
    of: 'forward.port', when: 'rich, for IPv6', with: { zones: { public: { ...outer, richRules: ['rule family="ipv6" forward-port port="90" protocol="tcp" to-port="8080"'] } } },
    then: { 'tcp 90': ['reject icmp3/13', 'open'], 'tcp 8080': 'prohibited' },
  },
  {
    of: 'forward.port', when: 'a range, and for one source alone', with: {
      zones: { public: { ...outer, forwardPorts: [forward('90-92', '8080')], richRules: [`rule family="ipv6" source address="${outside.v6}" forward-port port="90-92" protocol="tcp" to-port="8080"`] } },
    },
    then: { 'tcp 90': 'open', 'tcp 92': 'open', 'tcp 93': 'prohibited', 'second > tcp 91': ['open', 'reject icmp1/1'] },
  },
  {
    of: 'forward.port.addr', when: 'to inside, the port kept or changed', with: {
      zones: { public: { ...outer, forwardPorts: [forward('80', '', inside.v4), forward('90', '81', inside.v4, 'udp'), forward('81', '', inside.v6), forward('91', '80', inside.v6, 'udp')] } },
    },
    then: {
      'tcp 80': [`open ${outside.v4}`, 'reject icmp1/1'], 'udp 90': [`open ${outside.v4}`, 'reject icmp1/1'],
      'tcp 81': ['reject icmp3/13', `open ${outside.v6}`], 'udp 91': ['reject icmp3/13', `open ${outside.v6}`],
      'inside tcp 80': 'prohibited', 'inside tcp 81': 'prohibited', 'inside udp 80': 'prohibited',
    },
  },
  ...([
    ['nobody asks', {}, 'open', 'open'], ['StrictForwardPorts', { strictForwardPorts: true }, 'prohibited', 'open'],
  ] as const).map(([when, main, foreign, ours]): Case => ({
    of: 'dnat', when, with: {
      zones: { public: { ...outer, forwardPorts: [forward('90', '80', inside.v4), forward('91', '80', inside.v6), forward('92', '8080')] } }, main,
    },
    beside4, beside6,
    then: { 'tcp 8888': foreign, 'udp 8888': foreign, 'tcp 90': [ours, 'reject icmp1/1'], 'tcp 91': ['reject icmp3/13', ours], 'tcp 92': [ours, 'reject icmp1/1'], 'inside tcp 80': 'prohibited' },
  })),
  {
    of: 'dnat', when: 'a redirect to the host itself, in a zone that drops', with: { zones: { drop: { ...outer, target: 'DROP' } } },
    beside: [['-t', 'nat', '-A', 'PREROUTING', '-p', 'tcp', '--dport', '8888', '-j', 'REDIRECT', '--to-ports', '8080']],
    then: { 'tcp 8888': 'open', 'tcp 8080': 'drop' },
  },
  ...([
    ['no port is open', [], [], 'prohibited'], ['the published one is open', ['8888/tcp', '8888/udp'], [], 'open'], ['the one behind it is open', ['80/tcp', '80/udp'], [], 'prohibited'],
    ['a rich rule denies it to one sender', ['8888/tcp', '8888/udp'], [`rule family="ipv4" source address="${outside.v4}" port port="8888" protocol="tcp" drop`], 'open'],
  ] as const).map(([when, ports, richRules, fate]): Case => ({
    of: 'published', when, with: { zones: { public: { ...outer, ports, richRules, forwardPorts: [forward('90', '80', inside.v4), forward('92', '8080')] } }, main: { published: 'zone' } },
    beside4, beside6, then: { 'tcp 8888': richRules.length > 0 ? ['drop', fate] : fate, 'udp 8888': fate, 'second > tcp 8888': fate, 'tcp 90': ['open', 'reject icmp1/1'], 'tcp 92': ['open', 'reject icmp1/1'] },
  })),
  {
    of: 'published', when: 'a policy to HOST has it open', with: { zones: { public: outer }, policies: { web: { ingressZones: ['public'], egressZones: ['HOST'], ports: ['8888/tcp'] } }, main: { published: 'zone' } },
    beside4, beside6, then: { 'tcp 8888': 'open', 'udp 8888': 'prohibited' },
  },
  {
    of: 'published', when: 'a zone that drops', with: { zones: { drop: { ...outer, target: 'DROP', ports: ['8888/udp'] } }, main: { published: 'zone' } },
    beside4, beside6, then: { 'tcp 8888': 'drop', 'udp 8888': 'open' },
  },
  { of: 'icmp.block', when: 'one type', with: { zones: { public: { ...outer, icmpBlocks: ['echo-request'], ports: ['22/tcp'] } } }, then: { 'ping': 'prohibited', 'tcp 22': 'open' }, crafted: [unnamed('accept')] },
  { of: 'icmp.block', when: 'one type, where all is accepted', with: { zones: { public: { ...outer, ...take, icmpBlocks: ['echo-request'] } } }, then: { 'ping': 'prohibited', 'tcp 23': 'open' }, crafted: [unnamed('accept')] },
  { of: 'icmp.block', when: 'one type, where all is dropped', with: { zones: { public: { ...outer, target: 'DROP', icmpBlocks: ['echo-request'] } } }, then: { 'ping': 'prohibited' }, crafted: [unnamed('drop')] },
  { of: 'icmp.block', when: 'inverted, one type', with: { zones: { public: { ...outer, icmpBlocks: ['echo-request'], icmpBlockInversion: true } } }, then: { 'ping': 'open' }, crafted: [unnamed('prohibited')] },
  { of: 'icmp.block', when: 'inverted, none', with: { zones: { public: { ...outer, icmpBlockInversion: true, ports: ['22/tcp'] } } }, then: { 'ping': 'prohibited', 'tcp 22': 'open' }, crafted: [unnamed('prohibited')] },
  {
    of: 'icmp.block', when: 'inverted, one type, where all is dropped', with: { zones: { public: { ...outer, target: 'DROP', icmpBlocks: ['echo-request'], icmpBlockInversion: true } } },
    then: { 'ping': 'open' }, crafted: [unnamed('drop')],
  },

  {
    of: 'log.denied', when: 'all', with: { zones: { public: { ...outer, ports: ['22/tcp'] } }, main: { logDenied: 'all' } },
    then: { 'tcp 22': 'open', 'ping': 'open', 'tcp 23': 'prohibited', 'udp 53': 'prohibited', ...through('prohibited') },
    crafted: [{ from: 'outside', to: 'host', kind: 'tcp', flags: 'rst', fate: 'drop' }, { from: 'outside', to: 'inside', kind: 'tcp', flags: 'rst', fate: 'drop' }],
    logged: { 'filter_IN_public_REJECT: ': 4, 'filter_FWD_public_REJECT: ': 6, 'STATE_INVALID_DROP: ': 4 },
  },
  {
    of: 'log.denied', when: 'off', with: { zones: { public: { ...outer, icmpBlocks: ['echo-request'] } }, main: { logDenied: 'off' } },
    then: { 'ping': 'prohibited', 'tcp 23': 'prohibited', 'inside udp 80': 'prohibited' }, logged: {},
  },
  {
    of: 'log.denied', when: 'the filters before the zones',
    with: { zones: { public: { ...outer, ...take } }, main: { logDenied: 'all', ipv6Rpfilter: 'strict', rfc3964Ipv4: true } },
    crafted: [
      { from: 'outside', to: 'host', kind: 'tcp', port: 22, source: [null, '2001:db8:2::9'], fate: 'drop' },
      { from: 'outside', to: [null, '2002:a00:1::1'], kind: 'udp', fate: unreachable },
    ],
    logged: { 'rpfilter_DROP: ': 1, 'RFC3964_IPv4_REJECT: ': 1 },
  },
  ...([['unicast', { 'filter_IN_public_REJECT: ': 4 }], ['multicast', {}], ['broadcast', {}]] as const).map(([logDenied, logged]): Case => ({
    of: 'log.denied.type', when: logDenied, with: { zones: { public: outer }, main: { logDenied } }, then: { 'tcp 23': 'prohibited', 'udp 53': 'prohibited' }, logged,
  })),
  {
    of: 'log.denied.prefix', when: 'a zone that drops, with a blocked type', with: { zones: { public: { ...outer, target: 'DROP', icmpBlocks: ['echo-request'] } }, main: { logDenied: 'all' } },
    then: { 'tcp 23': 'drop', 'ping': 'prohibited', 'inside tcp 80': 'drop' },
    logged: { 'filter_IN_public_DROP: ': 2, 'filter_IN_public_ICMP_BLOCK: ': 2, 'filter_FWD_public_DROP: ': 2 },
  },
  {
    of: 'log.denied.prefix', when: 'a zone whose name leaves no room', with: { zones: { 'a-very-long-name': { ...outer } }, main: { logDenied: 'all' } },
    then: { 'tcp 23': 'prohibited' }, logged: { 'filter_IN_a-very-lon_REJECT: ': 2 },
  },
  {
    of: 'log.denied.prefix', when: 'policies that drop', with: {
      zones: { public: outer, lan: inner }, main: { logDenied: 'all' },
      policies: { in: { target: 'DROP', ingressZones: ['public'], egressZones: ['HOST'] }, by: { target: 'REJECT', ingressZones: ['public'], egressZones: ['lan'] } },
    },
    then: { 'tcp 23': 'drop', 'inside tcp 80': 'prohibited' }, logged: { 'filter_IN_policy_in_DROP: ': 2, 'filter_FWD_policy_by_REJECT: ': 2 },
  },

  ...([['strict', 'drop', 'drop'], ['loose', 'accept', 'drop'], ['no', 'accept', 'accept']] as const).map(([mode, other, nowhere]): Case => ({
    of: 'rpfilter', when: mode, with: { zones: { public: { ...outer, ...take } }, main: { ipv6Rpfilter: mode } },
    around: async (one) => {
      // a sender that nothing leads back to; all others have the default route
      await one.host.firewall.ok(['ip', '-6', 'route', 'add', 'blackhole', '2001:db8:dead::/48'])
      return async () => { await one.host.firewall.ok(['ip', '-6', 'route', 'del', 'blackhole', '2001:db8:dead::/48']) }
    },
    then: { 'tcp 22': 'open', 'udp 53': 'open', 'ping': 'open', ...through('open') },
    crafted: [
      ...(['host', 'inside'] as const).flatMap((to): readonly Crafted[] => [
        { from: 'outside', to, kind: 'tcp', port: 22, source: [null, '2001:db8:2::9'], fate: other },
        { from: 'outside', to, kind: 'udp', port: 53, source: [null, '2001:db8:2::9'], fate: other },
        { from: 'outside', to, kind: 'icmp', source: [null, '2001:db8:dead::1'], fate: nowhere },
      ]),
      { from: 'outside', to: 'host', kind: 'icmp', number: 135, source: [null, '2001:db8:2::9'], fate: 'accept' },
      { from: 'outside', to: 'host', kind: 'icmp', number: 134, source: [null, 'fe80::1'], fate: 'accept' },
      { from: 'outside', to: 'host', kind: 'tcp', port: 22, source: ['198.51.100.9', null], fate: 'accept' },
    ],
  })),
  ...([['yes', unreachable, 'drop'], ['no', 'accept', 'accept']] as const).map(([mode, through, sent]): Case => ({
    of: 'rfc3964', when: mode, with: { zones: { public: { ...outer, ...take } }, main: { rfc3964Ipv4: mode === 'yes' } },
    crafted: [
      ...['2002:a00:1::1', '2002:c0a8:101::1', '2002:ac10:1::1', '2002:a9fe:1::1', '2002:7f00:1::1', '2002:e000:1::1', '::ffff:0:1', '::c000:201'].flatMap((destination): readonly Crafted[] => [
        // addresses of the first 96 bits are never sent on by a router
        ...(destination.startsWith('2002') ? [{ from: 'outside', to: [null, destination], kind: 'udp', fate: through } as const] : []),
      ]),
      { from: 'host', to: [null, '2002:a00:1::1'], kind: 'udp', fate: sent === 'drop' ? sent : 'accept' },
      { from: 'outside', to: [null, '2002:808:808::1'], kind: 'udp', fate: 'accept' },
      { from: 'host', to: [null, '2002:808:808::1'], kind: 'tcp', fate: 'accept' },
    ],
  })),
]
