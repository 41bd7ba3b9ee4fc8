// Debian's own firewall-cmd and busctl, unmodified, against the daemon in a private host: what they print, their exit
// statuses, and what then happens to packets. DERPANET_CONTROL=firewalld runs the same rows against Debian's firewalld,
// which is how the expectations were checked.
// TEST_TIMEOUT_SEC=300
import t, { type Test } from 'tap'
import { installConfiguration, startDaemon, type DaemonKind, type HostDaemon } from '../support/daemon.ts'
import { addresses, createPrivateHost, eventually, whyNoPrivateHost, type PrivateHost } from '../support/private-host.ts'
import type { Agent, Probe } from '../support/agent.ts'

const kind = (process.env['DERPANET_CONTROL'] ?? 'derpanetd') as DaemonKind
const why = whyNoPrivateHost()
const host4 = addresses.firewall.ext4
const host6 = addresses.firewall.ext6

/** A command, the status it ends with and what it prints (both streams). */
type Row = readonly [command: string, status: number, prints?: RegExp]
/** A packet from outside and what becomes of it. */
type Fate = readonly [what: string, probe: Probe, result: RegExp]

const tcp = (port: number, src?: string): Probe => ({ kind: 'tcp', host: host4, port, ...(src === undefined ? {} : { src }) })
const tcp6 = (port: number): Probe => ({ kind: 'tcp', host: host6, port })
const udp = (port: number): Probe => ({ kind: 'udp', host: host4, port })
const ping: Probe = { kind: 'ping', host: host4 }
const ping6: Probe = { kind: 'ping', host: host6 }
const open = /^open/
const prohibited = /^reject icmp(3\/13|1\/1)$/

interface Lab {
  readonly host: PrivateHost
  readonly daemon: HostDaemon
  readonly outside: Agent
}

/** Words split at spaces; "…" keeps them together. */
function words(command: string): string[] {
  return (command.match(/(?:[^\s']+|'[^']*')+/g) ?? []).map((word) => word.replaceAll("'", ''))
}

async function rows(t: Test, { daemon }: Lab, list: readonly Row[]): Promise<void> {
  for (const [command, status, prints] of list) {
    const ran = await daemon.firewallCmd(...words(command))
    const said = `${ran.stdout}${ran.stderr}`.trim()
    t.equal(ran.status, status, `firewall-cmd ${command} ends with ${status}`, { said })
    if (prints !== undefined) t.match(said, prints, `… and prints ${prints.source}`)
  }
}

async function fates(t: Test, { outside }: Lab, list: readonly Fate[]): Promise<void> {
  const results = await outside.probe(list.map(([, probe]) => probe))
  list.forEach(([what, , wanted], index) => t.match(results[index], wanted, what))
}

t.test('Debian\'s clients work unmodified', { skip: why ?? false, timeout: 300_000 }, async (t) => {
  const host = await createPrivateHost({ name: 'clients', boundSec: 400 })
  t.teardown(() => host.stop())
  const before = await host.firewall.run(['firewall-cmd', '--state'])
  t.equal(before.status, 252, 'firewall-cmd --state without a daemon ends with 252')

  if (kind === 'derpanetd') await installConfiguration(host)
  const daemon = await startDaemon(host, { kind })
  const lab: Lab = { host, daemon, outside: await host.outside.agent() }
  await (await host.firewall.agent()).serve(['tcp:22', 'tcp:80-82', 'tcp:443', 'tcp:9000', 'udp:53', 'udp:9000'])
  await (await host.outside.agent()).serve(['tcp:80'])

  await t.test('questions', (t) => rows(t, lab, [
    ['--state', 0, /^running$/],
    ['--version', 0, /^\d+\.\d+\.\d+$/],
    ['--get-default-zone', 0, /^public$/],
    ['--get-zones', 0, /^block dmz drop external home internal( nm-shared)? public trusted work$/],
    ['--get-services', 0, /\bssh\b/],
    ['--get-icmptypes', 0, /\becho-request\b/],
    ['--list-all', 0, /public[\s\S]*target: default[\s\S]*services: dhcpv6-client ssh/],
    ['--list-all --zone=drop', 0, /drop[\s\S]*target: DROP/],
    ['--list-all-zones', 0, /block[\s\S]*trusted[\s\S]*work/],
    ['--query-panic', 1, /^no$/],
    ['--get-log-denied', 0, /^off$/],
    ['--info-service=ssh', 0, /ports: 22\/tcp/],
    ['--get-zone-of-interface=ext0', 2, /no zone/],
  ]))

  await t.test('the default zone filters interfaces that nobody bound', (t) => fates(t, lab, [
    ['a service of public is open', tcp(22), open],
    ['over IPv6 too', tcp6(22), open],
    ['another port is rejected as admin-prohibited', tcp(80), prohibited],
    ['over IPv6 too', tcp6(80), prohibited],
    ['UDP is rejected', udp(53), prohibited],
    ['ping is answered', ping, open],
    ['ping over IPv6 is answered', ping6, open],
  ]))

  await t.test('interfaces', async (t) => {
    await rows(t, lab, [['--zone=trusted --change-interface=ext0', 0, /success/], ['--get-zone-of-interface=ext0', 0, /^trusted$/], ['--get-active-zones', 0, /trusted[\s\S]*interfaces: ext0/]])
    await fates(t, lab, [['trusted: everything is open', tcp(80), open], ['a port without a listener is closed, not filtered', tcp(83), /^closed$/]])
    await rows(t, lab, [['--zone=drop --change-interface=ext0', 0]])
    await fates(t, lab, [['drop: nothing is answered', tcp(22), /^drop$/], ['not even ping', ping, /^drop$/], ['nor IPv6', tcp6(22), /^drop$/]])
    t.match(await (await host.firewall.agent()).one({ kind: 'tcp', host: addresses.outside.v4, port: 80 }), open, 'the host itself still connects out')
    await rows(t, lab, [
      ['--zone=block --change-interface=ext0', 0],
      ['--zone=public --add-interface=ext0', 18, /ZONE_CONFLICT/],
      ['--zone=block --add-interface=ext0', 0, /ZONE_ALREADY_SET|ALREADY_ENABLED/],
    ])
    await fates(t, lab, [['block: everything is rejected', tcp(22), prohibited]])
    await rows(t, lab, [['--zone=block --query-interface=ext0', 0, /yes/], ['--zone=block --remove-interface=ext0', 0], ['--zone=block --query-interface=ext0', 1, /no/]])
    await fates(t, lab, [['back in the default zone', tcp(22), open]])
  })

  await t.test('sources', async (t) => {
    await rows(t, lab, [['--zone=trusted --add-source=192.0.2.3', 0], ['--zone=trusted --query-source=192.0.2.3', 0, /yes/], ['--get-zone-of-source=192.0.2.3', 0, /^trusted$/]])
    await fates(t, lab, [['a trusted source gets everywhere', tcp(80, '192.0.2.3'), open], ['its neighbour does not', tcp(80), prohibited]])
    await rows(t, lab, [['--zone=drop --change-source=192.0.2.3', 0]])
    await fates(t, lab, [['a source in drop gets nothing', tcp(22, '192.0.2.3'), /^drop$/], ['its neighbour does', tcp(22), open]])
    await rows(t, lab, [
      ['--zone=drop --remove-source=192.0.2.3', 0], ['--zone=drop --query-source=192.0.2.3', 1, /no/],
      ['--zone=trusted --add-source=2001:db8:1::/64', 0],
    ])
    await fates(t, lab, [['an IPv6 prefix is trusted', tcp6(80), open], ['IPv4 is not meant', tcp(80), prohibited]])
    await rows(t, lab, [['--zone=trusted --remove-source=2001:db8:1::/64', 0], [`--zone=trusted --add-source=${addresses.macs.outside}`, 0]])
    await fates(t, lab, [['a MAC address is trusted', tcp(80), open]])
    await rows(t, lab, [[`--zone=trusted --remove-source=${addresses.macs.outside}`, 0]])
  })

  await t.test('services, ports, protocols, source ports', async (t) => {
    await rows(t, lab, [['--zone=public --add-service=http', 0], ['--zone=public --query-service=http', 0, /yes/], ['--zone=public --list-services', 0, /http/]])
    await fates(t, lab, [['http is open', tcp(80), open], ['over IPv6 too', tcp6(80), open], ['https is not', tcp(443), prohibited]])
    await rows(t, lab, [
      ['--zone=public --remove-service=http', 0], ['--zone=public --query-service=http', 1, /no/],
      ['--add-port=9000/tcp', 0], ['--query-port=9000/tcp', 0, /yes/], ['--list-ports', 0, /9000\/tcp/], ['--add-port=81-82/tcp', 0],
    ])
    await fates(t, lab, [
      ['the port is open', tcp(9000), open], ['its UDP namesake is not', udp(9000), prohibited],
      ['the range is open', tcp(81), open], ['to its end', tcp(82), open], ['http is closed again', tcp(80), prohibited],
    ])
    await rows(t, lab, [['--remove-port=81-82/tcp --remove-port=9000/tcp', 0], ['--query-port=9000/tcp', 1, /no/], ['--add-protocol=udp', 0], ['--query-protocol=udp', 0]])
    await fates(t, lab, [['every UDP port is open', udp(9000), open], ['the TCP port is closed again', tcp(9000), prohibited]])
    await rows(t, lab, [['--remove-protocol=udp', 0], ['--add-source-port=1024-65535/udp', 0], ['--query-source-port=1024-65535/udp', 0]])
    await fates(t, lab, [['a source port opens', udp(53), open]])
    await rows(t, lab, [['--remove-source-port=1024-65535/udp', 0]])
    await fates(t, lab, [['and closes', udp(53), prohibited]])
  })

  await t.test('ICMP blocks', async (t) => {
    await rows(t, lab, [['--add-icmp-block=echo-request', 0], ['--query-icmp-block=echo-request', 0, /yes/], ['--list-icmp-blocks', 0, /echo-request/]])
    await fates(t, lab, [['ping is rejected', ping, /^reject/], ['over IPv6 too', ping6, /^reject/], ['TCP is untouched', tcp(22), open]])
    await rows(t, lab, [['--add-icmp-block-inversion', 0], ['--query-icmp-block-inversion', 0]])
    await fates(t, lab, [['inverted, ping is what passes', ping, open]])
    await rows(t, lab, [['--remove-icmp-block-inversion', 0], ['--remove-icmp-block=echo-request', 0], ['--query-icmp-block=echo-request', 1]])
    await fates(t, lab, [['ping is back', ping, open]])
  })

  await t.test('rich rules', async (t) => {
    const accept = 'rule family="ipv4" source address="192.0.2.3" port port="80" protocol="tcp" accept'
    const reject = 'rule family="ipv4" source address="192.0.2.3" service name="ssh" reject type="icmp-host-prohibited"'
    const drop = 'rule family="ipv6" source address="2001:db8:1::/64" drop'
    await rows(t, lab, [[`--add-rich-rule='${accept}'`, 0], [`--add-rich-rule='${reject}'`, 0], [`--add-rich-rule='${drop}'`, 0],
      [`--query-rich-rule='rule family=ipv4 source address=192.0.2.3 port port=80 protocol=tcp accept'`, 0, /yes/],
      ['--list-rich-rules', 0, /icmp-host-prohibited/]])
    await fates(t, lab, [
      ['accept opens to the source', tcp(80, '192.0.2.3'), open], ['and to nobody else', tcp(80), prohibited],
      ['reject answers as told', tcp(22, '192.0.2.3'), /^reject icmp3\/10$/], ['and only him', tcp(22), open],
      ['drop drops', tcp6(22), /^drop$/],
    ])
    await rows(t, lab, [[`--remove-rich-rule='${accept}'`, 0], [`--remove-rich-rule='${reject}'`, 0], [`--remove-rich-rule='${drop}'`, 0], [`--query-rich-rule='${accept}'`, 1]])
    await fates(t, lab, [['all as before', tcp6(22), open]])
  })

  await t.test('panic', async (t) => {
    await rows(t, lab, [['--panic-on', 0], ['--query-panic', 0, /yes/], ['--add-service=http', 15, /PANIC_MODE/]])
    await fates(t, lab, [['nothing comes in', tcp(22), /^drop$/], ['ping neither', ping, /^drop$/]])
    t.match(await (await host.firewall.agent()).one({ kind: 'udp', host: addresses.outside.v4, port: 53 }), /^drop/, 'nothing goes out')
    await rows(t, lab, [['--panic-off', 0], ['--query-panic', 1, /no/]])
    await fates(t, lab, [['afterwards it does', tcp(22), open]])
  })

  await t.test('timeouts', async (t) => {
    await rows(t, lab, [['--add-service=http --timeout=6', 0], ['--add-port=9000/udp --timeout=5s', 0]])
    await fates(t, lab, [['open while it lasts', tcp(80), open], ['the port too', udp(9000), open]])
    await rows(t, lab, [['--list-services', 0, /http/]])
    await eventually('the service closes by itself', 20_000, async () => prohibited.test(await lab.outside.one(tcp(80))))
    await eventually('the port closes by itself', 20_000, async () => prohibited.test(await lab.outside.one(udp(9000))))
    await rows(t, lab, [['--query-service=http', 1, /no/], ['--permanent --zone=public --add-service=http --timeout=3', 2]])
  })

  await t.test('the default zone, and reload', async (t) => {
    await rows(t, lab, [
      ['--set-default-zone=trusted', 0, /success/], ['--get-default-zone', 0, /^trusted$/], ['--set-default-zone=trusted', 0, /ZONE_ALREADY_SET/],
    ])
    await fates(t, lab, [['everything is open', tcp(80), open]])
    await rows(t, lab, [['--set-default-zone=public', 0], ['--add-port=9000/tcp', 0], ['--zone=trusted --add-source=192.0.2.3', 0]])
    const connection = await lab.outside.hold(host4, 22)
    await rows(t, lab, [['--reload', 0, /success/], ['--query-port=9000/tcp', 1], ['--get-zone-of-source=192.0.2.3', 2]])
    t.equal(await lab.outside.say(connection, 'still there?'), 'still there?', 'a connection lives through a reload')
    await fates(t, lab, [['what was only runtime is gone', tcp(9000), prohibited], ['what is permanent is there', tcp(22), open]])
  })

  await t.test('wrong input ends with firewalld\'s exit statuses', (t) => rows(t, lab, [
    ['--zone=nonesuch --list-all', 112, /INVALID_ZONE/],
    ['--set-default-zone=nonesuch', 112, /INVALID_ZONE/],
    ['--zone=nonesuch --add-service=ssh', 112, /INVALID_ZONE/],
    ['--add-service=nonesuch', 101, /INVALID_SERVICE/],
    ['--add-port=70000/tcp', 102, /INVALID_PORT/],
    ['--add-port=80/nonesuch', 103, /INVALID_PROTOCOL/],
    ['--add-port=80', 102, /INVALID_PORT|bad port/],
    ['--add-protocol=nonesuch', 103, /INVALID_PROTOCOL/],
    ['--add-icmp-block=nonesuch', 107, /INVALID_ICMPTYPE/],
    ['--add-source=192.0.2.300', 105, /INVALID_ADDR/],
    ['--add-source=ipset:nonesuch', 135, /INVALID_IPSET/],
    [`--add-rich-rule='rule family=ipv4 source address=192.0.2.3 service name=nonesuch accept'`, 101, /INVALID_SERVICE/],
    [`--add-rich-rule='rule family=ipv5 source address=192.0.2.3 accept'`, 122, /INVALID_RULE/],
    [`--add-rich-rule='rule nonsense'`, 122, /INVALID_RULE/],
    ['--add-service=ssh', 0, /ALREADY_ENABLED/],
    ['--remove-service=http', 0, /NOT_ENABLED/],
    ['--add-service=http --add-service=nonesuch', 0, /INVALID_SERVICE/],
    ['--remove-service=http', 0, /success/],
    ['--no-such-option', 2, /unrecognized/],
  ]))

  await t.test('busctl', async (t) => {
    const call = (member: string, ...rest: string[]): Promise<string> =>
      host.firewall.ok(['busctl', '--system', 'call', 'org.fedoraproject.FirewallD1', '/org/fedoraproject/FirewallD1', member.slice(0, member.lastIndexOf('.')), member.slice(member.lastIndexOf('.') + 1), ...rest])
    const introspected = await host.firewall.ok(['busctl', '--system', 'introspect', 'org.fedoraproject.FirewallD1', '/org/fedoraproject/FirewallD1'])
    t.match(introspected, /org\.fedoraproject\.FirewallD1\.zone\s+interface/, 'introspect shows the zone interface')
    t.match(introspected, /\.addPort\s+method\s+sssi\s+s/, 'with its methods')
    t.equal(await call('org.fedoraproject.FirewallD1.getDefaultZone'), 's "public"')
    t.equal(await call('org.fedoraproject.FirewallD1.zone.addPort', 'sssi', '', '9000', 'tcp', '0'), 's "public"', 'a change answers with the real zone')
    await fates(t, lab, [['and is in force when it has answered', tcp(9000), open]])
    t.equal(await call('org.fedoraproject.FirewallD1.zone.removePort', 'sss', '', '9000', 'tcp'), 's "public"')
    t.match(await call('org.fedoraproject.FirewallD1.zone.getZones'), /^as \d+ "block" "dmz"/)
  })

  t.equal(await daemon.stop(), 0, 'the daemon ends with status 0')
  if (kind === 'derpanetd') await fates(t, lab, [['and filtering stays', tcp(80), prohibited], ['with what was open', tcp(22), open]])
})
