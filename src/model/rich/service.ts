// `service name="ssh"`.
import type { ElementGrammar } from './types.ts'
import { needAttribute, quoted } from './types.ts'

export const service: ElementGrammar<'service'> = {
  attributes: ['name'],
  action: 'needed',
  parse: (attributes) => ({ kind: 'service', name: needAttribute('service', 'name', attributes) }),
  check() {},
  format: (element) => `service name=${quoted(element.name)}`,
}
