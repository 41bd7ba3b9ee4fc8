// The runtime .policy interface: policies are read and changed as a whole.
import type { PolicySettings, Settings } from '../../model/settings.ts'
import { decodeSettings } from '../../settings/dict.ts'
import { policyFields } from '../../settings/policy.ts'
import { sortedNames } from '../objects.ts'
import { dictBody } from './encoded.ts'
import { refuseNewerRules } from './face.ts'
import { changedQuietly, namesBody, runtimeSettings, text, type Handlers } from './handler.ts'
import { runtimeEntry } from './main.ts'
import { isActiveZone, withTimeout } from './zone.ts'

function isActive(settings: Settings, policy: PolicySettings): boolean {
  const reaches = (zones: readonly string[]): boolean =>
    zones.some((zone) => zone === 'ANY' || zone === 'HOST' || isActiveZone(settings, zone))
  return !policy.disable && reaches(policy.ingressZones) && reaches(policy.egressZones)
}

export const policyHandlers: Handlers = {
  getPolicies: (call) => namesBody(runtimeSettings(call).policies),
  getPolicySettings: (call, args) => dictBody('policy', call.context.face, runtimeEntry(call, 'policy', text(args, 0))),
  setPolicySettings: (call, args) => {
    const dict = args[1] as Readonly<Record<string, unknown>>
    const { timeoutSec, rest } = withTimeout(call, dict)
    const settings = decodeSettings(policyFields, rest, call.context.face)
    refuseNewerRules(call.context.face, settings.richRules)
    return changedQuietly(call, { kind: 'policy-settings', policy: text(args, 0), settings, timeoutSec, asWritten: dict })
  },
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
