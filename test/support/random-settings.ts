// Random configurations for the property tests: everything that issue by issue becomes enforceable, in small worlds where
// addresses, ports and names are few, so that rules meet each other and the packets of random-packets.ts meet them.
import { createHash } from 'node:crypto'
import { families, formatPrefix, parsePrefix, type Family, type Prefix } from '../../src/model/addr.ts'
import {
  defaultMain, emptyIcmpType, emptyIpSet, emptyPolicy, emptyService, emptyZone,
  type AddressList, type Entry, type IcmpTypeSettings, type ForwardPort, type IpSetSettings, type MainSettings, type PolicySettings, type PortSpec, type Runtime, type ServiceSettings,
  type Settings, type ZoneSettings,
} from '../../src/model/settings.ts'
import type { Random } from './random.ts'

/** Every address a random packet comes from or a random rule names. The firewall's own and broadcast ones are not sources. */
export const world = {
  sources: {
    ipv4: ['192.0.2.2', '192.0.2.3', '192.0.2.77', '192.0.2.130', '198.51.100.2', '198.51.100.7', '198.51.100.9', '203.0.113.5', '203.0.113.6',
      '203.0.113.7', '203.0.113.64', '203.0.113.127', '203.0.113.128', '203.0.113.200'],
    ipv6: ['2001:db8:1::2', '2001:db8:1::3', '2001:db8:1::77', '2001:db8:2::2', '2001:db8:2::7', '2001:db8:f::1', '2001:db8:f::2',
      '2001:db8:f::1:5', '2001:db8:f:7fff::1', '2001:db8:f:8000::1', '2001:db8:e::1'],
  },
  prefixes: {
    ipv4: ['192.0.2.0/24', '192.0.2.128/25', '198.51.100.0/24', '198.51.100.8/29', '203.0.113.0/24', '203.0.113.0/25', '203.0.113.128/25',
      '203.0.113.64/26', '203.0.113.4/30', '203.0.113.6/31', '0.0.0.0/0', '0.0.0.0/1', '203.0.0.0/16'],
    ipv6: ['2001:db8::/32', '2001:db8:1::/64', '2001:db8:2::/64', '2001:db8:f::/48', '2001:db8:f::/64', '2001:db8:f::/112', '2001:db8:f:8000::/49',
      '2001:db8:f::1/127', '2000::/3', '::/0'],
  },
  /** Of the firewall itself, by interface. */
  own: { ipv4: { ext0: '192.0.2.1', int0: '198.51.100.1' }, ipv6: { ext0: '2001:db8:1::1', int0: '2001:db8:2::1' } },
  /** Where forwarded packets go, by outgoing interface. */
  beyond: {
    ipv4: { ext0: ['192.0.2.2', '203.0.113.5', '203.0.113.200'], int0: ['198.51.100.2', '198.51.100.7'] },
    ipv6: { ext0: ['2001:db8:1::2', '2001:db8:f::1', '2001:db8:f:8000::1', '2002:c0a8:101::1', '2002:c0a9:101::1'], int0: ['2001:db8:2::2', '2001:db8:2::7'] },
  },
  macs: ['02:00:5e:00:01:02', '02:00:5e:00:02:02', '02:00:5e:00:aa:01', '02:00:5e:00:aa:02'],
  ports: [22, 53, 80, 81, 443, 546, 1000, 1001, 1999, 2000, 5000, 65535],
  protocols: ['tcp', 'udp', 'sctp', 'dccp'],
} as const

const zoneNames = ['alpha', 'beta', 'gamma', 'delta', 'public']

export const services: Readonly<Record<string, ServiceSettings>> = {
  ssh: { ...emptyService, ports: [{ port: '22', protocol: 'tcp' }] },
  dns: { ...emptyService, ports: [{ port: '53', protocol: 'tcp' }, { port: '53', protocol: 'udp' }] },
  web: { ...emptyService, ports: [{ port: '80-81', protocol: 'tcp' }], includes: ['ssh'] },
  mixed: { ...emptyService, ports: [{ port: '1000-1999', protocol: 'udp' }], protocols: ['gre'], sourcePorts: [{ port: '2000', protocol: 'udp' }] },
  here4: { ...emptyService, ports: [{ port: '443', protocol: 'tcp' }, { port: '443', protocol: 'udp' }], destination: { ipv4: '192.0.2.1' } },
  here6: { ...emptyService, ports: [{ port: '443', protocol: 'tcp' }], protocols: ['esp'], destination: { ipv6: '2001:db8:1::/64' } },
  both: { ...emptyService, ports: [{ port: '5000', protocol: 'tcp' }], destination: { ipv4: '198.51.100.0/24', ipv6: '2001:db8:2::1' } },
  streams: { ...emptyService, ports: [{ port: '5000', protocol: 'sctp' }, { port: '5000', protocol: 'dccp' }] },
}

const icmptypes: Readonly<Record<string, IcmpTypeSettings>> = {
  'echo-request': { ...emptyIcmpType, ipv4: [[8, null]], ipv6: [[128, null]] },
  'echo-reply': { ...emptyIcmpType, ipv4: [[0, null]], ipv6: [[129, null]] },
  'timestamp-request': { ...emptyIcmpType, destinations: ['ipv4'], ipv4: [[13, null]], ipv6: [] },
  'address-mask-request': { ...emptyIcmpType, destinations: ['ipv4'], ipv4: [[17, 0]], ipv6: [] },
  'host-unreachable': { ...emptyIcmpType, destinations: ['ipv4'], ipv4: [[3, 1]], ipv6: [] },
  'node-information': { ...emptyIcmpType, destinations: ['ipv6'], ipv4: [], ipv6: [[139, null]] },
  'packet-too-big': { ...emptyIcmpType, destinations: ['ipv6'], ipv4: [], ipv6: [[2, null]] },
}

export interface RandomConfiguration {
  readonly runtime: Runtime
}

export interface GeneratorOptions {
  /** Sets of type hash:mac, which not every kernel has. Default true. */
  readonly macSets?: boolean
}

/** A valid configuration: resolve() must find no problem in it. */
export function randomConfiguration(random: Random, options: GeneratorOptions = {}): RandomConfiguration {
  const ipsets = randomIpSets(random, options)
  const names = random.shuffle(zoneNames).slice(0, random.between(2, zoneNames.length))
  const interfaces = random.shuffle(['ext0', 'int0', 'ext+', 'int+', 'tun9', '+'].slice(0, random.chance(0.1) ? 6 : 5))
  const sources = random.shuffle(sourcesOf(random, ipsets))
  const zones = new Map<string, Entry<ZoneSettings>>()
  for (const name of names) {
    zones.set(name, entry(`zones/${name}`, randomZone(random, {
      interfaces: takeSome(random, interfaces, random.chance(0.7) ? 1 : 2),
      sources: takeSome(random, sources, random.chance(0.5) ? 0 : 3),
      ipsets,
    })))
  }
  const lists = new Map<string, AddressList>()
  if (random.chance(0.5)) lists.set('bad', packList('bad', someListPrefixes(random)))
  if (random.chance(0.2)) lists.set('worse', packList('worse', someListPrefixes(random)))
  const block = [...lists.keys()]
  lists.set('office', packList('office', someListPrefixes(random)))
  const policies = new Map<string, Entry<PolicySettings>>()
  const zoneSettings = new Map([...zones].map(([name, { value }]) => [name, value]))
  for (const name of ['p-one', 'p-two', 'p-three', 'p-four'].slice(0, random.pick([0, 0, 1, 2, 3, 4]))) {
    policies.set(name, entry(`policies/${name}`, randomPolicy(random, zoneSettings, ipsets)))
  }
  // where original destinations are judged no set can be asked for them
  const asksSet = [...zones.values(), ...policies.values()].some(({ value }) => value.richRules.some((rule) => /destination (NOT )?ipset/.test(rule)))
  const main: MainSettings = {
    ...defaultMain,
    published: !asksSet && random.chance(0.15) ? 'zone' : 'open',
    defaultZone: random.pick(names),
    block,
    neverBlock: random.chance(0.4) ? random.some([...bothFamilies(world.sources), '203.0.113.64/26', '2001:db8:f::/112'], 3).map(canonicalPrefix) : [],
    failsafePorts: random.chance(0.3) ? random.some(allPorts(random), 2) : [],
    logDenied: random.chance(0.2) ? random.pick(['all', 'unicast', 'broadcast', 'multicast']) : 'off',
    ipv6Rpfilter: random.chance(0.4) ? random.pick(['no', 'loose', 'strict'] as const) : 'strict',
    rfc3964Ipv4: !random.chance(0.3),
    strictForwardPorts: !asksSet && random.chance(0.2),
  }
  return {
    runtime: {
      panic: random.chance(0.06),
      settings: {
        main: entry('derpanet', main),
        zones,
        policies,
        services: table('services', services),
        ipsets: table('ipsets', ipsets),
        icmptypes: table('icmptypes', icmptypes),
        helpers: new Map(),
        lists,
      },
    },
  }
}

function randomZone(random: Random, given: { interfaces: readonly string[]; sources: readonly string[]; ipsets: Readonly<Record<string, IpSetSettings>> }): ZoneSettings {
  const priority = (): number => random.chance(0.7) ? 0 : random.between(-3, 3)
  return {
    ...emptyZone,
    target: random.pick(['default', 'default', 'ACCEPT', 'REJECT', 'DROP']),
    interfaces: given.interfaces,
    sources: given.sources,
    services: random.chance(0.6) ? random.some(Object.keys(services), 4) : [],
    ports: random.chance(0.5) ? random.some(allPorts(random), 4) : [],
    sourcePorts: random.chance(0.2) ? random.some(allPorts(random), 2) : [],
    protocols: random.chance(0.2) ? random.some(['udp', 'gre', 'esp', 'sctp', 'ospf', 'tcp', 'dccp'], 2) : [],
    icmpBlocks: random.chance(0.4) ? random.some(Object.keys(icmptypes), 3) : [],
    icmpBlockInversion: random.chance(0.2),
    forward: random.chance(0.6),
    masquerade: random.chance(0.3),
    forwardPorts: random.chance(0.4) ? randomForwardPorts(random, random.between(1, 3), 'anywhere') : [],
    richRules: unique([
      ...(random.chance(0.6) ? Array.from({ length: random.between(1, 5) }, () => (
        random.chance(0.15) ? richForwardPort(random, 'anywhere') : random.chance(0.1) ? richMasquerade(random) : randomRichRule(random, given.ipsets))) : []),
      ...(random.chance(0.4) ? crowdOfSources(random) : []),
    ]),
    ingressPriority: priority(),
    egressPriority: priority(),
  }
}

/** `to` says whether it must stay on this host or must not. */
function randomForwardPorts(random: Random, count: number, to: 'anywhere' | 'host' | 'away'): ForwardPort[] {
  const made = Array.from({ length: count }, (): ForwardPort => {
    const from = randomPort(random, ['tcp', 'tcp', 'udp', 'sctp'])
    const toAddr = to === 'host' || (to === 'anywhere' && random.chance(0.4)) ? '' : random.pick(targets)
    const target = randomPort(random, ['tcp'])
    return { ...from, toPort: toAddr !== '' && random.chance(0.4) ? '' : target.port, toAddr }
  })
  // a range around the first, before or behind it, that leads elsewhere: which of them a packet meets first decides
  const [first] = made
  if (first !== undefined && random.chance(0.5)) {
    const port = first.port.includes('-') ? first.port.split('-')[0] as string : `${Math.max(1, Number(first.port) - 1)}-${Math.min(65535, Number(first.port) + 1)}`
    const others = world.ports.map(String).filter((other) => other !== first.toPort)
    made.splice(random.between(0, 1), 0, { ...first, port, toPort: random.pick(others) })
  }
  return [...new Map(made.map((one) => [`${one.port}/${one.protocol}`, one])).values()]
}

/** Hosts that a router can reach on both sides, and the router itself. */
const targets = families.flatMap((family) => [
  ...world.beyond[family].ext0.slice(0, 2), ...world.beyond[family].int0, ...Object.values(world.own[family]).slice(0, 1),
])

export function richForwardPort(random: Random, to: 'anywhere' | 'host' | 'away'): string {
  const [one] = randomForwardPorts(random, 1, to) as [ForwardPort]
  const family = one.toAddr === '' ? random.pick(families) : one.toAddr.includes(':') ? 'ipv6' : 'ipv4'
  const source = random.chance(0.5) ? ` source ${random.chance(0.2) ? 'NOT ' : ''}address="${canonicalPrefix(random.pick([...world.sources[family], ...world.prefixes[family]]))}"` : ''
  const log = random.chance(0.1) ? ' log' : ''
  const parts = `${one.toPort === '' ? '' : ` to-port="${one.toPort}"`}${one.toAddr === '' ? '' : ` to-addr="${one.toAddr}"`}`
  return `rule${priorityText(random)} family="${family}"${source} forward-port port="${one.port}" protocol="${one.protocol}"${parts}${log}`
}

export function richMasquerade(random: Random): string {
  const family = random.pick(['ipv4', 'ipv6', null] as const)
  const source = family !== null && random.chance(0.6) ? ` source address="${canonicalPrefix(random.pick([...world.sources[family], ...world.prefixes[family]]))}"` : ''
  return `rule${priorityText(random)}${family === null ? '' : ` family="${family}"`}${source} masquerade`
}

function priorityText(random: Random): string {
  const priority = random.chance(0.6) ? 0 : random.between(-4, 4)
  return priority === 0 ? '' : ` priority="${priority}"`
}

/** Only what may be said between its two sides. */
function randomPolicy(random: Random, zones: ReadonlyMap<string, ZoneSettings>, ipsets: Readonly<Record<string, IpSetSettings>>): PolicySettings {
  const names = [...zones.keys()]
  const side = (host: number): readonly string[] => random.chance(host) ? ['HOST'] : random.chance(0.4) ? ['ANY'] : random.some(names, 3).concat(random.pick(names))
  const ingressZones = unique(side(0.2))
  const egressZones = unique(side(ingressZones[0] === 'HOST' ? 0 : 0.35))
  const fromHost = ingressZones[0] === 'HOST'
  const toHost = egressZones[0] === 'HOST'
  const hasInterface = egressZones.some((zone) => (zones.get(zone)?.interfaces.length ?? 0) > 0)
  const hasMac = [...zones.values()].some(({ sources }) => sources.some((source) => /^([0-9A-F]{2}:){5}/.test(source)))
  const mayMasquerade = !fromHost && !toHost && (ingressZones[0] === 'ANY' || !hasMac)
  const to = toHost ? 'host' : 'away'
  const mayForward = !hasInterface || toHost
  const fits = (rule: string): boolean => !(fromHost && /source (NOT )?(mac|ipset="cards")|mark set/.test(rule)) && !(hasInterface && rule.includes('mark set'))
  const rich = random.chance(0.5) ? Array.from({ length: random.between(1, 3) }, () => {
    const kind = random.pick(['plain', 'plain', 'plain', 'forward-port', 'masquerade'])
    if (kind === 'forward-port' && mayForward) return richForwardPort(random, to)
    if (kind === 'masquerade' && mayMasquerade) return richMasquerade(random)
    return randomRichRule(random, ipsets)
  }).filter(fits) : []
  return {
    ...emptyPolicy,
    target: random.pick(['CONTINUE', 'CONTINUE', 'ACCEPT', 'REJECT', 'DROP']),
    ingressZones,
    egressZones,
    priority: random.pick([-2, -1, -1, 1, 1, 2]),
    services: random.chance(0.5) ? random.some(Object.keys(services), 3) : [],
    ports: random.chance(0.4) ? random.some(allPorts(random), 3) : [],
    sourcePorts: random.chance(0.1) ? random.some(allPorts(random), 1) : [],
    protocols: random.chance(0.2) ? random.some(['udp', 'gre', 'esp', 'sctp', 'tcp'], 1) : [],
    icmpBlocks: random.chance(0.3) ? random.some(Object.keys(icmptypes), 2) : [],
    masquerade: mayMasquerade && random.chance(0.4),
    forwardPorts: mayForward && random.chance(0.4) ? randomForwardPorts(random, random.between(1, 2), to) : [],
    richRules: unique(rich),
    disable: random.chance(0.05),
  }
}

/** Rules as bans write them, so many that they are told by sets: alike but for the address, and now and then one that is not. */
export function crowdOfSources(random: Random): readonly string[] {
  const family = random.pick(['ipv4', 'ipv6'] as const)
  const priority = random.chance(0.5) ? '' : ` priority="${random.pick([-3, 2])}"`
  const verdicts = random.some(['accept', 'drop', 'reject', 'reject type="tcp-reset"'], 2)
  return random.shuffle([...world.sources[family], ...world.prefixes[family]]).slice(0, random.between(4, 12)).map((address) => {
    const verdict = random.chance(0.8) ? verdicts[0] ?? 'drop' : random.pick(['accept', 'drop', 'reject'])
    const port = random.chance(0.4) ? randomPort(random) : null
    const isOdd = port !== null && verdict.includes('tcp-reset') && port.protocol !== 'tcp'
    const element = port === null || isOdd ? '' : ` port port="${port.port}" protocol="${port.protocol}"`
    return `rule${priority} family="${family}" source address="${canonicalPrefix(address)}"${element} ${verdict}`
  })
}

/** Canonical text (model/rich): attributes, source, destination, element, action. */
export function randomRichRule(random: Random, ipsets: Readonly<Record<string, IpSetSettings>>): string {
  const family = random.pick(['ipv4', 'ipv6', null] as const)
  const not = (): string => random.chance(0.2) ? 'NOT ' : ''
  const parts: string[] = []
  const priority = random.chance(0.6) ? 0 : random.between(-4, 4)
  const kind = random.pick(['none', 'none', 'port', 'port', 'source-port', 'service', 'protocol', 'icmp-type', 'icmp-block'] as const)

  if (random.chance(0.6)) {
    const usable = Object.entries(ipsets).filter(([, set]) => set.type === 'hash:mac' || family === null || setFamily(set) === family)
    const choice = random.pick(['address', 'address', 'mac', 'ipset'] as const)
    if (choice === 'ipset' && usable.length > 0) parts.push(`source ${not()}ipset="${random.pick(usable)[0]}"`)
    else if (choice === 'mac') parts.push(`source ${not()}mac="${random.pick(world.macs)}"`)
    else if (family !== null) parts.push(`source ${not()}address="${canonicalPrefix(random.pick([...world.sources[family], ...world.prefixes[family]]))}"`)
  }
  if (family !== null && random.chance(0.25)) {
    const own = Object.values(world.own[family])
    const usable = Object.entries(ipsets).filter(([, set]) => set.type !== 'hash:mac' && setFamily(set) === family)
    if (random.chance(0.2) && usable.length > 0) parts.push(`destination ${not()}ipset="${random.pick(usable)[0]}"`)
    else parts.push(`destination ${not()}address="${canonicalPrefix(random.pick([...own, ...world.prefixes[family]]))}"`)
  }
  // a service with its own destination cannot be combined with one of the rule
  const hasDestination = parts.some((part) => part.startsWith('destination'))
  let element = ''
  let protocol = ''
  if (kind === 'port' || kind === 'source-port') {
    const port = randomPort(random)
    protocol = port.protocol
    element = `${kind} port="${port.port}" protocol="${port.protocol}"`
  } else if (kind === 'service') {
    const usable = Object.keys(services).filter((name) => Object.keys(services[name]?.destination ?? {}).length === 0 || (!hasDestination && family === null))
    element = `service name="${random.pick(usable)}"`
  } else if (kind === 'protocol') {
    protocol = random.pick(['tcp', 'udp', 'gre', 'esp', 'sctp'])
    element = `protocol value="${protocol}"`
  } else if (kind === 'icmp-type' || kind === 'icmp-block') {
    const usable = Object.entries(icmptypes).filter(([, type]) => family === null ? type.destinations.length === 0 : type[family].length > 0)
    element = `${kind} name="${random.pick(usable)[0]}"`
  }
  const needsSomething = element === '' && parts.length === 0 && priority === 0
  const spoken = needsSomething ? 1 : priority
  let action = ''
  if (kind !== 'icmp-block') {
    action = random.pick(['accept', 'accept', 'drop', 'reject', 'reject-typed', 'mark'])
    if (action === 'reject-typed') {
      const types = family === null ? [] : [...rejectTexts[family], ...(protocol === 'tcp' ? ['tcp-reset'] : [])]
      action = types.length === 0 ? 'reject' : `reject type="${random.pick(types)}"`
    }
  }
  if (action === 'mark') action = `mark set=${random.pick(['0x1', '7', '0x10/0xf0', '0x300/0x300', '0x1/0x3', '0xffffffff/0xff00'])}`
  // so generous that no packet of an experiment exceeds it
  if (action !== '' && random.chance(0.15)) action += ' limit value="5000/s" burst=1000'
  const log = kind === 'icmp-block' || !random.chance(0.15) ? '' : random.pick(logTexts)
  const audit = action === '' || action.startsWith('mark') || !random.chance(0.1) ? '' : 'audit'
  return ['rule', spoken === 0 ? '' : `priority="${spoken}"`, family === null ? '' : `family="${family}"`, ...parts, element, log, audit, action]
    .filter((word) => word !== '').join(' ')
}

const logTexts = [
  'log', 'log prefix="seen " level="debug"', 'log prefix="-t \\"quoted\\" \\\\ " limit value="2/m"', 'nflog group="3" prefix="--table" queue-size="9"',
  'nflog limit value="10/h" burst=2',
]

const rejectTexts: Readonly<Record<Family, readonly string[]>> = {
  ipv4: ['icmp-host-prohibited', 'icmp-net-prohibited', 'icmp-admin-prohibited', 'icmp-net-unreachable', 'icmp-host-unreachable',
    'icmp-port-unreachable', 'icmp-proto-unreachable'],
  ipv6: ['icmp6-adm-prohibited', 'icmp6-no-route', 'icmp6-addr-unreachable', 'icmp6-port-unreachable'],
}

export function randomIpSets(random: Random, { macSets = true }: GeneratorOptions): Record<string, IpSetSettings> {
  const sets: Record<string, IpSetSettings> = {}
  if (random.chance(0.5)) sets['hosts4'] = { ...emptyIpSet, type: 'hash:ip', entries: random.some(world.sources.ipv4, 5) }
  if (random.chance(0.5)) sets['nets4'] = { ...emptyIpSet, type: 'hash:net', entries: apart(random.some(world.prefixes.ipv4.filter((text) => !text.endsWith('/0')), 3)) }
  if (random.chance(0.4)) sets['nets6'] = { ...emptyIpSet, type: 'hash:net', options: { family: 'inet6' }, entries: apart(random.some(world.prefixes.ipv6.filter((text) => !text.endsWith('/0')), 3)) }
  if (random.chance(0.3) && macSets) sets['cards'] = { ...emptyIpSet, type: 'hash:mac', entries: random.some(world.macs, 2) }
  return sets
}

function sourcesOf(random: Random, ipsets: Readonly<Record<string, IpSetSettings>>): string[] {
  return unique([
    ...random.some(bothFamilies(world.sources), 6),
    ...random.some(bothFamilies(world.prefixes), 6).map(canonicalPrefix),
    ...random.some(world.macs, 1).map((mac) => mac.toUpperCase()),
    ...random.some(Object.keys(ipsets), 2).map((name) => `ipset:${name}`),
    ...(random.chance(0.3) ? ['list:office'] : []),
  ])
}

function someListPrefixes(random: Random): Prefix[] {
  const wide = (text: string): boolean => prefixOf(text).length < (prefixOf(text).family === 'ipv4' ? 8 : 19)
  return random.some([...bothFamilies(world.sources), ...bothFamilies(world.prefixes).filter((text) => !wide(text))], 4).map(prefixOf)
}

function allPorts(random: Random): PortSpec[] {
  const seen = new Map(Array.from({ length: 6 }, () => randomPort(random)).map((port) => [`${port.port}/${port.protocol}`, port]))
  return [...seen.values()]
}

export function randomPort(random: Random, protocols: readonly string[] = ['tcp', 'tcp', 'udp', 'udp', 'sctp', 'dccp']): PortSpec {
  const one = random.pick(world.ports)
  const other = random.chance(0.3) ? random.pick(world.ports) : one
  const port = one === other ? String(one) : `${Math.min(one, other)}-${Math.max(one, other)}`
  return { port, protocol: random.pick(protocols) }
}

/** A packed list as lists/parse.ts makes it: sorted by (addr, length), no duplicates. */
export function packList(name: string, prefixes: readonly Prefix[]): AddressList {
  const canonical = [...new Map(prefixes.map((prefix) => [formatPrefix(prefix), prefix])).values()]
    .sort((a, b) => a.addr < b.addr ? -1 : a.addr > b.addr ? 1 : a.length - b.length)
  const four = canonical.filter((prefix) => prefix.family === 'ipv4')
  const six = canonical.filter((prefix) => prefix.family === 'ipv6')
  const words = (addr: bigint): number[] => [96n, 64n, 32n, 0n].map((shift) => Number((addr >> shift) & 0xffffffffn))
  return {
    name,
    file: `/etc/derpanet/lists/${name}.list`,
    digest: createHash('sha256').update(canonical.map(formatPrefix).join('\n')).digest('hex'),
    addrs4: Uint32Array.from(four.map((prefix) => Number(prefix.addr))),
    lengths4: Uint8Array.from(four.map((prefix) => prefix.length)),
    addrs6: Uint32Array.from(six.flatMap((prefix) => words(prefix.addr))),
    lengths6: Uint8Array.from(six.map((prefix) => prefix.length)),
  }
}

export function entry<T>(path: string, value: T): Entry<T> {
  return { value, layer: 'admin', file: `/etc/derpanet/${path}.yaml`, positions: new Map() }
}

function table<T>(folder: string, from: Readonly<Record<string, T>>): ReadonlyMap<string, Entry<T>> {
  return new Map(Object.entries(from).map(([name, value]) => [name, entry(`${folder}/${name}`, value)]))
}

/** Without those that lie in one another: an ipset takes no overlapping entries. */
function apart(texts: readonly string[]): string[] {
  const kept: Prefix[] = []
  for (const prefix of texts.map(prefixOf)) {
    const meets = kept.some((other) => {
      const hostBits = BigInt((prefix.family === 'ipv4' ? 32 : 128) - Math.min(prefix.length, other.length))
      return prefix.addr >> hostBits === other.addr >> hostBits
    })
    if (!meets) kept.push(prefix)
  }
  return kept.map(formatPrefix)
}

function setFamily(set: IpSetSettings): Family {
  return set.options['family'] === 'inet6' ? 'ipv6' : 'ipv4'
}

function prefixOf(text: string): Prefix {
  const prefix = parsePrefix(text)
  if (prefix === null) throw new Error(`not a prefix: ${text}`)
  return prefix
}

function canonicalPrefix(text: string): string {
  return formatPrefix(prefixOf(text))
}

function bothFamilies(of: Readonly<Record<Family, readonly string[]>>): string[] {
  return families.flatMap((family) => of[family])
}

function takeSome(random: Random, from: string[], most: number): string[] {
  return from.splice(0, random.between(0, Math.min(most, from.length)))
}

function unique<T>(from: readonly T[]): T[] {
  return [...new Set(from)]
}

/** The same configuration as text a person can read: only what differs from the empty one. */
export function describeConfiguration(runtime: Runtime): string {
  const { settings } = runtime
  const plain = (value: object, empty: object): Record<string, unknown> => Object.fromEntries(
    Object.entries(value).filter(([key, one]) => JSON.stringify(one) !== JSON.stringify((empty as Record<string, unknown>)[key])))
  const used = (text: string): boolean => [...settings.zones.values(), ...settings.policies.values()].some(({ value }) => JSON.stringify(value).includes(text))
  return JSON.stringify({
    ...(runtime.panic ? { panic: true } : {}),
    main: { ...plain(settings.main.value, defaultMain), defaultZone: settings.main.value.defaultZone },
    zones: Object.fromEntries([...settings.zones].map(([name, { value }]) => [name, plain(value, emptyZone)])),
    policies: Object.fromEntries([...settings.policies].map(([name, { value }]) => [name, plain(value, emptyPolicy)])),
    ipsets: Object.fromEntries([...settings.ipsets].filter(([name]) => used(name)).map(([name, { value }]) => [name, plain(value, emptyIpSet)])),
    lists: Object.fromEntries([...settings.lists].map(([name, list]) => [name, listTexts(list)])),
  }, null, 1)
}

function listTexts(list: AddressList): string[] {
  const four = [...list.addrs4].map((addr, index) => formatPrefix({ family: 'ipv4', addr: BigInt(addr), length: list.lengths4[index] ?? 32 }))
  const six = [...list.lengths6].map((length, index) => {
    const addr = [0, 1, 2, 3].reduce((sum, word) => (sum << 32n) | BigInt(list.addrs6[index * 4 + word] ?? 0), 0n)
    return formatPrefix({ family: 'ipv6', addr, length })
  })
  return [...four, ...six]
}

/** Smaller configurations next to this one, the biggest cuts first: for shrinking a failure. */
export function* smallerConfigurations(runtime: Runtime): Generator<Runtime> {
  const { settings } = runtime
  const withSettings = (part: Partial<Settings>): Runtime => ({ ...runtime, settings: { ...settings, ...part } })
  const main = settings.main.value
  if (runtime.panic) yield { ...runtime, panic: false }
  for (const name of settings.zones.keys()) {
    if (name !== main.defaultZone) yield withSettings({ zones: new Map([...settings.zones].filter(([other]) => other !== name)) })
  }
  for (const [name, policy] of settings.policies) {
    const replace = (value: PolicySettings): Runtime => withSettings({ policies: new Map([...settings.policies, [name, { ...policy, value }]]) })
    yield withSettings({ policies: new Map([...settings.policies].filter(([other]) => other !== name)) })
    for (const [key, value] of Object.entries(policy.value)) {
      const empty = (emptyPolicy as unknown as Record<string, unknown>)[key]
      if (key === 'ingressZones' || key === 'egressZones' || key === 'priority' || JSON.stringify(value) === JSON.stringify(empty)) continue
      yield replace({ ...policy.value, [key]: empty })
      if (!Array.isArray(value) || value.length < 2) continue
      for (let index = 0; index < value.length; index++) yield replace({ ...policy.value, [key]: value.filter((_, at) => at !== index) })
    }
  }
  for (const key of ['neverBlock', 'failsafePorts', 'block'] as const) {
    for (let index = 0; index < main[key].length; index++) {
      yield withSettings({ main: { ...settings.main, value: { ...main, [key]: (main[key] as readonly unknown[]).filter((_, at) => at !== index) } } })
    }
  }
  for (const [name, zone] of settings.zones) {
    const replace = (part: Partial<ZoneSettings>): Runtime =>
      withSettings({ zones: new Map([...settings.zones, [name, { ...zone, value: { ...zone.value, ...part } }]]) })
    for (const [key, value] of Object.entries(zone.value)) {
      const empty = (emptyZone as unknown as Record<string, unknown>)[key]
      if (JSON.stringify(value) === JSON.stringify(empty)) continue
      yield replace({ [key]: empty })
      if (Array.isArray(value) && value.length > 1) {
        for (let index = 0; index < value.length; index++) yield replace({ [key]: value.filter((_, at) => at !== index) })
      }
    }
  }
}
