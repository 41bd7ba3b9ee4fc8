// The field tables against firewalld's recorded shapes, and back and forth through the bus.
import t from 'tap'
import { DerpanetError } from '../../src/errors.ts'
import type { ZoneSettings } from '../../src/model/settings.ts'
import { fieldRows } from '../../src/settings/field.ts'
import type { AnyField, ItemCodec } from '../../src/settings/field.ts'
import {
  decodeSettings, decodeTuple, encodePartial, encodeSettings, encodeTuple, fieldSignature, tupleSignature,
} from '../../src/settings/dict.ts'
import { kinds, mainKind } from '../../src/settings/kinds.ts'
import type { ObjectKind } from '../../src/settings/kinds.ts'
import { randomZone, sampleItems } from './random-zone.ts'
import { createRandom, seedOfRun } from '../support/random.ts'

const signatures = (kind: ObjectKind<never>, face: '1.3' | '2.5' = '2.5'): Record<string, string> =>
  Object.fromEntries(fieldRows(kind.fields).filter(([, field]) => field.dbus !== undefined && (field.since === undefined || face === '2.5'))
    .map(([, field]) => [field.dbus, fieldSignature(field)]))

const any = (kind: unknown): ObjectKind<never> => kind as ObjectKind<never>
const codeOf = (work: () => unknown): string => {
  try {
    work()
  } catch (error) {
    if (error instanceof DerpanetError) return error.message
    throw error
  }
  return 'no error'
}

t.test('the settings dictionaries have firewalld\'s keys, types and order', (t) => {
  t.strictSame(signatures(any(kinds.zone)), {
    version: 's', short: 's', description: 's', target: 's', services: 'as', ports: 'a(ss)', icmp_blocks: 'as', masquerade: 'b',
    forward_ports: 'a(ssss)', interfaces: 'as', sources: 'as', rules_str: 'as', protocols: 'as', source_ports: 'a(ss)',
    icmp_block_inversion: 'b', forward: 'b', ingress_priority: 'i', egress_priority: 'i',
  })
  t.strictSame(signatures(any(kinds.policy)), {
    version: 's', short: 's', description: 's', target: 's', services: 'as', ports: 'a(ss)', icmp_blocks: 'as', masquerade: 'b',
    forward_ports: 'a(ssss)', rich_rules: 'as', protocols: 'as', source_ports: 'a(ss)', priority: 'i', ingress_zones: 'as',
    egress_zones: 'as', disable: 'b',
  })
  t.strictSame(signatures(any(kinds.service)), {
    version: 's', short: 's', description: 's', ports: 'a(ss)', modules: 'as', destination: 'a{ss}', protocols: 'as', source_ports: 'a(ss)',
    includes: 'as', helpers: 'as',
  })
  t.end()
})

t.test('the older tuples have firewalld\'s layout', (t) => {
  const layout = Object.fromEntries(Object.values(kinds).filter(({ tuple }) => tuple !== null)
    .map((kind) => [kind.kind, tupleSignature(any(kind), kind.tuple as never)]))
  t.strictSame(layout, {
    zone: '(sssbsasa(ss)asba(ssss)asasasasa(ss)b)', service: '(sssa(ss)asa{ss}asa(ss))', ipset: '(ssssa{ss}as)', icmptype: '(sssas)',
    helper: '(sssssa(ss))',
  })
  t.end()
})

t.test('the face 1.3 has no key that came with 2.x', (t) => {
  t.notOk('ingress_priority' in encodeSettings(kinds.zone.fields, kinds.zone.empty, '1.3'))
  t.notOk('disable' in encodeSettings(kinds.policy.fields, kinds.policy.empty, '1.3'))
  t.equal(codeOf(() => decodeSettings(kinds.zone.fields, { ingress_priority: 5 }, '1.3')), "INVALID_OPTION: 'ingress_priority' is not a valid key")
  t.end()
})

t.test('a dictionary leaves out what is empty, but no number and no boolean', (t) => {
  t.strictSame(encodeSettings(kinds.zone.fields, { ...kinds.zone.empty, services: ['ssh'] }), {
    target: { signature: 's', value: 'default' }, services: { signature: 'as', value: ['ssh'] }, masquerade: { signature: 'b', value: false },
    icmp_block_inversion: { signature: 'b', value: false }, forward: { signature: 'b', value: false },
    ingress_priority: { signature: 'i', value: 0 }, egress_priority: { signature: 'i', value: 0 },
  })
  t.strictSame(encodePartial(kinds.zone.fields, { services: [] }), { services: { signature: 'as', value: [] } }, 'a partial change repeats its keys')
  t.end()
})

t.test('the target REJECT is %%REJECT%% on the bus', (t) => {
  t.equal(encodeSettings(kinds.zone.fields, { ...kinds.zone.empty, target: 'REJECT' })['target']?.value, '%%REJECT%%')
  t.strictSame(decodeSettings(kinds.zone.fields, { target: '%%REJECT%%' }), { target: 'REJECT' })
  t.throws(() => decodeSettings(kinds.zone.fields, { target: 'REJECT' }), { code: 'INVALID_TARGET' }, 'which is YAML\'s word, and no zone\'s on the bus')
  t.end()
})

t.test('a partial dictionary names only its own keys', (t) => {
  t.strictSame(decodeSettings(kinds.zone.fields, { ports: [['90-80', 'tcp']], forward: true }), { ports: [{ port: '80-90', protocol: 'tcp' }], forward: true })
  t.end()
})

t.test('what the bus may not say is refused by name', (t) => {
  const refused: readonly (readonly [Record<string, unknown>, string])[] = [
    [{ bogus: false }, "INVALID_OPTION: 'bogus' is not a valid key"],
    [{ services: 'ssh' }, "INVALID_TYPE: 'services' is not of type as"],
    [{ services: [['ssh', 'x']] }, 'INVALID_TYPE: expected one text, got 2'],
    [{ ports: [['80']] }, 'INVALID_TYPE: expected port and protocol, got 1 texts'],
    [{ ports: [[80, 'tcp']] }, "INVALID_TYPE: 'ports' is not of type a(ss)"],
    [{ masquerade: 'yes' }, "INVALID_TYPE: 'masquerade' is not of type b"],
    [{ ingress_priority: '5' }, "INVALID_TYPE: 'ingress_priority' is not of type i"],
    [{ ingress_priority: 40000 }, 'INVALID_PRIORITY: 40000 is not within -32768 to 32767'],
    [{ target: 'BAD' }, "INVALID_TARGET: 'BAD' is none of default, ACCEPT, REJECT, DROP"],
    [{ short: 'a\u0000b' }, 'INVALID_VALUE: control characters are not allowed'],
  ]
  for (const [dict, message] of refused) t.equal(codeOf(() => decodeSettings(kinds.zone.fields, dict)), message, JSON.stringify(dict))
  t.equal(codeOf(() => decodeSettings(kinds.policy.fields, { priority: 0 })), 'INVALID_PRIORITY: 0 is not within -32768 to 32767, not 0')
  t.equal(codeOf(() => decodeTuple(kinds.helper, kinds.helper.tuple!, ['', '', '', '', 'ftp', []])), "INVALID_MODULE: 'ftp' does not begin with 'nf_conntrack_'")
  t.equal(codeOf(() => decodeTuple(kinds.helper, kinds.helper.tuple!, [''])), 'INVALID_TYPE: structure size mismatch, expected 6, got 1')
  t.equal(codeOf(() => decodeTuple(kinds.ipset, kinds.ipset.tuple!, ['', '', '', 'hash:nope', {}, []])).slice(0, 12), 'INVALID_TYPE')
  t.equal(codeOf(() => decodeTuple(kinds.ipset, kinds.ipset.tuple!, ['', '', '', 'hash:ip', { bogus: '1' }, []])).slice(0, 13), 'INVALID_IPSET')
  t.equal(codeOf(() => decodeTuple(kinds.ipset, kinds.ipset.tuple!, ['', '', '', 'hash:ip', { maxelem: 'x' }, []])).slice(0, 13), 'INVALID_VALUE')
  t.end()
})

t.test('each item is refused with firewalld\'s code', (t) => {
  const zone = kinds.zone.fields as unknown as Readonly<Record<string, { readonly item: ItemCodec<unknown> }>>
  const refused: readonly (readonly [keyof ZoneSettings, string, string])[] = [
    ['services', 'a b', 'INVALID_SERVICE: a b'], ['services', '', 'INVALID_SERVICE'],
    ['ports', '80', 'INVALID_PORT: 80 has no protocol, write 80/tcp or 80/udp'], ['ports', '80/icmp', "INVALID_PROTOCOL: 'icmp' not in {'tcp'|'udp'|'sctp'|'dccp'}"],
    ['ports', '80:90/tcp', 'INVALID_PORT: 80:90'], ['ports', '65536/tcp', 'INVALID_PORT: 65536'], ['ports', '80/TCP', "INVALID_PROTOCOL: 'TCP' not in {'tcp'|'udp'|'sctp'|'dccp'}"],
    ['protocols', 'foo', 'INVALID_PROTOCOL: foo'], ['protocols', '300', 'INVALID_PROTOCOL: 300'],
    ['interfaces', '', 'INVALID_INTERFACE'], ['interfaces', 'averyveryverylongname', 'INVALID_INTERFACE: averyveryverylongname'],
    ['interfaces', 'et/h', 'INVALID_INTERFACE: et/h'], ['interfaces', 'et h', 'INVALID_INTERFACE: et h'], ['interfaces', '*', 'INVALID_INTERFACE: *'],
    ['sources', '300.1.1.1', 'INVALID_ADDR: 300.1.1.1'], ['sources', '10.0.0.0/33', 'INVALID_ADDR: 10.0.0.0/33'], ['sources', 'example.com', 'INVALID_ADDR: example.com'],
    ['sources', '', 'INVALID_ADDR'], ['sources', 'ipset:', 'INVALID_IPSET'], ['sources', 'ipset:a b', 'INVALID_IPSET: a b'], ['sources', 'list:../x', 'INVALID_SOURCE: ../x'],
    ['forwardPorts', '82/tcp:', 'INVALID_FORWARD: neither to-port nor to-addr is given'], ['forwardPorts', '86/icmp:87', "INVALID_PROTOCOL: 'icmp' not in {'tcp'|'udp'|'sctp'|'dccp'}"],
    ['forwardPorts', '85/tcp:90:host', 'INVALID_ADDR: host'], ['forwardPorts', '85', "INVALID_FORWARD: '85' is not like 80/tcp:8080 or 80/tcp:8080:192.0.2.1"],
    ['icmpBlocks', 'x/y', 'INVALID_ICMPTYPE: x/y'],
  ]
  for (const [key, text, message] of refused) t.equal(codeOf(() => zone[key]!.item.fromText(text)), message, `${key}: '${text}'`)
  t.match(codeOf(() => zone['richRules']!.item.fromText('rule bogus')), /^INVALID_RULE/)
  t.end()
})

function samplesOf(item: ItemCodec<unknown>): readonly string[] {
  const samples = sampleItems[item.columns.join(' ')]
  if (samples === undefined) throw new Error(`no samples for ${item.columns.join(' ')}`)
  return samples
}

t.test('canonical text: parse(format(x)) = x for every codec', (t) => {
  let tried = 0
  for (const kind of [...Object.values(kinds), mainKind].map(any)) {
    for (const [key, field] of fieldRows(kind.fields) as readonly (readonly [string, AnyField])[]) {
      if (field.shape !== 'list') continue
      for (const text of samplesOf(field.item)) {
        const item = field.item.fromText(text)
        t.strictSame(field.item.fromText(field.item.toText(item)), item, `${kind.kind}.${key} '${text}' as text`)
        t.strictSame(field.item.parse(field.item.format(item)), item, `${kind.kind}.${key} '${text}' as columns`)
        t.equal(field.item.format(item).length, field.item.columns.length)
        tried++
      }
    }
  }
  t.ok(tried > 60, `${tried} items`)
  t.end()
})

t.test('random zones come back from the dictionary and from the tuple', (t) => {
  const seed = seedOfRun()
  t.comment(`DERPANET_SEED=${seed}`)
  const random = createRandom(seed)
  for (let round = 0; round < 300; round++) {
    const zone = randomZone(random.fork(round))
    const dict = Object.fromEntries(Object.entries(encodeSettings(kinds.zone.fields, zone)).map(([key, { value }]) => [key, value]))
    const back = { ...kinds.zone.empty, ...decodeSettings(kinds.zone.fields, dict) }
    if (!t.strictSame(back, zone, `dictionary, round ${round}`)) break
    const tuple = decodeTuple(kinds.zone, kinds.zone.tuple!, encodeTuple(kinds.zone, kinds.zone.tuple!, zone))
    const { forward, ingressPriority, egressPriority, ...inTuple } = zone
    if (!t.strictSame(tuple, inTuple, `tuple, round ${round}`)) break
  }
  t.end()
})

t.test('a default is what the empty value says: every table accepts its own empty value', (t) => {
  for (const kind of [kinds.zone, kinds.policy, kinds.service, kinds.icmptype] as unknown as ObjectKind<never>[]) {
    const dict = Object.fromEntries(Object.entries(encodeSettings(kind.fields, kind.empty)).map(([key, { value }]) => [key, value]))
    t.strictSame({ ...(kind.empty as object), ...decodeSettings(kind.fields, dict) }, kind.empty, kind.kind)
  }
  t.end()
})
