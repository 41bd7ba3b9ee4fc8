// Sets in the words of `ipset restore`. Big lists are written straight from their packed arrays into byte chunks.
import { DerpanetError, printable, unreachable } from '../../errors.ts'
import type { PlanSet } from '../plan.ts'
import { entryWord } from './words.ts'

/** How many elements the kernel set must hold at least; `ipset list -t` counts the same unless elements expand. */
export function elementCount(set: PlanSet): number {
  const { elements } = set
  if (elements.kind === 'text') {
    return set.portRules === undefined ? elements.count ?? elements.entries.length : set.portRules.reduce((sum, part) => sum + part.last - part.first + 1, 0)
  }
  const lengths = set.family === 'ipv4' ? elements.list.lengths4 : elements.list.lengths6
  return lengths.length + (lengths.indexOf(0) < 0 ? 0 : 1)
}

/** Does each element count its packets? */
export function isCounted(set: PlanSet): boolean {
  return set.kind === 'port' || set.owners !== undefined
}

/** Room for growth by single additions: the kernel refuses more, and only a new set has more. */
export function maxElements(count: number): number {
  return Math.max(65536, powerOfTwo(count * 2))
}

/** One bucket for every two elements at least: fewer makes ipset rehash while it loads, more only costs memory. */
function hashSize(count: number): number {
  return Math.min(1 << 24, Math.max(1024, powerOfTwo(count / 2)))
}

function powerOfTwo(atLeast: number): number {
  return 2 ** Math.ceil(Math.log2(Math.max(1, atLeast)))
}

/** How a set is made, in ipset's words; `options` in the order in which ipset prints them. */
export interface SetShape {
  readonly type: string
  /** `inet` or `inet6`; null for types without addresses. */
  readonly family: 'inet' | 'inet6' | null
  readonly options: readonly (readonly [key: ShapeOption, value: string])[]
  readonly counters: boolean
}

export type ShapeOption = 'range' | 'hashsize' | 'maxelem' | 'timeout' | 'netmask' | 'markmask'

/** Throws INVALID_TYPE or INVALID_IPSET for a type or option of a user's set that we do not know. */
export function setShape(set: PlanSet): SetShape {
  const count = elementCount(set)
  const family = set.family === 'ipv6' ? 'inet6' : 'inet'
  const room = [['hashsize', String(hashSize(count))], ['maxelem', String(maxElements(count))]] as const
  switch (set.kind) {
    case 'port':
      // counters for each port: this is how rules that share a set keep their own
      return { type: 'bitmap:port', family: null, options: [['range', '0-65535']], counters: true }
    case 'mac':
      return { type: 'hash:mac', family: null, options: room, counters: false }
    case 'interface':
      return { type: 'hash:net,iface', family, options: room, counters: false }
    case 'prefix':
      return { type: 'hash:net', family, options: room, counters: set.owners !== undefined }
    case 'prefix-port':
      return { type: 'hash:net,port', family, options: room, counters: set.owners !== undefined }
    case 'user':
      return userShape(set, count, family)
    default:
      return unreachable(set.kind)
  }
}

const numericOptions: ReadonlySet<string> = new Set<ShapeOption>(['hashsize', 'maxelem', 'timeout', 'netmask', 'markmask'])

function userShape({ user, family }: PlanSet, count: number, inet: 'inet' | 'inet6'): SetShape {
  if (user === undefined) throw new Error('a user set has no definition')
  if (!/^hash:(ip|net|mac)(,(ip|net|port|mac|mark|iface)){0,2}$/.test(user.type)) throw new DerpanetError('INVALID_TYPE', printable(user.type))
  const options = Object.entries({ maxelem: '65536', ...user.options }).map(([key, value]) => {
    if (!numericOptions.has(key) || !/^(0x[0-9a-fA-F]{1,8}|\d{1,10})$/.test(value)) {
      throw new DerpanetError('INVALID_IPSET', `${printable(user.name)}: option ${printable(key)}=${printable(value)} is not supported`)
    }
    // a definition that has more entries than its maxelem would not load; firewalld fails there too, but only half way
    return [key as ShapeOption, key === 'maxelem' ? String(Math.max(Number(value), count)) : value] as const
  })
  return { type: user.type, family: family === null ? null : inet, options, counters: false }
}

/** `create NAME …` without line end. Throws as {@link setShape}. */
export function formatCreate(name: string, set: PlanSet): string {
  const { type, family, options, counters } = setShape(set)
  return [
    `create ${name} ${type}`, ...(family === null ? [] : [`family ${family}`]), ...options.map(([key, value]) => `${key} ${value}`),
    ...(counters ? ['counters'] : []),
  ].join(' ')
}

/** Lines that create and fill a set. */
export function* formatSet(name: string, set: PlanSet): Generator<string | Uint8Array> {
  yield `${formatCreate(name, set)}\n`
  const { elements } = set
  if (elements.kind === 'list') {
    if (set.family === 'ipv4') yield* formatList4(name, elements.list.addrs4, elements.list.lengths4)
    else yield* formatList6(name, elements.list.addrs6, elements.list.lengths6)
    return
  }
  const batch = 2000
  for (let start = 0; start < elements.entries.length; start += batch) {
    yield elements.entries.slice(start, start + batch).map((entry) => `add ${name} ${entryWord(entry)}\n`).join('')
  }
}

export interface SetEdit {
  readonly name: string
  /** Elements that come, and elements whose counters start anew. */
  readonly add: readonly string[]
  readonly remove: readonly string[]
  /** The set has counters. */
  readonly counted: boolean
}

/** Additions come first, so that an element moving between two sets is never in none. */
export function formatEdits(edits: readonly SetEdit[]): string {
  const adds = edits.flatMap(({ name, add, counted }) => add
    .map((entry) => `add ${name} ${entryWord(entry)}${counted ? ' packets 0 bytes 0' : ''} -exist\n`))
  const removes = edits.flatMap(({ name, remove }) => remove.map((entry) => `del ${name} ${entryWord(entry)} -exist\n`))
  return [...adds, ...removes].join('')
}

const chunkBytes = 1 << 18

/** Appends ASCII into fixed chunks; no string exists for any single line. */
class ByteWriter {
  private buffer = Buffer.allocUnsafe(chunkBytes)
  private at = 0

  /** A chunk once less than `room` bytes are left. */
  full(room: number): Uint8Array | null {
    return this.at + room > chunkBytes ? this.take() : null
  }

  take(): Uint8Array {
    const chunk = this.buffer.subarray(0, this.at)
    this.buffer = Buffer.allocUnsafe(chunkBytes)
    this.at = 0
    return chunk
  }

  bytes(source: Uint8Array): void {
    this.buffer.set(source, this.at)
    this.at += source.length
  }

  byte(value: number): void {
    this.buffer[this.at++] = value
  }

  /** 0–255 in decimal. */
  decimal(value: number): void {
    if (value >= 100) this.byte(48 + Math.floor(value / 100))
    if (value >= 10) this.byte(48 + (Math.floor(value / 10) % 10))
    this.byte(48 + (value % 10))
  }

  /** 0–65535 in hexadecimal. */
  hex(value: number): void {
    for (let shift = value > 0xfff ? 12 : value > 0xff ? 8 : value > 0xf ? 4 : 0; shift >= 0; shift -= 4) {
      const digit = (value >>> shift) & 15
      this.byte(digit < 10 ? 48 + digit : 87 + digit)
    }
  }
}

const slash = 0x2f
const newline = 0x0a
const dot = 0x2e
const colon = 0x3a

function* formatList4(name: string, addrs: Uint32Array, lengths: Uint8Array): Generator<Uint8Array> {
  const writer = new ByteWriter()
  const head = Buffer.from(`add ${name} `)
  const line = (addr: number, length: number): void => {
    writer.bytes(head)
    writer.decimal(addr >>> 24)
    writer.byte(dot)
    writer.decimal((addr >>> 16) & 255)
    writer.byte(dot)
    writer.decimal((addr >>> 8) & 255)
    writer.byte(dot)
    writer.decimal(addr & 255)
    writer.byte(slash)
    writer.decimal(length)
    writer.byte(newline)
  }
  for (let i = 0; i < addrs.length; i++) {
    const chunk = writer.full(256)
    if (chunk !== null) yield chunk
    // hash:net holds no /0: two halves say the same
    if (lengths[i] === 0) {
      line(0, 1)
      line(0x8000_0000, 1)
    } else line(addrs[i]!, lengths[i]!)
  }
  yield writer.take()
}

function* formatList6(name: string, words: Uint32Array, lengths: Uint8Array): Generator<Uint8Array> {
  const writer = new ByteWriter()
  const head = Buffer.from(`add ${name} `)
  const line = (first: number, i: number, length: number): void => {
    writer.bytes(head)
    for (let w = 0; w < 4; w++) {
      const word = w === 0 ? first : words[i * 4 + w]!
      writer.hex(word >>> 16)
      writer.byte(colon)
      writer.hex(word & 0xffff)
      writer.byte(w === 3 ? slash : colon)
    }
    writer.decimal(length)
    writer.byte(newline)
  }
  for (let i = 0; i < lengths.length; i++) {
    const chunk = writer.full(256)
    if (chunk !== null) yield chunk
    if (lengths[i] === 0) {
      line(0, i, 1)
      line(0x8000_0000, i, 1)
    } else line(words[i * 4]!, i, lengths[i]!)
  }
  yield writer.take()
}
