// The first thousand calls of a young process are slow (measured: p99 3.9 ms, later 0.3 ms), and clients send theirs the
// moment the name appears. So a twin of the transport and the dispatcher answers typical getters before that, from bytes to
// bytes, with everything allowed and nobody listening. It only reads.
import { Duplex } from 'node:stream'
import type { Authority } from '../auth/authority.ts'
import { Dispatcher } from './dispatch.ts'
import type { HandlerContext } from './handlers/handler.ts'
import { configPath, firewalldName, firewalldPath } from './members/firewalld.ts'
import { derpanetName, derpanetPath } from './members/derpanet.ts'
import { StreamTransport, type BusLog } from './transport.ts'
import type { ObjectTree } from './tree.ts'
import { encodeBody, encodeHeader, messageTypes } from './wire/encode.ts'

/** Processor time, because on a busy machine 30 ms by the clock are one round. Spent in any case: by then a getter takes about what it takes later. */
const leastMs = 30
/** Spent at most, while rules are not in force and nobody could be answered anyhow. */
const mostMs = 250

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

/** A bus that takes everything and keeps nothing. */
function silentStream(): Duplex & { readonly written: () => number } {
  let bytes = 0
  const count = (chunk: Buffer): void => { bytes += chunk.length }
  const stream = new Duplex({
    read() {},
    write(chunk: Buffer, _encoding, done) {
      count(chunk)
      done()
    },
    writev(chunks, done) {
      for (const { chunk } of chunks) count(chunk as Buffer)
      done()
    },
  })
  return Object.assign(stream, { written: () => bytes })
}

/** Goes on until `inForce`, within its bounds of time. Returns how many calls were made. */
export async function warmUp(
  tree: ObjectTree, context: HandlerContext, log: BusLog, options: { readonly withFirewalld: boolean; readonly inForce: Promise<unknown> },
): Promise<number> {
  // refusals of the twin are no news
  const silent: BusLog = { ...log, debug: () => {}, info: () => {}, warn: () => {}, error: (fields, message) => log.error(fields, message) }
  const stream = silentStream()
  const transport = new StreamTransport(stream, ':1.0', silent)
  const twin = new Dispatcher({ tree, context, authority: allowed, out: transport, log: silent, machineId: '' })
  transport.onCall((call) => twin.handle(call))
  transport.start()
  const calls = typicalCalls(options.withFirewalld)
  // as they come in later, in pieces
  const pieces = calls.flatMap((call, index) => (index % 4 === 3 ? [call.subarray(0, 20), call.subarray(20)] : [call]))
  let isInForce = false
  const settled = (): void => { isInForce = true }
  options.inForce.then(settled, settled)
  const begun = process.cpuUsage()
  const spent = (): number => {
    const { user, system } = process.cpuUsage(begun)
    return (user + system) / 1000
  }
  let made = 0
  while (spent() < (isInForce ? leastMs : mostMs)) {
    for (const piece of pieces) stream.push(piece)
    made += calls.length
    // the rest of the daemon starts meanwhile
    await new Promise((resolve) => setImmediate(resolve))
  }
  log.debug({ calls: made, bytes: stream.written(), spentMs: Math.round(spent()) }, 'dispatcher warmed up')
  await transport.close()
  return made
}
