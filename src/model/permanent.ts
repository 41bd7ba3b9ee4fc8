// The permanent world as a client of firewalld changes it: one mutation as data, what is to be done to the files for it,
// and what is told afterwards. settings/permanent.ts turns the first into the other two; src/config/store does it.
import type { DirectSettings, LockdownSettings } from './direct.ts'
import type {
  HelperSettings, IcmpTypeSettings, IpSetSettings, PolicySettings, ServiceSettings, ZoneSettings,
} from './settings.ts'

/** The kinds of objects that have a file each, in firewalld's word. */
export interface PermanentObjects {
  readonly zone: ZoneSettings
  readonly policy: PolicySettings
  readonly service: ServiceSettings
  readonly ipset: IpSetSettings
  readonly icmptype: IcmpTypeSettings
  readonly helper: HelperSettings
}

export type PermanentKind = keyof PermanentObjects

/** `object` and `name` say which; `field` is a key of its settings type. */
interface Of {
  readonly object: PermanentKind
  readonly name: string
}

/** Items are the caller's own columns, as in Change. `settings` holds only the keys that change, checked one by one. */
export type PermanentChange =
  | Of & { readonly kind: 'object-add'; readonly settings: Readonly<Record<string, unknown>> }
  | Of & { readonly kind: 'object-update'; readonly settings: Readonly<Record<string, unknown>> }
  | Of & { readonly kind: 'object-item-add' | 'object-item-remove'; readonly field: string; readonly item: readonly string[] }
  | Of & { readonly kind: 'object-flag-add' | 'object-flag-remove'; readonly field: string }
  /** One key of a dictionary that is not there yet. */
  | Of & { readonly kind: 'object-key-add'; readonly field: string; readonly key: string; readonly value: string }
  | Of & { readonly kind: 'object-key-remove'; readonly field: string; readonly key: string }
  | Of & { readonly kind: 'object-remove' }
  | Of & { readonly kind: 'object-rename'; readonly to: string }
  /** Back to what a lower layer has. */
  | Of & { readonly kind: 'object-defaults' }
  | { readonly kind: 'direct-update'; readonly settings: DirectSettings }
  | { readonly kind: 'lockdown-update'; readonly settings: LockdownSettings }
  | { readonly kind: 'lockdown-item-add' | 'lockdown-item-remove'; readonly field: keyof LockdownSettings; readonly item: string | number }
  /** A key of firewalld.conf, whatever it is called in the store. Values are checked by who makes the change. */
  | { readonly kind: 'conf-set'; readonly key: string; readonly value: string }

/** One thing to be done to the files. */
export type PermanentEffect =
  | { readonly [Kind in PermanentKind]: { readonly kind: 'write'; readonly object: Kind; readonly name: string; readonly value: PermanentObjects[Kind] } }[PermanentKind]
  /** The file of the writable layer is kept as `.old`. */
  | Of & { readonly kind: 'remove' }
  | Of & { readonly kind: 'rename'; readonly to: string }
  /** As remove, for an object that a lower layer has too: that one comes back. */
  | Of & { readonly kind: 'defaults' }
  | { readonly kind: 'direct'; readonly value: DirectSettings }
  | { readonly kind: 'lockdown'; readonly value: LockdownSettings }
  | { readonly kind: 'conf'; readonly key: string; readonly value: string }

/** In the words of clients: signals are made from these after the files are written. */
export type PermanentEvent =
  | Of & { readonly kind: 'object-added' | 'object-updated' | 'object-removed' }
  /** `name` is the new one. */
  | Of & { readonly kind: 'object-renamed'; readonly from: string }
  | { readonly kind: 'direct-updated' }
  | { readonly kind: 'lockdown-updated' }
  | { readonly kind: 'conf-changed'; readonly key: string; readonly value: string }

export interface PermanentReduced {
  readonly effects: readonly PermanentEffect[]
  readonly events: readonly PermanentEvent[]
}
