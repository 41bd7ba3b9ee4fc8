// What the recorded probes do not show: ranges in all shapes, times, interfaces that follow the default zone, panic.
import t from 'tap'
import { DerpanetError } from '../../src/errors.ts'
import type { Change, Reduced, ZoneItemField } from '../../src/model/change.ts'
import { reduceRuntime } from '../../src/model/reduce.ts'
import { addPorts, coversPorts, removePorts } from '../../src/model/reduce/ports.ts'
import { parsePortRange } from '../../src/model/port.ts'
import { emptyPolicy, type PolicySettings, type PortSpec, type Runtime, type ZoneSettings } from '../../src/model/settings.ts'
import { int, random, seed } from './random.ts'
import { entryOf, running, shippedSettings, withIpSets, withZones } from './shipped.ts'

const shipped = await shippedSettings()
const start = running(shipped)

function all(runtime: Runtime, ...changes: readonly Change[]): Runtime {
  return changes.reduce((world, change) => reduceRuntime(world, change).world, runtime)
}

function answer(runtime: Runtime, change: Change): string {
  try {
    reduceRuntime(runtime, change)
    return 'ok'
  } catch (error) {
    if (!(error instanceof DerpanetError)) throw error
    return error.message
  }
}

const add = (field: ZoneItemField, item: readonly string[], timeoutSec = 0, zone = 'public'): Change => ({ kind: 'zone-item-add', zone, field, item, timeoutSec })
const remove = (field: ZoneItemField, item: readonly string[], zone = 'public'): Change => ({ kind: 'zone-item-remove', zone, field, item })
const ports = (runtime: Runtime, zone = 'public'): string => runtime.settings.zones.get(zone)!.value.ports.map(({ port }) => port).join(' ')

t.test('ranges merge when they overlap and split when something is taken out, as recorded from firewalld', (t) => {
  const session: readonly (readonly ['add' | 'remove', string, string, string?])[] = [
    ['add', '3000-3010', '3000-3010'], ['add', '3011-3020', '3000-3010 3011-3020'], ['add', '8080', '3000-3010 3011-3020 8080'],
    ['add', '8081', '3000-3010 3011-3020 8080 8081'], ['add', '8080-8081', '3000-3010 3011-3020 8080-8081'],
    ['remove', '8080-8081', '3000-3010 3011-3020'], ['add', '3005-3015', '3000-3020'], ['remove', '3010-3011', '3000-3009 3012-3020'],
    ['add', '50', '3000-3009 3012-3020 50'], ['add', '51', '3000-3009 3012-3020 50 51'],
    ['remove', '50-51', '3000-3009 3012-3020 50 51', "NOT_ENABLED: '50-51:tcp' not in 'public'"], ['add', '52-53', '3000-3009 3012-3020 50 51 52-53'],
    ['add', '51-52', '3000-3009 3012-3020 50 51-53'], ['add', '40-60', '3000-3009 3012-3020 40-60'],
    ['add', '45-46', '3000-3009 3012-3020 40-60', "ALREADY_ENABLED: '45-46:tcp' already in 'public'"],
    ['remove', '45', '3000-3009 3012-3020 40-44 46-60'], ['remove', '50-55', '3000-3009 3012-3020 40-44 46-49 56-60'],
    ['add', '45', '3000-3009 3012-3020 40-44 46-49 56-60 45'], ['add', '44-45', '3000-3009 3012-3020 46-49 56-60 40-45'],
    ['remove', '44-50', '3000-3009 3012-3020 46-49 56-60 40-45', "NOT_ENABLED: '44-50:tcp' not in 'public'"],
  ]
  let runtime = start
  for (const [verb, port, after, refusal] of session) {
    const change = verb === 'add' ? add('ports', [port, 'tcp']) : remove('ports', [port, 'tcp'])
    t.equal(answer(runtime, change), refusal ?? 'ok', `${verb} ${port}`)
    if (refusal === undefined) runtime = all(runtime, change)
    t.equal(ports(runtime), after, `after ${verb} ${port}`)
  }
  t.end()
})

t.test('what is wrong first is what is answered, in the order of firewalld', (t) => {
  const rows: readonly (readonly [Change, string])[] = [
    [add('ports', ['80', '']), 'MISSING_PROTOCOL'], [add('forwardPorts', ['80', '', '81', '']), 'MISSING_PROTOCOL'],
    [remove('ports', ['22', '']), 'NOT_ENABLED'], [remove('ports', ['22', 'xyz']), 'NOT_ENABLED'],
    [{ kind: 'source-remove', zone: 'nonesuch', source: 'x' }, 'INVALID_ADDR'], [{ kind: 'source-remove', zone: 'nonesuch', source: '192.0.2.1' }, 'UNKNOWN_SOURCE'],
    [{ kind: 'source-change', zone: 'nonesuch', source: 'x' }, 'INVALID_ADDR'], [{ kind: 'source-change', zone: 'nonesuch', source: '192.0.2.1' }, 'INVALID_ZONE'],
    [{ kind: 'source-add', zone: 'nonesuch', source: 'x' }, 'INVALID_ZONE'],
    [{ kind: 'interface-remove', zone: 'nonesuch', interface: 'x/y' }, 'INVALID_INTERFACE'], [{ kind: 'interface-remove', zone: 'nonesuch', interface: 'eth0' }, 'UNKNOWN_INTERFACE'],
    [{ kind: 'interface-change', zone: 'nonesuch', interface: 'x/y' }, 'INVALID_INTERFACE'], [{ kind: 'interface-change', zone: 'nonesuch', interface: 'eth0' }, 'INVALID_ZONE'],
    [{ kind: 'interface-add', zone: 'nonesuch', interface: 'x/y' }, 'INVALID_ZONE'],
  ]
  for (const [change, code] of rows) t.equal(answer(start, change).split(':')[0], code, JSON.stringify(change))
  t.end()
})

t.test('what is decided before routing cannot lead to a zone with interfaces, whichever of the two comes first', (t) => {
  const policy = { ...emptyPolicy, ingressZones: ['public'], egressZones: ['internal'], forwardPorts: [{ port: '80', protocol: 'tcp', toPort: '', toAddr: '192.0.2.1' }] } as const
  const leading = running({ ...shipped, policies: new Map([...shipped.policies, ['mine', entryOf<PolicySettings>(policy)]]) })
  const bind = (zone: string): Change => ({ kind: 'interface-add', zone, interface: 'eth7' })
  t.match(answer(leading, bind('internal')), /^INVALID_ZONE: Policy 'mine': 'forward-port' cannot be used because egress zone 'internal'/)
  t.match(answer(leading, { kind: 'zone-settings', zone: 'internal', settings: { interfaces: ['eth7'] }, timeoutSec: 0 }), /^INVALID_ZONE: Policy 'mine'/)
  t.equal(answer(leading, bind('home')), 'ok')
  const bound = all(running({ ...shipped, policies: new Map([...shipped.policies, ['mine', entryOf<PolicySettings>({ ...policy, forwardPorts: [] })]]) }), bind('internal'))
  const set = (settings: Partial<PolicySettings>): string => answer(bound, { kind: 'policy-settings', policy: 'mine', settings, timeoutSec: 0 })
  t.match(set({ forwardPorts: policy.forwardPorts }), /^INVALID_ZONE/)
  t.match(set({ richRules: ['rule family="ipv4" source address="192.0.2.1" mark set=5'] }), /^INVALID_ZONE: .*'mark'/)
  t.equal(set({ egressZones: ['home'], forwardPorts: policy.forwardPorts }), 'ok')
  t.match(set({ egressZones: ['HOST'], forwardPorts: policy.forwardPorts }), /^INVALID_FORWARD/)
  t.match(set({ egressZones: ['HOST'], richRules: ['rule masquerade'] }), /^INVALID_ZONE/)
  t.match(set({ egressZones: ['HOST'], richRules: ['rule tcp-mss-clamp'] }), /^INVALID_RULE: tcp-mss-clamp/)
  t.match(set({ ingressZones: ['HOST'], egressZones: ['ANY'], richRules: ['rule source mac=02:00:5e:00:01:02 drop'] }), /^INVALID_RULE: mac/)
  t.match(set({ ingressZones: ['HOST'], egressZones: ['ANY'], richRules: ['rule priority=1 mark set=1'] }), /^INVALID_RULE: mark/)
  t.end()
})

t.test('lists of ports hold exactly the numbers that were added and not taken out', (t) => {
  t.comment(`seed ${seed}`)
  const rnd = random(seed)
  let list: readonly PortSpec[] = []
  const open = new Set<number>()
  for (let round = 0; round < 2000; round++) {
    const first = int(rnd, 0, 60)
    const range = { first, last: first + int(rnd, 0, 8) }
    const numbers = Array.from({ length: range.last - range.first + 1 }, (_, at) => range.first + at)
    if (rnd() < 0.5) {
      list = addPorts(list, 'tcp', range)
      for (const number of numbers) open.add(number)
      if (!coversPorts(list, 'tcp', range)) t.fail(`seed ${seed}: ${range.first}-${range.last} is not there after adding it`)
    } else {
      list = removePorts(list, 'tcp', range)
      for (const number of numbers) open.delete(number)
    }
    const held = list.flatMap(({ port }) => {
      const piece = parsePortRange(port)!
      return Array.from({ length: piece.last - piece.first + 1 }, (_, at) => piece.first + at)
    })
    if (held.sort((a, b) => a - b).join() !== [...open].sort((a, b) => a - b).join()) {
      t.fail(`seed ${seed}: round ${round}: ${JSON.stringify(list)}`)
      break
    }
  }
  t.pass('2000 changes')
  t.end()
})

t.test('a timed item is taken back by its own key, and removing it calls that off', (t) => {
  const added = reduceRuntime(start, add('services', ['http'], 3, ''))
  t.same(added.expiries, [{ key: 'zone public services=http', timeoutSec: 3, change: { kind: 'zone-item-expire', zone: 'public', field: 'services', item: ['http'] } }])
  t.same(reduceRuntime(added.world, remove('services', ['http'])).cancelled, ['zone public services=http'])
  const expired = reduceRuntime(added.world, added.expiries[0]!.change)
  t.same(expired.events, [{ kind: 'zone-item-removed', zone: 'public', field: 'services', item: ['http'] }])
  t.notOk(expired.world.settings.zones.get('public')!.value.services.includes('http'))
  t.end()
})

t.test('what is left of a timed range goes at its end, also when somebody took a part of it, also in panic', (t) => {
  const added = reduceRuntime(start, add('ports', ['4090-4120', 'tcp'], 5))
  const holed = all(added.world, remove('ports', ['4100', 'tcp']), { kind: 'panic-set', on: true })
  t.equal(ports(holed), '4090-4099 4101-4120')
  t.equal(ports(reduceRuntime(holed, added.expiries[0]!.change).world), '')
  t.end()
})

t.test('a negative time is refused after the zone and before panic', (t) => {
  const panic = all(start, { kind: 'panic-set', on: true })
  t.equal(answer(panic, add('ports', ['1', 'tcp'], -1, 'nozone')), 'INVALID_ZONE: nozone')
  t.equal(answer(panic, add('services', ['nosuch'], -1)), "INVALID_VALUE: timeout '-1' is not positive number")
  t.equal(answer(panic, add('services', ['nosuch'])), 'PANIC_MODE')
  t.equal(answer(panic, { kind: 'interface-add', zone: 'nozone', interface: 'eth0' }), 'PANIC_MODE')
  t.equal(answer(panic, { kind: 'default-zone-set', zone: 'nozone' }), 'INVALID_ZONE: nozone')
  t.equal(answer(panic, { kind: 'default-zone-set', zone: 'home' }), 'PANIC_MODE')
  t.equal(answer(panic, { kind: 'default-zone-set', zone: 'public' }), 'ZONE_ALREADY_SET: public')
  t.equal(answer(panic, { kind: 'panic-set', on: true }), 'ALREADY_ENABLED: panic mode already enabled')
  t.end()
})

t.test('settings of a zone or policy are refused for a mistake of theirs before panic', (t) => {
  const mine: PolicySettings = { ...emptyPolicy, ingressZones: ['home'], egressZones: ['HOST'] }
  const panic = all(running({ ...shipped, policies: new Map([['mine', entryOf(mine)]]) }), { kind: 'panic-set', on: true })
  const policy = (settings: Partial<PolicySettings>): string => answer(panic, { kind: 'policy-settings', policy: 'mine', settings, timeoutSec: 0 })
  const zone = (settings: Partial<ZoneSettings>): string => answer(panic, { kind: 'zone-settings', zone: 'public', settings, timeoutSec: 0 })
  t.match(policy({ masquerade: true }), /^INVALID_ZONE/)
  t.match(policy({ services: ['nosuch'] }), /^INVALID_SERVICE/)
  t.match(policy({ ingressZones: ['nozone'] }), /^INVALID_ZONE/)
  t.match(policy({ target: 'DROP' }), /^INVALID_SETTING/)
  t.equal(policy({ protocols: ['tcp'] }), 'PANIC_MODE')
  t.match(zone({ services: ['nosuch'] }), /^INVALID_SERVICE/)
  t.match(zone({ icmpBlocks: ['nosuch'] }), /^INVALID_ICMPTYPE/)
  t.match(zone({ sources: ['nowhere'] }), /^INVALID_ADDR/)
  t.match(zone({ target: 'DROP' }), /^INVALID_SETTING/)
  t.equal(zone({ services: ['ssh', 'http'] }), 'PANIC_MODE')
  t.end()
})

t.test('bans by ipset entry go on in panic', (t) => {
  const panic = all(running(withIpSets(shipped, { bad: { type: 'hash:ip' } })), { kind: 'panic-set', on: true })
  t.equal(answer(panic, { kind: 'ipset-entry-add', ipset: 'bad', entry: '192.0.2.1' }), 'ok')
  t.end()
})

t.test('an entry that no set can hold is not there to be removed', (t) => {
  const runtime = running(withIpSets(shipped, { bad: { type: 'hash:net' } }))
  for (const entry of ['0.0.0.0/0', 'nonsense', '2001:db8::/64']) {
    t.equal(answer(runtime, { kind: 'ipset-entry-remove', ipset: 'bad', entry }), `NOT_ENABLED: '${entry}' not in 'bad'`)
    t.match(answer(runtime, { kind: 'ipset-entry-add', ipset: 'bad', entry }), /^INVALID_ENTRY: /)
  }
  t.end()
})

t.test('an interface of another zone is refused in firewalld\'s words', (t) => {
  const runtime = all(start, { kind: 'interface-add', zone: 'home', interface: 'ext0' })
  t.equal(answer(runtime, { kind: 'interface-add', zone: 'work', interface: 'ext0' }), "ZONE_CONFLICT: 'ext0' already bound to 'home'")
  t.equal(answer(runtime, { kind: 'interface-add', zone: 'home', interface: 'ext0' }), "ZONE_ALREADY_SET: 'ext0' already bound to 'home'")
  t.equal(answer(runtime, { kind: 'interface-remove', zone: '', interface: 'nope' }), "UNKNOWN_INTERFACE: 'nope' is not in any zone")
  t.end()
})

t.test('a source of another zone is refused in every spelling', (t) => {
  const runtime = all(start, { kind: 'source-add', zone: 'home', source: '10.0.0.0/8' })
  t.equal(answer(runtime, { kind: 'source-add', zone: 'work', source: '10.0.0.1/255.0.0.0' }), "ZONE_CONFLICT: '10.0.0.1/255.0.0.0' already bound to a zone")
  const moved = all(runtime, { kind: 'source-change', zone: 'work', source: '10.0.0.0/255.0.0.0' })
  t.same(moved.settings.zones.get('home')!.value.sources, [])
  t.same(moved.settings.zones.get('work')!.value.sources, ['10.0.0.0/255.0.0.0'])
  t.end()
})

t.test('interfaces put into the default zone without naming it follow when it changes', (t) => {
  const runtime = all(start,
    { kind: 'interface-add', zone: '', interface: 'eth0' }, { kind: 'interface-add', zone: 'public', interface: 'eth1' },
    { kind: 'interface-change', zone: '', interface: 'eth2' }, { kind: 'default-zone-set', zone: 'home' })
  const of = (world: Runtime, zone: string): readonly string[] => world.settings.zones.get(zone)!.value.interfaces
  t.same(of(runtime, 'home'), ['eth0', 'eth2'])
  t.same(of(runtime, 'public'), ['eth1'])
  const named = all(runtime, { kind: 'interface-change', zone: 'home', interface: 'eth0' }, { kind: 'default-zone-set', zone: 'work' })
  t.same(of(named, 'home'), ['eth0'], 'named now, so it stays')
  t.same(of(named, 'work'), ['eth2'])
  t.end()
})

t.test('a zone told again that it has an interface tells it to everybody', (t) => {
  const runtime = all(start, { kind: 'interface-add', zone: 'work', interface: 'eth0' })
  const again: Reduced<Runtime> = reduceRuntime(runtime, { kind: 'interface-change', zone: 'work', interface: 'eth0' })
  t.same(again.events, [{ kind: 'interface-changed', zone: 'work', interface: 'eth0' }])
  t.not(again.world, runtime)
  t.end()
})

t.test('what goes takes its place in the file along, so that it comes back as a runtime thing', (t) => {
  const zone = entryOf({ ...shipped.zones.get('public')!.value, services: ['ssh'] }, new Map([['services=ssh', { line: 3, column: 5 }], ['services', { line: 2, column: 1 }]]))
  const runtime = running({ ...shipped, zones: new Map([...shipped.zones, ['public', zone]]) })
  const back = all(runtime, remove('services', ['ssh']), add('services', ['ssh']))
  t.same([...back.settings.zones.get('public')!.positions.keys()], ['services'])
  t.end()
})

t.test('many settings at once replace only the lists they name, and times are kept item by item', (t) => {
  const result = reduceRuntime(start, { kind: 'zone-settings', zone: 'dmz', timeoutSec: 4, settings: { services: ['ssh', 'http'], ports: [{ port: '99', protocol: 'tcp' }] } })
  const zone = result.world.settings.zones.get('dmz')!.value
  t.same([zone.services, zone.ports], [['ssh', 'http'], [{ port: '99', protocol: 'tcp' }]])
  t.same(result.expiries.map(({ key }) => key), ['zone dmz services=http', 'zone dmz ports=99/tcp'])
  const settings = (change: object): string => answer(start, { kind: 'zone-settings', zone: 'dmz', timeoutSec: 0, settings: change })
  t.equal(settings({ target: 'DROP' }), 'INVALID_SETTING: target cannot be changed at runtime')
  t.equal(settings({ target: 'default', short: 'DMZ' }), shipped.zones.get('dmz')!.value.short === 'DMZ' ? 'ok' : 'INVALID_SETTING: short cannot be changed at runtime')
  t.equal(settings({ services: ['nosuch'] }), 'INVALID_SERVICE: nosuch')
  const bound = running(withZones(shipped, { home: { interfaces: ['eth0'], sources: ['192.0.2.0/24'] } }))
  t.equal(answer(bound, { kind: 'zone-settings', zone: 'dmz', timeoutSec: 0, settings: { interfaces: ['eth0'] } }),
    "INVALID_INTERFACE: Zone 'dmz': interface 'eth0' already bound to zone 'home'")
  t.equal(answer(bound, { kind: 'zone-settings', zone: 'dmz', timeoutSec: 0, settings: { sources: ['192.0.2.9/24'] } }),
    "INVALID_ADDR: Zone 'dmz': source '192.0.2.9/24' already bound to zone 'home'")
  t.end()
})

t.test('a rich rule that can never be built is refused when it is added', (t) => {
  t.match(answer(start, add('richRules', ['rule family=ipv4 port port=1 protocol=udp reject type=tcp-reset'])), /^INVALID_RULE: /)
  t.match(answer(start, add('richRules', ['rule family=ipv4 destination address=192.0.2.1 service name=mdns accept'])), /^INVALID_RULE: Destination conflict/)
  t.equal(answer(start, remove('richRules', ['rule service name=nosuch accept'])), "NOT_ENABLED: 'rule service name=\"nosuch\" accept' not in 'public'")
  t.end()
})

t.test('a refused change leaves the world alone and equal content is no change', (t) => {
  const frozen = JSON.stringify([...start.settings.zones])
  answer(start, add('ports', ['x', 'tcp']))
  all(start, add('ports', ['80', 'tcp']))
  t.equal(JSON.stringify([...start.settings.zones]), frozen)
  const world = running(withIpSets(shipped, { s: { type: 'hash:ip', entries: ['192.0.2.1'] } }))
  t.equal(reduceRuntime(world, { kind: 'ipset-entries-set', ipset: 's', entries: ['192.0.2.1'] }).world, world)
  t.end()
})
