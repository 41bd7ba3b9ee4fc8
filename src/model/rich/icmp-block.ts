// `icmp-block name="echo-request"`: rejects that type; takes no action.
import type { ElementGrammar } from './types.ts'
import { needAttribute, quoted } from './types.ts'

export const icmpBlock: ElementGrammar<'icmp-block'> = {
  attributes: ['name'],
  action: 'refused',
  parse: (attributes) => ({ kind: 'icmp-block', name: needAttribute('icmp-block', 'name', attributes) }),
  check() {},
  format: (element) => `icmp-block name=${quoted(element.name)}`,
}
