// List text to packed lists: against a slow and simple reading, and what a wrong line is called.
import t from 'tap'
import { formatDiagnostic } from '../../src/config/diagnostic.ts'
import { parseList, locateAddress } from '../../src/lists/parse.ts'
import { formatAddr, formatPrefix, maskPrefix, parsePrefix, prefixHasAddr } from '../../src/model/addr.ts'
import type { Family, Prefix } from '../../src/model/addr.ts'
import { listContains, listPrefixOf, listPrefixes, listSize } from '../../src/model/address-list.ts'
import { createRandom, seedOfRun } from '../support/random.ts'
import type { Random } from '../support/random.ts'

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)
const parse = (text: string) => parseList('l', 'l.list', bytes(text))
const texts = (text: string): string[] => [...listPrefixes(parse(text).list!)].map(formatPrefix)

t.test('one address or prefix a line, comments, blanks and every way to write them', (t) => {
  const rows: readonly (readonly [string, readonly string[]])[] = [
    ['', []], ['\n\n# nothing\n   \t\n', []], ['192.0.2.1', ['192.0.2.1']], ['192.0.2.1\n', ['192.0.2.1']], ['  192.0.2.1\t# bad\r\n', ['192.0.2.1']],
    ['192.0.2.1#bad\n', ['192.0.2.1']], ['192.0.2.77/24\n', ['192.0.2.0/24']], ['192.0.2.77/255.255.255.0\n', ['192.0.2.0/24']], ['192.0.2.1/32\n', ['192.0.2.1']],
    ['10.0.0.0/8\n255.255.255.255\n0.0.0.1\n', ['0.0.0.1', '10.0.0.0/8', '255.255.255.255']],
    ['192.0.2.0/24\n192.0.2.0\n192.0.2.0/24\n', ['192.0.2.0/24', '192.0.2.0']],
    ['2001:DB8::1\n2001:db8::/32\n::1\n2001:db8:0:0:0:0:0:1/128\n', ['::1', '2001:db8::/32', '2001:db8::1']],
    ['::ffff:192.0.2.1\n1:2:3:4:5:6:7:8\n1:2:3:4:5:6:7::\n::2:3:4:5:6:7:8\n', ['0:2:3:4:5:6:7:8', '::ffff:c000:201', '1:2:3:4:5:6:7:0', '1:2:3:4:5:6:7:8']],
    ['2001:db8:1:2:3:4:5:6/63\nfe80::/19 # short enough\n2001:db8::1 \r\n192.0.2.1', ['192.0.2.1', '2001:db8::1', '2001:db8:1:2::/63', 'fe80::/19']],
  ]
  for (const [text, expected] of rows) {
    // Equal addresses are in order of length: the wider first.
    const wanted = [...expected].sort((a, b) => order(parsePrefix(a)!, parsePrefix(b)!))
    t.strictSame(texts(text), wanted, JSON.stringify(text))
  }
  t.end()
})

function order(a: Prefix, b: Prefix): number {
  if (a.family !== b.family) return a.family === 'ipv4' ? -1 : 1
  return a.addr < b.addr ? -1 : a.addr > b.addr ? 1 : a.length - b.length
}

t.test('a wrong line is named with line and column', (t) => {
  const text = ['192.0.2.1', '  nonsense # why', '192.0.2.256', '192.0.2.1/33', '10.0.0.0/7', '2000::/18', '1.2.3', '01.2.3.4', '1.2.3.4 5', '1:2', ':::1', '1::2::3',
    'g::', '12345::', '::1/129', '192.0.2.1/', '1.2.3.4/08x', 'ä', '1.2.3.4.5', '::1/64 x', '0.0.0.0/0', '::/0'].join('\n')
  t.strictSame(parse(text).diagnostics.map((diagnostic) => formatDiagnostic(diagnostic)), [
    'l.list:2:3: INVALID_ADDR: not an address or prefix', 'l.list:3:1: INVALID_ADDR: not an address or prefix', 'l.list:4:1: INVALID_ADDR: not an address or prefix',
    'l.list:5:1: INVALID_ENTRY: a list takes no prefix shorter than /8', 'l.list:6:1: INVALID_ENTRY: a list takes no prefix shorter than /19',
    ...Array.from({ length: 14 }, (_, index) => `l.list:${index + 7}:1: INVALID_ADDR: not an address or prefix`),
    'l.list:21:1: INVALID_ENTRY: a list takes no prefix shorter than /8', 'l.list:21:1: PARSE_ERROR: and 1 more wrong lines',
  ])
  t.equal(parse(text).list, null)
  t.match(formatDiagnostic(parse(text).diagnostics[0]!, { caret: true }), /\n {5}2 \| {3}nonsense # why\n {7}\| {3}\^$/)
  t.end()
})

t.test('of many wrong lines twenty are shown and the rest counted', (t) => {
  const { diagnostics } = parse('x\n'.repeat(1000))
  t.equal(diagnostics.length, 21)
  t.equal(diagnostics[20]!.text, 'and 980 more wrong lines')
  t.end()
})

function randomPrefix(random: Random): Prefix {
  const family: Family = random.chance(0.5) ? 'ipv4' : 'ipv6'
  let addr = 0n
  for (let part = 0; part < (family === 'ipv4' ? 2 : 8); part++) addr = (addr << 16n) | BigInt(random.chance(0.4) ? 0 : random.between(0, 65535))
  return maskPrefix(family, addr, family === 'ipv4' ? random.between(8, 32) : random.between(19, 128))
}

/** One of the ways to write a prefix. */
function written(random: Random, prefix: Prefix): string {
  const full = prefix.length === (prefix.family === 'ipv4' ? 32 : 128)
  let text = formatAddr(prefix.family, prefix.addr)
  if (prefix.family === 'ipv6' && random.chance(0.3)) text = text.toUpperCase()
  if (prefix.family === 'ipv6' && random.chance(0.2)) {
    text = Array.from({ length: 8 }, (_, index) => ((prefix.addr >> BigInt(112 - index * 16)) & 0xffffn).toString(16).padStart(random.between(1, 4), '0')).join(':')
  }
  const length = full && random.chance(0.5) ? '' : `/${prefix.length}`
  return `${random.pick(['', ' ', '\t'])}${text}${length}${random.pick(['', ' ', '\r', ' # x', '#y'])}`
}

t.test('random lists read as the slow way reads them, whatever their order', (t) => {
  const seed = seedOfRun()
  t.comment(`DERPANET_SEED=${seed}`)
  for (let round = 0; round < 60; round++) {
    const random = createRandom(seed).fork(round)
    // Above 4096 IPv6 entries another sort takes over.
    const prefixes = Array.from({ length: round % 20 === 0 ? 12_000 : random.between(0, 300) }, () => randomPrefix(random))
    const lines = [...prefixes, ...random.some(prefixes, 20)].map((prefix) => written(random, prefix))
    const { list, diagnostics } = parse(lines.join('\n'))
    const expected = [...new Map(prefixes.map((prefix) => [formatPrefix(prefix), prefix])).values()].sort(order).map(formatPrefix)
    if (!t.strictSame(diagnostics, [], `round ${round}`)) break
    if (!t.ok([...listPrefixes(list!)].map(formatPrefix).join() === expected.join(), `round ${round}: ${expected.length} entries`)) break
    t.equal(parse(random.shuffle(lines).join('\n')).list!.digest, list!.digest, 'the digest knows the content, not the order')
    const sample = random.some(prefixes, 40)
    const addrs = [...sample.map(({ family, addr }) => ({ family, addr })), ...sample.map(({ family, addr }) => ({ family, addr: addr ^ 1n })),
      ...sample.map(({ family, addr, length }) => ({ family, addr: addr + (1n << BigInt((family === 'ipv4' ? 32 : 128) - length)) - 1n }))]
    const wrong = addrs.filter(({ family, addr }) => listContains(list!, family, addr) !== prefixes.some((prefix) => prefixHasAddr(prefix, family, addr)))
    t.strictSame(wrong, [], 'lookups agree with trying every prefix')
  }
  t.end()
})

t.test('a lookup names the widest prefix', (t) => {
  const list = parse('192.0.2.0/24\n192.0.2.7\n2001:db8::/32\n').list!
  t.strictSame(formatPrefix(listPrefixOf(list, 'ipv4', 0xc0000207n)!), '192.0.2.0/24')
  t.equal(listPrefixOf(list, 'ipv4', 0xc0000307n), null)
  t.equal(listContains(list, 'ipv6', 0xc0000207n), false, 'families are apart')
  t.equal(listSize(list), 3)
  t.end()
})

t.test('different content has different digests, the same content the same whatever its name', (t) => {
  const digest = (text: string, name = 'l'): string => parseList(name, `${name}.list`, bytes(text)).list!.digest
  const all = ['', '192.0.2.1', '192.0.2.1/31', '::1', '192.0.2.1\n::1', '192.0.2.2'].map((text) => digest(text))
  t.equal(new Set(all).size, all.length)
  t.equal(digest('192.0.2.1', 'a'), digest('192.0.2.1 # same', 'b'))
  t.end()
})

t.test('the line of an address is found again', (t) => {
  t.match(locateAddress(bytes('# x\n 192.0.2.0/24 # y\n::1\n'), 'ipv4', 0xc0000209n), { line: 2, column: 2, sourceLine: ' 192.0.2.0/24 # y' })
  t.match(locateAddress(bytes('# x\n 192.0.2.0/24 # y\n::1\n'), 'ipv6', 1n), { line: 3, column: 1 })
  t.equal(locateAddress(bytes('192.0.2.0/24\n'), 'ipv4', 1n), null)
  t.end()
})

t.test('100,000 lines take less than 100 ms, a million less than a second', (t) => {
  const random = createRandom(1)
  const line = (): string => `${random.between(1, 223)}.${random.between(0, 255)}.${random.between(0, 255)}.${random.between(0, 255)}${random.chance(0.2) ? '/24' : ''}`
  const text = Array.from({ length: 1_000_000 }, line)
  const best = (count: number): number => {
    const input = bytes(text.slice(0, count).join('\n'))
    return Math.min(...Array.from({ length: 3 }, () => {
      const started = performance.now()
      parseList('l', 'l', input)
      return performance.now() - started
    }))
  }
  const [small, big] = [best(100_000), best(1_000_000)]
  t.comment(`${small.toFixed(0)} ms, ${big.toFixed(0)} ms`)
  t.ok(small < 100 && big < 1000)
  t.end()
})
