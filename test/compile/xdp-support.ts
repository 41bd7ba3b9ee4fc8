// What the XDP builder tests share: random address lists, the naive answer, and the program's lookup in TypeScript.
import { maskPrefix } from '../../src/model/addr.ts'
import type { Family, Prefix } from '../../src/model/addr.ts'
import type { AddressList } from '../../src/model/settings.ts'
import type { EarlyPlan } from '../../src/compile/plan.ts'
import { bitOf6 } from '../../src/compile/xdp/bitmap.ts'
import type { XdpImage } from '../../src/compile/xdp/image.ts'
import { layout, records } from '../../src/compile/xdp/layout.ts'
import { hash16, hash4, hash6, homeLine } from '../../src/compile/xdp/lines.ts'
import type { Random } from '../support/random.ts'

/** Few distinct bits, so that prefixes nest and collide often. */
export function randomAddr(random: Random, family: Family): bigint {
  if (family === 'ipv4') {
    return random.chance(0.7) ? 0xc0000200n + BigInt(random.between(0, 1023)) : BigInt(random.between(0, 0xffffffff))
  }
  const low = random.chance(0.5) ? BigInt(random.between(0, 7)) : BigInt(random.between(0, 0xffffffff))
  const middle = BigInt(random.between(0, 3)) << BigInt(random.pick([64, 72, 80, 84]))
  return (0x20010db8n << 96n) | middle | (BigInt(random.between(0, 3)) << 32n) | low
}

export function randomPrefix(random: Random, family: Family): Prefix {
  const lengths: readonly number[] = family === 'ipv4' ? [32, 32, 32, 31, 29, 24, 24, 22, 16, 8] : [128, 128, 127, 96, 65, 64, 64, 63, 56, 48, 47, 32, 20]
  const length = random.chance(0.05) ? random.between(0, family === 'ipv4' ? 32 : 128) : random.pick(lengths)
  return maskPrefix(family, randomAddr(random, family), length)
}

export function wordsOf(addr: bigint): number[] {
  return [96n, 64n, 32n, 0n].map((shift) => Number((addr >> shift) & 0xffffffffn))
}

export const noEarly: EarlyPlan = { panic: false, allow: [], failsafePorts: [], deny: [] }

export function allowOf(prefix: Prefix): EarlyPlan['allow'][number] {
  return { prefix, rule: 'never-block', origin: { layer: 'admin', text: 'never-block' } }
}

/** A list in one pass over its arrays. */
export function listHas(list: AddressList, family: Family, addr: bigint): boolean {
  if (family === 'ipv4') {
    return list.lengths4.some((length, at) => maskPrefix('ipv4', addr, length).addr === BigInt(list.addrs4[at]!))
  }
  return list.lengths6.some((length, at) => {
    const masked = wordsOf(maskPrefix('ipv6', addr, length).addr)
    return masked.every((word, index) => word === list.addrs6[at * 4 + index])
  })
}

/** `allow`, the index of the first list that holds the address, or null: what lists mean, without any cleverness. */
export function naiveClass(early: EarlyPlan, family: Family, addr: bigint): 'allow' | number | null {
  const allowed = early.allow.some(({ prefix }) => prefix.family === family && maskPrefix(family, addr, prefix.length).addr === prefix.addr)
  if (allowed) return 'allow'
  const index = early.deny.findIndex(({ list }) => listHas(list, family, addr))
  return index < 0 ? null : index
}

/** What dp_class_of_source4/6 finds in an image. */
export function imageClass(image: XdpImage, family: Family, addr: bigint): 'allow' | number | null {
  const found = family === 'ipv4' ? lookup4(image, Number(addr)) : lookup6(image, wordsOf(addr))
  return found === 0 ? null : found === 1 ? 'allow' : found - 2
}

interface Lookup {
  readonly words: Uint32Array
  readonly halves: Uint16Array
  readonly bytes: Uint8Array
  readonly salt: number
  readonly bitmapPages: number
  readonly maskPages: number
  readonly regions: readonly { readonly length: number; readonly first: number; readonly lines: number }[]
}

function open(image: XdpImage, family: Family): Lookup {
  const { record, pages } = image.tables[family]
  const [count, salt, bitmapPages, maskPages] = new Uint32Array(record.buffer, record.byteOffset, 4)
  const regions = Array.from({ length: count! }, (_, index) => {
    const [length, first, lines] = new Uint32Array(record.buffer, record.byteOffset + records.dp_table.region + index * records.dp_region.size, 3)
    return { length: length!, first: first!, lines: lines! }
  })
  const words = new Uint32Array(pages.buffer, pages.byteOffset, pages.length / 4)
  const halves = new Uint16Array(pages.buffer, pages.byteOffset, pages.length / 2)
  return { words, halves, bytes: pages, salt: salt!, bitmapPages: bitmapPages!, maskPages: maskPages!, regions }
}

function probe(table: Lookup, home: number, key: readonly number[], keys: number, classAt: number, spillAt: number): number {
  const spill = table.words[home * 16 + spillAt]!
  for (let line = home; line <= home + spill; line++) {
    for (let slot = 0; slot < keys; slot++) {
      const same = key.every((word, index) => table.words[line * 16 + slot * key.length + index] === word >>> 0)
      const found = table.halves[line * 32 + classAt + slot]!
      if (same && found !== 0) return found
    }
  }
  return 0
}

function lookup4(image: XdpImage, addr: number): number {
  const table = open(image, 'ipv4')
  const bit = addr >>> 8
  if (table.bitmapPages > 0 && !((table.bytes[bit >>> 3]! >> (bit & 7)) & 1)) return 0
  const lengths = table.maskPages > 0 ? table.words[(table.bitmapPages * layout.PAGE_BYTES) / 4 + (addr >>> 16)]! : 0xffffffff
  for (const region of table.regions) {
    if (region.length > 0 && !((lengths >>> (region.length - 1)) & 1)) continue
    const key = Number(maskPrefix('ipv4', BigInt(addr), region.length).addr)
    const found = probe(table, homeLine(region, hash4(key, table.salt)), [key], layout.LINE4_KEYS, 20, 15)
    if (found !== 0) return found
  }
  return 0
}

function lookup6(image: XdpImage, addr: readonly number[]): number {
  const table = open(image, 'ipv6')
  const bit = bitOf6(addr[0]!, addr[1]!, table.salt)
  const inBitmap = table.bitmapPages === 0 || ((table.bytes[bit >>> 3]! >> (bit & 7)) & 1) === 1
  const whole = addr.reduce((sum, word) => (sum << 32n) | BigInt(word), 0n)
  for (const region of table.regions) {
    if (!inBitmap && region.length >= layout.BITMAP_LENGTH6) continue
    const key = wordsOf(maskPrefix('ipv6', whole, region.length).addr)
    const [w0, w1, w2, w3] = key as [number, number, number, number]
    const found = region.length <= layout.SHORT_LENGTH6
      ? probe(table, homeLine(region, hash6(w0, w1, table.salt)), [w0, w1], layout.LINE6_KEYS, 24, 15)
      : probe(table, homeLine(region, hash16(w0, w1, w2, w3, table.salt)), key, layout.LINE16_KEYS, 24, 14)
    if (found !== 0) return found
  }
  return 0
}
