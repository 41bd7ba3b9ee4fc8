// The ruleset as a Dataplane: brings the kernel's iptables tables and ipsets from whatever they hold of ours to a Plan.
//
// What it guarantees (docs/adr/0001):
// 1. New sets are loaded beside the old ones, a table changes in one transaction, what was replaced goes last. So a crash
//    between any two steps leaves the old or the new generation in force, never a mixture within a table.
// 2. What exists and is right is not touched: a restart of the daemon or a reload without changes writes nothing.
// 3. Nothing without our marker is read for its meaning, changed or removed.
// 4. apply() succeeds only after the kernel was read back and holds the plan. A single change is answered on the kernel's (for
//    set elements) or the tool's word; settle() reads it back.
// 5. What is known of the kernel is used again as long as nobody changed it: nf_tables counts its commits. A single change
//    looks only at the tables that it writes.
// 6. The state file may be older than the kernel at any moment (see DirtyNames): dying between two steps costs a set loaded
//    anew, and never makes a set pass for what it is not.
import { families } from '../../model/addr.ts'
import type { Family } from '../../model/addr.ts'
import { isTimed } from '../../model/ipset.ts'
import type { Plan, TimedEdit } from '../../compile/plan.ts'
import { tables } from '../../compile/netfilter/render.ts'
import { formatRestore } from '../../compile/netfilter/restore.ts'
import type { TableChange } from '../../compile/netfilter/restore.ts'
import { afterChanges, afterEdits, changesTables, diff, formatChangeSet, isEmptyChangeSet, liveEdits } from '../../diff/diff.ts'
import type { ChangeSet, LiveEdit } from '../../diff/diff.ts'
import type { Observed, ObservedSet } from '../../diff/observed.ts'
import { execOk } from '../exec.ts'
import type { Exec } from '../exec.ts'
import type { ApplyReport, Counters, Dataplane, DataplaneStatus, Drift } from '../dataplane.ts'
import { Tally, chainIds, chainKey, tallyChains } from './counters.ts'
import { changedSets, countsOf, linesOf, touchedChains, wrongLines } from './drift.ts'
import type { Baseline, SetCounts } from './drift.ts'
import { describeFailure } from './failure.ts'
import { Helpers } from './helpers.ts'
import { chainsToBeCreated, removeCreated } from './foreign.ts'
import { readGeneration } from './generation.ts'
import { KernelSets } from './kernel-sets.ts'
import type { ReadTableInfo } from './legacy-look.ts'
import { Nfnetlink } from './nfnetlink.ts'
import type { RawSocket } from './nfnetlink.ts'
import { listenToCommits, readSigns } from './nft-look.ts'
import type { Commit } from './nft-look.ts'
import { mapFamilies, ownTables, parseSave } from './observe.ts'
import type { SavedFamily } from './observe.ts'
import { SetTypes } from './set-types.ts'
import { destroySets, editSets, editTimedSet, listSets, loadSets, tallySets } from './sets.ts'
import { DirtyNames, emptyState, readState, removeState, writeState } from './state.ts'
import type { NetfilterState } from './state.ts'
import { explicitTools, findTools, hostHasIpv6, linkedVariant, saveTables, withoutMissingFamily } from './tools.ts'
import type { Tools, Variant } from './tools.ts'

export type { Variant } from './tools.ts'

export interface NetfilterOptions {
  /** Makes the kernel forward packets of these families; returns those in which it did not before. Absent = not our business. */
  readonly enableForwarding?: (families: readonly Family[]) => Promise<readonly Family[]>
  readonly exec: Exec
  /** Makes a netlink socket in the network namespace whose rules these are: where `exec` runs its tools. */
  readonly openSocket: () => RawSocket
  /** A directory of our own; created when missing. */
  readonly stateDir: string
  /** Absent = the variant that `iptables` is on this host. */
  readonly variant?: Variant
  /** Looks at tables of the legacy variant, where `exec` runs its tools. Absent = all rules are read every time. */
  readonly tableInfo?: ReadTableInfo
  /** Does the kernel speak IPv6? Absent = ask this one. */
  readonly hasIpv6?: () => boolean
  /** One line per event: `netfilter committed`. */
  readonly log: (message: string, fields?: Readonly<Record<string, unknown>>) => void
  /** The same for what a person should know. */
  readonly warn?: (message: string, fields?: Readonly<Record<string, unknown>>) => void
}

export interface NetfilterDataplane extends Dataplane {
  settle(): Promise<void>
  drift(): Promise<Drift>
  /** Calls back when somebody commits to nf_tables, us included: then drift() is worth a look at once. Returns the stopper. */
  onCommit(listener: () => void): () => void
  /** The plan as it is enforced: what this kernel's sets cannot hold is rules. By what is known so far. */
  asEnforced(plan: Plan): Plan
  /** Text that changes when somebody changes rules of these tables; null = nobody can tell. */
  sign(tables: readonly (readonly [Family, string])[]): Promise<string | null>
  /** Begins to look at tools and kernel while the caller does something else; the first apply() uses what was seen. */
  lookAhead(): void
}

export function createNetfilter(options: NetfilterOptions): NetfilterDataplane {
  return new Netfilter(options)
}

type SavedFamilies = Readonly<Record<Family, SavedFamily>>

interface Seen {
  readonly observed: Observed
  /** Of the tables that were read just now. */
  readonly saved: SavedFamilies
  /** nf_tables' count of commits before that was read; null with the legacy variant. */
  readonly generation: number | null
}

/** What the kernel holds as far as we know. */
interface Known {
  readonly observed: Observed
  /** nf_tables' count when `families` of it was true; null = not known, somebody may have changed something since. */
  readonly generation: number | null
}

type TableNames = Readonly<Record<Family, readonly string[]>>

const commitTimeoutMs = 60_000
/** The legacy tables do not show a rule that was replaced by one of the same size. */
const readEveryMs = 60_000
/** iptables waits that long for another program that holds its lock. */
const lockWaitSec = '30'

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
  /** null = look before doing anything. */
  private known: Known | null = null
  /** Tables that single changes wrote and nobody has read back yet; null = nothing to settle. */
  private unsettled: TableNames | null = null
  private problem: string | null = null
  /** What drift() compares with; null = take it anew. */
  private baseline: Baseline | null = null
  private counted: SetCounts | null = null
  /** When all rules were read for it last. */
  private readAtMs = 0
  /** nf_tables' count when rules were compared last. */
  private compared: number | null = null
  /** Chains that somebody touched, `ipv4/mangle/DERPA_…`: they count as gone until they are written again. */
  private touched: ReadonlySet<string> = new Set()
  /** The last commit that was not ours, and up to which count all were. */
  private stranger: Commit | null = null
  private ownUpTo = 0
  /** Why the state file could not be written. */
  private unkept: string | null = null
  private readonly netlink: Nfnetlink
  private readonly kernel: KernelSets
  private readonly dirty: DirtyNames

  private readonly helpers: Helpers
  private readonly setTypes: SetTypes

  constructor(private readonly options: NetfilterOptions) {
    this.helpers = new Helpers(options.exec, options.log)
    this.netlink = new Nfnetlink(options.openSocket)
    this.kernel = new KernelSets(this.netlink)
    this.setTypes = new SetTypes(this.kernel, options.log)
    this.dirty = new DirtyNames(options.stateDir)
  }

  async apply(plan: Plan, signal?: AbortSignal, single = false): Promise<ApplyReport> {
    const started = performance.now()
    this.counted = null
    try {
      const summary = await this.applyPlan(await this.setTypes.possible(await this.helpers.possible(plan, (await this.open()).tools)), signal, single)
      await this.forward(plan)
      this.problem = null
      return { summary, elapsedMs: performance.now() - started }
    } catch (error) {
      this.known = null
      this.problem = (error as Error).message
      throw error
    }
  }

  async editTimed(edit: TimedEdit): Promise<void> {
    const { plan } = this
    if (plan === null) throw new Error('no ruleset is in force')
    this.setTypes.requireHeld(edit.ipset)
    await editTimedSet(this.kernel, plan, (await this.open()).state, edit)
  }

  async settle(): Promise<void> {
    const { known, plan } = this
    if (this.unsettled === null || known === null || plan === null) return
    const { tools, state } = await this.open()
    const written = this.unsettled
    this.unsettled = null
    try {
      await this.verify(plan, known, written, tools, state)
    } catch (error) {
      this.known = null
      this.problem = (error as Error).message
      throw error
    }
    await this.writeState(state)
  }

  async drift(): Promise<Drift> {
    const { plan, known } = this
    // what single changes left is settled first; what failed is repaired anyway
    if (plan === null || known === null || this.unsettled !== null) return { lines: [], by: null }
    const { tools, state } = await this.open()
    const sets = await this.driftedSets(plan, known, state)
    const rules = await this.driftedRules(plan, known, tools, state)
    const lines = [...sets, ...rules]
    if (lines.length === 0) return { lines, by: null }
    this.known = null
    this.baseline = null
    const { stranger } = this
    return { lines, by: rules.length === 0 || stranger === null ? null : `${stranger.name} (pid ${stranger.pid})` }
  }

  private async driftedSets(plan: Plan, known: Known, state: NetfilterState): Promise<readonly string[]> {
    const wanted = new Map(plan.sets.map((set) => [set.digest, set]))
    const used = new Map([...state.sets].flatMap(([name, { digest }]) => (wanted.has(digest) ? [[name, wanted.get(digest)!] as const] : [])))
    const now = countsOf([...(await listSets(this.kernel, state)).values()].filter(({ name }) => used.has(name)))
    // elements of a set with a time to live go by themselves
    const expires = (name: string): boolean => used.get(name)?.expiresAtMs !== undefined || isTimed(used.get(name)?.user?.options ?? {})
    const before = this.counted ?? countsOf([...known.observed.sets.values()].filter(({ name }) => used.has(name) && used.get(name)!.kind !== 'user'))
    const changed = changedSets(before, now, expires)
    this.counted = changed.length > 0 ? null : now
    // their records would make them pass for whole
    for (const { name } of changed) state.sets.delete(name)
    return changed.map(({ text }) => text)
  }

  private async driftedRules(plan: Plan, known: Known, tools: Tools, state: NetfilterState): Promise<readonly string[]> {
    const generation = await this.generation(tools)
    if (generation !== null && generation === this.compared) return []
    const { rendered } = changesFor(tools, plan, known.observed, plan)
    const signs = await this.signs(tools, rendered)
    if (this.baseline === null && generation !== null && generation === known.generation) {
      // nobody but us has committed anything since it was read back
      this.baseline = { signs, lines: new Map() }
      this.compared = generation
      return []
    }
    const isDue = tools.variant === 'legacy' && performance.now() - this.readAtMs > readEveryMs
    if (this.baseline !== null && signs.size > 0 && isSame(this.baseline.signs, signs) && !isDue) {
      this.compared = generation
      return []
    }
    this.readAtMs = performance.now()
    const seen = await this.observeAll(tools, state)
    const lines = linesOf(seen.observed)
    this.touched = this.baseline === null ? new Set() : touchedChains(this.baseline, tools.variant === 'nft' ? signs : new Map(this.baseline.signs), lines)
    const observed = withoutChains(seen.observed, this.touched)
    const changes = changesFor(tools, plan, observed, plan)
    // sets have been looked at on their own
    const wrong = wrongLines({ ...changes, load: [] }, seen.observed)
    if (wrong.length > 0) return wrong
    // somebody may have come between the signs and the rules
    if (generation === null || seen.generation === generation) {
      this.baseline = { signs, lines: tools.variant === 'nft' ? new Map() : lines }
      this.compared = generation
      this.known = { observed: { ...known.observed, families: seen.observed.families }, generation: seen.generation }
    }
    return []
  }

  /** No sign at all: then everything is read. */
  private async signs(tools: Tools, rendered: ChangeSet['rendered']): Promise<ReadonlyMap<string, string>> {
    if (tools.variant === 'nft') return readSigns(this.netlink, tools.ipv6 ? rendered : { ...rendered, ipv6: [] })
    const { tableInfo } = this.options
    if (tableInfo === undefined) return new Map()
    const asked = families.filter((family) => family === 'ipv4' || tools.ipv6)
      .flatMap((family) => rendered[family].filter(({ jumps }) => jumps.length > 0).map(({ table }) => [family, table] as const))
    const found = asked.map(([family, table]) => [`${family}/${table}`, tableInfo(family, table)] as const)
    return found.some(([, text]) => text === null) ? new Map() : new Map(found as [string, string][])
  }

  async sign(tables: readonly (readonly [Family, string])[]): Promise<string | null> {
    const { tools } = await this.open()
    if (tools.variant === 'nft') return String(await this.generation(tools))
    const { tableInfo } = this.options
    const infos = tableInfo === undefined ? [null] : tables.map(([family, table]) => tableInfo(family, table))
    return infos.includes(null) ? null : infos.join(' ')
  }

  onCommit(listener: () => void): () => void {
    return listenToCommits(this.options.openSocket(), (commit) => {
      if (commit.generation > this.ownUpTo) this.stranger = commit
      listener()
    })
  }

  async counters(): Promise<Counters> {
    const { tools, state } = await this.open()
    const tally = new Tally(state.counted)
    tallyChains(tally, await this.save(tools), state.chains)
    await tallySets(tally, this.kernel, state, state.sets.keys())
    return tally.byRule
  }

  async status(): Promise<DataplaneStatus> {
    const { tools, state } = await this.open()
    const details: { readonly subject: string; readonly text: string }[] = [{ subject: 'variant', text: tools.variant }]
    if (!tools.ipv6) details.push({ subject: 'IPv6', text: 'not filtered: this kernel has none' })
    if (this.plan !== null) details.push({ subject: 'sets', text: String(state.sets.size) })
    if (this.unkept !== null) details.push({ subject: 'state file', text: `cannot be written: ${this.unkept}` })
    for (const name of this.helpers.missing()) details.push({ subject: `helper ${name}`, text: 'not in this kernel' })
    for (const type of this.setTypes.missing()) details.push({ subject: `sets of type ${type}`, text: 'not in this kernel: their entries are rules, and none can come with a timeout' })
    if (this.problem !== null) details.push({ subject: 'last failure', text: this.problem })
    return { name: this.name, state: this.problem !== null ? 'degraded' : this.plan === null ? 'off' : 'ok', details }
  }

  /** Everything is tried; what failed is told at the end. */
  async purge(): Promise<void> {
    const { tools, state } = await this.open()
    this.known = null
    this.plan = null
    this.unsettled = null
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
      const left = await destroySets(this.kernel, [...(await listSets(this.kernel, state)).keys()])
      if (left.length > 0) throw new Error(`sets still in use by others: ${left.join(' ')}`)
    })
    if (failures.length > 0) throw new Error(`purge netfilter: ${failures.join('; ')}`)
    this.dirty.close()
    await removeState(this.options.stateDir)
    this.opened = { tools, state: emptyState() }
    this.problem = null
    this.options.log('netfilter purged')
  }

  asEnforced(plan: Plan): Plan {
    return this.setTypes.known(plan)
  }

  lookAhead(): void {
    // What fails here fails again, and is reported, when it is needed.
    this.ahead = this.open().then(({ tools, state }) => this.observeAll(tools, state)).catch(() => null)
  }

  private async open(): Promise<Opened> {
    if (this.opened !== null) return this.opened
    this.opening ??= this.find().finally(() => { this.opening = null })
    this.opened = await this.opening
    return this.opened
  }

  private async find(): Promise<Opened> {
    const [found, { state, problem }] = await Promise.all([findTools(this.options.exec, this.options.variant, linkedVariant()), readState(this.options.stateDir)])
    const tools = await withoutMissingFamily(this.options.exec, found, this.options.hasIpv6 ?? hostHasIpv6)
    if (!tools.ipv6) this.options.warn?.('this kernel has no IPv6: only IPv4 is filtered')
    if (problem !== null) this.options.log('netfilter state not used', { problem })
    return { tools, state }
  }

  private async applyPlan(plan: Plan, signal: AbortSignal | undefined, single: boolean): Promise<string> {
    const { tools, state } = await this.open()
    const before = this.plan
    if (single && this.known !== null && before !== null) {
      const edits = liveEdits(plan, this.known.observed, before)
      if (edits !== null) return this.applyEdits(plan, edits, this.known, state)
    }
    const ahead = this.ahead
    this.ahead = null
    const seen = (await ahead) ?? await this.look(plan, single, tools, state)
    const changes = changesFor(tools, plan, seen.observed, before)
    if (isEmptyChangeSet(changes) && state.variant === tools.variant) {
      this.plan = plan
      this.known = { observed: seen.observed, generation: seen.generation }
      return 'nothing to do'
    }
    signal?.throwIfAborted()
    try {
      await this.commit(plan, changes, seen, single && state.variant === tools.variant)
    } catch (error) {
      const outcome = await this.goBack(before, seen)
      throw new Error(`commit netfilter: ${(error as Error).message}; ${outcome}`, { cause: error })
    }
    return summaryOf(changes)
  }

  /** Only when the rules that judge forwarded packets are in force. */
  private async forward({ forwarding = [] }: Plan): Promise<void> {
    if (forwarding.length === 0 || this.options.enableForwarding === undefined) return
    const changed = await this.options.enableForwarding(forwarding)
    if (changed.length > 0) this.options.log('forwarding switched on', { families: changed })
  }

  /** The short way: nothing changes but a few elements of sets that we know. */
  private async applyEdits(plan: Plan, edits: readonly LiveEdit[], known: Known, state: NetfilterState): Promise<string> {
    if (edits.length > 0) {
      this.known = null
      await this.addDirty(edits.map(({ name }) => name))
      await editSets(this.kernel, state, edits)
      this.unsettled ??= { ipv4: [], ipv6: [] }
    }
    this.plan = plan
    this.known = { ...known, observed: afterEdits(known.observed, edits) }
    return edits.length === 0 ? 'nothing to do' : `sets: ${edits.length} edited`
  }

  /** Sets first, then both families' tables, each in one call, then what is not needed any more. */
  private async commit(plan: Plan, changes: ChangeSet, seen: Seen, single: boolean): Promise<void> {
    const { exec } = this.options
    const { tools, state } = await this.open()
    await this.addDirty([...changes.edit.map(({ name }) => name), ...changes.load.map(({ name }) => name), ...changes.destroy])
    if (changes.edit.length > 0) await editSets(this.kernel, state, changes.edit)
    await loadSets(this.kernel, state, changes.load)

    // what the next start must know is on disk before the kernel changes: old and new chains side by side
    const ids = chainIds(changes.rendered)
    for (const [key, owners] of ids) state.chains.set(key, owners)
    const created = tools.variant === 'nft' ? (await chainsToBeCreated(exec, changes.tables)).filter((entry) => !state.created.has(entry)) : []
    for (const entry of created) state.created.add(entry)
    if (!single || created.length > 0) await this.keepState(state)

    const tally = new Tally(state.counted)
    tallyChains(tally, seen.saved, state.chains, goneChains(changes))
    await tallySets(tally, this.kernel, state, changes.destroy)

    const generation = await this.restoreAll(tools, changes, seen.generation)

    const former = state.variant
    state.variant = tools.variant
    state.counted = tally.byRule
    state.chains = ids
    for (const name of changes.destroy) state.sets.delete(name)
    if (former !== null && former !== tools.variant) {
      await this.keepState(state)
      await this.removeTables(explicitTools(former), state)
    }

    const left = await destroySets(this.kernel, changes.destroy)
    if (left.length > 0) this.options.log('netfilter sets not destroyed yet', { sets: left })
    const observed = afterChanges(seen.observed, changes)
    const known: Known = { generation, observed: left.length === 0 ? observed : { ...observed, sets: new Map([...observed.sets, ...lagging(seen.observed, left)]) } }
    const written = mapFamilies((family) => changes.tables[family].map(({ table }) => table))
    if (single) this.leave(written)
    else {
      await this.verify(plan, known, written, tools, state)
      await this.writeState(state)
    }
    this.plan = plan
    this.known = known
    this.baseline = null
    this.touched = new Set()
    this.options.log('netfilter committed', { changes: formatChangeSet(changes).trimEnd().split('\n').slice(0, 60) })
  }

  /** Returns nf_tables' count of commits if it is certain that all since `before` were ours. */
  private async restoreAll(tools: Tools, { tables: changes }: ChangeSet, before: number | null): Promise<number | null> {
    const now = await this.generation(tools)
    const restored = await Promise.allSettled(families.map((family) => this.restore(tools, family, changes[family])))
    for (const one of restored) if (one.status === 'rejected') throw one.reason
    const after = await this.generation(tools)
    const own = families.reduce((sum, family) => sum + changes[family].length, 0)
    if (now !== null && after === now + own) this.ownUpTo = after
    return before !== null && now === before && after === before + own ? after : null
  }

  private leave(written: TableNames): void {
    const before = this.unsettled
    this.unsettled = mapFamilies((family) => [...new Set([...(before?.[family] ?? []), ...written[family]])])
  }

  /**
   * A full disk must not keep panic mode, or any rule, out of the kernel. Without the file the next start takes all sets as
   * unknown and loads them anew, which is safe; with an old one it would take edited sets for what they were.
   */
  private async writeState(state: NetfilterState): Promise<void> {
    try {
      await writeState(this.options.stateDir, state)
      this.dirty.clear()
      this.unkept = null
    } catch (error) {
      await this.forgetState(error as Error)
    }
  }

  /** The same in the middle of a change: what is dirty stays so. */
  private async keepState(state: NetfilterState): Promise<void> {
    try {
      await writeState(this.options.stateDir, state)
    } catch (error) {
      await this.forgetState(error as Error)
    }
  }

  private async addDirty(names: Iterable<string>): Promise<void> {
    try {
      this.dirty.add(names)
    } catch (error) {
      await this.forgetState(error as Error)
    }
  }

  /** Throws when the old file cannot be taken away either. */
  private async forgetState(error: Error): Promise<void> {
    this.dirty.close()
    await removeState(this.options.stateDir)
    if (this.unkept === null) this.options.warn?.('netfilter state cannot be kept; the next start loads sets anew', { error: error.message })
    this.unkept = error.message
  }

  private async generation(tools: Tools): Promise<number | null> {
    return tools.variant === 'nft' ? readGeneration(this.netlink) : null
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

  /**
   * Exit status 0 is what a tool says; what the kernel holds is what counts. Only tables that were written are read again.
   * Throws when that is not what it should hold.
   */
  private async verify(plan: Plan, known: Known, written: TableNames, tools: Tools, state: NetfilterState): Promise<void> {
    const [texts, present] = await Promise.all([saveTables(this.options.exec, tools, written), listSets(this.kernel, state)])
    // what lags behind is not looked at: another content in the slot would hide that the wanted one is missing
    const wanted = new Set(plan.sets.map(({ digest }) => digest))
    const observed: Observed = {
      sets: new Map([...present].filter(([, { digest }]) => digest !== null && wanted.has(digest))),
      families: mapFamilies((family) => new Map([...known.observed.families[family], ...ownTables(parseSave(texts[family]))])),
    }
    const rest = changesFor(tools, plan, observed, null)
    if (rest.load.length > 0 || changesTables(rest)) {
      throw new Error(`the kernel does not hold what was written: ${formatChangeSet(rest).split('\n').slice(0, 3).join('; ')}`)
    }
  }

  /** After a failed commit. Returns what is in force now, for the error's text. */
  private async goBack(before: Plan | null, seen: Seen): Promise<string> {
    const { tools, state } = await this.open()
    this.known = null
    try {
      if (before !== null) {
        const now = await this.observeAll(tools, state)
        await this.commit(before, changesFor(tools, before, now.observed, null), now, false)
        return 'the former ruleset is in force'
      }
      if (hasNothing(seen.observed)) {
        await this.removeTables(tools, state)
        await destroySets(this.kernel, [...(await listSets(this.kernel, state)).keys()])
        return 'nothing of ours is left in the kernel'
      }
      return 'part of it may be in force: the ruleset found at start is not known well enough to be restored'
    } catch (error) {
      this.known = null
      return `and going back failed too: ${(error as Error).message}`
    }
  }

  /**
   * What must be seen before this plan. A single change trusts what is known but for the tables that it writes; anything else
   * trusts it only if nobody has changed a rule meanwhile.
   */
  private async look(plan: Plan, single: boolean, tools: Tools, state: NetfilterState): Promise<Seen> {
    const { known } = this
    if (known === null || state.variant !== tools.variant) return this.observeAll(tools, state)
    const generation = await this.generation(tools)
    if (!single && (generation === null || generation !== known.generation)) return this.observeAll(tools, state)
    const trusted: Observed = single ? known.observed : { ...known.observed, sets: await listSets(this.kernel, state) }
    const { tables: changing } = changesFor(tools, plan, trusted, this.plan)
    const texts = await saveTables(this.options.exec, tools, mapFamilies((family) => changing[family].map(({ table }) => table)))
    const saved = mapFamilies((family) => parseSave(texts[family]))
    const seen = mapFamilies((family) => new Map([...trusted.families[family], ...ownTables(saved[family])]))
    return { saved, observed: { ...trusted, families: seen }, generation: generation === known.generation ? generation : null }
  }

  private async observeAll(tools: Tools, state: NetfilterState): Promise<Seen> {
    const generation = await this.generation(tools)
    const [saved, sets] = await Promise.all([this.save(tools), listSets(this.kernel, state)])
    return { saved, observed: withoutChains({ sets, families: mapFamilies((family) => ownTables(saved[family])) }, this.touched), generation }
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

/** Sets that nothing refers to any more but that are still there. */
function lagging({ sets }: Observed, names: readonly string[]): readonly (readonly [string, ObservedSet])[] {
  return names.flatMap((name) => {
    const set = sets.get(name)
    return set === undefined ? [] : [[name, { ...set, digest: null }] as const]
  })
}

/** Chains of these keys left out: what cannot be told from what was written is written again. */
function withoutChains(observed: Observed, keys: ReadonlySet<string>): Observed {
  if (keys.size === 0) return observed
  return {
    ...observed,
    families: mapFamilies((family) => new Map([...observed.families[family]].map(([table, own]) => (
      [table, { ...own, chains: new Map([...own.chains].filter(([name]) => !keys.has(chainKey(family, table, name)))) }])))),
  }
}

function isSame(one: ReadonlyMap<string, string>, other: ReadonlyMap<string, string>): boolean {
  return one.size === other.size && [...one].every(([key, text]) => other.get(key) === text)
}

/** What must be done where IPv6 may be missing: then its tables are left out, and count as right. */
function changesFor(tools: Tools, plan: Plan, observed: Observed, previous: Plan | null): ChangeSet {
  const changes = diff(plan, observed, previous)
  return tools.ipv6 ? changes : { ...changes, tables: { ...changes.tables, ipv6: [] } }
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
