// `forward-port port="80" protocol="tcp" to-port="8080" to-addr="10.0.0.9"`: is an action itself.
import { parseAddr4, parseAddr6 } from '../addr.ts'
import { parsePortRange } from '../port.ts'
import { checkPort } from './port.ts'
import type { ElementGrammar } from './types.ts'
import { quoted, refuse } from './types.ts'

export const forwardPort: ElementGrammar<'forward-port'> = {
  attributes: ['port', 'protocol', 'to-port', 'to-addr'],
  action: 'refused',
  parse: (attributes) => ({
    kind: 'forward-port',
    port: attributes.get('port') ?? '',
    protocol: attributes.get('protocol') ?? '',
    toPort: attributes.get('to-port') ?? '',
    toAddr: attributes.get('to-addr') ?? '',
  }),
  check(element, rule) {
    checkPort(element.port, element.protocol)
    if (element.toPort === '' && element.toAddr === '') refuse('INVALID_PORT')
    if (element.toPort !== '' && parsePortRange(element.toPort) === null) refuse('INVALID_PORT', element.toPort)
    const parse = rule.family === 'ipv6' ? parseAddr6 : parseAddr4
    if (element.toAddr !== '' && parse(element.toAddr) === null) refuse('INVALID_ADDR', element.toAddr)
  },
  format: (element) =>
    `forward-port port=${quoted(element.port)} protocol=${quoted(element.protocol)}`
    + (element.toPort === '' ? '' : ` to-port=${quoted(element.toPort)}`)
    + (element.toAddr === '' ? '' : ` to-addr=${quoted(element.toAddr)}`),
}
