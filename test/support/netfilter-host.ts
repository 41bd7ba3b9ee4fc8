// A private host with the netfilter dataplane on it, in one variant of iptables.
import { createExec, type Exec, type ExecRequest } from '../../src/kernel/exec.ts'
import { compile } from '../../src/compile/compile.ts'
import type { ApplyReport, Dataplane } from '../../src/kernel/dataplane.ts'
import { createNetfilter, type Variant } from '../../src/kernel/netfilter/netfilter.ts'
import { firewallOf, type ConfigurationWords } from './configuration.ts'
import type { Agent, Probe } from './agent.ts'
import { createPrivateHost, type PrivateHost } from './private-host.ts'

export const variants: readonly Variant[] = ['nft', 'legacy']

export interface NetfilterHost {
  readonly host: PrivateHost
  readonly variant: Variant
  readonly dataplane: Dataplane
  readonly outside: Agent
  /** Every command the dataplane ran, `ipset restore`. Empty it at will. */
  readonly ran: string[]
  /** Put something between the dataplane and the tools: return null to let the request through. */
  intercept: ((request: ExecRequest) => ExecRequest | null) | null
  apply(words: ConfigurationWords): Promise<ApplyReport>
  /** Another instance on the same state directory, as after a restart of the daemon. */
  restarted(): Dataplane
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
  const make = (): Dataplane => createNetfilter({ exec, stateDir, variant, log: () => undefined })
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
    apply: (words) => dataplane.apply(compile(firewallOf(words))),
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
