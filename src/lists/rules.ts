// Whether a new version of a list may be taken: lists come from elsewhere, and a broken download must not empty a
// firewall or cut the host off. (Too short prefixes are refused line by line in parse.ts.)
import type { Family } from '../model/addr.ts'
import { formatAddr } from '../model/addr.ts'
import { listPrefixOf, listSize } from '../model/address-list.ts'
import { formatPrefix } from '../model/addr.ts'
import type { AddressList } from '../model/settings.ts'

/** An address of the host, its gateway or a DNS server, with what it is: `the gateway`. */
export interface HostAddress {
  readonly family: Family
  readonly addr: bigint
  readonly what: string
}

export type ListVerdict =
  | { readonly kind: 'take' }
  /** The file is wrong: `address` is in the list and must not be. */
  | { readonly kind: 'refuse'; readonly address: HostAddress; readonly text: string }
  /** The version in force stays. */
  | { readonly kind: 'keep-old'; readonly text: string }

/** Sizes of the difference: entries only in `before`, only in `after`. Linear: both are sorted. */
export function listDifference(before: AddressList, after: AddressList): { readonly removed: number; readonly added: number } {
  let common = 0
  for (let left = 0, right = 0; left < before.lengths4.length && right < after.lengths4.length;) {
    const order = before.addrs4[left]! - after.addrs4[right]! || before.lengths4[left]! - after.lengths4[right]!
    if (order === 0) common++
    if (order <= 0) left++
    if (order >= 0) right++
  }
  for (let left = 0, right = 0; left < before.lengths6.length && right < after.lengths6.length;) {
    const a = left * 4
    const b = right * 4
    const order = before.addrs6[a]! - after.addrs6[b]! || before.addrs6[a + 1]! - after.addrs6[b + 1]! ||
      before.addrs6[a + 2]! - after.addrs6[b + 2]! || before.addrs6[a + 3]! - after.addrs6[b + 3]! ||
      before.lengths6[left]! - after.lengths6[right]!
    if (order === 0) common++
    if (order <= 0) left++
    if (order >= 0) right++
  }
  return { removed: listSize(before) - common, added: listSize(after) - common }
}

/**
 * `previous` is the version in force, undefined where there is none (then size and change do not matter). More than half
 * changed: what was removed and what was added is together more than half of the larger version. `forced` waives the
 * comparison, never the host's own addresses.
 */
export function judgeList(
  next: AddressList, previous: AddressList | undefined, hostAddresses: readonly HostAddress[], forced: boolean,
): ListVerdict {
  for (const address of hostAddresses) {
    const prefix = listPrefixOf(next, address.family, address.addr)
    if (prefix === null) continue
    const text = `${formatPrefix(prefix)} contains ${formatAddr(address.family, address.addr)}, ${address.what}`
    return { kind: 'refuse', address, text }
  }
  if (forced || previous === undefined || previous.digest === next.digest || listSize(previous) === 0) return { kind: 'take' }
  if (listSize(next) === 0) return { kind: 'keep-old', text: `the list is empty now, the ${listSize(previous)} entries in force stay until it is forced (derpanetctl reload --force-lists)` }
  const { removed, added } = listDifference(previous, next)
  if ((removed + added) * 2 <= Math.max(listSize(previous), listSize(next))) return { kind: 'take' }
  return {
    kind: 'keep-old',
    text: `more than half changed (${removed} removed, ${added} added), the ${listSize(previous)} entries in force stay until it is forced (derpanetctl reload --force-lists)`,
  }
}
