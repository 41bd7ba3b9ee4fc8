// What a person wrote into a file stays there when a program changes a value in it.
import t from 'tap'
import { editYaml, formatYaml } from '../../../src/config/store/yaml-edit.ts'
import { parseSettings } from '../../../src/config/parse.ts'
import type { ZoneSettings } from '../../../src/model/settings.ts'
import { emptyZone } from '../../../src/model/settings.ts'
import { directKind } from '../../../src/settings/direct.ts'
import { kinds, mainKind } from '../../../src/settings/kinds.ts'
import type { ObjectKind } from '../../../src/settings/kinds.ts'
import { randomZone } from '../../settings/random-zone.ts'
import { createRandom, seedOfRun } from '../../support/random.ts'
import { randomDirect, randomObjects } from '../firewalld/random-objects.ts'

/** All counts are for npm run test:full. */
const rounds = process.env['DERPANET_TEST_FULL'] === undefined ? 50 : 250
const zone = (text: string): ZoneSettings => parseSettings('x.yaml', text, kinds.zone).value!
const edit = (text: string, change: Partial<ZoneSettings>): string => editYaml(kinds.zone, 'x.yaml', text, { ...zone(text), ...change })

const rows: readonly (readonly [title: string, before: string, change: Partial<ZoneSettings>, after: string])[] = [
  ['a scalar changes in its place', '# head\ntarget:   DROP   # why\nshort: X\n', { target: 'ACCEPT' }, '# head\ntarget:   ACCEPT   # why\nshort: X\n'],
  ['a quoted scalar too', 'short: "Öffent\\nlich" # name\n', { short: 'say "hi": #1' }, 'short: \'say "hi": #1\' # name\n'],
  ['a flag keeps its line', 'masquerade:  yes # NAT\n', { masquerade: false }, 'masquerade:  false # NAT\n'],
  ['a key that is not there comes last', '# only a comment\n\nshort: X\n# end\n', { masquerade: true }, '# only a comment\n\nshort: X\n# end\nmasquerade: true\n'],
  ['without a last newline one is put in', 'short: X', { masquerade: true }, 'short: X\nmasquerade: true\n'],
  ['a file of comments keeps them', '# nothing yet\n', { services: ['ssh'] }, '# nothing yet\nservices: [ssh]\n'],
  ['an empty file gets the key', '', { services: ['ssh'] }, 'services: [ssh]\n'],
  ['an item is added to a list in one line', 'services: [ ssh,  http ]   # open\n', { services: ['ssh', 'http', 'dns'] }, 'services: [ ssh, http, dns ]   # open\n'],
  ['an item leaves a list in one line', 'services: [ssh, http, dns] # open\n', { services: ['ssh', 'dns'] }, 'services: [ssh, dns] # open\n'],
  ['the last item leaves a list in one line', 'services: [ssh] # open\n', { services: [] }, 'services: [] # open\n'],
  ['an item is added as a line', 'ports:\n    # web\n    - 80/tcp   # http\n    - "443/tcp"\n\n# next\nshort: X\n',
    { ports: [{ port: '80', protocol: 'tcp' }, { port: '443', protocol: 'tcp' }, { port: '8080', protocol: 'tcp' }] },
    'ports:\n    # web\n    - 80/tcp   # http\n    - "443/tcp"\n    - 8080/tcp\n\n# next\nshort: X\n'],
  ['a line leaves with its remark, the comment above stays', 'ports:\n  # web\n  - 80/tcp # http\n  # more\n  - 443/tcp\nshort: X\n',
    { ports: [{ port: '443', protocol: 'tcp' }] }, 'ports:\n  # web\n  # more\n  - 443/tcp\nshort: X\n'],
  ['the last line leaves an empty list', 'services:   # open\n  # remote\n  - ssh\nshort: X\n', { services: [] }, 'services: []   # open\n  # remote\nshort: X\n'],
  ['items at the margin', 'services:\n- ssh\n- http\n# end\n', { services: ['http', 'dns'] }, 'services:\n- http\n- dns\n# end\n'],
  ['an item written as keys', 'forward-ports:\n  - port: 80\n    protocol: tcp\n    to-port: 8080 # here\n  - {port: 81, protocol: tcp, to-port: 8081}\nshort: X\n',
    { forwardPorts: [{ port: '81', protocol: 'tcp', toPort: '8081', toAddr: '' }] }, 'forward-ports:\n  - {port: 81, protocol: tcp, to-port: 8081}\nshort: X\n'],
  ['a rule with quotes', 'rich-rules:\n  - rule service name="ssh" accept\n', { richRules: ['rule service name="ssh" accept', 'rule family="ipv4" source address="10.0.0.0/8" drop'] },
    'rich-rules:\n  - rule service name="ssh" accept\n  - rule family="ipv4" source address="10.0.0.0/8" drop\n'],
  ['an item that is there twice goes once and for all', 'services: [ssh, http, ssh]\n', { services: ['http'] }, 'services: [http]\n'],
  ['two keys at once', 'target: DROP\nservices: [ssh]\nmasquerade: true\n', { services: [], target: 'default', short: 'X' }, 'target: default\nservices: []\nmasquerade: true\nshort: X\n'],
  ['Windows line ends', 'services:\r\n  - ssh\r\n  - http\r\n', { services: ['ssh'] }, 'services:\r\n  - ssh\r\n'],
]

for (const [title, before, change, after] of rows) {
  t.test(title, (t) => {
    t.equal(edit(before, change), after)
    t.end()
  })
}

t.test('where a splice does not do, comments and order are kept all the same', (t) => {
  const list = '# head\nservices: [ssh, # remote\n  http, # web\n  dns]\n# about the target\ntarget: DROP # hard\n'
  t.equal(edit(list, { services: ['ssh', 'dns', 'smtp'] }).replaceAll(/\s+/g, ' '), '# head services: [ ssh, # remote dns, smtp ] # about the target target: DROP # hard '.replace(/ $/, ' '))
  const order = 'services:\n  # one\n  - ssh # a\n  # two\n  - http # b\n'
  t.equal(edit(order, { services: ['http', 'ssh'] }), 'services:\n  # one\n  # two\n  - http # b\n  - ssh # a\n', 'a comment above the first item is one of the list')
  const folded = '# head\ndescription: >\n  two\n  lines\n\n# tail\nshort: X\n'
  t.equal(edit(folded, { description: 'new' }), '# head\ndescription: new\n\n# tail\nshort: X\n')
  t.equal(edit('services: # none\nshort: X\n', { services: ['ssh'] }).includes('short: X'), true)
  t.equal(edit('{short: X}\n', { services: ['ssh'] }).includes('ssh'), true)
  t.end()
})

t.test('dictionaries: keys come, change and go', (t) => {
  const main = (text: string, firewalld: Readonly<Record<string, string>>): string =>
    editYaml(mainKind, 'x', text, { ...parseSettings('x', text, mainKind).value!, firewalld })
  t.equal(main('default-zone: home # mine\n', { FirewallBackend: 'iptables' }), 'default-zone: home # mine\nfirewalld: {FirewallBackend: iptables}\n')
  t.equal(main('firewalld: {MinimalMark: 120, IndividualCalls: "no"} # kept\n', { MinimalMark: '120', IndividualCalls: 'yes' }), 'firewalld: {MinimalMark: 120, IndividualCalls: yes} # kept\n')
  t.equal(main('firewalld:\n  # old\n  MinimalMark: 120 # m\n  IndividualCalls: "no"\nxdp: off\n', { MinimalMark: '7', CleanupOnExit: 'no' }),
    'firewalld:\n  # old\n  MinimalMark: "7" # m\n  CleanupOnExit: no\nxdp: off\n')
  t.equal(main('firewalld:\n  MinimalMark: 120\n', {}), 'firewalld: {}\n')
  t.end()
})

t.test('a file with mistakes is not touched', (t) => {
  t.throws(() => editYaml(kinds.zone, 'zones/x.yaml', 'servces: [ssh]\n', emptyZone), { code: 'COMMAND_FAILED', detail: 'zones/x.yaml is not changed, because it has mistakes' })
  t.end()
})

t.test('random values of every kind come back from a new file, and from any other file changed into them', (t) => {
  const seed = seedOfRun()
  t.comment(`DERPANET_SEED=${seed}`)
  const random = createRandom(seed)
  const check = <S>(kind: ObjectKind<S>, one: S, other: S): boolean => {
    const text = formatYaml(kind, one)
    const found = parseSettings('x', text, kind).value
    const changed = editYaml(kind, 'x', text, other)
    const again = parseSettings('x', changed, kind).value
    if (JSON.stringify(found) === JSON.stringify(one) && JSON.stringify(again) === JSON.stringify(other)) return true
    t.strictSame([found, again], [one, other], `${text}---\n${changed}`)
    return false
  }
  for (let round = 0; round < rounds; round++) {
    if (!check(kinds.zone, randomZone(random), randomZone(random)) || !check(directKind, randomDirect(random), randomDirect(random))) break
    let fine = true
    for (const kind of Object.values(kinds)) fine &&= check(kind as ObjectKind<unknown>, randomObjects[kind.kind](random), randomObjects[kind.kind](random))
    if (!fine) break
  }
  t.pass(`${rounds} rounds`)
  t.end()
})

t.test('random hand-written files keep every comment that is not the remark of an item that goes', (t) => {
  const seed = seedOfRun()
  t.comment(`DERPANET_SEED=${seed}`)
  const random = createRandom(seed)
  for (let round = 0; round < rounds; round++) {
    const one = randomZone(random)
    const other = random.chance(0.5) ? randomZone(random) : { ...one, services: randomZone(random).services, target: randomZone(random).target }
    let serial = 0
    const text = formatYaml(kinds.zone, one).split('\n').flatMap((line) => {
      const indent = /^\s*/.exec(line)![0]
      return random.chance(0.5) ? [`${indent}# note ${++serial}.`, line] : [line]
    }).join('\n')
    if (JSON.stringify(zone(text)) !== JSON.stringify(one)) continue
    const changed = editYaml(kinds.zone, 'x', text, other)
    const lost = Array.from({ length: serial }, (_, n) => `# note ${n + 1}.`).filter((note) => !changed.includes(note))
    if (lost.length > 0 || JSON.stringify(zone(changed)) !== JSON.stringify(other)) {
      t.fail(`${lost.join()} lost\n${text}\n---\n${changed}`)
      break
    }
  }
  t.pass(`${rounds} files`)
  t.end()
})
