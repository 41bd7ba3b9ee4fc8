// One permanent object against all others: names it uses must exist, and an interface or source is in one zone only.
import { DerpanetError, printable } from '../../errors.ts'
import type { PermanentKind } from '../../model/permanent.ts'
import { checkEgress, checkFirstInterface, symbolicZones } from '../../model/policy.ts'
import { Lookup } from '../../model/resolve/lookup.ts'
import { richDecisions } from '../../model/resolve/rich.ts'
import { parseRichRule } from '../../model/rich/index.ts'
import type { PolicySettings, ServiceSettings, Settings, ZoneSettings } from '../../model/settings.ts'
import { parseZoneSource } from '../../model/source.ts'
import { sourceKey } from '../codec.ts'

/** Throws the first mistake. */
export function checkObject(settings: Settings, object: PermanentKind, name: string, value: object): void {
  switch (object) {
    case 'zone': return checkZone(settings, name, value as ZoneSettings)
    case 'policy': return checkPolicy(settings, name, value as PolicySettings)
    case 'service': return checkService(settings, name, value as ServiceSettings)
    case 'ipset':
    case 'icmptype':
    case 'helper': return
  }
}

type Filter = Pick<ZoneSettings & PolicySettings, 'services' | 'icmpBlocks' | 'richRules'>

function checkFilter(settings: Settings, who: string, { services, icmpBlocks, richRules }: Filter): void {
  for (const service of services) {
    if (!settings.services.has(service)) throw new DerpanetError('INVALID_SERVICE', `${who}: '${printable(service)}' not among existing services`)
  }
  for (const type of icmpBlocks) {
    if (!settings.icmptypes.has(type)) throw new DerpanetError('INVALID_ICMPTYPE', `${who}: '${printable(type)}' not among existing ICMP types`)
  }
  const lookup = new Lookup(settings)
  for (const rule of richRules) checkNames(rule, lookup)
}

/** Names must exist; what could never be built (two destinations) is a file's right, and a reload's mistake, as in firewalld. */
function checkNames(rule: string, lookup: Lookup): void {
  try {
    richDecisions(parseRichRule(rule), lookup)
  } catch (error) {
    if (!(error instanceof DerpanetError) || error.code !== 'INVALID_RULE') throw error
  }
}

/** Zones FOLDER/NAME are parts of one zone and may share what belongs to it. */
function combined(name: string): string {
  return name.split('/')[0] ?? name
}

function checkZone(settings: Settings, name: string, zone: ZoneSettings): void {
  const who = `Zone '${printable(name)}'`
  checkFilter(settings, who, zone)
  const own = new Set(zone.sources.map(sourceKey))
  for (const [other, { value }] of settings.zones) {
    if (other === name || (name.includes('/') && combined(other) === combined(name))) continue
    const shared = zone.interfaces.find((item) => value.interfaces.includes(item))
    if (shared !== undefined) throw new DerpanetError('ZONE_CONFLICT', `${who}: interface '${printable(shared)}' already bound to zone '${other}'`)
    const source = value.sources.find((item) => own.has(sourceKey(item)))
    if (source !== undefined) throw new DerpanetError('ZONE_CONFLICT', `${who}: source '${printable(source)}' already bound to zone '${other}'`)
  }
  checkFirstInterface(name, zone.interfaces, settings)
  const lookup = new Lookup(settings)
  for (const text of zone.sources) {
    const source = parseZoneSource(text)
    if (source.kind === 'ipset') lookup.sourceSet(source.name)
    if (source.kind === 'list') lookup.list(source.name)
  }
}

function checkPolicy(settings: Settings, name: string, policy: PolicySettings): void {
  const who = `Policy '${printable(name)}'`
  checkFilter(settings, who, policy)
  for (const zone of [...policy.ingressZones, ...policy.egressZones]) {
    if (symbolicZones.includes(zone) || settings.zones.has(zone) || isCombined(settings, zone)) continue
    throw new DerpanetError('INVALID_ZONE', `${who}: '${printable(zone)}' not among existing zones`)
  }
  checkEgress(name, policy, settings.zones)
}

function isCombined(settings: Settings, zone: string): boolean {
  return [...settings.zones.keys()].some((name) => name.includes('/') && combined(name) === zone)
}

function checkService(settings: Settings, name: string, service: ServiceSettings): void {
  const who = `Service '${printable(name)}'`
  for (const include of service.includes) {
    if (!settings.services.has(include)) throw new DerpanetError('INVALID_SERVICE', `${who}: Include '${printable(include)}' not among existing services`)
  }
  for (const helper of service.helpers) {
    if (!settings.helpers.has(helper)) throw new DerpanetError('INVALID_HELPER', `${who}: '${printable(helper)}' not among existing helpers`)
  }
}
