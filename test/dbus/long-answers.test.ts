// What keeps the bus busy for a while and must not keep an admin waiting: long answers and the signals of a reload.
import t from 'tap'
import { AnswerLengths, LongAnswers } from '../../src/dbus/long-answers.ts'
import { FairService } from '../../src/dbus/turnstile.ts'
import { firewalldPath } from '../../src/dbus/members/firewalld.ts'
import type { Signal } from '../../src/dbus/signals.ts'
import { decodeMessage } from '../../src/dbus/wire/decode.ts'
import { encodeBody } from '../../src/dbus/wire/encode.ts'
import { callOf, dispatcherBench } from './support/calls.ts'
import { fakeService } from './support/service.ts'

const longBytes = 50_000

/** Long answers, each of which takes so long; returns when the last one is gone. */
function sent(answers: LongAnswers, fromMs: number, ...tookMs: readonly number[]): number {
  let now = fromMs
  for (const took of tookMs) {
    t.ok(answers.begins(longBytes, now))
    now += took
    answers.hasRoom(now)
  }
  return now
}

t.test('while the bus takes long answers slowly and others ask for little, a long one begins seldom', (t) => {
  const answers = new LongAnswers()
  t.equal(answers.mostBytes(0), Infinity, 'nothing is known')
  let now = sent(answers, 0, 100, 100)
  answers.isAsked(300, now)
  const most = answers.mostBytes(now)
  t.ok(most > 5_000 && most < 20_000, `what takes a turn or two may leave: ${most} bytes`)
  for (let each = 0; each < 90; each++) {
    now += 100
    answers.isAsked(300, now)
    t.notOk(answers.begins(300, now), 'a short one tells nothing')
    t.ok(answers.mostBytes(now) < longBytes)
  }
  now += 1100
  answers.isAsked(300, now)
  t.equal(answers.mostBytes(now), Infinity, 'after a hundred times what it took')
  now = sent(answers, now, 2000)
  answers.isAsked(300, now + 9_000)
  t.ok(answers.mostBytes(now + 9_000) < longBytes)
  answers.isAsked(300, now + 15_000)
  t.equal(answers.mostBytes(now + 15_000), Infinity, 'and after 15 s in any case: who waits for it gives up after 25')
  t.end()
})

t.test('nobody waits with a long answer when the bus is fast, was slow by accident, or nobody else asks', (t) => {
  t.equal(new LongAnswers().mostBytes(sent(new LongAnswers(), 0, 3, 3)), Infinity)
  const once = new LongAnswers()
  t.equal(once.mostBytes(sent(once, 0, 3, 900)), Infinity, 'one hiccup')
  const quiet = new LongAnswers()
  const now = sent(quiet, 0, 300, 300)
  quiet.isAsked(300, now)
  t.ok(quiet.mostBytes(now + 400) < longBytes)
  t.equal(quiet.mostBytes(now + 600), Infinity, 'nobody has asked for half a second')
  t.equal(quiet.mostBytes(sent(quiet, now + 600, 3)), Infinity, 'and it is fast again')
  t.end()
})

t.test('a member\'s longest answer is what the next is expected to be, for half a minute', (t) => {
  const lengths = new AnswerLengths<object>()
  const member = {}
  t.equal(lengths.expected(member), 0)
  for (const [bytes, atMs, expected] of [[50_000, 0, 50_000], [10, 29_000, 50_000], [60_000, 29_500, 60_000], [10, 60_000, 10]] as const) {
    lengths.learn(member, bytes, atMs)
    t.equal(lengths.expected(member), expected)
  }
  t.equal(lengths.expected({}), 0)
  t.end()
})

const call = (iface: string, member: string): Buffer => callOf(firewalldPath, iface, member, []).bytes
const getZones = call('org.fedoraproject.FirewallD1.zone', 'getZones')
const introspect = call('org.freedesktop.DBus.Introspectable', 'Introspect')
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

/** A dispatcher on a bus that takes a byte in so long, one answer or signal at a time. */
function slowBus(msPerByte: number, service = fakeService()) {
  const left: string[] = []
  let isBusy = false
  let waiting: (() => void) | null = null
  const leaves = (who: string, bytes: number): void => {
    left.push(who)
    isBusy = true
    setTimeout(() => {
      isBusy = false
      const then = waiting
      waiting = null
      then?.()
    }, bytes * msPerByte)
  }
  const bench = dispatcherBench(service, '2.5', { authorise: (name) => ({ name, uid: 0 }), forget: () => {} }, {
    reply: ({ sender }, { bytes }) => leaves(sender, bytes.length),
    error: ({ sender }) => leaves(sender, 50),
    signal: (_path, _iface, member, { bytes }) => leaves(member, bytes.length + 130),
    waitForRoom(then) {
      if (isBusy) waiting = then
      return isBusy
    },
  })
  return { left, dispatcher: bench.dispatcher, say: (bytes: Buffer, sender: string): void => bench.dispatcher.handle({ ...decodeMessage(bytes), sender }) }
}

t.test('of a hundred who want introspection on a slow bus two get it at first, and who asks for little does not wait behind the rest', async (t) => {
  const { left, say } = slowBus(0.005)
  for (let each = 0; each < 100; each++) say(introspect, `reader ${each}`)
  const waitsMs: number[] = []
  const end = performance.now() + 2000
  while (performance.now() < end) {
    const asked = performance.now()
    const before = left.filter((who) => who === 'admin').length
    say(getZones, 'admin')
    while (left.filter((who) => who === 'admin').length === before && performance.now() < end + 5000) await pause(1)
    waitsMs.push(performance.now() - asked)
    await pause(5)
  }
  const readers = left.filter((who) => who.startsWith('reader')).length
  t.ok(readers >= 2 && readers <= 4, `${readers} have it`)
  t.ok(waitsMs.filter((ms) => ms > 100).length <= 4, `of ${waitsMs.length} getters few waited long`)
  await pause(1200)
  t.ok(left.filter((who) => who.startsWith('reader')).length > readers, 'when nobody asks for little the others have theirs')
})

const announced = (count: number): Signal[] => Array.from({ length: count }, (_, index) =>
  ({ path: '/', interface: 'a.b', member: `Added${index}`, body: encodeBody('s', [String(index)]) }))

t.test('between the signals of a reload answers leave, and the signals keep their order', async (t) => {
  const { left, say, dispatcher } = slowBus(0.01)
  dispatcher.announce(announced(3))
  t.strictSame(left, ['Added0', 'Added1', 'Added2'], 'a few leave at once')
  await pause(20)
  left.length = 0
  dispatcher.announce(announced(200))
  dispatcher.announce(announced(1))
  await pause(20)
  t.ok(left.length > 0 && left.length < 100, `${left.length} have left`)
  const before = left.length
  say(getZones, 'admin')
  while (!left.includes('admin')) await pause(1)
  t.ok(left.indexOf('admin') - before <= 3, 'a getter is next')
  for (let waited = 0; left.length < 202 && waited < 10_000; waited += 10) await pause(10)
  t.strictSame(left.filter((who) => who !== 'admin'), [...announced(200), ...announced(1)].map(({ member }) => member))
})

t.test('a reload is answered when its signals have left, a port at once', async (t) => {
  let gone = (): void => {}
  const waits = new Promise<void>((resolve) => { gone = resolve })
  const [caller, other] = [{ name: ':1.1', uid: 0 }, { name: ':1.2', uid: 0 }]
  const fair = new FairService(fakeService(), { told: () => waits })
  const answered: string[] = []
  const reload = fair.for(caller).reload(caller).then(() => answered.push('reload'))
  const port = fair.for(other).change({ kind: 'zone-item-add', zone: 'public', field: 'ports', item: ['1', 'tcp'], timeoutSec: 0 }, other).then(() => answered.push('port'))
  await port
  await pause(5)
  t.strictSame(answered, ['port'])
  gone()
  await reload
  t.strictSame(answered, ['port', 'reload'])
})
