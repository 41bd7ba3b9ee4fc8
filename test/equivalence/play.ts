// Plays one sequence on both sides and says where they differ. What the written list of deviations excuses is counted, not told.
import { readFileSync } from 'node:fs'
import { describePacket, type PacketCase } from '../support/random-packets.ts'
import { formatCall, type Answered, type Call } from './calls.ts'
import type { Sequence } from './random-calls.ts'
import { openSide, type Backend, type Side } from './sides.ts'

/** One known difference. All patterns are regular expressions. */
export interface Deviation {
  readonly name: string
  readonly reason: string
  /** Where it is written down: a statement of firewalld's semantics, an upstream issue, a decision record. */
  readonly source: string
  /** The whole line of a difference, as {@link Difference.line}. */
  readonly line?: string
  /** Instead of a line: what one side spells otherwise, in answers about state; replaced on both sides before they are compared. */
  readonly respell?: readonly [pattern: string, by: string]
  /** Each must fit one of the sequence's commands, written as JSON; absent = whatever they are. */
  readonly after?: readonly string[]
  /** Commands that show it on their own; played to see that it still is so. */
  readonly example: readonly Call[]
}

export const deviations = JSON.parse(readFileSync(new URL('deviations.json', import.meta.url), 'utf8')) as readonly Deviation[]

export interface Difference {
  /** `call zone.addPort("public", …): firewalld X, derpanetd Y`, `state …` or `packet …`, the same way. */
  readonly line: string
  readonly about: { readonly kind: 'call'; readonly index: number } | { readonly kind: 'state' } | { readonly kind: 'packet'; readonly one: PacketCase }
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
  await Promise.all(sides.map(async (side) => { for (const call of calls) await side.call(call) }))
  const now = await Promise.all(sides.map(stateOf))
  const good = now.map((state, index) => state === installed.get(pair)?.[index])
  await Promise.all(sides.map(async (side, index) => { if (good[index] === false) await side.renew() }))
  return good.every(Boolean)
}

export interface Played {
  readonly differences: readonly Difference[]
  readonly results: readonly Answered[]
  readonly verdicts: ReadonlyMap<number, string>
}

/** The calls of a sequence but for `skipped`, then questions and packets. Does not reset. */
export async function play(pair: Pair, sequence: Sequence, cases: readonly PacketCase[], skipped: ReadonlySet<number> = new Set()): Promise<Played> {
  const sides = [pair.firewalld, pair.derpanetd] as const
  const text = sequence.calls.filter((_, index) => !skipped.has(index)).map((call) => JSON.stringify(call)).join('\n')
  const differences: Difference[] = []
  const results: Answered[] = []
  const add = (line: string, about: Difference['about']): void => { differences.push({ line, about, excuse: excuseFor(line, text) }) }
  for (const [index, call] of sequence.calls.entries()) {
    if (skipped.has(index)) continue
    const [theirs, ours] = await both(sides, call)
    results.push(theirs)
    if (theirs.result !== ours.result) add(`call ${formatCall(call)}: firewalld ${told(theirs)}, derpanetd ${told(ours)}`, { kind: 'call', index })
  }
  // questions change nothing: all at once
  for (const [call, [theirs, ours]] of await Promise.all(sequence.questions.map(async (call) => [call, await both(sides, call)] as const))) {
    if (theirs.result === ours.result) continue
    const line = `state ${formatCall(call)}: firewalld ${told(theirs)}, derpanetd ${told(ours)}`
    const excuse = respelled(theirs.result, ours.result)
    if (excuse === null) add(line, { kind: 'state' })
    else differences.push({ line, about: { kind: 'state' }, excuse })
  }
  const ranges = [...text.matchAll(/"(\d+)-(\d+)"/g)].map(([, first, last]) => [Number(first), Number(last)] as const)
  const differing = ([theirs, ours]: readonly ReadonlyMap<number, string>[]): PacketCase[] =>
    cases.filter(({ marker }) => !isSame(theirs?.get(marker) ?? '', ours?.get(marker) ?? '', ranges))
  let seen = await Promise.all(sides.map(({ observatory }) => observatory.observe(cases, 25)))
  // a busy machine may be late once
  if (differing(seen).length > 0) seen = await Promise.all(sides.map(({ observatory }) => observatory.observe(cases, 400)))
  for (const one of differing(seen)) add(`packet ${describePacket(one)}: firewalld ${seen[0]?.get(one.marker)}, derpanetd ${seen[1]?.get(one.marker)}`, { kind: 'packet', one })
  return { differences, results, verdicts: seen[0] as ReadonlyMap<number, string> }
}

async function both([firewalld, derpanetd]: readonly [Side, Side], call: Call): Promise<readonly [Answered, Answered]> {
  return await Promise.all([firewalld.call(call), derpanetd.call(call)])
}

function told({ result, text }: Answered): string {
  return text === '' ? result : `${result} [${text.replaceAll('\n', ' ').slice(0, 160)}]`
}

/** Of a range of ports to translate to, the kernel takes any. */
function isSame(theirs: string, ours: string, ranges: readonly (readonly [number, number])[]): boolean {
  if (theirs === ours) return true
  const [one, other] = [theirs, ours].map((text) => /^(accept \S+):(\d+)((?: mark .*)?)$/.exec(text))
  if (one == null || other == null || one[1] !== other[1] || one[3] !== other[3]) return false
  return ranges.some(([first, last]) => [one, other].every((match) => Number(match[2]) >= first && Number(match[2]) <= last))
}

/** The deviation that makes both the same text; null = none does. */
function respelled(theirs: string, ours: string): Deviation | null {
  let last: Deviation | null = null
  let [one, other] = [theirs, ours]
  for (const deviation of deviations) {
    if (deviation.respell === undefined) continue
    const [pattern, by] = deviation.respell
    const next = [one, other].map((text) => text.replace(new RegExp(pattern, 'g'), by)) as [string, string]
    if (next[0] !== one || next[1] !== other) last = deviation
    ;[one, other] = next
    if (one === other) return last
  }
  return null
}

export function excuseFor(line: string, calls: string): Deviation | null {
  return deviations.find((one) => one.line !== undefined && new RegExp(one.line).test(line) && (one.after ?? []).every((pattern) => new RegExp(pattern).test(calls))) ?? null
}
