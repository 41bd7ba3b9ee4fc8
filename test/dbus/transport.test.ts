// The connection's guards, each against a real dbus-daemon.
import t from 'tap'
import { BusError } from '../../src/auth/bus-client.ts'
import { connect } from '../../src/dbus/transport.ts'
import { decodeBody, type Incoming } from '../../src/dbus/wire/decode.ts'
import { emptyBody, encodeBody } from '../../src/dbus/wire/encode.ts'
import { narrowSendBuffer } from '../../src/send-buffer.ts'
import { quiet, startPrivateBus } from './support/bus.ts'

const busRequest = { destination: 'org.freedesktop.DBus', path: '/org/freedesktop/DBus', interface: 'org.freedesktop.DBus', timeoutMs: 5_000 }

t.test('a call to the bus is answered, an error reply keeps its name', async (t) => {
  const bus = await startPrivateBus()
  t.teardown(bus.stop)
  const one = await bus.client()
  t.match(one.name, /^:1\.\d+$/)
  const [names] = await one.call({ ...busRequest, member: 'ListNames', signature: '', body: [] })
  t.ok((names as string[]).includes(one.name))
  await t.rejects(one.call({ ...busRequest, member: 'GetNameOwner', signature: 's', body: ['no.such.Name'] }),
    { message: /^org.freedesktop.DBus.Error.NameHasNoOwner: / })
})

t.test('a call that nobody answers ends by itself', async (t) => {
  const bus = await startPrivateBus()
  t.teardown(bus.stop)
  const [silent, asking] = [await bus.client(), await bus.client()]
  const start = performance.now()
  await t.rejects(asking.call({ destination: silent.name, path: '/', interface: 'a.b', member: 'C', signature: '', body: [], timeoutMs: 200 }),
    { message: /^org.freedesktop.DBus.Error.NoReply: / })
  t.ok(performance.now() - start < 3_000)
})

t.test('when the bus dies, ended resolves and what waits is rejected', async (t) => {
  const bus = await startPrivateBus()
  t.teardown(bus.stop)
  const [silent, asking] = [await bus.client(), await bus.client()]
  const waiting = asking.call({ destination: silent.name, path: '/', interface: 'a.b', member: 'C', signature: '', body: [], timeoutMs: 60_000 })
  const rejected = t.rejects(waiting, { message: /^org.freedesktop.DBus.Error.Disconnected: / })
  await bus.kill()
  t.ok((await asking.ended) instanceof Error)
  await rejected
  await t.rejects(asking.call({ ...busRequest, member: 'ListNames', signature: '', body: [] }), BusError, 'later calls are rejected at once')
  asking.reply({ sender: ':1.1', serial: 1, flags: 0 }, emptyBody)
  t.pass('an answer to nobody is no error')
})

t.test('a bus that is not there is reported', async (t) => {
  await t.rejects(connect({ address: 'unix:path=/nonexistent/derpanet-bus', log: quiet }))
})

t.test('closing is not dying', async (t) => {
  const bus = await startPrivateBus()
  t.teardown(bus.stop)
  const client = await connect({ address: bus.address, log: quiet })
  let ended = false
  void client.ended.then(() => { ended = true })
  await client.close()
  await new Promise((resolve) => setTimeout(resolve, 50))
  t.notOk(ended)
})

t.test('a name owned by another is refused without waiting for it', async (t) => {
  const bus = await startPrivateBus()
  t.teardown(bus.stop)
  const [first, second] = [await bus.client(), await bus.client()]
  t.equal(await first.requestName('org.example.One'), true)
  t.equal(await first.requestName('org.example.One'), true, 'again by its owner')
  t.equal(await second.requestName('org.example.One'), false)
  await first.close()
  await new Promise((resolve) => setTimeout(resolve, 100))
  const [hasOwner] = await second.call({ ...busRequest, member: 'NameHasOwner', signature: 's', body: ['org.example.One'] })
  t.equal(hasOwner, false, 'it does not fall to whoever was refused')
})

t.test('thousands of calls and megabytes in both directions arrive whole and in order', async (t) => {
  const bus = await startPrivateBus()
  t.teardown(bus.stop)
  const [server, client] = [await bus.client(), await bus.client()]
  server.onCall((call) => {
    const [value] = decodeBody(call)
    server.reply(call, encodeBody(call.signature, [value]))
  })
  const ask = (signature: string, value: unknown) =>
    client.call({ destination: server.name, path: '/', interface: 'a.b', member: 'Echo', signature, body: [value], timeoutMs: 20_000 })
  const answers = await Promise.all(Array.from({ length: 3_000 }, async (_, index) => (await ask('i', index))[0]))
  t.strictSame(answers, Array.from({ length: 3_000 }, (_, index) => index))
  const list = Array.from({ length: 100_000 }, (_, index) => `entry ${index}`)
  const [back] = await ask('as', list)
  t.strictSame((back as string[]).length, list.length)
  t.equal((back as string[])[99_999], 'entry 99999')
})

t.test('a match rule is added once', async (t) => {
  const bus = await startPrivateBus()
  t.teardown(bus.stop)
  const client = await bus.client()
  const rule = "type='signal',interface='a.b'"
  await Promise.all(Array.from({ length: 50 }, () => client.addMatch(rule)))
  const other = await bus.client()
  let seen = 0
  client.onSignal((signal) => { if (signal.interface === 'a.b') seen++ })
  other.signal('/', 'a.b', 'Told', emptyBody)
  await client.call({ ...busRequest, member: 'ListNames', signature: '', body: [] })
  await new Promise((resolve) => setTimeout(resolve, 50))
  t.equal(seen, 1)
  const before = await client.call({ ...busRequest, member: 'RemoveMatch', signature: 's', body: [rule] })
  t.strictSame(before, [])
  await t.rejects(client.call({ ...busRequest, member: 'RemoveMatch', signature: 's', body: [rule] }),
    { message: /^org.freedesktop.DBus.Error.MatchRuleNotFound: / }, 'there was exactly one')
})

t.test('of what is answered little lies in the socket, so that who is answered next waits behind little', async (t) => {
  const bus = await startPrivateBus()
  t.teardown(bus.stop)
  const asking = await bus.client()
  const server = await connect({ address: bus.address, log: quiet, narrow: narrowSendBuffer })
  t.teardown(() => server.close())
  const calls: Incoming[] = []
  server.onCall((call) => { calls.push(call) })
  const answers = Array.from({ length: 2_000 }, () =>
    asking.call({ destination: server.name, path: '/', interface: 'a.b', member: 'C', signature: '', body: [], timeoutMs: 20_000 }))
  while (calls.length < answers.length) await new Promise((resolve) => setTimeout(resolve, 5))
  bus.pause()
  t.teardown(bus.goOn)
  const body = encodeBody('s', ['x'.repeat(100)])
  let sent = 0
  let wakes = 0
  const answer = (): void => {
    wakes++
    server.together(() => {
      while (sent < calls.length && !server.waitForRoom(answer)) server.reply(calls[sent++]!, body)
    })
  }
  answer()
  await new Promise((resolve) => setTimeout(resolve, 50))
  t.ok(sent > 0 && sent < 100, `${sent} of some 170 bytes each`)
  t.equal(server.waitForRoom(answer), true)
  bus.goOn()
  t.equal((await Promise.all(answers)).length, 2_000, 'when the bus takes them again all are sent')
  t.ok(wakes > 20, `by and by: in ${wakes} batches`)
})
