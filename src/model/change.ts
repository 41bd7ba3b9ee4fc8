// A Change: one mutation of the runtime or permanent world, as data. The bus, the CLI, timers and tests all make
// these; reduce() (model/reduce.ts) is the only thing that applies them.
import type { DirectChange, DirectEvent, LockdownSettings } from './direct.ts'
import type { ZoneSettings, IpSetSettings, LogDenied, PolicySettings } from './settings.ts'

/** The list-shaped keys of a zone that can be changed one item at a time. */
export type ZoneItemField =
  | 'services' | 'ports' | 'protocols' | 'sourcePorts' | 'icmpBlocks' | 'forwardPorts' | 'richRules'
/** Flags of a zone. */
export type ZoneFlagField = 'masquerade' | 'icmpBlockInversion' | 'forward'
/** What a timed change of a policy takes back. */
export type PolicyItemField = ZoneItemField | 'ingressZones' | 'egressZones'

/** The settings dictionary of a call as it came, by the keys of the bus: signals repeat it. */
export type AsWritten = Readonly<Record<string, unknown>>

/**
 * `zone` "" = the default zone. `item` is the caller's own text: a service name, "80-90/tcp" as [port, protocol], a rich
 * rule…: one string per column of the field, so ports are ['80-90','tcp'] and forward ports are four strings.
 */
export type Change =
  | { readonly kind: 'zone-item-add'; readonly zone: string; readonly field: ZoneItemField; readonly item: readonly string[]; readonly timeoutSec: number }
  | { readonly kind: 'zone-item-remove'; readonly zone: string; readonly field: ZoneItemField; readonly item: readonly string[] }
  /** The time of an item is over: whatever is left of it goes, in panic too. */
  | { readonly kind: 'zone-item-expire'; readonly zone: string; readonly field: ZoneItemField; readonly item: readonly string[]; readonly bySettings?: true }
  | { readonly kind: 'zone-flag-add'; readonly zone: string; readonly field: ZoneFlagField; readonly timeoutSec: number }
  | { readonly kind: 'zone-flag-remove'; readonly zone: string; readonly field: ZoneFlagField }
  /** `bySettings`: it came with many settings at once, and the whole zone is told when it goes. */
  | { readonly kind: 'zone-flag-expire'; readonly zone: string; readonly field: ZoneFlagField; readonly bySettings?: true }
  | { readonly kind: 'interface-add'; readonly zone: string; readonly interface: string }
  | { readonly kind: 'interface-change'; readonly zone: string; readonly interface: string }
  | { readonly kind: 'interface-remove'; readonly zone: string; readonly interface: string }
  | { readonly kind: 'source-add'; readonly zone: string; readonly source: string }
  | { readonly kind: 'source-change'; readonly zone: string; readonly source: string }
  | { readonly kind: 'source-remove'; readonly zone: string; readonly source: string }
  | { readonly kind: 'zone-settings'; readonly zone: string; readonly settings: Partial<ZoneSettings>; readonly timeoutSec: number; readonly asWritten?: AsWritten }
  | { readonly kind: 'policy-settings'; readonly policy: string; readonly settings: Partial<PolicySettings>; readonly timeoutSec: number; readonly asWritten?: AsWritten }
  | { readonly kind: 'policy-item-expire'; readonly policy: string; readonly field: PolicyItemField; readonly item: readonly string[] }
  | { readonly kind: 'policy-flag-expire'; readonly policy: string; readonly field: 'masquerade' }
  | { readonly kind: 'ipset-entry-add'; readonly ipset: string; readonly entry: string }
  | { readonly kind: 'ipset-entry-remove'; readonly ipset: string; readonly entry: string }
  | { readonly kind: 'ipset-entries-set'; readonly ipset: string; readonly entries: readonly string[] }
  | { readonly kind: 'default-zone-set'; readonly zone: string }
  | { readonly kind: 'log-denied-set'; readonly value: LogDenied }
  | { readonly kind: 'panic-set'; readonly on: boolean }
  | { readonly kind: 'lockdown-set'; readonly on: boolean }
  | { readonly kind: 'lockdown-item-add' | 'lockdown-item-remove'; readonly field: keyof LockdownSettings; readonly item: string | number }
  | DirectChange

/** So many changes of one call, or objects of one reload, are told one by one; of more only a reload is told. */
export const maxEventsAtOnce = 10_000

/**
 * What happened, in the terms of clients: D-Bus signals and log lines are made from these after the commit.
 * `zone` and `ipset` are real names, never "". Items are the caller's own spelling.
 */
export type ChangeEvent =
  | { readonly kind: 'zone-item-added'; readonly zone: string; readonly field: ZoneItemField; readonly item: readonly string[]; readonly timeoutSec: number }
  | { readonly kind: 'zone-item-removed'; readonly zone: string; readonly field: ZoneItemField; readonly item: readonly string[] }
  | { readonly kind: 'zone-flag-added'; readonly zone: string; readonly field: ZoneFlagField; readonly timeoutSec: number }
  | { readonly kind: 'zone-flag-removed'; readonly zone: string; readonly field: ZoneFlagField }
  | { readonly kind: 'interface-added'; readonly zone: string; readonly interface: string }
  | { readonly kind: 'interface-changed'; readonly zone: string; readonly interface: string }
  | { readonly kind: 'interface-removed'; readonly zone: string; readonly interface: string }
  | { readonly kind: 'source-added'; readonly zone: string; readonly source: string }
  | { readonly kind: 'source-changed'; readonly zone: string; readonly source: string }
  | { readonly kind: 'source-removed'; readonly zone: string; readonly source: string }
  /** Without `asWritten` the settings are told whole. */
  | { readonly kind: 'zone-updated'; readonly zone: string; readonly settings: Partial<ZoneSettings>; readonly asWritten?: AsWritten }
  | { readonly kind: 'policy-updated'; readonly policy: string; readonly settings: Partial<PolicySettings>; readonly asWritten?: AsWritten }
  | { readonly kind: 'ipset-entry-added'; readonly ipset: string; readonly entry: string }
  | { readonly kind: 'ipset-entry-removed'; readonly ipset: string; readonly entry: string }
  | { readonly kind: 'default-zone-changed'; readonly zone: string }
  | { readonly kind: 'log-denied-changed'; readonly value: LogDenied }
  | { readonly kind: 'panic-enabled' }
  | { readonly kind: 'panic-disabled' }
  | { readonly kind: 'lockdown-enabled' | 'lockdown-disabled' }
  | { readonly kind: 'lockdown-item-added' | 'lockdown-item-removed'; readonly field: keyof LockdownSettings; readonly item: string | number }
  | DirectEvent

/** A removal that is due after `timeoutSec`; `key` names the thing, so that removing or re-adding it cancels the timer. */
export interface Expiry {
  readonly key: string
  readonly timeoutSec: number
  readonly change: Change
}

/** The result of reduce(): the new world, what to tell, what to answer the caller (usually the real zone name), timers. */
export interface Reduced<World> {
  readonly world: World
  readonly events: readonly ChangeEvent[]
  /** The real zone or ipset name. */
  readonly name: string
  readonly expiries: readonly Expiry[]
  /** Keys of timers that this change makes void. */
  readonly cancelled: readonly string[]
  /** What happens in the kernel alone. Absent = nothing. */
  readonly timed?: TimedEdit
}

/** Entries (canonical) of a set with a timeout: nobody but the kernel knows which ones are in it. First everything goes with `flush`. */
export interface TimedEdit {
  readonly ipset: string
  readonly flush: boolean
  readonly add: readonly string[]
  /** What is not there is gone already. */
  readonly remove: readonly string[]
}

export type { ZoneSettings, IpSetSettings }
