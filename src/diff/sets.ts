// How one set becomes another by single elements.
import type { PlanSet, PortRule } from '../compile/plan.ts'
import { firstEndingAtOrAfter } from '../compile/sets.ts'

export interface ElementEdits {
  readonly add: readonly string[]
  readonly remove: readonly string[]
}

/**
 * What to add to and remove from a set that holds `before` so that it holds `after`, or null when that takes more than
 * `limit` elements (or may: packed lists are never compared). An element that changes its owner is added again, with fresh
 * counters.
 */
export function elementEdits(before: PlanSet, after: PlanSet, limit: number): ElementEdits | null {
  if ((before.owners === undefined) !== (after.owners === undefined)) return null
  if (before.kind !== after.kind || before.family !== after.family || shapeOf(before) !== shapeOf(after)) return null
  if (before.portRules !== undefined && after.portRules !== undefined) return portEdits(before.portRules, after.portRules, limit)
  if (after.step?.from === before.digest) return after.step.add.length + after.step.remove.length > limit ? null : after.step
  if (before.elements.kind !== 'text' || after.elements.kind !== 'text') return null
  const edits = textEdits(before.elements.entries, after.elements.entries, limit)
  if (edits === null || before.owners === undefined || after.owners === undefined) return edits
  // an element of another rule counts anew
  const added = new Set(edits.add)
  const moved = after.elements.entries.filter((entry) => before.owners!.get(entry) !== after.owners!.get(entry) && !added.has(entry))
  return moved.length + edits.add.length + edits.remove.length > limit ? null : { add: [...edits.add, ...moved], remove: edits.remove }
}

function shapeOf({ user }: PlanSet): string {
  return user === undefined ? '' : JSON.stringify([user.type, Object.entries(user.options)])
}

/** Both sorted. */
function textEdits(before: readonly string[], after: readonly string[], limit: number): ElementEdits | null {
  const add: string[] = []
  const remove: string[] = []
  let b = 0
  let a = 0
  while (b < before.length || a < after.length) {
    const old = before[b]
    const next = after[a]
    if (old === next) {
      b++
      a++
    } else if (next === undefined || (old !== undefined && old < next)) {
      remove.push(old!)
      b++
    } else {
      add.push(next)
      a++
    }
    if (add.length + remove.length > limit) return null
  }
  return { add, remove }
}

/** Works on the stretches between all borders of both sides, since ranges may be cut differently. Both sorted. */
function portEdits(before: readonly PortRule[], after: readonly PortRule[], limit: number): ElementEdits | null {
  const edits: { op: 'add' | 'remove'; first: number; last: number }[] = []
  let b = 0
  let a = 0
  for (let port = 0; b < before.length || a < after.length;) {
    const old = before[b]
    const next = after[a]
    // the same range of the same rule on both sides, which is what nearly all of them are
    if (old !== undefined && next !== undefined && old.first === next.first && old.last === next.last && old.rule === next.rule && port <= old.first) {
      port = old.last + 1
      b++
      a++
      continue
    }
    const start = Math.max(port, Math.min(old?.first ?? Infinity, next?.first ?? Infinity))
    const inOld = old !== undefined && old.first <= start
    const inNext = next !== undefined && next.first <= start
    // up to the nearest border of either side
    const end = Math.min(inOld ? old.last : (old?.first ?? Infinity) - 1, inNext ? next.last : (next?.first ?? Infinity) - 1)
    if ((inOld ? old.rule : null) !== (inNext ? next.rule : null)) {
      const op = inNext ? 'add' : 'remove'
      const previous = edits.at(-1)
      if (previous !== undefined && previous.op === op && previous.last + 1 === start) previous.last = end
      else edits.push({ op, first: start, last: end })
      if (edits.length > limit) return null
    }
    port = end + 1
    if (old !== undefined && old.last < port) b++
    if (next !== undefined && next.last < port) a++
  }
  const texts = (op: 'add' | 'remove'): string[] => edits
    .filter((edit) => edit.op === op)
    .map(({ first, last }) => (first === last ? String(first) : `${first}-${last}`))
  return { add: texts('add'), remove: texts('remove') }
}

/** Which rule a port belongs to; null = none. `parts` are sorted. */
export function portOwner(parts: readonly PortRule[], port: number): string | null {
  const part = parts[firstEndingAtOrAfter(parts, port)]
  return part !== undefined && part.first <= port ? part.rule : null
}
