// Reloading, and files that change while the daemon runs.
import { renameSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { watchFolders } from '../../src/config/watch.ts'
import { addPort, caller, portsOf, quiet, setUp } from './support/set-up.ts'

const public8080 = { 'zones/public.yaml': 'services: [ssh]\nports: [8080/tcp]\n' }

t.test('a reload puts the files in force and forgets what was only runtime, told exactly once', async (t) => {
  const world = await setUp(t, public8080)
  await world.daemon.change(addPort('81', 60), caller)
  world.write('zones/public.yaml', 'ports: [9090/tcp]\n')
  await world.daemon.reload(caller)
  t.strictSame(portsOf(world.daemon), ['9090'])
  t.equal(world.daemon.permanent(), world.daemon.runtime().settings)
  t.equal(world.events.filter(({ kind }) => kind === 'reloaded').length, 1)
  t.equal(world.events.at(-1)?.kind, 'reloaded')
  t.strictSame(world.told.slice(-2), ['reloading: reading the configuration', 'ready: RUNNING, generation 3 from files, default zone public'])
  world.clock.turn(100_000)
  await quiet(world.daemon)
  t.strictSame(portsOf(world.daemon), ['9090'], 'its timer is gone too')
})

t.test('a reload with mistakes changes nothing, says file, line and column of the first and how many more', async (t) => {
  const world = await setUp(t, public8080)
  await world.daemon.change(addPort('81'), caller)
  const plan = world.kernel.plan
  const file = join(world.root, 'etc/zones/public.yaml')
  world.write('zones/public.yaml', 'services: [ssh]\nports: [8080/tcp, 99999/tcp]\nsecret-word: hunter2\n')
  world.write('zones/home.yaml', 'target: PERHAPS\n')
  const error = await world.daemon.reload(caller).then(() => null, (reason: Error) => reason)
  t.match(error?.message, /zones\/home\.yaml:1:\d+ \(and 2 more mistakes; derpanetctl check shows all\)$/)
  t.notMatch(error?.message, /hunter2|PERHAPS/, 'callers get places, never words of the file')
  t.equal(world.kernel.plan, plan)
  t.strictSame(portsOf(world.daemon), ['8080', '81'], 'runtime changes stay too')
  const status = await world.daemon.status()
  t.equal(status.state, 'RUNNING')
  t.equal(status.problem?.diagnostics.length, 3, 'all of them in status')
  t.ok(status.problem?.diagnostics.some((line) => line.startsWith(`${file}:2:19: `)), String(status.problem?.diagnostics.join('\n')))
  t.equal(world.log.filter(({ message }) => message === 'mistake in the configuration').length, 3, 'and in the log')
  t.equal(world.events.filter(({ kind }) => kind === 'reloaded').length, 0)
  await world.daemon.change(addPort('82'), caller)
  t.strictSame(portsOf(world.daemon), ['8080', '81', '82'], 'changes go on')
})

t.test('a reload that the kernel refuses keeps the old generation', async (t) => {
  const world = await setUp(t, public8080)
  world.write('zones/public.yaml', 'ports: [9090/tcp]\n')
  world.kernel.failures = ['no memory']
  await t.rejects(world.daemon.reload(caller), { code: 'COMMAND_FAILED' })
  t.match(await world.daemon.status(), { state: 'FAILED', generation: 1, problem: { diagnostics: [/no memory/] } })
  t.strictSame(portsOf(world.daemon), ['8080'])
  await world.daemon.reload(caller)
  t.match(await world.daemon.status(), { generation: 2, problem: null })
})

t.test('a reload without any change keeps the number but looks at the kernel again', async (t) => {
  const world = await setUp(t, public8080)
  const applied = world.kernel.applied.length
  await world.daemon.reload(caller)
  t.equal((await world.daemon.status()).generation, 1)
  t.equal(world.kernel.applied.length, applied + 1)
  await world.daemon.change(addPort('81'), caller)
  await world.daemon.reload(caller)
  t.equal((await world.daemon.status()).generation, 3, 'the runtime port went: that is another generation')
})

t.test('unchanged files are not parsed again: their entries are the same objects', async (t) => {
  const world = await setUp(t, public8080)
  const before = world.daemon.permanent()
  world.write('zones/home.yaml', 'ports: [1/tcp]\n')
  await world.daemon.reload(caller)
  const after = world.daemon.permanent()
  t.not(after, before)
  t.equal(after.zones.get('public'), before.zones.get('public'))
  t.equal(after.services, before.services)
})

t.test('reloads that come together are one', async (t) => {
  const world = await setUp(t, public8080)
  const before = world.loads.count
  await Promise.all(Array.from({ length: 20 }, () => world.daemon.reload(caller)))
  t.ok(world.loads.count - before <= 2, `${world.loads.count - before} loads for 20 calls`)
})

t.test('an unban overtakes a waiting reload and still holds after it', async (t) => {
  const world = await setUp(t, { 'ipsets/bad.yaml': 'type: hash:ip\nentries: [198.51.100.7]\n' })
  let open = (): void => {}
  world.kernel.gate = new Promise((resolve) => { open = resolve })
  const order: string[] = []
  const slow = world.daemon.change(addPort('80'), caller).then(() => order.push('port'))
  await new Promise((resolve) => setImmediate(resolve))
  const reload = world.daemon.reload(caller).then(() => order.push('reload'))
  const unban = world.daemon.change({ kind: 'ipset-entry-remove', ipset: 'bad', entry: '198.51.100.7' }, caller).then(() => order.push('unban'))
  open()
  await Promise.all([slow, reload, unban])
  t.strictSame(order, ['port', 'unban', 'reload'])
  t.strictSame(world.daemon.runtime().settings.ipsets.get('bad')?.value.entries, [])
})

t.test('flush-all-on-reload: no keeps interfaces, ipset entries and direct rules, nothing else', async (t) => {
  const rule = (port: string) => ({ ipv: 'ipv4', table: 'filter', chain: 'INPUT', priority: 0, args: ['-p', 'tcp', '--dport', port, '-j', 'DROP'] }) as const
  const file = (...ports: readonly string[]): string => `rules:\n${ports.map((port) => `  - ${rule(port).ipv} ${rule(port).table} ${rule(port).chain} 0 ${rule(port).args.join(' ')}\n`).join('')}`
  const ports = (): readonly (string | undefined)[] => (world.daemon.runtime().settings.direct?.value.rules ?? []).map(({ args }) => args[3])
  const world = await setUp(t, { 'derpanet.yaml': 'flush-all-on-reload: no\n', 'direct.yaml': file('1', '2'), 'ipsets/bad.yaml': 'type: hash:ip\nentries: [198.51.100.1]\n', 'zones/home.yaml': 'interfaces: [eth7]\n' })
  await world.daemon.change({ kind: 'interface-add', zone: 'home', interface: 'eth1' }, caller)
  await world.daemon.change({ kind: 'interface-add', zone: '', interface: 'eth2' }, caller)
  await world.daemon.change({ kind: 'ipset-entry-add', ipset: 'bad', entry: '198.51.100.7' }, caller)
  await world.daemon.change(addPort('80'), caller)
  await world.daemon.change({ kind: 'direct-rule-add', ...rule('9') }, caller)
  await world.daemon.change({ kind: 'ipset-entry-add', ipset: 'bad', entry: '198.51.100.8' }, caller)
  world.write('ipsets/bad.yaml', 'type: hash:ip\nentries: [198.51.100.2, 198.51.100.8]\n')
  world.write('direct.yaml', file('2', '3'))
  await world.daemon.reload(caller)
  t.strictSame(ports(), ['2', '3', '9'], 'what the files said and do not say any more goes')
  const { zones, ipsets } = world.daemon.runtime().settings
  t.strictSame(zones.get('home')?.value.interfaces, ['eth7', 'eth1'])
  t.strictSame(zones.get('public')?.value.interfaces, ['eth2'])
  t.strictSame(ipsets.get('bad')?.value.entries, ['198.51.100.2', '198.51.100.8', '198.51.100.7'], 'beside those the files have now')
  t.strictSame(portsOf(world.daemon), [])
  await world.boot()
  t.strictSame(world.daemon.runtime().settings.zones.get('home')?.value.interfaces, ['eth7', 'eth1'], 'a crash afterwards keeps them as well')
  t.strictSame(ports(), ['2', '3', '9'])
  await world.daemon.change({ kind: 'default-zone-set', zone: 'trusted' }, caller)
  t.strictSame(world.daemon.runtime().settings.zones.get('trusted')?.value.interfaces, ['eth2'], 'and what was bound to the default zone follows it')
})

t.test('a changed file is looked at at once, shown as pending, and not in force before a reload', async (t) => {
  const world = await setUp(t, public8080)
  world.write('zones/public.yaml', 'ports: [9090/tcp]\n')
  await world.daemon.filesChanged([join(world.root, 'etc/zones/public.yaml')])
  t.strictSame((await world.daemon.status()).pending, { changed: true, problem: null })
  t.ok(world.log.some(({ message }) => message === 'changed files are valid and wait for a reload'))
  t.strictSame(portsOf(world.daemon), ['8080'])
  world.write('zones/public.yaml', 'ports: [9090\n')
  await world.daemon.filesChanged([join(world.root, 'etc/zones/public.yaml')])
  const { pending, problem } = await world.daemon.status()
  t.match(pending, { changed: true, problem: { diagnostics: [/zones\/public\.yaml:\d+:\d+: /] } })
  t.equal(problem, null, 'what is in force is right')
  world.write('zones/public.yaml', public8080['zones/public.yaml'])
  await world.daemon.filesChanged([join(world.root, 'etc/zones/public.yaml')])
  t.equal((await world.daemon.status()).pending.changed, false)
})

t.test('files that the daemon wrote itself are not read again, and wait for a reload all the same', async (t) => {
  const world = await setUp(t, public8080)
  const file = join(world.root, 'etc/zones/public.yaml')
  const write = (port: string) => world.daemon.changePermanent({ kind: 'object-item-add', object: 'zone', name: 'public', field: 'ports', item: [port, 'tcp'] }, caller)
  const pending = async () => (await world.daemon.status()).pending
  await write('9090')
  const before = world.loads.count
  await world.daemon.filesChanged([file])
  t.strictSame([await pending(), world.loads.count - before], [{ changed: true, problem: null }, 0])
  world.write('zones/broken.yaml', 'ports: [\n')
  await world.daemon.filesChanged([join(world.root, 'etc/zones/broken.yaml')])
  t.equal((await pending()).problem?.diagnostics.length, 1)
  await write('9191')
  world.remove('zones/broken.yaml')
  await world.daemon.filesChanged([file, join(world.root, 'etc/zones/broken.yaml')])
  t.strictSame(await pending(), { changed: true, problem: null }, 'a mistake that is gone is forgotten')
  world.write('zones/public.yaml', 'ports: [9092/tcp]\n')
  await world.daemon.filesChanged([file])
  t.same(world.daemon.permanent().zones.get('public')?.value.ports.map(({ port }) => port), ['8080', '9090', '9191'], 'what a person wrote is adopted by a reload')
  await world.daemon.reload(caller)
  t.strictSame(portsOf(world.daemon), ['9092'])
})

t.test('a list and a folder that somebody takes away are missed', async (t) => {
  const world = await setUp(t, { ...public8080, 'lists/bad.list': '192.0.2.0/24\n' })
  world.remove('lists/bad.list')
  await world.daemon.filesChanged([join(world.root, 'etc/lists/bad.list')])
  t.equal((await world.daemon.status()).pending.changed, true, 'the list')
  await world.daemon.reload(caller)
  t.equal((await world.daemon.status()).pending.changed, false)
  renameSync(join(world.root, 'etc/zones'), join(world.root, 'zones-elsewhere'))
  await world.daemon.filesChanged([join(world.root, 'etc/zones')])
  t.equal((await world.daemon.status()).pending.changed, true, 'the folder')
})

t.test('auto-reload: yes puts a valid change in force by itself, a broken one never', async (t) => {
  const world = await setUp(t, { ...public8080, 'derpanet.yaml': 'auto-reload: yes\n' })
  world.write('zones/public.yaml', 'ports: [99999/tcp]\n')
  await world.daemon.filesChanged([join(world.root, 'etc/zones/public.yaml')])
  t.strictSame(portsOf(world.daemon), ['8080'])
  world.write('zones/public.yaml', 'ports: [9090/tcp]\n')
  await world.daemon.filesChanged([join(world.root, 'etc/zones/public.yaml')])
  t.strictSame(portsOf(world.daemon), ['9090'])
  t.equal((await world.daemon.status()).pending.changed, false)
})

t.test('the watch tells of edits, of renamed temp files and of new folders, once things are quiet', async (t) => {
  const world = await setUp(t, public8080, false)
  const seen: string[][] = []
  const stop = watchFolders({ folders: [join(world.root, 'etc')], onChange: (files) => void seen.push([...files]), onTrouble: (text) => t.fail(text), quietMs: 50 })
  t.teardown(stop)
  const next = async (): Promise<string[]> => {
    for (let waited = 0; waited < 200 && seen.length === 0; waited++) await new Promise((resolve) => setTimeout(resolve, 10))
    return (seen.shift() ?? []).map((file) => file.slice(join(world.root, 'etc').length + 1))
  }
  world.write('zones/public.yaml', 'ports: [1/tcp]\n')
  world.write('zones/home.yaml', 'ports: [2/tcp]\n')
  t.strictSame((await next()).filter((file) => file.endsWith('.yaml')), ['zones/home.yaml', 'zones/public.yaml'], 'several files come together')
  const { writeAtomic } = await import('../../src/state/atomic.ts')
  await writeAtomic(join(world.root, 'etc/zones/public.yaml'), 'ports: [3/tcp]\n', 0o644)
  t.ok((await next()).includes('zones/public.yaml'))
  world.write('services/new.yaml', 'ports: [4/tcp]\n')
  t.ok((await next()).some((file) => file.startsWith('services')))
})

t.test('a folder that is not there yet is waited for', async (t) => {
  const root = t.testdir()
  const trouble: string[] = []
  const seen: string[][] = []
  const stop = watchFolders({ folders: [join(root, 'late')], onChange: (files) => void seen.push([...files]), onTrouble: (text) => void trouble.push(text), quietMs: 20, retryMs: 30 })
  t.teardown(stop)
  t.match(trouble, [/late.*ENOENT/])
  const { mkdirSync } = await import('node:fs')
  mkdirSync(join(root, 'late'))
  for (let waited = 0; waited < 100 && seen.length === 0; waited++) await new Promise((resolve) => setTimeout(resolve, 10))
  t.strictSame(seen[0], [join(root, 'late')], 'what is in it is news')
})

t.test('a list that was emptied keeps its entries, status says so, and a forced reload takes it, once', async (t) => {
  const world = await setUp(t, { 'derpanet.yaml': 'block: [bad]\n', 'lists/bad.list': '203.0.113.1\n203.0.113.2\n' })
  const entries = (): number | undefined => world.daemon.runtime().settings.lists.get('bad')?.addrs4.length
  world.write('lists/bad.list', '# nothing\n')
  await world.daemon.reload(caller)
  t.equal(entries(), 2)
  t.match((await world.daemon.status()).warnings, [/bad\.list.*the 2 entries in force stay until it is forced \(derpanetctl reload --force-lists\)/])
  await world.daemon.reload(caller, { forceLists: true })
  t.equal(entries(), 0)
  t.strictSame((await world.daemon.status()).warnings, [])
  world.write('lists/bad.list', '203.0.113.1\n')
  await world.daemon.reload(caller)
  t.equal(entries(), 1)
})

t.test('what an edge has to say is in status until it is taken back, and in the log once', async (t) => {
  const world = await setUp(t)
  world.daemon.notice('bus', 'another firewall')
  world.daemon.notice('bus', 'another firewall')
  t.strictSame((await world.daemon.status()).warnings, ['another firewall'])
  t.equal(world.log.filter(({ message }) => message === 'another firewall').length, 1)
  world.daemon.notice('bus', null)
  t.strictSame((await world.daemon.status()).warnings, [])
})
