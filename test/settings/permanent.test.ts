// What a client's change of the permanent configuration does to other objects.
import t from 'tap'
import { reducePermanent } from '../../src/settings/permanent.ts'
import type { Settings } from '../../src/model/settings.ts'
import { runtimeOf } from '../support/configuration.ts'

const base = runtimeOf({
  zones: { public: { services: ['one', 'two'] }, home: { services: ['one'] }, work: { services: ['two'] } }, services: { one: {}, two: {} },
}).settings
const own = <K extends 'services' | 'zones'>(settings: Settings, folder: K): Settings =>
  ({ ...settings, [folder]: new Map([...settings[folder]].map(([name, entry]) => [name, { ...entry, layer: 'admin' as const }])) })
const settings = own(own(base, 'services'), 'zones')

t.test('a service that goes is taken out of the zones that name it, and they are told first', (t) => {
  const { effects, events } = reducePermanent(settings, { kind: 'object-remove', object: 'service', name: 'one' })
  t.match(effects, [
    { kind: 'write', object: 'zone', name: 'public', value: { services: ['two'] } },
    { kind: 'write', object: 'zone', name: 'home', value: { services: [] } },
    { kind: 'remove', object: 'service', name: 'one' },
  ])
  t.equal(effects.length, 3)
  t.strictSame(events, [
    { kind: 'object-updated', object: 'zone', name: 'public' }, { kind: 'object-updated', object: 'zone', name: 'home' },
    { kind: 'object-removed', object: 'service', name: 'one' },
  ])
  t.end()
})

t.test('and out of the policies; a zone that a policy names goes, and the reload tells', (t) => {
  const with2 = runtimeOf({
    zones: { public: {} }, services: { one: { ports: ['1/tcp'] }, two: { ports: ['2/tcp'] } },
    policies: { p: { ingressZones: ['public'], egressZones: ['HOST'], services: ['two', 'one'], icmpBlocks: ['redirect'] } },
  }).settings
  const mine = own(own(with2, 'services'), 'zones')
  const { effects, events } = reducePermanent(mine, { kind: 'object-remove', object: 'service', name: 'one' })
  t.match(effects, [{ kind: 'write', object: 'policy', name: 'p', value: { services: ['two'], icmpBlocks: ['redirect'] } }, { kind: 'remove', object: 'service', name: 'one' }])
  t.strictSame(events, [{ kind: 'object-updated', object: 'policy', name: 'p' }, { kind: 'object-removed', object: 'service', name: 'one' }])
  t.match(reducePermanent(mine, { kind: 'object-remove', object: 'zone', name: 'public' }).effects, [{ kind: 'remove', object: 'zone', name: 'public' }])
  t.end()
})

t.test('so is an ICMP type, and nothing else goes with a zone', (t) => {
  const blocked = { ...settings, zones: new Map([...settings.zones].map(([name, entry]) => [name, { ...entry, value: { ...entry.value, icmpBlocks: ['echo-request'] } }])),
    icmptypes: new Map([...settings.icmptypes].map(([name, entry]) => [name, { ...entry, layer: 'admin' as const }])) }
  t.equal(reducePermanent(blocked, { kind: 'object-remove', object: 'icmptype', name: 'echo-request' }).effects.length, settings.zones.size + 1)
  t.equal(reducePermanent(settings, { kind: 'object-remove', object: 'zone', name: 'work' }).effects.length, 1)
  t.end()
})

t.test('of a zone part of a range of ports can be taken, of a service only what was written', (t) => {
  const ported = runtimeOf({ zones: { public: { ports: ['80-81/tcp'] } }, services: { web: { ports: ['80-81/tcp'] } } }).settings
  const item = (kind: 'object-item-add' | 'object-item-remove', object: 'zone' | 'service', name: string, port: string): unknown =>
    (reducePermanent(ported, { kind, object, name, field: 'ports', item: [port, 'tcp'] }).effects[0] as { readonly value: { readonly ports: unknown } }).value.ports
  t.strictSame(item('object-item-remove', 'zone', 'public', '81'), [{ port: '80', protocol: 'tcp' }])
  t.throws(() => item('object-item-remove', 'service', 'web', '81'), { code: 'NOT_ENABLED', detail: '81:tcp' })
  t.strictSame(item('object-item-remove', 'service', 'web', '80-81'), [])
  t.strictSame(item('object-item-add', 'service', 'web', '81'), [{ port: '80-81', protocol: 'tcp' }, { port: '81', protocol: 'tcp' }])
  t.end()
})
