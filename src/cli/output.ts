// How derpanetctl writes: columns for people, JSON for programs, and errors with firewalld's exit statuses.
import { DerpanetError, printable } from '../errors.ts'

/** Options that every verb has. */
export interface GlobalOptions {
  readonly json?: true
  readonly root?: string
  readonly configDir?: string
  readonly libDir?: string
  readonly vendorDir?: string
  readonly bus?: string
}

export const out = (text: string): void => void process.stdout.write(text.endsWith('\n') ? text : `${text}\n`)

export function outJson(value: unknown): void {
  out(JSON.stringify(value, (_key, item: unknown) => (typeof item === 'bigint' ? item.toString() : item instanceof Map ? Object.fromEntries(item) : item), 2))
}

/** Columns as wide as their longest cell, two spaces between, no trailing spaces. Numbers (cells of digits) stand right. */
export function columns(rows: readonly (readonly string[])[]): string {
  const widths: number[] = []
  for (const row of rows) row.forEach((cell, index) => { widths[index] = Math.max(widths[index] ?? 0, cell.length) })
  const line = (row: readonly string[]): string => row.map((cell, index) => (/^\d+$/.test(cell) ? cell.padStart(widths[index] ?? 0) : cell.padEnd(widths[index] ?? 0))).join('  ')
  return rows.map((row) => line(row).trimEnd()).join('\n')
}

/** Prints what went wrong and returns the exit status. Bugs show their stack: this program is the user's own. */
export function reportError(error: unknown, json: boolean): number {
  if (error instanceof DerpanetError) {
    if (json) outJson({ error: { code: error.code, text: error.detail, exitStatus: error.exitStatus } })
    else process.stderr.write(`derpanetctl: ${error.code === 'NOT_RUNNING' && error.detail !== '' ? error.detail : printable(error.message, 2000)}\n`)
    return error.exitStatus
  }
  process.stderr.write(`derpanetctl: ${(error as Error).stack ?? String(error)}\n`)
  return 254
}
