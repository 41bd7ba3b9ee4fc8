// The runtime .policy interface, read only: policies are changed in the files until the ruleset enforces all of them.
import type { PolicySettings, Settings } from '../../model/settings.ts'
import { sortedNames } from '../objects.ts'
import { dictBody } from './encoded.ts'
import { namesBody, runtimeSettings, text, type Handlers } from './handler.ts'
import { runtimeEntry } from './main.ts'
import { isActiveZone } from './zone.ts'

function isActive(settings: Settings, policy: PolicySettings): boolean {
  const reaches = (zones: readonly string[]): boolean =>
    zones.some((zone) => zone === 'ANY' || zone === 'HOST' || isActiveZone(settings, zone))
  return !policy.disable && reaches(policy.ingressZones) && reaches(policy.egressZones)
}

export const policyHandlers: Handlers = {
  getPolicies: (call) => namesBody(runtimeSettings(call).policies),
  getPolicySettings: (call, args) => dictBody('policy', call.context.face, runtimeEntry(call, 'policy', text(args, 0))),
  getActivePolicies: (call) => {
    const settings = runtimeSettings(call)
    const found: Record<string, Readonly<Record<string, readonly string[]>>> = {}
    for (const name of sortedNames(settings.policies)) {
      const value = settings.policies.get(name)?.value
      if (value !== undefined && isActive(settings, value)) found[name] = { ingress_zones: value.ingressZones, egress_zones: value.egressZones }
    }
    return found
  },
}
