// The ruleset as a Dataplane: brings the kernel's iptables tables and ipsets from whatever they hold of ours to a Plan.
//
// What it guarantees (docs/adr/0001):
// 1. New sets are loaded beside the old ones, a table changes in one transaction, what was replaced goes last. So a crash
//    between any two steps leaves the old or the new generation in force, never a mixture within a table.
// 2. What exists and is right is not touched: a restart of the daemon or a reload without changes writes nothing.
// 3. Nothing without our marker is read for its meaning, changed or removed.
// 4. apply() succeeds only after the kernel was read back and holds the plan; only edits of a few set elements are taken on
//    the word of ipset's exit status.
import { families } from '../../model/addr.ts'
import type { Family } from '../../model/addr.ts'
import type { Plan } from '../../compile/plan.ts'
import { tables } from '../../compile/netfilter/render.ts'
import { formatRestore } from '../../compile/netfilter/restore.ts'
import type { TableChange } from '../../compile/netfilter/restore.ts'
import { afterChanges, changesTables, diff, formatChangeSet, isEmptyChangeSet } from '../../diff/diff.ts'
import type { ChangeSet } from '../../diff/diff.ts'
import type { Observed } from '../../diff/observed.ts'
import { execOk } from '../exec.ts'
import type { Exec, OpenSession } from '../exec.ts'
import type { ApplyReport, Counters, Dataplane, DataplaneStatus } from '../dataplane.ts'
import { Tally, chainIds, chainKey, tallyChains, tallyPorts } from './counters.ts'
import { describeFailure } from './failure.ts'
import { chainsToBeCreated, removeCreated } from './foreign.ts'
import { mapFamilies, ownTables, parseSave } from './observe.ts'
import type { SavedFamily } from './observe.ts'
import { SetSession } from './set-session.ts'
import { destroySets, editSets, listSets, loadSets, readPorts } from './sets.ts'
import { emptyState, readState, removeState, writeState } from './state.ts'
import type { NetfilterState } from './state.ts'
import { explicitTools, findTools, linkedVariant, saveTables } from './tools.ts'
import type { Tools, Variant } from './tools.ts'

export type { Variant } from './tools.ts'

export interface NetfilterOptions {
  readonly exec: Exec
  /** For single edits of sets without starting a program each time; absent = one each. */
  readonly openSession?: OpenSession
  /** A directory of our own; created when missing. */
  readonly stateDir: string
  /** Absent = the variant that `iptables` is on this host. */
  readonly variant?: Variant
  /** One line per event: `netfilter committed`. */
  readonly log: (message: string, fields?: Readonly<Record<string, unknown>>) => void
}

export interface NetfilterDataplane extends Dataplane {
  /** Begins to look at tools and kernel while the caller does something else; the first apply() uses what was seen. */
  lookAhead(): void
}

export function createNetfilter(options: NetfilterOptions): NetfilterDataplane {
  return new Netfilter(options)
}

type SavedFamilies = Readonly<Record<Family, SavedFamily>>

interface Seen {
  readonly observed: Observed
  readonly saved: SavedFamilies
}

const commitTimeoutMs = 60_000
/** iptables waits that long for another program that holds its lock. */
const lockWaitSec = '5'

interface Opened {
  readonly tools: Tools
  readonly state: NetfilterState
}

class Netfilter implements NetfilterDataplane {
  readonly name = 'netfilter'
  private opened: Opened | null = null
  private opening: Promise<Opened> | null = null
  private ahead: Promise<Seen | null> | null = null
  /** What was applied last. */
  private plan: Plan | null = null
  /** What the kernel holds as far as we know; null = look before doing anything. */
  private known: Observed | null = null
  private problem: string | null = null

  private readonly setSession: SetSession | null

  constructor(private readonly options: NetfilterOptions) {
    this.setSession = options.openSession === undefined ? null : new SetSession(options.openSession)
  }

  async apply(plan: Plan, signal?: AbortSignal): Promise<ApplyReport> {
    const started = performance.now()
    try {
      const summary = await this.applyPlan(plan, signal)
      this.problem = null
      return { summary, elapsedMs: performance.now() - started }
    } catch (error) {
      this.known = null
      this.problem = (error as Error).message
      throw error
    }
  }

  async counters(): Promise<Counters> {
    const { tools, state } = await this.open()
    const tally = new Tally(state.counted)
    tallyChains(tally, await this.save(tools), state.chains)
    const counted = [...state.sets].flatMap(([name, { ports }]) => (ports === undefined ? [] : [{ name, ports }]))
    const counts = await readPorts(this.options.exec, counted.map(({ name }) => name))
    for (const { name, ports } of counted) tallyPorts(tally, counts.get(name) ?? new Map(), ports)
    return tally.byRule
  }

  async status(): Promise<DataplaneStatus> {
    const { tools, state } = await this.open()
    const details: { readonly subject: string; readonly text: string }[] = [{ subject: 'variant', text: tools.variant }]
    if (this.plan !== null) details.push({ subject: 'sets', text: String(state.sets.size) })
    if (this.problem !== null) details.push({ subject: 'last failure', text: this.problem })
    return { name: this.name, state: this.problem !== null ? 'degraded' : this.plan === null ? 'off' : 'ok', details }
  }

  /** Everything is tried; what failed is told at the end. */
  async purge(): Promise<void> {
    const { tools, state } = await this.open()
    this.setSession?.forget()
    this.known = null
    this.plan = null
    const failures: string[] = []
    const attempt = async (work: () => Promise<void>): Promise<void> => {
      try {
        await work()
      } catch (error) {
        failures.push((error as Error).message)
      }
    }
    await attempt(() => this.removeTables(tools, state))
    if (state.variant !== null && state.variant !== tools.variant) await attempt(() => this.removeTables(explicitTools(state.variant!), state))
    await attempt(async () => {
      const left = await destroySets(this.options.exec, [...(await listSets(this.options.exec, state)).keys()])
      if (left.length > 0) throw new Error(`sets still in use by others: ${left.join(' ')}`)
    })
    if (failures.length > 0) throw new Error(`purge netfilter: ${failures.join('; ')}`)
    await removeState(this.options.stateDir)
    this.opened = { tools, state: emptyState() }
    this.problem = null
    this.options.log('netfilter purged')
  }

  lookAhead(): void {
    // What fails here fails again, and is reported, when it is needed.
    this.ahead = this.open().then(({ tools, state }) => this.observe(tools, state)).catch(() => null)
  }

  private async open(): Promise<Opened> {
    if (this.opened !== null) return this.opened
    this.opening ??= this.find().finally(() => { this.opening = null })
    this.opened = await this.opening
    return this.opened
  }

  private async find(): Promise<Opened> {
    const [tools, { state, problem }] = await Promise.all([findTools(this.options.exec, this.options.variant, linkedVariant()), readState(this.options.stateDir)])
    if (problem !== null) this.options.log('netfilter state not used', { problem })
    return { tools, state }
  }

  private async applyPlan(plan: Plan, signal: AbortSignal | undefined): Promise<string> {
    const { tools, state } = await this.open()
    const before = this.plan
    if (this.known !== null && before !== null) {
      const quick = diff(plan, this.known, before)
      if (quick.edit.length > 0) return this.applyEdits(plan, quick, state)
    }
    const ahead = this.ahead
    this.ahead = null
    const seen = (await ahead) ?? await this.observe(tools, state)
    const changes = diff(plan, seen.observed, before)
    if (isEmptyChangeSet(changes) && state.variant === tools.variant) {
      this.plan = plan
      this.known = seen.observed
      return 'nothing to do'
    }
    signal?.throwIfAborted()
    try {
      await this.commit(plan, changes, seen)
    } catch (error) {
      const outcome = await this.goBack(before, seen)
      throw new Error(`commit netfilter: ${(error as Error).message}; ${outcome}`, { cause: error })
    }
    return summaryOf(changes)
  }

  /** The short way: nothing changes but a few elements of sets that we know. */
  private async applyEdits(plan: Plan, changes: ChangeSet, state: NetfilterState): Promise<string> {
    const known = this.known!
    this.known = null
    const session = this.setSession
    await editSets(this.options.exec, state, changes.edit, () => writeState(this.options.stateDir, state), session === null ? undefined : (lines) => session.edit(lines))
    this.plan = plan
    this.known = afterChanges(known, changes)
    return summaryOf(changes)
  }

  /** Sets first, then each family's tables in one call, then what is not needed any more. */
  private async commit(plan: Plan, changes: ChangeSet, seen: Seen): Promise<void> {
    const { exec, stateDir } = this.options
    const { tools, state } = await this.open()
    if (changes.load.length > 0 || changes.destroy.length > 0) this.setSession?.forget()
    if (changes.edit.length > 0) await editSets(exec, state, changes.edit, () => writeState(stateDir, state))
    await loadSets(exec, state, changes.load)

    // what the next start must know is on disk before the kernel changes: old and new chains side by side
    const ids = chainIds(changes.rendered)
    for (const [key, owners] of ids) state.chains.set(key, owners)
    if (tools.variant === 'nft') for (const entry of await chainsToBeCreated(exec, changes.tables)) state.created.add(entry)
    await writeState(stateDir, state)

    const tally = new Tally(state.counted)
    tallyChains(tally, seen.saved, state.chains, goneChains(changes))
    const counted = changes.destroy.flatMap((name) => (state.sets.get(name)?.ports === undefined ? [] : [name]))
    const counts = await readPorts(exec, counted)
    for (const name of counted) tallyPorts(tally, counts.get(name) ?? new Map(), state.sets.get(name)!.ports!)

    const restored = await Promise.allSettled(families.map((family) => this.restore(tools, family, changes.tables[family])))
    for (const one of restored) if (one.status === 'rejected') throw one.reason

    const former = state.variant
    state.variant = tools.variant
    state.counted = tally.byRule
    state.chains = ids
    for (const name of changes.destroy) state.sets.delete(name)
    await writeState(stateDir, state)
    if (former !== null && former !== tools.variant) await this.removeTables(explicitTools(former), state)

    const left = await destroySets(exec, changes.destroy)
    if (left.length > 0) this.options.log('netfilter sets not destroyed yet', { sets: left })
    await this.verify(plan, changes, seen, left)
    this.options.log('netfilter committed', { changes: formatChangeSet(changes).trimEnd().split('\n').slice(0, 60) })
  }

  private async restore(tools: Tools, family: Family, changes: readonly TableChange[]): Promise<void> {
    const input = formatRestore(changes)
    if (input === '') return
    const request = { command: tools.restore[family], args: ['--noflush', '-w', lockWaitSec], input, timeoutMs: commitTimeoutMs }
    try {
      await execOk(this.options.exec, request)
    } catch (error) {
      throw new Error(describeFailure(error, input), { cause: error })
    }
  }

  /** Exit status 0 is what a tool says; what the kernel holds is what counts. Only tables that were written are read again. */
  private async verify(plan: Plan, changes: ChangeSet, seen: Seen, left: readonly string[]): Promise<void> {
    const { tools, state } = await this.open()
    const written = mapFamilies((family) => changes.tables[family].map(({ table }) => table))
    const [texts, sets] = await Promise.all([saveTables(this.options.exec, tools, written), listSets(this.options.exec, state)])
    const observed: Observed = {
      sets: new Map([...sets].filter(([name]) => !left.includes(name))),
      families: mapFamilies((family) => new Map([...seen.observed.families[family], ...ownTables(parseSave(texts[family]))])),
    }
    const rest = diff(plan, observed, null)
    if (rest.load.length > 0 || changesTables(rest)) {
      throw new Error(`the kernel does not hold what was written: ${formatChangeSet(rest).split('\n').slice(0, 3).join('; ')}`)
    }
    this.plan = plan
    this.known = observed
  }

  /** After a failed commit. Returns what is in force now, for the error's text. */
  private async goBack(before: Plan | null, seen: Seen): Promise<string> {
    const { tools, state } = await this.open()
    this.known = null
    try {
      if (before !== null) {
        const now = await this.observe(tools, state)
        await this.commit(before, diff(before, now.observed, null), now)
        return 'the former ruleset is in force'
      }
      if (hasNothing(seen.observed)) {
        await this.removeTables(tools, state)
        await destroySets(this.options.exec, [...(await listSets(this.options.exec, state)).keys()])
        return 'nothing of ours is left in the kernel'
      }
      return 'part of it may be in force: the ruleset found at start is not known well enough to be restored'
    } catch (error) {
      this.known = null
      return `and going back failed too: ${(error as Error).message}`
    }
  }

  private async observe(tools: Tools, state: NetfilterState): Promise<Seen> {
    const [saved, sets] = await Promise.all([this.save(tools), listSets(this.options.exec, state)])
    return { saved, observed: { sets, families: mapFamilies((family) => ownTables(saved[family])) } }
  }

  private async save(tools: Tools): Promise<SavedFamilies> {
    const texts = await saveTables(this.options.exec, tools)
    return mapFamilies((family) => parseSave(texts[family]))
  }

  /** Takes everything of ours out of all tables; who sets marks goes before who answers them. */
  private async removeTables(tools: Tools, state: NetfilterState): Promise<void> {
    const saved = await this.save(tools)
    for (const family of families) {
      const changes = [...tables].reverse().flatMap((table): TableChange[] => {
        const present = saved[family].get(table)
        if (present === undefined) return []
        return [{ table, chains: [], entries: [], dropJumps: present.jumps, addJumps: [], removeChains: [...present.chains.keys()] }]
      })
      await this.restore(tools, family, changes)
    }
    if (tools.variant === 'nft') {
      await removeCreated(this.options.exec, tools, state.created, await this.save(tools))
      state.created.clear()
    }
  }
}

function hasNothing({ sets, families: own }: Observed): boolean {
  return sets.size === 0 && families.every((family) => [...own[family].values()].every(({ chains }) => chains.size === 0))
}

function goneChains({ tables: changes }: ChangeSet): ReadonlySet<string> {
  return new Set(families.flatMap((family) => changes[family].flatMap(({ table, chains, removeChains }) => [
    ...removeChains.map((name) => chainKey(family, table, name)),
    // rewritten because somebody else had: its counters start anew
    ...chains.map(({ name }) => chainKey(family, table, name)),
  ])))
}

function summaryOf({ load, edit, destroy, tables: changes }: ChangeSet): string {
  const all = families.flatMap((family) => changes[family])
  const written = all.reduce((sum, { chains, entries }) => sum + chains.length + entries.length, 0)
  const removed = all.reduce((sum, { removeChains }) => sum + removeChains.length, 0)
  return `sets: ${load.length} loaded, ${edit.length} edited, ${destroy.length} destroyed; chains: ${written} written, ${removed} removed`
}
