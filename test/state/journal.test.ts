import { appendFileSync, existsSync, mkdtempSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import t from 'tap'
import type { Change } from '../../src/model/change.ts'
import { journalLimitBytes, RuntimeJournal, type JournalHeader } from '../../src/state/journal.ts'
import { decodeChange, encodeChange } from '../../src/state/codec.ts'

const settings = 'a'.repeat(64)
const header: JournalHeader = { generation: 4, settings, panic: false, defaultBound: ['eth9'], expiries: [] }
const addPort: Change = { kind: 'zone-item-add', zone: 'public', field: 'ports', item: ['80', 'tcp'], timeoutSec: 60 }
const line = { generation: 5, by: { name: ':1.9', uid: 0 }, atMs: 1234, change: addPort }

t.test('what was appended is read back by the next process of the same boot', (t) => {
  const path = join(t.testdir(), 'run', 'runtime.jsonl')
  const journal = new RuntimeJournal(path, 'boot-1')
  t.equal(journal.read(), null, 'nothing there yet')
  journal.begin({ ...header, expiries: [{ key: 'k', dueMs: 9, change: { kind: 'panic-set', on: false } }] })
  t.equal(journal.append(line), true)
  journal.close()
  t.strictSame(new RuntimeJournal(path, 'boot-1').read(), {
    header: { ...header, expiries: [{ key: 'k', dueMs: 9, change: { kind: 'panic-set', on: false } }] }, lines: [line],
  })
  t.equal(new RuntimeJournal(path, 'boot-2').read(), null, 'after a reboot it is void')
  t.end()
})

t.test('a line cut off by the crash is ignored, a damaged line is named and costs only itself', (t) => {
  const path = join(t.testdir(), 'runtime.jsonl')
  const journal = new RuntimeJournal(path, 'boot')
  journal.begin(header)
  journal.append(line)
  journal.close()
  appendFileSync(path, '{"generation":6,"by":{"na')
  t.equal(journal.read()?.lines.length, 1)
  writeFileSync(path, `${readFileSync(path, 'utf8')}\n`)
  appendFileSync(path, `${JSON.stringify({ ...line, change: { kind: 'panic-set', on: true } })}\n`)
  const found = journal.read()
  t.strictSame(found?.lines.map(({ change }) => change.kind), ['zone-item-add', 'panic-set'], 'what follows it is read')
  t.match(found?.damaged, [/journal line 3/])
  t.end()
})

t.test('of a journal with a damaged header the last word about panic mode is still heard', (t) => {
  const path = join(t.testdir(), 'runtime.jsonl')
  const journal = new RuntimeJournal(path, 'boot')
  t.equal(journal.saysPanic(), false, 'none there')
  journal.begin({ ...header, panic: true })
  t.equal(journal.saysPanic(), true)
  writeFileSync(path, `garbage${readFileSync(path, 'utf8').slice(9)}`)
  t.throws(() => journal.read())
  t.equal(journal.saysPanic(), true)
  appendFileSync(path, `${JSON.stringify({ ...line, change: { kind: 'panic-set', on: false } })}\n`)
  t.equal(journal.saysPanic(), false)
  t.end()
})

t.test('on a full disk the journal that is there stays whole', { skip: process.getuid?.() !== 0 && 'needs root' }, (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'derpanet-full-'))
  t.equal(spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=8k', 'derpanet-test', folder]).status, 0)
  const journal = new RuntimeJournal(join(folder, 'runtime.jsonl'), 'boot')
  t.teardown(() => {
    journal.close()
    spawnSync('umount', [folder])
    rmdirSync(folder)
  })
  journal.begin(header)
  const big: Change = { kind: 'ipset-entries-set', ipset: 'x', entries: Array.from({ length: 400 }, (_, index) => `192.0.2.${index}`) }
  t.throws(() => { for (let i = 0; i < 3; i++) journal.append({ ...line, change: big }) }, /ENOSPC/)
  t.throws(() => journal.begin({ ...header, defaultBound: Array.from({ length: 2000 }, (_, index) => `eth${index}`) }), /ENOSPC/)
  t.equal(journal.append(line), true, 'what fits is taken again')
  const found = journal.read()
  t.equal(found?.damaged, undefined)
  t.strictSame(found?.lines.at(-1), line)
  t.end()
})

t.test('begin replaces everything, a stop leaves nothing', (t) => {
  const path = join(t.testdir(), 'runtime.jsonl')
  const journal = new RuntimeJournal(path, 'boot')
  journal.begin(header)
  journal.append(line)
  journal.begin({ ...header, generation: 9 })
  t.strictSame(journal.read(), { header: { ...header, generation: 9 }, lines: [] })
  journal.remove()
  t.equal(existsSync(path), false)
  t.equal(existsSync(`${path}.new`), false)
  t.end()
})

t.test('append says when the journal has grown over its limit', (t) => {
  const path = join(t.testdir(), 'runtime.jsonl')
  const journal = new RuntimeJournal(path, 'boot')
  journal.begin(header)
  const big: Change = { kind: 'ipset-entries-set', ipset: 'x', entries: Array.from({ length: 1000 }, (_, index) => `192.0.2.${index}`) }
  let appended = 0
  while (journal.append({ ...line, change: big })) appended += 1
  t.ok(appended * 12_000 < journalLimitBytes + 20_000 && appended > 10, `${appended} lines fit`)
  journal.close()
  t.end()
})

t.test('every kind of change goes to JSON and back, and a strange one is refused', (t) => {
  const changes: readonly Change[] = [
    addPort, { kind: 'zone-item-remove', zone: '', field: 'richRules', item: ['rule accept'] }, { kind: 'zone-flag-add', zone: '', field: 'masquerade', timeoutSec: 0 },
    { kind: 'zone-flag-remove', zone: '', field: 'forward' }, { kind: 'interface-add', zone: 'a', interface: 'eth0' }, { kind: 'interface-change', zone: 'a', interface: 'eth0' },
    { kind: 'interface-remove', zone: 'a', interface: 'eth0' }, { kind: 'source-add', zone: 'a', source: '192.0.2.1' }, { kind: 'source-change', zone: 'a', source: '192.0.2.1' },
    { kind: 'source-remove', zone: 'a', source: '192.0.2.1' }, { kind: 'ipset-entry-add', ipset: 's', entry: '192.0.2.1' }, { kind: 'ipset-entry-remove', ipset: 's', entry: '192.0.2.1' },
    { kind: 'ipset-entries-set', ipset: 's', entries: ['192.0.2.1'] }, { kind: 'default-zone-set', zone: 'home' }, { kind: 'log-denied-set', value: 'all' }, { kind: 'panic-set', on: true },
    { kind: 'zone-item-expire', zone: 'a', field: 'ports', item: ['80', 'tcp'], bySettings: true }, { kind: 'zone-flag-expire', zone: 'a', field: 'masquerade' },
    { kind: 'zone-settings', zone: 'a', timeoutSec: 0, settings: { target: 'DROP', ports: [{ port: '80', protocol: 'tcp' }], masquerade: true } },
  ]
  for (const change of changes) t.strictSame(decodeChange(JSON.parse(JSON.stringify(encodeChange(change)))), change, change.kind)
  for (const strange of [{ kind: 'format-disk' }, { ...addPort, timeoutSec: -1 }, { ...addPort, extra: 1 }, { ...addPort, item: [80] }, { kind: '__proto__' }, null, 'x']) {
    t.throws(() => decodeChange(strange), Error, JSON.stringify(strange))
  }
  t.end()
})
