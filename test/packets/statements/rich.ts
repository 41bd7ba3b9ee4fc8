// Rich rules, policies, ipsets and direct rules.
import { addresses } from '../../support/private-host.ts'
import type { Case, Crafted, Fates, PacketWords } from './words.ts'

const { outside, inside, firewall, macs } = addresses
const outer = { interfaces: ['ext0'] } as const
const inner = { interfaces: ['int0'] } as const
const take = { target: 'ACCEPT' } as const
const lines = { public: outer, lan: inner } as const
const forward = (port: string, toPort: string, toAddr = '', protocol = 'tcp') => ({ port, protocol, toPort, toAddr })
const ssh = (more: string, priority = ''): string => `rule${priority === '' ? '' : ` priority="${priority}"`} port port="22" protocol="tcp" ${more}`
const fromBoth = (text: (family: string, source: string) => string): readonly string[] => [text('ipv4', outside.v4), text('ipv6', outside.v6)]
const through = (fates: Fates): Readonly<Record<PacketWords, Fates>> => ({ 'inside tcp 80': fates, 'inside udp 80': fates, 'inside ping': fates })

const types = {
  ipv4: [
    ['icmp-net-unreachable', 'reject icmp3/0'], ['icmp-host-unreachable', 'reject icmp3/1'], ['icmp-proto-unreachable', 'reject icmp3/2'], ['icmp-port-unreachable', 'reject icmp3/3'],
    ['icmp-net-prohibited', 'reject icmp3/9'], ['icmp-host-prohibited', 'reject icmp3/10'], ['icmp-admin-prohibited', 'reject icmp3/13'], ['tcp-reset', 'closed'],
  ],
  ipv6: [['icmp6-no-route', 'reject icmp1/0'], ['icmp6-adm-prohibited', 'reject icmp1/1'], ['icmp6-addr-unreachable', 'reject icmp1/3'], ['icmp6-port-unreachable', 'reject icmp1/4'], ['tcp-reset', 'closed']],
} as const
const rejects = Object.entries(types).flatMap(([family, rows]) => rows.map(([type, fate], index) => ({ family, type, fate, port: 7000 + index })))

export const richCases: readonly Case[] = [
  { of: 'rich.order', when: 'a denial beside an accept', with: { zones: { public: { ...outer, richRules: [ssh('accept'), ssh('drop')] } } }, then: { 'tcp 22': 'drop' } },
  { of: 'rich.order', when: 'a denial beside a plain port', with: { zones: { public: { ...outer, ports: ['22/tcp'], richRules: [ssh('drop')] } } }, then: { 'tcp 22': 'drop' } },
  { of: 'rich.order', when: 'an accept of a negative priority before a denial', with: { zones: { public: { ...outer, richRules: [ssh('drop'), ssh('accept', '-1')] } } }, then: { 'tcp 22': 'open' } },
  { of: 'rich.order', when: 'negative priorities: the lower first', with: { zones: { public: { ...outer, richRules: [ssh('accept', '-1'), ssh('drop', '-2')] } } }, then: { 'tcp 22': 'drop' } },
  { of: 'rich.order', when: 'a denial of a positive priority behind a plain port', with: { zones: { public: { ...outer, ports: ['22/tcp'], richRules: [ssh('drop', '5'), 'rule priority="5" port port="23" protocol="tcp" drop'] } } }, then: { 'tcp 22': 'open', 'tcp 23': 'drop' } },
  { of: 'rich.order', when: 'positive priorities: the lower first, and all before the target', with: { zones: { public: { ...outer, target: 'DROP', richRules: [ssh('accept', '5'), ssh('drop', '6')] } } }, then: { 'tcp 22': 'open', 'tcp 23': 'drop' } },
  { of: 'rich.order', when: 'a log of priority 0 beside a denial', with: { zones: { public: { ...outer, richRules: [ssh('drop'), ssh('log prefix="seen " accept')] } } }, then: { 'tcp 22': 'drop' }, logged: { 'seen ': 2 } },
  {
    of: 'rich.order', when: 'a denial of a negative priority before a log', with: { zones: { public: { ...outer, richRules: [ssh('drop', '-1'), ssh('log prefix="seen " accept')] } } },
    then: { 'tcp 22': 'drop' }, logged: {},
  },
  {
    of: 'rich.order', when: 'an ICMP block beside an accept of the same type',
    with: { zones: { public: { ...outer, richRules: ['rule icmp-type name="echo-request" accept', 'rule icmp-block name="echo-request"'] } } }, then: { 'ping': 'prohibited' },
  },
  {
    of: 'rich.order', when: 'the same order in a policy', with: {
      zones: lines, policies: { p: { ingressZones: ['public'], egressZones: ['lan'], richRules: ['rule port port="80" protocol="tcp" accept', 'rule port port="80" protocol="tcp" drop', 'rule priority="-1" port port="80" protocol="udp" accept', 'rule port port="80" protocol="udp" drop'] } },
    },
    then: { 'inside tcp 80': 'drop', 'inside udp 80': 'open' },
  },
  {
    of: 'rich.bare', when: 'one sender is accepted', with: { zones: { public: { ...outer, richRules: fromBoth((family, source) => `rule family="${family}" source address="${source}" accept`) } } },
    then: { 'tcp 22': 'open', 'udp 53': 'open', 'ping': 'open', 'second > tcp 22': 'prohibited', ...through('prohibited') },
  },
  {
    of: 'rich.bare', when: 'one sender is dropped', with: { zones: { public: { ...outer, ...take, richRules: fromBoth((family, source) => `rule family="${family}" source address="${source}" drop`) } } },
    then: { 'tcp 22': 'drop', 'udp 53': 'drop', 'ping': 'drop', 'second > tcp 22': 'open', ...through('open') },
  },
  {
    of: 'rich.bare', when: 'a MAC address is accepted', with: { zones: { public: { ...outer, target: 'DROP', richRules: [`rule source mac="${macs.outside}" accept`] } } },
    then: { 'tcp 22': 'open', 'udp 53': 'open', 'ping': 'open', 'second > tcp 22': 'open', 'inside tcp 80': 'drop' },
  },
  {
    of: 'rich.element', when: 'each element, for one sender', with: {
      zones: { public: { ...outer, richRules: fromBoth((family, source) => `rule family="${family}" source address="${source}" `).flatMap((head) => [
        `${head}service name="web" accept`, `${head}port port="22-23" protocol="tcp" accept`, `${head}protocol value="gre" accept`, `${head}source-port port="2000" protocol="udp" accept`,
        `${head}icmp-block name="echo-request"`,
      ]) } },
      services: { web: { ports: ['80/tcp', '80/udp'] } },
    },
    then: {
      'tcp 80': 'open', 'udp 80': 'open', 'tcp 22': 'open', 'tcp 23': 'open', 'tcp 24': 'prohibited', 'udp 53 from 2000': 'open', 'udp 53': 'prohibited', 'ping': 'prohibited',
      'second > tcp 80': 'prohibited', 'second > tcp 22': 'prohibited', 'second > ping': 'open', ...through('prohibited'),
    },
    crafted: [{ from: 'outside', to: 'host', kind: 'protocol', number: 47, fate: 'accept' }, { from: 'outside', to: 'inside', kind: 'protocol', number: 47, fate: 'prohibited' }],
  },
  {
    of: 'rich.element', when: 'one family, one destination', with: {
      zones: { public: { ...outer, richRules: ['rule family="ipv4" port port="22" protocol="tcp" accept', 'rule family="ipv6" icmp-type name="echo-request" drop', `rule family="ipv6" destination address="${firewall.ext6}" port port="23" protocol="tcp" accept`, `rule family="ipv4" destination address="${firewall.int4}" port port="23" protocol="tcp" accept`] } },
    },
    then: { 'tcp 22': ['open', 'reject icmp1/1'], 'ping': ['open', 'drop'], 'tcp 23': ['reject icmp3/13', 'open'] },
    crafted: [{ from: 'outside', to: [firewall.int4, null], kind: 'tcp', port: 23, fate: 'accept' }],
  },
  {
    of: 'rich.invert', when: 'all but one sender, all but one destination', with: {
      zones: { public: { ...outer, richRules: [
        ...fromBoth((family, source) => `rule family="${family}" source NOT address="${source}" port port="22" protocol="tcp" accept`),
        `rule family="ipv4" destination NOT address="${firewall.ext4}" port port="23" protocol="tcp" accept`, `rule family="ipv6" destination NOT address="${firewall.int6}" port port="23" protocol="tcp" accept`,
      ] } },
    },
    then: { 'tcp 22': 'prohibited', 'second > tcp 22': 'open', 'tcp 23': ['reject icmp3/13', 'open'] },
  },
  {
    of: 'rich.reject', when: 'each type', with: {
      zones: { public: { ...outer, ...take, richRules: rejects.map(({ family, type, port }) => `rule family="${family}" port port="${port}" protocol="tcp" reject type="${type}"`) } },
    },
    then: Object.fromEntries([0, 1, 2, 3, 4, 5, 6, 7].map((index) => [`tcp ${7000 + index}`, [types.ipv4[index]![1], types.ipv6[index]?.[1] ?? 'open'] as const])),
  },
  {
    of: 'rich.reject', when: 'UDP and ping', with: {
      zones: { public: { ...outer, ...take, richRules: [
        'rule family="ipv4" port port="53" protocol="udp" reject type="icmp-host-prohibited"', 'rule family="ipv6" port port="53" protocol="udp" reject type="icmp6-addr-unreachable"',
        'rule family="ipv4" icmp-type name="echo-request" reject type="icmp-net-unreachable"', 'rule icmp-type name="echo-request" reject',
      ] } },
    },
    then: { 'udp 53': ['reject icmp3/10', 'reject icmp1/3'], 'udp 54': 'open', 'ping': ['reject icmp3/0', 'reject icmp1/4'] },
  },
  {
    of: 'rich.mark', when: 'a port is marked', with: { zones: { public: { ...outer, ...take, richRules: ['rule port port="22" protocol="tcp" mark set="0x5"', 'rule port port="23" protocol="tcp" mark set="0x10/0x30"'] } } },
    crafted: [
      { from: 'outside', to: 'host', kind: 'tcp', port: 22, fate: 'accept mark 0x5' }, { from: 'outside', to: 'inside', kind: 'tcp', port: 22, fate: 'accept mark 0x5' },
      { from: 'outside', to: 'inside', kind: 'tcp', port: 23, fate: 'accept mark 0x10' }, { from: 'outside', to: 'host', kind: 'tcp', port: 24, fate: 'accept' },
    ],
  },
  {
    of: 'rich.mark', when: 'a port that is not open is marked', with: { zones: { public: { ...outer, richRules: ['rule port port="22" protocol="tcp" mark set="0x5"'] } } }, then: { 'tcp 22': 'prohibited' },
  },
  {
    of: 'rich.nflog', when: 'log and nflog', with: {
      zones: { public: { ...outer, richRules: ['rule priority="-1" port port="22" protocol="tcp" log prefix="to ssh " level="info"', 'rule priority="-1" port port="53" protocol="udp" nflog group="7" prefix="to dns"', ssh('accept')] } },
    },
    then: { 'tcp 22': 'open', 'udp 53': 'prohibited', 'tcp 23': 'prohibited' }, logged: { 'to ssh ': 2, 'to dns': 2 },
  },
  {
    of: 'rich.nflog', when: 'a limit', with: { zones: { public: { ...outer, richRules: ['rule priority="-1" port port="22" protocol="tcp" log prefix="few " limit value="1/h" burst=1'] } } },
    then: { 'tcp 22': 'prohibited', 'second > tcp 22': 'prohibited' }, logged: { 'few ': 2 },
  },

  { of: 'policy.sides', when: 'from public to lan', with: { zones: lines, policies: { p: { ...take, ingressZones: ['public'], egressZones: ['lan'] } } }, then: { ...through('open'), 'inside > outside tcp 443': 'prohibited', 'tcp 22': 'prohibited' } },
  { of: 'policy.sides', when: 'from lan to public', with: { zones: lines, policies: { p: { ...take, ingressZones: ['lan'], egressZones: ['public'] } } }, then: { ...through('prohibited'), 'inside > outside tcp 443': 'open', 'inside > outside ping': 'open' } },
  { of: 'policy.sides', when: 'from public to elsewhere', with: { zones: { ...lines, other: { interfaces: ['tun9'] } }, policies: { p: { ...take, ingressZones: ['public'], egressZones: ['other'] } } }, then: through('prohibited') },
  { of: 'policy.sides', when: 'from ANY to ANY', with: { zones: lines, policies: { p: { ...take, ingressZones: ['ANY'], egressZones: ['ANY'] } } }, then: { ...through('open'), 'inside > outside udp 443': 'open', 'tcp 22': 'prohibited', 'udp 53': 'prohibited' } },
  { of: 'policy.sides', when: 'from ANY to HOST', with: { zones: lines, policies: { p: { ...take, ingressZones: ['ANY'], egressZones: ['HOST'] } } }, then: { ...through('prohibited'), 'tcp 22': 'open', 'udp 53': 'open', 'inside > host tcp 22': 'open' } },
  { of: 'policy.sides', when: 'from several zones', with: { zones: lines, policies: { p: { ...take, ingressZones: ['public', 'lan'], egressZones: ['public', 'lan'] } } }, then: { ...through('open'), 'inside > outside tcp 443': 'open' } },
  { of: 'policy.active', when: 'disabled', with: { zones: lines, policies: { p: { ...take, disable: true, ingressZones: ['public'], egressZones: ['lan'] } } }, then: through('prohibited') },
  { of: 'policy.active', when: 'one of its egress zones is in use', with: { zones: { ...lines, idle: {} }, policies: { p: { ...take, ingressZones: ['public'], egressZones: ['idle', 'lan'] } } }, then: through('open') },
  { of: 'policy.active', when: 'no ingress zone is in use', with: { zones: { ...lines, idle: {} }, policies: { p: { ...take, ingressZones: ['idle'], egressZones: ['HOST'] } } }, then: { 'tcp 22': 'prohibited' } },
  { of: 'policy.priority', when: 'negative, dropping', with: { zones: { public: { ...outer, ports: ['22/tcp'] } }, policies: { p: { target: 'DROP', priority: -1, ingressZones: ['public'], egressZones: ['HOST'] } } }, then: { 'tcp 22': 'drop', 'ping': 'drop' } },
  { of: 'policy.priority', when: 'positive, dropping', with: { zones: { public: { ...outer, ports: ['22/tcp'] } }, policies: { p: { target: 'DROP', priority: 1, ingressZones: ['public'], egressZones: ['HOST'] } } }, then: { 'tcp 22': 'open', 'tcp 23': 'drop', 'ping': 'drop' } },
  ...([[-1, -2, 'open'], [-2, -1, 'drop'], [2, 1, 'open'], [1, 2, 'drop']] as const).map(([drop, open, fate]): Case => ({
    of: 'policy.priority', when: `a drop of ${drop}, an accept of ${open}`, with: { zones: lines, policies: {
      a: { target: 'DROP', priority: drop, ingressZones: ['public'], egressZones: ['HOST'] }, b: { priority: open, ingressZones: ['public'], egressZones: ['HOST'], ports: ['22/tcp', '53/udp'] },
      c: { target: 'DROP', priority: drop, ingressZones: ['public'], egressZones: ['lan'] }, d: { priority: open, ingressZones: ['public'], egressZones: ['lan'], ports: ['80/tcp'] },
    } },
    then: { 'tcp 22': fate, 'udp 53': fate, 'inside tcp 80': fate },
  })),
  {
    of: 'policy.priority', when: 'beside the forwarding of the zone', with: {
      zones: { lan: { interfaces: ['ext0', 'int0'], forward: true } }, policies: { p: { target: 'DROP', priority: -1, ingressZones: ['lan'], egressZones: ['lan'] } },
    },
    then: through('drop'),
  },
  {
    of: 'policy.priority', when: 'behind the forwarding of the zone', with: {
      zones: { lan: { interfaces: ['ext0', 'int0'], forward: true } }, policies: { p: { target: 'DROP', priority: 1, ingressZones: ['lan'], egressZones: ['lan'] } },
    },
    then: through('open'),
  },
  ...([['CONTINUE', 'open', 'prohibited'], ['ACCEPT', 'open', 'open'], ['REJECT', 'prohibited', 'prohibited'], ['DROP', 'drop', 'drop']] as const).map(([target, opened, other]): Case => ({
    of: 'policy.target', when: target, with: { zones: { public: { ...outer, ports: ['22/tcp'] }, lan: inner }, policies: {
      p: { target, priority: -1, ingressZones: ['public'], egressZones: ['HOST'] }, q: { target, priority: -1, ingressZones: ['public'], egressZones: ['lan'] },
    } },
    then: { 'tcp 22': opened, 'tcp 23': other, 'udp 53': other, ...through(other) },
  })),
  {
    of: 'policy.elements', when: 'ports, services, protocols and source ports', with: { zones: lines, services: { web: { ports: ['80/tcp'] } }, policies: {
      p: { ingressZones: ['public'], egressZones: ['lan'], services: ['web'], ports: ['81/udp'], protocols: ['gre'], sourcePorts: ['2000/tcp'] },
    } },
    then: { 'inside tcp 80': 'open', 'inside udp 81': 'open', 'inside udp 80': 'prohibited', 'inside tcp 81': 'prohibited', 'inside tcp 81 from 2000': 'open', 'tcp 80': 'prohibited' },
    crafted: [{ from: 'outside', to: 'inside', kind: 'protocol', number: 47, fate: 'accept' }, { from: 'outside', to: 'host', kind: 'protocol', number: 47, fate: 'prohibited' }],
  },
  {
    of: 'policy.elements', when: 'ICMP blocks and rich rules', with: { zones: lines, policies: {
      p: { ...take, ingressZones: ['public'], egressZones: ['lan'], icmpBlocks: ['echo-request'], richRules: [`rule family="ipv4" source address="${outside.v4}" port port="80" protocol="tcp" reject type="tcp-reset"`] },
    } },
    then: { 'inside ping': 'prohibited', 'inside tcp 80': ['closed', 'open'], 'second > inside tcp 80': 'open', 'inside udp 80': 'open', 'ping': 'open' },
  },
  {
    of: 'policy.host', when: 'to one zone', with: { zones: lines, policies: { p: { target: 'REJECT', ingressZones: ['HOST'], egressZones: ['public'], ports: ['443/udp'] } } },
    then: { 'host > outside tcp 443': 'prohibited', 'host > outside udp 443': 'open', 'host > outside ping': 'denied here', 'host > inside tcp 443': 'open', 'host > itself tcp 22': 'open' },
  },
  {
    of: 'policy.host', when: 'to ANY, and what comes in', with: { zones: { public: { ...outer, ...take } }, policies: { p: { target: 'DROP', ingressZones: ['HOST'], egressZones: ['ANY'] } } },
    then: { 'host > outside tcp 443': 'denied here', 'host > inside udp 443': 'denied here', 'tcp 22': 'open', 'udp 53': 'open', 'ping': 'open', ...through('open') },
  },
  {
    of: 'policy.nat', when: 'masquerade from lan to public', with: { zones: lines, policies: { p: { ...take, masquerade: true, ingressZones: ['lan'], egressZones: ['public'] } } },
    then: { 'inside > outside tcp 443': [`open ${firewall.ext4}`, `open ${inside.v6}`], 'inside > outside udp 443': [`open ${firewall.ext4}`, `open ${inside.v6}`] },
  },
  {
    of: 'policy.nat', when: 'masquerade from elsewhere', with: { zones: lines, policies: { p: { ...take, ingressZones: ['lan'], egressZones: ['public'] }, q: { masquerade: true, ingressZones: ['other'], egressZones: ['public'] } } },
    then: { 'inside > outside tcp 443': [`open ${inside.v4}`, `open ${inside.v6}`] },
  },
  {
    of: 'policy.nat', when: 'forward-ports to HOST and to ANY', with: { zones: lines, policies: {
      p: { ingressZones: ['public'], egressZones: ['HOST'], forwardPorts: [forward('90', '8080')] }, q: { ingressZones: ['public'], egressZones: ['ANY'], forwardPorts: [forward('91', '80', inside.v4), forward('92', '80', inside.v6)] },
    } },
    then: { 'tcp 90': ['open', 'reject icmp1/1'], 'tcp 91': ['open', 'reject icmp1/1'], 'tcp 92': ['reject icmp3/13', 'open'] },
  },
  {
    of: 'policy.nat', when: 'forward-ports from elsewhere', with: { zones: lines, policies: { q: { ingressZones: ['lan'], egressZones: ['ANY'], forwardPorts: [forward('91', '80', inside.v4)] } } },
    then: { 'tcp 91': 'prohibited' },
  },

  ...([
    ['hash:ip', { four: { type: 'hash:ip', entries: [outside.v4] }, six: { type: 'hash:ip', options: { family: 'inet6' }, entries: [outside.v6] } }, 'prohibited'],
    ['hash:net', { four: { type: 'hash:net', entries: ['192.0.2.0/24'] }, six: { type: 'hash:net', options: { family: 'inet6' }, entries: ['2001:db8:1::/64'] } }, 'open'],
  ] as const).map(([when, ipsets, second]): Case => ({
    of: 'ipset', when: `${when} as source of a rich rule`, with: { ipsets, zones: { public: { ...outer, richRules: [
      'rule family="ipv4" source ipset="four" port port="22" protocol="tcp" accept', 'rule family="ipv6" source ipset="six" port port="22" protocol="tcp" accept',
    ] } } },
    then: { 'tcp 22': 'open', 'second > tcp 22': second, 'tcp 23': 'prohibited' },
  })),
  {
    of: 'ipset', when: 'hash:mac as source of a rich rule and of a zone', with: { ipsets: { cards: { type: 'hash:mac', entries: [macs.inside] }, others: { type: 'hash:mac', entries: [macs.outside] } },
      zones: { public: { ...outer, richRules: ['rule source ipset="others" port port="22" protocol="tcp" accept'] }, lan: { ...take, sources: ['ipset:cards'] } } },
    then: { 'tcp 22': 'open', 'tcp 23': 'prohibited', 'inside > outside tcp 443': 'open' },
  },
  {
    of: 'ipset', when: 'hash:ip,port: of the sender as a source, of the receiver as a destination', with: {
      ipsets: {
        four: { type: 'hash:ip,port', entries: [`${outside.v4},tcp:2000`] }, six: { type: 'hash:ip,port', options: { family: 'inet6' }, entries: [`${outside.v6},tcp:2000`] },
        here: { type: 'hash:ip,port', entries: [`${firewall.ext4},tcp:23`] },
      },
      zones: { public: { ...outer, richRules: ['rule family="ipv4" source ipset="four" accept', 'rule family="ipv6" source ipset="six" accept', 'rule family="ipv4" destination ipset="here" accept'] } },
    },
    then: { 'tcp 22 from 2000': 'open', 'tcp 22 from 2001': 'prohibited', 'second > tcp 22 from 2000': 'prohibited', 'tcp 23': ['open', 'reject icmp1/1'], 'tcp 24': 'prohibited' },
  },
  {
    of: 'ipset', when: 'a range of addresses', with: { ipsets: { four: { type: 'hash:ip', entries: ['192.0.2.2-192.0.2.3'] } }, zones: { public: { ...outer, richRules: ['rule family="ipv4" source ipset="four" drop'] } } },
    then: { 'ping': ['drop', 'open'], 'second > ping': ['drop', 'open'] },
  },
  {
    of: 'ipset', when: 'as destination, and all but it', with: { ipsets: { four: { type: 'hash:ip', entries: [firewall.ext4] } }, zones: { public: { ...outer, richRules: [
      'rule family="ipv4" destination ipset="four" port port="22" protocol="tcp" accept', 'rule family="ipv4" destination NOT ipset="four" port port="23" protocol="tcp" accept',
    ] } } },
    then: { 'tcp 22': ['open', 'reject icmp1/1'], 'tcp 23': 'prohibited' },
    crafted: [{ from: 'outside', to: [firewall.int4, null], kind: 'tcp', port: 23, fate: 'accept' }],
  },

  {
    of: 'direct', when: 'an accept of what the zone closes', with: { zones: { public: outer } },
    beside: [['-t', 'filter', '-I', 'INPUT', '-j', 'ACCEPT'], ['-t', 'filter', '-I', 'FORWARD', '-j', 'ACCEPT'], ['-t', 'raw', '-I', 'PREROUTING', '-j', 'ACCEPT']],
    then: { 'tcp 22': 'prohibited', 'udp 53': 'prohibited', ...through('prohibited') },
  },
  {
    of: 'direct', when: 'a denial of what the zone opens', with: { zones: { public: { ...outer, ...take } } },
    beside: [['-t', 'filter', '-A', 'INPUT', '-p', 'tcp', '--dport', '22', '-j', 'DROP'], ['-t', 'filter', '-A', 'FORWARD', '-p', 'udp', '-j', 'DROP']],
    then: { 'tcp 22': 'drop', 'tcp 23': 'open', 'inside udp 80': 'drop', 'inside tcp 80': 'open' },
  },
] satisfies readonly (Case & { readonly crafted?: readonly Crafted[] })[]
