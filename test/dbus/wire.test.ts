// Values ↔ bytes, and arguments as callers send them ↔ declared types.
import t from 'tap'
import { convertArguments } from '../../src/dbus/convert.ts'
import { args } from '../../src/dbus/members/row.ts'
import { decodeBody, decodeMessage, messageLength, type Incoming } from '../../src/dbus/wire/decode.ts'
import { encodeBody, encodeHeader, maxMessageBytes, messageTypes, Variant } from '../../src/dbus/wire/encode.ts'
import { parseSignature } from '../../src/dbus/wire/signature.ts'
import { createRandom, seedOfRun } from '../support/random.ts'

function message(signature: string, values: readonly unknown[]): Incoming {
  const body = encodeBody(signature, values)
  const header = encodeHeader({ type: messageTypes.call, serial: 7, path: '/a/b', interface: 'a.b', member: 'C', destination: ':1.2' }, body)
  const bytes = Buffer.concat([header, body.bytes])
  t.equal(messageLength(bytes.subarray(0, 16)), bytes.length, `${signature}: the length is in the first 16 bytes`)
  return decodeMessage(bytes)
}

t.test('a message comes back as it was written', (t) => {
  const rows: readonly (readonly [string, readonly unknown[]])[] = [
    ['', []],
    ['s', ['ü – 漢']],
    ['b', [true]],
    ['ybnqiuxtd', [255, false, -5, 65535, -2147483648, 4294967295, -9223372036854775808n, 18446744073709551615n, 1.5]],
    ['as', [[]]],
    ['as', [['a', '', 'ccc']]],
    ['a(ss)', [[['80', 'tcp'], ['1-2', 'udp']]]],
    ['a(ssss)', [[['80', 'tcp', '', '10.0.0.1']]]],
    ['aas', [[['80', 'tcp'], []]]],
    ['(sssbsasa(ss)asba(ssss)asasasasa(ss)b)', [['', 'P', 'd', false, 'default', ['ssh'], [['1', 'tcp']], [], true, [], [], [], [], [], [], false]]],
    ['ao', [['/', '/a/b_1']]],
    ['a(stt)', [[['rule', 1n, 2n], ['x', 0n, 18446744073709551615n]]]],
  ]
  for (const [signature, values] of rows) {
    const back = message(signature, values)
    t.strictSame(decodeBody(back), values, signature === '' ? 'no body' : signature)
    t.equal(back.signature, signature)
    t.strictSame([back.serial, back.path, back.interface, back.member, back.destination], [7, '/a/b', 'a.b', 'C', ':1.2'])
  }
  t.end()
})

t.test('lists of texts come back whatever is in them and however long they are', (t) => {
  const seed = seedOfRun()
  t.comment(`DERPANET_SEED=${seed}`)
  const random = createRandom(seed)
  const letters = ['a', '0', '.', 'ü', '漢', '🔥', '\x7f', '\x01']
  const text = (): string => {
    const most = random.pick([0, 3, 15, 15, 200, 9000])
    const from = random.chance(0.8) ? ['1', '2', '.'] : letters
    return Array.from({ length: random.between(0, most) }, () => random.pick(from)).join('')
  }
  for (let round = 0; round < 60; round++) {
    const list = Array.from({ length: random.between(0, 400) }, text)
    t.strictSame(decodeBody(message('sas', [text(), list]))[1], list, `${list.length} texts`)
  }
  const short = Array.from({ length: 5000 }, (_, index) => `10.0.0.${index}`)
  const { bodyBytes, ...rest } = message('as', [short])
  const zero = Buffer.from(bodyBytes)
  zero[zero.length - 3] = 0
  t.throws(() => decodeBody({ ...rest, bodyBytes: zero }), { message: 'text with a zero byte' })
  t.throws(() => decodeBody({ ...rest, bodyBytes: bodyBytes.subarray(0, -2) }))
  t.end()
})

t.test('dictionaries and variants keep their own types', (t) => {
  const value = new Map([['ports', new Variant('a(ss)', [['80', 'tcp']])], ['deep', new Variant('v', new Variant('a{sv}', new Map()))]])
  const [back] = decodeBody(message('a{sv}', [value]))
  t.strictSame(back, value)
  const [plain] = decodeBody(message('a{sa{sas}}', [{ public: { interfaces: ['eth0'], sources: [] } }]))
  t.strictSame(plain, new Map([['public', new Map([['interfaces', ['eth0']], ['sources', []]])]]))
  t.end()
})

t.test('a value of another type is refused before anything is sent', (t) => {
  const rows: readonly (readonly [string, unknown])[] = [
    ['s', 1], ['s', 'a\0b'], ['s', undefined], ['b', 1], ['i', 2147483648], ['i', 1.5], ['u', -1], ['as', ['a', 1]], ['(ss)', ['a']],
    ['a(ss)', [['a', 'b', 'c']]], ['v', 'x'], ['o', 'no path'], ['t', -1n], ['a{sv}', { x: 1 }], ['as', null],
  ]
  for (const [signature, value] of rows) t.throws(() => encodeBody(signature, [value]), { name: 'EncodeError' }, `${signature} ${JSON.stringify(String(value))}`)
  t.throws(() => encodeBody('ss', ['a']), { name: 'EncodeError' }, 'too few values')
  t.end()
})

t.test('a message above 16 MiB is refused, one just below is not', (t) => {
  t.throws(() => encodeBody('s', ['x'.repeat(maxMessageBytes)]), { name: 'TooBigError' })
  t.throws(() => encodeBody('as', [Array.from({ length: 1_000_000 }, (_, index) => `192.0.2.${index}/32 `)]), { name: 'TooBigError' })
  t.equal(encodeBody('s', ['x'.repeat(maxMessageBytes - 6)]).bytes.length, maxMessageBytes - 1)
  t.end()
})

t.test('200,000 texts are written in well under what would hold others up', (t) => {
  const list = Array.from({ length: 200_000 }, (_, index) => `10.${index >> 16}.${(index >> 8) & 255}.${index & 255}`)
  encodeBody('as', [list.slice(0, 20_000)])
  // the best of five: other tests use the same processors
  const elapsedMs = Math.min(...Array.from({ length: 5 }, () => {
    const start = performance.now()
    encodeBody('as', [list])
    return performance.now() - start
  }))
  t.comment(`${elapsedMs.toFixed(1)} ms`)
  t.ok(elapsedMs < 500, 'dbus-next takes a second and more')
  t.end()
})

t.test('signatures that are none are refused', (t) => {
  for (const text of ['a', '(', '()', '{ss}x{', 'a{s}', 'a{sss}', 'z', 'a('.repeat(70), 's'.repeat(256)]) t.throws(() => parseSignature(text), text.slice(0, 20))
  t.end()
})

t.test('a body that breaks its promise throws instead of reading elsewhere', (t) => {
  const good = message('as', [['abc', 'def']])
  const cut: Incoming = { ...good, bodyBytes: good.bodyBytes.subarray(0, 9) }
  t.throws(() => decodeBody(cut))
  const long = Buffer.from(good.bodyBytes)
  long.writeUInt32LE(0x7fffffff, 0)
  t.throws(() => decodeBody({ ...good, bodyBytes: long }))
  const zero = Buffer.from(message('s', ['abc']).bodyBytes)
  zero[5] = 0
  t.throws(() => decodeBody({ ...message('s', ['abc']), bodyBytes: zero }), { message: 'text with a zero byte' })
  t.strictSame(decodeBody({ ...message('u', [0]), signature: 'h' }), [0], 'a file descriptor without one is a number, not a crash')
  let nested: unknown = 'x'
  let type = 's'
  for (let depth = 0; depth < 70; depth++) {
    nested = new Variant(type, nested)
    type = 'v'
  }
  t.throws(() => decodeBody(message('v', [nested])), 'variants have a bottom')
  t.end()
})

t.test('arguments are taken by value, not by signature', (t) => {
  const port = args('zone:s port:s protocol:s timeout:i')
  t.strictSame(convertArguments(port, ['public', '80', 'tcp', 5n]), ['public', '80', 'tcp', 5], 'a 64-bit timeout')
  t.strictSame(convertArguments(port, [new Variant('s', 'public'), '80', new Variant('v', new Variant('s', 'tcp')), 0]), ['public', '80', 'tcp', 0])
  const addZone = args('zone:s settings:(sssbsasa(ss)asba(ssss)asasasasa(ss)b)')
  const settings = ['', 'docker', 'd', false, 'ACCEPT', [], [], [], false, [], [], [], [], [], [], false]
  const types = ['s', 's', 's', 'b', 's', 'as', 'a(ss)', 'as', 'b', 'a(ssss)', 'as', 'as', 'as', 'as', 'a(ss)', 'b']
  const sent = settings.map((value, index) => new Variant(types[index] ?? 's', value))
  t.strictSame(convertArguments(addZone, ['docker', sent]), ['docker', settings], 'Docker sends the tuple as av')
  t.strictSame(convertArguments(args('d:a{sv}'), [new Map([['a', new Variant('i', 1)], ['b', new Variant('a{ss}', new Map([['x', 'y']]))]])])[0],
    Object.assign(Object.create(null), { a: 1, b: Object.assign(Object.create(null), { x: 'y' }) }))
  t.strictSame(convertArguments(args('d:a{sv}'), [[]]), [{}], 'an empty list for an empty dictionary')
  t.end()
})

t.test('arguments that cannot be meant are refused in words without a code', (t) => {
  const rows: readonly (readonly [string, readonly unknown[], RegExp])[] = [
    ['zone:s', [80], /^zone '80' is of type number, expected string$/],
    ['timeout:i', ['0'], /^timeout '0' is of type string, expected integer$/],
    ['timeout:i', [1.5], /expected integer/],
    ['timeout:i', [2n ** 40n], /32 bits/],
    ['flag:b', [1], /expected boolean/],
    ['zone:s port:s', ['public'], /^1 arguments given, 2 expected \(missing port\)$/],
    ['zone:s', ['a', 'b'], /too many/],
    ['ports:a(ss)', [[['80']]], /^ports\[0\] has 1 members, expected 2$/],
    ['settings:a{sv}', [['x']], /expected dictionary/],
    ['list:as', [Buffer.from('ab')], /is of type bytes, expected array/],
    ['name:s', ['\u001b[31m'.repeat(3)].map(() => 5), /expected string/],
  ]
  for (const [declared, body, wanted] of rows) {
    t.throws(() => convertArguments(args(declared), body), { message: wanted }, `${declared} ← ${body.map(String).join(' ')}`)
  }
  t.end()
})
