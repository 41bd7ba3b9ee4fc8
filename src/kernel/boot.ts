// Plan → what derpanet-load restores before the network comes up, without this program: the boot file and the files it
// refers to by their content. Pure but for the image's pauses; bpf/boot-file.h tells the shape, daemon/boot.ts writes it.
import { createHash } from 'node:crypto'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { families } from '../compile/plan.ts'
import type { EarlyPlan, Family, Plan, PlanSet } from '../compile/plan.ts'
import { formatCreate, formatSet } from '../compile/netfilter/ipset.ts'
import { formatRestore } from '../compile/netfilter/restore.ts'
import { canonicalSet } from '../compile/sets.ts'
import { assignSlots, imageSteps } from '../compile/xdp/image.ts'
import type { XdpImage } from '../compile/xdp/image.ts'
import { layout, records } from '../compile/xdp/layout.ts'
import { withoutHelpers } from '../compile/helpers.ts'
import { diff } from '../diff/diff.ts'
import type { ChangeSet } from '../diff/diff.ts'
import { nothingObserved } from '../diff/observed.ts'
import { chainIds } from './netfilter/counters.ts'
import { createdChains } from './netfilter/foreign.ts'
import { setRecord } from './netfilter/sets.ts'
import { formatBootState } from './netfilter/state.ts'
import type { SetRecord } from './netfilter/state.ts'
import type { Variant } from './netfilter/tools.ts'

/** A file beside the boot file, named by the SHA-256 of its bytes: `<digest>.set`, `.xdp`, `.pages`. */
export interface BootBlob {
  readonly name: string
  readonly parts: readonly Uint8Array[]
}

export interface BootLink {
  readonly name: string
  readonly mode: 'native' | 'generic'
}

export interface BootContent {
  /** The boot file. */
  readonly text: string
  readonly blobs: readonly BootBlob[]
}

export interface BootFacts {
  readonly generation: number
  /** `auto` = what the host's iptables is at boot. */
  readonly variant: Variant | 'auto'
  /** null = XDP is off. */
  readonly xdp: BootXdp | null
}

export interface BootXdp {
  readonly links: readonly BootLink[]
  readonly image: BootImage
}

/** The image of the early part, ready to be named. */
export interface BootImage {
  readonly lines: readonly string[]
  readonly blobs: readonly BootBlob[]
}

/** Equal plans and facts give equal text. */
export function bootContent(plan: Plan, { generation, variant, xdp }: BootFacts): BootContent {
  // the kernel of the next boot is not known: a helper that it lacks must not cost the whole ruleset, and the daemon adds them
  const known = { ...plan, sets: plan.sets.map(canonicalSet) }
  const changes = diff(withoutHelpers(known, () => true), nothingObserved, null)
  const blobs = new Map<string, BootBlob>()
  const section = (name: string, lines: readonly string[]): string[] => [`${name} ${lines.length}`, ...lines]
  const rules = (family: Family): readonly string[] => formatRestore(changes.tables[family]).split('\n').filter((line) => line !== '')
  const lines = [
    'derpanet-boot 1',
    `generation ${generation}`,
    `variant ${variant}`,
    ...section('sets', changes.load.flatMap(({ name, set }) => setLines(name, set, blobs))),
    ...section('rules4', rules('ipv4')),
    ...section('rules6', rules('ipv6')),
    ...section('created', createdChains(changes.tables)),
    ...section('state', [formatBootState({ sets: setRecords(changes), chains: chainIds(changes.rendered) })]),
  ]
  if (xdp !== null) {
    lines.push(...xdp.image.lines, ...xdp.links.map(({ name, mode }) => `link ${name} ${mode}`))
    for (const blob of xdp.image.blobs) blobs.set(blob.name, blob)
  }
  const text = `${lines.join('\n')}\n`
  return { text: `${text}end ${createHash('sha256').update(text).digest('hex')}\n`, blobs: [...blobs.values()] }
}

function setRecords({ load }: ChangeSet): Map<string, SetRecord> {
  return new Map(load.map(({ name, set }) => [name, setRecord(set)]))
}

function setLines(name: string, set: PlanSet, blobs: Map<string, BootBlob>): readonly string[] {
  if (set.elements.kind === 'text') return [...formatSet(name, set)].join('').split('\n').filter((line) => line !== '')
  const { blob, count } = elementsBlob(set.elements.list, set.family)
  blobs.set(blob.name, blob)
  return [formatCreate(name, set), `elements ${name} ${set.family === 'ipv6' ? 'inet6' : 'inet'} ${count} ${blob.name.slice(0, 64)}`]
}

/** Hashing a million prefixes takes milliseconds; a list is hashed once. */
const elementsBlobs = new WeakMap<object, Partial<Record<Family, BootBlob>>>()

type PackedList = Extract<PlanSet['elements'], { kind: 'list' }>['list']

function elementsBlob(list: PackedList, family: Family | null): { readonly blob: BootBlob; readonly count: number } {
  const six = family === 'ipv6'
  const lengths = six ? list.lengths6 : list.lengths4
  const known = elementsBlobs.get(list) ?? {}
  const blob = known[six ? 'ipv6' : 'ipv4'] ?? nameBlob('set', [
    Buffer.from('DPSETS1\n'), bytesOf(Uint32Array.of(six ? 6 : 4, lengths.length)), bytesOf(six ? list.addrs6 : list.addrs4), lengths,
  ])
  elementsBlobs.set(list, { ...known, [six ? 'ipv6' : 'ipv4']: blob })
  return { blob, count: lengths.length }
}

/** `salt` as in imageSteps. Takes breaths: nobody waits for it. */
export async function bootImage(early: EarlyPlan, salt: number): Promise<BootImage> {
  const { slots } = assignSlots(new Map(), early.deny.map(({ rule }) => rule).filter((rule) => Buffer.byteLength(rule) < records.dp_rule.size))
  const steps = imageSteps(early, slots, salt)
  for (;;) {
    const step = steps.next()
    if (step.done === true) return nameImage(step.value, slots)
    await nextTurn()
  }
}

function nameImage(image: XdpImage, slots: ReadonlyMap<string, number>): BootImage {
  const rules = [...slots].filter(([, slot]) => slot >= layout.SLOT_FIRST_RULE)
  const blob = nameBlob('xdp', [
    Buffer.from('DPXDP1\n\0'), bytesOf(Uint32Array.of(layout.LAYOUT_VERSION, rules.length)), image.tables.ipv4.record, image.tables.ipv6.record, image.classes,
    image.failsafe, ...rules.flatMap(([rule, slot]) => [bytesOf(Uint32Array.of(slot)), ruleRecord(rule)]),
  ])
  const blobs = [blob]
  const lines = [`xdp ${layout.LAYOUT_VERSION} ${blob.name.slice(0, 64)}`]
  for (const family of families) {
    const { pages } = image.tables[family]
    if (pages.length === 0) continue
    const file = nameBlob('pages', [pages])
    blobs.push(file)
    lines.push(`pages${family === 'ipv4' ? 4 : 6} ${pages.length / layout.PAGE_BYTES} ${file.name.slice(0, 64)}`)
  }
  return { lines, blobs }
}

function ruleRecord(rule: string): Uint8Array {
  const record = new Uint8Array(records.dp_rule.size)
  record.set(Buffer.from(rule))
  return record
}

function nameBlob(kind: 'set' | 'xdp' | 'pages', parts: readonly Uint8Array[]): BootBlob {
  const hash = createHash('sha256')
  for (const part of parts) hash.update(part)
  return { name: `${hash.digest('hex')}.${kind}`, parts }
}

function bytesOf(words: Uint32Array): Uint8Array {
  return new Uint8Array(words.buffer, words.byteOffset, words.byteLength)
}
