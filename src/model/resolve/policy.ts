// One policy: which packets it is about, what it decides of them, and what is wrong with it.
import { DerpanetError, printable } from '../../errors.ts'
import type { Policy, PolicySide, Rule, Verdict, Zone } from '../firewall.ts'
import type { Entry, PolicySettings, PolicyTarget, Settings } from '../settings.ts'
import type { Lookup } from './lookup.ts'
import { asksMac } from './nat.ts'
import { originOf } from './problem.ts'
import type { Problems } from './problem.ts'
import { rememberEntries } from './remember.ts'
import { rejectProhibited, RuleReader } from './rules.ts'
import type { Findings } from './zone.ts'

export interface ResolvedPolicy extends Findings {
  readonly policy: Policy
}

/** The same object again while the entry and everything it names stay the same. */
export const resolvePolicy = rememberEntries(resolve)

/** In force: not disabled, and packets can come from and go to what it names. */
export function isActive(policy: PolicySettings, activeZones: ReadonlySet<string>): boolean {
  const reached = (zones: readonly string[]): boolean => zones.some((zone) => zone === 'ANY' || zone === 'HOST' || activeZones.has(zone))
  return !policy.disable && reached(policy.ingressZones) && reached(policy.egressZones)
}

const targetVerdict: Readonly<Record<PolicyTarget, Verdict | null>> = {
  CONTINUE: null, REJECT: rejectProhibited, ACCEPT: { kind: 'accept' }, DROP: { kind: 'drop' },
}

function resolve(name: string, entry: Entry<PolicySettings>, lookup: Lookup): ResolvedPolicy {
  const { target, priority, ingressZones, egressZones } = entry.value
  const ingress = sideOf(ingressZones)
  const egress = sideOf(egressZones)
  const reader = new RuleReader('policy', name, entry, lookup, egress.kind === 'host' ? 'IN' : ingress.kind === 'host' ? 'OUT' : 'FWD')
  const verdict = targetVerdict[target]
  const effects = reader.forwardEffects()
  if (egress.kind === 'host') for (const { origin } of effects) reader.problems.add('INVALID_RULE', 'tcp-mss-clamp is for packets that go on, not for HOST', origin)
  const policy: Policy = {
    name,
    priority,
    ingress,
    egress,
    rules: [...effects, ...reader.rules(), ...(verdict === null ? [] : reader.withDeniedLog(reader.target('target', target, verdict)))],
    marks: reader.marks(),
    helpers: reader.helpers(),
    destinationNat: reader.translations('destination'),
    sourceNat: reader.translations('source'),
    origin: originOf(entry, `policy ${name}`),
  }
  for (const rule of [...policy.rules, ...policy.destinationNat]) checkHostRule(policy, rule, reader)
  if (ingress.kind === 'host') for (const { origin } of policy.marks ?? []) reader.problems.add('INVALID_RULE', 'mark in a policy from HOST', origin)
  const { problems, warnings } = reader
  return { policy, problems: problems.found, warnings: warnings.found }
}

/** What this host sends comes from no MAC address that a rule could ask for. */
function checkHostRule(policy: Policy, { match, origin }: Pick<Rule, 'match' | 'origin'>, { problems, lookup }: RuleReader): void {
  if (policy.ingress.kind === 'host' && asksMac(match, lookup)) problems.add('INVALID_RULE', 'mac source in a policy from HOST', origin)
}

function sideOf(zones: readonly string[]): PolicySide {
  if (zones.includes('ANY')) return { kind: 'any' }
  return zones.includes('HOST') ? { kind: 'host' } : { kind: 'zones', zones }
}

/** What can only be told with all zones at hand, of a policy in force. */
export function checkPolicy({ policy }: ResolvedPolicy, entry: Entry<PolicySettings>, zones: ReadonlyMap<string, Zone>, problems: Problems): void {
  for (const key of ['ingressZones', 'egressZones'] as const) {
    for (const zone of entry.value[key]) {
      if (zone === 'ANY' || zone === 'HOST' || zones.has(zone)) continue
      problems.add('INVALID_ZONE', `policy ${policy.name}: there is no zone '${printable(zone)}'`, originOf(entry, `policy ${policy.name}`, key, zone))
    }
  }
  for (const { origin } of policy.sourceNat) problems.attempt(origin, () => checkMasquerade(policy, zones))
  for (const { origin } of policy.marks ?? []) problems.attempt(origin, () => checkMark(policy, zones))
  for (const { origin, translation } of policy.destinationNat) {
    problems.attempt(origin, () => checkForwardPort(policy, translation.kind === 'destination', zones))
  }
}

/** Throws INVALID_ZONE. */
function checkMasquerade({ name, ingress, egress }: Policy, zones: ReadonlyMap<string, Zone>): void {
  if (ingress.kind === 'host' || egress.kind === 'host') {
    throw new DerpanetError('INVALID_ZONE', `policy ${name}: masquerade is for packets that pass through, not for HOST`)
  }
  if (ingress.kind === 'any') return
  const byMac = [...zones.values()].find((zone) => zone.sources.some(({ match }) => match.kind === 'mac'))
  // behind routing the kernel tells no rule which card a packet came from: the zone it came by could not be told apart
  if (byMac !== undefined) {
    throw new DerpanetError('INVALID_ZONE', `policy ${name}: masquerade needs ingress ANY while zone ${byMac.name} has a MAC address as a source`)
  }
}

/** Throws INVALID_FORWARD, INVALID_ZONE. */
function checkForwardPort({ name, egress }: Policy, hasAddr: boolean, zones: ReadonlyMap<string, Zone>): void {
  if (egress.kind === 'host') {
    if (hasAddr) throw new DerpanetError('INVALID_FORWARD', `policy ${name}: a forward-port to another host cannot end at HOST`)
    return
  }
  if (!hasAddr) throw new DerpanetError('INVALID_FORWARD', `policy ${name}: to-addr is needed, unless egress-zones is HOST`)
  checkBeforeRouting(name, 'forward-port', egress, zones)
}

/** Throws INVALID_ZONE. */
function checkMark({ name, egress }: Policy, zones: ReadonlyMap<string, Zone>): void {
  checkBeforeRouting(name, 'mark', egress, zones)
}

/** It is decided before routing, when nobody knows yet which interface the packet will leave by. Throws INVALID_ZONE. */
function checkBeforeRouting(policy: string, what: string, egress: PolicySide, zones: ReadonlyMap<string, Zone>): void {
  if (egress.kind !== 'zones') return
  const bound = egress.zones.find((zone) => (zones.get(zone)?.interfaces.length ?? 0) > 0)
  if (bound !== undefined) throw new DerpanetError('INVALID_ZONE', `policy ${policy}: ${what} cannot be used because egress zone ${bound} has interfaces`)
}
