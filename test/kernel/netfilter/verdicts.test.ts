// Where our verdicts sit (docs/adr/0001), with real packets and both variants of iptables.
// TEST_TIMEOUT_SEC=240
import t from 'tap'
import type { Probe } from '../../support/agent.ts'
import { createNetfilterHost, variants, type NetfilterHost } from '../../support/netfilter-host.ts'
import { addresses, whyNoPrivateHost } from '../../support/private-host.ts'

const { ext4, ext6 } = addresses.firewall
const why = whyNoPrivateHost()

function tcp(port: number, more: Partial<Probe> = {}): readonly Probe[] {
  return [ext4, ext6].map((host) => ({ kind: 'tcp', host, port, ...more }))
}
function udp(port: number): readonly Probe[] {
  return [ext4, ext6].map((host) => ({ kind: 'udp', host, port }))
}
const pings: readonly Probe[] = [ext4, ext6].map((host) => ({ kind: 'ping', host }))
const through: readonly Probe[] = [addresses.inside.v4, addresses.inside.v6].map((host) => ({ kind: 'tcp', host, port: 80 }))

/** Only the first word of `open 192.0.2.2`. */
async function outcomes(one: NetfilterHost, probes: readonly Probe[]): Promise<readonly string[]> {
  return (await one.probe(...probes)).map((result) => result.replace(/^open .*/, 'open'))
}

const prohibited = ['reject icmp3/13', 'reject icmp1/1']
const bothOpen = ['open', 'open']
const bothDrop = ['drop', 'drop']
const open22 = { zones: { public: { ports: ['22/tcp', '53/udp'], interfaces: ['ext0'] } } }
/** Everything forwarded from outside is let pass by us. */
const forwarding = { zones: { public: { target: 'ACCEPT', interfaces: ['ext0'] } } } as const

/** Asks a UDP port, and says as a router would that its answer was too big: FROM TO PORT MTU. */
const tooBig = `
import socket, struct, sys
here, there, port, mtu = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
six = ':' in here
family = socket.AF_INET6 if six else socket.AF_INET
asking = socket.socket(family, socket.SOCK_DGRAM)
asking.bind((here, 0))
asking.settimeout(1)
asking.sendto(b'x' * 64, (there, port))
try:
    asking.recv(2048)
    print('answered')
except TimeoutError:
    print('silence')
pack = lambda text: socket.inet_pton(family, text)
answer = struct.pack('!HHHH', port, asking.getsockname()[1], 1400, 0)
if six:
    told = struct.pack('!IHBB', 6 << 28, 1400, 17, 64) + pack(there) + pack(here) + answer
    message = struct.pack('!BBHI', 2, 0, 0, mtu) + told
else:
    told = struct.pack('!BBHHHBBH', 0x45, 0, 1420, 7, 0x4000, 64, 17, 0) + pack(there) + pack(here) + answer
    message = struct.pack('!BBHHH', 3, 4, 0, 0, mtu) + told
    total = sum(struct.unpack('!%dH' % (len(message) // 2), message))
    total = (total & 0xffff) + (total >> 16)
    message = message[:2] + struct.pack('!H', ~((total & 0xffff) + (total >> 16)) & 0xffff) + message[4:]
raw = socket.socket(family, socket.SOCK_RAW, 58 if six else 1)
raw.bind((here, 0))
raw.sendto(message, (there, 0))
import time; time.sleep(0.1)
`

for (const variant of variants) {
  t.test(variant, { skip: why ?? false }, async (t) => {
    const one = await createNetfilterHost('verdicts', variant, t.testdir())
    t.teardown(() => one.stop())
    const server = await one.host.firewall.agent()
    await server.serve(['tcp:22', 'tcp:23', 'tcp:7000-7010', 'udp:53', 'udp:54', 'udp:7000-7010'])
    await (await one.host.inside.agent()).serve(['tcp:80'])

    t.test('an open port answers, a closed one is rejected with admin-prohibited, ping answers', async (t) => {
      await one.apply(open22)
      t.same(await outcomes(one, tcp(22)), bothOpen)
      t.same(await outcomes(one, tcp(23)), prohibited)
      t.same(await outcomes(one, udp(53)), bothOpen)
      t.same(await outcomes(one, udp(54)), prohibited)
      t.same(await outcomes(one, pings), bothOpen)
      t.same(await outcomes(one, through), prohibited, 'and nothing is forwarded')
    })

    t.test('a foreign DROP in filter INPUT still drops what a zone opens', async (t) => {
      await one.both('-t', 'filter', '-A', 'INPUT', '-p', 'tcp', '--dport', '22', '-j', 'DROP')
      t.same(await outcomes(one, tcp(22)), bothDrop)
      await one.both('-t', 'filter', '-D', 'INPUT', '-p', 'tcp', '--dport', '22', '-j', 'DROP')
      t.same(await outcomes(one, tcp(22)), bothOpen)
    })

    t.test('a DROP in DOCKER-USER still drops what a zone forwards', async (t) => {
      await one.apply(forwarding)
      t.same(await outcomes(one, through), bothOpen)
      await one.both('-t', 'filter', '-N', 'DOCKER-USER')
      await one.both('-t', 'filter', '-A', 'DOCKER-USER', '-j', 'DROP')
      await one.both('-t', 'filter', '-I', 'FORWARD', '-j', 'DOCKER-USER')
      t.same(await outcomes(one, through), bothDrop)
      await one.both('-t', 'filter', '-F', 'FORWARD')
      await one.both('-t', 'filter', '-F', 'DOCKER-USER')
      await one.both('-t', 'filter', '-X', 'DOCKER-USER')
      await one.apply(open22)
    })

    t.test('a foreign ACCEPT opens nothing', async (t) => {
      const places = [
        ['raw', 'PREROUTING'], ['mangle', 'PREROUTING'], ['filter', 'INPUT'], ['security', 'INPUT'], ['nat', 'PREROUTING'],
        ['filter', 'FORWARD'], ['security', 'FORWARD'],
      ] as const
      for (const [table, chain] of places) {
        await one.both('-t', table, '-I', chain, '1', '-j', 'ACCEPT')
        const closed = [...await outcomes(one, tcp(23)), ...await outcomes(one, udp(54)), ...await outcomes(one, through)]
        t.ok(closed.every((result) => result === 'drop' || prohibited.includes(result)), `${table} ${chain} 1: ${closed.join(', ')}`)
        t.same(await outcomes(one, tcp(22)), bothOpen, 'and closes nothing')
        await one.both('-t', table, '-D', chain, '-j', 'ACCEPT')
      }
      for (const chain of ['INPUT', 'FORWARD']) {
        await one.both('-t', 'mangle', '-A', chain, '-j', 'ACCEPT')
        t.same([...await outcomes(one, tcp(23)), ...await outcomes(one, through)], [...prohibited, ...prohibited], `mangle ${chain}, after ours`)
        await one.both('-t', 'mangle', '-D', chain, '-j', 'ACCEPT')
      }
    })

    t.test('Docker puts itself first in FORWARD and does not get past us; the next apply answers politely again', async (t) => {
      await one.both('-t', 'filter', '-N', 'DOCKER')
      await one.both('-t', 'filter', '-A', 'DOCKER', '-j', 'ACCEPT')
      await one.both('-t', 'filter', '-I', 'FORWARD', '-j', 'DOCKER')
      t.same(await outcomes(one, through), bothDrop)
      await one.apply(open22)
      t.same(await outcomes(one, through), prohibited)
      t.match(await one.iptables('-t', 'filter', '-S', 'FORWARD'), /^-A FORWARD -m mark .* -j DERPA_REJECT\n-A FORWARD -j DOCKER$/m)
      await one.both('-t', 'filter', '-D', 'FORWARD', '-j', 'DOCKER')
      await one.both('-t', 'filter', '-F', 'DOCKER')
      await one.both('-t', 'filter', '-X', 'DOCKER')
    })

    t.test('a foreign ACCEPT in front of ours in mangle is behind ours after the next apply', async (t) => {
      await one.both('-t', 'mangle', '-I', 'INPUT', '1', '-j', 'ACCEPT')
      t.same(await outcomes(one, tcp(23)), bothOpen, 'the one place that we cannot see past')
      await one.apply(open22)
      t.same(await outcomes(one, tcp(23)), prohibited)
      await one.both('-t', 'mangle', '-D', 'INPUT', '-j', 'ACCEPT')
    })

    t.test('two ACCEPTs, in filter and in security, open what we reject but not what we drop', async (t) => {
      for (const table of ['filter', 'security']) await one.both('-t', table, '-I', 'INPUT', '1', '-j', 'ACCEPT')
      t.same(await outcomes(one, tcp(23)), bothOpen, 'the limit of what the net can catch')
      await one.apply({ zones: { drop: { target: 'DROP', interfaces: ['ext0'] } } })
      for (const table of ['filter', 'security']) await one.both('-t', table, '-D', 'INPUT', '-j', 'ACCEPT')
      for (const table of ['filter', 'security']) await one.both('-t', table, '-I', 'INPUT', '1', '-j', 'ACCEPT')
      t.same(await outcomes(one, tcp(23)), bothDrop)
      for (const table of ['filter', 'security']) await one.both('-t', table, '-D', 'INPUT', '-j', 'ACCEPT')
    })

    t.test('each way to reject arrives at the peer', async (t) => {
      const types4 = {
        'icmp-net-unreachable': '3/0', 'icmp-host-unreachable': '3/1', 'icmp-proto-unreachable': '3/2', 'icmp-port-unreachable': '3/3',
        'icmp-net-prohibited': '3/9', 'icmp-host-prohibited': '3/10', 'icmp-admin-prohibited': '3/13',
      }
      const types6 = { 'icmp6-no-route': '1/0', 'icmp6-adm-prohibited': '1/1', 'icmp6-addr-unreachable': '1/3', 'icmp6-port-unreachable': '1/4' }
      const rich = (family: string, port: number, type: string): string =>
        `rule family="${family}" port port="${port}" protocol="tcp" reject type="${type}"`
      const rows = [
        ...Object.entries(types4).map(([type, answer], index) => ({ family: 'ipv4', host: ext4, port: 7000 + index, type, answer: `reject icmp${answer}` })),
        { family: 'ipv4', host: ext4, port: 7010, type: 'tcp-reset', answer: 'closed' },
        ...Object.entries(types6).map(([type, answer], index) => ({ family: 'ipv6', host: ext6, port: 7000 + index, type, answer: `reject icmp${answer}` })),
        { family: 'ipv6', host: ext6, port: 7010, type: 'tcp-reset', answer: 'closed' },
      ]
      await one.apply({ zones: { public: { target: 'ACCEPT', richRules: rows.map(({ family, port, type }) => rich(family, port, type)) } } })
      const seen = await outcomes(one, rows.map(({ host, port }) => ({ kind: 'tcp', host, port })))
      rows.forEach(({ family, type, answer }, index) => t.equal(seen[index], answer, `${family} ${type}`))
      t.same(await outcomes(one, tcp(7009)), bothOpen, 'a port without a rule is open')
      t.same(await outcomes(one, udp(7000)), bothOpen, 'another protocol too')
    })

    t.test('a drop zone is silent, and an established flow outlives every change of rules', async (t) => {
      await one.apply(open22)
      const held = [await one.outside.hold(ext4, 22), await one.outside.hold(ext6, 22)]
      await one.apply({ zones: { drop: { target: 'DROP', interfaces: ['ext0'] } } })
      t.same(await outcomes(one, [...tcp(22), ...udp(53), ...pings]), [...bothDrop, ...bothDrop, ...bothDrop])
      for (const [index, handle] of held.entries()) t.match(await one.outside.say(handle, `still there ${index}`), /still there/)
      const own = await one.host.firewall.agent()
      await one.outside.serve(['tcp:443', 'udp:123'])
      t.same((await own.probe([
        { kind: 'tcp', host: addresses.outside.v4, port: 443 }, { kind: 'udp', host: addresses.outside.v6, port: 123 },
        { kind: 'ping', host: addresses.outside.v4 }, { kind: 'ping', host: addresses.outside.v6 },
      ])).map((result) => result.slice(0, 4)), ['open', 'open', 'open', 'open'], 'the host itself goes out as before')
    })

    t.test('a source is in its zone before its interface is, and the first of two zones by name takes it', async (t) => {
      await one.apply({ zones: {
        public: { interfaces: ['ext0'] },
        aaa: { sources: ['192.0.2.0/24', '2001:db8:1::/64'], ports: ['22/tcp'] },
        bbb: { target: 'DROP', sources: [addresses.outside.v4, addresses.outside.v6] },
      } })
      t.same(await outcomes(one, tcp(22)), bothOpen)
      t.same(await outcomes(one, tcp(23)), prohibited)
      await one.apply({ zones: { public: { interfaces: ['ext0'] }, trusted: { target: 'ACCEPT', sources: [addresses.macs.outside] } } })
      t.same(await outcomes(one, tcp(23)), bothOpen, 'by MAC address')
      await one.apply({
        zones: { public: { interfaces: ['ext0'] }, trusted: { target: 'ACCEPT', sources: ['ipset:friends'] } },
        ipsets: { friends: { type: 'hash:net', entries: ['192.0.2.0/30'] } },
      })
      t.same(await outcomes(one, tcp(23)), ['open', prohibited[1]], 'by ipset')
      await one.apply({
        zones: { public: { interfaces: ['ext0'] }, trusted: { target: 'ACCEPT', sources: ['list:friends'] } },
        lists: { friends: ['192.0.2.0/30', '2001:db8:1::/126'] },
      })
      t.same(await outcomes(one, tcp(23)), bothOpen, 'by list')
      await one.apply({ zones: { public: { interfaces: ['ext0'] }, all: { target: 'ACCEPT', sources: ['0.0.0.0/0', '::/0'] } } })
      t.same(await outcomes(one, tcp(23)), bothOpen, 'by 0.0.0.0/0 and ::/0')
    })

    t.test('blocked sources die before every zone, never-block sources and failsafe ports do not', async (t) => {
      const lists = { bad: ['192.0.2.0/24', '2001:db8:1::/64'] }
      await one.apply({ ...open22, lists, main: { block: ['bad'] } })
      t.same(await outcomes(one, [...tcp(22), ...through]), [...bothDrop, ...bothDrop])
      await one.apply({ ...open22, lists, main: { block: ['bad'], failsafePorts: ['23/tcp'] } })
      t.same(await outcomes(one, tcp(23)), bothOpen, 'failsafe port')
      t.same(await outcomes(one, tcp(22)), bothDrop)
      await one.apply({ ...open22, lists, main: { block: ['bad'], neverBlock: [addresses.outside.v4, addresses.outside.v6] } })
      t.same(await outcomes(one, tcp(23)), bothOpen, 'never-block: to this host even what no zone opens')
      t.same(await outcomes(one, through), prohibited, 'forwarded: free of lists, not of zones')
    })

    t.test('panic stops everything both ways, established too, but for failsafe ports', async (t) => {
      await one.apply(open22)
      const held = await one.outside.hold(ext4, 22)
      const own = await one.host.firewall.agent()
      await one.apply({ ...open22, panic: true, main: { failsafePorts: ['23/tcp'] } })
      t.same(await outcomes(one, [...tcp(22), ...pings]), [...bothDrop, ...bothDrop])
      t.equal(await one.outside.say(held, 'hello', 400), 'silent')
      t.not(await own.one({ kind: 'tcp', host: addresses.outside.v4, port: 443 }), 'open')
      t.same(await outcomes(one, tcp(23)), bothOpen)
      await one.apply(open22)
      t.match(await one.outside.say(held, 'again'), /hello|again/, 'what was sent in the panic is sent again by TCP')
      t.same(await outcomes(one, tcp(22)), bothOpen)
    })

    t.test('in a panic a router may say that packets of a failsafe port are too big, and this host believes it', async (t) => {
      const mtuTo = async (to: string): Promise<string> => /\bmtu (\d+)/.exec(await one.host.firewall.ok(['ip', 'route', 'get', to]))?.[1] ?? 'as the link'
      await one.apply({ ...open22, panic: true, main: { failsafePorts: ['53/udp'] } })
      for (const [from, to, peer, about, mtu] of [
        [addresses.outside.v4, ext4, addresses.outside.v4, 53, 1300], [addresses.outside.v6, ext6, addresses.outside.v6, 53, 1320],
      ] as const) {
        t.equal(await one.host.outside.ok(['python3', '-c', tooBig, from, to, String(about), String(mtu)]), 'answered')
        t.equal(await mtuTo(peer), String(mtu), `${peer}: smaller from now on`)
        await one.host.firewall.ok(['ip', 'route', 'flush', 'cache'])
      }
      await one.apply({ ...open22, panic: true })
      await one.host.outside.ok(['python3', '-c', tooBig, addresses.outside.v4, ext4, '53', '1280'])
      t.equal(await mtuTo(addresses.outside.v4), 'as the link', 'where nothing passes nobody is heard')
      await one.apply(open22)
    })

    t.test('within a zone packets are forwarded when it says so', async (t) => {
      const zone = { interfaces: ['ext0', 'int0'], forward: true }
      await one.apply({ zones: { inner: zone } })
      t.same(await outcomes(one, through), bothOpen)
      await one.apply({ zones: { inner: { ...zone, forward: false } } })
      t.same(await outcomes(one, through), prohibited)
      await one.apply({ zones: { inner: zone, other: { sources: [addresses.inside.v4] } } })
      t.same(await outcomes(one, through), [prohibited[0], 'open'], 'the other side is in another zone')
    })
  })
}
