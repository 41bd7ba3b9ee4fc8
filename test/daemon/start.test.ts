// What is enforced after a start, and what a person is told about it.
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { addPort, caller, portsOf, quiet, setUp, type World } from './support/set-up.ts'

const good = { 'zones/public.yaml': 'services: [ssh]\nports: [8080/tcp]\n' }
const threeMistakes = 'services: [ssh\n'.replace('[ssh', '[ssh]') + 'ports: [99999/tcp]\nservises: [http]\ntarget: MAYBE\n'

function mistakesLogged(world: World): string[] {
  return world.log.filter(({ message }) => message === 'mistake in the configuration').map(({ fields }) => String(fields['mistake']))
}

function decisionLogged(world: World, subject: string): string {
  return String(world.log.filter(({ message }) => message === 'decision').map(({ fields }) => fields['decision']).findLast((text) => String(text).startsWith(subject)))
}

t.test('good files: RUNNING, enforced, and stored as generation 1', async (t) => {
  const world = await setUp(t, good)
  const status = await world.daemon.status()
  t.match(status, { state: 'RUNNING', source: 'files', generation: 1, defaultZone: 'public', panic: false, problem: null, pending: { changed: false } })
  t.strictSame(portsOf(world.daemon), ['8080'])
  t.equal(world.kernel.applied.length, 1)
  t.equal(readdirSync(join(world.root, 'state/generations')).length, 1)
  t.equal(decisionLogged(world, 'configuration'), 'configuration files=good chosen=files state=RUNNING generation=1')
  t.strictSame(world.told, ['ready: RUNNING, generation 1 from files, default zone public'])
})

t.test('an empty /etc/derpanet is a valid configuration: the shipped one', async (t) => {
  const world = await setUp(t)
  t.match(await world.daemon.status(), { state: 'RUNNING', source: 'files' })
  t.ok(world.daemon.runtime().settings.zones.has('trusted'))
})

t.test('broken files at start: the last known good is enforced, state FAILED, every mistake named with its place', async (t) => {
  const world = await setUp(t, good)
  await world.daemon.stop()
  world.write('zones/public.yaml', threeMistakes)
  world.write('zones/home.yaml', 'interfaces: {}\n')
  await world.boot()
  const status = await world.daemon.status()
  t.match(status, { state: 'FAILED', source: 'last-known-good', generation: 1 })
  t.strictSame(portsOf(world.daemon), ['8080'], 'what was good stays open')
  const file = join(world.root, 'etc/zones/public.yaml')
  const lines = status.problem?.diagnostics ?? []
  t.ok(lines.some((line) => line.startsWith(`${file}:2:`) && line.includes('INVALID_PORT')), 'the bad port: line 2')
  t.ok(lines.some((line) => line.startsWith(`${file}:3:1:`)), 'the unknown key: line 3 column 1')
  t.ok(lines.some((line) => line.startsWith(`${file}:4:`)), 'the bad target: line 4')
  t.ok(lines.some((line) => line.startsWith(join(world.root, 'etc/zones/home.yaml:1:'))), 'and the other file')
  t.strictSame(mistakesLogged(world), lines, 'the log has them all')
  t.match(decisionLogged(world, 'configuration'), /^configuration files="\d mistakes" last-known-good=1 chosen=last-known-good state=FAILED generation=1$/)
})

t.test('in state FAILED the files cannot be changed, the runtime can, and a good reload ends it', async (t) => {
  const world = await setUp(t, good)
  await world.daemon.stop()
  world.write('zones/public.yaml', threeMistakes)
  await world.boot()
  await t.rejects(world.daemon.changePermanent({ kind: 'object-item-add', object: 'zone', name: 'public', field: 'ports', item: ['81', 'tcp'] }, caller), { code: 'RUNNING_BUT_FAILED' })
  await t.rejects(world.daemon.change({ kind: 'default-zone-set', zone: 'home' }, caller), { code: 'RUNNING_BUT_FAILED' })
  await t.rejects(world.daemon.runtimeToPermanent({ leaveOut: new Set(), withLockdown: false }, caller), { code: 'RUNNING_BUT_FAILED' })
  await world.daemon.change(addPort('81'), caller)
  t.ok(portsOf(world.daemon).includes('81'), 'the runtime can be changed: somebody may have to open a port to repair the files')
  await world.daemon.change({ kind: 'panic-set', on: true }, caller)
  t.equal(world.kernel.plan?.early.panic, true, 'dropping everything is never refused')
  await world.daemon.change({ kind: 'panic-set', on: false }, caller)
  await t.rejects(world.daemon.reload(caller))
  t.equal((await world.daemon.status()).state, 'FAILED')
  world.write('zones/public.yaml', 'ports: [9090/tcp]\n')
  await world.daemon.reload(caller)
  t.match(await world.daemon.status(), { state: 'RUNNING', source: 'files', problem: null })
  await world.daemon.change(addPort('81'), caller)
  t.strictSame(portsOf(world.daemon), ['9090', '81'])
})

t.test('broken files and no stored generation: the shipped definitions', async (t) => {
  const world = await setUp(t, { 'zones/public.yaml': threeMistakes })
  t.match(await world.daemon.status(), { state: 'FAILED', source: 'builtin' })
  t.strictSame(world.daemon.runtime().settings.zones.get('public')?.value.services, ['ssh'])
  t.ok(world.daemon.runtime().settings.zones.has('home'))
})

t.test('nothing readable at all: the built-in minimum lets ssh in and nothing is opened', async (t) => {
  const world = await setUp(t, {}, false)
  rmSync(join(world.root, 'lib'), { recursive: true })
  await world.boot()
  t.match(await world.daemon.status(), { state: 'FAILED', source: 'builtin' })
  t.match(world.daemon.runtime().settings.zones.get('public')?.value, { services: ['ssh', 'dhcpv6-client'], target: 'default' })
  t.ok(world.kernel.plan, 'it is enforced')
})

t.test('a damaged newest generation is passed over for the one before', async (t) => {
  const world = await setUp(t, good)
  world.write('zones/public.yaml', 'ports: [9090/tcp]\n')
  await world.daemon.reload(caller)
  await world.daemon.stop()
  const newest = JSON.parse(String(await import('node:fs/promises').then((fs) => fs.readFile(join(world.root, 'state/generations/00000002.json'))))) as { settings: string }
  writeFileSync(join(world.root, 'state/objects', `${newest.settings}.json`), '{}')
  world.write('zones/public.yaml', threeMistakes)
  await world.boot()
  t.strictSame(portsOf(world.daemon), ['8080'])
  t.ok(world.log.some(({ message, fields }) => message === 'stored generation cannot be used' && fields['generation'] === 2))
})

t.test('a configuration that the kernel refuses at start falls back the same way', async (t) => {
  const world = await setUp(t, good)
  await world.daemon.stop()
  world.write('zones/public.yaml', 'ports: [9090/tcp]\n')
  world.kernel.failures = ['iptables-restore: line 7 failed', 'iptables-restore: line 7 failed']
  await world.boot()
  t.match(await world.daemon.status(), { state: 'FAILED', source: 'last-known-good', problem: { diagnostics: [/line 7 failed/] } })
  t.strictSame(portsOf(world.daemon), ['8080'])
})

t.test('one failure at start is a hiccup: good files are tried again at once, and nothing else is ever in force', async (t) => {
  const world = await setUp(t, good, false)
  world.kernel.failures = ['another app is holding the lock']
  await world.boot()
  t.match(await world.daemon.status(), { state: 'RUNNING', source: 'files', problem: null })
  t.match(decisionLogged(world, 'configuration'), /files="[^"]*holding the lock" chosen=files state=RUNNING generation=1$/)
})

t.test('good files that the kernel refused at start are tried again until they are in force', async (t) => {
  const world = await setUp(t, good, false)
  world.kernel.failures = ['another app is holding the lock', 'still holding', '', 'still holding']
  world.kernel.failures[2] = undefined as unknown as string
  await world.boot()
  t.match(await world.daemon.status(), { state: 'FAILED', source: 'builtin' })
  world.clock.turn(5000)
  await quiet(world.daemon)
  t.match(await world.daemon.status(), { state: 'FAILED' }, 'once more in vain')
  world.clock.turn(10_000)
  await quiet(world.daemon)
  t.match(await world.daemon.status(), { state: 'RUNNING', source: 'files', problem: null })
  t.strictSame(portsOf(world.daemon), ['8080'])
})

t.test('a journal whose runtime cannot be read neither stops the start nor ends panic mode', async (t) => {
  const world = await setUp(t, good)
  await world.daemon.change(addPort('81'), caller)
  await world.daemon.change({ kind: 'panic-set', on: true }, caller)
  const path = join(world.root, 'run/runtime.jsonl')
  const [header = '', ...lines] = readFileSync(path, 'utf8').split('\n')
  writeFileSync(path, [JSON.stringify({ ...JSON.parse(header) as object, runtime: '{"format":9}' }), ...lines].join('\n'))
  await world.boot()
  t.match(await world.daemon.status(), { state: 'RUNNING', panic: true })
  writeFileSync(path, `garbage\n${lines.join('\n')}`)
  await world.boot()
  t.match(await world.daemon.status(), { state: 'RUNNING', panic: true }, 'nor does a header that cannot be read')
  t.equal(world.kernel.plan?.early.panic, true)
})

t.test('when nothing can be enforced start says why, for every attempt', async (t) => {
  const world = await setUp(t, good, false)
  world.kernel.failures = Array.from({ length: 5 }, (_, index) => `no kernel ${index}`)
  await t.rejects(world.boot(), /nothing could be enforced: files: .*no kernel 0.*builtin: .*no kernel 2/)
})

t.test('a restart with the same files keeps the generation number, other files get a new one', async (t) => {
  const world = await setUp(t, good)
  await world.daemon.change(addPort('81'), caller)
  await world.daemon.stop()
  await world.boot()
  t.equal((await world.daemon.status()).generation, 1)
  await world.daemon.stop()
  world.write('zones/public.yaml', 'ports: [9090/tcp]\n')
  await world.boot()
  t.equal((await world.daemon.status()).generation, 3, '2 was the runtime change')
  t.equal(readdirSync(join(world.root, 'state/generations')).length, 2)
})

t.test('at most the wanted number of generations is kept, and the newest is the last known good', async (t) => {
  const world = await setUp(t, good, false)
  await world.boot({ limits: { count: 3, sizeBytes: 1e9 } })
  for (let port = 1; port <= 8; port++) {
    world.write('zones/public.yaml', `ports: [${port}/tcp]\n`)
    await world.daemon.reload(caller)
  }
  await quiet(world.daemon)
  t.equal(readdirSync(join(world.root, 'state/generations')).length, 3)
  await world.daemon.stop()
  world.write('zones/public.yaml', threeMistakes)
  await world.boot()
  t.strictSame(portsOf(world.daemon), ['8'])
})

t.test('something that no dataplane can enforce is refused by name at start, with its place', async (t) => {
  const world = await setUp(t, { 'zones/public.yaml': 'services: [ssh]\nrich-rules: [rule family=ipv4 port port=1 protocol=udp reject type=tcp-reset]\n' })
  const status = await world.daemon.status()
  t.match(status, { state: 'FAILED', source: 'builtin' })
  t.match(status.problem?.diagnostics[0], /zones\/public\.yaml:2:\d+: .*tcp-reset is for TCP only/)
})
