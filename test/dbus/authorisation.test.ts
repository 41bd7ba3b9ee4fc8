// Who is let in, over a real bus: another uid without polkit, and callers a polkit of ours judges.
import t from 'tap'
import { startBus } from '../../src/dbus/server.ts'
import type { Transport } from '../../src/dbus/transport.ts'
import { decodeBody } from '../../src/dbus/wire/decode.ts'
import { encodeBody } from '../../src/dbus/wire/encode.ts'
import { derpanet, firewalld, quiet, startPrivateBus, type PrivateBus } from './support/bus.ts'
import { fakeService, type FakeService } from './support/service.ts'

const nobody = 65534
const isRoot = process.getuid?.() === 0
const needsRoot = isRoot ? false : 'another uid can only be taken as root'

async function stage(t: { teardown(done: () => unknown): void }): Promise<{ bus: PrivateBus; service: FakeService }> {
  const bus = await startPrivateBus()
  t.teardown(bus.stop)
  const service = fakeService()
  const server = await startBus({ service, address: bus.address, compat: '2.5', log: quiet })
  t.teardown(() => server.stop())
  return { bus, service }
}

/** As user nobody, in a process of its own. */
function busctlAsNobody(bus: PrivateBus, ...args: readonly string[]) {
  return bus.run('setpriv', [`--reuid=${nobody}`, `--regid=${nobody}`, '--clear-groups', 'busctl', `--address=${bus.address}`, ...args])
}

const root = [firewalld.destination, firewalld.path] as const
const main = 'org.fedoraproject.FirewallD1'

/** A PolicyKit that allows the actions in `allowed`, and keeps what it was asked. */
async function startPolkit(bus: PrivateBus, allowed: ReadonlySet<string>): Promise<{ readonly asked: string[]; readonly transport: Transport; answer: boolean }> {
  const transport = await bus.client()
  const polkit = { asked: [] as string[], transport, answer: true }
  transport.onCall((call) => {
    const [subject, action, details, flags, cancellation] = decodeBody(call) as [[string, Map<string, { value: unknown }>], string, Map<string, string>, number, string]
    polkit.asked.push(action)
    if (!polkit.answer) return
    const isFine = call.member === 'CheckAuthorization' && subject[0] === 'system-bus-name' && String(subject[1].get('name')?.value).startsWith(':')
      && details.size === 0 && flags === 1 && cancellation === ''
    transport.reply(call, encodeBody('(bba{ss})', [[isFine && allowed.has(action), false, {}]]))
  })
  await transport.requestName('org.freedesktop.PolicyKit1')
  return polkit
}

t.test('without polkit uid 0 may everything and nobody else anything', { skip: needsRoot }, async (t) => {
  const { bus, service } = await stage(t)
  const rows: readonly (readonly [readonly string[], string])[] = [
    [['call', ...root, main, 'getDefaultZone'], 'org.fedoraproject.FirewallD1.info'],
    [['call', ...root, `${main}.zone`, 'getZones'], 'org.fedoraproject.FirewallD1.info'],
    [['call', ...root, `${main}.zone`, 'addPort', 'sssi', 'public', '80', 'tcp', '0'], 'org.fedoraproject.FirewallD1.config'],
    [['call', ...root, `${main}.zone`, 'getZoneSettings2', 's', 'public'], 'org.fedoraproject.FirewallD1.config.info'],
    [['call', ...root, `${main}.direct`, 'getAllRules'], 'org.fedoraproject.FirewallD1.direct.info'],
    [['call', ...root, main, 'runtimeToPermanent'], 'org.fedoraproject.FirewallD1.config'],
    [['get-property', ...root, main, 'state'], 'org.fedoraproject.FirewallD1.config'],
    [['call', ...root, 'org.freedesktop.DBus.Introspectable', 'Introspect'], 'org.fedoraproject.FirewallD1.info'],
    [['call', derpanet.destination, derpanet.path, derpanet.destination, 'Status'], 'org.derpanet.Derpanet1.info'],
    [['call', derpanet.destination, derpanet.path, derpanet.destination, 'Reload'], 'org.derpanet.Derpanet1.config'],
  ]
  for (const [args, action] of rows) {
    const ran = await busctlAsNobody(bus, ...args)
    t.not(ran.status, 0, args.slice(3).join(' '))
    t.match(ran.stderr, `Not Authorized(uid): ${action}`)
  }
  // order: authorisation before arguments
  t.match((await busctlAsNobody(bus, 'call', ...root, `${main}.zone`, 'addPort', 's', 'x')).stderr, 'Not Authorized')
  t.equal(service.changes.length, 0, 'nothing was changed')
  t.equal((await bus.run('busctl', [`--address=${bus.address}`, 'call', ...root, main, 'getDefaultZone'])).stdout, 's "public"\n')
})

t.test('a name of an error clients know: firewall-cmd as another user exits 253', { skip: needsRoot }, async (t) => {
  const { bus } = await stage(t)
  const asNobody = (...args: readonly string[]) => bus.run('setpriv', [`--reuid=${nobody}`, `--regid=${nobody}`, '--clear-groups', 'firewall-cmd', ...args])
  t.equal((await asNobody('--add-port=80/tcp')).status, 253)
})

t.test('with polkit each call asks for the action of its member, root never', { skip: needsRoot }, async (t) => {
  const { bus, service } = await stage(t)
  const polkit = await startPolkit(bus, new Set(['org.fedoraproject.FirewallD1.info', 'org.fedoraproject.FirewallD1.config.info', 'org.derpanet.Derpanet1.info']))
  t.equal((await busctlAsNobody(bus, 'call', ...root, main, 'getDefaultZone')).stdout, 's "public"\n')
  t.equal((await busctlAsNobody(bus, 'call', ...root, `${main}.zone`, 'getServices', 's', '')).stdout, 'as 2 "ssh" "dhcpv6-client"\n')
  t.match((await busctlAsNobody(bus, 'call', derpanet.destination, derpanet.path, derpanet.destination, 'Status')).stdout, /RUNNING/)
  const refused = await busctlAsNobody(bus, 'call', ...root, `${main}.zone`, 'addPort', 'sssi', 'public', '80', 'tcp', '0')
  t.match(refused.stderr, 'Not Authorized(polkit): org.fedoraproject.FirewallD1.config')
  t.strictSame(polkit.asked, [
    'org.fedoraproject.FirewallD1.info', 'org.fedoraproject.FirewallD1.config.info', 'org.derpanet.Derpanet1.info', 'org.fedoraproject.FirewallD1.config',
  ])
  t.equal(service.changes.length, 0)
  await bus.run('busctl', [`--address=${bus.address}`, 'call', ...root, `${main}.zone`, 'addPort', 'sssi', 'public', '80', 'tcp', '0'])
  t.equal(service.changes.length, 1)
  t.equal(polkit.asked.length, 4, 'nobody asked about uid 0')
})

t.test('a polkit that is slow holds up only the caller it is asked about', { skip: needsRoot }, async (t) => {
  const { bus } = await stage(t)
  const polkit = await startPolkit(bus, new Set())
  polkit.answer = false
  const held = busctlAsNobody(bus, '--timeout=3', 'call', ...root, main, 'getDefaultZone')
  while (polkit.asked.length === 0) await new Promise((resolve) => setTimeout(resolve, 20))
  const client = await bus.client()
  const ask = () => client.call({ ...firewalld, interface: main, member: 'getDefaultZone', signature: '', body: [] })
  await ask()
  const start = performance.now()
  t.strictSame(await ask(), ['public'])
  t.ok(performance.now() - start < 100, 'root is answered meanwhile')
  t.not((await held).status, 0)
})
