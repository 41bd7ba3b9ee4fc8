// What a policy may be as a whole: which zones go together, and what only makes sense on the way somewhere.
import { DerpanetError, printable } from '../errors.ts'
import { parseRichRule } from './rich/index.ts'
import type { RichRule } from './rich/types.ts'
import type { PolicySettings, Settings } from './settings.ts'

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
  for (const { port, protocol, toPort, toAddr } of policy.forwardPorts) {
    const error = forwardMistake(policy, toAddr)
    if (error !== null) mistakes.push({ key: 'forwardPorts', item: `${port}/${protocol}:${toPort}${toAddr === '' ? '' : `:${toAddr}`}`, error })
  }
  for (const rule of policy.richRules) {
    const error = richMistake(policy, parseRichRule(rule))
    if (error !== null) mistakes.push({ key: 'richRules', item: rule, error })
  }
  return mistakes
}

function forwardMistake({ egressZones }: PolicySettings, toAddr: string): DerpanetError | null {
  const toHost = egressZones.includes('HOST')
  if (toHost === (toAddr === '')) return null
  return new DerpanetError('INVALID_FORWARD', toHost ? 'a forward-port to another host cannot end at HOST' : 'to-addr is needed, unless egress-zones is HOST')
}

function richMistake(policy: PolicySettings, { element, action, source }: RichRule): DerpanetError | null {
  const fromHost = policy.ingressZones.includes('HOST')
  const toHost = policy.egressZones.includes('HOST')
  if (element?.kind === 'forward-port') return forwardMistake(policy, element.toAddr)
  if (element?.kind === 'masquerade' && (fromHost || toHost)) return new DerpanetError('INVALID_ZONE', 'masquerade is for packets that pass through, not for HOST')
  // firewalld takes these, and cannot build the first two at the next reload
  if (fromHost && action?.kind === 'mark') return new DerpanetError('INVALID_RULE', 'mark in a policy from HOST')
  if (fromHost && source?.kind === 'mac') return new DerpanetError('INVALID_RULE', 'mac source in a policy from HOST')
  if (toHost && element?.kind === 'tcp-mss-clamp') return new DerpanetError('INVALID_RULE', 'tcp-mss-clamp is for packets that go on, not for HOST')
  return null
}

/** What of a policy is decided before routing, when nobody knows yet which interface a packet will leave by; null = nothing. */
function beforeRouting({ forwardPorts, richRules }: PolicySettings): 'forward-port' | 'mark' | null {
  const rules = richRules.map(parseRichRule)
  if (forwardPorts.length > 0 || rules.some(({ element }) => element?.kind === 'forward-port')) return 'forward-port'
  return rules.some(({ action }) => action?.kind === 'mark') ? 'mark' : null
}

/** Throws INVALID_ZONE when such a policy leads to a zone that has interfaces. */
export function checkEgress(name: string, policy: PolicySettings, zones: Settings['zones']): void {
  const bound = policy.egressZones.find((zone) => (zones.get(zone)?.value.interfaces.length ?? 0) > 0)
  const what = bound === undefined ? null : beforeRouting(policy)
  if (what !== null) throw new DerpanetError('INVALID_ZONE', `Policy '${printable(name)}': '${what}' cannot be used because egress zone '${bound}' has assigned interfaces`)
}

/** Throws INVALID_ZONE when a zone gets its first interface and such a policy leads to it. */
export function checkFirstInterface(zone: string, interfaces: readonly string[], { policies }: Pick<Settings, 'policies'>): void {
  if (interfaces.length === 0) return
  for (const [name, { value }] of policies) {
    const what = value.egressZones.includes(zone) ? beforeRouting(value) : null
    if (what !== null) throw new DerpanetError('INVALID_ZONE', `Policy '${printable(name)}': '${what}' cannot be used because egress zone '${printable(zone)}' has assigned interfaces`)
  }
}
