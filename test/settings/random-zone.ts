// Random zone settings in canonical form, and samples of every kind of item by its columns.
import type { ZoneSettings } from '../../src/model/settings.ts'
import { emptyZone } from '../../src/model/settings.ts'
import { forwardPortItem, portItem } from '../../src/settings/codec.ts'
import { zoneTargets } from '../../src/settings/zone.ts'
import type { Random } from '../support/random.ts'

const rich = [
  'rule family="ipv4" source address="203.0.113.0/24" service name="http" accept', 'rule family="ipv6" source address="2001:db8::/32" drop',
  'rule priority="-5" protocol value="gre" accept', 'rule source mac="00:11:22:33:44:55" reject', 'rule port port="80" protocol="tcp" reject',
  'rule family="ipv4" source NOT ipset="office" port port="22-23" protocol="tcp" accept',
]

/** By the columns of the codec; texts a person may write, canonical or not. */
export const sampleItems: Readonly<Record<string, readonly string[]>> = {
  service: ['ssh', 'RH-Satellite-6', '0-AD', 'größe'],
  'port protocol': ['80/tcp', '6000-6010/udp', '90-80/sctp', '0/dccp'],
  'port protocol toport toaddr': ['80/tcp:8080', '80/tcp::192.0.2.2', '80/tcp:90-100:2001:db8::2'],
  icmp: ['echo-request', 'TOS-host-redirect'],
  interface: ['eth0', 'wg+', 'br-0123456789ab', '+'],
  source: ['192.0.2.0/24', '192.0.2.1/255.255.255.0', '2001:DB8::/32', '00:aa:bb:cc:dd:ee', 'ipset:office', 'list:bad.2'],
  rule: rich,
  protocol: ['gre', '47', 'ESP'],
  zone: ['ANY', 'HOST', 'public'],
  module: ['nf_conntrack_ftp', 'ftp'],
  include: ['http'],
  helper: ['ftp', 'Q.931'],
  entry: ['198.51.100.0/24', '1.2.3.4,tcp:80'],
  destination: ['ipv4', 'ipv6'],
  'type code': ['8', '3/1', '255/0'],
  list: ['spamhaus', 'drop.v4'],
  address: ['192.0.2.1', '192.0.2.77/24', '2001:DB8::1/64', '::1'],
}
const ports = sampleItems['port protocol']!.map((text) => portItem.fromText(text))
const forwards = sampleItems['port protocol toport toaddr']!.map((text) => forwardPortItem.fromText(text))

export function randomZone(random: Random): ZoneSettings {
  return {
    ...emptyZone,
    version: random.pick(['', '1.0']), short: random.pick(['', 'Public', 'ein "Zitat"', '# no comment']), description: random.pick(['', 'two\nlines', ' blanks ']),
    target: random.pick(zoneTargets), services: random.some(['ssh', 'http', 'a_b', '123'], 4), ports: random.some(ports, 4),
    icmpBlocks: random.some(['echo-request', 'redirect'], 2), masquerade: random.chance(0.5), forwardPorts: random.some(forwards, 3),
    interfaces: random.some(['eth0', 'wg+', 'yes'], 3), sources: random.some(['192.0.2.0/24', '::1', '00:11:22:33:44:55', 'ipset:x', 'list:y'], 4),
    richRules: random.some(rich, 4), protocols: random.some(['gre', '47'], 2), sourcePorts: random.some(ports, 2), icmpBlockInversion: random.chance(0.5),
    forward: random.chance(0.5), ingressPriority: random.between(-32768, 32767), egressPriority: random.between(-5, 5),
  }
}
