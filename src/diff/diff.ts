// Plan × Observed → ChangeSet: the least that must be done so that the kernel holds exactly the plan. Pure.
//
// Chains are named by their content, so what exists under its name is right and what changed is a new chain. Sets are
// loaded beside the live ones under another slot of their role and come into force with the chains that name them;
// only a handful of elements, and only when nothing else changes, are edited in the live set.
import type { Family } from '../compile/plan.ts'
import { families } from '../compile/plan.ts'
import type { Plan, PlanSet } from '../compile/plan.ts'
import type { SetEdit } from '../compile/netfilter/ipset.ts'
import { elementCount, isCounted, maxElements } from '../compile/netfilter/ipset.ts'
import { setName, slots } from '../compile/netfilter/names.ts'
import { renderFamily } from '../compile/netfilter/render.ts'
import type { RenderedFamily, RenderedTable, Table } from '../compile/netfilter/render.ts'
import { isEmptyChange } from '../compile/netfilter/restore.ts'
import type { TableChange } from '../compile/netfilter/restore.ts'
import type { Observed, ObservedFamily, ObservedSet, ObservedTable } from './observed.ts'
import { elementEdits } from './sets.ts'

/** Element edits of one change set that are few enough to be done in live sets. */
export const maxLiveEdits = 16

export interface SetLoad {
  readonly name: string
  readonly set: PlanSet
}

export interface LiveEdit extends SetEdit {
  readonly before: PlanSet
  readonly set: PlanSet
}

export interface ChangeSet {
  /** New sets, none of them in use. */
  readonly load: readonly SetLoad[]
  readonly edit: readonly LiveEdit[]
  /** Not in use any more once the tables are changed. */
  readonly destroy: readonly string[]
  /** One per table that changes, in the order of commits. */
  readonly tables: Readonly<Record<Family, readonly TableChange[]>>
  /** The whole goal: kernel set by role, and all chains. */
  readonly setNames: ReadonlyMap<string, string>
  readonly rendered: Readonly<Record<Family, RenderedFamily>>
}

export function isEmptyChangeSet(changes: ChangeSet): boolean {
  return changes.load.length + changes.edit.length + changes.destroy.length + changes.tables.ipv4.length + changes.tables.ipv6.length === 0
}

export function changesTables(changes: ChangeSet): boolean {
  return changes.tables.ipv4.length + changes.tables.ipv6.length > 0
}

/** `previous` = the plan that was applied last, where it is known: only against it can elements be compared. */
export function diff(plan: Plan, observed: Observed, previous: Plan | null): ChangeSet {
  const live = compareSets(plan, observed, previous)
  if (live !== null && live.edit.length > 0) {
    const changes = withTables(plan, observed, live.setNames, { load: [], edit: live.edit })
    if (!changesTables(changes)) return changes
  }
  return newSlots(plan, observed)
}

/**
 * The short way: null unless all that must be done are a few elements of live sets (which may be none). Chains that are the
 * same objects as in `previous` are not even looked at.
 */
export function liveEdits(plan: Plan, observed: Observed, previous: Plan): readonly LiveEdit[] | null {
  const live = compareSets(plan, observed, previous)
  if (live === null) return null
  if (hasSameRules(plan, previous)) return live.edit
  return changesTables(withTables(plan, observed, live.setNames, { load: [], edit: live.edit })) ? null : live.edit
}

function hasSameRules(plan: Plan, previous: Plan): boolean {
  return plan.chains.length === previous.chains.length && plan.chains.every((chain, index) => chain === previous.chains[index])
    && plan.hooks.length === previous.hooks.length
    && plan.hooks.every(({ hook, chain }, index) => hook === previous.hooks[index]!.hook && chain === previous.hooks[index]!.chain)
}

/** What of sets that live must change, and which kernel set is whose; null when that is more than a few elements. */
function compareSets(
  plan: Plan, observed: Observed, previous: Plan | null,
): { readonly edit: readonly LiveEdit[]; readonly setNames: ReadonlyMap<string, string> } | null {
  if (previous === null) return null
  const before = new Map(previous.sets.map((set) => [set.role, set]))
  const setNames = new Map<string, string>()
  const edit: LiveEdit[] = []
  let left = maxLiveEdits
  for (const set of plan.sets) {
    const present = findSet(set.role, set.digest, observed)
    if (present !== null && isWhole(present, set)) {
      setNames.set(set.role, present.name)
      continue
    }
    const old = before.get(set.role)
    const live = old === undefined ? null : findSet(old.role, old.digest, observed)
    if (old === undefined || live === null || !isWhole(live, old)) return null
    if (live.maxElements !== null && elementCount(set) > live.maxElements) return null
    const edits = elementEdits(old, set, left)
    if (edits === null || mayMeet(edits, set)) return null
    left -= edits.add.length + edits.remove.length
    if (left < 0) return null
    setNames.set(set.role, live.name)
    edit.push({ name: live.name, ...edits, counted: isCounted(set), before: old, set })
  }
  return { edit, setNames }
}

/** What comes and what goes may have elements in common: an entry of some sets stands for many. Such a set is filled anew. */
function mayMeet({ add, remove }: Pick<LiveEdit, 'add' | 'remove'>, { user }: PlanSet): boolean {
  return user !== undefined && add.length > 0 && remove.length > 0
    && [...add, ...remove].some((entry) => entry.includes('-') || (user.type.startsWith('hash:ip') && entry.includes('/')))
}

function newSlots(plan: Plan, observed: Observed): ChangeSet {
  const setNames = new Map<string, string>()
  const load: SetLoad[] = []
  for (const set of plan.sets) {
    const present = findSet(set.role, set.digest, observed)
    if (present !== null && isWhole(present, set)) setNames.set(set.role, present.name)
    else {
      const name = slots.map((slot) => setName(set.role, slot)).find((candidate) => !observed.sets.has(candidate))
      if (name === undefined) throw new Error(`no free slot for set ${set.role}: the kernel keeps all ${slots.length} of them`)
      setNames.set(set.role, name)
      load.push({ name, set })
    }
  }
  return withTables(plan, observed, setNames, { load, edit: [] })
}

function findSet(role: string, digest: string, observed: Observed): ObservedSet | null {
  for (const slot of slots) {
    const present = observed.sets.get(setName(role, slot))
    if (present !== undefined && present.digest === digest) return present
  }
  return null
}

/** Somebody may have touched it. Entries that expand or expire are not countable. */
function isWhole(present: ObservedSet, set: PlanSet): boolean {
  return set.kind === 'user' || set.expiresAtMs !== undefined || present.entries === null || present.entries === elementCount(set)
}

function withTables(
  plan: Plan, observed: Observed, setNames: ReadonlyMap<string, string>, sets: Pick<ChangeSet, 'load' | 'edit'>,
): ChangeSet {
  const setNameOf = (role: string): string => {
    const name = setNames.get(role)
    if (name === undefined) throw new Error(`no set ${role} in the plan`)
    return name
  }
  const rendered = { ipv4: renderFamily(plan, 'ipv4', setNameOf), ipv6: renderFamily(plan, 'ipv6', setNameOf) }
  const used = new Set(setNames.values())
  return {
    ...sets,
    destroy: [...observed.sets.keys()].filter((name) => !used.has(name)),
    tables: {
      ipv4: diffFamily(rendered.ipv4, observed.families.ipv4),
      ipv6: diffFamily(rendered.ipv6, observed.families.ipv6),
    },
    setNames,
    rendered,
  }
}

const noTable: ObservedTable = { chains: new Map(), jumps: [] }

function diffFamily(wanted: RenderedFamily, present: ObservedFamily): readonly TableChange[] {
  return wanted.map((table) => diffTable(table, present.get(table.table) ?? noTable)).filter((change) => !isEmptyChange(change))
}

function diffTable(wanted: RenderedTable, present: ObservedTable): TableChange {
  const names = new Set([...wanted.chains, ...wanted.entries].map(({ name }) => name))
  const kernelChains = new Set([...wanted.jumps, ...present.jumps].map(({ chain }) => chain))
  const moved = [...kernelChains].filter((chain) => {
    const wantedHere = wanted.jumps.filter((jump) => jump.chain === chain)
    const presentHere = present.jumps.filter((jump) => jump.chain === chain)
    return wantedHere.length !== presentHere.length
      || wantedHere.some((jump, index) => presentHere[index]!.rule !== jump.rule || presentHere[index]!.position !== index)
  })
  return {
    table: wanted.table,
    chains: wanted.chains.filter(({ name, lines }) => present.chains.get(name)?.length !== lines.length),
    entries: wanted.entries.filter(({ name, lines }) => present.chains.get(name)?.join('\n') !== lines.join('\n')),
    dropJumps: present.jumps.filter(({ chain }) => moved.includes(chain)).map(({ chain, rule }) => ({ chain, rule })),
    addJumps: wanted.jumps.filter(({ chain }) => moved.includes(chain)),
    removeChains: [...present.chains.keys()].filter((name) => !names.has(name)),
  }
}

/** What will be observed when all of `changes` was done. */
export function afterChanges(observed: Observed, changes: ChangeSet): Observed {
  const sets = new Map([...observed.sets].filter(([name]) => !changes.destroy.includes(name)))
  for (const { name, set } of changes.load) sets.set(name, observedSet(name, set, null))
  for (const { name, set } of changes.edit) sets.set(name, observedSet(name, set, observed.sets.get(name) ?? null))
  const family = (wanted: RenderedFamily): ObservedFamily => new Map<Table, ObservedTable>(wanted.map((table) => [table.table, {
    chains: new Map([...table.chains, ...table.entries].map(({ name, lines }) => [name, lines])),
    jumps: table.jumps.map((jump) => ({ ...jump, position: 0 })),
  }]))
  return { sets, families: { ipv4: family(changes.rendered.ipv4), ipv6: family(changes.rendered.ipv6) } }
}

/** What will be observed when all of `edits` was done. */
export function afterEdits(observed: Observed, edits: readonly LiveEdit[]): Observed {
  const sets = new Map(observed.sets)
  for (const { name, set } of edits) sets.set(name, observedSet(name, set, observed.sets.get(name) ?? null))
  return { ...observed, sets }
}

function observedSet(name: string, set: PlanSet, before: ObservedSet | null): ObservedSet {
  const count = elementCount(set)
  return {
    name,
    entries: count,
    maxElements: before?.maxElements ?? (set.kind === 'prefix' || set.kind === 'prefix-port' || set.kind === 'mac' ? maxElements(count) : null),
    digest: set.digest,
  }
}

/** What a change set does, one line a step, for people and tests. "" for nothing. */
export function formatChangeSet(changes: ChangeSet): string {
  const lines = [
    ...changes.load.map(({ name, set }) => `load set ${name}: ${set.role}, ${elementCount(set)} elements`),
    ...changes.edit.flatMap(({ name, set, add, remove }) => [
      ...add.map((entry) => `edit set ${name} (${set.role}): add ${entry}`),
      ...remove.map((entry) => `edit set ${name} (${set.role}): remove ${entry}`),
    ]),
    ...families.flatMap((family) => changes.tables[family].flatMap((change) => formatTableChange(family, change))),
    ...changes.destroy.map((name) => `destroy set ${name}`),
  ]
  return lines.map((line) => `${line}\n`).join('')
}

function formatTableChange(family: Family, change: TableChange): readonly string[] {
  const where = `${family} ${change.table}`
  return [
    ...change.chains.map(({ name, lines }) => `${where}: write ${name}, ${lines.length} rules`),
    ...change.entries.map(({ name, lines }) => `${where}: point ${name}: ${lines.join('; ')}`),
    ...change.dropJumps.map(({ chain, rule }) => `${where}: take out of ${chain}: ${rule}`),
    ...change.addJumps.map(({ chain, rule }) => `${where}: put first in ${chain}: ${rule}`),
    ...change.removeChains.map((name) => `${where}: remove ${name}`),
  ]
}
