// The keys of an ICMP type: a name for type and code numbers.
import type { IcmpTypeSettings } from '../model/settings.ts'
import { familyItem, icmpNumberItem, list } from './codec.ts'
import { about } from './common.ts'
import type { FieldTable } from './field.ts'

export const icmpTypeFields: FieldTable<IcmpTypeSettings> = {
  ...about,
  destinations: list(familyItem('destination'), 'INVALID_DESTINATION', {
    yaml: 'destinations', dbus: 'destinations', noun: 'Destination', runtime: 'no', example: '[ipv4]',
    doc: 'Families the type exists in; none means both.',
  }),
  ipv4: list(icmpNumberItem, 'INVALID_ICMPTYPE', {
    yaml: 'ipv4', runtime: 'no', example: '[3/1]', doc: 'ICMP numbers: TYPE for every code, TYPE/CODE for one. Without it the type cannot be matched in IPv4.',
  }),
  ipv6: list(icmpNumberItem, 'INVALID_ICMPTYPE', {
    yaml: 'ipv6', runtime: 'no', example: '[1/3]', doc: 'The same for ICMPv6.',
  }),
}
