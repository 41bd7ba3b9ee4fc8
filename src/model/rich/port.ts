// `port port="80-90" protocol="tcp"`.
import { isPortProtocol, parsePortRange } from '../port.ts'
import type { ElementGrammar } from './types.ts'
import { quoted, refuse } from './types.ts'

export const port: ElementGrammar<'port'> = {
  attributes: ['port', 'protocol'],
  action: 'needed',
  parse: (attributes) => ({ kind: 'port', port: attributes.get('port') ?? '', protocol: attributes.get('protocol') ?? '' }),
  check(element) {
    checkPort(element.port, element.protocol)
  },
  format: (element) => `port port=${quoted(element.port)} protocol=${quoted(element.protocol)}`,
}

/** Throws INVALID_PORT, INVALID_PROTOCOL: what a missing attribute gives, too. */
export function checkPort(text: string, protocol: string): void {
  if (parsePortRange(text) === null) refuse('INVALID_PORT', text)
  if (!isPortProtocol(protocol)) refuse('INVALID_PROTOCOL', protocol)
}
