// Every folder of test/golden: a configuration as a person writes it, and the plan and the texts that come of it.
// UPDATE_GOLDEN=1 writes them anew; the review is the diff.
import { existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs'
import t from 'tap'
import { families, type Family } from '../../src/model/addr.ts'
import { compile } from '../../src/compile/compile.ts'
import { formatPlan } from '../../src/compile/print.ts'
import type { Plan } from '../../src/compile/plan.ts'
import { formatRestore } from '../../src/compile/netfilter/restore.ts'
import { formatSet } from '../../src/compile/netfilter/ipset.ts'
import { diff, type ChangeSet } from '../../src/diff/diff.ts'
import { nothingObserved } from '../../src/diff/observed.ts'
import { goldenNames, goldenRuntime, goldens } from '../support/golden.ts'
import { resolve } from '../../src/model/resolve.ts'

function setText({ load }: ChangeSet): string {
  return load.map(({ name, set }) => [...formatSet(name, set)].map((chunk) => Buffer.from(chunk).toString()).join('')).join('')
}

function texts(plan: Plan): Readonly<Record<string, string>> {
  const changes = diff(plan, nothingObserved, null)
  const restore = (family: Family): string => formatRestore(changes.tables[family])
  return { 'plan.txt': formatPlan(plan), 'ipset.txt': setText(changes), 'restore4.txt': restore('ipv4'), 'restore6.txt': restore('ipv6') }
}

t.ok(goldenNames.length >= 9, 'the folders are there')
t.same(families, ['ipv4', 'ipv6'])

for (const name of goldenNames) {
  t.test(name, async (t) => {
    const runtime = await goldenRuntime(name)
    const { firewall, problems } = resolve(runtime)
    const produced = firewall === null
      ? { 'error.txt': problems.map(({ code, detail, origin }) => {
        const at = origin.position === undefined ? '' : `:${origin.position.line}:${origin.position.column}`
        return `${origin.file?.slice(goldens.length + name.length + 2) ?? origin.layer}${at}: ${code}: ${detail}\n`
      }).join('') }
      : texts(compile(firewall))
    for (const [file, text] of Object.entries(produced)) {
      const path = `${goldens}/${name}/${file}`
      if (process.env['UPDATE_GOLDEN'] === '1') writeFileSync(path, text)
      t.equal(text, existsSync(path) ? readFileSync(path, 'utf8') : '', file)
    }
    const expected = readdirSync(`${goldens}/${name}`).filter((file) => /\.txt$/.test(file))
    t.same(expected.sort(), Object.keys(produced).sort(), 'and no other text')
  })
}
