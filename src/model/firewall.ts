// The Firewall: the whole resolved configuration, immutable. Every name is looked up, every rule is in the order in
// which it decides. Three interpreters read it: the oracle (model/oracle.ts), the ruleset and the XDP program.
import type { DirectSettings } from './direct.ts'
import type { AddressList, LogDenied, Origin, Published, XdpMode, ZoneTarget } from './settings.ts'
import type { Family, Prefix } from './addr.ts'

/** Inclusive, 0–65535, first ≤ last. */
export interface PortRange {
  readonly first: number
  readonly last: number
}

export type PortProtocol = 'tcp' | 'udp' | 'sctp' | 'dccp'

export type AddressMatch =
  | { readonly kind: 'prefix'; readonly prefix: Prefix; readonly invert: boolean }
  /** A user ipset by name. */
  | { readonly kind: 'ipset'; readonly name: string; readonly invert: boolean }
  /** An address list (`list:NAME`), both families. Source side only. */
  | { readonly kind: 'list'; readonly list: AddressList; readonly invert: boolean }
  /** Lower-case colon text. Source side only. */
  | { readonly kind: 'mac'; readonly mac: string; readonly invert: boolean }

export type ProtocolMatch =
  | { readonly kind: 'port'; readonly protocol: PortProtocol; readonly ports: PortRange }
  | { readonly kind: 'source-port'; readonly protocol: PortProtocol; readonly ports: PortRange }
  /** IP protocol number 0–255. */
  | { readonly kind: 'protocol'; readonly number: number }
  /** `code` null = every code. ICMP for ipv4, ICMPv6 for ipv6; the rule's `family` says which. */
  | { readonly kind: 'icmp'; readonly type: number; readonly code: number | null }
  /** Any ICMP (of the packet's family). */
  | { readonly kind: 'any-icmp' }

/** Every present part must match. An absent `family` means both. */
export interface Match {
  readonly family?: Family
  readonly source?: AddressMatch
  readonly destination?: AddressMatch
  readonly protocol?: ProtocolMatch
}

/**
 * How a reject answers. `default` = admin-prohibited of the packet's family.
 * The order is the number carried by the reject mark: append only.
 */
export const rejectTypes = [
  'admin-prohibited', 'net-unreachable', 'host-unreachable', 'port-unreachable', 'proto-unreachable', 'net-prohibited',
  'host-prohibited', 'tcp-reset', 'no-route', 'addr-unreachable',
] as const
export type RejectType = (typeof rejectTypes)[number]

export type Verdict =
  | { readonly kind: 'accept' }
  | { readonly kind: 'drop' }
  | { readonly kind: 'reject'; readonly type: RejectType }

/** `count` packets a `unit` (second, minute, hour, day) after the first `burst`; null = 5, as the kernel has it. */
export interface Limit {
  readonly count: number
  readonly unit: 's' | 'm' | 'h' | 'd'
  readonly burst: number | null
}

/** What is done with a packet that goes on afterwards. */
export type Effect =
  /** `level` "" = the kernel's own. `packetType` absent = all. */
  | { readonly kind: 'log'; readonly prefix: string; readonly level: string; readonly packetType?: PacketType }
  /** `threshold`: how many messages the kernel gathers before it sends them; null = its own number. */
  | { readonly kind: 'nflog'; readonly group: number; readonly prefix: string; readonly threshold: number | null }
  | { readonly kind: 'audit'; readonly decision: Verdict['kind'] }
  /** mark := mark & ~mask ^ value, unsigned 32 bits. */
  | { readonly kind: 'mark'; readonly value: number; readonly mask: number }
  /** The largest segment that a connection may announce; null = what the path takes. Concerns TCP's SYNs alone. */
  | { readonly kind: 'tcp-mss'; readonly bytes: number | null }
  /** Connections that it announces are related. `name` as the kernel calls it. */
  | { readonly kind: 'helper'; readonly name: string }

export type PacketType = 'unicast' | 'broadcast' | 'multicast'

/**
 * One decision of a zone or policy, or an effect after which the next rule is asked. `id` is stable across generations and
 * unique: counters hang on it. What exceeds `limit` does not match.
 */
export interface Rule {
  readonly id: string
  readonly match: Match
  readonly limit?: Limit
  /** Works no longer after that time of the monotonic clock (model/lease.ts). Absent = for ever. */
  readonly untilMs?: number
  readonly verdict: Verdict | Effect
  readonly origin: Origin
}

export type DecidingRule = Rule & { readonly verdict: Verdict }

export function isDeciding(rule: Rule): rule is DecidingRule {
  const { kind } = rule.verdict
  return kind === 'accept' || kind === 'drop' || kind === 'reject'
}

/** What becomes of the addresses of a new connection; its answers are turned back by the kernel. */
export type Translation =
  /** To this host itself: the first address of the interface that it came by. */
  | { readonly kind: 'redirect'; readonly ports: PortRange }
  /** To another host. `ports` null = the port stays. A range takes the port as it is, or any of the range if it is not in it. */
  | { readonly kind: 'destination'; readonly family: Family; readonly addr: bigint; readonly ports: PortRange | null }
  /** The sender becomes the first address of the interface that it leaves by. */
  | { readonly kind: 'masquerade' }

/** First match translates; only new connections are asked. `id` as of a {@link Rule}. */
export interface NatRule {
  readonly id: string
  readonly match: Match
  /** What is written down before. Absent = nothing. */
  readonly records?: readonly Rule[]
  readonly translation: Translation
  readonly origin: Origin
}

/** `name` without the trailing `+`; `wildcard` = every interface that starts with it. */
export interface InterfaceMatch {
  readonly name: string
  readonly wildcard: boolean
  readonly origin: Origin
}

export interface SourceMatch {
  readonly match: AddressMatch
  readonly origin: Origin
}

export interface Zone {
  readonly name: string
  readonly target: ZoneTarget
  readonly ingressPriority: number
  readonly egressPriority: number
  readonly interfaces: readonly InterfaceMatch[]
  readonly sources: readonly SourceMatch[]
  /** Packets between two interfaces or sources of this zone pass. */
  readonly forward: boolean
  /** For packets to this host, first match decides; without a match {@link targetRules} do. */
  readonly rules: readonly Rule[]
  /** For packets to this host that no rule decided: the last one matches everything. */
  readonly targetRules: readonly Rule[]
  /** Decides packets forwarded from this zone that `forward` does not let pass. ACCEPT → accept, DROP → drop, else reject. */
  readonly forwardRule: DecidingRule
  /** Effects on packets that would be forwarded from this zone, asked before anything decides. Absent = none. */
  readonly forwardEffects?: readonly Rule[]
  /** Marks that packets from this zone get, known connections or not, before anything is decided. Absent = none. */
  readonly marks?: readonly Rule[]
  /** Connection helpers for packets from this zone, asked before connection tracking. Absent = none. */
  readonly helpers?: readonly Rule[]
  /** What is written down where {@link forwardRule} denies. Absent = nothing. */
  readonly forwardLog?: Rule
  /** Forward-ports, for whatever comes in by this zone, wherever it was going. */
  readonly destinationNat: readonly NatRule[]
  /** Masquerading of what leaves by this zone, except through lo. */
  readonly sourceNat: readonly NatRule[]
  readonly origin: Origin
}

/** One side of a policy. `any` is every zone, but not this host. */
export type PolicySide =
  | { readonly kind: 'any' }
  | { readonly kind: 'host' }
  | { readonly kind: 'zones'; readonly zones: readonly string[] }

/** Decides packets from its ingress to its egress side, before (negative priority) or after the rules of the ingress zone. */
export interface Policy {
  readonly name: string
  /** Not 0. */
  readonly priority: number
  readonly ingress: PolicySide
  readonly egress: PolicySide
  /** First match decides; without a match the packet goes on. A target other than CONTINUE is the last rule. */
  readonly rules: readonly Rule[]
  /** Marks of packets from its ingress side; the outgoing side is known as for {@link destinationNat}. Absent = none. */
  readonly marks?: readonly Rule[]
  /** Connection helpers for packets from its ingress side, wherever they go. Absent = none. */
  readonly helpers?: readonly Rule[]
  /**
   * Asked before routing: the outgoing side is not known yet but for what source bindings say of the destination; with
   * egress `host` whatever comes in.
   */
  readonly destinationNat: readonly NatRule[]
  readonly sourceNat: readonly NatRule[]
  readonly origin: Origin
}

/** What brings a packet into a zone; in the order of decision (see resolve.ts). The default zone's `any` is last. */
export interface Binding {
  readonly zone: string
  readonly kind: 'source' | 'interface' | 'any'
  readonly source?: SourceMatch
  readonly interface?: InterfaceMatch
}

/** A user ipset. `family` null for hash:mac. Entries are canonical text in file order. */
export interface IpSet {
  readonly name: string
  readonly type: string
  readonly family: Family | null
  readonly options: Readonly<Record<string, string>>
  readonly entries: readonly string[]
  readonly origin: Origin
}

export interface PortMatch {
  readonly protocol: PortProtocol
  readonly ports: PortRange
  readonly origin: Origin
}

export interface Firewall {
  readonly defaultZone: string
  /** All zones, sorted by name. */
  readonly zones: ReadonlyMap<string, Zone>
  /** In the order of decision for the incoming side; one per zone and kind is NOT guaranteed, each source and interface has its own. */
  readonly ingress: readonly Binding[]
  /** The same for the outgoing side of forwarded packets (destination address, outgoing interface). */
  readonly egress: readonly Binding[]
  /** In force, in the order of decision. Zones go between negative and positive priorities. */
  readonly policies: readonly Policy[]
  /** Connections that somebody else gave another destination are not let in for that reason alone. */
  readonly strictForwardPorts: boolean
  /** What decides about ports that others publish by rewriting destinations: `zone` = the zone, as if they were this host's own. */
  readonly published: Published
  /** Families in which packets are sent on to other hosts: the kernel must forward them. */
  readonly forwarding: readonly Family[]
  readonly ipsets: ReadonlyMap<string, IpSet>
  /** Lists in force, in the order of `block`. */
  readonly blockLists: readonly AddressList[]
  readonly neverBlock: readonly { readonly prefix: Prefix; readonly origin: Origin }[]
  readonly failsafePorts: readonly PortMatch[]
  readonly panic: boolean
  readonly logDenied: LogDenied
  /** IPv6 packets whose sender has no way back: by the interface they came from (strict), by any (loose). Absent = off. */
  readonly reversePath?: 'strict' | 'loose' | 'off'
  /** IPv6 destinations that hide an IPv4 address which does not belong into the Internet are rejected (RFC 3964). */
  readonly rejectHiddenIpv4?: boolean
  /** Arguments of tools: what packets make of it is the tools' business. Absent = nothing. */
  readonly direct?: DirectSettings
  /** Where XDP may go; decides no packet. Absent = auto everywhere. */
  readonly xdp?: { readonly mode: XdpMode; readonly interfaces: Readonly<Record<string, XdpMode>> }
}
