// What happens to a packet that arrived before anything judges it: marks that its zone gives. Marks must be there before
// routing, and on every packet of a connection, so known connections are no exception here.
import type { Firewall } from '../model/firewall.ts'
import { activeZones, compileIngress } from './dispatch.ts'
import type { MatchContext } from './match.ts'
import type { PlanChain } from './plan.ts'
import { compileRule } from './rules.ts'
import { marksChainName } from './zone.ts'

/** Callers last. Empty when there is nothing to do: no hook needed. */
export function preroutingChains(firewall: Firewall, context: MatchContext): readonly PlanChain[] {
  const active = activeZones(firewall)
  const marks = [...firewall.zones.values()].flatMap((zone): readonly PlanChain[] => {
    if (!active.has(zone.name) || zone.marks === undefined || zone.marks.length === 0) return []
    return [{ name: marksChainName(zone.name), rules: zone.marks.flatMap((rule) => compileRule(rule, context)) }]
  })
  if (marks.length === 0) return []
  const marking = new Set(marks.map(({ name }) => name))
  const chainOf = (zone: string): string | null => (marking.has(marksChainName(zone)) ? marksChainName(zone) : null)
  return [...marks, { name: 'prerouting', rules: compileIngress(firewall, chainOf, context) }]
}
