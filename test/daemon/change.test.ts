// Changes while running: enforced before they are answered, undone when they cannot be, taken back in time.
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { FakeDataplane, FakeSubtractor } from './support/dataplane.ts'
import { addPort, caller, portsOf, quiet, removePort, setUp } from './support/set-up.ts'

t.test('a change is in force when it is answered, has a new generation, and is told afterwards', async (t) => {
  const world = await setUp(t)
  const applied = world.kernel.applied.length
  const result = await world.daemon.change(addPort('8080'), caller)
  t.match(result, { name: 'public', generation: 2, events: [{ kind: 'zone-item-added', zone: 'public', item: ['8080', 'tcp'] }] })
  t.equal(world.kernel.applied.length, applied + 1)
  t.strictSame(world.events, [{ kind: 'change', event: result.events[0] }])
  t.notOk(world.daemon.permanent().zones.get('public')?.value.ports.length, 'permanent is another world')
  t.ok(world.log.some(({ message, fields }) => message === 'change is in force' && String(fields['change']).includes('8080') && fields['by'] === ':1.5 uid 0'))
})

t.test('a refused change has no effect, no event and no generation', async (t) => {
  const world = await setUp(t)
  await t.rejects(world.daemon.change(addPort('99999'), caller), { code: 'INVALID_PORT' })
  await world.daemon.change(addPort('80'), caller)
  await t.rejects(world.daemon.change(addPort('80'), caller), { code: 'ALREADY_ENABLED' })
  await t.rejects(world.daemon.change(addPort('80', 0, 'nonesuch'), caller), { code: 'INVALID_ZONE' })
  t.equal(world.events.length, 1)
  t.equal((await world.daemon.status()).generation, 2)
})

t.test('a dataplane that fails gets the previous plan again, the caller COMMAND_FAILED, and nothing changed', async (t) => {
  const world = await setUp(t)
  const before = world.kernel.plan
  world.kernel.failures = ['commit netfilter: line 12: no such set']
  await t.rejects(world.daemon.change(addPort('80'), caller), { code: 'COMMAND_FAILED', message: /line 12: no such set/ })
  t.equal(world.kernel.plan, before)
  t.equal(world.kernel.applied.at(-1), before, 'the previous plan was applied again')
  t.strictSame(portsOf(world.daemon), [])
  t.equal(world.events.length, 0)
  t.equal((await world.daemon.status()).generation, 1)
  await world.daemon.change(addPort('81'), caller)
  t.strictSame(portsOf(world.daemon), ['81'], 'and the next change works')
})

t.test('when going back fails too it is shown, and repaired as soon as possible', async (t) => {
  const world = await setUp(t)
  world.kernel.failures = ['broken', 'still broken']
  await t.rejects(world.daemon.change(addPort('80'), caller), { code: 'COMMAND_FAILED' })
  t.match((await world.daemon.status()).dataplanes[0], { state: 'degraded', details: [{ text: /still broken/ }] })
  world.clock.turn(5000)
  await quiet(world.daemon)
  t.match((await world.daemon.status()).dataplanes[0], { state: 'ok' })
})

t.test('a second dataplane that fails takes the first back as well', async (t) => {
  const world = await setUp(t, {}, false)
  const second = new FakeDataplane()
  await world.boot({ dataplanes: [world.kernel, second] })
  const before = world.kernel.plan
  second.failures = ['no']
  await t.rejects(world.daemon.change(addPort('80'), caller), { code: 'COMMAND_FAILED' })
  t.equal(world.kernel.plan, before)
  t.equal(second.plan, before)
})

t.test('a subtracting dataplane is narrowed first and widened last; its failure is degradation, not refusal', async (t) => {
  const world = await setUp(t, {}, false)
  const xdp = new FakeSubtractor()
  await world.boot({ dataplanes: [world.kernel, xdp] })
  xdp.failures = ['map is full']
  await world.daemon.change(addPort('80'), caller)
  t.equal(xdp.prepared.at(-1), world.kernel.plan, 'it was prepared for what came')
  t.strictSame(portsOf(world.daemon), ['80'])
  t.match((await world.daemon.status()).dataplanes[1], { state: 'degraded', details: [{ text: 'map is full' }] })
  await world.daemon.change(addPort('81'), caller)
  t.match((await world.daemon.status()).dataplanes[1], { state: 'ok' })
  xdp.prepareFailures = ['cannot narrow']
  await t.rejects(world.daemon.change(addPort('82'), caller), { code: 'COMMAND_FAILED' }, 'but if it might drop what should pass, the change is refused')
  t.strictSame(portsOf(world.daemon), ['80', '81'])
})

t.test('a timed port closes on time, with the signal of a removal', async (t) => {
  const world = await setUp(t)
  await world.daemon.change(addPort('80', 60), caller)
  world.clock.turn(59_000)
  await quiet(world.daemon)
  t.strictSame(portsOf(world.daemon), ['80'])
  world.clock.turn(1000)
  await quiet(world.daemon)
  t.strictSame(portsOf(world.daemon), [])
  t.match(world.events.at(-1), { kind: 'change', event: { kind: 'zone-item-removed', item: ['80', 'tcp'] } })
})

t.test('removing and adding again without a timeout calls the timer off', async (t) => {
  const world = await setUp(t)
  await world.daemon.change(addPort('80', 60), caller)
  await world.daemon.change(removePort('80'), caller)
  await world.daemon.change(addPort('80'), caller)
  world.clock.turn(600_000)
  await quiet(world.daemon)
  t.strictSame(portsOf(world.daemon), ['80'])
})

t.test('what was opened for a time is taken back even if the kernel or panic says no at first', async (t) => {
  const world = await setUp(t)
  await world.daemon.change(addPort('80', 10), caller)
  world.kernel.failures = ['busy']
  world.clock.turn(10_000)
  await quiet(world.daemon)
  t.strictSame(portsOf(world.daemon), ['80'], 'the kernel refused, so it is still open')
  await world.daemon.change({ kind: 'panic-set', on: true }, caller)
  world.clock.turn(3000)
  await quiet(world.daemon)
  await world.daemon.change({ kind: 'panic-set', on: false }, caller)
  world.clock.turn(1000)
  await quiet(world.daemon)
  t.strictSame(portsOf(world.daemon), [])
})

t.test('panic overtakes what waits', async (t) => {
  const world = await setUp(t)
  let open = (): void => {}
  world.kernel.gate = new Promise((resolve) => { open = resolve })
  const order: string[] = []
  const track = (name: string, work: Promise<unknown>): Promise<unknown> => work.then(() => order.push(name), (error: Error) => order.push(`${name} ${error.message}`))
  const first = track('first', world.daemon.change(addPort('80'), caller))
  await new Promise((resolve) => setImmediate(resolve))
  const rest = [track('port', world.daemon.change(addPort('81'), caller)), track('reload', world.daemon.reload(caller)), track('panic', world.daemon.change({ kind: 'panic-set', on: true }, caller))]
  open()
  await Promise.all([first, ...rest])
  t.strictSame(order, ['first', 'panic', 'port PANIC_MODE', 'reload'])
  t.equal(world.daemon.runtime().panic, true, 'and panic survives the reload')
})

t.test('a changed default zone is written to derpanet.yaml and the rest of the file stays as it was', async (t) => {
  const text = '# my firewall\ndefault-zone: public   # for now\nauto-reload: no\n'
  const world = await setUp(t, { 'derpanet.yaml': text })
  await world.daemon.change({ kind: 'default-zone-set', zone: 'home' }, caller)
  t.equal(readFileSync(join(world.root, 'etc/derpanet.yaml'), 'utf8'), text.replace('public', 'home'))
  t.equal(world.daemon.permanent().main.value.defaultZone, 'home')
  await world.daemon.filesChanged([join(world.root, 'etc/derpanet.yaml')])
  t.strictSame((await world.daemon.status()).pending, { changed: false, problem: null }, 'our own write is not pending')
  await world.daemon.reload(caller)
  t.equal((await world.daemon.status()).defaultZone, 'home')
  await world.daemon.settle()
  await world.daemon.stop()
  await world.boot()
  t.equal((await world.daemon.status()).defaultZone, 'home')
})

t.test('without a derpanet.yaml one is made; one that cannot be understood undoes the change', async (t) => {
  const world = await setUp(t)
  await world.daemon.change({ kind: 'default-zone-set', zone: 'home' }, caller)
  t.equal(readFileSync(join(world.root, 'etc/derpanet.yaml'), 'utf8'), 'default-zone: home\n')
  world.write('derpanet.yaml', 'default-zone: [home\n')
  await t.rejects(world.daemon.change({ kind: 'default-zone-set', zone: 'public' }, caller), { code: 'COMMAND_FAILED', message: /derpanet\.yaml is not changed/ })
  t.equal((await world.daemon.status()).defaultZone, 'home')
  t.equal(world.kernel.plan?.defaultZone, 'home')
})

t.test('a crashed daemon brings the runtime back within the same boot, timers included', async (t) => {
  const world = await setUp(t)
  await world.daemon.change(addPort('80'), caller)
  await world.daemon.change(addPort('81', 60), caller)
  await world.daemon.change(addPort('82', 10), caller)
  await world.daemon.change({ kind: 'interface-add', zone: 'home', interface: 'eth1' }, caller)
  await world.daemon.change({ kind: 'panic-set', on: true }, caller)
  world.clock.nowMs += 20_000
  await world.boot()
  t.strictSame(portsOf(world.daemon), ['80', '81'], 'what was due meanwhile is gone')
  t.strictSame(world.daemon.runtime().settings.zones.get('home')?.value.interfaces, ['eth1'])
  t.equal(world.daemon.runtime().panic, true)
  t.equal((await world.daemon.status()).generation, 6, 'generations go on')
  await world.daemon.change({ kind: 'panic-set', on: false }, caller)
  world.clock.turn(40_000)
  await quiet(world.daemon)
  t.strictSame(portsOf(world.daemon), ['80'], 'the other timer kept its time')
  t.ok(world.log.some(({ fields }) => /^runtime-journal .*replayed=5 failed=0 timers=1/.test(String(fields['decision']))))
})

t.test('a second crash brings the same back as the first', async (t) => {
  const world = await setUp(t)
  await world.daemon.change(addPort('80'), caller)
  await world.boot()
  await world.daemon.change(addPort('81'), caller)
  await world.boot()
  t.strictSame(portsOf(world.daemon), ['80', '81'])
})

t.test('after a stop and after a reboot only the permanent configuration is in force', async (t) => {
  const world = await setUp(t)
  await world.daemon.change(addPort('80'), caller)
  await world.daemon.stop()
  t.notOk(existsSync(join(world.root, 'run/runtime.jsonl')))
  await world.boot()
  t.strictSame(portsOf(world.daemon), [])
  await world.daemon.change(addPort('80'), caller)
  await world.boot({ bootId: 'boot-2' })
  t.strictSame(portsOf(world.daemon), [], 'rebooted')
})

t.test('changes that no longer fit the files are left out and named', async (t) => {
  const world = await setUp(t, { 'zones/office.yaml': 'short: Office\n' })
  await world.daemon.change(addPort('80', 0, 'office'), caller)
  await world.daemon.change(addPort('81'), caller)
  world.remove('zones/office.yaml')
  await world.boot()
  t.strictSame(portsOf(world.daemon), ['81'])
  t.ok(world.log.some(({ message, fields }) => message === 'runtime change could not be brought back' && String(fields['reason']).includes('INVALID_ZONE')))
})

t.test('a journal that grew over its limit begins anew with the runtime as it is', async (t) => {
  const world = await setUp(t, { 'ipsets/bad.yaml': 'type: hash:ip\n' })
  const entries = (count: number): string[] => Array.from({ length: count }, (_, index) => `198.18.${index >> 8}.${index & 255}`)
  await world.daemon.change(addPort('80', 100), caller)
  for (let round = 0; round < 12; round++) await world.daemon.change({ kind: 'ipset-entries-set', ipset: 'bad', entries: entries(6000 + round) }, caller)
  const journal = readFileSync(join(world.root, 'run/runtime.jsonl'), 'utf8')
  t.ok(journal.length < 1_300_000, `${journal.length} bytes`)
  await world.boot()
  t.equal(world.daemon.runtime().settings.ipsets.get('bad')?.value.entries.length, 6011)
  t.strictSame(portsOf(world.daemon), ['80'])
  world.clock.turn(100_000)
  await quiet(world.daemon)
  t.strictSame(portsOf(world.daemon), [])
})

t.test('stop leaves filtering in place but closes what was opened for a time', async (t) => {
  const world = await setUp(t)
  await world.daemon.change(addPort('80'), caller)
  await world.daemon.change(addPort('81', 60), caller)
  const ports = (): string => JSON.stringify(world.kernel.plan, (_key, value: unknown) => (typeof value === 'bigint' ? String(value) : value))
  t.match(ports(), /81/)
  await world.daemon.stop()
  t.equal(world.kernel.purged, 0)
  t.match(ports(), /"80"|80-80|:80/)
  t.notMatch(ports(), /"first":81/)
  await t.rejects(world.daemon.change(addPort('82'), caller), { code: 'NOT_RUNNING' })
})

t.test('with on-stop: open a stop removes everything', async (t) => {
  const world = await setUp(t, { 'derpanet.yaml': 'on-stop: open\n' })
  await world.daemon.stop()
  t.equal(world.kernel.purged, 1)
})

t.test('counters of all dataplanes add up by rule', async (t) => {
  const world = await setUp(t, {}, false)
  await world.boot({ dataplanes: [world.kernel, new FakeSubtractor()] })
  t.strictSame((await world.daemon.counters()).get('r'), { packets: 2n, bytes: 120n })
})

t.test('what somebody else took out of the kernel is put back, and logged', async (t) => {
  const world = await setUp(t)
  let lines: readonly string[] = []
  Object.assign(world.kernel, { drift: async () => ({ lines, by: 'nft (pid 17)' }) })
  const before = world.kernel.applied.length
  world.daemon.watchDrift()
  world.clock.turn(1000)
  await quiet(world.daemon)
  t.equal(world.kernel.applied.length, before, 'nothing to do')
  lines = ['ip mangle: our jump in INPUT is gone']
  world.clock.turn(1000)
  await quiet(world.daemon)
  t.equal(world.kernel.applied.length, before + 1)
  t.match(world.log.find(({ message }) => message.startsWith('somebody changed what is ours')), { level: 'warn', fields: { changed: lines, by: 'nft (pid 17)' } })
})

t.test('a change of more than 10,000 things is told as a reload, not one by one', async (t) => {
  const world = await setUp(t, { 'ipsets/big.yaml': 'type: hash:ip\n' })
  const entries = (count: number): string[] => Array.from({ length: count }, (_, index) => `10.0.${index >> 8}.${index & 255}`)
  await world.daemon.change({ kind: 'ipset-entries-set', ipset: 'big', entries: entries(10_000) }, caller)
  t.equal(world.events.length, 10_000)
  t.match(world.events[0], { kind: 'change', event: { kind: 'ipset-entry-added', ipset: 'big', entry: '10.0.0.0' } })
  world.events.length = 0
  await world.daemon.change({ kind: 'ipset-entries-set', ipset: 'big', entries: [] }, caller)
  t.equal(world.events.length, 10_000)
  world.events.length = 0
  await world.daemon.change({ kind: 'ipset-entries-set', ipset: 'big', entries: entries(10_001) }, caller)
  t.strictSame(world.events, [{ kind: 'reloaded' }])
})
