// The files of firewalld as tables: which attributes and elements a zone, policy, service, ipset, ICMP type or helper has,
// in the order firewalld writes them. firewalld.zone(5), firewalld.policy(5), … are the facts; what is only a warning
// there is only a warning here.
import type { ErrorCode } from '../../errors.ts'
import { DerpanetError, printable } from '../../errors.ts'
import { parseEntryParts, parseIpSetEntry, rangeOf } from '../../model/ipset-entry.ts'
import type {
  HelperSettings, IcmpTypeSettings, IpSetSettings, PolicySettings, Position, ServiceSettings, ZoneSettings,
} from '../../model/settings.ts'
import { parseDictEntry } from '../../settings/dict.ts'
import type { AnyField, DictField, FieldTable, ListField, ScalarField } from '../../settings/field.ts'
import { helperFields } from '../../settings/helper.ts'
import { icmpTypeFields } from '../../settings/icmptype.ts'
import { ipSetFields } from '../../settings/ipset.ts'
import type { KindSettings, Mistake } from '../../settings/kinds.ts'
import { kinds } from '../../settings/kinds.ts'
import { policyFields } from '../../settings/policy.ts'
import { serviceFields } from '../../settings/service.ts'
import { zoneFields } from '../../settings/zone.ts'
import { numbersOf } from './icmp-numbers.ts'
import {
  addItem, attempt, attribute, deprecated, flagElement, itemElement, portRangeElement, ruleElement, textElement,
} from './rows.ts'
import type { AttributeRow, ElementRow, Reading } from './rows.ts'
import { xmlLimits } from './xml-reader.ts'

export interface XmlKind<S> {
  readonly root: string
  /** What firewalld calls a file that is no XML. */
  readonly notWellFormed: ErrorCode
  readonly attributes: readonly AttributeRow<S>[]
  readonly elements: readonly ElementRow<S>[]
  readonly maxChars: number
  /** After the last element: what only the whole file tells. */
  finish?(reading: Reading): void
}

const scalar = (field: AnyField): ScalarField<any> => field as ScalarField<any>
const list = <T>(field: AnyField): ListField<T> => field as ListField<T>

type About = { readonly version: string; readonly short: string; readonly description: string }

const versionOf = <S extends About>(fields: FieldTable<S>): AttributeRow<S> => attribute<S>('version', 'version', scalar(fields.version as AnyField), { without: '' })

const shortAndDescription = <S extends About>(fields: FieldTable<S>): readonly ElementRow<S>[] => [
  textElement<S>('short', 'short', scalar(fields.short as AnyField)),
  textElement<S>('description', 'description', scalar(fields.description as AnyField)),
]

/** What zones and policies both have, in the order of the file. */
type Filter = Pick<ZoneSettings & PolicySettings, 'services' | 'ports' | 'protocols' | 'sourcePorts' | 'icmpBlocks' | 'masquerade' | 'forwardPorts' | 'richRules'>

function filterElements<S extends Filter>(fields: FieldTable<S>): readonly ElementRow<S>[] {
  const rows = fields as unknown as FieldTable<Filter>
  return [
    itemElement<S>('service', 'services', list(rows.services), ['name']),
    portRangeElement<S>('port', 'ports', list(rows.ports)),
    itemElement<S>('protocol', 'protocols', list(rows.protocols), ['value']),
    itemElement<S>('icmp-block', 'icmpBlocks', list(rows.icmpBlocks), ['name']),
    flagElement<S>('masquerade', 'masquerade', ['enabled']),
    itemElement<S>('forward-port', 'forwardPorts', list(rows.forwardPorts), ['port', 'protocol', 'to-port', 'to-addr'], ['to-port', 'to-addr']),
    portRangeElement<S>('source-port', 'sourcePorts', list(rows.sourcePorts)),
    ruleElement<S>('richRules', list(rows.richRules)),
  ]
}

/** A zone's own source. MACs are written as addresses: firewalld 1.3 does not read its own `mac`. */
const sourceElement: ElementRow<ZoneSettings> = {
  name: 'source', required: [], optional: ['address', 'mac', 'ipset', 'family', 'invert'],
  read(reading, element) {
    const value = (name: string): string => element.attributes.get(name)?.value ?? ''
    for (const name of ['family', 'invert']) {
      const ignored = element.attributes.get(name)
      if (ignored === undefined) continue
      if (name === 'invert' && /^(yes|true)$/i.test(ignored.value)) {
        return reading.report('warning', 'INVALID_SOURCE', ignored.position, 'Invalid source: Invertion not allowed here.')
      }
      reading.report('warning', 'INVALID_OPTION', ignored.position, `Ignoring deprecated attribute ${name}='${printable(ignored.value)}'`)
    }
    const text = value('address') !== '' ? value('address') : value('mac') !== '' ? value('mac') : value('ipset') !== '' ? `ipset:${value('ipset')}` : ''
    if (text === '') return reading.report('warning', 'INVALID_SOURCE', element.position, 'Invalid source: No address no ipset.')
    if (value('address') !== '' && /^(ipset|list):/.test(text)) return reading.report('error', 'INVALID_ADDR', element.position, printable(text))
    const field = list<string>(zoneFields.sources)
    const item = attempt(reading, element.position, () => field.item.fromText(text))
    if (item !== null) addItem(reading, 'sources', field, item, element.position)
  },
  write: (zone) => zone.sources.map((source) => ({
    name: 'source', attributes: [source.startsWith('ipset:') ? ['ipset', source.slice('ipset:'.length)] as const : ['address', source] as const],
  })),
}

const zone: XmlKind<ZoneSettings> = {
  root: 'zone', notWellFormed: 'INVALID_ZONE', maxChars: xmlLimits.maxChars,
  attributes: [
    versionOf(zoneFields),
    attribute('target', 'target', scalar(zoneFields.target), { without: 'default', refused: ['REJECT'] }),
    attribute('ingress-priority', 'ingressPriority', scalar(zoneFields.ingressPriority), { without: 0 }),
    attribute('egress-priority', 'egressPriority', scalar(zoneFields.egressPriority), { without: 0 }),
    deprecated('name'),
    deprecated('immutable'),
  ],
  elements: [
    ...shortAndDescription(zoneFields),
    ...filterElements(zoneFields),
    itemElement('interface', 'interfaces', list(zoneFields.interfaces), ['name']),
    sourceElement,
    flagElement('icmp-block-inversion', 'icmpBlockInversion'),
    flagElement('forward', 'forward'),
  ],
}

/** 0 means nothing in a file: firewalld takes it for the default. */
const policyPriority = attribute<PolicySettings>('priority', 'priority', scalar(policyFields.priority), { without: -1 })

const policy: XmlKind<PolicySettings> = {
  root: 'policy', notWellFormed: 'INVALID_POLICY', maxChars: xmlLimits.maxChars,
  attributes: [
    versionOf(policyFields),
    {
      ...policyPriority,
      read(reading, found) {
        if (/^[+-]?0+$/.test(found.value)) return reading.report('warning', 'INVALID_PRIORITY', found.position, 'priority 0 is reserved, using -1')
        policyPriority.read(reading, found)
      },
    },
    attribute('target', 'target', scalar(policyFields.target), { without: 'CONTINUE', required: true }),
  ],
  elements: [
    ...shortAndDescription(policyFields),
    flagElement('disable', 'disable'),
    ...filterElements(policyFields),
    itemElement('ingress-zone', 'ingressZones', list(policyFields.ingressZones), ['name']),
    itemElement('egress-zone', 'egressZones', list(policyFields.egressZones), ['name']),
  ],
}

/** A port without a number was how services wrote protocols once. */
const servicePorts = itemElement<ServiceSettings>('port', 'ports', list(serviceFields.ports), ['port', 'protocol'])
const serviceProtocols = itemElement<ServiceSettings>('protocol', 'protocols', list(serviceFields.protocols), ['value'])

/** `nf_conntrack_netbios_ns` and `netbios-ns` are the same module. */
export function moduleName(text: string): string {
  return text.startsWith('nf_conntrack_') ? text.slice('nf_conntrack_'.length).replaceAll('_', '-') : text
}

const service: XmlKind<ServiceSettings> = {
  root: 'service', notWellFormed: 'INVALID_SERVICE', maxChars: xmlLimits.maxChars,
  attributes: [versionOf(serviceFields), deprecated('name')],
  elements: [
    ...shortAndDescription(serviceFields),
    {
      ...servicePorts,
      read(reading, element) {
        if (element.attributes.get('port')?.value !== '') return servicePorts.read(reading, element)
        const field = list<string>(serviceFields.protocols)
        const item = attempt(reading, element.position, () => field.item.fromText(element.attributes.get('protocol')!.value))
        if (item !== null) addItem(reading, 'protocols', field, item, element.position)
      },
    },
    serviceProtocols,
    itemElement('source-port', 'sourcePorts', list(serviceFields.sourcePorts), ['port', 'protocol']),
    {
      ...itemElement<ServiceSettings>('module', 'modules', list(serviceFields.modules), ['name']),
      read(reading, element) {
        const field = list<string>(serviceFields.modules)
        const item = attempt(reading, element.position, () => field.item.fromText(moduleName(element.attributes.get('name')!.value)))
        if (item !== null) addItem(reading, 'modules', field, item, element.position)
      },
    },
    {
      name: 'destination', required: [], optional: ['ipv4', 'ipv6'],
      read(reading, element) {
        for (const [family, { value, position }] of element.attributes) readDict(reading, 'destination', serviceFields.destination as DictField, family, value, position)
      },
      write: ({ destination }) => Object.keys(destination).length === 0 ? []
        : [{ name: 'destination', attributes: ['ipv4', 'ipv6'].filter((family) => Object.hasOwn(destination, family)).map((family) => [family, destination[family]!] as const) }],
    },
    itemElement('include', 'includes', list(serviceFields.includes), ['service']),
    itemElement('helper', 'helpers', list(serviceFields.helpers), ['name']),
  ],
}

/** One key of a dictionary; the first of two counts. */
function readDict(reading: Reading, key: string, field: DictField, name: string, value: string, position: Position): void {
  const before = reading.values[key] as Readonly<Record<string, string>> | undefined ?? {}
  if (Object.hasOwn(before, name)) return reading.report('warning', 'ALREADY_ENABLED', position, `${key} '${printable(name)}' already set, ignoring.`)
  const parsed = attempt(reading, position, () => parseDictEntry(field, name, value))
  if (parsed === null) return
  reading.values[key] = { ...before, [name]: parsed }
  reading.positions.set(`${key}=${name}`, position)
  if (!reading.positions.has(key)) reading.positions.set(key, position)
}

interface RawEntry {
  readonly text: string
  readonly position: Position
}

/** Held aside until type and options are known; not a key of the settings. */
const rawEntries = ' entries'

const ipset: XmlKind<IpSetSettings> = {
  root: 'ipset', notWellFormed: 'INVALID_IPSET',
  // A set of half a million addresses.
  maxChars: 16 * 1024 * 1024,
  attributes: [attribute('type', 'type', scalar(ipSetFields.type), { without: null, required: true }), versionOf(ipSetFields)],
  elements: [
    ...shortAndDescription(ipSetFields),
    {
      name: 'option', required: ['name'], optional: ['value'],
      read(reading, element) {
        const name = element.attributes.get('name')!
        const value = element.attributes.get('value')?.value ?? ''
        if (!ipSetOptionNames.includes(name.value)) return reading.report('error', 'INVALID_OPTION', name.position, `Unknown option '${printable(name.value)}'`)
        if (value === '') return reading.report('error', 'INVALID_OPTION', name.position, `Missing mandatory value of option '${name.value}'`)
        readDict(reading, 'options', ipSetFields.options as DictField, name.value, value, element.position)
      },
      write: ({ options }) => Object.entries(options).map(([name, value]) => ({ name: 'option', attributes: [['name', name], ['value', value]] as const })),
    },
    {
      name: 'entry', required: [], optional: [],
      read(reading, element) {
        const raw = reading.values[rawEntries] as RawEntry[] | undefined ?? []
        raw.push({ text: element.text, position: element.position })
        reading.values[rawEntries] = raw
      },
      write: ({ entries }) => entries.map((text) => ({ name: 'entry', text })),
    },
  ],
  finish: finishIpSet,
}

const ipSetOptionNames = (ipSetFields.options as DictField).keys ?? []

/** Entries that do not fit are passed over, as firewalld does: one typing error must not take the whole host's filter away. */
function finishIpSet(reading: Reading): void {
  const raw = reading.values[rawEntries] as RawEntry[] | undefined ?? []
  delete reading.values[rawEntries]
  const type = reading.values['type'] as string | undefined
  if (type === undefined) return
  const options = reading.values['options'] as IpSetSettings['options'] | undefined ?? {}
  if (type === 'hash:mac' && options['family'] !== undefined) {
    reading.report('error', 'INVALID_OPTION', reading.positions.get('options=family')!, "Unsupported option 'family' for type 'hash:mac'")
    return
  }
  const [first] = raw
  if (first === undefined) return
  if (options['timeout'] !== undefined && options['timeout'] !== '0') {
    return reading.report('warning', 'IPSET_WITH_TIMEOUT', first.position, 'timeout option is set, entries are ignored')
  }
  const entries = new Map<string, Position>()
  for (const { text, position } of raw) {
    const entry = parseEntry(reading, type, options, text, position)
    if (entry === null) continue
    if (entries.has(entry)) reading.report('warning', 'ALREADY_ENABLED', position, `Entry ${printable(entry)} already set, ignoring.`)
    else entries.set(entry, position)
  }
  for (const [entry, other] of contained(type, options, [...entries.keys()])) {
    reading.report('warning', 'INVALID_ENTRY', entries.get(entry)!, `'${printable(entry)}' is within '${printable(other)}', ignoring.`)
    entries.delete(entry)
  }
  reading.values['entries'] = [...entries.keys()]
  reading.positions.set('entries', first.position)
  for (const [entry, position] of entries) reading.positions.set(`entries=${entry}`, position)
}

/** Pairs [entry, entry that holds all of it]: without the first of each the set is the same. Entries that only touch stay. */
function contained(type: string, options: IpSetSettings['options'], entries: readonly string[]): readonly (readonly [string, string])[] {
  const ranges = entries.flatMap((text) => {
    const range = rangeOf(parseEntryParts(type, options, text))
    return range === null ? [] : [{ text, range }]
  })
  ranges.sort((one, other) => compare(one.range.first, other.range.first) || compare(other.range.last, one.range.last))
  const pairs: (readonly [string, string])[] = []
  let widest = ranges[0]
  for (const here of ranges.slice(1)) {
    if (here.range.last <= widest!.range.last) pairs.push([here.text, widest!.text])
    else widest = here
  }
  return pairs
}

const compare = (one: bigint, other: bigint): number => (one < other ? -1 : one > other ? 1 : 0)

function parseEntry(reading: Reading, type: string, options: IpSetSettings['options'], text: string, position: Position): string | null {
  try {
    return parseIpSetEntry(type, options, text)
  } catch (error) {
    if (!(error instanceof DerpanetError)) throw error
    reading.report('warning', error.code, position, `${error.detail}, ignoring.`)
    return null
  }
}

const icmptype: XmlKind<IcmpTypeSettings> = {
  root: 'icmptype', notWellFormed: 'INVALID_ICMPTYPE', maxChars: xmlLimits.maxChars,
  attributes: [versionOf(icmpTypeFields), deprecated('name')],
  elements: [
    ...shortAndDescription(icmpTypeFields),
    {
      name: 'destination', required: [], optional: ['ipv4', 'ipv6'],
      read(reading, element) {
        for (const [family, { value, position }] of element.attributes) {
          if (/^(yes|true)$/i.test(value)) addItem(reading, 'destinations', list<string>(icmpTypeFields.destinations), family, position)
        }
      },
      write: ({ destinations }) => destinations.length === 0 ? []
        : [{ name: 'destination', attributes: destinations.map((family) => [family, 'yes'] as const) }],
    },
  ],
  finish(reading) {
    Object.assign(reading.values, numbersOf(reading.name))
  },
}

const helper: XmlKind<HelperSettings> = {
  root: 'helper', notWellFormed: 'INVALID_HELPER', maxChars: xmlLimits.maxChars,
  attributes: [
    attribute('module', 'module', scalar(helperFields.module), { without: null, required: true }),
    attribute('family', 'family', scalar(helperFields.family), { without: '', refused: [''] }),
    versionOf(helperFields),
    deprecated('name', true),
  ],
  elements: [...shortAndDescription(helperFields), itemElement('port', 'ports', list(helperFields.ports), ['port', 'protocol'])],
}

export const xmlKinds: { readonly [Kind in keyof KindSettings]: XmlKind<KindSettings[Kind]> } = { zone, policy, service, ipset, icmptype, helper }

/** The checks that a file's own elements do not already make. Entries of sets were judged one by one. */
export function checkWhole<Kind extends keyof KindSettings>(kind: Kind, value: KindSettings[Kind]): readonly Mistake[] {
  const { check }: { readonly check: (value: KindSettings[Kind]) => readonly Mistake[] } = kinds[kind]
  return kind === 'ipset' ? [] : check(value)
}
