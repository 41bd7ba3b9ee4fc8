// Our kernel sets: which hold what by our own records, loading new ones, editing live ones, destroying what nobody uses.
import { setTimeout as sleep } from 'node:timers/promises'
import { printable } from '../../errors.ts'
import { setMarker } from '../../compile/netfilter/names.ts'
import type { LiveEdit, SetLoad } from '../../diff/diff.ts'
import type { ObservedSet } from '../../diff/observed.ts'
import { portOwner } from '../../diff/sets.ts'
import { Tally, tallyPorts } from './counters.ts'
import type { KernelSets } from './kernel-sets.ts'
import type { Count } from './observe.ts'
import type { NetfilterState } from './state.ts'

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
  const losing = edits.filter(({ before, set, add, remove, counted }) => counted && (remove.length > 0 || add.some((entry) => hadOwner(before.portRules, entry)))
    && set.portRules !== undefined)
  if (losing.length > 0) {
    const tally = new Tally(state.counted)
    const counts = await readPorts(kernel, losing.map(({ name }) => name))
    for (const { name, before, set } of losing) {
      const owners = before.portRules ?? []
      tallyPorts(tally, counts.get(name) ?? new Map(), owners, (port) => portOwner(owners, port) !== portOwner(set.portRules ?? [], port))
    }
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

function hadOwner(owners: LiveEdit['before']['portRules'], entry: string): boolean {
  const [first = 0, last = first] = entry.split('-').map(Number)
  return (owners ?? []).some((part) => part.first <= last && part.last >= first)
}

function record(state: NetfilterState, sets: readonly SetLoad[]): void {
  for (const { name, set } of sets) {
    state.sets.set(name, set.portRules === undefined ? { digest: set.digest } : { digest: set.digest, ports: set.portRules })
  }
}

function rolesOf(sets: readonly SetLoad[]): string {
  return printable(sets.map(({ set }) => set.role).join(' '))
}

/** Per-port counters of these sets. A set that is gone has none. */
export async function readPorts(kernel: KernelSets, names: readonly string[]): Promise<ReadonlyMap<string, ReadonlyMap<number, Count>>> {
  return new Map(await Promise.all(names.map(async (name) => [name, await kernel.portCounts(name)] as const)))
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
