// Beside others: the rules of Docker, libvirt, netavark, kube-proxy, fail2ban, ufw and a foreign nftables table stay as they are,
// byte for byte, through everything that the daemon does; and what they do after us, they get. Fixtures are in test/netns/fixtures.
// TEST_TIMEOUT_SEC=400 TEST_TIMEOUT_FULL_SEC=900
import { readFileSync } from 'node:fs'
import t, { type Test } from 'tap'
import { busCall, chooseVariant, daemonCommands, startDaemon, writeConfiguration } from '../support/daemon.ts'
import { addresses, createPrivateHost, repository, whyNoPrivateHost, type PrivateHost } from '../support/private-host.ts'
import { variants } from '../support/netfilter-host.ts'
import { packetsOf, told, type Fates, type PacketWords } from '../packets/statements/words.ts'

const { inside } = addresses
const why = whyNoPrivateHost()
const fixture = (name: string): string => readFileSync(`${repository}/test/netns/fixtures/${name}.restore`, 'utf8')
const bus = 'org.fedoraproject.FirewallD1'

/** ufw's rules of the other family: its own chains, and no ICMP in them. */
const forIpv6 = (text: string): string => text.replaceAll('ufw-', 'ufw6-').replaceAll('icmp-port-unreachable', 'icmp6-port-unreachable').replace(/^.*203\.0\.113.*\n/gm, '')
  .replace(/^.*BROADCAST.*\n/gm, '').replaceAll('f2b-web', 'f2b-web6')

const foreignTable = `table inet foreign {
  set bad { type ipv4_addr; flags interval; elements = { 203.0.113.0/24 } }
  chain input { type filter hook input priority 5; policy accept; ip saddr @bad drop; tcp dport 8443 counter accept comment "theirs"; }
  chain forward { type filter hook forward priority -10; ct state invalid drop; }
}
table bridge foreign { chain forward { type filter hook forward priority 0; ether type arp accept; }; }
`

async function see(t: Test, host: PrivateHost, when: string, then: Readonly<Record<PacketWords, Fates>>): Promise<void> {
  const places = { outside: host.outside, inside: host.inside, host: host.firewall }
  for (const { side, probe, words, family, fate } of packetsOf(then)) {
    t.equal(told(await (await places[side].agent()).one(probe), fate), fate, `${when}: ${words}, ${family}: ${fate}`)
  }
}

/** Everything that is neither ours nor put there by our configuration: chains, rules and policies in their order, sets with their entries, other tables of nftables. */
async function foreign(host: PrivateHost): Promise<string> {
  const saved = await Promise.all(['iptables-save', 'ip6tables-save'].map((tool) => host.firewall.ok([tool])))
  const lines = saved.join('\n').replace(/\[\d+:\d+\]/g, '').split('\n').filter((line) => !/^#|^$|DERPA_|FORWARD_direct/.test(line)).join('\n')
  // a table of ours alone, and one that the legacy kernel keeps although it is empty
  const tables = lines.replace(/\*\w+\n(:\S+ ACCEPT \n)+COMMIT\n?/g, '')
  const sets = (await host.firewall.ok(['ipset', 'list', '-n'])).split('\n').filter((name) => name !== '' && !name.startsWith('derpa'))
  const contents = await Promise.all(sets.map((name) => host.firewall.ok(['ipset', 'save', name])))
  const nft = await Promise.all(['inet', 'bridge'].map((family) => host.firewall.ok(['nft', 'list', 'table', family, 'foreign'])))
  return [tables.trimEnd(), ...contents.map((text) => text.replace(/timeout \d+$/gm, 'timeout')), ...nft.map((text) => text.replace(/packets \d+ bytes \d+/g, ''))].join('\n')
}

async function install(host: PrivateHost): Promise<void> {
  const restore = (tool: string, input: string): Promise<string> => host.firewall.ok([`${tool}-restore`, '--noflush'], { input })
  for (const set of ['f2b-web hash:ip timeout 600', 'f2b-web6 hash:ip family inet6 timeout 600', 'KUBE-LOOP-BACK hash:ip,port,ip', 'cali40s:all hash:net comment']) {
    await host.firewall.ok(['ipset', 'create', ...set.split(' ')])
  }
  await host.firewall.ok(['ipset', 'add', 'f2b-web', '203.0.113.77'])
  await host.firewall.ok(['ipset', 'add', 'cali40s:all', '192.0.2.128/25', 'comment', 'somebody\'s net'])
  await host.firewall.ok(['iptables-restore'], { input: fixture('docker-libvirt-desktop') })
  for (const name of ['netavark', 'kube', 'fail2ban', 'ufw']) await restore('iptables', fixture(name))
  for (const name of ['fail2ban', 'ufw']) await restore('ip6tables', forIpv6(fixture(name)))
  await host.firewall.ok(['nft', '-f', '-'], { input: foreignTable })
}

const files = { 'derpanet.yaml': 'default-zone: public\n', 'zones/public.yaml': 'services: [ssh]\nports: [80/tcp]\n' }
const otherFiles = {
  'derpanet.yaml': 'default-zone: public\nlog-denied: all\nblock: [bad]\nipv6-rpfilter: strict\nrfc3964-ipv4: yes\n', 'lists/bad.list': '203.0.113.0/24\n2001:db8:bad::/48\n',
  'zones/public.yaml': 'masquerade: true\nforward-ports: ["90/tcp:80:198.51.100.2"]\nrich-rules: [rule masquerade, rule tcp-mss-clamp]\ninterfaces: [ext0]\n',
  'zones/lan.yaml': 'interfaces: [docker0, virbr1, int0]\nforward: true\n', 'policies/out.yaml': 'ingress-zones: [HOST]\negress-zones: [lan]\ntarget: REJECT\npriority: 5\n',
  'direct.yaml': 'rules:\n  - ipv4 filter FORWARD 0 -s 203.0.113.99 -j DROP\n',
}

const whole = process.env['DERPANET_TEST_FULL'] === '1'

for (const variant of whole ? variants : ['nft'] as const) {
  t.test(`${variant}: nothing of others changes by a byte`, { skip: why ?? false, timeout: 590_000 }, async (t) => {
    const host = await createPrivateHost({ name: `beside-${variant}` })
    t.teardown(() => host.stop())
    await chooseVariant(host, variant)
    await install(host)
    await writeConfiguration(host, files)
    const before = await foreign(host)
    for (const word of ['DOCKER-USER', 'LIBVIRT_INP', 'NETAVARK_INPUT', 'f2b-sshd', 'KUBE-SVC', ':INPUT DROP', 'ufw6-user-input', 'add f2b-web', 'theirs']) t.match(before, word)
    const same = async (when: string): Promise<void> => { t.equal(await foreign(host), before, when) }

    let daemon = await startDaemon(host)
    await same('after the start')
    for (const args of ['--add-port=81/tcp', '--add-rich-rule=rule family=ipv4 source address=203.0.113.5 drop', '--zone=trusted --add-interface=docker0', '--panic-on', '--panic-off']) {
      t.equal((await daemon.firewallCmd(...args.startsWith('--add-rich') ? [args] : args.split(' '))).status, 0, args)
      await same(`after ${args}`)
    }
    for (let round = 0; round < 3; round++) await busCall(host, bus, 'reload')
    await same('after reloads')
    await writeConfiguration(host, otherFiles)
    await busCall(host, bus, 'reload')
    await same('after a reload of another configuration')
    await busCall(host, bus, 'completeReload')
    await same('after a complete reload')
    await daemon.running.stop('SIGKILL')
    daemon = await startDaemon(host)
    await same('after a crash and a start')
    t.equal(await daemon.stop(), 0)
    await same('after the stop')
    await writeConfiguration(host, { ...files, 'derpanet.yaml': 'default-zone: public\non-stop: open\n' })
    daemon = await startDaemon(host)
    await same('after the next start')
    t.equal(await daemon.stop(), 0)
    await same('after a stop that takes our rules away')
    t.equal((await host.firewall.run([...daemonCommands.derpanetd, '--purge'])).status, 0)
    await same('after purge')
    t.notMatch(`${await host.firewall.ok(['iptables-save'])}${await host.firewall.ok(['ip6tables-save'])}${await host.firewall.ok(['ipset', 'list', '-n'])}`, /DERPA_|derpa-/, 'and nothing of ours is left')
  })

  t.test(`${variant}: Docker started after us, and after our reload, keeps its published ports`, { skip: why ?? false, timeout: 400_000 }, async (t) => {
    const host = await createPrivateHost({ name: `docker-${variant}` })
    t.teardown(() => host.stop())
    await chooseVariant(host, variant)
    await (await host.inside.agent()).serve(['tcp:80', 'udp:80', 'tcp:81'])
    await (await host.outside.agent()).serve(['tcp:443'])
    await (await host.firewall.agent()).serve(['tcp:8080'])
    await writeConfiguration(host, { 'derpanet.yaml': 'default-zone: public\n', 'zones/public.yaml': 'services: [ssh]\n' })
    const daemon = await startDaemon(host)
    const docker = createDocker(host)
    const published = { 'tcp 8080': 'open', 'udp 8080': 'open' } as const
    const hidden = { 'inside tcp 80': 'prohibited', 'inside tcp 81': 'prohibited', 'tcp 8081': 'prohibited' } as const
    await see(t, host, 'before', { 'tcp 8080': 'prohibited', ...hidden })

    await docker.start()
    await docker.publish()
    await see(t, host, 'Docker has started', { ...published, ...hidden, 'inside > outside tcp 443': ['open 192.0.2.1', 'open 2001:db8:1::1'] })

    await busCall(host, bus, 'reload')
    await see(t, host, 'after our reload, before Docker heard of it', { ...published, ...hidden })
    await docker.reloaded()
    await see(t, host, 'after Docker heard of it', { ...published, ...hidden, 'inside > outside tcp 443': ['open 192.0.2.1', 'open 2001:db8:1::1'] })

    await docker.both('-t', 'filter', '-A', 'DOCKER-USER', '-p', 'tcp', '-j', 'DROP')
    await see(t, host, 'DOCKER-USER denies', { 'tcp 8080': 'drop', 'udp 8080': 'open' })
    await busCall(host, bus, 'reload')
    await see(t, host, 'and still does after a reload', { 'tcp 8080': 'drop', 'udp 8080': 'open' })
    await docker.both('-t', 'filter', '-D', 'DOCKER-USER', '-p', 'tcp', '-j', 'DROP')

    await writeConfiguration(host, { 'derpanet.yaml': 'default-zone: public\npublished: zone\n' })
    await busCall(host, bus, 'reload')
    await docker.reloaded()
    await see(t, host, 'published: zone', { 'tcp 8080': 'prohibited', 'udp 8080': 'prohibited', ...hidden })
    t.equal((await daemon.firewallCmd('--add-port=8080/tcp')).status, 0)
    await see(t, host, 'published: zone, with the port open', { 'tcp 8080': 'open', 'udp 8080': 'prohibited', ...hidden })
    if (!whole) return
    await docker.stop()
    await docker.start()
    await docker.publish()
    await see(t, host, 'published: zone, Docker started again', { 'tcp 8080': 'open', 'udp 8080': 'prohibited', ...hidden })
    await busCall(host, bus, 'reload')
    await docker.reloaded()
    await see(t, host, 'published: zone, after a reload', { 'tcp 8080': 'prohibited', 'udp 8080': 'prohibited' })

    await daemon.running.stop('SIGKILL')
    await docker.stop()
    await docker.startAlone()
    await docker.publish()
    await see(t, host, 'Docker started while we are dead: what we left in force decides', { 'tcp 8080': 'prohibited', 'udp 8080': 'prohibited' })
    await writeConfiguration(host, { 'derpanet.yaml': 'default-zone: public\npublished: open\n' })
    await startDaemon(host)
    await see(t, host, 'and we after it', { ...published, ...hidden })
  })

  t.test(`${variant}: fail2ban's actions ban and unban`, { skip: why ?? false, timeout: 400_000 }, async (t) => {
    const host = await createPrivateHost({ name: `fail2ban-${variant}` })
    t.teardown(() => host.stop())
    await chooseVariant(host, variant)
    await (await host.firewall.agent()).serve(['tcp:22', 'tcp:80'])
    await writeConfiguration(host, { 'derpanet.yaml': 'default-zone: public\n', 'zones/public.yaml': 'services: [ssh]\nports: [80/tcp]\n' })
    const daemon = await startDaemon(host)
    const unreachable = ['reject icmp3/3', 'reject icmp1/4'] as const
    const free = { 'tcp 22': 'open', 'tcp 80': 'open', 'second > tcp 22': 'open' } as const
    const banned = { 'tcp 22': unreachable, 'tcp 80': 'open', 'second > tcp 22': 'open' } as const
    for (const action of whole ? fail2banActions : fail2banActions.slice(0, 1)) {
      const run = async (what: 'start' | 'ban' | 'unban' | 'stop'): Promise<void> => {
        for (const [family, ip, type] of [['ipv4', addresses.outside.v4, 'icmp-port-unreachable'], ['ipv6', addresses.outside.v6, 'icmp6-port-unreachable']] as const) {
          for (const command of action[what]) {
            const { status, stderr } = await host.firewall.run(['sh', '-c', command.replaceAll('<family>', family).replaceAll('<ip>', ip).replaceAll('<type>', type)
              .replaceAll('<set>', family === 'ipv4' ? 'f2b-sshd' : 'f2b-sshd6').replaceAll('<familyopt>', family === 'ipv4' ? '' : 'family inet6')])
            t.equal(status, 0, `${action.name}: ${command} ${stderr.trim()}`)
          }
        }
      }
      await see(t, host, `${action.name}, before`, free)
      await run('start')
      await run('ban')
      await see(t, host, `${action.name}, banned`, banned)
      await run('unban')
      await see(t, host, `${action.name}, unbanned`, free)
      await run('ban')
      if (action.survivesChange) {
        t.equal((await daemon.firewallCmd('--add-port=443/tcp')).status, 0)
        await see(t, host, `${action.name}, after another change`, banned)
      }
      await run('unban')
      await run('stop')
      await see(t, host, `${action.name}, stopped`, free)
    }
    t.notMatch(`${await host.firewall.ok(['iptables-save'])}${await host.firewall.ok(['ip6tables-save'])}${await host.firewall.ok(['ipset', 'list', '-n'])}`, /f2b/)
  })
}

/** The commands of fail2ban 1.0.2's actions of these names for the jail sshd, as its server runs them. */
const fail2banActions = [
  {
    name: 'firewallcmd-ipset', survivesChange: true,
    start: ['ipset -exist create <set> hash:ip timeout 0 <familyopt>', 'firewall-cmd --direct --add-rule <family> filter INPUT_direct 0 -p tcp -m multiport --dports ssh -m set --match-set <set> src -j REJECT --reject-with <type>'],
    ban: ['ipset -exist add <set> <ip> timeout 0'], unban: ['ipset -exist del <set> <ip>'],
    stop: ['firewall-cmd --direct --remove-rule <family> filter INPUT_direct 0 -p tcp -m multiport --dports ssh -m set --match-set <set> src -j REJECT --reject-with <type>', 'ipset flush <set>', 'ipset destroy <set>'],
  },
  {
    name: 'firewallcmd-rich-rules', survivesChange: true, start: [], stop: [],
    ban: ['ports="ssh"; for p in $(echo $ports | tr ", " " "); do firewall-cmd --add-rich-rule="rule family=\'<family>\' source address=\'<ip>\' port port=\'$p\' protocol=\'tcp\' reject type=\'<type>\'"; done'],
    unban: ['ports="ssh"; for p in $(echo $ports | tr ", " " "); do firewall-cmd --remove-rich-rule="rule family=\'<family>\' source address=\'<ip>\' port port=\'$p\' protocol=\'tcp\' reject type=\'<type>\'"; done'],
  },
  {
    name: 'firewallcmd-multiport', survivesChange: false,
    start: [
      'firewall-cmd --direct --add-chain <family> filter f2b-sshd', 'firewall-cmd --direct --add-rule <family> filter f2b-sshd 1000 -j RETURN',
      'firewall-cmd --direct --add-rule <family> filter INPUT_direct 0 -m conntrack --ctstate NEW -p tcp -m multiport --dports ssh -j f2b-sshd',
    ],
    ban: ["firewall-cmd --direct --get-chains <family> filter | sed -e 's, ,\\n,g' | grep -q '^f2b-sshd$'", 'firewall-cmd --direct --add-rule <family> filter f2b-sshd 0 -s <ip> -j REJECT --reject-with <type>'],
    unban: ['firewall-cmd --direct --remove-rule <family> filter f2b-sshd 0 -s <ip> -j REJECT --reject-with <type>'],
    stop: [
      'firewall-cmd --direct --remove-rule <family> filter INPUT_direct 0 -m conntrack --ctstate NEW -p tcp -m multiport --dports ssh -j f2b-sshd',
      'firewall-cmd --direct --remove-rules <family> filter f2b-sshd', 'firewall-cmd --direct --remove-chain <family> filter f2b-sshd',
    ],
  },
] as const

interface Docker {
  /** With a firewall daemon on the bus: its zone, and everything by passthrough. */
  start(): Promise<void>
  /** Without one: the tools themselves. */
  startAlone(): Promise<void>
  /** `-p 8080:80` for TCP and UDP of the container inside. */
  publish(): Promise<void>
  /** What it does on the signal Reloaded: everything again, as far as it is not there. */
  reloaded(): Promise<void>
  stop(): Promise<void>
  both(...args: readonly string[]): Promise<void>
}

/** Docker's own commands for one network, whose bridge is int0 and whose only container is the host inside. */
function createDocker(host: PrivateHost): Docker {
  let alone = false
  const run = async (family: 'ipv4' | 'ipv6', args: readonly string[]): Promise<boolean> => {
    if (alone) return (await host.firewall.run([family === 'ipv4' ? 'iptables' : 'ip6tables', '--wait', ...args])).status === 0
    return await busCall(host, `${bus}.direct`, 'passthrough', 'sas', family, String(args.length), '--', ...args).then(() => true, () => false)
  }
  const must = async (family: 'ipv4' | 'ipv6', args: readonly string[]): Promise<void> => {
    if (!await run(family, args)) throw new Error(`${family} ${args.join(' ')} is refused`)
  }
  /** As Docker does: asked for first, put in when it is not there. */
  const ensure = async (family: 'ipv4' | 'ipv6', table: string, verb: '-A' | '-I', ...rule: readonly string[]): Promise<void> => {
    if (!await run(family, ['-t', table, '-C', ...rule])) await must(family, ['-t', table, verb, ...rule])
  }
  const nets = { ipv4: '198.51.100.0/24', ipv6: '2001:db8:2::/64' } as const
  const loopback = { ipv4: '127.0.0.0/8', ipv6: '::1/128' } as const
  const containers = { ipv4: inside.v4, ipv6: `[${inside.v6}]` } as const
  const networks = async (): Promise<void> => {
    for (const family of ['ipv4', 'ipv6'] as const) {
      for (const [table, chain] of [['nat', 'DOCKER'], ['filter', 'DOCKER'], ['filter', 'DOCKER-ISOLATION-STAGE-1'], ['filter', 'DOCKER-ISOLATION-STAGE-2'], ['filter', 'DOCKER-USER']] as const) {
        await run(family, ['-t', table, '-N', chain])
      }
      await ensure(family, 'nat', '-A', 'PREROUTING', '-m', 'addrtype', '--dst-type', 'LOCAL', '-j', 'DOCKER')
      await ensure(family, 'nat', '-A', 'OUTPUT', '-m', 'addrtype', '--dst-type', 'LOCAL', '-j', 'DOCKER', '!', '--dst', loopback[family])
      await ensure(family, 'nat', '-I', 'POSTROUTING', '-s', nets[family], '!', '-o', 'int0', '-j', 'MASQUERADE')
      await must(family, ['-P', 'FORWARD', 'DROP'])
      await ensure(family, 'filter', '-I', 'FORWARD', '-i', 'int0', '-o', 'int0', '-j', 'ACCEPT')
      await ensure(family, 'filter', '-I', 'FORWARD', '-i', 'int0', '!', '-o', 'int0', '-j', 'ACCEPT')
      await ensure(family, 'filter', '-I', 'FORWARD', '-o', 'int0', '-j', 'DOCKER')
      await ensure(family, 'filter', '-I', 'FORWARD', '-o', 'int0', '-m', 'conntrack', '--ctstate', 'RELATED,ESTABLISHED', '-j', 'ACCEPT')
      await ensure(family, 'filter', '-I', 'FORWARD', '-j', 'DOCKER-ISOLATION-STAGE-1')
      await ensure(family, 'filter', '-I', 'DOCKER-ISOLATION-STAGE-1', '-i', 'int0', '!', '-o', 'int0', '-j', 'DOCKER-ISOLATION-STAGE-2')
      await ensure(family, 'filter', '-A', 'DOCKER-ISOLATION-STAGE-2', '-o', 'int0', '-j', 'DROP')
      await ensure(family, 'filter', '-A', 'DOCKER-ISOLATION-STAGE-2', '-j', 'RETURN')
      // it deletes the old jump and puts a new one in front
      await run(family, ['-D', 'FORWARD', '-j', 'DOCKER-USER'])
      await must(family, ['-I', 'FORWARD', '-j', 'DOCKER-USER'])
    }
  }
  const zone = async (): Promise<void> => {
    const { name, path } = { name: bus, path: '/org/fedoraproject/FirewallD1/config' }
    const zones = await busCall(host, `${bus}.zone`, 'getZones')
    if (!zones.includes('"docker"')) {
      await host.firewall.ok(['busctl', '--system', 'call', name, path, `${bus}.config`, 'addZone2', 'sa{sv}', 'docker', '3', 'target', 's', 'ACCEPT', 'short', 's', 'docker', 'description', 's', 'zone for docker'])
      await busCall(host, bus, 'reload')
    }
    if (!(await busCall(host, `${bus}.zone`, 'getInterfaces', 's', 'docker')).includes('"int0"')) await busCall(host, `${bus}.zone`, 'addInterface', 'ss', 'docker', 'int0')
  }
  const publish = async (): Promise<void> => {
    for (const family of ['ipv4', 'ipv6'] as const) {
      for (const protocol of ['tcp', 'udp']) {
        await ensure(family, 'nat', '-A', 'DOCKER', '-p', protocol, '-d', '0/0', '--dport', '8080', '!', '-i', 'int0', '-j', 'DNAT', '--to-destination', `${containers[family]}:80`)
        await ensure(family, 'filter', '-A', 'DOCKER', '!', '-i', 'int0', '-o', 'int0', '-p', protocol, '-d', family === 'ipv4' ? inside.v4 : inside.v6, '--dport', '80', '-j', 'ACCEPT')
      }
    }
  }
  return {
    async start() {
      alone = false
      await zone()
      await networks()
    },
    async startAlone() {
      alone = true
      await networks()
    },
    publish,
    async reloaded() {
      await networks()
      await zone()
      await publish()
    },
    async stop() {
      alone = true
      for (const family of ['ipv4', 'ipv6'] as const) {
        await run(family, ['-t', 'nat', '-D', 'PREROUTING', '-m', 'addrtype', '--dst-type', 'LOCAL', '-j', 'DOCKER'])
        await run(family, ['-t', 'nat', '-D', 'OUTPUT', '-m', 'addrtype', '--dst-type', 'LOCAL', '-j', 'DOCKER', '!', '--dst', loopback[family]])
        for (const [table, chain] of [['nat', 'DOCKER'], ['filter', 'DOCKER']] as const) await must(family, ['-t', table, '-F', chain])
      }
    },
    async both(...args) {
      await must('ipv4', args)
      await must('ipv6', args)
    },
  }
}
