// One method call from arrival to answer: find the member by name, ask whether the caller may, only then read the
// body, convert it, call the handler, encode the result, answer.
//
// What a caller can do to others, and why it cannot:
// 1. A root caller whose uid is known is answered in the same turn of the event loop, so a getter waits for nobody. When
//    more comes in than can be answered in a few milliseconds, callers take turns (fair-queue.ts).
// 2. Calls of one sender are taken in its order. Whoever must be asked about (polkit may wait for a password) holds up
//    only its own later calls.
// 3. Of every sender only so many calls and bytes are under way; of all senders together only so many bytes.
// 4. Changes, and questions that take a while, wait in the caller's own line (turnstile.ts).
// 5. Bodies above 16 MiB are refused unread; results above it are refused instead of sent. Nothing is answered while the
//    bus does not take what was, and what is long to send is begun seldom while that is slow (long-answers.ts).
// 6. Nothing a handler throws leaves as it is: errors.ts decides, and a bug goes to the journal.
import type { Authority, Subject } from '../auth/authority.ts'
import { isOnWhitelist } from '../auth/lockdown.ts'
import { DerpanetError } from '../errors.ts'
import { isLockedDown, lockdownOf } from '../model/query.ts'
import { limitsExceeded, notSupported, propertyError, unknownMethod, wireError, derpanetErrors, type ErrorStyle } from './errors.ts'
import { Announcements } from './announcements.ts'
import { ArgumentError, convertArguments } from './convert.ts'
import { FairQueue } from './fair-queue.ts'
import type { Call, HandlerContext } from './handlers/handler.ts'
import { nodeXml } from './introspect.ts'
import { AnswerLengths, LongAnswers } from './long-answers.ts'
import type { Signal } from './signals.ts'
import type { BusLog, Outgoing } from './transport.ts'
import { FairService } from './turnstile.ts'
import { targetKey, type Node, type ObjectClass, type ObjectTree, type Target } from './tree.ts'
import { decodeBody, type Incoming } from './wire/decode.ts'
import { Body, emptyBody, encodeBody, EncodeError, maxMessageBytes, noReplyExpected, Variant } from './wire/encode.ts'

interface Options {
  readonly tree: ObjectTree
  readonly context: HandlerContext
  readonly authority: Authority
  readonly out: Outgoing
  readonly log: BusLog
  /** Text of Peer.GetMachineId. */
  readonly machineId: string
  /** Called before the arguments of a dear call are read. */
  readonly onBigCall?: (() => void) | undefined
}

/** What a caller waits for its turn with: a call, or the answer to one that took a while. */
interface Job {
  /** null: the answer to a call that was never let in. */
  readonly call: Waiting | null
  /** null: not known before it is run. */
  readonly answerBytes: number | null
  /** Throws nothing. */
  readonly run: () => void
}

/** A call that has been found but not yet allowed. */
interface Waiting {
  /** Its body is gone once it was read. */
  message: Incoming
  readonly bytes: number
  readonly node: Node
  readonly objectClass: ObjectClass
  readonly target: Target
  /** Its arguments are read and it is not answered: of those that are dear there are only so many. */
  isRead: boolean
  /** No longer under way. */
  isOver: boolean
}

/** From arrival to answer. */
interface UnderWay {
  calls: number
  bytes: number
}

const noBytes = Buffer.alloc(0)
/** Answers wait in a line of their own: while somebody types a password for the next call, the answer to the last one may leave. */
const answersTo = (sender: string): string => `${sender} answers`
const peer = 'org.freedesktop.DBus.Peer'
/** Under way of one sender. */
const maxCalls = 8192
const maxBytes = 32 * 1024 * 1024
/** What a call takes beside its arguments. */
const callBytes = 1024
/** Of all senders together; above it only small callers are let in. */
const maxBytesOfAll = 64 * 1024 * 1024
const smallBytes = 256 * 1024
/** With more that waits to be sent no tool is run of which there would be more. */
const maxAnswerBytes = 4 * 1024 * 1024
/** So long calls are answered before others, and whoever writes to us, have a turn. */
const turnMs = 4
/** Of so long at most that part is spent on calls as they come; with more they take turns. */
const windowMs = 10
const atOnceMs = 3
/** Reading arguments takes about a millisecond for so much; who sends more than a little waits for those who do not. */
const readBytesPerMs = 40_000
const littleBytes = 64 * 1024
const dearMs = littleBytes / readBytesPerMs
/** They wait so long at most while more comes in. */
const dearPauseMs = 100
/** Of all callers: read they take several times as much memory. */
const maxDearRead = 2
/** What an answer costs the bus, and so whoever waits behind it: about so long for each, and a millisecond for so many bytes. */
const answerMs = 0.03
const bytesPerMs = 100_000
const costOf = (answerBytes: number): number => answerMs + answerBytes / bytesPerMs

export class Dispatcher {
  private readonly options: Options
  private readonly fair: FairService
  private readonly contexts = new WeakMap<Subject, HandlerContext>()
  private readonly queue = new FairQueue<Job>(({ call, answerBytes }) => costOf(answerBytes ?? (call === null ? 0 : this.lengths.expected(call.target))))
  private readonly underWay = new Map<string, UnderWay>()
  private bytesOfAll = 0
  /** Of answers that wait for their turn. */
  private answerBytes = 0
  private isScheduled = false
  private timer: NodeJS.Timeout | null = null
  private readonly longAnswers = new LongAnswers()
  private readonly announcements: Announcements
  private readonly lengths = new AnswerLengths<Target>()
  /** What is answered now was let in when there was room for it. */
  private isTaking = false
  /** What had come in before the last turn, and when dear calls could be taken. */
  private heardBefore: number | null = 0
  private dearAtMs = 0
  private dearRead = 0
  private window = { sinceMs: 0, spentMs: 0 }

  constructor(options: Options) {
    this.options = options
    this.announcements = new Announcements(options.out)
    this.fair = new FairService(options.context.service, {
      mayLook: () => this.answerBytes < maxAnswerBytes,
      othersWait: () => this.queue.hasReady,
      told: () => this.announcements.gone(),
    })
  }

  /** Never throws. */
  handle(message: Incoming): void {
    const { tree, out } = this.options
    const isMute = (message.flags & noReplyExpected) !== 0
    if (message.interface === peer) return this.answerPeer(message)
    const node = tree.find(message.path)
    const objectClass = node?.objectClass ?? null
    if (node !== null && objectClass === null) return this.answerBareNode(message, node)
    const target = objectClass === null ? undefined : message.interface === ''
      ? objectClass.byMember.get(message.member)
      : objectClass.targets.get(targetKey(message.interface, message.member))
    // who asks and wants no answer has it already
    if (isMute && target?.onlyReads !== false) return
    if (node === null || objectClass === null || target === undefined) {
      return this.fail(message, unknownMethod(message.interface, message.member, message.path), derpanetErrors)
    }
    const { sender } = message
    const bytes = message.bodyBytes.length
    if (bytes > maxMessageBytes) return this.fail(message, limitsExceeded('a call above 16 MiB'), objectClass.style)
    if (!this.admit(sender, bytes + callBytes)) {
      if (!isMute) this.fail(message, limitsExceeded('too many calls of this caller are not answered yet'), objectClass.style)
      return
    }
    const call: Waiting = { message, bytes: bytes + callBytes, node, objectClass, target, isRead: false, isOver: false }
    const expected = this.lengths.expected(target)
    this.longAnswers.isAsked(expected, performance.now())
    if (isDear(call) || this.queue.hasReady || this.queue.isBusy(sender) || !this.hasTimeLeft() || !this.hasRoomFor(expected)) {
      // a small part of what came in would keep the whole of it
      if (bytes * 2 < message.bodyBytes.buffer.byteLength) call.message = { ...message, bodyBytes: Buffer.from(message.bodyBytes) }
      this.queue.push(sender, { call, answerBytes: null, run: () => { this.take(call) } }, bytes / readBytesPerMs)
      this.schedule()
      return
    }
    this.window.spentMs += this.take(call)
  }

  /** Sends signals in their order; many of them leave between answers. */
  announce(signals: readonly Signal[]): void {
    this.announcements.add(signals)
    if (!this.announcements.isEmpty) this.schedule()
  }

  /** The bus says this name is gone: what it still wants, nobody waits for. */
  forget(sender: string): void {
    this.options.authority.forget(sender)
    for (const { call, answerBytes } of [...this.queue.forget(sender), ...this.queue.forget(answersTo(sender))]) {
      if (call !== null) this.release(call)
      this.leaves(answerBytes ?? 0)
    }
  }

  /** Sends an answer, at once when it goes ahead of nobody whose turn is earlier. */
  private answer(sender: string, call: Waiting | null, answerBytes: number, send: () => void): void {
    const leave = (): void => {
      const isTelling = this.longAnswers.begins(answerBytes, performance.now())
      send()
      // the turn looks how long it took
      if (isTelling) this.options.out.waitForRoom(this.schedule)
    }
    if (this.isTaking || !(this.queue.hasReady || !this.hasRoomFor(answerBytes))) return leave()
    const run = (): void => {
      this.queue.charge(answersTo(sender), costOf(answerBytes))
      leave()
      this.leaves(answerBytes)
    }
    this.answerBytes += answerBytes
    this.queue.push(answersTo(sender), { call, answerBytes, run })
    this.schedule()
  }

  /** Whether an answer of so many bytes may leave now. */
  private hasRoomFor(answerBytes: number): boolean {
    if (this.options.out.waitForRoom(this.schedule)) return false
    const now = performance.now()
    this.longAnswers.hasRoom(now)
    return answerBytes <= this.longAnswers.mostBytes(now)
  }

  /** So much of what waited to be sent waits no more. */
  private leaves(answerBytes: number): void {
    const wasFull = this.answerBytes >= maxAnswerBytes
    this.answerBytes -= answerBytes
    if (wasFull && this.answerBytes < maxAnswerBytes) this.fair.resume()
  }

  private admit(sender: string, bytes: number): boolean {
    const known = this.underWay.get(sender)
    if (known === undefined) {
      if (this.bytesOfAll + bytes > maxBytesOfAll && bytes > smallBytes) return false
      this.underWay.set(sender, { calls: 1, bytes })
    } else {
      const own = known.bytes + bytes
      if (known.calls >= maxCalls || own > maxBytes || (this.bytesOfAll + bytes > maxBytesOfAll && own > smallBytes)) return false
      known.calls++
      known.bytes = own
    }
    this.bytesOfAll += bytes
    return true
  }

  /** It is answered, or nobody waits for that. */
  private release(call: Waiting): void {
    if (call.isOver) return
    call.isOver = true
    const { message: { sender }, bytes } = call
    if (call.isRead && isDear(call)) this.dearRead--
    this.bytesOfAll -= bytes
    const own = this.underWay.get(sender)
    if (own === undefined) return
    own.calls--
    own.bytes -= bytes
    if (own.calls === 0) this.underWay.delete(sender)
  }

  private hasTimeLeft(): boolean {
    const now = performance.now()
    if (now - this.window.sinceMs > windowMs) this.window = { sinceMs: now, spentMs: 0 }
    return this.window.spentMs < atOnceMs
  }

  private readonly schedule = (): void => {
    if (this.isScheduled) return
    this.isScheduled = true
    setImmediate(this.turn)
  }

  private readonly turn = (): void => {
    this.isScheduled = false
    const { out } = this.options
    // Megabytes are read only when nothing more comes in: who asks a little may be behind them.
    const now = performance.now()
    const heard = out.heard()
    const mayBeDear = this.dearRead < maxDearRead && ((heard !== null && heard === this.heardBefore) || now - this.dearAtMs > dearPauseMs)
    this.heardBefore = heard
    if (out.waitForRoom(this.schedule)) return
    this.longAnswers.hasRoom(now)
    const mostCost = costOf(this.longAnswers.mostBytes(now))
    out.together(() => {
      const end = now + turnMs
      do {
        if (out.waitForRoom(this.schedule)) return
        const job = this.queue.next(mayBeDear && this.dearRead < maxDearRead ? Infinity : dearMs, mostCost)
        job?.run()
        if (!this.announcements.sendNext() && job === null) {
          if (this.queue.hasReady) this.timer ??= setTimeout(this.onTimer, 1)
          return
        }
      } while (performance.now() < end)
      if (mayBeDear) this.dearAtMs = performance.now()
      if (this.queue.hasReady || !this.announcements.isEmpty) this.schedule()
    })
  }

  private readonly onTimer = (): void => {
    this.timer = null
    this.schedule()
  }

  /** Answers it, or begins to. Returns the milliseconds it took. */
  private take(call: Waiting): number {
    const { message: { sender }, target } = call
    const begun = performance.now()
    this.isTaking = true
    try {
      const subject = this.options.authority.authorise(sender, target.action)
      if (subject instanceof Promise) {
        this.queue.block(sender)
        void subject.then((found) => this.run(call, found), (error: unknown) => this.refuse(call, error)).then(() => {
          this.queue.unblock(sender)
          this.schedule()
        })
      } else this.run(call, subject)
    } catch (error) {
      this.refuse(call, error)
    }
    this.isTaking = false
    return performance.now() - begun
  }

  /** Never throws. */
  private run(call: Waiting, subject: Subject): void {
    try {
      const result = this.resultOf(call, subject)
      if (!(result instanceof Promise)) return this.reply(call, result)
      call.message = { ...call.message, bodyBytes: noBytes }
      void result.then((value: unknown) => this.reply(call, value), (error: unknown) => this.refuse(call, error))
    } catch (error) {
      this.refuse(call, error)
    }
  }

  /** Never throws. */
  private reply(call: Waiting, value: unknown): void {
    const { message, target } = call
    let body: Body
    try {
      body = bodyOf(target, value)
    } catch (error) {
      return this.refuse(call, error)
    }
    this.queue.charge(message.sender, costOf(body.bytes.length))
    if (this.isTaking) this.lengths.learn(target, body.bytes.length, performance.now())
    this.answer(message.sender, call, body.bytes.length, () => {
      this.release(call)
      this.options.out.reply(message, body)
    })
  }

  private refuse(call: Waiting, error: unknown): void {
    this.release(call)
    this.fail(call.message, error, call.objectClass.style)
  }

  private resultOf(waiting: Waiting, subject: Subject): unknown {
    const { message, node, objectClass, target } = waiting
    const call: Call = { context: this.contextOf(subject), caller: subject, ...(node.object === undefined ? {} : { object: node.object }) }
    if (this.isLockedOut(target, subject)) throw new DerpanetError('ACCESS_DENIED', 'lockdown is enabled')
    waiting.isRead = true
    if (isDear(waiting)) {
      this.dearRead++
      this.options.onBigCall?.()
    }
    const args = convertArguments(target.row.in, readBody(message))
    if (target.builtIn) return this.builtIn(call, node, objectClass, target.row.name, args)
    if (target.handler === undefined) throw notSupported(target.interfaceName, target.row.name)
    return target.handler(call, args)
  }

  /** What handlers do, they do in the caller's own line. */
  private contextOf(subject: Subject): HandlerContext {
    let context = this.contexts.get(subject)
    if (context === undefined) {
      context = { ...this.options.context, service: this.fair.for(subject) }
      this.contexts.set(subject, context)
    }
    return context
  }

  /** Lockdown works in the older face only. Reading is free for everybody who may read. */
  private isLockedOut({ row, onlyReads }: Target, subject: Subject): boolean {
    const { face, service } = this.options.context
    if (face === '2.5') return false
    const { settings } = service.runtime()
    if (!isLockedDown(settings)) return false
    return !onlyReads && row.name !== 'authorizeAll' && !isOnWhitelist(lockdownOf(settings), subject)
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
    if (message.member === 'Ping') return this.tell(message, emptyBody)
    if (message.member === 'GetMachineId') return this.tell(message, encodeBody('s', [this.options.machineId]))
    this.fail(message, unknownMethod(message.interface, message.member, message.path), derpanetErrors)
  }

  /** A path without an object shows the way to others, which is no secret: the bus shows as much. */
  private answerBareNode(message: Incoming, node: Node): void {
    const isIntrospect = message.member === 'Introspect' && (message.interface === '' || message.interface === 'org.freedesktop.DBus.Introspectable')
    if (!isIntrospect) return this.fail(message, unknownMethod(message.interface, message.member, message.path), derpanetErrors)
    this.tell(message, encodeBody('s', [nodeXml(node.path, '', node.children())]))
  }

  private tell(message: Incoming, body: Body): void {
    this.answer(message.sender, null, body.bytes.length, () => this.options.out.reply(message, body))
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
    this.answer(message.sender, null, told.text.length, () => {
      try {
        out.error(message, told.name, told.text)
      } catch (cause) {
        log.error({ err: cause, member: message.member }, 'an error reply could not be sent')
      }
    })
  }
}

function isDear({ bytes }: Waiting): boolean {
  return bytes > littleBytes + callBytes
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
