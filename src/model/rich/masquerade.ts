// `masquerade`: is an action itself.
import type { ElementGrammar } from './types.ts'
import { refuse } from './types.ts'

export const masquerade: ElementGrammar<'masquerade'> = {
  attributes: [],
  action: 'refused',
  parse: () => ({ kind: 'masquerade' }),
  // the sender's MAC is gone where addresses are rewritten
  check(_element, rule) {
    if (rule.source?.kind === 'mac') refuse('INVALID_RULE', 'masquerade and mac source')
  },
  format: () => 'masquerade',
}
