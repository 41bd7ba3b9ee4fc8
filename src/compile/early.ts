// What is decided before connection tracking: who always passes, panic, block lists.
// The same facts go to XDP as `EarlyPlan`, so that both stages drop the same packets.
import type { Family } from '../model/addr.ts'
import { families } from '../model/addr.ts'
import type { Firewall } from '../model/firewall.ts'
import { blockListRule, discovery, failsafeRule, neverBlockRule, stageRules, tooBig } from '../model/stages.ts'
import type { EarlyPlan, PlanChain, PlanMatch, PlanRule } from './plan.ts'
import { listSet, prefixSet } from './sets.ts'
import type { SetRegistry } from './sets.ts'

/** More never-block prefixes than these go into a set, and are then counted together as `never-block`. */
const maxLinearPrefixes = 16

export function compileEarly(firewall: Firewall): EarlyPlan {
  return {
    panic: firewall.panic,
    allow: firewall.neverBlock.map(({ prefix, origin }) => ({ prefix, rule: neverBlockRule(prefix), origin })),
    failsafePorts: firewall.failsafePorts,
    deny: firewall.blockLists.map((list) => ({ list, rule: blockListRule(list.name) })),
  }
}

const discoveryRules: readonly PlanRule[] = discovery.map((type) => ({
  id: '', match: [{ kind: 'family', family: 'ipv6' }, { kind: 'icmp', type, code: null }], verdict: { kind: 'return' },
}))

/** null = nothing to decide, no hook needed. */
export function earlyInputChain(firewall: Firewall, sets: SetRegistry): PlanChain | null {
  const drops: PlanRule[] = []
  for (const list of firewall.blockLists) {
    for (const family of families) {
      if ((family === 'ipv4' ? list.lengths4 : list.lengths6).length === 0) continue
      const role = sets.add(listSet(list, family))
      const match: PlanMatch[] = [{ kind: 'family', family }, { kind: 'set', role, side: 'source', invert: false }]
      drops.push({ id: blockListRule(list.name), match, verdict: { kind: 'drop' } })
    }
  }
  if (firewall.panic) drops.push(...tooBigRules(firewall), { id: stageRules.panic, match: [], verdict: { kind: 'drop' } })
  if (drops.length === 0) return null
  // forwarded packets to the same port number of another host are none of the failsafe's business
  const failsafe = firewall.failsafePorts.map((port): PlanRule => ({
    id: failsafeRule(port),
    match: [{ kind: 'port', protocol: port.protocol, side: 'destination', ports: port.ports }, { kind: 'local-destination' }],
    verdict: { kind: 'return' },
    origin: port.origin,
  }))
  return { name: 'early-input', rules: [...failsafe, ...discoveryRules, ...neverBlockRules(firewall, sets, 'source', 'return'), ...drops] }
}

/** Forwarded ones are about packets that panic does not forward. */
function tooBigRules(firewall: Firewall): readonly PlanRule[] {
  if (firewall.failsafePorts.length === 0 && firewall.neverBlock.length === 0) return []
  return families.map((family) => ({
    id: '', match: [{ kind: 'family', family }, { kind: 'icmp', ...tooBig[family] }, { kind: 'local-destination' }], verdict: { kind: 'return' },
  }))
}

/** Only panic stops what leaves; the failsafe ports' answers and never-block destinations still do. */
export function earlyOutputChain(firewall: Firewall, sets: SetRegistry): PlanChain | null {
  if (!firewall.panic) return null
  const failsafe = firewall.failsafePorts.map((port): PlanRule => ({
    id: failsafeRule(port),
    match: [{ kind: 'port', protocol: port.protocol, side: 'source', ports: port.ports }],
    verdict: { kind: 'return' },
    origin: port.origin,
  }))
  return {
    name: 'early-output',
    rules: [
      ...failsafe,
      ...discoveryRules,
      ...neverBlockRules(firewall, sets, 'destination', 'return'),
      { id: stageRules.panic, match: [], verdict: { kind: 'drop' } },
    ],
  }
}

export function neverBlockRules(
  firewall: Firewall, sets: SetRegistry, side: 'source' | 'destination', verdict: 'return' | 'accept',
): readonly PlanRule[] {
  return families.flatMap((family: Family): PlanRule[] => {
    const entries = firewall.neverBlock.filter(({ prefix }) => prefix.family === family)
    if (entries.length > maxLinearPrefixes) {
      const role = sets.add(prefixSet(`never-block:${family === 'ipv4' ? 4 : 6}`, family, entries.map(({ prefix }) => prefix)))
      const match: PlanMatch[] = [{ kind: 'family', family }, { kind: 'set', role, side, invert: false }]
      return [{ id: 'never-block', match, verdict: { kind: verdict } }]
    }
    return entries.map(({ prefix, origin }) => ({
      id: neverBlockRule(prefix),
      match: [{ kind: 'family', family }, { kind: side === 'source' ? 'source-prefix' : 'destination-prefix', prefix, invert: false }],
      verdict: { kind: verdict },
      origin,
    }))
  })
}
