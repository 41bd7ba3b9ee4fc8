// Runs of bindings as matches: which zone a packet comes from or goes to. Prefixes of one zone share a set, so that a
// packet's way does not grow with the number of sources.
import type { Family, Prefix } from '../model/addr.ts'
import { families } from '../model/addr.ts'
import type { AddressMatch, Binding, InterfaceMatch } from '../model/firewall.ts'
import { unreachable } from '../errors.ts'
import { compileAddress } from './match.ts'
import type { MatchContext } from './match.ts'
import type { PlanMatch, PlanRule } from './plan.ts'
import { interfaceSets, macSet, prefixSet } from './sets.ts'

/** Consecutive bindings of one zone, which decide alike whatever their order among themselves. */
interface Run {
  readonly zone: string
  readonly bindings: readonly Binding[]
  /** Not by the default zone's last binding, which takes what nothing binds. */
  readonly isBound: boolean
}

export interface Walk {
  readonly bindings: readonly Binding[]
  /** Which address and interface of the packet is looked at. */
  readonly side: 'source' | 'destination'
  /** Part of the roles of its sets: two walks over different bindings must not share it. */
  readonly what: string
  /** How the incoming interface is asked for: behind routing iptables has no word for it, but sets have. */
  readonly interfaces?: 'set'
}

/** More interfaces or MAC addresses of one zone are looked up in sets. Up to here a rule each is as fast, and easier to read. */
const manyNames = 8

/**
 * `decide` says what happens to packets of a zone; each of its rules is repeated with the matches of the zone's bindings, in
 * the order of decision. null = nothing more happens (return). What nothing happens to at the end needs no rules.
 */
export function compileWalk(
  walk: Walk, decide: (zone: string, isBound: boolean) => Omit<PlanRule, 'match'> | null, context: MatchContext,
): readonly PlanRule[] {
  const roles = roleCounter()
  const decided = withoutIdle(runsOf(walk.bindings).map((run) => ({ run, decision: decide(run.zone, run.isBound) })))
  const last = decided.findLastIndex(({ decision }) => decision !== null)
  return decided.slice(0, last + 1).flatMap(({ run, decision }) => (
    runMatches(run, walk, roles(run.zone, walk.what), context).map((match): PlanRule => ({ ...(decision ?? goOn), match }))))
}

interface Decided {
  readonly run: Run
  readonly decision: Omit<PlanRule, 'match'> | null
}

/** What the default zone takes anyway need not be asked for before. */
function withoutIdle(decided: readonly Decided[]): readonly Decided[] {
  const last = decided.at(-1)
  if (last === undefined || last.run.isBound) return decided
  const what = JSON.stringify(last.decision)
  const idle = decided.slice(0, -1).findLastIndex(({ decision }) => JSON.stringify(decision) !== what) + 1
  return [...decided.slice(0, idle), last]
}

/** Nothing more happens to the packet here: for decisions that must not be left out at the end of a walk. */
export const goOn: Omit<PlanRule, 'match'> = { id: '', verdict: { kind: 'return' } }

function runsOf(bindings: readonly Binding[]): readonly Run[] {
  const runs: { zone: string; bindings: Binding[]; isBound: boolean }[] = []
  for (const binding of bindings) {
    const run = runs.at(-1)
    const isBound = binding.kind !== 'any'
    if (run !== undefined && run.zone === binding.zone && run.isBound === isBound) run.bindings.push(binding)
    else runs.push({ zone: binding.zone, bindings: [binding], isBound })
  }
  return runs
}

/** Role prefixes `zone:home:sources`, the second run of the zone `zone:home:sources:2`. */
function roleCounter(): (zone: string, what: string) => (suffix: string) => string {
  const used = new Map<string, number>()
  return (zone, what) => {
    const count = (used.get(zone) ?? 0) + 1
    used.set(zone, count)
    return (suffix) => `zone:${zone}:${what}${suffix}${count === 1 ? '' : `:${count}`}`
  }
}

/** What a packet of this run looks like, one entry a rule. */
function runMatches(run: Run, { side, interfaces }: Walk, roleOf: (suffix: string) => string, context: MatchContext): PlanMatch[][] {
  const matches: PlanMatch[][] = []
  const prefixes: Record<Family, Prefix[]> = { ipv4: [], ipv6: [] }
  const macs = run.bindings.flatMap(({ source }) => (source?.match.kind === 'mac' && !source.match.invert ? [source.match.mac] : []))
  const single = (match: AddressMatch): void => {
    for (const variant of compileAddress(match, side, context)) {
      matches.push([...(variant.family === null ? [] : [{ kind: 'family', family: variant.family } as const]), ...variant.match])
    }
  }
  for (const { kind, source } of run.bindings) {
    if (kind !== 'source' || source === undefined) continue
    const { match } = source
    if (match.kind === 'prefix' && !match.invert) prefixes[match.prefix.family].push(match.prefix)
    else if (match.kind !== 'mac' || match.invert || macs.length <= manyNames) single(match)
  }
  if (macs.length > manyNames) matches.push([{ kind: 'set', role: context.sets.add(macSet(roleOf('-macs'), macs)), side, invert: false }])
  for (const family of families) {
    if (prefixes[family].length === 0) continue
    const role = shareable(prefixSet(roleOf(family === 'ipv4' ? '4' : '6'), family, prefixes[family]), run.zone, context)
    matches.push([{ kind: 'family', family }, { kind: 'set', role, side, invert: false }])
  }
  const named = run.bindings.flatMap((binding) => binding.interface ?? [])
  matches.push(...(interfaces === 'set' || named.length > manyNames ? interfaceSetMatches(named, side, roleOf, context) : interfaceMatches(named, side)))
  if (!run.isBound) matches.push([])
  return matches
}

function interfaceMatches(interfaces: readonly InterfaceMatch[], side: 'source' | 'destination'): PlanMatch[][] {
  const kind = side === 'source' ? 'in-interface' : side === 'destination' ? 'out-interface' : unreachable(side)
  return interfaces.map(({ name, wildcard }) => [{ kind, name, wildcard }])
}

function interfaceSetMatches(interfaces: readonly InterfaceMatch[], side: 'source' | 'destination', roleOf: (suffix: string) => string, context: MatchContext): PlanMatch[][] {
  // a set has no word for every interface, and needs none
  if (interfaces.some(({ name, wildcard }) => wildcard && name === '')) return [[]]
  return families.flatMap((family) => interfaceSets(roleOf(family === 'ipv4' ? '-interfaces4' : '-interfaces6'), family, interfaces).map((set): PlanMatch[] => (
    [{ kind: 'family', family }, { kind: 'interface-set', role: context.sets.add(set), side }])))
}

/** The outgoing side mostly asks for the very sources of the incoming side: then it uses their set. */
function shareable(set: ReturnType<typeof prefixSet>, zone: string, context: MatchContext): string {
  const ingressRole = `zone:${zone}:sources${set.family === 'ipv4' ? 4 : 6}`
  return context.sets.get(ingressRole)?.digest === set.digest ? ingressRole : context.sets.add(set)
}
