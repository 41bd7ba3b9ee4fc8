// One private host in which a daemon is made to die or fail at numbered effects (effects.cjs), and what can be seen afterwards:
// how packets are judged, and whether anything is left over (chains, sets, pins, links, temporary files, programs). What is right is the test's business.
import { execFileSync } from 'node:child_process'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import dbus from 'dbus-next'
import type { Agent, Probe } from './agent.ts'
import { daemonCommands, firewalldBus, writeConfiguration } from './daemon.ts'
import { createPrivateHost, eventually, repository, type PrivateHost, type Running } from './private-host.ts'

export type Mode = 'none' | 'kill' | 'kill-during' | 'kill-after' | 'fail' | 'fail-after' | 'hang' | 'tool-killed' | 'refuse' | 'inside-kill' | 'inside-fail'
export type Configuration = Readonly<Record<string, string>>

/** What happens at the `nth` effect of that name; `inside` counts the loader's own, when that effect starts it. */
export interface Injection {
  readonly mode: Mode
  readonly name: string
  readonly nth: number
  readonly inside?: number
}
export const nothing: Injection = { mode: 'none', name: '', nth: 0 }

const effects = '/run/effects'
/** All that could be left over, in one program: points are many. (The shell that runs it replaces itself at the end.) */
const look = [
  'iptables-save', 'ip6tables-save', 'ipset list -n', "find /run/derpanet/bpf -mindepth 1 -not -name '*.debug' -printf '%P\\n'",
  "find /run/derpanet /var/lib/derpanet /etc/derpanet -name '*.tmp' -o -name '*.new' -printf '%p\\n'", 'ip -details link', 'exec ps -eo comm=',
].join('; echo; echo =; ')
const zoneInterface = `${firewalldBus.name}.zone`

export class Lane {
  private running: Running | null = null

  private constructor(readonly host: PrivateHost, private readonly bus: dbus.MessageBus, private readonly agent: Agent, private readonly args: readonly string[]) {}

  static async open(name: string, ports: readonly string[], boundSec: number, args: readonly string[]): Promise<Lane> {
    const host = await createPrivateHost({ name, boundSec })
    await mkdir(host.path(effects), { recursive: true })
    execFileSync('gcc', ['-shared', '-fPIC', '-O1', '-o', host.path(`${effects}/inside.so`), join(repository, 'test/support/effects-inside.c')])
    await (await host.firewall.agent()).serve(ports)
    const bus = dbus.sessionBus({ busAddress: `unix:path=${host.path('/run/dbus/system_bus_socket')}` })
    await bus.call(new dbus.Message({ destination: 'org.freedesktop.DBus', path: '/org/freedesktop/DBus', interface: 'org.freedesktop.DBus', member: 'GetId' }))
    return new Lane(host, bus, await host.outside.agent(), args)
  }

  async close(): Promise<void> {
    this.bus.disconnect()
    await this.host.stop()
  }

  write(files: Configuration): Promise<void> {
    return writeConfiguration(this.host, files)
  }

  /** Starts a daemon that counts from its first effect. Does not wait. */
  async start(injection = nothing): Promise<void> {
    await this.plan(injection)
    this.running = this.host.firewall.start([process.execPath, '--require', join(repository, 'test/support/effects.cjs'), ...daemonCommands.derpanetd.slice(1), ...this.args], {
      env: { DERPANET_EFFECTS: effects },
    })
  }

  /** From the next effect on. */
  async arm(injection = nothing): Promise<void> {
    if (!this.isAlive()) throw new Error(`no daemon to arm: ${this.output().slice(-800)}`)
    await this.plan(injection)
    await this.running?.signal('SIGUSR2')
    await eventually('the plan is read', 30_000, async () => (await readFile(this.host.path(`${effects}/trace`), 'utf8')).includes('plan '))
  }

  private async plan(injection: Injection): Promise<void> {
    await writeFile(this.host.path(`${effects}/plan.json`), JSON.stringify(injection))
    await writeFile(this.host.path(`${effects}/inside`), '')
    await writeFile(this.host.path(`${effects}/trace`), 'waiting\n')
  }

  /** Names of the effects since the count began, in their order. */
  async trace(): Promise<readonly string[]> {
    const lines = (await readFile(this.host.path(`${effects}/trace`), 'utf8')).split('\n').filter((line) => line !== '')
    const from = lines.findLastIndex((line) => line.startsWith('plan '))
    return from < 0 ? [] : lines.slice(from + 1).map((line) => line.replace(/^\d+ /, ''))
  }

  /** What the loader did inside of the effects that started it: `at` is the place of that one in trace(), from 1. */
  async inside(): Promise<readonly { readonly at: number; readonly number: number; readonly name: string }[]> {
    return (await readFile(this.host.path(`${effects}/inside`), 'utf8')).split('\n').filter((line) => line !== '').map((line) => {
      const [at, number, ...name] = line.split(' ')
      return { at: Number(at), number: Number(number), name: name.join(' ') }
    })
  }

  isAlive(): boolean {
    return this.running !== null && this.running.child.exitCode === null && this.running.child.signalCode === null
  }

  output(): string {
    return this.running?.output() ?? ''
  }

  /** true when it ended within `timeoutMs`. */
  async ends(timeoutMs: number): Promise<boolean> {
    if (this.running === null || !this.isAlive()) return true
    let late: NodeJS.Timeout | undefined
    const ended = await Promise.race([this.running.exited.then(() => true), new Promise<boolean>((resolve) => { late = setTimeout(() => resolve(false), timeoutMs) })])
    clearTimeout(late)
    return ended
  }

  async kill(): Promise<void> {
    await this.running?.stop('SIGKILL')
  }

  /** SIGTERM; does not wait. */
  async terminate(): Promise<void> {
    await this.running?.signal('SIGTERM')
  }

  async call(member: string, signature = '', body: unknown[] = [], iface: string = firewalldBus.name): Promise<string | null> {
    try {
      await this.bus.call(new dbus.Message({ destination: firewalldBus.name, path: firewalldBus.path, interface: iface, member, signature, body, flags: dbus.MessageFlag.NO_AUTO_START }))
      return null
    } catch (error) {
      return (error as Error).message
    }
  }

  zoneCall(member: string, signature: string, body: unknown[]): Promise<string | null> {
    return this.call(member, signature, body, zoneInterface)
  }

  /** RUNNING or FAILED, whichever comes first; "" when it ended or says nothing in time. */
  async state(timeoutMs = 60_000): Promise<string> {
    const end = performance.now() + timeoutMs
    while (this.isAlive() && performance.now() < end) {
      try {
        const reply = await this.bus.call(new dbus.Message({
          destination: firewalldBus.name, path: firewalldBus.path, interface: 'org.freedesktop.DBus.Properties', member: 'Get', signature: 'ss',
          body: [firewalldBus.name, 'state'], flags: dbus.MessageFlag.NO_AUTO_START,
        }))
        const value = (reply?.body[0] as dbus.Variant<string>).value
        if (value !== 'INIT') return value
      } catch {
        // nobody owns the name yet
      }
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
    return ''
  }

  async probe(probes: readonly Probe[]): Promise<readonly string[]> {
    return (await this.agent.probe(probes)).map((result) => result.split(' ')[0]!)
  }

  /**
   * Everything of ours in kernel and file system, without what may differ between two that are both right: slots of sets,
   * digests of names that hold them, counters.
   */
  async remains(): Promise<string> {
    const { firewall } = this.host
    // a chain's name holds a digest of its content, and so of the slots in it
    const noSlot = (text: string): string => text.replace(/(derpa-[A-Za-z0-9-]+)-[a-d]\b/g, '$1').replace(/(DERPA_[A-Za-z0-9_]+)_[a-z2-7]{8}\b/g, '$1')
    const [iptables = '', ip6tables = '', ipset = '', pinned = '', temporary = '', ip = '', ps = ''] = (await firewall.ok(['bash', '-c', look])).split('\n=\n')
    const rules = [iptables, ip6tables].flatMap((text) => noSlot(text.replace(/\[\d+:\d+\]/g, '')).split('\n').filter((line) => line.includes('DERPA_') || line.startsWith('*'))).join('\n')
    const sets = noSlot(ipset).split('\n').filter((name) => name.startsWith('derpa-')).sort()
    const pins = pinned.split('\n').filter((line) => line !== '').sort()
    const links = ip.match(/^\d+: \S+|prog\/xdp/gm) ?? []
    const programs = ps.split('\n').filter((name) => name !== 'ps' && name !== '').sort()
    return [rules, 'sets', ...sets, 'pins', ...pins, 'links', links.join(' ').replace(/\d+: /g, ''), 'temporary files', temporary, 'programs', ...programs].join('\n')
  }
}
