// Values → bytes of a D-Bus message, little endian. dbus-next's own writer copies every array once a level and answers a
// value of the wrong type with a stack trace; here a wrong value throws before anything is sent, and size has a limit.
import { isDict, parseSignature, type TypeNode } from './signature.ts'

/** A value with its own type, where the signature says `v`. What we write may be any object with these two keys. */
export class Variant {
  readonly signature: string
  readonly value: unknown

  constructor(signature: string, value: unknown) {
    this.signature = signature
    this.value = value
  }
}

/** The value does not have the declared type: a mistake of ours, never of the caller. */
export class EncodeError extends Error {
  override readonly name = 'EncodeError'
}
/** The message would be longer than `maxMessageBytes`. */
export class TooBigError extends Error {
  override readonly name = 'TooBigError'
}

/** Replies above this are refused; the bus itself disconnects a sender at 32 MiB (system bus) or 128 MiB. */
export const maxMessageBytes = 16 * 1024 * 1024

const initialBytes = 64 * 1024
const keptBytes = 1024 * 1024
/** At most 127, so that the length is one byte. */
const shortText = 48
let scratch = Buffer.allocUnsafe(initialBytes)

/** Appends to a buffer that all writers share in turn: encoding is synchronous, so only one writer exists at a time. */
class Writer {
  position = 0

  private room(bytes: number): void {
    const need = this.position + bytes
    if (need <= scratch.length) return
    if (need > maxMessageBytes + initialBytes) throw new TooBigError('message too long')
    const grown = Buffer.allocUnsafe(Math.min(Math.max(need, scratch.length * 2), maxMessageBytes + initialBytes))
    scratch.copy(grown, 0, 0, this.position)
    scratch = grown
  }

  align(to: number): void {
    const padding = -this.position & (to - 1)
    if (padding === 0) return
    this.room(padding)
    scratch.fill(0, this.position, this.position + padding)
    this.position += padding
  }

  byte(value: number): void {
    this.room(1)
    scratch[this.position++] = value
  }

  uint32(value: number): void {
    this.align(4)
    this.room(4)
    scratch.writeUInt32LE(value, this.position)
    this.position += 4
  }

  private string(value: unknown, node: TypeNode): void {
    if (typeof value !== 'string') throw wrong(node, value)
    this.align(4)
    if (value.length <= shortText && this.ascii(value, node)) return
    if (value.includes('\0')) throw wrong(node, value)
    const bytes = Buffer.byteLength(value, 'utf8')
    this.room(bytes + 5)
    scratch.writeUInt32LE(bytes, this.position)
    scratch.write(value, this.position + 4, bytes, 'utf8')
    this.position += 4 + bytes
    scratch[this.position++] = 0
  }

  /** Short texts are nearly all of what is sent, and a loop here is faster than a call into native code. False: not ASCII. */
  private ascii(value: string, node: TypeNode): boolean {
    this.room(value.length + 5)
    const start = this.position + 4
    for (let index = 0; index < value.length; index++) {
      const code = value.charCodeAt(index)
      if (code >= 0x80) return false
      if (code === 0) throw wrong(node, value)
      scratch[start + index] = code
    }
    scratch[start - 4] = value.length
    scratch[start - 3] = scratch[start - 2] = scratch[start - 1] = 0
    scratch[start + value.length] = 0
    this.position = start + value.length + 1
    return true
  }

  signature(text: string): void {
    this.room(text.length + 2)
    scratch[this.position++] = text.length
    this.position += scratch.write(text, this.position, 'latin1')
    scratch[this.position++] = 0
  }

  private integer(value: unknown, node: TypeNode, least: number, most: number): number {
    if (typeof value !== 'number' || !Number.isInteger(value) || value < least || value > most) throw wrong(node, value)
    return value
  }

  private wide(value: unknown, node: TypeNode, least: bigint, most: bigint): bigint {
    const exact = typeof value === 'bigint' ? value : typeof value === 'number' && Number.isSafeInteger(value) ? BigInt(value) : null
    if (exact === null || exact < least || exact > most) throw wrong(node, value)
    this.align(8)
    this.room(8)
    return exact
  }

  private array(value: unknown, node: TypeNode): void {
    const element = node.children[0]
    if (element === undefined) throw wrong(node, value)
    this.align(4)
    this.room(4)
    const lengthAt = this.position
    this.position += 4
    this.align(element.alignment)
    const start = this.position
    if (isDict(node)) {
      const [keyNode, valueNode] = element.children
      if (keyNode === undefined || valueNode === undefined || typeof value !== 'object' || value === null) throw wrong(node, value)
      for (const [key, item] of value instanceof Map ? value : Object.entries(value)) {
        this.align(8)
        this.value(key, keyNode)
        this.value(item, valueNode)
      }
    } else {
      if (!Array.isArray(value)) throw wrong(node, value)
      for (const item of value) this.value(item, element)
    }
    scratch.writeUInt32LE(this.position - start, lengthAt)
  }

  value(value: unknown, node: TypeNode): void {
    switch (node.code) {
      case 's': this.string(value, node); return
      case 'b':
        if (typeof value !== 'boolean') throw wrong(node, value)
        this.uint32(value ? 1 : 0)
        return
      case 'i': {
        const number = this.integer(value, node, -0x80000000, 0x7fffffff)
        this.align(4)
        this.room(4)
        scratch.writeInt32LE(number, this.position)
        this.position += 4
        return
      }
      case 'u': this.uint32(this.integer(value, node, 0, 0xffffffff)); return
      case 'o':
        if (typeof value !== 'string' || !/^\/(?:[A-Za-z0-9_]+(?:\/[A-Za-z0-9_]+)*)?$/.test(value)) throw wrong(node, value)
        this.string(value, node)
        return
      case 'a': this.array(value, node); return
      case '(': {
        if (!Array.isArray(value) || value.length !== node.children.length) throw wrong(node, value)
        this.align(8)
        node.children.forEach((child, index) => this.value(value[index], child))
        return
      }
      case 'v': {
        if (typeof value !== 'object' || value === null || !('signature' in value) || !('value' in value)) throw wrong(node, value)
        if (typeof value.signature !== 'string') throw wrong(node, value)
        const [type, ...more] = parseSignature(value.signature)
        if (type === undefined || more.length > 0) throw wrong(node, value)
        this.signature(value.signature)
        this.value(value.value, type)
        return
      }
      case 'y': this.byte(this.integer(value, node, 0, 255)); return
      case 't': {
        const number = this.wide(value, node, 0n, 0xffffffffffffffffn)
        scratch.writeBigUInt64LE(number, this.position)
        this.position += 8
        return
      }
      case 'x': {
        const number = this.wide(value, node, -0x8000000000000000n, 0x7fffffffffffffffn)
        scratch.writeBigInt64LE(number, this.position)
        this.position += 8
        return
      }
      case 'n':
      case 'q': {
        const number = node.code === 'n' ? this.integer(value, node, -0x8000, 0x7fff) : this.integer(value, node, 0, 0xffff)
        this.align(2)
        this.room(2)
        scratch.writeUInt16LE(number & 0xffff, this.position)
        this.position += 2
        return
      }
      case 'd':
        if (typeof value !== 'number') throw wrong(node, value)
        this.align(8)
        this.room(8)
        scratch.writeDoubleLE(value, this.position)
        this.position += 8
        return
      case 'g':
        if (typeof value !== 'string') throw wrong(node, value)
        parseSignature(value)
        this.signature(value)
        return
      default:
        throw wrong(node, value)
    }
  }

  /** A copy: the shared buffer is written again before the socket has sent it. */
  bytes(): Buffer {
    if (this.position > maxMessageBytes) throw new TooBigError('message too long')
    const bytes = Buffer.from(scratch.subarray(0, this.position))
    // one large answer must not keep its memory for ever
    if (scratch.length > keptBytes) scratch = Buffer.allocUnsafe(initialBytes)
    return bytes
  }
}

function wrong(node: TypeNode, value: unknown): EncodeError {
  return new EncodeError(`expected ${node.text}, got ${value === null ? 'null' : Array.isArray(value) ? 'array' : typeof value}`)
}

/** An encoded body. It begins at a multiple of eight in every message, so it can be kept and sent again. */
export class Body {
  readonly signature: string
  readonly bytes: Buffer

  constructor(signature: string, bytes: Buffer) {
    this.signature = signature
    this.bytes = bytes
  }
}

export const emptyBody = new Body('', Buffer.alloc(0))

/** Throws EncodeError when a value does not fit its type, TooBigError above 16 MiB. */
export function encodeBody(signature: string, values: readonly unknown[]): Body {
  if (signature === '' && values.length === 0) return emptyBody
  const types = parseSignature(signature)
  if (types.length !== values.length) throw new EncodeError(`${values.length} values for ${signature}`)
  const writer = new Writer()
  types.forEach((type, index) => writer.value(values[index], type))
  return new Body(signature, writer.bytes())
}

export const messageTypes = { call: 1, reply: 2, error: 3, signal: 4 } as const
export const noReplyExpected = 1
export const noAutoStart = 2

export interface Header {
  readonly type: number
  readonly flags?: number
  readonly serial: number
  readonly path?: string
  readonly interface?: string
  readonly member?: string
  readonly errorName?: string
  readonly replySerial?: number
  readonly destination?: string
}

const [stringType] = parseSignature('s')
const [pathType] = parseSignature('o')

/** Everything before the body, padded to the multiple of eight where the body begins. */
export function encodeHeader(header: Header, body: Body): Buffer {
  if (stringType === undefined || pathType === undefined) throw new Error('no string type')
  const writer = new Writer()
  writer.byte(0x6c)
  writer.byte(header.type)
  writer.byte(header.flags ?? 0)
  writer.byte(1)
  writer.uint32(body.bytes.length)
  writer.uint32(header.serial)
  writer.uint32(0)
  const start = writer.position
  const text = (code: number, value: string | undefined, type: TypeNode): void => {
    if (value === undefined) return
    writer.align(8)
    writer.byte(code)
    writer.signature(type.text)
    writer.value(value, type)
  }
  text(1, header.path, pathType)
  text(2, header.interface, stringType)
  text(3, header.member, stringType)
  text(4, header.errorName, stringType)
  if (header.replySerial !== undefined) {
    writer.align(8)
    writer.byte(5)
    writer.signature('u')
    writer.uint32(header.replySerial)
  }
  text(6, header.destination, stringType)
  if (body.signature !== '') {
    writer.align(8)
    writer.byte(8)
    writer.signature('g')
    writer.signature(body.signature)
  }
  const length = writer.position - start
  writer.align(8)
  const bytes = writer.bytes()
  bytes.writeUInt32LE(length, start - 4)
  return bytes
}
