// TEST_TIMEOUT_SEC=3000
// The daemon dies by SIGKILL, or a tool, a disk or the kernel fails it, at every effect it has while it starts, reloads, changes
// one thing, swaps a list, panics and stops. Whatever then is in the kernel must deny what both the old and the new
// configuration deny and let pass what both let pass (judged by packets), and the next start (or reload) must converge to exactly
// what it makes from nothing, with nothing left over. DERPANET_SEED replays a sample.
import { availableParallelism } from 'node:os'
import t from 'tap'
import { Lane, type Configuration, type Mode } from '../support/crash-lane.ts'
import { daemonCommands } from '../support/daemon.ts'
import type { Probe } from '../support/agent.ts'
import { createRandom, seedOfRun } from '../support/random.ts'
import { whyNoPrivateHost } from '../support/private-host.ts'

const why = whyNoPrivateHost()
const isFull = process.env['DERPANET_TEST_FULL'] === '1'
const sampled = Number(process.env['DERPANET_POINTS'] ?? (isFull ? 600 : 12))
const lanes = isFull ? Math.max(2, availableParallelism()) : 2

/** `first` and `count` of made-up addresses, and one that probes come from. */
const list = (first: number, count: number): string => `203.0.113.5\n${Array.from({ length: count }, (_, index) => `10.${(first + index) >> 8}.${(first + index) & 255}.0/24\n`).join('')}`

const old: Configuration = {
  'derpanet.yaml': 'default-zone: public\nblock: [bad]\nnever-block: [192.0.2.77]\n', 'zones/public.yaml': 'services: [ssh]\nports: [80/tcp]\n',
  'zones/home.yaml': 'services: [ssh]\nports: [81/tcp]\nsources: [192.0.2.3/32]\n', 'lists/bad.list': list(0, 600),
}
const next: Configuration = {
  ...old, 'zones/public.yaml': 'services: [ssh]\nports: [82/tcp]\nrich-rules:\n  - rule family="ipv4" source address="198.51.100.0/24" drop\n',
  'zones/home.yaml': 'services: [ssh]\nports: [82/tcp]\nsources: [192.0.2.3/32, "2001:db8:1::3/128"]\n', 'lists/bad.list': list(200, 600),
}
const nextList: Configuration = { ...old, 'lists/bad.list': list(150, 600) }

const knock = (port: number, more: Partial<Probe> = {}): Probe => ({ kind: 'tcp', host: '192.0.2.1', port, timeoutMs: 200, ...more })
const probes: readonly Probe[] = [
  knock(22), knock(80), knock(81), knock(82), knock(25), knock(22, { src: '203.0.113.5' }), knock(81, { src: '192.0.2.3' }), knock(82, { src: '192.0.2.3' }),
  knock(22, { host: '2001:db8:1::1' }), knock(82, { host: '2001:db8:1::1' }), knock(25, { host: '2001:db8:1::1' }),
]
/** Passes; in the order of `probes`. */
type Verdicts = readonly boolean[]
const verdictsOf = async (lane: Lane): Promise<Verdicts> => (await lane.probe(probes)).map((result) => result === 'open')

interface Scenario {
  readonly name: string
  readonly from: Configuration
  readonly to: Configuration
  /** The daemon runs with `from` before it; false = the kernel is empty, or holds what a killed one left. */
  readonly before: 'running' | 'nothing' | 'killed'
  run(lane: Lane, mode: Mode, at: number): Promise<unknown>
  /** Back to `from` afterwards, when the daemon runs. */
  reset?(lane: Lane): Promise<unknown>
  /** Ends the daemon. */
  readonly ends?: true
  /** Nothing is filtered in the end. */
  readonly opens?: true
  /** Everything is dropped in the end. */
  readonly drops?: true
}

const armed = (run: (lane: Lane) => Promise<unknown>) => async (lane: Lane, mode: Mode, at: number): Promise<unknown> => {
  await lane.arm(mode, at)
  return run(lane)
}

const scenarios: readonly Scenario[] = [
  { name: 'first start', from: {}, to: old, before: 'nothing', async run(lane, mode, at) {
    await lane.start(mode, at)
    return lane.state()
  } },
  { name: 'start after a crash, files changed', from: old, to: next, before: 'killed', async run(lane, mode, at) {
    await lane.write(next)
    await lane.start(mode, at)
    return lane.state()
  } },
  { name: 'reload', from: old, to: next, before: 'running', run: armed(async (lane) => {
    await lane.write(next)
    return lane.call('reload')
  }) },
  { name: 'list swap', from: old, to: nextList, before: 'running', run: armed(async (lane) => {
    await lane.write(nextList)
    return lane.call('reload')
  }) },
  { name: 'one port', from: old, to: old, before: 'running', run: armed((lane) => lane.zoneCall('addPort', 'sssi', ['public', '82', 'tcp', 0])) },
  { name: 'one source', from: old, to: old, before: 'running', run: armed((lane) => lane.zoneCall('addSource', 'ss', ['home', '2001:db8:1::2'])) },
  { name: 'panic', from: old, to: old, before: 'running', drops: true, run: armed((lane) => lane.call('enablePanicMode')) },
  { name: 'panic ends', from: old, to: old, before: 'running', drops: true, run: async (lane, mode, at) => {
    await lane.call('enablePanicMode')
    await lane.arm(mode, at)
    return lane.call('disablePanicMode')
  } },
  { name: 'stop', from: old, to: old, before: 'running', ends: true, run: armed((lane) => lane.terminate()) },
  { name: 'stop, on-stop: open', from: { ...old, 'derpanet.yaml': `${old['derpanet.yaml']}on-stop: open\n` }, to: old, before: 'running', ends: true, opens: true, run: armed((lane) => lane.terminate()) },
]

interface Point {
  readonly scenario: Scenario
  readonly at: number
  readonly mode: Mode
}

/** What the daemon does in the background after an answer: records, the boot file, the reading back of single changes. */
const backgroundMs = 1600

/** From any state to `from`, however the last point left things. Throws when that does not converge. */
async function prepare(lane: Lane, scenario: Scenario): Promise<void> {
  if (lane.isAlive()) await lane.kill()
  if (scenario.before === 'nothing') {
    await lane.host.firewall.ok([...daemonCommands.derpanetd, '--purge'])
    await lane.host.firewall.ok(['bash', '-c', 'rm -rf /var/lib/derpanet/* /run/derpanet/*.json* /run/derpanet/bpf/v* /run/derpanet/bpf/links; rm -rf /run/derpanet/runtime.jsonl'])
    await lane.write(scenario.to)
    return
  }
  await lane.host.firewall.ok(['rm', '-f', '/run/derpanet/runtime.jsonl'])
  await lane.write(scenario.from)
  await lane.start()
  if (await lane.state() !== 'RUNNING') throw new Error(`before ${scenario.name}: not running: ${lane.output()}`)
  await new Promise((resolve) => setTimeout(resolve, 300))
  if (scenario.before === 'killed') await lane.kill()
}

interface Reference {
  readonly old: Verdicts
  readonly next: Verdicts
  /** remains() of a daemon that was started from nothing with `to` and nothing else. */
  readonly clean: string
  readonly effects: readonly string[]
}

async function startClean(lane: Lane, files: Configuration): Promise<string> {
  await prepare(lane, { name: 'clean', from: {}, to: files, before: 'nothing', run: async () => undefined })
  await lane.start()
  if (await lane.state() !== 'RUNNING') throw new Error(`clean start: ${lane.output()}`)
  await settled(lane)
  return lane.remains()
}

/** XDP follows the rules, and records are written, a moment after the answer. */
async function settled(lane: Lane): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, 250))
  for (let before = -1, now = (await lane.trace()).length; before !== now;) {
    before = now
    await new Promise((resolve) => setTimeout(resolve, 150))
    now = (await lane.trace()).length
  }
}

async function referenceFor(lane: Lane, scenario: Scenario): Promise<Reference> {
  const clean = await startClean(lane, scenario.to)
  const open = probes.map(() => true)
  const nextVerdicts = scenario.drops === true ? probes.map(() => false) : scenario.opens === true ? open : await verdictsOf(lane)
  await prepare(lane, scenario)
  const oldVerdicts = scenario.before === 'nothing' ? open : await verdictsOf(lane)
  await scenario.run(lane, 'none', -1)
  if (scenario.ends === true) await lane.ends(10_000)
  else await new Promise((resolve) => setTimeout(resolve, backgroundMs))
  return { old: oldVerdicts, next: nextVerdicts, clean, effects: await lane.trace() }
}

/** Of a long run of equal effects (a thousand records of a map) its beginning, middle and end. */
function pointsOf(scenario: Scenario, { effects }: Reference): readonly Point[] {
  const names = effects.map((effect) => effect.replace(/^\d+ /, ''))
  const isSame = (index: number, other: number): boolean => names[index] === names[other]
  return effects.flatMap((effect, index): Point[] => {
    let first = index
    let last = index
    while (first > 0 && isSame(first - 1, index)) first--
    while (last + 1 < names.length && isSame(last + 1, index)) last++
    if (last - first > 8 && index !== first && index !== last && index !== (first + last) >> 1) return []
    const modes: readonly Mode[] = / spawn /.test(effect) ? ['kill', 'kill-during', 'kill-after', 'fail', 'fail-after', 'hang', 'tool-killed'] : ['kill', 'fail']
    return modes.map((mode) => ({ scenario, at: index + 1, mode }))
  })
}

interface Outcome {
  /** The daemon got that far. */
  readonly reached: boolean
  readonly effect: string
  readonly wrong: readonly string[]
}

async function runPoint(lane: Lane, { scenario, at, mode }: Point, reference: Reference): Promise<Outcome> {
  await prepare(lane, scenario)
  await scenario.run(lane, mode, at)
  const kills = mode.startsWith('kill')
  if (kills) await lane.ends(4000)
  else if (scenario.ends === true) await lane.ends(8000)
  else if ((await lane.trace()).length < at) await new Promise((resolve) => setTimeout(resolve, backgroundMs))
  const effect = (await lane.trace())[at - 1] ?? ''
  const reached = effect !== '' && (!kills || !lane.isAlive())

  const wrong: string[] = []
  // a tool may outlive the daemon that started it
  if (kills) await new Promise((resolve) => setTimeout(resolve, 60))
  const now = await verdictsOf(lane)
  now.forEach((passes, index) => {
    const before = reference.old[index]!
    const after = reference.next[index]!
    if (before === after && passes !== before) wrong.push(`afterwards ${describe(probes[index]!)} ${passes ? 'passes, though both deny it' : 'is denied, though both let it pass'}`)
  })
  wrong.push(...await converge(lane, scenario, reference))
  return { reached, effect, wrong }
}

/** The next start, or where the daemon lives the next reload, without any trouble. */
async function converge(lane: Lane, scenario: Scenario, { clean }: Reference): Promise<readonly string[]> {
  await lane.host.firewall.run(['rm', '-f', '/run/derpanet/panic'])
  const answer = await bringToFiles(lane, scenario)
  if (answer !== '') return [answer]
  await settled(lane)
  let remains = await lane.remains()
  // what nf_tables frees late is destroyed by the next apply
  for (let tries = 0; remains !== clean && tries < 2; tries++) {
    await lane.call('reload')
    await settled(lane)
    remains = await lane.remains()
  }
  return remains === clean ? [] : [`does not converge: ${difference(clean, remains)}; it said: ${lane.output().slice(-1500)}`]
}

async function bringToFiles(lane: Lane, scenario: Scenario): Promise<string> {
  await lane.write(scenario.to)
  if (lane.isAlive() && scenario.ends !== true) {
    await lane.arm('none', -1)
    if (scenario.drops === true) await lane.call('disablePanicMode')
    const failed = await lane.call('reload')
    if (failed === null) return ''
    // one that cannot go on is started anew, as systemd or a person would
    await lane.kill()
  } else if (lane.isAlive() && !(await lane.ends(5000))) await lane.kill()
  await lane.start()
  const state = await lane.state()
  if (state !== 'RUNNING') return `the next start is ${state === '' ? 'none' : state}: ${lane.output().slice(-1500)}`
  if (scenario.drops === true) await lane.call('disablePanicMode')
  const failed = await lane.call('reload')
  return failed === null ? '' : `the reload after it: ${failed}`
}

function describe({ host, port, src }: Probe): string {
  return `${src ?? 'outside'} → [${host}]:${port}`
}

function difference(wanted: string, found: string): string {
  const [one, other] = [wanted, found].map((text) => text.split('\n'))
  const missing = one!.filter((line) => !other!.includes(line)).slice(0, 6)
  const extra = other!.filter((line) => !one!.includes(line)).slice(0, 6)
  return [...missing.map((line) => `missing ${line}`), ...extra.map((line) => `left over ${line}`)].join(' | ') || 'other order'
}

t.test('whatever happens at any step, the rule holds and the next start converges', { skip: why ?? false, timeout: 2_950_000 }, async (t) => {
  const seed = seedOfRun()
  t.comment(`seed ${seed}`)
  const random = createRandom(seed)
  // every scenario costs some seconds before its first point
  const chosen = isFull ? scenarios : random.shuffle(scenarios).slice(0, 3)
  const open = await Promise.all(Array.from({ length: lanes }, (_, index) => Lane.open(`crash-${index}`, ['tcp:22', 'tcp:25', 'tcp:80-82'], isFull ? 2950 : 170, [])))
  t.teardown(() => Promise.all(open.map((lane) => lane.close())))

  const references = new Map<Scenario, Reference>()
  const waiting = [...chosen]
  await Promise.all(open.map(async (lane) => {
    for (let scenario = waiting.shift(); scenario !== undefined; scenario = waiting.shift()) references.set(scenario, await referenceFor(lane, scenario))
  }))
  const all = chosen.flatMap((scenario) => pointsOf(scenario, references.get(scenario)!))
  t.comment(`${all.length} points: ${chosen.map((scenario) => `${scenario.name} ${references.get(scenario)!.effects.length} effects`).join(', ')}`)
  const points = random.shuffle(all).slice(0, sampled)
  if (isFull) t.ok(points.length >= 500, `${points.length} points`)

  let reached = 0
  const bad: string[] = []
  const queue = [...points]
  await Promise.all(open.map(async (lane) => {
    for (let point = queue.shift(); point !== undefined; point = queue.shift()) {
      const outcome = await runPoint(lane, point, references.get(point.scenario)!).catch((error: unknown): Outcome => (
        { reached: false, effect: '', wrong: [`${(error as Error).message}; it said: ${lane.output().slice(-1500)}`] }))
      if (outcome.reached) reached++
      for (const wrong of outcome.wrong) bad.push(`${point.scenario.name}, ${point.mode} at ${point.at} (${outcome.effect}): ${wrong}`)
    }
  }))
  t.strictSame(bad, [], 'no mixed state breaks the rule, everything converges, nothing is left over')
  t.ok(reached >= points.length * 0.8, `${reached} of ${points.length} points were reached`)
  t.comment(`${points.length} points run, ${reached} reached, ${bad.length} wrong`)
})
