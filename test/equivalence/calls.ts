// A command of firewalld's interface as data: ["zone.addPort", "public", "80", "tcp", 0]. The same value is sent to both sides,
// printed for a person, and pasted back to be played again.
import { BusError } from '../../src/auth/bus-client.ts'
import { Variant } from '../../src/dbus/wire/encode.ts'
import { memberTable } from '../../src/dbus/members.ts'
import type { Transport } from '../../src/dbus/transport.ts'
import { fieldSignature } from '../../src/settings/dict.ts'
import { fieldRows } from '../../src/settings/field.ts'
import { kinds } from '../../src/settings/kinds.ts'

/**
 * `reload`, `zone.addPort`, `config.addZone2`: members below org.fedoraproject.FirewallD1. `permanent.zone.addPort` is the member
 * of a permanent object, whose name is the first argument. `config.get` and `config.set` are about properties of the permanent
 * configuration. `wait` sleeps as many milliseconds.
 */
export type Call = readonly [member: string, ...args: unknown[]]

/** `ok JSON`, or the code of the error; `(own failure)` for one that has no code. */
export type Result = string

export interface Answered {
  readonly result: Result
  /** Whole text of an error, for people. */
  readonly text: string
}

/** What an `ok` answered; `otherwise` for an error. */
export function answerOf<T>({ result }: Answered, otherwise: T): T {
  return result.startsWith('ok ') ? JSON.parse(result.slice('ok '.length)) as T : otherwise
}

const prefix = 'org.fedoraproject.FirewallD1'
const path = '/org/fedoraproject/FirewallD1'
const finders: Readonly<Record<string, string>> = {
  zone: 'getZoneByName', policy: 'getPolicyByName', service: 'getServiceByName', ipset: 'getIPSetByName', icmptype: 'getIcmpTypeByName', helper: 'getHelperByName',
}

const properties: Readonly<Record<string, { readonly name: string; readonly signature: string }>> = {
  'config.get': { name: 'Get', signature: 'ss' }, 'config.set': { name: 'Set', signature: 'ssv' },
}

const signatures = new Map<string, string>()
const table = memberTable('1.3')
for (const view of [...table.runtime.values(), ...table.config.values(), ...[...table.objects.values()].flatMap((views) => [...views.values()])]) {
  if (!view.name.startsWith(prefix)) continue
  for (const row of view.methods.values()) signatures.set(`${view.name}.${row.name}`, row.in.map(({ type }) => type).join(''))
}

/** Types of the values in dictionaries. */
const valueTypes: Readonly<Record<string, string>> = {
  ...Object.fromEntries([kinds.policy, kinds.service, kinds.zone].flatMap((kind) =>
    fieldRows(kind.fields as never).map(([, field]) => [field.dbus ?? '', fieldSignature(field)]))),
  timeout: 'i',
}

export function formatCall([member, ...args]: Call): string {
  return `${member}(${args.map((arg) => JSON.stringify(arg)).join(', ')})`
}

export function formatCalls(calls: readonly Call[]): string {
  return calls.map((call) => JSON.stringify(call)).join('\n')
}

export async function send(bus: Transport, [member, ...args]: Call): Promise<Answered> {
  if (member === 'wait') {
    await new Promise((resolve) => setTimeout(resolve, Number(args[0])))
    return { result: 'ok', text: '' }
  }
  try {
    if (!member.startsWith('permanent.')) return ok(await request(bus, member.startsWith('config.') ? `${path}/config` : path, member, args))
    const [, kind = ''] = member.split('.')
    const [object] = await request(bus, `${path}/config`, `config.${finders[kind]}`, args.slice(0, 1))
    return ok(await request(bus, String(object), member.replace('permanent.', 'config.'), args.slice(1)))
  } catch (error) {
    if (!(error instanceof BusError)) throw error
    const text = error.message.slice(error.errorName.length + 2)
    const code = /^([A-Z][A-Z_0-9]+)(:|$)/.exec(text)?.[1]
    return { result: error.errorName === `${prefix}.Exception` ? code ?? '(own failure)' : code ?? (error.errorName.includes('Python') ? '(own failure)' : error.errorName), text }
  }
}

const timeoutMs = 240_000

async function request(bus: Transport, at: string, member: string, args: readonly unknown[]): Promise<readonly unknown[]> {
  const property = properties[member]
  if (property !== undefined) {
    const [name, ...value] = args
    const body = [`${prefix}.config`, name, ...value.map((one) => new Variant('s', one))]
    return await bus.call({ destination: prefix, path: at, interface: 'org.freedesktop.DBus.Properties', member: property.name, signature: property.signature, body, timeoutMs, noAutoStart: true })
  }
  const dot = member.lastIndexOf('.')
  const iface = dot < 0 ? prefix : `${prefix}.${member.slice(0, dot)}`
  const name = member.slice(dot + 1)
  const signature = signatures.get(`${iface}.${name}`)
  if (signature === undefined) throw new Error(`no such member: ${iface}.${name}`)
  return await bus.call({
    destination: prefix, path: at, interface: iface, member: name, signature, body: bodyOf(signature, args), timeoutMs, noAutoStart: true,
  })
}

function bodyOf(signature: string, args: readonly unknown[]): readonly unknown[] {
  return args.map((arg) => (signature.includes('a{sv}') && typeof arg === 'object' && arg !== null && !Array.isArray(arg)
    ? Object.fromEntries(Object.entries(arg).map(([key, value]) => [key, new Variant(valueTypes[key] ?? 's', value)])) : arg))
}

function ok(body: readonly unknown[]): Answered {
  const said = body.map((value) => ` ${JSON.stringify(plain(value))}`).join('')
  // numbers of permanent objects depend on how many are shipped
  return { result: `ok${said.replace(/(\/config\/\w+\/)\d+/g, '$1N')}`, text: '' }
}

/** Maps and variants as JSON, keys sorted; texts for people left out. */
function plain(value: unknown): unknown {
  if (value instanceof Variant) return plain(value.value)
  if (value instanceof Map) {
    // what many settings at once add comes out of a Python set: in no order
    const sorted = (one: unknown): unknown => (Array.isArray(one) ? one.map((item) => JSON.stringify(item)).sort().map((text) => JSON.parse(text) as unknown) : one)
    return Object.fromEntries([...value].filter(([key]) => key !== 'description' && key !== 'short').sort(([one], [other]) => (String(one) < String(other) ? -1 : 1))
      .map(([key, one]) => [key, sorted(plain(one))]))
  }
  if (Array.isArray(value)) return value.map(plain)
  return typeof value === 'bigint' ? Number(value) : value
}
