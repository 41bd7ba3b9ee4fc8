// How drift is answered: at once, then ever more slowly to whoever insists, and calm again after a while.
import t from 'tap'
import { DriftWatch } from '../../src/daemon/drift.ts'
import type { Drift } from '../../src/kernel/dataplane.ts'
import { FakeClock } from './support/clock.ts'

function setUp(): { clock: FakeClock; watch: DriftWatch; repaired: number[]; looks: number[]; lines: string[]; notices: (string | null)[]; state: { drift: Drift; fails: boolean; insists: boolean }; turn(ms: number): Promise<void> } {
  const clock = new FakeClock(0)
  const repaired: number[] = []
  const looks: number[] = []
  const lines: string[] = []
  const notices: (string | null)[] = []
  const state = { drift: { lines: [] as readonly string[], by: null as string | null }, fails: false, insists: false }
  const watch = new DriftWatch({
    clock,
    log: { debug() {}, info() {}, warn: (fields, message) => void lines.push(`${message} ${JSON.stringify(fields)}`), error: (_fields, message) => void lines.push(message), fatal() {} },
    look: async () => {
      looks.push(clock.nowMs)
      return state.drift
    },
    repair: async () => {
      if (state.fails) throw new Error('no memory')
      repaired.push(clock.nowMs)
      if (!state.insists) state.drift = nothing
      return 'chains: 3 written'
    },
    notice: (text) => void notices.push(text),
  })
  watch.start()
  return {
    clock, watch, repaired, looks, lines, notices, state,
    async turn(ms) {
      for (let passed = 0; passed < ms; passed += 50) {
        clock.turn(50)
        for (let turns = 0; turns < 6; turns++) await Promise.resolve()
      }
    },
  }
}

const flushed: Drift = { lines: ['ip mangle: our jump in INPUT is gone'], by: 'iptables (pid 4711)' }
const nothing: Drift = { lines: [], by: null }

t.test('one drift is one repair and one line that says what and who', async (t) => {
  const { repaired, lines, state, turn } = setUp()
  await turn(2500)
  t.strictSame(repaired, [])
  state.drift = flushed
  await turn(6000)
  t.equal(repaired.length, 1)
  t.strictSame(lines, ['somebody changed what is ours; it is put right {"changed":["ip mangle: our jump in INPUT is gone"],"by":"iptables (pid 4711)","summary":"chains: 3 written"}'])
})

t.test('a hint is looked at at once, many hints once', async (t) => {
  const { watch, looks, turn } = setUp()
  for (let hints = 0; hints < 100; hints++) watch.hint()
  await turn(300)
  t.strictSame(looks, [100])
})

t.test('whoever insists is answered ever more slowly, is named in status, and is forgotten after a calm', async (t) => {
  const { repaired, notices, state, turn } = setUp()
  state.insists = true
  state.drift = flushed
  await turn(10 * 60_000)
  t.ok(repaired.length >= 5 && repaired.length < 25, `${repaired.length} repairs in ten minutes`)
  t.ok(repaired[4]! <= 6000, 'the first ones at once')
  t.ok(repaired.at(-1)! - repaired.at(-2)! >= 60_000, 'the last ones a minute apart')
  t.match(notices.at(-1), /^iptables \(pid 4711\) keeps changing what is ours \(ip mangle: our jump in INPUT is gone\); it is put right every 60 s$/)
  state.drift = nothing
  await turn(5 * 60_000)
  t.equal(notices.at(-1), null)
  state.insists = false
  state.drift = flushed
  const before = repaired.length
  await turn(1500)
  t.equal(repaired.length, before + 1, 'and at once again')
})

t.test('whoever insists and cannot be beaten is answered as slowly as status says', async (t) => {
  const { looks, notices, lines, state, turn } = setUp()
  state.drift = flushed
  state.fails = true
  await turn(10 * 60_000)
  t.match(notices.at(-1), /it is put right every 60 s$/)
  t.ok(lines.length >= 5 && lines.length < 25, `${lines.length} trials in ten minutes`)
  t.ok(looks.at(-1)! - looks.at(-2)! >= 60_000, 'the last ones a minute apart')
})

t.test('what cannot be put right is tried again, and no look is left out for ever', async (t) => {
  const { repaired, lines, state, turn } = setUp()
  state.drift = flushed
  state.fails = true
  await turn(5000)
  t.ok(lines.length >= 2 && lines.length <= 5, 'said, not shouted')
  state.fails = false
  await turn(2000)
  t.ok(repaired.length > 0)
})

t.test('stopped, it looks no more', async (t) => {
  const { watch, looks, turn } = setUp()
  watch.stop()
  watch.hint()
  await turn(5000)
  t.strictSame(looks, [])
})
