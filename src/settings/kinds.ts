// The six kinds of objects and the main file as one table: folder, fields, empty value, whole-object rules, and the
// positional layout of the older bus calls.
import type { DerpanetError } from '../errors.ts'
import type {
  Entry, HelperSettings, IcmpTypeSettings, IpSetSettings, PolicySettings, ServiceSettings, Settings, ZoneSettings, MainSettings,
} from '../model/settings.ts'
import { defaultMain, emptyHelper, emptyIcmpType, emptyIpSet, emptyPolicy, emptyService, emptyZone } from '../model/settings.ts'
import type { FieldTable } from './field.ts'
import { checkHelper, helperFields } from './helper.ts'
import { icmpTypeFields } from './icmptype.ts'
import { canonicalIpSet, checkIpSet, ipSetFields } from './ipset.ts'
import { mainFields } from './main.ts'
import { checkPolicy, policyFields } from './policy.ts'
import { serviceFields } from './service.ts'
import { zoneFields } from './zone.ts'

/** A rule that several keys break together. `key` is the key of the settings value to point at, `item` its canonical item text. */
export interface Mistake {
  readonly key: string
  readonly item?: string
  readonly error: DerpanetError
}

/** A column of a positional tuple: a field, or a constant where firewalld kept an unused one. */
export type TupleColumn<S> = { readonly field: keyof S & string } | { readonly constant: boolean; readonly signature: string }

export interface ObjectKind<S> {
  readonly kind: string
  readonly fields: FieldTable<S>
  /** What a file or dictionary without any key means. */
  readonly empty: S
  readonly check: (value: S) => readonly Mistake[]
  /** What only the whole object tells how to write; called when check found nothing. */
  readonly canonical?: (value: S) => S
}

export interface NamedKind<S> extends ObjectKind<S> {
  readonly kind: 'zone' | 'policy' | 'service' | 'ipset' | 'icmptype' | 'helper'
  /** Folder below the configuration root, and key of Settings. */
  readonly folder: 'zones' | 'policies' | 'services' | 'ipsets' | 'icmptypes' | 'helpers'
  /** Columns of getSettings and update; null = the kind has only a dictionary. */
  readonly tuple: readonly TupleColumn<S>[] | null
}

export interface KindSettings {
  readonly zone: ZoneSettings
  readonly policy: PolicySettings
  readonly service: ServiceSettings
  readonly ipset: IpSetSettings
  readonly icmptype: IcmpTypeSettings
  readonly helper: HelperSettings
}

const columns = <S>(...keys: readonly (keyof S & string)[]): TupleColumn<S>[] => keys.map((field) => ({ field }))
const nothing = (): readonly Mistake[] => []

export const kinds: { readonly [Kind in keyof KindSettings]: NamedKind<KindSettings[Kind]> } = {
  zone: {
    kind: 'zone', folder: 'zones', fields: zoneFields, empty: emptyZone, check: nothing,
    tuple: [
      ...columns<ZoneSettings>('version', 'short', 'description'),
      { constant: false, signature: 'b' },
      ...columns<ZoneSettings>('target', 'services', 'ports', 'icmpBlocks', 'masquerade', 'forwardPorts', 'interfaces', 'sources', 'richRules',
        'protocols', 'sourcePorts', 'icmpBlockInversion'),
    ],
  },
  policy: { kind: 'policy', folder: 'policies', fields: policyFields, empty: emptyPolicy, check: checkPolicy, tuple: null },
  service: {
    kind: 'service', folder: 'services', fields: serviceFields, empty: emptyService, check: nothing,
    tuple: columns<ServiceSettings>('version', 'short', 'description', 'ports', 'modules', 'destination', 'protocols', 'sourcePorts'),
  },
  ipset: {
    kind: 'ipset', folder: 'ipsets', fields: ipSetFields, empty: emptyIpSet, check: checkIpSet, canonical: canonicalIpSet,
    tuple: columns<IpSetSettings>('version', 'short', 'description', 'type', 'options', 'entries'),
  },
  icmptype: {
    kind: 'icmptype', folder: 'icmptypes', fields: icmpTypeFields, empty: emptyIcmpType, check: nothing,
    tuple: columns<IcmpTypeSettings>('version', 'short', 'description', 'destinations'),
  },
  helper: {
    kind: 'helper', folder: 'helpers', fields: helperFields, empty: emptyHelper, check: checkHelper,
    tuple: columns<HelperSettings>('version', 'short', 'description', 'family', 'module', 'ports'),
  },
}

export const mainKind: ObjectKind<MainSettings> = { kind: 'main', fields: mainFields, empty: defaultMain, check: nothing }

/** The objects of a kind. The table ties each kind to its folder, which the type checker cannot follow for a kind it does not know. */
export function objectsOf<Kind extends keyof KindSettings>(settings: Settings, kind: Kind): ReadonlyMap<string, Entry<KindSettings[Kind]>> {
  return settings[kinds[kind].folder] as unknown as ReadonlyMap<string, Entry<KindSettings[Kind]>>
}
