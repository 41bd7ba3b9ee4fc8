// `icmp-type name="redirect"`: matches that type for the rule's action.
import type { ElementGrammar } from './types.ts'
import { needAttribute, quoted } from './types.ts'

export const icmpType: ElementGrammar<'icmp-type'> = {
  attributes: ['name'],
  action: 'needed',
  parse: (attributes) => ({ kind: 'icmp-type', name: needAttribute('icmp-type', 'name', attributes) }),
  check() {},
  format: (element) => `icmp-type name=${quoted(element.name)}`,
}
