// The whole configuration: layers, what is shared between two loads, and mistakes that only the whole shows.
import { rmSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { makeTree } from './tree.ts'

t.test('a fresh host has the shipped definitions and the defaults', async (t) => {
  const tree = makeTree()
  t.teardown(tree.remove)
  const { settings, diagnostics } = await tree.load()
  t.strictSame(diagnostics, [])
  t.strictSame([...settings!.zones.keys()], ['drop', 'public'], 'sorted')
  t.equal(settings!.main.layer, 'builtin')
  t.equal(settings!.zones.get('public')!.layer, 'shipped')
  t.equal(settings!.zones.get('public')!.value.forward, true)
})

t.test('the same name in /etc replaces the whole object, not single keys', async (t) => {
  const tree = makeTree({ 'zones/public.yaml': 'target: REJECT\n', 'derpanet.yaml': 'default-zone: drop\n' })
  t.teardown(tree.remove)
  const { settings } = await tree.load()
  const zone = settings!.zones.get('public')!
  t.equal(zone.layer, 'admin')
  t.equal(zone.file, tree.etc('zones/public.yaml'))
  t.strictSame(zone.value.services, [], 'nothing of the shipped file is left')
  t.equal(zone.value.forward, false, 'a file without forward means no')
  t.equal(zone.overrides, true, 'and it is known that a shipped one is hidden')
  t.notOk('overrides' in settings!.zones.get('drop')!)
  rmSync(join(tree.paths.shipped, 'zones/public.yaml'))
  t.notOk('overrides' in (await tree.load(settings)).settings!.zones.get('public')!, 'no longer, once the shipped one is gone')
  t.equal(settings!.main.value.defaultZone, 'drop')
})

t.test('no shipped definitions is an error: nothing would be known', async (t) => {
  const tree = makeTree()
  t.teardown(tree.remove)
  rmSync(tree.paths.shipped, { recursive: true })
  t.match((await tree.complaints())[0], /^LIB:1:1: INVALID_DIRECTORY: the shipped definitions are not there/)
})

t.test('mistakes of all files come together, and with one error there are no settings', async (t) => {
  const tree = makeTree({
    'derpanet.yaml': 'default_zone: public\n', 'zones/a.yaml': 'ports: [80]\n', 'zones/b.yaml': 'short: "x\n', 'services/s.yaml': 'port: [80/tcp]\n',
    'lists/l.list': '192.0.2.1\nnonsense\n',
  })
  t.teardown(tree.remove)
  t.equal((await tree.load()).settings, null)
  t.strictSame((await tree.complaints()).map((line) => line.split(': ').slice(0, 2).join(': ')), [
    'ETC/derpanet.yaml:1:1: INVALID_OPTION', 'ETC/lists/l.list:2:1: INVALID_ADDR', 'ETC/services/s.yaml:1:1: INVALID_OPTION',
    'ETC/zones/a.yaml:1:9: INVALID_PORT', 'ETC/zones/b.yaml:2:1: PARSE_ERROR',
  ])
})

t.test('names that do not exist are pointed at', async (t) => {
  const tree = makeTree({
    'derpanet.yaml': 'default-zone: publc\nblock: [gone]\n',
    'zones/a.yaml': 'services: [ssh, shh]\nicmp-blocks: [echo-reqest]\nsources:\n  - ipset:office\n  - list:bad\n  - ipset:pairs\n',
    'ipsets/pairs.yaml': 'type: hash:net,net\n',
    'services/mine.yaml': 'includes: [http, htp]\nhelpers: [ftpd]\n',
    'policies/p.yaml': 'ingress-zones: [public, wrok]\negress-zones: [HOST]\nservices: [ssh, no-such]\n',
    'policies/drop.yaml': 'ingress-zones: [ANY]\negress-zones: [HOST]\n',
  })
  t.teardown(tree.remove)
  t.strictSame(await tree.complaints(), [
    "ETC/derpanet.yaml:1:1: INVALID_ZONE: there is no zone 'publc', did you mean 'public'?",
    "ETC/derpanet.yaml:2:9: INVALID_SOURCE: there is no list 'gone'",
    "ETC/policies/drop.yaml:1:1: NAME_CONFLICT: a zone has the name 'drop' too",
    "ETC/policies/p.yaml:1:25: INVALID_ZONE: there is no zone 'wrok'",
    "ETC/policies/p.yaml:3:17: INVALID_SERVICE: there is no service 'no-such'",
    "ETC/services/mine.yaml:1:18: INVALID_SERVICE: there is no service 'htp', did you mean 'http'?",
    "ETC/services/mine.yaml:2:11: INVALID_HELPER: there is no helper 'ftpd', did you mean 'ftp'?",
    "ETC/zones/a.yaml:1:17: INVALID_SERVICE: there is no service 'shh', did you mean 'ssh'?",
    "ETC/zones/a.yaml:2:15: INVALID_ICMPTYPE: there is no ICMP type 'echo-reqest', did you mean 'echo-request'?",
    "ETC/zones/a.yaml:4:5: INVALID_IPSET: there is no ipset 'office'",
    "ETC/zones/a.yaml:5:5: INVALID_SOURCE: there is no list 'bad'",
    "ETC/zones/a.yaml:6:5: INVALID_IPSET: ipset 'pairs' is of type hash:net,net, which says more than where a packet comes from",
  ])
  t.match((await tree.load()).diagnostics.find(({ code }) => code === 'INVALID_HELPER'), { sourceLine: 'helpers: [ftpd]' }, 'with the line to show')
})

t.test('a broken object does not make those who name it wrong', async (t) => {
  const tree = makeTree({ 'services/mine.yaml': 'ports: [80]\n', 'zones/a.yaml': 'services: [mine]\n' })
  t.teardown(tree.remove)
  t.strictSame((await tree.complaints()).map((line) => line.split(' ')[0]), ['ETC/services/mine.yaml:1:9:'])
})

t.test('an interface or a source in two zones is refused with ZONE_CONFLICT and both places', async (t) => {
  const tree = makeTree({
    'zones/a.yaml': 'interfaces: [eth0]\nsources: [192.0.2.1/24]\n',
    'zones/b.yaml': 'sources:\n  - 192.0.2.0/255.255.255.0\n  - 192.0.2.0/25\ninterfaces: [eth1, eth0]\n',
  })
  t.teardown(tree.remove)
  t.strictSame(await tree.complaints(), [
    "ETC/zones/b.yaml:2:5: ZONE_CONFLICT: source '192.0.2.0/255.255.255.0' is in zone 'a' already (ETC/zones/a.yaml:2:11)",
    "ETC/zones/b.yaml:4:20: ZONE_CONFLICT: interface 'eth0' is in zone 'a' already (ETC/zones/a.yaml:1:14)",
  ], 'however the prefix is written; a part of a prefix is another source')
})

t.test('an unchanged tree gives the very same settings', async (t) => {
  const tree = makeTree({ 'zones/a.yaml': 'interfaces: [eth0]\n', 'derpanet.yaml': 'block: [l]\n', 'lists/l.list': '192.0.2.1\n' })
  t.teardown(tree.remove)
  const first = (await tree.load()).settings!
  t.equal((await tree.load(first)).settings, first)
})

t.test('a changed file changes its own entry, everything else is shared', async (t) => {
  const tree = makeTree({ 'zones/a.yaml': 'interfaces: [eth0]\n', 'zones/b.yaml': 'interfaces: [eth1]\n', 'lists/l.list': '192.0.2.1\n' })
  t.teardown(tree.remove)
  const first = (await tree.load()).settings!
  tree.write('zones/b.yaml', 'interfaces: [eth2]\n')
  const second = (await tree.load(first)).settings!
  t.not(second, first)
  t.equal(second.zones.get('a'), first.zones.get('a'))
  t.strictSame(second.zones.get('b')!.value.interfaces, ['eth2'])
  for (const key of ['main', 'services', 'policies', 'icmptypes', 'helpers', 'ipsets', 'lists'] as const) t.equal(second[key], first[key], key)
})

t.test('an edit of the same length within the same second is seen', async (t) => {
  const tree = makeTree({ 'zones/a.yaml': 'interfaces: [eth0]\n' })
  t.teardown(tree.remove)
  const first = (await tree.load()).settings!
  writeFileSync(tree.etc('zones/a.yaml'), 'interfaces: [eth9]\n')
  t.strictSame((await tree.load(first)).settings!.zones.get('a')!.value.interfaces, ['eth9'])
})

t.test('a removed file uncovers the shipped one', async (t) => {
  const tree = makeTree({ 'zones/public.yaml': 'target: DROP\n' })
  t.teardown(tree.remove)
  const first = (await tree.load()).settings!
  rmSync(tree.etc('zones/public.yaml'))
  t.equal((await tree.load(first)).settings!.zones.get('public')!.layer, 'shipped')
})

t.test('warnings of an unchanged file are given again', async (t) => {
  const tree = makeTree({ 'zones/a.yaml': 'services: [ssh, ssh]\n' })
  t.teardown(tree.remove)
  const first = (await tree.load()).settings!
  t.strictSame(await tree.complaints(first), ["ETC/zones/a.yaml:1:17: warning: ALREADY_ENABLED: 'ssh' is in services twice"])
})

t.test('a list written again with the same addresses is the same list', async (t) => {
  const tree = makeTree({ 'lists/l.list': '192.0.2.1\n198.51.100.0/24\n' })
  t.teardown(tree.remove)
  const first = (await tree.load()).settings!
  tree.write('lists/l.list', '# sorted otherwise\n198.51.100.0/24\n192.0.2.1\n')
  t.equal((await tree.load(first)).settings, first)
})

t.test('a list that became empty or changed by more than half keeps the old one and says so, unless forced', async (t) => {
  const lines = (from: number, to: number): string => Array.from({ length: to - from }, (_, index) => `192.0.2.${from + index}\n`).join('')
  const tree = makeTree({ 'lists/l.list': lines(0, 100) })
  t.teardown(tree.remove)
  const first = (await tree.load()).settings!
  for (const text of ['', lines(60, 160)]) {
    tree.write('lists/l.list', text)
    const { settings, diagnostics } = await tree.load(first)
    t.equal(settings, first)
    t.match(diagnostics, [{ severity: 'warning', code: 'INVALID_ENTRY', text: /100 entries in force stay/ }])
    t.equal((await tree.load(first, { forceLists: true })).settings!.lists.get('l')!.addrs4.length, text === '' ? 0 : 100)
  }
  tree.write('lists/l.list', lines(20, 120))
  t.not((await tree.load(first)).settings, first, 'a smaller change is taken')
})

t.test('a list with an address of the host is refused at its line, even when the host got the address later', async (t) => {
  const tree = makeTree({ 'lists/l.list': '# bad ones\n198.51.100.7\n  192.0.2.0/25 # a neighbour\n' })
  t.teardown(tree.remove)
  const first = (await tree.load()).settings!
  const hostAddresses = [{ family: 'ipv4', addr: 0xc0000201n, what: 'the gateway' }] as const
  for (const previous of [null, first]) {
    t.strictSame(await tree.complaints(previous, { hostAddresses, forceLists: true }), [
      'ETC/lists/l.list:3:3: INVALID_ENTRY: 192.0.2.0/25 contains 192.0.2.1, the gateway',
    ])
  }
})

t.test('names of files are checked, leftovers passed over, strangers named', async (t) => {
  const tree = makeTree({
    'zones/a b.yaml': '', 'zones/.hidden.yaml': 'x: 1', 'zones/public.yaml~': 'x: 1', 'zones/public.yaml.dpkg-old': 'x: 1', 'zones/public.yaml.undone': 'x: 1', 'zones/README.md': 'x',
    'zones/other.yml': 'x: 1', 'zones/group/one.yaml': '', 'zone/x.yaml': '', 'lists/..list': '',
  })
  t.teardown(tree.remove)
  t.strictSame(await tree.complaints(), [
    "ETC/zone:1:1: warning: INVALID_FILENAME: is not read, did you mean 'zones'?",
    "ETC/zones/a b.yaml:1:1: INVALID_NAME: 'a b': a zone name is letters, digits, _ and -, at most 96 characters",
    'ETC/zones/group:1:1: INVALID_DIRECTORY: folders within zones (combined zones of firewalld) are not supported yet',
    'ETC/zones/other.yml:1:1: warning: INVALID_FILENAME: is not read: names here end in .yaml',
  ])
})

t.test('files that carry a future time are no special case', async (t) => {
  const tree = makeTree({ 'zones/a.yaml': 'interfaces: [eth0]\n' })
  t.teardown(tree.remove)
  utimesSync(tree.etc('zones/a.yaml'), 4e9, 4e9)
  t.ok((await tree.load()).settings)
})
