// The keys of a policy: what may pass from its ingress zones to its egress zones.
import type { PolicySettings, PolicyTarget } from '../model/settings.ts'
import { DerpanetError, printable } from '../errors.ts'
import { policyMistakes, symbolicZones } from '../model/policy.ts'
import { flag, forwardPortItem, integer, list, nameItem, portItem, protocolItem, richRuleItem, textItem, word } from './codec.ts'
import { aboutWhole } from './common.ts'
import type { FieldTable } from './field.ts'
import type { Mistake } from './kinds.ts'
import { isName } from './names.ts'

export const policyTargets: readonly PolicyTarget[] = ['CONTINUE', 'ACCEPT', 'REJECT', 'DROP']

export { symbolicZones }

const zoneItem = textItem('zone', (name) => {
  if (!symbolicZones.includes(name) && !isName('zone', name)) throw new DerpanetError('INVALID_ZONE', printable(name))
  return name
})

export const policyFields: FieldTable<PolicySettings> = {
  ...aboutWhole,
  target: word(policyTargets, 'INVALID_TARGET', {
    yaml: 'target', dbus: 'target', runtime: 'no',
    doc: 'What happens at the end of the policy: CONTINUE goes on to the rules that follow it.',
  }),
  services: list(nameItem('service', 'service', 'INVALID_SERVICE'), 'INVALID_SERVICE', {
    yaml: 'services', dbus: 'services', runtime: 'timed', example: '[http]', doc: 'Services that may be reached.',
  }),
  ports: list(portItem, 'INVALID_PORT', {
    yaml: 'ports', dbus: 'ports', runtime: 'timed', example: '[8080/tcp]', doc: 'Ports that may be reached.',
  }),
  icmpBlocks: list(nameItem('icmp', 'icmptype', 'INVALID_ICMPTYPE'), 'INVALID_ICMPTYPE', {
    yaml: 'icmp-blocks', dbus: 'icmp_blocks', runtime: 'timed', doc: 'ICMP types that are rejected.',
  }),
  masquerade: flag({ yaml: 'masquerade', dbus: 'masquerade', runtime: 'timed', doc: 'Rewrite the sender of packets the policy lets through.' }),
  forwardPorts: list(forwardPortItem, 'INVALID_FORWARD', {
    yaml: 'forward-ports', dbus: 'forward_ports', runtime: 'timed', doc: 'Ports that are handed to another port or host.',
  }),
  richRules: list(richRuleItem, 'INVALID_RULE', {
    yaml: 'rich-rules', dbus: 'rich_rules', runtime: 'timed', doc: 'Rules in firewalld\'s rich language.',
  }),
  protocols: list(protocolItem, 'INVALID_PROTOCOL', {
    yaml: 'protocols', dbus: 'protocols', runtime: 'timed', doc: 'IP protocols that may pass, by name or number.',
  }),
  sourcePorts: list(portItem, 'INVALID_PORT', {
    yaml: 'source-ports', dbus: 'source_ports', runtime: 'timed', doc: 'Packets sent from these ports may pass.',
  }),
  priority: integer({ min: -32768, max: 32767, refused: [0] }, 'INVALID_PRIORITY', {
    yaml: 'priority', dbus: 'priority', runtime: 'no',
    doc: 'Lower numbers come first; negative ones before the rules of zones, positive ones after them.',
  }),
  ingressZones: list(zoneItem, 'INVALID_ZONE', {
    yaml: 'ingress-zones', dbus: 'ingress_zones', runtime: 'timed', example: '[internal]',
    doc: 'Where packets come from: zones, or ANY, or HOST.',
  }),
  egressZones: list(zoneItem, 'INVALID_ZONE', {
    yaml: 'egress-zones', dbus: 'egress_zones', runtime: 'timed', example: '[HOST]',
    doc: 'Where they go: zones, or ANY, or HOST.',
  }),
  disable: flag({ yaml: 'disable', dbus: 'disable', runtime: 'no', since: '2.5', doc: 'The policy is kept but has no effect.' }),
}

/** Rules that concern several keys. */
export const checkPolicy: (policy: PolicySettings) => Mistake[] = policyMistakes
