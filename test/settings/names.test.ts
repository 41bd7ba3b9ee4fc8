// Names of objects, and the suggestion for a mistyped word.
import t from 'tap'
import { isName, requireName } from '../../src/settings/names.ts'
import type { KindName } from '../../src/settings/names.ts'
import { didYouMean, suggest } from '../../src/settings/suggest.ts'

t.test('names follow firewalld\'s rules and never leave their folder', (t) => {
  const rows: readonly (readonly [KindName, string, boolean])[] = [
    ['zone', 'public', true], ['zone', 'größe', true], ['zone', 'a/b', true], ['zone', 'a/b/c', false], ['zone', '/a', false], ['zone', 'a b', false],
    ['zone', 'a.b', false], ['zone', '..', false], ['zone', '', false], ['zone', 'a"b', false], ['zone', 'a\n', false],
    ['zone', 'a'.repeat(96), true], ['zone', 'a'.repeat(97), false], ['policy', 'a'.repeat(128), true], ['policy', 'a'.repeat(129), false],
    ['service', 'a-b_1', true], ['service', 'a.b', false], ['ipset', 'a:b.c-d_e', true], ['ipset', 'x'.repeat(32), true], ['ipset', 'x'.repeat(33), false],
    ['ipset', '..', false], ['icmptype', 'echo-reply', true], ['helper', 'Q.931', true], ['helper', 'a_b', false], ['helper', '.', false],
    ['list', 'drop.v4', true], ['list', '.hidden', false], ['list', '../x', false],
  ]
  for (const [kind, name, good] of rows) t.equal(isName(kind, name), good, `${kind} '${name.slice(0, 40)}' (${name.length})`)
  t.throws(() => requireName('zone', 'a b'), { code: 'INVALID_NAME' })
  t.end()
})

t.test('a mistyped word gets the nearest known one', (t) => {
  const known = ['services', 'service', 'sources', 'source-ports', 'forward-ports', 'icmp-blocks', 'target']
  const rows: readonly (readonly [string, string | null])[] = [
    ['servises', 'services'], ['Services', 'services'], ['source_ports', 'source-ports'], ['tagret', 'target'], ['forwardports', 'forward-ports'],
    ['xyz', null], ['', null], ['completely-different', null], ['x'.repeat(100), null],
  ]
  for (const [word, expected] of rows) t.equal(suggest(word, known), expected, word.slice(0, 30))
  t.equal(didYouMean('tagret', known), ", did you mean 'target'?")
  t.equal(didYouMean('nothing-like-it', known), '')
  t.end()
})
