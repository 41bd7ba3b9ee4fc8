import t from 'tap'
import { systemClock } from '../../src/daemon/clock.ts'
import { ExpiryTimers } from '../../src/daemon/timers.ts'
import type { PendingExpiry } from '../../src/state/journal.ts'
import { FakeClock } from './support/clock.ts'

const removal = (port: string) => ({ kind: 'zone-item-remove', zone: 'public', field: 'ports', item: [port, 'tcp'] }) as const

function setUp(): { clock: FakeClock; due: PendingExpiry[]; timers: ExpiryTimers } {
  const clock = new FakeClock()
  const due: PendingExpiry[] = []
  return { clock, due, timers: new ExpiryTimers(clock, (expiry) => void due.push(expiry)) }
}

t.test('an expiry is due at its time and not before', (t) => {
  const { clock, due, timers } = setUp()
  timers.arm('a', clock.nowMs + 60_000, removal('80'))
  clock.turn(59_999)
  t.equal(due.length, 0)
  clock.turn(1)
  t.strictSame(due.map(({ key }) => key), ['a'])
  t.equal(timers.pending().length, 1, 'it stays pending until it is taken back')
  t.end()
})

t.test('arming again under the same key replaces the old time', (t) => {
  const { clock, due, timers } = setUp()
  timers.arm('a', clock.nowMs + 10, removal('80'))
  timers.arm('a', clock.nowMs + 1000, removal('80'))
  clock.turn(999)
  t.equal(due.length, 0)
  clock.turn(1)
  t.equal(due.length, 1)
  t.end()
})

t.test('one that fired but was added again meanwhile is not current', (t) => {
  const { clock, due, timers } = setUp()
  timers.arm('a', clock.nowMs + 10, removal('80'))
  clock.turn(10)
  const fired = due[0]
  if (fired === undefined) throw new Error('it did not fire')
  t.equal(timers.isCurrent(fired), true)
  timers.arm('a', clock.nowMs + 500, removal('80'))
  t.equal(timers.isCurrent(fired), false)
  timers.retry(fired, 1)
  t.strictSame(timers.pending().map(({ dueMs }) => dueMs), [clock.nowMs + 500], 'a retry does not bring the old one back')
  t.end()
})

t.test('clear calls everything off', (t) => {
  const { clock, due, timers } = setUp()
  timers.arm('a', clock.nowMs + 10, removal('80'))
  timers.arm('b', clock.nowMs + 20, removal('81'))
  timers.clear()
  clock.turn(100)
  t.equal(due.length, 0)
  t.equal(clock.armed(), 0)
  t.end()
})

t.test('the real clock takes delays longer than setTimeout can', async (t) => {
  let fired = false
  const callOff = systemClock.after(40 * 24 * 3600 * 1000, () => { fired = true })
  await new Promise((resolve) => setTimeout(resolve, 20))
  callOff()
  t.equal(fired, false, 'setTimeout alone would have fired at once')
})
