// Which files are believed at all. Owners can only be tried as root.
import { execFileSync } from 'node:child_process'
import { chmodSync, chownSync, mkdirSync, renameSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import t from 'tap'
import type { Test } from 'tap'
import { makeTree } from './tree.ts'
import type { Tree } from './tree.ts'

const skip = process.getuid?.() === 0 ? false : 'needs root'

async function refused(t: Test, tree: Tree, pattern: RegExp): Promise<void> {
  const lines = await tree.complaints()
  t.match(lines.join('\n'), pattern)
  t.equal((await tree.load()).settings, null)
}

t.test('a link out of the tree is refused, a link within it followed', async (t) => {
  const tree = makeTree({ 'zones/a.yaml': 'short: A\n' })
  t.teardown(tree.remove)
  symlinkSync('a.yaml', tree.etc('zones/b.yaml'))
  t.equal((await tree.load()).settings!.zones.get('b')!.value.short, 'A')
  const outside = join(dirname(tree.paths.etc), 'outside.yaml')
  writeFileSync(outside, 'short: Secret\n')
  symlinkSync(outside, tree.etc('zones/c.yaml'))
  await refused(t, tree, /zones\/c.yaml:1:1: INVALID_FILENAME: is a link out of ETC/)
})

t.test('a folder that is a link out of the tree is refused', async (t) => {
  const tree = makeTree({ 'zones/a.yaml': 'short: A\n' })
  t.teardown(tree.remove)
  renameSync(tree.etc('zones'), join(dirname(tree.paths.etc), 'elsewhere'))
  symlinkSync('../elsewhere', tree.etc('zones'))
  await refused(t, tree, /ETC\/zones:1:1: INVALID_FILENAME: is a link out of ETC/)
})

t.test('a link to nothing is an error, not an absent file', async (t) => {
  const tree = makeTree({ 'zones/a.yaml': '' })
  t.teardown(tree.remove)
  symlinkSync('gone.yaml', tree.etc('zones/b.yaml'))
  await refused(t, tree, /zones\/b.yaml:1:1: INVALID_FILENAME: is a link to nothing/)
})

t.test('a pipe is refused without waiting for its other end, a folder too', async (t) => {
  const tree = makeTree({ 'zones/a.yaml': '' })
  t.teardown(tree.remove)
  execFileSync('mkfifo', [tree.etc('zones/b.yaml')])
  await refused(t, tree, /zones\/b.yaml:1:1: INVALID_FILENAME: is not a regular file/)
  rmSync(tree.etc('zones/b.yaml'))
  mkdirSync(tree.etc('derpanet.yaml'))
  await refused(t, tree, /ETC\/derpanet.yaml:1:1: INVALID_FILENAME: is not a regular file/)
})

t.test('a file or folder that others may write is refused', async (t) => {
  const tree = makeTree({ 'zones/a.yaml': '' })
  t.teardown(tree.remove)
  chmodSync(tree.etc('zones/a.yaml'), 0o646)
  await refused(t, tree, /zones\/a.yaml:1:1: INVALID_FILENAME: is writable by everybody \(mode 646\)/)
  chmodSync(tree.etc('zones/a.yaml'), 0o644)
  t.ok((await tree.load()).settings)
  chmodSync(tree.etc('zones'), 0o777)
  await refused(t, tree, /ETC\/zones:1:1: INVALID_DIRECTORY: is writable by everybody \(mode 777\)/)
  chmodSync(tree.etc('zones'), 0o755)
  chmodSync(tree.paths.etc, 0o757)
  await refused(t, tree, /ETC:1:1: INVALID_DIRECTORY: is writable by everybody/)
})

t.test('writing by the group is fine for root\'s group and for no other', { skip }, async (t) => {
  const tree = makeTree({ 'zones/a.yaml': '' })
  t.teardown(tree.remove)
  chmodSync(tree.etc('zones/a.yaml'), 0o664)
  t.ok((await tree.load()).settings)
  chownSync(tree.etc('zones/a.yaml'), 0, 12345)
  await refused(t, tree, /zones\/a.yaml:1:1: INVALID_FILENAME: is writable by group 12345/)
})

t.test('a file of a stranger is refused, one of the tree\'s owner is not', { skip }, async (t) => {
  const tree = makeTree({ 'zones/a.yaml': '' })
  t.teardown(tree.remove)
  chownSync(tree.etc('zones/a.yaml'), 12345, 0)
  await refused(t, tree, /zones\/a.yaml:1:1: INVALID_FILENAME: belongs to user 12345, who is neither root nor the owner of ETC/)
  chownSync(tree.paths.etc, 12345, 0)
  t.ok((await tree.load()).settings)
})

t.test('a change of the mode alone is seen on reload', async (t) => {
  const tree = makeTree({ 'zones/a.yaml': '' })
  t.teardown(tree.remove)
  const first = (await tree.load()).settings
  chmodSync(tree.etc('zones/a.yaml'), 0o666)
  t.equal((await tree.load(first)).settings, null)
})

t.test('a file over 1 MiB is refused unread', async (t) => {
  const tree = makeTree({ 'zones/a.yaml': '' })
  t.teardown(tree.remove)
  truncateSync(tree.etc('zones/a.yaml'), 1024 * 1024 + 1)
  await refused(t, tree, /zones\/a.yaml:1:1: INVALID_FILENAME: is larger than 1048576 bytes/)
})

t.test('text that is not UTF-8 is refused at its place', async (t) => {
  const tree = makeTree()
  t.teardown(tree.remove)
  tree.write('zones/a.yaml', Buffer.from('short: A\ndescription: \xe4\n', 'latin1'))
  await refused(t, tree, /zones\/a.yaml:2:14: PARSE_ERROR: the text is not UTF-8/)
})
