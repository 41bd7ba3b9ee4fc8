// Who is next when many callers want something: calls that wait to be answered, and changes that wait to be made.
import t from 'tap'
import { FairQueue } from '../../src/dbus/fair-queue.ts'
import { FairService, Turnstile } from '../../src/dbus/turnstile.ts'
import { actions } from '../../src/auth/actions.ts'
import type { Authority } from '../../src/auth/authority.ts'
import type { Arg } from '../../src/dbus/members.ts'
import { firewalldPath } from '../../src/dbus/members/firewalld.ts'
import type { ReplyTo } from '../../src/dbus/transport.ts'
import { decodeMessage } from '../../src/dbus/wire/decode.ts'
import { noReplyExpected } from '../../src/dbus/wire/encode.ts'
import type { FirewallService } from '../../src/service.ts'
import { callOf, dispatcherBench } from './support/calls.ts'
import { fakeService } from './support/service.ts'

/** Takes everything; each item costs what `costOf` says. */
function drain(queue: FairQueue<string>, costOf: (item: string) => number, most = Infinity): string[] {
  const taken: string[] = []
  for (let item = queue.next(); item !== null; item = taken.length < most ? queue.next() : null) {
    taken.push(item)
    queue.charge(item.split(' ')[0]!, costOf(item))
  }
  return taken
}

t.test('calls of one sender keep their order', async (t) => {
  const queue = new FairQueue<string>()
  for (let index = 0; index < 100; index++) queue.push('a', `a ${index}`)
  t.strictSame(drain(queue, () => 0.3), Array.from({ length: 100 }, (_, index) => `a ${index}`))
  t.notOk(queue.hasReady)
  t.notOk(queue.isBusy('a'))
})

t.test('who asks once does not wait behind a hundred who ask without a pause', async (t) => {
  const queue = new FairQueue<string>()
  for (let caller = 0; caller < 100; caller++) for (let index = 0; index < 50; index++) queue.push(`c${caller}`, `c${caller} ${index}`)
  drain(queue, () => 0.5, 400)
  queue.push('admin', 'admin 0')
  t.equal(queue.next(), 'admin 0', 'it is next')
})

t.test('nobody waits for ever: of those who want much each gets the same share, whatever a call of it costs', async (t) => {
  const queue = new FairQueue<string>()
  for (let index = 0; index < 4000; index++) for (const caller of ['cheap', 'dear']) queue.push(caller, `${caller} ${index}`)
  let single = 0
  const taken = drain(queue, (item) => {
    if (item.startsWith('single')) queue.push('single', `single ${++single}`)
    return item.startsWith('dear') ? 5 : 0.5
  }, 400)
  t.ok(taken.filter((item) => item.startsWith('dear')).length >= 8, 'what is dear has its turns')
  queue.push('single', 'single 0')
  const beside = drain(queue, (item) => {
    if (item.startsWith('single')) queue.push('single', `single ${++single}`)
    return 0.5
  }, 400)
  const others = beside.filter((item) => !item.startsWith('single')).length
  t.ok(others >= 90 && others <= 200, `beside one who always wants one thing the others have ${others} of 400 turns`)
})

t.test('who asked for nothing has saved nothing up', async (t) => {
  const queue = new FairQueue<string>()
  for (let index = 0; index < 400; index++) queue.push('a', `a ${index}`)
  drain(queue, () => 1, 200)
  for (let index = 0; index < 400; index++) queue.push('b', `b ${index}`)
  const both = drain(queue, () => 1, 100)
  t.ok(both.some((item) => item.startsWith('a')), 'who came later does not go alone')
})

t.test('what is dear by its size goes behind what is not, also when it came first', async (t) => {
  const queue = new FairQueue<string>()
  for (const caller of ['big1', 'big2']) queue.push(caller, `${caller} 0`, 17)
  queue.push('admin', 'admin 0', 0.01)
  t.equal(queue.next(1), 'admin 0')
  t.equal(queue.next(1), null, 'and may be left alone')
  t.ok(queue.hasReady)
  t.strictSame(drain(queue, () => 0), ['big1 0', 'big2 0'])
})

t.test('whoever is being asked about waits, and nobody else', async (t) => {
  const queue = new FairQueue<string>()
  queue.block('a')
  queue.push('a', 'a 0')
  queue.push('b', 'b 0')
  t.ok(queue.isBusy('a'))
  t.strictSame(drain(queue, () => 0.1), ['b 0'])
  queue.unblock('a')
  t.strictSame(drain(queue, () => 0.1), ['a 0'])
  queue.push('a', 'a 1')
  t.strictSame(queue.forget('a'), ['a 1'], 'what nobody waits for any more is given back')
  t.equal(queue.next(), null)
})

/** Tasks that end when told, and the order in which they began. */
function tasks() {
  const began: string[] = []
  const ends = new Map<string, () => void>()
  return {
    began,
    task: (name: string) => (): Promise<void> => {
      began.push(name)
      return new Promise((resolve) => ends.set(name, resolve))
    },
    async end(name: string): Promise<void> {
      ends.get(name)?.()
      for (let turn = 0; turn < 10; turn++) await Promise.resolve()
    },
  }
}

t.test('of each caller one change is under way, of all callers two', async (t) => {
  const { began, task, end } = tasks()
  const turnstile = new Turnstile({ places: 2, maxWaiting: 3, clock: () => 0 })
  for (const name of ['a1', 'a2', 'a3', 'b1', 'c1']) void turnstile.pass(name[0]!, task(name))
  t.strictSame(began, ['a1', 'b1'])
  await end('a1')
  t.strictSame(began, ['a1', 'b1', 'c1'], 'who wants little goes first')
  await end('b1')
  t.strictSame(began, ['a1', 'b1', 'c1', 'a2'])
  for (const name of ['a4', 'a5']) void turnstile.pass('a', task(name))
  await t.rejects(turnstile.pass('a', task('a6')), { message: 'too many calls of this caller wait', errorName: 'org.freedesktop.DBus.Error.LimitsExceeded' })
  const other = new Turnstile({ places: 1, maxWaiting: 3, clock: () => 0 })
  await t.rejects(other.pass('a', () => Promise.reject(new Error('no'))), { message: 'no' })
  t.equal(await other.pass('b', async () => 'yes'), 'yes', 'one that fails makes room')
})

t.test('who took little time lately goes before those who took much', async (t) => {
  let now = 0
  const { began, task, end } = tasks()
  const turnstile = new Turnstile({ places: 1, maxWaiting: 100, clock: () => now })
  for (let index = 0; index < 5; index++) for (const caller of ['a', 'b']) void turnstile.pass(caller, task(`${caller}${index}`))
  for (const name of ['a0', 'b0']) {
    now += 10
    await end(name)
  }
  void turnstile.pass('admin', task('admin'))
  now += 10
  await end(began.at(-1)!)
  t.equal(began.at(-1), 'admin')
})

t.test('reloads take nobody\'s place, and come after what their caller asked before', async (t) => {
  const { began, task, end } = tasks()
  const turnstile = new Turnstile({ places: 1, maxWaiting: 100, clock: () => 0 })
  void turnstile.pass('a', task('change'))
  for (const name of ['reload1', 'reload2']) void turnstile.pass('a', task(name), true)
  void turnstile.pass('b', task('other reload'), true)
  t.strictSame(began, ['change', 'other reload'])
  await end('change')
  t.strictSame(began, ['change', 'other reload', 'reload1', 'reload2'], 'those that wait are one')
  void turnstile.pass('c', task('c'))
  t.equal(began.at(-1), 'c')
})

t.test('while others wait there is a pause after each change, a longer one after a reload, and none when nobody waits', async (t) => {
  let now = 0
  let othersWait = true
  const { began, task, end } = tasks()
  const turnstile = new Turnstile({ places: 1, maxWaiting: 100, clock: () => now, othersWait: () => othersWait })
  const pauseOver = async (atMs: number): Promise<void> => {
    now = atMs
    await new Promise((resolve) => setTimeout(resolve, 40))
  }
  for (const name of ['change1', 'change2', 'change3']) void turnstile.pass('a', task(name))
  void turnstile.pass('b', task('reload1'), true)
  now = 10
  await end('reload1')
  void turnstile.pass('b', task('reload2'), true)
  await end('change1')
  t.strictSame(began, ['change1', 'reload1'])
  await pauseOver(39)
  t.strictSame(began, ['change1', 'reload1'], 'three times what it took')
  await pauseOver(41)
  t.strictSame(began, ['change1', 'reload1', 'change2'])
  await end('change2')
  await pauseOver(109)
  t.strictSame(began, ['change1', 'reload1', 'change2', 'change3'], 'a reload ten times')
  await pauseOver(111)
  t.equal(began.at(-1), 'reload2')
  void turnstile.pass('a', task('change4'))
  now = 500
  othersWait = false
  await end('change3')
  t.equal(began.at(-1), 'change4', 'with nobody waiting at once')
})

t.test('panic waits for no change', async (t) => {
  const service = fakeService()
  let release = (): void => {}
  service.holdChanges(new Promise((resolve) => { release = resolve }))
  const asked: string[] = []
  const watched = { ...service, change: (...args: Parameters<typeof service.change>) => {
    asked.push(args[0].kind)
    return service.change(...args)
  } }
  const caller = { name: ':1.1', uid: 0 }
  const fair = new FairService(watched).for(caller)
  const pending = [1, 2, 3].map((port) => fair.change({ kind: 'zone-item-add', zone: 'public', field: 'ports', item: [String(port), 'tcp'], timeoutSec: 0 }, caller))
  pending.push(fair.change({ kind: 'panic-set', on: true }, caller))
  t.strictSame(asked, ['zone-item-add', 'panic-set'])
  release()
  await Promise.allSettled(pending)
  t.equal(asked.length, 4)
})

const firewalldZone = 'org.fedoraproject.FirewallD1.zone'
const getZones = callOf(firewalldPath, firewalldZone, 'getZones', []).bytes
const zoneAndPort: readonly Arg[] = ['zone', 'port', 'protocol'].map((name) => ({ name, type: 's' }))
const addPort = (port: number, flags = 0): Buffer =>
  callOf(firewalldPath, firewalldZone, 'addPort', [...zoneAndPort, { name: 'timeout', type: 'i' }], ['public', String(port), 'tcp', 0], flags).bytes

/** A dispatcher whose answers leave one at a time, each when `leave` is called; names of those who got one. */
function slowBus(service: FirewallService, authority: Authority = { authorise: (name) => ({ name, uid: 0 }), forget: () => {} }) {
  const answered: string[] = []
  let room = 0
  let then: (() => void) | null = null
  const sent = ({ sender }: ReplyTo): void => {
    answered.push(sender)
    room--
  }
  const bench = dispatcherBench(service, '2.5', authority, {
    reply: sent, error: sent,
    waitForRoom(call) {
      if (room > 0) return false
      then = call
      return true
    },
  })
  return {
    answered, bench,
    say: (bytes: Buffer, sender: string): void => bench.dispatcher.handle({ ...decodeMessage(bytes), sender }),
    async leave(count = 1) {
      for (let each = 0; each < count; each++) {
        room = 1
        then?.()
        await new Promise((resolve) => setTimeout(resolve, 1))
      }
    },
  }
}

t.test('while the bus takes little, who asks once is answered before those who ask without a pause', async (t) => {
  const { answered, say, leave, bench } = slowBus(fakeService())
  for (let each = 0; each < 500; each++) for (let caller = 0; caller < 4; caller++) say(getZones, `:1.${caller}`)
  await leave(600)
  t.equal(answered.length, 600)
  say(getZones, 'admin')
  await leave(2)
  t.ok(answered.slice(-2).includes('admin'), 'a getter')
  say(addPort(1), 'admin')
  await leave(4)
  t.ok(answered.slice(-4).includes('admin'), 'a change')
  const noSuch = callOf(firewalldPath, firewalldZone, 'noSuchMember', []).bytes
  const before = answered.length
  for (let each = 0; each < 50; each++) say(noSuch, 'loud')
  t.equal(answered.length, before, 'errors wait for room as well')
  await leave(60)
  t.ok(answered.slice(before).some((name) => name === 'loud') && answered.slice(before).some((name) => name !== 'loud'), 'and take turns')
  t.strictSame(bench.bugs, [])
})

t.test('an answer does not wait for what its caller has to be asked about next', async (t) => {
  const authority: Authority = { authorise: (name, action) => (action === actions.config ? new Promise(() => {}) : { name, uid: 1000 }), forget: () => {} }
  const service = fakeService()
  let release = (): void => {}
  service.holdChanges(new Promise((resolve) => { release = resolve }))
  const allowed: Authority = { authorise: (name) => ({ name, uid: 0 }), forget: () => {} }
  let asked = 0
  const { answered, say, leave } = slowBus(service, { ...authority, authorise: (...args) => (asked++ < 1 ? allowed : authority).authorise(...args) })
  await leave()
  say(addPort(1), ':1.1')
  say(addPort(2), ':1.1')
  release()
  await new Promise((resolve) => setTimeout(resolve, 20))
  await leave()
  t.strictSame(answered, [':1.1'])
})

t.test('who asks and wants no answer is not asked about and costs nothing, what it changes is changed', async (t) => {
  const service = fakeService()
  const changed: unknown[] = []
  const watched = { ...service, change: (...args: Parameters<typeof service.change>) => {
    changed.push(args[0])
    return service.change(...args)
  } }
  let asked = 0
  const { answered, say, leave } = slowBus(watched, { authorise: (name) => { asked++; return { name, uid: 0 } }, forget: () => {} })
  const mute = callOf(firewalldPath, firewalldZone, 'getZones', [], [], noReplyExpected).bytes
  const muteUnknown = callOf(firewalldPath, firewalldZone, 'noSuchMember', [], [], noReplyExpected).bytes
  for (let each = 0; each < 100; each++) say(each % 2 === 0 ? mute : muteUnknown, ':1.1')
  for (const port of [1, 2, 3]) say(addPort(port, noReplyExpected), ':1.1')
  say(getZones, ':1.1')
  await leave(20)
  t.equal(asked, 4)
  t.strictSame(changed.map((change) => (change as { item: readonly string[] }).item[0]), ['1', '2', '3'], 'in its order')
  t.ok(answered.includes(':1.1'))
})

t.test('of callers who change without an answer only so many changes are kept', async (t) => {
  const service = fakeService()
  service.holdChanges(new Promise(() => {}))
  const { say, leave } = slowBus(service)
  const before = process.memoryUsage().heapUsed
  const change = addPort(1, noReplyExpected)
  for (let each = 0; each < 3000; each++) for (let caller = 0; caller < 100; caller++) say(change, `:1.${caller}`)
  await leave(10)
  const grownMb = (process.memoryUsage().heapUsed - before) / 1e6
  t.ok(grownMb < 150, `${grownMb.toFixed(0)} MB`)
})
