// The keys of derpanet.yaml.
import type { LogDenied, MainSettings, Published, ReversePath, XdpMode } from '../model/settings.ts'
import { DerpanetError, printable } from '../errors.ts'
import { dict, flag, interfaceItem, list, nameItem, portItem, prefixItem, word } from './codec.ts'
import type { FieldTable, ScalarField } from './field.ts'
import { isName } from './names.ts'

export const xdpModes: readonly XdpMode[] = ['auto', 'native', 'generic', 'off']
export const publishedValues: readonly Published[] = ['open', 'zone']
export const logDeniedValues: readonly LogDenied[] = ['off', 'all', 'unicast', 'broadcast', 'multicast']

export const reversePathValues: readonly ReversePath[] = ['strict', 'loose', 'no', 'strict-forward', 'loose-forward']

/** The keys that no key of ours stands for; their values are judged by firewalld-conf.ts, face by face. */
const storedConfKeys: readonly string[] = [
  'MinimalMark', 'CleanupOnExit', 'CleanupModulesOnExit', 'IndividualCalls', 'AutomaticHelpers', 'FirewallBackend',
  'ReloadPolicy', 'AllowZoneDrifting', 'NftablesFlowtable', 'NftablesCounters', 'NftablesTableOwner',
]

/** Those that one does: the key of the file. */
const ownConfKeys: ReadonlyMap<string, string> = new Map([
  ['DefaultZone', 'default-zone'], ['LogDenied', 'log-denied'], ['FlushAllOnReload', 'flush-all-on-reload'], ['IPv6_rpfilter', 'ipv6-rpfilter'],
  ['RFC3964_IPv4', 'rfc3964-ipv4'], ['StrictForwardPorts', 'strict-forward-ports'], ['Lockdown', 'lockdown'],
])

const defaultZoneField: ScalarField<string> = {
  shape: 'scalar', type: 's', code: 'INVALID_ZONE', yaml: 'default-zone', dbus: 'DefaultZone', runtime: 'plain', example: 'public',
  doc: 'The zone of packets that no source and no interface puts into another.',
  parse: (value) => {
    if (typeof value !== 'string' || !isName('zone', value)) throw new DerpanetError('INVALID_ZONE', `'${printable(String(value))}' is not a zone name`)
    return value
  },
}

export const mainFields: FieldTable<MainSettings> = {
  defaultZone: defaultZoneField,
  logDenied: word(logDeniedValues, 'INVALID_VALUE', {
    yaml: 'log-denied', dbus: 'LogDenied', runtime: 'plain', doc: 'Which rejected and dropped packets are logged, by packet type.',
  }),
  block: list(nameItem('list', 'list', 'INVALID_SOURCE'), 'INVALID_SOURCE', {
    yaml: 'block', runtime: 'no', example: '[spamhaus]',
    doc: 'Lists (lists/NAME.list) whose senders are dropped before everything else, to this host and through it.',
  }),
  neverBlock: list(prefixItem, 'INVALID_ADDR', {
    yaml: 'never-block', runtime: 'no', example: '[192.0.2.10, "2001:db8::/48"]',
    doc: 'Senders that no list, no zone and not even panic mode keeps from this host; lists do not stop what they send through it.',
  }),
  failsafePorts: list(portItem, 'INVALID_PORT', {
    yaml: 'failsafe-ports', runtime: 'no', example: '[22/tcp]',
    doc: 'Ports of this host that stay reachable for everybody, whatever lists, zones and panic mode say.',
  }),
  published: word(publishedValues, 'INVALID_VALUE', {
    yaml: 'published', runtime: 'no',
    doc: 'Ports that containers and others publish by rewriting destinations. open: reachable whatever zones say, as with firewalld; zone: only where the zone (or a policy to HOST) has the published port open.',
  }),
  xdp: word(xdpModes, 'INVALID_VALUE', {
    yaml: 'xdp', runtime: 'no',
    doc: 'Where packets are dropped early: native in the driver, generic in the kernel, off by the ruleset alone; auto is native on cards, where accepted traffic keeps its speed, and off on devices made of software (veth, bridge, tun and the like) and on those that merge received frames (LRO, as most virtual machines have it), where it would not. derpanetctl status says which and why. The ruleset is complete in every case.',
  }),
  xdpInterfaces: dict({
    yaml: 'xdp-interfaces', runtime: 'no', keys: null, code: 'INVALID_VALUE', example: '{eth0: native, wlan0: off}',
    doc: 'The same for single interfaces.',
    parse: (name, value) => {
      interfaceItem.fromText(name)
      if (!(xdpModes as readonly string[]).includes(value)) throw new DerpanetError('INVALID_VALUE', `${printable(name)}: '${printable(value)}' is none of ${xdpModes.join(', ')}`)
      return value
    },
  }) as FieldTable<MainSettings>['xdpInterfaces'],
  autoReload: flag({
    yaml: 'auto-reload', runtime: 'no', doc: 'A changed file takes effect by itself, once the whole configuration is valid; otherwise at the next reload.',
  }),
  onStop: word(['keep', 'open'] as const, 'INVALID_VALUE', {
    yaml: 'on-stop', runtime: 'no', doc: 'What stopping the daemon does: keep leaves filtering in place, open removes every rule.',
  }),
  flushAllOnReload: flag({
    yaml: 'flush-all-on-reload', runtime: 'no', doc: 'A reload also forgets interfaces that were put into zones, ipset entries and direct rules that came at runtime.',
  }),
  ipv6Rpfilter: word(reversePathValues, 'INVALID_VALUE', {
    yaml: 'ipv6-rpfilter', runtime: 'no', also: { yes: 'strict' },
    doc: 'Drops IPv6 packets whose sender has no way back: strict by the interface they came from, loose by any; neighbours and routers are exempt. The two that mean forwarded packets alone are words of firewalld that cannot be had with iptables: a file may hold them, no configuration with them is put in force.',
  }),
  rfc3964Ipv4: flag({
    yaml: 'rfc3964-ipv4', runtime: 'no', doc: 'Rejects IPv6 destinations that hide a private or reserved IPv4 address (RFC 3964), sent by this host or through it.',
  }),
  strictForwardPorts: flag({
    yaml: 'strict-forward-ports', runtime: 'no',
    doc: 'Connections whose destination somebody else rewrote (a container\'s published port) are let in only where a zone or policy has the original port open, not because they were rewritten.',
  }),
  lockdown: flag({
    yaml: 'lockdown', runtime: 'no', doc: 'Only the callers in lockdown.yaml may change the firewall over the bus. firewalld 2 took that away: it holds with firewalld-compat 1.3 alone.',
  }),
  firewalldCompat: word(['auto', '2.5', '1.3', 'no'] as const, 'INVALID_VALUE', {
    yaml: 'firewalld-compat', runtime: 'no', doc: 'Which version of firewalld\'s D-Bus interface is offered, or none. auto is the one that the firewall-cmd of this host knows, 2.5 without one.',
  }),
  firewalld: dict({
    yaml: 'firewalld', runtime: 'no', keys: storedConfKeys, elsewhere: ownConfKeys, code: 'INVALID_OPTION', example: '{FirewallBackend: iptables}',
    doc: 'Keys of firewalld.conf that clients of firewalld read and write, kept for their readers. None has an effect: a reload here never lets a packet slip or waits, so ReloadPolicy has nothing to decide, and the others say how firewalld works inside. What can be had has a key of its own.',
    parse: (name, value) => {
      if (!/^[\x20-\x7e]{1,200}$/.test(value)) throw new DerpanetError('INVALID_VALUE', `${printable(name)}: '${printable(value)}'`)
      return value
    },
  }),
}
