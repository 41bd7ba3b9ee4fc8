// What the kernel cannot tell about our own things, kept in one small file: which content a set was loaded with, which
// rule each counter belongs to, what was counted in chains that are gone, and what of the kernel's chains exists only for us.
import { closeSync, ftruncateSync, mkdirSync, openSync, writeSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { PortRule } from '../../compile/plan.ts'
import { readStateFile, writeStateFile } from '../state-file.ts'
import type { Variant } from './tools.ts'
import type { Count } from './observe.ts'

export interface SetRecord {
  readonly digest: string
  /** For sets that count per port. */
  readonly ports?: readonly PortRule[]
  /** For others that count by element: whose packets those of each element are. */
  readonly owners?: readonly (readonly [entry: string, rule: string])[]
}

export interface NetfilterState {
  variant: Variant | null
  /** By kernel name. A set that is being edited has no record. */
  sets: Map<string, SetRecord>
  /** `ipv4/mangle/DERPA_…` → rule id per rule. */
  chains: Map<string, readonly string[]>
  /** Counts of chains and set elements that do not exist any more, by rule id. */
  counted: Map<string, Count>
  /** nf_tables only: base chains that were not there before us, `ip/mangle/INPUT`; `ip/mangle` = the table. */
  created: Set<string>
}

const layout = 1
const fileName = 'netfilter.json'
const dirtyName = 'netfilter.dirty'

export function emptyState(): NetfilterState {
  return { variant: null, sets: new Map(), chains: new Map(), counted: new Map(), created: new Set() }
}

interface StateFile {
  layout: number
  variant: Variant | null
  sets: [string, SetRecord][]
  chains: [string, readonly string[]][]
  counted: [string, string, string][]
  created: string[]
}

/**
 * A file that is missing, of another layout or damaged reads as the empty state, with the reason: then the kernel's sets count
 * as unknown and are loaded anew beside the old ones, which costs time but never opens anything.
 */
export async function readState(stateDir: string): Promise<{ readonly state: NetfilterState; readonly problem: string | null }> {
  const text = await readStateFile(join(stateDir, fileName))
  if (text === null) return { state: emptyState(), problem: null }
  const dirty = new Set((await readStateFile(join(stateDir, dirtyName)) ?? '').split('\n'))
  try {
    const file = JSON.parse(text) as StateFile
    if (file.layout !== layout) return { state: emptyState(), problem: `layout ${file.layout}, not ${layout}` }
    return {
      state: {
        variant: file.variant,
        sets: new Map(file.sets.filter(([name]) => !dirty.has(name))),
        chains: new Map(file.chains),
        counted: new Map(file.counted.map(([id, packets, bytes]) => [id, { packets: BigInt(packets), bytes: BigInt(bytes) }])),
        created: new Set(file.created),
      },
      problem: null,
    }
  } catch (error) {
    return { state: emptyState(), problem: `unreadable: ${(error as Error).message}` }
  }
}

function stateFileOf(state: NetfilterState): StateFile {
  return {
    layout,
    sets: [...state.sets],
    chains: [...state.chains],
    counted: [...state.counted].map(([id, { packets, bytes }]) => [id, String(packets), String(bytes)]),
    variant: state.variant,
    created: [...state.created],
  }
}

/**
 * The file without its closing brace, for the boot file: what restores there adds `variant` and `created`, which are known
 * only then. One line of printable ASCII.
 */
export function formatBootState(state: Pick<NetfilterState, 'sets' | 'chains'>): string {
  const { variant: _variant, created: _created, ...known } = stateFileOf({ ...emptyState(), ...state })
  return JSON.stringify(known).slice(0, -1).replace(/[^ -~]/g, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`)
}

/** Replaces the file as a whole. */
export async function writeState(stateDir: string, state: NetfilterState): Promise<void> {
  await writeStateFile(join(stateDir, fileName), JSON.stringify(stateFileOf(state)))
}

export async function removeState(stateDir: string): Promise<void> {
  await rm(join(stateDir, fileName), { force: true })
  await rm(join(stateDir, dirtyName), { force: true })
}

/**
 * Names of sets whose content is not what the state file says. The file is written when there is time; a name is here before
 * the kernel's set changes, so a daemon that dies in between leaves a set that counts as unknown, never one that is taken
 * for what it is not.
 */
export class DirtyNames {
  private fd: number | null = null
  private readonly names = new Set<string>()

  constructor(private readonly stateDir: string) {}

  get any(): boolean {
    return this.names.size > 0
  }

  /** Written when it returns; memory of this machine, nothing to flush. */
  add(names: Iterable<string>): void {
    const fresh = [...names].filter((name) => !this.names.has(name))
    if (fresh.length === 0) return
    if (this.fd === null) {
      mkdirSync(this.stateDir, { recursive: true, mode: 0o700 })
      this.fd = openSync(join(this.stateDir, dirtyName), 'a', 0o600)
    }
    writeSync(this.fd, fresh.map((name) => `${name}\n`).join(''))
    for (const name of fresh) this.names.add(name)
  }

  /** The state file says the truth again. */
  clear(): void {
    if (this.fd === null) {
      mkdirSync(this.stateDir, { recursive: true, mode: 0o700 })
      this.fd = openSync(join(this.stateDir, dirtyName), 'a', 0o600)
    }
    ftruncateSync(this.fd, 0)
    this.names.clear()
  }

  close(): void {
    if (this.fd !== null) closeSync(this.fd)
    this.fd = null
    this.names.clear()
  }
}
