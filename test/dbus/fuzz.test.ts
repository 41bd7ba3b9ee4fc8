// TEST_TIMEOUT_SEC=1800
// Mutated messages: whatever arrives, nothing is thrown where nobody catches, nothing is a bug, nobody waits, and memory
// stays what it was. 20,000 of them; all 1,000,000 with DERPANET_TEST_FULL.
import t from 'tap'
import type { Authority } from '../../src/auth/authority.ts'
import { decodeMessage, messageLength } from '../../src/dbus/wire/decode.ts'
import { messageTypes, noReplyExpected } from '../../src/dbus/wire/encode.ts'
import { createRandom, seedOfRun, type Random } from '../support/random.ts'
import { dispatcherBench, everyCall } from './support/calls.ts'
import { fakeService } from './support/service.ts'

const count = process.env['DERPANET_TEST_FULL'] === undefined ? 20_000 : 1_000_000
/** A getter of somebody else may wait that long at most. */
const stallMs = 100
const fresh = 2_000
const root: Authority = { authorise: (name) => ({ name, uid: 0 }), forget: () => {} }

const texts = ['', '\0', 'public', '%%REJECT%%', '../../etc/passwd', 'a'.repeat(300), 'rule family="ipv4" source address="1.2.3.4" accept', '0-65535', '\u202e', '-1']

function mutate(random: Random, bytes: Buffer): Buffer {
  let found = Buffer.from(bytes)
  for (let left = random.between(1, 4); left > 0 && found.length > 0; left--) {
    const at = random.between(0, found.length - 1)
    switch (random.between(0, 6)) {
      case 0: found[at] = random.between(0, 255); break
      case 1: found[at] = (found[at] ?? 0) ^ (1 << random.between(0, 7)); break
      case 2: found = found.subarray(0, at); break
      case 3: found = Buffer.concat([found.subarray(0, at), found.subarray(at + random.between(1, 8))]); break
      case 4: found = Buffer.concat([found.subarray(0, at), Buffer.from(random.pick(texts)), found.subarray(at)]); break
      case 5: if (at + 4 <= found.length) found.writeUInt32LE(random.pick([0, 1, 0x7fffffff, 0xffffffff, 0x4000000, found.length]), at); break
      case 6: found = Buffer.concat([found, found.subarray(at)]); break
    }
  }
  return found
}

t.test(`${count} mutated messages crash nothing and hold up nobody`, async (t) => {
  const seed = seedOfRun()
  t.comment(`DERPANET_SEED=${seed}`)
  const random = createRandom(seed)
  let understood = 0
  /** What took longer than anybody may wait; most of it because the machine did something else. */
  const slow: { readonly bytes: Buffer; readonly face: '2.5' | '1.3'; readonly at: number; readonly ms: number }[] = []
  const bugs: string[] = []
  const unanswered: number[] = []
  const used = { before: 0, after: 0 }
  for (let start = 0; start < count; start += fresh) {
    const face = random.pick(['2.5', '1.3'] as const)
    const calls = everyCall(face)
    const bench = dispatcherBench(fakeService(), face, root)
    for (let index = start; index < Math.min(count, start + fresh); index++) {
      const bytes = mutate(random, random.pick(calls).bytes)
      const begun = performance.now()
      try {
        // what the transport does: a frame by its length, then the message, and a throw is one message lost
        if (bytes.length >= 16) messageLength(bytes)
        const { type, flags } = decodeMessage(bytes)
        const answer = await bench.send(bytes, ':1.5')
        understood++
        if (answer === null && type === messageTypes.call && (flags & noReplyExpected) === 0) unanswered.push(index)
      } catch (error) {
        if (!(error instanceof Error) || error instanceof ReferenceError) bugs.push(`${index}: ${String(error)}`)
      }
      const ms = performance.now() - begun
      if (ms > stallMs) slow.push({ bytes, face, at: index, ms })
    }
    for (const bug of bench.bugs) bugs.push(`before ${start + fresh}: ${bug}`)
    if (start === 0) used.before = process.memoryUsage().rss
  }
  used.after = process.memoryUsage().rss
  t.ok(understood > count / 10, `${understood} had a readable header`)
  t.strictSame(bugs.slice(0, 5), [], 'no bug')
  t.strictSame(unanswered.slice(0, 5), [], 'every call with a readable header is answered')
  // a machine with other work makes single turns slow; a message that is slow by itself is slow each time
  const stalls: string[] = []
  for (const { bytes, face, at, ms } of slow) {
    let fastest = Infinity
    for (let again = 0; again < 5 && fastest > stallMs; again++) {
      const bench = dispatcherBench(fakeService(), face, root)
      const begun = performance.now()
      await bench.send(bytes, ':1.5').catch(() => {})
      fastest = Math.min(fastest, performance.now() - begun)
    }
    if (fastest > stallMs) stalls.push(`message ${at}: ${ms.toFixed(0)} ms, at best ${fastest.toFixed(0)} ms`)
  }
  t.strictSame(stalls, [], `nobody waits: ${slow.length} messages took more than ${stallMs} ms, none of them again`)
  t.ok(used.after - used.before < 200 * 1024 * 1024, `memory grew by ${Math.round((used.after - used.before) / 1024 / 1024)} MiB`)
})
