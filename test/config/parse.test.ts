// One file: what it means, and the text a person gets for every mistake in it (goldens in diagnostics/).
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { stringify } from 'yaml'
import { formatDiagnostic, sortDiagnostics } from '../../src/config/diagnostic.ts'
import { parseSettings } from '../../src/config/parse.ts'
import type { ZoneSettings } from '../../src/model/settings.ts'
import { emptyZone } from '../../src/model/settings.ts'
import { fieldRows } from '../../src/settings/field.ts'
import { kinds, mainKind } from '../../src/settings/kinds.ts'
import type { ObjectKind } from '../../src/settings/kinds.ts'
import { randomZone } from '../settings/random-zone.ts'
import { createRandom, seedOfRun } from '../support/random.ts'

const here = dirname(fileURLToPath(import.meta.url))
const zone = (text: string) => parseSettings('zones/x.yaml', text, kinds.zone)
const mistakes = (text: string, kind: ObjectKind<never> = kinds.zone as never): string[] =>
  parseSettings('x.yaml', text, kind).diagnostics.map((diagnostic) => formatDiagnostic(diagnostic))

t.test('goldens: every mistake of a file at once, each with its line and a caret', (t) => {
  const folder = join(here, 'diagnostics')
  const cases = readdirSync(folder).sort()
  t.ok(cases.length >= 8, 'the cases are found')
  for (const name of cases) {
    for (const file of readdirSync(join(folder, name)).filter((found) => found.endsWith('.yaml'))) {
      const kind = { ...kinds, main: mainKind }[file.replace('.yaml', '') as 'zone'] as unknown as ObjectKind<never>
      const { value, diagnostics } = parseSettings(file, readFileSync(join(folder, name, file), 'utf8'), kind)
      const text = `${diagnostics.map((diagnostic) => formatDiagnostic(diagnostic, { caret: true })).join('\n')}\n`
      const golden = join(folder, name, 'errors.txt')
      if (process.env['UPDATE_GOLDEN'] === '1') writeFileSync(golden, text)
      t.equal(text, readFileSync(golden, 'utf8'), name)
      t.equal(value === null, diagnostics.some(({ severity }) => severity === 'error'), `${name}: a value exactly when there is no error`)
    }
  }
  t.end()
})

t.test('a file says what it says, and where', (t) => {
  const { value, positions, diagnostics } = zone([
    'short: Public', 'target: DROP', 'services: [ssh, http]', 'ports:', '  - 8080/tcp', '  - {port: 6010-6000, protocol: udp}', 'masquerade: yes',
    'sources: [192.0.2.0/24, "00:aa:bb:cc:dd:ee", "list:bad"]', 'forward-ports: [{port: 80, protocol: tcp, to-port: 8080}]', 'ingress-priority: -5', 'interfaces:', '',
  ].join('\n'))
  t.strictSame(diagnostics, [])
  t.strictSame(value, {
    ...emptyZone, short: 'Public', target: 'DROP', services: ['ssh', 'http'], ports: [{ port: '8080', protocol: 'tcp' }, { port: '6000-6010', protocol: 'udp' }],
    masquerade: true, sources: ['192.0.2.0/24', '00:AA:BB:CC:DD:EE', 'list:bad'], forwardPorts: [{ port: '80', protocol: 'tcp', toPort: '8080', toAddr: '' }],
    ingressPriority: -5,
  })
  t.strictSame(positions.get('services'), { line: 3, column: 1 })
  t.strictSame(positions.get('services=http'), { line: 3, column: 17 })
  t.strictSame(positions.get('ports=6000-6010/udp'), { line: 6, column: 5 }, 'under its canonical text')
  t.strictSame(positions.get('forwardPorts=80/tcp:8080'), { line: 9, column: 17 })
  t.strictSame(positions.get('sources=00:AA:BB:CC:DD:EE'), { line: 8, column: 25 })
  t.end()
})

t.test('an empty file, comments alone and a BOM-free document marker are the empty object', (t) => {
  for (const text of ['', '\n', '# nothing\n', '---\n', '---\n# nothing\n']) t.strictSame(zone(text), { value: emptyZone, positions: new Map(), diagnostics: [] }, JSON.stringify(text))
  t.end()
})

t.test('numbers are text as they are written, truth values are not', (t) => {
  t.strictSame(zone('version: 1.10\nprotocols: [47]\n').value, { ...emptyZone, version: '1.10', protocols: ['47'] })
  t.equal(parseSettings('x', 'firewalld-compat: 2.5\nxdp: off\n', mainKind).value?.firewalldCompat, '2.5')
  t.equal(parseSettings('x', 'firewalld-compat: no\n', mainKind).value?.firewalldCompat, 'no')
  const conf = 'ipv6-rpfilter: loose\nrfc3964-ipv4: no\nstrict-forward-ports: yes\nlockdown: yes\nflush-all-on-reload: no\n'
  t.match(parseSettings('x', conf, mainKind).value, { ipv6Rpfilter: 'loose', rfc3964Ipv4: false, strictForwardPorts: true, lockdown: true, flushAllOnReload: false })
  t.strictSame(['yes', 'no', 'strict', '"no"'].map((word) => parseSettings('x', `ipv6-rpfilter: ${word}\n`, mainKind).value?.ipv6Rpfilter), ['strict', 'no', 'strict', 'no'])
  t.strictSame(mistakes('short: true\n'), ['x.yaml:1:8: INVALID_VALUE: short takes text, not the truth value true, which has to be quoted to be text'])
  t.end()
})

t.test('ipset entries are canonical and found under their canonical text', (t) => {
  const { value, positions } = parseSettings('x', 'type: hash:net\noptions: {family: inet6, maxelem: 1000}\nentries: [2001:DB8:0:0::/32]\n', kinds.ipset)
  t.strictSame(value?.entries, ['2001:db8::/32'])
  t.strictSame(value?.options, { family: 'inet6', maxelem: '1000' })
  t.strictSame(positions.get('entries=2001:db8::/32'), { line: 3, column: 11 })
  t.end()
})

t.test('references, tags, directives and second documents are refused', (t) => {
  const rows: readonly (readonly [string, string])[] = [
    ['services: &x [ssh]\n', 'x.yaml:1:14: PARSE_ERROR: anchors are not allowed'],
    ['short: a\nversion: *a\n', 'x.yaml:2:10: PARSE_ERROR: aliases are not allowed, write the value again'],
    ['short: !!str 1\n', 'x.yaml:1:14: PARSE_ERROR: tags are not allowed'],
    ['short: !local 1\n', 'x.yaml:1:15: PARSE_ERROR: tags are not allowed'],
    ['<<: {short: a}\n', 'x.yaml:1:1: PARSE_ERROR: merge keys are not allowed'],
    ['%YAML 1.1\n---\nshort: a\n', 'x.yaml:1:1: PARSE_ERROR: directives are not allowed'],
    ['short: a\n---\nshort: b\n', 'x.yaml:2:1: PARSE_ERROR: a file holds one document, a second one begins here'],
    ['- ssh\n', 'x.yaml:1:1: PARSE_ERROR: expected keys and values, like `short: Name`'],
    ['short: a\nshort: b\n', 'x.yaml:2:1: PARSE_ERROR: the same key twice'],
  ]
  for (const [text, message] of rows) t.strictSame(mistakes(text), [message], JSON.stringify(text))
  t.end()
})

t.test('size and depth are bounded', (t) => {
  t.strictSame(mistakes(`short: ${'a'.repeat(1024 * 1024)}\n`), ['x.yaml:1:1: PARSE_ERROR: the file is larger than 1048576 bytes'])
  t.strictSame(mistakes(`services: ${'['.repeat(16)}${']'.repeat(16)}\n`), ['x.yaml:1:26: PARSE_ERROR: nested deeper than 16 levels'])
  t.match(mistakes('['.repeat(20_000))[0], /nested deeper than 16 levels/, 'without running out of stack')
  t.match(mistakes('- '.repeat(20_000))[0], /nested deeper than 16 levels/)
  t.notMatch(mistakes(`services: ${'['.repeat(15)}${']'.repeat(15)}\n`).join('\n'), /nested deeper/)
  t.end()
})

t.test('the caret stands under the mistake, however the line is written', (t) => {
  const shown = (text: string): string[] => zone(text).diagnostics.flatMap((diagnostic) => formatDiagnostic(diagnostic, { caret: true }).split('\n').slice(1))
  t.strictSame(shown('ports:\t[bad/tcp]\n'), ['     1 | ports: [bad/tcp]', '       |         ^'], 'a tab counts as one column')
  t.strictSame(shown('ports: ["\u0007bad/tcp", x]\n').map((line) => line.replace(/^.*\| /, '')).filter((line) => line.endsWith('^')).length, 2)
  const long = shown(`services: [${'ssh'.padEnd(300)}, a b]\n`)
  t.ok(long[0]!.length < 130 && long[1]!.indexOf('^') === long[0]!.indexOf('a b'), 'a long line is cut around it')
  t.end()
})

t.test('control characters of a file never reach the terminal', (t) => {
  const text = zone('target: "\\e[31mred"\nshort: a\n').diagnostics.map((diagnostic) => formatDiagnostic(diagnostic, { caret: true })).join('\n')
  t.notMatch(text, /\u001b/)
  const raw = parseSettings('zones/\u001b[2J.yaml', 'x\u009b: 1\n', kinds.zone).diagnostics.map((diagnostic) => formatDiagnostic(diagnostic, { caret: true })).join('\n')
  t.notMatch(raw, /[\u001b\u009b]/)
  t.end()
})

t.test('for the bus a diagnostic is place and code alone', (t) => {
  const [diagnostic] = zone('services: [secret word]\n').diagnostics
  t.equal(formatDiagnostic(diagnostic!, { audience: 'bus', caret: true }), 'zones/x.yaml:1:12: INVALID_SERVICE')
  t.end()
})

t.test('diagnostics are sorted by file and place, errors first', (t) => {
  const at = (file: string, line: number, severity: 'error' | 'warning') => ({ severity, code: 'PARSE_ERROR', file, line, column: 1, text: '' }) as const
  const sorted = [at('a', 1, 'error'), at('a', 2, 'error'), at('a', 2, 'warning'), at('b', 1, 'error')]
  t.strictSame(sortDiagnostics([...sorted].reverse()), sorted)
  t.end()
})

/** Settings as a person might write them: every key, items as text. */
function asYaml(value: ZoneSettings): string {
  return stringify(Object.fromEntries(fieldRows(kinds.zone.fields).map(([key, field]) => [
    field.yaml, field.shape === 'list' ? (value[key] as readonly unknown[]).map((item) => field.item.toText(item)) : value[key],
  ])))
}

t.test('random zones written as YAML are read back as they were', (t) => {
  const seed = seedOfRun()
  t.comment(`DERPANET_SEED=${seed}`)
  const random = createRandom(seed)
  for (let round = 0; round < 300; round++) {
    const value = randomZone(random.fork(round))
    const parsed = zone(asYaml(value))
    if (!t.strictSame([parsed.value, parsed.diagnostics], [value, []], `round ${round}`)) break
  }
  t.end()
})

t.test('no text makes the parser throw, and what it takes without an error it takes again', (t) => {
  const seed = seedOfRun()
  t.comment(`DERPANET_SEED=${seed}`)
  const random = createRandom(seed)
  const pieces = ['short', 'services', 'ports', ':', ': ', '\n', '  ', '- ', '[', ']', '{', '}', ',', '"', "'", '&a', '*a', '!!x', '|', '>', '#', '\t', '80/tcp', 'ssh', '%', '---', '...', '?', '<<', '\u0000', 'é', '~']
  for (let round = 0; round < 3000; round++) {
    const own = random.fork(round)
    const text = Array.from({ length: own.between(1, 30) }, () => own.pick(pieces)).join('')
    try {
      const { value, diagnostics } = zone(text)
      if ((value === null) !== diagnostics.some(({ severity }) => severity === 'error')) throw new Error('value and diagnostics disagree')
      if (diagnostics.some(({ line, column }) => !(line >= 1 && column >= 1))) throw new Error('a place outside the text')
    } catch (error) {
      t.fail(`round ${round}: ${JSON.stringify(text)}: ${String(error)}`)
      break
    }
  }
  t.pass('3000 texts')
  t.end()
})
