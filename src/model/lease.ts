// Openings for a time: rules that must stop working at their time even when nobody is left to take them away. The daemon
// takes them back by its clock; what is said here makes the kernel do it too.
import type { Change, ZoneItemField } from './change.ts'
import type { Firewall, Rule, Zone } from './firewall.ts'
import { parsePortSpec } from './port.ts'
import { formatRichRule, parseRichRule } from './rich/index.ts'

/** A change that is due: its opening ends at `dueMs` of the monotonic clock. */
export interface Lease {
  readonly dueMs: number
  readonly change: Change
}

/** Fields whose items let packets in, by their word in rule ids. */
const openingFields: Partial<Readonly<Record<ZoneItemField, { readonly word: string; text(item: readonly string[]): string }>>> = {
  services: { word: 'services', text: ([name = '']) => name },
  ports: { word: 'ports', text: portText },
  sourcePorts: { word: 'source-ports', text: portText },
  protocols: { word: 'protocols', text: ([name = '']) => name },
  richRules: { word: 'rich-rules', text: ([rule = '']) => formatRichRule(parseRichRule(rule)) },
}

function portText([port = '', protocol = '']: readonly string[]): string {
  const spec = parsePortSpec(port, protocol)
  return `${spec.port}/${spec.protocol}`
}

/**
 * The firewall with the time of each timed rule that lets packets in. What is timed and merged into something wider (a port
 * into a range that was there) is no rule of its own: only the daemon takes it back. Rules that deny for a time stay longer
 * without a daemon, which opens nothing. The same firewall when nothing is timed.
 */
export function withLeases(firewall: Firewall, leases: readonly Lease[]): Firewall {
  const byZone = new Map<string, Map<string, number>>()
  for (const { dueMs, change } of leases) {
    if (change.kind !== 'zone-item-expire') continue
    const field = openingFields[change.field]
    if (field === undefined) continue
    const ends = byZone.get(change.zone) ?? new Map<string, number>()
    byZone.set(change.zone, ends.set(`zone/${change.zone}/${field.word}=${field.text(change.item)}`, dueMs))
  }
  if (byZone.size === 0) return firewall
  const zones = new Map([...firewall.zones].map(([name, zone]) => {
    const ends = byZone.get(name)
    return [name, ends === undefined ? zone : leasedZone(zone, ends)]
  }))
  return { ...firewall, zones }
}

/** Equal times give the same zone again: whoever compiles it knows it. */
const leased = new WeakMap<Zone, { readonly key: string; readonly zone: Zone }>()

function leasedZone(zone: Zone, ends: ReadonlyMap<string, number>): Zone {
  const key = JSON.stringify([...ends])
  const known = leased.get(zone)
  if (known?.key === key) return known.zone
  const rules = zone.rules.map((rule): Rule => {
    const untilMs = rule.verdict.kind === 'accept' ? ends.get(rule.id.split('#')[0] ?? '') ?? ends.get(rule.id) : undefined
    return untilMs === undefined ? rule : { ...rule, untilMs }
  })
  const made = { ...zone, rules }
  leased.set(zone, { key, zone: made })
  return made
}
