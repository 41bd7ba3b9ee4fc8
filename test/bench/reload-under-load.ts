// `npm run bench` ends with this; alone: node --import=tsx test/bench/reload-under-load.ts [--reloads N] [--kills N] [--json]
// What reloads and kills do to a new connection a millisecond, 200 long flows and a flood of what is denied: derpanetd
// without and with XDP, then Debian's firewalld, the same load on the same machine.
import { parseArgs } from 'node:util'
import { fileURLToPath } from 'node:url'
import type { DaemonKind } from '../support/daemon.ts'
import { runUnderLoad, type LoadFigures, type LoadOptions } from '../support/under-load.ts'

const rows: readonly (readonly [string, (figures: LoadFigures) => string])[] = [
  ['reloads, kills', ({ reloads, kills }) => `${reloads}, ${kills}`],
  ['seconds', ({ seconds }) => seconds.toFixed(0)],
  ['new connections made', ({ made }) => String(made)],
  ['new connections refused', ({ refused }) => String(refused)],
  ['their SYNs sent again', ({ synsAgain }) => String(synsAgain)],
  ['new connections that took 0.9 s or more, or never came', ({ delayed, givenUp }) => `${delayed}, ${givenUp}`],
  ['slowest new connection', ({ slowestMs }) => `${slowestMs.toFixed(0)} ms`],
  ['flows lost', ({ flows, flowsLost }) => `${flowsLost} of ${flows}`],
  ['denied packets passed', ({ flood, deniedPassed }) => `${deniedPassed} of ${flood}`],
]

/** On a veth `auto` is off; native XDP is measured by name. */
const sides = {
  derpanetd: { kind: 'derpanetd', xdp: 'auto' }, 'derpanetd, xdp: native': { kind: 'derpanetd', xdp: 'native' }, firewalld: { kind: 'firewalld' },
} as const satisfies Readonly<Record<string, Pick<LoadOptions, 'kind' | 'xdp'>>>
type Side = keyof typeof sides

/** Prints the table; false when derpanetd did not keep its promise. */
export async function benchUnderLoad(kinds: readonly DaemonKind[], reloads: number, kills: number, json: boolean): Promise<boolean> {
  const chosen = (Object.keys(sides) as Side[]).filter((side) => kinds.includes(sides[side].kind))
  const figures = new Map<Side, LoadFigures>()
  for (const side of chosen) figures.set(side, await runUnderLoad({ ...sides[side], reloads, kills }))
  if (json) console.log(JSON.stringify({ underLoad: Object.fromEntries(figures) }))
  else {
    const table = [['under load', ...chosen], ...rows.map(([what, text]) => [what, ...chosen.map((side) => text(figures.get(side)!))])]
    const widths = table[0]!.map((_, column) => Math.max(...table.map((line) => line[column]!.length)))
    for (const line of table) console.log(line.map((cell, column) => cell.padEnd(widths[column]!)).join('  ').trimEnd())
  }
  return [...figures].every(([side, own]) => side === 'firewalld' || own.refused + own.givenUp + own.synsAgain + own.flowsLost + own.deniedPassed === 0)
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values } = parseArgs({ options: { reloads: { type: 'string', default: '200' }, kills: { type: 'string', default: '20' }, json: { type: 'boolean' }, only: { type: 'string' } } })
  const kinds = (['derpanetd', 'firewalld'] as const).filter((kind) => values.only === undefined || values.only === kind)
  process.exitCode = (await benchUnderLoad(kinds, Number(values.reloads), Number(values.kills), values.json === true)) ? 0 : 1
}
