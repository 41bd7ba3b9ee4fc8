// The first thousand calls of a young process are slow (measured: p99 3.9 ms, later 0.3 ms), and clients send theirs the
// moment the name appears. So a twin of the dispatcher answers typical getters before that, from bytes to bytes, with
// everything allowed and nobody listening. It only reads.
import { actions } from '../auth/actions.ts'
import type { Authority } from '../auth/authority.ts'
import { Dispatcher } from './dispatch.ts'
import type { HandlerContext } from './handlers/handler.ts'
import { configPath, firewalldName, firewalldPath } from './members/firewalld.ts'
import { derpanetName, derpanetPath } from './members/derpanet.ts'
import type { BusLog, Outgoing, ReplyTo } from './transport.ts'
import type { ObjectTree } from './tree.ts'
import { decodeMessage } from './wire/decode.ts'
import { encodeBody, encodeHeader, messageTypes, type Body } from './wire/encode.ts'

const defaultBudgetMs = 30
const maxRounds = 100

const allowed: Authority = { authorise: (name) => ({ name, uid: 0 }), forget: () => {} }

function typicalCalls(withFirewalld: boolean): readonly Buffer[] {
  const call = (path: string, iface: string, member: string, signature = '', values: readonly unknown[] = []): Buffer => {
    const body = encodeBody(signature, values)
    const header = encodeHeader({ type: messageTypes.call, serial: 1, path, interface: iface, member, destination: ':1.1' }, body)
    return Buffer.concat([header, body.bytes])
  }
  const zone = `${firewalldName}.zone`
  const properties = 'org.freedesktop.DBus.Properties'
  const ours = [call(derpanetPath, derpanetName, 'Zones'), call(derpanetPath, 'org.freedesktop.DBus.Introspectable', 'Introspect')]
  if (!withFirewalld) return ours
  return [
    ...ours,
    call(firewalldPath, firewalldName, 'getDefaultZone'),
    call(firewalldPath, zone, 'getZones'),
    call(firewalldPath, zone, 'getActiveZones'),
    call(firewalldPath, zone, 'getZoneSettings2', 's', ['']),
    call(firewalldPath, zone, 'getServices', 's', ['']),
    call(firewalldPath, zone, 'getPorts', 's', ['']),
    call(firewalldPath, zone, 'queryPort', 'sss', ['', '80', 'tcp']),
    call(firewalldPath, zone, 'queryRichRule', 'ss', ['', 'rule family="ipv4" source address="192.0.2.1" accept']),
    call(firewalldPath, zone, 'getZoneOfInterface', 's', ['eth0']),
    call(firewalldPath, zone, 'getPorts', 's', ['no such zone']),
    call(firewalldPath, firewalldName, 'listServices'),
    call(firewalldPath, `${firewalldName}.policy`, 'getPolicies'),
    call(firewalldPath, properties, 'Get', 'ss', [firewalldName, 'version']),
    call(configPath, `${firewalldName}.config`, 'getZoneNames'),
    call(configPath, properties, 'GetAll', 's', [`${firewalldName}.config`]),
    call(`${configPath}/zone/0`, `${firewalldName}.config.zone`, 'getSettings2'),
  ]
}

/** Ends after `budgetMs` or a hundred rounds. Returns how many calls were made. */
export async function warmUp(
  tree: ObjectTree, context: HandlerContext, log: BusLog, options: { readonly withFirewalld: boolean; readonly budgetMs?: number },
): Promise<number> {
  let bytes = 0
  const answer = (to: ReplyTo, body: Body): void => {
    bytes += encodeHeader({ type: messageTypes.reply, serial: 1, replySerial: to.serial, destination: ':1.1' }, body).length
  }
  const out: Outgoing = {
    reply: answer,
    error: (to, _name, text) => answer(to, encodeBody('s', [text])),
    signal: () => {},
    together: (work) => work(),
    waitForRoom: () => false,
  }
  // refusals of the twin are no news
  const silent: BusLog = { ...log, debug: () => {}, info: () => {}, warn: () => {}, error: (fields, message) => log.error(fields, message) }
  const twin = new Dispatcher({ tree, context, authority: allowed, out, log: silent, machineId: '' })
  const calls = typicalCalls(options.withFirewalld)
  const end = performance.now() + (options.budgetMs ?? defaultBudgetMs)
  let made = 0
  for (let round = 0; round < maxRounds && performance.now() < end; round++) {
    for (const call of calls) {
      twin.handle(decodeMessage(call))
      made++
    }
    // lets the asynchronous getters finish
    await Promise.resolve()
  }
  log.debug({ calls: made, bytes, action: actions.info }, 'dispatcher warmed up')
  return made
}
