// Long lists are cut by lines and mean what a YAML parser would make of them.
import t from 'tap'
import { parse as parseYaml } from 'yaml'
import { parseSettings } from '../../src/config/parse.ts'
import { findPlainList, isPlainItem } from '../../src/config/plain-list.ts'
import { editYaml, formatYaml } from '../../src/config/store/yaml-edit.ts'
import { emptyIpSet, type IpSetSettings } from '../../src/model/settings.ts'
import { kinds } from '../../src/settings/kinds.ts'
import { createRandom, seedOfRun } from '../support/random.ts'

const addresses = (count: number): readonly string[] => Array.from({ length: count }, (_, at) => `10.${at >> 8}.${at & 255}.0/24`)
const set = (entries: readonly string[], more: Partial<IpSetSettings> = {}): IpSetSettings => ({ ...emptyIpSet, type: 'hash:net', entries, ...more })
const read = (text: string) => parseSettings('x.yaml', text, kinds.ipset)

t.test('a plain item is what YAML reads as that very text', (t) => {
  const seed = seedOfRun()
  t.comment(`DERPANET_SEED=${seed}`)
  const random = createRandom(seed)
  const letters = [...'0123456789abcdefxXnulltrueNO.:,/_-~?*&!#|>@%"\'[]{} \t']
  let plain = 0
  for (let round = 0; round < 20_000; round++) {
    const text = Array.from({ length: random.between(1, 12) }, () => random.pick(letters)).join('')
    if (!isPlainItem(text)) continue
    plain++
    let read: unknown
    try {
      // every scalar as it is written: the reader of settings takes numbers so, too
      read = parseYaml(`entries:\n  - ${text}\n`, { schema: 'failsafe' })
    } catch (error) {
      read = error
    }
    if (JSON.stringify(read) !== JSON.stringify({ entries: [text] })) t.fail(`${JSON.stringify(text)}: ${JSON.stringify(read)}`)
  }
  for (const text of ['192.0.2.0/24', '2001:db8::1', '::1', '192.0.2.1,tcp:80', '192.0.2.1,0x63', '02:00:5e:10:00:01', '192.0.2.1-192.0.2.9']) t.ok(isPlainItem(text), text)
  for (const text of ['fe80::', 'true', 'null', '', '-', '- 1', '1: 2', '1 #2', '~']) t.notOk(isPlainItem(text), text)
  t.ok(plain > 500, `${plain} plain texts`)
  t.end()
})

t.test('values, places and mistakes are those of the slow way', (t) => {
  const entries = addresses(700)
  const lines = (items: readonly string[]): string => items.map((item) => `  - ${item}\n`).join('')
  const texts = [
    `type: hash:net\nentries:\n${lines(entries)}`,
    `entries:\n${lines(entries)}# behind\nshort: Bad\ntype: hash:net\n`,
    `type: hash:net\nentries:\n${lines([...entries, '192.0.2.0/33'])}short: Bad\n`,
    `type: hash:net\nentries:\n${lines([...entries, entries[3]!])}`,
    `type: hash:net\nentries:\n${lines([...entries, '10.0.0.0/8'])}`,
    `entries:\n${lines(entries)}type: hash:net\nentries: []\n`,
    `entries:\n${lines(entries)}`,
  ]
  for (const text of texts) {
    const quick = read(text)
    // a comment between the items makes it a list for people
    const slow = read(text.replace('  - 10.0.1.0/24\n', '  - 10.0.1.0/24 # mine\n'))
    t.not(findPlainList(text, ['entries']), null)
    t.strictSame(quick.value, slow.value)
    t.strictSame(quick.diagnostics, slow.diagnostics)
    t.strictSame([...quick.positions].sort(), [...slow.positions].sort())
  }
  t.end()
})

t.test('an edit of a long list changes its lines and nothing else', (t) => {
  const before = `# mine\ntype: hash:net # nets\nentries:\n${addresses(700).map((item) => `  - ${item}\n`).join('')}# behind\nshort: Bad\n`
  const more = [...addresses(700).slice(0, 5), ...addresses(700).slice(6), '192.0.2.0/24']
  t.equal(editYaml(kinds.ipset, 'x', before, set(more, { short: 'Bad' })), before.replace('  - 10.0.5.0/24\n', '').replace('# behind', '  - 192.0.2.0/24\n# behind'))
  const odd = [...more, '2001:db8::']
  t.strictSame(read(editYaml(kinds.ipset, 'x', before, set(more, { short: 'Worse' }))).value?.short, 'Worse', 'another key, the slow way')
  t.throws(() => editYaml(kinds.ipset, 'x', before, set(odd)), { code: 'COMMAND_FAILED' }, 'never what could not be read again')
  t.end()
})

t.test('a hundred thousand entries are written and read back', (t) => {
  const value = set(Array.from({ length: 100_000 }, (_, at) => `${10 + (at >>> 16)}.${(at >>> 8) & 255}.${at & 255}.0/24`), { options: { maxelem: '200000' } })
  const text = formatYaml(kinds.ipset, value)
  t.ok(text.length > 1024 * 1024)
  const found = read(text)
  t.strictSame(found.diagnostics, [])
  t.equal(JSON.stringify(found.value), JSON.stringify(value))
  t.end()
})
