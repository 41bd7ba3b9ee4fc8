// The keys of firewalld.conf, which are also the properties of firewalld's configuration object on the bus. Some are settings
// of our own under firewalld's name (see `meaning`); the others are kept and answered, because clients read and write them.
import type { MainSettings } from '../model/settings.ts'
import { logDeniedValues, reversePathValues } from './main.ts'
import { isName } from './names.ts'
import type { Face } from './dict.ts'

/** One of derpanet's own settings in firewalld's words. */
interface Meaning {
  readonly key: keyof MainSettings
  /** What a valid text says. */
  read(text: string): Partial<MainSettings>
  /** The text that says it; one that is not valid in this face says what the face cannot. */
  show(main: MainSettings, face: Face): string
}

export interface ConfKey {
  readonly name: string
  /** By face; one face only where the key came with it. */
  readonly defaults: Readonly<Partial<Record<Face, string>>>
  /** D-Bus type; null = no property. */
  readonly dbus: 's' | 'i' | null
  /** In words, for messages. */
  readonly values: string
  isValid(value: string, face: Face): boolean
  /** None = stored. CleanupOnExit is: what a stop does to our rules is said by on-stop, which only a firewalld tree derives from it. */
  readonly meaning?: Meaning
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

/** A switch of ours with a switch of theirs. */
function switched(key: 'flushAllOnReload' | 'rfc3964Ipv4' | 'strictForwardPorts' | 'lockdown'): { readonly meaning: Meaning } {
  return { meaning: { key, read: (text) => ({ [key]: isYes(text) }), show: (main) => (main[key] ? 'yes' : 'no') } }
}

const since25 = (value: string): Pick<ConfKey, 'defaults' | 'shipped'> => ({ defaults: { '2.5': value }, shipped: ['2.5'] })

const verdict = '(?:DROP|REJECT|ACCEPT)'
const reloadPolicy = new RegExp(`^(?:${verdict}|(?:INPUT|FORWARD|OUTPUT):${verdict}(?:\\s*,\\s*(?:INPUT|FORWARD|OUTPUT):${verdict})*)$`, 'i')

/** In the order of a written file. */
export const confKeys: readonly ConfKey[] = [
  {
    name: 'DefaultZone', defaults: { '1.3': 'public', '2.5': 'public' }, dbus: 's', values: 'a zone name', shipped: both,
    isValid: (text) => isName('zone', text),
    meaning: { key: 'defaultZone', read: (text) => ({ defaultZone: text }), show: (main) => main.defaultZone },
  },
  { name: 'MinimalMark', defaults: { '1.3': '100', '2.5': '100' }, dbus: 'i', values: 'a whole number', isValid: (text) => /^\d{1,9}$/.test(text), shipped: [] },
  flag('CleanupOnExit', 'yes'),
  flag('CleanupModulesOnExit', 'no'),
  flag('Lockdown', 'no', { shipped: ['1.3'], ...switched('lockdown') }),
  {
    name: 'IPv6_rpfilter', defaults: { '1.3': 'yes', '2.5': 'strict' }, dbus: 's', shipped: both,
    values: 'yes, no, strict, loose, strict-forward or loose-forward',
    isValid: (text, face) => truth.test(text) || (face === '2.5' && /^(strict|loose|strict-forward|loose-forward)$/.test(text)),
    meaning: {
      key: 'ipv6Rpfilter',
      read: (text) => ({ ipv6Rpfilter: reversePathValues.find((word) => word === text) ?? (isYes(text) ? 'strict' : 'no') }),
      show: ({ ipv6Rpfilter }, face) => (face === '1.3' && ipv6Rpfilter === 'strict' ? 'yes' : ipv6Rpfilter),
    },
  },
  flag('IndividualCalls', 'no'),
  word('LogDenied', 'off', logDeniedValues, {
    meaning: { key: 'logDenied', read: (text) => ({ logDenied: logDeniedValues.find((word) => word === text.toLowerCase()) ?? 'off' }), show: (main) => main.logDenied },
  }),
  word('AutomaticHelpers', 'no', ['yes', 'no', 'system'], { shipped: [] }),
  word('FirewallBackend', 'nftables', ['nftables', 'iptables']),
  flag('FlushAllOnReload', 'yes', switched('flushAllOnReload')),
  {
    name: 'ReloadPolicy', ...since25('INPUT:DROP,FORWARD:DROP,OUTPUT:DROP'), dbus: null, values: 'DROP, REJECT, ACCEPT or a list of CHAIN:VERDICT',
    isValid: (text) => reloadPolicy.test(text),
  },
  flag('RFC3964_IPv4', 'yes', switched('rfc3964Ipv4')),
  flag('AllowZoneDrifting', 'no', { shipped: [] }),
  {
    name: 'NftablesFlowtable', ...since25('off'), dbus: 's', values: 'off or names of interfaces',
    isValid: (text) => /^[\x21-\x7e]+(\s+[\x21-\x7e]+)*$/.test(text),
  },
  flag('NftablesCounters', 'no', since25('no')),
  flag('NftablesTableOwner', 'yes', since25('yes')),
  flag('StrictForwardPorts', 'no', { ...since25('no'), ...switched('strictForwardPorts') }),
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
  return key.meaning?.show(main, face) ?? main.firewalld[name] ?? fallback
}

/** The settings that firewalld.conf has words for in this face. */
export function confFields(face: Face): readonly (keyof MainSettings)[] {
  return ['firewalld', ...confKeys.flatMap(({ meaning, defaults }) => (meaning === undefined || defaults[face] === undefined ? [] : [meaning.key]))]
}

/** The part of the settings that some firewalld.conf can say. */
export function confPart(main: MainSettings): Partial<MainSettings> {
  return Object.fromEntries(confFields('2.5').map((key) => [key, main[key]]))
}

/** Every key about which these settings say something, whether the face has it or not. */
export function confWords(main: MainSettings, face: Face): ReadonlyMap<string, string> {
  const meant = confKeys.flatMap(({ name, meaning }) => (meaning === undefined ? [] : [[name, meaning.show(main, face)] as const]))
  return new Map([...Object.entries(main.firewalld), ...meant])
}
