// The manual of section 5 is what the field tables say, and a page is well-formed.
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { fieldRows } from '../../src/settings/field.ts'
import { kinds, mainKind } from '../../src/settings/kinds.ts'
import { manualPages } from '../../src/settings/manual.ts'
import type { ObjectKind } from '../../src/settings/kinds.ts'

const folder = join(dirname(fileURLToPath(import.meta.url)), '../../packaging/man')

t.test('the pages in packaging/man are those of the tables (else: node --import tsx packaging/generate-man.ts)', (t) => {
  const pages = manualPages()
  t.equal(pages.length, 7)
  for (const { file, text } of pages) t.equal(readFileSync(join(folder, file), 'utf8'), text, file)
  t.end()
})

t.test('every key of every kind is in its page', (t) => {
  const all = [...Object.values(kinds), mainKind] as unknown as ObjectKind<never>[]
  let found = 0
  for (const kind of all) {
    const name = kind.kind === 'main' ? 'derpanet.yaml.5' : `derpanet.${kind.kind}.5`
    const text = readFileSync(join(folder, name), 'utf8')
    for (const [, field] of fieldRows(kind.fields)) {
      t.ok(text.includes(`.BR ${field.yaml.replaceAll('-', '\\-')} `), `${name}: ${field.yaml}`)
      t.ok(field.doc.length > 10 && field.doc.endsWith('.'), `${field.yaml} is described in a sentence`)
      found++
    }
  }
  t.ok(found > 60, `${found} keys`)
  t.end()
})

const groff = spawnSync('groff', ['--version']).status === 0
t.test('groff formats every page without a warning', { skip: groff ? false : 'todo: groff is not installed' }, (t) => {
  for (const { file, text } of manualPages()) {
    const { stderr, stdout } = spawnSync('groff', ['-man', '-Tutf8', '-ww'], { input: text, encoding: 'utf8' })
    t.equal(stderr, '', file)
    t.ok(stdout.length > 500)
  }
  t.end()
})
