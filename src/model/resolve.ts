// Runtime → Firewall: every name looked up, every decision in its order. Pure; zones that did not change keep their
// identity from one generation to the next, so that whoever compiles them can skip them.
import { printable } from '../errors.ts'
import { families, parsePrefix } from './addr.ts'
import type { Family } from './addr.ts'
import { checkDirectChain, checkDirectRule, checkToolArgs } from './direct-args.ts'
import type { Firewall, IpSet, NatRule, Policy, PortMatch, Zone } from './firewall.ts'
import { ipSetFamily } from './ipset-entry.ts'
import { Last } from './resolve/last.ts'
import { portMatch } from './resolve/service.ts'
import { checkConflicts, egressBindings, ingressBindings } from './resolve/binding.ts'
import { checkPolicy, isActive as isPolicyActive, resolvePolicy } from './resolve/policy.ts'
import { originOf, Problems } from './resolve/problem.ts'
import type { Problem } from './resolve/problem.ts'
import { checkPublished } from './resolve/published.ts'
import { resolveZone } from './resolve/zone.ts'
import type { Findings } from './resolve/zone.ts'
import type { AddressList, Entry, IpSetSettings, MainSettings, Runtime, Settings } from './settings.ts'

export type { Problem } from './resolve/problem.ts'

export interface Resolved {
  /** null when there is any problem. */
  readonly firewall: Firewall | null
  /** All of them at once. What is only written down, in zones and policies that nothing uses, is no problem. */
  readonly problems: readonly Problem[]
  /** What works less than it says: a service's connection helpers. */
  readonly warnings: readonly Problem[]
}

export function resolve(runtime: Runtime): Resolved {
  const { settings, panic } = runtime
  const problems = new Problems()
  const main = settings.main.value
  const resolved = [...settings.zones]
    .sort(([one], [other]) => (one < other ? -1 : 1))
    .map(([name, entry]) => resolveZone(name, entry, settings))
  const active = resolved.filter(({ zone }) => isActive(zone, main.defaultZone))
  const zones = resolved.map(({ zone }) => zone)
  const zonesByName = new Map(zones.map((zone) => [zone.name, zone]))
  const policies = [...settings.policies].map(([name, entry]) => resolvePolicy(name, entry, settings))
  const activeZones = new Set(active.map(({ zone }) => zone.name))
  const inForce = policies
    .filter(({ policy }) => isPolicyActive(settings.policies.get(policy.name)!.value, activeZones))
    .sort(({ policy: one }, { policy: other }) => one.priority - other.priority || (one.name < other.name ? -1 : 1))
  const ipsets = new Map([...settings.ipsets].map(([name, entry]) => [name, resolveIpSet(name, entry)]))

  if (!settings.zones.has(main.defaultZone)) {
    const origin = mainOrigin(settings.main, 'defaultZone', main.defaultZone)
    problems.add('INVALID_ZONE', `the default zone '${printable(main.defaultZone)}' does not exist`, origin)
  }
  for (const { problems: found } of [...resolved, ...policies]) problems.found.push(...found)
  const bound = zones.flatMap(({ name, sources, interfaces }) => [name, sources, interfaces])
  lastConflicts.get(bound, problems, () => checkConflicts(zones, problems))
  for (const found of inForce) checkPolicy(found, settings.policies.get(found.policy.name)!, zonesByName, problems)
  checkDirect(settings, problems)
  const reversePath = reversePathOf(settings.main, problems)

  const firewall: Firewall = {
    defaultZone: main.defaultZone,
    zones: zonesByName,
    policies: inForce.map(({ policy }) => policy),
    strictForwardPorts: main.strictForwardPorts,
    published: main.published,
    forwarding: forwarding([...active.map(({ zone }) => zone), ...inForce.map(({ policy }) => policy)]),
    ingress: lastIngress.get([main.defaultZone, ...bound, ...zones.map((zone) => zone.ingressPriority)], problems, () => ingressBindings(zones, main.defaultZone)),
    egress: lastEgress.get(
      [main.defaultZone, ...bound, ...zones.map((zone) => zone.egressPriority), ...[...ipsets].flatMap(([name, { type }]) => [name, type])], problems,
      () => egressBindings(zones, main.defaultZone, ipsets),
    ),
    ipsets,
    blockLists: lastBlockLists.get([settings.main, settings.lists], problems, () => blockLists(settings, problems)),
    neverBlock: lastNeverBlock.get([settings.main], problems, () => neverBlock(settings.main, problems)),
    failsafePorts: lastFailsafePorts.get([settings.main], problems, () => failsafePorts(settings.main, problems)),
    panic,
    logDenied: main.logDenied,
    reversePath,
    ...(settings.direct === undefined ? {} : { direct: settings.direct.value }),
    rejectHiddenIpv4: main.rfc3964Ipv4,
    xdp: { mode: main.xdp, interfaces: main.xdpInterfaces },
  }
  checkPublished(firewall, problems)
  return {
    firewall: problems.found.length === 0 ? firewall : null,
    problems: problems.found,
    warnings: [...active, ...inForce].flatMap(({ warnings }) => warnings),
  }
}

/** What no tool may be given is refused here; whether a tool takes the rest, it says itself. */
function checkDirect({ direct }: Settings, problems: Problems): void {
  if (direct === undefined) return
  const { chains, rules, passthroughs } = direct.value
  problems.attempt(originOf(direct, 'direct chains', 'chains'), () => chains.forEach(checkDirectChain))
  problems.attempt(originOf(direct, 'direct rules', 'rules'), () => rules.forEach(checkDirectRule))
  problems.attempt(originOf(direct, 'passthroughs', 'passthroughs'), () => passthroughs.forEach(({ ipv, args }) => checkToolArgs(ipv, args)))
}


/** In use: it has an interface or a source, or takes what no zone takes. */
function isActive(zone: Zone, defaultZone: string): boolean {
  return zone.name === defaultZone || zone.interfaces.length > 0 || zone.sources.length > 0
}

/** Families in which connections go on to another host because somebody asked for it. */
function forwarding(all: readonly Pick<Zone | Policy, 'destinationNat' | 'sourceNat'>[]): readonly Family[] {
  const needs = ({ match, translation }: NatRule, family: Family): boolean => {
    switch (translation.kind) {
      case 'redirect': return false
      case 'destination': return translation.family === family
      case 'masquerade': return (match.family ?? family) === family
    }
  }
  return families.filter((family) => all.some(({ destinationNat, sourceNat }) => [...destinationNat, ...sourceNat].some((rule) => needs(rule, family))))
}

/** What one change after the other leaves as it is, is the same object again. */
const lastConflicts = new Last<void>()
const lastIngress = new Last<Firewall['ingress']>()
const lastEgress = new Last<Firewall['egress']>()
const lastBlockLists = new Last<Firewall['blockLists']>()
const lastNeverBlock = new Last<Firewall['neverBlock']>()
const lastFailsafePorts = new Last<Firewall['failsafePorts']>()

const ipsetsOf = new WeakMap<Entry<IpSetSettings>, IpSet>()

function resolveIpSet(name: string, entry: Entry<IpSetSettings>): IpSet {
  const known = ipsetsOf.get(entry)
  if (known !== undefined && known.name === name) return known
  const { type, options, entries } = entry.value
  const ipset = { name, type, family: ipSetFamily(type, options), options, entries, origin: originOf(entry, `ipset ${name}`) }
  ipsetsOf.set(entry, ipset)
  return ipset
}

function mainOrigin(main: Entry<MainSettings>, key: string, item: string, list = false): ReturnType<typeof originOf> {
  return originOf(main, `${key}: ${item}`, key, ...(list ? [item] as const : []))
}

/** firewalld on iptables knows no filter for forwarded packets alone and refuses to start with one. */
function reversePathOf(main: Entry<MainSettings>, problems: Problems): 'strict' | 'loose' | 'off' {
  const word = main.value.ipv6Rpfilter
  switch (word) {
    case 'strict':
    case 'loose': return word
    case 'no': return 'off'
    case 'strict-forward':
    case 'loose-forward':
      problems.add('INVALID_VALUE', `IPv6_rpfilter=${word} cannot be had with iptables`, mainOrigin(main, 'ipv6Rpfilter', word))
      return 'off'
  }
}

function blockLists(settings: Settings, problems: Problems): readonly AddressList[] {
  return settings.main.value.block.flatMap((name) => {
    const list = settings.lists.get(name)
    if (list === undefined) problems.add('INVALID_SOURCE', `there is no list '${printable(name)}'`, mainOrigin(settings.main, 'block', name, true))
    return list === undefined ? [] : [list]
  })
}

function neverBlock(main: Entry<MainSettings>, problems: Problems): Firewall['neverBlock'] {
  return main.value.neverBlock.flatMap((text) => {
    const origin = mainOrigin(main, 'neverBlock', text, true)
    const prefix = parsePrefix(text)
    if (prefix === null) problems.add('INVALID_ADDR', printable(text), origin)
    return prefix === null ? [] : [{ prefix, origin }]
  })
}

function failsafePorts(main: Entry<MainSettings>, problems: Problems): readonly PortMatch[] {
  return main.value.failsafePorts.flatMap((spec) => {
    const origin = mainOrigin(main, 'failsafePorts', `${spec.port}/${spec.protocol}`, true)
    const match = problems.attempt(origin, () => portMatch('port', spec))
    return match?.kind === 'port' ? [{ protocol: match.protocol, ports: match.ports, origin }] : []
  })
}
