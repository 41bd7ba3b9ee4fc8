// /config and the objects below it: the permanent settings, read only. Members that would write files are not
// implemented and say so.
import { basename, dirname } from 'node:path'
import { DerpanetError, printable } from '../../errors.ts'
import { zoneOfInterface, zoneOfSource } from '../../model/query.ts'
import type { Entry, ServiceSettings } from '../../model/settings.ts'
import { memberTable, type MethodRow } from '../members.ts'
import { configPath, firewalldName, objectInterfaces, type ObjectKind } from '../members/firewalld.ts'
import { objectKinds, settingsKey } from '../objects.ts'
import { dictBody, fieldBody, fieldOf, tupleBody } from './encoded.ts'
import { namesBody, permanentSettings, text, type Call, type Handler, type Handlers, type PropertyHandlers } from './handler.ts'
import { unknownCodes } from './main.ts'
import { hasItem } from './query.ts'

/** Words in member names: listZones, getZoneNames, getZoneByName. */
const kindWords: Readonly<Record<ObjectKind, { readonly noun: string; readonly plural: string }>> = {
  ipset: { noun: 'IPSet', plural: 'IPSets' },
  icmptype: { noun: 'IcmpType', plural: 'IcmpTypes' },
  service: { noun: 'Service', plural: 'Services' },
  zone: { noun: 'Zone', plural: 'Zones' },
  policy: { noun: 'Policy', plural: 'Policies' },
  helper: { noun: 'Helper', plural: 'Helpers' },
}

function pathOf(kind: ObjectKind, number: number): string {
  return `${configPath}/${kind}/${number}`
}

function kindHandlers(kind: ObjectKind): Handlers {
  const { noun, plural } = kindWords[kind]
  return {
    [`list${plural}`]: (call) => call.context.numbers.numbers(permanentSettings(call), kind).map((number) => pathOf(kind, number)),
    [`get${noun}Names`]: (call) => namesBody(permanentSettings(call)[settingsKey[kind]]),
    [`get${noun}ByName`]: (call, args) => {
      const name = text(args, 0)
      const number = call.context.numbers.numberOf(permanentSettings(call), kind, name)
      if (number === undefined) throw new DerpanetError(unknownCodes[kind], printable(name))
      return pathOf(kind, number)
    },
  }
}

export const configHandlers: Handlers = {
  ...Object.fromEntries(objectKinds.flatMap((kind) => Object.entries(kindHandlers(kind)))),
  getZoneOfInterface: (call, args) => zoneOfInterface(permanentSettings(call), text(args, 0)) ?? '',
  getZoneOfSource: (call, args) => zoneOfSource(permanentSettings(call), text(args, 0)) ?? '',
}

const yesNo = (flag: boolean): string => (flag ? 'yes' : 'no')

/** What firewalld.conf would hold. Where derpanet does not do a thing at all, the value says so. */
export const configProperties: PropertyHandlers = {
  get: {
    DefaultZone: (call) => permanentSettings(call).main.value.defaultZone,
    MinimalMark: () => 100,
    CleanupOnExit: (call) => yesNo(permanentSettings(call).main.value.onStop === 'open'),
    CleanupModulesOnExit: () => 'no',
    IPv6_rpfilter: () => 'no',
    IPv6_rpfilter2: () => 'no',
    Lockdown: () => 'no',
    IndividualCalls: () => 'no',
    LogDenied: (call) => permanentSettings(call).main.value.logDenied,
    AutomaticHelpers: () => 'no',
    // libvirt takes these two words only, and writes its own iptables rules in either case
    FirewallBackend: () => 'nftables',
    FlushAllOnReload: (call) => yesNo(permanentSettings(call).main.value.flushAllOnReload),
    RFC3964_IPv4: () => 'no',
    AllowZoneDrifting: () => 'no',
    NftablesFlowtable: () => 'off',
    NftablesCounters: () => 'no',
    NftablesTableOwner: () => 'no',
    StrictForwardPorts: () => 'no',
  },
  set: {
    // firewalld accepts and ignores these
    MinimalMark: () => undefined,
    AllowZoneDrifting: () => undefined,
  },
}

/** The object the path names. It may have gone since the path was looked up. */
function objectEntry(call: Call): { readonly kind: ObjectKind; readonly name: string; readonly entry: Entry<any> } {
  const { object } = call
  if (object === undefined) throw new Error('no object for a member of one')
  const entry = permanentSettings(call)[settingsKey[object.kind]].get(object.name)
  if (entry === undefined) throw new DerpanetError(unknownCodes[object.kind], printable(object.name))
  return { ...object, entry }
}

function familyReader(kind: ObjectKind, row: MethodRow, family: NonNullable<MethodRow['family']>): Handler | undefined {
  const { verb, field: key } = family
  if (verb === 'get') return (call) => fieldBody(kind, key, row.out, objectEntry(call).entry)
  if (verb !== 'query') return undefined
  const field = fieldOf(kind, key)
  return (call, args) => {
    const value = (objectEntry(call).entry.value as Readonly<Record<string, unknown>>)[key]
    switch (field.shape) {
      case 'list': return hasItem(key, field, value as readonly unknown[], args.map((_, index) => text(args, index)), permanentSettings(call))
      case 'dict': return (value as Readonly<Record<string, string>>)[text(args, 0)] === text(args, 1)
      case 'flag': return value === true
      case 'scalar': return value === args[0]
    }
  }
}

function destinations(call: Call): Readonly<Record<string, string>> {
  return (objectEntry(call).entry.value as ServiceSettings).destination
}

const destinationReaders: Handlers = {
  getDestinations: destinations,
  getDestination: (call, args) => destinations(call)[text(args, 0)] ?? '',
  queryDestination: (call, args) => destinations(call)[text(args, 0)] === text(args, 1),
}

/** Handlers of the objects at /config/<kind>/<n>. */
export function objectHandlers(kind: ObjectKind): Handlers {
  const view = memberTable('2.5').objects.get(kind)?.get(objectInterfaces[kind].name)
  const families = [...(view?.methods.values() ?? [])].flatMap((row) => {
    const reader = row.family === undefined ? undefined : familyReader(kind, row, row.family)
    return reader === undefined ? [] : [[row.name, reader] as const]
  })
  const dict: Handler = (call) => dictBody(kind, call.context.face, objectEntry(call).entry)
  return {
    ...Object.fromEntries(families),
    ...(kind === 'service' ? destinationReaders : {}),
    ...(kind === 'policy' ? { getSettings: dict } : { getSettings: (call) => tupleBody(kind, objectEntry(call).entry) }),
    ...(kind === 'zone' || kind === 'service' ? { getSettings2: dict } : {}),
  }
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

export const configInterfaceName = `${firewalldName}.config`
