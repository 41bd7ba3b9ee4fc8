// The private host itself: what tests rely on must be true without any firewall.
import t from 'tap'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { addresses, createPrivateHost, eventually, runCommand, whyNoPrivateHost } from './private-host.ts'

const why = whyNoPrivateHost()

t.test('packets pass, and are told apart, between the three sides of a private host', { skip: why ?? false }, async (t) => {
  const host = await createPrivateHost({ name: 'self' })
  t.teardown(() => host.stop())
  const fw = await host.firewall.agent()
  await fw.serve(['tcp:22', 'udp:53'])
  await (await host.inside.agent()).serve(['tcp:80'])
  const outside = await host.outside.agent()
  const { firewall, inside } = addresses
  t.strictSame(await outside.probe([
    { kind: 'tcp', host: firewall.ext4, port: 22 },
    { kind: 'tcp', host: firewall.ext6, port: 22 },
    { kind: 'udp', host: firewall.ext4, port: 53, src: '192.0.2.3' },
    { kind: 'ping', host: firewall.ext4 },
    { kind: 'ping', host: firewall.ext6 },
    { kind: 'tcp', host: firewall.ext4, port: 23 },
    { kind: 'udp', host: firewall.ext6, port: 54 },
    { kind: 'tcp', host: inside.v4, port: 80 },
    { kind: 'tcp', host: inside.v6, port: 80 },
    { kind: 'tcp', host: firewall.ext4, port: 22, src: '203.0.113.5' },
  ]), [
    'open 192.0.2.2', 'open 2001:db8:1::2', 'open 192.0.2.3', 'open', 'open', 'closed', 'closed', 'open 192.0.2.2', 'open 2001:db8:1::2',
    'open 203.0.113.5',
  ])

  await host.firewall.ok(['iptables', '-A', 'INPUT', '-p', 'tcp', '--dport', '22', '-j', 'REJECT', '--reject-with', 'icmp-admin-prohibited'])
  await host.firewall.ok(['iptables', '-A', 'INPUT', '-p', 'icmp', '-j', 'DROP'])
  await host.firewall.ok(['iptables', '-A', 'OUTPUT', '-p', 'udp', '--dport', '7', '-j', 'DROP'])
  const ssh = { kind: 'tcp', host: firewall.ext4, port: 22 } as const
  t.strictSame(await outside.probe([ssh, { kind: 'ping', host: firewall.ext4 }]), ['reject icmp3/13', 'drop'])
  t.equal(await fw.one({ kind: 'udp', host: '192.0.2.2', port: 7 }), 'drop local')

  t.match(await host.firewall.ok(['busctl', '--system', 'list', '--no-legend']), /org\.freedesktop\.DBus/, 'it has its own system bus')
  t.notMatch(await host.firewall.ok(['busctl', '--system', 'list', '--no-legend']), /systemd1/, 'which is not the machine\'s')
  await host.firewall.ok(['touch', '/etc/of-the-test', '/var/of-the-test'])
  t.not((await runCommand(['ls', '/etc/of-the-test'])).status, 0, 'writes to /etc stay inside')
  t.not((await runCommand(['ls', '/var/of-the-test'])).status, 0, 'writes to /var stay inside')

  const running = host.firewall.start(['sleep', '100'])
  await eventually('sleep runs', 2000, async () => (await host.firewall.run(['pgrep', 'sleep', '-a'])).stdout.includes('sleep 100'))
  t.equal(await running.stop(), 143, 'a program inside gets the signal and its end is seen')
})

t.test('a probe is judged by the rules of now, not by what conntrack remembers of an earlier one', { skip: why ?? false }, async (t) => {
  const host = await createPrivateHost({ name: 'ports', bus: false })
  t.teardown(() => host.stop())
  await (await host.firewall.agent()).serve(['udp:53'])
  const outside = await host.outside.agent()
  // the kernel would give one of two ports
  await host.outside.ok(['sh', '-c', 'echo 40000 40001 >/proc/sys/net/ipv4/ip_local_port_range'])
  const ask = async (): Promise<readonly string[]> => {
    const results: string[] = []
    for (let count = 0; count < 4; count++) results.push(await outside.one({ kind: 'udp', host: addresses.firewall.ext4, port: 53, timeoutMs: 2000 }))
    return results
  }
  for (const rule of [['-m', 'conntrack', '--ctstate', 'ESTABLISHED', '-j', 'ACCEPT'], ['-p', 'udp', '-j', 'ACCEPT']]) await host.firewall.ok(['iptables', '-A', 'INPUT', ...rule])
  t.strictSame(await ask(), Array<string>(4).fill('open 192.0.2.2'))
  await host.firewall.ok(['iptables', '-R', 'INPUT', '2', '-p', 'udp', '-j', 'REJECT', '--reject-with', 'icmp-admin-prohibited'])
  t.strictSame(await ask(), Array<string>(4).fill('reject icmp3/13'))
})

t.test('nothing is left of a private host whose owner was killed', { skip: why ?? false }, async (t) => {
  const code = `
    import { createPrivateHost } from ${JSON.stringify(fileURLToPath(new URL('private-host.ts', import.meta.url)))}
    const host = await createPrivateHost({ name: 'orphan' })
    host.firewall.start(['sleep', '1000'])
    host.outside.start(['sleep', '1000'])
    console.log(host.name)
    await new Promise(() => setInterval(() => {}, 1000))`
  const owner = spawn(process.execPath, ['--import=tsx', '--input-type=module', '-e', code], { stdio: ['ignore', 'pipe', 'inherit'] })
  const name = (await once(createInterface({ input: owner.stdout }), 'line'))[0] as string
  t.match((await runCommand(['ip', 'netns', 'list'])).stdout, name)
  owner.kill('SIGKILL')
  await eventually('its namespaces are gone', 10_000, async () => !(await runCommand(['ip', 'netns', 'list'])).stdout.includes(name))
  t.notMatch((await runCommand(['pgrep', '-af', name])).stdout, name, 'and its guard too')
})
