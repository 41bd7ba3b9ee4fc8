// What the daemon offers to its faces (D-Bus, signals, timers): the only way in for a bus call.
// daemon.ts implements it; src/dbus and tests use it. Nothing here does anything.
import type { Change, ChangeEvent } from './model/change.ts'
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
  /** What is in force but works less than it says: `helper ftp not enforced yet`. One line each. */
  readonly warnings?: readonly string[]
}

export type ServiceEvent =
  | { readonly kind: 'change'; readonly event: ChangeEvent }
  /** After the new rules are in force; exactly one a reload. */
  | { readonly kind: 'reloaded' }

export interface FirewallService {
  runtime(): Runtime
  permanent(): Settings
  status(): Promise<ServiceStatus>
  counters(): Promise<Counters>
  /** Enqueues; resolves when the change is enforced. Rejects with DerpanetError, and then nothing changed. */
  change(change: Change, caller: Caller): Promise<ChangeResult>
  /** Re-reads the files. Rejects with DerpanetError carrying the first mistake; the old rules stay. */
  reload(caller: Caller): Promise<void>
  /** Listener is called in commit order; returns the unsubscriber. */
  subscribe(listener: (event: ServiceEvent) => void): () => void
}
