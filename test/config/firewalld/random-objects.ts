// Random settings of every kind in canonical form, within what firewalld's XML can say.
import type { DirectSettings, LockdownSettings } from '../../../src/model/direct.ts'
import { formatRichRule, parseRichRule } from '../../../src/model/rich/index.ts'
import {
  emptyHelper, emptyIcmpType, emptyIpSet, emptyPolicy, emptyService, emptyZone, type PortSpec,
} from '../../../src/model/settings.ts'
import type { KindSettings } from '../../../src/settings/kinds.ts'
import type { Random } from '../../support/random.ts'

const texts = ['', 'Public', 'ein "Zitat"', "it's", '# no comment', 'a <b> & c', ' blanks  within ', '名前 ü', '%%', ']]>', 'tab\there']
/** Ranges that do not overlap: those that do become one in a zone file. */
const ports: readonly PortSpec[] = [
  { port: '22', protocol: 'tcp' }, { port: '80', protocol: 'tcp' }, { port: '100-200', protocol: 'udp' }, { port: '5000-5010', protocol: 'sctp' }, { port: '0', protocol: 'dccp' },
]
const forwards = [
  { port: '80', protocol: 'tcp', toPort: '8080', toAddr: '' }, { port: '81', protocol: 'tcp', toPort: '', toAddr: '192.0.2.2' },
  { port: '90-95', protocol: 'udp', toPort: '100', toAddr: '2001:db8::2' },
]
const richTexts = [
  'rule family=ipv4 source NOT address=10.0.0.1 destination address=10.0.0.2 service name=ssh log prefix="x <y> & \'z\'" level=info limit value=3/m audit limit value=1/h accept limit value=2/s burst=7',
  'rule priority=-5 drop', 'rule priority=32767 family=ipv6 destination NOT address=2001:db8::/32 drop', 'rule family=ipv4 source address=1.2.3.4 reject type=tcp-reset',
  'rule source mac=AA:BB:CC:DD:EE:FF mark set=0x1/0xff', 'rule source ipset=x service name=ssh nflog group=3 prefix=a queue-size=4 accept', 'rule masquerade',
  'rule family=ipv4 forward-port port=80 protocol=tcp to-port=90 to-addr=10.0.0.3', 'rule icmp-block name=echo-request', 'rule tcp-mss-clamp value=1000',
  'rule tcp-mss-clamp value=pmtu', 'rule port port=80 protocol=tcp audit accept', 'rule source-port port=80-90 protocol=tcp accept', 'rule protocol value=gre accept',
  'rule icmp-type name=redirect drop', 'rule family=ipv4 destination ipset=x reject', 'rule service name=http log prefix="\\"quoted\\" \\\\ back" drop',
].map((text) => formatRichRule(parseRichRule(text)))

type Maker<Kind extends keyof KindSettings> = (random: Random) => KindSettings[Kind]

const about = (random: Random): { version: string; short: string; description: string } =>
  ({ version: random.pick(['', '1.0', '"2"']), short: random.pick(texts), description: random.pick(texts) })

const filter = (random: Random) => ({
  services: random.some(['ssh', 'http', 'a_b', '123'], 4), ports: random.some(ports, 4), protocols: random.some(['gre', '47', 'esp'], 3),
  sourcePorts: random.some(ports, 2), icmpBlocks: random.some(['echo-request', 'redirect'], 2), masquerade: random.chance(0.5),
  forwardPorts: random.some(forwards, 3), richRules: random.some(richTexts, 6),
})

export const randomObjects: { readonly [Kind in keyof KindSettings]: Maker<Kind> } = {
  zone: (random) => ({
    ...emptyZone, ...about(random), ...filter(random), target: random.pick(['default', 'ACCEPT', 'REJECT', 'DROP']),
    interfaces: random.some(['eth0', 'wg+', 'br0'], 3), sources: random.some(['192.0.2.0/24', '::1', '00:11:22:33:44:55', 'ipset:x'], 4),
    icmpBlockInversion: random.chance(0.5), forward: random.chance(0.5), ingressPriority: random.between(-32768, 32767), egressPriority: random.between(-2, 2),
  }),
  policy: (random) => {
    const parts = filter(random)
    const ingressZones = random.pick([[], ['ANY'], ['HOST'], ['home', 'work']])
    return {
      ...emptyPolicy, ...about(random), ...parts, richRules: parts.richRules.filter((rule) => ingressZones[0] !== 'HOST' || !/masquerade|mark set|mac=/.test(rule)), masquerade: false, forwardPorts: parts.forwardPorts.filter((forward) => forward.toAddr !== ''),
      target: random.pick(['CONTINUE', 'ACCEPT', 'REJECT', 'DROP']), priority: random.pick([-32768, -1, 1, 100, 32767]),
      ingressZones, egressZones: random.pick([[], ['ANY'], ['public']]), disable: random.chance(0.3),
    }
  },
  service: (random) => ({
    ...emptyService, ...about(random), ports: random.some(ports, 4), protocols: random.some(['gre', '47'], 2), sourcePorts: random.some(ports, 2),
    modules: random.some(['ftp', 'netbios-ns'], 2), helpers: random.some(['ftp', 'Q.931'], 2), includes: random.some(['http', 'ssh'], 2),
    destination: random.pick([{}, { ipv4: '224.0.0.251' }, { ipv6: 'fe80::/64' }, { ipv4: '10.0.0.0/255.0.0.0', ipv6: 'ff02::fb' }]),
  }),
  ipset: (random) => random.pick([
    { ...emptyIpSet, ...about(random), type: 'hash:net', options: { family: 'inet', maxelem: '100' }, entries: random.some(['192.0.2.0/24', '198.51.100.0/25', '203.0.113.7'], 3) },
    { ...emptyIpSet, ...about(random), type: 'hash:ip', options: { family: 'inet6' }, entries: random.some(['2001:db8::1', '::1'], 2) },
    { ...emptyIpSet, ...about(random), type: 'hash:mac', options: {}, entries: random.some(['00:11:22:33:44:55', '66:77:88:99:AA:BB'], 2) },
    { ...emptyIpSet, ...about(random), type: 'hash:ip,port', options: { timeout: '60' }, entries: [] },
  ]),
  icmptype: (random) => ({ ...emptyIcmpType, ...about(random), destinations: random.pick([[], ['ipv4'], ['ipv6'], ['ipv4', 'ipv6']]) }),
  helper: (random) => ({ ...emptyHelper, ...about(random), module: random.pick(['nf_conntrack_ftp', 'nf_conntrack_sip']), family: random.pick(['', 'ipv4', 'ipv6']), ports: random.some(ports, 3) }),
}

const words = ['-p', 'tcp', 'a b', 'it\'s', '"q"', '$d', 'x\\y', '--comment', 'new\nline', '<&>', '']

export function randomDirect(random: Random): DirectSettings {
  const chains = random.some([
    { ipv: 'ipv4', table: 'filter', chain: 'one' }, { ipv: 'ipv6', table: 'raw', chain: 'a b' }, { ipv: 'eb', table: 'broute', chain: 'c' },
  ] as const, 3)
  const args = (): readonly string[] => ['-j', ...random.some(words, 5)]
  return {
    chains,
    rules: chains.map((chain) => ({ ...chain, priority: random.between(-9, 9), args: args() })),
    passthroughs: random.chance(0.5) ? [{ ipv: 'ipv4', args: args() }] : [],
  }
}

export function randomLockdown(random: Random): LockdownSettings {
  return {
    commands: random.some(['/usr/bin/python3 /usr/bin/firewall-config', '/bin/x *'], 2), contexts: random.some(['system_u:system_r:NetworkManager_t:s0', 'a_u:b_r:c_t:s0-s0:c0.c1023'], 2),
    users: random.some(['root', 'bob'], 2), uids: random.some([0, 1000], 2),
  }
}
