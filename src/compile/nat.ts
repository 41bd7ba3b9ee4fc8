// Masquerading and forward-ports: chains that only the first packet of a connection visits. What a zone translates stands
// in its own chain, so that one zone decides: firewalld 2.5 tries the forward-ports of other zones too.
import type { Firewall, NatRule, Policy, Zone } from '../model/firewall.ts'
import { failsafeRule } from '../model/stages.ts'
import { compileWalk } from './bindings.ts'
import { activeZones, destinationWalk, egressWalk, ingressWalk } from './dispatch.ts'
import { compileMatch } from './match.ts'
import type { MatchContext } from './match.ts'
import type { Hook, PlanChain, PlanRule, PlanVerdict } from './plan.ts'
import { sideHas } from './policy.ts'
import { compileRule } from './rules.ts'

export interface NatChains {
  readonly hooks: readonly { readonly hook: Hook; readonly chain: string }[]
  readonly chains: readonly PlanChain[]
}

export function compileNat(firewall: Firewall, context: MatchContext): NatChains {
  const compiler = new NatCompiler(firewall, context)
  const hooks = [
    { hook: 'nat-incoming', chain: compiler.incoming() },
    { hook: 'nat-local', chain: compiler.local() },
    { hook: 'nat-leaving', chain: compiler.leaving() },
  ] as const
  return { hooks: hooks.flatMap(({ hook, chain }) => (chain === null ? [] : [{ hook, chain }])), chains: compiler.chains() }
}

const leaveAlone: PlanVerdict = { kind: 'return' }
const throughLoopback: PlanRule = { id: '', match: [{ kind: 'out-interface', name: 'lo', wildcard: false }], verdict: leaveAlone }

class NatCompiler {
  private readonly written = new Map<string, PlanChain>()

  constructor(private readonly firewall: Firewall, private readonly context: MatchContext) {}

  chains(): readonly PlanChain[] {
    return [...this.written.values()]
  }

  incoming(): string | null {
    const policies = this.withRules('destinationNat')
    const byZone = this.zoneChains('dnat', (zone) => zone.destinationNat, policies.filter(({ ingress }) => ingress.kind !== 'host'), ({ ingress }, zone) => sideHas(ingress, zone), (policy) => (
      policy.egress.kind === 'zones' ? this.destinationGuard(policy) : this.policyChain(policy, 'dnat')))
    if (byZone.size === 0) return null
    const failsafe = this.firewall.failsafePorts.map((port): PlanRule => ({
      id: failsafeRule(port),
      match: [{ kind: 'port', protocol: port.protocol, side: 'destination', ports: port.ports }, { kind: 'local-destination' }],
      verdict: leaveAlone,
      origin: port.origin,
    }))
    return this.write('nat-incoming', [...failsafe, ...compileWalk(ingressWalk(this.firewall), (zone) => toChain(byZone.get(zone)), this.context)])
  }

  local(): string | null {
    const policies = this.withRules('destinationNat').filter(({ ingress }) => ingress.kind === 'host')
    if (policies.length === 0) return null
    return this.write('nat-local', [throughLoopback, ...policies.map((policy): PlanRule => (
      { id: '', match: [], verdict: { kind: 'jump', chain: policy.egress.kind === 'zones' ? this.egressGuard(policy) : this.policyChain(policy, 'dnat') } }))])
  }

  leaving(): string | null {
    const policies = this.withRules('sourceNat')
    const byZone = this.zoneChains('snat', (zone) => zone.sourceNat, policies, ({ egress }, zone) => sideHas(egress, zone), (policy) => (
      policy.ingress.kind === 'zones' ? this.ingressGuard(policy) : this.policyChain(policy, 'snat')))
    if (byZone.size === 0) return null
    return this.write('nat-leaving', [throughLoopback, ...compileWalk(egressWalk(this.firewall), (zone) => toChain(byZone.get(zone)), this.context)])
  }

  private withRules(kind: 'destinationNat' | 'sourceNat'): readonly Policy[] {
    return this.firewall.policies.filter((policy) => policy[kind].length > 0)
  }

  /** Chain by zone, for zones in which anything is translated: policies before, the zone's own rules, policies after. */
  private zoneChains(
    what: 'dnat' | 'snat', rulesOf: (zone: Zone) => readonly NatRule[],
    policies: readonly Policy[], concerns: (policy: Policy, zone: string) => boolean, chainOf: (policy: Policy) => string,
  ): ReadonlyMap<string, string> {
    const byZone = new Map<string, string>()
    for (const zone of activeZones(this.firewall)) {
      const concerned = policies.filter((policy) => concerns(policy, zone.name))
      const own = this.natRules(rulesOf(zone))
      if (concerned.length + own.length === 0) continue
      const jumps = (list: readonly Policy[]): readonly PlanRule[] => list.map((policy) => ({ id: '', match: [], verdict: { kind: 'jump', chain: chainOf(policy) } }))
      byZone.set(zone.name, this.write(`zone:${zone.name}:${what}`, [
        ...jumps(concerned.filter(({ priority }) => priority < 0)), ...own, ...jumps(concerned.filter(({ priority }) => priority > 0)),
      ]))
    }
    return byZone
  }

  private policyChain(policy: Policy, what: 'dnat' | 'snat'): string {
    return this.write(`policy:${policy.name}:${what}`, this.natRules(what === 'dnat' ? policy.destinationNat : policy.sourceNat))
  }

  /** Before routing: only source bindings tell where a packet goes. */
  private destinationGuard(policy: Policy): string {
    const chain = this.policyChain(policy, 'dnat')
    return this.write(`policy:${policy.name}:towards`, compileWalk(destinationWalk(this.firewall), (zone) => (sideHas(policy.egress, zone) ? toChain(chain) : null), this.context))
  }

  private egressGuard(policy: Policy): string {
    const chain = this.policyChain(policy, 'dnat')
    return this.write(`policy:${policy.name}:towards`, compileWalk(egressWalk(this.firewall), (zone) => (sideHas(policy.egress, zone) ? toChain(chain) : null), this.context))
  }

  /** Behind routing: the interface it came in by can be asked for through a set only. This host's own packets came from nowhere. */
  private ingressGuard(policy: Policy): string {
    const chain = this.policyChain(policy, 'snat')
    const walk = { ...ingressWalk(this.firewall), interfaces: 'set' } as const
    return this.write(`policy:${policy.name}:from`, [
      { id: '', match: [{ kind: 'local-source' }], verdict: leaveAlone },
      ...compileWalk(walk, (zone) => (sideHas(policy.ingress, zone) ? toChain(chain) : null), this.context),
    ])
  }

  private natRules(rules: readonly NatRule[]): readonly PlanRule[] {
    return rules.flatMap((rule) => [
      ...(rule.records ?? []).flatMap((record) => compileRule(record, this.context)),
      ...compileMatch(rule.match, this.context).map((match): PlanRule => ({ id: rule.id, match, verdict: translationVerdict(rule), origin: rule.origin })),
    ])
  }

  private write(name: string, rules: readonly PlanRule[]): string {
    this.written.set(name, { name, rules })
    return name
  }
}

function toChain(chain: string | undefined): Omit<PlanRule, 'match'> | null {
  return chain === undefined ? null : { id: '', verdict: { kind: 'goto', chain } }
}

function translationVerdict({ translation }: NatRule): PlanVerdict {
  switch (translation.kind) {
    case 'masquerade': return { kind: 'masquerade' }
    case 'redirect': return { kind: 'redirect', ports: translation.ports }
    case 'destination': return { kind: 'destination-nat', family: translation.family, addr: translation.addr, ports: translation.ports }
  }
}
