// Plays one sequence on both sides and says where they differ. What the written list of deviations excuses is counted, not told.
import { describePacket, type PacketCase } from '../support/random-packets.ts'
import { answerOf, formatCall, type Answered, type Call, type Result } from './calls.ts'
import { excuseForAnswer, excuseForLine, excuseForPacket, opens, respelled, type Deviation } from './deviations.ts'
import { isEachAMistake } from './mistakes.ts'
import { sceneOf, type Scene, type Since } from './scene.ts'
import type { Sequence } from './random-calls.ts'
import { openSide, type Backend, type Side } from './sides.ts'

export interface Difference {
  /** `call zone.addPort("public", …): firewalld X, derpanetd Y`, `state …` or `packet …`, the same way. */
  readonly line: string
  readonly about: { readonly kind: 'call'; readonly index: number } | { readonly kind: 'state' }
    /** `opens` = derpanetd lets it in and firewalld does not. */
    | { readonly kind: 'packet'; readonly one: PacketCase; readonly opens: boolean }
  readonly excuse: Deviation | null
}

export interface Pair {
  readonly firewalld: Side
  readonly derpanetd: Side
  readonly backend: Backend
  stop(): Promise<void>
}

export async function openPair(backend: Backend, boundSec: number): Promise<Pair> {
  const opened = await Promise.allSettled([openSide('firewalld', backend, boundSec), openSide('derpanetd', backend, boundSec)])
  const sides = opened.map((one) => (one.status === 'fulfilled' ? one.value : null))
  const stop = async (): Promise<void> => { await Promise.all(sides.map((side) => side?.stop())) }
  const failed = opened.find((one) => one.status === 'rejected')
  const [firewalld, derpanetd] = sides
  if (failed?.status === 'rejected' || firewalld == null || derpanetd == null) {
    await stop()
    throw failed?.status === 'rejected' ? failed.reason : new Error('no side')
  }
  const pair = { firewalld, derpanetd, backend, stop }
  installed.set(pair, await Promise.all([firewalld, derpanetd].map(stateOf)))
  return pair
}

/** What each side said of itself when it was fresh. */
const installed = new WeakMap<Pair, readonly string[]>()
const about: readonly Call[] = [
  ['getDefaultZone'], ['getLogDenied'], ['queryPanicMode'], ['zone.getZones'], ['zone.getActiveZones'], ['policy.getPolicies'], ['ipset.getIPSets'], ['config.getZoneNames'], ['config.getPolicyNames'],
  ['config.getServiceNames'], ['config.getIPSetNames'], ['direct.getAllChains'], ['direct.getAllRules'], ['direct.getAllPassthroughs'], ['config.direct.getAllRules'],
  ...['public', 'home', 'work', 'internal', 'dmz', 'external', 'trusted', 'drop', 'block'].flatMap((zone): Call[] => [['zone.getZoneSettings2', zone], ['permanent.zone.getSettings2', zone]]),
]

async function stateOf(side: Side): Promise<string> {
  return (await Promise.all(about.map((call) => side.call(call)))).map(({ result }) => result).join('\n')
}

/** True when commands were enough; else the daemons were started anew. */
export async function reset(pair: Pair, calls: readonly Call[]): Promise<boolean> {
  const sides = [pair.firewalld, pair.derpanetd]
  // one that could not load its rules may say that all is well
  const loaded = await Promise.all(sides.map(async (side) => {
    let last: Answered = { result: 'ok', text: '' }
    for (const call of calls) last = await side.call(call)
    return last.result.startsWith('ok')
  }))
  const now = await Promise.all(sides.map(stateOf))
  const good = now.map((state, index) => loaded[index] === true && state === installed.get(pair)?.[index])
  await Promise.all(sides.map(async (side, index) => { if (good[index] === false) await side.renew() }))
  return good.every(Boolean)
}

export interface Played {
  readonly differences: readonly Difference[]
  readonly results: readonly Answered[]
  readonly verdicts: ReadonlyMap<number, string>
}

export interface PlayOptions {
  /** Calls that are left out. */
  readonly skipped?: ReadonlySet<number>
  /** End after the first call that differs for a written reason: the sequence is then worth playing without that call only. */
  readonly endsAtExcused?: boolean
}

/** The calls of a sequence, then questions and packets. Does not reset. */
export async function play(pair: Pair, sequence: Sequence, cases: readonly PacketCase[], { skipped = new Set(), endsAtExcused = false }: PlayOptions = {}): Promise<Played> {
  const sides = [pair.firewalld, pair.derpanetd] as const
  const differences: Difference[] = []
  const results: Answered[] = []
  const since: Since = { bereft: new Set(), rezoned: new Set() }
  for (const [index, call] of sequence.calls.entries()) {
    if (skipped.has(index)) continue
    const settings = settingsOf(call)
    const before = settings === null ? null : await both(sides, settings)
    const [theirs, ours] = await both(sides, call)
    results.push(theirs)
    remember(since, call, theirs)
    if (theirs.result === ours.result) {
      if (call[0] === 'runtimeToPermanent') {
        const left = await leftBehind(pair, index, since)
        differences.push(...left)
        if (left.some(({ excuse }) => excuse !== null) && endsAtExcused) return { differences, results, verdicts: new Map() }
      }
      const after = settings === null || theirs.result.startsWith('ok') ? null : await both(sides, settings)
      const done = after?.map(({ result }, index) => result !== before?.[index]?.result) ?? []
      if (!done.includes(true)) continue
      const half = (answered: Answered, isDone: boolean | undefined): string => `${told(answered)}${isDone === true ? ', half of it done' : ''}`
      const line = `call ${formatCall(call)}: firewalld ${half(theirs, done[0])}, derpanetd ${half(ours, done[1])}`
      const excuse = excuseForLine(pair.backend, line)
      differences.push({ line, about: { kind: 'call', index }, excuse })
      if (excuse !== null && endsAtExcused) return { differences, results, verdicts: new Map() }
      continue
    }
    const line = lineOf(call, theirs, ours)
    const spelling = respelled(theirs.result, ours.result)
    let excuse = spelling ?? excuseForLine(pair.backend, line)
    if (excuse?.mistakes === true && !(await isEachAMistake((part) => standing(pair, part), call, [theirs.result, ours.result]))) excuse = null
    differences.push({ line, about: spelling === null ? { kind: 'call', index } : { kind: 'state' }, excuse })
    if (excuse !== null && spelling === null && endsAtExcused) return { differences, results, verdicts: new Map() }
  }
  let scene: Scene | null = null
  const inForce = async (): Promise<Scene> => (scene ??= await sceneOf(pair.backend, (call) => pair.derpanetd.call(call), since))
  // questions change nothing: all at once
  for (const [call, [theirs, ours]] of await Promise.all(sequence.questions.map(async (call) => [call, await both(sides, call)] as const))) {
    if (theirs.result === ours.result) continue
    const line = `state ${formatCall(call)}: firewalld ${told(theirs)}, derpanetd ${told(ours)}`
    differences.push({ line, about: { kind: 'state' }, excuse: respelled(theirs.result, ours.result) ?? excuseForLine(pair.backend, line) ?? excuseForAnswer(call, theirs.result, ours.result, await inForce()) })
  }
  const ranges = translatedRanges(sequence.calls)
  const look = async (waitMs: number): Promise<{ readonly found: readonly Difference[]; readonly seen: ReadonlyMap<number, string> }> => {
    const [theirs, ours] = await Promise.all(sides.map(({ observatory }) => observatory.observe(cases, waitMs))) as [ReadonlyMap<number, string>, ReadonlyMap<number, string>]
    const found: Difference[] = []
    const excuses = new Map<number, Deviation | null>()
    for (const one of cases) {
      const fates = { firewalld: theirs.get(one.marker) ?? '', derpanetd: ours.get(one.marker) ?? '' }
      if (isSame(fates.firewalld, fates.derpanetd, ranges)) continue
      // what follows a packet that had another fate has another one for the same reason
      const excuse = excuseForPacket(one, fates, await inForce()) ?? (one.follows === undefined ? null : excuses.get(one.follows.marker) ?? null)
      excuses.set(one.marker, excuse)
      found.push({ line: `packet ${describePacket(one)}: firewalld ${fates.firewalld}, derpanetd ${fates.derpanetd}`, about: { kind: 'packet', one, opens: opens(fates) }, excuse })
    }
    return { found, seen: theirs }
  }
  let looked = await look(25)
  // a busy machine may be late once
  if (looked.found.some(({ excuse }) => excuse === null)) looked = await look(400)
  return { differences: [...differences, ...looked.found], results, verdicts: looked.seen }
}

/** What is still to be felt at the end. */
function remember({ bereft, rezoned }: Since, [member, name, settings]: Call, { result }: Answered): void {
  if (/^(reload|completeReload)$/.test(member)) for (const one of [bereft, rezoned]) one.clear()
  if (member === 'zone.removeSource' && result.startsWith('ok ')) bereft.add(answerOf({ result, text: '' }, ''))
  if (member === 'policy.setPolicySettings' && result.startsWith('ok') && Object.keys(settings as object).some((key) => key.endsWith('gress_zones'))) rezoned.add(String(name))
}

async function both([firewalld, derpanetd]: readonly [Side, Side], call: Call): Promise<readonly [Answered, Answered]> {
  return await Promise.all([firewalld.call(call), derpanetd.call(call)])
}

/** What became permanent otherwise: afterwards everything that is asked about it differs. */
async function leftBehind(pair: Pair, index: number, since: Since): Promise<readonly Difference[]> {
  const sides = [pair.firewalld, pair.derpanetd] as const
  const names = async (member: string): Promise<readonly string[]> => answerOf(await pair.derpanetd.call([member]), [])
  const questions: readonly Call[] = [
    ...(await names('zone.getZones')).map((zone): Call => ['permanent.zone.getSettings2', zone]),
    ...(await names('policy.getPolicies')).map((policy): Call => ['permanent.policy.getSettings', policy]),
  ]
  const answers = await Promise.all(questions.map(async (question) => [question, await both(sides, question)] as const))
  const differing = answers.filter(([, [theirs, ours]]) => theirs.result !== ours.result && respelled(theirs.result, ours.result) === null)
  if (differing.length === 0) return []
  const scene = { ...await sceneOf(pair.backend, (call) => pair.derpanetd.call(call), since), isCopied: true }
  return differing.flatMap(([question, [theirs, ours]]) => {
    const excuse = excuseForAnswer(question, theirs.result, ours.result, scene)
    // what nothing accounts for is asked again at the end, where it counts
    return excuse === null ? [] : [{ line: `runtimeToPermanent, then ${formatCall(question)}: firewalld ${told(theirs)}, derpanetd ${told(ours)}`, about: { kind: 'call', index }, excuse }]
  })
}

/** Asks for what the call would change all at once. */
function settingsOf([member, name]: Call): Call | null {
  if (member === 'setDefaultZone') return ['getDefaultZone']
  return member === 'zone.setZoneSettings2' ? ['zone.getZoneSettings2', name] : member === 'policy.setPolicySettings' ? ['policy.getPolicySettings', name] : null
}

/** What is a mistake on one side alone, by a deviation of its own, is the mistake that it is there. */
async function standing(pair: Pair, call: Call): Promise<readonly Result[]> {
  const [theirs, ours] = await both([pair.firewalld, pair.derpanetd], call)
  if (theirs.result === ours.result) return [theirs.result]
  const excuse = excuseForLine(pair.backend, lineOf(call, theirs, ours))
  return excuse !== null && excuse.mistakes !== true ? [theirs.result, ours.result] : []
}

function lineOf(call: Call, theirs: Answered, ours: Answered): string {
  return `call ${formatCall(call)}: firewalld ${told(theirs)}, derpanetd ${told(ours)}`
}

function told({ result, text }: Answered): string {
  return text === '' ? result : `${result} [${text.replaceAll('\n', ' ').slice(0, 400)}]`
}

/** Ranges of ports that packets are translated to. */
function translatedRanges(calls: readonly Call[]): readonly (readonly [number, number])[] {
  const text = calls.map((call) => JSON.stringify(call)).join('\n')
  const written = [/to-port=\\?"?(\d+)-(\d+)/g, /ForwardPort","[^"]*","[^"]*","\w+","(\d+)-(\d+)"/g, /\["[\d-]+","\w+","(\d+)-(\d+)","[^"]*"\]/g]
  return written.flatMap((pattern) => [...text.matchAll(pattern)].map(([, first, last]) => [Number(first), Number(last)] as const))
}

/** Of a range of ports to translate to, the kernel takes any. */
function isSame(theirs: string, ours: string, ranges: readonly (readonly [number, number])[]): boolean {
  if (theirs === ours) return true
  const [one, other] = [theirs, ours].map((text) => /^(accept \S+):(\d+)((?: mark .*)?)$/.exec(text))
  if (one == null || other == null || one[1] !== other[1] || one[3] !== other[3]) return false
  return ranges.some(([first, last]) => [one, other].every((match) => Number(match[2]) >= first && Number(match[2]) <= last))
}
