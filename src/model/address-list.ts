// Looking things up in a packed address list. Building one from text is in src/lists.
import type { Family, Prefix } from './addr.ts'
import { maskPrefix } from './addr.ts'
import type { AddressList } from './settings.ts'

/** Which prefix lengths a list has, per family: a lookup probes only those. Made once for a list. */
const lengthsOf = new WeakMap<AddressList, Readonly<Record<Family, readonly number[]>>>()

function prefixLengths(list: AddressList): Readonly<Record<Family, readonly number[]>> {
  const known = lengthsOf.get(list)
  if (known !== undefined) return known
  const distinct = (lengths: Uint8Array): number[] => {
    const seen = new Uint8Array(129)
    for (let index = 0; index < lengths.length; index++) seen[lengths[index]!] = 1
    return [...seen.keys()].filter((length) => seen[length] === 1)
  }
  const found = { ipv4: distinct(list.lengths4), ipv6: distinct(list.lengths6) }
  lengthsOf.set(list, found)
  return found
}

/** Negative, zero or positive as entry `index` comes before, is, or comes after the prefix. */
function compare4(list: AddressList, index: number, addr: number, length: number): number {
  return list.addrs4[index]! - addr || list.lengths4[index]! - length
}

function compare6(list: AddressList, index: number, words: readonly number[], length: number): number {
  const at = index * 4
  return list.addrs6[at]! - words[0]! || list.addrs6[at + 1]! - words[1]! || list.addrs6[at + 2]! - words[2]! ||
    list.addrs6[at + 3]! - words[3]! || list.lengths6[index]! - length
}

/** Four host-order u32 words, most significant first. */
export function words6(addr: bigint): readonly [number, number, number, number] {
  return [Number(addr >> 96n), Number((addr >> 64n) & 0xffffffffn), Number((addr >> 32n) & 0xffffffffn), Number(addr & 0xffffffffn)]
}

function has(list: AddressList, prefix: Prefix): boolean {
  const is4 = prefix.family === 'ipv4'
  const addr = is4 ? Number(prefix.addr) : 0
  const words = is4 ? [] : words6(prefix.addr)
  let low = 0
  let high = (is4 ? list.lengths4.length : list.lengths6.length) - 1
  while (low <= high) {
    const middle = (low + high) >>> 1
    const order = is4 ? compare4(list, middle, addr, prefix.length) : compare6(list, middle, words, prefix.length)
    if (order === 0) return true
    if (order < 0) low = middle + 1
    else high = middle - 1
  }
  return false
}

/** The shortest prefix of the list that contains the address, or null. Needs the order that AddressList promises. */
export function listPrefixOf(list: AddressList, family: Family, addr: bigint): Prefix | null {
  for (const length of prefixLengths(list)[family]) {
    const prefix = maskPrefix(family, addr, length)
    if (has(list, prefix)) return prefix
  }
  return null
}

export function listContains(list: AddressList, family: Family, addr: bigint): boolean {
  return listPrefixOf(list, family, addr) !== null
}

/** Entries of both families. */
export function listSize(list: AddressList): number {
  return list.lengths4.length + list.lengths6.length
}

/** IPv4 first, each family in order. For small lists and tests; whoever has a million reads the arrays. */
export function* listPrefixes(list: AddressList): Generator<Prefix> {
  for (let index = 0; index < list.lengths4.length; index++) {
    yield { family: 'ipv4', addr: BigInt(list.addrs4[index]!), length: list.lengths4[index]! }
  }
  for (let index = 0; index < list.lengths6.length; index++) {
    let addr = 0n
    for (let word = 0; word < 4; word++) addr = (addr << 32n) | BigInt(list.addrs6[index * 4 + word]!)
    yield { family: 'ipv6', addr, length: list.lengths6[index]! }
  }
}
