import { readdirSync, readFileSync } from 'node:fs'
import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import { CommandError, createExec, execOk } from '../../src/kernel/exec.ts'

const exec = createExec()

t.test('a program gets its input and answers with status and both outputs', async (t) => {
  const result = await exec({ command: 'sh', args: ['-c', 'cat; echo oops >&2; exit 3'], input: 'hello' })
  t.match(result, { exitCode: 3, stdout: 'hello', stderr: 'oops\n' })
})

t.test('an iterable is written in order and whole', async (t) => {
  function* chunks(): Iterable<Uint8Array> {
    for (let i = 0; i < 200; i++) yield Buffer.alloc(10_000, 97 + (i % 26))
  }
  const { stdout } = await exec({ command: 'wc', args: ['-c'], input: chunks() })
  t.equal(stdout.trim(), '2000000')
})

t.test('a program that does not read its input is no failure', async (t) => {
  const result = await exec({ command: 'true', args: [], input: 'x'.repeat(4_000_000) })
  t.equal(result.exitCode, 0)
})

t.test('whatever happens to them, a hundred programs leave no descriptor and no child behind', async (t) => {
  function* slowly(): Iterable<string> {
    for (let i = 0; i < 3; i++) yield 'x'.repeat(100_000)
  }
  const descriptors = (): number => readdirSync('/proc/self/fd').length
  await exec({ command: 'true', args: [] })
  const before = descriptors()
  for (let i = 0; i < 20; i++) {
    await Promise.all([
      exec({ command: 'cat', args: [], input: 'hello' }),
      exec({ command: 'true', args: [], input: slowly() }),
      exec({ command: 'sh', args: ['-c', 'exec >&- 2>&-; sleep 0.01'] }),
      exec({ command: 'derpa-none', args: [], input: 'x' }).catch(() => undefined),
      exec({ command: 'sleep', args: ['30'], input: slowly(), timeoutMs: 5 }).catch(() => undefined),
    ])
  }
  await pause(20)
  t.ok(descriptors() <= before, `${descriptors()} descriptors, before ${before}`)
  t.equal(readFileSync(`/proc/self/task/${process.pid}/children`, 'utf8'), '')
})

t.test('the environment holds PATH and LC_ALL and nothing else', async (t) => {
  process.env.DERPANET_SECRET = 'x'
  const { stdout } = await exec({ command: 'env', args: [] })
  const names = stdout.trim().split('\n').map((line) => line.split('=')[0] ?? '')
  // tap's own spawn hook adds names of its own
  t.same(names.filter((name) => !/TAPJS|NODE_OPTIONS/.test(name)).sort(), ['LC_ALL', 'PATH'])
})

t.test('a hanging program and its children are killed at the time limit', async (t) => {
  const started = Date.now()
  const error = await exec({ command: 'sh', args: ['-c', 'sleep 31.7 & sleep 31.7'], timeoutMs: 150 }).catch((caught: unknown) => caught)
  t.ok(error instanceof CommandError)
  t.match((error as Error).message, /sleep 31\.7.*: no end after 150 ms, killed/)
  t.ok(Date.now() - started < 5000, 'the pipes were closed, so no child is left')
})

t.test('too much output is an error, not a cut', async (t) => {
  await t.rejects(exec({ command: 'yes', args: [], maxOutputBytes: 1000 }), { message: /wrote more than 1000 bytes to stdout/ })
})

t.test('an abort kills it', async (t) => {
  const signal = AbortSignal.timeout(50)
  await t.rejects(exec({ command: 'sleep', args: ['30'], signal }), { message: /sleep 30: aborted/ })
})

t.test('a missing program is named', async (t) => {
  await t.rejects(exec({ command: 'derpa-none', args: ['-x'] }), { message: 'derpa-none -x: not found', exitCode: null })
})

t.test('execOk tells tool, arguments, status and the first lines of stderr, harmless to a terminal', async (t) => {
  const error = await execOk(exec, { command: 'sh', args: ['-c', 'printf "a\\033[31m\\nb\\nc\\nd\\n" >&2; exit 2'] }).catch((caught: unknown) => caught as CommandError)
  t.ok(error instanceof CommandError)
  if (!(error instanceof CommandError)) return
  t.equal(error.exitCode, 2)
  t.match(error.message, /: exit status 2: a\\x1b\[31m \| b \| c$/)
})

t.test('an argument is never seen by a shell', async (t) => {
  const { stdout } = await exec({ command: 'printf', args: ['%s', '$(id); `id`'] })
  t.equal(stdout, '$(id); `id`')
})
