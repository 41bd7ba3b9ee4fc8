// The guard: what it does when the daemon settles its change, dies, hangs, or another change comes.
import { mkdirSync } from 'node:fs'
import t, { type Test } from 'tap'
import { watchOver, type GuardEdges } from '../../src/daemon/guard.ts'
import { WayBackFile, type PendingChange } from '../../src/state/way-back.ts'
import { FakeClock } from './support/clock.ts'

const log = { debug() {}, info() {}, warn() {}, error() {}, fatal() {} }
const before = { generation: 1, settings: 'a'.repeat(64), panic: false, defaultBound: [], expiries: [] }

function setUp(t: Test, dueInMs: number): { file: WayBackFile; clock: FakeClock; pending: PendingChange; did: string[]; edges: GuardEdges; daemon: { alive: boolean } } {
  const folder = t.testdir()
  mkdirSync(folder, { recursive: true })
  const file = new WayBackFile(folder, 'boot')
  const clock = new FakeClock()
  const pending: PendingChange = { id: 'one', generation: 2, dueMs: clock.nowMs + dueInMs, pid: 4711, started: '99', refused: null, before }
  file.write(pending)
  const did: string[] = []
  const daemon = { alive: true }
  const edges: GuardEdges = {
    file, clock, log,
    takeLock: async () => !daemon.alive,
    kill: ({ pid }) => {
      did.push(`kill ${pid}`)
      daemon.alive = false
    },
    goBack: async () => void did.push('go back'),
  }
  return { file, clock, pending, did, edges, daemon }
}

async function turn(clock: FakeClock, ms: number): Promise<void> {
  for (let passed = 0; passed < ms; passed += 50) {
    clock.turn(50)
    await new Promise((resolve) => setImmediate(resolve))
  }
}

t.test('it says that it watches, and leaves when the change is settled', async (t) => {
  const { file, clock, did, edges } = setUp(t, 1000)
  const watching = watchOver(edges)
  t.ok(file.hasGuard('one'))
  await turn(clock, 500)
  file.remove()
  await turn(clock, 100)
  t.equal(await watching, 'settled')
  t.strictSame(did, [])
})

t.test('with nothing to watch it leaves at once', async (t) => {
  const { file, edges } = setUp(t, 1000)
  file.remove()
  t.equal(await watchOver(edges), 'nothing')
})

t.test('a daemon that is dead is replaced, not before the time', async (t) => {
  const { clock, did, edges, daemon } = setUp(t, 1000)
  daemon.alive = false
  const watching = watchOver(edges)
  await turn(clock, 950)
  t.strictSame(did, [])
  await turn(clock, 100)
  t.equal(await watching, 'went back')
  t.strictSame(did, ['go back'])
})

t.test('while it goes back, and until somebody else has the lock, a daemon that starts knows whom it waits for', async (t) => {
  const { file, clock, edges, daemon } = setUp(t, 1000)
  daemon.alive = false
  let during = false
  // taking the change back ends the note, and the guard still has records to write then
  const watching = watchOver({ ...edges, async goBack() {
    file.remove()
    during = file.mayBeGuarded()
  } })
  await turn(clock, 1100)
  t.equal(await watching, 'went back')
  t.ok(during)
  t.ok(file.mayBeGuarded(), 'its process ends a moment later')
  file.endWork()
  t.notOk(file.mayBeGuarded())
})

t.test('a daemon that hangs is ended after a grace', async (t) => {
  const { clock, did, edges } = setUp(t, 1000)
  const watching = watchOver(edges)
  await turn(clock, 1700)
  t.strictSame(did, [])
  await turn(clock, 300)
  t.equal(await watching, 'went back')
  t.strictSame(did, ['kill 4711', 'go back'])
})

t.test('what cannot be taken back is tried again until it works', async (t) => {
  const { clock, did, edges, daemon } = setUp(t, 100)
  daemon.alive = false
  let fails = 3
  const watching = watchOver({ ...edges, goBack: async () => {
    did.push('try')
    if (fails-- > 0) throw new Error('the lock is held')
  } })
  await turn(clock, 5000)
  t.equal(await watching, 'went back')
  t.strictSame(did, ['try', 'try', 'try', 'try'])
})

t.test('another change has another guard', async (t) => {
  const { file, clock, pending, did, edges } = setUp(t, 1000)
  const watching = watchOver(edges)
  file.write({ ...pending, id: 'two' })
  await turn(clock, 100)
  t.equal(await watching, 'settled')
  t.strictSame(did, [])
})

t.test('a note of another boot is nobody\'s business', (t) => {
  const { file } = setUp(t, 1000)
  t.not(file.read(), null)
  t.equal(new WayBackFile(t.testdirName, 'another boot').read(), null)
  t.end()
})
