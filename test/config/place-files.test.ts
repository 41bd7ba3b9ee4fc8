// Several files into a tree, all or none.
import { chmodSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { comparePlaces, placeFiles } from '../../src/config/place-files.ts'

const all = (root: string): Readonly<Record<string, string>> => Object.fromEntries((readdirSync(root, { recursive: true }) as string[]).sort()
  .flatMap((path) => {
    try {
      return [[path, readFileSync(join(root, path), 'utf8')]]
    } catch {
      return [] // a folder
    }
  }))
const files = (words: Readonly<Record<string, string>>): ReadonlyMap<string, string> => new Map(Object.entries(words))

t.test('files come where they belong, old ones stay beside them, equal ones are left alone', async (t) => {
  const root = t.testdir({ a: 'old', b: 'same' })
  chmodSync(join(root, 'a'), 0o640)
  const placements = await comparePlaces(root, files({ a: 'new', b: 'same', 'deep/er/c': 'c' }))
  t.strictSame(placements.map(({ path, change }) => [path, change]), [['a', 'changed'], ['b', 'same'], ['deep/er/c', 'new']])
  await placeFiles(root, placements)
  t.strictSame(all(root), { a: 'new', 'a.old': 'old', b: 'same', 'deep/er/c': 'c' })
})

t.test('a file that somebody edits meanwhile keeps all of them out', async (t) => {
  const root = t.testdir({ a: 'old', z: 'old' })
  const placements = await comparePlaces(root, files({ a: 'new', 'deep/c': 'c', z: 'new' }))
  writeFileSync(join(root, 'z'), 'mine')
  await t.rejects(placeFiles(root, placements), { code: 'COMMAND_FAILED', message: /z was changed since/ })
  t.strictSame(all(root), { a: 'old', z: 'mine' })
  t.strictSame(readdirSync(root), ['a', 'z'], 'no folder, no temporary file')
})

t.test('a failure half way puts back what was there', async (t) => {
  // the old content of b cannot stay beside it; that is found when it is its turn
  const root = t.testdir({ a: 'old', b: 'old', 'b.old': { x: 'x' } })
  await t.rejects(placeFiles(root, await comparePlaces(root, files({ a: 'new', aa: 'new', b: 'new', c: 'new' }))), { code: 'COMMAND_FAILED' })
  t.strictSame(all(root), { a: 'old', b: 'old', 'b.old/x': 'x' })
  t.strictSame(readdirSync(root), ['a', 'b', 'b.old'], 'no temporary file')
})
