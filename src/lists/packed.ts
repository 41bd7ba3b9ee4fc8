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

/** Least significant digit first, 16 bits a pass; a pass whose digit is the same everywhere is left out. */
function radixOrder(count: number, digits: readonly ((index: number) => number)[]): Uint32Array {
  let order = Uint32Array.from({ length: count }, (_, index) => index)
  let spare = new Uint32Array(count)
  const starts = new Uint32Array(65537)
  for (const digit of digits) {
    starts.fill(0)
    for (let index = 0; index < count; index++) starts[digit(index) + 1]!++
    if (count > 0 && starts[digit(0) + 1] === count) continue
    for (let value = 0; value < 65536; value++) starts[value + 1]! += starts[value]!
    for (let index = 0; index < count; index++) {
      const from = order[index]!
      spare[starts[digit(from)]!++] = from
    }
    ;[order, spare] = [spare, order]
  }
  return order
}

function sorted6(buffer: PrefixBuffer): { readonly addrs6: Uint32Array; readonly lengths6: Uint8Array } {
  const { addrs6: words, lengths6: lengths, count6: count } = buffer
  const compare = (a: number, b: number): number =>
    words[a * 4]! - words[b * 4]! || words[a * 4 + 1]! - words[b * 4 + 1]! || words[a * 4 + 2]! - words[b * 4 + 2]! ||
    words[a * 4 + 3]! - words[b * 4 + 3]! || lengths[a]! - lengths[b]!
  let order: Uint32Array
  if (count < 4096) {
    order = Uint32Array.from({ length: count }, (_, index) => index).sort(compare)
  } else {
    const digits: ((index: number) => number)[] = [(index) => lengths[index]!]
    for (let word = 3; word >= 0; word--) digits.push((index) => words[index * 4 + word]! & 0xffff, (index) => words[index * 4 + word]! >>> 16)
    order = radixOrder(count, digits)
  }
  const addrs6 = new Uint32Array(count * 4)
  const lengths6 = new Uint8Array(count)
  let kept = 0
  for (let index = 0; index < count; index++) {
    const from = order[index]!
    if (index > 0 && compare(order[index - 1]!, from) === 0) continue
    addrs6.set(words.subarray(from * 4, from * 4 + 4), kept * 4)
    lengths6[kept++] = lengths[from]!
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
