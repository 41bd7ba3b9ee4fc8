// The verdict of single packets, one line each: what happens, at which stage, and what decided.
import t from 'tap'
import { parseAddr4, parseAddr6 } from '../../src/model/addr.ts'
import type { Firewall } from '../../src/model/firewall.ts'
import { judge } from '../../src/model/oracle.ts'
import type { ConnectionState, Packet } from '../../src/model/packet.ts'
import { resolve } from '../../src/model/resolve.ts'
import { reduceRuntime } from '../../src/model/reduce.ts'
import type { AddressList, Settings } from '../../src/model/settings.ts'
import { running, shippedSettings, withIpSets, withMain, withZones } from './shipped.ts'

const shipped = await shippedSettings()

function firewallOf(settings: Settings, panic = false): Firewall {
  const { firewall, problems } = resolve({ ...running(settings), panic })
  if (firewall === null) throw new Error(JSON.stringify(problems))
  return firewall
}

const addr = (text: string): bigint => (text.includes(':') ? parseAddr6(text)! : BigInt(parseAddr4(text)!))

/** `tcp 22`, `udp 53`, `icmp 8`, `gre`. */
function packet(source: string, destination: string, what: string, more: Partial<Packet> = {}): Packet {
  const family = source.includes(':') ? 'ipv6' : 'ipv4'
  const [word = '', number = '0'] = what.split(' ')
  const base = { direction: 'in', family, source: addr(source), destination: addr(destination), inInterface: 'eth0' } as const
  if (word === 'icmp') return { ...base, protocol: family === 'ipv4' ? 1 : 58, icmpType: Number(number), icmpCode: 0, ...more }
  if (word === 'gre') return { ...base, protocol: 47, ...more }
  return { ...base, protocol: word === 'tcp' ? 6 : 17, sourcePort: 40000, destinationPort: Number(number), ...more }
}

function told(firewall: Firewall, one: Packet, state: ConnectionState = 'new'): string {
  const { verdict, stage, zone, rule } = judge(firewall, one, state)
  return `${verdict.kind} at ${stage}${zone === undefined ? '' : ` of ${zone}`} by ${rule}`
}

const us = '198.51.100.1'
const list = (name: string, addrs: readonly string[]): AddressList => ({
  name, file: `/etc/derpanet/lists/${name}.list`, digest: name,
  addrs4: Uint32Array.from(addrs.map((text) => parseAddr4(text)!)).sort(), lengths4: Uint8Array.from(addrs.map(() => 24)), addrs6: new Uint32Array(), lengths6: new Uint8Array(),
})

t.test('a zone lets its services in and rejects the rest, but not ICMP', (t) => {
  const firewall = firewallOf(shipped)
  t.equal(told(firewall, packet('192.0.2.1', us, 'tcp 22')), 'accept at zone of public by zone/public/services=ssh#tcp/22')
  t.equal(told(firewall, packet('192.0.2.1', us, 'tcp 23')), 'reject at zone of public by zone/public/target')
  t.equal(told(firewall, packet('192.0.2.1', us, 'icmp 8')), 'accept at zone of public by zone/public/target#icmp')
  t.equal(told(firewall, packet('2001:db8::1', '2001:db8::2', 'icmp 128')), 'accept at zone of public by zone/public/target#icmp')
  t.end()
})

t.test('a source binding wins over an interface, an interface over the default zone', (t) => {
  const firewall = firewallOf(withZones(shipped, { drop: { interfaces: ['eth0'] }, trusted: { sources: ['192.0.2.0/24'] } }))
  t.equal(told(firewall, packet('192.0.2.1', us, 'tcp 23')), 'accept at zone of trusted by zone/trusted/target')
  t.equal(told(firewall, packet('203.0.113.1', us, 'tcp 22')), 'drop at zone of drop by zone/drop/target')
  t.equal(told(firewall, packet('203.0.113.1', us, 'tcp 22', { inInterface: 'eth1' })), 'accept at zone of public by zone/public/services=ssh#tcp/22')
  t.end()
})

t.test('known connections and loopback pass before any zone, unknown ones die before it', (t) => {
  const firewall = firewallOf(withZones(shipped, { drop: { interfaces: ['eth0', 'lo'] } }))
  const one = packet('192.0.2.1', us, 'tcp 23')
  t.equal(told(firewall, one, 'established'), 'accept at connection by connection/established')
  t.equal(told(firewall, one, 'related'), 'accept at connection by connection/established')
  t.equal(told(firewall, one, 'invalid'), 'drop at connection by connection/invalid')
  t.equal(told(firewall, one, 'untracked'), 'drop at zone of drop by zone/drop/target')
  t.equal(told(firewall, { ...one, inInterface: 'lo' }), 'accept at loopback by loopback')
  t.equal(told(firewall, { ...one, inInterface: 'lo' }, 'invalid'), 'accept at loopback by loopback')
  t.end()
})

t.test('what IPv6 needs passes every zone, INVALID or not', (t) => {
  const firewall = firewallOf(withZones(shipped, { drop: { interfaces: ['eth0'] } }))
  t.equal(told(firewall, packet('fe80::1', 'ff02::1', 'icmp 135'), 'invalid'), 'accept at essential by essential/neighbour-solicitation')
  t.equal(told(firewall, packet('fe80::1', 'fe80::2', 'udp 546', { sourcePort: 547 })), 'accept at essential by essential/dhcpv6-reply')
  t.equal(told(firewall, packet('2001:db8::1', 'fe80::2', 'udp 546', { sourcePort: 547 })), 'drop at zone of drop by zone/drop/target')
  t.equal(told(firewall, packet('2001:db8::1', '2001:db8::2', 'icmp 128')), 'drop at zone of drop by zone/drop/target')
  t.end()
})

t.test('block lists drop before everything, never-block and failsafe ports pass before them', (t) => {
  const lists = new Map([['bad', list('bad', ['192.0.2.0', '203.0.113.0'])]])
  const firewall = firewallOf(withMain({ ...withZones(shipped, { trusted: { interfaces: ['eth0'] } }), lists }, {
    block: ['bad'], neverBlock: ['192.0.2.7'], failsafePorts: [{ port: '2222', protocol: 'tcp' }],
  }))
  t.equal(told(firewall, packet('192.0.2.1', us, 'tcp 22'), 'established'), 'drop at block-list by block/bad')
  t.equal(told(firewall, packet('192.0.2.7', us, 'tcp 22')), 'accept at never-block by never-block/192.0.2.7')
  t.equal(told(firewall, packet('203.0.113.9', us, 'tcp 2222')), 'accept at failsafe by failsafe/2222/tcp')
  t.equal(told(firewall, packet('203.0.113.9', us, 'udp 2222')), 'drop at block-list by block/bad')
  const through = { direction: 'forward', outInterface: 'eth1' } as const
  t.equal(told(firewall, packet('203.0.113.9', us, 'tcp 2222', through)), 'drop at block-list by block/bad', 'the port of another host')
  t.equal(told(firewall, packet('192.0.2.7', us, 'tcp 22', through)), 'accept at forward of trusted by zone/trusted/target#forward', 'zones still judge forwarded ones')
  const origin = judge(firewall, packet('192.0.2.1', us, 'tcp 22'), 'new').origin
  t.equal(origin.file, '/etc/derpanet/lists/bad.list')
  t.end()
})

t.test('panic drops all in every direction, known connections and loopback too', (t) => {
  const firewall = firewallOf(withMain(shipped, { neverBlock: ['192.0.2.7'], failsafePorts: [{ port: '2222', protocol: 'tcp' }] }), true)
  const out = (destination: string, more: Partial<Packet> = {}): Packet => {
    const { inInterface: _, ...rest } = packet(us, destination, 'tcp 443', { direction: 'out', outInterface: 'eth0', ...more })
    return rest
  }
  t.equal(told(firewall, packet('203.0.113.1', us, 'tcp 22'), 'established'), 'drop at panic by panic')
  t.equal(told(firewall, packet('127.0.0.1', '127.0.0.1', 'tcp 22', { inInterface: 'lo' })), 'drop at panic by panic')
  t.equal(told(firewall, packet('203.0.113.1', us, 'tcp 22', { direction: 'forward', outInterface: 'eth1' })), 'drop at panic by panic')
  t.equal(told(firewall, out('203.0.113.1')), 'drop at panic by panic')
  t.equal(told(firewall, out('192.0.2.7')), 'accept at never-block by never-block/192.0.2.7')
  t.equal(told(firewall, out('203.0.113.1', { sourcePort: 2222 })), 'accept at failsafe by failsafe/2222/tcp')
  t.equal(told(firewall, packet('203.0.113.1', us, 'tcp 2222')), 'accept at failsafe by failsafe/2222/tcp')
  t.end()
})

t.test('in a panic routers may still say that packets of failsafe ports and of never-block are too big for them', (t) => {
  const icmp = (type: number, code: number, more: Partial<Packet> = {}): Packet => {
    const { sourcePort: _, destinationPort: __, ...rest } = packet('203.0.113.1', us, 'tcp 1', more)
    return { ...rest, protocol: 1, icmpType: type, icmpCode: code }
  }
  const friends = { neverBlock: ['192.0.2.7'] }
  const open = { failsafePorts: [{ port: '2222', protocol: 'tcp' }] } as const
  for (const main of [friends, open]) {
    const firewall = firewallOf(withMain(shipped, main), true)
    t.equal(told(firewall, icmp(3, 4), 'related'), 'accept at connection by connection/established')
    t.equal(told(firewall, icmp(3, 4, { direction: 'forward', outInterface: 'eth1' }), 'related'), 'drop at panic by panic', 'none of this host')
    t.equal(told(firewall, icmp(3, 3), 'related'), 'drop at panic by panic', 'another error')
    t.equal(told(firewall, icmp(8, 0)), 'drop at panic by panic')
  }
  t.equal(told(firewallOf(shipped, true), icmp(3, 4), 'related'), 'drop at panic by panic', 'where nothing passes nothing is too big')
  const bad = firewallOf({ ...withMain(shipped, { ...open, block: ['bad'] }), lists: new Map([['bad', list('bad', ['203.0.113.0'])]]) }, true)
  t.equal(told(bad, icmp(3, 4), 'related'), 'drop at block-list by block/bad', 'a router in a list is not heard, panic or not')
  t.end()
})

t.test('what the host sends is nobody\'s business', (t) => {
  t.equal(told(firewallOf(withMain(shipped, { defaultZone: 'drop' })), packet(us, '203.0.113.1', 'udp 53', { direction: 'out' })), 'accept at output by output')
  t.end()
})

t.test('forwarded packets stay in their zone when it forwards, or meet its target', (t) => {
  const firewall = firewallOf(withZones(shipped, {
    home: { interfaces: ['lan0', 'lan1'], sources: ['192.0.2.0/24'], forward: true }, work: { interfaces: ['work0', 'work1'], forward: false },
    trusted: { interfaces: ['tr0'], forward: false }, drop: { interfaces: ['dr0'] },
  }))
  const through = (inInterface: string, outInterface: string, source = '203.0.113.1', destination = '203.0.113.2'): string =>
    told(firewall, packet(source, destination, 'tcp 80', { direction: 'forward', inInterface, outInterface }))
  t.equal(through('lan0', 'lan1'), 'accept at forward of home by zone/home/forward')
  t.equal(through('lan0', 'eth9', '203.0.113.1', '192.0.2.5'), 'accept at forward of home by zone/home/forward', 'to a source of the zone')
  t.equal(through('lan0', 'work0'), 'reject at forward of home by zone/home/target#forward')
  t.equal(through('work0', 'work1'), 'reject at forward of work by zone/work/target#forward')
  t.equal(through('tr0', 'dr0'), 'accept at forward of trusted by zone/trusted/target#forward')
  t.equal(through('dr0', 'lan0'), 'drop at forward of drop by zone/drop/target#forward')
  t.equal(through('un0', 'un1'), 'reject at forward of public by zone/public/target#forward', 'two interfaces that nothing binds')
  t.equal(told(firewall, packet('203.0.113.1', '203.0.113.2', 'tcp 80', { direction: 'forward', inInterface: 'dr0', outInterface: 'lan0' }), 'established'),
    'accept at connection by connection/established')
  t.end()
})

t.test('sources may be sets, MAC addresses and lists', (t) => {
  const settings = withIpSets({ ...shipped, lists: new Map([['bad', list('bad', ['203.0.113.0'])]]) }, {
    office: { type: 'hash:net', entries: ['192.0.2.0/25', '198.51.100.10-198.51.100.20'] }, macs: { type: 'hash:mac', entries: ['AA:bb:cc:dd:ee:ff'] },
    ports: { type: 'hash:ip,port', entries: ['192.0.2.200,udp:5000-5010'] }, lan: { type: 'hash:net,iface', entries: ['10.0.0.0/8,eth0'] },
  })
  const firewall = firewallOf(withZones(settings, {
    trusted: { sources: ['ipset:office', 'ipset:macs', 'ipset:ports', 'ipset:lan', '02:00:00:00:00:01'] }, drop: { sources: ['list:bad'] },
  }))
  const zone = (one: Packet): string | undefined => judge(firewall, one, 'new').zone
  t.equal(zone(packet('192.0.2.1', us, 'tcp 1')), 'trusted')
  t.equal(zone(packet('192.0.2.129', us, 'tcp 1')), 'public')
  t.equal(zone(packet('198.51.100.20', us, 'tcp 1')), 'trusted')
  t.equal(zone(packet('198.51.100.21', us, 'tcp 1')), 'public')
  t.equal(zone(packet('198.51.100.21', us, 'tcp 1', { sourceMac: 'aa:bb:cc:dd:ee:ff' })), 'trusted')
  t.equal(zone(packet('2001:db8::1', '2001:db8::2', 'tcp 1', { sourceMac: '02:00:00:00:00:01' })), 'trusted')
  t.equal(zone(packet('192.0.2.200', us, 'udp 1', { sourcePort: 5005 })), 'trusted')
  t.equal(zone(packet('192.0.2.200', us, 'udp 5005', { sourcePort: 1 })), 'public')
  t.equal(zone(packet('10.1.1.1', us, 'tcp 1')), 'trusted')
  t.equal(zone(packet('10.1.1.1', us, 'tcp 1', { inInterface: 'eth1' })), 'public')
  t.equal(zone(packet('203.0.113.77', us, 'tcp 1')), 'drop')
  t.end()
})

t.test('an inverted match is of its family still, and needs a MAC to differ from', (t) => {
  const firewall = firewallOf(withZones(withIpSets(shipped, { s: { type: 'hash:ip', entries: ['192.0.2.9'] } }), {
    trusted: { interfaces: ['eth0'], richRules: ['rule family="ipv4" source NOT address="192.0.2.1" drop'] },
    internal: { interfaces: ['eth1'], richRules: ['rule source NOT mac="02:00:00:00:00:01" drop'] },
    work: { interfaces: ['eth2'], richRules: ['rule source NOT ipset="s" drop'] },
  }))
  const verdict = (one: Packet): string => judge(firewall, one, 'new').verdict.kind
  t.equal(verdict(packet('192.0.2.1', us, 'tcp 1')), 'accept')
  t.equal(verdict(packet('192.0.2.2', us, 'tcp 1')), 'drop')
  t.equal(verdict(packet('2001:db8::1', '2001:db8::2', 'tcp 1')), 'accept')
  t.equal(verdict(packet('192.0.2.1', us, 'tcp 22', { inInterface: 'eth1', sourceMac: '02:00:00:00:00:02' })), 'drop')
  t.equal(verdict(packet('192.0.2.1', us, 'tcp 22', { inInterface: 'eth1', sourceMac: '02:00:00:00:00:01' })), 'accept')
  t.equal(verdict(packet('192.0.2.1', us, 'tcp 22', { inInterface: 'eth1' })), 'accept')
  t.equal(verdict(packet('192.0.2.1', us, 'tcp 22', { inInterface: 'eth2' })), 'drop')
  t.equal(verdict(packet('192.0.2.9', us, 'tcp 22', { inInterface: 'eth2' })), 'accept')
  t.equal(verdict(packet('2001:db8::1', '2001:db8::2', 'tcp 22', { inInterface: 'eth2' })), 'accept', 'an IPv4 set says nothing of IPv6')
  t.end()
})

t.test('rich rules decide by priority, deny before accept', (t) => {
  const firewall = firewallOf(withZones(shipped, { public: { services: ['ssh'], richRules: [
    'rule family="ipv4" source address="192.0.2.0/24" service name="ssh" accept', 'rule family="ipv4" source address="192.0.2.7" drop',
    'rule family="ipv4" priority="-1" source address="192.0.2.7" port port="80" protocol="tcp" accept', 'rule priority="5" protocol value="gre" drop',
  ] } }))
  const rule = (one: Packet): string => judge(firewall, one, 'new').rule
  t.equal(rule(packet('192.0.2.7', us, 'tcp 22')), 'zone/public/rich-rules=rule family="ipv4" source address="192.0.2.7" drop')
  t.match(rule(packet('192.0.2.7', us, 'tcp 80')), /priority="-1"/)
  t.equal(rule(packet('192.0.2.8', us, 'tcp 22')), 'zone/public/services=ssh#tcp/22')
  t.match(rule(packet('192.0.2.8', us, 'gre')), /priority="5"/)
  t.end()
})

t.test('a change at runtime is seen by the next packet', (t) => {
  const runtime = running(shipped)
  const opened = reduceRuntime(runtime, { kind: 'zone-item-add', zone: '', field: 'ports', item: ['9000', 'udp'], timeoutSec: 0 }).world
  const one = packet('192.0.2.1', us, 'udp 9000')
  t.equal(judge(resolve(runtime).firewall!, one, 'new').verdict.kind, 'reject')
  t.equal(judge(resolve(opened).firewall!, one, 'new').verdict.kind, 'accept')
  t.end()
})
