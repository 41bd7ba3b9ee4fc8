// A packet as the oracle and the tests see it, and what was decided about it.
import type { Family } from './addr.ts'
import type { Verdict } from './firewall.ts'
import type { Origin } from './settings.ts'

/** What connection tracking says. */
export type ConnectionState = 'new' | 'established' | 'related' | 'invalid' | 'untracked'

export interface Packet {
  /** in = for this host, forward = through it, out = from it. */
  readonly direction: 'in' | 'forward' | 'out'
  readonly family: Family
  readonly source: bigint
  readonly destination: bigint
  /** IP protocol number (IPv6: the upper-layer one). */
  readonly protocol: number
  /** Only for TCP, UDP, SCTP, DCCP. */
  readonly sourcePort?: number
  readonly destinationPort?: number
  readonly icmpType?: number
  readonly icmpCode?: number
  /** Incoming interface; absent for direction `out`. */
  readonly inInterface?: string
  /** Outgoing interface; absent for direction `in`. */
  readonly outInterface?: string
  /** Lower-case colon text. */
  readonly sourceMac?: string
  /** Which way an answer would go: out of the interface it came from (also when absent), out of another, or nowhere. */
  readonly wayBack?: 'same' | 'other' | 'none'
  /** The mark it arrives with, unsigned 32 bits. Absent = 0. */
  readonly mark?: number
  /** Where it was going before its destination was rewritten; absent = it never was. */
  readonly original?: OriginalDestination
}

export interface OriginalDestination {
  readonly destination: bigint
  readonly destinationPort?: number
  /** By a forward-port of ours, not by somebody else's rule. */
  readonly own: boolean
}

/** Where a verdict is given. `output`: nothing judges what this host sends. */
/** `route` = the reverse path and RFC 3964. */
export type Stage = 'failsafe' | 'never-block' | 'panic' | 'block-list' | 'connection' | 'loopback' | 'essential' | 'route' | 'zone' | 'forward' | 'output'

export interface Judgement {
  readonly verdict: Verdict
  readonly stage: Stage
  /** The zone that the packet came by, where that mattered. */
  readonly zone?: string
  /** The policy that decided, where one did. */
  readonly policy?: string
  /** The deciding rule's id; equal to the id that counters use. */
  readonly rule: string
  readonly origin: Origin
  /** The mark it has now, where our rules changed it. */
  readonly mark?: number
}
