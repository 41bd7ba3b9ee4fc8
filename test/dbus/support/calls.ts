// A call of every member that introspection shows, in bytes, and a dispatcher that answers them without a bus.
import type { Authority } from '../../../src/auth/authority.ts'
import { Dispatcher } from '../../../src/dbus/dispatch.ts'
import type { HandlerContext } from '../../../src/dbus/handlers/handler.ts'
import { memberTable, standardInterfaces, type Arg, type Face, type InterfaceView } from '../../../src/dbus/members.ts'
import { derpanetPath } from '../../../src/dbus/members/derpanet.ts'
import { configPath, firewalldPath } from '../../../src/dbus/members/firewalld.ts'
import { ObjectNumbers } from '../../../src/dbus/objects.ts'
import type { BusLog, Outgoing } from '../../../src/dbus/transport.ts'
import { ObjectTree } from '../../../src/dbus/tree.ts'
import { decodeMessage } from '../../../src/dbus/wire/decode.ts'
import { encodeBody, encodeHeader, messageTypes, Variant } from '../../../src/dbus/wire/encode.ts'
import { parseSignature, type TypeNode } from '../../../src/dbus/wire/signature.ts'
import type { FirewallService } from '../../../src/service.ts'

export interface MemberCall {
  readonly path: string
  readonly interface: string
  readonly member: string
  readonly bytes: Buffer
}

/** A small value of a type. */
function sample(node: TypeNode): unknown {
  switch (node.code) {
    case 's': return 'public'
    case 'o': return '/'
    case 'b': return true
    case 'i': return 1
    case 'u': return 1
    case 'v': return new Variant('s', 'yes')
    case '(': return node.children.map(sample)
    case 'a': return node.children[0]?.code === '{' ? {} : [sample(node.children[0]!)]
    default: throw new Error(`no sample of ${node.code}`)
  }
}

export function callOf(path: string, name: string, member: string, args: readonly Arg[], values?: readonly unknown[], flags = 0): MemberCall {
  const signature = args.map(({ type }) => type).join('')
  const body = encodeBody(signature, values ?? args.map(({ type }) => sample(parseSignature(type)[0]!)))
  const header = encodeHeader({ type: messageTypes.call, flags, serial: 7, path, interface: name, member, destination: ':1.1' }, body)
  return { path, interface: name, member, bytes: Buffer.concat([header, body.bytes]) }
}

function callsOf(path: string, views: Iterable<InterfaceView>): readonly MemberCall[] {
  const own = [...views]
  const methods = own.flatMap((view) => [...view.methods.values()].map((row) => callOf(path, view.name, row.name, row.in)))
  const [introspectable, properties] = standardInterfaces
  const writes = own.flatMap((view) => [...view.properties.values()].map((row) =>
    callOf(path, properties!.name, 'Set', properties!.methods.get('Set')!.in, [view.name, row.name, new Variant(row.type === 'as' ? 's' : row.type.startsWith('a') ? 's' : row.type, sample(parseSignature(row.type.startsWith('a') ? 's' : row.type)[0]!))])))
  const reads = own.flatMap((view) => [callOf(path, properties!.name, 'GetAll', properties!.methods.get('GetAll')!.in, [view.name])])
  return [...methods, ...writes, ...reads, callOf(path, introspectable!.name, 'Introspect', [])]
}

/** Every member of every kind of object. */
export function everyCall(face: Face): readonly MemberCall[] {
  const table = memberTable(face)
  return [
    ...callsOf(firewalldPath, table.runtime.values()),
    ...callsOf(configPath, table.config.values()),
    ...[...table.objects].flatMap(([kind, views]) => callsOf(`${configPath}/${kind}/0`, views.values())),
    ...callsOf(derpanetPath, table.derpanet.values()),
  ]
}

export interface Answer {
  readonly error: string | null
  readonly text: string
}

export interface Bench {
  /** As if it came from `sender`; resolves with what was answered, null for nothing. */
  send(bytes: Buffer, sender: string): Promise<Answer | null>
  readonly dispatcher: Dispatcher
  /** Bugs that went to the log. */
  readonly bugs: string[]
}

/** `outgoing` replaces parts of the way out: who listens to what is sent, and whether there is room. */
export function dispatcherBench(service: FirewallService, face: Face, authority: Authority, outgoing: Partial<Outgoing> = {}): Bench {
  const bugs: string[] = []
  const log: BusLog = { debug() {}, info() {}, warn() {}, error: (fields, message) => void bugs.push(`${message}: ${String((fields['err'] as Error | undefined)?.stack ?? JSON.stringify(fields))}`) }
  let answered: ((answer: Answer) => void) | null = null
  const out: Outgoing = {
    reply: () => answered?.({ error: null, text: '' }),
    error: (_to, name, text) => answered?.({ error: name, text }),
    signal: () => {},
    heard: () => 0,
    together: (work) => work(),
    waitForRoom: () => false,
    ...outgoing,
  }
  const context: HandlerContext = {
    service, face, numbers: new ObjectNumbers(), hasIpv4: true, hasIpv6: true, foreignInterfaces: async () => new Set<string>(),
  }
  const dispatcher = new Dispatcher({ tree: new ObjectTree(memberTable(face), context, true), context, authority, out, log, machineId: 'm' })
  return {
    dispatcher, bugs,
    async send(bytes, sender) {
      let found: Answer | null = null
      answered = (answer) => { found = answer }
      dispatcher.handle({ ...decodeMessage(bytes), sender })
      // everything here answers within a few turns of the loop
      for (let turn = 0; turn < 8 && found === null; turn++) await new Promise((resolve) => setImmediate(resolve))
      answered = null
      return found
    },
  }
}
