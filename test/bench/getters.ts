// Part of `npm run bench`; alone: node --import=tsx test/bench/getters.ts [--runs N] [--only derpanetd|firewalld] [--json]
// How long a getter takes: the first 1,000 calls of a daemon that has just said RUNNING, and later ones; and how many a second
// when 64 are in flight. derpanetd and Debian's firewalld in turns.
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { fileURLToPath } from 'node:url'
import { daemonCommands, type DaemonKind } from '../support/daemon.ts'
import { repository, runCommand } from '../support/private-host.ts'
import { closeSide, median, openSide, printTable, stopSide, type Side } from './sides.ts'

const counts = { first: 1_000, warm: 3_000, pipelined: 5_000 } as const

interface Sample {
  /** Microseconds a call. */
  readonly first: readonly number[]
  readonly warm: readonly number[]
  readonly pipelinedSec: number
}

/** The value that this share of them does not exceed. */
function quantile(samples: readonly number[], share: number): number {
  const sorted = [...samples].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.ceil(sorted.length * share) - 1)] ?? NaN
}

const figures: readonly { readonly what: string; readonly of: (sample: Sample) => number; readonly unit: string; readonly higherIsBetter?: true; readonly promised: number }[] = [
  { what: 'getter, first 1,000 calls: median', of: ({ first }) => quantile(first, 0.5), unit: 'µs', promised: 3 },
  { what: 'getter, first 1,000 calls: p99', of: ({ first }) => quantile(first, 0.99), unit: 'µs', promised: 1 },
  { what: 'getter, later: median', of: ({ warm }) => quantile(warm, 0.5), unit: 'µs', promised: 3 },
  { what: 'getter, later: p99', of: ({ warm }) => quantile(warm, 0.99), unit: 'µs', promised: 1 },
  { what: 'getters a second, 64 in flight', of: ({ pipelinedSec }) => counts.pipelined / pipelinedSec, unit: '', higherIsBetter: true, promised: 3 },
]

async function sample(side: Side, client: string): Promise<Sample> {
  const address = `unix:path=${side.host.path('/run/dbus/system_bus_socket')}`
  // it waits for the name, so that its first call comes as early as a client's can
  const asking = runCommand([client, String(counts.first), String(counts.warm), String(counts.pipelined)], { env: { DBUS_SYSTEM_BUS_ADDRESS: address }, timeoutMs: 300_000 })
  side.running = side.host.firewall.start(daemonCommands[side.kind])
  const { status, stdout, stderr } = await asking
  if (status !== 0) throw new Error(`getters on ${side.kind}: ${stderr} ${side.running.output()}`)
  return JSON.parse(stdout) as Sample
}

/** Prints the table; false when a promise is not kept. */
export async function benchGetters(kinds: readonly DaemonKind[], runs: number, json: boolean): Promise<boolean> {
  const folder = mkdtempSync(join(tmpdir(), 'derpanet-getters-'))
  const samples: Record<DaemonKind, Sample[]> = { derpanetd: [], firewalld: [] }
  const sides: Side[] = []
  try {
    const client = join(folder, 'getters')
    execFileSync('gcc', ['-O2', '-Wall', '-o', client, join(repository, 'test/bench/getters.c'), '-lsystemd'])
    for (const kind of kinds) sides.push(await openSide(kind))
    for (let run = 0; run < runs; run++) {
      for (const side of run % 2 === 0 ? sides : [...sides].reverse()) {
        samples[side.kind].push(await sample(side, client))
        await stopSide(side)
      }
    }
  } finally {
    for (const side of sides) await closeSide(side)
    rmSync(folder, { recursive: true })
  }
  let good = true
  const lines = figures.map(({ what, of, unit, higherIsBetter, promised }) => {
    const values = (kind: DaemonKind): number[] => samples[kind].map(of)
    const shown = (kind: DaemonKind): string => {
      const found = values(kind)
      return found.length === 0 ? '–' : `${median(found).toFixed(0)} ${unit} (${Math.min(...found).toFixed(0)}–${Math.max(...found).toFixed(0)})`.replace('  ', ' ')
    }
    const [own, other] = [median(values('derpanetd')), median(values('firewalld'))]
    const ratio = higherIsBetter === true ? own / other : other / own
    const isKept = Number.isNaN(ratio) || ratio >= promised
    good &&= isKept
    return { what, promised, ratio, own, other, isKept, cells: [what, shown('derpanetd'), shown('firewalld'), `${ratio.toFixed(1)}×`, isKept ? 'ok' : `BELOW ${promised}×`] }
  })
  if (json) console.log(JSON.stringify({ getters: lines.map(({ cells: _cells, ...line }) => line) }))
  else printTable([[`median of ${runs} (min–max)`, 'derpanetd', 'firewalld', 'better', ''], ...lines.map(({ cells }) => cells)])
  return good
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values } = parseArgs({ options: { runs: { type: 'string', default: '9' }, json: { type: 'boolean' }, only: { type: 'string' } } })
  const kinds = (['derpanetd', 'firewalld'] as const).filter((kind) => values.only === undefined || values.only === kind)
  process.exitCode = (await benchGetters(kinds, Number(values.runs), values.json === true)) ? 0 : 1
}
