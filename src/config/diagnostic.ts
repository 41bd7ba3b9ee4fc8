// A mistake in a file, as data, and the text a person sees: `file:line:column: CODE: text` with the line and a caret.
import type { ErrorCode } from '../errors.ts'
import { printable } from '../errors.ts'

export interface Diagnostic {
  readonly severity: 'error' | 'warning'
  readonly code: ErrorCode
  /** Absolute path, or what the caller of the parser named it. */
  readonly file: string
  /** 1-based; 1:1 for a mistake of the file as a whole. Columns count UTF-16 units. */
  readonly line: number
  readonly column: number
  /** One line, for a person who may read the file: it can repeat a word of it. */
  readonly text: string
  /** The line the mistake is in; absent where no text of the file is at hand. */
  readonly sourceLine?: string
}

const shownChars = 100

function caretLines(line: number, column: number, sourceLine: string): string {
  const plain = sourceLine.replaceAll('\t', ' ')
  const start = Math.max(0, column - 1 - Math.floor(shownChars * 0.6))
  const cut = plain.slice(start, start + shownChars)
  const before = printable(cut.slice(0, column - 1 - start), Infinity)
  const lead = start > 0 ? '…' : ''
  const tail = start + shownChars < plain.length ? '…' : ''
  const margin = String(line).padStart(6)
  return `${margin} | ${lead}${printable(cut, Infinity)}${tail}\n${' '.repeat(margin.length)} | ${' '.repeat(lead.length + before.length)}^`
}

/**
 * For a person: `file:line:column: CODE: text`, a warning marked as one, with `caret` the line and a caret below it.
 * For the bus (`audience: 'bus'`): position and code alone, because the caller may not be allowed to read the file.
 */
export function formatDiagnostic(
  diagnostic: Diagnostic, options: { readonly caret?: boolean; readonly audience?: 'person' | 'bus' } = {},
): string {
  const { severity, code, file, line, column, text, sourceLine } = diagnostic
  const place = `${printable(file, 4096)}:${line}:${column}: ${severity === 'warning' ? 'warning: ' : ''}${code}`
  if (options.audience === 'bus') return place
  const head = `${place}: ${printable(text, 500)}`
  return options.caret && sourceLine !== undefined ? `${head}\n${caretLines(line, column, sourceLine)}` : head
}

/** By file, then place; errors before warnings at the same place. */
export function sortDiagnostics(diagnostics: readonly Diagnostic[]): Diagnostic[] {
  const rank = (diagnostic: Diagnostic): number => diagnostic.severity === 'error' ? 0 : 1
  return [...diagnostics].sort((a, b) =>
    (a.file < b.file ? -1 : a.file > b.file ? 1 : 0) || a.line - b.line || a.column - b.column || rank(a) - rank(b))
}

export function hasErrors(diagnostics: readonly Diagnostic[]): boolean {
  return diagnostics.some((diagnostic) => diagnostic.severity === 'error')
}
