// What a policy may be as a whole: which zones go together, and what only makes sense on the way somewhere.
import { DerpanetError } from '../errors.ts'
import { parseRichRule } from './rich/index.ts'
import type { PolicySettings } from './settings.ts'

/** Not zones but words for "every zone" and "this host itself". */
export const symbolicZones: readonly string[] = ['ANY', 'HOST']

export interface PolicyMistake {
  readonly key: keyof PolicySettings
  readonly item?: string
  readonly error: DerpanetError
}

const yamlKey = { ingressZones: 'ingress-zones', egressZones: 'egress-zones' } as const

/** Rules that concern several keys. */
export function policyMistakes(policy: PolicySettings): PolicyMistake[] {
  const mistakes: PolicyMistake[] = []
  for (const key of ['ingressZones', 'egressZones'] as const) {
    const zones = policy[key]
    const symbolic = zones.find((zone) => symbolicZones.includes(zone))
    if (symbolic !== undefined && zones.length > 1) {
      mistakes.push({ key, item: symbolic, error: new DerpanetError('INVALID_ZONE', `${symbolic} stands alone in ${yamlKey[key]}`) })
    }
  }
  if (policy.ingressZones.includes('HOST') && policy.egressZones.includes('HOST')) {
    mistakes.push({ key: 'egressZones', item: 'HOST', error: new DerpanetError('INVALID_ZONE', 'HOST is in ingress-zones and in egress-zones') })
  }
  if (policy.masquerade && (policy.egressZones.includes('HOST') || policy.ingressZones.includes('HOST'))) {
    mistakes.push({ key: 'masquerade', error: new DerpanetError('INVALID_ZONE', 'masquerade is for packets that pass through, not for HOST') })
  }
  for (const forward of policy.forwardPorts) {
    if (forward.toAddr !== '' || policy.egressZones.includes('HOST')) continue
    mistakes.push({
      key: 'forwardPorts',
      item: `${forward.port}/${forward.protocol}:${forward.toPort}`,
      error: new DerpanetError('INVALID_FORWARD', 'to-addr is needed, unless egress-zones is HOST'),
    })
  }
  for (const rule of policy.richRules) {
    const { element } = parseRichRule(rule)
    if (element?.kind !== 'forward-port' || element.toAddr !== '' || policy.egressZones.includes('HOST')) continue
    mistakes.push({ key: 'richRules', item: rule, error: new DerpanetError('INVALID_FORWARD', 'to-addr is needed, unless egress-zones is HOST') })
  }
  return mistakes
}
