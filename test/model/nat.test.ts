// Changes of masquerading, forward-ports and policies, from the call to what becomes of a packet; and what the property test
// once found.
import t from 'tap'
import { compile } from '../../src/compile/compile.ts'
import { parseAddr4, parseAddr6 } from '../../src/model/addr.ts'
import type { Change } from '../../src/model/change.ts'
import { follow, type Host } from '../../src/model/oracle.ts'
import type { Packet } from '../../src/model/packet.ts'
import { reduceRuntime } from '../../src/model/reduce.ts'
import { resolve } from '../../src/model/resolve.ts'
import { emptyPolicy, type PolicySettings, type Runtime, type Settings, type ZoneSettings } from '../../src/model/settings.ts'
import { entryOf, running, shippedSettings, withMain, withZones } from './shipped.ts'

const shipped = await shippedSettings()
const addr = (text: string): bigint => (text.includes(':') ? parseAddr6(text)! : BigInt(parseAddr4(text)!))

/** eth0 is outside and 192.0.2.1, eth1 inside (10.0.0.0/8) and 10.0.0.1. */
const host: Host = {
  route: (_family, destination) => {
    if (destination === addr('192.0.2.1') || destination === addr('10.0.0.1')) return 'local'
    return { interface: destination >> 24n === 10n ? 'eth1' : 'eth0' }
  },
  addressOf: (family, ifname) => (family === 'ipv6' ? null : addr(ifname === 'eth0' ? '192.0.2.1' : '10.0.0.1')),
}

const base = { family: 'ipv4', protocol: 6, sourcePort: 40000 } as const
const coming = (port: number): Packet => ({ ...base, direction: 'in', source: addr('198.51.100.9'), destination: addr('192.0.2.1'), inInterface: 'eth0', destinationPort: port })
const going: Packet = { ...base, direction: 'forward', source: addr('10.0.0.2'), destination: addr('198.51.100.9'), inInterface: 'eth1', outInterface: 'eth0', destinationPort: 443 }

function router(zones: Readonly<Record<string, Partial<ZoneSettings>>> = {}): Settings {
  return withZones(shipped, { external: { interfaces: ['eth0'], masquerade: false, ...zones['external'] }, internal: { interfaces: ['eth1'], ...zones['internal'] } })
}

function withPolicies(settings: Settings, policies: Readonly<Record<string, Partial<PolicySettings>>>): Settings {
  return { ...settings, policies: new Map([...settings.policies, ...Object.entries(policies).map(([name, policy]) => [name, entryOf({ ...emptyPolicy, ...policy })] as const)]) }
}

function changed(runtime: Runtime, ...changes: readonly Change[]): Runtime {
  return changes.reduce((world, change) => reduceRuntime(world, change).world, runtime)
}

/** `accept 192.0.2.1>198.51.100.9:443`. */
function becomes(runtime: Runtime, packet: Packet): string {
  const { firewall, problems } = resolve(runtime)
  if (firewall === null) throw new Error(JSON.stringify(problems))
  compile(firewall)
  const { judgement, delivered } = follow(firewall, packet, 'new', host)
  const dotted = (one: bigint): string => [24n, 16n, 8n, 0n].map((shift) => (one >> shift) & 255n).join('.')
  return delivered === null ? judgement.verdict.kind : `accept ${dotted(delivered.source)}>${dotted(delivered.destination)}:${delivered.destinationPort}`
}

t.test('addMasquerade is seen by the next connection that leaves, removeMasquerade too', (t) => {
  const open = withPolicies(router(), { out: { target: 'ACCEPT', ingressZones: ['internal'], egressZones: ['external'] } })
  const plain = running(open)
  t.equal(becomes(plain, going), 'accept 10.0.0.2>198.51.100.9:443')
  const masked = changed(plain, { kind: 'zone-flag-add', zone: 'external', field: 'masquerade', timeoutSec: 0 })
  t.equal(becomes(masked, going), 'accept 192.0.2.1>198.51.100.9:443')
  t.same(resolve(masked).firewall?.forwarding, ['ipv4'])
  t.equal(becomes(changed(masked, { kind: 'zone-flag-remove', zone: 'external', field: 'masquerade' }), going), 'accept 10.0.0.2>198.51.100.9:443')
  t.end()
})

t.test('addForwardPort is seen by the next connection that comes in, removeForwardPort too', (t) => {
  const plain = running(router())
  t.equal(becomes(plain, coming(80)), 'reject')
  const item = ['80', 'tcp', '8080', '10.0.0.2'] as const
  const forwarded = changed(plain, { kind: 'zone-item-add', zone: 'external', field: 'forwardPorts', item, timeoutSec: 0 })
  t.equal(becomes(forwarded, coming(80)), 'accept 198.51.100.9>10.0.0.2:8080')
  t.equal(becomes(changed(forwarded, { kind: 'zone-item-remove', zone: 'external', field: 'forwardPorts', item }), coming(80)), 'reject')
  t.end()
})

t.test('setPolicySettings is seen by the next connection', (t) => {
  const plain = running(withPolicies(router(), { out: { ingressZones: ['internal'], egressZones: ['external'] } }))
  t.equal(becomes(plain, going), 'reject')
  const opened = changed(plain, { kind: 'policy-settings', policy: 'out', settings: { services: ['https'], masquerade: true }, timeoutSec: 0 })
  t.equal(becomes(opened, going), 'accept 192.0.2.1>198.51.100.9:443')
  t.equal(becomes(opened, { ...going, destinationPort: 80 }), 'reject', 'only what it names')
  t.end()
})

t.test('a failsafe port of this host is not handed on by a forward-port', (t) => {
  const forwardPorts = [{ port: '22', protocol: 'tcp', toPort: '', toAddr: '10.0.0.2' }]
  const settings = router({ external: { forwardPorts } })
  t.equal(becomes(running(settings), coming(22)), 'accept 198.51.100.9>10.0.0.2:22')
  t.equal(becomes(running(withMain(settings, { failsafePorts: [{ port: '22', protocol: 'tcp' }] })), coming(22)), 'accept 198.51.100.9>192.0.2.1:22')
  t.end()
})

t.test('a redirect to where a packet was going anyway is none', (t) => {
  const settings = router({ external: { forwardPorts: [{ port: '1000-2000', protocol: 'tcp', toPort: '1500-3000', toAddr: '' }] } })
  t.equal(becomes(running(settings), coming(1200)), 'accept 198.51.100.9>192.0.2.1:1500')
  t.equal(becomes(running(settings), coming(1600)), 'reject', 'the zone has to open it')
  t.end()
})

t.test('a policy from HOST to the default zone does not concern what leaves by another zone, whatever comes last', (t) => {
  const settings = withPolicies(withZones(shipped, { external: { interfaces: ['eth0'] } }), { closed: { target: 'DROP', ingressZones: ['HOST'], egressZones: ['public'] } })
  const { firewall } = resolve(running(settings))
  const sent: Packet = { ...base, direction: 'out', source: addr('192.0.2.1'), destination: addr('198.51.100.9'), outInterface: 'eth0', destinationPort: 443 }
  t.equal(follow(firewall!, sent, 'new', host).judgement.verdict.kind, 'accept')
  t.equal(follow(firewall!, { ...sent, outInterface: 'eth7' }, 'new', host).judgement.verdict.kind, 'drop')
  const output = compile(firewall!).chains.find(({ name }) => name === 'output')!.rules.slice(-2)
  t.same(output.map(({ match, verdict }) => [match, verdict.kind]), [[[{ kind: 'out-interface', name: 'eth0', wildcard: false }], 'return'], [[], 'jump']])
  t.end()
})
