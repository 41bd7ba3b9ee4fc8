// What firewalld's users rely on, with real packets: outside — firewall — inside, both families, both variants of iptables.
// The sentences are in statements/list.ts, their cases in the tables beside it; STATEMENTS.md says which is tested where.
// TEST_TIMEOUT_SEC=400 TEST_TIMEOUT_FULL_SEC=900
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { variants } from '../support/netfilter-host.ts'
import { repository, whyNoPrivateHost } from '../support/private-host.ts'
import { connectionCases } from './statements/connection.ts'
import { statements, type Statement, type StatementId } from './statements/list.ts'
import { richCases } from './statements/rich.ts'
import { createBench, runCase } from './statements/run.ts'
import { verdictCases } from './statements/verdicts.ts'
import { packetsOf, type Case } from './statements/words.ts'
import { zoneCases } from './statements/zones.ts'

const cases: readonly Case[] = [...connectionCases, ...zoneCases, ...verdictCases, ...richCases]
const list = Object.entries(statements) as readonly (readonly [StatementId, Statement])[]
/** For looking at some of them: a part of their ids. */
const only = process.env['DERPANET_STATEMENT'] ?? ''
/** Otherwise each case is run on one of the variants. */
const whole = process.env['DERPANET_TEST_FULL'] === '1' || only !== ''

/** A reader's map: every statement, how it is known, where it is tested. */
function mapOf(): string {
  const rows = list.map(([id, { title, basis, defect, file }]) => {
    const count = cases.filter(({ of }) => of === id).length
    const where = file === undefined ? `${count} case${count === 1 ? '' : 's'}` : `\`${file}\``
    return `| ${id} | ${title}${defect === undefined ? '' : ` (firewalld: ${defect})`} | ${basis.join(', ')} | ${where} |`
  })
  return [
    '# What firewalld promises about packets, and where each sentence is tested', '',
    'Written by statements.test.ts (`UPDATE_GOLDEN=1`). Cases are rows in `statements/`, run with TCP, UDP and ICMP, IPv4 and IPv6, both variants of',
    'iptables. How it is known of firewalld: traffic = tried with packets, ruleset = read from its rules, bus = tried over D-Bus, source = read.', '',
    '| name | statement | known by | tested |', '|---|---|---|---|', ...rows, '',
  ].join('\n')
}

t.test('every statement has its test, and the map says where', async (t) => {
  for (const [id, { title, file }] of list) {
    const rows = cases.filter(({ of }) => of === id)
    if (file === undefined) t.ok(rows.length > 0, `${id} has cases`)
    else {
      const text = readFileSync(join(repository, file), 'utf8')
      t.ok(text.includes(`'${title.replaceAll("'", "\\'")}'`) || text.includes(`statements['${id}'].title`), `${id} is a title in ${file}`)
    }
    t.equal(new Set(rows.map(({ when }) => when)).size, rows.length, `${id}: each case says what is configured`)
  }
  for (const row of cases) t.ok(packetsOf(row.then ?? {}).length + (row.crafted?.length ?? 0) > 0 || row.around !== undefined, `${row.of}, ${row.when}: it sends something`)
  const map = new URL('STATEMENTS.md', import.meta.url)
  if (process.env['UPDATE_GOLDEN'] === '1') writeFileSync(map, mapOf())
  t.equal(readFileSync(map, 'utf8'), mapOf(), 'STATEMENTS.md')
})

t.jobs = 2
for (const variant of variants) {
  t.test(variant, { skip: whyNoPrivateHost() ?? false, buffered: true, timeout: 890_000 }, async (t: Test) => {
    const bench = await createBench('statements', variant, t.testdir())
    t.teardown(() => bench.one.stop())
    for (const [id, { title }] of list.filter(([id]) => id.includes(only))) {
      const rows = cases.filter(({ of }) => of === id).filter((_, index) => whole || (variant === 'legacy') === (index % 3 === 2))
      if (rows.length === 0) continue
      await t.test(title, { timeout: 120_000 }, async (t) => {
        for (const row of rows) await runCase(t, bench, row)
      })
    }
  })
}
