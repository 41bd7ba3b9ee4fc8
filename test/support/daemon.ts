// A firewall daemon running in a private host: derpanetd as built in dist/, or Debian's firewalld for comparison.
import { cp, mkdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { followsText } from '../../src/daemon/enforcer.ts'
import { eventually, repository, type PrivateHost, type Ran, type RunOptions, type Running } from './private-host.ts'

/** The links of a private host are made of software, where nobody gets XDP who does not ask for it. */
export const daemonCommands = {
  derpanetd: [process.execPath, join(repository, 'dist/derpanetd.js'), '--xdp', 'native'],
  firewalld: ['/usr/sbin/firewalld', '--nofork', '--nopid'],
} as const
export type DaemonKind = keyof typeof daemonCommands

export interface HostDaemon {
  readonly running: Running
  /** Milliseconds from exec to the state RUNNING on the bus. */
  readonly readyMs: number
  firewallCmd(...args: string[]): Promise<Ran>
  ctl(...args: string[]): Promise<Ran>
  /** Decisions by rule id since the start, from org.derpanet.Derpanet1. */
  counters(): Promise<ReadonlyMap<string, number>>
  stop(): Promise<number>
}

/** Writes files below the host's /etc/derpanet, e.g. `{'zones/public.yaml': '…'}`. */
export async function writeConfiguration(host: PrivateHost, files: Readonly<Record<string, string>>): Promise<void> {
  for (const [name, text] of Object.entries(files)) {
    const path = host.path(join('/etc/derpanet', name))
    await mkdir(dirname(path), { recursive: true, mode: 0o755 })
    await writeFile(path, text, { mode: 0o644 })
  }
}

/** The configuration that is installed: etc of the repository, without lib, which is shipped elsewhere. */
export async function installConfiguration(host: PrivateHost): Promise<void> {
  const from = join(repository, 'etc')
  await cp(from, host.path('/etc/derpanet'), { recursive: true, filter: (path) => path !== join(from, 'lib') })
}

/** What `iptables` is on that host, and so which variant a daemon there takes. */
export async function chooseVariant(host: PrivateHost, variant: 'nft' | 'legacy'): Promise<void> {
  const links = ['iptables', 'ip6tables'].flatMap((tool) => ['', '-save', '-restore'].map((end) => `ln -sfn /usr/sbin/${tool}-${variant}${end} /etc/alternatives/${tool}${end}`))
  await host.firewall.ok(['bash', '-c', links.join(' && ')])
}

const bus = ['busctl', '--system', '--timeout=20'] as const
export const firewalldBus = { name: 'org.fedoraproject.FirewallD1', path: '/org/fedoraproject/FirewallD1' } as const

export async function daemonState(host: PrivateHost): Promise<string> {
  const { name, path } = firewalldBus
  const asked = await host.firewall.run([...bus, '--auto-start=no', 'get-property', name, path, name, 'state'])
  return /"(\w+)"/.exec(asked.stdout)?.[1] ?? ''
}

export interface StartOptions {
  readonly kind?: DaemonKind
  readonly args?: readonly string[]
  readonly logFile?: string
  readonly env?: Readonly<Record<string, string>>
  /** A state other than RUNNING to wait for. */
  readonly state?: string
  readonly timeoutMs?: number
}

/** Starts it and waits for the state; the error holds what it wrote. */
export async function startDaemon(host: PrivateHost, options: StartOptions = {}): Promise<HostDaemon> {
  const kind = options.kind ?? 'derpanetd'
  const started = performance.now()
  const running = host.firewall.start([...daemonCommands[kind], ...(options.args ?? [])], {
    ...(options.logFile === undefined ? {} : { logFile: options.logFile }), ...(options.env === undefined ? {} : { env: options.env }),
  })
  let ended: number | null = null
  void running.exited.then((status) => { ended = status })
  const wanted = options.state ?? 'RUNNING'
  try {
    await eventually(`${kind} is ${wanted}`, options.timeoutMs ?? 30_000, async () => {
      if (ended !== null) throw new Error(`${kind} ended with status ${ended}`)
      return (await daemonState(host)) === wanted
    })
  } catch (failure) {
    throw new Error(`${(failure as Error).message}; it said:\n${running.output()}`)
  }
  const readyMs = performance.now() - started
  const ctl = (...args: string[]): Promise<Ran> => host.firewall.run([process.execPath, join(repository, 'dist/derpanetctl.js'), ...args])
  // Rules are in force, so the daemon is ready; but what is tested may be where they are decided, and XDP follows a little later.
  if (kind === 'derpanetd') {
    await eventually('XDP follows the ruleset', 10_000, async () => {
      const shown = await ctl('status', '--json')
      return shown.stdout.startsWith('{') && !shown.stdout.includes(followsText)
    })
  }
  return {
    running,
    readyMs,
    firewallCmd: (...args) => host.firewall.run(['firewall-cmd', ...args]),
    ctl,
    async counters() {
      const shown = await ctl('counters', '--all', '--json')
      if (shown.status !== 0) throw new Error(`derpanetctl counters: ${shown.stderr}`)
      return new Map((JSON.parse(shown.stdout) as { rule: string; packets: number | string }[]).map(({ rule, packets }) => [rule, Number(packets)]))
    },
    stop: () => running.stop('SIGTERM', 15_000),
  }
}

/** `busctl call`: the reply as busctl prints it; rejects on an error reply. */
export async function busCall(host: PrivateHost, iface: string, member: string, signature = '', ...args: string[]): Promise<string> {
  const { name, path } = firewalldBus
  return await host.firewall.ok([...bus, 'call', name, path, iface, member, ...(signature === '' ? [] : [signature, ...args])])
}

export type { RunOptions }
