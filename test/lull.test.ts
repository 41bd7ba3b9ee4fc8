import { performance } from 'node:perf_hooks'
import t from 'tap'
import { lull } from '../src/lull.ts'

/** Keeps the event loop at work, with room for timers between the pieces. */
function work(): () => void {
  let goesOn = true
  const piece = (): void => {
    for (const end = performance.now() + 5; performance.now() < end;);
    if (goesOn) setImmediate(piece)
  }
  piece()
  return () => { goesOn = false }
}

t.test('a lull comes when the event loop has nothing to do any more', async (t) => {
  const stop = work()
  let came = false
  const waiting = lull(60_000).then(() => { came = true })
  await new Promise((resolve) => setTimeout(resolve, 300))
  t.notOk(came, 'not while it works')
  stop()
  await waiting
  t.ok(came)
})

t.test('a lull that does not come is not waited for', async (t) => {
  const stop = work()
  t.teardown(stop)
  const begun = performance.now()
  await lull(300)
  t.ok(performance.now() - begun >= 300)
})
