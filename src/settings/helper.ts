// The keys of a connection helper.
import type { HelperSettings } from '../model/settings.ts'
import { DerpanetError, printable } from '../errors.ts'
import { list, portItem, text, word } from './codec.ts'
import { about } from './common.ts'
import type { FieldTable, ScalarField } from './field.ts'
import type { Mistake } from './kinds.ts'

const moduleField: ScalarField<string> = {
  ...text({
    yaml: 'module', dbus: 'module', noun: 'Module', runtime: 'no', query: true, example: 'nf_conntrack_ftp',
    doc: 'Kernel module, beginning with nf_conntrack_.',
  }),
  code: 'INVALID_MODULE',
  parse: (value) => {
    if (typeof value !== 'string') throw new DerpanetError('INVALID_MODULE', 'expected text')
    if (value !== '' && !/^nf_conntrack_[A-Za-z0-9_-]{1,48}$/.test(value)) {
      throw new DerpanetError('INVALID_MODULE', `'${printable(value)}' does not begin with 'nf_conntrack_'`)
    }
    return value
  },
}

export const helperFields: FieldTable<HelperSettings> = {
  ...about,
  family: word(['', 'ipv4', 'ipv6'], 'INVALID_IPV', {
    yaml: 'family', dbus: 'family', noun: 'Family', runtime: 'no', query: true, doc: 'The family it is for; empty means both.',
  }),
  module: moduleField,
  ports: list(portItem, 'INVALID_PORT', {
    yaml: 'ports', dbus: 'ports', noun: 'Port', runtime: 'no', example: '[21/tcp]', doc: 'Ports of the connections it watches.',
  }),
}

export function checkHelper(helper: HelperSettings): Mistake[] {
  return helper.module === '' ? [{ key: 'module', error: new DerpanetError('INVALID_MODULE', 'a helper needs a module') }] : []
}
