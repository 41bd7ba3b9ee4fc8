// Which new version of a list is taken, and reading big lists beside the main loop.
import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import t from 'tap'
import { ListBuilder, workerFromBytes } from '../../src/lists/build.ts'
import { parseList } from '../../src/lists/parse.ts'
import { judgeList, listDifference } from '../../src/lists/rules.ts'
import type { AddressList } from '../../src/model/settings.ts'
import { createRandom, seedOfRun } from '../support/random.ts'

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)
const list = (...lines: string[]): AddressList => parseList('l', 'l.list', bytes(lines.join('\n'))).list!
const hosts = (from: number, count: number): string[] => Array.from({ length: count }, (_, index) => `10.1.${(from + index) >> 8}.${(from + index) & 255}`)

t.test('a first version is taken, empty or not', (t) => {
  t.equal(judgeList(list(), undefined, [], false).kind, 'take')
  t.equal(judgeList(list('192.0.2.1'), undefined, [], false).kind, 'take')
  t.end()
})

t.test('half may change, more may not', (t) => {
  const old = list(...hosts(0, 100))
  const rows: readonly (readonly [AddressList, string])[] = [
    [list(...hosts(0, 100)), 'take'], [list(...hosts(0, 50)), 'take'], [list(...hosts(0, 49)), 'keep-old'], [list(...hosts(0, 200)), 'take'],
    [list(...hosts(0, 201)), 'keep-old'], [list(...hosts(25, 100)), 'take'], [list(...hosts(26, 100)), 'keep-old'], [list(), 'keep-old'],
  ]
  for (const [next, verdict] of rows) {
    t.equal(judgeList(next, old, [], false).kind, verdict, `${JSON.stringify(listDifference(old, next))} of 100`)
    t.equal(judgeList(next, old, [], true).kind, 'take', 'unless forced')
  }
  t.equal(judgeList(list('192.0.2.1'), list(), [], false).kind, 'take', 'an empty list may grow')
  t.end()
})

t.test('the host\'s own addresses are refused, forced or not', (t) => {
  const own = [{ family: 'ipv4', addr: 0xc0000201n, what: 'the gateway' }, { family: 'ipv6', addr: 1n, what: 'an address of lo' }] as const
  t.match(judgeList(list('192.0.2.0/24'), undefined, own, true), { kind: 'refuse', text: '192.0.2.0/24 contains 192.0.2.1, the gateway' })
  t.match(judgeList(list('::1'), undefined, own, false), { kind: 'refuse', text: '::1 contains ::1, an address of lo' })
  t.equal(judgeList(list('192.0.2.2', '::2'), undefined, own, false).kind, 'take')
  t.end()
})

t.test('the difference of two lists counts what is in one alone', (t) => {
  const seed = seedOfRun()
  t.comment(`DERPANET_SEED=${seed}`)
  for (let round = 0; round < 100; round++) {
    const random = createRandom(seed).fork(round)
    const pool = [...hosts(0, 60), ...Array.from({ length: 60 }, (_, index) => `2001:db8:${index}::/${index % 2 === 0 ? 48 : 64}`)]
    const [a, b] = [random.some(pool, 80), random.some(pool, 80)]
    const expected = { removed: a.filter((item) => !b.includes(item)).length, added: b.filter((item) => !a.includes(item)).length }
    if (!t.strictSame(listDifference(list(...a), list(...b)), expected, `round ${round}`)) break
  }
  t.end()
})

const big = (): Uint8Array => bytes(Array.from({ length: 70_000 }, (_, index) => `10.${index >> 16}.${(index >> 8) & 255}.${index & 255}`).join('\n'))

t.test('a big list is read by a worker thread with the same result', async (t) => {
  t.ok(big().length > workerFromBytes)
  const builder = new ListBuilder()
  t.teardown(() => builder.close())
  const expected = parseList('l', 'l.list', big()).list!
  const [first, second] = await Promise.all([builder.parse('l', 'l.list', big()), builder.parse('m', 'm.list', bytes('x\n'.repeat(workerFromBytes)))])
  t.equal(first.list!.digest, expected.digest)
  t.equal(first.list!.addrs4.length, 70_000)
  t.equal(second.list, null)
  t.equal(second.diagnostics.length, 21)
})

t.test('the bytes really go to the worker, and the result comes back without a copy', async (t) => {
  const builder = new ListBuilder()
  t.teardown(() => builder.close())
  const input = big()
  await builder.parse('l', 'l.list', input)
  t.equal(input.length, 0, 'handed over')
})

t.test('without a worker a big list is read in slices, and others get their turn', async (t) => {
  const builder = new ListBuilder(null)
  let turns = 0
  const timer = setInterval(() => { turns++ }, 1)
  const { list: found } = await builder.parse('l', 'l.list', big())
  clearInterval(timer)
  t.equal(found!.digest, parseList('l', 'l.list', big()).list!.digest)
  t.ok(turns > 0, `${turns} turns`)
})

t.test('a worker that dies is an error of the list it was reading, the next list gets a new one', async (t) => {
  const builder = new ListBuilder()
  t.teardown(() => builder.close())
  const reading = builder.parse('l', 'l.list', big())
  await builder.close()
  await t.rejects(reading, /the list worker ended/)
  t.equal((await builder.parse('l', 'l.list', big())).list!.addrs4.length, 70_000)
})

const bundled = join(dirname(fileURLToPath(import.meta.url)), '../../dist/list-worker.js')
t.test('the bundled worker works too', { skip: existsSync(bundled) ? false : 'todo: dist/list-worker.js is not built' }, async (t) => {
  const builder = new ListBuilder(pathToFileURL(bundled))
  t.teardown(() => builder.close())
  t.equal((await builder.parse('l', 'l.list', big())).list!.addrs4.length, 70_000)
})
