// firewalld's fifteen interfaces: the families from the settings rows, and by hand the members that are alone.
// Tuples are the older positional forms of settings; their fields are in handlers/tuples.ts.
import { actions } from '../../auth/actions.ts'
import { helperFields } from '../../settings/helper.ts'
import { icmpTypeFields } from '../../settings/icmptype.ts'
import { ipSetFields } from '../../settings/ipset.ts'
import { serviceFields } from '../../settings/service.ts'
import { zoneFields } from '../../settings/zone.ts'
import { permanentFamily, runtimeFamily } from './families.ts'
import { method, property, signal, type InterfaceRow, type MemberRow, type MethodRow } from './row.ts'

const { all, info, config, configInfo, direct, directInfo, policies, policiesInfo } = actions

export const firewalldName = 'org.fedoraproject.FirewallD1'
export const firewalldPath = '/org/fedoraproject/FirewallD1'
export const configPath = `${firewalldPath}/config`

export const tuples = {
  zone: '(sssbsasa(ss)asba(ssss)asasasasa(ss)b)',
  service: '(sssa(ss)asa{ss}asa(ss))',
  ipset: '(ssssa{ss}as)',
  icmptype: '(sssas)',
  helper: '(sssssa(ss))',
  direct: '(a(sss)a(sssias)a(sas))',
  lockdown: '(asasasai)',
} as const

/** The kinds of permanent objects below /config, in firewalld's word of the path. */
export type ObjectKind = 'zone' | 'service' | 'ipset' | 'icmptype' | 'helper' | 'policy'

function row(name: string, members: readonly MemberRow[], deprecatedIn: InterfaceRow['deprecatedIn'] = []): InterfaceRow {
  return { name: name === '' ? firewalldName : `${firewalldName}.${name}`, deprecatedIn, propertyAction: config, members }
}

const main = row('', [
  method('reload', '', '', config),
  method('completeReload', '', '', config),
  signal('Reloaded'),
  method('resetToDefaults', '', '', config),
  method('checkPermanentConfig', '', '', config),
  method('runtimeToPermanent', '', '', config),
  method('enablePanicMode', '', '', config),
  method('disablePanicMode', '', '', config),
  method('queryPanicMode', '', 'b', info),
  signal('PanicModeEnabled'),
  signal('PanicModeDisabled'),
  method('getZoneSettings', 'zone:s', tuples.zone, configInfo),
  method('listServices', '', 'as', info),
  method('getServiceSettings', 'service:s', tuples.service, configInfo),
  method('getServiceSettings2', 'service:s', 'a{sv}', configInfo),
  method('listIcmpTypes', '', 'as', info),
  method('getIcmpTypeSettings', 'icmptype:s', tuples.icmptype, configInfo),
  method('getLogDenied', '', 's', configInfo),
  method('setLogDenied', 'value:s', '', config),
  signal('LogDeniedChanged', 'value:s'),
  method('getAutomaticHelpers', '', 's', configInfo),
  method('setAutomaticHelpers', 'value:s', '', config),
  signal('AutomaticHelpersChanged', 'value:s'),
  method('getDefaultZone', '', 's', info),
  method('setDefaultZone', 'zone:s', '', config),
  signal('DefaultZoneChanged', 'zone:s'),
  method('authorizeAll', '', '', all),
  method('getHelpers', '', 'as', info),
  method('getHelperSettings', 'helper:s', tuples.helper, configInfo),
  property('version', 's'),
  property('interface_version', 's'),
  property('state', 's'),
  property('IPv4', 'b'),
  property('IPv6', 'b'),
  property('IPv6_rpfilter', 'b'),
  property('BRIDGE', 'b'),
  property('IPSet', 'b'),
  property('IPSetTypes', 'as'),
  property('nf_conntrack_helper_setting', 'b'),
  property('nf_conntrack_helpers', 'a{sas}'),
  property('nf_nat_helpers', 'a{sas}'),
  property('IPv4ICMPTypes', 'as'),
  property('IPv6ICMPTypes', 'as'),
])

const runtimeZone = row('zone', [
  method('getZoneSettings2', 'zone:s', 'a{sv}', configInfo),
  method('setZoneSettings2', 'zone:s settings:a{sv}', '', config),
  signal('ZoneUpdated', 'zone:s settings:a{sv}'),
  method('getZones', '', 'as', info),
  method('getActiveZones', '', 'a{sa{sas}}', info),
  method('getZoneOfInterface', 'interface:s', 's', info),
  method('getZoneOfSource', 'source:s', 's', info),
  method('isImmutable', 'zone:s', 'b', configInfo),
  method('changeZone', 'zone:s interface:s', 's', config),
  method('changeZoneOfInterface', 'zone:s interface:s', 's', config),
  method('changeZoneOfSource', 'zone:s source:s', 's', config),
  signal('ZoneChanged', 'zone:s interface:s'),
  signal('ZoneOfInterfaceChanged', 'zone:s interface:s'),
  signal('ZoneOfSourceChanged', 'zone:s source:s'),
  ...runtimeFamily(zoneFields, { item: { icmpBlocks: ['icmp'], forwardPorts: ['port', 'protocol', 'toport', 'toaddr'] } }),
])

const runtimePolicy = row('policy', [
  method('getPolicySettings', 'policy:s', 'a{sv}', configInfo),
  method('setPolicySettings', 'policy:s settings:a{sv}', '', config),
  signal('PolicyUpdated', 'policy:s settings:a{sv}'),
  method('getPolicies', '', 'as', info),
  method('getActivePolicies', '', 'a{sa{sas}}', info),
])

const runtimeIpset = row('ipset', [
  method('queryIPSet', 'ipset:s', 'b', info),
  method('getIPSets', '', 'as', info),
  method('getIPSetSettings', 'ipset:s', tuples.ipset, configInfo),
  method('addEntry', 'ipset:s entry:s', '', config),
  method('removeEntry', 'ipset:s entry:s', '', config),
  method('queryEntry', 'ipset:s entry:s', 'b', info),
  method('getEntries', 'ipset:s', 'as', info),
  method('setEntries', 'ipset:s entries:as', '', config),
  signal('EntryAdded', 'ipset:s entry:s'),
  signal('EntryRemoved', 'ipset:s entry:s'),
])

const chainArgs = 'ipv:s table:s chain:s'
const ruleArgs = `${chainArgs} priority:i args:as`
const passthroughArgs = 'ipv:s args:as'

/** What the runtime and the permanent direct interface have in common. */
function directMembers(change: MethodRow['action'], read: MethodRow['action']): readonly MethodRow[] {
  return [
    method('addChain', chainArgs, '', change),
    method('removeChain', chainArgs, '', change),
    method('queryChain', chainArgs, 'b', read),
    method('getChains', 'ipv:s table:s', 'as', read),
    method('getAllChains', '', 'a(sss)', read),
    method('addRule', ruleArgs, '', change),
    method('removeRule', ruleArgs, '', change),
    method('removeRules', chainArgs, '', change),
    method('queryRule', ruleArgs, 'b', read),
    method('getRules', chainArgs, 'a(ias)', read),
    method('getAllRules', '', 'a(sssias)', read),
    method('addPassthrough', passthroughArgs, '', change),
    method('removePassthrough', passthroughArgs, '', change),
    method('queryPassthrough', passthroughArgs, 'b', read),
    method('getPassthroughs', 'ipv:s', 'aas', read),
    method('getAllPassthroughs', '', 'a(sas)', read),
  ]
}

const runtimeDirect = row('direct', [
  ...directMembers(direct, directInfo),
  method('passthrough', passthroughArgs, 's', direct),
  method('removeAllPassthroughs', '', '', direct),
  signal('ChainAdded', chainArgs),
  signal('ChainRemoved', chainArgs),
  signal('RuleAdded', ruleArgs),
  signal('RuleRemoved', ruleArgs),
  signal('PassthroughAdded', passthroughArgs),
  signal('PassthroughRemoved', passthroughArgs),
], ['1.3', '2.5'])

const permanentDirect = row('config.direct', [
  ...directMembers(config, config),
  method('getSettings', '', tuples.direct, config),
  method('update', `settings:${tuples.direct}`, '', config),
  signal('Updated'),
], ['1.3', '2.5'])

const whitelists = [['Command', 'command', 's'], ['Uid', 'uid', 'i'], ['User', 'user', 's'], ['Context', 'context', 's']] as const

/** The lockdown whitelist, four times the same. */
function whitelistMethods(change: MethodRow['action'], read: MethodRow['action']): readonly MethodRow[] {
  return whitelists.flatMap(([noun, arg, type]) => [
    method(`addLockdownWhitelist${noun}`, `${arg}:${type}`, '', change),
    method(`removeLockdownWhitelist${noun}`, `${arg}:${type}`, '', change),
    method(`queryLockdownWhitelist${noun}`, `${arg}:${type}`, 'b', read),
    method(`getLockdownWhitelist${noun}s`, '', `a${type}`, read),
  ])
}

const lockdown = row('policies', [
  method('enableLockdown', '', '', policies),
  method('disableLockdown', '', '', policies),
  method('queryLockdown', '', 'b', policiesInfo),
  signal('LockdownEnabled'),
  signal('LockdownDisabled'),
  ...whitelistMethods(policies, policiesInfo),
  ...whitelists.flatMap(([noun, arg, type]) => [
    signal(`LockdownWhitelist${noun}Added`, `${arg}:${type}`),
    signal(`LockdownWhitelist${noun}Removed`, `${arg}:${type}`),
  ]),
], ['2.5'])

const permanentLockdown = row('config.policies', [
  method('getLockdownWhitelist', '', tuples.lockdown, config),
  method('setLockdownWhitelist', `settings:${tuples.lockdown}`, '', config),
  signal('LockdownWhitelistUpdated'),
  ...whitelistMethods(config, config),
], ['2.5'])

/** list, names, by name, add, Added of one kind on /config. */
function kindMembers(noun: string, plural: string, arg: string, adders: readonly (readonly [string, string])[]): readonly MemberRow[] {
  return [
    method(`list${plural}`, '', 'ao', config),
    method(`get${noun}Names`, '', 'as', config),
    method(`get${noun}ByName`, `${arg}:s`, 'o', config),
    ...adders.map(([name, type]) => method(name, `${arg}:s settings:${type}`, 'o', config)),
    signal(`${noun}Added`, `${arg}:s`),
  ]
}

const permanent = row('config', [
  ...kindMembers('IPSet', 'IPSets', 'ipset', [['addIPSet', tuples.ipset]]),
  ...kindMembers('IcmpType', 'IcmpTypes', 'icmptype', [['addIcmpType', tuples.icmptype]]),
  ...kindMembers('Service', 'Services', 'service', [['addService', tuples.service], ['addService2', 'a{sv}']]),
  ...kindMembers('Zone', 'Zones', 'zone', [['addZone', tuples.zone], ['addZone2', 'a{sv}']]),
  method('getZoneOfInterface', 'iface:s', 's', config),
  method('getZoneOfSource', 'source:s', 's', config),
  ...kindMembers('Policy', 'Policies', 'policy', [['addPolicy', 'a{sv}']]),
  ...kindMembers('Helper', 'Helpers', 'helper', [['addHelper', tuples.helper]]),
  property('DefaultZone', 's'),
  property('MinimalMark', 'i', 'readwrite'),
  ...['CleanupOnExit', 'CleanupModulesOnExit', 'IPv6_rpfilter', 'Lockdown', 'IndividualCalls', 'LogDenied', 'AutomaticHelpers',
    'FirewallBackend', 'FlushAllOnReload', 'RFC3964_IPv4', 'AllowZoneDrifting'].map((name) => property(name, 's', 'readwrite')),
  ...['IPv6_rpfilter2', 'NftablesFlowtable', 'NftablesCounters', 'NftablesTableOwner', 'StrictForwardPorts'].map((name) =>
    property(name, 's', 'readwrite', '2.5')),
])

/** What every permanent object has, whatever its kind: the two or four settings calls, its life and its properties. */
function objectMembers(type: string, second?: string): readonly MemberRow[] {
  return [
    method('getSettings', '', type, config),
    method('update', `settings:${type}`, '', config),
    ...(second === undefined ? [] : [method('getSettings2', '', second, config), method('update2', `settings:${second}`, '', config)]),
    method('loadDefaults', '', '', config),
    method('remove', '', '', config),
    method('rename', 'name:s', '', config),
    signal('Updated', 'name:s'),
    signal('Removed', 'name:s'),
    signal('Renamed', 'name:s'),
    property('name', 's'),
    property('filename', 's'),
    property('path', 's'),
    property('default', 'b'),
    property('builtin', 'b'),
  ]
}

/** Interfaces of the objects at /config/<kind>/<n>. */
export const objectInterfaces: Readonly<Record<ObjectKind, InterfaceRow>> = {
  zone: row('config.zone', [
    ...objectMembers(tuples.zone, 'a{sv}'),
    ...permanentFamily(zoneFields, {
      item: { icmpBlocks: ['icmptype'], forwardPorts: ['port', 'protocol', 'toport', 'toaddr'] },
      set: { sourcePorts: 'ports', icmpBlocks: 'icmptypes', icmpBlockInversion: 'flag', forwardPorts: 'ports', richRules: 'rules' },
    }),
  ]),
  service: row('config.service', [
    ...objectMembers(tuples.service, 'a{sv}'),
    // helpers came after these verbs and is reached by update2 alone; destinations have verbs of their own
    ...permanentFamily(serviceFields, { omit: ['helpers', 'destination'], set: { sourcePorts: 'ports' } }),
    method('getDestinations', '', 'a{ss}', config),
    method('setDestinations', 'destinations:a{ss}', '', config),
    method('getDestination', 'family:s', 's', config),
    method('setDestination', 'family:s address:s', '', config),
    method('removeDestination', 'family:s', '', config),
    method('queryDestination', 'family:s address:s', 'b', config),
  ]),
  ipset: row('config.ipset', [
    ...objectMembers(tuples.ipset),
    ...permanentFamily(ipSetFields, { set: { type: 'ipset_type' } }),
  ]),
  icmptype: row('config.icmptype', [
    ...objectMembers(tuples.icmptype),
    ...permanentFamily(icmpTypeFields, { omit: ['ipv4', 'ipv6'] }),
  ]),
  helper: row('config.helper', [
    ...objectMembers(tuples.helper),
    ...permanentFamily(helperFields, { set: { family: 'ipv' } }),
  ]),
  policy: row('config.policy', objectMembers('a{sv}')),
}

/** Interfaces of the object /org/fedoraproject/FirewallD1. */
export const runtimeInterfaces: readonly InterfaceRow[] = [main, lockdown, runtimeZone, runtimePolicy, runtimeDirect, runtimeIpset]
/** Interfaces of the object /org/fedoraproject/FirewallD1/config. */
export const permanentInterfaces: readonly InterfaceRow[] = [permanentLockdown, permanent, permanentDirect]
