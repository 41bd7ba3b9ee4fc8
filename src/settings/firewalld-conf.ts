// The keys of firewalld.conf, which are also the properties of firewalld's configuration object on the bus. derpanet acts
// on four of them (see `meaning`); the others are kept and answered, because clients read and write them.
import type { MainSettings } from '../model/settings.ts'
import { logDeniedValues } from './main.ts'
import { isName } from './names.ts'
import type { Face } from './dict.ts'

export interface ConfKey {
  readonly name: string
  /** By face; one face only where the key came with it. */
  readonly defaults: Readonly<Partial<Record<Face, string>>>
  /** D-Bus type; null = no property. */
  readonly dbus: 's' | 'i' | null
  /** In words, for messages. */
  readonly values: string
  isValid(value: string, face: Face): boolean
  /** Which key of derpanet's own settings it is; none = stored, without effect. */
  readonly meaning?: 'defaultZone' | 'logDenied' | 'onStop' | 'flushAllOnReload'
  /** In the file of a fresh installation of that face. */
  readonly shipped: readonly Face[]
}

const truth = /^(yes|no|true|false)$/i
const both: readonly Face[] = ['1.3', '2.5']

function flag(name: string, value: 'yes' | 'no', row: Partial<ConfKey> = {}): ConfKey {
  return { name, defaults: { '1.3': value, '2.5': value }, dbus: 's', values: 'yes or no', isValid: (text) => truth.test(text), shipped: both, ...row }
}

function word(name: string, value: string, words: readonly string[], row: Partial<ConfKey> = {}): ConfKey {
  return {
    name, defaults: { '1.3': value, '2.5': value }, dbus: 's', values: words.join(', '),
    isValid: (text) => words.includes(text.toLowerCase()), shipped: both, ...row,
  }
}

const since25 = (value: string): Pick<ConfKey, 'defaults' | 'shipped'> => ({ defaults: { '2.5': value }, shipped: ['2.5'] })

const verdict = '(?:DROP|REJECT|ACCEPT)'
const reloadPolicy = new RegExp(`^(?:${verdict}|(?:INPUT|FORWARD|OUTPUT):${verdict}(?:\\s*,\\s*(?:INPUT|FORWARD|OUTPUT):${verdict})*)$`, 'i')

/** In the order of a written file. */
export const confKeys: readonly ConfKey[] = [
  {
    name: 'DefaultZone', defaults: { '1.3': 'public', '2.5': 'public' }, dbus: 's', values: 'a zone name', meaning: 'defaultZone', shipped: both,
    isValid: (text) => isName('zone', text),
  },
  { name: 'MinimalMark', defaults: { '1.3': '100', '2.5': '100' }, dbus: 'i', values: 'a whole number', isValid: (text) => /^\d{1,9}$/.test(text), shipped: [] },
  flag('CleanupOnExit', 'yes', { meaning: 'onStop' }),
  flag('CleanupModulesOnExit', 'no'),
  flag('Lockdown', 'no', { shipped: ['1.3'] }),
  {
    name: 'IPv6_rpfilter', defaults: { '1.3': 'yes', '2.5': 'strict' }, dbus: 's', shipped: both,
    values: 'yes, no, strict, loose, strict-forward or loose-forward',
    isValid: (text, face) => truth.test(text) || (face === '2.5' && /^(strict|loose|strict-forward|loose-forward)$/.test(text)),
  },
  flag('IndividualCalls', 'no'),
  word('LogDenied', 'off', logDeniedValues, { meaning: 'logDenied' }),
  word('AutomaticHelpers', 'no', ['yes', 'no', 'system'], { shipped: [] }),
  word('FirewallBackend', 'nftables', ['nftables', 'iptables']),
  flag('FlushAllOnReload', 'yes', { meaning: 'flushAllOnReload' }),
  {
    name: 'ReloadPolicy', ...since25('INPUT:DROP,FORWARD:DROP,OUTPUT:DROP'), dbus: null, values: 'DROP, REJECT, ACCEPT or a list of CHAIN:VERDICT',
    isValid: (text) => reloadPolicy.test(text),
  },
  flag('RFC3964_IPv4', 'yes'),
  flag('AllowZoneDrifting', 'no', { shipped: [] }),
  {
    name: 'NftablesFlowtable', ...since25('off'), dbus: 's', values: 'off or names of interfaces',
    isValid: (text) => /^[\x21-\x7e]+(\s+[\x21-\x7e]+)*$/.test(text),
  },
  flag('NftablesCounters', 'no', since25('no')),
  flag('NftablesTableOwner', 'yes', since25('yes')),
  flag('StrictForwardPorts', 'no', since25('no')),
]

export function confKey(name: string): ConfKey | null {
  return confKeys.find((key) => key.name === name) ?? null
}

export function isYes(value: string): boolean {
  return /^(yes|true)$/i.test(value)
}

/** What a key says in these settings: the text of the bus property. Keys that the face does not have are "". */
export function confValue(main: MainSettings, name: string, face: Face): string {
  const key = confKey(name)
  const fallback = key?.defaults[face]
  if (key === null || fallback === undefined) return ''
  switch (key.meaning) {
    case 'defaultZone': return main.defaultZone
    case 'logDenied': return main.logDenied
    case 'flushAllOnReload': return main.flushAllOnReload ? 'yes' : 'no'
    // Only a firewalld tree maps it to what happens at a stop; there the stored word and onStop say the same.
    default: return main.firewalld[name] ?? fallback
  }
}
