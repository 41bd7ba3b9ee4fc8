// org.fedoraproject.FirewallD1 itself: state, reload, panic, defaults and the read-only views of the runtime.
import { DerpanetError, printable } from '../../errors.ts'
import { ipsetTypes } from '../../model/ipset-entry.ts'
import type { Change } from '../../model/change.ts'
import type { LogDenied } from '../../model/settings.ts'
import { logDeniedValues } from '../../settings/main.ts'
import { unknownCodes } from '../../settings/permanent.ts'
import { settingsKey } from '../objects.ts'
import type { ObjectKind } from '../members/firewalld.ts'
import { hasReversePathFilter } from './conf.ts'
import { dictBody, tupleBody } from './encoded.ts'
import { changedQuietly, namesBody, runtimeSettings, text, type Call, type Handlers, type PropertyHandlers } from './handler.ts'
import { zoneOfCall } from './zone.ts'

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

async function thenReload(call: Call, change: Change): Promise<void> {
  await changedQuietly(call, change)
  await call.context.service.reload(call.caller)
}

export const mainHandlers: Handlers = {
  reload: (call) => call.context.service.reload(call.caller),
  checkPermanentConfig: (call) => call.context.service.checkPermanent(),
  runtimeToPermanent: async (call) => {
    const leaveOut = await call.context.foreignInterfaces()
    await call.context.service.runtimeToPermanent({ leaveOut, withLockdown: call.context.face === '1.3' }, call.caller)
  },
  resetToDefaults: (call) => call.context.service.resetToDefaults(call.caller),
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
  setLogDenied: (call, args) => thenReload(call, { kind: 'log-denied-set', value: logDenied(text(args, 0)) }),
  // the kernel dropped automatic helper assignment; both versions answer no and accept anything
  getAutomaticHelpers: () => 'no',
  setAutomaticHelpers: () => undefined,
  getDefaultZone: (call) => runtimeSettings(call).main.value.defaultZone,
  // 1.3 moves interfaces in place; 2.x reloads, and what exists only at runtime is gone
  setDefaultZone: (call, args) => {
    const change: Change = { kind: 'default-zone-set', zone: text(args, 0) }
    return call.context.face === '2.5' ? thenReload(call, change) : changedQuietly(call, change)
  },
  authorizeAll: () => undefined,
}

/** The same types in the order of 1.3. */
const olderIpSetTypes = [
  'hash:mac', 'hash:net,iface', 'hash:net,port', 'hash:net,port,net', 'hash:net,net', 'hash:net', 'hash:ip,port,net', 'hash:ip,port,ip',
  'hash:ip,mark', 'hash:ip,port', 'hash:ip',
]

/** Other names that 2.x knows for some of them, with and without firewalld's own misspelling. */
const icmpAliases: Readonly<Record<'ipv4' | 'ipv6', readonly string[]>> = {
  ipv4: ['TOS-host-redirect', 'TOS-host-unreachable', 'TOS-network-redirect', 'TOS-network-unreachable', 'address-mask-reply', 'address-mask-request', 'ping', 'pong'],
  ipv6: ['neigbour-advertisement', 'neigbour-solicitation', 'ping', 'pong'],
}

/** Names of the types that can be matched in a family, sorted. */
function icmpTypesOf(call: Call, family: 'ipv4' | 'ipv6'): readonly string[] {
  const { icmptypes } = runtimeSettings(call)
  const named = [...icmptypes].flatMap(([name, { value }]) => (value[family].length > 0 ? [name] : []))
  return [...named, ...(call.context.face === '2.5' ? icmpAliases[family] : [])].sort()
}

export const faceVersions = { '2.5': '2.5.0', '1.3': '1.3.3' } as const

export const mainProperties: PropertyHandlers = {
  get: {
    version: (call) => faceVersions[call.context.face],
    interface_version: () => '1.15',
    state: (call) => call.context.service.state(),
    IPv4: (call) => call.context.hasIpv4,
    IPv6: (call) => call.context.hasIpv6,
    IPv6_rpfilter: hasReversePathFilter,
    BRIDGE: () => true,
    IPSet: () => true,
    IPSetTypes: (call) => (call.context.face === '1.3' ? olderIpSetTypes : ipsetTypes),
    nf_conntrack_helper_setting: () => false,
    nf_conntrack_helpers: () => ({}),
    nf_nat_helpers: () => ({}),
    IPv4ICMPTypes: (call) => icmpTypesOf(call, 'ipv4'),
    IPv6ICMPTypes: (call) => icmpTypesOf(call, 'ipv6'),
  },
}
