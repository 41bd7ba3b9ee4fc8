// Reads a configuration as the daemon would, without a daemon and without root.
import { existsSync, readFileSync, realpathSync, statSync } from 'node:fs'
import { basename, dirname, join, resolve as absolute } from 'node:path'
import { DerpanetError, printable } from '../errors.ts'
import { loadConfiguration } from '../config/load.ts'
import type { Diagnostic } from '../config/diagnostic.ts'
import { hostAddresses } from '../host/addresses.ts'
import { resolve, type Problem } from '../model/resolve.ts'
import type { Firewall } from '../model/firewall.ts'
import type { Settings } from '../model/settings.ts'
import { shippedFolder } from '../options.ts'
import type { GlobalOptions } from './output.ts'

export interface Examined {
  readonly etc: string
  /** Set when the caller named one file: only its mistakes are asked for. */
  readonly onlyFile: string | null
  readonly settings: Settings | null
  readonly firewall: Firewall | null
  /**
   * Mistakes in the files, and in how things fit together (those are looked for only when the files have none), and
   * warnings of both.
   */
  readonly diagnostics: readonly Diagnostic[]
}

const kindFolders: ReadonlySet<string> = new Set(['zones', 'policies', 'services', 'ipsets', 'icmptypes', 'helpers', 'lists'])

/** `path` is a configuration folder or a file in one. Throws INVALID_DIRECTORY or INVALID_FILENAME. */
export async function examine(options: GlobalOptions, path: string | undefined): Promise<Examined> {
  const { etc, onlyFile } = findFolder(options, path)
  const shipped = options.libDir ?? shippedFolder(options.root ?? '', realpathSync(process.argv[1] ?? '.'))
  if (!existsSync(shipped)) throw new DerpanetError('INVALID_DIRECTORY', `${printable(shipped)}: the shipped definitions are not there (--lib-dir)`)
  const { settings, diagnostics } = await loadConfiguration({ etc, vendor: options.vendorDir ?? `${options.root ?? ''}/usr/lib/firewalld`, shipped }, undefined,
    // a list that holds an address of this host would be refused here; files below another root are another host's
    options.root === undefined ? { hostAddresses: hostAddresses() } : {})
  if (settings === null) return { etc, onlyFile, settings, firewall: null, diagnostics }
  const { firewall, problems, warnings } = resolve({ settings, panic: false })
  const found = [...problems.map((problem) => asDiagnostic('error', problem)), ...warnings.map((problem) => asDiagnostic('warning', problem))]
  return { etc, onlyFile, settings, firewall, diagnostics: [...diagnostics, ...found] }
}

/** What no file says (a default) is shown at the place of its subject's name. */
export function asDiagnostic(severity: Diagnostic['severity'], { code, detail, origin }: Problem): Diagnostic {
  const { file, position } = origin
  if (file === undefined) return { severity, code, file: origin.text, line: 1, column: 1, text: detail }
  const { line, column } = position ?? { line: 1, column: 1 }
  const sourceLine = position === undefined ? undefined : readFileSync(file, 'utf8').split('\n')[line - 1]
  return { severity, code, file, line, column, text: detail, ...(sourceLine === undefined ? {} : { sourceLine }) }
}

function findFolder(options: GlobalOptions, path: string | undefined): { etc: string; onlyFile: string | null } {
  const etc = absolute(path ?? options.configDir ?? `${options.root ?? ''}/etc/derpanet`)
  if (!existsSync(etc)) {
    if (path === undefined && options.configDir === undefined) return { etc, onlyFile: null }
    throw new DerpanetError('INVALID_DIRECTORY', `${printable(etc)}: no such file or folder`)
  }
  if (statSync(etc).isDirectory()) return { etc, onlyFile: null }
  if (!/\.(yaml|list)$/.test(etc)) throw new DerpanetError('INVALID_FILENAME', `${printable(etc)}: configuration files end in .yaml or .list`)
  const folder = dirname(etc)
  return { etc: kindFolders.has(basename(folder)) ? dirname(folder) : join(folder), onlyFile: etc }
}
