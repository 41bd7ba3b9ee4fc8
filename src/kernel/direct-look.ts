// Is what clients put beside our rules still there? Others flush tables; their words are not compared, only what is missing:
// a client may have changed or added to his own by the tools themselves.
import type { DirectChain, DirectFamily, DirectPassthrough, DirectRule, DirectSettings } from '../model/direct.ts'
import type { Passthrough } from './passthrough.ts'

/** The kernel's chain, and the chain its direct rules stand in. */
export interface Home extends DirectChain {
  /** Null for a chain of the client's own. */
  readonly hook: string | null
}

export interface Missing {
  /** For the log; none = nothing is missing. */
  readonly lines: readonly string[]
  /** Chains whose rules are not all there, or that are not called any more. */
  readonly homes: readonly Home[]
  readonly chains: readonly DirectChain[]
  readonly passthroughs: readonly DirectPassthrough[]
}

export function keyOf({ ipv, table, chain }: DirectChain): string {
  return JSON.stringify([ipv, table, chain])
}

/** ebtables cannot be asked for a single rule: what is missed of a bridge is chains and rules, never a passthrough. */
export async function missingOf({ chains, rules, passthroughs }: DirectSettings, homeOf: (rule: DirectRule) => Home, run: Passthrough): Promise<Missing> {
  const listings = new Map<string, Listing>()
  const listing = async (ipv: DirectFamily, table: string): Promise<Listing> => {
    const key = JSON.stringify([ipv, table])
    const known = listings.get(key) ?? (ipv === 'eb' ? readBridgeListing(await run(ipv, ['-t', table, '-L'])) : readListing(await run(ipv, ['-t', table, '-S'])))
    listings.set(key, known)
    return known
  }
  const lines: string[] = []
  const gone: DirectChain[] = []
  for (const chain of chains) {
    if ((await listing(chain.ipv, chain.table)).rules.has(chain.chain)) continue
    gone.push(chain)
    lines.push(`direct: chain ${chain.chain} in ${chain.ipv} ${chain.table} is gone`)
  }
  const wanted = new Map<string, { readonly home: Home; count: number }>()
  for (const rule of rules) {
    const home = homeOf(rule)
    const found = wanted.get(keyOf(home)) ?? { home, count: 0 }
    found.count++
    wanted.set(keyOf(home), found)
  }
  const damaged: Home[] = []
  for (const { home, count } of wanted.values()) {
    const { ipv, table, chain, hook } = home
    const found = await listing(ipv, table)
    const left = found.rules.get(chain)?.length ?? 0
    const isCalled = hook === null || found.rules.get(hook)?.includes(`-j ${chain}`) === true
    if (left >= count && isCalled) continue
    damaged.push(home)
    lines.push(`direct: ${left} of ${count} rules left in ${chain} of ${ipv} ${table}${isCalled ? '' : ', and nobody calls it'}`)
  }
  const lost: DirectPassthrough[] = []
  for (const { ipv, args } of passthroughs) {
    const question = ipv === 'eb' ? null : asQuestion(args)
    if (question === null || await succeeds(run, ipv, question)) continue
    lost.push({ ipv, args })
    lines.push(`direct: ${ipv} ${args.join(' ')} is gone`)
  }
  return { lines, homes: damaged, chains: gone, passthroughs: lost }
}

interface Listing {
  /** By chain; of chains without rules an empty list. */
  readonly rules: ReadonlyMap<string, readonly string[]>
}

/** As `iptables -S` prints a table. A comment with line ends may add lines that begin with nothing known, or rules too many: never too few. */
function readListing(text: string): Listing {
  const rules = new Map<string, string[]>()
  for (const line of text.split('\n')) {
    const [, kind, chain = '', rest = ''] = /^-([PNA]) (\S+) ?(.*)$/.exec(line) ?? []
    if (kind === undefined) continue
    const list = rules.get(chain) ?? []
    if (kind === 'A') list.push(rest)
    rules.set(chain, list)
  }
  return { rules }
}

/** As `ebtables -L` prints a table: a head for each chain, its rules, an empty line. */
function readBridgeListing(text: string): Listing {
  const rules = new Map<string, string[]>()
  let list: string[] | null = null
  for (const line of text.split('\n').map((one) => one.trim())) {
    const chain = /^Bridge chain: (\S+), entries: /.exec(line)?.[1]
    if (chain !== undefined) rules.set(chain, list = [])
    else if (line === '') list = null
    else list?.push(line)
  }
  return { rules }
}

/** `-C …` for what appends or inserts a rule; null for anything else. */
function asQuestion(args: readonly string[]): readonly string[] | null {
  const at = args.findIndex((word) => ['-A', '--append', '-I', '--insert'].includes(word))
  if (at < 0) return null
  const isNumbered = args[at]!.toLowerCase().includes('i') && /^\d+$/.test(args[at + 2] ?? '')
  return [...args.slice(0, at), '-C', ...args.slice(at + 1, at + 2), ...args.slice(at + (isNumbered ? 3 : 2))]
}

async function succeeds(run: Passthrough, ipv: DirectFamily, args: readonly string[]): Promise<boolean> {
  try {
    await run(ipv, args)
    return true
  } catch {
    // exit status 1: there is no such rule; a tool that cannot run fails again, loudly, when the rule is put back
    return false
  }
}
