// derpanetctl log and diff: what was in force, when and by whom, and how it differs.
import { DerpanetError, printable } from '../errors.ts'
import type { HistoryEntry } from '../service.ts'
import { callDaemon, callJson } from './client.ts'
import { columns, out, outJson, type GlobalOptions } from './output.ts'

type Entry = HistoryEntry & { readonly isStored: boolean }

export async function log(options: GlobalOptions & Readonly<Record<string, unknown>>): Promise<number> {
  const count = String(options['lines'] ?? '30')
  if (!/^\d{1,6}$/.test(count)) throw new DerpanetError('INVALID_VALUE', `--lines takes a number, not '${printable(count)}'`)
  const entries = await callJson<readonly Entry[]>('Log', options.bus, { signature: 'i', body: [Number(count)] })
  if (options.json) outJson(entries)
  else out(formatLog(entries))
  return 0
}

/** A star marks what `undo` and `diff` know. */
export function formatLog(entries: readonly Entry[]): string {
  if (entries.length === 0) return 'nothing is recorded yet'
  const rows = entries.map((entry) => [
    `${entry.number}${entry.isStored ? ' *' : ''}`, entry.at.replace('T', ' ').replace(/\.\d+Z$/, ''), whoText(entry), entry.what, printable(entry.text, 200),
  ])
  return `${columns([['generation', 'when (UTC)', 'who', 'what', ''], ...rows])}\n* stored: derpanetctl undo NUMBER, derpanetctl diff NUMBER`
}

function whoText({ by, unit }: Entry): string {
  if (by.uid === undefined) return printable(by.name)
  return [`uid ${by.uid}`, ...(by.pid === undefined ? [] : [`pid ${by.pid}`]), ...(unit === undefined ? [] : [printable(unit)])].join(', ')
}

/** Exit status 0 whether there are differences or not. */
export async function diff(options: GlobalOptions, from: string | undefined, to: string | undefined): Promise<number> {
  const pair = from === undefined ? ['now', 'files'] : [from, to ?? 'now']
  const [lines] = await callDaemon('Difference', options.bus, { signature: 'ss', body: pair }) as readonly [readonly string[]]
  if (options.json) outJson(lines)
  else out(lines.length === 0 ? 'no difference' : lines.map((line) => printable(line, 500)).join('\n'))
  return 0
}
