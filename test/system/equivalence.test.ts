// A few random sequences of commands on Debian's firewalld and on derpanetd: the same answers, the same state, the same fate of
// every packet, but for what test/equivalence/deviations.json says. npm run equivalence plays hundreds and looks for the fewest
// commands that show a difference; so does DERPANET_TEST_FULL=1. DERPANET_SEED replays.
// TEST_TIMEOUT_SEC=600 TEST_TIMEOUT_FULL_SEC=7200
import t from 'tap'
import { formatCalls, type Call } from '../equivalence/calls.ts'
import { deviations } from '../equivalence/deviations.ts'
import { openPair, play, reset } from '../equivalence/play.ts'
import { resetOf } from '../equivalence/random-calls.ts'
import { runEquivalence } from '../equivalence/run.ts'
import { runtimeOf } from '../support/configuration.ts'
import { whyNoPrivateHost } from '../support/private-host.ts'
import { randomPackets } from '../support/random-packets.ts'
import { createRandom, seedOfRun } from '../support/random.ts'

const full = process.env['DERPANET_TEST_FULL'] === '1'
const skip = whyNoPrivateHost() ?? false
/** The sample is always the same: what new sequences find is the business of a full run, and not of whoever changes something else. */
const knownSeed = 21

t.test('every deviation has a reason, a source and a name of its own, and says of what it is', (t) => {
  for (const { name, reason, source, line, answer, respell, packet, opens } of deviations) {
    t.ok(reason.length > 40 && source.length > 10, name)
    t.ok([line, answer, respell, packet].some((one) => one !== undefined), `${name}: a line, an answer, a spelling or a packet`)
    if (line !== undefined) t.match(line, /^\^|^\(\^|\|\^/, `${name}: from the beginning of the line`)
    if (packet !== undefined) t.ok(packet.when !== undefined || packet.is !== undefined, `${name}: not just any packet`)
    t.ok(opens === undefined || (packet !== undefined && opens.length > 60), `${name}: why it opens`)
  }
  t.equal(new Set(deviations.map(({ name }) => name)).size, deviations.length)
  t.end()
})

t.test('firewalld and derpanetd answer, say and do the same', { skip }, async (t) => {
  const report = await runEquivalence({
    seed: full || process.env['DERPANET_SEED'] !== undefined ? seedOfRun() : knownSeed, count: full ? 200 : 3, packetsEach: 80, only: null, backends: full ? ['nftables', 'iptables'] : ['nftables'],
    stopAtFirst: !full, shrinks: full, examples: full, say: (line) => t.comment(line),
  })
  t.equal(report.unexcused, 0, `${report.sequences} sequences, ${report.packets} packets`)
  t.strictSame(report.stale, [], 'every deviation is still one')
})

t.test('a command that only one of them gets is noticed in its answers, its state and its packets', { skip }, async (t) => {
  const pair = await openPair('nftables', 300)
  t.teardown(() => pair.stop())
  const cases = randomPackets(createRandom(1), runtimeOf({ zones: {} }).settings, 120)
  const calls: readonly Call[] = [['zone.addRichRule', 'public', 'rule family="ipv4" drop priority=-1', 0]]
  const deaf = { ...pair, derpanetd: { ...pair.derpanetd, call: async (call: Call) => (call[0] === 'zone.addRichRule' ? { result: 'ok', text: '' } : pair.derpanetd.call(call)) } }
  const sequence = { calls, questions: [['zone.getZoneSettings2', 'public'] as const], reset: resetOf(calls) }
  const { differences } = await play(deaf, sequence, cases)
  for (const kind of ['call', 'state', 'packet']) t.ok(differences.some(({ about, excuse }) => about.kind === kind && excuse === null), kind)
  t.equal(await reset(pair, sequence.reset), true, `${formatCalls(sequence.reset)} brings both back`)
  const { differences: none } = await play(pair, sequence, cases)
  t.strictSame(none.filter(({ excuse }) => excuse === null), [], 'and with both it is none')
})
