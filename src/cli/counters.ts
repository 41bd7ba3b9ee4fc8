// derpanetctl counters: how often each rule decided.
import { printable } from '../errors.ts'
import { callDaemon } from './client.ts'
import { columns, out, outJson, type GlobalOptions } from './output.ts'

/** Without `all`, rules that never decided anything are left out. */
export async function counters(options: GlobalOptions, all: boolean): Promise<number> {
  const [rows] = await callDaemon('Counters', options.bus) as readonly [readonly (readonly [string, bigint, bigint])[]]
  const shown = rows.map(([rule, packets, bytes]) => ({ rule, packets: BigInt(packets), bytes: BigInt(bytes) })).filter(({ packets }) => all || packets > 0n)
  if (options.json) {
    outJson(shown)
    return 0
  }
  const sorted = [...shown].sort((a, b) => (a.packets === b.packets ? (a.rule < b.rule ? -1 : 1) : a.packets > b.packets ? -1 : 1))
  if (sorted.length === 0) out('no rule has decided anything yet')
  else out(columns([['packets', 'bytes', 'rule'], ...sorted.map(({ rule, packets, bytes }) => [String(packets), String(bytes), printable(rule)])]))
  return 0
}
