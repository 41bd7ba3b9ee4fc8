// One probe agent (probe-agent.py) in one network namespace: real connections, datagrams, pings, crafted frames and servers.
// Probes of one call run at the same time, so fifty of them take as long as the slowest.
import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

export interface Probe {
  readonly kind: 'tcp' | 'udp' | 'ping'
  readonly host: string
  readonly port?: number
  /** Own address to send from. */
  readonly src?: string
  /** Own port, of TCP and UDP. */
  readonly sport?: number
  /** Default 300. */
  readonly timeoutMs?: number
}

/** `open PEER`, `closed` (RST, or port unreachable for UDP), `reject icmpT/C`, `drop`, `drop local`, `error NAME`. */
export type ProbeResult = string

export interface ExchangeOptions {
  readonly waitMs: number
  readonly enough?: number
  readonly keep?: boolean
}

export interface Agent {
  probe(items: readonly Probe[]): Promise<readonly ProbeResult[]>
  one(item: Probe): Promise<ProbeResult>
  /** Answers everybody at `tcp:22`, `udp:5000-5010`, … until the agent ends. */
  serve(specs: readonly string[]): Promise<void>
  /**
   * Sends frames from the first interface and gives the frames that arrive at any of them until `waitMs` after the last,
   * or until there are `enough`. `keep`: with those that arrived since the exchange before.
   */
  exchange(ifnames: readonly string[], frames: readonly Uint8Array[], options: ExchangeOptions): Promise<readonly Buffer[]>
  /** Sends IP packets as this host's own. One errno name for each, "" for sent. */
  raw(packets: readonly { readonly family: 4 | 6; readonly destination: string; readonly packet: Uint8Array }[]): Promise<readonly string[]>
  /** A TCP connection that stays open. */
  hold(host: string, port: number, src?: string): Promise<number>
  /** The echo of `text` on a held connection, or `lost`, `silent`. */
  say(handle: number, text: string, timeoutMs?: number): Promise<string>
  release(handle: number): Promise<void>
  end(): void
}

export async function startAgent(prefix: readonly string[]): Promise<Agent> {
  const [file = '', ...args] = [...prefix, '/usr/bin/python3', '-u', fileURLToPath(new URL('probe-agent.py', import.meta.url))]
  const child = spawn(file, args, { stdio: ['pipe', 'pipe', 'pipe'], env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C.UTF-8' } })
  const waiting = new Map<number, { resolve(value: unknown): void; reject(failure: Error): void }>()
  let complaints = ''
  let ended = false
  child.stderr.on('data', (chunk: Buffer) => { complaints += chunk.toString() })
  child.stdin.on('error', () => { /* the exit handler below tells every waiting caller */ })
  const failAll = (why: string): void => {
    for (const one of waiting.values()) one.reject(new Error(`probe agent ${why}: ${complaints}`))
    waiting.clear()
    ended = true
  }
  child.once('error', (failure) => failAll(failure.message))
  child.once('exit', () => failAll('ended'))
  createInterface({ input: child.stdout }).on('line', (line) => {
    const answer = JSON.parse(line) as { id: number; ok?: unknown; error?: string }
    const one = waiting.get(answer.id)
    waiting.delete(answer.id)
    if (answer.error === undefined) one?.resolve(answer.ok)
    else one?.reject(new Error(`probe agent: ${answer.error}`))
  })
  let lastId = 0
  const call = async (op: string, body: object): Promise<unknown> => {
    if (ended) throw new Error(`probe agent ended: ${complaints}`)
    const id = ++lastId
    const answer = new Promise((resolve, reject) => waiting.set(id, { resolve, reject }))
    child.stdin.write(`${JSON.stringify({ id, op, ...body })}\n`)
    return await answer
  }
  await new Promise((resolve, reject) => waiting.set(0, { resolve, reject }))

  const probe = async (items: readonly Probe[]): Promise<readonly string[]> =>
    (await call('probe', { items: items.map((item) => ({ timeoutMs: 300, ...item })) })) as string[]
  return {
    probe,
    async one(item) {
      return (await probe([item]))[0] as string
    },
    async serve(specs) {
      await call('serve', { specs })
    },
    async exchange(ifnames, frames, options) {
      const heard = await call('exchange', { ifname: ifnames, frames: frames.map((frame) => Buffer.from(frame).toString('hex')), ...options })
      return (heard as string[]).map((hex) => Buffer.from(hex, 'hex'))
    },
    async raw(packets) {
      return (await call('raw', {
        packets: packets.map(({ family, destination, packet }) => ({ family, destination, hex: Buffer.from(packet).toString('hex') })),
      })) as string[]
    },
    async hold(host, port, src) {
      return (await call('hold', { host, port, src })) as number
    },
    async say(handle, text, timeoutMs = 2000) {
      return (await call('say', { handle, text, timeoutMs })) as string
    },
    async release(handle) {
      await call('release', { handle })
    },
    end() {
      child.stdin.end()
    },
  }
}
