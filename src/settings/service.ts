// The keys of a service: the ports, protocols and destinations that a name stands for.
import type { ServiceSettings } from '../model/settings.ts'
import { DerpanetError, printable } from '../errors.ts'
import { parsePrefix } from '../model/addr.ts'
import { dict, list, moduleItem, nameItem, portItem, protocolItem } from './codec.ts'
import { about } from './common.ts'
import type { FieldTable } from './field.ts'

export const serviceFields: FieldTable<ServiceSettings> = {
  ...about,
  ports: list(portItem, 'INVALID_PORT', {
    yaml: 'ports', dbus: 'ports', noun: 'Port', runtime: 'no', example: '[80/tcp, 443/tcp]', doc: 'Ports the service listens on.',
  }),
  modules: list(moduleItem, 'INVALID_MODULE', {
    yaml: 'modules', dbus: 'modules', noun: 'Module', runtime: 'no', example: '[nf_conntrack_ftp]',
    doc: 'Kernel modules of connection helpers, the old way to write helpers.',
  }),
  destination: dict({
    yaml: 'destination', dbus: 'destination', noun: 'Destination', runtime: 'no', keys: ['ipv4', 'ipv6'], code: 'INVALID_DESTINATION',
    example: '{ipv4: 224.0.0.251, ipv6: "ff02::fb"}',
    doc: 'The service is open only for packets to this address or prefix, at most one per family; a family without one is closed.',
    parse: (family, address) => {
      const prefix = parsePrefix(address)
      if (prefix === null || prefix.family !== family) throw new DerpanetError('INVALID_ADDR', `'${printable(address)}' is not an ${family} address or prefix`)
      return address
    },
  }),
  protocols: list(protocolItem, 'INVALID_PROTOCOL', {
    yaml: 'protocols', dbus: 'protocols', noun: 'Protocol', runtime: 'no', example: '[gre]', doc: 'IP protocols of the service, by name or number.',
  }),
  sourcePorts: list(portItem, 'INVALID_PORT', {
    yaml: 'source-ports', dbus: 'source_ports', noun: 'SourcePort', runtime: 'no', doc: 'Ports its packets are sent from.',
  }),
  includes: list(nameItem('include', 'service', 'INVALID_SERVICE'), 'INVALID_SERVICE', {
    yaml: 'includes', dbus: 'includes', noun: 'Include', runtime: 'no', example: '[http]', doc: 'Services that are opened with this one.',
  }),
  helpers: list(nameItem('helper', 'helper', 'INVALID_HELPER'), 'INVALID_HELPER', {
    yaml: 'helpers', dbus: 'helpers', runtime: 'no', example: '[ftp]', doc: 'Connection helpers that follow its related connections.',
  }),
}
