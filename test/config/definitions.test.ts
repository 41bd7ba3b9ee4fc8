// The shipped definitions: complete, without a mistake, and the same whether read from YAML or from the snapshot.
import { execFileSync } from 'node:child_process'
import { appendFileSync, cpSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { loadConfiguration } from '../../src/config/load.ts'
import type { Settings } from '../../src/model/settings.ts'

const root = join(dirname(fileURLToPath(import.meta.url)), '../..')
const lib = join(root, 'etc/lib')
const work = mkdtempSync(join(tmpdir(), 'derpanet-lib-'))
const made = join(work, 'lib')
t.teardown(() => rmSync(work, { recursive: true, force: true }))
const compile = (from: string, to: string): void => {
  execFileSync(process.execPath, ['--import=tsx', join(root, 'packaging/compile-lib.ts'), from, to], { cwd: root, stdio: 'pipe' })
}
const load = (shipped: string) => loadConfiguration({ etc: join(work, 'none'), vendor: null, shipped })

/** Without the folder's name, so that two folders compare. */
const plain = (settings: Settings, folder: string): unknown =>
  (['zones', 'policies', 'services', 'ipsets', 'icmptypes', 'helpers'] as const).map((key) =>
    [...settings[key]].map(([name, entry]) => [name, entry.value, entry.file?.slice(folder.length), [...entry.positions]]))

t.test('all of firewalld 2.5.0\'s definitions are there, without a mistake or warning', async (t) => {
  const { settings, diagnostics } = await load(lib)
  t.strictSame(diagnostics, [])
  const { zones, policies, services, icmptypes, helpers } = settings!
  t.strictSame([zones, policies, services, icmptypes, helpers].map(({ size }) => size), [9, 6, 264, 49, 13])
  t.strictSame([...zones.keys()], ['block', 'dmz', 'drop', 'external', 'home', 'internal', 'public', 'trusted', 'work'])
  t.strictSame(zones.get('public')!.value.services, ['ssh', 'dhcpv6-client'])
  t.strictSame(services.get('dhcpv6-client')!.value, { ...services.get('dhcpv6-client')!.value, ports: [{ port: '546', protocol: 'udp' }], destination: { ipv6: 'fe80::/64' } })
  t.strictSame(icmptypes.get('host-unreachable')!.value.ipv4, [[3, 1]])
  t.strictSame(icmptypes.get('echo-request')!.value.ipv6, [[128, null]])
  t.equal(policies.get('allow-host-ipv6')!.value.richRules.length, 8)
  for (const [name, { value }] of [...zones, ...policies, ...services, ...icmptypes, ...helpers]) t.ok(value.short !== '' && value.description !== '', `${name} says what it is`)
})

t.test('an ICMP type is for the families in which it has a number, and names them unless it is a plain type of both', async (t) => {
  const { icmptypes } = (await load(lib)).settings!
  for (const [name, { value }] of icmptypes) {
    const numbered = (['ipv4', 'ipv6'] as const).filter((family) => value[family].length > 0)
    if (value.destinations.length > 0 || numbered.length < 2) t.strictSame(value.destinations, numbered, name)
  }
  // as Debian's firewalld 1.3.3 answers getIcmpTypeSettings
  t.strictSame(['no-route', 'port-unreachable', 'echo-request', 'timestamp-reply'].map((name) => icmptypes.get(name)!.value.destinations), [['ipv6'], ['ipv4', 'ipv6'], [], ['ipv4']])
})

t.test('the snapshot says what the YAML says, positions included', async (t) => {
  compile(lib, made)
  const [fromYaml, fromSnapshot] = [(await load(lib)).settings!, (await load(made)).settings!]
  t.strictSame(plain(fromSnapshot, made), plain(fromYaml, lib))
})

t.test('a definition edited after the build is read from its YAML', async (t) => {
  const copy = join(work, 'edited')
  cpSync(made, copy, { recursive: true, preserveTimestamps: true })
  appendFileSync(join(copy, 'services/ssh.yaml'), 'protocols: [gre]\n')
  t.strictSame((await load(copy)).settings!.services.get('ssh')!.value.protocols, ['gre'])
})

t.test('a copy with other times is told by its content, and an edit of the same size too', async (t) => {
  const copy = join(work, 'copy')
  cpSync(made, copy, { recursive: true })
  t.strictSame(plain((await load(copy)).settings!, copy), plain((await load(made)).settings!, made))
  const path = join(copy, 'services/ssh.yaml')
  const size = statSync(path).size
  writeFileSync(path, 'ports: [23/tcp]\n'.padEnd(size - 1, '#') + '\n')
  t.equal(statSync(path).size, size)
  t.strictSame((await load(copy)).settings!.services.get('ssh')!.value.ports, [{ port: '23', protocol: 'tcp' }])
})

t.test('a broken snapshot is a warning, not an outage', async (t) => {
  const copy = join(work, 'broken')
  cpSync(made, copy, { recursive: true })
  writeFileSync(join(copy, 'definitions.json'), '{')
  const { settings, diagnostics } = await load(copy)
  t.equal(settings!.services.size, 264)
  t.match(diagnostics, [{ severity: 'warning', code: 'PARSE_ERROR' }])
})

t.test('a snapshot of another format is passed over', async (t) => {
  const copy = join(work, 'format')
  cpSync(made, copy, { recursive: true })
  writeFileSync(join(copy, 'definitions.json'), '{"format":0,"files":{}}')
  t.equal((await load(copy)).settings!.services.size, 264)
})

t.test('the build refuses definitions with a mistake', (t) => {
  const bad = join(work, 'bad')
  cpSync(lib, bad, { recursive: true })
  writeFileSync(join(bad, 'zones/public.yaml'), 'servces: [ssh]\n')
  t.throws(() => compile(bad, join(work, 'never')))
  t.end()
})

t.test('starting from the snapshot is much cheaper than reading every file, and reloading no dearer than starting', async (t) => {
  const timed = async (work: () => Promise<unknown>): Promise<number> => {
    const started = process.cpuUsage()
    await work()
    const { user, system } = process.cpuUsage(started)
    return (user + system) / 1000
  }
  const fromFiles = await timed(() => load(lib))
  const times: number[] = []
  let settings: Settings | null = null
  for (let round = 0; round < 9; round++) {
    times.push(await timed(async () => { settings = (await load(made)).settings }))
  }
  const median = (values: number[]): number => values.sort((a, b) => a - b)[Math.floor(values.length / 2)]!
  t.comment(`processor time: every file ${fromFiles.toFixed(1)} ms, snapshot ${median(times).toFixed(1)} ms`)
  t.ok(median(times) * 3 < fromFiles, 'a third at the most')
  const reloads: number[] = []
  for (let round = 0; round < 9; round++) {
    let again: Settings | null = null
    reloads.push(await timed(async () => { again = (await loadConfiguration({ etc: join(work, 'none'), vendor: null, shipped: made }, settings!)).settings }))
    t.equal(again, settings)
  }
  t.comment(`reload ${median(reloads).toFixed(1)} ms`)
  t.ok(median(reloads) <= median(times) * 1.5, 'what is unchanged is not read again')
})

t.test('etc/derpanet.yaml is valid and means the defaults', async (t) => {
  const { mainKind } = await import('../../src/settings/kinds.ts')
  const { parseSettings } = await import('../../src/config/parse.ts')
  const { readFileSync } = await import('node:fs')
  const { fieldRows } = await import('../../src/settings/field.ts')
  const text = readFileSync(join(root, 'etc/derpanet.yaml'), 'utf8')
  t.strictSame(parseSettings('derpanet.yaml', text, mainKind).value, mainKind.empty)
  const open = text.replace(/^# ([a-z0-9-]+: .*)$/gm, '$1')
  t.strictSame(parseSettings('derpanet.yaml', open, mainKind).value, mainKind.empty, 'what is commented out is what holds')
  for (const [, field] of fieldRows(mainKind.fields)) t.match(open, new RegExp(`^${field.yaml}: `, 'm'), `${field.yaml} is explained`)
})
