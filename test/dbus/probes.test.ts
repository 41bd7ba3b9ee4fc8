// The recorded calls of a real firewalld 2.5.0, sent over a bus to our face with the shipped configuration: the runtime
// part, in order. Replies, types of dictionary values, error names, codes and signals must be the recorded ones.
import { readFileSync } from 'node:fs'
import t from 'tap'
import { BusError } from '../../src/auth/bus-client.ts'
import { startBus } from '../../src/dbus/server.ts'
import { decodeBody } from '../../src/dbus/wire/decode.ts'
import { Variant } from '../../src/dbus/wire/encode.ts'
import { shippedSettings, withIpSets } from '../model/shipped.ts'
import { firewalld, quiet, startPrivateBus } from './support/bus.ts'
import { fakeService } from './support/service.ts'

interface Answer {
  readonly reply?: unknown
  readonly type?: string
  readonly value_types?: Readonly<Record<string, string>>
  readonly error?: string
  readonly code?: string
  readonly code_in_text?: string
  readonly signals?: readonly (readonly [string, string, string, readonly unknown[]])[]
  readonly canonical?: readonly string[]
  readonly queryRichRule?: unknown
}

interface Probe {
  readonly n: number
  readonly path: string
  readonly method: string
  readonly in: string
  readonly args: readonly unknown[]
  readonly both?: Answer
  readonly '2.5.0'?: Answer
}

const { sequence_a: probes } = JSON.parse(readFileSync(new URL('../compat/data/wire-probes.json', import.meta.url), 'utf8')) as { readonly sequence_a: readonly Probe[] }

/** Probes that are not answered as recorded, each with its reason. */
const different: Readonly<Record<number, string>> = {
  0: 'no reverse path filter yet; which ICMP types a family has is compared as a set elsewhere',
  5: 'derpanet.yaml is not firewalld.conf: what is not done says no',
  6: 'config properties are written in a later version', 7: 'as 6', 8: 'as 6', 9: 'as 6',
  241: '2.5.0 fails in its own code',
  244: 'our file lists the same rules in another order', 250: 'display names of ICMP types are ours', 252: 'helpers have words for people',
  395: 'entries of sets with a timeout are not enforced yet, and refused', 414: 'as 395',
}
/** firewalld fails in its own code; we say INVALID_PORT. */
const portText: ReadonlySet<number> = new Set([31, 33, 35, 49, 53])

const prefix = 'org.fedoraproject.FirewallD1'

/** A value of the recording in the type the probe sent. Dictionaries of variants get the types their keys have. */
function sent(signature: string, value: unknown): unknown {
  if (signature === 'x' || signature === 't') return BigInt(Number(value))
  if (signature === 'v') return new Variant(typeof value === 'number' ? 'i' : 's', value)
  if (signature !== 'a{sv}') return value
  const types: Readonly<Record<string, string>> = { ports: 'a(ss)', forward: 'b', bogus: 'b', target: 's', ingress_priority: 'i', services: 'as', timeout: 'i' }
  return Object.fromEntries(Object.entries(value as object).map(([key, one]) => [key, new Variant(types[key] ?? 's', one)]))
}

function typesIn(signature: string): readonly string[] {
  return signature.match(/a\{sv\}|a?\([^()]*\)|a*[a-z]/g) ?? []
}

/** As JSON would show it; texts for people are not compared. */
function plain(value: unknown): unknown {
  if (value instanceof Variant) return plain(value.value)
  if (value instanceof Map) return Object.fromEntries([...value].map(([key, one]) => [key, key === 'description' ? '(text)' : plain(one)]))
  if (Array.isArray(value)) return value.map(plain)
  return value
}

t.test('the recorded runtime calls are answered as by firewalld 2.5.0, over the bus', async (t) => {
  const bus = await startPrivateBus()
  t.teardown(bus.stop)
  const settings = withIpSets(await shippedSettings(), {
    s4: { type: 'hash:ip' }, n4: { type: 'hash:net' }, n6: { type: 'hash:net', options: { family: 'inet6' } }, m: { type: 'hash:mac' },
    ipport: { type: 'hash:ip,port' }, t4: { type: 'hash:ip', options: { timeout: '60' } }, netport: { type: 'hash:net,port' },
    netnet: { type: 'hash:net,net' }, netiface: { type: 'hash:net,iface' }, ipmark: { type: 'hash:ip,mark' },
    ['x'.repeat(31)]: { type: 'hash:ip' }, ['x'.repeat(32)]: { type: 'hash:ip' },
  })
  const service = fakeService(settings)
  const server = await startBus({ service, address: bus.address, compat: '2.5', log: quiet })
  t.teardown(() => server.stop())
  const client = await bus.client()
  let signals: (readonly [string, string, string, unknown])[] = []
  await client.addMatch("type='signal',path_namespace='/org/fedoraproject'")
  client.onSignal((signal) => {
    if (!signal.interface.startsWith(prefix)) return
    signals.push([signal.path.slice(firewalld.path.length), `${signal.interface.slice(prefix.length)}.${signal.member}`, signal.signature, plain(decodeBody(signal))])
  })
  const send = async (path: string, method: string, signature: string, args: readonly unknown[]): Promise<{ reply?: unknown; raw?: unknown; error?: string; text?: string }> => {
    const dot = method.lastIndexOf('.')
    const iface = method.startsWith('.') ? `${prefix}${method.slice(0, dot)}` : method.slice(0, dot)
    const types = typesIn(signature)
    try {
      const body = args.map((value, index) => sent(types[index] ?? '', value))
      const [raw = null] = await client.call({ ...firewalld, path: `${firewalld.path}${path === '/' ? '' : path}`, interface: iface, member: method.slice(dot + 1), signature, body })
      return { reply: plain(raw), raw }
    } catch (error) {
      if (!(error instanceof BusError)) throw error
      return { error: error.errorName, text: error.message.slice(error.errorName.length + 2) }
    }
  }
  let compared = 0
  for (const probe of probes) {
    const { n, path, method, args } = probe
    const isRuntime = (n <= 276 || n >= 370) && typeof path === 'string'
    if (!isRuntime) continue
    const want = probe['2.5.0'] ?? probe.both
    if (want === undefined) continue
    signals = []
    const got = await send(path, method, probe.in, args)
    if (want.signals !== undefined && want.signals.length > 1 && method === '.zone.addPort') await new Promise((resolve) => setTimeout(resolve, 1_200))
    const seen = [...signals]
    if (n >= 165 && n <= 224) {
      // each rule of the long list was looked at and taken out again
      if (want.canonical !== undefined) t.strictSame((await send('/', '.zone.getRichRules', 's', ['public'])).reply, want.canonical, `${n} canonical text`)
      const asked = await send('/', '.zone.queryRichRule', 'ss', [args[0], args[1]])
      t.strictSame(asked.text === undefined ? asked.reply : asked.text.split(':')[0], want.queryRichRule, `${n} queryRichRule`)
      if (got.error === undefined) await send('/', '.zone.removeRichRule', 'ss', [args[0], args[1]])
    }
    const label = `${n} ${method} ${JSON.stringify(args).slice(0, 80)}`
    if (different[n] !== undefined) continue
    compared++
    if (want.error !== undefined) {
      t.equal(got.error, want.error.replace(/^FD1/, prefix), `${label}: error name`)
      if (want.code_in_text !== undefined) t.match(got.text, want.code_in_text, label)
      const code = got.text?.split(':')[0]
      if (portText.has(n)) t.equal(code, 'INVALID_PORT', label)
      else if (want.code !== undefined && !want.code.startsWith('(')) t.equal(code, want.code, label)
      t.strictSame(seen, [], `${label}: no signal`)
      continue
    }
    t.equal(got.error, undefined, `${label}: ${got.text ?? ''}`)
    const reply = Array.isArray(got.reply) && /getZoneSettings$|get(Service|IcmpType)Settings$/.test(method) ? got.reply.map((one, index) => (index === 2 ? '(text)' : one)) : got.reply
    t.strictSame(reply, want.reply, `${label}: reply`)
    if (want.value_types !== undefined) {
      t.strictSame(Object.fromEntries([...(got.raw as Map<string, Variant>)].map(([key, { signature }]) => [key, signature])), want.value_types, `${label}: types`)
    }
    if (want.signals === undefined) continue
    const sorted = (list: readonly unknown[]): unknown => (method === '.ipset.setEntries' ? list.map((one) => JSON.stringify(one)).sort() : list)
    t.strictSame(sorted(seen), sorted(want.signals), `${label}: signals`)
  }
  t.ok(compared > 290, `${compared} calls compared`)
})
