// Random sequences of commands: a permanent part with a reload, a runtime part, wrong commands in between, in a small world where
// rules meet each other and the packets of random-packets.ts meet them.
import { families } from '../../src/model/addr.ts'
import type { Random } from '../support/random.ts'
import { crowdOfSources, randomIpSets, randomPort, randomRichRule, richForwardPort, richMasquerade, services, world } from '../support/random-settings.ts'
import { emptyIpSet, type IpSetSettings } from '../../src/model/settings.ts'
import type { Call } from './calls.ts'

export interface Sequence {
  readonly calls: readonly Call[]
  /** Asked of both at the end: what they say is in force. */
  readonly questions: readonly Call[]
  /** Brings both back to where they started. */
  readonly reset: readonly Call[]
}

const builtinZones = ['public', 'home', 'work', 'internal', 'dmz', 'external', 'trusted', 'drop', 'block']
const ownZones = ['alpha', 'beta']
const ownPolicies = ['one', 'two', 'three']
const shippedServices = ['ssh', 'http', 'https', 'dns', 'dhcpv6-client', 'mdns', 'ipsec', 'samba', 'freeipa-4', 'ntp', 'high-availability', 'rpc-bind', 'tftp']
const icmptypes = ['echo-request', 'echo-reply', 'timestamp-request', 'host-unreachable', 'packet-too-big', 'destination-unreachable', 'router-solicitation', 'network-unreachable', 'time-exceeded', 'redirect', 'no-route']
/** A sequence knows the interface to the outside by its name or by a pattern: what both say together is a written deviation. */
const interfacePools = [['ext0', 'int0', 'ext0', 'int0', 'tun9'], ['ext0', 'int0', 'ext0', 'int0', 'tun9'], ['ext+', 'int0', 'int0', 'tun+']]

interface Context {
  readonly random: Random
  readonly zones: readonly string[]
  readonly policies: readonly string[]
  readonly interfaces: readonly string[]
  readonly hasWideSources: boolean
  readonly ipsets: Readonly<Record<string, IpSetSettings>>
  /** What would take back what was added so far. */
  readonly undo: Call[]
}

type Make = (context: Context) => Call

const zoneOf = ({ random, zones }: Context): string => random.chance(0.1) ? '' : random.pick(zones)
const timeout = ({ random }: Context): number => random.chance(0.04) ? 600 : 0
const serviceOf = ({ random }: Context): string => random.pick(random.chance(0.5) ? shippedServices : Object.keys(services))
const rich = ({ random, ipsets }: Context): string => {
  const kind = random.pick(['plain', 'plain', 'plain', 'plain', 'plain', 'wide', 'forward-port', 'masquerade', 'clamp', 'crowd'])
  const rule = kind === 'wide' ? wideRule(random) : kind === 'plain' ? randomRichRule(random, ipsets) : kind === 'forward-port' ? richForwardPort(random, 'anywhere')
    : kind === 'masquerade' ? richMasquerade(random) : kind === 'crowd' ? random.pick([...crowdOfSources(random)])
      : `rule${random.chance(0.5) ? ' family="ipv4"' : ''} tcp-mss-clamp${random.pick([' value="pmtu"', ' value="1000"', ''])}`
  // types and bursts that only firewalld 2 has; without a burst five packets at once exhaust a limit, or do not, as the machine pleases
  const calm = random.chance(0.9) ? rule.replace(' limit value="5000/s" burst=1000', '').replace(/ burst=\d+/g, '') : rule
  return calm.replace('"address-mask-request"', '"timestamp-request"').replace('"node-information"', '"packet-too-big"')
}
/** About so much that some packets meet it: how it refuses, and which mark it sets. */
const wideRule = (random: Random): string => {
  const family = random.pick(families)
  const types = family === 'ipv4' ? ['icmp-net-unreachable', 'icmp-host-prohibited', 'icmp-port-unreachable', 'icmp-proto-unreachable', 'icmp-net-prohib'] : ['icmp6-no-route', 'icmp6-addr-unreachable', 'icmp6-port-unreachable', 'adm-prohibited']
  const [element, action] = random.pick([
    [` protocol value="${random.pick(['tcp', 'udp'])}"`, `reject type="${random.pick(types)}"`], [' protocol value="tcp"', 'reject type="tcp-reset"'],
    [' port port="1-65535" protocol="tcp"', `reject type="${random.pick([...types, 'tcp-reset'])}"`], ['', `reject type="${random.pick(types)}"`],
    ['', `mark set=${random.pick(['0x1', '0x20/0xf0', '4294967295'])}`], [` protocol value="${random.pick(['tcp', 'udp'])}"`, `mark set=${random.pick(['9', '0x300/0x300'])}`],
    [` source-port port="1024-65535" protocol="udp"`, random.pick(['accept', 'drop'])], ['', random.pick(['accept', 'drop', 'reject'])],
  ])
  return `rule priority="${random.pick([-7, -1, 0, 1, 6])}" family="${family}" source address="${random.pick(world.prefixes[family])}"${element} ${action}`
}
/** Where forwarded packets go to: a zone that has these as sources is on their way out, which firewalld's own forwarding of a zone does not ask. */
const destinations: ReadonlySet<string> = new Set(families.flatMap((family) => Object.values(world.beyond[family]).flat()))
const source = ({ random, ipsets, hasWideSources }: Context): string => {
  if (!hasWideSources) return random.chance(0.2) ? random.pick(world.macs).toUpperCase() : random.pick(families.flatMap((family) => world.sources[family]).filter((text) => !destinations.has(text)))
  const kind = random.pick(['address', 'address', 'prefix', 'prefix', 'mac', 'ipset'])
  if (kind === 'ipset' && Object.keys(ipsets).length > 0) return `ipset:${random.pick(Object.keys(ipsets))}`
  if (kind === 'mac') return random.pick(world.macs).toUpperCase()
  const family = random.pick(families)
  return kind === 'address' ? random.pick(world.sources[family]) : random.pick(world.prefixes[family].filter((text) => !text.endsWith('/0')))
}
const port = (context: Context): readonly [string, string] => {
  const made = randomPort(context.random)
  return [made.port, made.protocol]
}
const forwardPort = ({ random }: Context): readonly string[] => {
  const from = randomPort(random, ['tcp', 'tcp', 'udp'])
  const to = random.chance(0.5) ? '' : random.pick([...world.beyond.ipv4.int0, ...world.beyond.ipv6.int0, world.own.ipv4.ext0, world.beyond.ipv4.ext0[0] as string])
  return [from.port, from.protocol, to !== '' && random.chance(0.4) ? '' : String(random.pick(world.ports)), to]
}

/** `args` of a member of a zone; the runtime adds a timeout behind them. */
const items: Readonly<Record<string, { readonly weight: number; readonly timed: boolean; readonly args: (context: Context) => readonly string[] }>> = {
  Service: { weight: 5, timed: true, args: (context) => [serviceOf(context)] },
  Port: { weight: 5, timed: true, args: port },
  SourcePort: { weight: 2, timed: true, args: port },
  Protocol: { weight: 2, timed: true, args: ({ random }) => [random.pick(['udp', 'gre', 'esp', 'sctp', 'ospf', 'tcp', 'dccp', 'icmp', 'ipv6-icmp'])] },
  IcmpBlock: { weight: 3, timed: true, args: ({ random }) => [random.pick(icmptypes)] },
  IcmpBlockInversion: { weight: 1, timed: false, args: () => [] },
  Masquerade: { weight: 2, timed: true, args: () => [] },
  ForwardPort: { weight: 4, timed: true, args: forwardPort },
  RichRule: { weight: 9, timed: true, args: (context) => [rich(context)] },
  Interface: { weight: 4, timed: false, args: ({ random, interfaces }) => [random.pick(interfaces)] },
  Source: { weight: 4, timed: false, args: (context) => [source(context)] },
}
const weighted = Object.entries(items).flatMap(([name, { weight }]) => Array.from({ length: weight }, () => name))

const addRuntime: Make = (context) => {
  const name = context.random.pick(weighted)
  const { timed, args } = items[name] as (typeof items)[string]
  const made = args(context)
  const zone = zoneOf(context)
  context.undo.push([`zone.remove${name}`, zone, ...made])
  return [`zone.add${name}`, zone, ...made, ...(timed ? [timeout(context)] : [])]
}

const addPermanent: Make = (context) => {
  const name = context.random.pick(weighted)
  const made = (items[name] as (typeof items)[string]).args(context)
  return [`permanent.zone.add${name}`, context.random.pick(context.zones), ...made]
}

const removePermanent: Make = (context) => {
  const name = context.random.pick(weighted)
  return [`permanent.zone.${context.random.pick(['remove', 'query'])}${name}`, context.random.pick(context.zones), ...(items[name] as (typeof items)[string]).args(context)]
}

/** A service of ours, of which another one may be made up. */
const permanentService: Make = (context) => {
  const { random } = context
  const name = random.pick(Object.keys(services).filter((one) => !['ssh', 'dns'].includes(one)))
  const [what, args] = random.pick<readonly [string, readonly string[]]>([
    ['Port', port(context)], ['Port', port(context)], ['SourcePort', port(context)], ['Protocol', [random.pick(['gre', 'esp', 'udp'])]], ['Include', [random.pick(['ssh', 'http', 'nonesuch'])]],
  ])
  if (random.chance(0.25)) {
    const family = random.pick(families)
    const destination = random.pick([...Object.values(world.own[family]), ...world.prefixes[family].filter((text) => !text.endsWith('/0')), 'nonsense'])
    return random.chance(0.7) ? ['permanent.service.setDestination', name, family, destination] : [`permanent.service.${random.pick(['remove', 'get'])}Destination`, name, family]
  }
  return [`permanent.service.${random.pick(['add', 'add', 'remove', 'query'])}${what}`, name, ...args]
}

const permanentEntries: Make = (context) => {
  const [, name, entry] = entries(context)
  return [`permanent.ipset.${context.random.pick(['addEntry', 'addEntry', 'removeEntry', 'queryEntry'])}`, name, typeof entry === 'string' ? entry : (entry as readonly string[])[0]]
}

const removeRuntime: Make = (context) => {
  const { random, undo } = context
  if (undo.length > 0 && random.chance(0.8)) return random.pick(undo)
  const name = random.pick(weighted)
  return [`zone.${random.pick(['remove', 'query'])}${name}`, zoneOf(context), ...(items[name] as (typeof items)[string]).args(context)]
}

const move: Make = (context) => context.random.chance(0.5)
  ? ['zone.changeZoneOfInterface', zoneOf(context), context.random.pick(context.interfaces)] : ['zone.changeZoneOfSource', zoneOf(context), source(context)]

const target: Make = ({ random, zones }) => ['permanent.zone.setTarget', random.pick(zones), random.pick(['default', 'ACCEPT', 'DROP', '%%REJECT%%'])]
const forward: Make = ({ random, zones }) => ['permanent.zone.update2', random.pick(zones), { forward: random.chance(0.5) }]
function zoneParts(context: Context): Record<string, unknown> {
  const { random } = context
  const parts: Record<string, unknown> = {}
  if (random.chance(0.5)) parts['forward'] = random.chance(0.5)
  if (random.chance(0.4)) parts['services'] = random.some([...shippedServices, ...Object.keys(services)], 3)
  if (random.chance(0.4)) parts['ports'] = Array.from({ length: random.between(0, 3) }, () => port(context))
  if (random.chance(0.3)) parts['rules_str'] = Array.from({ length: random.between(0, 2) }, () => rich(context))
  if (random.chance(0.3)) parts['icmp_blocks'] = random.some(icmptypes, 2)
  if (random.chance(0.2)) parts['masquerade'] = random.chance(0.5)
  if (random.chance(0.1)) parts['target'] = 'DROP'
  if (random.chance(0.2)) parts['protocols'] = random.some(['udp', 'gre', 'esp'], 2)
  if (random.chance(0.15)) parts['source_ports'] = [port(context)]
  if (random.chance(0.15)) parts['forward_ports'] = [forwardPort(context)]
  if (random.chance(0.1)) parts['icmp_block_inversion'] = random.chance(0.7)
  return parts
}

const runtimeZone: Make = (context) => ['zone.setZoneSettings2', context.random.pick(context.zones), zoneParts(context)]
const permanentZone: Make = (context) => ['permanent.zone.update2', context.random.pick(context.zones), zoneParts(context)]

/** What is set for all zones. */
const properties: Readonly<Record<string, readonly string[]>> = { IPv6_rpfilter: ['no', 'yes'], RFC3964_IPv4: ['no', 'yes'], FlushAllOnReload: ['no'], IndividualCalls: ['yes', 'no'], AllowZoneDrifting: ['yes'] }
const property: Make = ({ random }) => {
  const name = random.pick(Object.keys(properties))
  return random.chance(0.1) ? ['config.set', name, 'nonsense'] : ['config.set', name, random.pick(properties[name] ?? [])]
}

function policySettings(context: Context, permanent: boolean): Record<string, unknown> {
  const { random, zones } = context
  const side = (host: number): string[] => random.chance(host) ? ['HOST'] : random.chance(0.4) ? ['ANY'] : [...new Set([random.pick(zones), ...random.some(zones, 1)])]
  const parts: Record<string, unknown> = {}
  if (permanent || random.chance(0.05)) {
    parts['ingress_zones'] = side(0.25)
    parts['egress_zones'] = side(0.35)
  }
  if (permanent) {
    parts['target'] = random.pick(['CONTINUE', 'CONTINUE', 'ACCEPT', 'REJECT', 'DROP'])
  }
  if (random.chance(0.4)) parts['services'] = random.some([...shippedServices, ...Object.keys(services)], 3)
  if (random.chance(0.4)) parts['ports'] = Array.from({ length: random.between(1, 3) }, () => port(context))
  if (random.chance(0.2)) parts['source_ports'] = [port(context)]
  if (random.chance(0.2)) parts['protocols'] = random.some(['udp', 'gre', 'esp', 'tcp'], 1)
  if (random.chance(0.3)) parts['icmp_blocks'] = random.some(icmptypes, 2)
  if (random.chance(0.3)) parts['masquerade'] = random.chance(0.8)
  // towards zones that may get an interface firewalld refuses the interface, keeps it, and fails in every call from then on: a written deviation
  const toZones = !permanent || !['HOST', 'ANY'].includes(String((parts['egress_zones'] as string[] | undefined)?.[0]))
  if (random.chance(0.3) && !toZones) parts['forward_ports'] = [forwardPort(context)]
  // what firewalld cannot build for a policy from HOST leaves it open after a reload: a written deviation, and nothing left to compare
  const canBuild = (rule: string): boolean => !(toZones && /forward-port|mark set/.test(rule)) && (!/mark set|source (NOT )?(mac|ipset="cards")/.test(rule) || (Array.isArray(parts['ingress_zones']) && !parts['ingress_zones'].includes('HOST')))
  if (random.chance(0.5)) parts['rich_rules'] = Array.from({ length: random.between(1, 3) }, () => rich(context)).filter(canBuild)
  return parts
}

const runtimePolicy: Make = (context) => ['policy.setPolicySettings', context.random.pick(context.policies), {
  ...policySettings(context, false), ...(context.random.chance(0.05) ? { target: context.random.pick(['CONTINUE', 'DROP']) } : {}), ...(context.random.chance(0.05) ? { priority: context.random.pick([-1, 5]) } : {}),
}]

/** Sets that ask for two things of a packet. */
function pairEntries(random: Random, type: string): readonly string[] {
  const [one, two] = type.replace('hash:', '').split(',')
  return Array.from({ length: 4 }, () => {
    const addr = random.pick(one === 'ip' ? world.sources.ipv4 : world.prefixes.ipv4.filter((text) => !text.endsWith('/0')))
    return `${addr},${two === 'iface' ? random.pick(['ext0', 'int0']) : `${random.pick(['tcp', 'udp'])}:${random.pick(world.ports)}`}`
  })
}

const entries: Make = ({ random, ipsets }) => {
  const name = random.pick(Object.keys(ipsets))
  const type = ipsets[name]?.type
  const entry = (): string => type?.includes(',') === true ? random.pick(pairEntries(random, type)) : type === 'hash:mac' ? random.pick(world.macs) : name.endsWith('6') ? random.pick(random.chance(0.5) ? world.prefixes.ipv6 : world.sources.ipv6)
    : random.pick(type === 'hash:ip' && random.chance(0.8) ? world.sources.ipv4 : world.prefixes.ipv4)
  const verb = random.pick(['addEntry', 'addEntry', 'addEntry', 'removeEntry', 'queryEntry', 'setEntries'])
  return [`ipset.${verb}`, name, verb === 'setEntries' ? [...new Set([entry(), entry()])] : entry()]
}

const direct: Make = ({ random, undo }) => {
  const ipv = random.pick(['ipv4', 'ipv4', 'ipv6'])
  const verdict = random.pick(['DROP', 'DROP', 'ACCEPT', 'REJECT', 'RETURN'])
  const made = ['-p', random.pick(['tcp', 'udp']), '--dport', String(random.pick(world.ports)), '-j', verdict]
  const kind = random.pick(['rule', 'rule', 'rule', 'chain', 'passthrough'])
  if (kind === 'chain') {
    undo.push(['direct.removeChain', ipv, 'filter', 'mine'])
    return ['direct.addChain', ipv, 'filter', 'mine']
  }
  if (kind === 'passthrough') {
    const args = ['-I', random.pick(['INPUT', 'FORWARD', 'OUTPUT']), ...made]
    undo.push(['direct.removePassthrough', ipv, args])
    return ['direct.addPassthrough', ipv, args]
  }
  const chain = random.pick(['INPUT', 'INPUT', 'FORWARD', 'OUTPUT', 'mine'])
  const rule = [ipv, 'filter', chain, random.between(-1, 2), made]
  undo.push(['direct.removeRule', ...rule])
  return ['direct.addRule', ...rule]
}

/** No rule of a chain that there is not: that is a reload which firewalld cannot build. */
const permanentDirect: Make = (context) => {
  const [member, ...args] = direct({ ...context, undo: [] })
  if (args[2] === 'mine' && args.length > 3) return permanentDirect(context)
  return [member.replace('direct.', 'config.direct.'), ...args]
}

/** Commands that are wrong, or may be: both must say the same. */
const wrong: Make = (context) => {
  const { random } = context
  const zone = random.pick([...context.zones, 'nonesuch', 'HOST', 'ANY', 'p/q'])
  const badPort = random.pick(['70000', '-1', '80-', '80:90', '', 'nonesuch', '90-80', '0', '0-65535', '80-70000', 'http', '1e3', ' 80', '080'])
  const protocol = random.pick(['tcp', 'udp', 'xyz', '', 'TCP', '6', 'icmp', '300'])
  const address = random.pick(['192.0.2.300', '192.0.2.0/33', '::g', 'ipset:none', '', '02:00:5e', '0.0.0.0/0', '::/0', '192.0.2.7/24', '2001:DB8::1', '192.0.2.0/255.255.255.0', '1.2.3', 'ipset:hosts4', '::ffff:192.0.2.1', '010.1.1.1'])
  const rule = random.pick([
    'rule', '', 'rule nonsense', 'rule family=ipv5 accept', 'rule family=ipv4 accept', 'rule priority=40000 accept', 'rule priority=1 accept', 'rule priority=1 log',
    'rule source address=192.0.2.1 accept', 'rule family=ipv6 source address=192.0.2.1 accept', 'rule family=ipv4 source address=192.0.2.1', 'rule service name=ssh',
    'rule service name=nonesuch accept', 'rule port port=99999 protocol=tcp accept', 'rule port port=80 protocol=xyz accept', 'rule icmp-block name=nonesuch', 'rule icmp-block name=echo-request accept',
    'rule masquerade accept', 'rule forward-port port=80 protocol=tcp to-port=81', 'rule family=ipv4 forward-port port=80 protocol=tcp', 'rule protocol value=nonesuch accept',
    'rule port port=80 protocol=udp reject type=tcp-reset', 'rule family=ipv4 port port=80 protocol=udp reject type=tcp-reset', 'rule port port=80 protocol=tcp reject type=icmp-host-prohibited',
    'rule family=ipv4 reject type=icmp6-no-route', 'rule service name=ssh accept limit value=1/x', 'rule service name=ssh accept limit value=1/d', 'rule service name=ssh accept limit value=20000/s',
    'rule service name=ssh mark set=5', 'rule service name=ssh mark set=0x100000000', 'rule service name=ssh audit', 'rule service name=ssh log accept drop', 'rule service name=ssh service name=dns accept',
    'rule family=ipv4 source mac=02:00:5e:00:01:02 masquerade', 'rule source mac=nonsense accept', 'rule source ipset=none accept', 'rule family="ipv4" destination address="::1" accept',
    'rule tcp-mss-clamp value=10', 'rule tcp-mss-clamp value=none', 'rule priority=-5 drop', 'rule priority=32767 family="ipv6" reject', 'rule log prefix="x" level="nonesuch" accept', 'rule service name="ssh" log prefix="' + 'y'.repeat(140) + '" accept',
    'rule family="ipv4" source address="192.0.2.1" invert="yes" drop', 'rule family=ipv4 source not address=192.0.2.1 port port=80-90 protocol=tcp accept', 'rule nflog group=70000 service name=ssh accept', 'rule source-port port=80 protocol=tcp drop', 'rule icmp-type name=echo-request accept',
    'rule family=ipv4 icmp-block name=no-route', 'rule family=ipv6 icmp-type name=timestamp-reply accept', 'rule family=ipv4 icmp-block name=port-unreachable',
    'rule family="ipv4" destination address="198.51.100.0/24" service name="ssh" reject type="icmp-port-unreachable"', 'rule family=ipv4 service name=here6 accept', 'rule family=ipv4 destination address=192.0.2.1 service name=mdns accept',
  ])
  const service = random.pick(['nonesuch', '', 'SSH', 'ssh', 'p/q'])
  const ttl = random.pick([0, 0, 0, -1, 600])
  return random.pick<Call>([
    ['zone.addPort', zone, badPort, protocol, ttl], ['zone.removePort', zone, badPort, protocol], ['zone.queryPort', zone, badPort, protocol], ['zone.addSourcePort', zone, badPort, protocol, ttl],
    ['zone.addService', zone, service, ttl], ['zone.removeService', zone, service], ['zone.queryService', zone, service], ['zone.addProtocol', zone, random.pick(['xyz', '300', '6', '255', '', 'TCP', 'icmp']), ttl],
    ['zone.addSource', zone, address], ['zone.removeSource', zone, address], ['zone.querySource', zone, address], ['zone.changeZoneOfSource', zone, address],
    ['zone.addInterface', zone, random.pick(['', 'a b', 'x/y', 'averyverylongname', '!', '*', 'ok0', context.interfaces[0] as string])], ['zone.removeInterface', zone, random.pick(['', 'nonesuch', 'ext0'])],
    ['zone.addIcmpBlock', zone, random.pick(['nonesuch', '', 'echo-request', 'PING']), ttl], ['zone.addRichRule', zone, rule, ttl], ['zone.addRichRule', zone, rule, ttl], ['zone.addRichRule', zone, rule, ttl], ['zone.removeRichRule', zone, rule], ['zone.queryRichRule', zone, rule],
    ['zone.addForwardPort', zone, badPort, protocol, random.pick(['', '81', '99999', '81-80']), random.pick(['', '198.51.100.2', '2001:db8:2::2', 'nonsense', '198.51.100.0/24']), ttl],
    ['zone.addMasquerade', zone, ttl], ['zone.removeMasquerade', zone], ['zone.addIcmpBlockInversion', zone], ['zone.removeIcmpBlockInversion', zone],
    ['setDefaultZone', context.policies.length > 0 ? 'nonesuch' : zone], ['setLogDenied', random.pick(['nonsense', '', 'ALL', 'all', 'off', 'unicast'])], ['zone.getZoneSettings2', zone], ['zone.setZoneSettings2', zone, { target: 'DROP' }],
    ['zone.setZoneSettings2', zone, { ports: [[badPort, protocol]] }], ['zone.setZoneSettings2', zone, { services: [service] }], ['zone.setZoneSettings2', zone, { rules_str: [rule] }], ['zone.setZoneSettings2', zone, { sources: [address] }],
    ['policy.setPolicySettings', random.pick(['nonesuch', 'one', 'allow-host-ipv6']), { services: ['ssh', service] }], ['policy.getPolicySettings', random.pick(['nonesuch', 'one', 'allow-host-ipv6'])],
    ['ipset.addEntry', 'none', '192.0.2.1'], ['ipset.addEntry', 'hosts4', address], ['ipset.queryEntry', 'hosts4', address], ['ipset.getEntries', random.pick(['none', 'hosts4'])], ['ipset.queryIPSet', random.pick(['none', 'hosts4'])],
    ['direct.addChain', random.pick(['ipv4', 'ipv5', 'eb']), random.pick(['filter', 'nonesuch']), random.pick(['INPUT', 'mine'])], ['direct.addRule', 'ipv4', 'filter', 'INPUT', 0, random.pick([['-j', 'NONESUCH'], [], ['--nonsense'], ['-p', 'tcp', '--dport', 'x', '-j', 'DROP']])],
    ['direct.removeRule', 'ipv4', 'filter', 'INPUT', 0, ['-j', 'DROP']], ['direct.queryChain', 'ipv4', 'filter', 'mine'], ['direct.removeChain', 'ipv4', 'filter', 'nonesuch'], ['direct.addPassthrough', random.pick(['ipv4', 'ipv9']), ['-A', 'NOSUCHCHAIN', '-j', 'DROP']],
    ['permanent.zone.addPort', zone, badPort, protocol], ['permanent.zone.addService', zone, service], ['permanent.zone.addSource', zone, address], ['permanent.zone.addRichRule', zone, rule], ['permanent.zone.setTarget', zone, random.pick(['nonsense', '', 'accept', 'REJECT'])],
    ['permanent.zone.addInterface', zone, random.pick(['', 'a b', 'averyverylongname'])], ['permanent.zone.addForwardPort', zone, badPort, protocol, '', ''], ['permanent.zone.addIcmpBlock', zone, 'nonesuch'], ['permanent.zone.addProtocol', zone, protocol],
    ['config.addZone2', random.pick(['public', 'averyveryverylongname', 'a b', '', 'one', 'HOST', 'gamma!']), {}], ['config.addPolicy', random.pick(['public', 'a b', '', 'nonesuch']), { ingress_zones: random.pick([[], ['HOST'], ['nonesuch'], ['ANY', 'public']]), egress_zones: random.pick([['HOST'], ['ANY']]) }],
  ])
}

const runtimeSteps: readonly (readonly [number, Make])[] = [
  [14, addRuntime], [5, removeRuntime], [2, move], [1, runtimeZone], [5, wrong], [1, direct],
  [0.5, ({ random }) => ['setLogDenied', random.pick(['all', 'off', 'unicast', 'broadcast', 'multicast'])]], [0.5, (context) => context.policies.length > 0 ? ['getDefaultZone'] : ['setDefaultZone', context.random.pick(context.zones)]],
]

function pickStep(context: Context): Make {
  const steps = [
    ...runtimeSteps, ...(context.policies.length > 0 ? [[2, runtimePolicy] as const] : []), ...(Object.keys(context.ipsets).length > 0 ? [[2, entries] as const] : []),
  ]
  let left = context.random.between(0, Math.round(steps.reduce((sum, [weight]) => sum + weight, 0) * 100)) / 100
  return (steps.find(([weight]) => (left -= weight) <= 0) ?? steps[0] as (typeof steps)[number])[1]
}

function pairSets(random: Random): Readonly<Record<string, IpSetSettings>> {
  if (!random.chance(0.3)) return {}
  const [name, type] = random.pick([['ports4', 'hash:ip,port'], ['netports4', 'hash:net,port'], ['cables4', 'hash:net,iface']] as const)
  return { [name]: { ...emptyIpSet, type, entries: [...new Set(pairEntries(random, type).slice(0, 1))] } }
}

export interface SequenceOptions {
  /** Sets of type hash:mac, which not every kernel has. */
  readonly macSets: boolean
}

export function randomSequence(random: Random, { macSets }: SequenceOptions): Sequence {
  const own = random.chance(0.5) ? random.some(ownZones, 2) : []
  const zones = [...new Set(['public', ...random.some(builtinZones, 3), ...own])]
  const policies = random.chance(0.45) ? ownPolicies.slice(0, random.between(1, 3)) : []
  const ipsets = random.chance(0.5) ? { ...randomIpSets(random, { macSets }), ...pairSets(random) } : {}
  const interfaces = random.pick(interfacePools)
  const context: Context = { random, zones, policies, interfaces, hasWideSources: random.chance(0.3), ipsets, undo: [] }

  const permanent: Call[] = own.map((name) => ['config.addZone2', name, random.chance(0.5) ? {} : { target: random.pick(['default', 'ACCEPT', 'DROP', '%%REJECT%%']), forward: random.chance(0.5) }])
  if (random.chance(0.6)) for (let left = random.between(1, 6); left > 0; left--) permanent.push(random.pick([addPermanent, addPermanent, addPermanent, addPermanent, removePermanent, permanentService, permanentZone, permanentDirect, property, target, forward, wrong, ...(Object.keys(ipsets).length > 0 ? [permanentEntries] : [])])(context))
  // no two alike: whose turn it is then depends in firewalld on which came into force first, a written deviation
  const priorities = random.shuffle([-100, -3, -2, 1, 2, 3, 100, random.chance(0.3) ? 0 : 5])
  policies.forEach((name, index) => permanent.push(['config.addPolicy', name, { ...policySettings(context, true), ...(index === 0 && random.chance(0.3) ? {} : { priority: priorities[index] }) }]))

  // for policies of firewalld 1.3.3 only what is bound to the default zone by name is in it: a written deviation
  const bound: Call[] = policies.length > 0 ? [['zone.addInterface', 'public', 'tun8']] : []
  for (const ifname of interfaces.slice(0, 2)) if (policies.length > 0 || random.chance(0.6)) bound.push(['zone.addInterface', random.pick(zones), ifname])
  if (random.chance(0.5)) bound.push(['zone.addSource', random.pick(zones), source(context)])
  const runtime: Call[] = [...bound, ...Array.from({ length: random.between(5, 16) }, () => pickStep(context)(context))]
  if (random.chance(0.06)) runtime.splice(random.between(0, runtime.length), 0, ['reload'])
  if (random.chance(0.03)) runtime.splice(random.between(0, runtime.length), 0, ['completeReload'])
  // what had been permanent and is not there any more firewalld leaves permanent: a written deviation
  const takesAway = policies.length > 0 || permanent.some(([member]) => member.startsWith('permanent.zone.')) || runtime.some(([member]) => /setZoneSettings2|removeService/.test(member))
  if (random.chance(0.1) && !takesAway) runtime.push(['runtimeToPermanent'], ['reload'])
  if (random.chance(0.04)) runtime.splice(random.between(0, runtime.length), 0, ['enablePanicMode'], ...(random.chance(0.5) ? [['disablePanicMode'] as const] : []))
  // what is over in a second comes last: whatever came behind it would meet it or not, as the machine pleases
  if (random.chance(0.12)) {
    runtime.push(...Array.from({ length: random.between(1, 3) }, () => addRuntime({ ...context, undo: [] })).filter((call) => typeof call.at(-1) === 'number').map((call) => [...call.slice(0, -1), 1] as unknown as Call), ['wait', 2500])
  }

  const text = JSON.stringify([...permanent, ...runtime])
  const named = (name: string): boolean => new RegExp(`["=:\\\\]${name}["\\\\]|=${name} `).test(text)
  const before: Call[] = [
    ...Object.entries(services).filter(([name]) => !['ssh', 'dns'].includes(name) && named(name)).map(([name, value]): Call => ['config.addService2', name, {
      ports: value.ports.map((one) => [one.port, one.protocol]), protocols: value.protocols, source_ports: value.sourcePorts.map((one) => [one.port, one.protocol]),
      includes: value.includes, destination: value.destination,
    }]),
    ...Object.entries(ipsets).filter(([name]) => named(name)).map(([name, set]): Call => ['config.addIPSet', name, ['', '', '', set.type, set.options, set.entries]]),
  ]
  const first = [...before, ...permanent]
  const calls = [...first, ...(first.length > 0 ? [['reload'] as const] : []), ...runtime]
  return { calls, questions: questionsAbout(calls, zones, policies, ipsets), reset: resetOf(calls) }
}

/** In the order in which they were added, unless settings came all at once, which firewalld takes in no order. */
const lists = ['getServices', 'getPorts', 'getProtocols', 'getSourcePorts', 'getForwardPorts', 'getIcmpBlocks', 'getRichRules', 'getInterfaces', 'getSources', 'queryMasquerade', 'queryIcmpBlockInversion']

function questionsAbout(calls: readonly Call[], zones: readonly string[], policies: readonly string[], ipsets: Readonly<Record<string, unknown>>): readonly Call[] {
  const asked = [...new Set([...zones, ...calls.filter(([member]) => member.startsWith('zone.')).map(([, zone]) => String(zone))])].filter((zone) => zone !== '')
  return [
    ['zone.getActiveZones'], ['getDefaultZone'], ['queryPanicMode'], ['zone.getZones'], ['getLogDenied'],
    ...asked.map((zone): Call => ['zone.getZoneSettings2', zone]), ...zones.map((zone): Call => ['permanent.zone.getSettings2', zone]),
    ...policies.flatMap((name): Call[] => [['policy.getPolicySettings', name], ['permanent.policy.getSettings', name]]),
    ...Object.keys(ipsets).map((name): Call => ['ipset.getEntries', name]), ['policy.getActivePolicies'],
    ...(calls.some(([member]) => member === 'zone.setZoneSettings2') ? [] : asked.flatMap((zone) => lists.map((list): Call => [`zone.${list}`, zone]))),
    ...['ext0', 'int0', 'tun8', 'nonesuch'].map((ifname): Call => ['zone.getZoneOfInterface', ifname]), ...[...world.macs.slice(0, 1), ...world.sources.ipv4.slice(0, 3), 'ipset:nets4'].map((source): Call => ['zone.getZoneOfSource', source]),
    ...[...new Set(calls.filter(([member]) => member === 'config.set').map(([, name]) => String(name)))].map((name): Call => ['config.get', name]),
    ['direct.getAllRules'], ['direct.getAllChains'], ['direct.getAllPassthroughs'],
  ]
}

/** Of {@link properties}; the others are `no`. */
const installed: Readonly<Record<string, string>> = { IPv6_rpfilter: 'yes', RFC3964_IPv4: 'yes', FlushAllOnReload: 'yes' }

/** Takes back what the commands may have done, and reloads. */
export function resetOf(calls: readonly Call[]): readonly Call[] {
  const added = (member: string): string[] => [...new Set(calls.filter(([name]) => name === member).map(([, object]) => String(object)))].filter((name) => name !== '')
  const everything = calls.some(([member]) => member === 'runtimeToPermanent')
  const changed = [...new Set([...(everything ? builtinZones : []), ...calls.filter(([member]) => member.startsWith('permanent.zone.')).map(([, zone]) => String(zone))])].filter((zone) => builtinZones.includes(zone))
  return [
    ['disablePanicMode'],
    ...added('config.addPolicy').map((name): Call => ['permanent.policy.remove', name]), ...added('config.addZone2').map((name): Call => ['permanent.zone.remove', name]),
    ...added('config.addService2').map((name): Call => ['permanent.service.remove', name]), ...added('config.addIPSet').map((name): Call => ['permanent.ipset.remove', name]),
    ...changed.map((zone): Call => ['permanent.zone.loadDefaults', zone]), ...(everything ? [['permanent.policy.loadDefaults', 'allow-host-ipv6'] as const] : []),
    ...(calls.some(([member]) => member === 'setDefaultZone') ? [['setDefaultZone', 'public'] as const] : []),
    ...(calls.some(([member]) => member === 'setLogDenied') ? [['setLogDenied', 'off'] as const] : []),
    ...[...new Set(calls.filter(([member]) => member === 'config.set').map(([, name]) => String(name)))].map((name): Call => ['config.set', name, installed[name] ?? 'no']),
    ...((everything && calls.some(([member]) => member.startsWith('direct.'))) || calls.some(([member]) => member.startsWith('config.direct.')) ? [['config.direct.update', [[], [], []]] as const] : []),
    ['reload'],
  ]
}
