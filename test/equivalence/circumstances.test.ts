// A written deviation excuses a packet under its own circumstance and no other, and an open door only where it says why.
import t from 'tap'
import type { Packet } from '../../src/model/packet.ts'
import { parseRichRule } from '../../src/model/rich/index.ts'
import { addrOf } from '../support/frame.ts'
import { excuseForAnswer, excuseForPacket, respelled } from './deviations.ts'
import { concerns, fitting, waysOf, zoneOf, type Scene, type ScenePolicy } from './scene.ts'

const nowhere: Scene = { backend: 'nftables', defaultZone: 'public', bindings: [], forwards: new Set(), policies: [], since: { bereft: new Set(), rezoned: new Set() }, isCopied: false, ipsets: new Map(), panic: false, denials: [], admissions: [], rich: [], forwardPorts: [] }
const policy = (part: Partial<ScenePolicy>): ScenePolicy => ({ name: 'one', ingress: ['ANY'], egress: ['ANY'], priority: -1, can: () => new Set(['refuse']), ...part })
const through: Packet = {
  direction: 'forward', family: 'ipv4', protocol: 6, source: addrOf('203.0.113.5'), destination: addrOf('198.51.100.7'), sourcePort: 5000, destinationPort: 80,
  inInterface: 'ext0', outInterface: 'int0', sourceMac: '02:00:5e:00:01:02',
}
const bound = (zone: string, interfaces: readonly string[], sources: readonly string[] = []): Scene['bindings'][number] => ({ zone, interfaces, sources })
const excuse = (scene: Partial<Scene>, firewalld: string, derpanetd: string, packet: Partial<Packet> = {}): string | null =>
  excuseForPacket({ packet: { ...through, ...packet }, marker: 1 }, { firewalld, derpanetd }, { ...nowhere, ...scene })?.name ?? null
const passed = 'accept 203.0.113.5>198.51.100.7:80'

t.test('sources come before interfaces, whole names before patterns, the default zone last', (t) => {
  const scene = {
    ...nowhere, ipsets: new Map([['nets', ['198.51.100.0/24']]]),
    bindings: [bound('alpha', ['ext+']), bound('beta', ['ext0'], ['ipset:nets']), bound('gamma', [], ['02:00:5E:00:01:02', '198.51.100.7'])],
  }
  t.strictSame(fitting(scene, 'ingress', through), ['gamma', 'beta', 'alpha'])
  t.strictSame(fitting(scene, 'egress', through), ['beta', 'gamma'], 'a MAC address is nothing that a packet goes to')
  const pairs = { ...nowhere, bindings: [bound('alpha', [], ['ipset:pairs'])] }
  for (const [entry, side, fits] of [
    ['203.0.113.0/24,ext0', 'ingress', true], ['203.0.113.0/24,int0', 'ingress', false], ['198.51.100.0/24,int0', 'egress', true], ['203.0.113.5,tcp:80', 'ingress', true],
    ['203.0.113.5,udp:80', 'ingress', false], ['203.0.113.5,tcp:81', 'ingress', false], ['203.0.113.6,tcp:80', 'ingress', false],
  ] as const) t.strictSame(fitting({ ...pairs, ipsets: new Map([['pairs', [entry]]]) }, side, through), fits ? ['alpha'] : [], `${entry}, ${side}`)
  t.equal(zoneOf({ ...scene, bindings: [] }, 'egress', through), 'public')
  t.equal(zoneOf(scene, 'egress', { ...through, direction: 'in', outInterface: undefined } as unknown as Packet), null, 'the host itself')
  t.end()
})

t.test('by firewalld\'s reading a policy concerns what fits a binding of its zones, by ours what is in them', (t) => {
  const scene = { ...nowhere, bindings: [bound('block', ['int0']), bound('home', [], ['198.51.100.0/24'])] }
  const into = policy({ egress: ['block'] })
  t.equal(concerns(scene, into, through, 'zone'), false)
  t.equal(concerns(scene, into, through, 'binding'), true)
  const from = policy({ ingress: ['public'] })
  t.strictSame((['zone', 'binding', 'binding with default'] as const).map((by) => concerns(scene, from, through, by)), [true, false, true])
  t.end()
})

t.test('a packet also goes to where a forward-port of its port leads, and to where it was seen', (t) => {
  const scene = { ...nowhere, forwardPorts: [{ port: '80-81', protocol: 'tcp', toPort: '', toAddr: '192.0.2.2' }, { port: '82', protocol: 'tcp', toPort: '', toAddr: '192.0.2.3' }] }
  const ends = waysOf(scene, through, ['accept 203.0.113.5>198.51.100.1:81 mark 0x5', 'drop']).map(({ direction, outInterface = '' }) => `${direction} ${outInterface}`)
  t.strictSame(ends, ['forward int0', 'in ', 'forward ext0'])
  t.end()
})

t.test('a policy excuses what it can do, to packets that it concerns on one side alone', (t) => {
  const bindings = [bound('block', ['int0']), bound('home', [], ['198.51.100.0/24'])]
  const drops = { bindings, policies: [policy({ egress: ['block'], can: () => new Set(['refuse']) })] }
  t.equal(excuse(drops, 'drop', passed), 'policies by binding')
  t.equal(excuse(drops, passed, 'drop'), null, 'it accepts nothing')
  t.equal(excuse(drops, passed, 'accept 198.51.100.1>198.51.100.7:80'), null, 'and translates nothing')
  t.equal(excuse({ ...drops, bindings: [bound('block', ['int0'])] }, 'drop', passed), null, 'and concerns it on both sides where no other zone has it')
  const opens = { bindings, policies: [policy({ egress: ['home'], can: () => new Set(['accept']) })] }
  t.equal(excuse(opens, 'drop', passed), null, 'in the zone by both readings')
  t.equal(excuse({ bindings: [bound('home', ['ext0'])], policies: [policy({ egress: ['public'], can: () => new Set(['accept']) })] }, 'drop', passed), 'default zone in policies')
  t.end()
})

t.test('forwarding within a zone excuses that firewalld is the opener one, never the other way', (t) => {
  const scene = { bindings: [bound('public', ['ext0', 'int0']), bound('home', [], ['198.51.100.0/24'])], forwards: new Set(['public']) }
  t.equal(excuse(scene, passed, 'reject icmp3/13'), 'forwarding to what is another zone\'s')
  t.equal(excuse(scene, 'reject icmp3/13', passed), null)
  t.equal(excuse({ ...scene, forwards: new Set(['home']) }, passed, 'reject icmp3/13'), null)
  t.end()
})

t.test('a source that went excuses that firewalld forgot the policies of its zone, and nothing else', (t) => {
  const scene = { bindings: [bound('public', ['ext0', 'int0'])], policies: [policy({ egress: ['public'] })], since: { bereft: new Set(['public']), rezoned: new Set<string>() } }
  t.equal(excuse(scene, passed, 'reject icmp3/13'), 'policies gone with a source')
  t.equal(excuse(scene, 'reject icmp3/13', passed), null, 'a policy that refuses lets nothing in')
  t.equal(excuse({ ...scene, since: { bereft: new Set(['home']), rezoned: new Set() } }, passed, 'reject icmp3/13'), null)
  t.equal(excuse({ ...scene, policies: [policy({ egress: ['public'], can: () => new Set(['masquerade']) })] }, passed, 'reject icmp3/13'), null)
  t.end()
})

t.test('a policy with other zones excuses that firewalld does not have it in force, and nothing that it does not do', (t) => {
  const scene = { bindings: [bound('public', ['ext0', 'int0'])], policies: [policy({ egress: ['public'], can: () => new Set(['accept']) })], since: { bereft: new Set<string>(), rezoned: new Set(['one']) } }
  t.equal(excuse(scene, 'reject icmp3/13', passed), 'policies with other zones')
  t.equal(excuse(scene, passed, 'reject icmp3/13'), null, 'it refuses nothing')
  t.equal(excuse({ ...scene, since: { bereft: new Set(), rezoned: new Set(['two']) } }, 'reject icmp3/13', passed), null)
  t.equal(excuse({ ...scene, policies: [policy({ egress: ['HOST'], can: () => new Set(['accept']) })] }, 'reject icmp3/13', passed), null, 'it is about others')
  t.end()
})

t.test('a direct rule excuses the way in which it refuses what it is about, and no acceptance', (t) => {
  const denials = [{ family: 'ipv4' as const, words: ['FORWARD', '-p', 'tcp', '--dport', '80', '-j', 'DROP'] }]
  t.equal(excuse({ denials }, 'drop', 'reject icmp3/13'), 'how a direct rule refuses')
  t.equal(excuse({ denials }, 'drop', passed), null)
  t.equal(excuse({ denials }, 'drop', 'reject icmp3/13', { destinationPort: 81 }), null)
  t.equal(excuse({ denials: [{ family: 'ipv4', words: ['INPUT', '-j', 'DROP'] }] }, 'drop', 'reject icmp3/13'), null, 'another chain')
  t.end()
})

t.test('a direct rule lets in past zones with the iptables backend alone, and what it is about alone', (t) => {
  const admissions = [{ family: 'ipv4' as const, words: ['FORWARD', '-p', 'tcp', '--dport', '80', '-j', 'ACCEPT'] }]
  t.equal(excuse({ backend: 'iptables', admissions }, passed, 'reject icmp3/13'), 'what a direct rule accepts in the iptables backend')
  t.equal(excuse({ backend: 'iptables', admissions }, 'reject icmp3/13', passed), null)
  t.equal(excuse({ backend: 'nftables', admissions }, passed, 'reject icmp3/13'), null)
  t.equal(excuse({ backend: 'iptables', admissions }, passed.replace(/80$/, '81'), 'reject icmp3/13', { destinationPort: 81 }), null)
  t.end()
})

t.test('a direct rule denies what is translated, where the iptables backend accepted it before', (t) => {
  const scene = { backend: 'iptables' as const, denials: [{ family: 'ipv4' as const, words: ['INPUT', '-p', 'tcp', '--dport', '53', '-j', 'REJECT'] }] }
  const local = { direction: 'in', destination: addrOf('192.0.2.1'), outInterface: undefined } as unknown as Partial<Packet>
  const redirected = 'accept 203.0.113.5>192.0.2.1:53'
  t.equal(excuse(scene, redirected, 'reject icmp3/3', local), 'what a direct rule denies of what is translated, in the iptables backend')
  t.equal(excuse(scene, redirected, 'reject icmp3/3', { ...local, destinationPort: 53 }), null, 'it was sent there')
  t.equal(excuse(scene, 'accept 203.0.113.5>192.0.2.1:54', 'reject icmp3/3', local), null, 'it went elsewhere')
  t.equal(excuse(scene, 'reject icmp3/3', redirected, local), null)
  t.equal(excuse({ ...scene, backend: 'nftables' }, redirected, 'reject icmp3/3', local), null)
  t.equal(excuse({ ...scene, denials: [] }, redirected, 'reject icmp3/3', local), null, 'nothing denies it')
  t.end()
})

t.test('a mask keeps other bits of the mark here, and only where another rule set some', (t) => {
  const rich = ['rule priority="-7" mark set=0xffffffff', 'rule protocol value="tcp" mark set=0x1/0x3'].map((text) => ({ rule: parseRichRule(text), of: 'public' }))
  t.equal(excuse({ rich }, `${passed} mark 0x2`, `${passed} mark 0xfffffffd`), 'masks of marks')
  t.equal(excuse({ rich, backend: 'iptables' }, `${passed} mark 0x2`, `${passed} mark 0xfffffffd`), null)
  t.equal(excuse({ rich: rich.slice(1) }, `${passed} mark 0x2`, `${passed} mark 0xfffffffd`), null)
  t.equal(excuse({ rich }, `${passed} mark 0x2`, 'drop'), null)
  t.end()
})

t.test('what one backend of firewalld does is excused with that backend alone', (t) => {
  for (const [backend, name] of [['iptables', 'how the iptables backend rejects'], ['nftables', null]] as const) {
    t.equal(excuse({ backend }, 'reject icmp3/3', 'reject icmp3/13'), name, backend)
    t.equal(excuse({ backend }, 'reject icmp3/3', passed), null)
    const rule = parseRichRule('rule family="ipv4" source address="203.0.113.0/24" reject type="icmp-port-unreachable"')
    const rich = [{ rule, of: 'public' }]
    t.equal(excuse({ backend, rich }, 'reject icmp3/3', 'reject icmp3/13'), null, 'a rule may have said so')
    t.equal(excuse({ backend, rich }, 'reject icmp3/3', 'reject icmp3/13', { source: addrOf('192.0.2.2') }), name, 'but not of others')
    t.equal(excuse({ backend, rich: [{ rule, of: { ingress: ['ANY'], egress: ['ANY'] } }] }, 'reject icmp3/3', 'reject icmp3/13'), null, 'nor one of a policy')
    t.equal(excuse({ backend, rich: [{ rule, of: 'home' }] }, 'reject icmp3/3', 'reject icmp3/13'), name, 'or of another zone')
    t.equal(excuse({ backend, rich: [{ rule, of: { ingress: ['ANY'], egress: ['HOST'] } }] }, 'reject icmp3/3', 'reject icmp3/13'), name, 'that is about others')
  }
  t.end()
})

t.test('the iptables backend may leave the address alone where a forward-port redirects, if it is not the interface\'s own', (t) => {
  const scene = { backend: 'iptables' as const, forwardPorts: [{ port: '80', protocol: 'tcp', toPort: '22', toAddr: '' }] }
  const [theirs, ours] = ['accept 203.0.113.5>198.51.100.1:22', 'accept 203.0.113.5>192.0.2.1:22']
  const local = { direction: 'in', destination: addrOf('198.51.100.1'), outInterface: undefined } as unknown as Partial<Packet>
  t.equal(excuse(scene, theirs, ours, local), 'redirects of the iptables backend')
  t.equal(excuse(scene, theirs, ours, { ...local, destination: addrOf('192.0.2.1') }), null)
  t.equal(excuse(scene, theirs, ours, { ...local, destinationPort: 81 }), null)
  t.equal(excuse({ ...scene, backend: 'nftables' }, theirs, ours, local), null)
  t.end()
})

t.test('while a MAC address is in a zone the iptables backend may have what is forwarded in another zone that fits it, and nothing else', (t) => {
  const bindings = [bound('home', [], ['02:00:5E:00:AA:02']), bound('trusted', ['ext0'])]
  const scene = { backend: 'iptables' as const, bindings }
  t.equal(excuse(scene, 'drop', passed), 'zones behind others in the iptables backend')
  t.equal(excuse({ ...scene, backend: 'nftables' }, 'drop', passed), null)
  t.equal(excuse({ ...scene, bindings: bindings.slice(1) }, 'drop', passed), null, 'no MAC address')
  t.equal(excuse({ ...scene, bindings: [bound('home', [], ['02:00:5E:00:AA:02'])] }, 'drop', passed), null, 'it is in the default zone')
  t.equal(excuse({ ...scene, bindings: [...bindings, bound('public', [], ['203.0.113.5'])] }, 'drop', passed), 'zones behind others in the iptables backend', 'by an address, and the interface in another')
  t.equal(excuse(scene, 'drop', passed, { direction: 'in' }), null)
  t.end()
})

t.test('without a circumstance no difference is excused', (t) => {
  for (const [theirs, ours] of [['drop', passed], [passed, 'drop'], ['drop', 'reject icmp3/13'], [passed, `${passed} mark 0x5`]] as const) t.equal(excuse({}, theirs, ours), null, `${theirs}, ${ours}`)
  t.end()
})

t.test('rich rules may stand in another order and be spelt otherwise, and nothing else', (t) => {
  const say = (theirs: readonly string[], ours: readonly string[]): string | null =>
    excuseForAnswer(['zone.getRichRules', 'public'], `ok ${JSON.stringify(theirs)}`, `ok ${JSON.stringify(ours)}`, nowhere)?.name ?? null
  const [one, other] = ['rule service name="ssh" log prefix="-t "quoted" \\ " reject', 'rule port port="1" protocol="tcp" accept']
  t.equal(say([one, other], [other, 'rule service name="ssh" log prefix="-t \\"quoted\\" \\\\ " reject']), 'order of lists')
  t.equal(say([one, other], [other]), null)
  t.end()
})

t.test('more policies may be in force here only for a default zone without bindings', (t) => {
  const policies = [policy({ ingress: ['public'] }), policy({ name: 'two', ingress: ['home'] })]
  const say = (scene: Partial<Scene>, theirs: object, ours: object): string | null =>
    excuseForAnswer(['policy.getActivePolicies'], `ok ${JSON.stringify(theirs)}`, `ok ${JSON.stringify(ours)}`, { ...nowhere, policies, ...scene })?.name ?? null
  t.equal(say({}, {}, { one: {} }), 'default zone in policies')
  t.equal(say({}, {}, { two: {} }), null)
  t.equal(say({}, { one: {} }, {}), null)
  t.equal(say({ bindings: [bound('public', ['ext0'])] }, {}, { one: {} }), null)
  t.end()
})

t.test('entries of a set may name a prefix by another address in it, and lists may stay behind what is taken out of them', (t) => {
  const say = (question: string, theirs: unknown, ours: unknown, isCopied = true): string | null =>
    excuseForAnswer([question], `ok ${JSON.stringify(theirs)}`, `ok ${JSON.stringify(ours)}`, { ...nowhere, isCopied })?.name ?? null
  t.equal(say('ipset.getEntries', ['2001:db8::1/64', '192.0.2.9/24,tcp:80'], ['2001:db8::/64', '192.0.2.0/24,tcp:80']), 'spelling of a prefix in a set')
  t.equal(say('ipset.getEntries', ['2001:db8::1/64'], ['2001:db8::1/65']), null)
  t.equal(say('ipset.getEntries', ['2001:db8::1/64'], []), null)
  t.equal(say('permanent.zone.getSettings2', { target: 'default', protocols: ['6'] }, { target: 'default' }), 'what runtimeToPermanent leaves behind')
  t.equal(say('permanent.zone.getSettings2', { target: 'default', protocols: ['6'] }, { target: 'default' }, false), null)
  t.equal(say('permanent.zone.getSettings2', { target: 'default' }, { target: 'default', protocols: ['6'] }), null)
  t.equal(say('permanent.zone.getSettings2', { target: 'DROP', protocols: ['6'] }, { target: 'default' }), null)
  t.equal(say('permanent.zone.getSettings2', { target: 'default', masquerade: true }, { target: 'default' }), null)
  t.end()
})

t.test('ports may be named one by one that are one range, and rules twice that are spelt twice; no port and no rule more', (t) => {
  const say = (theirs: object, ours: object): string | null =>
    excuseForAnswer(['permanent.zone.getSettings2'], `ok ${JSON.stringify(theirs)}`, `ok ${JSON.stringify(ours)}`, nowhere)?.name ?? null
  t.equal(say({ ports: [['1001', 'udp'], ['546-65535', 'udp'], ['80', 'tcp']] }, { ports: [['546-65535', 'udp'], ['80', 'tcp']] }), 'ports before a reload')
  t.equal(say({ ports: [['80', 'tcp'], ['81', 'tcp']] }, { ports: [['80-81', 'tcp']] }), 'ports before a reload')
  t.equal(say({ ports: [['80', 'tcp'], ['80', 'udp']] }, { ports: [['80', 'tcp']] }), null)
  t.equal(say({ ports: [['80', 'tcp']] }, { ports: [['80-81', 'tcp']] }), null)
  t.equal(say({ ports: [['80', 'tcp'], ['80', 'tcp']] , target: 'DROP' }, { ports: [['80', 'tcp']], target: 'ACCEPT' }), null)
  const clamps = ['rule tcp-mss-clamp value="pmtu"', 'rule tcp-mss-clamp', 'rule tcp-mss-clamp value="1000"']
  const spelt = (theirs: readonly string[], ours: readonly string[]): string | null => respelled(`ok ${JSON.stringify({ rich_rules: theirs })}`, `ok ${JSON.stringify({ rich_rules: ours })}`)?.name ?? null
  t.equal(spelt(clamps.slice(0, 1), clamps.slice(0, 2)), 'spelling of tcp-mss-clamp')
  t.equal(spelt(clamps.slice(0, 1), clamps), null)
  t.equal(spelt([], clamps.slice(0, 1)), null)
  t.end()
})
