// The runtime .zone interface. Families come from the settings rows; by hand are only the members that are alone.
import { DerpanetError } from '../../errors.ts'
import type { Change, ZoneFlagField, ZoneItemField } from '../../model/change.ts'
import { checkInterfaceName } from '../../model/interface-name.ts'
import { parseSinglePort } from '../../model/port.ts'
import { zoneNamed, zoneOfInterface, zoneOfSource, type NamedZone } from '../../model/query.ts'
import { Lookup } from '../../model/resolve/lookup.ts'
import type { Settings } from '../../model/settings.ts'
import { parseZoneSource } from '../../model/source.ts'
import { decodeSettings } from '../../settings/dict.ts'
import { zoneFields } from '../../settings/zone.ts'
import type { Face, MethodRow } from '../members.ts'
import { memberTable } from '../members.ts'
import { firewalldName } from '../members/firewalld.ts'
import { sortedNames } from '../objects.ts'
import { encodeBody, type Body } from '../wire/encode.ts'
import { dictBody, fieldBody, fieldOf } from './encoded.ts'
import { refuseNewerRules, requireRule } from './face.ts'
import {
  changed, changedQuietly, integer, namesBody, runtimeSettings, text, type Call, type Handler, type Handlers,
} from './handler.ts'
import { hasItem } from './query.ts'

/** "" is the default zone. Throws INVALID_ZONE. */
export function zoneOfCall(call: Call, name: string): NamedZone {
  return zoneNamed(runtimeSettings(call), name)
}

/** Zones that packets can be in: with bindings, and the default zone. */
export function isActiveZone(settings: Settings, name: string): boolean {
  const value = settings.zones.get(name)?.value
  if (value === undefined) return false
  return name === settings.main.value.defaultZone || value.interfaces.length > 0 || value.sources.length > 0
}

/** 2.5 lists the default zone and both keys always; 1.3 only what is there. */
function activeZones(settings: Settings, face: Face): Readonly<Record<string, Readonly<Record<string, readonly string[]>>>> {
  const found: Record<string, Record<string, readonly string[]>> = {}
  for (const name of sortedNames(settings.zones)) {
    const value = settings.zones.get(name)?.value
    if (value === undefined) continue
    const { interfaces, sources } = value
    if (face === '2.5') {
      if (isActiveZone(settings, name)) found[name] = { interfaces, sources }
      continue
    }
    if (interfaces.length === 0 && sources.length === 0) continue
    found[name] = { ...(interfaces.length > 0 ? { interfaces } : {}), ...(sources.length > 0 ? { sources } : {}) }
  }
  return found
}

const activeBodies = new WeakMap<Settings, Map<Face, Body>>()

function activeZonesBody(settings: Settings, face: Face): Body {
  const known = activeBodies.get(settings) ?? new Map<Face, Body>()
  activeBodies.set(settings, known)
  const body = known.get(face) ?? encodeBody('a{sa{sas}}', [activeZones(settings, face)])
  known.set(face, body)
  return body
}

/** firewalld 2 takes `timeout` among the settings. Everything else is a key of the zone or policy. */
export function withTimeout(call: Call, dict: Readonly<Record<string, unknown>>): { readonly timeoutSec: number; readonly rest: Readonly<Record<string, unknown>> } {
  const { timeout, ...rest } = dict
  const takesTimeout = call.context.face === '2.5'
  if (timeout !== undefined && !takesTimeout) throw new DerpanetError('INVALID_OPTION', "'timeout' is not a valid key")
  if (timeout !== undefined && (typeof timeout !== 'number' || !Number.isInteger(timeout))) {
    throw new DerpanetError('INVALID_VALUE', 'timeout is not a whole number')
  }
  return { timeoutSec: timeout ?? 0, rest }
}

function settingsChange(call: Call, zone: string, dict: Readonly<Record<string, unknown>>): Change {
  zoneOfCall(call, zone)
  const { timeoutSec, rest } = withTimeout(call, dict)
  const settings = decodeSettings(zoneFields, rest, call.context.face)
  refuseNewerRules(call.context.face, settings.richRules)
  return { kind: 'zone-settings', zone, settings, timeoutSec, asWritten: dict }
}

/** What a question about a source must be: one that could be in a zone. Throws INVALID_ADDR, INVALID_IPSET, INVALID_SOURCE. */
function requireSource(call: Call, source: string): void {
  const parsed = parseZoneSource(source)
  if (parsed.kind === 'ipset') new Lookup(runtimeSettings(call)).sourceSet(parsed.name)
}

const changeInterface: Handler = (call, args) =>
  changed(call, { kind: 'interface-change', zone: text(args, 0), interface: text(args, 1) })

const lonely: Handlers = {
  getZones: (call) => namesBody(runtimeSettings(call).zones),
  getActiveZones: (call) => activeZonesBody(runtimeSettings(call), call.context.face),
  getZoneOfInterface: (call, args) => {
    checkInterfaceName(text(args, 0))
    return zoneOfInterface(runtimeSettings(call), text(args, 0)) ?? ''
  },
  getZoneOfSource: (call, args) => {
    const zone = zoneOfSource(runtimeSettings(call), text(args, 0))
    if (zone === null) requireSource(call, text(args, 0))
    return zone ?? ''
  },
  getZoneSettings2: (call, args) => dictBody('zone', call.context.face, zoneOfCall(call, text(args, 0)).entry),
  setZoneSettings2: (call, args) => changedQuietly(call, settingsChange(call, text(args, 0), args[1] as Readonly<Record<string, unknown>>)),
  isImmutable: (call, args) => {
    zoneOfCall(call, text(args, 0))
    return false
  },
  changeZone: changeInterface,
  changeZoneOfInterface: changeInterface,
  changeZoneOfSource: (call, args) => changed(call, { kind: 'source-change', zone: text(args, 0), source: text(args, 1) }),
}

/** Arguments between the zone and the timeout. */
function columnsOf(row: MethodRow, args: readonly unknown[]): readonly string[] {
  return row.in.flatMap((arg, index) => (index > 0 && arg.type === 's' ? [text(args, index)] : []))
}

function timeoutOf(row: MethodRow, args: readonly unknown[]): number {
  const index = row.in.findIndex((arg) => arg.name === 'timeout')
  return index < 0 ? 0 : integer(args, index)
}

/** Bindings are changed by their own kinds of Change, everything else by zone-item-*. */
function listChange(verb: 'add' | 'remove', field: string, zone: string, columns: readonly string[], timeoutSec: number): Change {
  const [first = ''] = columns
  if (field === 'interfaces') return { kind: `interface-${verb}`, zone, interface: first }
  if (field === 'sources') return { kind: `source-${verb}`, zone, source: first }
  if (verb === 'remove') return { kind: 'zone-item-remove', zone, field: field as ZoneItemField, item: columns }
  return { kind: 'zone-item-add', zone, field: field as ZoneItemField, item: columns, timeoutSec }
}

function familyHandler(row: MethodRow, family: NonNullable<MethodRow['family']>): Handler {
  const { verb, field: key, shape } = family
  const field = fieldOf('zone', key)
  const valueOf = (call: Call, args: readonly unknown[]): unknown =>
    (zoneOfCall(call, text(args, 0)).entry.value as unknown as Readonly<Record<string, unknown>>)[key]
  switch (verb) {
    case 'get':
      return (call, args) => fieldBody('zone', key, row.out, zoneOfCall(call, text(args, 0)).entry)
    case 'query':
      if (field.shape === 'list') {
        return (call, args) => {
          const columns = columnsOf(row, args)
          if (key === 'richRules') requireRule(call.context.face, columns[0] ?? '')
          if (key === 'sources') requireSource(call, columns[0] ?? '')
          if (key === 'interfaces') checkInterfaceName(columns[0] ?? '')
          if (key === 'forwardPorts') parseSinglePort(columns[0] ?? '', columns[1] ?? '')
          return hasItem(key, field, valueOf(call, args) as readonly unknown[], columns, runtimeSettings(call))
        }
      }
      return (call, args) => valueOf(call, args) === true
    case 'add':
      return (call, args) => {
        const timeoutSec = timeoutOf(row, args)
        const zone = text(args, 0)
        if (shape === 'flag') return changed(call, { kind: 'zone-flag-add', zone, field: key as ZoneFlagField, timeoutSec })
        const columns = columnsOf(row, args)
        if (key === 'richRules') requireRule(call.context.face, columns[0] ?? '')
        return changed(call, listChange('add', key, zone, columns, timeoutSec))
      }
    case 'remove':
      return (call, args) => {
        const zone = text(args, 0)
        if (shape === 'flag') return changed(call, { kind: 'zone-flag-remove', zone, field: key as ZoneFlagField })
        const columns = columnsOf(row, args)
        if (key === 'richRules') requireRule(call.context.face, columns[0] ?? '')
        return changed(call, listChange('remove', key, zone, columns, 0))
      }
    case 'set':
      throw new Error(`${row.name}: the runtime has no set verbs`)
  }
}

function familyHandlers(): Handlers {
  const rows = memberTable('2.5').runtime.get(`${firewalldName}.zone`)?.methods.values() ?? []
  return Object.fromEntries([...rows].flatMap((row) => (row.family === undefined ? [] : [[row.name, familyHandler(row, row.family)]])))
}

export const zoneHandlers: Handlers = { ...lonely, ...familyHandlers() }
