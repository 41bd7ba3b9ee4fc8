// `npm run bench` ends with this; alone: node --import=tsx test/bench/reload-under-load.ts [--reloads N] [--kills N] [--json]
// What reloads and kills do to a new connection a millisecond, 200 long flows and a flood of what is denied: derpanetd, then
// Debian's firewalld, the same load on the same machine.
import { parseArgs } from 'node:util'
import { fileURLToPath } from 'node:url'
import type { DaemonKind } from '../support/daemon.ts'
import { runUnderLoad, type LoadFigures } from '../support/under-load.ts'

const rows: readonly (readonly [string, (figures: LoadFigures) => string])[] = [
  ['reloads, kills', ({ reloads, kills }) => `${reloads}, ${kills}`],
  ['seconds', ({ seconds }) => seconds.toFixed(0)],
  ['new connections made', ({ made }) => String(made)],
  ['new connections refused', ({ refused }) => String(refused)],
  ['SYNs sent again', ({ synRetransmits }) => String(synRetransmits)],
  ['new connections that took 0.9 s or more, or never came', ({ delayed, givenUp }) => `${delayed}, ${givenUp}`],
  ['slowest new connection', ({ slowestMs }) => `${slowestMs.toFixed(0)} ms`],
  ['flows lost', ({ flows, flowsLost }) => `${flowsLost} of ${flows}`],
  ['denied packets passed', ({ flood, deniedPassed }) => `${deniedPassed} of ${flood}`],
]

/** Prints the table; false when derpanetd did not keep its promise. */
export async function benchUnderLoad(kinds: readonly DaemonKind[], reloads: number, kills: number, json: boolean): Promise<boolean> {
  const figures = new Map<DaemonKind, LoadFigures>()
  for (const kind of kinds) figures.set(kind, await runUnderLoad({ kind, reloads, kills }))
  if (json) console.log(JSON.stringify({ underLoad: Object.fromEntries(figures) }))
  else {
    const table = [['under load', ...kinds], ...rows.map(([what, text]) => [what, ...kinds.map((kind) => text(figures.get(kind)!))])]
    const widths = table[0]!.map((_, column) => Math.max(...table.map((line) => line[column]!.length)))
    for (const line of table) console.log(line.map((cell, column) => cell.padEnd(widths[column]!)).join('  ').trimEnd())
  }
  const own = figures.get('derpanetd')
  return own === undefined || own.refused + own.delayed + own.givenUp + own.synRetransmits + own.flowsLost + own.deniedPassed === 0
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values } = parseArgs({ options: { reloads: { type: 'string', default: '200' }, kills: { type: 'string', default: '20' }, json: { type: 'boolean' }, only: { type: 'string' } } })
  const kinds = (['derpanetd', 'firewalld'] as const).filter((kind) => values.only === undefined || values.only === kind)
  process.exitCode = (await benchUnderLoad(kinds, Number(values.reloads), Number(values.kills), values.json === true)) ? 0 : 1
}
