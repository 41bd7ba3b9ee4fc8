// Growing, sorting and naming packed address lists: typed arrays in, an AddressList out. Texts are parse.ts' business.
import { createHash } from 'node:crypto'
import type { AddressList } from '../model/settings.ts'

/** Collects prefixes in any order; host bits must be zero already. */
export class PrefixBuffer {
  addrs4 = new Uint32Array(1024)
  lengths4 = new Uint8Array(1024)
  count4 = 0
  addrs6 = new Uint32Array(1024)
  lengths6 = new Uint8Array(256)
  count6 = 0

  push4(addr: number, length: number): void {
    if (this.count4 === this.lengths4.length) {
      this.addrs4 = grown(this.addrs4, new Uint32Array(this.count4 * 2))
      this.lengths4 = grown(this.lengths4, new Uint8Array(this.count4 * 2))
    }
    this.addrs4[this.count4] = addr
    this.lengths4[this.count4++] = length
  }

  push6(word0: number, word1: number, word2: number, word3: number, length: number): void {
    if (this.count6 === this.lengths6.length) {
      this.addrs6 = grown(this.addrs6, new Uint32Array(this.count6 * 8))
      this.lengths6 = grown(this.lengths6, new Uint8Array(this.count6 * 2))
    }
    const at = this.count6 * 4
    this.addrs6[at] = word0
    this.addrs6[at + 1] = word1
    this.addrs6[at + 2] = word2
    this.addrs6[at + 3] = word3
    this.lengths6[this.count6++] = length
  }
}

function grown<T extends Uint32Array | Uint8Array>(old: T, bigger: T): T {
  bigger.set(old)
  return bigger
}

/** Sorted by (addr, length), without duplicates. Address and length together fit a double exactly: 32 + 6 bits. */
function sorted4(buffer: PrefixBuffer): { readonly addrs4: Uint32Array; readonly lengths4: Uint8Array } {
  const count = buffer.count4
  const keys = new Float64Array(count)
  let inOrder = true
  for (let index = 0; index < count; index++) {
    const key = buffer.addrs4[index]! * 64 + buffer.lengths4[index]!
    keys[index] = key
    if (index > 0 && key <= keys[index - 1]!) inOrder = false
  }
  if (!inOrder) keys.sort()
  const addrs4 = new Uint32Array(count)
  const lengths4 = new Uint8Array(count)
  let kept = 0
  let last = -1
  for (let index = 0; index < count; index++) {
    const key = keys[index]!
    if (key === last) continue
    last = key
    const addr = Math.floor(key / 64)
    addrs4[kept] = addr
    lengths4[kept++] = key - addr * 64
  }
  return { addrs4: addrs4.slice(0, kept), lengths4: lengths4.slice(0, kept) }
}

/** One stable pass by 16 bits of a key; false = that digit is the same everywhere, nothing was done. */
function radixPass(keys: Uint32Array | Uint8Array, stride: number, offset: number, shift: number, from: Uint32Array, to: Uint32Array): boolean {
  const count = from.length
  const starts = new Uint32Array(65536)
  for (let at = offset; at < count * stride; at += stride) starts[(keys[at]! >>> shift) & 0xffff]!++
  if (starts[(keys[offset]! >>> shift) & 0xffff] === count) return false
  for (let value = 0, sum = 0; value < 65536; value++) {
    const here = starts[value]!
    starts[value] = sum
    sum += here
  }
  for (let index = 0; index < count; index++) {
    const entry = from[index]!
    const digit = (keys[entry * stride + offset]! >>> shift) & 0xffff
    to[starts[digit]!] = entry
    starts[digit]!++
  }
  return true
}

/** The order of the entries by (addr, length): least significant digit first. */
function order6(words: Uint32Array, lengths: Uint8Array, count: number): Uint32Array {
  let order = new Uint32Array(count)
  for (let index = 0; index < count; index++) order[index] = index
  let spare = new Uint32Array(count)
  const pass = (keys: Uint32Array | Uint8Array, stride: number, offset: number, shift: number): void => {
    if (radixPass(keys, stride, offset, shift, order, spare)) [order, spare] = [spare, order]
  }
  pass(lengths, 1, 0, 0)
  for (let word = 3; word >= 0; word--) {
    pass(words, 4, word, 0)
    pass(words, 4, word, 16)
  }
  return order
}

function sorted6(buffer: PrefixBuffer): { readonly addrs6: Uint32Array; readonly lengths6: Uint8Array } {
  const { addrs6: words, lengths6: lengths, count6: count } = buffer
  const compare = (a: number, b: number): number =>
    words[a * 4]! - words[b * 4]! || words[a * 4 + 1]! - words[b * 4 + 1]! || words[a * 4 + 2]! - words[b * 4 + 2]! ||
    words[a * 4 + 3]! - words[b * 4 + 3]! || lengths[a]! - lengths[b]!
  // Nine passes with 65,536 counters each pay from a few thousand entries on.
  const order = count < 4096 ? Uint32Array.from({ length: count }, (_, index) => index).sort(compare) : order6(words, lengths, count)
  const addrs6 = new Uint32Array(count * 4)
  const lengths6 = new Uint8Array(count)
  let kept = 0
  for (let index = 0; index < count; index++) {
    const entry = order[index]!
    if (index > 0 && compare(order[index - 1]!, entry) === 0) continue
    const to = kept * 4
    const from = entry * 4
    addrs6[to] = words[from]!
    addrs6[to + 1] = words[from + 1]!
    addrs6[to + 2] = words[from + 2]!
    addrs6[to + 3] = words[from + 3]!
    lengths6[kept++] = lengths[entry]!
  }
  return { addrs6: addrs6.slice(0, kept * 4), lengths6: lengths6.slice(0, kept) }
}

const bytesOf = (array: Uint32Array | Uint8Array): Uint8Array => new Uint8Array(array.buffer, array.byteOffset, array.byteLength)

/** The list of what was pushed. The digest covers the content and neither name nor file: equal lists share one file on disk. */
export function finishList(name: string, file: string, buffer: PrefixBuffer): AddressList {
  const { addrs4, lengths4 } = sorted4(buffer)
  const { addrs6, lengths6 } = sorted6(buffer)
  const hash = createHash('sha256').update(`derpanet list 1 ${lengths4.length} ${lengths6.length}\n`)
  for (const part of [addrs4, lengths4, addrs6, lengths6]) hash.update(bytesOf(part))
  return { name, file, digest: hash.digest('hex'), addrs4, lengths4, addrs6, lengths6 }
}
