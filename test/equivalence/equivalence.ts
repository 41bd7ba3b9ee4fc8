// npm run equivalence: random sequences of commands on Debian's firewalld and on derpanetd, then packets; both must say and do the
// same, but for the written deviations. DERPANET_SEED=N replays a run, DERPANET_CASE=K only its K-th sequence;
// with a file of commands (one JSON array a line) only these are played, and every answer is told.
// DERPANET_GO_ON=1 does not stop at the first difference, =fast does not look for fewer commands either;
// DERPANET_SEQUENCES=N (default 200), DERPANET_BACKEND=nftables|iptables picks firewalld's backend (default: every fifth on iptables).
import { readFileSync } from 'node:fs'
import { seedOfRun } from '../support/random.ts'
import type { Call } from './calls.ts'
import { playFile, runEquivalence } from './run.ts'
import type { Backend } from './sides.ts'

const seed = seedOfRun()
const count = Number(process.env['DERPANET_SEQUENCES'] ?? '200')
const backend = process.env['DERPANET_BACKEND'] as Backend | undefined
const file = process.argv[2]
if (file !== undefined) {
  const calls = readFileSync(file, 'utf8').split('\n').filter((line) => line.trim() !== '').map((line) => JSON.parse(line) as Call)
  process.exit(await playFile(calls, backend ?? 'nftables', seed, (line) => console.log(line)) ? 0 : 1)
}
const only = process.env['DERPANET_CASE']
const report = await runEquivalence({
  seed, count, packetsEach: 80, only: only === undefined ? null : Number(only), backends: backend === undefined ? ['nftables', 'iptables'] : [backend],
  say: (line) => console.log(line), stopAtFirst: process.env['DERPANET_GO_ON'] === undefined, shrinks: process.env['DERPANET_GO_ON'] !== 'fast', examples: only === undefined,
})
process.exit(report.unexcused === 0 && report.stale.length === 0 ? 0 : 1)
