// Settings → Firewall: order of decision, names, everything that is wrong at once.
import t from 'tap'
import type { Firewall, Match, Rule, Zone } from '../../src/model/firewall.ts'
import { formatPrefix } from '../../src/model/addr.ts'
import { resolve } from '../../src/model/resolve.ts'
import { reduceRuntime } from '../../src/model/reduce.ts'
import type { IcmpTypeSettings, PolicySettings, Settings, ZoneSettings } from '../../src/model/settings.ts'
import { emptyPolicy, emptyService } from '../../src/model/settings.ts'
import { entryOf, running, shippedSettings, withIpSets, withMain, withZones } from './shipped.ts'

const shipped = await shippedSettings()

function firewallOf(settings: Settings): Firewall {
  const { firewall, problems } = resolve(running(settings))
  if (firewall === null) throw new Error(JSON.stringify(problems))
  return firewall
}

function zoneOf(zone: Partial<ZoneSettings>, settings = shipped): Zone {
  return firewallOf(withZones(settings, { work: { interfaces: ['eth0'], ...zone } })).zones.get('work')!
}

/** One line a rule: what it matches and what it decides. */
function show({ match, verdict }: Rule): string {
  const decides = verdict.kind === 'reject' ? `reject ${verdict.type}` : verdict.kind
  return [...words(match), decides].join(' ')
}

function words({ family, source, destination, protocol }: Match): string[] {
  const side = (what: string, address: Match['source']): string[] => {
    if (address === undefined) return []
    const value = address.kind === 'prefix' ? formatPrefix(address.prefix) : address.kind === 'mac' ? address.mac : address.kind === 'ipset' ? `ipset:${address.name}` : `list:${address.list.name}`
    return [`${what} ${address.invert ? 'not ' : ''}${value}`]
  }
  const proto = (): string[] => {
    switch (protocol?.kind) {
      case undefined: return []
      case 'port': return [`${protocol.protocol} ${protocol.ports.first}${protocol.ports.last > protocol.ports.first ? `-${protocol.ports.last}` : ''}`]
      case 'source-port': return [`from ${protocol.protocol} ${protocol.ports.first}`]
      case 'protocol': return [`protocol ${protocol.number}`]
      case 'icmp': return [`icmp ${protocol.type}${protocol.code === null ? '' : `/${protocol.code}`}`]
      case 'any-icmp': return ['any icmp']
    }
  }
  return [...(family === undefined || source?.kind === 'prefix' || destination?.kind === 'prefix' ? [] : [family]), ...side('from', source), ...side('to', destination), ...proto()]
}

const allRules = (zone: Zone): readonly Rule[] => [...zone.rules, ...zone.targetRules]
const rulesOf = (zone: Partial<ZoneSettings>, settings = shipped): readonly string[] => allRules(zoneOf({ services: [], ...zone }, settings)).map(show)

t.test('the shipped configuration has no problems and warns of nothing', (t) => {
  const { problems, warnings } = resolve(running(shipped))
  t.same(problems, [])
  t.same(warnings, [])
  t.end()
})

t.test('a zone decides in firewalld\'s order', (t) => {
  t.same(rulesOf({
    services: ['ssh'], ports: [{ port: '8080', protocol: 'tcp' }], protocols: ['gre'], sourcePorts: [{ port: '67', protocol: 'udp' }],
    icmpBlocks: ['echo-request'],
    richRules: [
      'rule priority="5" service name="ftp" drop', 'rule service name="http" accept', 'rule port port="99" protocol="udp" drop',
      'rule priority="-1" drop', 'rule priority="-2" protocol value="esp" accept',
    ],
  }), [
    'protocol 50 accept', 'drop',
    'ipv4 icmp 8 reject admin-prohibited', 'ipv6 icmp 128 reject admin-prohibited', 'udp 99 drop',
    'tcp 22 accept', 'tcp 8080 accept', 'protocol 47 accept', 'from udp 67 accept', 'tcp 80 accept',
    'tcp 21 drop', 'any icmp accept', 'reject admin-prohibited',
  ])
  t.end()
})

t.test('targets say what becomes of the rest, and inversion what becomes of ICMP', (t) => {
  t.same(rulesOf({ target: 'default' }), ['any icmp accept', 'reject admin-prohibited'])
  t.same(rulesOf({ target: 'REJECT' }), ['reject admin-prohibited'])
  t.same(rulesOf({ target: 'DROP' }), ['drop'])
  t.same(rulesOf({ target: 'ACCEPT' }), ['accept'])
  t.same(rulesOf({ target: 'default', icmpBlockInversion: true }), ['any icmp reject admin-prohibited', 'reject admin-prohibited'])
  t.same(rulesOf({ target: 'ACCEPT', icmpBlockInversion: true }), ['any icmp reject admin-prohibited', 'accept'])
  t.same(rulesOf({ target: 'DROP', icmpBlockInversion: true }), ['drop'])
  const inverted = rulesOf({ target: 'DROP', icmpBlockInversion: true, icmpBlocks: ['echo-request'] })
  t.same(inverted, ['ipv4 icmp 8 accept', 'ipv6 icmp 128 accept', 'drop'])
  t.match(rulesOf({ target: 'DROP', icmpBlocks: ['echo-request'] }), [/reject admin-prohibited$/, /reject admin-prohibited$/, 'drop'])
  t.end()
})

t.test('forwarded packets are judged by the target', (t) => {
  const verdict = (target: ZoneSettings['target']): string => show(zoneOf({ target }).forwardRule)
  t.equal(verdict('default'), 'reject admin-prohibited')
  t.equal(verdict('REJECT'), 'reject admin-prohibited')
  t.equal(verdict('DROP'), 'drop')
  t.equal(verdict('ACCEPT'), 'accept')
  t.end()
})

t.test('services keep to their destination and bring their includes once', (t) => {
  t.same(rulesOf({ services: ['mdns'] }).slice(0, 2), ['to 224.0.0.251 udp 5353 accept', 'to ff02::fb udp 5353 accept'])
  t.same(rulesOf({ services: ['dhcpv6-client'] }).slice(0, 1), ['to fe80::/64 udp 546 accept'])
  const services = new Map(shipped.services)
  services.set('both', entryOf({ ...emptyService, ports: [{ port: '1', protocol: 'tcp' }], includes: ['ssh', 'again'] }))
  services.set('again', entryOf({ ...emptyService, includes: ['both', 'ssh'], sourcePorts: [{ port: '2', protocol: 'udp' }], protocols: ['esp'] }))
  const zone = zoneOf({ services: ['both'] }, { ...shipped, services })
  t.same(zone.rules.slice(0, 4).map(show), ['tcp 1 accept', 'tcp 22 accept', 'protocol 50 accept', 'from udp 2 accept'])
  t.same(zone.rules.slice(0, 2).map(({ id }) => id), ['zone/work/services=both#tcp/1', 'zone/work/services=both#ssh:tcp/22'])
  t.end()
})

t.test('rich rules say what they mean', (t) => {
  const first = (rule: string): string => rulesOf({ richRules: [rule] })[0]!
  t.equal(first('rule family="ipv4" source address="192.0.2.0/24" drop'), 'from 192.0.2.0/24 drop')
  t.equal(first('rule family="ipv4" source NOT address="192.0.2.1" reject'), 'from not 192.0.2.1 reject port-unreachable')
  t.equal(first('rule family="ipv6" service name="ssh" reject type="no-route"'), 'ipv6 tcp 22 reject no-route')
  t.equal(first('rule family="ipv4" source address="192.0.2.0/24" reject type="tcp-reset"'), 'from 192.0.2.0/24 protocol 6 reject tcp-reset')
  t.equal(first('rule source mac="AA:bb:cc:dd:ee:ff" drop'), 'from aa:bb:cc:dd:ee:ff drop')
  t.equal(first('rule family="ipv6" icmp-type name="redirect" accept'), 'ipv6 icmp 137/0 accept')
  t.same(rulesOf({ richRules: ['rule family="ipv6" service name="mdns" drop'] })[0], 'to ff02::fb udp 5353 drop')
  t.end()
})

function problemsOf(settings: Settings): readonly string[] {
  return resolve(running(settings)).problems.map(({ code, detail }) => `${code}: ${detail}`)
}

t.test('every unknown name and every impossible rule is told at once', (t) => {
  const settings = withMain(withZones(shipped, {
    work: {
      services: ['nosuch'], icmpBlocks: ['nosuch'], sources: ['ipset:nosuch', 'list:nosuch'],
      richRules: [
        'rule service name="nosuch" accept', 'rule source ipset="nosuch" drop', 'rule icmp-block name="nosuch"',
        'rule family="ipv4" port port="1" protocol="udp" reject type="tcp-reset"',
        'rule family="ipv4" destination address="192.0.2.1" service name="mdns" accept',
      ],
    },
  }), { block: ['nosuch'] })
  t.same([...problemsOf(settings)].sort(), [
    'INVALID_ICMPTYPE: nosuch', 'INVALID_ICMPTYPE: nosuch', 'INVALID_IPSET: nosuch', 'INVALID_IPSET: nosuch',
    "INVALID_RULE: Destination conflict with service 'mdns'.", 'INVALID_RULE: tcp-reset is for TCP only', 'INVALID_SERVICE: nosuch',
    'INVALID_SERVICE: nosuch', 'INVALID_SOURCE: list:nosuch', "INVALID_SOURCE: there is no list 'nosuch'",
  ])
  t.equal(resolve(running(settings)).firewall, null)
  t.end()
})

t.test('what iptables has no words for is refused by name', (t) => {
  t.same(problemsOf(withMain(shipped, { ipv6Rpfilter: 'loose-forward' })), ['INVALID_VALUE: IPv6_rpfilter=loose-forward cannot be had with iptables'])
  t.same(problemsOf(withZones(shipped, { public: { protocols: ['hopopt'], richRules: ['rule protocol value="0" drop'] } })), [
    'INVALID_PROTOCOL: 0: protocol 0 (hopopt) cannot be matched by iptables', 'INVALID_PROTOCOL: hopopt: protocol 0 (hopopt) cannot be matched by iptables',
  ])
  const numbers: IcmpTypeSettings = { ...shipped.icmptypes.get('echo-request')!.value, destinations: ['ipv4'], ipv4: [[255, null]], ipv6: [] }
  const odd: Settings = { ...shipped, icmptypes: new Map([...shipped.icmptypes, ['odd', entryOf(numbers)]]) }
  t.same(problemsOf(withZones(odd, { public: { icmpBlocks: ['odd'] } })), ['INVALID_ICMPTYPE: odd: type 255 cannot be matched by iptables'])
  t.end()
})

t.test('a log prefix is cut to what the kernel takes, and a person is told', (t) => {
  const warningsOf = (rule: string): readonly string[] => (
    resolve(running(withZones(shipped, { public: { richRules: [rule] } }))).warnings.map(({ code, detail }) => `${code}: ${detail}`))
  const prefixOf = (rule: string): unknown => firewallOf(withZones(shipped, { public: { richRules: [rule] } })).zones.get('public')!.rules
    .flatMap(({ verdict }) => ('prefix' in verdict ? [verdict.prefix] : []))[0]
  const log = (prefix: string): string => `rule service name="ssh" log prefix="${prefix}" accept`
  t.equal(prefixOf(log('x'.repeat(29))), 'x'.repeat(29))
  t.same(warningsOf(log('x'.repeat(29))), [])
  t.equal(prefixOf(log('x'.repeat(127))), 'x'.repeat(29))
  t.same(warningsOf(log('x'.repeat(127))), [`INVALID_LOG_PREFIX: log is written as '${'x'.repeat(29)}': the kernel takes 29 bytes of a prefix`])
  t.equal(prefixOf(log(`${'x'.repeat(28)}\u00e9`)), 'x'.repeat(28), 'no half character')
  t.equal(prefixOf(`rule service name="ssh" nflog prefix="${'x'.repeat(64)}" accept`), 'x'.repeat(63))
  t.end()
})

const withPolicies = (policies: Readonly<Record<string, Partial<PolicySettings>>>, settings = shipped): Settings => (
  { ...settings, policies: new Map([...settings.policies, ...Object.entries(policies).map(([name, policy]) => [name, entryOf({ ...emptyPolicy, ...policy })] as const)]) })

t.test('policies in force stand in the order of their priorities, then names', (t) => {
  const active = { ingressZones: ['public'], egressZones: ['HOST'], services: ['http'] }
  const names = (policies: Readonly<Record<string, Partial<PolicySettings>>>): readonly string[] => (
    firewallOf(withPolicies(policies)).policies.map(({ name }) => name).filter((name) => name !== 'allow-host-ipv6'))
  t.same(names({ b: active, a: active, late: { ...active, priority: 5 }, early: { ...active, priority: -9 } }), ['early', 'a', 'b', 'late'])
  t.same(names({ off: { ...active, disable: true }, nobody: { ...active, ingressZones: ['dmz'] }, to: { ingressZones: ['ANY'], egressZones: ['dmz'] } }), [],
    'disabled, or no packet can be between its zones')
  t.same(names({ either: { ...active, ingressZones: ['dmz', 'public'] }, out: { ...active, ingressZones: ['HOST'], egressZones: ['ANY'] } }), ['either', 'out'])
  t.equal(firewallOf(shipped).policies.map(({ name }) => name).join(), 'allow-host-ipv6', 'of the shipped ones the gateway set is disabled')
  t.end()
})

t.test('a policy decides in the order of a zone, and ends in its target', (t) => {
  const rules = (policy: Partial<PolicySettings>): readonly string[] => (
    firewallOf(withPolicies({ mine: { ingressZones: ['ANY'], egressZones: ['HOST'], ...policy } })).policies.find(({ name }) => name === 'mine')!.rules.map(show))
  const all: Partial<PolicySettings> = {
    services: ['ssh'], ports: [{ port: '8080', protocol: 'tcp' }], protocols: ['gre'], sourcePorts: [{ port: '67', protocol: 'udp' }], icmpBlocks: ['timestamp-request'],
    richRules: ['rule priority="5" service name="http" drop', 'rule protocol value="esp" drop', 'rule priority="-5" protocol value="ah" accept'],
  }
  t.same(rules(all), ['protocol 51 accept', 'ipv4 icmp 13 reject admin-prohibited', 'protocol 50 drop', 'tcp 22 accept', 'tcp 8080 accept', 'protocol 47 accept',
    'from udp 67 accept', 'tcp 80 drop'])
  t.same(rules({ target: 'REJECT' }), ['reject admin-prohibited'], 'of ICMP too')
  t.same([rules({ target: 'DROP' }), rules({ target: 'ACCEPT' }), rules({})], [['drop'], ['accept'], []])
  t.end()
})

t.test('what a policy cannot do between its zones is refused', (t) => {
  const refused = (policy: Partial<PolicySettings>, settings = shipped): readonly string[] => problemsOf(withPolicies({ mine: policy }, settings))
  const forward = 'rule family="ipv4" forward-port port="80" protocol="tcp" to-port="8080"'
  const between = (from: string, to: string, richRules: readonly string[]): Partial<PolicySettings> => ({ ingressZones: [from], egressZones: [to], richRules })
  t.match(refused(between('HOST', 'ANY', ['rule masquerade'])), [/^INVALID_ZONE: policy mine: masquerade is for packets that pass through/])
  t.match(refused(between('ANY', 'HOST', ['rule masquerade'])), [/^INVALID_ZONE/])
  t.match(refused(between('ANY', 'HOST', [`${forward} to-addr="192.0.2.1"`])), [/^INVALID_FORWARD: policy mine: a forward-port to another host/])
  t.match(refused(between('ANY', 'ANY', [forward])), [/^INVALID_FORWARD: policy mine: to-addr is needed/])
  const bound = withZones(shipped, { dmz: { interfaces: ['eth1'] }, work: { sources: ['192.0.2.0/24'] } })
  t.match(refused(between('ANY', 'dmz', [`${forward} to-addr="192.0.2.1"`]), bound), [/^INVALID_ZONE: .* egress zone dmz has interfaces/])
  t.same(refused(between('ANY', 'work', [`${forward} to-addr="192.0.2.1"`]), bound), [])
  t.match(refused(between('HOST', 'ANY', ['rule source mac="02:00:5e:00:00:01" drop'])), [/^INVALID_RULE: mac source in a policy from HOST/])
  const cards = withIpSets(withZones(bound, { home: { sources: ['02:00:5e:00:00:01'] } }), { cards: { type: 'hash:mac' } })
  t.match(refused({ ingressZones: ['dmz'], egressZones: ['ANY'], masquerade: true }, cards), [/^INVALID_ZONE: .* zone home has a MAC address/])
  t.same(refused({ ingressZones: ['ANY'], egressZones: ['dmz'], masquerade: true }, cards), [])
  t.match(refused(between('ANY', 'dmz', ['rule source ipset="cards" masquerade']), cards), [/^INVALID_RULE: masquerade and mac source/])
  t.match(refused(between('nosuch', 'HOST', [])), [], 'nobody can come from there')
  t.match(refused({ ingressZones: ['nosuch', 'public'], egressZones: ['HOST'] }), [/^INVALID_ZONE: policy mine: there is no zone 'nosuch'/])
  t.end()
})

t.test('masquerading and forward-ports of a zone stand in the order in which they are tried', (t) => {
  const zone = zoneOf({
    masquerade: true,
    forwardPorts: [{ port: '80', protocol: 'tcp', toPort: '8080', toAddr: '' }, { port: '81-82', protocol: 'udp', toPort: '', toAddr: '2001:db8::1' }],
    richRules: ['rule priority="3" masquerade', 'rule family="ipv6" forward-port port="443" protocol="tcp" to-port="8443"', 'rule priority="-3" family="ipv6" masquerade',
      'rule priority="-1" family="ipv4" source address="192.0.2.0/24" forward-port port="80" protocol="tcp" to-port="81" to-addr="198.51.100.7"'],
  })
  t.same(zone.destinationNat.map(({ match, translation }) => [show({ match, verdict: { kind: 'accept' } } as Rule), translation.kind]), [
    ['from 192.0.2.0/24 tcp 80 accept', 'destination'], ['ipv4 tcp 80 accept', 'redirect'], ['ipv6 udp 81-82 accept', 'destination'], ['ipv6 tcp 443 accept', 'redirect'],
  ])
  t.same(zone.sourceNat.map(({ match }) => match.family ?? 'both'), ['ipv6', 'ipv4', 'both'], 'a plain masquerade is IPv4 only, a rich one of both')
  t.end()
})

t.test('packets must be forwarded in the families in which connections go on to other hosts', (t) => {
  const forwards = (zone: Partial<ZoneSettings>): readonly string[] => firewallOf(withZones(shipped, { work: { interfaces: ['eth0'], ...zone } })).forwarding
  const forwardPort = (toAddr: string): Partial<ZoneSettings> => ({ forwardPorts: [{ port: '80', protocol: 'tcp', toPort: '81', toAddr }] })
  t.same(forwards({}), [])
  t.same(forwards({ masquerade: true }), ['ipv4'])
  t.same(forwards({ richRules: ['rule masquerade'] }), ['ipv4', 'ipv6'])
  t.same(forwards({ richRules: ['rule family="ipv6" masquerade'] }), ['ipv6'])
  t.same(forwards(forwardPort('')), [], 'to this host itself needs none')
  t.same([forwards(forwardPort('192.0.2.1')), forwards(forwardPort('2001:db8::1'))], [['ipv4'], ['ipv6']])
  t.same(forwards({ masquerade: true, interfaces: [] }), [], 'nothing is bound to it')
  t.end()
})

t.test('a destination set is refused where original destinations are judged', (t) => {
  const settings = withIpSets(withZones(shipped, { work: {
    interfaces: ['eth0'], richRules: ['rule family="ipv4" destination ipset="s" service name="ssh" accept', 'rule family="ipv4" destination ipset="s" forward-port port="80" protocol="tcp" to-port="81"'],
  } }), { s: { type: 'hash:ip' } })
  t.same(problemsOf(settings), [])
  t.same(problemsOf(withMain(settings, { strictForwardPorts: true })), ['COMMAND_FAILED: a destination ipset cannot be asked with StrictForwardPorts'])
  t.same(problemsOf(withMain(settings, { published: 'zone' })), ['COMMAND_FAILED: a destination ipset cannot be asked with published: zone', 'COMMAND_FAILED: a destination ipset cannot be asked with published: zone'])
  t.end()
})

t.test('a service in use brings its helpers, where they listen', (t) => {
  const { firewall, warnings } = resolve(running(withZones(shipped, { home: { interfaces: ['eth0'] } })))
  t.same(firewall?.zones.get('home')?.helpers?.map(({ id, match, verdict }) => ({ id, match, verdict })), [{
    id: 'zone/home/services=samba-client#helper/netbios-ns@udp/137',
    match: { family: 'ipv4', protocol: { kind: 'port', protocol: 'udp', ports: { first: 137, last: 137 } } },
    verdict: { kind: 'helper', name: 'netbios-ns' },
  }])
  t.same(warnings, [])
  t.end()
})

t.test('a source in two zones is refused with ZONE_CONFLICT, however it is written', (t) => {
  t.same(problemsOf(withZones(shipped, { home: { sources: ['192.0.2.0/24'] }, work: { sources: ['192.0.2.7/255.255.255.0'] } })),
    ["ZONE_CONFLICT: '192.0.2.0/24' already bound to 'home'"])
  t.same(problemsOf(withZones(shipped, { home: { interfaces: ['eth0'] }, work: { interfaces: ['eth0'] } })),
    ["ZONE_CONFLICT: 'eth0' already bound to 'home'"])
  t.same(problemsOf(withZones(shipped, { home: { sources: ['192.0.2.0/24', '192.0.2.1/24'] } })), [], 'twice in one zone is one source')
  t.end()
})

t.test('bindings stand in the order in which they decide', (t) => {
  const firewall = firewallOf(withZones(shipped, {
    work: { sources: ['10.0.0.0/8'], interfaces: ['eth0'] },
    home: { sources: ['192.0.2.0/24', 'AA:BB:CC:DD:EE:FF'], interfaces: ['eth+', 'wlan0'] },
    dmz: { interfaces: ['eth1'], ingressPriority: -5, egressPriority: 5 },
  }))
  const shown = (bindings: Firewall['ingress']): string[] => bindings.map(({ zone, kind, source, interface: match }) => (kind === 'any'
    ? `${zone} any`
    : `${zone} ${source === undefined ? `${match!.name}${match!.wildcard ? '+' : ''}` : source.match.kind === 'prefix' ? formatPrefix(source.match.prefix) : 'mac'}`))
  t.same(shown(firewall.ingress), ['dmz eth1', 'home 192.0.2.0/24', 'home mac', 'work 10.0.0.0/8', 'home wlan0', 'work eth0', 'home eth+', 'public any'])
  t.same(shown(firewall.egress), ['home 192.0.2.0/24', 'work 10.0.0.0/8', 'home wlan0', 'work eth0', 'home eth+', 'dmz eth1', 'public any'])
  t.end()
})

t.test('rule ids are unique and origins point into the file', (t) => {
  const positions = new Map([['services=ssh', { line: 4, column: 13 }], ['target', { line: 2, column: 1 }]])
  const entry = { ...entryOf({ ...shipped.zones.get('work')!.value, services: ['ssh', 'http'], interfaces: ['eth0'] }, positions), file: '/etc/derpanet/zones/work.yaml' }
  const zone = firewallOf({ ...shipped, zones: new Map([...shipped.zones, ['work', entry]]) }).zones.get('work')!
  t.equal(new Set(allRules(zone).map(({ id }) => id)).size, allRules(zone).length)
  t.same(zone.rules[0]?.origin, { layer: 'admin', file: '/etc/derpanet/zones/work.yaml', position: { line: 4, column: 13 }, text: 'zone work: service ssh' })
  t.same(zone.rules[1]?.origin, { layer: 'runtime', text: 'zone work: service http' }, 'what no line says came by a call')
  t.same(zone.targetRules.at(-1)?.origin, { layer: 'admin', file: '/etc/derpanet/zones/work.yaml', position: { line: 2, column: 1 }, text: 'zone work: target default' })
  t.end()
})

t.test('zones that did not change stay the same objects', (t) => {
  const before = running(withIpSets(withZones(shipped, { work: { interfaces: ['eth0'], sources: ['ipset:office'] } }), { office: { type: 'hash:ip' } }))
  const first = resolve(before).firewall!
  const ported = reduceRuntime(before, { kind: 'zone-item-add', zone: 'public', field: 'ports', item: ['8080', 'tcp'], timeoutSec: 0 }).world
  const second = resolve(ported).firewall!
  t.equal(second.zones.get('work'), first.zones.get('work'))
  t.not(second.zones.get('public'), first.zones.get('public'))
  const filled = resolve(reduceRuntime(ported, { kind: 'ipset-entry-add', ipset: 'office', entry: '192.0.2.1' }).world).firewall!
  t.equal(filled.zones.get('work'), second.zones.get('work'), 'what is in a set is not the zone\'s business')
  t.end()
})

t.test('a zone sees a service that changed', (t) => {
  const settings = withZones(shipped, { work: { interfaces: ['eth0'], services: ['ssh'] } })
  const before = firewallOf(settings).zones.get('work')!
  const services = new Map([...shipped.services, ['ssh', entryOf({ ...emptyService, ports: [{ port: '2222', protocol: 'tcp' }] })]])
  const after = firewallOf({ ...settings, services }).zones.get('work')!
  t.equal(show(before.rules[0]!), 'tcp 22 accept')
  t.equal(show(after.rules[0]!), 'tcp 2222 accept')
  t.end()
})
