// The recorded calls of real firewalld daemons, and what is compared of an answer.
import { readFileSync } from 'node:fs'
import type { Version } from './tree.ts'

export type RecordedSignal = readonly [path: string, name: string, signature: string, args: readonly unknown[]]

export interface Answer {
  readonly reply?: unknown
  readonly type?: string
  readonly value_types?: Readonly<Record<string, string>>
  readonly error?: string
  readonly code?: string
  readonly detail?: string
  readonly code_in_text?: string
  readonly signals?: readonly RecordedSignal[]
  readonly signal_counts?: Readonly<Record<string, number>>
  readonly last_signal?: string
  readonly canonical?: readonly string[]
  readonly queryRichRule?: unknown
  readonly files_after?: readonly string[]
  readonly signals_within_8s?: readonly (readonly [string, string, readonly unknown[]])[]
}

export interface Probe {
  readonly n: number
  readonly probe: string
  /** Two paths where the versions number objects differently: 1.3.3, 2.5.0. */
  readonly path?: string | readonly [string, string]
  readonly method?: string
  readonly in?: string
  readonly args?: readonly unknown[]
  readonly both?: Answer
  readonly '1.3.3'?: Answer
  readonly '2.5.0'?: Answer
}

export type SequenceName = 'sequence_a' | 'sequence_b'

const recorded = JSON.parse(readFileSync(new URL('../data/wire-probes.json', import.meta.url), 'utf8')) as Readonly<Record<SequenceName, readonly Probe[]>>

export function probesOf(sequence: SequenceName): readonly Probe[] {
  return recorded[sequence]
}

/** A file watcher of 1.3.3 tells of changed files seconds later, at probes that did not cause it: the recording says so. */
function isLate(name: string, probe: Probe): boolean {
  if (probe.method?.startsWith('.config.') === true || probe.method === '.runtimeToPermanent') return false
  return /^\.config\.\w+\.Updated$|^\.config\.policies\.LockdownWhitelistUpdated$/.test(name)
}

export function answerOf(probe: Probe, version: Version): Answer {
  const found = probe[version] ?? probe.both
  if (found === undefined) throw new Error(`probe ${probe.n} has no answer of ${version}`)
  const signals = found.signals?.filter(([, name]) => !isLate(name, probe))
  const counts = found.signal_counts === undefined ? undefined
    : Object.fromEntries(Object.entries(found.signal_counts).filter(([name]) => !isLate(name, probe)))
  return {
    ...found,
    ...(signals === undefined ? {} : { signals }),
    ...(counts === undefined ? {} : { signal_counts: counts, last_signal: '.Reloaded' }),
  }
}

export function pathOf(probe: Probe, version: Version): string {
  const path = Array.isArray(probe.path) ? probe.path[version === '1.3.3' ? 0 : 1]! : probe.path as string
  return path === '/' ? '' : path
}
