// Logging: pino in front, one of four ways out behind it. Constant messages, values in fields; every foreign string
// passes printable() here, so that callers need not remember it.
import { createRequire } from 'node:module'
import { existsSync, fstatSync } from 'node:fs'
import { destination, pino } from 'pino'
import { printable } from './errors.ts'

export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'fatal'
export type LogFields = Readonly<Record<string, unknown>>

/** What every part of the daemon takes as its `log`: fields first, then one constant sentence. */
export interface Log {
  debug(fields: LogFields, message: string): void
  info(fields: LogFields, message: string): void
  warn(fields: LogFields, message: string): void
  error(fields: LogFields, message: string): void
  fatal(fields: LogFields, message: string): void
}

/**
 * journald = native fields · syslog = `<6>text` lines, which systemd turns into priorities · json = one object a line ·
 * pretty = for a person at a terminal.
 */
export type LogFormat = 'journald' | 'syslog' | 'json' | 'pretty'

export interface LogOptions {
  /** Default: chosen by {@link chooseFormat}. */
  readonly format?: LogFormat
  readonly level?: LogLevel
  /** Takes each finished line (with its newline) instead of standard output: tests. Never called for `journald`. */
  readonly write?: (line: string) => void
  /** Everything goes there too, as `2026-01-02 03:04:05 WARNING: text`, the way firewalld writes its log. */
  readonly file?: string
}

interface Journal {
  send(priority: number, message: string, fields: Readonly<Record<string, string>>): void
}

const syslogPriorities: Readonly<Record<LogLevel, number>> = { debug: 7, info: 6, warn: 4, error: 3, fatal: 2 }
const maxTextChars = 2000
const maxDepth = 4

/** Throws when `journald` is asked for and its module or socket is missing. */
export function createLog(options: LogOptions = {}): Log {
  const journal = options.format === undefined || options.format === 'journald' ? openJournal() : null
  const format = options.format ?? chooseFormat(process.env, journal !== null, process.stdout.isTTY === true)
  if (format === 'journald' && journal === null) throw new Error('journald: module systemd-journald or its socket is missing')
  const stdout = options.write === undefined && format !== 'journald' ? destination({ fd: 1, sync: true }) : null
  const write = options.write ?? ((line: string) => void stdout?.write(line))
  const file = options.file === undefined ? null : destination({ dest: options.file, append: true, sync: true })
  const writeLine = (line: string): void => {
    const parsed = format === 'json' && file === null ? null : JSON.parse(line) as Line
    if (format === 'json') write(line)
    else if (parsed !== null) emit(parsed)
    if (file !== null && parsed !== null) file.write(fileLine(parsed))
  }
  const sink = options.write === undefined ? behindAnswers(writeLine) : { write: writeLine }

  function emit(line: Line): void {
    const { level, time, msg, ...fields } = line
    const text = fieldsText(fields)
    const message = text === '' ? msg : `${msg} ${text}`
    if (format === 'journald') journal?.send(syslogPriorities[level], message, journalFields(fields))
    else if (format === 'syslog') write(`<${syslogPriorities[level]}>${message}\n`)
    else write(`${new Date(time).toISOString().slice(11, 23)} ${level.padEnd(5)} ${message}\n`)
  }

  function fileLine({ level, time, msg, ...fields }: Line): string {
    const text = fieldsText(fields)
    const word = level === 'warn' ? 'WARNING' : level.toUpperCase()
    return `${new Date(time).toISOString().slice(0, 19).replace('T', ' ')} ${word}: ${text === '' ? msg : `${msg} ${text}`}\n`
  }

  return pino({
    level: options.level ?? 'info',
    base: null,
    formatters: { level: (label) => ({ level: label }), log: (fields) => cleanFields(fields) },
    serializers: {},
  }, sink) as unknown as Log
}

/**
 * Nobody waits for a line that only tells what went well: it is written when the answers of this turn have left. What is a
 * warning or worse takes everything before it out at once, and so does the end of the program.
 */
export function behindAnswers(writeLine: (line: string) => void): { write(line: string): void } {
  let waiting: string[] = []
  const writeAll = (): void => {
    const lines = waiting
    waiting = []
    for (const line of lines) writeLine(line)
  }
  process.on('exit', writeAll)
  return {
    // pino's way to tell a destination the level of what it writes
    [Symbol.for('pino.metadata')]: true,
    lastLevel: 0,
    write(line: string): void {
      waiting.push(line)
      if (this.lastLevel >= pino.levels.values['warn']!) writeAll()
      else if (waiting.length === 1) setImmediate(writeAll)
    },
  } as { lastLevel: number; write(line: string): void }
}

/** A log that keeps nothing: for offline commands and tests that look elsewhere. */
export const silentLog: Log = { debug() {}, info() {}, warn() {}, error() {}, fatal() {} }

/**
 * One line that says what was chosen and the facts in the order of reasoning:
 * `decision: configuration files=broken last-known-good=41 chosen=last-known-good`.
 */
export function decision(log: Log, subject: string, reasons: Readonly<Record<string, string | number | boolean | null>>): void {
  const facts = Object.entries(reasons).map(([key, value]) => `${key}=${quoteIfNeeded(printable(String(value)))}`)
  log.info({ decision: `${subject} ${facts.join(' ')}` }, 'decision')
}

/**
 * systemd sets JOURNAL_STREAM to the device and inode of the socket it gave as standard error: only then are we a unit
 * and not a person's or a test's child, whose output must not land in the machine's journal.
 */
export function chooseFormat(env: NodeJS.ProcessEnv, hasJournal: boolean, isTty: boolean): LogFormat {
  if (isTty) return 'pretty'
  if (!isJournalStream(env['JOURNAL_STREAM'])) return 'json'
  return hasJournal ? 'journald' : 'syslog'
}

function isJournalStream(stream: string | undefined): boolean {
  if (stream === undefined) return false
  return [1, 2].some((fd) => {
    const file = fstatSync(fd)
    return stream === `${file.dev}:${file.ino}`
  })
}

interface Line {
  readonly level: LogLevel
  readonly time: number
  readonly msg: string
  readonly [key: string]: unknown
}

/** null when the machine has no journal, or the module was not built (no compiler, --ignore-scripts). */
function openJournal(): Journal | null {
  if (process.env['JOURNAL_STREAM'] === undefined || !existsSync('/run/systemd/journal/socket')) return null
  try {
    const Journald = createRequire(import.meta.url)('systemd-journald') as new (defaults: object) => Record<string, (text: string, fields: object) => void>
    const sender = new Journald({ syslog_identifier: 'derpanetd' })
    const methods = ['emerg', 'alert', 'crit', 'err', 'warning', 'notice', 'info', 'debug'] as const
    return { send: (priority, message, fields) => sender[methods[priority] ?? 'info']?.(message, fields) }
  } catch {
    // Optional by design: systemd understands the priority prefix of `syslog` lines just as well.
    return null
  }
}

/** Journal field names are [A-Z0-9_]; the prefix keeps ours apart from the well-known ones. */
function journalFields(fields: LogFields): Record<string, string> {
  const named = Object.entries(fields).map(([key, value]) => [`DERPANET_${key.replace(/[^A-Za-z0-9]/g, '_')}`, valueText(value)] as const)
  return Object.fromEntries(named)
}

function fieldsText(fields: LogFields): string {
  return Object.entries(fields).map(([key, value]) => (key === 'decision' ? valueText(value) : `${key}=${quoteIfNeeded(valueText(value))}`)).join(' ')
}

function valueText(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value) ?? 'undefined'
}

function quoteIfNeeded(text: string): string {
  return text === '' || /[\s"=]/.test(text) ? JSON.stringify(text) : text
}

function cleanFields(fields: Record<string, unknown>): Record<string, unknown> {
  return clean(fields, 0) as Record<string, unknown>
}

/** Errors keep their stack: bugs go to the journal, never to a caller. */
function clean(value: unknown, depth: number): unknown {
  if (typeof value === 'string') return printable(value, maxTextChars)
  if (typeof value === 'bigint') return value.toString()
  if (value === null || typeof value !== 'object') return value
  if (value instanceof Error) return value.stack === undefined ? printable(value.message, maxTextChars) : value.stack.split('\n').slice(0, 8).map((line) => printable(line, maxTextChars)).join(' | ') + causeText(value.cause, depth)
  if (depth >= maxDepth) return '…'
  if (Array.isArray(value)) return value.slice(0, 100).map((item) => clean(item, depth + 1))
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [printable(key), clean(item, depth + 1)]))
}

function causeText(cause: unknown, depth: number): string {
  return cause === undefined || depth >= maxDepth ? '' : ` | caused by: ${valueText(clean(cause, depth + 1))}`
}
