// org.derpanet.Derpanet1. Status and Zones answer JSON, because their shape grows:
//   Status: the ServiceStatus of service.ts as it is.
//   Zones:  [{ name, isDefault, isActive, target, interfaces, sources, services, ports, protocols, sourcePorts,
//              icmpBlocks, icmpBlockInversion, masquerade, forward, forwardPorts, richRules, layer, file }], by name.
//           Lists hold one text an item, as in the YAML; `file` is null for what no file holds.
//   Counters: (rule id, packets, bytes), by rule id.
import { fieldRows } from '../../settings/field.ts'
import { zoneFields } from '../../settings/zone.ts'
import { sortedNames } from '../objects.ts'
import { runtimeSettings, type Handlers } from './handler.ts'
import { isActiveZone } from './zone.ts'

const aboutKeys: ReadonlySet<string> = new Set(['version', 'short', 'description'])

function zoneSummary(value: object): Readonly<Record<string, unknown>> {
  const found: Record<string, unknown> = {}
  for (const [key, field] of fieldRows(zoneFields)) {
    if (aboutKeys.has(key)) continue
    const one = (value as Readonly<Record<string, unknown>>)[key]
    found[key] = field.shape === 'list' ? (one as readonly unknown[]).map((item) => field.item.toText(item)) : one
  }
  return found
}

export const derpanetHandlers: Handlers = {
  Status: async (call) => JSON.stringify(await call.context.service.status()),
  Counters: async (call) => {
    const counters = await call.context.service.counters()
    return [...counters].sort(([a], [b]) => (a < b ? -1 : 1)).map(([id, { packets, bytes }]) => [id, packets, bytes])
  },
  Zones: (call) => {
    const settings = runtimeSettings(call)
    return JSON.stringify(sortedNames(settings.zones).flatMap((name) => {
      const entry = settings.zones.get(name)
      if (entry === undefined) return []
      const isDefault = name === settings.main.value.defaultZone
      return [{ name, isDefault, isActive: isActiveZone(settings, name), ...zoneSummary(entry.value), layer: entry.layer, file: entry.file ?? null }]
    }))
  },
  Reload: (call) => call.context.service.reload(call.caller),
  /** Also takes lists that became empty or changed by more than half. */
  ReloadForcingLists: (call) => call.context.service.reload(call.caller, { forceLists: true }),
}
