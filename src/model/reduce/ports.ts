// Lists of ports as sets of numbers: ranges that overlap become one (neighbours stay two, as firewalld has it), taking
// out of the middle leaves two.
import type { PortRange } from '../firewall.ts'
import { formatPortRange, parsePortRange } from '../port.ts'
import type { PortSpec } from '../settings.ts'

interface Piece {
  readonly spec: PortSpec
  readonly range: PortRange | null
}

const ranges = new WeakMap<PortSpec, PortRange | null>()

/** Specs stay the same objects from one change to the next. */
function rangeOf(spec: PortSpec): PortRange | null {
  let range = ranges.get(spec)
  if (range === undefined) ranges.set(spec, range = parsePortRange(spec.port))
  return range
}

function pieces(list: readonly PortSpec[], protocol: string): readonly Piece[] {
  return list.map((spec) => ({ spec, range: spec.protocol === protocol ? rangeOf(spec) : null }))
}

/** Is the whole range within one piece of the list? Two pieces side by side do not make one. */
export function coversPorts(list: readonly PortSpec[], protocol: string, range: PortRange): boolean {
  return list.some((spec) => {
    const piece = spec.protocol === protocol ? rangeOf(spec) : null
    return piece !== null && piece.first <= range.first && range.last <= piece.last
  })
}

/** The new range, grown by all it overlaps, stands at the end. */
export function addPorts(list: readonly PortSpec[], protocol: string, range: PortRange): readonly PortSpec[] {
  const touches = (spec: PortSpec): boolean => {
    const piece = spec.protocol === protocol ? rangeOf(spec) : null
    return piece !== null && piece.first <= range.last && piece.last >= range.first
  }
  if (!list.some(touches)) return [...list, { port: formatPortRange(range), protocol }]
  let { first, last } = range
  let rest = pieces(list, protocol)
  for (let grown = true; grown;) {
    const overlapping = rest.filter((piece) => piece.range !== null && piece.range.first <= last && piece.range.last >= first)
    rest = rest.filter((piece) => !overlapping.includes(piece))
    for (const piece of overlapping) {
      first = Math.min(first, piece.range!.first)
      last = Math.max(last, piece.range!.last)
    }
    grown = overlapping.length > 0
  }
  return [...rest.map(({ spec }) => spec), { port: formatPortRange({ first, last }), protocol }]
}

/** What is left of pieces that lose a part stands at the end, in ascending order. The same list when nothing of it is there. */
export function removePorts(list: readonly PortSpec[], protocol: string, range: PortRange): readonly PortSpec[] {
  const kept: PortSpec[] = []
  const left: PortRange[] = []
  for (const spec of list) {
    const piece = spec.protocol === protocol ? rangeOf(spec) : null
    if (piece === null || piece.last < range.first || piece.first > range.last) kept.push(spec)
    else {
      if (piece.first < range.first) left.push({ first: piece.first, last: range.first - 1 })
      if (piece.last > range.last) left.push({ first: range.last + 1, last: piece.last })
    }
  }
  if (kept.length === list.length) return list
  left.sort((one, other) => one.first - other.first)
  return [...kept, ...left.map((piece) => ({ port: formatPortRange(piece), protocol }))]
}
