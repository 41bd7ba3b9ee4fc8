// derpanetctl status: is it filtering, with what, and what should a person know?
import { printable } from '../errors.ts'
import type { ServiceStatus } from '../service.ts'
import { callJson } from './client.ts'
import { out, outJson, type GlobalOptions } from './output.ts'

const sources: Readonly<Record<ServiceStatus['source'], string>> = {
  files: 'the files',
  'last-known-good': 'LAST KNOWN GOOD, because the files could not be enforced',
  builtin: 'BUILT-IN DEFAULTS, because neither the files nor a stored configuration could be enforced',
}

/** Exit status 0 when running, 251 when running with a broken configuration, 252 when not running. */
export async function status(options: GlobalOptions): Promise<number> {
  const found = await callJson<ServiceStatus>('Status', options.bus)
  if (options.json) outJson(found)
  else out(formatStatus(found))
  return found.state === 'FAILED' ? 251 : found.state === 'RUNNING' ? 0 : 252
}

export function formatStatus(found: ServiceStatus): string {
  const lines = [
    `derpanetd ${found.version}: ${found.state}`,
    `  generation    ${found.generation}`,
    `  configuration ${sources[found.source]}`,
    `  default zone  ${printable(found.defaultZone)}`,
    `  panic         ${found.panic ? 'ON: everything is dropped' : 'off'}`,
  ]
  for (const dataplane of found.dataplanes) {
    lines.push(`  ${dataplane.name.padEnd(13)} ${dataplane.state}`)
    for (const { subject, text } of dataplane.details) lines.push(`    ${printable(subject)}: ${printable(text, 500)}`)
  }
  if (found.pending.changed) {
    const problem = found.pending.problem
    lines.push(problem === null ? '  pending       changed files wait: derpanetctl reload' : '  pending       changed files have mistakes and are not in force:')
    for (const line of problem?.diagnostics ?? []) lines.push(`    ${printable(line, 1000)}`)
  }
  if (found.unconfirmed !== undefined) {
    lines.push(`  unconfirmed   generation ${found.unconfirmed.generation} is taken back in ${found.unconfirmed.secondsLeft} s: derpanetctl confirm keeps it`)
  }
  for (const warning of found.warnings ?? []) lines.push(`  warning       ${printable(warning, 1000)}`)
  if (found.problem !== null) {
    lines.push('  problem       this is not in force:')
    for (const line of found.problem.diagnostics) lines.push(`    ${printable(line, 1000)}`)
  }
  return lines.join('\n')
}
