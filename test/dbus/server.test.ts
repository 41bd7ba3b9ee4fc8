// The whole face on a private bus: what busctl, firewall-cmd and odd callers see. The service behind it is the real
// reducer without a kernel.
import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { faceVersions } from '../../src/dbus/handlers/main.ts'
import { installedFace } from '../../src/dbus/installed-face.ts'
import { startBus } from '../../src/dbus/server.ts'
import { memberTable, type Face } from '../../src/dbus/members.ts'
import type { Transport } from '../../src/dbus/transport.ts'
import { decodeBody } from '../../src/dbus/wire/decode.ts'
import { Body, encodeBody, messageTypes, Variant, type Header } from '../../src/dbus/wire/encode.ts'
import { emptyIpSet, type Settings } from '../../src/model/settings.ts'
import { configAt, derpanet, firewalld, quiet, startPrivateBus, type PrivateBus } from './support/bus.ts'
import { fakeService, testSettings, type FakeService } from './support/service.ts'
import { nodeShape } from './support/xml.ts'

interface Stage {
  readonly bus: PrivateBus
  readonly service: FakeService
  readonly client: Transport
  /** Calls `member` of `org.fedoraproject.FirewallD1<suffix>` on the root object; gives the one result. */
  ask(suffix: string, member: string, signature?: string, ...body: readonly unknown[]): Promise<unknown>
  askAt(path: string, iface: string, member: string, signature?: string, ...body: readonly unknown[]): Promise<unknown>
  /** `member arg arg` of signals in order of arrival. */
  readonly signals: string[]
  cmd(...args: readonly string[]): Promise<{ readonly status: number; readonly stdout: string; readonly stderr: string }>
}

const firewalldName = firewalld.destination

async function stage(t: { teardown(done: () => unknown): void }, compat: Face | 'no' = '2.5', settings: Settings = testSettings()): Promise<Stage> {
  const bus = await startPrivateBus()
  t.teardown(bus.stop)
  const service = fakeService(settings)
  const server = await startBus({ service, address: bus.address, compat, log: quiet })
  t.teardown(() => server.stop())
  const client = await bus.client()
  const signals: string[] = []
  await client.addMatch("type='signal',path_namespace='/org'")
  client.onSignal((signal) => {
    if (signal.path.startsWith('/org/fedoraproject')) signals.push([signal.member, ...decodeBody(signal).map(String)].join(' '))
  })
  const askAt: Stage['askAt'] = async (path, iface, member, signature = '', ...body) =>
    (await client.call({ ...firewalld, path, interface: iface, member, signature, body }))[0]
  return {
    bus, service, client, signals, askAt,
    ask: (suffix, member, signature, ...body) => askAt(firewalld.path, `${firewalldName}${suffix}`, member, signature, ...body),
    cmd: (...args) => bus.run('firewall-cmd', args),
  }
}

const dataDir = join(dirname(fileURLToPath(import.meta.url)), '../compat/data')

for (const [face, version] of [['2.5', '2.5.0'], ['1.3', '1.3.3']] as const) {
  t.test(`over the wire face ${face} introspects as firewalld ${version}, child nodes too`, async (t) => {
    const { askAt } = await stage(t, face)
    const introspectable = 'org.freedesktop.DBus.Introspectable'
    const files: readonly (readonly [string, string])[] = [
      ['', ''], ['/config', '_config'], ...['zone', 'service', 'ipset', 'icmptype', 'helper', 'policy'].map((kind) => [`/config/${kind}/0`, `_config_${kind}_N`] as const),
    ]
    for (const [path, file] of files) {
      const want = nodeShape(readFileSync(join(dataDir, 'introspection', version, `org_fedoraproject_FirewallD1${file}.xml`), 'utf8'))
      t.strictSame(nodeShape(String(await askAt(`${firewalld.path}${path}`, introspectable, 'Introspect'))), want, path === '' ? 'root' : path)
    }
    const walk = async (path: string): Promise<readonly string[]> => nodeShape(String(await askAt(path, introspectable, 'Introspect'))).children
    t.strictSame(await walk('/'), ['org'])
    t.strictSame(await walk('/org'), ['derpanet', 'fedoraproject'])
    t.strictSame(await walk('/org/fedoraproject/FirewallD1/config/zone'), ['0', '1', '2', '3', '4', '5', '6', '7', '8'])
  })
}

t.test('busctl walks the tree, introspects, calls and reads properties', async (t) => {
  const { bus } = await stage(t)
  const busctl = (...args: string[]) => bus.run('busctl', [`--address=${bus.address}`, ...args])
  const tree = await busctl('tree', firewalldName)
  t.match(tree.stdout, /\/org\/fedoraproject\/FirewallD1\/config\/zone\/6/)
  t.match((await busctl('introspect', firewalldName, firewalld.path)).stdout, /\.getDefaultZone +method +- +s/)
  t.equal((await busctl('call', firewalldName, firewalld.path, firewalldName, 'getDefaultZone')).stdout, 's "public"\n')
  t.equal((await busctl('get-property', firewalldName, firewalld.path, firewalldName, 'interface_version')).stdout, 's "1.15"\n')
  t.equal((await busctl('call', firewalldName, firewalld.path, `${firewalldName}.zone`, 'getActiveZones')).stdout,
    'a{sa{sas}} 1 "public" 2 "interfaces" 0 "sources" 0\n')
  t.equal((await busctl('call', derpanet.destination, derpanet.path, derpanet.destination, 'Counters')).stdout,
    'a(stt) 2 "list bad" 18446744073709551615 1 "zone public: service ssh" 3 180\n')
})

t.test('the unmodified firewall-cmd works: reading', async (t) => {
  const face = installedFace()
  const { cmd } = await stage(t, face)
  const rows: readonly (readonly [string, string])[] = [
    ['--state', 'running\n'],
    ['--version', `${faceVersions[face]}\n`],
    ['--get-default-zone', 'public\n'],
    ['--get-zones', 'block dmz drop external home internal public trusted work\n'],
    ['--get-services', 'dhcpv6-client ftp http https mdns netbios-ns samba-client ssh\n'],
    ['--get-icmptypes', 'echo-reply echo-request host-prohibited neighbour-solicitation redirect\n'],
    ['--get-log-denied', 'off\n'],
    ['--get-helpers', 'Q.931 ftp netbios-ns\n'],
    ['--get-ipsets', 'n4 n6 s4 t4\n'],
    ['--get-policies', 'allow-host-ipv6 gateway-dmz-to-HOST\n'],
    ['--query-panic', 'no\n'],
    ['--query-service=ssh', 'yes\n'],
    ['--permanent --get-zones', 'block dmz drop external home internal public trusted work\n'],
    ['--permanent --zone=dmz --list-services', 'ssh\n'],
    ['--permanent --path-zone=dmz', '/usr/lib/derpanet/zones/dmz.yaml\n'],
  ]
  for (const [line, stdout] of rows) t.equal((await cmd(...line.split(' '))).stdout, stdout, line)
  const all = await cmd('--list-all')
  t.equal(all.status, 0)
  t.match(all.stdout, /^public/)
  t.match(all.stdout, /services: (ssh dhcpv6-client|dhcpv6-client ssh)\n/)
  t.match(all.stdout, /target: default\n/)
  t.match((await cmd('--list-all-zones')).stdout, /block[\s\S]*target: %%REJECT%%[\s\S]*work/)
  t.match((await cmd('--info-service=ssh')).stdout, /ports: 22\/tcp/)
  t.match((await cmd('--info-ipset=s4')).stdout, /type: hash:ip/)
  t.match((await cmd('--permanent', '--info-zone=public')).stdout, /services: /)
})

t.test('the unmodified firewall-cmd works: changing, with its exit codes', async (t) => {
  const { cmd } = await stage(t, installedFace())
  const rows: readonly (readonly [string, number, RegExp?])[] = [
    ['--add-port=8080/tcp', 0, /success/],
    ['--query-port=8080/tcp', 0, /yes/],
    ['--add-port=8080/tcp', 0],
    ['--list-ports', 0, /^8080\/tcp$/m],
    ['--remove-port=8080/tcp', 0],
    ['--query-port=8080/tcp', 1, /no/],
    ['--zone=nonesuch --add-port=80/tcp', 112],
    ['--add-service=nonesuch', 101],
    ['--add-port=80/icmp', 103],
    ['--add-service=http --timeout=30', 0],
    ['--query-service=http', 0],
    ['--add-source=192.0.2.0/24 --zone=work', 0],
    ['--get-zone-of-source=192.0.2.0/24', 0, /work/],
    ['--add-source=192.0.2.0/24 --zone=home', 18],
    ['--zone=work --add-interface=eth7', 0],
    ['--zone=home --change-interface=eth7', 0],
    ['--get-zone-of-interface=eth7', 0, /home/],
    ['--get-active-zones', 0, /home[\s\S]*interfaces: eth7/],
    ['--add-protocol=gre', 0],
    ['--add-source-port=123/udp', 0],
    ['--add-icmp-block=echo-request', 0],
    ['--add-icmp-block=nonesuch', 107],
    ['--query-icmp-block=echo-request', 0],
    ['--set-default-zone=home', 0],
    ['--get-default-zone', 0, /home/],
    ['--set-default-zone=nonesuch', 112],
    ['--panic-on', 0],
    ['--query-panic', 0, /yes/],
    ['--panic-off', 0],
    ['--reload', 0],
    ['--ipset=s4 --add-entry=192.0.2.1', 0],
    ['--ipset=s4 --query-entry=192.0.2.1', 0],
    ['--ipset=s4 --get-entries', 0, /^192\.0\.2\.1$/m],
    ['--ipset=nonesuch --get-entries', 135],
  ]
  for (const [line, status, stdout] of rows) {
    const ran = await cmd(...line.split(' '))
    t.equal(ran.status, status, `firewall-cmd ${line}: ${ran.stderr.trim()}`)
    if (stdout !== undefined) t.match(ran.stdout, stdout, line)
  }
  const rich = 'rule family="ipv4" source address="203.0.113.0/24" service name="http" accept'
  t.equal((await cmd(`--add-rich-rule=${rich}`)).status, 0)
  t.equal((await cmd('--list-rich-rules')).stdout.trim(), rich)
  t.equal((await cmd('--add-rich-rule=rule bogus')).status, 122)
  const before = (await cmd('--list-ports')).stdout.trim()
  const permanent = await cmd('--permanent', '--add-port=80/tcp')
  t.equal(permanent.status, 0, permanent.stderr)
  t.equal((await cmd('--permanent', '--list-ports')).stdout.trim(), '80/tcp', 'the files are changed')
  t.equal((await cmd('--list-ports')).stdout.trim(), before, 'and nothing else')
})

t.test('changes answer the real zone, signals repeat what the caller wrote', async (t) => {
  const { ask, signals } = await stage(t)
  t.equal(await ask('.zone', 'addPort', 'sssi', '', '90-80', 'tcp', 0), 'public')
  t.strictSame(await ask('.zone', 'getPorts', 's', 'public'), [['80-90', 'tcp']])
  t.equal(await ask('.zone', 'queryPort', 'sss', '', '83-85', 'tcp'), true)
  t.equal(await ask('.zone', 'removePort', 'sss', 'public', '90-80', 'tcp'), 'public')
  t.equal(await ask('.zone', 'addRichRule', 'ssi', '', 'rule   family=ipv4 source address=192.0.2.1 drop', 0), 'public')
  t.strictSame(await ask('.zone', 'getRichRules', 's', ''), ['rule family="ipv4" source address="192.0.2.1" drop'])
  t.equal(await ask('.zone', 'changeZone', 'ss', 'work', 'eth1'), 'work')
  t.equal(await ask('.zone', 'addIcmpBlockInversion', 's', ''), 'public')
  t.equal(await ask('.zone', 'addMasquerade', 'si', 'dmz', 0), 'dmz')
  await ask('.zone', 'setZoneSettings2', 'sa{sv}', 'dmz', new Map([['ports', new Variant('a(ss)', [['99', 'tcp']])]]))
  await ask('.ipset', 'addEntry', 'ss', 'n4', '12.0.0.5/8')
  t.strictSame(await ask('.ipset', 'getEntries', 's', 'n4'), ['12.0.0.0/8'])
  await ask('', 'enablePanicMode')
  await ask('', 'disablePanicMode')
  t.strictSame(signals, [
    'PortAdded public 90-80 tcp 0',
    'PortRemoved public 90-80 tcp',
    'RichRuleAdded public rule   family=ipv4 source address=192.0.2.1 drop 0',
    'ZoneChanged work eth1',
    'ZoneOfInterfaceChanged work eth1',
    'IcmpBlockInversionAdded public',
    'MasqueradeAdded dmz 0',
    'ZoneUpdated dmz [object Map]',
    'EntryAdded n4 12.0.0.5/8',
    'PanicModeEnabled',
    'PanicModeDisabled',
  ])
})

t.test('a set whose timeout is 0 keeps its entries, and shows them', async (t) => {
  const base = testSettings()
  const entry = base.ipsets.get('s4')!
  const { ask, askAt } = await stage(t, '1.3', { ...base, ipsets: new Map([...base.ipsets, ['s4', { ...entry, value: { ...emptyIpSet, type: 'hash:ip', options: { timeout: '0' }, entries: ['192.0.2.1'] } }]]) })
  t.strictSame(await ask('.ipset', 'getEntries', 's', 's4'), ['192.0.2.1'])
  t.equal(await ask('.ipset', 'queryEntry', 'ss', 's4', '192.0.2.1'), true)
  t.strictSame((await ask('.ipset', 'getIPSetSettings', 's', 's4') as readonly unknown[]).at(-1), ['192.0.2.1'])
  const path = String(await askAt(`${firewalld.path}/config`, `${firewalldName}.config`, 'getIPSetByName', 's', 's4'))
  t.strictSame((await askAt(path, `${firewalldName}.config.ipset`, 'getSettings') as readonly unknown[]).at(-1), ['192.0.2.1'])
})

t.test('a service that is included is included, however often it is asked for', async (t) => {
  const { askAt } = await stage(t)
  const path = String(await askAt(`${firewalld.path}/config`, `${firewalldName}.config`, 'getServiceByName', 's', 'ssh'))
  for (let round = 0; round < 2; round++) await askAt(path, `${firewalldName}.config.service`, 'addInclude', 's', 'http')
  t.strictSame(await askAt(path, `${firewalldName}.config.service`, 'getIncludes'), ['http'])
  await t.rejects(askAt(path, `${firewalldName}.config.service`, 'addModule', 's', 'a').then(() => askAt(path, `${firewalldName}.config.service`, 'addModule', 's', 'a')), /ALREADY_ENABLED/)
})

t.test('a service says its destination of a family, and that it has none', async (t) => {
  const { askAt } = await stage(t)
  const path = String(await askAt(`${firewalld.path}/config`, `${firewalldName}.config`, 'getServiceByName', 's', 'ssh'))
  const ask = (member: string, ...args: readonly string[]): Promise<unknown> => askAt(path, `${firewalldName}.config.service`, member, 's'.repeat(args.length), ...args)
  await ask('setDestination', 'ipv4', '192.0.2.1')
  t.equal(await ask('getDestination', 'ipv4'), '192.0.2.1')
  await t.rejects(ask('getDestination', 'ipv6'), /NOT_ENABLED: ipv6$/)
})

t.test('a reload tells every permanent object and then Reloaded, once, last', async (t) => {
  const { ask, signals, service } = await stage(t)
  await ask('.zone', 'addPort', 'sssi', 'public', '1', 'tcp', 0)
  signals.length = 0
  await ask('', 'reload')
  const { zones, services, icmptypes, helpers, policies, ipsets } = service.permanent()
  const objects = [zones, services, icmptypes, helpers, policies, ipsets].reduce((sum, map) => sum + map.size, 0)
  t.equal(signals.length, objects + 1)
  t.equal(signals.at(-1), 'Reloaded')
  t.equal(signals.filter((signal) => signal === 'Reloaded').length, 1)
  t.strictSame(await ask('.zone', 'getPorts', 's', 'public'), [], 'runtime is permanent again')
})

t.test('faces differ where firewalld does', async (t) => {
  const [new_, old] = [await stage(t, '2.5'), await stage(t, '1.3')]
  await new_.ask('.zone', 'addInterface', 'ss', 'home', 'eth9')
  await old.ask('.zone', 'addInterface', 'ss', 'home', 'eth9')
  t.strictSame(await new_.ask('.zone', 'getActiveZones'), new Map([
    ['home', new Map([['interfaces', ['eth9']], ['sources', []]])], ['public', new Map([['interfaces', []], ['sources', []]])],
  ]))
  t.strictSame(await old.ask('.zone', 'getActiveZones'), new Map([['home', new Map([['interfaces', ['eth9']]])]]))
  const keys = async (stage: Stage): Promise<readonly string[]> => [...(await stage.ask('.zone', 'getZoneSettings2', 's', 'public') as Map<string, unknown>).keys()].sort()
  t.strictSame(await keys(old), ['description', 'forward', 'icmp_block_inversion', 'masquerade', 'services', 'short', 'target'])
  t.strictSame(await keys(new_), ['description', 'egress_priority', 'forward', 'icmp_block_inversion', 'ingress_priority', 'masquerade', 'services', 'short', 'target'])
  t.equal(((await new_.ask('', 'getDefaultZone'))), 'public')
  const version = async ({ askAt }: Stage): Promise<unknown> => ((await askAt(firewalld.path, 'org.freedesktop.DBus.Properties', 'Get', 'ss', firewalldName, 'version')) as Variant).value
  t.equal(await version(new_), '2.5.0')
  t.equal(await version(old), '1.3.3')
  await new_.ask('.policies', 'enableLockdown')
  t.equal(await new_.ask('.policies', 'queryLockdown'), false, 'lockdown does nothing in 2.x')
  await old.ask('.policies', 'enableLockdown')
  t.equal(await old.ask('.policies', 'queryLockdown'), true)
  await old.ask('.policies', 'disableLockdown')
  await t.rejects(old.ask('.zone', 'setZoneSettings2', 'sa{sv}', 'dmz', new Map([['timeout', new Variant('i', 1)]])), { message: /INVALID_OPTION/ })
})

t.test('what Docker, careless and old callers send is understood', async (t) => {
  const { ask, askAt, client, service } = await stage(t)
  const timeout: readonly (readonly [string, unknown])[] = [['u', 0], ['x', 0n], ['t', 0n], ['n', 0], ['q', 0], ['y', 0], ['v', new Variant('i', 0)]]
  for (const [type, value] of timeout) {
    t.equal(await ask('.zone', 'addPort', `sss${type}`, 'public', '7999', 'tcp', value), 'public', `timeout as ${type}`)
    await ask('.zone', 'removePort', 'sss', 'public', '7999', 'tcp')
  }
  const settings = ['', 'docker', 'd', false, 'ACCEPT', [], [], [], false, [], [], [], [], [], [], false]
  const types = ['s', 's', 's', 'b', 's', 'as', 'a(ss)', 'as', 'b', 'a(ssss)', 'as', 'as', 'as', 'as', 'a(ss)', 'b']
  const sav = askAt(configAt.path, `${firewalldName}.config`, 'addZone', 'sav', 'docker', settings.map((value, index) => new Variant(types[index] ?? '', value)))
  t.equal(await sav, `${configAt.path}/zone/9`, 'the arguments are fine')
  const bare = await client.call({ ...firewalld, interface: '', member: 'getDefaultZone', signature: '', body: [] })
  t.strictSame(bare, ['public'], 'no interface header')
  t.equal(service.changes.length, 14)
  t.match(service.changes[0]?.caller, { uid: 0, pid: process.pid, name: client.name }, 'the service knows who asked')
})

t.test('wrong calls get firewalld\'s errors and never our stack', async (t) => {
  const { ask, askAt } = await stage(t)
  const exception = 'org\\.fedoraproject\\.FirewallD1\\.Exception'
  const properties = 'org.freedesktop.DBus.Properties'
  const python = 'org\\.freedesktop\\.DBus\\.Python\\.dbus\\.exceptions\\.DBusException: org\\.freedesktop\\.DBus\\.Error'
  const rows: readonly (readonly [string, () => Promise<unknown>, string])[] = [
    ['missing argument', () => ask('.zone', 'addPort', 'ss', 'public', '80'), `^${exception}: 2 arguments given, 4 expected`],
    ['too many arguments', () => ask('.zone', 'getZones', 's', 'x'), `^${exception}: 1 arguments given, 0 expected`],
    ['a number for a text', () => ask('.zone', 'addPort', 'sisi', 'public', 80, 'tcp', 0), `^${exception}: port '80' is of type number, expected string$`],
    ['a text for a number', () => ask('.zone', 'addPort', 'ssss', 'public', '7', 'tcp', '0'), `^${exception}: timeout '0' is of type string`],
    ['an unknown zone', () => ask('.zone', 'addPort', 'sssi', 'nozone', '80', 'tcp', 0), `^${exception}: INVALID_ZONE: nozone$`],
    ['an unknown zone to read', () => ask('.zone', 'getServices', 's', 'nozone'), `^${exception}: INVALID_ZONE: nozone$`],
    ['an unknown service', () => ask('.zone', 'queryService', 'ss', 'public', 'nosuch'), `^${exception}: INVALID_SERVICE: nosuch$`],
    ['twice', async () => {
      await ask('.zone', 'addPort', 'sssi', 'public', '81', 'tcp', 0)
      return ask('.zone', 'addPort', 'sssi', 'public', '81', 'tcp', 0)
    }, `^${exception}: ALREADY_ENABLED: `],
    ['an unknown key', () => ask('.zone', 'setZoneSettings2', 'sa{sv}', 'dmz', { bogus: new Variant('b', false) }), `^${exception}: INVALID_OPTION: `],
    ['a bad value of a key', () => ask('.zone', 'setZoneSettings2', 'sa{sv}', 'dmz', { ports: new Variant('a(ss)', [['99x', 'tcp']]) }), `^${exception}: INVALID_PORT`],
    ['an unknown method', () => ask('.zone', 'nope'), '^org\\.freedesktop\\.DBus\\.Error\\.UnknownMethod: '],
    ['an unknown interface', () => ask('.nope', 'nope'), '^org\\.freedesktop\\.DBus\\.Error\\.UnknownMethod: '],
    ['an unknown path', () => askAt(`${firewalld.path}/nope`, `${firewalldName}.zone`, 'getZones'), '^org\\.freedesktop\\.DBus\\.Error\\.UnknownMethod: '],
    ['an object number nobody has', () => askAt(`${configAt.path}/zone/99`, `${firewalldName}.config.zone`, 'getSettings'), 'UnknownMethod: '],
    ['a member of another object', () => askAt(configAt.path, `${firewalldName}.zone`, 'getZones'), 'UnknownMethod: '],
    ['an unknown property', () => askAt(firewalld.path, properties, 'Get', 'ss', firewalldName, 'nope'), `^${python}\\.InvalidArgs: `],
    ['properties of an unknown interface', () => askAt(firewalld.path, properties, 'GetAll', 's', 'a.b'), `^${python}\\.UnknownInterface: `],
    ['writing what is read only', () => askAt(firewalld.path, properties, 'Set', 'ssv', firewalldName, 'version', new Variant('s', 'x')), `^${python}\\.PropertyReadOnly: `],
    ['writing DefaultZone', () => askAt(configAt.path, properties, 'Set', 'ssv', `${firewalldName}.config`, 'DefaultZone', new Variant('s', 'x')), `^${python}\\.InvalidArgs: `],
    ['writing what is neither yes nor no', () => askAt(configAt.path, properties, 'Set', 'ssv', `${firewalldName}.config`, 'CleanupOnExit', new Variant('s', 'x')), `^${exception}: INVALID_VALUE: `],
    ['a set with a timeout', () => ask('.ipset', 'queryEntry', 'ss', 't4', '192.0.2.1'), `^${exception}: IPSET_WITH_TIMEOUT: t4$`],
  ]
  for (const [title, call, wanted] of rows) {
    const error = await call().then(() => null, (cause: Error) => cause)
    t.match(error?.message, new RegExp(wanted), title)
    t.notMatch(error?.message, /\.ts:|node_modules|at [A-Z]/, `${title}: no stack`)
  }
  t.strictSame(await askAt(firewalld.path, properties, 'GetAll', 's', `${firewalldName}.zone`), new Map(), 'an interface without properties')
  for (const name of ['AllowZoneDrifting', 'AutomaticHelpers']) {
    await askAt(configAt.path, properties, 'Set', 'ssv', `${firewalldName}.config`, name, new Variant('s', 'x'))
    t.strictSame(await askAt(configAt.path, properties, 'Get', 'ss', `${firewalldName}.config`, name), new Variant('s', 'no'), `${name}: what nobody reads may be anything`)
  }
})

t.test('a file descriptor that does not exist crashes nobody', async (t) => {
  const { ask, client } = await stage(t)
  const raw = client as unknown as { send(header: Omit<Header, 'serial'>, body: Body): void }
  for (const signature of ['h', 'ah', 'v']) {
    const bytes = signature === 'v' ? Buffer.concat([Buffer.from('\x01h\0\0', 'latin1'), Buffer.alloc(4)]) : encodeBody(signature.replace('h', 'u'), signature === 'h' ? [0] : [[0, 9]]).bytes
    raw.send({ type: messageTypes.call, destination: firewalldName, path: firewalld.path, interface: `${firewalldName}.zone`, member: 'getServices' }, new Body(signature, bytes))
    t.equal(await ask('', 'getDefaultZone'), 'public', signature)
  }
})

t.test('a bug behind a member is an error without details', async (t) => {
  const { ask, service } = await stage(t)
  const broken = service.runtime()
  service.setRuntime({ ...broken, settings: { ...broken.settings, main: null as unknown as typeof broken.settings.main } })
  await t.rejects(ask('', 'getDefaultZone'), { message: 'org.fedoraproject.FirewallD1.Exception: UNKNOWN_ERROR: internal error, the journal has the details' })
  service.setRuntime(broken)
  t.equal(await ask('', 'getDefaultZone'), 'public', 'the next call is fine')
})

t.test('an answer above 16 MiB is an error, a large one arrives', async (t) => {
  const settings = testSettings()
  const large = (count: number) => ({ value: { ...emptyIpSet, type: 'hash:ip', entries: Array.from({ length: count }, (_, index) => `10.${(index >> 16) & 255}.${(index >> 8) & 255}.${index & 255}`) },
    layer: 'admin' as const, positions: new Map() })
  const { ask } = await stage(t, '2.5', { ...settings, ipsets: new Map([['big', large(100_000)], ['huge', large(1_000_000)]]) })
  t.equal((await ask('.ipset', 'getEntries', 's', 'big') as string[]).length, 100_000)
  await t.rejects(ask('.ipset', 'getEntries', 's', 'huge'), { message: 'org.freedesktop.DBus.Error.LimitsExceeded: the answer is longer than 16 MiB' })
  t.equal(await ask('', 'getDefaultZone'), 'public')
})

t.test('a getter waits for nobody\'s change', async (t) => {
  const { ask, service } = await stage(t)
  let release = (): void => {}
  service.holdChanges(new Promise((resolve) => { release = resolve }))
  const waiting = ask('.zone', 'addPort', 'sssi', 'public', '1', 'tcp', 0)
  const start = performance.now()
  t.equal(await ask('', 'getDefaultZone'), 'public')
  t.ok(performance.now() - start < 100)
  release()
  t.equal(await waiting, 'public')
})

t.test('objects are read only views of the permanent settings', async (t) => {
  const { ask, askAt } = await stage(t)
  const config = (member: string, signature = '', ...body: unknown[]) => askAt(configAt.path, `${firewalldName}.config`, member, signature, ...body)
  t.equal(await config('getZoneByName', 's', 'public'), `${configAt.path}/zone/6`)
  t.equal((await config('listZones') as string[])[6], `${configAt.path}/zone/6`)
  await t.rejects(config('getZoneByName', 's', 'nozone'), { message: /INVALID_ZONE: nozone$/ })
  const zone = (member: string, signature = '', ...body: unknown[]) => askAt(`${configAt.path}/zone/6`, `${firewalldName}.config.zone`, member, signature, ...body)
  t.strictSame(await zone('getSettings'), ['', 'Public', 'd', false, 'default', ['ssh', 'dhcpv6-client'], [], [], false, [], [], [], [], [], [], false])
  t.strictSame(await zone('getServices'), ['ssh', 'dhcpv6-client'])
  t.equal(await zone('queryService', 's', 'ssh'), true)
  t.equal(await zone('getTarget'), 'default')
  t.equal(await askAt(`${configAt.path}/zone/0`, `${firewalldName}.config.zone`, 'getTarget'), '%%REJECT%%')
  await ask('.zone', 'addPort', 'sssi', 'public', '80', 'tcp', 0)
  t.strictSame(await zone('getPorts'), [], 'runtime changes are not seen here')
  const all = await askAt(`${configAt.path}/zone/6`, 'org.freedesktop.DBus.Properties', 'GetAll', 's', `${firewalldName}.config.zone`) as Map<string, Variant>
  t.strictSame([...all].map(([name, { signature, value }]) => [name, signature, value]), [
    ['name', 's', 'public'], ['filename', 's', 'public.yaml'], ['path', 's', '/usr/lib/derpanet/zones'], ['default', 'b', true], ['builtin', 'b', true],
  ])
  const ftp = String(await config('getServiceByName', 's', 'ftp'))
  t.strictSame(await askAt(ftp, `${firewalldName}.config.service`, 'getSettings2'), new Map<string, Variant>([
    ['short', new Variant('s', 'FTP')], ['description', new Variant('s', 'd')], ['ports', new Variant('a(ss)', [['21', 'tcp']])], ['helpers', new Variant('as', ['ftp'])],
  ]))
  t.strictSame(await ask('', 'getHelperSettings', 's', 'ftp'), ['', '', '', '', 'nf_conntrack_ftp', [['21', 'tcp']]])
  t.strictSame(await ask('.policy', 'getActivePolicies'), new Map([['allow-host-ipv6', new Map([['ingress_zones', ['ANY']], ['egress_zones', ['HOST']]])]]))
})

t.test('every member of every interface answers: a value, or an error with a name', async (t) => {
  const { askAt } = await stage(t)
  const defaults: Readonly<Record<string, unknown>> = { s: 'x', i: 0, b: false, as: [], 'a{sv}': {}, 'a{ss}': {}, 'a(ss)': [], 'a(ssss)': [] }
  const table = memberTable('2.5')
  const objects = [[firewalld.path, table.runtime], [configAt.path, table.config], ...[...table.objects].map(([kind, views]) => [`${configAt.path}/${kind}/0`, views])] as const
  let members = 0
  for (const [path, views] of objects as readonly (readonly [string, typeof table.runtime])[]) {
    for (const view of views.values()) {
      for (const row of view.methods.values()) {
        if (row.in.some((arg) => defaults[arg.type] === undefined)) continue
        members++
        const body = row.in.map((arg) => defaults[arg.type])
        const signature = row.in.map((arg) => arg.type).join('')
        const answer = await askAt(path, view.name, row.name, signature, ...body).then((value) => ({ value, message: '' }), (error: Error) => ({ value: undefined, message: error.message }))
        if (answer.message === '') {
          if (row.out !== '') t.doesNotThrow(() => encodeBody(row.out, [answer.value]), `${view.name}.${row.name} answers ${row.out}`)
        } else if (!/^org\.(fedoraproject\.FirewallD1\.Exception: [A-Z_]+(:|$)|freedesktop\.DBus\.Error\.NotSupported: NOT_SUPPORTED: )/.test(answer.message) || /UNKNOWN_ERROR/.test(answer.message)) {
          t.fail(`${view.name}.${row.name}: ${answer.message}`)
        }
      }
    }
  }
  t.ok(members > 340, `${members} members called`)
})

t.test('our own interface has a path, a name and JSON of its own', async (t) => {
  const { client } = await stage(t, 'no')
  const ours = async (member: string) => (await client.call({ ...derpanet, interface: derpanet.destination, member, signature: '', body: [] }))[0]
  t.match(JSON.parse(String(await ours('Status'))), { state: 'RUNNING', defaultZone: 'public' })
  const zones = JSON.parse(String(await ours('Zones'))) as readonly { readonly name: string }[]
  t.equal(zones.length, 9)
  t.match(zones.find(({ name }) => name === 'public'), { isDefault: true, isActive: true, services: ['ssh', 'dhcpv6-client'], file: '/usr/lib/derpanet/zones/public.yaml' })
  t.strictSame(await ours('Counters'), [['list bad', 18446744073709551615n, 1n], ['zone public: service ssh', 3n, 180n]])
  t.equal(await ours('Reload'), undefined)
  const shape = nodeShape(String((await client.call({ ...derpanet, interface: 'org.freedesktop.DBus.Introspectable', member: 'Introspect', signature: '', body: [] }))[0]))
  t.strictSame(Object.keys(shape.interfaces[derpanet.destination] ?? {}).sort(), [
    'method Apply', 'method Confirm', 'method Counters', 'method Difference', 'method Log', 'method Reload', 'method ReloadForcingLists', 'method Status', 'method Undo',
    'method Zones', 'signal Reloaded',
  ])
  await t.rejects(client.call({ ...firewalld, interface: firewalldName, member: 'getDefaultZone', signature: '', body: [] }), { message: /ServiceUnknown/ }, 'firewalld is not shown')
})

t.test('no name is owned before the rules are in force', async (t) => {
  const bus = await startPrivateBus()
  t.teardown(bus.stop)
  const client = await bus.client()
  const hasOwner = async () => (await client.call({
    destination: 'org.freedesktop.DBus', path: '/', interface: 'org.freedesktop.DBus', member: 'NameHasOwner', signature: 's', body: [firewalldName], timeoutMs: 5_000,
  }))[0]
  let release = (): void => {}
  const inForce = new Promise<void>((resolve) => { release = resolve })
  const starting = startBus({ service: fakeService(), inForce, address: bus.address, compat: '2.5', log: quiet })
  await new Promise((resolve) => setTimeout(resolve, 300))
  t.equal(await hasOwner(), false)
  release()
  const server = await starting
  t.teardown(() => server.stop())
  t.strictSame(server.names, ['org.derpanet.Derpanet1', firewalldName])
  t.equal(await hasOwner(), true)
  const never = new Promise<void>((_resolve, reject) => { setTimeout(() => reject(new Error('no rules')), 200) })
  await t.rejects(startBus({ service: fakeService(), inForce: never, address: bus.address, compat: '2.5', log: quiet }), { message: 'no rules' })
})

t.test('when the bus dies the server says so', async (t) => {
  const bus = await startPrivateBus()
  t.teardown(bus.stop)
  const server = await startBus({ service: fakeService(), address: bus.address, compat: '2.5', log: quiet })
  await bus.kill()
  t.match((await server.ended).message, /bus/)
  await server.stop()
})

t.test('a name that is taken is not fatal, is told, and is ours when it is free', async (t) => {
  const bus = await startPrivateBus()
  t.teardown(bus.stop)
  const other = await bus.client()
  await other.requestName(firewalldName)
  const missing: string[] = []
  const server = await startBus({ service: fakeService(), address: bus.address, compat: '2.5', log: quiet, onMissing: (names) => void missing.push(names.join(' ')) })
  t.teardown(() => server.stop())
  t.strictSame(server.names, ['org.derpanet.Derpanet1'])
  t.equal(missing.at(-1), firewalldName, 'and is told')
  await other.close()
  for (let round = 0; round < 50 && missing.at(-1) !== ''; round++) await new Promise((resolve) => setTimeout(resolve, 50))
  t.equal(missing.at(-1), '', 'and taken when its owner leaves')
  t.strictSame(server.names, ['org.derpanet.Derpanet1', firewalldName])
})

t.test('the face is the one the installed firewall-cmd knows', (t) => {
  const rows: readonly (readonly [string, string, Face])[] = [
    ['python3/dist-packages', "VERSION = '1.3.3'\n", '1.3'], ['python3.13/site-packages', "VERSION = '2.3.1'\n", '2.5'], ['python3/dist-packages', '', '2.5'],
  ]
  for (const [folder, text, face] of rows) {
    t.equal(installedFace(t.testdir({ [folder.split('/')[0] ?? '']: { [folder.split('/')[1] ?? '']: { firewall: { config: { '__init__.py': `# x\n${text}` } } } } })), face, `${folder}: ${text}`)
  }
  t.equal(installedFace(t.testdir({})), '2.5', 'no Python')
  t.equal(installedFace('/nonexistent'), '2.5', 'no folder')
  t.end()
})

t.test('everybody may ping', async (t) => {
  const { askAt } = await stage(t)
  t.equal(await askAt('/any/where', 'org.freedesktop.DBus.Peer', 'Ping'), undefined)
  t.match(await askAt('/', 'org.freedesktop.DBus.Peer', 'GetMachineId'), /^[0-9a-f]*$/)
})
