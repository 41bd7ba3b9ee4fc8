// A private host for one test: outside — firewall — inside, three network namespaces joined by veths, all addresses from the
// documentation ranges; the firewall side has its own mounts, processes and system bus, so unmodified clients run there.
// private-host.sh builds and guards it; nothing of the machine's own network, files or bus is touched, and everything is gone
// when stop() returns or this process dies, however it dies.
import { spawn, type ChildProcess } from 'node:child_process'
import { createInterface } from 'node:readline'
import { createWriteStream, readFileSync } from 'node:fs'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { startAgent, type Agent } from './agent.ts'

export const repository = fileURLToPath(new URL('../..', import.meta.url)).replace(/\/$/, '')

/** Addresses of the three sides. `outside` and `inside` also answer for the fw's default route and its inner net. */
export const addresses = {
  firewall: { ext4: '192.0.2.1', ext6: '2001:db8:1::1', int4: '198.51.100.1', int6: '2001:db8:2::1' },
  outside: { v4: '192.0.2.2', second4: '192.0.2.3', far4: '203.0.113.5', v6: '2001:db8:1::2', second6: '2001:db8:1::3' },
  inside: { v4: '198.51.100.2', v6: '2001:db8:2::2' },
  macs: { ext: '02:00:5e:00:01:01', int: '02:00:5e:00:02:01', outside: '02:00:5e:00:01:02', inside: '02:00:5e:00:02:02' },
} as const

export interface Ran {
  readonly status: number
  readonly stdout: string
  readonly stderr: string
}

export interface RunOptions {
  readonly input?: string
  /** Default 30,000. The command is killed after it, and the status is then 124. */
  readonly timeoutMs?: number
  readonly env?: Readonly<Record<string, string>>
  readonly cwd?: string
}

export interface Running {
  readonly child: ChildProcess
  /** What it has written so far, both streams. */
  output(): string
  /** To the program itself, and nothing more; when it has ended, to nobody. */
  signal(signal: NodeJS.Signals): Promise<void>
  /** TERM, and KILL after `graceMs` (default 5,000). Resolves when it is gone; gives the exit status (128+n for a signal). */
  stop(signal?: NodeJS.Signals, graceMs?: number): Promise<number>
  exited: Promise<number>
}

/** One of the three sides. */
export interface Place {
  readonly namespace: string
  /** Never rejects for a status other than 0. */
  run(argv: readonly string[], options?: RunOptions): Promise<Ran>
  /** Standard output without the last newline; rejects unless the status is 0. */
  ok(argv: readonly string[], options?: RunOptions): Promise<string>
  start(argv: readonly string[], options?: { readonly env?: Readonly<Record<string, string>>; readonly logFile?: string }): Running
  /** The probe agent of this side, started on first use. */
  agent(): Promise<Agent>
  /** Command line that runs something here: for callers with their own runner. */
  readonly prefix: readonly string[]
}

export interface PrivateHost {
  readonly name: string
  readonly firewall: Place
  readonly outside: Place
  readonly inside: Place
  /** A path inside the firewall's mounts, as this process can open it. */
  path(inside: string): string
  stop(): Promise<void>
}

const environment = { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C.UTF-8' }

/** Why no private host can be built here, or null. */
export function whyNoPrivateHost(): string | null {
  if (process.getuid?.() !== 0) return 'needs root'
  return process.platform === 'linux' ? null : 'needs Linux'
}

/**
 * Builds it, in about 0.3 s. `name`: up to 20 letters, digits and dashes; a random part is added.
 * `boundSec` (default 600) is when the guard removes everything whatever happens.
 */
export async function createPrivateHost(options: { readonly name: string; readonly bus?: boolean; readonly boundSec?: number }): Promise<PrivateHost> {
  const name = `dp-${options.name.replace(/[^a-zA-Z0-9-]/g, '-').slice(0, 20)}-${randomBytes(3).toString('hex')}`
  const guardArgs = [name, String(options.boundSec ?? 600), options.bus === false ? 'no' : 'yes', repository]
  const guard = spawn('/bin/bash', [fileURLToPath(new URL('private-host.sh', import.meta.url)), ...guardArgs], {
    stdio: ['pipe', 'pipe', 'pipe'], detached: true, env: environment,
  })
  let complaints = ''
  guard.stderr.on('data', (chunk: Buffer) => { complaints += chunk.toString() })
  guard.stdin.on('error', () => { /* the guard left first: what it said decides below */ })
  const lines = createInterface({ input: guard.stdout })[Symbol.asyncIterator]()
  const first = await lines.next()
  const ready = /^ready (\d+)$/.exec(first.done === true ? '' : first.value)
  if (ready === null) throw new Error(`private host ${name}: ${first.done === true ? 'the guard ended' : first.value} ${complaints}`)
  const holder = ready[1] as string

  const started: Running[] = []
  const agents: Agent[] = []
  const place = (namespace: string, prefix: readonly string[]): Place => {
    let agent: Promise<Agent> | null = null
    const self: Place = {
      namespace,
      prefix,
      run: (argv, options) => runCommand([...prefix, ...argv], options),
      async ok(argv, options) {
        const ran = await self.run(argv, options)
        if (ran.status !== 0) throw new Error(`${argv.join(' ')}: status ${ran.status}: ${ran.stderr}${ran.stdout}`)
        return ran.stdout.replace(/\n$/, '')
      },
      start(argv, options) {
        const running = startCommand([...prefix, ...argv], options)
        started.push(running)
        return running
      },
      agent() {
        agent ??= startAgent(prefix).then((made) => {
          agents.push(made)
          return made
        })
        return agent
      },
    }
    return self
  }
  const inNet = (namespace: string): readonly string[] => ['nsenter', `--net=/run/netns/${namespace}`, '--']

  let stopping: Promise<void> | null = null
  return {
    name,
    firewall: place(`${name}-fw`, ['nsenter', '-t', holder, '-m', '-n', '-p', '--']),
    outside: place(`${name}-out`, inNet(`${name}-out`)),
    inside: place(`${name}-in`, inNet(`${name}-in`)),
    path: (inside) => `/proc/${holder}/root${inside}`,
    stop() {
      stopping ??= (async () => {
        for (const agent of agents) agent.end()
        await Promise.all(started.map((running) => running.stop('SIGTERM', 2000)))
        const gone = guard.exitCode === null ? once(guard, 'exit') : Promise.resolve()
        guard.stdin.end()
        await gone
      })()
      return stopping
    },
  }
}

/** Runs one command to its end. */
export async function runCommand(argv: readonly string[], options: RunOptions = {}): Promise<Ran> {
  const [file, ...args] = argv
  if (file === undefined) throw new Error('no command')
  const child = spawn(file, args, {
    stdio: ['pipe', 'pipe', 'pipe'], env: { ...environment, ...options.env }, ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
  })
  let stdout = ''
  let stderr = ''
  let late = false
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => { stdout += chunk })
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => { stderr += chunk })
  child.stdin.on('error', () => { /* a command may leave without reading its input; its status says how it went */ })
  child.stdin.end(options.input ?? '')
  const timer = setTimeout(() => {
    late = true
    child.kill('SIGKILL')
  }, options.timeoutMs ?? 30_000)
  return await new Promise((resolve, reject) => {
    child.once('error', (failure) => {
      clearTimeout(timer)
      reject(failure)
    })
    // a daemon left behind may keep our pipes: its parent's end is the end, plus a moment for the last output
    child.once('exit', (code, signal) => {
      clearTimeout(timer)
      const finish = (): void => resolve({ status: late ? 124 : code ?? 128 + signalNumber(signal), stdout, stderr })
      const patience = setTimeout(finish, 1000)
      child.once('close', () => {
        clearTimeout(patience)
        finish()
      })
    })
  })
}

/** Starts one command and leaves it running. */
export function startCommand(argv: readonly string[], options: { readonly env?: Readonly<Record<string, string>>; readonly logFile?: string } = {}): Running {
  const [file, ...args] = argv
  if (file === undefined) throw new Error('no command')
  const child = spawn(file, args, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...environment, ...options.env } })
  let output = ''
  const log = options.logFile === undefined ? null : createWriteStream(options.logFile, { flags: 'a' })
  const hear = (chunk: Buffer): void => {
    output += chunk.toString()
    log?.write(chunk)
  }
  child.stdout.on('data', hear)
  child.stderr.on('data', hear)
  const exited = new Promise<number>((resolve) => {
    child.once('error', (failure) => {
      output += failure.message
      resolve(127)
    })
    child.once('exit', (code, signal) => resolve(code ?? 128 + signalNumber(signal)))
  })
  return {
    child,
    output: () => output,
    exited,
    async signal(signal) {
      // once it is gone its number may be somebody else's
      if (child.exitCode === null && child.signalCode === null) await signalInside(child, signal)
    },
    async stop(signal = 'SIGTERM', graceMs = 5000) {
      if (child.exitCode === null && child.signalCode === null) {
        await signalInside(child, signal)
        const timer = setTimeout(() => { void signalInside(child, 'SIGKILL') }, graceMs)
        await exited
        clearTimeout(timer)
      }
      return await exited
    },
  }
}

/** Pid, on this machine, of the program that was started in a host: nsenter's child. */
export function pidOf(running: Running): number {
  return Number(readOrEmpty(`/proc/${running.child.pid}/task/${running.child.pid}/children`).trim().split(' ')[0])
}

/** Milliseconds of processor time in the text of a /proc/PID/stat: user, system, and both of children that ended. */
export function processorTimesMs(stat: string): readonly number[] {
  // behind the name, which may hold anything; in hundredths of a second
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ').slice(11, 15).map((time) => Number(time) * 10)
}

/**
 * nsenter into a PID namespace forks, and does not hand signals on: the program itself is its child. Without a child
 * (no PID namespace) the pid is the program's.
 */
async function signalInside(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.pid === undefined) return
  // without a pause between looking and signalling: a number that is free again is soon somebody else's
  const children = readOrEmpty(`/proc/${child.pid}/task/${child.pid}/children`)
  const name = readOrEmpty(`/proc/${child.pid}/comm`)
  const inner = name.trim() === 'nsenter' ? children.trim().split(' ').filter((pid) => pid !== '').map(Number) : []
  for (const pid of inner.length > 0 ? inner : [child.pid]) {
    try {
      process.kill(pid, signal)
    } catch (failure) {
      if ((failure as NodeJS.ErrnoException).code !== 'ESRCH') throw failure // gone already: that is what we wanted
    }
  }
  // nsenter stops with a program that was stopped, and would not see its end
  if (inner.length > 0 && signal === 'SIGKILL') child.kill('SIGCONT')
}

function readOrEmpty(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return '' // it is gone
  }
}

function signalNumber(signal: NodeJS.Signals | null): number {
  return signal === 'SIGKILL' ? 9 : signal === 'SIGTERM' ? 15 : signal === 'SIGINT' ? 2 : signal === 'SIGSEGV' ? 11 : signal === 'SIGABRT' ? 6 : 0
}

/** Polls every 50 ms until `check` gives something truthy; throws with `what` after `timeoutMs`. */
export async function eventually<T>(what: string, timeoutMs: number, check: () => Promise<T | null | undefined | false> | T | null | undefined | false): Promise<T> {
  const end = Date.now() + timeoutMs
  for (;;) {
    const value = await check()
    if (value !== null && value !== undefined && value !== false) return value
    if (Date.now() > end) throw new Error(`not within ${timeoutMs} ms: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}
