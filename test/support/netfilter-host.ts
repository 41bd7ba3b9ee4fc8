// A private host with the netfilter dataplane on it, in one variant of iptables.
import { createExec, type Exec, type ExecRequest } from '../../src/kernel/exec.ts'
import { compile } from '../../src/compile/compile.ts'
import type { ApplyReport, Dataplane } from '../../src/kernel/dataplane.ts'
import { setCommands } from '../../src/compile/netfilter/set-message.ts'
import { createNetfilter, type NetfilterDataplane, type Variant } from '../../src/kernel/netfilter/netfilter.ts'
import type { RawSocket } from '../../src/kernel/netfilter/nfnetlink.ts'
import { firewallOf, type ConfigurationWords } from './configuration.ts'
import type { Agent, Probe } from './agent.ts'
import { openSocketIn } from './netlink.ts'
import { createPrivateHost, type PrivateHost } from './private-host.ts'

export const variants: readonly Variant[] = ['nft', 'legacy']

export interface NetfilterHost {
  readonly host: PrivateHost
  readonly variant: Variant
  readonly dataplane: NetfilterDataplane
  readonly outside: Agent
  /** Every command the dataplane ran, and what it told the kernel's sets by netlink as `set add`. Empty it at will. */
  readonly ran: string[]
  /** Put something between the dataplane and the tools: return null to let the request through. */
  intercept: ((request: ExecRequest) => ExecRequest | null) | null
  /** The next request of this kind to the kernel's sets names a set that does not exist. */
  spoil: 'add' | 'del' | null
  apply(words: ConfigurationWords): Promise<ApplyReport>
  /** As a single change, without reading back. */
  change(words: ConfigurationWords): Promise<ApplyReport>
  /** Another instance on the same state directory, as after a restart of the daemon. */
  restarted(): NetfilterDataplane
  /** `iptables -t filter …` of the variant. */
  iptables(...args: readonly string[]): Promise<string>
  ip6tables(...args: readonly string[]): Promise<string>
  /** Both families. */
  both(...args: readonly string[]): Promise<void>
  /** Every table of both families and, for nft, the whole nf_tables ruleset; without counters, comments and dates. */
  tables(): Promise<string>
  sets(): Promise<readonly string[]>
  probe(...items: readonly Probe[]): Promise<readonly string[]>
  stop(): Promise<void>
}

export async function createNetfilterHost(name: string, variant: Variant, stateDir: string): Promise<NetfilterHost> {
  const host = await createPrivateHost({ name: `${name}-${variant}`, bus: false })
  const outside = await host.outside.agent()
  const ran: string[] = []
  const direct = createExec({ wrap: host.firewall.prefix })
  const exec: Exec = (request) => {
    ran.push([request.command, ...request.args].join(' '))
    return direct(self.intercept?.(request) ?? request)
  }
  const openSocket = (): RawSocket => {
    const socket = openSocketIn(host.firewall.namespace)
    const send = socket.send.bind(socket)
    socket.send = (bytes) => send(listen(bytes))
    return socket
  }
  const listen = (bytes: Uint8Array): Uint8Array => {
    const copy = Buffer.from(bytes)
    for (let at = 0; at < copy.length; at += (copy.readUInt32LE(at) + 3) & ~3) {
      const type = copy.readUInt16LE(at + 4)
      if (type >> 8 !== 6) continue
      const command = Object.entries(setCommands).find(([, number]) => number === (type & 255))?.[0] ?? String(type & 255)
      ran.push(`set ${command}`)
      if (command !== self.spoil) continue
      self.spoil = null
      copy.write('X', copy.indexOf('derpa-', at))
    }
    return copy
  }
  const make = (): NetfilterDataplane => createNetfilter({ exec, openSocket, stateDir, variant, log: () => undefined })
  const iptables = (command: string) => (...args: readonly string[]): Promise<string> =>
    host.firewall.ok([`${command}-${variant}`, '-w', '5', ...args])
  const dataplane = make()
  const self: NetfilterHost = {
    host,
    variant,
    dataplane,
    outside,
    ran,
    intercept: null,
    spoil: null,
    apply: (words) => dataplane.apply(compile(firewallOf(words))),
    change: (words) => dataplane.apply(compile(firewallOf(words)), undefined, true),
    restarted: make,
    iptables: iptables('iptables'),
    ip6tables: iptables('ip6tables'),
    async both(...args) {
      await self.iptables(...args)
      await self.ip6tables(...args)
    },
    async tables() {
      const texts = [await host.firewall.ok([`iptables-${variant}-save`]), await host.firewall.ok([`ip6tables-${variant}-save`])]
      if (variant === 'nft') texts.push(await host.firewall.ok(['nft', 'list', 'ruleset']))
      return texts.join('\n').replace(/^#.*\n?/gm, '').replace(/\[\d+:\d+\]/g, '[]').replace(/counter packets \d+ bytes \d+/g, 'counter')
    },
    async sets() {
      return (await host.firewall.ok(['ipset', 'list', '-n'])).split('\n').filter((line) => line !== '')
    },
    probe: (...items) => outside.probe(items),
    stop: () => host.stop(),
  }
  return self
}
