// Who may do what, against a bus that is a function.
import t from 'tap'
import { actions } from '../../src/auth/actions.ts'
import { createAuthority, polkitTimeoutMs } from '../../src/auth/authority.ts'
import { BusError, busErrorNames, type BusClient, type BusRequest } from '../../src/auth/bus-client.ts'

type Polkit = 'yes' | 'no' | 'absent' | 'silent' | 'odd'

function fakeBus(uids: Readonly<Record<string, number>>, polkit: Polkit): BusClient & { readonly requests: BusRequest[] } {
  const requests: BusRequest[] = []
  return {
    requests,
    async call(request) {
      requests.push(request)
      if (request.member === 'GetConnectionCredentials') {
        const uid = uids[String(request.body[0])]
        if (uid === undefined) throw new BusError('org.freedesktop.DBus.Error.NameHasNoOwner', 'gone')
        return [new Map([['UnixUserID', { signature: 'u', value: uid }], ['ProcessID', { signature: 'u', value: 42 }]])]
      }
      switch (polkit) {
        case 'yes': return [[true, false, new Map()]]
        case 'no': return [[false, false, new Map()]]
        case 'absent': throw new BusError('org.freedesktop.DBus.Error.ServiceUnknown', 'no polkit')
        case 'silent': throw new BusError(busErrorNames.noReply, 'late')
        case 'odd': return ['true']
      }
    },
  }
}

const log = { info() {}, warn() {} }
const user = 1000

t.test('uid 0 is allowed without asking anybody but the bus, once', async (t) => {
  const bus = fakeBus({ ':1.1': 0 }, 'no')
  const authority = createAuthority({ bus, log })
  t.strictSame(await authority.authorise(':1.1', actions.all), { name: ':1.1', uid: 0, pid: 42 })
  const again = authority.authorise(':1.1', actions.config)
  t.notOk(again instanceof Promise, 'the second call is answered at once')
  t.equal(bus.requests.length, 1)
})

t.test('what polkit says decides for everybody else, and is asked each time', async (t) => {
  const rows: readonly (readonly [Polkit, string | null])[] = [
    ['yes', null],
    ['no', 'Not Authorized(polkit): org.fedoraproject.FirewallD1.config'],
    ['absent', 'Not Authorized(uid): org.fedoraproject.FirewallD1.config'],
    ['silent', 'Not Authorized(polkit): org.fedoraproject.FirewallD1.config'],
    ['odd', 'Not Authorized(polkit): org.fedoraproject.FirewallD1.config'],
  ]
  for (const [polkit, refusal] of rows) {
    const bus = fakeBus({ ':1.5': user }, polkit)
    const authority = createAuthority({ bus, log })
    for (const round of ['first', 'second']) {
      const asked = Promise.resolve(authority.authorise(':1.5', actions.config))
      if (refusal === null) t.equal((await asked).uid, user, `${polkit}, ${round} call: allowed`)
      else await t.rejects(asked, { name: 'NotAuthorizedError', message: refusal }, `${polkit}, ${round} call: refused`)
    }
    t.equal(bus.requests.filter(({ member }) => member === 'CheckAuthorization').length, 2, `${polkit}: asked twice`)
  }
})

t.test('polkit is asked about the unique name, with interaction, for a minute', async (t) => {
  const bus = fakeBus({ ':1.5': user }, 'yes')
  await createAuthority({ bus, log }).authorise(':1.5', actions.directInfo)
  const request = bus.requests.find(({ member }) => member === 'CheckAuthorization')
  t.equal(request?.timeoutMs, polkitTimeoutMs)
  t.equal(request?.timeoutMs, 60_000)
  t.strictSame(request?.body, [
    ['system-bus-name', { name: { signature: 's', value: ':1.5' } }], 'org.fedoraproject.FirewallD1.direct.info', {}, 1, '',
  ])
})

t.test('a caller that left is nobody, and a name that left is looked up again', async (t) => {
  const uids: Record<string, number> = { ':1.9': 0 }
  const bus = fakeBus(uids, 'no')
  const authority = createAuthority({ bus, log })
  await t.rejects(Promise.resolve(authority.authorise(':1.8', actions.info)), { name: 'CallerGoneError' })
  await authority.authorise(':1.9', actions.info)
  authority.forget(':1.9')
  uids[':1.9'] = user
  await t.rejects(Promise.resolve(authority.authorise(':1.9', actions.info)), { name: 'NotAuthorizedError' })
})

t.test('many callers do not make it grow without bound', async (t) => {
  const bus = fakeBus(Object.fromEntries(Array.from({ length: 20 }, (_, index) => [`:1.${index}`, 0])), 'no')
  const authority = createAuthority({ bus, log, maxSubjects: 4 })
  for (let index = 0; index < 20; index++) await authority.authorise(`:1.${index}`, actions.info)
  t.notOk(authority.authorise(':1.19', actions.info) instanceof Promise, 'the newest is known')
  t.ok(authority.authorise(':1.0', actions.info) instanceof Promise, 'the oldest is asked about again')
})
