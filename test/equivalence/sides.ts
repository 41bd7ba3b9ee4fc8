// The two sides: Debian's firewalld in one private host and derpanetd in another, each behind the same instruments.
import { rm } from 'node:fs/promises'
import { connect, type Transport } from '../../src/dbus/transport.ts'
import { installConfiguration, startDaemon, type DaemonKind, type HostDaemon } from '../support/daemon.ts'
import { createObservatory, type Observatory } from '../support/observatory.ts'
import { createPrivateHost, type PrivateHost } from '../support/private-host.ts'
import { send, type Answered, type Call } from './calls.ts'

export type Backend = 'nftables' | 'iptables'

export interface Side {
  readonly kind: DaemonKind
  readonly host: PrivateHost
  readonly observatory: Observatory
  call(call: Call): Promise<Answered>
  /** Stops the daemon, forgets every file of it, and starts it as it was installed. */
  renew(): Promise<void>
  output(): string
  stop(): Promise<void>
}

const quiet = { debug() {}, info() {}, warn() {}, error() {} }
const config = { derpanetd: '/etc/derpanet', firewalld: '/etc/firewalld' } as const

export async function openSide(kind: DaemonKind, backend: Backend, boundSec: number): Promise<Side> {
  const host = await createPrivateHost({ name: `equal-${kind}`, boundSec })
  try {
    const bus: Transport = await connect({ address: `unix:path=${host.path('/run/dbus/system_bus_socket')}`, log: quiet })
    // what is installed, to come back to
    await host.firewall.ok(['cp', '-a', '/etc/firewalld', '/run/installed'])
    const observatory = await createObservatory(host)
    let daemon: HostDaemon | null = null
    const start = async (): Promise<void> => {
      if (kind === 'derpanetd') await installConfiguration(host)
      else await host.firewall.ok(['sed', '-i', `s/^FirewallBackend=.*/FirewallBackend=${backend}/`, '/etc/firewalld/firewalld.conf'])
      daemon = await startDaemon(host, { kind, ...(kind === 'derpanetd' ? { args: ['--xdp', 'off'] } : {}), timeoutMs: 60_000 })
    }
    await start()
    return {
      kind, host, observatory,
      call: (call) => send(bus, call),
      async renew() {
        await daemon?.running.stop('SIGTERM', 20_000)
        await rm(host.path(config[kind]), { recursive: true, force: true })
        if (kind === 'derpanetd') {
          await host.firewall.ok([process.execPath, new URL('../../dist/derpanetd.js', import.meta.url).pathname, '--purge'])
          await rm(host.path('/var/lib/derpanet'), { recursive: true, force: true })
          await rm(host.path('/run/derpanet/runtime.jsonl'), { force: true })
        } else {
          await host.firewall.ok(['cp', '-a', '/run/installed', '/etc/firewalld'])
        }
        await start()
      },
      output: () => daemon?.running.output() ?? '',
      async stop() {
        await bus.close()
        await host.stop()
      },
    }
  } catch (failure) {
    await host.stop()
    throw failure
  }
}
