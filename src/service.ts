// What the daemon offers to its faces (D-Bus, signals, timers): the only way in for a bus call.
// daemon.ts implements it; src/dbus and tests use it. Nothing here does anything.
import type { Change, ChangeEvent } from './model/change.ts'
import type { Connection } from './model/connection.ts'
import type { DirectChange } from './model/direct.ts'
import type { PermanentChange, PermanentEvent } from './model/permanent.ts'
import type { Runtime, Settings } from './model/settings.ts'
import type { Counters, DataplaneStatus } from './kernel/dataplane.ts'

/** Who asked: for the log, generations and authorisation. */
export interface Caller {
  /** Unique bus name, or `signal`, `timer`, `watch`, `start`. */
  readonly name: string
  readonly uid?: number
  readonly pid?: number
}

export interface ChangeResult {
  /** The real zone or ipset name. */
  readonly name: string
  readonly generation: number
  readonly events: readonly ChangeEvent[]
}

export interface ConfigurationProblem {
  /** `file:line:column: CODE: text`, one per mistake, all of them. */
  readonly diagnostics: readonly string[]
}

export interface ServiceStatus {
  readonly version: string
  readonly state: 'INIT' | 'RUNNING' | 'FAILED'
  readonly generation: number
  /** Where the enforced configuration came from: the files, last-known-good (with why) or the built-in defaults. */
  readonly source: 'files' | 'last-known-good' | 'builtin'
  readonly panic: boolean
  readonly defaultZone: string
  readonly dataplanes: readonly DataplaneStatus[]
  /** Files changed since the last load: valid or with the mistakes found. */
  readonly pending: { readonly changed: boolean; readonly problem: ConfigurationProblem | null }
  /** What is wrong with the configuration that is not enforced for that reason. */
  readonly problem: ConfigurationProblem | null
  /** What is in force but works less than it says (`helper ftp not enforced yet`), and what a person should look at. One line each. */
  readonly warnings?: readonly string[]
  /** A change that is taken back unless it is confirmed in time. */
  readonly unconfirmed?: { readonly generation: number; readonly secondsLeft: number }
}

export type ServiceEvent =
  | { readonly kind: 'change'; readonly event: ChangeEvent }
  /** After the files are written. */
  | { readonly kind: 'permanent'; readonly event: PermanentEvent }
  /** After the new rules are in force; exactly one a reload. Also after a change of more than `maxEventsAtOnce` things (model/change.ts). */
  | { readonly kind: 'reloaded' }
  /** The files are valid and say something else than `permanent()`; a reload would take them. */
  | { readonly kind: 'files-changed' }

export interface RuntimeToPermanentOptions {
  /** Interfaces that somebody else binds at every start (NetworkManager): their bindings are not written. */
  readonly leaveOut: ReadonlySet<string>
  /** The lockdown whitelist too, for the face where it works. */
  readonly withLockdown: boolean
}

/** How a change is to be made. All are optional. */
export interface ApplyOptions {
  /** Refused unless this generation is in force. */
  readonly expectedGeneration?: number
  /** Says what would happen and does nothing. */
  readonly dryRun?: boolean
  /** Taken back by itself unless confirmed within so many seconds, whatever becomes of the daemon. */
  readonly confirmSec?: number
  /** Done although the caller could not connect again. */
  readonly evenIfCutOff?: boolean
  /** Connections the caller hangs on; empty = none. Absent = unknown: then every one to port 22. */
  readonly sessions?: readonly Connection[]
  /** Lists that became empty or changed by more than half are taken. */
  readonly forceLists?: boolean
  /** Undo: files edited since they were loaded are overwritten. */
  readonly discardEdits?: boolean
}

export interface ApplyResult {
  /** false for a dry run. */
  readonly applied: boolean
  /** In force now. */
  readonly generation: number
  /** One line a difference to what was in force before. */
  readonly differences: readonly string[]
  /** Connections of others whose peers could not connect again, one line each. */
  readonly cutsOff: readonly string[]
  /** Seconds left to confirm it; null = nothing to confirm. */
  readonly confirmWithinSec: number | null
}

/** One generation that was in force. */
export interface HistoryEntry {
  readonly number: number
  /** ISO 8601, UTC. */
  readonly at: string
  readonly by: Caller
  /** systemd unit of the caller, where it could be seen. */
  readonly unit?: string
  /** `start`, `change`, `reload`, `apply`, `confirm`, `revert`, `undo`. */
  readonly what: string
  readonly text: string
}

/** What `from` and `to` of {@link FirewallService.difference} may be: a stored generation, or what is in force, or the files. */
export type Version = number | 'now' | 'files'

export interface FirewallService {
  runtime(): Runtime
  permanent(): Settings
  status(): Promise<ServiceStatus>
  state(): ServiceStatus['state']
  counters(): Promise<Counters>
  /** Enqueues; resolves when the change is enforced. Rejects with DerpanetError, and then nothing changed. */
  change(change: Change, caller: Caller): Promise<ChangeResult>
  /** Writes the files; resolves when they are on disk. Runtime is untouched. Rejects with DerpanetError, and then nothing changed. */
  changePermanent(change: PermanentChange | DirectChange, caller: Caller): Promise<void>
  /** What a reload would say, without doing it. Rejects with DerpanetError carrying the first mistake. */
  checkPermanent(): Promise<void>
  /** Rejects with RT_TO_PERM_FAILED when a part could not be written; the others are. */
  runtimeToPermanent(options: RuntimeToPermanentOptions, caller: Caller): Promise<void>
  /** Sets the files aside and reloads what is shipped. */
  resetToDefaults(caller: Caller): Promise<void>
  /** Takes files that were changed by hand into `permanent()`, without a reload; every difference is an event. */
  adoptFiles(caller: Caller): Promise<void>
  /** One call of iptables, ip6tables or ebtables that is not remembered; its output. Rejects with COMMAND_FAILED, INVALID_PASSTHROUGH, INVALID_IPV. */
  passthrough(ipv: string, args: readonly string[], caller: Caller): Promise<string>
  /**
   * Re-reads the files. Rejects with DerpanetError carrying the first mistake; the old rules stay. With `forceLists` a list that
   * became empty or changed by more than half is taken, once.
   */
  reload(caller: Caller, options?: { readonly forceLists?: boolean }): Promise<void>
  /**
   * Runtime changes, all or none, or, when there are none, the files. Rejects with DerpanetError, and then nothing changed:
   * NOT_APPLIED when the caller would be cut off, when another change waits for its confirmation, when the way back cannot
   * be armed. `changes` are Changes as JSON values.
   */
  apply(changes: readonly unknown[], options: ApplyOptions, caller: Caller): Promise<ApplyResult>
  /** The change that waits is to stay. Resolves with its generation. Rejects with NOT_ENABLED when none waits. */
  confirm(caller: Caller): Promise<number>
  /**
   * What waits for its confirmation is taken back at once; otherwise the files of a stored generation (null = the one
   * before the permanent configuration in force) are put back and applied.
   */
  undo(generation: number | null, options: ApplyOptions, caller: Caller): Promise<ApplyResult>
  /** Oldest first. `isStored`: undo knows it. */
  history(count: number): readonly (HistoryEntry & { readonly isStored: boolean })[]
  /** One line a difference. Rejects with INVALID_VALUE for a generation that is not stored. */
  difference(from: Version, to: Version): Promise<readonly string[]>
  /** Listener is called in commit order; returns the unsubscriber. */
  subscribe(listener: (event: ServiceEvent) => void): () => void
}
