// `tcp-mss-clamp value="pmtu"`: is an action itself.
import type { ElementGrammar } from './types.ts'
import { quoted, refuse } from './types.ts'

/** The smallest segment every IPv4 host must take (RFC 9293). */
const minBytes = 536

export const tcpMssClamp: ElementGrammar<'tcp-mss-clamp'> = {
  attributes: ['value'],
  action: 'refused',
  parse: (attributes) => ({ kind: 'tcp-mss-clamp', value: attributes.get('value') ?? '' }),
  check({ value }) {
    if (value === '' || value === 'pmtu') return
    if (!/^\d{1,6}$/.test(value) || Number(value) < minBytes) {
      refuse('INVALID_RULE', `tcp-mss-clamp value '${value}' must be 'pmtu' or an integer >= ${minBytes}`)
    }
  },
  format: (element) => (element.value === '' ? 'tcp-mss-clamp' : `tcp-mss-clamp value=${quoted(element.value)}`),
}
