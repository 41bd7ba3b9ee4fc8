// The keys of a zone.
import type { ZoneSettings, ZoneTarget } from '../model/settings.ts'
import { flag, forwardPortItem, integer, interfaceItem, list, nameItem, portItem, protocolItem, richRuleItem, sourceItem, word } from './codec.ts'
import { about } from './common.ts'
import type { FieldTable } from './field.ts'

export const zoneTargets: readonly ZoneTarget[] = ['default', 'ACCEPT', 'REJECT', 'DROP']

/** The rows stand in the order of the settings dictionary. */
export const zoneFields: FieldTable<ZoneSettings> = {
  ...about,
  target: word(zoneTargets, 'INVALID_TARGET', {
    yaml: 'target', dbus: 'target', noun: 'Target', runtime: 'no', bus: { REJECT: '%%REJECT%%' },
    // what firewalld's own clients call the default in a new zone
    also: { '{chain}_{zone}': 'default' },
    doc: 'What happens to packets no rule decides. default rejects them but lets ICMP in; REJECT rejects ICMP too; DROP is silent; ACCEPT lets everything in and through.',
  }),
  services: list(nameItem('service', 'service', 'INVALID_SERVICE'), 'INVALID_SERVICE', {
    yaml: 'services', dbus: 'services', noun: 'Service', runtime: 'timed', example: '[ssh, dhcpv6-client]',
    doc: 'Services of this host that may be reached.',
  }),
  ports: list(portItem, 'INVALID_PORT', {
    yaml: 'ports', dbus: 'ports', noun: 'Port', runtime: 'timed', example: '[8080/tcp, 6000-6010/udp]',
    doc: 'Ports of this host that may be reached: a number or range, a slash and tcp, udp, sctp or dccp.',
  }),
  icmpBlocks: list(nameItem('icmp', 'icmptype', 'INVALID_ICMPTYPE'), 'INVALID_ICMPTYPE', {
    yaml: 'icmp-blocks', dbus: 'icmp_blocks', noun: 'IcmpBlock', runtime: 'timed', example: '[echo-request]',
    doc: 'ICMP types that are rejected; with icmp-block-inversion the only ones that are not.',
  }),
  masquerade: flag({
    yaml: 'masquerade', dbus: 'masquerade', noun: 'Masquerade', runtime: 'timed',
    doc: 'Forwarded IPv4 packets that leave through this zone take the address of the interface they leave by.',
  }),
  forwardPorts: list(forwardPortItem, 'INVALID_FORWARD', {
    yaml: 'forward-ports', dbus: 'forward_ports', noun: 'ForwardPort', runtime: 'timed',
    example: '[{port: 80, protocol: tcp, to-port: 8080, to-addr: 192.0.2.2}, "443/tcp:8443"]',
    doc: 'Ports that are handed to another port (to-port), another host (to-addr) or both.',
  }),
  interfaces: list(interfaceItem, 'INVALID_INTERFACE', {
    yaml: 'interfaces', dbus: 'interfaces', noun: 'Interface', runtime: 'plain', example: '[eth0, wg+]',
    doc: 'Interfaces whose packets belong to the zone. A trailing + stands for every name that begins so.',
  }),
  sources: list(sourceItem, 'INVALID_ADDR', {
    yaml: 'sources', dbus: 'sources', noun: 'Source', runtime: 'plain', example: '[192.0.2.0/24, 2001:db8::/32, "ipset:office", "list:bad"]',
    doc: 'Senders whose packets belong to the zone, before any interface: addresses, prefixes, MAC addresses, ipset:NAME or list:NAME.',
  }),
  richRules: list(richRuleItem, 'INVALID_RULE', {
    yaml: 'rich-rules', dbus: 'rules_str', noun: 'RichRule', runtime: 'timed',
    example: '[\'rule family="ipv4" source address="203.0.113.0/24" service name="http" accept\']',
    doc: 'Rules in firewalld\'s rich language.',
  }),
  protocols: list(protocolItem, 'INVALID_PROTOCOL', {
    yaml: 'protocols', dbus: 'protocols', noun: 'Protocol', runtime: 'timed', example: '[gre, 112]',
    doc: 'IP protocols of this host that may be reached, by name or number.',
  }),
  sourcePorts: list(portItem, 'INVALID_PORT', {
    yaml: 'source-ports', dbus: 'source_ports', noun: 'SourcePort', runtime: 'timed', example: '[5353/udp]',
    doc: 'Packets sent from these ports may reach this host.',
  }),
  icmpBlockInversion: flag({
    yaml: 'icmp-block-inversion', dbus: 'icmp_block_inversion', noun: 'IcmpBlockInversion', runtime: 'plain',
    doc: 'Only the types in icmp-blocks pass, all other ICMP is rejected.',
  }),
  forward: flag({
    yaml: 'forward', dbus: 'forward', runtime: 'plain',
    doc: 'Packets between two interfaces or sources of this zone pass.',
  }),
  ingressPriority: integer({ min: -32768, max: 32767 }, 'INVALID_PRIORITY', {
    yaml: 'ingress-priority', dbus: 'ingress_priority', runtime: 'no', since: '2.5',
    doc: 'Which zone takes an incoming packet that several could take: the lowest number.',
  }),
  egressPriority: integer({ min: -32768, max: 32767 }, 'INVALID_PRIORITY', {
    yaml: 'egress-priority', dbus: 'egress_priority', runtime: 'no', since: '2.5',
    doc: 'The same for the zone a forwarded packet leaves through.',
  }),
}
