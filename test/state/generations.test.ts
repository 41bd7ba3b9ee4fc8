import { createHash } from 'node:crypto'
import { chmodSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { GenerationStore, type GenerationLimits } from '../../src/state/generations.ts'
import { digestSettings } from '../../src/state/codec.ts'
import { writeAtomic } from '../../src/state/atomic.ts'
import { list, settingsWith } from './support.ts'
import type { Settings } from '../../src/model/settings.ts'

const by = { name: ':1.7', uid: 1000, pid: 42 }

async function open(folder: string, limits?: GenerationLimits): Promise<{ store: GenerationStore; warnings: string[] }> {
  const warnings: string[] = []
  return { store: await GenerationStore.open(folder, (text) => void warnings.push(text), limits), warnings }
}

async function record(store: GenerationStore, settings: Settings): Promise<number> {
  const number = store.nextNumber()
  await store.record(settings, { number, at: '2026-01-01T00:00:00.000Z', by, what: 'reload' })
  return number
}

t.test('a stored generation reads back equal, with its lists, who, when and what', async (t) => {
  const folder = t.testdir()
  const settings = settingsWith(['80', '6000-6010'], [list('bad', [0xc6336401, 0xc6336402])])
  const { store } = await open(folder)
  const number = await record(store, settings)
  await store.close()
  const { store: again, warnings } = await open(folder)
  const good = await again.lastKnownGood()
  t.strictSame(warnings, [])
  t.match(good?.record, { number, by, what: 'reload', at: '2026-01-01T00:00:00.000Z' })
  t.strictSame(good?.settings.zones.get('office'), settings.zones.get('office'))
  t.strictSame(good?.settings.ipsets.get('banned'), settings.ipsets.get('banned'))
  t.strictSame(good?.settings.lists.get('bad'), settings.lists.get('bad'))
  t.equal(good === null ? '' : digestSettings(good.settings), digestSettings(settings))
})

t.test('files on disk are for root alone', async (t) => {
  const folder = t.testdir()
  const { store } = await open(folder)
  await record(store, settingsWith(['80'], [list('bad', [1])]))
  for (const kind of ['generations', 'objects', 'lists']) {
    t.equal(statSync(join(folder, kind)).mode & 0o777, 0o700, kind)
    for (const name of readdirSync(join(folder, kind))) t.equal(statSync(join(folder, kind, name)).mode & 0o777, 0o600, `${kind}/${name}`)
  }
})

t.test('equal content is stored once, whatever the number', async (t) => {
  const folder = t.testdir()
  const { store } = await open(folder)
  const shared = list('bad', [1, 2, 3])
  await record(store, settingsWith(['80'], [shared]))
  await record(store, settingsWith(['81'], [shared]))
  await record(store, settingsWith(['80'], [shared]))
  t.equal(readdirSync(join(folder, 'generations')).length, 3)
  t.equal(readdirSync(join(folder, 'objects')).length, 2)
  t.equal(readdirSync(join(folder, 'lists')).length, 1)
})

t.test('more than the wanted count of generations evicts the oldest and what only they used', async (t) => {
  const folder = t.testdir()
  const { store } = await open(folder, { count: 3, sizeBytes: 1e9 })
  for (let port = 1; port <= 7; port++) await record(store, settingsWith([String(port)], [list('bad', [port])]))
  t.strictSame(store.list().map(({ number }) => number), [5, 6, 7])
  t.strictSame(readdirSync(join(folder, 'generations')), ['00000005.json', '00000006.json', '00000007.json'])
  t.equal(readdirSync(join(folder, 'objects')).length, 3)
  t.equal(readdirSync(join(folder, 'lists')).length, 3)
})

t.test('more bytes than wanted evicts too, but never the newest', async (t) => {
  const folder = join(t.testdir(), 'big')
  const big = (seed: number): Settings => settingsWith(['80'], [list('bad', Array.from({ length: 2000 }, (_, index) => seed * 10_000 + index))])
  const { store } = await open(folder, { count: 50, sizeBytes: 40_000 })
  for (let seed = 1; seed <= 5; seed++) await record(store, big(seed))
  t.ok(store.list().length < 5 && store.list().length >= 1, `${store.list().length} are left`)
  const { store: tiny } = await open(join(folder, '../tiny'), { count: 50, sizeBytes: 10 })
  await record(tiny, big(1))
  t.equal(tiny.list().length, 1)
  t.ok(await tiny.lastKnownGood(), 'and it can be used')
})

t.test('a damaged generation is never used: the one before it is, and the reason is told', async (t) => {
  const damages: readonly (readonly [string, RegExp, (folder: string) => void])[] = [
    ['a flipped value', /damaged/, (folder) => edit(newestObject(folder), (text) => text.replace('192.0.2.0/24', '192.0.2.0/25'))],
    ['a cut file', /JSON/, (folder) => edit(newestObject(folder), (text) => text.slice(0, text.length / 2))],
    ['an unknown key', /key surprise is not known/, (folder) => editUnsigned(newestObject(folder), (text) => text.replace('"short":"Office"', '"short":"Office","surprise":1'))],
    ['a wrong type', /masquerade: not true or false/, (folder) => editUnsigned(newestObject(folder), (text) => text.replace('"masquerade":true', '"masquerade":"yes"'))],
    ['an invalid port', /INVALID_PORT/, (folder) => editUnsigned(newestObject(folder), (text) => text.replace('"82/tcp"', '"99999/tcp"'))],
    ['a list with one changed byte', /list bad: checksum differs/, (folder) => {
      const path = newestOf(folder, 'lists')
      const bytes = readFileSync(path)
      bytes[bytes.length - 40] = (bytes[bytes.length - 40] ?? 0) ^ 1
      writeFileSync(path, bytes)
    }],
  ]
  const root = t.testdir()
  for (const [index, [what, reason, damage]] of damages.entries()) {
    const folder = join(root, String(index))
    const { store } = await open(folder)
    await record(store, settingsWith(['80'], [list('bad', [1])]))
    await new Promise((resolve) => setTimeout(resolve, 15))
    await record(store, settingsWith(['82'], [list('bad', [2])]))
    damage(folder)
    const { store: again } = await open(folder)
    const good = await again.lastKnownGood()
    t.equal(good?.record.number, 1, `${what}: generation 1 is used`)
    t.match(good?.skipped[0]?.reason, reason, `${what}: the reason is told`)
  }
})

t.test('a damaged record is left out and named', async (t) => {
  const folder = t.testdir()
  const { store } = await open(folder)
  await record(store, settingsWith(['80']))
  writeFileSync(join(folder, 'generations', '00000009.json'), '{"number":9}')
  const { store: again, warnings } = await open(folder)
  t.match(warnings, [/00000009\.json is left out/])
  t.equal((await again.lastKnownGood())?.record.number, 1)
})

t.test('a number is never given twice, also after a crash', async (t) => {
  const folder = t.testdir()
  const { store } = await open(folder)
  const first = [store.nextNumber(), store.nextNumber(), store.nextNumber()]
  t.strictSame(first, [1, 2, 3])
  await store.settle()
  const { store: crashed } = await open(folder)
  t.ok(crashed.nextNumber() > 3, 'no clean stop: the reserved ones are skipped')
  await crashed.close()
  const { store: clean } = await open(folder)
  t.equal(clean.nextNumber(), crashed.nextNumber(), 'after a clean stop it goes on without a gap')
})

t.test('an atomic write that fails leaves the old file and no rest', async (t) => {
  const folder = t.testdir({ file: 'old' })
  mkdirSync(join(folder, 'taken'))
  await t.rejects(writeAtomic(join(folder, 'taken'), 'new'), /write .*taken/)
  await t.rejects(writeAtomic(join(folder, 'missing', 'file'), 'new'), /write .*missing/)
  await writeAtomic(join(folder, 'file'), 'new')
  t.equal(readFileSync(join(folder, 'file'), 'utf8'), 'new')
  t.strictSame(readdirSync(folder).sort(), ['file', 'taken'], 'no temp file is left')
})

function newestObject(folder: string): string {
  return newestOf(folder, 'objects')
}

function newestOf(folder: string, kind: string): string {
  const paths = readdirSync(join(folder, kind)).map((name) => join(folder, kind, name))
  const newest = paths.sort((a, b) => statSync(b).mtimeMs - statSync(a).mtimeMs)[0]
  if (newest === undefined) throw new Error(`nothing in ${kind}`)
  return newest
}

/** As a program wrote it that knew no checksum: what it says is all there is to judge it by. */
function editUnsigned(path: string, change: (text: string) => string): void {
  edit(path, (text) => change(text.split('\n')[0] ?? ''))
}

function edit(path: string, change: (text: string) => string): void {
  const before = readFileSync(path, 'utf8')
  const after = change(before)
  if (after === before) throw new Error('the edit changed nothing')
  chmodSync(path, 0o600)
  writeFileSync(path, after)
}

t.test('what an older program stored, without the keys of this one, is still the last known good', async (t) => {
  const folder = t.testdir()
  const store = await GenerationStore.open(folder, t.fail)
  const record = await store.record(settingsWith(['80']), { number: 1, at: new Date(0).toISOString(), by: { name: 'start' }, what: 'start' })
  const path = join(folder, 'objects', `${record.settings}.json`)
  const stored = JSON.parse(readFileSync(path, 'utf8').split('\n')[0]!) as { main: { value: Record<string, unknown> } }
  delete stored.main.value['firewalldCompat']
  delete stored.main.value['onStop']
  delete stored.main.value['xdp']
  const text = JSON.stringify(stored)
  writeFileSync(path, `${text}\n${createHash('sha256').update(text).digest('hex')}\n`)
  const found = await (await GenerationStore.open(folder, t.fail)).lastKnownGood()
  t.equal(found?.record.number, 1)
  t.match(found?.settings.main.value, { onStop: 'keep', xdp: 'auto', firewalldCompat: 'auto' }, 'with the defaults of what it lacks')
})

t.test('a folder that cannot be used keeps nothing, says so, and stops nobody', async (t) => {
  const folder = join(t.testdir({ state: 'a file' }), 'state')
  const warnings: string[] = []
  const store = await GenerationStore.open(folder, (text) => void warnings.push(text))
  t.match(warnings, [/stored generations cannot be used/])
  t.equal(await store.lastKnownGood(), null)
  t.equal(store.nextNumber(), 1)
  await t.rejects(store.record(settingsWith(['80']), { number: 1, at: new Date(0).toISOString(), by: { name: 'start' }, what: 'start' }))
})
