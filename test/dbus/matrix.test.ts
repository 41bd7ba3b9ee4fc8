// TEST_TIMEOUT_SEC=300
// Who may call what: every member that introspection shows, in both faces, by every kind of caller. Whoever is not allowed
// changes nothing, whatever the member.
import t from 'tap'
import { createAuthority } from '../../src/auth/authority.ts'
import { BusError, busErrorNames, type BusClient, type BusRequest } from '../../src/auth/bus-client.ts'
import { Variant } from '../../src/dbus/wire/encode.ts'
import type { FirewallService } from '../../src/service.ts'
import { dispatcherBench, everyCall } from './support/calls.ts'
import { fakeService } from './support/service.ts'
import { quiet } from './support/bus.ts'

const looks: ReadonlySet<string> = new Set(['runtime', 'permanent', 'status', 'state', 'counters', 'checkPermanent', 'subscribe', 'difference', 'history'])

/** A service that notes each thing it was told to do, and does none of it. */
function watched(): { readonly service: FirewallService; readonly told: string[] } {
  const told: string[] = []
  const service = new Proxy(fakeService(), {
    get(target, key) {
      const value: unknown = Reflect.get(target, key)
      if (typeof key !== 'string' || looks.has(key)) return value
      return () => {
        told.push(key)
        return Promise.resolve(key === 'change' ? { name: 'public', generation: 2, events: [] } : key === 'confirm' ? 2 : '')
      }
    },
  })
  return { service, told }
}

type Polkit = (request: BusRequest) => Promise<readonly unknown[]>
const says = (yes: boolean): Polkit => async () => [[yes, false, {}]]
const fails = (name: string): Polkit => async () => { throw new BusError(name, 'no') }

interface CallerRow {
  readonly title: string
  readonly uid: number | null
  readonly polkit: Polkit
  readonly isAllowed: boolean
  /** How a refusal is told; null = nobody is there to tell. */
  readonly refusal: RegExp | null
}

const callers: readonly CallerRow[] = [
  { title: 'root', uid: 0, polkit: fails('org.freedesktop.DBus.Error.ServiceUnknown'), isAllowed: true, refusal: /never/ },
  { title: 'a user whom polkit allows', uid: 1000, polkit: says(true), isAllowed: true, refusal: /never/ },
  { title: 'a user whom polkit refuses', uid: 1000, polkit: says(false), isAllowed: false, refusal: /Not ?Authorized\(polkit\)/ },
  { title: 'a user where there is no polkit', uid: 1000, polkit: fails('org.freedesktop.DBus.Error.ServiceUnknown'), isAllowed: false, refusal: /Not ?Authorized\(uid\)/ },
  { title: 'a user whose polkit is dead', uid: 1000, polkit: fails(busErrorNames.noReply), isAllowed: false, refusal: /Not ?Authorized\(polkit\)/ },
  { title: 'a user whose polkit answers nonsense', uid: 1000, polkit: async () => ['yes'], isAllowed: false, refusal: /Not ?Authorized\(polkit\)/ },
  { title: 'a caller that left before it was looked up', uid: null, polkit: says(true), isAllowed: false, refusal: null },
]

/** A bus on which polkit thinks until each of `waiting` is called, and then says what `answer` says. */
function thoughtfulBus(answer: () => readonly unknown[]): { readonly bus: BusClient; readonly waiting: (() => void)[] } {
  const waiting: (() => void)[] = []
  const call = async (request: BusRequest): Promise<readonly unknown[]> => {
    if (request.member !== 'CheckAuthorization') return [new Map([['UnixUserID', new Variant('u', 1000)]])]
    await new Promise<void>((resolve) => waiting.push(resolve))
    return answer()
  }
  return { bus: { call }, waiting }
}

for (const face of ['2.5', '1.3'] as const) {
  const calls = everyCall(face)
  for (const { title, uid, polkit, isAllowed, refusal } of callers) {
    t.test(`face ${face}: ${title}`, async (t) => {
      const { service, told } = watched()
      const bus: BusClient = {
        call: async (request) => {
          if (request.member === 'CheckAuthorization') return polkit(request)
          if (uid === null) throw new BusError('org.freedesktop.DBus.Error.NameHasNoOwner', 'gone')
          return [new Map([['UnixUserID', new Variant('u', uid)]])]
        },
      }
      const bench = dispatcherBench(service, face, createAuthority({ bus, log: quiet }))
      const wrong: string[] = []
      for (const [index, call] of calls.entries()) {
        const name = `${call.interface}.${call.member}`
        const answer = await bench.send(call.bytes, `:1.${index + 10}`)
        const isRefused = answer !== null && /NotAuthorized/.test(answer.error ?? '')
        if (isAllowed && (answer === null || isRefused)) wrong.push(`${name}: not let in`)
        if (!isAllowed && refusal === null && answer !== null) wrong.push(`${name}: answered ${answer.text}`)
        if (!isAllowed && refusal !== null && (!isRefused || !refusal.test(answer.text))) wrong.push(`${name}: ${answer?.error ?? 'no answer'} ${answer?.text ?? ''}`)
      }
      t.ok(calls.length > 420, `${calls.length} calls`)
      t.strictSame(wrong, [], 'each is let in or refused as it should be')
      if (isAllowed) t.ok(told.length >= (face === '2.5' ? 140 : 150), `${told.length} changes reach the service`)
      else t.strictSame(told, [], 'nothing is changed')
      t.strictSame(bench.bugs, [])
    })
  }

  t.test(`face ${face}: a caller that leaves while polkit thinks is answered no, and its later calls are forgotten`, async (t) => {
    const { service, told } = watched()
    // polkit knows that the subject is gone
    const { bus, waiting } = thoughtfulBus(() => [[false, false, {}]])
    const bench = dispatcherBench(service, face, createAuthority({ bus, log: quiet }))
    for (const call of calls) void bench.send(call.bytes, ':1.9')
    while (waiting.length === 0) await new Promise((resolve) => setImmediate(resolve))
    bench.dispatcher.forget(':1.9')
    waiting.forEach((answer) => answer())
    for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve))
    t.equal(waiting.length, 1, 'polkit is not asked about the rest')
    t.strictSame(told, [])
    t.strictSame(bench.bugs, [])
  })

  t.test(`face ${face}: whatever member a caller called, when it leaves while polkit thinks nothing is changed`, async (t) => {
    const { service, told } = watched()
    const { bus, waiting } = thoughtfulBus(() => { throw new BusError('org.freedesktop.PolicyKit1.Error.Failed', 'the subject is gone') })
    const bench = dispatcherBench(service, face, createAuthority({ bus, log: quiet }))
    const turns = async (count: number): Promise<void> => { for (let turn = 0; turn < count; turn++) await new Promise((resolve) => setImmediate(resolve)) }
    calls.forEach((call, index) => void bench.send(call.bytes, `:1.${index + 100}`))
    for (let patience = 0; waiting.length < calls.length && patience < 2000; patience++) await turns(1)
    t.equal(waiting.length, calls.length, 'polkit is asked about each')
    calls.forEach((_, index) => bench.dispatcher.forget(`:1.${index + 100}`))
    waiting.forEach((answer) => answer())
    await turns(200)
    t.strictSame(told, [], 'nothing is changed')
    t.strictSame(bench.bugs, [])
  })
}
