// The two filters in front of the lines: "some prefix touches this /24" (IPv6: a hash of the /48) and "these prefix
// lengths occur in this /16". A clear bit ends a lookup; a set bit promises nothing.
import { layout, mix } from './layout.ts'

/** Sets `count` bits from bit `first` on. */
export function setBits(bitmap: Uint8Array, first: number, count: number): void {
  let bit = first
  const end = first + count
  while (bit < end && (bit & 7) !== 0) setBit(bitmap, bit++)
  const wholeBytes = (end - bit) >>> 3
  bitmap.fill(0xff, bit >>> 3, (bit >>> 3) + wholeBytes)
  bit += wholeBytes * 8
  while (bit < end) setBit(bitmap, bit++)
}

function setBit(bitmap: Uint8Array, bit: number): void {
  bitmap[bit >>> 3]! |= 1 << (bit & 7)
}

/** Marks every /24 that an IPv4 prefix touches. */
export function markPrefix4(bitmap: Uint8Array, addr: number, length: number): void {
  const bits = layout.BITMAP_BITS
  if (length >= bits) setBit(bitmap, addr >>> (32 - bits))
  else setBits(bitmap, addr >>> (32 - bits), 2 ** (bits - length))
}

/** Marks the length in the mask of every /16 that an IPv4 prefix touches. /0 has no bit: it is always probed. */
export function markLength4(masks: Uint32Array, addr: number, length: number): void {
  if (length === 0) return
  const bits = layout.MASK_BITS
  const bit = 1 << (length - 1)
  const first = addr >>> (32 - bits)
  const count = length >= bits ? 1 : 2 ** (bits - length)
  for (let index = first; index < first + count; index++) masks[index]! |= bit
}

/** Bit of the /48 that an address or a prefix of at least that length lies in. */
export function bitOf6(word0: number, word1: number, salt: number): number {
  return mix(mix(word0 ^ salt) ^ (word1 & 0xffff0000)) >>> (32 - layout.BITMAP_BITS)
}

export function markPrefix6(bitmap: Uint8Array, word0: number, word1: number, salt: number): void {
  setBit(bitmap, bitOf6(word0, word1, salt))
}
