// The builder of XDP source tables: a lookup in the image says what the lists say.
import t from 'tap'
import { requirePrefix } from '../../src/model/addr.ts'
import type { Family } from '../../src/model/addr.ts'
import type { EarlyPlan } from '../../src/compile/plan.ts'
import { markLength4, setBits } from '../../src/compile/xdp/bitmap.ts'
import { assignSlots, buildImage, imageKey, imageSteps, tableKey } from '../../src/compile/xdp/image.ts'
import { layout, records } from '../../src/compile/xdp/layout.ts'
import { merge4 } from '../../src/compile/xdp/merge.ts'
import { packList } from '../support/random-settings.ts'
import { createRandom, seedOfRun } from '../support/random.ts'
import type { Random } from '../support/random.ts'
import { allowOf, imageClass, naiveClass, noEarly, randomAddr, randomPrefix } from './xdp-support.ts'

const salt = 0x5eed1234
const seed = seedOfRun()
t.comment(`seed ${seed} (DERPANET_SEED=${seed} replays)`)

function randomEarly(random: Random, size: number): EarlyPlan {
  const prefixes = (count: number, families: readonly Family[]) => Array.from({ length: count }, () => randomPrefix(random, random.pick(families)))
  const lists = random.between(0, 3)
  return {
    ...noEarly,
    allow: prefixes(random.between(0, 4), ['ipv4', 'ipv6']).filter(({ length }) => length > 0).map(allowOf),
    deny: Array.from({ length: lists }, (_, index) => ({
      list: packList(`list${index}`, prefixes(random.between(0, size), ['ipv4', 'ipv6'])), rule: `block/list${index}`,
    })),
  }
}

t.test('a lookup in the image equals a naive search of the lists', (t) => {
  const random = createRandom(seed)
  let found = 0
  for (let round = 0; round < 150; round++) {
    const early = randomEarly(random, round % 10 === 0 ? 6000 : 60)
    const image = buildImage(early, new Map(), salt)
    for (let probe = 0; probe < (round % 10 === 0 ? 30 : 100); probe++) {
      const family = random.pick(['ipv4', 'ipv6'] as const)
      const addr = randomAddr(random, family)
      const expected = naiveClass(early, family, addr)
      const actual = imageClass(image, family, addr)
      if (expected !== null) found++
      if (actual !== expected) t.fail(`round ${round}: ${family} ${addr.toString(16)} is ${actual}, not ${expected}`)
    }
  }
  t.ok(found > 1000, `${found} addresses were in some list`)
  t.end()
})

t.test('every member of a large list is found, its neighbour is not', (t) => {
  const prefixes = Array.from({ length: 30_000 }, (_, index) => ({ family: 'ipv4' as const, addr: BigInt(0x0a000000 + index * 2), length: 32 }))
  const long = Array.from({ length: 9_000 }, (_, index) => ({ family: 'ipv6' as const, addr: (0x20010db8n << 96n) | BigInt(index * 2), length: 128 }))
  const image = buildImage({ ...noEarly, deny: [{ list: packList('big', [...prefixes, ...long]), rule: 'r' }] }, new Map(), salt)
  t.equal(image.tables.ipv4.entries, prefixes.length)
  t.ok(prefixes.every(({ addr }) => imageClass(image, 'ipv4', addr) === 0 && imageClass(image, 'ipv4', addr + 1n) === null))
  t.ok(long.every(({ addr }) => imageClass(image, 'ipv6', addr) === 0 && imageClass(image, 'ipv6', addr + 1n) === null))
  t.end()
})

t.test('prefixes that overlap decide as the configuration says', (t) => {
  const wide = packList('wide', [requirePrefix('198.51.100.0/24')])
  const narrow = packList('narrow', [requirePrefix('198.51.100.7'), requirePrefix('203.0.113.9')])
  const early: EarlyPlan = {
    ...noEarly, allow: [allowOf(requirePrefix('198.51.100.64/26'))], deny: [{ list: wide, rule: 'wide' }, { list: narrow, rule: 'narrow' }],
  }
  const at = (text: string): unknown => imageClass(buildImage(early, new Map(), salt), 'ipv4', requirePrefix(text).addr)
  t.equal(at('198.51.100.7'), 0, 'the first list wins although the second is longer')
  t.equal(at('198.51.100.65'), 'allow', 'never-block inside a blocked prefix')
  t.equal(at('203.0.113.9'), 1)
  t.equal(at('203.0.113.10'), null)
  const inverse: EarlyPlan = { ...early, allow: [allowOf(requirePrefix('198.51.100.0/24'))] }
  t.equal(imageClass(buildImage(inverse, new Map(), salt), 'ipv4', requirePrefix('198.51.100.7').addr), 'allow', 'a blocked host inside a never-block prefix')
  t.end()
})

t.test('an empty plan makes an empty table, and equal plans equal bytes', (t) => {
  const empty = buildImage(noEarly, new Map(), salt)
  t.equal(empty.tables.ipv4.pages.length, 0)
  t.ok(empty.tables.ipv4.record.subarray(0, 4).every((byte) => byte === 0))
  const early = randomEarly(createRandom(7), 200)
  t.same(buildImage(early, new Map(), salt), buildImage(early, new Map(), salt))
  const reused = [...Object.values(buildImage(early, new Map(), salt).tables)]
  const steps = imageSteps(early, new Map(), salt, reused).next()
  t.ok(steps.done === true && steps.value.tables.ipv4 === reused[0], 'a table with the same key is not built again')
  t.end()
})

t.test('keys change with what decides and with nothing else', (t) => {
  const list = packList('a', [requirePrefix('192.0.2.1')])
  const early: EarlyPlan = { ...noEarly, deny: [{ list, rule: 'block/a' }] }
  t.equal(imageKey(early), imageKey({ ...early, panic: true }), 'panic is a bit of its own')
  t.not(imageKey(early), imageKey({ ...early, deny: [{ list, rule: 'block/b' }] }))
  t.equal(tableKey(early, 'ipv6'), tableKey({ ...early, deny: [{ list: packList('b', [requirePrefix('192.0.2.2')]), rule: 'block/a' }] }, 'ipv6'))
  const ports: EarlyPlan = { ...early, failsafePorts: [{ protocol: 'tcp', ports: { first: 22, last: 22 }, origin: { layer: 'admin', text: '' } }] }
  t.not(imageKey(early), imageKey(ports))
  t.equal(tableKey(early, 'ipv4'), tableKey(ports, 'ipv4'))
  t.end()
})

t.test('failsafe ports and classes are written where the program reads them', (t) => {
  const list = packList('a', [requirePrefix('192.0.2.1')])
  const origin = { layer: 'admin', text: '' } as const
  const image = buildImage({
    ...noEarly, deny: [{ list, rule: 'block/a' }],
    failsafePorts: [{ protocol: 'tcp', ports: { first: 22, last: 22 }, origin }, { protocol: 'udp', ports: { first: 60000, last: 65535 }, origin }],
  }, new Map([['block/a', 21]]), salt)
  const has = (map: number, port: number): boolean => (
    (image.failsafe[records.dp_failsafe.ports + map * layout.PORTMAP_BYTES + (port >> 3)]! >> (port & 7)) % 2 === 1)
  t.same([21, 22, 23].map((port) => has(layout.PORTMAP_TCP, port)), [false, true, false])
  t.same([59999, 60000, 65535].map((port) => has(layout.PORTMAP_UDP, port)), [false, true, true])
  t.equal(image.failsafe[0], 1)
  t.same([...new Uint32Array(image.classes.buffer, 0, 6)], [0, 0, layout.ACTION_ALLOW, layout.REASON_NEVER_BLOCK, layout.ACTION_DENY, 21])
  t.end()
})

t.test('a rule keeps its counter slot across generations', (t) => {
  const first = assignSlots(new Map(), ['block/a', 'block/b'])
  t.same([...first.slots], [['block/a', 16], ['block/b', 17]])
  const second = assignSlots(first.slots, ['block/c', 'block/b'])
  t.equal(second.slots.get('block/b'), 17)
  t.equal(second.slots.get('block/c'), 18, 'a slot never used comes before one of a rule that is gone')
  const many = Array.from({ length: layout.SLOTS - layout.SLOT_FIRST_RULE }, (_, index) => `block/${index}`)
  const full = assignSlots(second.slots, many)
  t.same(full.recycled, [16, 17, 18], 'then the oldest ones, which need zeroing')
  t.equal(assignSlots(full.slots, [...many, 'block/one-too-many']).slots.get('block/one-too-many'), layout.REASON_LIST)
  t.equal(new Set(many.map((id) => full.slots.get(id))).size, many.length, 'no two rules share one')
  t.end()
})

t.test('an unsorted list is a bug that is told', (t) => {
  const unsorted = { addrs: Uint32Array.of(2, 1), lengths: Uint8Array.of(32, 32) }
  t.throws(() => [...merge4([unsorted])], /not sorted/)
  t.end()
})

t.test('bits and length masks cover exactly the prefix', (t) => {
  for (const [first, count] of [[0, 1], [3, 9], [8, 16], [5, 1], [7, 2]] as const) {
    const bitmap = new Uint8Array(8)
    setBits(bitmap, first, count)
    const set = Array.from({ length: 64 }, (_, bit) => bit).filter((bit) => (bitmap[bit >> 3]! >> (bit & 7)) & 1)
    t.same(set, Array.from({ length: count }, (_, index) => first + index))
  }
  const masks = new Uint32Array(2 ** 16)
  markLength4(masks, 0x0a000000, 15)
  t.same([masks[0x09ff], masks[0x0a00], masks[0x0a01], masks[0x0a02]], [0, 1 << 14, 1 << 14, 0])
  t.end()
})
