// Our own interface. Structured answers are one JSON text each: its shape is documented in handlers/derpanet.ts and may
// grow; a caller that wants numbers without parsing has Counters.
import { actions } from '../../auth/actions.ts'
import { method, signal, type InterfaceRow } from './row.ts'

export const derpanetName = 'org.derpanet.Derpanet1'
export const derpanetPath = '/org/derpanet/Derpanet1'

export const derpanetInterface: InterfaceRow = {
  name: derpanetName,
  deprecatedIn: [],
  propertyAction: actions.derpanetInfo,
  members: [
    method('Status', '', 's', actions.derpanetInfo),
    method('Counters', '', 'a(stt)', actions.derpanetInfo),
    method('Zones', '', 's', actions.derpanetInfo),
    method('Reload', '', '', actions.derpanetConfig),
    method('ReloadForcingLists', '', '', actions.derpanetConfig),
    method('Apply', 'changes:s options:a{sv}', 's', actions.derpanetConfig),
    method('Confirm', '', 'i', actions.derpanetConfig),
    method('Undo', 'generation:i options:a{sv}', 's', actions.derpanetConfig),
    method('Log', 'count:i', 's', actions.derpanetInfo),
    method('Difference', 'from:s to:s', 'as', actions.derpanetInfo),
    signal('Reloaded'),
  ],
}
