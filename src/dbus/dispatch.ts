// One method call from arrival to answer: find the member by name, ask whether the caller may, only then read the
// body, convert it, call the handler, encode the result, answer.
//
// What a caller can do to others, and why it cannot:
// 1. A root caller whose uid is known is answered in the same turn of the event loop, so a getter waits for nobody.
// 2. Calls of one sender are taken in its order. Whoever must be asked about (polkit may wait for a password) holds up
//    only its own later calls, and only `maxWaiting` of them are kept.
// 3. Bodies above 16 MiB are refused unread; results above it are refused instead of sent.
// 4. Nothing a handler throws leaves as it is: errors.ts decides, and a bug goes to the journal.
import type { Authority, Subject } from '../auth/authority.ts'
import { isOnWhitelist } from '../auth/lockdown.ts'
import { DerpanetError } from '../errors.ts'
import { isLockedDown, lockdownOf } from '../model/query.ts'
import { limitsExceeded, notSupported, propertyError, unknownMethod, wireError, derpanetErrors, type ErrorStyle } from './errors.ts'
import { ArgumentError, convertArguments } from './convert.ts'
import type { Call, HandlerContext } from './handlers/handler.ts'
import { nodeXml } from './introspect.ts'
import type { BusLog, Outgoing } from './transport.ts'
import { targetKey, type Node, type ObjectClass, type ObjectTree, type Target } from './tree.ts'
import { decodeBody, type Incoming } from './wire/decode.ts'
import { Body, emptyBody, encodeBody, EncodeError, maxMessageBytes, Variant } from './wire/encode.ts'

interface Options {
  readonly tree: ObjectTree
  readonly context: HandlerContext
  readonly authority: Authority
  readonly out: Outgoing
  readonly log: BusLog
  /** Text of Peer.GetMachineId. */
  readonly machineId: string
}

/** A call that has been found but not yet allowed. */
interface Waiting {
  readonly message: Incoming
  readonly node: Node
  readonly objectClass: ObjectClass
  readonly target: Target
}

interface Queue {
  readonly calls: Waiting[]
  bytes: number
}

const peer = 'org.freedesktop.DBus.Peer'
/** Per sender: calls not yet allowed, their bytes, and allowed calls not yet answered. */
const maxWaiting = 8192
const maxWaitingBytes = 32 * 1024 * 1024
const maxUnanswered = 8192

export class Dispatcher {
  private readonly options: Options
  /** Senders with a call that could not be answered at once. */
  private readonly queues = new Map<string, Queue>()
  private readonly unanswered = new Map<string, number>()

  constructor(options: Options) {
    this.options = options
  }

  /** Never throws. */
  handle(message: Incoming): void {
    const { tree } = this.options
    if (message.interface === peer) return this.answerPeer(message)
    const node = tree.find(message.path)
    const objectClass = node?.objectClass ?? null
    if (node !== null && objectClass === null) return this.answerBareNode(message, node)
    const target = objectClass === null ? undefined : message.interface === ''
      ? objectClass.byMember.get(message.member)
      : objectClass.targets.get(targetKey(message.interface, message.member))
    if (node === null || objectClass === null || target === undefined) {
      return this.fail(message, unknownMethod(message.interface, message.member, message.path), derpanetErrors)
    }
    const call: Waiting = { message, node, objectClass, target }
    if (message.bodyBytes.length > maxMessageBytes) return this.fail(message, limitsExceeded('a call above 16 MiB'), objectClass.style)
    const queue = this.queues.get(message.sender)
    if (queue !== undefined) return this.enqueue(queue, call)
    let subject: Subject | Promise<Subject>
    try {
      subject = this.options.authority.authorise(message.sender, target.action)
    } catch (error) {
      return this.fail(message, error, objectClass.style)
    }
    if (!(subject instanceof Promise)) return this.run(call, subject)
    const created: Queue = { calls: [], bytes: 0 }
    this.queues.set(message.sender, created)
    void this.drain(message.sender, created, call, subject)
  }

  /** The bus says this name is gone: what it still wants, nobody waits for. */
  forget(sender: string): void {
    this.options.authority.forget(sender)
    const queue = this.queues.get(sender)
    if (queue === undefined) return
    queue.calls.length = 0
    queue.bytes = 0
  }

  private enqueue(queue: Queue, call: Waiting): void {
    const bytes = queue.bytes + call.message.bodyBytes.length
    if (queue.calls.length >= maxWaiting || bytes > maxWaitingBytes) {
      return this.fail(call.message, limitsExceeded('too many calls wait for authorisation'), call.objectClass.style)
    }
    queue.bytes = bytes
    queue.calls.push(call)
  }

  private async drain(sender: string, queue: Queue, first: Waiting, subject: Promise<Subject>): Promise<void> {
    let call: Waiting | undefined = first
    let pending: Subject | Promise<Subject> = subject
    while (call !== undefined) {
      try {
        this.run(call, await pending)
      } catch (error) {
        this.fail(call.message, error, call.objectClass.style)
      }
      call = queue.calls.shift()
      if (call === undefined) break
      queue.bytes -= call.message.bodyBytes.length
      try {
        pending = this.options.authority.authorise(sender, call.target.action)
      } catch (error) {
        pending = Promise.reject(error)
      }
    }
    this.queues.delete(sender)
  }

  /** Never throws. */
  private run(waiting: Waiting, subject: Subject): void {
    const { message, objectClass } = waiting
    try {
      const result = this.resultOf(waiting, subject)
      if (!(result instanceof Promise)) return this.options.out.reply(message, bodyOf(waiting.target, result))
      const count = this.unanswered.get(message.sender) ?? 0
      if (count >= maxUnanswered) {
        // the change goes on; only its caller does not hear of it
        void result.catch(() => {})
        return this.fail(message, limitsExceeded('too many calls are not answered yet'), objectClass.style)
      }
      this.unanswered.set(message.sender, count + 1)
      void result.then((value) => {
        this.answered(message.sender)
        this.options.out.reply(message, bodyOf(waiting.target, value))
      }, (error: unknown) => {
        this.answered(message.sender)
        throw error
      }).catch((error: unknown) => this.fail(message, error, objectClass.style))
    } catch (error) {
      this.fail(message, error, objectClass.style)
    }
  }

  private answered(sender: string): void {
    const count = (this.unanswered.get(sender) ?? 1) - 1
    if (count === 0) this.unanswered.delete(sender)
    else this.unanswered.set(sender, count)
  }

  private resultOf({ message, node, objectClass, target }: Waiting, subject: Subject): unknown {
    const call: Call = { context: this.options.context, caller: subject, ...(node.object === undefined ? {} : { object: node.object }) }
    if (this.isLockedOut(target, subject)) throw new DerpanetError('ACCESS_DENIED', 'lockdown is enabled')
    const args = convertArguments(target.row.in, readBody(message))
    if (target.builtIn) return this.builtIn(call, node, objectClass, target.row.name, args)
    if (target.handler === undefined) throw notSupported(target.interfaceName, target.row.name)
    return target.handler(call, args)
  }

  /** Lockdown works in the older face only. Reading is free for everybody who may read. */
  private isLockedOut({ row, builtIn }: Target, subject: Subject): boolean {
    const { face, service } = this.options.context
    if (face === '2.5') return false
    const { settings } = service.runtime()
    if (!isLockedDown(settings)) return false
    const isReading = builtIn ? row.name !== 'Set' : /^(get|list|query|is|check)|^authorizeAll$/.test(row.name)
    return !isReading && !isOnWhitelist(lockdownOf(settings), subject)
  }

  private builtIn(call: Call, node: Node, objectClass: ObjectClass, member: string, args: readonly unknown[]): unknown {
    if (member === 'Introspect') return nodeXml(node.path, objectClass.xml, node.children())
    const interfaceName = String(args[0])
    const { style } = objectClass
    const view = objectClass.interfaces.get(interfaceName)
    if (view === undefined) throw propertyError(style, 'UnknownInterface', `Interface ${shown(interfaceName)} does not exist`)
    const handlers = objectClass.properties.get(interfaceName)
    if (member === 'GetAll') {
      const names = [...view.properties.values()]
      return Promise.all(names.map(async (row) => [row.name, new Variant(row.type, await handlers?.get[row.name]?.(call))] as const))
        .then((entries) => new Map(entries))
    }
    const name = String(args[1])
    const row = view.properties.get(name)
    const get = handlers?.get[name]
    if (row === undefined || get === undefined) throw propertyError(style, 'InvalidArgs', `Property ${shown(name)} does not exist`)
    if (member === 'Get') {
      const value = get(call)
      return value instanceof Promise ? value.then((one: unknown) => new Variant(row.type, one)) : new Variant(row.type, value)
    }
    // firewalld answers for DefaultZone as if it did not exist
    if (name === 'DefaultZone') throw propertyError(style, 'InvalidArgs', `Property ${name} cannot be set, setDefaultZone does it`)
    if (row.access === 'read') throw propertyError(style, 'PropertyReadOnly', `Property ${shown(name)} is read-only`)
    const set = handlers?.set?.[name]
    if (set === undefined) throw notSupported(interfaceName, name)
    return set(call, args[2])
  }

  private answerPeer(message: Incoming): void {
    if (message.member === 'Ping') return this.options.out.reply(message, emptyBody)
    if (message.member === 'GetMachineId') return this.options.out.reply(message, encodeBody('s', [this.options.machineId]))
    this.fail(message, unknownMethod(message.interface, message.member, message.path), derpanetErrors)
  }

  /** A path without an object shows the way to others, which is no secret: the bus shows as much. */
  private answerBareNode(message: Incoming, node: Node): void {
    const isIntrospect = message.member === 'Introspect' && (message.interface === '' || message.interface === 'org.freedesktop.DBus.Introspectable')
    if (!isIntrospect) return this.fail(message, unknownMethod(message.interface, message.member, message.path), derpanetErrors)
    this.options.out.reply(message, encodeBody('s', [nodeXml(node.path, '', node.children())]))
  }

  private fail(message: Incoming, error: unknown, style: ErrorStyle): void {
    const { log, out } = this.options
    const told = wireError(error, style)
    if (told === null) {
      log.debug({ caller: message.sender, error: String(error) }, 'a caller left before its answer')
      return
    }
    if (told.isBug) log.error({ err: error, interface: message.interface, member: message.member, path: message.path, caller: message.sender }, 'a bus call failed by a bug')
    else log.debug({ interface: message.interface, member: message.member, caller: message.sender, error: told.text }, 'a bus call was refused')
    try {
      out.error(message, told.name, told.text)
    } catch (cause) {
      log.error({ err: cause, member: message.member }, 'an error reply could not be sent')
    }
  }
}

function shown(name: string): string {
  return /^[A-Za-z0-9_.]{1,255}$/.test(name) ? name : JSON.stringify(name.slice(0, 80))
}

/** A body that cannot be read is the caller's mistake. */
function readBody(message: Incoming): readonly unknown[] {
  try {
    return decodeBody(message)
  } catch (cause) {
    throw new ArgumentError('the arguments cannot be read', { cause })
  }
}

/** Throws EncodeError when a handler's value is not what the member declares: a bug of ours. */
function bodyOf(target: Target, value: unknown): Body {
  if (value instanceof Body) {
    if (value.signature !== target.row.out) throw new EncodeError(`${target.row.name} answers ${value.signature}, declares ${target.row.out}`)
    return value
  }
  return target.row.out === '' ? emptyBody : encodeBody(target.row.out, [value])
}
