// derpanetctl check: every mistake of a configuration, each at its place.
import { formatDiagnostic } from '../config/diagnostic.ts'
import { examine, type Examined } from './offline.ts'
import { out, outJson, type GlobalOptions } from './output.ts'

/** Exit status 0 = could be enforced (warnings allowed), 1 = mistakes. */
export async function check(options: GlobalOptions, path: string | undefined): Promise<number> {
  const examined = await examine(options, path)
  const diagnostics = examined.diagnostics.filter(({ file }) => examined.onlyFile === null || file === examined.onlyFile)
  const errors = diagnostics.filter(({ severity }) => severity === 'error').length
  const warnings = diagnostics.length - errors
  if (options.json) {
    outJson({ valid: errors === 0, folder: examined.etc, mistakes: diagnostics })
    return errors === 0 ? 0 : 1
  }
  for (const diagnostic of diagnostics) out(formatDiagnostic(diagnostic, { caret: true }))
  out(summary(examined, errors, warnings))
  return errors === 0 ? 0 : 1
}

function summary(examined: Examined, errors: number, warnings: number): string {
  const counted = [errors === 0 ? '' : count(errors, 'mistake'), warnings === 0 ? '' : count(warnings, 'warning')].filter((text) => text !== '').join(', ')
  const place = examined.onlyFile ?? examined.etc
  if (errors > 0) return `${place}: ${counted}; this configuration would be refused`
  const { settings } = examined
  const sizes = settings === null ? '' : `: ${count(settings.zones.size, 'zone')}, ${count(settings.services.size, 'service')}, ${count(settings.ipsets.size, 'ipset')}, ${count(settings.lists.size, 'list')}`
  // A mistake elsewhere keeps the whole configuration from being enforced, so it must not look valid from one file.
  const elsewhere = settings === null || examined.firewall === null ? `; but other files have mistakes: derpanetctl check ${examined.etc}` : ''
  return `${place} is valid${counted === '' ? '' : ` (${counted})`}${elsewhere === '' ? sizes : elsewhere}`
}

function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? '' : 's'}`
}
