// A run of many sequences: plays, replays without excused commands, shrinks what differs, and counts.
import { runtimeOf } from '../support/configuration.ts'
import { randomPackets, type PacketCase } from '../support/random-packets.ts'
import { createRandom } from '../support/random.ts'
import { formatCalls, type Call } from './calls.ts'
import { compareDefinitions } from './definitions.ts'
import { deviations } from './deviations.ts'
import { openPair, play, reset, type Difference, type Pair, type Played } from './play.ts'
import { randomSequence, resetOf, type Sequence } from './random-calls.ts'
import type { Backend } from './sides.ts'

export interface RunOptions {
  readonly seed: number
  readonly count: number
  readonly packetsEach: number
  /** Only that sequence. */
  readonly only: number | null
  /** The first takes four of five sequences, the second the rest. */
  readonly backends: readonly Backend[]
  readonly stopAtFirst: boolean
  /** Default true: look for the fewest commands that show a difference. */
  readonly shrinks?: boolean
  /** Also play every deviation's example, and report those that do not differ any more. */
  readonly examples: boolean
  say(line: string): void
}

export interface Report {
  readonly sequences: number
  readonly calls: number
  readonly packets: number
  readonly unexcused: number
  /** Deviations that their own example does not show any more. */
  readonly stale: readonly string[]
  /** Differences by the name of what excuses them. */
  readonly excused: ReadonlyMap<string, number>
  /** Verdicts by first word: of what was compared. */
  readonly verdicts: ReadonlyMap<string, number>
}

const boundSec = 7200

export async function runEquivalence(options: RunOptions): Promise<Report> {
  const { seed, say } = options
  say(`DERPANET_SEED=${seed}`)
  const started = Date.now()
  const excused = new Map<string, number>()
  const opened = new Map<string, number>()
  const verdicts = new Map<string, number>()
  const stale: string[] = []
  let [sequences, calls, packets, unexcused, renewals] = [0, 0, 0, 0, 0]
  const byBackend = new Map<Backend, number>()
  /** True when it is excused. */
  const count = ({ about, excuse }: Difference): boolean => {
    if (excuse !== null) excused.set(excuse.name, (excused.get(excuse.name) ?? 0) + 1)
    if (excuse !== null && about.kind === 'packet' && about.opens) opened.set(excuse.name, (opened.get(excuse.name) ?? 0) + 1)
    return excuse !== null
  }
  const [first = 'nftables', second] = options.backends
  const backendOf = (number: number): Backend => (second !== undefined && number % 5 === 4 ? second : first)
  const todo = new Map(options.backends.map((backend) => [backend, options.only !== null ? [options.only].filter((number) => backendOf(number) === backend)
    : Array.from({ length: options.count }, (_, number) => number).filter((number) => backendOf(number) === backend)]))
  let isOver = false
  /** Plays what is left to do with that backend, one after the other. */
  const lane = async (backend: Backend, isFirst: boolean): Promise<void> => {
    const numbers = todo.get(backend) ?? []
    if (numbers.length === 0) return
    const pair = await openPair(backend, boundSec)
    try {
      const macSets = (await pair.derpanetd.host.firewall.run(['ipset', 'create', 'probe', 'hash:mac'])).status === 0
      if (macSets) await pair.derpanetd.host.firewall.ok(['ipset', 'destroy', 'probe'])
      if (options.only === null && isFirst) {
        const { questions, differences } = await compareDefinitions(pair)
        const real = differences.filter((difference) => !count(difference))
        unexcused += real.length
        say(`definitions: ${questions} questions, ${real.length} differences`)
        for (const { line } of real) say(`  DIFFERENT: ${line.slice(0, 400)}`)
      }
      if (options.examples && (isFirst || backend !== first)) {
        const own = deviations.filter((one) => (isFirst ? one.backend ?? backend : one.backend) === backend)
        for (const deviation of own) {
          if (!(await stillDiffers(pair, deviation.name, deviation.example))) {
            stale.push(deviation.name)
            say(`STALE: the example of "${deviation.name}" shows no such difference any more`)
          }
        }
        say(`${own.length} of ${deviations.length} written deviations played, ${stale.length} of them stale`)
      }
      for (let number = numbers.shift(); number !== undefined && !isOver; number = numbers.shift()) {
        const { sequence, cases } = makeCase(seed, number, options.packetsEach, macSets)
        if (options.only !== null) say(formatCalls(sequence.calls))
        const { played, skipped } = await playExcused(pair, sequence, cases)
        const real = played.differences.filter((difference) => !count(difference))
        for (const seen of played.verdicts.values()) verdicts.set(kindOf(seen), (verdicts.get(kindOf(seen)) ?? 0) + 1)
        sequences++
        byBackend.set(backend, (byBackend.get(backend) ?? 0) + 1)
        calls += sequence.calls.length + sequence.questions.length
        packets += cases.length
        if (!(await reset(pair, sequence.reset))) renewals++
        if (sequences % 10 === 0) say(`${sequences} sequences, ${calls} commands, ${packets} packets, ${unexcused} differences, ${((Date.now() - started) / 1000).toFixed(0)} s`)
        if (real.length === 0) continue
        unexcused++
        say(`\nDIFFERENT: DERPANET_SEED=${seed} DERPANET_CASE=${number} DERPANET_BACKEND=${backend} npm run equivalence`)
        for (const { line } of real.slice(0, 12)) say(`  ${line}`)
        if (options.shrinks === false) continue
        const smallest = await shrink(pair, sequence, cases, real[0] as Difference, skipped)
        say(smallest === null ? '  (does not show when played again)' : `  smallest:\n${formatCalls(smallest.calls).replace(/^/gm, '    ')}`)
        if (options.stopAtFirst) isOver = true
      }
    } finally {
      await pair.stop()
    }
  }
  // a sequence waits more than it works; three at a time keep two processors busy
  const lanes: readonly Backend[] = options.count >= 20 && options.only === null ? [first, ...options.backends] : options.backends
  const ended = await Promise.allSettled(lanes.map((backend, index) => lane(backend, index === 0)))
  for (const one of ended) if (one.status === 'rejected') throw one.reason
  say(`\n${sequences} sequences (${[...byBackend].map(([backend, times]) => `${times} on ${backend}`).join(', ')}), ${calls} commands, ${packets} packets in ${((Date.now() - started) / 1000).toFixed(0)} s: ${unexcused} sequences differ; ${renewals} times a daemon was started anew`)
  say(`packets: ${[...verdicts].sort((a, b) => b[1] - a[1]).map(([kind, times]) => `${kind} ${times}`).join(', ')}`)
  say('differences excused, by the deviation that accounts for them:')
  for (const { name } of [...deviations].sort((a, b) => (excused.get(b.name) ?? 0) - (excused.get(a.name) ?? 0))) say(`${String(excused.get(name) ?? 0).padStart(6)}  ${name}${opened.has(name) ? `, of which let in ${opened.get(name)}` : ''}`)
  return { sequences, calls, packets, unexcused, stale, excused, verdicts }
}

function makeCase(seed: number, number: number, packetsEach: number, macSets: boolean): { sequence: Sequence; cases: PacketCase[] } {
  const random = createRandom(seed).fork(number)
  const sequence = randomSequence(random, { macSets })
  return { sequence, cases: randomPackets(random, runtimeOf({ zones: {} }).settings, packetsEach) }
}

function kindOf(seen: string): string {
  return seen.startsWith('reject') ? seen : seen.includes(' mark ') ? 'accept with mark' : seen.split(' ')[0] ?? ''
}

/** A command that is known to differ is left out, and the others are played again: their outcome counts too. */
async function playExcused(pair: Pair, sequence: Sequence, cases: readonly PacketCase[], without: ReadonlySet<number> = new Set()): Promise<{ played: Played; skipped: ReadonlySet<number> }> {
  const skipped = new Set(without)
  const kept: Difference[] = []
  for (;;) {
    const played = await play(pair, sequence, cases, { skipped, endsAtExcused: true })
    const known = played.differences.filter(({ about, excuse }) => about.kind === 'call' && excuse !== null)
    if (known.length === 0) return { played: { ...played, differences: [...kept, ...played.differences] }, skipped }
    // only the first: what follows it may come of it
    const [one] = known as [Difference]
    kept.push(one)
    if (one.about.kind === 'call') skipped.add(one.about.index)
    await reset(pair, sequence.reset)
  }
}

/** The fewest commands that still differ the same way; gives up after a minute. */
async function shrink(pair: Pair, sequence: Sequence, cases: readonly PacketCase[], difference: Difference, without: ReadonlySet<number>): Promise<{ calls: readonly Call[] } | null> {
  const { about } = difference
  const wanted = about.kind === 'packet' ? cases.filter(({ marker }) => marker === about.one.marker || marker === about.one.follows?.marker) : []
  const all = new Set(sequence.calls.map((_, index) => index).filter((index) => !without.has(index)))
  const subject = (line: string): string => line.split(': firewalld')[0] ?? ''
  const fails = async (left: ReadonlySet<number>): Promise<boolean> => {
    const skipped = new Set(sequence.calls.map((_, index) => index).filter((index) => !left.has(index)))
    const { differences } = await play(pair, { ...sequence, questions: about.kind === 'state' ? sequence.questions : [] }, wanted, { skipped })
    await reset(pair, sequence.reset)
    return differences.some(({ line, excuse }) => excuse === null && subject(line) === subject(difference.line))
  }
  if (about.kind === 'call' && (await fails(new Set([about.index])))) return { calls: [sequence.calls[about.index] as Call] }
  if (!(await fails(all))) return null
  const end = Date.now() + 60_000
  let left = [...all]
  for (let size = Math.ceil(left.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let start = 0; start < left.length && Date.now() < end;) {
      const fewer = left.filter((_, at) => at < start || at >= start + size)
      if (await fails(new Set(fewer))) left = fewer
      else start += size
    }
  }
  return { calls: left.map((index) => sequence.calls[index] as Call) }
}

async function stillDiffers(pair: Pair, name: string, example: readonly Call[]): Promise<boolean> {
  const { cases } = makeCase(1, 1, 400, false)
  const sets = [...new Set(example.filter(([member]) => member.startsWith('ipset.')).map(([, name]) => String(name)))]
  const policies = example.flatMap(([member, name]) => (member === 'config.addPolicy' ? [String(name)] : []))
  const sequence: Sequence = { calls: example, questions: [...sets.map((name): Call => ['ipset.getEntries', name]), ...policies.map((name): Call => ['permanent.policy.getSettings', name]), ['zone.getActiveZones'], ['zone.getZoneSettings2', 'public'], ['zone.getIcmpBlocks', 'public'], ['policy.getPolicies']], reset: resetOf(example) }
  const { differences } = await play(pair, sequence, cases)
  await reset(pair, sequence.reset)
  return differences.some(({ excuse }) => excuse?.name === name)
}


/** Plays these commands, tells every answer and every difference; true when there is none. */
export async function playFile(calls: readonly Call[], backend: Backend, seed: number, say: (line: string) => void): Promise<boolean> {
  const pair = await openPair(backend, 600)
  try {
    const { cases } = makeCase(seed, 0, 300, false)
    const zones = [...new Set(calls.filter(([member]) => member.startsWith('zone.')).map(([, zone]) => String(zone)))].filter((zone) => zone !== '')
    const questions: Call[] = [['zone.getActiveZones'], ...zones.map((zone): Call => ['zone.getZoneSettings2', zone])]
    const { differences, results } = await play(pair, { calls, questions, reset: [] }, cases)
    calls.forEach((call, index) => say(`${JSON.stringify(call)}: firewalld ${results[index]?.result}`))
    for (const { line, excuse } of differences) say(`${excuse === null ? 'DIFFERENT' : `excused (${excuse.name})`}: ${line}`)
    return differences.every(({ excuse }) => excuse !== null)
  } finally {
    await pair.stop()
  }
}
