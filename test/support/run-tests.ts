// Runs every test file under tap and says what came of it: one line a file, everything about failures, and as the last line
// "N passed, M failed, K skipped", counted in assertions. As root a skipped test is a failure: the machine could have run it.
// A test that nobody can run here says so by a title or reason that begins with "todo:"; it counts as skipped.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Parser, type Result } from 'tap-parser'

const root = fileURLToPath(new URL('../..', import.meta.url))
const isRoot = process.getuid?.() === 0

interface Outcome {
  readonly file: string
  readonly passed: number
  readonly failed: readonly string[]
  /** What tap says of each failed assertion: found, wanted, where. */
  readonly why: readonly string[]
  readonly skipped: readonly string[]
  readonly output: string
  readonly elapsedMs: number
}

/** A file belongs to the root suites when it builds namespaces or loads programs: then two at a time, they share two cores. */
function needsMachine(file: string): boolean {
  return /private-host|unshare|netns|whyNoRoot|getuid/.test(readFileSync(join(root, file), 'utf8'))
}

/** A file that holds the host to milliseconds or floods it: nothing runs beside it. */
function needsQuiet(file: string): boolean {
  return readFileSync(join(root, file), 'utf8').includes('// TEST_ALONE')
}

function testFiles(folder: string): string[] {
  return readdirSync(join(root, folder), { withFileTypes: true }).flatMap((found) => {
    const path = join(folder, found.name)
    return found.isDirectory() ? testFiles(path) : found.name.endsWith('.test.ts') ? [path] : []
  }).sort()
}

async function runFile(file: string): Promise<Outcome> {
  const started = Date.now()
  const child = spawn(process.execPath, ['--import=tsx', file], {
    cwd: root, stdio: ['ignore', 'pipe', 'pipe'], detached: true, env: { ...process.env, TAP: '1', TAP_TIMEOUT: '0' },
  })
  const failed: string[] = []
  const why: string[] = []
  const skipped: string[] = []
  let passed = 0
  let output = ''
  const parser = new Parser()
  parser.on('result', (result: Result) => {
    const name = [...(result.fullname ?? '').split(' > '), result.name].filter((part) => part !== '').join(' > ')
    if (result.skip !== false && result.skip !== undefined) skipped.push(`${result.name} (${String(result.skip)})`)
    else if (result.ok || (result.todo !== false && result.todo !== undefined)) passed++
    else {
      failed.push(name)
      why.push(`${name}\n${JSON.stringify(result.diag ?? 'no diagnosis', null, 2)}`)
    }
  })
  const whole = new Promise<{ ok: boolean; bailout: unknown }>((resolve) => parser.on('complete', (end) => resolve(end)))
  child.stdout.on('data', (chunk: Buffer) => {
    output += chunk.toString()
    parser.write(chunk)
  })
  child.stderr.on('data', (chunk: Buffer) => { output += chunk.toString() })
  const text = readFileSync(join(root, file), 'utf8')
  const fullLimit = process.env['DERPANET_TEST_FULL'] === '1' ? /TEST_TIMEOUT_FULL_SEC=(\d+)/.exec(text)?.[1] : undefined
  const limitMs = fullLimit ?? /TEST_TIMEOUT_SEC=(\d+)/.exec(text)?.[1]
  let late = false
  const timer = setTimeout(() => {
    late = true
    if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL')
  }, Number(limitMs ?? 180) * 1000)
  const [code, signal] = await once(child, 'close') as [number | null, NodeJS.Signals | null]
  clearTimeout(timer)
  parser.end()
  const end = await whole
  if (late) failed.push(`${file}: not done after ${limitMs ?? 180} s`)
  else if (code !== 0 && failed.length === 0) failed.push(`${file}: ended with ${signal ?? `status ${code}`}`)
  else if (!end.ok && failed.length === 0) failed.push(`${file}: ${end.bailout === false ? 'its TAP is broken or incomplete' : String(end.bailout)}`)
  else if (passed + failed.length + skipped.length === 0) failed.push(`${file}: it tests nothing`)
  return { file, passed, failed, why, skipped, output, elapsedMs: Date.now() - started }
}

const outcomes: Outcome[] = []

function report(outcome: Outcome): void {
  outcomes.push(outcome)
  const bad = outcome.failed.length > 0
  const counts = `${outcome.passed} passed${bad ? `, ${outcome.failed.length} FAILED` : ''}${outcome.skipped.length > 0 ? `, ${outcome.skipped.length} skipped` : ''}`
  console.log(`${bad ? 'not ok' : 'ok    '} ${outcome.file.padEnd(52)} ${(outcome.elapsedMs / 1000).toFixed(1).padStart(6)} s  ${counts}`)
  // seeds are worth keeping also when all is well
  for (const line of outcome.output.split('\n')) if (/^\s*# .*DERPANET_SEED=/.test(line)) console.log(`       ${line.trim()}`)
  for (const line of outcome.skipped) console.log(`       skipped: ${line}`)
  for (const name of outcome.failed) console.log(`       failed: ${name}`)
  // the diagnoses first, then the end of the output: what ended a file that has none
  const last = outcome.output.trimEnd().split('\n').slice(-60)
  if (bad) console.log([...outcome.why, ...last].flatMap((text) => text.split('\n')).map((line) => `    | ${line}`).join('\n'))
}

async function runAll(files: readonly string[], atOnce: number): Promise<void> {
  const queue = [...files]
  await Promise.all(Array.from({ length: atOnce }, async () => {
    for (let file = queue.shift(); file !== undefined; file = queue.shift()) report(await runFile(file))
  }))
}

const asked = process.argv.slice(2).map((file) => relative(root, join(process.cwd(), file)))
const files = asked.length > 0 ? asked : testFiles('test')
const quiet = files.filter(needsQuiet)
const machine = files.filter((file) => needsMachine(file) && !quiet.includes(file))
const started = Date.now()
await runAll(files.filter((file) => !machine.includes(file) && !quiet.includes(file)), 2)
await runAll(machine, 2)
await runAll(quiet, 1)

const passed = outcomes.reduce((sum, one) => sum + one.passed, 0)
const skips = outcomes.flatMap((one) => one.skipped)
const forbidden = isRoot ? skips.filter((skip) => !/^todo:|\(todo:/.test(skip)) : []
const failures = [...outcomes.flatMap((one) => one.failed), ...forbidden.map((skip) => `skipped although root: ${skip}`)]
console.log(`\n${outcomes.length} files in ${Math.round((Date.now() - started) / 1000)} s`)
for (const failure of failures) console.log(`failed: ${failure}`)
console.log(`${passed} passed, ${failures.length} failed, ${skips.length - forbidden.length} skipped`)
process.exit(failures.length === 0 ? 0 : 1)
