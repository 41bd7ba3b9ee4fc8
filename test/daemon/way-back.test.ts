// Changes that must be confirmed, refusals, undo: with a real writer and real files, and a clock that is turned by hand.
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { requireConnection } from '../../src/model/connection.ts'
import { addPort, caller, portsOf, quiet, setUp } from './support/set-up.ts'

const first = { 'zones/public.yaml': 'services: [ssh]\nports: [8080/tcp]\n' }
const second = '# second\nservices: [ssh]\nports: [9090/tcp]\n'
const session = requireConnection('192.0.2.2 51514 192.0.2.1 22')
const confirmed = { confirmSec: 60, sessions: [] } as const

t.test('a change that is not confirmed is taken back at its time, with what was in force before it', async (t) => {
  const world = await setUp(t, first)
  await world.daemon.change(addPort('81', 600), caller)
  world.write('zones/public.yaml', second)
  const result = await world.daemon.apply([], confirmed, caller)
  t.match(result, { applied: true, confirmWithinSec: 60, differences: ['zone public: ports: - 8080/tcp', 'zone public: ports: - 81/tcp', 'zone public: ports: + 9090/tcp'] })
  t.equal(world.edges.armed, 1, 'the guard was there first')
  t.strictSame(portsOf(world.daemon), ['9090'])
  t.match((await world.daemon.status()).unconfirmed, { generation: result.generation, secondsLeft: 60 })
  world.clock.turn(59_000)
  await quiet(world.daemon)
  t.strictSame(portsOf(world.daemon), ['9090'])
  world.clock.turn(1000)
  await quiet(world.daemon)
  t.strictSame(portsOf(world.daemon), ['8080', '81'], 'runtime changes of before too')
  t.match(await world.daemon.status(), { state: 'RUNNING', pending: { changed: true } })
  t.ok((await world.daemon.status()).generation > result.generation, 'going back is a generation of its own')
  t.notOk(existsSync(join(world.root, 'run/way-back.json')))
  world.clock.turn(540_000)
  await quiet(world.daemon)
  t.strictSame(portsOf(world.daemon), ['8080'], 'and their timers')
})

t.test('what others change while it waits stays when it is taken back; panic does not', async (t) => {
  const world = await setUp(t, first)
  world.write('zones/public.yaml', second)
  await world.daemon.apply([], confirmed, caller)
  await world.daemon.change(addPort('25'), caller)
  await world.daemon.change({ kind: 'panic-set', on: true }, caller)
  world.clock.turn(60_000)
  await quiet(world.daemon)
  t.strictSame(portsOf(world.daemon), ['8080', '25'])
  t.equal((await world.daemon.status()).panic, false, 'panic would keep out whoever is to get back in')
})

t.test('while a change waits nothing replaces it', async (t) => {
  const world = await setUp(t, first)
  world.write('zones/public.yaml', second)
  await world.daemon.apply([], confirmed, caller)
  await t.rejects(world.daemon.reload(caller), { code: 'NOT_APPLIED' })
  await t.rejects(world.daemon.apply([], {}, caller), { code: 'NOT_APPLIED' })
  await t.rejects(world.daemon.change({ kind: 'default-zone-set', zone: 'home' }, caller), { code: 'NOT_APPLIED' })
  t.equal(world.daemon.runtime().settings.main.value.defaultZone, 'public')
  t.equal(await world.daemon.confirm(caller), (await world.daemon.status()).generation)
  world.clock.turn(120_000)
  await quiet(world.daemon)
  t.strictSame(portsOf(world.daemon), ['9090'])
  await t.rejects(world.daemon.confirm(caller), { code: 'NOT_ENABLED' })
  await world.daemon.reload(caller)
})

t.test('without a guard nothing is changed', async (t) => {
  const world = await setUp(t, first)
  world.edges.guardFails = 'no guard came'
  world.write('zones/public.yaml', second)
  await t.rejects(world.daemon.apply([], confirmed, caller), { code: 'NOT_APPLIED', detail: /no guard came/ })
  t.strictSame(portsOf(world.daemon), ['8080'])
  t.notOk(existsSync(join(world.root, 'run/way-back.json')))
  t.equal((await world.daemon.status()).unconfirmed, undefined)
})

t.test('a guard that is long in coming does not find the time over before the change is made', async (t) => {
  const world = await setUp(t, first)
  let leftMs = 0
  world.edges.onArm = (note) => {
    world.clock.turn(9000)
    leftMs = note!.dueMs - world.clock.monotonicMs()
  }
  world.write('zones/public.yaml', second)
  await world.daemon.apply([], { confirmSec: 5, sessions: [] }, caller)
  t.ok(leftMs >= 5000, `${leftMs} ms are left for it`)
  t.match((await world.daemon.status()).unconfirmed, { secondsLeft: 5 })
})

t.test('a change that the kernel refuses waits for nothing', async (t) => {
  const world = await setUp(t, first)
  world.write('zones/public.yaml', second)
  world.kernel.failures = ['no memory']
  await t.rejects(world.daemon.apply([], confirmed, caller), { code: 'COMMAND_FAILED' })
  t.strictSame(portsOf(world.daemon), ['8080'])
  t.notOk(existsSync(join(world.root, 'run/way-back.json')))
  await world.daemon.apply([], confirmed, caller)
})

t.test('an unconfirmed change does not survive its daemon, and the files are not enforced by themselves afterwards', async (t) => {
  const world = await setUp(t, first)
  await world.daemon.change(addPort('81'), caller)
  world.write('zones/public.yaml', second)
  const { generation } = await world.daemon.apply([], confirmed, caller)
  await world.daemon.change(addPort('25'), caller)
  await world.boot()
  t.strictSame(portsOf(world.daemon), ['8080', '81', '25'])
  const status = await world.daemon.status()
  t.match(status, { state: 'RUNNING', source: 'last-known-good', problem: { diagnostics: [new RegExp(`not confirmed when they were generation ${generation} `)] } })
  t.ok(status.generation > generation)
  await world.daemon.stop()
  await world.boot()
  t.strictSame(portsOf(world.daemon), ['8080'], 'after a clean stop too')
  await t.rejects(world.daemon.reload(caller), { code: 'NOT_APPLIED' })
  await world.daemon.apply([], {}, caller)
  t.strictSame(portsOf(world.daemon), ['9090'], 'asked for by name it is taken')
  t.match(await world.daemon.status(), { source: 'files', problem: null })
  await world.boot()
  t.strictSame(portsOf(world.daemon), ['9090'], 'and stays')
})

t.test('other files than the ones that were not confirmed are taken as ever', async (t) => {
  const world = await setUp(t, first)
  world.write('zones/public.yaml', second)
  await world.daemon.apply([], { ...confirmed, confirmSec: 1 }, caller)
  world.clock.turn(1000)
  await quiet(world.daemon)
  world.write('zones/public.yaml', 'services: [ssh]\nports: [7070/tcp]\n')
  await world.daemon.reload(caller)
  t.strictSame(portsOf(world.daemon), ['7070'])
})

t.test('the caller\'s own session, and nobody else\'s, keeps a change from being made', async (t) => {
  const world = await setUp(t, first)
  world.edges.connections = [session, requireConnection('192.0.2.3 40000 192.0.2.1 8080')]
  world.write('zones/public.yaml', 'ports: [9090/tcp]\n')
  await t.rejects(world.daemon.apply([], { sessions: [session] }, caller), { code: 'NOT_APPLIED', detail: /192\.0\.2\.2:51514 → 192\.0\.2\.1:22 by eth0: reject \(zone public: target default/ })
  await t.rejects(world.daemon.apply([], {}, caller), { code: 'NOT_APPLIED' }, 'who does not say hangs on port 22')
  t.strictSame(portsOf(world.daemon), ['8080'])
  const dry = await world.daemon.apply([], { sessions: [], dryRun: true }, caller)
  t.match(dry, { applied: false, cutsOff: [/:22 /, /:8080 /] })
  t.strictSame(portsOf(world.daemon), ['8080'])
  t.match(await world.daemon.apply([], { sessions: [session], evenIfCutOff: true }, caller), { applied: true })
  const again = await world.daemon.apply([], { sessions: [session] }, caller)
  t.strictSame(again.cutsOff, [], 'who could not connect before is not cut off')
})

t.test('runtime changes are made all or none, and only on the generation that was expected', async (t) => {
  const world = await setUp(t, first)
  const bad = [addPort('81'), { ...addPort('82'), zone: 'nowhere' }]
  await t.rejects(world.daemon.apply(bad, { sessions: [] }, caller), { code: 'INVALID_ZONE' })
  await t.rejects(world.daemon.apply([{ kind: 'nonsense' }], { sessions: [] }, caller), { code: 'INVALID_VALUE' })
  t.strictSame(portsOf(world.daemon), ['8080'])
  await t.rejects(world.daemon.apply([addPort('81')], { sessions: [], expectedGeneration: 7 }, caller), { code: 'NOT_APPLIED' })
  await world.daemon.apply([addPort('81'), addPort('82', 30)], { ...confirmed, expectedGeneration: 1 }, caller)
  t.strictSame(portsOf(world.daemon), ['8080', '81', '82'])
  await world.daemon.confirm(caller)
  world.clock.turn(30_000)
  await quiet(world.daemon)
  t.strictSame(portsOf(world.daemon), ['8080', '81'])
  t.equal(world.daemon.permanent().zones.get('public')?.value.ports.length, 1, 'nothing permanent changed')
})

t.test('undo puts the files of the generation before back, comments and all', async (t) => {
  const world = await setUp(t, { 'zones/public.yaml': '# first\nservices: [ssh]\n\nports: [8080/tcp]   # web\n', 'lists/a.list': '192.0.2.0/24 # one\n' })
  world.write('zones/public.yaml', second)
  world.write('services/mine.yaml', 'ports: [1/tcp]\n')
  await world.daemon.reload(caller)
  await world.daemon.settle()
  const dry = await world.daemon.undo(null, { sessions: [], dryRun: true }, caller)
  t.match(dry, { applied: false, differences: ['zone public: ports: - 9090/tcp', 'zone public: ports: + 8080/tcp', 'service mine: - there'] })
  t.match(readFileSync(join(world.root, 'etc/zones/public.yaml'), 'utf8'), /9090/)
  await world.daemon.undo(null, { sessions: [] }, caller)
  t.strictSame(portsOf(world.daemon), ['8080'])
  t.equal(readFileSync(join(world.root, 'etc/zones/public.yaml'), 'utf8'), '# first\nservices: [ssh]\n\nports: [8080/tcp]   # web\n')
  t.notOk(existsSync(join(world.root, 'etc/services/mine.yaml')))
  t.ok(existsSync(join(world.root, 'etc/services/mine.yaml.undone')), 'nothing a person wrote is lost')
  await world.daemon.reload(caller)
  t.strictSame(portsOf(world.daemon), ['8080'], 'a reload finds the same')
  await t.rejects(world.daemon.undo(4711, { sessions: [] }, caller), { code: 'INVALID_VALUE' })
})

t.test('undo leaves edited files alone unless told otherwise, and puts them back when the kernel refuses', async (t) => {
  const world = await setUp(t, first)
  world.write('zones/public.yaml', second)
  await world.daemon.reload(caller)
  await world.daemon.settle()
  world.write('zones/public.yaml', 'ports: [1/tcp]\n')
  await t.rejects(world.daemon.undo(null, { sessions: [] }, caller), { code: 'NOT_APPLIED', detail: /--discard-edits/ })
  world.kernel.failures = ['no memory']
  await t.rejects(world.daemon.undo(null, { sessions: [], discardEdits: true }, caller), { code: 'COMMAND_FAILED' })
  t.equal(readFileSync(join(world.root, 'etc/zones/public.yaml'), 'utf8'), 'ports: [1/tcp]\n')
  t.strictSame(portsOf(world.daemon), ['9090'])
  await world.daemon.undo(null, { sessions: [], discardEdits: true }, caller)
  t.strictSame(portsOf(world.daemon), ['8080'])
})

t.test('undo of what waits takes it back at once', async (t) => {
  const world = await setUp(t, first)
  world.write('zones/public.yaml', second)
  await world.daemon.apply([], confirmed, caller)
  const undone = await world.daemon.undo(null, {}, caller)
  t.strictSame(undone.differences, ['zone public: ports: - 9090/tcp', 'zone public: ports: + 8080/tcp'])
  t.strictSame(portsOf(world.daemon), ['8080'])
  world.clock.turn(60_000)
  await quiet(world.daemon)
  t.strictSame(portsOf(world.daemon), ['8080'])
})

t.test('the log names every generation with who and what; a generation can be compared with another', async (t) => {
  const world = await setUp(t, first)
  await world.daemon.change(addPort('81'), { ...caller, pid: 17 })
  world.write('zones/public.yaml', second)
  await world.daemon.reload(caller)
  await world.daemon.settle()
  t.match(world.daemon.history(10), [
    { number: 1, what: 'start', isStored: true, by: { name: 'start' } },
    { number: 2, what: 'change', text: 'zone-item-add public ports 81/tcp 0', by: { uid: 0, pid: 17 }, isStored: false },
    { number: 3, what: 'reload', isStored: true },
  ])
  t.strictSame(await world.daemon.difference(1, 3), ['zone public: ports: - 8080/tcp', 'zone public: ports: + 9090/tcp'])
  t.strictSame(await world.daemon.difference('now', 'files'), [])
  await t.rejects(world.daemon.difference(2, 'now'), { code: 'INVALID_VALUE' })
})
