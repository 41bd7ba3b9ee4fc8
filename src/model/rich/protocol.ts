// `protocol value="gre"`.
import { requireProtocol } from '../protocol.ts'
import type { ElementGrammar } from './types.ts'
import { needAttribute, quoted } from './types.ts'

export const protocol: ElementGrammar<'protocol'> = {
  attributes: ['value'],
  action: 'needed',
  parse: (attributes) => ({ kind: 'protocol', value: needAttribute('protocol', 'value', attributes) }),
  check(element) {
    requireProtocol(element.value)
  },
  format: (element) => `protocol value=${quoted(element.value)}`,
}
