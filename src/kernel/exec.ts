// The one runner of other programs: fixed argument vector, hardly any environment, a time limit, never a shell.
// It knows nothing of what it runs; turning output into meaning is the caller's job.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { performance } from 'node:perf_hooks'
import { printable } from '../errors.ts'

export type Chunk = string | Uint8Array

export interface ExecRequest {
  readonly command: string
  readonly args: readonly string[]
  /** Written to standard input, which is closed afterwards; absent = /dev/null. An iterable is pulled as the program reads. */
  readonly input?: Chunk | Iterable<Chunk> | AsyncIterable<Chunk>
  /** The process group is killed (SIGKILL) after that; default 30 s. */
  readonly timeoutMs?: number
  /** Limit of standard output and of standard error, each; more is an error, not a cut. Default 64 MiB. */
  readonly maxOutputBytes?: number
  readonly signal?: AbortSignal
}

/** `exitCode` is never null here: death by signal rejects. */
export interface ExecResult {
  readonly exitCode: number
  readonly stdout: string
  readonly stderr: string
  readonly elapsedMs: number
}

/**
 * Runs a program to its end. Any exit status resolves. Rejects with CommandError when it cannot be started, hangs,
 * talks too much, is aborted or dies by a signal; then nothing of its process group is left.
 */
export type Exec = (request: ExecRequest) => Promise<ExecResult>

/** A program that failed. The message names the tool, its arguments and the first lines it wrote to stderr, printable. */
export class CommandError extends Error {
  readonly command: string
  readonly args: readonly string[]
  /** null = it never came to an exit status. */
  readonly exitCode: number | null
  readonly stderr: string

  constructor(request: ExecRequest, reason: string, exitCode: number | null, stderr: string, options?: { readonly cause?: unknown }) {
    const said = firstLines(stderr)
    super(`${commandText(request)}: ${reason}${said === '' ? '' : `: ${said}`}`, options)
    this.name = 'CommandError'
    this.command = request.command
    this.args = request.args
    this.exitCode = exitCode
    this.stderr = stderr
  }
}

export interface ExecOptions {
  /** Put in front of every command, e.g. `['nsenter', '--net=/run/netns/x']` in tests. */
  readonly wrap?: readonly string[]
  readonly path?: string
}

/** Where programs are looked for. */
export const toolPath = '/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin'
const defaultTimeoutMs = 30_000
const defaultMaxOutputBytes = 64 * 1024 * 1024

export function createExec(options: ExecOptions = {}): Exec {
  const wrap = options.wrap ?? []
  const env = { PATH: options.path ?? toolPath, LC_ALL: 'C' }
  return (request) => runProgram(request, wrap, env)
}

/** Runs and insists on exit status 0. Throws CommandError. */
export async function execOk(exec: Exec, request: ExecRequest): Promise<ExecResult> {
  const result = await exec(request)
  if (result.exitCode !== 0) throw new CommandError(request, `exit status ${result.exitCode}`, result.exitCode, result.stderr)
  return result
}

function commandText(request: ExecRequest): string {
  return printable([request.command, ...request.args].join(' '))
}

/** The first three lines that say something. */
function firstLines(stderr: string): string {
  const lines = stderr.split('\n').map((line) => line.trim()).filter((line) => line !== '')
  return printable(lines.slice(0, 3).join(' | '), 400)
}

async function runProgram(request: ExecRequest, wrap: readonly string[], env: NodeJS.ProcessEnv): Promise<ExecResult> {
  const started = performance.now()
  const [file, ...args] = [...wrap, request.command, ...request.args] as [string, ...string[]]
  // detached = own process group, so that a killed tool takes its children along
  const child = spawn(file, args, { env, detached: true, stdio: [request.input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'] })
  const limit = request.maxOutputBytes ?? defaultMaxOutputBytes
  const out: Buffer[] = []
  const err: Buffer[] = []
  let failure: { reason: string; cause?: unknown } | null = null

  const fail = (reason: string, cause?: unknown): void => {
    failure ??= { reason, cause }
    if (child.pid === undefined) return
    try {
      process.kill(-child.pid, 'SIGKILL')
    } catch (error) {
      // ESRCH: it ended by itself between the decision and the kill
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
    }
  }
  const collect = (into: Buffer[], what: string): ((chunk: Buffer) => void) => {
    let sizeBytes = 0
    return (chunk) => {
      sizeBytes += chunk.length
      if (sizeBytes > limit) fail(`wrote more than ${limit} bytes to ${what}`)
      else into.push(chunk)
    }
  }
  child.stdout!.on('data', collect(out, 'stdout'))
  child.stderr!.on('data', collect(err, 'stderr'))

  const timeoutMs = request.timeoutMs ?? defaultTimeoutMs
  const timer = setTimeout(() => fail(`no end after ${timeoutMs} ms, killed`), timeoutMs)
  const onAbort = (): void => fail('aborted', request.signal?.reason)
  if (request.signal?.aborted) onAbort()
  request.signal?.addEventListener('abort', onAbort, { once: true })

  const ended = new Promise<{ code: number | null; signal: NodeJS.Signals | null }>((resolve) => {
    child.on('error', (error) => {
      // without a pid no `close` follows
      failure ??= { reason: (error as NodeJS.ErrnoException).code === 'ENOENT' ? 'not found' : 'cannot be started', cause: error }
      if (child.pid === undefined) resolve({ code: null, signal: null })
    })
    child.on('close', (code, signal) => resolve({ code, signal }))
  })
  try {
    if (request.input !== undefined) {
      feed(child.stdin!, request.input, ended).catch((error: unknown) => fail('its input failed', error))
    }
    const { code, signal } = await ended
    const stderr = Buffer.concat(err).toString('utf8')
    const failed = failure as { reason: string; cause?: unknown } | null
    if (failed !== null) {
      throw new CommandError(request, failed.reason, null, stderr, failed.cause === undefined ? undefined : { cause: failed.cause })
    }
    if (code === null) throw new CommandError(request, `killed by ${signal}`, null, stderr)
    return { exitCode: code, stdout: Buffer.concat(out).toString('utf8'), stderr, elapsedMs: performance.now() - started }
  } finally {
    clearTimeout(timer)
    request.signal?.removeEventListener('abort', onAbort)
  }
}

async function feed(stdin: NodeJS.WritableStream, input: NonNullable<ExecRequest['input']>, ended: Promise<unknown>): Promise<void> {
  let open = true
  // EPIPE: the program ended before reading everything; its exit status tells what that means
  stdin.on('error', () => { open = false })
  void ended.then(() => { open = false })
  if (typeof input === 'string' || input instanceof Uint8Array) {
    stdin.end(input)
    return
  }
  for await (const chunk of input) {
    if (!open) return
    if (!stdin.write(chunk)) await Promise.race([once(stdin, 'drain').catch(() => undefined), ended])
  }
  stdin.end()
}
