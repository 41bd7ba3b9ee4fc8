// What is wrong with a configuration, as text: every mistake one line for log and status, and one error for a caller.
import { DerpanetError, errorCodes, printable, type ErrorCode } from '../errors.ts'
import { formatDiagnostic, type Diagnostic } from '../config/diagnostic.ts'
import type { Firewall } from '../model/firewall.ts'
import { resolve, type Problem } from '../model/resolve.ts'
import type { Runtime } from '../model/settings.ts'

/**
 * All mistakes of one configuration, never empty. Lines are `file:line:column: CODE: text`, for log and status; `first`
 * goes to callers of the bus and so holds place and code, never words of a file they may not be allowed to read.
 */
export interface Mistakes {
  readonly lines: readonly string[]
  readonly first: DerpanetError
}

/** null when nothing of it is an error. */
export function mistakesIn(diagnostics: readonly Diagnostic[], problems: readonly Problem[] = []): Mistakes | null {
  const errors = diagnostics.filter((diagnostic) => diagnostic.severity === 'error')
  const lines = [...errors.map((diagnostic) => formatDiagnostic(diagnostic, { caret: false })), ...problems.map(problemText)]
  if (lines.length === 0) return null
  const code = errors[0]?.code ?? problems[0]?.code ?? 'PARSE_ERROR'
  const place = errors[0] === undefined ? `${problemPlace(problems[0])}${problems[0]?.detail ?? ''}` : `${printable(errors[0].file)}:${errors[0].line}:${errors[0].column}`
  const more = lines.length === 1 ? '' : ` (and ${lines.length - 1} more ${lines.length === 2 ? 'mistake' : 'mistakes'}; derpanetctl check shows all)`
  return { lines, first: new DerpanetError(isErrorCode(code) ? code : 'PARSE_ERROR', `${place}${more}`) }
}

export function warningsIn(diagnostics: readonly Diagnostic[]): readonly string[] {
  return diagnostics.filter(({ severity }) => severity === 'warning').map((diagnostic) => formatDiagnostic(diagnostic, { caret: false }))
}

/** `file:line:column: CODE: text`. */
export function problemText(problem: Problem): string {
  return `${problemPlace(problem)}${problem.code}: ${problem.detail}`
}

function problemPlace(problem: Problem | undefined): string {
  const { file, position } = problem?.origin ?? {}
  if (file === undefined) return problem === undefined || problem.origin.text === '' ? '' : `${problem.origin.text}: `
  return position === undefined ? `${file}: ` : `${file}:${position.line}:${position.column}: `
}

function isErrorCode(code: string): code is ErrorCode {
  return Object.hasOwn(errorCodes, code)
}

/** Throws the first problem, as a caller of the bus may read it. */
export function resolved(runtime: Runtime): { readonly firewall: Firewall; readonly warnings: readonly Problem[] } {
  const { firewall, problems, warnings } = resolve(runtime)
  if (firewall === null) throw mistakesIn([], problems)?.first ?? new Error('resolve: no firewall and no problem')
  return { firewall, warnings }
}
