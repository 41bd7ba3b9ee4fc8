// How much is told: clients' queues on the bus are bounded, and a bus that cannot get rid of signals throws the listener out.
import t from 'tap'
import { memberTable } from '../../src/dbus/members.ts'
import { ObjectNumbers } from '../../src/dbus/objects.ts'
import { SignalMaker } from '../../src/dbus/signals.ts'
import { fakeService, testSettings } from './support/service.ts'

t.test('a reload announces every object, of more than 10,000 none, and Reloaded last', async (t) => {
  const settings = testSettings()
  const [ssh] = settings.services.values()
  for (const [count, wanted] of [[0, 1], [9_000, 1 + 9_000], [10_001, 1]] as const) {
    const services = new Map(Array.from({ length: count }, (_, index) => [`s${index}`, ssh!]))
    const service = fakeService({ ...settings, zones: new Map(), policies: new Map(), ipsets: new Map(), icmptypes: new Map(), helpers: new Map(), services })
    const context = { service, face: '2.5', numbers: new ObjectNumbers(), hasIpv4: true, hasIpv6: true, foreignInterfaces: async () => new Set<string>() } as const
    const signals = new SignalMaker(memberTable('2.5')).firewalld({ kind: 'reloaded' }, context)
    t.equal(signals.length, wanted, `${count} services`)
    t.equal(signals.at(-1)?.member, 'Reloaded')
  }
})
