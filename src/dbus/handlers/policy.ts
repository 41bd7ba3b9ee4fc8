// The runtime .policy interface: policies are read and changed as a whole.
import type { Entry, PolicySettings, Settings } from '../../model/settings.ts'
import { decodeSettings } from '../../settings/dict.ts'
import { policyFields } from '../../settings/policy.ts'
import { sortedNames } from '../objects.ts'
import { dictBody } from './encoded.ts'
import { refuseNewerRules } from './face.ts'
import { changedQuietly, namesBody, runtimeSettings, text, type Call, type Handlers } from './handler.ts'
import { runtimeEntry } from './main.ts'
import { isActiveZone, withTimeout } from './zone.ts'

function isActive(settings: Settings, policy: PolicySettings): boolean {
  const reaches = (zones: readonly string[]): boolean =>
    zones.some((zone) => zone === 'ANY' || zone === 'HOST' || isActiveZone(settings, zone))
  return !policy.disable && reaches(policy.ingressZones) && reaches(policy.egressZones)
}

const sorted = new WeakMap<Entry<PolicySettings>, Entry<PolicySettings>>()

/** The rich rules of a running policy come in order of their texts in 2.x. */
function shown(call: Call, entry: Entry<PolicySettings>): Entry<PolicySettings> {
  if (call.context.face === '1.3') return entry
  const known = sorted.get(entry) ?? { ...entry, value: { ...entry.value, richRules: [...entry.value.richRules].sort() } }
  sorted.set(entry, known)
  return known
}

export const policyHandlers: Handlers = {
  getPolicies: (call) => namesBody(runtimeSettings(call).policies),
  getPolicySettings: (call, args) => dictBody('policy', call.context.face, shown(call, runtimeEntry(call, 'policy', text(args, 0)) as Entry<PolicySettings>)),
  setPolicySettings: (call, args) => {
    runtimeEntry(call, 'policy', text(args, 0))
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
