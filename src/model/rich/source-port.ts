// `source-port port="53" protocol="udp"`: the port the sender uses.
import { checkPort } from './port.ts'
import type { ElementGrammar } from './types.ts'
import { quoted } from './types.ts'

export const sourcePort: ElementGrammar<'source-port'> = {
  attributes: ['port', 'protocol'],
  action: 'needed',
  parse: (attributes) => ({ kind: 'source-port', port: attributes.get('port') ?? '', protocol: attributes.get('protocol') ?? '' }),
  check(element) {
    checkPort(element.port, element.protocol)
  },
  format: (element) => `source-port port=${quoted(element.port)} protocol=${quoted(element.protocol)}`,
}
