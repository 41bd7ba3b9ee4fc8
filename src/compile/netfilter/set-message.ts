// Sets in the bytes of the kernel's own interface (nfnetlink, linux/netfilter/ipset/ip_set.h): the bodies of requests, after
// the two headers that whoever sends them puts in front. What ipset.ts says in words for people is said here for the kernel.
import { DerpanetError, printable } from '../../errors.ts'
import { parseAddr4, parseAddr6 } from '../../model/addr.ts'
import type { PortProtocol } from '../../model/firewall.ts'
import { parseEntryParts } from '../../model/ipset-entry.ts'
import type { EntryPart } from '../../model/ipset-entry.ts'
import { protocolNumbers } from '../../model/port.ts'
import type { PlanSet } from '../plan.ts'
import { setShape } from './ipset.ts'
import type { ShapeOption } from './ipset.ts'
import { entryWord } from './words.ts'

export const setCommands = { create: 2, destroy: 3, flush: 4, swap: 6, list: 7, add: 9, del: 10, type: 13 } as const
export type SetCommand = keyof typeof setCommands

/** Without `exclusive` what is there already (or is gone already) is no failure. `elements` = how many it adds or takes away. */
export interface SetRequest {
  readonly command: SetCommand
  readonly exclusive: boolean
  readonly body: Uint8Array
  /** The texts of its elements, where they are known: for naming the one that failed. */
  readonly entries?: readonly string[]
}

/** Attributes of a request and of an answer. */
export const attributes = {
  protocol: 1, setName: 2, typeName: 3, setName2: 3, revision: 4, family: 5, flags: 6, data: 7, elements: 8, line: 9,
} as const
/** Attributes within `data`, of a set or an element. */
export const dataAttributes = {
  ip: 1, ipTo: 2, cidr: 3, port: 4, portTo: 5, timeout: 6, proto: 7, flags: 8, line: 9, mark: 10, markmask: 11,
  hashsize: 18, maxelem: 19, netmask: 20, count: 24, references: 25,
  ether: 17, ip2: 20, cidr2: 21, ip2To: 22, iface: 23, bytes: 24, packets: 25,
} as const
const addressAttributes = { ipv4: 1, ipv6: 2 } as const

/** What 6.1 and everything newer speak. */
const protocolVersion = 6
const nested = 0x8000
const networkOrder = 0x4000
const withCounters = 1 << 3
const physicalDevice = 1 << 1
const interfaceWildcard = 1 << 7
const listHeadersOnly = 1 << 2
/** linux/netfilter.h */
const familyNumbers = { inet: 2, inet6: 10 } as const

/** A nested attribute's length has 16 bits. */
const maxElementBytes = 60_000

/** Writes netlink attributes, aligned to four bytes. */
class AttributeWriter {
  private bytes: Uint8Array
  private view: DataView
  private at = 0

  constructor(capacity: number) {
    this.bytes = new Uint8Array(capacity)
    this.view = new DataView(this.bytes.buffer)
  }

  get length(): number {
    return this.at
  }

  taken(): Uint8Array {
    return this.bytes.subarray(0, this.at)
  }

  u8(type: number, value: number): void {
    this.head(type, 1)
    this.view.setUint8(this.at - 4, value)
  }

  u16(type: number, value: number): void {
    this.head(type | networkOrder, 2)
    this.view.setUint16(this.at - 4, value)
  }

  u32(type: number, value: number): void {
    this.head(type | networkOrder, 4)
    this.view.setUint32(this.at - 4, value >>> 0)
  }

  u64(type: number, value: bigint): void {
    this.head(type | networkOrder, 8)
    this.view.setBigUint64(this.at - 8, value)
  }

  /** ASCII, with the NUL that the kernel wants. */
  text(type: number, value: string): void {
    this.raw(type, Uint8Array.from([...value].map((char) => char.charCodeAt(0)).concat(0)))
  }

  raw(type: number, value: Uint8Array): void {
    this.head(type, value.length)
    this.bytes.set(value, this.at - align(value.length))
  }

  /** Returns what {@link close} wants. */
  open(type: number): number {
    this.head(type | nested, 0)
    return this.at
  }

  close(mark: number): void {
    this.view.setUint16(mark - 4, this.at - mark + 4, true)
  }

  private head(type: number, length: number): void {
    const end = this.at + 4 + align(length)
    if (end > this.bytes.length) this.grow(end)
    this.view.setUint16(this.at, 4 + length, true)
    this.view.setUint16(this.at + 2, type, true)
    this.at = end
  }

  private grow(atLeast: number): void {
    const larger = new Uint8Array(Math.max(atLeast, this.bytes.length * 2))
    larger.set(this.bytes)
    this.bytes = larger
    this.view = new DataView(larger.buffer)
  }
}

function align(length: number): number {
  return (length + 3) & ~3
}

function begin(name: string | null, capacity = 256): AttributeWriter {
  const writer = new AttributeWriter(capacity)
  writer.u8(attributes.protocol, protocolVersion)
  if (name !== null) writer.text(attributes.setName, name)
  return writer
}

function finish(command: SetCommand, writer: AttributeWriter, exclusive: boolean): SetRequest {
  return { command, exclusive, body: writer.taken() }
}

/** Which revision of a set's type the kernel has: its answer holds `revision`. */
export function typeRequest(set: PlanSet): SetRequest {
  const { type, family } = setShape(set)
  const writer = begin(null)
  writer.text(attributes.typeName, type)
  writer.u8(attributes.family, family === null ? 0 : familyNumbers[family])
  return finish('type', writer, false)
}

/** `nowMs`: of the monotonic clock, for elements that go by themselves. Throws as setShape. */
export function createRequest(name: string, set: PlanSet, revision: number, nowMs: number): SetRequest {
  const { type, family, options, counters } = setShape(set)
  const writer = begin(name)
  writer.text(attributes.typeName, type)
  writer.u8(attributes.revision, revision)
  writer.u8(attributes.family, family === null ? 0 : familyNumbers[family])
  const data = writer.open(attributes.data)
  for (const [key, value] of options) writeOption(writer, key, value)
  // 0 would be for ever
  if (set.expiresAtMs !== undefined) writer.u32(dataAttributes.timeout, Math.max(1, Math.ceil((set.expiresAtMs - nowMs) / 1000)))
  if (counters) writer.u32(dataAttributes.flags, withCounters)
  writer.close(data)
  return finish('create', writer, true)
}

function writeOption(writer: AttributeWriter, key: ShapeOption, value: string): void {
  switch (key) {
    case 'range': {
      const [first = 0, last = 0] = value.split('-').map(Number)
      writer.u16(dataAttributes.port, first)
      return writer.u16(dataAttributes.portTo, last)
    }
    case 'netmask': return writer.u8(dataAttributes.netmask, Number(value))
    case 'hashsize': return writer.u32(dataAttributes.hashsize, Number(value))
    case 'maxelem': return writer.u32(dataAttributes.maxelem, Number(value))
    case 'timeout': return writer.u32(dataAttributes.timeout, Number(value))
    case 'markmask': return writer.u32(dataAttributes.markmask, Number(value))
  }
}

export function destroyRequest(name: string): SetRequest {
  return finish('destroy', begin(name), true)
}

/** Takes every element out. */
export function flushRequest(name: string): SetRequest {
  return finish('flush', begin(name), true)
}

/** Headers of all sets, or one set with its elements. */
export function listRequest(name: string | null): SetRequest {
  const writer = begin(name)
  if (name === null) writer.u32(attributes.flags, listHeadersOnly)
  return finish('list', writer, true)
}

/** Everything that is in the set, in as many requests as it takes. Throws INVALID_ENTRY. */
export function* fillRequests(name: string, set: PlanSet): Generator<SetRequest> {
  const { elements } = set
  if (elements.kind === 'text') return yield* elementRequests('add', name, set, elements.entries)
  const { addrs4, lengths4, addrs6, lengths6 } = elements.list
  yield* set.family === 'ipv4' ? listRequests4(name, addrs4, lengths4) : listRequests6(name, addrs6, lengths6)
}

/** `reset` = counters start anew. Throws INVALID_ENTRY. */
export function* elementRequests(command: 'add' | 'del', name: string, set: PlanSet, entries: readonly string[], reset = false): Generator<SetRequest> {
  let start = 0
  while (start < entries.length) {
    const writer = begin(name, entries.length > 64 ? maxElementBytes + 1024 : 512)
    writer.u32(attributes.line, 0)
    const list = writer.open(attributes.elements)
    const first = start
    for (; start < entries.length && writer.length < maxElementBytes; start++) {
      const data = writer.open(attributes.data)
      writeElement(writer, set, entries[start]!)
      // numbers from 1: 0 is "not known"
      writer.u32(dataAttributes.line, start - first + 1)
      if (reset) {
        writer.u64(dataAttributes.bytes, 0n)
        writer.u64(dataAttributes.packets, 0n)
      }
      writer.close(data)
    }
    writer.close(list)
    yield { ...finish(command, writer, false), entries: entries.slice(first, start) }
  }
}

function writeElement(writer: AttributeWriter, set: PlanSet, entry: string): void {
  switch (set.kind) {
    case 'port': {
      const [first = NaN, last = first] = entry.split('-').map(Number)
      return writePorts(writer, first, last)
    }
    case 'prefix': return writeAddresses(writer, entry, dataAttributes)
    case 'prefix-port': {
      const comma = entry.lastIndexOf(',')
      const [protocol = '', port = ''] = entry.slice(comma + 1).split(':')
      writeAddresses(writer, entry.slice(0, comma), dataAttributes)
      writer.u8(dataAttributes.proto, protocolNumbers[protocol as PortProtocol])
      return writePorts(writer, Number(port), Number(port))
    }
    case 'mac': return writer.raw(dataAttributes.ether, macBytes(entry))
    case 'interface': return writeInterface(writer, entry)
    case 'user': return writeUserElement(writer, set, entry)
  }
}

/** `0.0.0.0/0,eth0`, `::/0,eth wildcard`. */
function writeInterface(writer: AttributeWriter, entry: string): void {
  const [, prefix, name, wildcard] = /^([^,]+),(.+?)( wildcard)?$/.exec(entryWord(entry)) ?? []
  if (prefix === undefined || name === undefined) throw new DerpanetError('INVALID_ENTRY', printable(entry))
  writeAddresses(writer, prefix, dataAttributes)
  writer.text(dataAttributes.iface, name)
  if (wildcard !== undefined) writer.u32(dataAttributes.flags, interfaceWildcard)
}

function writePorts(writer: AttributeWriter, first: number, last: number): void {
  writer.u16(dataAttributes.port, first)
  if (last !== first) writer.u16(dataAttributes.portTo, last)
}

interface AddressKeys {
  readonly ip: number
  readonly cidr: number
  readonly ipTo: number
}

const secondKeys: AddressKeys = { ip: dataAttributes.ip2, cidr: dataAttributes.cidr2, ipTo: dataAttributes.ip2To }

/** `192.0.2.1`, `192.0.2.0/24`, `192.0.2.1-192.0.2.9`. */
function writeAddresses(writer: AttributeWriter, text: string, keys: AddressKeys): void {
  const dash = text.indexOf('-')
  const slash = text.indexOf('/')
  writeAddress(writer, keys.ip, text.slice(0, dash >= 0 ? dash : slash >= 0 ? slash : undefined))
  if (dash >= 0) writeAddress(writer, keys.ipTo, text.slice(dash + 1))
  else if (slash >= 0) writer.u8(keys.cidr, Number(text.slice(slash + 1)))
}

function writeAddress(writer: AttributeWriter, type: number, text: string): void {
  const addr4 = parseAddr4(text)
  const addr6 = addr4 === null ? parseAddr6(text) : null
  if (addr4 === null && addr6 === null) throw new DerpanetError('INVALID_ENTRY', printable(text))
  const address = writer.open(type)
  if (addr4 !== null) writer.u32(addressAttributes.ipv4, addr4)
  else {
    const bytes = new Uint8Array(16)
    const view = new DataView(bytes.buffer)
    view.setBigUint64(0, addr6! >> 64n)
    view.setBigUint64(8, addr6! & 0xffff_ffff_ffff_ffffn)
    writer.raw(addressAttributes.ipv6 | networkOrder, bytes)
  }
  writer.close(address)
}

function macBytes(text: string): Uint8Array {
  const bytes = Uint8Array.from(text.split(':').map((byte) => Number.parseInt(byte, 16)))
  if (bytes.length !== 6) throw new DerpanetError('INVALID_ENTRY', printable(text))
  return bytes
}

/** Part for part, as the type names them. */
function writeUserElement(writer: AttributeWriter, set: PlanSet, entry: string): void {
  const { type, options } = set.user!
  const { parts } = parseEntryParts(type, set.family === 'ipv6' ? { ...options, family: 'inet6' } : options, entry)
  const texts = entry.split(',')
  let flags = 0
  parts.forEach((part: EntryPart, index) => {
    switch (part.kind) {
      case 'addresses': return writeAddresses(writer, texts[index]!, index === 0 ? dataAttributes : secondKeys)
      case 'port':
        writer.u8(dataAttributes.proto, part.protocol)
        return writePorts(writer, part.first, part.last)
      case 'mark': return writer.u32(dataAttributes.mark, part.mark)
      case 'mac': return writer.raw(dataAttributes.ether, macBytes(part.mac))
      case 'interface':
        if (part.physical) flags |= physicalDevice
        return writer.text(dataAttributes.iface, part.name)
    }
  })
  if (flags !== 0) writer.u32(dataAttributes.flags, flags)
}

/** Bytes of one IPv4 prefix: DATA { IP { IPV4 } CIDR }. */
const element4Bytes = 24
const element6Bytes = 36

function* listRequests4(name: string, addrs: Uint32Array, lengths: Uint8Array): Generator<SetRequest> {
  let index = 0
  while (index < lengths.length) {
    yield packedRequest(name, element4Bytes, (view, at) => {
      if (index === lengths.length) return at
      // hash:net holds no /0: two halves say the same
      const halves = lengths[index] === 0 ? 2 : 1
      for (let half = 0; half < halves; half++, at += element4Bytes) {
        writePackedHead(view, at, element4Bytes, 4)
        view.setUint32(at + 12, half === 1 ? 0x8000_0000 : addrs[index]!)
        writePackedCidr(view, at + 16, halves === 2 ? 1 : lengths[index]!)
      }
      index++
      return at
    })
  }
}

function* listRequests6(name: string, words: Uint32Array, lengths: Uint8Array): Generator<SetRequest> {
  let index = 0
  while (index < lengths.length) {
    yield packedRequest(name, element6Bytes, (view, at) => {
      if (index === lengths.length) return at
      const halves = lengths[index] === 0 ? 2 : 1
      for (let half = 0; half < halves; half++, at += element6Bytes) {
        writePackedHead(view, at, element6Bytes, 16)
        for (let word = 0; word < 4; word++) view.setUint32(at + 12 + word * 4, word === 0 && half === 1 ? 0x8000_0000 : words[index * 4 + word]!)
        writePackedCidr(view, at + 28, halves === 2 ? 1 : lengths[index]!)
      }
      index++
      return at
    })
  }
}

/** `write` puts one or two elements at `at` and returns where the next one goes; the same place = no more. */
function packedRequest(name: string, elementBytes: number, write: (view: DataView, at: number) => number): SetRequest {
  const writer = begin(name, maxElementBytes + 1024)
  writer.u32(attributes.line, 0)
  const list = writer.open(attributes.elements)
  const room = new Uint8Array(maxElementBytes - 256)
  const view = new DataView(room.buffer)
  let at = 0
  for (let next = 0; at + 2 * elementBytes <= room.length; at = next) {
    next = write(view, at)
    if (next === at) break
  }
  return { command: 'add', exclusive: false, body: concat(writer.taken(), room.subarray(0, at), list) }
}

/** `head` ends with the opened list of elements, whose length is at `mark` - 4. */
function concat(head: Uint8Array, elements: Uint8Array, mark: number): Uint8Array {
  const body = new Uint8Array(head.length + elements.length)
  body.set(head)
  body.set(elements, head.length)
  new DataView(body.buffer).setUint16(mark - 4, elements.length + 4, true)
  return body
}

function writePackedHead(view: DataView, at: number, elementBytes: number, addressBytes: 4 | 16): void {
  view.setUint16(at, elementBytes, true)
  view.setUint16(at + 2, attributes.data | nested, true)
  view.setUint16(at + 4, 8 + addressBytes, true)
  view.setUint16(at + 6, dataAttributes.ip | nested, true)
  view.setUint16(at + 8, 4 + addressBytes, true)
  view.setUint16(at + 10, (addressBytes === 4 ? addressAttributes.ipv4 : addressAttributes.ipv6) | networkOrder, true)
}

function writePackedCidr(view: DataView, at: number, length: number): void {
  view.setUint16(at, 5, true)
  view.setUint16(at + 2, dataAttributes.cidr, true)
  view.setUint8(at + 4, length)
}
