import { spawnSync } from 'node:child_process'
import { pino } from 'pino'
import t from 'tap'
import { behindAnswers, chooseFormat, createLog, decision, type LogFormat } from '../src/log.ts'
import { createNotifier } from '../src/notify.ts'

function lines(format: LogFormat, use: (log: ReturnType<typeof createLog>) => void): string[] {
  const written: string[] = []
  use(createLog({ format, level: 'debug', write: (line) => void written.push(line) }))
  return written
}

t.test('JSON lines hold message and fields apart', (t) => {
  const [line] = lines('json', (log) => log.info({ generation: 7, packets: 3n }, 'change is in force'))
  t.match(JSON.parse(String(line)), { level: 'info', msg: 'change is in force', generation: 7, packets: '3' })
  t.end()
})

t.test('syslog lines carry the priority that systemd understands', (t) => {
  t.strictSame(lines('syslog', (log) => {
    log.debug({}, 'a')
    log.warn({ file: 'x y' }, 'b')
    log.error({ mistakes: ['p', 'q'] }, 'c')
  }), ['<7>a\n', '<4>b file="x y"\n', '<3>c mistakes="[\\"p\\",\\"q\\"]"\n'])
  t.end()
})

t.test('a terminal gets time, level and text', (t) => {
  t.match(lines('pretty', (log) => log.info({ zone: 'public' }, 'hello'))[0], /^\d\d:\d\d:\d\d\.\d{3} info  hello zone=public\n$/)
  t.end()
})

t.test('a decision is one line, key=value in the order of reasoning', (t) => {
  const [line] = lines('syslog', (log) => decision(log, 'configuration', { files: '2 mistakes', 'last-known-good': 41, chosen: 'last-known-good' }))
  t.equal(line, '<6>decision configuration files="2 mistakes" last-known-good=41 chosen=last-known-good\n')
  t.end()
})

t.test('control characters and direction overrides of foreign text never reach the output', (t) => {
  for (const format of ['json', 'syslog', 'pretty'] as const) {
    const [line] = lines(format, (log) => log.info({ name: 'a\u001b[31m\nb\u202e', nested: { list: ['\u0007'] }, error: new Error('bad\u001b') }, 'foreign'))
    t.notMatch(String(line).trimEnd(), /[\u0000-\u001f\u007f-\u009f\u202a-\u202e]/, format)
    t.match(line, /\\x1b/, `${format}: they are shown escaped`)
  }
  t.end()
})

t.test('the journal is used only by a unit', (t) => {
  t.equal(chooseFormat({}, true, false), 'json', 'a child of a test on a machine with a journal stays out of it')
  t.equal(chooseFormat({ JOURNAL_STREAM: '1:2' }, true, false), 'json', 'inherited from a parent unit, but our output goes elsewhere')
  t.equal(chooseFormat({}, true, true), 'pretty')
  t.end()
})

t.test('sd_notify: ready, reloading and watchdog are told, and nothing without a socket', (t) => {
  const told: string[] = []
  const notify = createNotifier({ NOTIFY_SOCKET: '/run/x', WATCHDOG_USEC: '60000000' }, (state) => void told.push(state))
  notify.ready('RUNNING,\ngeneration 3')
  notify.reloading()
  notify.watchdog()
  t.equal(told[0], 'READY=1\nSTATUS=RUNNING, generation 3')
  t.match(told[1], /^RELOADING=1\nMONOTONIC_USEC=\d+$/)
  t.equal(told[2], 'WATCHDOG=1')
  t.equal(notify.watchdogIntervalMs, 20_000, 'a third of the limit')
  const silent = createNotifier({}, () => t.fail('nobody asked'))
  silent.ready('')
  t.equal(silent.watchdogIntervalMs, null)
  t.equal(createNotifier({ NOTIFY_SOCKET: 'x', WATCHDOG_USEC: '1000000', WATCHDOG_PID: '1' }, () => {}).watchdogIntervalMs, null, 'meant for another process')
  t.end()
})

t.test('lines of what went well are written when the turn is over, in their order; a warning takes them out at once', async (t) => {
  const written: string[] = []
  const sink = behindAnswers((line) => void written.push(line))
  const log = pino({ level: 'debug', base: null, timestamp: false, formatters: { level: (level) => ({ level }) } }, sink)
  log.info('one')
  log.debug('two')
  t.strictSame(written, [], 'whoever waits for an answer does not wait for these')
  await new Promise((resolve) => setImmediate(resolve))
  t.strictSame(written, ['{"level":"info","msg":"one"}\n', '{"level":"debug","msg":"two"}\n'])
  log.info('three')
  log.warn('four')
  t.strictSame(written.slice(2), ['{"level":"info","msg":"three"}\n', '{"level":"warn","msg":"four"}\n'], 'nothing is lost when the program dies of what it warned of')
  await new Promise((resolve) => setImmediate(resolve))
  t.equal(written.length, 4, 'each once')
})

t.test('what waits to be written is written when the program ends', (t) => {
  const program = `import { createLog } from './src/log.ts'\nconst log = createLog({ format: 'syslog' })\nlog.info({}, 'last words')\nprocess.exit(3)\n`
  const ran = spawnSync(process.execPath, ['--import=tsx', '--input-type=module', '-e', program], { encoding: 'utf8' })
  t.equal(ran.stdout, '<6>last words\n')
  t.equal(ran.status, 3)
  t.end()
})
