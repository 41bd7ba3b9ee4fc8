// Mistakes that only the whole configuration shows: names that do not exist, and one interface or source in two zones.
import type { ErrorCode } from '../errors.ts'
import { printable } from '../errors.ts'
import { sourceTypes } from '../model/ipset-entry.ts'
import type { Entry, Position, Settings } from '../model/settings.ts'
import { sourceKey } from '../settings/codec.ts'
import { symbolicZones } from '../settings/policy.ts'
import { didYouMean } from '../settings/suggest.ts'
import type { Diagnostic } from './diagnostic.ts'

type AnyEntry = Entry<unknown>

/** What may be named: the objects that were read, and those that exist but are wrong (`zones/public`, `lists/bad`). */
class Names {
  constructor(private readonly folder: keyof Settings, private readonly known: ReadonlyMap<string, unknown>, private readonly unreadable: ReadonlySet<string>) {}

  has(name: string): boolean {
    return this.known.has(name) || this.unreadable.has(`${this.folder}/${name}`)
  }

  hint(name: string): string {
    return didYouMean(name, this.known.keys())
  }
}

/** Files are named as in Entry.file; what has none (builtin) cannot be wrong here. `unreadable`: see Names. */
export function checkReferences(settings: Settings, unreadable: ReadonlySet<string>): Diagnostic[] {
  const diagnostics: Diagnostic[] = []
  const report = (entry: AnyEntry, key: string, item: string | null, code: ErrorCode, text: string): void => {
    const place = placeOf(entry, key, item)
    diagnostics.push({ severity: 'error', code, file: entry.file ?? '(builtin)', line: place.line, column: place.column, text })
  }
  /** Items of `key` that `known` does not have. */
  const needAll = (entry: AnyEntry, key: string, items: readonly string[], known: Names, code: ErrorCode, noun: string): void => {
    for (const item of items) {
      if (!known.has(item)) report(entry, key, item, code, `there is no ${noun} '${printable(item)}'${known.hint(item)}`)
    }
  }
  const { main } = settings
  const names = (folder: Exclude<keyof Settings, 'main' | 'direct' | 'lockdown'>): Names => new Names(folder, settings[folder], unreadable)
  const zones = names('zones')
  const services = names('services')
  const ipsets = names('ipsets')
  const icmptypes = names('icmptypes')
  const helpers = names('helpers')
  const lists = names('lists')

  if (!zones.has(main.value.defaultZone)) {
    const wanted = main.value.defaultZone
    report(main, 'defaultZone', null, 'INVALID_ZONE', `there is no zone '${printable(wanted)}'${zones.hint(wanted)}`)
  }
  needAll(main, 'block', main.value.block, lists, 'INVALID_SOURCE', 'list')

  for (const entry of settings.services.values()) {
    needAll(entry, 'includes', entry.value.includes, services, 'INVALID_SERVICE', 'service')
    needAll(entry, 'helpers', entry.value.helpers, helpers, 'INVALID_HELPER', 'helper')
  }

  const holders = new Map<string, { readonly zone: string; readonly entry: AnyEntry; readonly key: string; readonly item: string }>()
  /** One interface, one source: one zone. */
  const claim = (zone: string, entry: AnyEntry, key: 'interfaces' | 'sources', item: string, identity: string): void => {
    const held = holders.get(`${key} ${identity}`)
    if (held === undefined) {
      holders.set(`${key} ${identity}`, { zone, entry, key, item })
      return
    }
    const place = placeOf(held.entry, held.key, held.item)
    const noun = key === 'interfaces' ? 'interface' : 'source'
    const where = held.entry.file === undefined ? '' : ` (${printable(held.entry.file)}:${place.line}:${place.column})`
    report(entry, key, item, 'ZONE_CONFLICT', `${noun} '${printable(item)}' is in zone '${held.zone}' already${where}`)
  }
  for (const [name, entry] of settings.zones) {
    const zone = entry.value
    needAll(entry, 'services', zone.services, services, 'INVALID_SERVICE', 'service')
    needAll(entry, 'icmpBlocks', zone.icmpBlocks, icmptypes, 'INVALID_ICMPTYPE', 'ICMP type')
    for (const item of zone.interfaces) claim(name, entry, 'interfaces', item, item)
    for (const item of zone.sources) {
      claim(name, entry, 'sources', item, sourceKey(item))
      if (item.startsWith('ipset:')) checkIpSetSource(item)
      if (item.startsWith('list:') && !lists.has(item.slice(5))) {
        report(entry, 'sources', item, 'INVALID_SOURCE', `there is no list '${printable(item.slice(5))}'${lists.hint(item.slice(5))}`)
      }
    }
    function checkIpSetSource(item: string): void {
      const wanted = item.slice(6)
      const ipset = settings.ipsets.get(wanted)
      if (!ipsets.has(wanted)) report(entry, 'sources', item, 'INVALID_IPSET', `there is no ipset '${printable(wanted)}'${ipsets.hint(wanted)}`)
      else if (ipset !== undefined && !sourceTypes.has(ipset.value.type)) {
        report(entry, 'sources', item, 'INVALID_IPSET', `ipset '${printable(wanted)}' is of type ${ipset.value.type}, which says more than where a packet comes from`)
      }
    }
  }

  for (const [name, entry] of settings.policies) {
    const policy = entry.value
    if (zones.has(name)) report(entry, '', null, 'NAME_CONFLICT', `a zone has the name '${printable(name)}' too`)
    needAll(entry, 'services', policy.services, services, 'INVALID_SERVICE', 'service')
    needAll(entry, 'icmpBlocks', policy.icmpBlocks, icmptypes, 'INVALID_ICMPTYPE', 'ICMP type')
    for (const key of ['ingressZones', 'egressZones'] as const) {
      needAll(entry, key, policy[key].filter((zone) => !symbolicZones.includes(zone)), zones, 'INVALID_ZONE', 'zone')
    }
  }
  return diagnostics
}

function placeOf(entry: AnyEntry, key: string, item: string | null): Position {
  return entry.positions.get(item === null ? key : `${key}=${item}`) ?? entry.positions.get(key) ?? { line: 1, column: 1 }
}
