// A configuration in as few words as a test needs, resolved as the daemon would.
import { parsePrefix } from '../../src/model/addr.ts'
import type { Firewall } from '../../src/model/firewall.ts'
import { resolve } from '../../src/model/resolve.ts'
import {
  defaultMain, emptyIcmpType, emptyIpSet, emptyPolicy, emptyService, emptyZone,
  type IpSetSettings, type MainSettings, type PolicySettings, type PortSpec, type Runtime, type ServiceSettings, type ZoneSettings,
} from '../../src/model/settings.ts'
import { entry, packList } from './random-settings.ts'

/** Ports as `22/tcp`. */
type Words<T> = { readonly [K in keyof T]?: K extends 'forwardPorts' ? T[K] : T[K] extends readonly PortSpec[] ? readonly string[] : T[K] }

export interface ConfigurationWords {
  readonly zones: Readonly<Record<string, Words<ZoneSettings>>>
  readonly policies?: Readonly<Record<string, Words<PolicySettings>>>
  readonly services?: Readonly<Record<string, Words<ServiceSettings>>>
  readonly ipsets?: Readonly<Record<string, Partial<IpSetSettings>>>
  /** Prefixes by list name. */
  readonly lists?: Readonly<Record<string, readonly string[]>>
  readonly main?: Words<MainSettings>
  readonly panic?: boolean
}

const icmptypes = {
  'echo-request': { ...emptyIcmpType, ipv4: [[8, 0]], ipv6: [[128, 0]] },
  'timestamp-request': { ...emptyIcmpType, destinations: ['ipv4'], ipv4: [[13, null]] },
} as const

/** The default zone is `public` unless said; it exists even if `zones` does not name it. */
export function runtimeOf({ zones, policies = {}, services = {}, ipsets = {}, lists = {}, main = {}, panic = false }: ConfigurationWords): Runtime {
  const table = <T>(folder: string, from: Readonly<Record<string, T>>): ReadonlyMap<string, ReturnType<typeof entry<T>>> =>
    new Map(Object.entries(from).map(([name, value]) => [name, entry(`${folder}/${name}`, value)]))
  const filled = <T>(empty: T, from: Readonly<Record<string, Words<T>>>): Record<string, T> =>
    Object.fromEntries(Object.entries(from).map(([name, words]) => [name, { ...empty, ...spelled(words) } as T]))
  const packed = Object.entries(lists).map(([name, prefixes]) => packList(name, prefixes.map((text) => {
    const prefix = parsePrefix(text)
    if (prefix === null) throw new Error(`not a prefix: ${text}`)
    return prefix
  })))
  return {
    panic,
    settings: {
      main: entry('derpanet', { ...defaultMain, ...spelled(main) } as MainSettings),
      zones: table('zones', filled(emptyZone, { public: {}, ...zones })),
      policies: table('policies', filled(emptyPolicy, policies)),
      services: table('services', filled(emptyService, services)),
      ipsets: table('ipsets', filled(emptyIpSet, ipsets)),
      icmptypes: table('icmptypes', icmptypes),
      helpers: new Map(),
      lists: new Map(packed.map((list) => [list.name, list])),
    },
  }
}

/** Throws with every problem when the words make no firewall. */
export function firewallOf(words: ConfigurationWords): Firewall {
  const { firewall, problems } = resolve(runtimeOf(words))
  if (firewall === null) throw new Error(problems.map(({ code, detail }) => `${code}: ${detail}`).join('; '))
  return firewall
}

function spelled(words: object): object {
  const port = (text: string): PortSpec => {
    const [first = '', protocol = ''] = text.split('/')
    return { port: first, protocol }
  }
  return Object.fromEntries(Object.entries(words).map(([key, value]) => [
    key, /ports$/i.test(key) && key !== 'forwardPorts' && Array.isArray(value) ? (value as string[]).map(port) : value,
  ]))
}
