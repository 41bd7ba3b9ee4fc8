// A packed address list on disk, named by its content: header line, the four arrays, SHA-256 of all before it.
import { createHash } from 'node:crypto'
import type { AddressList } from '../model/settings.ts'

const magic = 'derpanet-list 1'
const digestBytes = 32

interface Header {
  readonly name: string
  readonly file: string
  readonly digest: string
  readonly count4: number
  readonly count6: number
}

/** Parts of the file in order; little-endian as every machine we run on. */
export function encodeList(list: AddressList): readonly Uint8Array[] {
  const header: Header = { name: list.name, file: list.file, digest: list.digest, count4: list.lengths4.length, count6: list.lengths6.length }
  const parts = [
    Buffer.from(`${magic} ${JSON.stringify(header)}\n`), bytesOf(list.addrs4), bytesOf(list.lengths4), bytesOf(list.addrs6), bytesOf(list.lengths6),
  ]
  const hash = createHash('sha256')
  for (const part of parts) hash.update(part)
  return [...parts, hash.digest()]
}

/** Throws an Error that says what is wrong; never returns a list that differs from the one written. */
export function decodeList(bytes: Uint8Array, digest: string): AddressList {
  const body = bytes.subarray(0, bytes.length - digestBytes)
  const actual = createHash('sha256').update(body).digest()
  if (bytes.length < digestBytes || !actual.equals(bytes.subarray(bytes.length - digestBytes))) throw new Error('checksum differs')
  const lineEnd = body.indexOf(10)
  const line = Buffer.from(body.subarray(0, lineEnd)).toString('utf8')
  if (!line.startsWith(`${magic} `)) throw new Error('not a list of this format')
  const header = JSON.parse(line.slice(magic.length + 1)) as Header
  if (header.digest !== digest) throw new Error('the file holds another list')
  const { count4, count6 } = header
  if (body.length !== lineEnd + 1 + count4 * 5 + count6 * 17) throw new Error('length and counts disagree')
  let at = lineEnd + 1
  const take = (byteLength: number): Uint8Array => {
    // A copy: typed arrays of words need alignment, and the file's buffer need not stay in memory.
    const part = new Uint8Array(body.subarray(at, at + byteLength))
    at += byteLength
    return part
  }
  const words = (count: number): Uint32Array => {
    const part = take(count * 4)
    return new Uint32Array(part.buffer, part.byteOffset, count)
  }
  const addrs4 = words(count4)
  const lengths4 = take(count4)
  const addrs6 = words(count6 * 4)
  const lengths6 = take(count6)
  if (lengths4.some((length) => length > 32) || lengths6.some((length) => length > 128)) throw new Error('a prefix length is out of range')
  return { name: header.name, file: header.file, digest, addrs4, lengths4, addrs6, lengths6 }
}

function bytesOf(array: Uint32Array | Uint8Array): Uint8Array {
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength)
}
