// Which programs speak to the kernel's tables: the nf_tables or the legacy variant, never both.
import { accessSync, constants, existsSync, realpathSync } from 'node:fs'
import { basename, join } from 'node:path'
import { families } from '../../model/addr.ts'
import type { Family } from '../../model/addr.ts'
import { tables } from '../../compile/netfilter/render.ts'
import { CommandError, execOk, toolPath } from '../exec.ts'
import type { Exec } from '../exec.ts'

export type Variant = 'nft' | 'legacy'

export interface Tools {
  readonly variant: Variant
  readonly command: Readonly<Record<Family, string>>
  readonly save: Readonly<Record<Family, string>>
  readonly restore: Readonly<Record<Family, string>>
  /** false = the kernel has no IPv6: there is nothing to filter, and the tools of that family fail. */
  readonly ipv6: boolean
}

/** The forced one, or the host's own choice: what `iptables` is a link to, or says it is. Throws CommandError when the tool is missing. */
export async function findTools(exec: Exec, forced: Variant | undefined, linked: Variant | null = null): Promise<Tools> {
  if (forced !== undefined) return toolsOf(forced, `-${forced}`)
  if (linked !== null) return toolsOf(linked, '')
  const { stdout } = await execOk(exec, { command: 'iptables', args: ['--version'] }).catch((error: unknown) => {
    if (error instanceof CommandError && error.exitCode === null) throw new Error(`${error.message}; nothing can be filtered without it: install the package iptables`, { cause: error })
    throw error
  })
  // before 1.8 there was only one and it did not say
  return toolsOf(stdout.includes('nf_tables') ? 'nft' : 'legacy', '')
}

/** Distributions make `iptables` a link to one of two programs: following it costs nothing, asking it starts a program. */
export function linkedVariant(): Variant | null {
  const path = toolPath.split(':').map((folder) => join(folder, 'iptables')).find((file) => existsSync(file))
  if (path === undefined) return null
  const program = basename(realpathSync(path))
  return program === 'xtables-nft-multi' ? 'nft' : program === 'xtables-legacy-multi' ? 'legacy' : null
}

/** The same variant's tools by their explicit names. */
export function explicitTools(variant: Variant): Tools {
  return toolsOf(variant, `-${variant}`)
}

/** Of the network namespace of this process. False also while nobody has loaded IPv6 where it is a module. */
export function hostHasIpv6(): boolean {
  return existsSync('/proc/net/if_inet6')
}

/**
 * A kernel without IPv6 (`ipv6.disable=1`) is filtered by IPv4 rules alone. Both must say so, the kernel and the tool: a
 * broken tool on a host with IPv6 must fail, not leave IPv6 open, and asking the tool loads what is merely not loaded yet.
 */
export async function withoutMissingFamily(exec: Exec, tools: Tools, hasIpv6: () => boolean): Promise<Tools> {
  if (hasIpv6()) return tools
  const { exitCode } = await exec({ command: tools.save.ipv6, args: ['-c'] })
  return { ...tools, ipv6: exitCode === 0 || hasIpv6() }
}

function toolsOf(variant: Variant, suffix: string): Tools {
  const named = (end: string): Record<Family, string> => ({ ipv4: `iptables${suffix}${end}`, ipv6: `ip6tables${suffix}${end}` })
  return { variant, command: named(''), save: named('-save'), restore: named('-restore'), ipv6: true }
}

/**
 * The legacy variant reads the names of the tables that exist from a file of root's. An own user asks for each of ours; one
 * that nobody used comes into being by that, as it would a moment later by our rules.
 */
function mayListTables({ variant }: Tools, family: Family): boolean {
  if (variant === 'nft') return true
  try {
    accessSync(family === 'ipv4' ? '/proc/net/ip_tables_names' : '/proc/net/ip6_tables_names', constants.R_OK)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'EACCES'
  }
}

/** Text of the tables of both families, with counters; of all tables when `only` is absent. Tables in `only` must exist. */
export async function saveTables(
  exec: Exec, tools: Tools, only?: Readonly<Record<Family, readonly string[]>>,
): Promise<Readonly<Record<Family, string>>> {
  const [ipv4, ipv6] = await Promise.all(families.map(async (family) => {
    if (family === 'ipv6' && !tools.ipv6) return ''
    // A process costs more than the text of a table; only a table with very many foreign rules is worth leaving out.
    const all = only === undefined || only[family].length > 2
    if (all && mayListTables(tools, family)) return (await execOk(exec, { command: tools.save[family], args: ['-c'] })).stdout
    const texts: string[] = []
    for (const table of all ? tables : only[family]) texts.push((await execOk(exec, { command: tools.save[family], args: ['-c', '-t', table] })).stdout)
    return texts.join('')
  }))
  return { ipv4: ipv4!, ipv6: ipv6! }
}
