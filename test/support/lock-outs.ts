// Fifty ways to lock oneself out: configurations under which a new connection of the administrator to port 22 does not come about.
import { addresses } from './private-host.ts'

/** Not the host's gateway, which no list may name. */
export const admin = addresses.outside.second4
const mac = addresses.macs.outside
/** A list of which more than half changed is not taken. */
const others = ['203.0.113.0/24', '198.18.0.0/15', '10.1.0.0/16', '10.2.0.0/16', '10.3.0.0/16', '10.4.0.0/16']
const badList = (...entries: readonly string[]): string => `${[...entries, ...others].join('\n')}\n`

/** What the administrator works with, and what every way changes files of. */
export const openDoor: Readonly<Record<string, string>> = {
  'derpanet.yaml': 'default-zone: public\n', 'zones/public.yaml': 'services: [ssh]\nports: [8080/tcp]\n', 'zones/closed.yaml': 'target: DROP\n',
  'lists/bad.list': badList(), 'services/ssh.yaml': 'ports: [22/tcp]\n', 'ipsets/office.yaml': 'type: hash:ip\n', 'ipsets/nets.yaml': 'type: hash:net\n',
}

const zone = (text: string): Readonly<Record<string, string>> => ({ 'zones/public.yaml': text })
const rich = (...rules: readonly string[]): Readonly<Record<string, string>> => zone(`services: [ssh]\nrich-rules:\n${rules.map((rule) => `  - ${rule}\n`).join('')}`)
const closed = (text: string): Readonly<Record<string, string>> => ({ 'zones/closed.yaml': text })
const policy = (text: string): Readonly<Record<string, string>> => ({ 'policies/keep-out.yaml': `egress-zones: [HOST]\n${text}` })
const direct = (...rules: readonly string[]): Readonly<Record<string, string>> => ({ 'direct.yaml': `rules:\n${rules.map((rule) => `  - ${rule}\n`).join('')}` })
const set = (entry: string): Readonly<Record<string, string>> => ({ 'ipsets/office.yaml': `type: hash:ip\nentries: [${entry}]\n` })

export const lockOuts: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  'the service is gone': zone('ports: [8080/tcp]\n'),
  'an empty zone': zone('short: Nothing\n'),
  'target DROP': zone('target: DROP\n'),
  'target REJECT, another port': zone('target: REJECT\nports: [2222/tcp]\n'),
  'the port before and behind it': zone('ports: [1-21/tcp, 23-65535/tcp, 22/udp]\n'),
  'the service for another source': zone('rich-rules:\n  - rule family="ipv4" source address="198.51.100.0/24" service name="ssh" accept\n'),
  'the service but for this source': zone(`rich-rules:\n  - rule family="ipv4" source NOT address="${admin}" service name="ssh" accept\n`),
  'the service over IPv6 alone': zone('rich-rules:\n  - rule family="ipv6" service name="ssh" accept\n'),
  'the service for another destination': zone('rich-rules:\n  - rule family="ipv4" destination address="198.51.100.1" service name="ssh" accept\n'),
  'the port forwarded to one where nobody is': zone('services: [ssh]\nforward-ports: [{port: 22, protocol: tcp, to-port: 2222}]\n'),
  'the port forwarded to another host': zone('services: [ssh]\nforward-ports: [{port: 22, protocol: tcp, to-addr: 198.51.100.77}]\n'),
  'a rich rule drops the source': rich(`rule family="ipv4" source address="${admin}" drop`),
  'a rich rule drops the network': rich('rule family="ipv4" source address="192.0.2.0/24" drop'),
  'a rich rule rejects the source': rich(`rule family="ipv4" source address="${admin}" reject`),
  'a rich rule rejects it in its own way': rich(`rule family="ipv4" source address="${admin}" reject type="icmp-admin-prohibited"`),
  'a rich rule drops everybody else': rich('rule family="ipv4" source NOT address="198.51.100.0/24" drop'),
  'a rich rule drops the interface card': rich(`rule source mac="${mac}" drop`),
  'a rich rule drops a set': { ...rich('rule source ipset="office" drop'), ...set(admin) },
  'a rich rule drops the destination': rich('rule family="ipv4" destination address="192.0.2.1" drop'),
  'a rich rule rejects the service': rich('rule service name="ssh" reject'),
  'a rich rule drops the port': rich('rule port port="22" protocol="tcp" drop'),
  'a rich rule drops ports': rich('rule port port="1-1023" protocol="tcp" drop'),
  'a rich rule drops the protocol': rich('rule protocol value="tcp" drop'),
  'a rich rule logs and drops': rich('rule service name="ssh" log prefix="ssh " level="info" limit value="1/m" drop'),
  'a rich rule of low priority drops first': rich('rule priority="-100" service name="ssh" drop', 'rule service name="ssh" accept'),
  'a rich rule of two drops, and one accepts too late': rich(`rule priority="-1" family="ipv4" source address="${admin}" drop`, 'rule priority="1" service name="ssh" accept'),
  'the default zone is a closed one': { 'derpanet.yaml': 'default-zone: closed\n' },
  'the default zone is drop': { 'derpanet.yaml': 'default-zone: drop\n' },
  'the default zone is block': { 'derpanet.yaml': 'default-zone: block\n' },
  'the source is bound to a zone that drops': closed(`target: DROP\nsources: [${admin}/32]\n`),
  'the network is bound to a zone that rejects': closed('target: REJECT\nsources: [192.0.2.0/24]\n'),
  'the interface card is bound to a zone that drops': closed(`target: DROP\nsources: ["${mac}"]\n`),
  'the interface is bound to a zone that drops': closed('target: DROP\ninterfaces: [ext0]\n'),
  'interfaces by their beginning are bound to a zone that drops': closed('target: DROP\ninterfaces: [ext+]\n'),
  'a set is bound to a zone that drops': { ...closed('target: DROP\nsources: ["ipset:office"]\n'), ...set(admin) },
  'a set of networks is bound to a zone that rejects': { ...closed('target: REJECT\nsources: ["ipset:nets"]\n'), 'ipsets/nets.yaml': 'type: hash:net\nentries: [192.0.2.0/25]\n' },
  'a list is bound to a zone that drops': { ...closed('target: DROP\nsources: ["list:bad"]\n'), 'lists/bad.list': badList(admin) },
  'a list of both families is bound to a zone that rejects': { ...closed('target: REJECT\nsources: ["list:bad"]\n'), 'lists/bad.list': badList(`${admin}/32`, '2001:db8:1::3/128') },
  'a blocked list names him': { 'derpanet.yaml': 'default-zone: public\nblock: [bad]\n', 'lists/bad.list': badList(admin) },
  'a blocked list names him, XDP at work': { 'derpanet.yaml': 'default-zone: public\nblock: [bad]\nxdp: native\n', 'lists/bad.list': badList(`${admin}/32`) },
  'a policy drops everything to the host': policy('ingress-zones: [ANY]\npriority: -10\ntarget: DROP\n'),
  'a policy rejects everything from the zone': policy('ingress-zones: [public]\npriority: -1\ntarget: REJECT\n'),
  'a policy drops the service': policy('ingress-zones: [ANY]\npriority: -5\nrich-rules:\n  - rule service name="ssh" drop\n'),
  'a policy drops the source': policy(`ingress-zones: [public]\npriority: -7\nrich-rules:\n  - rule family="ipv4" source address="${admin}" drop\n`),
  'the service is another port': { 'services/ssh.yaml': 'ports: [2222/tcp]\n' },
  'the service is another protocol': { 'services/ssh.yaml': 'ports: [22/udp]\n' },
  'the service is for another destination': { 'services/ssh.yaml': 'ports: [22/tcp]\ndestination: {ipv4: 198.51.100.0/24}\n' },
  'a direct rule drops the port': direct('ipv4 filter INPUT 0 -p tcp --dport 22 -j DROP'),
  'a direct rule rejects the source': direct(`ipv4 filter INPUT 0 -s ${admin} -j REJECT`),
  'direct rules drop in another table': direct(`ipv4 raw PREROUTING 0 -p tcp -s ${admin} --dport 22 -j DROP`, 'ipv4 mangle PREROUTING 1 -p tcp --dport 22 -j DROP'),
}
