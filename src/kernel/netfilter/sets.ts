// Our kernel sets: loading new ones, editing live ones, reading their counters, destroying what nobody uses.
import { setTimeout as sleep } from 'node:timers/promises'
import { printable } from '../../errors.ts'
import { formatEdits, formatSet } from '../../compile/netfilter/ipset.ts'
import type { LiveEdit, SetLoad } from '../../diff/diff.ts'
import type { ObservedSet } from '../../diff/observed.ts'
import { portOwner } from '../../diff/sets.ts'
import { execOk } from '../exec.ts'
import type { Exec } from '../exec.ts'
import { Tally, tallyPorts } from './counters.ts'
import { describeFailure } from './failure.ts'
import type { EditLines } from './set-session.ts'
import { parsePortCounts, parseSets } from './observe.ts'
import type { Count } from './observe.ts'
import type { NetfilterState } from './state.ts'

/** A set of a million entries takes ipset some seconds. */
const loadTimeoutMs = 120_000
/** nf_tables lets go of the sets of a removed rule only after an RCU grace period. */
const destroyAttempts = 25
const destroyPauseMs = 10

export async function listSets(exec: Exec, state: NetfilterState): Promise<ReadonlyMap<string, ObservedSet>> {
  const { stdout } = await execOk(exec, { command: 'ipset', args: ['list', '-t'] })
  return parseSets(stdout, new Map([...state.sets].map(([name, { digest }]) => [name, digest])))
}

/** New sets, none of which is in use yet: a failure leaves none behind and says so. */
export async function loadSets(exec: Exec, state: NetfilterState, loads: readonly SetLoad[]): Promise<void> {
  if (loads.length === 0) return
  function* input(): Generator<string | Uint8Array> {
    for (const { name, set } of loads) yield* formatSet(name, set)
  }
  try {
    await execOk(exec, { command: 'ipset', args: ['restore'], input: input(), timeoutMs: loadTimeoutMs })
  } catch (error) {
    const left = await destroySets(exec, loads.map(({ name }) => name))
    const kept = left.length === 0 ? '' : `; could not be removed again: ${left.join(' ')}`
    throw new Error(`load sets ${rolesOf(loads)}: ${describeFailure(error, null)}${kept}`, { cause: error })
  }
  record(state, loads)
}

/** A few elements of sets in use. While it runs, and after a failure, their content counts as unknown. */
export async function editSets(
  exec: Exec, state: NetfilterState, edits: readonly LiveEdit[], writeState: () => Promise<void>, editLines: EditLines = restoreLines(exec),
): Promise<void> {
  const losing = edits.filter(({ before, set, add, remove, counted }) => counted && (remove.length > 0 || add.some((entry) => hadOwner(before.portRules, entry)))
    && set.portRules !== undefined)
  if (losing.length > 0) {
    const tally = new Tally(state.counted)
    const counts = await readPorts(exec, losing.map(({ name }) => name))
    for (const { name, before, set } of losing) {
      const owners = before.portRules ?? []
      tallyPorts(tally, counts.get(name) ?? new Map(), owners, (port) => portOwner(owners, port) !== portOwner(set.portRules ?? [], port))
    }
    state.counted = tally.byRule
  }
  for (const { name } of edits) state.sets.delete(name)
  await writeState()
  try {
    await editLines(formatEdits(edits))
  } catch (error) {
    throw new Error(`edit sets ${rolesOf(edits)}: ${describeFailure(error, formatEdits(edits))}`, { cause: error })
  }
  record(state, edits)
  await writeState()
}

function restoreLines(exec: Exec): EditLines {
  return async (lines) => void (await execOk(exec, { command: 'ipset', args: ['restore'], input: lines, timeoutMs: loadTimeoutMs }))
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
export async function readPorts(exec: Exec, names: readonly string[]): Promise<ReadonlyMap<string, ReadonlyMap<number, Count>>> {
  if (names.length === 0) return new Map()
  // one process for all; it goes on after a name that does not exist
  const { stdout } = await execOk(exec, { command: 'ipset', args: ['-'], input: names.map((name) => `list ${name}\n`).join('') })
  return parsePortCounts(stdout)
}

/** Returns those that are still in use after a while; they go with a later call. What does not exist counts as destroyed. */
export async function destroySets(exec: Exec, names: readonly string[]): Promise<readonly string[]> {
  let left = names
  for (let attempt = 0; left.length > 0 && attempt < destroyAttempts; attempt++) {
    if (attempt > 0) await sleep(destroyPauseMs)
    const still: string[] = []
    // `ipset restore` would stop at the first that is in use
    for (const name of left) {
      const { exitCode, stderr } = await exec({ command: 'ipset', args: ['destroy', name] })
      if (exitCode !== 0 && !/does not exist/.test(stderr)) still.push(name)
    }
    left = still
  }
  return left
}
