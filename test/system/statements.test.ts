// What firewalld's users rely on of reloads, restarts and stops, with the daemon that is built, Debian's firewall-cmd and real
// packets. The sentences are in test/packets/statements/list.ts.
// TEST_TIMEOUT_SEC=400 TEST_TIMEOUT_FULL_SEC=900
import { mkdir, writeFile } from 'node:fs/promises'
import t, { type Test } from 'tap'
import { busCall, chooseVariant, startDaemon, writeConfiguration, type HostDaemon } from '../support/daemon.ts'
import { createPrivateHost, whyNoPrivateHost, type PrivateHost } from '../support/private-host.ts'
import { variants } from '../support/netfilter-host.ts'
import { statements } from '../packets/statements/list.ts'
import { packetsOf, told, type Fates, type PacketWords } from '../packets/statements/words.ts'

const publicZone = 'services: [ssh]\nports: [80/tcp, 53/udp]\n'
const unbuildable = [
  'rule family="ipv4" destination address="192.0.2.1" service name="mdns" accept', 'rule family="ipv4" source ipset="nowhere" accept',
  'rule family="ipv4" port port="53" protocol="udp" reject type="tcp-reset"',
] as const

interface Lab {
  readonly host: PrivateHost
  daemon: HostDaemon
}

/** What is open before and after everything here. */
const permanent = { 'tcp 22': 'open', 'tcp 80': 'open', 'udp 53': 'open', 'tcp 23': 'prohibited', 'tcp 81': 'prohibited', 'ping': 'open' } as const

/** What differs from `then`, a line each. */
async function mistakes({ host }: Lab, then: Readonly<Record<PacketWords, Fates>>): Promise<readonly string[]> {
  const packets = packetsOf(then)
  const places = { outside: host.outside, inside: host.inside, host: host.firewall }
  const found = await Promise.all(Object.entries(places).map(async ([side, place]) => {
    const mine = packets.filter((sent) => sent.side === side)
    if (mine.length === 0) return []
    const results = await (await place.agent()).probe(mine.map(({ probe }) => probe))
    return mine.flatMap(({ words, family, fate }, index) => {
      const result = told(results[index]!, fate)
      return result === fate ? [] : [`${words}, ${family}: ${result}, not ${fate}`]
    })
  }))
  return found.flat()
}

async function see(t: Test, lab: Lab, when: string, then: Readonly<Record<PacketWords, Fates>>): Promise<void> {
  t.same(await mistakes(lab, then), [], `${when}: ${Object.entries(then).map(([words, fate]) => `${words} ${String(fate)}`).join(', ')}`)
}

/** Looks again and again while `work` goes on. */
async function seeWhile(t: Test, lab: Lab, when: string, then: Readonly<Record<PacketWords, Fates>>, work: Promise<unknown>): Promise<void> {
  let done = false
  void work.finally(() => { done = true })
  const found = new Set<string>()
  let rounds = 0
  for (; !done; rounds++) for (const line of await mistakes(lab, then)) found.add(line)
  await work
  t.same([...found], [], `${when}, looked at ${rounds} times`)
}

/** A command that must succeed. */
async function cmd(t: Test, { daemon }: Lab, ...args: readonly string[]): Promise<string> {
  const { status, stdout, stderr } = await daemon.firewallCmd(...args)
  t.equal(status, 0, `firewall-cmd ${args.join(' ')} ${stderr.trim()}`)
  return stdout.trim()
}

async function reload({ host }: Lab): Promise<void> {
  await busCall(host, 'org.fedoraproject.FirewallD1', 'reload')
}

async function withMain(lab: Lab, text: string): Promise<void> {
  await writeConfiguration(lab.host, { 'derpanet.yaml': `default-zone: public\nfirewalld-compat: "2.5"\n${text}` })
  await reload(lab)
}

async function createLab(variant: 'nft' | 'legacy'): Promise<Lab> {
  const host = await createPrivateHost({ name: `statements-${variant}`, boundSec: 600 })
  await chooseVariant(host, variant)
  for (const place of [host.firewall, host.inside, host.outside]) await (await place.agent()).serve(['tcp:22-23', 'tcp:53', 'tcp:80-81', 'tcp:443', 'udp:53-54', 'udp:443'])
  await writeConfiguration(host, { 'zones/public.yaml': publicZone, 'derpanet.yaml': 'default-zone: public\n', 'ipsets/bad.yaml': 'type: hash:ip\nentries: [203.0.113.1]\n' })
  return { host, daemon: await startDaemon(host) }
}

const whole = process.env['DERPANET_TEST_FULL'] === '1'

for (const variant of whole ? variants : ['nft'] as const) {
  t.test(variant, { skip: whyNoPrivateHost() ?? false, timeout: 590_000 }, async (t) => {
    const lab = await createLab(variant)
    const { host } = lab
    t.teardown(() => host.stop())
    const outside = await host.outside.agent()
    t.match((await lab.daemon.ctl('status')).stdout, new RegExp(`variant: ${variant}`))
    await see(t, lab, 'at the start', permanent)

    await t.test(statements['reload.established'].title, async (t) => {
      const held = await Promise.all(['192.0.2.1', '2001:db8:1::1'].map((address) => outside.hold(address, 22)))
      for (let round = 0; round < 3; round++) {
        await seeWhile(t, lab, `during reload ${round}`, permanent, Promise.all([reload(lab), reload(lab)]))
        for (const handle of held) t.equal(await outside.say(handle, `still ${round}`), `still ${round}`)
      }
      await Promise.all(held.map((handle) => outside.release(handle)))
    })

    await t.test(statements['reload.policy'].title, async (t) => {
      for (const policy of ['INPUT:ACCEPT,FORWARD:ACCEPT,OUTPUT:ACCEPT', 'DROP', 'INPUT:REJECT']) {
        await withMain(lab, `firewalld: {ReloadPolicy: "${policy}"}\n`)
        await seeWhile(t, lab, policy, { ...permanent, 'host > outside tcp 443': 'open', 'inside tcp 80': 'prohibited' }, reload(lab))
      }
      await withMain(lab, '')
    })

    await t.test(statements['reload.timed'].title, async (t) => {
      await cmd(t, lab, '--add-port=81/tcp', '--timeout=600')
      await cmd(t, lab, '--add-rich-rule=rule family=ipv4 source address=192.0.2.2 port port=23 protocol=tcp accept', '--timeout=600')
      await see(t, lab, 'while it is pending', { 'tcp 81': 'open', 'tcp 23': ['open', 'reject icmp1/1'] })
      await cmd(t, lab, '--reload')
      await see(t, lab, 'after the reload', { ...permanent, 'host > outside tcp 443': 'open', 'inside tcp 80': 'prohibited' })
      t.equal(await cmd(t, lab, '--list-ports'), '80/tcp 53/udp')
      t.equal(await cmd(t, lab, '--state'), 'running')
    })

    await t.test(statements['reload.unbuildable'].title, async (t) => {
      for (const rule of unbuildable) {
        t.not((await lab.daemon.firewallCmd(`--add-rich-rule=${rule}`)).status, 0, `runtime: ${rule}`)
        await writeConfiguration(host, { 'zones/public.yaml': `ports: [81/tcp]\nrich-rules:\n  - '${rule}'\n` })
        await t.rejects(reload(lab), /INVALID_(RULE|IPSET)/, `in a file: ${rule}`)
        await see(t, lab, rule, permanent)
        await writeConfiguration(host, { 'zones/public.yaml': publicZone })
        await reload(lab)
        t.equal(await cmd(t, lab, '--state'), 'running')
      }
    })

    await t.test(statements['rich.unbuildable'].title, async (t) => {
      for (const rule of unbuildable) t.not((await lab.daemon.firewallCmd('--zone=work', `--add-rich-rule=${rule}`)).status, 0, rule)
      await cmd(t, lab, '--zone=work', '--add-port=81/tcp')
      await cmd(t, lab, '--zone=work', '--add-interface=ext0')
      await see(t, lab, 'the zone works', { 'tcp 81': 'open', 'tcp 80': 'prohibited' })
      await cmd(t, lab, '--zone=work', '--remove-interface=ext0')
      await reload(lab)
    })

    await t.test(statements['reload.foreign'].title, async (t) => {
      const tool = (...args: readonly string[]): Promise<string> => host.firewall.ok([...args])
      for (const family of ['iptables', 'ip6tables']) {
        await tool(family, '-N', 'other')
        await tool(family, '-A', 'other', '-p', 'tcp', '--dport', '80', '-j', 'DROP')
        await tool(family, '-A', 'INPUT', '-j', 'other')
        await tool(family, '-t', 'nat', '-A', 'PREROUTING', '-p', 'tcp', '--dport', '90', '-j', 'REDIRECT', '--to-ports', '81')
      }
      await host.firewall.ok(['nft', '-f', '-'], { input: 'table inet foreign { chain input { type filter hook input priority 5; tcp dport 22 drop; }; }' })
      const theirs = { 'tcp 80': 'drop', 'tcp 22': 'drop', 'tcp 90': 'open', 'udp 53': 'open' } as const
      await see(t, lab, 'before', theirs)
      const listed = async (): Promise<string> => {
        const texts = await Promise.all(['iptables', 'ip6tables'].map((family) => tool(`${family}-save`)))
        return [...texts, await tool('nft', 'list', 'table', 'inet', 'foreign')].join('\n').split('\n').filter((line) => !/^#|DERPA_|^:\S+ ACCEPT/.test(line)).join('\n')
      }
      const before = await listed()
      for (let round = 0; round < 3; round++) await cmd(t, lab, round === 2 ? '--complete-reload' : '--reload')
      t.equal(await listed(), before, 'byte-identical')
      await see(t, lab, 'after', theirs)
      for (const family of ['iptables', 'ip6tables']) {
        await tool(family, '-D', 'INPUT', '-j', 'other')
        await tool(family, '-t', 'nat', '-F', 'PREROUTING')
        await tool(family, '-F', 'other')
        await tool(family, '-X', 'other')
      }
      await tool('nft', 'delete', 'table', 'inet', 'foreign')
      await see(t, lab, 'without them', permanent)
    })

    await t.test(statements['reload.runtime'].title, async (t) => {
      await cmd(t, lab, '--add-port=81/tcp')
      await cmd(t, lab, '--zone=trusted', '--add-source=192.0.2.3')
      await cmd(t, lab, '--add-rich-rule=rule family=ipv6 source address=2001:db8:1::2 port port=23 protocol=tcp accept')
      await cmd(t, lab, '--add-icmp-block=echo-request')
      for (const family of ['ipv4', 'ipv6']) await cmd(t, lab, '--direct', '--add-rule', family, 'filter', 'INPUT', '0', '-p', 'udp', '--dport', '53', '-j', 'DROP')
      await see(t, lab, 'before', { 'tcp 81': 'open', 'second > tcp 23': ['open', 'reject icmp1/1'], 'tcp 23': ['reject icmp3/13', 'open'], 'udp 53': 'drop', 'ping': 'prohibited' })
      await reload(lab)
      await see(t, lab, 'after', { ...permanent, 'second > tcp 23': 'prohibited' })
    })

    await t.test(statements['reload.flush'].title, async (t) => {
      const prepare = async (): Promise<void> => {
        await cmd(t, lab, '--zone=trusted', '--add-interface=int0')
        await cmd(t, lab, '--ipset=bad', '--add-entry=192.0.2.2')
        await cmd(t, lab, '--direct', '--add-rule', 'ipv4', 'filter', 'INPUT', '0', '-p', 'udp', '--dport', '53', '-j', 'DROP')
        await cmd(t, lab, '--add-port=81/tcp')
        await see(t, lab, 'before', { 'inside tcp 23': 'prohibited', 'inside > tcp 23': 'open', 'tcp 22': ['drop', 'open'], 'second > tcp 22': 'open', 'second > udp 53': ['drop', 'open'], 'second > tcp 81': 'open' })
      }
      await writeConfiguration(host, { 'zones/public.yaml': `${publicZone}rich-rules:\n  - rule family="ipv4" source ipset="bad" drop\n` })
      await withMain(lab, 'flush-all-on-reload: no\n')
      await prepare()
      await reload(lab)
      const kept = { 'inside > tcp 23': 'open', 'tcp 22': ['drop', 'open'], 'second > tcp 22': 'open', 'second > udp 53': ['drop', 'open'], 'second > tcp 81': 'prohibited' } as const
      await see(t, lab, 'no', kept)
      await lab.daemon.running.stop('SIGKILL')
      lab.daemon = await startDaemon(host)
      await see(t, lab, 'no, and after a crash', kept)
      await withMain(lab, 'flush-all-on-reload: yes\n')
      await see(t, lab, 'yes', { 'inside > tcp 23': 'prohibited', ...permanent, 'second > tcp 81': 'prohibited' })
      await prepare()
      await reload(lab)
      await see(t, lab, 'yes again', { 'inside > tcp 23': 'prohibited', ...permanent, 'second > tcp 81': 'prohibited' })
      await writeConfiguration(host, { 'zones/public.yaml': publicZone })
      await withMain(lab, '')
    })

    await t.test(statements['default.follows'].title, async (t) => {
      await withMain(lab, 'flush-all-on-reload: no\n')
      await cmd(t, lab, '--add-interface=ext0')
      await cmd(t, lab, '--zone=public', '--add-interface=int0')
      await cmd(t, lab, '--set-default-zone=trusted')
      await see(t, lab, 'the default zone is trusted', { 'tcp 23': 'open', 'inside > tcp 23': 'prohibited' })
      await cmd(t, lab, '--set-default-zone=public')
      await see(t, lab, 'and public again', { ...permanent, 'inside > tcp 23': 'prohibited' })
      await withMain(lab, '')
    })

    await t.test(statements['gateway'].title, async (t) => {
      await writeConfiguration(host, { 'zones/external.yaml': 'target: default\nmasquerade: true\ninterfaces: [ext0]\n', 'zones/internal.yaml': 'interfaces: [int0]\n' })
      await reload(lab)
      await see(t, lab, 'off', { 'inside > outside tcp 443': 'prohibited', 'inside > outside udp 443': 'prohibited', 'inside > udp 53': 'prohibited' })
      for (const name of ['gateway-lan-to-HOST', 'gateway-lan-to-work', 'gateway-lan-to-world', 'gateway-world-to-HOST', 'gateway-dmz-to-HOST']) {
        const found = /"(\/[^"]+)"/.exec(await call(host, '/org/fedoraproject/FirewallD1/config', 'config', 'getPolicyByName', 's', name))
        t.ok(found, `${name} is there`)
        if (found !== null) await call(host, found[1]!, 'config.policy', 'update', 'a{sv}', '1', 'disable', 'b', 'false')
      }
      await see(t, lab, 'enabled, before the reload', { 'inside > outside tcp 443': 'prohibited' })
      await reload(lab)
      await see(t, lab, 'on', {
        'inside > outside tcp 443': ['open 192.0.2.1', 'open 2001:db8:2::2'], 'inside > outside udp 443': 'open', 'inside > outside ping': 'open',
        'inside > udp 53': 'open', 'inside > tcp 22': 'open', 'inside > tcp 23': 'prohibited', 'inside tcp 80': 'prohibited', 'tcp 23': 'prohibited', 'udp 53': 'prohibited',
      })
      await host.firewall.ok(['bash', '-c', 'rm -r /etc/derpanet/policies /etc/derpanet/zones/external.yaml /etc/derpanet/zones/internal.yaml'])
      await reload(lab)
    })

    await t.test(statements['panic.reload'].title, async (t) => {
      await cmd(t, lab, '--panic-on')
      await reload(lab)
      await see(t, lab, 'after a reload', { 'tcp 22': 'drop', 'ping': 'drop', 'host > outside tcp 443': 'denied here' })
      t.equal(await lab.daemon.stop(), 0)
      lab.daemon = await startDaemon(host)
      await see(t, lab, 'after a restart', { ...permanent, 'host > outside tcp 443': 'open' })
    })

    await t.test(statements['stop.cleanup'].title, async (t) => {
      const closed = { 'tcp 23': 'prohibited', 'tcp 22': 'open', 'ping': 'open', 'inside tcp 80': 'prohibited' } as const
      const opened = { 'tcp 23': 'open', 'tcp 22': 'open', 'ping': 'open', 'inside tcp 80': 'open' } as const
      for (const [word, then] of [['keep', closed], ['open', opened]] as const) {
        await withMain(lab, `on-stop: ${word}\n`)
        t.equal(await lab.daemon.stop(), 0)
        await see(t, lab, `on-stop: ${word}`, then)
        lab.daemon = await startDaemon(host)
        await see(t, lab, 'started again', closed)
      }
      await lab.daemon.stop()
      await mkdir(host.path('/etc/tree/zones'), { recursive: true })
      await writeFile(host.path('/etc/tree/zones/public.xml'), '<?xml version="1.0" encoding="utf-8"?>\n<zone><short>Public</short><service name="ssh"/></zone>\n')
      for (const [word, then] of [['no', closed], ['yes', opened]] as const) {
        await writeFile(host.path('/etc/tree/firewalld.conf'), `DefaultZone=public\nCleanupOnExit=${word}\n`)
        lab.daemon = await startDaemon(host, { args: ['--system-config', '/etc/tree'] })
        await see(t, lab, 'on a firewalld tree', closed)
        t.equal(await lab.daemon.stop(), 0)
        await see(t, lab, `CleanupOnExit=${word}`, then)
      }
    })
  })
}

async function call(host: PrivateHost, path: string, iface: string, member: string, signature: string, ...args: readonly string[]): Promise<string> {
  const name = 'org.fedoraproject.FirewallD1'
  return await host.firewall.ok(['busctl', '--system', '--timeout=20', 'call', name, path, `${name}.${iface}`, member, signature, ...args])
}
