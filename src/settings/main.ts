// The keys of derpanet.yaml.
import type { LogDenied, MainSettings, Published, XdpMode } from '../model/settings.ts'
import { DerpanetError, printable } from '../errors.ts'
import { dict, flag, interfaceItem, list, nameItem, portItem, prefixItem, word } from './codec.ts'
import type { FieldTable, ScalarField } from './field.ts'
import { isName } from './names.ts'

export const xdpModes: readonly XdpMode[] = ['auto', 'native', 'generic', 'off']
export const publishedValues: readonly Published[] = ['open', 'zone']
export const logDeniedValues: readonly LogDenied[] = ['off', 'all', 'unicast', 'broadcast', 'multicast']

/** The keys that no key of ours stands for; their values are judged by firewalld-conf.ts, face by face. */
const storedConfKeys: readonly string[] = [
  'MinimalMark', 'CleanupOnExit', 'CleanupModulesOnExit', 'Lockdown', 'IPv6_rpfilter', 'IndividualCalls', 'AutomaticHelpers', 'FirewallBackend',
  'ReloadPolicy', 'RFC3964_IPv4', 'AllowZoneDrifting', 'NftablesFlowtable', 'NftablesCounters', 'NftablesTableOwner', 'StrictForwardPorts',
]

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
  firewalldCompat: word(['auto', '2.5', '1.3', 'no'] as const, 'INVALID_VALUE', {
    yaml: 'firewalld-compat', runtime: 'no', doc: 'Which version of firewalld\'s D-Bus interface is offered, or none. auto is the one that the firewall-cmd of this host knows, 2.5 without one.',
  }),
  firewalld: dict({
    yaml: 'firewalld', runtime: 'no', keys: storedConfKeys, code: 'INVALID_OPTION', example: '{FirewallBackend: iptables}',
    doc: 'Keys of firewalld.conf that clients of firewalld read and write. IPv6_rpfilter (strict, loose or no) and RFC3964_IPv4 (yes or no) do what they say; a reload here never lets a packet slip or waits, so ReloadPolicy has nothing to decide, and the others are kept for their readers.',
    parse: (name, value) => {
      if (!/^[\x20-\x7e]{1,200}$/.test(value)) throw new DerpanetError('INVALID_VALUE', `${printable(name)}: '${printable(value)}'`)
      return value
    },
  }),
}
