// Which zone decides.
import { addresses } from '../../support/private-host.ts'
import type { Case } from './words.ts'

const { outside, inside, macs } = addresses
const forwardPorts = [{ port: '80', protocol: 'tcp', toPort: '8080', toAddr: '' }]
const rich6 = ['rule family="ipv6" forward-port port="80" protocol="tcp" to-port="8080"']
const take = { target: 'ACCEPT' } as const
const deny = { target: 'DROP' } as const
const net = ['192.0.2.0/24', '2001:db8:1::/64']
const only = [outside.v4, outside.v6]
const all = { 'tcp 22': 'open', 'udp 53': 'open', 'ping': 'open', 'inside tcp 80': 'open', 'inside udp 80': 'open', 'inside ping': 'open' } as const
const none = { 'tcp 22': 'drop', 'udp 53': 'drop', 'ping': 'drop', 'inside tcp 80': 'drop', 'inside udp 80': 'drop', 'inside ping': 'drop' } as const
const refused = {
  'tcp 22': 'prohibited', 'udp 53': 'prohibited', 'ping': 'open', 'inside tcp 80': 'prohibited', 'inside udp 80': 'prohibited', 'inside ping': 'prohibited',
} as const

export const zoneCases: readonly Case[] = [
  { of: 'zone.order', when: 'only the default zone, which drops', with: { zones: { public: deny } }, then: none },
  { of: 'zone.order', when: 'the interface in a zone that accepts, the default zone drops', with: { zones: { public: deny, trusted: { ...take, interfaces: ['ext0'] } } }, then: all },
  {
    of: 'zone.order', when: 'the source in a zone that drops, the interface in one that accepts, first by name',
    with: { zones: { public: take, aaa: { ...take, interfaces: ['ext0'] }, zzz: { ...deny, sources: only } } },
    then: { ...none, 'second > tcp 22': 'open', 'second > udp 53': 'open', 'second > ping': 'open', 'second > inside tcp 80': 'open' },
  },
  {
    of: 'zone.order', when: 'the source in a zone that accepts, everything else drops', with: { zones: { public: deny, aaa: { ...deny, interfaces: ['ext0'] }, zzz: { ...take, sources: only } } },
    then: { ...all, 'second > tcp 22': 'drop', 'second > udp 53': 'drop', 'second > ping': 'drop', 'second > inside tcp 80': 'drop' },
  },
  {
    of: 'zone.one', when: 'a forward-port in the zone of the interface, none in that of the source',
    with: { zones: { public: { forwardPorts, richRules: rich6 }, later: { interfaces: ['ext0'], forwardPorts, richRules: rich6 }, aaa: { sources: net } } }, then: { 'tcp 80': 'prohibited' },
  },
  {
    of: 'zone.one', when: 'a forward-port in the default zone, none in that of the interface',
    with: { zones: { public: { forwardPorts, richRules: rich6 }, later: { interfaces: ['ext0'] } } }, then: { 'tcp 80': 'prohibited' },
  },
  {
    of: 'zone.one', when: 'a forward-port in the zone itself', with: { zones: { public: {}, later: { interfaces: ['ext0'], forwardPorts, richRules: rich6 } } }, then: { 'tcp 80': 'open' },
  },
  {
    of: 'zone.one', when: 'the port is open in the zone of the interface and in the default zone, not in that of the source',
    with: { zones: { public: { ports: ['22/tcp', '53/udp'] }, later: { interfaces: ['ext0'], ports: ['22/tcp', '53/udp'] }, aaa: { sources: only } } },
    then: { 'tcp 22': 'prohibited', 'udp 53': 'prohibited', 'second > tcp 22': 'open', 'second > udp 53': 'open' },
  },
  {
    of: 'zone.one', when: 'a policy from HOST to the default zone rejects', with: {
      zones: { public: {}, outer: { interfaces: ['ext0'] } },
      policies: { out: { target: 'REJECT', ingressZones: ['HOST'], egressZones: ['public'] } },
    },
    then: {
      'host > outside tcp 443': 'open', 'host > outside udp 443': 'open', 'host > outside ping': 'open',
      'host > inside tcp 443': 'prohibited', 'host > inside udp 443': 'denied here', 'host > inside ping': 'denied here',
    },
  },
  {
    of: 'zone.overlap', when: 'the net in a zone first by name accepts, the address in a later one drops', with: { zones: { aaa: { ...take, sources: net }, bbb: { ...deny, sources: only } } },
    then: { ...all, 'second > tcp 22': 'open' },
  },
  {
    of: 'zone.overlap', when: 'the net in a zone first by name drops, the address in a later one accepts', with: { zones: { aaa: { ...deny, sources: net }, bbb: { ...take, sources: only } } },
    then: { ...none, 'second > tcp 22': 'drop' },
  },
  {
    of: 'zone.overlap', when: 'the address first by name', with: { zones: { aaa: { ...deny, sources: only }, bbb: { ...take, sources: net } } },
    then: { ...none, 'second > tcp 22': 'open', 'second > udp 53': 'open', 'second > ping': 'open' },
  },
  {
    of: 'zone.overlap', when: 'the MAC address first by name, then the address', with: { zones: { aaa: { ...take, sources: [macs.outside] }, bbb: { ...deny, sources: net } } }, then: all,
  },
  {
    of: 'zone.overlap', when: 'the address first by name, then the MAC address', with: { zones: { aaa: { ...deny, sources: only }, bbb: { ...take, sources: [macs.outside] } } },
    then: { ...none, 'second > tcp 22': 'open' },
  },
  {
    of: 'zone.priority', when: 'the later zone by name has the lower number',
    with: { zones: { aaa: { ...deny, sources: only }, bbb: { ...take, sources: net, ingressPriority: -5, egressPriority: -5 } } }, then: all,
  },
  {
    of: 'zone.priority', when: 'an interface of a lower number than the source', with: { zones: { aaa: { ...deny, sources: only }, bbb: { ...take, interfaces: ['ext0'], ingressPriority: -1 } } }, then: all,
  },
  {
    of: 'zone.priority', when: 'an interface of the same number as the source',
    with: { zones: { aaa: { ...take, interfaces: ['ext0'], ingressPriority: -1 }, bbb: { ...deny, sources: only, ingressPriority: -1 } } }, then: { ...none, 'second > tcp 22': 'open' },
  },
  {
    of: 'zone.priority', when: 'a lower number in the default zone', with: { zones: { public: { ...take, ingressPriority: -10 }, bbb: { ...deny, interfaces: ['ext0'] } } }, then: none,
  },
  { of: 'zone.wildcard', when: 'ext+ accepts, the default zone drops', with: { zones: { public: deny, aaa: { ...take, interfaces: ['ext+'] } } }, then: { ...all, 'inside > outside tcp 443': 'drop' } },
  { of: 'zone.wildcard', when: 'exte+ accepts, the default zone drops', with: { zones: { public: deny, aaa: { ...take, interfaces: ['exte+'] } } }, then: none },
  { of: 'zone.wildcard', when: '+ alone accepts, the default zone drops', with: { zones: { public: deny, aaa: { ...take, interfaces: ['+'] } } }, then: { ...all, 'inside > outside tcp 443': 'open' } },
  { of: 'zone.sources', when: 'addresses', with: { zones: { public: {}, aaa: { ...take, sources: only } } }, then: { ...all, 'second > tcp 22': 'prohibited' } },
  { of: 'zone.sources', when: 'prefixes', with: { zones: { public: {}, aaa: { ...take, sources: ['192.0.2.2/31', '2001:db8:1::2/127'] } } }, then: { ...all, 'second > tcp 22': 'open' } },
  { of: 'zone.sources', when: 'a dotted mask', with: { zones: { public: {}, aaa: { ...take, sources: ['192.0.2.0/255.255.255.0'] } } }, then: { 'tcp 22': ['open', 'reject icmp1/1'], 'ping': 'open' } },
  { of: 'zone.sources', when: 'another prefix', with: { zones: { public: {}, aaa: { ...take, sources: ['203.0.113.0/24', '2001:db8:f::/48'] } } }, then: refused },
  { of: 'zone.sources', when: 'a MAC address', with: { zones: { public: {}, aaa: { ...take, sources: [macs.outside] } } }, then: { ...all, 'second > tcp 22': 'open' } },
  { of: 'zone.sources', when: 'another MAC address', with: { zones: { public: {}, aaa: { ...take, sources: ['02:00:5e:00:01:99'] } } }, then: refused },
  {
    of: 'zone.sources', when: 'ipsets of both families', with: {
      zones: { public: {}, aaa: { ...take, sources: ['ipset:four', 'ipset:six'] } },
      ipsets: { four: { type: 'hash:net', entries: ['192.0.2.0/30'] }, six: { type: 'hash:ip', options: { family: 'inet6' }, entries: [outside.v6] } },
    },
    then: { ...all, 'second > tcp 22': ['open', 'reject icmp1/1'] },
  },
  {
    of: 'zone.sources', when: 'an ipset of MAC addresses',
    with: { zones: { public: {}, aaa: { ...take, sources: ['ipset:cards'] } }, ipsets: { cards: { type: 'hash:mac', entries: [macs.outside] } } }, then: all,
  },
  {
    of: 'zone.egress', when: 'the address in another zone than the interface', with: {
      zones: { public: { interfaces: ['ext0'] }, servers: { sources: [inside.v4, inside.v6] }, lan: { interfaces: ['int0'] } },
      policies: { in: { ...take, ingressZones: ['public'], egressZones: ['servers'] } },
    },
    then: { 'inside tcp 80': 'open', 'inside udp 80': 'open', 'inside ping': 'open' },
  },
  {
    of: 'zone.egress', when: 'the zone of the interface has the lower number', with: {
      zones: { public: { interfaces: ['ext0'] }, servers: { sources: [inside.v4, inside.v6] }, lan: { interfaces: ['int0'], egressPriority: -1 } },
      policies: { in: { ...take, ingressZones: ['public'], egressZones: ['servers'] } },
    },
    then: { 'inside tcp 80': 'prohibited', 'inside udp 80': 'prohibited', 'inside ping': 'prohibited' },
  },
  {
    of: 'zone.egress', when: 'overlapping destinations: the first by name', with: {
      zones: { public: { interfaces: ['ext0'] }, aaa: { sources: ['198.51.100.0/24', '2001:db8:2::/64'] }, bbb: { sources: [inside.v4, inside.v6] } },
      policies: { in: { ...take, ingressZones: ['public'], egressZones: ['aaa'] } },
    },
    then: { 'inside tcp 80': 'open', 'inside udp 80': 'open', 'inside ping': 'open' },
  },
]
