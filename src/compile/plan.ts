// The Plan: what the kernel should hold, in words of no particular tool. compile.ts makes it from a Firewall,
// compile/netfilter prints it for iptables and ipset, compile/xdp turns its `early` part into map images.
import { families } from '../model/addr.ts'
import type { Family, Prefix } from '../model/addr.ts'
import type { Effect, Limit, PacketType, PortMatch, PortProtocol, PortRange, RejectType } from '../model/firewall.ts'
import type { DirectSettings } from '../model/direct.ts'
import type { TimedEdit } from '../model/change.ts'
import type { AddressList, Origin, XdpMode } from '../model/settings.ts'

/** Families are words of a plan: who reads plans need not know the model. */
export { families }
export type { Family, TimedEdit }

/**
 * What a set holds. Families need two sets, so `family` is null only for `port` and `mac`.
 * `interface` = names of interfaces, as ipset elements (`0.0.0.0/0,eth0`), asked for where a packet came in.
 */
export type SetKind = 'prefix' | 'prefix-port' | 'port' | 'mac' | 'interface' | 'user'

/**
 * A set that rules refer to by `role`. The role is stable ("zone:public:tcp", "zone:public:sources4", "list:bad:4");
 * which kernel set carries it (two slots a role) is decided by the diff.
 */
export interface PlanSet {
  /** Unique in the plan. */
  readonly role: string
  readonly kind: SetKind
  readonly family: Family | null
  /** Equal digests mean equal content; the only thing compared for big sets. */
  readonly digest: string
  readonly elements: SetElements
  /** Sets that count by element: whose packets those of each element are. The same elements as `elements`. */
  readonly owners?: ReadonlyMap<string, string>
  /** `digest` says how the content came to be, not what it is: {@link canonicalSet} is what another run would make of it. */
  readonly derived?: true
  /** How it differs from the set with the digest `from`, where it was made of that one by a single change. */
  readonly step?: { readonly from: string; readonly add: readonly string[]; readonly remove: readonly string[] }
  /** Its elements go by themselves at that time of the monotonic clock, and nobody misses them. */
  readonly expiresAtMs?: number
  /** For `port` sets: which rule each port belongs to. Sorted, disjoint; the same ports as `elements`. */
  readonly portRules?: readonly PortRule[]
  /** Set type and create options for `user` sets, as firewalld's definition says. */
  readonly user?: { readonly name: string; readonly type: string; readonly options: Readonly<Record<string, string>> }
}

/** Ports of one rule in a `port` set; its packets are counted for `rule`. */
export interface PortRule {
  readonly first: number
  readonly last: number
  readonly rule: string
}

export type SetElements =
  /** Canonical element text as ipset takes it, sorted. `count` = how many, where that can be said without reading them. */
  | { readonly kind: 'text'; readonly entries: readonly string[]; readonly count?: number }
  /** A packed list; the family of the set says which half. */
  | { readonly kind: 'list'; readonly list: AddressList }

export type PlanMatch =
  | { readonly kind: 'family'; readonly family: Family }
  | { readonly kind: 'in-interface'; readonly name: string; readonly wildcard: boolean }
  | { readonly kind: 'out-interface'; readonly name: string; readonly wildcard: boolean }
  | { readonly kind: 'source-prefix'; readonly prefix: Prefix; readonly invert: boolean }
  | { readonly kind: 'destination-prefix'; readonly prefix: Prefix; readonly invert: boolean }
  | { readonly kind: 'source-mac'; readonly mac: string; readonly invert: boolean }
  /** `side` says which part of the packet is looked up in the set of that role. */
  | { readonly kind: 'set'; readonly role: string; readonly side: 'source' | 'destination'; readonly invert: boolean }
  /** Destination port in a `port` set. */
  | { readonly kind: 'port-set'; readonly role: string; readonly protocol: PortProtocol; readonly side: 'source' | 'destination' }
  | { readonly kind: 'port'; readonly protocol: PortProtocol; readonly side: 'source' | 'destination'; readonly ports: PortRange }
  | { readonly kind: 'protocol'; readonly number: number }
  | { readonly kind: 'icmp'; readonly type: number; readonly code: number | null }
  | { readonly kind: 'any-icmp' }
  | { readonly kind: 'state'; readonly states: readonly ('new' | 'established' | 'related' | 'invalid' | 'untracked')[] }
  | { readonly kind: 'dnat' }
  /** Where a connection with a rewritten destination was going. */
  | { readonly kind: 'original-destination'; readonly prefix: Prefix; readonly invert: boolean }
  | { readonly kind: 'original-port'; readonly protocol: PortProtocol; readonly ports: PortRange }
  /** The interface it came in or goes out by is in the set: for many of them, and for hooks where iptables has no word for the name. */
  | { readonly kind: 'interface-set'; readonly role: string; readonly side: 'source' | 'destination' }
  /** The destination is an address of this host. */
  | { readonly kind: 'local-destination' }
  /** The source is an address of this host. */
  | { readonly kind: 'local-source' }
  | { readonly kind: 'limit'; readonly limit: Limit }
  | { readonly kind: 'packet-type'; readonly type: PacketType }
  /** The packet bears just that mark, unsigned 32 bits. */
  | { readonly kind: 'mark'; readonly value: number }
  /** The packets that announce a segment size: SYN, of both sides. */
  | { readonly kind: 'tcp-syn' }
  /** No way back to the sender by the interface the packet came from; `loose`: by any. */
  | { readonly kind: 'no-way-back'; readonly loose: boolean }

export type PlanVerdict =
  | { readonly kind: 'accept' }
  | { readonly kind: 'drop' }
  | { readonly kind: 'reject'; readonly type: RejectType }
  /** Continue in that chain; its end is the end of the hook (never returns). */
  | { readonly kind: 'goto'; readonly chain: string }
  /** Continue in that chain and come back. */
  | { readonly kind: 'jump'; readonly chain: string }
  | { readonly kind: 'return' }
  /** Done, and the next rule is asked. */
  | Effect
  /** The three below only in nat hooks; they end them. */
  | { readonly kind: 'redirect'; readonly ports: PortRange }
  | { readonly kind: 'destination-nat'; readonly family: Family; readonly addr: bigint; readonly ports: PortRange | null }
  | { readonly kind: 'masquerade' }

export interface PlanRule {
  /** Counter identity; several plan rules of one model rule share it and their counters add up. "" = not counted. */
  readonly id: string
  readonly match: readonly PlanMatch[]
  readonly verdict: PlanVerdict
  readonly origin?: Origin
}

/** `name` is logical ("input", "zone:public:input"); the renderer turns it into a chain name. */
export interface PlanChain {
  readonly name: string
  readonly rules: readonly PlanRule[]
}

/**
 * early-* see every packet before connection tracking, and then helpers what arrives; prerouting sees what arrives after it and
 * before routing; input, forward and output judge after it and before foreign filters; nat-* see the first packet of a
 * connection: nat-incoming before routing, nat-local what this host sends, nat-leaving last of all.
 */
export type Hook =
  | 'early-input' | 'early-output' | 'helpers' | 'prerouting' | 'input' | 'forward' | 'output' | 'nat-incoming' | 'nat-local' | 'nat-leaving'

/** What is decided before anything else, in XDP where it is attached: DATAPLANE.md §2.3 rows 1–5 and the allow class. */
export interface EarlyPlan {
  readonly panic: boolean
  readonly allow: readonly { readonly prefix: Prefix; readonly rule: string; readonly origin: Origin }[]
  readonly failsafePorts: readonly PortMatch[]
  /** Dropped sources, in order; `rule` is the counter identity. */
  readonly deny: readonly { readonly list: AddressList; readonly rule: string }[]
}

/** Which zone a new packet from an interface would be in by its interface alone: shown in events. */
export interface Plan {
  readonly sets: readonly PlanSet[]
  readonly chains: readonly PlanChain[]
  readonly hooks: readonly { readonly hook: Hook; readonly chain: string }[]
  readonly early: EarlyPlan
  /** Families in which the kernel must forward packets; others stay as they are. Absent = none. */
  readonly forwarding?: readonly Family[]
  /** Interfaces bound to zones, for XDP attachment; wildcards are resolved by the edge against existing links. */
  readonly interfaces: readonly { readonly name: string; readonly wildcard: boolean; readonly zone: string }[]
  readonly defaultZone: string
  /** What clients put beside our rules, as they said it. Absent = nothing. */
  readonly direct?: DirectSettings
  /** Where XDP may go: `mode` for interfaces that `interfaces` does not name. Absent = auto everywhere. */
  readonly xdp?: { readonly mode: XdpMode; readonly interfaces: Readonly<Record<string, XdpMode>> }
}
