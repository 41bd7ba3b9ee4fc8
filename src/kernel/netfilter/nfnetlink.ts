// The kernel's own interface to netfilter: requests over one netlink socket, each with its answer. What is in the requests
// is the callers' business. A request is done, or refused, when send() returns; the answer is only fetched.
import { createRequire } from 'node:module'

/** The little of the module `netlink` that is used; its parsers would be half a megabyte in memory. */
export interface RawSocket {
  on(event: 'message', listener: (bytes: Uint8Array) => void): void
  on(event: 'error', listener: (error: Error) => void): void
  send(bytes: Uint8Array): void
  /** Hears what the kernel tells this group. Absent in fakes. */
  addMembership?(group: number): void
  ref(): void
  unref(): void
  close(): void
}

/** Makes a socket in the network namespace of this process. */
export function openRawSocket(): RawSocket {
  const require = createRequire(import.meta.url)
  const { RawNetlinkSocket } = require('netlink/dist/raw') as { RawNetlinkSocket: new (protocol: number) => RawSocket }
  return new RawNetlinkSocket(netlinkNetfilter)
}

export interface NetlinkRequest {
  /** Subsystem and command. */
  readonly type: number
  /** Beyond REQUEST and ACK. */
  readonly flags: number
  /** Address family in the header of nfnetlink; absent = any. */
  readonly family?: number
  /** What follows the header of nfnetlink. */
  readonly body: Uint8Array
}

export interface NetlinkAnswer {
  /** 0 = done; an errno, or a number of the subsystem's own above 4095. */
  readonly error: number
  /** Bodies of the messages the kernel sent back, after the header of nfnetlink; of a refused request, what it says about it. */
  readonly messages: readonly Uint8Array[]
}

export const netlinkFlags = { excl: 0x200, dump: 0x300 } as const

const netlinkNetfilter = 12
const request = 0x1
const ack = 0x4
const typeError = 2
const typeDone = 3
const headerBytes = 16
const netfilterHeaderBytes = 4
/** The kernel answers at once; longer means that the answer was lost. */
const timeoutMs = 10_000
/** Below the default of net.core.wmem_default. */
const maxSendBytes = 128 * 1024

interface Waiting {
  readonly messages: Uint8Array[]
  readonly resolve: (answer: NetlinkAnswer) => void
  readonly reject: (error: Error) => void
}

export class Nfnetlink {
  private socket: RawSocket | null = null
  private sequence = 0
  private readonly waiting = new Map<number, Waiting>()
  private timer: NodeJS.Timeout | null = null
  /** Only one dump at a time goes over a socket. */
  private last: Promise<unknown> = Promise.resolve()

  constructor(private readonly open: () => RawSocket) {}

  /**
   * Sends them in their order, as few system calls as possible; the kernel goes on after one that it refuses. Answers in the
   * same order. Rejects when the socket fails; what was done then is not known.
   */
  ask(requests: readonly NetlinkRequest[]): Promise<readonly NetlinkAnswer[]> {
    const asked = this.last.then(() => this.askAlone(requests))
    this.last = asked.catch(() => undefined)
    return asked
  }

  close(): void {
    this.fail(new Error('netlink: closed'))
  }

  private async askAlone(requests: readonly NetlinkRequest[]): Promise<readonly NetlinkAnswer[]> {
    const socket = this.socket ??= this.start()
    const answers: NetlinkAnswer[] = []
    socket.ref()
    this.timer = setTimeout(() => this.fail(new Error(`netlink: no answer in ${timeoutMs} ms`)), timeoutMs)
    try {
      for (let start = 0; start < requests.length;) {
        let end = start
        for (let bytes = 0; end < requests.length && (end === start || bytes < maxSendBytes); end++) bytes += requests[end]!.body.length
        answers.push(...await this.send(socket, requests.slice(start, end)))
        start = end
      }
      return answers
    } finally {
      clearTimeout(this.timer)
      if (this.socket === socket) socket.unref()
    }
  }

  private send(socket: RawSocket, requests: readonly NetlinkRequest[]): Promise<readonly NetlinkAnswer[]> {
    const parts: Buffer[] = []
    const answers = requests.map(({ type, flags, family, body }) => {
      this.sequence = (this.sequence + 1) >>> 0
      const header = Buffer.alloc(headerBytes + netfilterHeaderBytes)
      header.writeUInt32LE(header.length + body.length, 0)
      header.writeUInt16LE(type, 4)
      header.writeUInt16LE(request | ack | flags, 6)
      header.writeUInt32LE(this.sequence, 8)
      header.writeUInt8(family ?? 0, headerBytes)
      parts.push(header, Buffer.from(body.buffer, body.byteOffset, body.byteLength), Buffer.alloc(-body.length & 3))
      return new Promise<NetlinkAnswer>((resolve, reject) => {
        this.waiting.set(this.sequence, { messages: [], resolve, reject })
      })
    })
    socket.send(Buffer.concat(parts))
    return Promise.all(answers)
  }

  private start(): RawSocket {
    const socket = this.open()
    socket.on('message', (bytes) => this.take(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)))
    socket.on('error', (error) => this.fail(new Error(`netlink: ${error.message}`, { cause: error })))
    return socket
  }

  private take(bytes: Buffer): void {
    for (let at = 0; at + headerBytes <= bytes.length;) {
      const length = bytes.readUInt32LE(at)
      if (length < headerBytes || at + length > bytes.length) return this.fail(new Error('netlink: an answer is cut short'))
      this.takeMessage(bytes.readUInt16LE(at + 4), bytes.readUInt32LE(at + 8), bytes.subarray(at + headerBytes, at + length))
      at += (length + 3) & ~3
    }
  }

  private takeMessage(type: number, sequence: number, payload: Buffer): void {
    const waiting = this.waiting.get(sequence)
    if (waiting === undefined) return
    if (type !== typeError && type !== typeDone) {
      waiting.messages.push(payload.subarray(netfilterHeaderBytes))
      return
    }
    const error = payload.length >= 4 ? -payload.readInt32LE(0) : 0
    // a refusal comes with the request, into which ipset writes where it stopped
    if (error !== 0 && payload.length > 4 + headerBytes + netfilterHeaderBytes) waiting.messages.push(payload.subarray(4 + headerBytes + netfilterHeaderBytes))
    this.waiting.delete(sequence)
    waiting.resolve({ error, messages: waiting.messages })
  }

  /** A new socket next time: late answers of this one mean nothing any more. */
  private fail(error: Error): void {
    this.socket?.close()
    this.socket = null
    for (const { reject } of this.waiting.values()) reject(error)
    this.waiting.clear()
  }
}

/** Attributes of one level by number, without flags; of several with one number the last. */
export function readAttributes(bytes: Uint8Array): ReadonlyMap<number, Uint8Array> {
  return new Map(eachAttribute(bytes))
}

export function* eachAttribute(bytes: Uint8Array): Generator<readonly [type: number, value: Uint8Array]> {
  for (let at = 0; at + 4 <= bytes.length;) {
    const length = bytes[at]! | (bytes[at + 1]! << 8)
    if (length < 4 || at + length > bytes.length) throw new Error('netlink: an attribute is cut short')
    yield [(bytes[at + 2]! | (bytes[at + 3]! << 8)) & 0x3fff, bytes.subarray(at + 4, at + length)]
    at += (length + 3) & ~3
  }
}

/** Network byte order, one to eight bytes. */
export function readNumber(value: Uint8Array | undefined): number {
  let number = 0
  for (const byte of value ?? []) number = number * 256 + byte
  return number
}

export function readBigNumber(value: Uint8Array | undefined): bigint {
  let number = 0n
  for (const byte of value ?? []) number = (number << 8n) | BigInt(byte)
  return number
}

/** Up to the first NUL. */
export function readText(value: Uint8Array | undefined): string {
  const bytes = value ?? new Uint8Array()
  const end = bytes.indexOf(0)
  return Buffer.from(end < 0 ? bytes : bytes.subarray(0, end)).toString('latin1')
}
