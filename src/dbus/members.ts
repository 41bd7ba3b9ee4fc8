// The member table: every interface, its members for one face, and which path carries which interface.
// Rows are in members/; this file puts them together and answers lookups by name. It decides nothing.
import { actions, type ActionId } from '../auth/actions.ts'
import { derpanetInterface } from './members/derpanet.ts'
import { objectInterfaces, permanentInterfaces, runtimeInterfaces } from './members/firewalld.ts'
import { args, type Face, type InterfaceRow, type MemberRow, type MethodRow, type PropertyRow, type SignalRow } from './members/row.ts'

export type { Arg, Face, InterfaceRow, MemberRow, MethodRow, PropertyRow, SignalRow } from './members/row.ts'

/** One interface as one face shows it, with lookups by name. */
export interface InterfaceView {
  readonly name: string
  readonly deprecated: boolean
  readonly propertyAction: ActionId
  readonly methods: ReadonlyMap<string, MethodRow>
  readonly signals: ReadonlyMap<string, SignalRow>
  readonly properties: ReadonlyMap<string, PropertyRow>
}

function byName<Kind extends MemberRow['kind']>(rows: readonly MemberRow[], kind: Kind, face: Face): ReadonlyMap<string, Extract<MemberRow, { kind: Kind }>> {
  const view = new Map<string, Extract<MemberRow, { kind: Kind }>>()
  for (const row of rows) {
    if (row.kind !== kind || (row.since !== undefined && row.since !== face)) continue
    if (view.has(row.name)) throw new Error(`two ${kind} rows named ${row.name}`)
    view.set(row.name, row as Extract<MemberRow, { kind: Kind }>)
  }
  return view
}

/** Pure: the same row and face give the same view. */
export function viewOf(row: InterfaceRow, face: Face): InterfaceView {
  return {
    name: row.name,
    deprecated: row.deprecatedIn.includes(face),
    propertyAction: row.propertyAction,
    methods: byName(row.members, 'method', face),
    signals: byName(row.members, 'signal', face),
    properties: byName(row.members, 'property', face),
  }
}

function views(rows: readonly InterfaceRow[], face: Face): ReadonlyMap<string, InterfaceView> {
  return new Map(rows.map((row) => [row.name, viewOf(row, face)]))
}

/** Which interfaces the objects have, by kind of object; keys of `objects` are the words of the path. */
export interface MemberTable {
  readonly face: Face
  readonly runtime: ReadonlyMap<string, InterfaceView>
  readonly config: ReadonlyMap<string, InterfaceView>
  readonly objects: ReadonlyMap<string, ReadonlyMap<string, InterfaceView>>
  readonly derpanet: ReadonlyMap<string, InterfaceView>
}

export function memberTable(face: Face): MemberTable {
  return {
    face,
    runtime: views(runtimeInterfaces, face),
    config: views(permanentInterfaces, face),
    objects: new Map(Object.entries(objectInterfaces).map(([kind, row]) => [kind, views([row], face)])),
    derpanet: views([derpanetInterface], face),
  }
}

/**
 * The two standard interfaces every object shows, as firewalld spells them. Their actions depend on the object, so the
 * dispatcher asks for `info` (Introspect) or the interface's own `propertyAction` instead of a row's.
 */
export const standardInterfaces: readonly InterfaceView[] = [
  { kind: 'introspect', name: 'org.freedesktop.DBus.Introspectable' },
  { kind: 'properties', name: 'org.freedesktop.DBus.Properties' },
].map(({ kind, name }) => viewOf({
  name,
  deprecatedIn: [],
  propertyAction: actions.config,
  members: kind === 'introspect'
    ? [{ kind: 'method', name: 'Introspect', in: [], out: 's', action: actions.info }]
    : [
        { kind: 'method', name: 'Get', in: args('interface_name:s property_name:s'), out: 'v', action: actions.config },
        { kind: 'method', name: 'GetAll', in: args('interface_name:s'), out: 'a{sv}', action: actions.config },
        { kind: 'method', name: 'Set', in: args('interface_name:s property_name:s new_value:v'), out: '', action: actions.config },
        { kind: 'signal', name: 'PropertiesChanged', args: args('interface_name:s changed_properties:a{sv} invalidated_properties:as') },
      ],
}, '2.5'))
