// A bus of our own: one dbus-daemon with its socket in a temporary folder. Never the machine's system bus.
import { execFile, spawn, type ChildProcess } from 'node:child_process'
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect, type BusLog, type Transport } from '../../../src/dbus/transport.ts'

export const quiet: BusLog = { debug() {}, info() {}, warn() {}, error() {} }

export interface Ran {
  readonly status: number
  readonly stdout: string
  readonly stderr: string
}

export interface PrivateBus {
  readonly address: string
  /** Runs a program whose system bus this is. Never rejects for a status. */
  run(command: string, args: readonly string[]): Promise<Ran>
  /** A client connection of the tests. */
  client(): Promise<Transport>
  /** The bus takes nothing and says nothing until `goOn`. */
  pause(): void
  goOn(): void
  /** Kills the bus as a crash would. */
  kill(): Promise<void>
  stop(): Promise<void>
}

function configuration(socket: string): string {
  return `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path=${socket}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <allow own="*"/>
    <allow send_type="method_call"/>
    <allow send_type="signal"/>
    <allow send_requested_reply="true" send_type="method_return"/>
    <allow send_requested_reply="true" send_type="error"/>
    <allow receive_type="method_call"/>
    <allow receive_type="method_return"/>
    <allow receive_type="error"/>
    <allow receive_type="signal"/>
  </policy>
  <limit name="max_replies_per_connection">50000</limit>
  <limit name="max_message_size">134217728</limit>
  <limit name="max_incoming_bytes">134217728</limit>
  <limit name="max_outgoing_bytes">134217728</limit>
</busconfig>
`
}

function exited(child: ChildProcess): Promise<void> {
  return child.exitCode !== null || child.signalCode !== null ? Promise.resolve() : new Promise((resolve) => child.once('exit', () => resolve()))
}

export async function startPrivateBus(): Promise<PrivateBus> {
  const dir = mkdtempSync(join(tmpdir(), 'derpanet-bus-'))
  chmodSync(dir, 0o755)
  const socket = join(dir, 'bus')
  const config = join(dir, 'bus.conf')
  writeFileSync(config, configuration(socket))
  const daemon = spawn('dbus-daemon', [`--config-file=${config}`, '--nofork', '--nopidfile', '--print-address'], { stdio: ['ignore', 'pipe', 'ignore'] })
  await new Promise<void>((resolve, reject) => {
    daemon.once('error', reject)
    daemon.once('exit', (status) => reject(new Error(`dbus-daemon ended with ${status}`)))
    daemon.stdout.once('data', () => resolve())
  })
  daemon.removeAllListeners('exit')
  const address = `unix:path=${socket}`
  const env = { PATH: process.env['PATH'] ?? '', LC_ALL: 'C.UTF-8', DBUS_SYSTEM_BUS_ADDRESS: address }
  const clients: Transport[] = []
  const kill = async (): Promise<void> => {
    daemon.kill('SIGKILL')
    await exited(daemon)
  }
  return {
    address,
    kill,
    pause: () => { daemon.kill('SIGSTOP') },
    goOn: () => { daemon.kill('SIGCONT') },
    run: (command, args) => new Promise((resolve) => {
      execFile(command, [...args], { env, timeout: 60_000, maxBuffer: 64 * 1024 * 1024 }, (error, stdout, stderr) => {
        const status = error === null ? 0 : typeof error.code === 'number' ? error.code : 255
        resolve({ status, stdout, stderr })
      })
    }),
    async client() {
      const client = await connect({ address, log: quiet })
      clients.push(client)
      return client
    },
    async stop() {
      await Promise.all(clients.map((client) => client.close()))
      await kill()
      rmSync(dir, { recursive: true, force: true })
    },
  }
}

export const firewalld = { destination: 'org.fedoraproject.FirewallD1', path: '/org/fedoraproject/FirewallD1', timeoutMs: 20_000 } as const
export const configAt = { ...firewalld, path: '/org/fedoraproject/FirewallD1/config' } as const
export const derpanet = { destination: 'org.derpanet.Derpanet1', path: '/org/derpanet/Derpanet1', timeoutMs: 20_000 } as const
