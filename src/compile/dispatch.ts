// Which zone decides: the bindings in their order become jumps into zone chains, runs of sources become sets.
import type { Family, Prefix } from '../model/addr.ts'
import { families } from '../model/addr.ts'
import type { AddressMatch, Binding, Firewall, Zone } from '../model/firewall.ts'
import { zoneForwardRule } from '../model/stages.ts'
import { unreachable } from '../errors.ts'
import { compileAddress } from './match.ts'
import type { MatchContext } from './match.ts'
import type { PlanChain, PlanMatch, PlanRule, PlanVerdict } from './plan.ts'
import { compileRule } from './rules.ts'
import { prefixSet } from './sets.ts'
import { forwardChainName } from './zone.ts'

/** Consecutive bindings of one zone, which decide alike whatever their order among themselves. */
interface Run {
  readonly zone: string
  readonly bindings: readonly Binding[]
}

/** Zones that some binding leads to; "" matches nothing: every binding names a zone. */
export function activeZones(firewall: Firewall): ReadonlySet<string> {
  return new Set(firewall.ingress.map((binding) => binding.zone))
}

/** Rules that send a packet to its zone's chain by where it comes from. The last one takes everything. A zone without a chain has it return. */
export function compileIngress(firewall: Firewall, chainOf: (zone: string) => string | null, context: MatchContext): readonly PlanRule[] {
  const names = roleCounter()
  return runsOf(firewall.ingress).flatMap((run) => {
    const chain = chainOf(run.zone)
    const verdict: PlanVerdict = chain === null ? { kind: 'return' } : { kind: 'goto', chain }
    return runMatches(run, 'source', names(run.zone, 'sources'), context).map((match): PlanRule => ({ id: '', match, verdict }))
  })
}

/**
 * Packets forwarded from `zone`. With `forward`, those whose outgoing side is the same zone pass: the egress bindings are
 * walked in their order up to the zone's last one, and whatever another zone claims first is left to the target.
 */
export function compileZoneForward(firewall: Firewall, zone: Zone, context: MatchContext): PlanChain {
  const target: PlanRule = {
    id: zone.forwardRule.id, match: [], verdict: zone.forwardRule.verdict, origin: zone.forwardRule.origin,
  }
  const log = zone.forwardLog === undefined ? [] : compileRule(zone.forwardLog, context)
  const denied = (match: readonly PlanMatch[]): PlanRule[] => [...log.map((rule) => ({ ...rule, match: [...match, ...rule.match] })), { ...target, match }]
  const rules: PlanRule[] = (zone.forwardEffects ?? []).flatMap((rule) => compileRule(rule, context))
  if (zone.forward && zone.forwardRule.verdict.kind !== 'accept') {
    const names = roleCounter()
    const runs = runsOf(firewall.egress.filter(canLeaveBy(firewall)))
    const last = runs.map((run) => run.zone).lastIndexOf(zone.name)
    for (const run of runs.slice(0, last + 1)) {
      const own = run.zone === zone.name
      for (const match of runMatches(run, 'destination', names(run.zone, 'egress'), context)) {
        if (own) rules.push({ id: zoneForwardRule(zone.name), match, verdict: { kind: 'accept' }, origin: zone.origin })
        else rules.push(...denied(match))
      }
    }
  }
  if (rules.at(-1)?.match.length !== 0 || rules.at(-1)?.verdict !== target.verdict) rules.push(...denied([]))
  return { name: forwardChainName(zone.name), rules }
}

/** Bindings that say where a forwarded packet goes. A MAC address says where it comes from, never where it goes. */
function canLeaveBy(firewall: Firewall): (binding: Binding) => boolean {
  return ({ kind, source }) => {
    // two interfaces that nothing binds share the default zone, but nobody said that packets may pass between them
    if (kind === 'any') return false
    if (source === undefined) return true
    if (source.match.kind === 'mac') return false
    return source.match.kind !== 'ipset' || firewall.ipsets.get(source.match.name)?.type !== 'hash:mac'
  }
}

function runsOf(bindings: readonly Binding[]): readonly Run[] {
  const runs: { zone: string; bindings: Binding[] }[] = []
  for (const binding of bindings) {
    const run = runs.at(-1)
    if (run !== undefined && run.zone === binding.zone) run.bindings.push(binding)
    else runs.push({ zone: binding.zone, bindings: [binding] })
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

/** What a packet of this run looks like, one entry a rule. MAC addresses stay single: not every kernel has hash:mac. */
function runMatches(run: Run, side: 'source' | 'destination', roleOf: (suffix: string) => string, context: MatchContext): PlanMatch[][] {
  const matches: PlanMatch[][] = []
  const prefixes: Record<Family, Prefix[]> = { ipv4: [], ipv6: [] }
  const single = (match: AddressMatch): void => {
    for (const variant of compileAddress(match, side, context)) {
      matches.push([...(variant.family === null ? [] : [{ kind: 'family', family: variant.family } as const]), ...variant.match])
    }
  }
  for (const { kind, source } of run.bindings) {
    if (kind !== 'source' || source === undefined) continue
    const { match } = source
    if (match.kind === 'prefix' && !match.invert) prefixes[match.prefix.family].push(match.prefix)
    else single(match)
  }
  for (const family of families) {
    if (prefixes[family].length === 0) continue
    const role = shareable(prefixSet(roleOf(family === 'ipv4' ? '4' : '6'), family, prefixes[family]), run.zone, context)
    matches.push([{ kind: 'family', family }, { kind: 'set', role, side, invert: false }])
  }
  for (const binding of run.bindings) {
    switch (binding.kind) {
      case 'source':
        break
      case 'interface': {
        const { name, wildcard } = binding.interface!
        matches.push([{ kind: side === 'source' ? 'in-interface' : 'out-interface', name, wildcard }])
        break
      }
      case 'any':
        matches.push([])
        break
      default:
        unreachable(binding.kind)
    }
  }
  return matches
}

/** The outgoing side mostly asks for the very sources of the incoming side: then it uses their set. */
function shareable(set: ReturnType<typeof prefixSet>, zone: string, context: MatchContext): string {
  const ingressRole = `zone:${zone}:sources${set.family === 'ipv4' ? 4 : 6}`
  return context.sets.get(ingressRole)?.digest === set.digest ? ingressRole : context.sets.add(set)
}
