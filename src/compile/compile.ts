// Firewall → Plan: the one place where the meaning of a configuration becomes chains and sets. Pure; the order in which
// zones or sources were written does not matter, only what the Firewall says about their order of decision.
import type { Firewall } from '../model/firewall.ts'
import { isTimed } from '../model/ipset.ts'
import { essentials, failsafeRule, outgoingEssentials, stageRules } from '../model/stages.ts'
import type { Essential } from '../model/stages.ts'
import { hiddenIpv4Rules, invalidRules } from './denied.ts'
import { activeZones, compileHostOutput, compileIngress, compileZoneForward, compileZoneInput } from './dispatch.ts'
import { compileEarly, earlyInputChain, earlyOutputChain, neverBlockRules } from './early.ts'
import type { MatchContext } from './match.ts'
import { compileNat } from './nat.ts'
import type { Hook, Plan, PlanChain, PlanMatch, PlanRule } from './plan.ts'
import { compilePolicy } from './policy.ts'
import { helperChains, preroutingChains } from './prerouting.ts'
import { compilePublished, letsAllTranslatedIn } from './published.ts'
import { SetRegistry, userSet } from './sets.ts'
import { shareWith } from './share.ts'
import { compileZoneRules, forwardChainName, inputChainName } from './zone.ts'

/**
 * Chains of the result, in order: early-input, early-output (only when they decide something), input, forward, output (only
 * when a policy is from HOST), those of each active zone by name, of policies in their order, of nat. `input` and `forward`
 * never fall through: their last rule leads into the default zone.
 * `kept` are roles of the plan in force (keptRoles), which decide no packet.
 * Throws DerpanetError where a Firewall asks for what no ruleset can hold.
 */
export function compile(firewall: Firewall, kept?: ReadonlySet<string>): Plan {
  last = shareWith(last, build(firewall, kept))
  return last
}

/** A plan usually follows another one that is nearly the same. */
let last: Plan | null = null

function build(firewall: Firewall, kept?: ReadonlySet<string>): Plan {
  const context: MatchContext = { sets: new SetRegistry(), ipsets: firewall.ipsets, ...(kept === undefined ? {} : { kept }) }
  const { sets } = context
  const hooks: { hook: Hook; chain: string }[] = []
  const chains: PlanChain[] = []
  const addHook = (hook: Hook, chain: PlanChain | null): void => {
    if (chain === null) return
    chains.push(chain)
    hooks.push({ hook, chain: chain.name })
  }
  addHook('early-input', earlyInputChain(firewall, sets))
  addHook('early-output', earlyOutputChain(firewall, sets))
  for (const [hook, found] of [['helpers', helperChains(firewall, context)], ['prerouting', preroutingChains(firewall, context)]] as const) {
    chains.push(...found.slice(0, -1))
    addHook(hook, found.at(-1) ?? null)
  }
  addHook('input', inputChain(firewall, context))
  addHook('forward', forwardChain(firewall, context))
  const host = compileHostOutput(firewall, context)
  addHook('output', outputChain(firewall, context, host?.rules ?? []))
  chains.push(...host?.chains ?? [])
  for (const zone of activeZones(firewall)) {
    chains.push(compileZoneInput(firewall, zone, compileZoneRules(zone, context), context), ...compileZoneForward(firewall, zone, context))
    chains.push(...orNone(compilePublished(firewall, zone, context)))
  }
  for (const policy of firewall.policies) chains.push(...orNone(compilePolicy(policy, context)))
  const nat = compileNat(firewall, context)
  // there whether a rule asks for it or not, so that entries have a place to live
  for (const ipset of firewall.ipsets.values()) if (isTimed(ipset.options)) sets.add(userSet(ipset))
  return {
    sets: sets.list(),
    chains: [...chains, ...nat.chains],
    hooks: [...hooks, ...nat.hooks],
    early: compileEarly(firewall),
    forwarding: firewall.forwarding,
    interfaces: firewall.ingress.flatMap((binding) => (binding.interface === undefined
      ? []
      : [{ name: binding.interface.name, wildcard: binding.interface.wildcard, zone: binding.zone }])),
    defaultZone: firewall.defaultZone,
    ...(firewall.direct === undefined ? {} : { direct: firewall.direct }),
    ...(firewall.xdp === undefined ? {} : { xdp: firewall.xdp }),
  }
}

function orNone<T>(value: T | null): readonly T[] {
  return value === null ? [] : [value]
}

function acceptStates(states: readonly ('established' | 'related')[]): PlanRule {
  return { id: stageRules.established, match: [{ kind: 'state', states }], verdict: { kind: 'accept' } }
}

const acceptDnat: PlanRule = { id: stageRules.dnat, match: [{ kind: 'dnat' }], verdict: { kind: 'accept' } }

/**
 * firewalld's order (established, DNAT, loopback, invalid, zones) with what no zone may stop in front of INVALID:
 * connection tracking calls much of neighbour discovery invalid or untracked.
 */
function inputChain(firewall: Firewall, context: MatchContext): PlanChain {
  const failsafe = firewall.failsafePorts.map((port): PlanRule => ({
    id: failsafeRule(port),
    match: [{ kind: 'port', protocol: port.protocol, side: 'destination', ports: port.ports }],
    verdict: { kind: 'accept' },
    origin: port.origin,
  }))
  return {
    name: 'input',
    rules: [
      acceptStates(['established', 'related']),
      ...(letsAllTranslatedIn(firewall) ? [acceptDnat] : []),
      { id: stageRules.loopback, match: [{ kind: 'in-interface', name: 'lo', wildcard: false }], verdict: { kind: 'accept' } },
      ...failsafe,
      ...neverBlockRules(firewall, context.sets, 'source', 'accept'),
      ...essentials.map(essentialRule),
      ...invalidRules(firewall, context),
      ...compileIngress(firewall, inputChainName, context),
    ],
  }
}

function forwardChain(firewall: Firewall, context: MatchContext): PlanChain {
  return {
    name: 'forward',
    rules: [
      acceptStates(['established', 'related']),
      ...(letsAllTranslatedIn(firewall) ? [acceptDnat] : []),
      ...invalidRules(firewall, context),
      ...hiddenIpv4Rules(firewall, context),
      ...compileIngress(firewall, forwardChainName, context),
    ],
  }
}

/**
 * null = nothing is asked of what this host sends. Policies from HOST judge as little as they can: not answers, not loopback,
 * not what IPv6 needs.
 */
function outputChain(firewall: Firewall, context: MatchContext, policies: readonly PlanRule[]): PlanChain | null {
  const hidden = hiddenIpv4Rules(firewall, context)
  if (hidden.length + policies.length === 0) return null
  // without a policy only IPv6 has something to be asked
  const family: readonly PlanMatch[] = policies.length === 0 ? [{ kind: 'family', family: 'ipv6' }] : []
  const known = acceptStates(['established', 'related'])
  return {
    name: 'output',
    rules: [
      { ...known, id: '', match: [...family, ...known.match] },
      { id: '', match: [...family, { kind: 'out-interface', name: 'lo', wildcard: false }], verdict: { kind: 'accept' } },
      ...hidden,
      ...(policies.length === 0 ? [] : outgoingEssentials.map(essentialRule)),
      ...policies,
    ],
  }
}

function essentialRule({ id, family, source, protocol }: Essential): PlanRule {
  const match: PlanMatch[] = [{ kind: 'family', family }]
  if (source !== undefined) match.push({ kind: 'source-prefix', prefix: source, invert: false })
  if (protocol.kind === 'icmp') match.push({ kind: 'icmp', type: protocol.type, code: null })
  else {
    match.push(
      { kind: 'port', protocol: 'udp', side: 'source', ports: { first: protocol.sourcePort, last: protocol.sourcePort } },
      { kind: 'port', protocol: 'udp', side: 'destination', ports: { first: protocol.destinationPort, last: protocol.destinationPort } },
    )
  }
  return { id, match, verdict: { kind: 'accept' } }
}
