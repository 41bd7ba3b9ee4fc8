// org.fedoraproject.FirewallD1 itself: state, reload, panic, defaults and the read-only views of the runtime.
import { DerpanetError, printable, type ErrorCode } from '../../errors.ts'
import { ipsetTypes } from '../../model/ipset-entry.ts'
import type { LogDenied } from '../../model/settings.ts'
import { logDeniedValues } from '../../settings/main.ts'
import { settingsKey, sortedNames } from '../objects.ts'
import type { ObjectKind } from '../members/firewalld.ts'
import { dictBody, tupleBody } from './encoded.ts'
import { changedQuietly, namesBody, runtimeSettings, text, type Call, type Handlers, type PropertyHandlers } from './handler.ts'
import { zoneOfCall } from './zone.ts'

/** What a name that does not exist is called, by kind. */
export const unknownCodes: Readonly<Record<ObjectKind, ErrorCode>> = {
  zone: 'INVALID_ZONE', service: 'INVALID_SERVICE', ipset: 'INVALID_IPSET', icmptype: 'INVALID_ICMPTYPE', helper: 'INVALID_HELPER', policy: 'INVALID_POLICY',
}

/** The running object of that name. Throws INVALID_<KIND>. */
export function runtimeEntry(call: Call, kind: Exclude<ObjectKind, 'zone'>, name: string) {
  const entry = runtimeSettings(call)[settingsKey[kind]].get(name)
  if (entry === undefined) throw new DerpanetError(unknownCodes[kind], printable(name))
  return entry
}

function logDenied(value: string): LogDenied {
  const known = logDeniedValues.find((one) => one === value)
  if (known === undefined) throw new DerpanetError('INVALID_VALUE', `'${printable(value)}', choose from ${logDeniedValues.join(', ')}`)
  return known
}

export const mainHandlers: Handlers = {
  reload: (call) => call.context.service.reload(call.caller),
  // a complete reload would also unload kernel modules and so drop connections; nobody who asks for it wants that part
  completeReload: (call) => call.context.service.reload(call.caller),
  enablePanicMode: (call) => changedQuietly(call, { kind: 'panic-set', on: true }),
  disablePanicMode: (call) => changedQuietly(call, { kind: 'panic-set', on: false }),
  queryPanicMode: (call) => call.context.service.runtime().panic,
  getZoneSettings: (call, args) => tupleBody('zone', zoneOfCall(call, text(args, 0)).entry),
  listServices: (call) => namesBody(runtimeSettings(call).services),
  getServiceSettings: (call, args) => tupleBody('service', runtimeEntry(call, 'service', text(args, 0))),
  getServiceSettings2: (call, args) => dictBody('service', call.context.face, runtimeEntry(call, 'service', text(args, 0))),
  listIcmpTypes: (call) => namesBody(runtimeSettings(call).icmptypes),
  getIcmpTypeSettings: (call, args) => tupleBody('icmptype', runtimeEntry(call, 'icmptype', text(args, 0))),
  getHelpers: (call) => namesBody(runtimeSettings(call).helpers),
  getHelperSettings: (call, args) => tupleBody('helper', runtimeEntry(call, 'helper', text(args, 0))),
  getLogDenied: (call) => runtimeSettings(call).main.value.logDenied,
  setLogDenied: (call, args) => changedQuietly(call, { kind: 'log-denied-set', value: logDenied(text(args, 0)) }),
  // the kernel dropped automatic helper assignment; both versions answer no and accept anything
  getAutomaticHelpers: () => 'no',
  setAutomaticHelpers: () => undefined,
  getDefaultZone: (call) => runtimeSettings(call).main.value.defaultZone,
  setDefaultZone: (call, args) => changedQuietly(call, { kind: 'default-zone-set', zone: text(args, 0) }),
  authorizeAll: () => undefined,
}

/** Names of the types that exist in a family, sorted. */
function icmpTypesOf(call: Call, family: 'ipv4' | 'ipv6'): readonly string[] {
  const { icmptypes } = runtimeSettings(call)
  return sortedNames(icmptypes).filter((name) => {
    const destinations = icmptypes.get(name)?.value.destinations ?? []
    return destinations.length === 0 || destinations.includes(family)
  })
}

export const faceVersions = { '2.5': '2.5.0', '1.3': '1.3.3' } as const

export const mainProperties: PropertyHandlers = {
  get: {
    version: (call) => faceVersions[call.context.face],
    interface_version: () => '1.15',
    state: async (call) => (await call.context.service.status()).state,
    IPv4: (call) => call.context.hasIpv4,
    IPv6: (call) => call.context.hasIpv6,
    // no reverse path filter is made yet, whatever firewalld.conf would say
    IPv6_rpfilter: () => false,
    BRIDGE: () => true,
    IPSet: () => true,
    IPSetTypes: () => ipsetTypes,
    nf_conntrack_helper_setting: () => false,
    nf_conntrack_helpers: () => ({}),
    nf_nat_helpers: () => ({}),
    IPv4ICMPTypes: (call) => icmpTypesOf(call, 'ipv4'),
    IPv6ICMPTypes: (call) => icmpTypesOf(call, 'ipv6'),
  },
}
