// Connections whose destination was rewritten before we saw them: by our own forward-ports, or by others who publish
// ports of containers. Asked for only where not all of them are simply let in.
import type { Firewall, NatRule, Zone } from '../model/firewall.ts'
import { stageRules } from '../model/stages.ts'
import { policiesBetween, sideHas } from './policy.ts'
import { compileMatch } from './match.ts'
import type { MatchContext } from './match.ts'
import type { PlanChain, PlanMatch, PlanRule } from './plan.ts'
import { compileRule } from './rules.ts'

function isStrict({ strictForwardPorts, published }: Firewall): boolean {
  return strictForwardPorts || published === 'zone'
}

/** Whoever rewrote it, it is let in. */
export function letsAllTranslatedIn(firewall: Firewall): boolean {
  return !isStrict(firewall)
}

function publishedChainName(zone: string): string {
  return `zone:${zone}:published`
}

/** A connection that is where our forward-port would have sent it, from where it was going, is ours. */
export function acceptOwnTranslated(firewall: Firewall, zone: Zone, hook: 'input' | 'forward', context: MatchContext): readonly PlanRule[] {
  if (!isStrict(firewall)) return []
  const policies = firewall.policies.filter(({ ingress }) => sideHas(ingress, zone.name))
  const rules = [...policies.flatMap(({ destinationNat }) => destinationNat), ...zone.destinationNat]
  return rules
    .filter(({ translation }) => hook === 'input' || translation.kind !== 'redirect')
    .flatMap((rule) => compileMatch(rule.match, { ...context, original: true }).map((match): PlanRule => (
      { id: stageRules.dnat, match: [{ kind: 'dnat' }, ...match, ...whereItIs(rule)], verdict: { kind: 'accept' } })))
}

function whereItIs({ match: { protocol }, translation }: NatRule): readonly PlanMatch[] {
  const port = (ports: { readonly first: number; readonly last: number } | null): readonly PlanMatch[] => (
    ports === null || protocol?.kind !== 'port' ? [] : [{ kind: 'port', protocol: protocol.protocol, side: 'destination', ports }])
  switch (translation.kind) {
    case 'masquerade':
      return []
    case 'redirect':
      return [{ kind: 'local-destination' }, ...port(translation.ports)]
    case 'destination': {
      const { family, addr, ports } = translation
      return [{ kind: 'destination-prefix', prefix: { family, addr, length: family === 'ipv4' ? 32 : 128 }, invert: false }, ...port(ports)]
    }
  }
}

/** What others rewrote goes to its own judgement. */
export function judgePublished({ published }: Firewall, zone: Zone): readonly PlanRule[] {
  if (published === 'open') return []
  return [{ id: '', match: [{ kind: 'dnat' }], verdict: { kind: 'goto', chain: publishedChainName(zone.name) } }]
}

/** The zone's decisions and those of policies to this host, of where the connection was going. Sets cannot be asked for that. */
export function compilePublished(firewall: Firewall, zone: Zone, context: MatchContext): PlanChain | null {
  if (firewall.published === 'open') return null
  const original: MatchContext = { ...context, original: true }
  const { before, after } = policiesBetween(firewall, zone.name, null)
  const rules = [...before.flatMap((policy) => policy.rules), ...zone.rules, ...after.flatMap((policy) => policy.rules), ...zone.targetRules]
  return { name: publishedChainName(zone.name), rules: rules.flatMap((rule) => compileRule(rule, original)) }
}
