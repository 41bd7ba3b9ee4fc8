// A FirewallService without a kernel: the real reducer over a small configuration with firewalld's nine zones.
import { reduceRuntime } from '../../../src/model/reduce.ts'
import { partsOfRuntime } from '../../../src/daemon/permanent.ts'
import { reducePermanent } from '../../../src/settings/permanent.ts'
import { applyInMemory } from '../../support/memory-permanent.ts'
import type { Change } from '../../../src/model/change.ts'
import {
  defaultMain, emptyHelper, emptyIcmpType, emptyIpSet, emptyPolicy, emptyService, emptyZone,
  type Entry, type HelperSettings, type IcmpTypeSettings, type IpSetSettings, type PolicySettings, type Runtime, type ServiceSettings, type Settings,
  type ZoneSettings,
} from '../../../src/model/settings.ts'
import type { Caller, ChangeResult, FirewallService, ServiceEvent, ServiceStatus } from '../../../src/service.ts'

function entry<T>(kind: string, name: string, value: T, layer: Entry<T>['layer'] = 'shipped'): Entry<T> {
  const root = layer === 'admin' ? '/etc/derpanet' : '/usr/lib/derpanet'
  return { value, layer, file: `${root}/${kind}/${name}.yaml`, positions: new Map() }
}

function entries<T>(kind: string, empty: T, values: Readonly<Record<string, Partial<T>>>): Map<string, Entry<T>> {
  return new Map(Object.entries(values).map(([name, value]) => [name, entry(kind, name, { ...empty, ...value })]))
}

const port = (text: string, protocol: string) => ({ port: text, protocol })

const zones: Readonly<Record<string, Partial<ZoneSettings>>> = {
  block: { short: 'Block', description: 'd', target: 'REJECT', forward: true },
  dmz: { short: 'DMZ', description: 'd', services: ['ssh'], forward: true },
  drop: { short: 'Drop', description: 'd', target: 'DROP', forward: true },
  external: { short: 'External', description: 'd', services: ['ssh'], masquerade: true, forward: true },
  home: { short: 'Home', description: 'd', services: ['ssh', 'mdns', 'samba-client', 'dhcpv6-client'], forward: true },
  internal: { short: 'Internal', description: 'd', services: ['ssh', 'mdns', 'samba-client', 'dhcpv6-client'], forward: true },
  public: { short: 'Public', description: 'd', services: ['ssh', 'dhcpv6-client'], forward: true },
  trusted: { short: 'Trusted', description: 'd', target: 'ACCEPT', forward: true },
  work: { short: 'Work', description: 'd', services: ['ssh', 'dhcpv6-client'], forward: true },
}

const services: Readonly<Record<string, Partial<ServiceSettings>>> = {
  ssh: { short: 'SSH', description: 'd', ports: [port('22', 'tcp')] },
  http: { short: 'WWW (HTTP)', description: 'd', ports: [port('80', 'tcp')] },
  https: { short: 'WWW (HTTPS)', description: 'd', ports: [port('443', 'tcp'), port('443', 'udp')] },
  ftp: { short: 'FTP', description: 'd', ports: [port('21', 'tcp')], helpers: ['ftp'] },
  mdns: { short: 'mDNS', description: 'd', ports: [port('5353', 'udp')], destination: { ipv4: '224.0.0.251', ipv6: 'ff02::fb' } },
  'samba-client': { short: 'Samba Client', description: 'd', ports: [port('138', 'udp')], includes: ['netbios-ns'] },
  'netbios-ns': { short: 'NetBIOS NS', description: 'd', ports: [port('137', 'udp')], helpers: ['netbios-ns'] },
  'dhcpv6-client': { short: 'DHCPv6 Client', description: 'd', ports: [port('546', 'udp')], destination: { ipv6: 'fe80::/64' } },
}

const icmptypes: Readonly<Record<string, Partial<IcmpTypeSettings>>> = {
  'echo-request': { short: 'Echo Request (ping)', description: 'd', ipv4: [[8, 0]], ipv6: [[128, 0]] },
  'echo-reply': { short: 'Echo Reply (pong)', description: 'd', ipv4: [[0, 0]], ipv6: [[129, 0]] },
  redirect: { short: 'Redirect', description: 'd', ipv4: [[5, null]], ipv6: [[137, null]] },
  'host-prohibited': { short: 'Host Prohibited', description: 'd', destinations: ['ipv4'], ipv4: [[3, 10]] },
  'neighbour-solicitation': { short: 'Neighbour Solicitation', description: 'd', destinations: ['ipv6'], ipv6: [[135, null]] },
}

const helpers: Readonly<Record<string, Partial<HelperSettings>>> = {
  ftp: { module: 'nf_conntrack_ftp', ports: [port('21', 'tcp')] },
  'netbios-ns': { module: 'nf_conntrack_netbios_ns', family: 'ipv4', ports: [port('137', 'udp')] },
  'Q.931': { module: 'nf_conntrack_h323', ports: [port('1720', 'tcp')] },
}

const policies: Readonly<Record<string, Partial<PolicySettings>>> = {
  'allow-host-ipv6': {
    short: 'Allow host IPv6', description: 'd', priority: -15000, ingressZones: ['ANY'], egressZones: ['HOST'],
    richRules: ['rule family="ipv6" icmp-type name="neighbour-solicitation" accept'],
  },
  'gateway-dmz-to-HOST': { short: 'Gateway', priority: -1, ingressZones: ['dmz'], egressZones: ['HOST'], disable: true },
}

const ipsets: Readonly<Record<string, Partial<IpSetSettings>>> = {
  s4: { type: 'hash:ip', entries: [] },
  n4: { type: 'hash:net', entries: [] },
  n6: { type: 'hash:net', options: { family: 'inet6' } },
  t4: { type: 'hash:ip', options: { timeout: '60' } },
}

export function testSettings(): Settings {
  return {
    main: entry('.', 'derpanet', defaultMain),
    zones: entries('zones', emptyZone, zones),
    policies: entries('policies', emptyPolicy, policies),
    services: entries('services', emptyService, services),
    ipsets: entries('ipsets', emptyIpSet, ipsets),
    icmptypes: entries('icmptypes', emptyIcmpType, icmptypes),
    helpers: entries('helpers', emptyHelper, helpers),
    lists: new Map(),
  }
}

export interface FakeService extends FirewallService {
  /** Every change in order, with who asked. */
  readonly changes: readonly { readonly change: Change; readonly caller: Caller }[]
  setPermanent(settings: Settings): void
  setRuntime(runtime: Runtime): void
  /** Changes wait until the promise resolves, as for a slow kernel. */
  holdChanges(until: Promise<void>): void
}

export function fakeService(initial: Settings = testSettings()): FakeService {
  let permanent = initial
  let runtime: Runtime = { settings: initial, panic: false }
  let generation = 1
  let gate: Promise<void> = Promise.resolve()
  const changes: { change: Change; caller: Caller }[] = []
  const listeners = new Set<(event: ServiceEvent) => void>()
  const timers = new Map<string, NodeJS.Timeout>()
  const emit = (event: ServiceEvent): void => listeners.forEach((listener) => listener(event))

  async function change(asked: Change, caller: Caller): Promise<ChangeResult> {
    await gate
    const reduced = reduceRuntime(runtime, asked)
    changes.push({ change: asked, caller })
    runtime = reduced.world
    generation++
    for (const key of reduced.cancelled) clearTimeout(timers.get(key))
    for (const { key, timeoutSec, change: later } of reduced.expiries) {
      clearTimeout(timers.get(key))
      timers.set(key, setTimeout(() => {
        // what is gone already needs nobody
        change(later, { name: 'timer' }).catch(() => {})
      }, Math.min(timeoutSec * 1000, 2 ** 31 - 1)).unref())
    }
    for (const event of reduced.events) emit({ kind: 'change', event })
    return { name: reduced.name, generation, events: reduced.events }
  }

  return {
    changes,
    runtime: () => runtime,
    permanent: () => permanent,
    setPermanent: (settings) => { permanent = settings },
    setRuntime: (next) => { runtime = next },
    holdChanges: (until) => { gate = until },
    change,
    state: () => 'RUNNING',
    status: async (): Promise<ServiceStatus> => ({
      version: '0.1.0', state: 'RUNNING', generation, source: 'files', panic: runtime.panic, defaultZone: runtime.settings.main.value.defaultZone,
      dataplanes: [], pending: { changed: false, problem: null }, problem: null,
    }),
    counters: async () => new Map([
      ['zone public: service ssh', { packets: 3n, bytes: 180n }],
      ['list bad', { packets: 18446744073709551615n, bytes: 1n }],
    ]),
    changePermanent: async (asked) => {
      const { effects, events } = reducePermanent(permanent, asked)
      permanent = effects.reduce((settings, effect) => applyInMemory(settings, effect, initial), permanent)
      for (const event of events) emit({ kind: 'permanent', event })
    },
    checkPermanent: async () => {},
    runtimeToPermanent: async (options) => {
      for (const { effect, event } of partsOfRuntime(runtime.settings, permanent, options)) {
        permanent = applyInMemory(permanent, effect, initial)
        emit({ kind: 'permanent', event })
      }
    },
    resetToDefaults: async () => {
      permanent = initial
      runtime = { settings: initial, panic: runtime.panic }
      emit({ kind: 'reloaded' })
    },
    adoptFiles: async () => {},
    passthrough: async (ipv, args) => `${ipv} ${args.join(' ')}`,
    reload: async () => {
      await gate
      runtime = { settings: permanent, panic: runtime.panic }
      emit({ kind: 'reloaded' })
    },
    apply: async (_changes, options) => ({ applied: options.dryRun !== true, generation, differences: [], cutsOff: [], confirmWithinSec: options.confirmSec ?? null }),
    confirm: async () => generation,
    undo: async () => ({ applied: true, generation, differences: [], cutsOff: [], confirmWithinSec: null }),
    history: () => [{ number: 1, at: '2026-01-01T00:00:00.000Z', by: { name: 'start' }, what: 'start', text: 'from files', isStored: true }],
    difference: async (from, to) => [`${from} ${to}`],
    subscribe: (listener) => {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
  }
}
