// Rules that an element of a set can stand for, so that the price of a packet does not grow with their number and one more
// of them is one more element.
//
// Which rules may change places: those with the same verdict always; those of different verdicts when no packet fits both,
// which is certain when their sources do not overlap. A rule moves up to the first of its group if it may change places
// with all that stand between; if not, a new group begins.
import type { Family, Prefix } from '../model/addr.ts'
import { formatPrefix, maskPrefix } from '../model/addr.ts'
import { rejectTypes } from '../model/firewall.ts'
import type { PortProtocol, Rule, Verdict } from '../model/firewall.ts'
import type { Plan, PlanRule, PlanSet } from './plan.ts'
import { elementSet } from './sets.ts'

/** Fewer stay single rules, unless a call made one of them: a person can read those, and a set is no faster. */
const minGroup = 4
/** A set holds each port of a range by itself. */
const maxPortsOfElement = 16

/** Only the sender's address, or that and ports. */
export interface SourceFold {
  readonly family: Family
  readonly prefix: Prefix
  /** `drop`, `reject-tcp-reset` */
  readonly verdict: string
  readonly withPort: boolean
  /** Rules of equal keys can be in one set: `drop:ports:4`. */
  readonly key: string
  /** As the set holds them. */
  readonly elements: readonly string[]
}

/** Stands at the place of its first rule. */
export interface Group {
  readonly set: PlanSet
  readonly rule: PlanRule
}

const plainKeys = new Set(['id', 'match', 'verdict', 'origin'])

/** null for a rule that no element can stand for. */
export function sourceFoldOf(rule: Rule): SourceFold | null {
  const { match: { family, source, destination, protocol }, verdict } = rule
  if (verdict.kind !== 'accept' && verdict.kind !== 'drop' && verdict.kind !== 'reject') return null
  // whatever else a rule may ask of a packet, no set says it
  if (Object.entries(rule).some(([key, value]) => value !== undefined && !plainKeys.has(key))) return null
  if (source?.kind !== 'prefix' || source.invert || source.prefix.length === 0 || destination !== undefined) return null
  const { prefix } = source
  if (family !== undefined && family !== prefix.family) return null
  const text = formatPrefix(prefix)
  const common = { family: prefix.family, prefix, verdict: verdictWord(rule) }
  const digit = prefix.family === 'ipv4' ? 4 : 6
  if (protocol === undefined) return { ...common, withPort: false, key: `${common.verdict}:${digit}`, elements: [text] }
  if (protocol.kind !== 'port' || !isSetProtocol(protocol.protocol) || protocol.ports.last - protocol.ports.first >= maxPortsOfElement) return null
  const { first, last } = protocol.ports
  const elements = Array.from({ length: last - first + 1 }, (_, index) => `${text},${protocol.protocol}:${first + index}`)
  return { ...common, withPort: true, key: `${common.verdict}:ports:${digit}`, elements }
}

function verdictWord({ verdict }: Rule): string {
  return verdict.kind === 'reject' ? `reject-${verdict.type}` : verdict.kind
}

/** Sets of ports know no DCCP. */
function isSetProtocol(protocol: PortProtocol): boolean {
  return protocol !== 'dccp'
}

interface OpenGroup {
  readonly key: string
  readonly indexes: number[]
  readonly rules: Rule[]
  readonly folds: SourceFold[]
}

/** Rules of one verdict in a segment. */
interface Seen {
  readonly verdict: string
  /** Where the last of them stands. */
  at: number
  /** Where the last one stands that is in no group: nothing is known of its packets. */
  barrier: number
  readonly prefixes: PrefixIndex
}

/** A stretch of rules within which they may move up. */
class Segment {
  readonly groups = new Map<string, OpenGroup>()
  /** Verdicts are few. */
  private readonly seen: Seen[] = []

  /** False when the rule may not move up to its group. */
  add(rule: Rule, index: number, fold: SourceFold): boolean {
    const group = this.groups.get(fold.key)
    if (group === undefined) this.groups.set(fold.key, { key: fold.key, indexes: [index], rules: [rule], folds: [fold] })
    else {
      const at = group.indexes[0]!
      for (let one = 0; one < this.seen.length; one++) {
        const seen = this.seen[one]!
        if (seen.verdict === fold.verdict || seen.at < at) continue
        if (seen.barrier > at || seen.prefixes.overlaps(fold.prefix)) return false
      }
      group.indexes.push(index)
      group.rules.push(rule)
      group.folds.push(fold)
    }
    const seen = this.seenOf(fold.verdict)
    seen.at = index
    seen.prefixes.add(fold.prefix)
    return true
  }

  pass(rule: Rule, index: number): void {
    const seen = this.seenOf(verdictWord(rule))
    seen.at = index
    seen.barrier = index
  }

  private seenOf(verdict: string): Seen {
    for (let one = 0; one < this.seen.length; one++) if (this.seen[one]!.verdict === verdict) return this.seen[one]!
    const seen: Seen = { verdict, at: -1, barrier: -1, prefixes: new PrefixIndex() }
    this.seen.push(seen)
    return seen
  }
}

interface OneLength {
  readonly family: Family
  readonly length: number
  readonly prefixes: Prefix[]
  readonly texts: Set<string>
  /** The same prefixes cut to a shorter length, once somebody asked for it. */
  readonly cuts: Map<number, Set<string>>
}

/** Which prefixes overlap one of these. Mostly nobody asks, and then they are all of one length and it is one look. */
class PrefixIndex {
  private readonly waiting: Prefix[] = []
  private readonly lengths = new Map<string, OneLength>()

  add(prefix: Prefix): void {
    this.waiting.push(prefix)
  }

  private take(prefix: Prefix): void {
    const { family, length, addr } = prefix
    let one = this.lengths.get(`${family} ${length}`)
    if (one === undefined) this.lengths.set(`${family} ${length}`, one = { family, length, prefixes: [], texts: new Set(), cuts: new Map() })
    one.prefixes.push(prefix)
    one.texts.add(formatPrefix(prefix))
    for (const [to, texts] of one.cuts) texts.add(formatPrefix(maskPrefix(family, addr, to)))
  }

  overlaps(prefix: Prefix): boolean {
    for (const one of this.waiting.splice(0)) this.take(one)
    for (const one of this.lengths.values()) {
      if (one.family !== prefix.family) continue
      if (one.length > prefix.length) {
        if (cutTo(one, prefix.length).has(formatPrefix(prefix))) return true
      } else if (one.texts.has(formatPrefix(one.length === prefix.length ? prefix : maskPrefix(prefix.family, prefix.addr, one.length)))) return true
    }
    return false
  }
}

function cutTo({ prefixes, cuts }: OneLength, length: number): ReadonlySet<string> {
  let texts = cuts.get(length)
  if (texts === undefined) {
    texts = new Set(prefixes.map(({ family, addr }) => formatPrefix(maskPrefix(family, addr, length))))
    cuts.set(length, texts)
  }
  return texts
}

/**
 * The sets of a plan that the next one keeps even when they are empty, so that adding and removing rules of a kind at runtime
 * costs an element each time and a change of rules only the first time.
 */
export function keptRoles({ sets }: Pick<Plan, 'sets'>): ReadonlySet<string> {
  return new Set(sets.filter(({ owners }) => owners !== undefined).map(({ role }) => role))
}

/** Those of one owner, as one text. */
export function keptOf(owner: string, kept: ReadonlySet<string> = new Set()): string {
  return [...kept].filter((role) => role.startsWith(`${owner}:`)).join(' ')
}

/** What the last compilation made of the same rules. */
const lastGroups = new Map<string, { readonly rules: readonly Rule[]; readonly group: Group }>()
const maxRemembered = 1000

export interface Folded {
  /** By the index of their first rule. */
  readonly groups: ReadonlyMap<number, readonly Group[]>
  /** By index: 1 = the rule is in a group. */
  readonly isGrouped: Uint8Array
}

/** Where a kept set stands that has no rule: the next one mostly comes to the end of its kind. Indexes in the list. */
export interface Ends {
  readonly denials: number
  readonly accepts: number
}

/** Every rule of `list` is in one group at most. `folds` = {@link sourceFoldOf} of each. */
export function foldSources(
  owner: string, list: readonly Rule[], folds: readonly (SourceFold | null)[], ends: Ends, kept: ReadonlySet<string> = new Set(),
): Folded {
  const { groups, isGrouped, used } = foldAll(owner, list, folds, kept)
  for (const role of kept) {
    const key = role.startsWith(`${owner}:`) ? role.slice(owner.length + 1) : ''
    const empty = used.has(key) ? null : emptyGroup(role, key)
    if (empty === null) continue
    const at = empty.rule.verdict.kind === 'accept' ? ends.accepts : ends.denials
    groups.set(at, [...(groups.get(at) ?? []), empty])
  }
  return { groups, isGrouped }
}

interface AllFolded extends Folded {
  readonly groups: Map<number, readonly Group[]>
  /** How many groups there are of each key. */
  readonly used: ReadonlyMap<string, number>
}

function foldAll(owner: string, list: readonly Rule[], folds: readonly (SourceFold | null)[], kept: ReadonlySet<string>): AllFolded {
  const open: OpenGroup[] = []
  let segment = new Segment()
  const close = (): void => {
    if (segment.groups.size > 0) open.push(...segment.groups.values())
    segment = new Segment()
  }
  list.forEach((rule, index) => {
    const { kind } = rule.verdict
    // what does not decide has its place among what does, and whoever is judged before a limit does not use it up
    if ((kind !== 'accept' && kind !== 'drop' && kind !== 'reject') || rule.limit !== undefined) return close()
    const fold = folds[index]!
    if (fold === null) return segment.pass(rule, index)
    if (segment.add(rule, index, fold)) return
    close()
    segment.add(rule, index, fold)
  })
  close()
  const used = new Map<string, number>()
  const groups = new Map<number, Group[]>()
  const isGrouped = new Uint8Array(list.length)
  for (const one of open) {
    const count = used.get(one.key) ?? 0
    const role = `${owner}:${one.key}${count === 0 ? '' : `:${count + 1}`}`
    if (one.rules.length < minGroup && !kept.has(role) && !one.rules.some(isCalled)) continue
    used.set(one.key, count + 1)
    const at = one.indexes[0]!
    groups.set(at, [...(groups.get(at) ?? []), makeGroup(role, one)])
    for (const index of one.indexes) isGrouped[index] = 1
  }
  return { groups, isGrouped, used }
}

/** Came by a call, so more like it may come. */
function isCalled({ origin }: Rule): boolean {
  return origin.layer === 'runtime'
}

/** null for what is not the first group of its kind. */
function emptyGroup(role: string, key: string): Group | null {
  const [, word = '', ports, digit] = /^(accept|drop|reject-[a-z-]+)(:ports)?:([46])$/.exec(key) ?? []
  const type = rejectTypes.find((one) => word === `reject-${one}`)
  const verdict: Verdict | null = word === 'accept' || word === 'drop' ? { kind: word } : type === undefined ? null : { kind: 'reject', type }
  if (verdict === null) return null
  const last = lastGroups.get(role)
  if (last?.rules.length === 0) return last.group
  const group = groupOf(role, ports !== undefined, digit === '4' ? 'ipv4' : 'ipv6', new Map(), verdict)
  lastGroups.set(role, { rules: [], group })
  return group
}

function makeGroup(role: string, { rules, folds: parts }: OpenGroup): Group {
  const last = lastGroups.get(role)
  if (last !== undefined && last.rules.length === rules.length && rules.every((rule, index) => rule === last.rules[index])) return last.group
  const group = newGroup(role, rules, parts)
  if (lastGroups.size >= maxRemembered) lastGroups.clear()
  lastGroups.set(role, { rules, group })
  return group
}

function newGroup(role: string, rules: readonly Rule[], parts: readonly SourceFold[]): Group {
  const { family, withPort } = parts[0]!
  return groupOf(role, withPort, family, ownersOf(rules, parts), rules[0]!.verdict)
}

function groupOf(role: string, withPort: boolean, family: Family, owners: ReadonlyMap<string, string>, verdict: PlanRule['verdict']): Group {
  const set = elementSet(role, withPort ? 'prefix-port' : 'prefix', family, owners)
  return { set, rule: { id: '', match: [{ kind: 'family', family }, { kind: 'set', role, side: 'source', invert: false }], verdict } }
}

/**
 * Which rule counts an element's packets: the first one that has it. A set finds the longest prefix, so an element within one
 * of an earlier rule is left out: its packets belong to that.
 */
function ownersOf(rules: readonly Rule[], parts: readonly SourceFold[]): ReadonlyMap<string, string> {
  const owners = new Map<string, string>()
  const lengths = new Set<number>()
  rules.forEach((rule, index) => {
    const { prefix, elements } = parts[index]!
    for (const element of elements) {
      if (owners.has(element)) continue
      const rest = element.slice(formatPrefix(prefix).length)
      let isCovered = false
      for (const length of lengths) {
        isCovered ||= length < prefix.length && owners.has(`${formatPrefix(maskPrefix(prefix.family, prefix.addr, length))}${rest}`)
      }
      if (!isCovered) owners.set(element, rule.id)
    }
    lengths.add(prefix.length)
  })
  return owners
}
