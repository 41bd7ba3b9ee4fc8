// nf_tables makes the kernel's base chains on first use. Those that exist only because of us are remembered before they come
// into being, and taken away at purge if nobody else has moved in; so the host ends as it began, byte for byte.
import type { Family } from '../../model/addr.ts'
import { families } from '../../model/addr.ts'
import type { TableChange } from '../../compile/netfilter/restore.ts'
import { execOk } from '../exec.ts'
import type { Exec } from '../exec.ts'
import type { SavedFamily } from './observe.ts'
import type { Tools } from './tools.ts'

const nftFamily: Readonly<Record<Family, string>> = { ipv4: 'ip', ipv6: 'ip6' }

type Changes = Readonly<Record<Family, readonly TableChange[]>>

function wantedChains(changes: Changes): readonly (readonly [table: string, chain: string])[] {
  return families.flatMap((family) => changes[family].flatMap(({ table, addJumps }) => addJumps.map(({ chain }) => [`${nftFamily[family]}/${table}`, chain] as const)))
}

/** The same as {@link chainsToBeCreated} for a kernel without any table. */
export function createdChains(changes: Changes): readonly string[] {
  return [...new Set(wantedChains(changes).flatMap(([table, chain]) => [table, `${table}/${chain}`]))]
}

/** Which base chains and tables the change set will bring into being: `ip/mangle`, `ip/mangle/INPUT`. */
export async function chainsToBeCreated(exec: Exec, changes: Changes): Promise<readonly string[]> {
  const wanted = wantedChains(changes)
  if (wanted.length === 0) return []
  const present = presentChains((await execOk(exec, { command: 'nft', args: ['list', 'chains'] })).stdout)
  const created = wanted.flatMap(([table, chain]) => [...(present.has(table) ? [] : [table]), ...(present.get(table)?.has(chain) === true ? [] : [`${table}/${chain}`])])
  return [...new Set(created)]
}

/** `nft list chains` → chains by `family/table`. */
function presentChains(text: string): ReadonlyMap<string, ReadonlySet<string>> {
  const chains = new Map<string, Set<string>>()
  let current: Set<string> | undefined
  for (const line of text.split('\n')) {
    const [, family, table] = /^table (\S+) (\S+) \{/.exec(line) ?? []
    if (family !== undefined) {
      current = new Set()
      chains.set(`${family}/${table}`, current)
    }
    const chain = /^\tchain (\S+) \{/.exec(line)?.[1]
    if (chain !== undefined) current?.add(chain)
  }
  return chains
}

/** After everything of ours is out. `saved` = the tables as they are now. */
export async function removeCreated(
  exec: Exec, tools: Tools, created: ReadonlySet<string>, saved: Readonly<Record<Family, SavedFamily>>,
): Promise<void> {
  for (const family of families) {
    const nft = nftFamily[family]
    for (const entry of created) {
      const [ofFamily, table = '', chain] = entry.split('/')
      if (ofFamily !== nft || chain === undefined) continue
      const now = saved[family].get(table)?.base.get(chain)
      // somebody uses it by now: then it is theirs
      if (now === undefined || now.rules > 0 || now.policy !== 'ACCEPT') continue
      const result = await exec({ command: tools.command[family], args: ['-w', '5', '-t', table, '-X', chain] })
      // a rule that came in this moment makes it busy: also theirs
      if (result.exitCode !== 0 && !/busy|not exist|No chain/i.test(result.stderr)) {
        throw new Error(`cannot remove the base chain ${entry}, which only we used: ${result.stderr.trim().slice(0, 200)}`)
      }
    }
    for (const entry of created) {
      const [ofFamily, table = '', chain] = entry.split('/')
      if (ofFamily !== nft || chain !== undefined) continue
      const listed = await exec({ command: 'nft', args: ['list', 'table', nft, table] })
      // gone already is fine; anything inside means that it is not ours alone any more
      if (listed.exitCode !== 0 || /\b(chain|set|map|flowtable|counter|quota)\b/.test(listed.stdout.replace(/^#.*$/gm, ''))) continue
      await execOk(exec, { command: 'nft', args: ['delete', 'table', nft, table] })
    }
  }
}
