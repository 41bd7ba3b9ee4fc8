// Settings: what a person wrote, checked and in canonical text, not yet resolved. One `Settings` is one whole
// configuration; the daemon holds two of them (permanent and runtime). The rows that describe each key
// (YAML name, D-Bus name, codec, manual text) are in src/settings.
import type { DirectSettings, LockdownSettings } from './direct.ts'

/** Where a thing was written. Lines and columns are 1-based. `runtime` things have no file. */
export interface Position {
  readonly line: number
  readonly column: number
}

/** builtin = in the program; shipped = /usr/lib/derpanet; vendor = /usr/lib/firewalld of other packages; admin = /etc/derpanet; runtime = by a bus call. */
export type Layer = 'builtin' | 'shipped' | 'vendor' | 'admin' | 'runtime'

/** Where a rule comes from, for people: `zones/public.yaml:7:5 services: ssh`. */
export interface Origin {
  readonly layer: Layer
  /** Absolute path; absent for builtin and runtime. */
  readonly file?: string
  readonly position?: Position
  /** What decided, in the words of the configuration: `zone public: service ssh`. */
  readonly text: string
}

export type ZoneTarget = 'default' | 'ACCEPT' | 'REJECT' | 'DROP'
export type PolicyTarget = 'CONTINUE' | 'ACCEPT' | 'REJECT' | 'DROP'

/** `port` is canonical: "80" or "6000-6010" (first < last). `protocol`: tcp udp sctp dccp. */
export interface PortSpec {
  readonly port: string
  readonly protocol: string
}

export interface ForwardPort {
  readonly port: string
  readonly protocol: string
  /** "" = unchanged. */
  readonly toPort: string
  /** "" = this host. */
  readonly toAddr: string
}

/** A zone, field by field as firewalld's zone file. Lists keep the order of insertion. */
export interface ZoneSettings {
  readonly version: string
  readonly short: string
  readonly description: string
  readonly target: ZoneTarget
  readonly services: readonly string[]
  readonly ports: readonly PortSpec[]
  readonly protocols: readonly string[]
  readonly sourcePorts: readonly PortSpec[]
  readonly icmpBlocks: readonly string[]
  readonly icmpBlockInversion: boolean
  readonly masquerade: boolean
  readonly forward: boolean
  readonly forwardPorts: readonly ForwardPort[]
  readonly interfaces: readonly string[]
  readonly sources: readonly string[]
  /** Canonical text (model/rich). */
  readonly richRules: readonly string[]
  readonly ingressPriority: number
  readonly egressPriority: number
}

export interface PolicySettings {
  readonly version: string
  readonly short: string
  readonly description: string
  readonly target: PolicyTarget
  readonly services: readonly string[]
  readonly ports: readonly PortSpec[]
  readonly protocols: readonly string[]
  readonly sourcePorts: readonly PortSpec[]
  readonly icmpBlocks: readonly string[]
  readonly masquerade: boolean
  readonly forwardPorts: readonly ForwardPort[]
  readonly richRules: readonly string[]
  readonly priority: number
  readonly ingressZones: readonly string[]
  readonly egressZones: readonly string[]
  readonly disable: boolean
}

export interface ServiceSettings {
  readonly version: string
  readonly short: string
  readonly description: string
  readonly ports: readonly PortSpec[]
  readonly protocols: readonly string[]
  readonly sourcePorts: readonly PortSpec[]
  readonly modules: readonly string[]
  readonly helpers: readonly string[]
  readonly includes: readonly string[]
  /** Keys ipv4 and ipv6, at most one address or prefix each. */
  readonly destination: Readonly<Record<string, string>>
}

export interface IpSetSettings {
  readonly version: string
  readonly short: string
  readonly description: string
  readonly type: string
  /** family, hashsize, maxelem, timeout: text as ipset takes it. */
  readonly options: Readonly<Record<string, string>>
  readonly entries: readonly string[]
}

export interface IcmpTypeSettings {
  readonly version: string
  readonly short: string
  readonly description: string
  /** Families it exists in; empty = both. */
  readonly destinations: readonly string[]
  /** Numeric [type, code] by family, code null = any code of the type. A family without an entry cannot be matched there. */
  readonly ipv4: readonly (readonly [number, number | null])[]
  readonly ipv6: readonly (readonly [number, number | null])[]
}

export interface HelperSettings {
  readonly version: string
  readonly short: string
  readonly description: string
  /** "", "ipv4" or "ipv6". */
  readonly family: string
  readonly module: string
  readonly ports: readonly PortSpec[]
}

export type ReversePath = 'strict' | 'loose' | 'no' | 'strict-forward' | 'loose-forward'
export type LogDenied = 'off' | 'all' | 'unicast' | 'broadcast' | 'multicast'
/** `open`: whatever a container publishes is reachable; `zone`: when the zone has the published port open. */
export type Published = 'open' | 'zone'
export type XdpMode = 'auto' | 'native' | 'generic' | 'off'

/** derpanet.yaml. */
export interface MainSettings {
  readonly defaultZone: string
  readonly logDenied: LogDenied
  /** Names of lists/NAME.list whose sources are dropped before everything else. */
  readonly block: readonly string[]
  /** Canonical prefixes that win over every list and panic, and over every zone for packets to this host. */
  readonly neverBlock: readonly string[]
  /** Ports of this host that stay reachable whatever zones, lists and panic say. */
  readonly failsafePorts: readonly PortSpec[]
  readonly published: Published
  /** Mode for an interface that `xdpInterfaces` does not name. */
  readonly xdp: XdpMode
  readonly xdpInterfaces: Readonly<Record<string, XdpMode>>
  readonly autoReload: boolean
  readonly onStop: 'keep' | 'open'
  readonly flushAllOnReload: boolean
  /** Senders of IPv6 without a way back are dropped; the -forward words can be stored, but not enforced. */
  readonly ipv6Rpfilter: ReversePath
  /** IPv6 destinations that hide a reserved IPv4 address are rejected. */
  readonly rfc3964Ipv4: boolean
  /** Connections that others translated are let in only where a zone or policy has the port open. */
  readonly strictForwardPorts: boolean
  /** firewalld 1.3's: only listed callers may change the firewall. */
  readonly lockdown: boolean
  /** The face of firewalld's D-Bus interface; auto = the one the host's own firewalld clients know. */
  readonly firewalldCompat: 'auto' | '2.5' | '1.3' | 'no'
  /** Keys of firewalld.conf without effect here, which clients of firewalld read and write (settings/firewalld-conf.ts); none = its defaults. */
  readonly firewalld: Readonly<Record<string, string>>
}

/**
 * An object and where it came from. `positions` is keyed `key` or `key=item`: a key of `value`, and the canonical item
 * text (toText of the field's item codec; the key of a dictionary), e.g. `services=ssh`, `sourcePorts=53/udp`, `options=family`.
 */
export interface Entry<T> {
  readonly value: T
  readonly layer: Layer
  readonly file?: string
  /** A lower layer has an object of the same name, which this one hides. */
  readonly overrides?: true
  readonly positions: ReadonlyMap<string, Position>
}

/**
 * A big address list in packed form, sorted by (addr, length), without duplicates.
 * `addrs4`: host-order u32 each; `addrs6`: four host-order u32 words each, most significant first.
 */
export interface AddressList {
  readonly name: string
  readonly file: string
  /** sha256 of the canonical content, hex: equal digests are equal lists. */
  readonly digest: string
  readonly addrs4: Uint32Array
  readonly lengths4: Uint8Array
  readonly addrs6: Uint32Array
  readonly lengths6: Uint8Array
}

/** One whole configuration. Immutable; unchanged parts are shared between generations by reference. */
export interface Settings {
  readonly main: Entry<MainSettings>
  readonly zones: ReadonlyMap<string, Entry<ZoneSettings>>
  readonly policies: ReadonlyMap<string, Entry<PolicySettings>>
  readonly services: ReadonlyMap<string, Entry<ServiceSettings>>
  readonly ipsets: ReadonlyMap<string, Entry<IpSetSettings>>
  readonly icmptypes: ReadonlyMap<string, Entry<IcmpTypeSettings>>
  readonly helpers: ReadonlyMap<string, Entry<HelperSettings>>
  readonly lists: ReadonlyMap<string, AddressList>
  /** Absent = nothing. */
  readonly direct?: Entry<DirectSettings>
  /** Absent = the program's default: only root may change the firewall while lockdown is on. */
  readonly lockdown?: Entry<LockdownSettings>
}

/** The runtime world: settings in force plus what exists only at runtime. */
export interface Runtime {
  readonly settings: Settings
  readonly panic: boolean
  /** Interfaces that were put into "the default zone" without naming it: they follow when it changes. Absent = none. */
  readonly defaultBound?: ReadonlySet<string>
}

export const emptyZone: ZoneSettings = {
  version: '', short: '', description: '', target: 'default', services: [], ports: [], protocols: [], sourcePorts: [],
  icmpBlocks: [], icmpBlockInversion: false, masquerade: false, forward: false, forwardPorts: [], interfaces: [], sources: [],
  richRules: [], ingressPriority: 0, egressPriority: 0,
}

export const emptyPolicy: PolicySettings = {
  version: '', short: '', description: '', target: 'CONTINUE', services: [], ports: [], protocols: [], sourcePorts: [],
  icmpBlocks: [], masquerade: false, forwardPorts: [], richRules: [], priority: -1, ingressZones: [], egressZones: [], disable: false,
}

export const emptyService: ServiceSettings = {
  version: '', short: '', description: '', ports: [], protocols: [], sourcePorts: [], modules: [], helpers: [], includes: [], destination: {},
}

export const emptyIpSet: IpSetSettings = { version: '', short: '', description: '', type: '', options: {}, entries: [] }
export const emptyIcmpType: IcmpTypeSettings = { version: '', short: '', description: '', destinations: [], ipv4: [], ipv6: [] }
export const emptyHelper: HelperSettings = { version: '', short: '', description: '', family: '', module: '', ports: [] }

export const defaultMain: MainSettings = {
  defaultZone: 'public', logDenied: 'off', block: [], neverBlock: [], failsafePorts: [], published: 'open', xdp: 'auto', xdpInterfaces: {},
  autoReload: false, onStop: 'keep', flushAllOnReload: true, ipv6Rpfilter: 'strict', rfc3964Ipv4: true, strictForwardPorts: false, lockdown: false,
  firewalldCompat: 'auto', firewalld: {},
}
