// The sets of a Plan: what goes into them, in which canonical form, and when two of them are equal.
import { createHash } from 'node:crypto'
import type { Family, Prefix } from '../model/addr.ts'
import { formatPrefix } from '../model/addr.ts'
import type { InterfaceMatch, IpSet } from '../model/firewall.ts'
import { stepTo } from '../model/ipset.ts'
import { formatPortRange } from '../model/port.ts'
import type { AddressList } from '../model/settings.ts'
import type { PlanSet, PortRule, SetElements } from './plan.ts'

/** The sets of one plan, each role once. */
export class SetRegistry {
  private readonly byRole = new Map<string, PlanSet>()

  /** Two different contents under one role are a bug here. */
  add(set: PlanSet): string {
    const present = this.byRole.get(set.role)
    if (present !== undefined && present.digest !== set.digest) throw new Error(`two contents for set ${set.role}`)
    this.byRole.set(set.role, set)
    return set.role
  }

  get(role: string): PlanSet | undefined {
    return this.byRole.get(role)
  }

  /** Sorted by role. */
  list(): readonly PlanSet[] {
    return [...this.byRole.values()].sort((a, b) => (a.role < b.role ? -1 : 1))
  }
}

function digestOf(parts: readonly string[]): string {
  // one update: a hundred thousand small ones cost more than the hash
  return createHash('sha256').update(parts.join('\0')).digest('hex').slice(0, 32)
}

function textElements(entries: readonly string[]): SetElements {
  return { kind: 'text', entries }
}

const maxRemembered = 1000

/** What the last compilation made under a role, and of what. */
const lastTextSets = new Map<string, { readonly text: string; readonly set: PlanSet }>()

/** Most sets are what they were, and a hash costs more than all else about a small one. */
function textSet(role: string, kind: 'prefix' | 'interface', family: Family, entries: readonly string[]): PlanSet {
  const text = [kind, family, ...entries].join('\0')
  const last = lastTextSets.get(role)
  if (last?.text === text) return last.set
  const set: PlanSet = { role, kind, family, digest: digestOf([text]), elements: textElements(entries) }
  if (lastTextSets.size >= maxRemembered) lastTextSets.clear()
  lastTextSets.set(role, { text, set })
  return set
}

/** Order and repetition of `prefixes` do not matter. A /0 becomes two /1, because hash:net holds no /0. */
export function prefixSet(role: string, family: Family, prefixes: readonly Prefix[]): PlanSet {
  const entries = [...new Set(prefixes.flatMap(splitAll).map(formatPrefix))].sort()
  return textSet(role, 'prefix', family, entries)
}

function splitAll(prefix: Prefix): Prefix[] {
  if (prefix.length > 0) return [prefix]
  const high = prefix.family === 'ipv4' ? 1n << 31n : 1n << 127n
  return [{ ...prefix, length: 1 }, { ...prefix, addr: high, length: 1 }]
}

/** Half of a big list. Its content is known by the list's digest and never looked at here. */
export function listSet(list: AddressList, family: Family): PlanSet {
  const role = `list:${list.name}:${family === 'ipv4' ? 4 : 6}`
  return { role, kind: 'prefix', family, digest: digestOf(['list', family, list.digest]), elements: { kind: 'list', list } }
}

/** As a user's set, because what a kernel without hash:mac needs is the same (spell-out.ts). */
export function macSet(role: string, macs: readonly string[]): PlanSet {
  const entries = [...new Set(macs)].sort()
  const user = { name: role, type: 'hash:mac', options: {} }
  return { role, kind: 'user', family: null, digest: userDigest(user, null, entries), elements: textElements(entries), user }
}

type Named = Pick<InterfaceMatch, 'name' | 'wildcard'>

/** The kernel takes no more interfaces for one prefix. */
const interfacesOfSet = 64

/** Names of interfaces for one family, in as many sets as they need. The kernel takes none that a beginning in the set covers. */
export function interfaceSets(role: string, family: Family, interfaces: readonly Named[]): readonly PlanSet[] {
  const every = family === 'ipv4' ? '0.0.0.0/0' : '::/0'
  const covers = (one: Named, other: Named): boolean => one.wildcard && other.name.startsWith(one.name) && (one.name !== other.name || !other.wildcard)
  const needed = interfaces.filter((one) => !interfaces.some((other) => covers(other, one)))
  const entries = [...new Set(needed.map(({ name, wildcard }) => `${every},${name}${wildcard ? ' wildcard' : ''}`))].sort()
  const sets: PlanSet[] = []
  for (let start = 0; start < entries.length; start += interfacesOfSet) {
    const some = entries.slice(start, start + interfacesOfSet)
    sets.push(textSet(start === 0 ? role : `${role}:${start / interfacesOfSet + 1}`, 'interface', family, some))
  }
  return sets
}

/** Every address of the family, until then: what asks it works no longer afterwards, whoever lives. One set for all that ends together. */
export function leaseSet(family: Family, untilMs: number): PlanSet {
  const entries = family === 'ipv4' ? ['0.0.0.0/1', '128.0.0.0/1'] : ['8000::/1', '::/1']
  return {
    role: `until:${untilMs}:${family === 'ipv4' ? 4 : 6}`, kind: 'prefix', family, digest: digestOf(['lease', family, String(untilMs)]),
    elements: textElements(entries), expiresAtMs: untilMs,
  }
}

const userSets = new WeakMap<IpSet, PlanSet>()
/** The same by the list of entries, for finding what a list came of. */
const userSetsByEntries = new WeakMap<readonly string[], PlanSet>()

/** The options that decide what a kernel set can hold are part of its digest: a change of them is another set. */
export function userSet(ipset: IpSet): PlanSet {
  const known = userSets.get(ipset)
  if (known !== undefined) return known
  const set = stepOfUserSet(ipset) ?? makeUserSet(ipset)
  userSets.set(ipset, set)
  userSetsByEntries.set(ipset.entries, set)
  return set
}

/**
 * A set that differs from a known one by one entry: neither sorted nor read through, since it may hold a million. Its digest
 * says how it came to be, so the same content has another digest when it came another way; that costs a comparison of elements.
 */
function stepOfUserSet(ipset: IpSet): PlanSet | null {
  const step = stepTo(ipset.entries)
  const before = step?.from.deref()
  const known = before === undefined ? undefined : userSetsByEntries.get(before)
  if (step === null || known === undefined || known.elements.kind !== 'text') return null
  if (known.role !== userRole(ipset) || known.family !== ipset.family || !hasShape(known, ipset)) return null
  const [add, remove] = step.kind === 'add' ? [[step.text], []] : [[], [step.text]]
  return {
    ...known,
    digest: digestOf(['step', known.digest, step.kind, step.text]),
    elements: new LazyElements(ipset.entries),
    derived: true,
    step: { from: known.digest, add, remove },
  }
}

/** With the digest that only depends on what is in it. */
export function canonicalSet(set: PlanSet): PlanSet {
  if (set.derived === undefined || set.user === undefined || set.elements.kind !== 'text') return set
  const { derived: _derived, step: _step, ...rest } = set
  return { ...rest, digest: userDigest(set.user, set.family, set.elements.entries) }
}

function hasShape({ user }: PlanSet, { type, options }: IpSet): boolean {
  const wanted = Object.entries(options).filter(([key]) => key !== 'family')
  return user?.type === type && wanted.length === Object.keys(user.options).length && wanted.every(([key, value]) => user.options[key] === value)
}

/** Sorted when somebody wants to read them all, which a change of one does not. */
class LazyElements {
  readonly kind = 'text'
  readonly count: number
  private sorted: readonly string[] | null = null

  constructor(private readonly unsorted: readonly string[]) {
    this.count = unsorted.length
  }

  get entries(): readonly string[] {
    return this.sorted ??= [...this.unsorted].sort()
  }
}

function userRole({ name }: IpSet): string {
  return `ipset:${name}`
}

function makeUserSet(ipset: IpSet): PlanSet {
  const options = Object.entries(ipset.options).filter(([key]) => key !== 'family').sort(([a], [b]) => (a < b ? -1 : 1))
  const entries = [...ipset.entries].sort()
  const user = { name: ipset.name, type: ipset.type, options: Object.fromEntries(options) }
  return {
    role: userRole(ipset),
    kind: 'user',
    family: ipset.family,
    digest: userDigest(user, ipset.family, entries),
    elements: textElements(entries),
    user,
  }
}

function userDigest({ type, options }: NonNullable<PlanSet['user']>, family: Family | null, entries: readonly string[]): string {
  return digestOf(['user', type, family ?? '', ...Object.entries(options).flat(), '', ...entries])
}

/** A set that counts for each element. */
export function elementSet(role: string, kind: 'prefix' | 'prefix-port', family: Family, owners: ReadonlyMap<string, string>): PlanSet {
  const entries = [...owners.keys()].sort()
  const digest = digestOf([kind, family, ...entries.map((entry) => `${entry} ${owners.get(entry)}`)])
  return { role, kind, family, digest, elements: textElements(entries), owners }
}

interface LastPorts {
  readonly rules: readonly PortRule[]
  readonly set: PlanSet
  /** Sorted. */
  readonly parts: readonly PortRule[]
  /** No two rules hold the same port, so that the parts are the rules. */
  readonly isPlain: boolean
  readonly sum: Uint32Array
}

/** What the last compilation made of the same rules. */
const lastPorts = new Map<string, LastPorts>()

/** `rules` in the order of decision: a port that two of them hold belongs to the first. */
export function portSet(role: string, rules: readonly PortRule[]): PlanSet {
  const last = lastPorts.get(role)
  const change = last === undefined ? null : changeBetween(last.rules, rules)
  if (last !== undefined && change !== null && change.gone.length + change.fresh.length === 0) return last.set
  const { parts, isPlain, sum } = (last === undefined || change === null ? null : editParts(last, change)) ?? allParts(rules)
  const set: PlanSet = { role, kind: 'port', family: null, digest: digestOf(['port', sum.join()]), elements: new PortElements(parts), portRules: parts }
  if (lastPorts.size >= maxRemembered) lastPorts.clear()
  lastPorts.set(role, { rules, parts, isPlain, sum, set })
  return set
}

interface RuleChange {
  readonly gone: readonly PortRule[]
  readonly fresh: readonly PortRule[]
}

/** The stretch in which two lists differ. */
function changeBetween(before: readonly PortRule[], after: readonly PortRule[]): RuleChange {
  const shorter = Math.min(before.length, after.length)
  let start = 0
  while (start < shorter && before[start] === after[start]) start++
  let end = 0
  while (end < shorter - start && before[before.length - 1 - end] === after[after.length - 1 - end]) end++
  return { gone: before.slice(start, before.length - end), fresh: after.slice(start, after.length - end) }
}

type Parts = Pick<LastPorts, 'parts' | 'isPlain' | 'sum'>

/** null when two rules hold the same port: then it is not seen here whose it is. */
function editParts(last: LastPorts, { gone, fresh }: RuleChange): Parts | null {
  if (!last.isPlain) return null
  const parts = last.parts.slice()
  const sum = last.sum.slice()
  for (const rule of gone) {
    parts.splice(firstEndingAtOrAfter(parts, rule.first), 1)
    partDigest(rule).forEach((word, index) => { sum[index]! -= word })
  }
  for (const rule of fresh) {
    const at = firstEndingAtOrAfter(parts, rule.first)
    if (at < parts.length && parts[at]!.first <= rule.last) return null
    parts.splice(at, 0, rule)
    partDigest(rule).forEach((word, index) => { sum[index]! += word })
  }
  return { parts, isPlain: true, sum }
}

function allParts(rules: readonly PortRule[]): Parts {
  const found = disjoint(rules)
  const sum = new Uint32Array(8)
  for (const part of found.parts) partDigest(part).forEach((word, index) => { sum[index]! += word })
  return { ...found, sum }
}

const partDigests = new WeakMap<PortRule, Uint32Array>()

/**
 * The digest of a set is made of the sum of these, so that one port more does not read the others again. Whoever would look for
 * two sets of equal sums may open what he likes anyway.
 */
function partDigest(part: PortRule): Uint32Array {
  let words = partDigests.get(part)
  if (words === undefined) {
    const bytes = createHash('sha256').update(`${formatPortRange(part)}\0${part.rule}`).digest()
    partDigests.set(part, words = Uint32Array.from({ length: 8 }, (_, index) => bytes.readUInt32LE(index * 4)))
  }
  return words
}

/** Written out when somebody wants to read them. */
class PortElements {
  readonly kind = 'text'
  private texts: readonly string[] | null = null

  constructor(private readonly parts: readonly PortRule[]) {}

  get entries(): readonly string[] {
    return this.texts ??= this.parts.map(formatPortRange)
  }
}

/** Sorted. */
function disjoint(rules: readonly PortRule[]): Omit<Parts, 'sum'> {
  const parts: PortRule[] = []
  let isPlain = true
  for (const rule of rules) {
    const start = firstEndingAtOrAfter(parts, rule.first)
    if (start === parts.length) {
      parts.push(rule)
      continue
    }
    if (parts[start]!.first > rule.last) {
      parts.splice(start, 0, rule)
      continue
    }
    isPlain = false
    const pieces: PortRule[] = []
    let first = rule.first
    let at = start
    for (; at < parts.length && parts[at]!.first <= rule.last; at++) {
      const part = parts[at]!
      if (part.first > first) pieces.push({ ...rule, first, last: part.first - 1 })
      pieces.push(part)
      first = part.last + 1
    }
    if (first <= rule.last) pieces.push(first === rule.first ? rule : { ...rule, first, last: rule.last })
    parts.splice(start, at - start, ...pieces)
  }
  return { parts, isPlain }
}

/** Index of the first range that does not end before `port`; their number when all do. `parts` are sorted and disjoint. */
export function firstEndingAtOrAfter(parts: readonly PortRule[], port: number): number {
  let low = 0
  let high = parts.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (parts[middle]!.last < port) low = middle + 1
    else high = middle
  }
  return low
}
