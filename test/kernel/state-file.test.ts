// A state file is the old or the new one, and nothing stays beside it.
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { readStateFile, writeStateFile } from '../../src/kernel/state-file.ts'

const folder = mkdtempSync(join(tmpdir(), 'derpanet-state-'))
t.teardown(() => rmSync(folder, { recursive: true, force: true }))

t.test('the folder is made, the file is for its owner alone', async (t) => {
  const path = join(folder, 'new/one.json')
  t.equal(await readStateFile(path), null)
  await writeStateFile(path, '{}')
  t.equal(statSync(path).mode & 0o777, 0o600)
  await writeStateFile(path, '{"a":1}')
  t.equal(await readStateFile(path), '{"a":1}')
  t.strictSame(readdirSync(join(folder, 'new')), ['one.json'])
})

t.test('what a program left that died while it replaced the file is gone with the next reading', async (t) => {
  const path = join(folder, 'two.json')
  await writeStateFile(path, 'old')
  writeFileSync(`${path}.new`, 'half of the n')
  t.equal(await readStateFile(path), 'old')
  t.notOk(existsSync(`${path}.new`))
})

t.test('a file that cannot be replaced is told, and nothing stays beside it', async (t) => {
  const path = join(folder, 'three.json')
  mkdirSync(join(path, 'full'), { recursive: true })
  await t.rejects(writeStateFile(path, 'x'))
  t.notOk(existsSync(`${path}.new`))
})
