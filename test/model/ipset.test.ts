// Entries of user ipsets, as firewalld's own check judged them.
import t from 'tap'
import { DerpanetError } from '../../src/errors.ts'
import { checkIpSetEntries, checkNewEntry, withEntry, withoutEntry } from '../../src/model/ipset.ts'
import { findOverlaps, parseEntryParts, parseIpSetEntry } from '../../src/model/ipset-entry.ts'
import { int, random, seed } from './random.ts'

const inet = {}
const inet6 = { family: 'inet6' }

function code(work: () => unknown): string {
  try {
    work()
    return 'ok'
  } catch (error) {
    if (!(error instanceof DerpanetError)) throw error
    return error.code
  }
}

const good: readonly (readonly [string, Record<string, string>, string, string])[] = [
  ['hash:ip', inet, '1.2.3.4', '1.2.3.4'],
  ['hash:ip', inet, '1.2.3.4/32', '1.2.3.4/32'],
  ['hash:ip', inet, '1.2.3.20-1.2.3.10', '1.2.3.10-1.2.3.20'],
  ['hash:ip', inet6, '2001:DB8::1', '2001:db8::1'],
  ['hash:net', inet, '12.0.0.5/8', '12.0.0.0/8'],
  ['hash:net', inet6, '2001:DB8:0:0::/32', '2001:db8::/32'],
  ['hash:mac', inet, 'aa:bb:cc:dd:ee:FF', 'aa:bb:cc:dd:ee:FF'],
  ['hash:ip,port', inet, '1.2.3.4,80', '1.2.3.4,80'],
  ['hash:ip,port', inet, '1.2.3.4,udp:80-90', '1.2.3.4,udp:80-90'],
  ['hash:ip,port', inet, '1.2.3.4,icmp:8/0', '1.2.3.4,icmp:8/0'],
  ['hash:ip,port,net', inet, '1.2.3.4,tcp:80,1.2.3.5/24', '1.2.3.4,tcp:80,1.2.3.0/24'],
  ['hash:ip,mark', inet, '1.2.3.4,0x10', '1.2.3.4,0x10'],
  ['hash:net,net', inet, '1.2.3.0/24,4.5.6.0/24', '1.2.3.0/24,4.5.6.0/24'],
  ['hash:net,iface', inet, '1.2.3.5/24,eth0', '1.2.3.0/24,eth0'],
  ['hash:net,iface', inet, '1.2.3.0/24,physdev:eth0', '1.2.3.0/24,physdev:eth0'],
]

t.test('entries are made canonical, and the canonical text is an entry again', (t) => {
  for (const [type, options, text, canonical] of good) {
    t.equal(parseIpSetEntry(type, options, text), canonical, `${type} ${text}`)
    t.equal(parseIpSetEntry(type, options, canonical), canonical, `${type} ${canonical} again`)
  }
  t.end()
})

const bad: readonly (readonly [string, Record<string, string>, string])[] = [
  ['hash:ip', inet, '1.2.3.4,80'], ['hash:ip', inet, '::1'], ['hash:ip', inet, 'x'], ['hash:ip', inet, ''], ['hash:ip', inet, '0.0.0.0'],
  ['hash:ip', inet, '0.0.0.0/0'], ['hash:ip', inet, '1.2.3.4/33'], ['hash:ip', inet, '01.2.3.4'], ['hash:ip', inet, ' 1.2.3.4'],
  ['hash:ip', inet6, '2001:db8::1-2001:db8::5'], ['hash:ip', inet6, '2001:db8::/64'], ['hash:ip', inet6, '::1/128'], ['hash:ip', inet6, '1.2.3.4'],
  ['hash:net', inet, '0.0.0.0/0'], ['hash:net', inet, '1.2.3.4/0'], ['hash:net', inet6, '::/0'], ['hash:mac', inet, '00:00:00:00:00:00'],
  ['hash:mac', inet, 'x'], ['hash:ip,port', inet, '1.2.3.4'], ['hash:ip,port', inet, '1.2.3.4,'], ['hash:ip,port', inet, '1.2.3.4,foo:80'],
  ['hash:ip,port', inet, '1.2.3.4,70000'], ['hash:ip,port,ip', inet, '1.2.3.4,tcp:80,1.2.3.0/24'], ['hash:ip,mark', inet, '1.2.3.4,x'],
  ['hash:ip,mark', inet, '1.2.3.4,4294967296'], ['hash:net,iface', inet, '1.2.3.0/24,'], ['hash:net,iface', inet, '1.2.3.0/24,et/h'],
  ['hash:net,iface', inet, '1.2.3.0/24,averyveryverylongname'], ['hash:net,net', inet, '0.0.0.0/0,1.2.3.4'],
]

t.test('what the type cannot hold is refused with INVALID_ENTRY', (t) => {
  for (const [type, options, text] of bad) t.equal(code(() => parseIpSetEntry(type, options, text)), 'INVALID_ENTRY', `${type} ${text}`)
  t.equal(code(() => parseIpSetEntry('bitmap:port', {}, '80')), 'INVALID_TYPE')
  t.end()
})

t.test('an entry that is there is ALREADY_ENABLED, one that overlaps is INVALID_ENTRY', (t) => {
  const add = (type: string, entries: readonly string[], text: string, options = {}): string => code(() => checkNewEntry(type, options, entries, text))
  t.equal(add('hash:ip', ['1.2.3.4'], '1.2.3.4'), 'ALREADY_ENABLED')
  t.throws(() => checkNewEntry('hash:net', {}, ['10.1.0.0/22'], '10.1.2.0/22', 'bad'), { message: "ALREADY_ENABLED: '10.1.0.0/22' already is in 'bad'" }, 'as firewalld says it')
  t.equal(add('hash:ip', ['1.2.3.4'], '1.2.3.4/32'), 'INVALID_ENTRY')
  t.equal(add('hash:ip', ['1.2.3.4'], '1.2.3.0/24'), 'INVALID_ENTRY')
  t.equal(add('hash:ip', ['1.2.3.4'], '1.2.3.10-1.2.3.20'), 'ok')
  t.equal(add('hash:ip', ['1.2.3.10-1.2.3.20'], '1.2.3.20'), 'INVALID_ENTRY')
  t.equal(add('hash:net', ['10.0.0.0/8'], '10.1.0.0/16'), 'INVALID_ENTRY')
  t.equal(add('hash:net', ['10.1.0.0/16'], '10.0.0.0/8'), 'INVALID_ENTRY')
  t.equal(add('hash:net,iface', ['10.0.0.0/8,eth0'], '10.1.0.0/16,eth0'), 'ok', 'types with several parts may overlap')
  t.equal(add('hash:ip,port', ['1.2.3.4,80'], '1.2.3.4,80'), 'ALREADY_ENABLED')
  t.equal(add('hash:net', ['10.0.0.0/8', '11.0.0.0/8'], '12.0.0.0/8', { maxelem: '2' }), 'COMMAND_FAILED', 'a full set')
  t.end()
})

t.test('a list of entries is taken whole or refused whole', (t) => {
  t.same(checkIpSetEntries('hash:net', {}, ['11.0.0.1', '12.0.0.5/8']), ['11.0.0.1', '12.0.0.0/8'])
  t.equal(code(() => checkIpSetEntries('hash:net', {}, ['10.0.0.0/8', '10.1.0.0/16'])), 'INVALID_ENTRY')
  t.equal(code(() => checkIpSetEntries('hash:ip', {}, ['5.5.5.5', '5.5.5.5'])), 'INVALID_ENTRY')
  t.equal(code(() => checkIpSetEntries('hash:ip', { maxelem: '255' }, ['1.2.3.0/24'])), 'COMMAND_FAILED', 'hash:ip holds every address of a range')
  t.end()
})

t.test('adding one by one decides like comparing with every entry', (t) => {
  t.comment(`seed ${seed}`)
  const rnd = random(seed)
  let entries: readonly string[] = []
  for (let round = 0; round < 2000; round++) {
    const text = `10.0.${int(rnd, 0, 7)}.${int(rnd, 0, 255)}/${int(rnd, 22, 32)}`
    const clear = findOverlaps('hash:net', {}, [...entries, text]).length === 0
    const answer = code(() => checkNewEntry('hash:net', {}, entries, text))
    if ((answer === 'ok') !== clear) t.fail(`seed ${seed}: ${text} among ${entries.join(' ')}: ${answer}`)
    if (answer === 'ok') entries = withEntry('hash:net', {}, entries, parseIpSetEntry('hash:net', {}, text))
    if (rnd() < 0.3 && entries.length > 0) entries = withoutEntry('hash:net', {}, entries, entries[int(rnd, 0, entries.length - 1)]!)
  }
  t.pass('2000 changes')
  t.end()
})

t.test('a single change of a set of 100,000 entries takes milliseconds', (t) => {
  let entries: readonly string[] = Array.from({ length: 100_000 }, (_, at) => `${10 + (at >>> 16)}.${(at >>> 8) & 255}.${at & 255}.0/24`)
  checkNewEntry('hash:net', { maxelem: '200000' }, entries, '192.0.2.0/24')
  const options = { maxelem: '200000' }
  const began = performance.now()
  for (let round = 0; round < 10; round++) entries = withEntry('hash:net', options, entries, checkNewEntry('hash:net', options, entries, `192.0.2.${round}`))
  const eachMs = (performance.now() - began) / 10
  t.ok(eachMs < 50, `${eachMs.toFixed(2)} ms each`)
  t.end()
})

t.test('parts of an entry are numbers', (t) => {
  t.same(parseEntryParts('hash:ip,port', {}, '1.2.3.4,udp:80-90').parts, [
    { kind: 'addresses', range: { first: 0x01020304n, last: 0x01020304n } }, { kind: 'port', protocol: 17, first: 80, last: 90 },
  ])
  t.end()
})
