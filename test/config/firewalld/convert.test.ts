// A host changes from firewalld to derpanet and back: nothing is different afterwards, or it is said what.
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import t from 'tap'
import { exportFirewalld, importFirewalld, type Conversion } from '../../../src/config/firewalld/convert.ts'
import { parseSettings } from '../../../src/config/parse.ts'
import { createFirewalldStore } from '../../../src/config/store/firewalld.ts'
import { createNativeStore } from '../../../src/config/store/native.ts'
import type { Permanent } from '../../../src/config/store/store.ts'
import { defaultMain, type Entry, type Settings } from '../../../src/model/settings.ts'
import { emptyDirect, emptyLockdown } from '../../../src/model/direct.ts'
import { kinds, mainKind } from '../../../src/settings/kinds.ts'
import { logDeniedValues, reversePathValues } from '../../../src/settings/main.ts'
import { createRandom, seedOfRun } from '../../support/random.ts'
import { randomDirect, randomLockdown, randomObjects } from './random-objects.ts'

const work = mkdtempSync(join(tmpdir(), 'derpanet-convert-'))
t.teardown(() => rmSync(work, { recursive: true, force: true }))
let serial = 0

function place(files: ReadonlyMap<string, string> | Readonly<Record<string, string>>): string {
  const root = join(work, String(++serial))
  mkdirSync(root, { mode: 0o755 })
  for (const [path, text] of files instanceof Map ? files : Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true, mode: 0o755 })
    writeFileSync(join(root, path), text)
  }
  return root
}

const shipped = place({
  'zones/public.yaml': 'services: [ssh]\n', 'zones/home.yaml': '', 'zones/work.yaml': '', 'icmptypes/echo-request.yaml': 'ipv4: [8]\nipv6: [128]\n', 'icmptypes/redirect.yaml': 'ipv4: [5]\nipv6: [137/0]\n',
  ...Object.fromEntries(['ssh', 'http', 'a_b', '123'].map((name) => [`services/${name}.yaml`, 'ports: [22/tcp]\n'])),
  'helpers/ftp.yaml': 'module: nf_conntrack_ftp\n', 'helpers/Q.931.yaml': 'module: nf_conntrack_h323\n', 'ipsets/x.yaml': 'type: hash:ip\n',
})

async function loaded(promise: Promise<{ readonly permanent: Permanent | null; readonly diagnostics: readonly { readonly severity: string; readonly file: string; readonly text: string }[] }>): Promise<Permanent> {
  const { permanent, diagnostics } = await promise
  const mistakes = diagnostics.filter(({ severity }) => severity === 'error')
  if (permanent === null || mistakes.length > 0) throw new Error(mistakes.map(({ file, text }) => `${file}: ${text}`).join('\n'))
  return permanent
}
const native = (files: ReadonlyMap<string, string>): Promise<Permanent> => loaded(createNativeStore({ etc: place(files), vendor: null, shipped }, '2.5').load())
const firewalld = (files: ReadonlyMap<string, string> | Readonly<Record<string, string>>): Promise<Permanent> =>
  loaded(createFirewalldStore({ system: place(files), defaults: join(work, 'none'), shipped, own: null }, '2.5').load())

const own = (settings: Settings): unknown => Object.fromEntries(Object.values(kinds).map(({ folder }) =>
  [folder, [...settings[folder]].filter(([, { layer }]) => layer === 'admin').map(([name, { value }]) => [name, value])]))
const said = (conversion: Conversion): readonly string[] => conversion.notes.map(({ severity, path, text }) => `${severity} ${path}: ${text}`)

t.test('a firewalld tree becomes ours and goes back without a difference', async (t) => {
  const seed = seedOfRun()
  t.comment(`DERPANET_SEED=${seed}`)
  const random = createRandom(seed)
  const rounds = process.env['DERPANET_TEST_FULL'] === '1' ? 2000 : 25
  for (let round = 0; round < rounds; round++) {
    const entry = <T>(value: T): Entry<T> => ({ value, layer: 'admin', file: '/x', positions: new Map() })
    const zone = { ...randomObjects.zone(random), ingressPriority: random.between(-3, 3) }
    const conf = {
      ...defaultMain, defaultZone: 'home', logDenied: random.pick(logDeniedValues), ipv6Rpfilter: random.pick(reversePathValues), rfc3964Ipv4: random.chance(0.5),
      strictForwardPorts: random.chance(0.5), lockdown: random.chance(0.5), flushAllOnReload: random.chance(0.5), firewalld: { FirewallBackend: 'iptables' },
    }
    const before: Permanent = {
      settings: {
        main: entry({ ...conf, onStop: 'open' }),
        zones: new Map([['my', entry(zone)]]), policies: new Map([['pol', entry(randomObjects.policy(random))]]), services: new Map([['svc', entry(randomObjects.service(random))]]),
        ipsets: new Map([['n6', entry(randomObjects.ipset(random))]]), icmptypes: new Map([['odd', entry(randomObjects.icmptype(random))]]),
        helpers: new Map([['hlp', entry(randomObjects.helper(random))]]), lists: new Map(),
      },
      direct: entry(randomDirect(random)), lockdown: entry(randomLockdown(random)),
    }
    const exported = exportFirewalld(before, { face: '2.5' })
    const there = await firewalld(exported.files)
    const back = await native(importFirewalld(there, { main: null }).files)
    if (JSON.stringify(own(there.settings)) !== JSON.stringify(own(before.settings))) t.strictSame(own(there.settings), own(before.settings), `round ${round}: exported`)
    if (JSON.stringify(own(back.settings)) !== JSON.stringify(own(before.settings))) t.strictSame(own(back.settings), own(before.settings), `round ${round}: imported`)
    t.strictSame(there.direct.value, before.direct.value)
    t.strictSame(back.direct.value, before.direct.value)
    t.strictSame(back.lockdown.value, before.lockdown.value)
    t.strictSame(back.settings.main.value, conf)
    t.strictSame(exported.notes, [])
  }
})

t.test('everything that is shipped goes to firewalld and comes back without a difference', async (t) => {
  const lib = join(import.meta.dirname ?? new URL('.', import.meta.url).pathname, '../../../etc/lib')
  const before = await loaded(createNativeStore({ etc: join(work, 'none'), vendor: null, shipped: lib }, '2.5').load())
  const exported = exportFirewalld(before, { face: '2.5', withShipped: true })
  t.ok(exported.files.size > 300)
  const there = await firewalld(exported.files)
  const back = await native(importFirewalld(there, { main: null }).files)
  for (const { folder } of Object.values(kinds)) {
    const values = (settings: Settings): unknown => [...settings[folder]].filter(([name]) => before.settings[folder].has(name)).map(([name, { value }]) => [name, value])
    t.strictSame(values(there.settings), values(before.settings), `${folder} exported`)
    t.strictSame(values(back.settings), values(before.settings), `${folder} imported`)
  }
})

t.test('an import keeps what derpanet.yaml says besides, and never takes over that a stop opens everything', async (t) => {
  const there = await firewalld({ 'firewalld.conf': 'DefaultZone=work\nCleanupOnExit=yes\nFirewallBackend=iptables\n' })
  const result = importFirewalld(there, { main: '# ours\nfailsafe-ports: [22/tcp] # way in\ndefault-zone: public # was\n' })
  t.equal(result.files.get('derpanet.yaml'), '# ours\nfailsafe-ports: [22/tcp] # way in\ndefault-zone: work # was\nfirewalld: {FirewallBackend: iptables}\n')
  t.strictSame(said(result), ['note derpanet.yaml: CleanupOnExit=yes is not taken over: a stop keeps filtering; write on-stop: open to have it open everything'])
  t.strictSame([...result.files.keys()], ['derpanet.yaml'], 'shipped objects are not copied')
  t.throws(() => importFirewalld(there, { main: 'defaultzone: x\n' }), { code: 'COMMAND_FAILED' })
})

t.test('what firewalld.conf says about filtering is keys of derpanet.yaml, and goes back as it came', async (t) => {
  const conf = 'CleanupOnExit=no\nIPv6_rpfilter=loose\nRFC3964_IPv4=no\nStrictForwardPorts=yes\nLockdown=yes\nFlushAllOnReload=no\nReloadPolicy=DROP\n'
  const there = await firewalld({ 'firewalld.conf': conf })
  const ours = importFirewalld(there, { main: '# ours\nipv6-rpfilter: strict # was\n' }).files.get('derpanet.yaml')!
  t.equal(ours, '# ours\nipv6-rpfilter: loose # was\nflush-all-on-reload: false\nrfc3964-ipv4: false\nstrict-forward-ports: true\nlockdown: true\nfirewalld: {CleanupOnExit: no, ReloadPolicy: DROP}\n')
  const main = parseSettings('derpanet.yaml', ours, mainKind).value!
  const back = exportFirewalld({ ...there, settings: { ...there.settings, main: { ...there.settings.main, value: main } } }, { face: '2.5' })
  t.strictSame(said(back), [])
  const lines = back.files.get('firewalld.conf')!.split('\n')
  for (const line of conf.trim().split('\n')) t.ok(lines.includes(line), line)
})

t.test('one source or interface in two zone files has the code that firewalld gives it', async (t) => {
  const codes = async (item: string): Promise<readonly string[]> => {
    const zone = `<zone>${item}</zone>`
    const store = createFirewalldStore({ system: place({ 'zones/a.xml': zone, 'zones/b.xml': zone, 'firewalld.conf': '' }), defaults: join(work, 'none'), shipped, own: null }, '2.5')
    return (await store.load()).diagnostics.filter(({ severity }) => severity === 'error').map(({ code }) => code)
  }
  t.strictSame(await codes('<source address="192.0.2.1"/>'), ['INVALID_ADDR'])
  t.strictSame(await codes('<interface name="eth0"/>'), ['INVALID_INTERFACE'])
})

t.test('combined zones become one file each', async (t) => {
  const there = await firewalld({ 'zones/comb/a.xml': '<zone><service name="ssh"/></zone>', 'zones/comb/b.xml': '<zone><service name="http"/></zone>', 'firewalld.conf': 'CleanupOnExit=no\n' })
  const result = importFirewalld(there, { main: null })
  t.equal(result.files.get('zones/comb.yaml'), 'services: [ssh, http]\n')
  t.strictSame(said(result), ['note zones/comb.yaml: holds what was in comb/a.xml', 'note zones/comb.yaml: holds what was in comb/b.xml'])
})

t.test('what firewalld cannot say is said to the person who exports', async (t) => {
  const entry = <T>(value: T): Entry<T> => ({ value, layer: 'admin', file: '/x', positions: new Map() })
  const settings: Settings = {
    main: entry({ ...defaultMain, block: ['bad'], neverBlock: ['192.0.2.1'], failsafePorts: [{ port: '22', protocol: 'tcp' }] }),
    zones: new Map([['office', entry({ ...kinds.zone.empty, sources: ['list:bad', '192.0.2.0/24'], ingressPriority: 3, richRules: ['rule service name="ssh" accept limit value="2/m" burst=5'] })]]),
    policies: new Map([['off', entry({ ...kinds.policy.empty, disable: true })]]), services: new Map(), ipsets: new Map(),
    icmptypes: new Map([['odd', entry({ ...kinds.icmptype.empty, ipv4: [[200, null]] as const })]]), helpers: new Map(), lists: new Map(),
  }
  const permanent: Permanent = { settings, direct: entry(emptyDirect), lockdown: entry(emptyLockdown) }
  const words: Permanent = { ...permanent, settings: { ...settings, main: entry({ ...defaultMain, published: 'zone', strictForwardPorts: true, ipv6Rpfilter: 'loose' }), zones: new Map(), policies: new Map(), icmptypes: new Map() } }
  t.strictSame(said(exportFirewalld(words, { face: '1.3' })), [
    'lost firewalld.conf: published: zone: firewalld leaves published ports open',
    'lost firewalld.conf: IPv6_rpfilter=loose: firewalld 1.3 has no such value',
    'lost firewalld.conf: StrictForwardPorts=yes: firewalld 1.3 has no such key',
  ])
  t.strictSame(said(exportFirewalld(permanent, { face: '2.5' })), [
    'lost zones/office.xml: sources list:bad: firewalld has no lists',
    'lost icmptypes/odd.xml: firewalld knows ICMP types by name only: its own numbers count',
    'lost firewalld.conf: block: bad: firewalld has no lists',
    'lost firewalld.conf: never-block: 192.0.2.1: firewalld lets nobody in past its zones',
    'lost firewalld.conf: failsafe-ports: 22/tcp: firewalld has none',
  ])
  const old = exportFirewalld(permanent, { face: '1.3' })
  t.match(said(old), ['lost zones/office.xml: sources list:bad: firewalld has no lists', 'lost zones/office.xml: firewalld 1.3 has no priorities of zones',
    /bursts/, /is left out/])
  t.notOk(old.files.has('policies/off.xml'))
  t.notMatch(old.files.get('zones/office.xml'), /burst|priority/)
})

const debian = existsSync('/usr/bin/firewall-offline-cmd')

t.test('Debian\'s firewalld finds nothing to complain of in an export for it', { skip: debian ? false : 'firewalld is not installed' }, async (t) => {
  const etc = place({ 'zones/office.yaml': 'ingress-priority: 5\nservices: [ssh]\nsources: [192.0.2.0/24]\nrich-rules:\n  - rule service name="http" accept limit value="2/m" burst=5\n', 'derpanet.yaml': 'default-zone: office\nlog-denied: all\n' })
  const { files } = exportFirewalld(await loaded(createNativeStore({ etc, vendor: null, shipped }, '1.3').load()), { face: '1.3' })
  const tree = place(files)
  for (const { folder } of Object.values(kinds)) mkdirSync(join(tree, folder), { recursive: true })
  const ask = (...args: readonly string[]): string => execFileSync('firewall-offline-cmd', ['--system-config', tree, ...args], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] }).trim()
  t.equal(ask('--check-config'), '')
  t.equal(ask('--get-default-zone'), 'office')
  t.match(ask('--zone=office', '--list-rich-rules'), 'rule service name="http" accept limit value="2/m"')
})
