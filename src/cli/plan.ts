// derpanetctl plan: what would be programmed, from the files alone.
import { compile } from '../compile/compile.ts'
import { formatPlan } from '../compile/print.ts'
import { check } from './check.ts'
import { examine } from './offline.ts'
import { out, outJson, type GlobalOptions } from './output.ts'

/** Exit status 0, or 1 with the mistakes of a configuration that cannot be enforced. */
export async function plan(options: GlobalOptions, path: string | undefined): Promise<number> {
  const { firewall } = await examine(options, path)
  if (firewall === null) return check(options, path)
  const compiled = compile(firewall)
  if (options.json) {
    const sets = compiled.sets.map((set) => ({ ...set, elements: set.elements.kind === 'text' ? set.elements.entries : { list: set.elements.list.name } }))
    const deny = compiled.early.deny.map(({ list, rule }) => ({ list: list.name, digest: list.digest, rule }))
    outJson({ ...compiled, sets, early: { ...compiled.early, deny } })
  } else {
    out(formatPlan(compiled))
  }
  return 0
}
