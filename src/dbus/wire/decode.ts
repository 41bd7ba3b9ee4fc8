// Bytes of a D-Bus message → values. The header is read at once; the body only when somebody asks, because a caller that
// is not allowed must not cost us the reading of its megabytes. dbus-daemon has validated what arrives, and still every
// read is checked: a throw here answers one caller with an error and touches nobody else.
import { Variant } from './encode.ts'
import { isDict, parseSignature, type TypeNode } from './signature.ts'

export interface Incoming {
  readonly type: number
  readonly flags: number
  readonly serial: number
  readonly path: string
  /** "" where the caller left it out, which the protocol allows. */
  readonly interface: string
  readonly member: string
  readonly errorName: string
  readonly replySerial: number
  readonly destination: string
  readonly sender: string
  readonly signature: string
  readonly bodyBytes: Buffer
  readonly isLittleEndian: boolean
}

/** Texts of an array are cut from pieces of this size; a text that is kept keeps its piece. */
const pieceBytes = 8192
const asciiText = /^[\x01-\x7f]*$/

class Reader {
  position: number
  readonly buffer: Buffer
  readonly isLittle: boolean
  private depth = 0

  constructor(buffer: Buffer, position: number, isLittle: boolean) {
    this.buffer = buffer
    this.position = position
    this.isLittle = isLittle
  }

  align(to: number): void {
    this.position += -this.position & (to - 1)
  }

  uint32(): number {
    this.align(4)
    const value = this.isLittle ? this.buffer.readUInt32LE(this.position) : this.buffer.readUInt32BE(this.position)
    this.position += 4
    return value
  }

  private text(bytes: number, encoding: 'utf8' | 'latin1'): string {
    const end = this.position + bytes
    if (end >= this.buffer.length) throw new Error('text beyond the end')
    const value = this.buffer.toString(encoding, this.position, end)
    // No bus lets one through, and nothing that repeats it could be sent.
    if (value.includes('\0')) throw new Error('text with a zero byte')
    this.position = end + 1
    return value
  }

  string(): string {
    const bytes = this.uint32()
    return this.text(bytes, 'utf8')
  }

  signature(): string {
    const bytes = this.buffer.readUInt8(this.position++)
    return this.text(bytes, 'latin1')
  }

  private array(node: TypeNode): unknown {
    const element = node.children[0]
    if (element === undefined) throw new Error('array of nothing')
    const bytes = this.uint32()
    this.align(element.alignment)
    const end = this.position + bytes
    if (end > this.buffer.length) throw new Error('array beyond the end')
    if (element.code === 'y') {
      const value = this.buffer.subarray(this.position, end)
      this.position = end
      return value
    }
    if (isDict(node)) {
      const [keyNode, valueNode] = element.children
      if (keyNode === undefined || valueNode === undefined) throw new Error('dictionary of nothing')
      const entries = new Map<unknown, unknown>()
      while (this.position < end) {
        this.align(8)
        const key = this.value(keyNode)
        entries.set(key, this.value(valueNode))
      }
      return entries
    }
    if (element.code === 's' && this.isLittle) return this.strings(end)
    const values: unknown[] = []
    while (this.position < end) values.push(this.value(element))
    return values
  }

  /** As `string` does, for all up to `end`: a call into native code for each of a million texts costs more than the rest of it. */
  private strings(end: number): string[] {
    const { buffer } = this
    const values: string[] = []
    while (this.position < end) {
      const from = this.position
      const to = Math.min(end, from + pieceBytes)
      const piece = buffer.toString('latin1', from, to)
      for (;;) {
        const start = ((this.position + 3) & ~3) + 4
        if (start > to) break
        const bytes = buffer.readUInt32LE(start - 4)
        if (start + bytes >= to) break
        const text = piece.substring(start - from, start - from + bytes)
        if (!asciiText.test(text)) break
        values.push(text)
        this.position = start + bytes + 1
      }
      // at the end of the piece, longer than one, not ASCII, or not allowed
      if (this.position < end) values.push(this.string())
    }
    return values
  }

  value(node: TypeNode): unknown {
    switch (node.code) {
      case 's':
      case 'o': return this.string()
      case 'b': return this.uint32() !== 0
      case 'u':
      case 'h': return this.uint32()
      case 'i': return this.uint32() | 0
      case 'y': return this.buffer.readUInt8(this.position++)
      case 'n':
      case 'q': {
        this.align(2)
        const value = this.isLittle ? this.buffer.readUInt16LE(this.position) : this.buffer.readUInt16BE(this.position)
        this.position += 2
        return node.code === 'n' ? (value << 16) >> 16 : value
      }
      case 'x':
      case 't': {
        this.align(8)
        const value = this.isLittle ? this.buffer.readBigUInt64LE(this.position) : this.buffer.readBigUInt64BE(this.position)
        this.position += 8
        return node.code === 'x' ? BigInt.asIntN(64, value) : value
      }
      case 'd': {
        this.align(8)
        const value = this.isLittle ? this.buffer.readDoubleLE(this.position) : this.buffer.readDoubleBE(this.position)
        this.position += 8
        return value
      }
      case 'g': return this.signature()
      case 'v': {
        const signature = this.signature()
        const [type, ...more] = parseSignature(signature)
        if (type === undefined || more.length > 0) throw new Error('variant of no single type')
        // variants in variants are the one nesting a signature does not bound
        if (++this.depth > 64) throw new Error('variants too deep')
        const value = this.value(type)
        this.depth--
        return new Variant(signature, value)
      }
      case '(': {
        this.align(8)
        return node.children.map((child) => this.value(child))
      }
      case 'a': return this.array(node)
      default: throw new Error(`no value of type ${node.code}`)
    }
  }
}

export const fixedHeaderBytes = 16

/** Length of the whole message, from its first 16 bytes. Throws for lengths the protocol forbids. */
export function messageLength(header: Buffer): number {
  const isLittle = header[0] === 0x6c
  if (!isLittle && header[0] !== 0x42) throw new Error('not a D-Bus message')
  const bodyBytes = isLittle ? header.readUInt32LE(4) : header.readUInt32BE(4)
  const fieldBytes = isLittle ? header.readUInt32LE(12) : header.readUInt32BE(12)
  const length = fixedHeaderBytes + fieldBytes + (-fieldBytes & 7) + bodyBytes
  if (length > 0x8000000) throw new Error('message above 128 MiB')
  return length
}

/** Fields that are texts, by code: path, interface, member, error name, destination, sender; 8 is a signature, 5 and 9 are numbers. */
const signatureField = 8

/** `bytes` is exactly one message. Throws for a header that is not one. */
export function decodeMessage(bytes: Buffer): Incoming {
  const isLittle = bytes[0] === 0x6c
  const reader = new Reader(bytes, 12, isLittle)
  const texts = ['', '', '', '', '', '', '', '', '']
  let replySerial = 0
  const end = reader.uint32() + reader.position
  if (end > bytes.length) throw new Error('header beyond the end')
  while (reader.position < end) {
    reader.align(8)
    const code = bytes.readUInt8(reader.position++)
    const type = reader.signature()
    // known ones without the detour over a Variant: every message of every caller comes through here
    if (type === 's' || type === 'o') {
      const text = reader.string()
      if (code < signatureField) texts[code] = text
    } else if (type === 'g') {
      const signature = reader.signature()
      if (code === signatureField) texts[code] = signature
    } else if (type === 'u') {
      const number = reader.uint32()
      if (code === 5) replySerial = number
    } else {
      const [node, ...more] = parseSignature(type)
      if (node === undefined || more.length > 0) throw new Error('variant of no single type')
      reader.value(node)
    }
  }
  reader.align(8)
  const text = (code: number): string => texts[code] ?? ''
  return {
    type: bytes.readUInt8(1),
    flags: bytes.readUInt8(2),
    serial: isLittle ? bytes.readUInt32LE(8) : bytes.readUInt32BE(8),
    path: text(1),
    interface: text(2),
    member: text(3),
    errorName: text(4),
    replySerial,
    destination: text(6),
    sender: text(7),
    signature: text(signatureField),
    bodyBytes: bytes.subarray(reader.position),
    isLittleEndian: isLittle,
  }
}

/** Dictionaries become Maps, structs and arrays become arrays, `ay` a Buffer, 64-bit integers BigInt, `v` a Variant. */
export function decodeBody(message: Incoming): readonly unknown[] {
  const reader = new Reader(message.bodyBytes, 0, message.isLittleEndian)
  return parseSignature(message.signature).map((type) => reader.value(type))
}
