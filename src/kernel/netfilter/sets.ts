// Our kernel sets: which hold what by our own records, loading new ones, editing live ones, destroying what nobody uses.
import { setTimeout as sleep } from 'node:timers/promises'
import { DerpanetError, printable } from '../../errors.ts'
import { setMarker, setName, slots } from '../../compile/netfilter/names.ts'
import type { Plan, PlanSet, TimedEdit } from '../../compile/plan.ts'
import type { LiveEdit, SetLoad } from '../../diff/diff.ts'
import type { ObservedSet } from '../../diff/observed.ts'
import { portOwner } from '../../diff/sets.ts'
import { Tally, ownerOf, tallyElements } from './counters.ts'
import type { OwnerOf } from './counters.ts'
import type { KernelSets } from './kernel-sets.ts'
import type { NetfilterState, SetRecord } from './state.ts'

/** nf_tables lets go of the sets of a removed rule only after an RCU grace period. */
const destroyAttempts = 25
const destroyPauseMs = 10

/** Ours alone. */
export async function listSets(kernel: KernelSets, state: NetfilterState): Promise<ReadonlyMap<string, ObservedSet>> {
  const own = (await kernel.list()).filter(({ name }) => name.startsWith(setMarker))
  return new Map(own.map((set) => [set.name, { ...set, digest: state.sets.get(set.name)?.digest ?? null }]))
}

/** New sets, none of which is in use yet: a failure leaves none behind and says so. */
export async function loadSets(kernel: KernelSets, state: NetfilterState, loads: readonly SetLoad[]): Promise<void> {
  try {
    for (const { name, set } of loads) await kernel.load(name, set)
  } catch (error) {
    const left = await destroySets(kernel, loads.map(({ name }) => name))
    const kept = left.length === 0 ? '' : `; could not be removed again: ${left.join(' ')}`
    throw new Error(`load sets ${rolesOf(loads)}: ${(error as Error).message}${kept}`, { cause: error })
  }
  record(state, loads)
}

/** A few elements of sets in use, additions first. After a failure their content counts as unknown. */
export async function editSets(kernel: KernelSets, state: NetfilterState, edits: readonly LiveEdit[]): Promise<void> {
  const losing = edits.flatMap((edit) => {
    const lost = lostElements(edit)
    return lost === null ? [] : [{ name: edit.name, lost }]
  })
  if (losing.length > 0) {
    const tally = new Tally(state.counted)
    for (const { name, lost } of losing) tallyElements(tally, await kernel.counts(name, lost), lost)
    state.counted = tally.byRule
  }
  for (const { name } of edits) state.sets.delete(name)
  try {
    // an element that moves between two sets is never in none
    await kernel.edit(edits.map(({ name, set, add, counted }) => ({ name, set, command: 'add', entries: add, reset: counted })))
    await kernel.edit(edits.map(({ name, set, remove }) => ({ name, set, command: 'del', entries: remove })))
  } catch (error) {
    throw new Error(`edit sets ${rolesOf(edits)}: ${(error as Error).message}`, { cause: error })
  }
  record(state, edits)
}

/** Entries of a set with a timeout. Its record stays: that says nothing of what is in it. */
export async function editTimedSet(kernel: KernelSets, plan: Plan, state: NetfilterState, { ipset, flush, add, remove }: TimedEdit): Promise<void> {
  const set = plan.sets.find(({ user }) => user?.name === ipset)
  const name = set === undefined ? undefined : slots.map((slot) => setName(set.role, slot)).find((one) => state.sets.get(one)?.digest === set.digest)
  if (set === undefined || name === undefined) throw new DerpanetError('COMMAND_FAILED', `ipset '${printable(ipset)}' is not in the kernel`)
  if (flush) await kernel.flush(name)
  await kernel.edit([{ name, set, command: 'add', entries: add }, { name, set, command: 'del', entries: remove }])
}

/** The owner of an element whose count ends with this edit; null when there is none. */
function lostElements({ before, add, remove, counted }: LiveEdit): OwnerOf | null {
  if (!counted) return null
  const { portRules, owners } = before
  if (portRules !== undefined) {
    const ranges = [...add, ...remove].map((entry): readonly [number, number] => {
      const [first = 0, last = first] = entry.split('-').map(Number)
      return [first, last]
    }).filter(([first, last]) => portRules.some((part) => part.first <= last && part.last >= first))
    if (ranges.length === 0) return null
    return (element) => {
      const port = Number(element)
      return ranges.some(([first, last]) => first <= port && port <= last) ? portOwner(portRules, port) ?? undefined : undefined
    }
  }
  const lost = new Map([...add, ...remove].flatMap((entry) => {
    const owner = owners?.get(entry)
    return owner === undefined ? [] : [[entry, owner] as const]
  }))
  return lost.size === 0 ? null : (element) => lost.get(element)
}

function record(state: NetfilterState, sets: readonly SetLoad[]): void {
  for (const { name, set } of sets) state.sets.set(name, setRecord(set))
}

/** What must be known of a set that holds this. */
export function setRecord({ digest, portRules, owners }: PlanSet): SetRecord {
  return { digest, ...(portRules === undefined ? {} : { ports: portRules }), ...(owners === undefined ? {} : { owners: [...owners] }) }
}

/** Adds what the elements of these sets have counted to their rules. A set that is gone has counted nothing. */
export async function tallySets(tally: Tally, kernel: KernelSets, state: NetfilterState, names: Iterable<string>): Promise<void> {
  for (const name of names) {
    const owner = ownerOf(state.sets.get(name) ?? {})
    if (owner !== null) tallyElements(tally, await kernel.counts(name, owner), owner)
  }
}

function rolesOf(sets: readonly SetLoad[]): string {
  return printable(sets.map(({ set }) => set.role).join(' '))
}

/** Returns those that are still in use after a while; they go with a later call. What does not exist counts as destroyed. */
export async function destroySets(kernel: KernelSets, names: readonly string[]): Promise<readonly string[]> {
  let left = names
  for (let attempt = 0; left.length > 0 && attempt < destroyAttempts; attempt++) {
    if (attempt > 0) await sleep(destroyPauseMs)
    left = await kernel.destroy(left)
  }
  return left
}
