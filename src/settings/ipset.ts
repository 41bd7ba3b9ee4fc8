// The keys of an ipset. Which texts are entries depends on its type, so entries are checked together with it (checkIpSet).
import type { IpSetSettings } from '../model/settings.ts'
import { DerpanetError, printable } from '../errors.ts'
import { findOverlaps, ipsetOptions, ipsetTypes, parseIpSetEntry } from '../model/ipset-entry.ts'
import { dict, list, textItem, word } from './codec.ts'
import { about } from './common.ts'
import type { FieldTable } from './field.ts'
import type { Mistake } from './kinds.ts'

const entryItem = textItem('entry', (entry) => {
  if (entry === '' || /[\s\u0000-\u001f\u007f]/.test(entry)) throw new DerpanetError('INVALID_ENTRY', `'${printable(entry)}'`)
  return entry
})

function parseOption(key: string, value: string): string {
  if (key === 'family') {
    if (value === 'inet' || value === 'inet6') return value
    throw new DerpanetError('INVALID_FAMILY', `'${printable(value)}' is neither inet nor inet6`)
  }
  if (!/^\d{1,10}$/.test(value) || Number(value) > 0xffffffff) throw new DerpanetError('INVALID_VALUE', `${key}: '${printable(value)}' is not a number`)
  if (key !== 'timeout' && Number(value) === 0) throw new DerpanetError('INVALID_VALUE', `${key} cannot be 0`)
  return value
}

export const ipSetFields: FieldTable<IpSetSettings> = {
  ...about,
  type: word<string>(ipsetTypes, 'INVALID_TYPE', {
    yaml: 'type', dbus: 'type', noun: 'Type', runtime: 'no', doc: 'What an entry is.',
  }),
  options: dict({
    yaml: 'options', dbus: 'options', noun: 'Option', runtime: 'no', keys: ipsetOptions, code: 'INVALID_IPSET',
    example: '{family: inet6, maxelem: 100000}', parse: parseOption,
    doc: 'family is inet (the default) or inet6; hashsize and maxelem size the set; timeout is in seconds, and then entries are not listed.',
  }),
  entries: { long: true, ...list(entryItem, 'INVALID_ENTRY', {
    yaml: 'entries', dbus: 'entries', noun: 'Entry', plural: 'Entries', runtime: 'plain', example: '[198.51.100.0/24, 203.0.113.7]',
    doc: 'The content of the set.',
  }) },
}

/** Whether the entries fit the type and each other; as in firewalld, entries of one set must not overlap. */
export function checkIpSet(ipset: IpSetSettings): Mistake[] {
  if (ipset.type === '') return [{ key: 'type', error: new DerpanetError('INVALID_TYPE', `an ipset needs a type: ${ipsetTypes.join(', ')}`) }]
  const mistakes: Mistake[] = []
  if (ipset.type === 'hash:mac' && ipset.options['family'] !== undefined) {
    mistakes.push({ key: 'options', item: 'family', error: new DerpanetError('INVALID_FAMILY', 'hash:mac has no family') })
  }
  const canonical: string[] = []
  const written = new Map<string, string>()
  for (const entry of ipset.entries) {
    try {
      const found = parseIpSetEntry(ipset.type, ipset.options, entry)
      canonical.push(found)
      written.set(found, entry)
    } catch (error) {
      if (!(error instanceof DerpanetError)) throw error
      mistakes.push({ key: 'entries', item: entry, error })
    }
  }
  if (mistakes.length > 0) return mistakes
  if (ipset.options['timeout'] !== undefined && ipset.options['timeout'] !== '0' && ipset.entries.length > 0) {
    return [{ key: 'entries', error: new DerpanetError('IPSET_WITH_TIMEOUT', 'entries of a set with a timeout live in the kernel only') }]
  }
  return findOverlaps(ipset.type, ipset.options, canonical).map(([entry, other]) => ({
    key: 'entries', item: written.get(entry)!,
    error: new DerpanetError('INVALID_ENTRY', `'${printable(written.get(entry)!)}' overlaps '${printable(written.get(other)!)}'`),
  }))
}

/** The set with its entries in canonical text; checkIpSet must have found nothing. */
export function canonicalIpSet(ipset: IpSetSettings): IpSetSettings {
  return { ...ipset, entries: ipset.entries.map((entry) => parseIpSetEntry(ipset.type, ipset.options, entry)) }
}
