// The Dataplane interface: what the daemon needs from anything that enforces a Plan. kernel/memory is the fake,
// kernel/netfilter and kernel/xdp the real ones.
import type { Plan, TimedEdit } from '../compile/plan.ts'

/** Packets and bytes by rule id since the daemon first counted; survives reload. */
export type Counters = ReadonlyMap<string, { readonly packets: bigint; readonly bytes: bigint }>

export interface ApplyReport {
  /** What was done, for the log: `sets: 2 edited, 1 created; chains: 3 written`. */
  readonly summary: string
  readonly elapsedMs: number
}

/** Something about a dataplane a person should know: why XDP is off on an interface, what is degraded. */
export interface DataplaneStatus {
  readonly name: string
  readonly state: 'ok' | 'degraded' | 'off'
  readonly details: readonly { readonly subject: string; readonly text: string }[]
}

/** What somebody else did to what is ours. */
export interface Drift {
  /** One line each; none = everything is as it was put. */
  readonly lines: readonly string[]
  /** Who probably did it: `iptables (pid 4711)`; null = nobody can tell. */
  readonly by: string | null
}

/**
 * All methods are called by one writer, never concurrently. A throw means "nothing of it is in force" unless the
 * message says otherwise; the daemon then applies the previous plan again.
 */
export interface Dataplane {
  readonly name: 'netfilter' | 'direct' | 'xdp' | 'memory'
  /**
   * Called before any other dataplane moves to `next`: stop every decision that `next` would not also make.
   * (XDP: mode word DEFER, block lists narrowed to what both plans drop.) Dataplanes that are always complete have none.
   */
  prepare?(next: Plan): Promise<void>
  /**
   * Bring the kernel from whatever it holds of ours to exactly this plan. Idempotent. With `single` the plan differs by one
   * small change from the one in force, and what can wait is left to {@link settle}: looking at the kernel anew, and reading
   * back what was written.
   */
  apply(plan: Plan, signal?: AbortSignal, single?: boolean): Promise<ApplyReport>
  /** Entries of a set with a timeout of the plan in force. Throws when the kernel does not take them. */
  editTimed?(edit: TimedEdit): Promise<void>
  /**
   * Does what single changes left. Throws when the kernel does not hold what was written; the next apply() then looks at
   * everything and puts it right.
   */
  settle?(): Promise<void>
  /**
   * Looks whether what was put into the kernel is still there. Costs next to nothing while nobody changes anything: it is
   * called every second. After a drift the next apply() looks at everything and puts it right.
   */
  drift?(): Promise<Drift>
  counters(): Promise<Counters>
  status(): Promise<DataplaneStatus>
  /** Remove everything of ours; foreign things stay byte-identical. */
  purge(): Promise<void>
}
