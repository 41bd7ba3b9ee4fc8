// ICMP types: which numbers a name stands for in each family.
import type { Family } from './addr.ts'
import type { IcmpTypeSettings } from './settings.ts'

export const icmpProtocol: Readonly<Record<Family, number>> = { ipv4: 1, ipv6: 58 }

/** [type, code]; code null = every code. */
export type IcmpNumber = readonly [number, number | null]

/** Empty when the type does not exist in that family, or nobody knows its number there. */
export function icmpNumbers(type: IcmpTypeSettings, family: Family): readonly IcmpNumber[] {
  if (type.destinations.length > 0 && !type.destinations.includes(family)) return []
  return type[family]
}
