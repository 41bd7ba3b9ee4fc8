// Openings for a time: what the kernel needs to end them by itself.
import t from 'tap'
import { compile } from '../../src/compile/compile.ts'
import { createRequest } from '../../src/compile/netfilter/set-message.ts'
import { renderFamily } from '../../src/compile/netfilter/render.ts'
import { withLeases, type Lease } from '../../src/model/lease.ts'
import { firewallOf } from '../support/configuration.ts'

const zones = { public: { services: ['ssh'], ports: ['80/tcp', '8080/tcp'], richRules: ['rule family="ipv4" source address="192.0.2.7" port port="443" protocol="tcp" accept', 'rule family="ipv4" source address="192.0.2.8" drop'] } }
const lease = (field: 'ports' | 'services' | 'richRules', item: readonly string[], dueMs = 5_000_000): Lease => ({ dueMs, change: { kind: 'zone-item-expire', zone: 'public', field, item } })

t.test('a timed port is no element of a set that stays, but a rule that asks a set with an end', (t) => {
  const firewall = firewallOf({ zones, services: { ssh: { ports: ['22/tcp'] } } })
  const plan = compile(withLeases(firewall, [lease('ports', ['8080', 'tcp'])]))
  const ports = plan.sets.find(({ role }) => role === 'zone:public:tcp')
  t.notOk(ports?.portRules?.some(({ first }) => first === 8080))
  t.strictSame(plan.sets.filter(({ expiresAtMs }) => expiresAtMs !== undefined).map(({ role, expiresAtMs }) => [role, expiresAtMs]), [['until:5000000:4', 5_000_000], ['until:5000000:6', 5_000_000]])
  for (const family of ['ipv4', 'ipv6'] as const) {
    const lines = renderFamily(plan, family, (role) => role).flatMap((table) => table.chains.flatMap(({ lines: all }) => all)).filter((line) => line.includes('8080'))
    t.strictSame(lines, [`-p tcp -m tcp --dport 8080 -m set --match-set until:5000000:${family === 'ipv4' ? 4 : 6} src -j ACCEPT`])
  }
  t.end()
})

t.test('services and accepting rich rules end too, denying ones do not, and what ends together shares its sets', (t) => {
  const firewall = firewallOf({ zones, services: { ssh: { ports: ['22/tcp'] } } })
  const rich = zones.public.richRules
  const plan = compile(withLeases(firewall, [lease('services', ['ssh']), lease('richRules', [rich[0]!]), lease('richRules', [rich[1]!], 9_000_000)]))
  t.strictSame(plan.sets.filter(({ expiresAtMs }) => expiresAtMs !== undefined).map(({ role }) => role), ['until:5000000:4', 'until:5000000:6'])
  const timed = plan.chains.flatMap(({ rules }) => rules).filter(({ match }) => match.some((one) => one.kind === 'set' && one.role.startsWith('until:'))).map(({ id }) => id)
  t.strictSame([...new Set(timed)].sort(), [`zone/public/rich-rules=${rich[0]!}`, 'zone/public/services=ssh#tcp/22'].sort())
  t.end()
})

t.test('nothing timed: the same firewall, the same plan', (t) => {
  const firewall = firewallOf({ zones, services: { ssh: { ports: ['22/tcp'] } } })
  t.equal(withLeases(firewall, []), firewall)
  t.equal(withLeases(firewall, [lease('ports', ['9999', 'tcp'])]).zones.get('public')?.rules.some(({ untilMs }) => untilMs !== undefined), false, 'what was merged into something wider is no rule')
  const leases = [lease('ports', ['80', 'tcp'])]
  t.equal(withLeases(firewall, leases).zones.get('public'), withLeases(firewall, leases).zones.get('public'), 'the same zone again for the same times')
  t.end()
})

t.test('the kernel is told how long, never "for ever"', (t) => {
  const set = compile(withLeases(firewallOf({ zones, services: { ssh: { ports: ['22/tcp'] } } }), [lease('ports', ['80', 'tcp'], 10_000)])).sets.find(({ role }) => role === 'until:10000:4')!
  const timeoutOf = (nowMs: number): number => {
    const body = Buffer.from(createRequest('derpa-x', set, 7, nowMs).body)
    // IPSET_ATTR_TIMEOUT | NLA_F_NET_BYTEORDER, eight bytes
    const at = body.indexOf(Buffer.from([8, 0, 6, 0x40]))
    return body.readUInt32BE(at + 4)
  }
  t.equal(timeoutOf(0), 10)
  t.equal(timeoutOf(7500), 3)
  t.equal(timeoutOf(60_000), 1)
  t.end()
})
