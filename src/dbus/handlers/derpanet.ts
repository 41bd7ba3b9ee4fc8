// org.derpanet.Derpanet1. Status and Zones answer JSON, because their shape grows:
//   Status: the ServiceStatus of service.ts as it is.
//   Zones:  [{ name, isDefault, isActive, target, interfaces, sources, services, ports, protocols, sourcePorts,
//              icmpBlocks, icmpBlockInversion, masquerade, forward, forwardPorts, richRules, layer, file }], by name.
//           Lists hold one text an item, as in the YAML; `file` is null for what no file holds.
//   Counters: (rule id, packets, bytes), by rule id.
//   Apply:  changes = "" for the files, or a JSON list of runtime changes (model/change.ts), all or none. Options, all optional:
//           expected_generation i, dry_run b, confirm_sec i, even_if_cut_off b, force_lists b, sessions as (`PEER PORT LOCAL PORT`, as
//           SSH_CONNECTION; the caller's own connections). Answers the ApplyResult of service.ts.
//   Confirm: answers the generation that stays.
//   Undo:   generation 0 = what waits for its confirmation, else the one before. Options as Apply's, and discard_edits b.
//   Log:    the last `count` entries, oldest first: [{ number, at, by, unit?, what, text, isStored }].
//   Difference: `from` and `to` are a generation's number, `now` or `files`. One line a difference.
import { fieldRows } from '../../settings/field.ts'
import { zoneFields } from '../../settings/zone.ts'
import { DerpanetError, printable } from '../../errors.ts'
import { requireConnection } from '../../model/connection.ts'
import type { ApplyOptions, Version } from '../../service.ts'
import { sortedNames } from '../objects.ts'
import { integer, runtimeSettings, text, type Handlers } from './handler.ts'
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

/** Each option's name, its field and how its value is read; what does not fit throws INVALID_VALUE. */
const applyOptions: Readonly<Record<string, readonly [keyof ApplyOptions, (name: string, value: unknown) => unknown]>> = {
  expected_generation: ['expectedGeneration', whole], dry_run: ['dryRun', flag], confirm_sec: ['confirmSec', whole], even_if_cut_off: ['evenIfCutOff', flag],
  sessions: ['sessions', sessions], discard_edits: ['discardEdits', flag], force_lists: ['forceLists', flag],
}

/** Throws INVALID_OPTION for one that is not known: what was asked for must not be left out silently. */
function readApplyOptions(value: unknown): ApplyOptions {
  return Object.fromEntries(Object.entries(value as Readonly<Record<string, unknown>>).map(([name, given]) => {
    const known = Object.hasOwn(applyOptions, name) ? applyOptions[name] : undefined
    if (known === undefined) throw new DerpanetError('INVALID_OPTION', printable(name))
    return [known[0], known[1](name, given)]
  }))
}

function whole(name: string, value: unknown): number {
  const number = typeof value === 'bigint' ? Number(value) : value
  if (typeof number === 'number' && Number.isInteger(number) && number >= 0) return number
  throw new DerpanetError('INVALID_VALUE', `${name} is no number`)
}

function flag(name: string, value: unknown): boolean {
  if (typeof value === 'boolean') return value
  throw new DerpanetError('INVALID_VALUE', `${name} is not true or false`)
}

function sessions(name: string, value: unknown): ApplyOptions['sessions'] {
  if (Array.isArray(value) && value.every((one) => typeof one === 'string')) return (value as string[]).map(requireConnection)
  throw new DerpanetError('INVALID_VALUE', `${name} is no list of texts`)
}

function readChanges(written: string): readonly unknown[] {
  if (written === '') return []
  let parsed: unknown
  try {
    parsed = JSON.parse(written)
  } catch (cause) {
    throw new DerpanetError('INVALID_VALUE', 'changes are no JSON', { cause })
  }
  if (!Array.isArray(parsed)) throw new DerpanetError('INVALID_VALUE', 'changes are no list')
  return parsed
}

function readVersion(written: string): Version {
  if (written === 'now' || written === 'files') return written
  if (/^\d{1,9}$/.test(written)) return Number(written)
  throw new DerpanetError('INVALID_VALUE', `'${printable(written)}' is no generation, not now and not files`)
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
  Apply: async (call, args) => JSON.stringify(await call.context.service.apply(readChanges(text(args, 0)), readApplyOptions(args[1]), call.caller)),
  Confirm: (call) => call.context.service.confirm(call.caller),
  Undo: async (call, args) => {
    const generation = integer(args, 0)
    return JSON.stringify(await call.context.service.undo(generation <= 0 ? null : generation, readApplyOptions(args[1]), call.caller))
  },
  Log: (call, args) => JSON.stringify(call.context.service.history(Math.max(0, integer(args, 0)))),
  Difference: (call, args) => call.context.service.difference(readVersion(text(args, 0)), readVersion(text(args, 1))),
}
