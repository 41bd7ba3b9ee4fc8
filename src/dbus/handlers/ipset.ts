// The runtime .ipset interface. A set with a timeout belongs to the kernel: entries go in, none is ever listed.
import { DerpanetError, printable } from '../../errors.ts'
import { isTimed, soughtEntry } from '../../model/ipset.ts'
import type { IpSetSettings } from '../../model/settings.ts'
import { fieldBody, tupleBody } from './encoded.ts'
import { changedQuietly, namesBody, runtimeSettings, text, texts, type Handlers } from './handler.ts'
import { runtimeEntry } from './main.ts'

export const ipsetHandlers: Handlers = {
  queryIPSet: (call, args) => runtimeSettings(call).ipsets.has(text(args, 0)),
  getIPSets: (call) => namesBody(runtimeSettings(call).ipsets),
  getIPSetSettings: (call, args) => tupleBody('ipset', runtimeEntry(call, 'ipset', text(args, 0))),
  addEntry: (call, args) => changedQuietly(call, { kind: 'ipset-entry-add', ipset: text(args, 0), entry: text(args, 1) }),
  removeEntry: (call, args) => changedQuietly(call, { kind: 'ipset-entry-remove', ipset: text(args, 0), entry: text(args, 1) }),
  setEntries: (call, args) => changedQuietly(call, { kind: 'ipset-entries-set', ipset: text(args, 0), entries: texts(args, 1) }),
  getEntries: (call, args) => fieldBody('ipset', 'entries', 'as', runtimeEntry(call, 'ipset', text(args, 0))),
  queryEntry: (call, args) => {
    const name = text(args, 0)
    const { value } = runtimeEntry(call, 'ipset', name)
    const ipset = value as IpSetSettings
    if (isTimed(ipset.options)) throw new DerpanetError('IPSET_WITH_TIMEOUT', printable(name))
    // reading a million texts takes a few milliseconds, keeping them in a second form as well takes their memory twice
    return ipset.entries.includes(soughtEntry(ipset.type, ipset.options, text(args, 1)) ?? '')
  },
}
