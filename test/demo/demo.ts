// `npm run demo`: the real derpanetd on a private host, real packets, the real firewall-cmd and busctl, and a table of what
// passed and what was dropped, where and by which line of which file. Ends 0 only if every row came out as it should.
import { cp, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { resolve as resolveRuntime } from '../../src/model/resolve.ts'
import { loadConfiguration } from '../../src/config/load.ts'
import type { Origin } from '../../src/model/settings.ts'
import { createDemoHost, foreignRules, loadForeignRules, blockedNeighbourhood, type DemoHost } from './host.ts'
import { busCall, daemonCommands, startDaemon, writeConfiguration, type HostDaemon } from '../support/daemon.ts'
import { addresses, eventually, repository, whyNoPrivateHost } from '../support/private-host.ts'
import type { Agent, Probe } from '../support/agent.ts'
import { addrOf, buildFrame, buildPacket, readFrame, tcpFlags } from '../support/frame.ts'
import { createRandom } from '../support/random.ts'
import { parsePrefix } from '../../src/model/addr.ts'
import { blockListRule, neverBlockRule } from '../../src/model/stages.ts'

interface Line {
  readonly what: string
  readonly packet: string
  readonly result: string
  /** Where it was decided: XDP, ruleset, or "–" where nothing was to decide. */
  readonly stage: string
  /** The rule whose counter moved, and the line it comes from. */
  readonly rule: string
  readonly ok: boolean
}

const lines: Line[] = []
const widths = { what: 42, packet: 46, result: 22, stage: 8 } as const

function cell(text: string, width: number): string {
  return (text.length > width ? `${text.slice(0, width - 1)}…` : text).padEnd(width)
}
const { firewall, outside: out, inside } = addresses

function record(line: Line): void {
  lines.push(line)
  const { what, packet, result, stage } = widths
  const cells = [line.ok ? ' ok ' : 'FAIL', cell(line.what, what), cell(line.packet, packet), cell(line.result, result), cell(line.stage, stage)]
  console.log([...cells, line.ok ? cell(line.rule, 90).trimEnd() : line.rule].join(' ').trimEnd())
}

function heading(text: string): void {
  console.log(`\n${text}`)
  const { what, packet, result, stage } = widths
  console.log(`     ${cell('what', what)} ${cell('packet or command', packet)} ${cell('result', result)} ${cell('stage', stage)} decided by`)
}

/** Rule id → where it was written. */
type Origins = ReadonlyMap<string, Origin>

class Demo {
  private origins: Origins = new Map()

  constructor(readonly demo: DemoHost, readonly daemon: HostDaemon, readonly outside: Agent, readonly own: Agent) {}

  /** The configuration as the daemon reads it, for file and line of every rule. */
  async readOrigins(): Promise<void> {
    // a copy, because /proc/PID/root is a symlink that leads out of the tree for everybody but the kernel
    const copy = await mkdtemp(join(tmpdir(), 'derpanet-demo-'))
    await cp(this.demo.host.path('/etc/derpanet'), join(copy, 'etc/derpanet'), { recursive: true })
    const { settings } = await loadConfiguration({ etc: join(copy, 'etc/derpanet'), vendor: null, shipped: join(repository, 'dist/lib') })
    await rm(copy, { recursive: true })
    const resolved = settings === null ? null : resolveRuntime({ settings, panic: false }).firewall
    if (resolved === null) throw new Error('the demo\'s own configuration is broken: derpanetctl check tells where')
    const rules = [...resolved.zones.values()].flatMap((zone) => [...zone.rules, ...zone.targetRules, zone.forwardRule])
    this.origins = new Map([
      ...rules.map(({ id, origin }) => [id, origin] as const),
      ...resolved.neverBlock.map(({ prefix, origin }) => [neverBlockRule(prefix), origin] as const),
      ...resolved.blockLists.map(({ name, file }) => [blockListRule(name), { layer: 'admin', file, text: name }] as const),
    ])
  }

  /** What `work` made count: the rules that decided, and whether the ruleset (or else XDP) did. */
  async decided(work: () => Promise<string>): Promise<{ result: string; stage: string; rule: string; packets: ReadonlyMap<string, number> }> {
    const [before, rulesBefore] = [await this.daemon.counters(), await this.rulesetPackets()]
    const result = await work()
    const [after, rulesAfter] = [await this.daemon.counters(), await this.rulesetPackets()]
    const packets = new Map([...after].map(([id, count]) => [id, count - (before.get(id) ?? 0)] as const).filter(([, more]) => more > 0))
    const telling = [...packets].filter(([id]) => !/^(connection|loopback|essential)/.test(id)).sort((a, b) => b[1] - a[1])
    const id = telling[0]?.[0]
    if (id === undefined) return { result, stage: 'none', rule: 'no rule counted anything', packets }
    return { result, stage: rulesAfter > rulesBefore ? 'ruleset' : 'XDP', rule: `${id}${this.where(id)}`, packets }
  }

  private where(id: string): string {
    const origin = this.origins.get(id)
    if (origin?.file === undefined) return ''
    const file = origin.file.replace(/^.*\/etc\/derpanet\//, '').replace(`${repository}/dist/lib/`, 'lib/')
    return ` (${file}${origin.position === undefined ? '' : `:${origin.position.line}`})`
  }

  /**
   * Packets counted by our rules in iptables that end a packet's way or open it, both families. Only for what comes in:
   * under panic the host's own retransmissions are counted on their way out at any moment.
   */
  private async rulesetPackets(): Promise<number> {
    let sum = 0
    for (const tool of ['iptables-save', 'ip6tables-save']) {
      for (const line of (await this.demo.host.firewall.ok([tool, '-c'])).split('\n')) {
        const rule = /^\[(\d+):\d+\] -A DERPA_(?!OUT|EARLY_OUT|H_earlyoutp|H_output).*-[jg] (ACCEPT|DROP|RETURN|DERPA_RE_\S+|REJECT|MARK)/.exec(line)
        if (rule !== null && !/ESTABLISHED|INVALID|-i lo|icmpv6/.test(line)) sum += Number(rule[1])
      }
    }
    return sum
  }

  async packet(what: string, probe: Probe, want: RegExp, stage: string, from: Agent = this.outside): Promise<void> {
    const found = await this.decided(() => from.one(probe))
    const port = probe.port === undefined ? '' : probe.host.includes(':') ? ` port ${probe.port}` : `:${probe.port}`
    const packet = `${probe.kind} ${probe.src ?? (from === this.own ? 'this host' : probe.host.includes(':') ? out.v6 : out.v4)} → ${probe.host}${port}`
    const outcome = plain(found.result)
    record({
      what, packet, result: outcome, stage: stage === '' ? '–' : found.stage, rule: stage === '' ? '' : found.rule,
      ok: want.test(found.result) && (stage === '' || found.stage === stage),
    })
  }

  /** A SYN from any address, without a socket behind it: answered with SYN-ACK, RST, an ICMP error, or not at all. */
  async syn(source: string, port = 22): Promise<string> {
    const family = source.includes(':') ? 'ipv6' : 'ipv4'
    const packet = {
      direction: 'in', family, protocol: 6, source: addrOf(source), destination: addrOf(family === 'ipv4' ? firewall.ext4 : firewall.ext6),
      sourcePort: 40_000 + lines.length * 25 + (this.synNumber++ % 25), destinationPort: port, inInterface: 'ext0',
    } as const
    const macs = { source: addresses.macs.outside, destination: addresses.macs.ext }
    const frame = buildFrame(family, buildPacket(packet, { marker: 1 + this.synNumber }), macs)
    const heard = (await this.outside.exchange(['eth0'], [frame], { waitMs: 100 })).map(readFrame)
    // a SYN-ACK that nobody acknowledges would come again and count again
    const reset = buildPacket(packet, { marker: 1 + this.synNumber, tcpFlags: tcpFlags.rst, tcpSequence: 2 + this.synNumber })
    await this.outside.exchange(['eth0'], [buildFrame(family, reset, macs)], { waitMs: 0 })
    return heard.flatMap((reply) => {
      if (reply?.kind === 'icmp-error' && reply.marker === 1 + this.synNumber) return [`reject icmp${reply.type}/${reply.code}`]
      if (reply?.kind !== 'tcp' || reply.destination !== packet.source || reply.destinationPort !== packet.sourcePort) return []
      return [(reply.flags & tcpFlags.rst) === 0 ? 'open' : 'closed']
    })[0] ?? 'drop'
  }

  private synNumber = 0

  async synFrom(what: string, source: string, want: string, stage: string): Promise<void> {
    const found = await this.decided(() => this.syn(source))
    record({ what, packet: `tcp ${source} → port 22`, result: plain(found.result), stage: found.stage, rule: found.rule, ok: found.result === want && found.stage === stage })
  }

  async command(what: string, argv: readonly string[], status: number, prints: RegExp, shown = argv.join(' ')): Promise<void> {
    const ran = await this.demo.host.firewall.run(argv)
    const said = `${ran.stdout}${ran.stderr}`.trim()
    const ok = ran.status === status && prints.test(said)
    record({ what, packet: shown, result: said.split('\n')[0] ?? '', stage: `exit ${ran.status}`, rule: ok ? '' : said, ok })
  }
}

function plain(result: string): string {
  if (result.startsWith('open')) return 'passed'
  if (result === 'drop') return 'dropped'
  return result === 'reject icmp3/13' || result === 'reject icmp1/1' ? 'rejected: prohibited' : result
}

/** Twenty lines of the list, spread over it, and an address of each: the first of a prefix is not special. */
function sample(list: readonly string[]): { readonly line: string; readonly address: string }[] {
  const random = createRandom(7)
  const wanted = [blockedNeighbourhood, '2001:db8:dead::/48', ...random.shuffle(list.filter((line) => line.includes('/28'))).slice(0, 4),
    ...random.shuffle(list.filter((line) => line.includes('/64'))).slice(0, 4), ...random.shuffle(list.filter((line) => !line.includes('/'))).slice(0, 10)]
  return wanted.map((line) => {
    const prefix = parsePrefix(line)
    if (prefix === null) throw new Error(`the demo's list has a bad line: ${line}`)
    if (!line.includes('/')) return { line, address: line }
    return { line, address: prefix.family === 'ipv4' ? `${line.slice(0, line.lastIndexOf('.'))}.${Number(prefix.addr & 255n) + 3}` : line.replace('::', '::3').replace(/\/\d+$/, '') }
  })
}

async function show(demo: Demo): Promise<void> {
  const { host, list } = demo.demo
  heading('What the world may reach (zone public on ext0)')
  await demo.packet('an allowed service connects', { kind: 'tcp', host: firewall.ext4, port: 22 }, /^open/, 'ruleset')
  await demo.packet('the same over IPv6', { kind: 'tcp', host: firewall.ext6, port: 22 }, /^open/, 'ruleset')
  await demo.packet('an allowed port connects', { kind: 'tcp', host: firewall.ext4, port: 8080 }, /^open/, 'ruleset')
  await demo.packet('a closed port is rejected', { kind: 'tcp', host: firewall.ext4, port: 25 }, /^reject icmp3\/13/, 'ruleset')
  await demo.packet('the same over IPv6', { kind: 'tcp', host: firewall.ext6, port: 25 }, /^reject icmp1\/1/, 'ruleset')
  await demo.packet('a closed UDP port is rejected', { kind: 'udp', host: firewall.ext4, port: 53 }, /^reject icmp3\/13/, 'ruleset')
  await demo.packet('ping is answered', { kind: 'ping', host: firewall.ext4 }, /^open/, 'ruleset')
  await demo.packet('nothing is forwarded to the inside', { kind: 'tcp', host: inside.v4, port: 80 }, /^reject icmp3\/13/, 'ruleset')

  heading(`A block list of ${list.length} lines (lists/bad.list)`)
  for (const { line, address } of sample(list)) await demo.synFrom(line.includes('/') ? `blocked: ${line}` : 'blocked', address, 'drop', 'XDP')
  await demo.synFrom(`never-block, inside ${blockedNeighbourhood}`, '203.0.113.77', 'open', 'ruleset')
  await demo.synFrom('not on the list', '203.0.113.5', 'open', 'ruleset')

  heading('A zone that drops')
  await demo.synFrom('a source in zone drop', '192.0.2.200', 'drop', 'ruleset')
  await demo.synFrom('the same over IPv6', '2001:db8:bad::1', 'drop', 'ruleset')
  await demo.command('the interface goes to zone drop', ['firewall-cmd', '--zone=drop', '--change-interface=ext0'], 0, /success/)
  await demo.packet('nothing comes in now', { kind: 'tcp', host: firewall.ext4, port: 22 }, /^drop$/, 'ruleset')
  await demo.packet('the host itself connects out', { kind: 'tcp', host: out.v4, port: 80 }, /^open/, '', demo.own)
  await demo.packet('over IPv6 too', { kind: 'tcp', host: out.v6, port: 80 }, /^open/, '', demo.own)
  await demo.packet('its UDP is answered', { kind: 'udp', host: out.v4, port: 53 }, /^open/, '', demo.own)
  await demo.packet('its ping is answered', { kind: 'ping', host: out.v4 }, /^open/, '', demo.own)
  await demo.packet('over IPv6 too', { kind: 'ping', host: out.v6 }, /^open/, '', demo.own)
  await demo.command('and back', ['firewall-cmd', '--zone=public', '--change-interface=ext0'], 0, /success/)

  heading('Debian\'s firewall-cmd and busctl, unmodified')
  await demo.command('state', ['firewall-cmd', '--state'], 0, /^running$/)
  await demo.command('active zones', ['firewall-cmd', '--get-active-zones'], 0, /public[\s\S]*ext0/)
  await demo.command('add a port', ['firewall-cmd', '--add-port=9000/tcp'], 0, /success/)
  await demo.packet('it is open', { kind: 'tcp', host: firewall.ext4, port: 9000 }, /^open/, 'ruleset')
  await demo.command('add a rich rule', ['firewall-cmd', `--add-rich-rule=rule family="ipv4" source address="${out.second4}" service name="ssh" drop`], 0, /success/,
    `firewall-cmd --add-rich-rule='rule … ${out.second4} … drop'`)
  await demo.packet('it drops whom it names', { kind: 'tcp', host: firewall.ext4, port: 22, src: out.second4 }, /^drop$/, 'ruleset')
  await demo.packet('and nobody else', { kind: 'tcp', host: firewall.ext4, port: 22 }, /^open/, 'ruleset')
  await demo.command('a service that does not exist', ['firewall-cmd', '--add-service=nonesuch'], 101, /INVALID_SERVICE/)
  await demo.command('panic on', ['firewall-cmd', '--panic-on'], 0, /success/)
  await demo.packet('nothing comes in', { kind: 'tcp', host: firewall.ext4, port: 22 }, /^drop$/, 'XDP')
  await demo.command('panic off', ['firewall-cmd', '--panic-off'], 0, /success/)
  const { name, path } = { name: 'org.fedoraproject.FirewallD1', path: '/org/fedoraproject/FirewallD1' }
  await demo.command('ask over D-Bus', ['busctl', 'call', name, path, `${name}.zone`, 'queryPort', 'sss', 'public', '9000', 'tcp'], 0, /^b true$/, 'busctl call … queryPort sss public 9000 tcp')
  await demo.command('introspect', ['busctl', 'introspect', name, path, `${name}.zone`], 0, /addRichRule/, 'busctl introspect …')

  heading('Reload, and a broken file')
  const connection = await demo.outside.hold(firewall.ext4, 22)
  await demo.command('reload', ['firewall-cmd', '--reload'], 0, /success/)
  const still = await demo.outside.say(connection, 'still there')
  record({ what: 'an open connection lives through it', packet: `tcp ${out.v4} → ${firewall.ext4}:22, established`, result: still === 'still there' ? 'passed' : still, stage: '–', rule: '', ok: still === 'still there' })
  await demo.packet('the runtime port is gone', { kind: 'tcp', host: firewall.ext4, port: 9000 }, /^reject icmp3\/13/, 'ruleset')
  await writeConfiguration(host, { 'zones/work.yaml': 'target: DROP\nservices: [sssh]\nportz: [80/tcp]\n' })
  const refused = await demo.daemon.ctl('reload')
  const told = `${refused.stdout}${refused.stderr}`
  const first = /zones\/work\.yaml:\d+:\d+/.exec(told)?.[0] ?? ''
  record({ what: 'a broken file is refused, with its place', packet: 'derpanetctl reload', result: first === '' ? 'no place named' : `refused at ${first}`, stage: `exit ${refused.status}`, rule: first === '' ? told : '', ok: refused.status !== 0 && first !== '' })
  await demo.packet('and the rules before it stay in force', { kind: 'tcp', host: firewall.ext4, port: 8080 }, /^open/, 'ruleset')
  await host.firewall.ok(['rm', '/etc/derpanet/zones/work.yaml'])
}

async function foreignStays(demoHost: DemoHost, before: string, daemon: HostDaemon): Promise<void> {
  const { host } = demoHost
  heading('A Docker and libvirt desktop\'s rules that were there before')
  const same = async (what: string): Promise<void> => {
    const now = await foreignRules(host)
    record({ what: `byte-identical ${what}`, packet: `${before.split('\n').length} lines of foreign rules`, result: now === before ? 'unchanged' : 'CHANGED', stage: '–', rule: now === before ? '' : difference(before, now), ok: now === before })
  }
  await same('after the start')
  for (let count = 0; count < 20; count++) await busCall(host, 'org.fedoraproject.FirewallD1', 'reload')
  await same('after 20 more reloads')
  const status = await daemon.stop()
  record({ what: 'the daemon stops', packet: 'SIGTERM', result: status === 0 ? 'ended' : daemon.running.output().slice(-300), stage: `exit ${status}`, rule: '', ok: status === 0 })
  await same('after the stop')
  const outside = await host.outside.agent()
  const fate = await outside.one({ kind: 'tcp', host: firewall.ext4, port: 25 })
  record({ what: 'without the daemon the rules still filter', packet: `tcp ${out.v4} → ${firewall.ext4}:25`, result: plain(fate), stage: 'ruleset', rule: '', ok: fate === 'reject icmp3/13' })
  await host.firewall.ok([...daemonCommands.derpanetd, '--purge'])
  await same('after purge')
  const left = (await host.firewall.ok(['bash', '-c', 'iptables-save; ip6tables-save; ipset list -n; ls /sys/fs/bpf /run/derpanet/bpf; ip -d link show ext0'])).match(/DERPA|derpa-|dp_|xdp/g)
  record({ what: 'nothing of ours is left after purge', packet: 'iptables-save, ipset, bpffs, links', result: left === null ? 'nothing' : left.join(' '), stage: '–', rule: '', ok: left === null })
}

function difference(before: string, after: string): string {
  const [old, now] = [before.split('\n'), after.split('\n')]
  return `- ${old.filter((line) => !now.includes(line)).slice(0, 3).join(' | ')} + ${now.filter((line) => !old.includes(line)).slice(0, 3).join(' | ')}`
}

async function main(): Promise<void> {
  const why = whyNoPrivateHost()
  if (why !== null) throw new Error(`the demo cannot run here: ${why}`)
  const started = Date.now()
  const demoHost = await createDemoHost('demo')
  const { host } = demoHost
  process.once('SIGINT', () => void host.stop().then(() => process.exit(130)))
  process.once('SIGTERM', () => void host.stop().then(() => process.exit(143)))
  try {
    await loadForeignRules(host)
    const before = await foreignRules(host)
    const daemon = await startDaemon(host)
    const demo = new Demo(demoHost, daemon, await host.outside.agent(), await host.firewall.agent())
    await demo.readOrigins()
    console.log((await daemon.ctl('status')).stdout.trimEnd())
    await eventually('XDP is attached', 10_000, async () => /xdp\/id|prog\/xdp|xdp id/.test(await host.firewall.ok(['ip', '-d', 'link', 'show', 'ext0'])))
    await show(demo)
    await foreignStays(demoHost, before, daemon)
  } finally {
    await host.stop()
  }
  const bad = lines.filter((line) => !line.ok).length
  console.log(`\n${lines.length} rows, ${bad === 0 ? 'all as they should be' : `${bad} FAILED`}, in ${Math.round((Date.now() - started) / 1000)} s`)
  process.exitCode = bad === 0 ? 0 : 1
}

await main()
