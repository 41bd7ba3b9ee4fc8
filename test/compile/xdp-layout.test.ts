// bpf/layout.h and src/compile/xdp/layout.ts are one layout: every number and every offset.
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { layout, reasons, records } from '../../src/compile/xdp/layout.ts'

const bpf = join(dirname(fileURLToPath(import.meta.url)), '../../bpf')
const header = readFileSync(join(bpf, 'layout.h'), 'utf8')

t.test('every number of layout.h is the same in layout.ts, and there are no others', (t) => {
  const inC = Object.fromEntries([...header.matchAll(/^#define DP_(\w+) (\S+)$/gm)].map(([, name, value]) => [name, Number(value)]))
  t.ok(Object.keys(inC).length > 50, 'the header was read')
  t.same({ ...layout }, inC)
  t.end()
})

t.test('every record has the same size and offsets in C', (t) => {
  const named = [...header.matchAll(/^struct (dp_\w+) \{/gm)].map(([, name]) => name!)
  t.same(Object.keys(records).sort(), named.sort())
  const lines = Object.entries(records).flatMap(([record, members]) => Object.keys(members).map((member) => (
    member === 'size' ? `P("${record}.size", sizeof(struct ${record}));` : `P("${record}.${member}", __builtin_offsetof(struct ${record}, ${member}));`
  )))
  const dir = mkdtempSync(join(tmpdir(), 'derpanet-layout-'))
  t.teardown(() => rmSync(dir, { recursive: true }))
  const source = join(dir, 'offsets.c')
  writeFileSync(source, `#include <stdio.h>\n#include "layout.h"\n#define P(n, v) printf("%s %zu\\n", n, (size_t)(v))\nint main(void) { ${lines.join('\n')} return 0; }\n`)
  execFileSync('gcc', ['-I', bpf, '-o', join(dir, 'offsets'), source])
  const inC = execFileSync(join(dir, 'offsets'), { encoding: 'utf8' }).trim().split('\n')
  const inTs = Object.entries(records).flatMap(([record, members]) => Object.entries(members).map(([member, value]) => `${record}.${member} ${value}`))
  t.same(inTs, inC)
  t.end()
})

t.test('reason names follow the numbers', (t) => {
  const numbers = Object.entries(layout).filter(([name]) => name.startsWith('REASON_'))
  t.same(reasons.map((reason) => [`REASON_${reason.toUpperCase().replaceAll('-', '_')}`, reasons.indexOf(reason)]), numbers)
  t.end()
})
