// TEST_TIMEOUT_SEC=240
// TEST_TIMEOUT_FULL_SEC=1800
// firewall-cmd and python3-firewall as Debian releases ship them, each put over the installed ones in a private host, against the
// daemon as it is built: the face is chosen by what is installed, as on that release. With DERPANET_TEST_FULL those of Debian 12
// (1.3) and Debian 13 (2.3), fetched from Debian's archive; otherwise the installed ones, and of firewall-cmd
// a few calls: test/system/clients.test.ts makes the others.
import { cpSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { installConfiguration, startDaemon } from '../support/daemon.ts'
import { addresses, createPrivateHost, repository, runCommand, whyNoPrivateHost, type PrivateHost } from '../support/private-host.ts'

interface Clients {
  readonly title: string
  /** Debian's name of the release; null = what is installed here. */
  readonly suite: string | null
  readonly version: RegExp
  readonly face: RegExp
}

const releases: readonly Clients[] = process.env['DERPANET_TEST_FULL'] === undefined
  ? [{ title: 'the installed clients', suite: null, version: /./, face: /"face":"(1\.3|2\.5)"/ }]
  : [
    { title: 'the clients of Debian 12', suite: 'bookworm', version: /^1\.3\./, face: /"face":"1\.3"/ },
    { title: 'the clients of Debian 13', suite: 'trixie', version: /^2\.3\./, face: /"face":"2\.5"/ },
  ]

/** What is typed, the status it ends with, and what is printed. */
type Row = readonly [command: string, status: number, prints?: RegExp]

const richRule = 'rule family="ipv4" source address="192.0.2.0/24" port port="81" protocol="tcp" accept'
const rows: readonly Row[] = [
  ['--state', 0, /^running$/],
  ['--get-default-zone', 0, /^public$/],
  ['--get-zones', 0, /block dmz drop external home internal( nm-shared)? public trusted work/],
  ['--get-active-zones', 0],
  ['--list-all', 0, /public[\s\S]*target: default[\s\S]*services: dhcpv6-client ssh[\s\S]*forward: yes/],
  ['--list-all-zones', 0, /block[\s\S]*trusted[\s\S]*work/],
  ['--list-all-policies', 0, /allow-host-ipv6/],
  ['--info-service=ssh', 0, /ports: 22\/tcp/],
  ['--info-zone=dmz', 0, /services: ssh/],
  ['--info-icmptype=echo-request', 0, /destination: ipv4 ipv6/],
  ['--info-helper=ftp', 0, /module: nf_conntrack_ftp/],
  ['--add-port=8080/tcp', 0, /success/], ['--query-port=8080/tcp', 0, /yes/], ['--add-port=8080/tcp', 0, /ALREADY_ENABLED/], ['--remove-port=8080/tcp', 0, /success/],
  ['--query-port=8080/tcp', 1, /no/],
  ['--add-service=http --timeout=60', 0, /success/], ['--list-services', 0, /http/], ['--remove-service=http', 0, /success/],
  ['--add-source-port=99/udp', 0], ['--add-protocol=gre', 0], ['--add-icmp-block=redirect', 0], ['--add-icmp-block-inversion', 0], ['--remove-icmp-block-inversion', 0],
  ['--add-masquerade', 0], ['--query-masquerade', 0, /yes/], ['--remove-masquerade', 0], ['--remove-forward', 0], ['--query-forward', 1, /no/], ['--add-forward', 0],
  ['--add-forward-port=port=90:proto=tcp:toport=91', 0], ['--list-forward-ports', 0, /port=90:proto=tcp:toport=91/], ['--remove-forward-port=port=90:proto=tcp:toport=91', 0],
  [`--add-rich-rule='${richRule}'`, 0], ['--list-rich-rules', 0, /source address="192\.0\.2\.0\/24"/], [`--query-rich-rule='${richRule}'`, 0, /yes/], [`--remove-rich-rule='${richRule}'`, 0],
  ['--zone=drop --add-source=203.0.113.0/24', 0], ['--get-zone-of-source=203.0.113.0/24', 0, /^drop$/], ['--zone=drop --remove-source=203.0.113.0/24', 0],
  ['--zone=home --change-interface=int0', 0], ['--get-zone-of-interface=int0', 0, /^home$/], ['--zone=home --remove-interface=int0', 0],
  ['--panic-on', 0], ['--query-panic', 0, /yes/], ['--panic-off', 0],
  ['--set-log-denied=unicast', 0], ['--get-log-denied', 0, /unicast/], ['--set-log-denied=off', 0],
  ['--permanent --new-zone=lab', 0], ['--permanent --zone=lab --set-target=DROP', 0], ['--permanent --zone=lab --add-service=http', 0], ['--permanent --zone=lab --add-port=99/tcp', 0], ['--permanent --zone=lab --list-all', 0, /lab[\s\S]*target: DROP[\s\S]*services: http[\s\S]*ports: 99\/tcp/],
  ['--permanent --new-service=lab', 0], ['--permanent --service=lab --add-port=1234/udp', 0], ['--permanent --service=lab --set-description=words', 0], ['--permanent --info-service=lab', 0, /ports: 1234\/udp/],
  ['--permanent --new-ipset=lab --type=hash:net', 0], ['--permanent --ipset=lab --add-entry=198.51.100.0/24', 0], ['--permanent --ipset=lab --get-entries', 0, /198\.51\.100\.0\/24/],
  ['--permanent --new-policy=lab-in', 0], ['--permanent --policy=lab-in --add-ingress-zone=lab', 0], ['--permanent --policy=lab-in --add-egress-zone=HOST', 0], ['--permanent --info-policy=lab-in', 0, /ingress-zones: lab/],
  ['--check-config', 0, /success/], ['--reload', 0, /success/],
  ['--zone=lab --query-service=http', 0, /yes/], ['--ipset=lab --add-entry=203.0.113.7', 0], ['--ipset=lab --query-entry=203.0.113.7', 0, /yes/], ['--info-policy=lab-in', 0, /egress-zones: HOST/],
  ['--policy=lab-in --add-service=https', 0], ['--policy=lab-in --list-services', 0, /https/],
  ['--direct --add-rule ipv4 filter INPUT 0 -p tcp --dport 7 -j DROP', 0], ['--direct --get-all-rules', 0, /ipv4 filter INPUT 0 -p tcp --dport 7 -j DROP/], ['--direct --remove-rule ipv4 filter INPUT 0 -p tcp --dport 7 -j DROP', 0],
  ['--direct --passthrough ipv4 -t filter -S INPUT', 0, /-P INPUT/],
  ['--add-port=7777/tcp', 0], ['--runtime-to-permanent', 0], ['--permanent --query-port=7777/tcp', 0, /yes/],
  ['--permanent --delete-policy=lab-in', 0], ['--permanent --delete-zone=lab', 0], ['--permanent --delete-ipset=lab', 0], ['--permanent --delete-service=lab', 0], ['--complete-reload', 0, /success/],
  ['--set-default-zone=home', 0], ['--get-default-zone', 0, /^home$/], ['--set-default-zone=public', 0],
  ['--zone=nonesuch --list-all', 112, /INVALID_ZONE/], ['--add-service=nonesuch', 101, /INVALID_SERVICE/], ['--add-port=70000/tcp', 102, /INVALID_PORT/],
  ['--add-source=192.0.2.300', 105, /INVALID_ADDR/], ['--add-icmp-block=nonesuch', 107, /INVALID_ICMPTYPE/], [`--add-rich-rule='rule nonsense'`, 122, /INVALID_RULE/], ['--permanent --info-service=lab', 101, /INVALID_SERVICE/],
]

function words(command: string): string[] {
  return (command.match(/(?:[^\s']+|'[^']*')+/g) ?? []).map((word) => word.replaceAll("'", ''))
}

async function firewallCmd(t: Test, host: PrivateHost, asked: readonly Row[]): Promise<void> {
  for (const [command, status, prints] of asked) {
    const ran = await host.firewall.run(['firewall-cmd', ...words(command)], { timeoutMs: 120_000 })
    const said = `${ran.stdout}${ran.stderr}`.trim()
    t.equal(ran.status, status, `firewall-cmd ${command} ends with ${status}`, { said })
    if (prints !== undefined) t.match(said, prints, `… and prints ${prints.source}`)
  }
}

for (const { title, suite, version, face } of releases) {
  t.test(title, { skip: whyNoPrivateHost() ?? false }, async (t) => {
    const host = await createPrivateHost({ name: `clients-${suite ?? 'here'}`, boundSec: 1700 })
    t.teardown(() => host.stop())
    if (suite !== null) {
      const fetched = await runCommand(['bash', join(repository, 'test/support/debian-clients.sh'), suite], { timeoutMs: 180_000 })
      if (fetched.status !== 0) throw new Error(`the clients of ${suite} cannot be fetched: ${fetched.stderr}`)
      const from = fetched.stdout.trim().split('\n').at(-1) ?? ''
      // a copy of the host's own: Python writes its cache beside what it reads
      cpSync(from, host.path('/run/clients'), { recursive: true })
      for (const path of ['/usr/bin/firewall-cmd', '/usr/bin/firewall-offline-cmd', '/usr/lib/python3/dist-packages/firewall', '/usr/lib/firewalld']) {
        await host.firewall.ok(['mount', '--bind', `/run/clients${path}`, path])
      }
    }
    await installConfiguration(host)
    const daemon = await startDaemon(host)
    const library = await host.firewall.ok(['/usr/bin/python3', '-c', 'from firewall.config import VERSION; print(VERSION)'])
    t.match(library, version, `python3-firewall ${library}`)
    t.match(daemon.running.output(), face, 'the face is the one these clients know')
    await t.test('python3-firewall', async (t) => {
      const ran = await host.firewall.run(['/usr/bin/python3', join(repository, 'test/compat/support/python-client.py')], { timeoutMs: 300_000 })
      const lines = ran.stdout.trim().split('\n')
      for (const line of lines) {
        if (/^(ok|not ok) /.test(line)) t.ok(line.startsWith('ok'), line.replace(/^(not )?ok /, ''))
      }
      t.equal(lines.at(-1), 'done', 'it runs to its end', { stderr: ran.stderr })
    })
    await t.test('firewall-cmd', (t) => firewallCmd(t, host, suite === null ? rows.slice(0, 12) : rows))
    const outside = await host.outside.agent()
    await (await host.firewall.agent()).serve(['tcp:22', 'tcp:80'])
    t.match(await outside.one({ kind: 'tcp', host: addresses.firewall.ext4, port: 22 }), /^open/, 'packets follow: ssh is open')
    t.match(await outside.one({ kind: 'tcp', host: addresses.firewall.ext4, port: 80 }), /^reject/, 'and http is not')
    t.equal(await daemon.stop(), 0)
  })
}
