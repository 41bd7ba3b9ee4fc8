// What is in force when packets are sent, as far as it says which zones and policies concern a packet: by derpanetd's rule, under
// which exactly one zone decides on each side, and by firewalld's, whose policies concern what fits a binding of their zones.
import { isMac, parsePrefix, prefixHasAddr, type Family } from '../../src/model/addr.ts'
import { interfaceMatches, parseInterfaceName } from '../../src/model/interface-name.ts'
import { parsePortRange, protocolNumbers } from '../../src/model/port.ts'
import { parseRichRule, type RichRule } from '../../src/model/rich/index.ts'
import { addrOf } from '../support/frame.ts'
import { routeOf } from '../support/random-packets.ts'
import { world } from '../support/random-settings.ts'
import type { Packet } from '../../src/model/packet.ts'
import { answerOf, type Answered, type Call } from './calls.ts'
import type { Backend } from './sides.ts'

export interface ScenePolicy {
  readonly name: string
  readonly ingress: readonly string[]
  readonly egress: readonly string[]
  readonly priority: number
  /** What it may do to that packet. */
  can(packet: Packet): ReadonlySet<Deed>
}

export type Deed = 'accept' | 'refuse' | 'masquerade' | 'forward' | 'mark'

export interface Bindings {
  readonly zone: string
  readonly interfaces: readonly string[]
  readonly sources: readonly string[]
}

export interface Scene {
  /** Of firewalld. */
  readonly backend: Backend
  readonly defaultZone: string
  /** Of zones in use, by name. */
  readonly bindings: readonly Bindings[]
  /** Zones with `forward`. */
  readonly forwards: ReadonlySet<string>
  /** That are active. */
  readonly policies: readonly ScenePolicy[]
  readonly since: Since
  /** runtimeToPermanent was the last call. */
  readonly isCopied: boolean
  readonly ipsets: ReadonlyMap<string, readonly string[]>
  readonly panic: boolean
  /** Direct rules and passthroughs that deny: the family, and the arguments with the chain in front. */
  readonly denials: readonly DirectRule[]
  /** The same of those that accept. */
  readonly admissions: readonly DirectRule[]
  /** Of zones in use, by name, and of policies that are active, by their sides. */
  readonly rich: readonly { readonly rule: RichRule; readonly of: Sides | string }[]
  /** Where forward-ports lead. */
  readonly forwardPorts: readonly { readonly port: string; readonly protocol: string; readonly toPort: string; readonly toAddr: string }[]
}

/** What was done since the last reload. */
export interface Since {
  /** Zones that lost a source. */
  readonly bereft: Set<string>
  /** Policies that were given other zones. */
  readonly rezoned: Set<string>
}

export interface DirectRule {
  readonly family: Family
  /** The arguments, with the chain in front. */
  readonly words: readonly string[]
}

export type Side = 'ingress' | 'egress'

/** Zones with a binding that fits: sources before whole interface names before patterns, each by zone name. None for the host itself. */
export function fitting(scene: Scene, side: Side, packet: Packet): readonly string[] {
  const [addr, ifname, mac] = side === 'ingress' ? [packet.source, packet.inInterface, packet.sourceMac] : [packet.destination, packet.outInterface, undefined]
  if (ifname === undefined) return []
  const isSource = (text: string): boolean => {
    if (text.startsWith('ipset:')) return (scene.ipsets.get(text.slice('ipset:'.length)) ?? []).some(isSource)
    if (isMac(text)) return text.toLowerCase() === mac
    // of pairs in sets: where it comes from or goes to, and by which interface, or to which port
    const [place = '', other] = text.split(',')
    const [protocol = '', port = ''] = other?.split(':') ?? []
    const prefix = parsePrefix(place)
    return prefix !== null && prefixHasAddr(prefix, packet.family, addr) && (other === undefined || other === ifname || (port !== '' && fitsPort({ port, protocol }, packet, packet.destinationPort)))
  }
  const bound = (interfaces: readonly string[], isPattern: boolean): boolean => interfaces.some((text) => {
    const name = parseInterfaceName(text)
    return name.wildcard === isPattern && interfaceMatches(name, ifname)
  })
  return [...new Set([
    ...scene.bindings.filter(({ sources }) => sources.some(isSource)), ...scene.bindings.filter(({ interfaces }) => bound(interfaces, false)),
    ...scene.bindings.filter(({ interfaces }) => bound(interfaces, true)),
  ].map(({ zone }) => zone))]
}

/** Whether a whole name and a pattern, of different zones, fit the packet's interface on that side. */
export function isNamedTwice(scene: Scene, side: Side, packet: Packet): boolean {
  const ifname = side === 'ingress' ? packet.inInterface : packet.outInterface
  const zones = (isPattern: boolean): readonly string[] => scene.bindings.filter(({ interfaces }) => interfaces.some((text) => {
    const name = parseInterfaceName(text)
    return name.wildcard === isPattern && ifname !== undefined && interfaceMatches(name, ifname)
  })).map(({ zone }) => zone)
  return zones(false).some((one) => zones(true).some((other) => other !== one))
}

/** The zone that decides: the first that fits, else the default zone; null = the host itself. */
export function zoneOf(scene: Scene, side: Side, packet: Packet): string | null {
  if ((side === 'ingress' ? packet.inInterface : packet.outInterface) === undefined) return null
  return fitting(scene, side, packet)[0] ?? scene.defaultZone
}

/** By one zone, or by any binding that fits; `withDefault` = the default zone's lack of a binding is a binding too. */
export type Reading = 'zone' | 'binding' | 'binding with default'

function isOn(scene: Scene, side: Side, names: readonly string[], packet: Packet, by: Reading): boolean {
  const zone = zoneOf(scene, side, packet)
  if (zone === null) return names.includes('HOST')
  if (names.includes('ANY')) return true
  if (by === 'zone') return names.includes(zone)
  const fits = fitting(scene, side, packet)
  return names.some((name) => fits.includes(name)) || (by === 'binding with default' && fits.length === 0 && names.includes(scene.defaultZone))
}

export interface Sides { readonly ingress: readonly string[]; readonly egress: readonly string[] }

/** `packet` as it leaves: with its translated destination. Before routing only the ingress side is known. */
export function concerns(scene: Scene, policy: Sides, packet: Packet, by: Reading): boolean {
  return isOn(scene, 'ingress', policy.ingress, packet, by) && isOn(scene, 'egress', policy.egress, packet, by)
}

export function comesFrom(scene: Scene, policy: Sides, packet: Packet, by: Reading): boolean {
  return isOn(scene, 'ingress', policy.ingress, packet, by)
}

/** The packet as it came and as it may go on: to where either side was seen to send it, or a forward-port may. */
export function waysOf(scene: Scene, packet: Packet, fates: readonly string[]): readonly Packet[] {
  const seen = fates.flatMap((fate) => /^accept \S+?>([0-9a-f.:]+?)(?: |$)/.exec(fate)?.[1] ?? [])
    .map((end) => (packet.destinationPort === undefined ? end : end.replace(/:\d+$/, '')))
  const led = scene.forwardPorts.filter((one) => one.toAddr !== '' && fitsPort(one, packet, packet.destinationPort)).map(({ toAddr }) => toAddr)
  const others = [...seen, ...led].filter((text) => text.includes(':') === (packet.family === 'ipv6')).map(addrOf).filter((addr) => addr !== packet.destination)
  return [packet, ...[...new Set(others)].map((destination) => routed({ ...packet, destination }))]
}

function routed(packet: Packet): Packet {
  const isOwn = Object.values(world.own[packet.family]).some((text) => addrOf(text) === packet.destination)
  const { outInterface: _out, ...rest } = packet
  if (packet.inInterface === undefined) return { ...rest, outInterface: routeOf(packet.family, packet.destination) }
  return isOwn ? { ...rest, direction: 'in' } : { ...rest, direction: 'forward', outInterface: routeOf(packet.family, packet.destination) }
}

const protocols: Readonly<Record<string, number>> = { ...protocolNumbers, gre: 47, esp: 50, ospf: 89 }

/** By its family, source, protocol and ports. */
export function mayFit({ family, source, element }: RichRule, packet: Packet): boolean {
  if (family !== null && family !== packet.family) return false
  if (element?.kind === 'port' && !fitsPort(element, packet, packet.destinationPort)) return false
  if (element?.kind === 'source-port' && !fitsPort(element, packet, packet.sourcePort)) return false
  if (element?.kind === 'protocol' && (protocols[element.value] ?? packet.protocol) !== packet.protocol) return false
  if (source?.kind === 'mac' && !source.invert && source.text.toLowerCase() !== packet.sourceMac) return false
  const prefix = source?.kind === 'address' && !source.invert ? parsePrefix(source.text) : null
  return prefix === null || prefixHasAddr(prefix, packet.family, packet.source)
}

type Ask = (call: Call) => Promise<Answered>
type Dictionary = Readonly<Record<string, unknown>>

/** Asks for it. What cannot be answered is absent. */
export async function sceneOf(backend: Backend, ask: Ask, since: Since = { bereft: new Set(), rezoned: new Set() }): Promise<Scene> {
  const value = async <T>(otherwise: T, ...call: Call): Promise<T> => answerOf(await ask(call), otherwise)
  const defaultZone = await value('', 'getDefaultZone')
  const active = await value<Record<string, { interfaces?: string[]; sources?: string[] }>>({}, 'zone.getActiveZones')
  const zones = [...new Set([...Object.keys(active), defaultZone])]
  const settings = await Promise.all(zones.map((zone) => value<Dictionary>({}, 'zone.getZoneSettings2', zone)))
  const names = Object.keys(await value<Dictionary>({}, 'policy.getActivePolicies'))
  const policies = await Promise.all(names.map((name) => value<Dictionary>({}, 'policy.getPolicySettings', name)))
  const sets = await value<readonly string[]>([], 'ipset.getIPSets')
  const entries = await Promise.all(sets.map((name) => value<readonly string[]>([], 'ipset.getEntries', name)))
  const rules = await value<readonly (readonly [string, string, string, number, readonly string[]])[]>([], 'direct.getAllRules')
  const passed = await value<readonly (readonly [string, readonly string[]])[]>([], 'direct.getAllPassthroughs')
  const direct = [
    ...rules.map(([ipv, , chain, , args]) => ({ ipv, words: [chain, ...args] })),
    ...passed.map(([ipv, [, chain = '', ...args]]) => ({ ipv, words: [chain, ...args] })),
  ].filter(({ ipv }) => ipv !== 'eb').map(({ ipv, words }) => ({ family: ipv as Family, words }))
  return {
    backend, defaultZone, since, isCopied: false, panic: await value(false, 'queryPanicMode'),
    bindings: Object.entries(active).sort(([one], [other]) => (one < other ? -1 : 1)).map(([zone, { interfaces = [], sources = [] }]) => ({ zone, interfaces, sources })),
    forwards: new Set(zones.filter((_, index) => settings[index]?.['forward'] === true)),
    policies: policies.map((policy, index) => ({ name: names[index] ?? '', ...sidesOf(policy), priority: Number(policy['priority'] ?? -1), can: (packet) => deedsOf(policy, packet) })),
    ipsets: new Map(sets.map((name, index) => [name, entries[index] ?? []])),
    denials: direct.filter(({ words }) => words.some((word) => word === 'DROP' || word === 'REJECT')),
    admissions: direct.filter(({ words }) => words.includes('ACCEPT')),
    rich: [...settings.flatMap((zone, index) => richOf(zone).map((rule) => ({ rule, of: zones[index] ?? '' }))), ...policies.flatMap((policy) => richOf(policy).map((rule) => ({ rule, of: sidesOf(policy) })))],
    forwardPorts: [...settings, ...policies].flatMap(forwardPortsOf),
  }
}

function texts(from: Dictionary, key: string): readonly string[] {
  return (from[key] ?? []) as readonly string[]
}

function sidesOf(policy: Dictionary): Sides {
  return { ingress: texts(policy, 'ingress_zones'), egress: texts(policy, 'egress_zones') }
}

function richOf(owner: Dictionary): readonly ReturnType<typeof parseRichRule>[] {
  return texts(owner, 'rich_rules').concat(texts(owner, 'rules_str')).map(parseRichRule)
}

/** Of what has a port, exactly; of services and rich rules, whether there are any. */
function deedsOf(policy: Dictionary, packet: Packet): ReadonlySet<Deed> {
  const rich = richOf(policy)
  const target = String(policy['target'] ?? 'CONTINUE')
  const has = (key: string): boolean => texts(policy, key).length > 0
  const forwards = forwardPortsOf(policy).some((one) => fitsPort(one, packet, packet.destinationPort))
  const opens = (key: string, port: number | undefined): boolean => pairs(policy, key).some(([range = '', protocol = '']) => fitsPort({ port: range, protocol }, packet, port))
  const does: Readonly<Record<Deed, boolean>> = {
    accept: target === 'ACCEPT' || has('services') || has('protocols') || opens('ports', packet.destinationPort) || opens('source_ports', packet.sourcePort) || forwards
      || rich.some(({ action }) => action?.kind === 'accept'),
    refuse: target === 'REJECT' || target === 'DROP' || has('icmp_blocks') || rich.some(({ action, element }) => action?.kind === 'reject' || action?.kind === 'drop' || element?.kind === 'icmp-block'),
    masquerade: policy['masquerade'] === true || rich.some(({ element }) => element?.kind === 'masquerade'),
    forward: forwards,
    mark: rich.some(({ action }) => action?.kind === 'mark'),
  }
  return new Set((Object.keys(does) as Deed[]).filter((deed) => does[deed]))
}

function pairs(from: Dictionary, key: string): readonly (readonly string[])[] {
  return (from[key] ?? []) as readonly (readonly string[])[]
}

function forwardPortsOf(owner: Dictionary): Scene['forwardPorts'] {
  return [
    ...pairs(owner, 'forward_ports').map(([port = '', protocol = '', toPort = '', toAddr = '']) => ({ port, protocol, toPort, toAddr })),
    ...richOf(owner).flatMap(({ element }) => (element?.kind === 'forward-port' ? [element] : [])),
  ]
}

export function fitsPort(what: { readonly port: string; readonly protocol: string }, { protocol }: Packet, port: number | undefined): boolean {
  const range = parsePortRange(what.port)
  return protocolNumbers[what.protocol as keyof typeof protocolNumbers] === protocol && range !== null && port !== undefined && port >= range.first && port <= range.last
}
