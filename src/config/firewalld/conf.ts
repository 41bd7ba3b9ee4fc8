// firewalld.conf: KEY=value lines. As in firewalld nothing in it is an error: what is not understood is a warning and the
// default holds. Writing changes one line and leaves all others as they are.
import type { ErrorCode } from '../../errors.ts'
import { printable } from '../../errors.ts'
import type { MainSettings, Position } from '../../model/settings.ts'
import { defaultMain } from '../../model/settings.ts'
import type { Face } from '../../settings/dict.ts'
import { confKey, confKeys, confWords, isYes } from '../../settings/firewalld-conf.ts'
import type { Diagnostic } from '../diagnostic.ts'

export interface Conf {
  /** Valid values by key, as written; a key that is not there has its default. */
  readonly values: ReadonlyMap<string, string>
  readonly positions: ReadonlyMap<string, Position>
  /** Warnings only. */
  readonly diagnostics: readonly Diagnostic[]
}

type Line =
  | { readonly kind: 'other' }
  | { readonly kind: 'wrong'; readonly code: ErrorCode; readonly text: string }
  | { readonly kind: 'empty'; readonly key: string }
  | { readonly kind: 'value'; readonly key: string; readonly value: string; readonly start: number; readonly end: number }

/** `start` and `end` are the columns of the value in the line. */
function readLine(line: string): Line {
  const text = line.trim()
  if (text === '' || text.startsWith('#') || text.startsWith(';')) return { kind: 'other' }
  const match = /^\s*([^=]*?)\s*=\s*([^=]*?)\s*$/.exec(line)
  if (match === null) return { kind: 'wrong', code: 'PARSE_ERROR', text: `Invalid option definition: '${printable(text)}'` }
  const [, key = '', value = ''] = match
  if (confKey(key) === null) return { kind: 'wrong', code: 'INVALID_OPTION', text: `Invalid option: '${printable(text)}'` }
  if (value === '') return { kind: 'empty', key }
  const start = line.indexOf(value, line.indexOf('=') + 1)
  return { kind: 'value', key, value, start, end: start + value.length }
}

/** UTF-8, or ISO-8859-1 where it is none: a remark in an old encoding is no reason to lose a default zone. */
export function decodeConf(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    return Buffer.from(bytes).toString('latin1')
  }
}

/** The first definition of a key counts. Never throws for any text. */
export function parseConf(file: string, text: string, face: Face): Conf {
  const values = new Map<string, string>()
  const positions = new Map<string, Position>()
  const diagnostics: Diagnostic[] = []
  text.replace(/^\ufeff/, '').split('\n').forEach((sourceLine, index) => {
    const warn = (code: ErrorCode, message: string, column = 1): void => {
      diagnostics.push({ severity: 'warning', code, file, line: index + 1, column, text: message, sourceLine: sourceLine.slice(0, 4096) })
    }
    const line = readLine(sourceLine)
    switch (line.kind) {
      case 'other': return
      case 'wrong': return warn(line.code, line.text)
      case 'empty': return warn('INVALID_VALUE', `Missing value: '${line.key}='`)
      case 'value': {
        const key = confKey(line.key)!
        if (positions.has(line.key)) return warn('ALREADY_SET', `Duplicate option definition: '${printable(sourceLine.trim())}'`)
        positions.set(line.key, { line: index + 1, column: line.start + 1 })
        if (key.defaults[face] === undefined) return warn('INVALID_OPTION', `Invalid option: '${printable(sourceLine.trim())}'`)
        if (key.isValid(line.value, face)) values.set(line.key, line.value)
        else warn('INVALID_VALUE', `${line.key} '${printable(line.value)}' is not valid, using default value '${key.defaults[face]}'`, line.start + 1)
      }
    }
  })
  return { values, positions, diagnostics }
}

/**
 * What the keys mean for derpanet. Keys that are none of ours are kept in `firewalld` unless they say the face's default; what
 * this firewalld cannot say is as in `base`.
 */
export function mainOfConf(values: ReadonlyMap<string, string>, face: Face, base: MainSettings = defaultMain): MainSettings {
  const stored = [...values].filter(([name, value]) => confKey(name)?.meaning === undefined && confKey(name)?.defaults[face] !== value)
  const meant = confKeys.map(({ name, meaning, defaults }) => {
    const fallback = defaults[face]
    return meaning === undefined || fallback === undefined ? {} : meaning.read(values.get(name) ?? fallback)
  })
  return {
    ...Object.assign({}, base, ...meant) as MainSettings,
    onStop: isYes(values.get('CleanupOnExit') ?? 'yes') ? 'open' : 'keep',
    firewalld: Object.fromEntries(stored),
  }
}

/** Inverse of {@link mainOfConf}: the values that differ from the face's defaults, as far as it has words for them. */
export function confOfMain(main: MainSettings, face: Face): ReadonlyMap<string, string> {
  const values = new Map([...confWords(main, face), ['CleanupOnExit', main.onStop === 'open' ? 'yes' : 'no']])
  return new Map([...values].filter(([name, value]) => {
    const key = confKey(name)
    return key !== null && key.defaults[face] !== undefined && key.defaults[face] !== value && key.isValid(value, face)
  }))
}

/**
 * The text with `key` set to `value`: in the line that counts, or else in one without a value, or else at the end.
 * Comments, order and lines that nobody understands stay.
 */
export function replaceConfValue(text: string, key: string, value: string): string {
  const lines = text.split('\n')
  const read = lines.map(readLine)
  const counts = read.findIndex((line) => line.kind === 'value' && line.key === key)
  const at = counts >= 0 ? counts : read.findIndex((line) => line.kind === 'empty' && line.key === key)
  if (at < 0) return `${text}${text === '' || text.endsWith('\n') ? '' : '\n'}${key}=${value}\n`
  const line = read[at]!
  const before = lines[at]!
  lines[at] = line.kind === 'value' ? `${before.slice(0, line.start)}${value}${before.slice(line.end)}` : `${before.replace(/=\s*$/, '=')}${value}`
  return lines.join('\n')
}

/** A whole file with everything at its default but `values`. */
export function formatConf(values: ReadonlyMap<string, string>, face: Face): string {
  const blocks = confKeys.filter((key) => key.defaults[face] !== undefined && (key.shipped.includes(face) || values.has(key.name))).map((key) =>
    `# ${key.name}: ${key.values}\n# Default: ${key.defaults[face]}\n${key.name}=${values.get(key.name) ?? key.defaults[face]}\n`)
  return `# Configuration of the firewall daemon; see firewalld.conf(5).\n\n${blocks.join('\n')}`
}
