// Lists of ports as sets of numbers: ranges that overlap become one (neighbours stay two, as firewalld has it), taking
// out of the middle leaves two.
import type { PortRange } from '../firewall.ts'
import { formatPortRange, parsePortRange } from '../port.ts'
import type { PortSpec } from '../settings.ts'

interface Piece {
  readonly spec: PortSpec
  readonly range: PortRange | null
}

function pieces(list: readonly PortSpec[], protocol: string): readonly Piece[] {
  return list.map((spec) => ({ spec, range: spec.protocol === protocol ? parsePortRange(spec.port) : null }))
}

/** Is the whole range within one piece of the list? Two pieces side by side do not make one. */
export function coversPorts(list: readonly PortSpec[], protocol: string, range: PortRange): boolean {
  return pieces(list, protocol).some((piece) => piece.range !== null && piece.range.first <= range.first && range.last <= piece.range.last)
}

/** The new range, grown by all it overlaps, stands at the end. */
export function addPorts(list: readonly PortSpec[], protocol: string, range: PortRange): readonly PortSpec[] {
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
  for (const { spec, range: piece } of pieces(list, protocol)) {
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
