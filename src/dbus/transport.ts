// The connection to the bus. dbus-next connects, authenticates and says Hello; then the stream is ours, because of what
// a caller could do to its reader: a body is read before anybody asked whether the caller may, a value of type `h`
// throws where nobody catches, large arrays hold up every other caller, and a bus that dies is not reported.
//
// Guards, each with a test:
// 1. a call without an interface header arrives like any other (`interface` is "");
// 2. when the bus goes away `ended` resolves and every pending call rejects: the daemon must exit and be started again;
// 3. every call of ours has a time limit;
// 4. a match rule is added once and stays: dbus-next's count of them is broken and leaks rules;
// 5. nothing is sent that does not fit its signature (wire/encode.ts), nothing above 16 MiB;
// 6. serials wrap at 2^32 instead of failing after some weeks;
// 7. little lies in the socket that the bus has not read yet (it takes 4 KiB a turn), because whatever comes next waits behind
//    it: what can wait is asked for when there is room. While the bus takes nothing we do not read: memory stays bounded.
import type { Duplex } from 'node:stream'
import { sessionBus } from 'dbus-next'
import { BusError, busErrorNames, type BusClient, type BusRequest } from '../auth/bus-client.ts'
import { decodeBody, decodeMessage, fixedHeaderBytes, messageLength, type Incoming } from './wire/decode.ts'
import { Body, emptyBody, encodeBody, encodeHeader, messageTypes, noAutoStart, noReplyExpected, type Header } from './wire/encode.ts'

export interface BusLog {
  debug(fields: Readonly<Record<string, unknown>>, message: string): void
  info(fields: Readonly<Record<string, unknown>>, message: string): void
  warn(fields: Readonly<Record<string, unknown>>, message: string): void
  error(fields: Readonly<Record<string, unknown>>, message: string): void
}

/** Where an answer goes. A call that wants none is answered nothing. */
export type ReplyTo = Pick<Incoming, 'sender' | 'serial' | 'flags'>

/** What the dispatcher needs to answer and to tell. Bodies come encoded, so a bad value fails before this. */
export interface Outgoing {
  reply(to: ReplyTo, body: Body): void
  error(to: ReplyTo, name: string, text: string): void
  signal(path: string, iface: string, member: string, body: Body): void
  /** Bytes that have come in so far; null in the middle of a message, when more is sure to come. */
  heard(): number | null
  /** What `work` sends leaves in one write. */
  together(work: () => void): void
  /**
   * True when what leaves next would wait behind others, or this batch is full: `then` is called when there is room, once
   * however often it was given.
   */
  waitForRoom(then: () => void): boolean
}

export interface Transport extends BusClient, Outgoing {
  /** Unique name on the bus. */
  readonly name: string
  /** Resolves once, with the reason, when the connection is lost without `close`. */
  readonly ended: Promise<Error>
  onCall(handler: (call: Incoming) => void): void
  onSignal(handler: (signal: Incoming) => void): void
  addMatch(rule: string): Promise<void>
  /** False when another owns the name or the bus policy forbids it. Never waits in the queue for it. */
  requestName(name: string): Promise<boolean>
  close(): Promise<void>
}

const busService = { destination: 'org.freedesktop.DBus', path: '/org/freedesktop/DBus', interface: 'org.freedesktop.DBus' } as const
const busCallTimeoutMs = 25_000
const connectTimeoutMs = 10_000
/** Unsent bytes above which nothing more is read. */
const maxUnsentBytes = 32 * 1024 * 1024
/** Written at once at most, but for the last message: what the bus reads at once. */
const batchBytes = 2048
const maxSerial = 0xffffffff

export const systemBusAddress = 'unix:path=/run/dbus/system_bus_socket'

/** dbus-next keeps its stream in a private field; the version is pinned exactly for that. */
interface StreamOwner {
  readonly _connection?: { readonly stream?: Duplex }
}

/** Node's sockets keep their number in a private field; without it, or without one, the buffer stays as it is. */
interface StreamWithHandle extends Duplex {
  readonly _handle?: { readonly fd?: number }
}

interface Pending {
  /** Only the bus itself may answer what the bus was asked; for other names its policy lets through requested replies only. */
  readonly from: string | null
  readonly resolve: (body: readonly unknown[]) => void
  readonly reject: (error: Error) => void
  readonly timer: NodeJS.Timeout
}

export interface ConnectOptions {
  readonly address?: string | undefined
  readonly log: BusLog
  /** Makes the socket's buffer for what we send as small as can be. Without it what the bus has not read yet may be 200 KiB. */
  readonly narrow?: ((fd: number) => void) | undefined
}

/**
 * Rejects when the bus cannot be reached within ten seconds. `address` is a D-Bus address list; without one
 * DBUS_SYSTEM_BUS_ADDRESS, then the usual socket.
 */
export async function connect(options: ConnectOptions): Promise<Transport> {
  const busAddress = options.address ?? process.env['DBUS_SYSTEM_BUS_ADDRESS'] ?? systemBusAddress
  const bus = sessionBus({ busAddress })
  const stream = (bus as unknown as StreamOwner)._connection?.stream
  if (stream === undefined) throw new Error('dbus-next has no stream where this version should have it')
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => fail(new Error(`no answer from the bus at ${busAddress}`)), connectTimeoutMs)
    const fail = (cause: unknown): void => {
      clearTimeout(timer)
      stream.destroy()
      reject(cause instanceof Error ? cause : new Error(String(cause)))
    }
    const onEarlyEnd = (): void => fail(new Error(`the bus at ${busAddress} closed the connection`))
    bus.on('error', fail)
    stream.once('close', onEarlyEnd)
    bus.on('connect', () => {
      clearTimeout(timer)
      stream.off('close', onEarlyEnd)
      bus.removeAllListeners('error')
      bus.on('error', () => { /* the stream's own handlers below report it */ })
      const name = (bus as unknown as { readonly name: string }).name
      const { fd } = (stream as StreamWithHandle)._handle ?? {}
      try {
        if (fd !== undefined) options.narrow?.(fd)
      } catch (error) {
        options.log.warn({ error: String(error) }, 'answers may wait in the socket to the bus')
      }
      resolve(takeOver(stream, name, options.log))
    })
  })
}

/** Called inside dbus-next's read loop, between two messages. */
function takeOver(stream: Duplex, name: string, log: BusLog): Transport {
  // Its loop reads on after our listener returns: let it find nothing, then it is at a message boundary and stays there.
  const read = stream.read.bind(stream)
  stream.read = () => null
  stream.removeAllListeners('readable')
  stream.removeAllListeners('end')
  const transport = new StreamTransport(stream, name, log)
  setImmediate(() => {
    stream.read = read
    transport.start()
  })
  return transport
}

/** Cuts what comes in into messages. */
class Framer {
  /** What is there of the next message, and bytes behind it. */
  private parts: Buffer[] = []
  private size = 0
  /** Bytes needed before there is anything to look at. */
  private wanted = fixedHeaderBytes

  add(bytes: Buffer): void {
    this.parts.push(bytes)
    this.size += bytes.length
  }

  /** null until a message is whole. Throws when these are no D-Bus messages. */
  next(): Buffer | null {
    if (this.size < this.wanted) return null
    // parts are put together when a message is whole, not each time one comes: 16 MiB come in hundreds of them
    const [first] = this.parts
    const bytes = this.parts.length === 1 && first !== undefined ? first : Buffer.concat(this.parts, this.size)
    const length = messageLength(bytes)
    if (bytes.length < length) {
      this.parts = [bytes]
      this.wanted = length
      return null
    }
    const rest = bytes.subarray(length)
    this.parts = rest.length === 0 ? [] : [rest]
    this.size = rest.length
    this.wanted = fixedHeaderBytes
    return bytes.subarray(0, length)
  }

  get isEmpty(): boolean {
    return this.size === 0
  }
}

/** `stream` speaks D-Bus and is past Hello. Nothing is read before `start`. */
export class StreamTransport implements Transport {
  readonly name: string
  readonly ended: Promise<Error>
  private readonly stream: Duplex
  private readonly log: BusLog
  private readonly pending = new Map<number, Pending>()
  private readonly matches = new Map<string, Promise<void>>()
  private callHandler: (call: Incoming) => void = () => {}
  private readonly signalHandlers: ((signal: Incoming) => void)[] = []
  private readonly waitsForRoom = new Set<() => void>()
  /** So much may be unsent for there to be room: nothing, unless it is this batch. */
  private roomBytes = 0
  private isGathering = false
  private readBytes = 0
  private serial = 1
  private readonly framer = new Framer()
  private isClosing = false
  private isDead = false
  private tellEnd: (reason: Error) => void = () => {}

  constructor(stream: Duplex, name: string, log: BusLog) {
    this.stream = stream
    this.name = name
    this.log = log
    this.ended = new Promise((resolve) => { this.tellEnd = resolve })
  }

  start(): void {
    // Flowing: what others send must not wait in front of our door because one sends a lot; what to do with it is decided inside.
    this.stream.on('data', this.pump)
    this.stream.on('error', (error) => this.die(error))
    this.stream.on('end', () => this.die(new Error(this.framer.isEmpty ? 'the bus closed the connection' : 'the bus ended in the middle of a message')))
    this.stream.on('close', () => this.die(new Error('the connection to the bus is closed')))
    if (this.stream.destroyed || this.stream.readableEnded) this.die(new Error('the bus closed the connection'))
    else this.stream.resume()
  }

  private die(reason: Error): void {
    if (this.isDead) return
    this.isDead = true
    for (const { reject, timer } of this.pending.values()) {
      clearTimeout(timer)
      reject(new BusError(busErrorNames.disconnected, reason.message))
    }
    this.pending.clear()
    this.stream.destroy()
    if (!this.isClosing) this.tellEnd(reason)
  }

  /** Takes every whole message there is; answers given at once leave together in one write. */
  private readonly pump = (bytes: Buffer): void => {
    this.readBytes += bytes.length
    try {
      this.framer.add(bytes)
      this.together(() => {
        for (let message = this.framer.next(); message !== null && !this.isDead; message = this.framer.next()) this.take(message)
      })
      if (this.stream.writableLength > maxUnsentBytes && !this.isDead) {
        this.stream.pause()
        this.stream.once('drain', () => this.stream.resume())
      }
    } catch (error) {
      this.die(error instanceof Error ? error : new Error(String(error)))
    }
  }

  private take(bytes: Buffer): void {
    let message: Incoming
    try {
      message = decodeMessage(bytes)
    } catch (error) {
      this.log.warn({ error: String(error), bytes: bytes.length }, 'a message from the bus has no readable header')
      return
    }
    try {
      switch (message.type) {
        case messageTypes.call: this.callHandler(message); return
        case messageTypes.signal: for (const handler of this.signalHandlers) handler(message); return
        case messageTypes.reply: case messageTypes.error: this.settle(message); return
      }
    } catch (error) {
      // a bug: one message is lost, the connection is not
      this.log.error({ err: error, member: message.member }, 'handling a message from the bus failed')
    }
  }

  private settle(message: Incoming): void {
    const waiting = this.pending.get(message.replySerial)
    if (waiting === undefined || (waiting.from !== null && waiting.from !== message.sender)) return
    this.pending.delete(message.replySerial)
    clearTimeout(waiting.timer)
    try {
      const body = decodeBody(message)
      if (message.type === messageTypes.reply) waiting.resolve(body)
      else waiting.reject(new BusError(message.errorName, typeof body[0] === 'string' ? body[0] : ''))
    } catch (error) {
      waiting.reject(error instanceof Error ? error : new Error(String(error)))
    }
  }

  private nextSerial(): number {
    const serial = this.serial
    this.serial = serial >= maxSerial ? 1 : serial + 1
    return serial
  }

  private send(header: Omit<Header, 'serial'>, body: Body): number {
    if (this.isDead) throw new BusError(busErrorNames.disconnected, 'the connection to the bus is closed')
    this.gather()
    const serial = this.nextSerial()
    const head = encodeHeader({ ...header, serial }, body)
    if (body.bytes.length === 0) this.stream.write(head, this.onSent)
    else {
      this.stream.write(head)
      this.stream.write(body.bytes, this.onSent)
    }
    return serial
  }

  onCall(handler: (call: Incoming) => void): void {
    this.callHandler = handler
  }

  onSignal(handler: (signal: Incoming) => void): void {
    this.signalHandlers.push(handler)
  }

  call(request: BusRequest): Promise<readonly unknown[]> {
    return new Promise((resolve, reject) => {
      const flags = request.noAutoStart === true ? noAutoStart : 0
      const { destination, path, member } = request
      const named = request.interface === '' ? {} : { interface: request.interface }
      const body = encodeBody(request.signature, request.body)
      const serial = this.send({ type: messageTypes.call, flags, destination, path, ...named, member }, body)
      const timer = setTimeout(() => {
        this.pending.delete(serial)
        reject(new BusError(busErrorNames.noReply, `no reply to ${request.interface}.${member} in ${request.timeoutMs} ms`))
      }, request.timeoutMs)
      this.pending.set(serial, { from: destination === busService.destination ? destination : null, resolve, reject, timer })
    })
  }

  reply(to: ReplyTo, body: Body): void {
    if ((to.flags & noReplyExpected) !== 0 || this.isDead) return
    this.send({ type: messageTypes.reply, flags: noReplyExpected, replySerial: to.serial, destination: to.sender }, body)
  }

  error(to: ReplyTo, name: string, text: string): void {
    if ((to.flags & noReplyExpected) !== 0 || this.isDead) return
    // a NUL cannot travel in a D-Bus text
    const body = encodeBody('s', [text.replaceAll('\0', '\\x00')])
    this.send({ type: messageTypes.error, flags: noReplyExpected, errorName: name, replySerial: to.serial, destination: to.sender }, body)
  }

  signal(path: string, iface: string, member: string, body: Body): void {
    if (this.isDead) return
    this.send({ type: messageTypes.signal, flags: noReplyExpected, path, interface: iface, member }, body)
  }

  together(work: () => void): void {
    // within a batch it is part of that one
    if (this.isGathering) return work()
    this.begin()
    try {
      work()
    } finally {
      this.leave()
    }
  }

  /** What is sent before the event loop goes on leaves in one write, as a change's signals and its answer: each write wakes the bus. */
  private gather(): void {
    if (this.isGathering) return
    this.begin()
    process.nextTick(() => this.leave())
  }

  private begin(): void {
    this.isGathering = true
    this.roomBytes = this.stream.writableLength === 0 ? batchBytes : 0
    this.stream.cork()
  }

  private leave(): void {
    this.isGathering = false
    this.roomBytes = 0
    this.stream.uncork()
  }

  heard(): number | null {
    return this.framer.isEmpty ? this.readBytes : null
  }

  waitForRoom(then: () => void): boolean {
    if (this.isDead || this.stream.writableLength <= this.roomBytes) return false
    this.waitsForRoom.add(then)
    return true
  }

  private readonly onSent = (): void => {
    if (this.waitsForRoom.size === 0 || this.stream.writableLength > 0) return
    const waiting = [...this.waitsForRoom]
    this.waitsForRoom.clear()
    for (const then of waiting) then()
  }

  addMatch(rule: string): Promise<void> {
    const known = this.matches.get(rule)
    if (known !== undefined) return known
    const added = this.call({ ...busService, member: 'AddMatch', signature: 's', body: [rule], timeoutMs: busCallTimeoutMs }).then(() => {})
    this.matches.set(rule, added)
    return added
  }

  async requestName(name: string): Promise<boolean> {
    // 4 = do not queue; 1 = owner now, 4 = was owner already
    const doNotQueue = 4
    try {
      const [result] = await this.call({ ...busService, member: 'RequestName', signature: 'su', body: [name, doNotQueue], timeoutMs: busCallTimeoutMs })
      return result === 1 || result === 4
    } catch (error) {
      if (error instanceof BusError && error.errorName === 'org.freedesktop.DBus.Error.AccessDenied') return false
      throw error
    }
  }

  async close(): Promise<void> {
    if (this.isDead) return
    this.isClosing = true
    await new Promise<void>((resolve) => {
      this.stream.once('close', resolve)
      this.stream.end(() => this.stream.destroy())
    })
    this.die(new Error('closed'))
  }
}

export { emptyBody }
