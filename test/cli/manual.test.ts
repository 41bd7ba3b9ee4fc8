// The hand-written pages name every option and verb there is, and none that is not.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { createProgram } from '../../src/cli/program.ts'
import { optionNames, usage } from '../../src/options.ts'
import { errorCodes } from '../../src/errors.ts'

const folder = join(import.meta.dirname ?? new URL('.', import.meta.url).pathname, '../../packaging/man')
/** Without the escapes of the manual's language. */
const page = (name: string): string => readFileSync(join(folder, name), 'utf8').replaceAll('\\-', '-')

t.test('derpanetd(8) and --help name every option', (t) => {
  t.ok(optionNames.length > 10)
  for (const name of optionNames) {
    t.ok(page('derpanetd.8').includes(`--${name}`), `--${name} is in derpanetd(8)`)
    t.ok(usage.includes(`--${name}`), `--${name} is in derpanetd --help`)
  }
  const known = new Set<string>([...optionNames, 'timeout'])
  for (const [, name] of page('derpanetd.8').matchAll(/--([a-z-]+)/g)) t.ok(known.has(String(name)), `--${name} of derpanetd(8) exists`)
  t.end()
})

t.test('derpanetctl(1) names every verb and option', (t) => {
  const program = createProgram(() => {})
  const text = page('derpanetctl.1')
  t.ok(program.commands.length >= 6)
  for (const command of program.commands) t.match(text, new RegExp(`^\\.B[RI]? ${command.name()}\\b`, 'm'), `verb ${command.name()}`)
  for (const option of [...program.options, ...program.commands.flatMap(({ options }) => options)]) t.ok(text.includes(String(option.long)), String(option.long))
  t.end()
})

t.test('exit statuses of the pages are those of the program', (t) => {
  t.match([errorCodes.RUNNING_BUT_FAILED, errorCodes.NOT_RUNNING, errorCodes.NOT_AUTHORIZED, errorCodes.INVALID_PORT], [251, 252, 253, 102])
  for (const status of ['251', '252', '253', '102']) t.ok(page('derpanetctl.1').includes(status), status)
  t.end()
})
