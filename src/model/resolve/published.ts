// Connections whose destination was rewritten are judged by where they were going. The kernel remembers that address and
// port, but looks it up in no set.
import type { Firewall, Match } from '../firewall.ts'
import type { Origin } from '../settings.ts'
import type { Problems } from './problem.ts'

/** Reports COMMAND_FAILED for rules that ask a set about the original destination where the configuration needs that answer. */
export function checkPublished({ ingress, zones, policies, strictForwardPorts, published }: Firewall, problems: Problems): void {
  const asksSet = ({ match }: { readonly match: Match }): boolean => match.destination?.kind === 'ipset'
  const report = (why: string, rules: readonly { readonly match: Match; readonly origin: Origin }[]): void => {
    for (const { origin } of rules.filter(asksSet)) problems.add('COMMAND_FAILED', `a destination ipset cannot be asked with ${why}`, origin)
  }
  const active = [...new Set(ingress.map(({ zone }) => zone))].flatMap((name) => zones.get(name) ?? [])
  if (strictForwardPorts || published === 'zone') {
    const why = published === 'zone' ? 'published: zone' : 'StrictForwardPorts'
    report(why, [...active, ...policies].flatMap(({ destinationNat }) => destinationNat))
  }
  if (published === 'zone') report('published: zone', [...active, ...policies.filter(({ egress }) => egress.kind === 'host')].flatMap(({ rules }) => rules))
}
