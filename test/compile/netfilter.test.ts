// The texts that iptables-restore and ipset read: names that fit, values that cannot be anything but values.
import t from 'tap'
import { formatPrefix, maskPrefix, parsePrefix, type Family } from '../../src/model/addr.ts'
import { compile } from '../../src/compile/compile.ts'
import type { PlanMatch, PlanSet } from '../../src/compile/plan.ts'
import { elementCount, formatCreate, formatSet } from '../../src/compile/netfilter/ipset.ts'
import { chainName, setName } from '../../src/compile/netfilter/names.ts'
import { renderFamily } from '../../src/compile/netfilter/render.ts'
import { formatRule, rejectMarkOf, rejectWith, type RuleContext } from '../../src/compile/netfilter/rules.ts'
import { entryWord, interfaceWord, macWord } from '../../src/compile/netfilter/words.ts'
import { listSet, portSet, prefixSet } from '../../src/compile/sets.ts'
import { rejectTypes } from '../../src/model/firewall.ts'
import { firewallOf, runtimeOf } from '../support/configuration.ts'
import { packList } from '../support/random-settings.ts'
import { createRandom, seedOfRun } from '../support/random.ts'
import { resolve } from '../../src/model/resolve.ts'
import { formatPlan } from '../../src/compile/print.ts'

const context: RuleContext = {
  family: 'ipv4',
  setOf: () => { throw new Error('no sets here') },
  setNameOf: () => '',
  chainNameOf: (chain) => `DERPA_${chain}`,
}
const rule = (match: readonly PlanMatch[], family: Family = 'ipv4'): string | null =>
  formatRule({ id: '', match, verdict: { kind: 'accept' } }, { ...context, family })

t.test('no value becomes an option, a second word or a second line', async (t) => {
  const nasty = ['-j', '--jump', '-x', 'eth0 -j ACCEPT', 'eth0\n-A INPUT', 'eth0"', "eth0'", 'eth0\\', '!eth0', 'a/b', 'eth0\t', '', 'ä', '\u202eeth', 'sixteencharacter', '*', 'x+']
  for (const text of nasty) {
    t.throws(() => interfaceWord(text, false), { code: 'INVALID_INTERFACE' }, JSON.stringify(text))
    t.throws(() => macWord(text), { code: 'INVALID_MAC' })
  }
  for (const text of nasty.filter((one) => one !== 'sixteencharacter' && one !== 'a/b' && one !== 'x+')) {
    t.throws(() => entryWord(text), { code: 'INVALID_ENTRY' }, JSON.stringify(text))
  }
  t.throws(() => entryWord('192.0.2.1 timeout 0'), { code: 'INVALID_ENTRY' })
  for (const name of ['eth0', 'br-9f1c8a2b7d40', 'wlp3s0.100', 'veth@if2', 'tun:1']) t.equal(interfaceWord(name, false), name)
  t.equal(interfaceWord('eth', true), 'eth+')
  t.equal(interfaceWord('', true), '+')
  for (const entry of ['192.0.2.1', '2001:db8::/32', '::1', '::/1', '192.0.2.1-192.0.2.9', '192.0.2.1,tcp:80', '02:00:5e:00:53:01']) t.equal(entryWord(entry), entry)
})

t.test('what iptables would read as "everything" is refused', async (t) => {
  t.throws(() => rule([{ kind: 'protocol', number: 0 }]), { code: 'INVALID_PROTOCOL' })
  t.throws(() => rule([{ kind: 'icmp', type: 255, code: null }]), { code: 'INVALID_ICMPTYPE' })
  t.equal(rule([{ kind: 'icmp', type: 255, code: null }], 'ipv6'), '-p ipv6-icmp -m icmp6 --icmpv6-type 255 -j ACCEPT')
})

t.test('one rule of each kind of match', async (t) => {
  const prefix = parsePrefix('192.0.2.0/24')!
  const rows: readonly (readonly [PlanMatch, string])[] = [
    [{ kind: 'in-interface', name: 'eth', wildcard: true }, '-i eth+'],
    [{ kind: 'out-interface', name: 'eth0', wildcard: false }, '-o eth0'],
    [{ kind: 'source-prefix', prefix, invert: true }, '! -s 192.0.2.0/24'],
    [{ kind: 'destination-prefix', prefix, invert: false }, '-d 192.0.2.0/24'],
    [{ kind: 'source-mac', mac: '02:00:5e:00:53:01', invert: true }, '-m mac ! --mac-source 02:00:5e:00:53:01'],
    [{ kind: 'port', protocol: 'dccp', side: 'source', ports: { first: 1, last: 9 } }, '-p dccp -m dccp --sport 1:9'],
    [{ kind: 'protocol', number: 47 }, '-p 47'],
    [{ kind: 'icmp', type: 3, code: 13 }, '-p icmp -m icmp --icmp-type 3/13'],
    [{ kind: 'any-icmp' }, '-p icmp'],
    [{ kind: 'state', states: ['new', 'untracked'] }, '-m conntrack --ctstate NEW,UNTRACKED'],
    [{ kind: 'dnat' }, '-m conntrack --ctstate DNAT'],
    [{ kind: 'local-destination' }, '-m addrtype --dst-type LOCAL'],
  ]
  for (const [match, words] of rows) t.equal(rule([match]), `${words} -j ACCEPT`, match.kind)
  t.equal(rule([{ kind: 'family', family: 'ipv6' }]), null, 'a rule of the other family is none')
  t.equal(rule([{ kind: 'source-prefix', prefix, invert: true }], 'ipv6'), null, 'inverted, too')
})

t.test('every reject type has a mark of its own and an answer in both families', async (t) => {
  t.equal(new Set(rejectTypes.map(rejectMarkOf)).size, rejectTypes.length)
  for (const type of rejectTypes) {
    t.match(rejectMarkOf(type), /^0xde9a000[1-9a-f]$/)
    t.match(rejectWith.ipv4[type], /^icmp-|^tcp-reset$/)
    t.match(rejectWith.ipv6[type], /^icmp6-|^tcp-reset$/)
  }
})

t.test('kernel names fit and say whose they are, whatever the zone is called', async (t) => {
  for (const zone of ['public', 'a'.repeat(100), 'FedoraServer', 'Zone/combined', 'ünï']) {
    t.match(chainName('IN', zone, zone), /^DERPA_[A-Za-z0-9_]{1,22}$/)
    t.match(setName(`zone:${zone}:sources4`, 'a'), /^derpa-[A-Za-z0-9-]{1,25}$/)
  }
  t.not(setName('zone:a-very-long-name-one:tcp', 'a'), setName('zone:a-very-long-name-two:tcp', 'a'))
  t.not(setName('x', 'a'), setName('x', 'b'))
})

const linesOf = (set: PlanSet): string[] => [...formatSet('derpa-x-a', set)].map((chunk) => Buffer.from(chunk).toString()).join('').trimEnd().split('\n')

t.test('a packed list is written prefix by prefix, in every length and both families (random)', async (t) => {
  const random = createRandom(seedOfRun())
  const prefixes = Array.from({ length: 20_000 }, () => {
    const family = random.pick(['ipv4', 'ipv6'] as const)
    const bits = family === 'ipv4' ? 32 : 128
    let addr = 0n
    for (let i = 0; i < bits / 16; i++) addr = (addr << 16n) | BigInt(random.chance(0.3) ? 0 : random.between(0, 65535))
    return maskPrefix(family, addr, random.between(1, bits))
  })
  const list = packList('big', prefixes)
  for (const family of ['ipv4', 'ipv6'] as const) {
    const [create, ...adds] = linesOf(listSet(list, family))
    t.match(create, new RegExp(`^create derpa-x-a hash:net family ${family === 'ipv4' ? 'inet' : 'inet6'} hashsize \\d+ maxelem 65536$`))
    const written = new Set(adds.map((line) => formatPrefix(parsePrefix(line.replace('add derpa-x-a ', ''))!)))
    const wanted = new Set(prefixes.filter((prefix) => prefix.family === family).map(formatPrefix))
    t.same([...written].sort(), [...wanted].sort(), family)
    t.equal(adds.length, elementCount(listSet(list, family)))
  }
})

t.test('0.0.0.0/0 and ::/0 become two halves, in sets and in lists', async (t) => {
  const all = [parsePrefix('0.0.0.0/0')!, parsePrefix('::/0')!]
  t.same(linesOf(listSet(packList('all', all), 'ipv4')).slice(1), ['add derpa-x-a 0.0.0.0/1', 'add derpa-x-a 128.0.0.0/1'])
  t.same(linesOf(listSet(packList('all', all), 'ipv6')).slice(1), ['add derpa-x-a 0:0:0:0:0:0:0:0/1', 'add derpa-x-a 8000:0:0:0:0:0:0:0/1'])
  t.same(linesOf(prefixSet('x', 'ipv4', all.slice(0, 1))).slice(1), ['add derpa-x-a 0.0.0.0/1', 'add derpa-x-a 128.0.0.0/1'])
  t.equal(elementCount(listSet(packList('all', all), 'ipv6')), 2)
})

t.test('a set has room for its entries and for as many again', async (t) => {
  const prefixes = Array.from({ length: 70_000 }, (_, i) => ({ family: 'ipv4', addr: BigInt(i * 256), length: 24 }) as const)
  t.match(formatCreate('x', prefixSet('x', 'ipv4', prefixes)), /hashsize 65536 maxelem 262144$/)
})

t.test('an ipset keeps its own type and options; what we do not know is refused', async (t) => {
  const set = (type: string, options: Readonly<Record<string, string>> = {}): PlanSet =>
    ({ role: 'ipset:x', kind: 'user', family: 'ipv4', digest: '', elements: { kind: 'text', entries: [] }, user: { name: 'x', type, options } })
  t.equal(formatCreate('n', set('hash:ip,port', { timeout: '300', maxelem: '10' })), 'create n hash:ip,port family inet maxelem 10 timeout 300')
  t.throws(() => formatCreate('n', set('hash:ip x')), { code: 'INVALID_TYPE' })
  t.throws(() => formatCreate('n', set('hash:ip', { comment: 'x' })), { code: 'INVALID_IPSET' })
  t.throws(() => formatCreate('n', set('hash:ip', { timeout: '1 counters' })), { code: 'INVALID_IPSET' })
})

t.test('a port that two rules open belongs to the first', async (t) => {
  const set = portSet('x', [{ first: 80, last: 90, rule: 'a' }, { first: 85, last: 95, rule: 'b' }, { first: 1, last: 100, rule: 'c' }])
  t.same(set.portRules, [
    { first: 1, last: 79, rule: 'c' }, { first: 80, last: 90, rule: 'a' }, { first: 91, last: 95, rule: 'b' }, { first: 96, last: 100, rule: 'c' },
  ])
})

t.test('the order in which zones and ipsets were read means nothing', async (t) => {
  const zones = { public: { ports: ['22/tcp'] }, home: { sources: ['192.0.2.0/24', 'ipset:one'] }, aaa: { interfaces: ['eth0'] } }
  const ipsets = { one: { type: 'hash:net', entries: ['198.51.100.0/24', '203.0.113.0/24'] }, two: { type: 'hash:ip', entries: [] } }
  const runtime = runtimeOf({ zones, ipsets })
  const backwards = { ...runtime, settings: { ...runtime.settings, zones: new Map([...runtime.settings.zones].reverse()), ipsets: new Map([...runtime.settings.ipsets].reverse()) } }
  t.equal(formatPlan(compile(resolve(backwards).firewall!)), formatPlan(compile(resolve(runtime).firewall!)))
})

t.test('zones that nothing leads to have no chains, and their sets do not exist', async (t) => {
  const text = formatPlan(compile(firewallOf({ zones: { idle: { ports: ['1/tcp'] }, public: {} } })))
  t.notMatch(text, /idle/)
})

t.test('plain ports of one run of accepting rules are one set; a denial in between keeps its place', async (t) => {
  const plan = compile(firewallOf({ zones: { public: {
    ports: ['80/tcp', '81-90/tcp', '53/udp', '5/sctp'],
    richRules: ['rule priority="-1" port port="22" protocol="tcp" accept', 'rule family="ipv4" source address="192.0.2.1" drop'],
  } } }))
  const chain = plan.chains.find(({ name }) => name === 'zone:public:input')!
  t.same(chain.rules.map(({ match, verdict }) => `${match.map(({ kind }) => kind).join('+')} ${verdict.kind}`), [
    'port accept', 'family+source-prefix drop', 'port-set accept', 'port-set accept', 'port accept', 'any-icmp accept', ' reject',
  ])
  const { elements } = plan.sets.find(({ role }) => role === 'zone:public:tcp')!
  t.same(elements.kind === 'text' && elements.entries, ['80', '81-90'])
})

t.test('many interfaces and MAC addresses of a zone are looked up in sets, as many rules as ipset forces', async (t) => {
  const range = (count: number, make: (index: number) => string): string[] => Array.from({ length: count }, (_, index) => make(index))
  const mac = (index: number): string => `02:00:5e:00:${(index >> 8).toString(16).padStart(2, '0')}:${(index & 255).toString(16).padStart(2, '0')}`
  const dispatch = (interfaces: number, macs: number): readonly string[] => {
    const plan = compile(firewallOf({ zones: { work: { interfaces: range(interfaces, (index) => `cali${index}`), sources: range(macs, mac), masquerade: true, forward: true } } }))
    const input = plan.chains.find(({ name }) => name === 'input')!.rules.filter(({ verdict }) => verdict.kind === 'goto' && verdict.chain === 'zone:work:input')
    return input.map((rule) => rule.match.map(({ kind }) => kind).join(' '))
  }
  t.same(dispatch(8, 8), [...Array<string>(8).fill('source-mac'), ...Array<string>(8).fill('in-interface')])
  t.same(dispatch(0, 500), ['set'])
  t.same(dispatch(64, 0), ['family interface-set', 'family interface-set'], 'one a family')
  t.equal(dispatch(65, 0).length, 4, 'ipset takes 64 interfaces for a prefix')
  t.equal(dispatch(640, 9).length, 21)
  t.end()
})

t.test('what the default zone takes anyway is not asked for', async (t) => {
  const names = (zones: Parameters<typeof firewallOf>[0]['zones']): readonly string[] => compile(firewallOf({ zones })).chains.find(({ name }) => name === 'input')!.rules
    .filter(({ verdict }) => verdict.kind === 'goto').map(({ match, verdict }) => `${match.map(({ kind }) => kind).join(' ')} ${verdict.kind === 'goto' ? verdict.chain : ''}`)
  t.same(names({ public: { interfaces: ['eth0'] } }), [' zone:public:input'])
  t.same(names({ public: { interfaces: ['eth0'] }, home: { interfaces: ['eth1'] } }), ['in-interface zone:home:input', ' zone:public:input'])
  t.same(names({ public: { sources: ['192.0.2.0/24'] }, home: { interfaces: ['eth1'] } }), ['family set zone:public:input', 'in-interface zone:home:input', ' zone:public:input'],
    'but where another zone would take it')
  t.end()
})

t.test('a chain that is remembered is written anew when a set or a chain it names has another name', async (t) => {
  const plan = compile(firewallOf({ zones: { public: { ports: ['22/tcp'] }, home: { sources: ['192.0.2.0/24'], protocols: ['gre'] } } }))
  const text = (slot: string): string => JSON.stringify(renderFamily(plan, 'ipv4', (role) => `${role}-${slot}`))
  const first = text('a')
  t.equal(text('a'), first)
  t.equal(text('b').replaceAll('-b ', '-a ').replace(/_[a-z2-7]{8}\b/g, ''), first.replace(/_[a-z2-7]{8}\b/g, ''))
  t.notMatch(text('b'), /-a (src|dst)/)
  t.equal(text('a'), first)
  // the caller of a chain whose content changed
  const home = plan.chains.find(({ name }) => name === 'zone:home:input')!
  const other = { ...plan, chains: plan.chains.map((chain) => (chain === home ? { ...home, rules: home.rules.slice(1) } : chain)) }
  const names = (text: string): readonly string[] => [...text.matchAll(/DERPA_IN_home_\w+/g)].map(([name]) => name)
  const after = names(JSON.stringify(renderFamily(other, 'ipv4', (role) => `${role}-a`)))
  t.equal(new Set(after).size, 1, 'one name, by the chain and by its caller')
  t.not(after[0], names(first)[0])
})
