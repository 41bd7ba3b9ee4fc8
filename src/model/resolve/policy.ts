// Policies: which are in force. None is enforced yet, so one that is in force and decides anything is a problem.
import type { PolicySettings, Settings } from '../settings.ts'
import { originOf } from './problem.ts'
import type { Problems } from './problem.ts'

/** Its packets pass before any zone (model/stages.ts), so it needs no chain of its own. */
const builtIn = 'allow-host-ipv6'

export function reportPolicies(settings: Settings, activeZones: ReadonlySet<string>, problems: Problems): void {
  for (const [name, entry] of settings.policies) {
    const policy = entry.value
    if (name === builtIn || !isActive(policy, activeZones) || decidesNothing(policy)) continue
    problems.notEnforced(`policy ${name}`, originOf(entry, `policy ${name}`))
  }
}

/** In force: not disabled, and packets can come from and go to what it names. */
export function isActive(policy: PolicySettings, activeZones: ReadonlySet<string>): boolean {
  const reached = (zones: readonly string[]): boolean => zones.some((zone) => zone === 'ANY' || zone === 'HOST' || activeZones.has(zone))
  return !policy.disable && reached(policy.ingressZones) && reached(policy.egressZones)
}

function decidesNothing(policy: PolicySettings): boolean {
  const lists = [policy.services, policy.ports, policy.protocols, policy.sourcePorts, policy.icmpBlocks, policy.forwardPorts, policy.richRules]
  return policy.target === 'CONTINUE' && !policy.masquerade && lists.every((list) => list.length === 0)
}
