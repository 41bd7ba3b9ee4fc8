// /config: the permanent objects by kind, and making new ones.
import { DerpanetError, printable } from '../../errors.ts'
import { zoneOfInterface, zoneOfSource } from '../../model/query.ts'
import { unknownCodes } from '../../settings/permanent.ts'
import { configPath, firewalldName, type ObjectKind } from '../members/firewalld.ts'
import { objectKinds, settingsKey } from '../objects.ts'
import { refuseNewerRules, requireFaceName } from './face.ts'
import { namesBody, permanentSettings, text, type Call, type Handlers } from './handler.ts'
import { fromDict, fromTuple } from './objects.ts'

/** Words in member names: listZones, getZoneNames, getZoneByName, addZone, ZoneAdded. */
export const kindWords: Readonly<Record<ObjectKind, { readonly noun: string; readonly plural: string }>> = {
  ipset: { noun: 'IPSet', plural: 'IPSets' },
  icmptype: { noun: 'IcmpType', plural: 'IcmpTypes' },
  service: { noun: 'Service', plural: 'Services' },
  zone: { noun: 'Zone', plural: 'Zones' },
  policy: { noun: 'Policy', plural: 'Policies' },
  helper: { noun: 'Helper', plural: 'Helpers' },
}

export function pathOf(kind: ObjectKind, number: number): string {
  return `${configPath}/${kind}/${number}`
}

/** Throws INVALID_<KIND>. */
function pathNamed(call: Call, kind: ObjectKind, name: string): string {
  const number = call.context.numbers.numberOf(permanentSettings(call), kind, name)
  if (number === undefined) throw new DerpanetError(unknownCodes[kind], printable(name))
  return pathOf(kind, number)
}

async function add(call: Call, kind: ObjectKind, name: string, settings: Readonly<Record<string, unknown>>): Promise<string> {
  requireFaceName(call.context.face, kind, name)
  refuseNewerRules(call.context.face, settings['richRules'])
  await call.context.service.changePermanent({ kind: 'object-add', object: kind, name, settings }, call.caller)
  return pathNamed(call, kind, name)
}

function kindHandlers(kind: ObjectKind): Handlers {
  const { noun, plural } = kindWords[kind]
  const byDict: Handlers = { [kind === 'policy' ? 'addPolicy' : `add${noun}2`]: (call, args) => add(call, kind, text(args, 0), fromDict(call, kind, args[1])) }
  const byTuple: Handlers = { [`add${noun}`]: (call, args) => add(call, kind, text(args, 0), fromTuple(kind, args[1])) }
  return {
    [`list${plural}`]: (call) => call.context.numbers.numbers(permanentSettings(call), kind).map((number) => pathOf(kind, number)),
    [`get${noun}Names`]: (call) => namesBody(permanentSettings(call)[settingsKey[kind]]),
    [`get${noun}ByName`]: (call, args) => pathNamed(call, kind, text(args, 0)),
    ...(kind === 'policy' ? byDict : byTuple),
    ...(kind === 'zone' || kind === 'service' ? byDict : {}),
  }
}

export const configHandlers: Handlers = {
  ...Object.fromEntries(objectKinds.flatMap((kind) => Object.entries(kindHandlers(kind)))),
  getZoneOfInterface: (call, args) => zoneOfInterface(permanentSettings(call), text(args, 0)) ?? '',
  getZoneOfSource: (call, args) => zoneOfSource(permanentSettings(call), text(args, 0)) ?? '',
}

export const configInterfaceName = `${firewalldName}.config`
