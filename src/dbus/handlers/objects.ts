// The objects at /config/<kind>/<n>: every verb from the settings rows, the whole settings in both shapes, and the life of
// an object. What a change means is in settings/permanent.ts.
import { basename, dirname } from 'node:path'
import { DerpanetError, printable } from '../../errors.ts'
import type { PermanentChange } from '../../model/permanent.ts'
import type { Entry, ServiceSettings } from '../../model/settings.ts'
import { decodeField, decodeSettings, decodeTuple } from '../../settings/dict.ts'
import { kindOf, unknownCodes } from '../../settings/permanent.ts'
import { memberTable, type MethodRow } from '../members.ts'
import { objectInterfaces, type ObjectKind } from '../members/firewalld.ts'
import { settingsKey } from '../objects.ts'
import { dictBody, fieldBody, fieldOf, tupleBody } from './encoded.ts'
import { refuseNewerRules, requireFaceName } from './face.ts'
import { permanentSettings, text, type Call, type Handler, type Handlers, type PropertyHandlers } from './handler.ts'
import { hasItem } from './query.ts'

type Dict = Readonly<Record<string, unknown>>

interface Which {
  readonly kind: ObjectKind
  readonly name: string
}

function which(call: Call): Which {
  if (call.object === undefined) throw new Error('no object for a member of one')
  return call.object
}

/** The object the path names. It may have gone since the path was looked up. */
function objectEntry(call: Call): Which & { readonly entry: Entry<any> } {
  const object = which(call)
  const entry = permanentSettings(call)[settingsKey[object.kind]].get(object.name)
  if (entry === undefined) throw new DerpanetError(unknownCodes[object.kind], printable(object.name))
  return { ...object, entry }
}

/** A change of the object the path names. */
function change(call: Call, rest: { readonly kind: PermanentChange['kind'] } & Dict): Promise<void> {
  const { kind, name } = which(call)
  return call.context.service.changePermanent({ ...rest, object: kind, name } as unknown as PermanentChange, call.caller)
}

function update(call: Call, settings: Dict): Promise<void> {
  refuseNewerRules(call.context.face, settings['richRules'])
  return change(call, { kind: 'object-update', settings })
}

/** The positional settings of update and addZone, as keys. Throws what the fields throw. */
export function fromTuple(kind: ObjectKind, value: unknown): Dict {
  const table = kindOf(kind)
  if (table.tuple === null) throw new Error(`${kind} has no tuple`)
  return decodeTuple(table, table.tuple, value as readonly unknown[]) as Dict
}

/** The settings of update2 and addZone2. Throws INVALID_OPTION and what the fields throw. */
export function fromDict(call: Call, kind: ObjectKind, value: unknown): Dict {
  return decodeSettings(kindOf(kind).fields, value as Dict, call.context.face) as Dict
}

function columns(args: readonly unknown[]): readonly string[] {
  return args.map((_, index) => text(args, index))
}

function familyHandler(kind: ObjectKind, row: MethodRow, { verb, field: key, shape }: NonNullable<MethodRow['family']>): Handler {
  const field = fieldOf(kind, key)
  const requireReadable = (call: Call, args: readonly unknown[]): void => {
    if (key === 'richRules') refuseNewerRules(call.context.face, [text(args, 0)])
  }
  switch (verb) {
    case 'get': return (call) => fieldBody(kind, key, row.out, objectEntry(call).entry)
    case 'set': return (call, args) => update(call, { [key]: decodeField(field.dbus ?? key, field, args[0]) })
    case 'query': return (call, args) => {
      const value = (objectEntry(call).entry.value as Dict)[key]
      switch (field.shape) {
        case 'list':
          requireReadable(call, args)
          return hasItem(key, field, value as readonly unknown[], columns(args), null)
        case 'dict': return (value as Readonly<Record<string, string>>)[text(args, 0)] === text(args, 1)
        case 'flag': return value === true
        case 'scalar': return value === args[0]
      }
    }
    case 'add': return (call, args) => {
      if (shape === 'flag') return change(call, { kind: 'object-flag-add', field: key })
      if (shape === 'dict') return change(call, { kind: 'object-key-add', field: key, key: text(args, 0), value: text(args, 1) })
      requireReadable(call, args)
      return change(call, { kind: 'object-item-add', field: key, item: columns(args) })
    }
    case 'remove': return (call, args) => {
      if (shape === 'flag') return change(call, { kind: 'object-flag-remove', field: key })
      if (shape === 'dict') return change(call, { kind: 'object-key-remove', field: key, key: text(args, 0) })
      requireReadable(call, args)
      return change(call, { kind: 'object-item-remove', field: key, item: columns(args) })
    }
  }
}

function destinations(call: Call): Readonly<Record<string, string>> {
  return (objectEntry(call).entry.value as ServiceSettings).destination
}

/** firewalld's own words for the dictionary of a service. */
const destinationHandlers: Handlers = {
  getDestinations: destinations,
  setDestinations: (call, args) => update(call, { destination: decodeField('destination', fieldOf('service', 'destination'), args[0]) }),
  getDestination: (call, args) => {
    const family = text(args, 0)
    const found = destinations(call)[family]
    if (found === undefined) throw new DerpanetError('NOT_ENABLED', printable(family))
    return found
  },
  setDestination: (call, args) => change(call, { kind: 'object-key-add', field: 'destination', key: text(args, 0), value: text(args, 1) }),
  removeDestination: (call, args) => change(call, { kind: 'object-key-remove', field: 'destination', key: text(args, 0) }),
  queryDestination: (call, args) => destinations(call)[text(args, 0)] === text(args, 1),
}

const lifeHandlers: Handlers = {
  loadDefaults: (call) => change(call, { kind: 'object-defaults' }),
  remove: (call) => change(call, { kind: 'object-remove' }),
  rename: (call, args) => {
    requireFaceName(call.context.face, which(call).kind, text(args, 0))
    return change(call, { kind: 'object-rename', to: text(args, 0) })
  },
}

function wholeHandlers(kind: ObjectKind): Handlers {
  const dict: Handlers = {
    getSettings2: (call) => dictBody(kind, call.context.face, objectEntry(call).entry),
    update2: (call, args) => update(call, fromDict(call, kind, args[0])),
  }
  // policies came after the tuples, and have only the dictionary
  if (kind === 'policy') return { getSettings: dict['getSettings2']!, update: dict['update2']! }
  return {
    getSettings: (call) => tupleBody(kind, objectEntry(call).entry),
    update: (call, args) => update(call, fromTuple(kind, args[0])),
    ...(kind === 'zone' || kind === 'service' ? dict : {}),
  }
}

/** Handlers of the objects at /config/<kind>/<n>. */
export function objectHandlers(kind: ObjectKind): Handlers {
  const view = memberTable('2.5').objects.get(kind)?.get(objectInterfaces[kind].name)
  const families = [...(view?.methods.values() ?? [])].flatMap((row) =>
    row.family === undefined ? [] : [[row.name, familyHandler(kind, row, row.family)] as const])
  return { ...Object.fromEntries(families), ...(kind === 'service' ? destinationHandlers : {}), ...wholeHandlers(kind), ...lifeHandlers }
}

/**
 * `default`: nothing of a lower layer is hidden by it; `builtin`: it came with a package. A file an administrator wrote
 * over a shipped one is neither.
 */
export const objectProperties: PropertyHandlers = {
  get: {
    name: (call) => objectEntry(call).name,
    filename: (call) => {
      const { name, entry } = objectEntry(call)
      return entry.file === undefined ? `${name}.yaml` : basename(entry.file)
    },
    path: (call) => {
      const { entry } = objectEntry(call)
      return entry.file === undefined ? '' : dirname(entry.file)
    },
    default: (call) => objectEntry(call).entry.overrides !== true,
    builtin: (call) => {
      const { entry } = objectEntry(call)
      return entry.layer !== 'admin' && entry.layer !== 'runtime'
    },
  },
}
