// How one set becomes another by single elements.
import type { PlanSet, PortRule } from '../compile/plan.ts'

export interface ElementEdits {
  readonly add: readonly string[]
  readonly remove: readonly string[]
}

/**
 * What to add to and remove from a set that holds `before` so that it holds `after`, or null when that takes more than
 * `limit` elements (or may: packed lists are never compared). In `port` sets a port that changes its owner is added again,
 * with fresh counters.
 */
export function elementEdits(before: PlanSet, after: PlanSet, limit: number): ElementEdits | null {
  if (before.kind !== after.kind || before.family !== after.family || shapeOf(before) !== shapeOf(after)) return null
  if (before.portRules !== undefined && after.portRules !== undefined) return portEdits(before.portRules, after.portRules, limit)
  if (before.elements.kind !== 'text' || after.elements.kind !== 'text') return null
  return textEdits(before.elements.entries, after.elements.entries, limit)
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

/** Works on the stretches between all borders of both sides, since ranges may be cut differently. */
function portEdits(before: readonly PortRule[], after: readonly PortRule[], limit: number): ElementEdits | null {
  const borders = new Set<number>()
  for (const part of [...before, ...after]) borders.add(part.first).add(part.last + 1)
  const sorted = [...borders].sort((x, y) => x - y)
  const edits: { op: 'add' | 'remove'; first: number; last: number }[] = []
  for (const [index, first] of sorted.entries()) {
    const next = sorted[index + 1]
    if (next === undefined) break
    const old = portOwner(before, first)
    const owner = portOwner(after, first)
    if (old === owner) continue
    const op = owner === null ? 'remove' : 'add'
    const previous = edits.at(-1)
    if (previous !== undefined && previous.op === op && previous.last + 1 === first) previous.last = next - 1
    else edits.push({ op, first, last: next - 1 })
  }
  if (edits.length > limit) return null
  const texts = (op: 'add' | 'remove'): string[] => edits
    .filter((edit) => edit.op === op)
    .map(({ first, last }) => (first === last ? String(first) : `${first}-${last}`))
  return { add: texts('add'), remove: texts('remove') }
}

/** Which rule a port belongs to; null = none. */
export function portOwner(parts: readonly PortRule[], port: number): string | null {
  return parts.find((part) => part.first <= port && port <= part.last)?.rule ?? null
}
