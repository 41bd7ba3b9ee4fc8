// The circumstances under which a written deviation lets a packet's fate differ: one question each, about the packet, what became of
// it on either side, and what is in force. A deviation names one; what it says there must hold, or the difference is a real one.
import { formatAddr, formatPrefix, isMac, parsePrefix } from '../../src/model/addr.ts'
import { parsePortRange, protocolNumbers } from '../../src/model/port.ts'
import type { Packet } from '../../src/model/packet.ts'
import { rejectWords } from '../../src/model/rich/index.ts'
import { addrOf } from '../support/frame.ts'
import { rejectAnswers } from '../support/random-packets.ts'
import { world } from '../support/random-settings.ts'
import { comesFrom, concerns, fitsPort, fitting, isNamedTwice, mayFit, waysOf, zoneOf, type Deed, type Scene, type ScenePolicy, type Side } from './scene.ts'

export interface Fates {
  readonly firewalld: string
  readonly derpanetd: string
}

type Circumstance = (scene: Scene, packet: Packet, fates: Fates) => boolean

const isMacSet = ({ ipsets }: Scene, source: string): boolean => (ipsets.get(source.replace('ipset:', '')) ?? []).some(isMac)
const accepts = (fate: string): boolean => fate.startsWith('accept')

/** The packet as it came and as it may have gone on. */
const ways = (scene: Scene, packet: Packet, { firewalld, derpanetd }: Fates): readonly Packet[] => waysOf(scene, packet, [firewalld, derpanetd])

type Concerns = (policy: ScenePolicy, packet: Packet) => boolean

/**
 * Do some policies concern the packet on one side alone, and can just these make the difference that was seen? Deeds before
 * routing ask only where a packet comes from.
 */
function explains(scene: Scene, packet: Packet, fates: Fates, theirs: Concerns, ours: Concerns, from: { readonly theirs: Concerns; readonly ours: Concerns }): boolean {
  const deeds = (one: Concerns, other: Concerns, early: readonly [Concerns, Concerns]): ReadonlySet<Deed> => new Set(scene.policies.flatMap((policy) => [
    ...(ways(scene, packet, fates).some((way) => one(policy, way) && !other(policy, way)) ? [...policy.can(packet)] : []),
    ...(early[0](policy, packet) && !early[1](policy, packet) ? [...policy.can(packet)].filter((deed) => deed === 'mark' || deed === 'forward') : []),
  ]))
  const [more, fewer] = [deeds(theirs, ours, [from.theirs, from.ours]), deeds(ours, theirs, [from.ours, from.theirs])]
  const translates = more.has('forward') || fewer.has('forward')
  if (accepts(fates.firewalld) !== accepts(fates.derpanetd)) {
    const [yes, no] = accepts(fates.firewalld) ? [more, fewer] : [fewer, more]
    return translates || yes.has('accept') || no.has('refuse')
  }
  if (accepts(fates.firewalld)) return translates || [more, fewer].some((deeds) => deeds.has('masquerade') || deeds.has('mark'))
  return translates || [more, fewer].some((deeds) => deeds.has('refuse') || deeds.has('accept'))
}

/** Ranges by protocol, none touching another, in their order. */
function grownTogether(ports: readonly (readonly [port: string, protocol: string])[]): readonly (readonly [protocol: string, first: number, last: number])[] {
  const ranges = ports.flatMap(([port, protocol]) => {
    const range = parsePortRange(port)
    return range === null ? [] : [{ protocol, ...range }]
  }).sort((one, other) => (one.protocol === other.protocol ? one.first - other.first : one.protocol < other.protocol ? -1 : 1))
  const grown: [string, number, number][] = []
  for (const { protocol, first, last } of ranges) {
    const before = grown.at(-1)
    if (before !== undefined && before[0] === protocol && first <= before[2] + 1) before[2] = Math.max(before[2], last)
    else grown.push([protocol, first, last])
  }
  return grown
}

function isMetBy(rules: Scene['denials'], scene: Scene, packet: Packet, fates: Fates): boolean {
  return ways(scene, packet, fates).some((way) => rules.some(({ family, words }) => {
    const after = (word: string): string | undefined => words[words.indexOf(word) + 1]
    const chain = { in: 'INPUT', forward: 'FORWARD', out: 'OUTPUT' }[way.direction]
    const port = words.includes('--dport') ? Number(after('--dport')) : null
    const translated = scene.forwardPorts.some(({ toPort }) => toPort !== '' && Number(toPort.split('-')[0]) <= Number(port) && Number(port) <= Number(toPort.split('-').at(-1)))
    return family === way.family && words[0] === chain && (!words.includes('-p') || protocolNumbers[after('-p') as 'tcp'] === way.protocol)
      && (port === null || port === way.destinationPort || translated || port === endOf(fates.firewalld, packet)[1])
  }))
}

/** Where an accepted packet went; of what has ports with the port. */
function endOf(fate: string, { destinationPort }: Packet): readonly [addr: string | null, port: number | undefined] {
  const end = /^accept \S+?>(\S+)/.exec(fate)?.[1] ?? null
  if (end === null || destinationPort === undefined) return [end, undefined]
  const at = end.lastIndexOf(':')
  return [end.slice(0, at), Number(end.slice(at + 1))]
}

function isForAnother({ family, inInterface, destination }: Packet): boolean {
  const own: Readonly<Record<string, string>> = world.own[family]
  const address = inInterface === undefined ? undefined : own[inInterface]
  return address !== undefined && addrOf(address) !== destination
}

export const circumstances = {
  /** firewalld: a policy concerns what fits any binding of its zones. Here: what is in its zones. */
  'policies by binding': (scene, packet, fates) => explains(scene, packet, fates,
    (policy, way) => concerns(scene, policy, way, 'binding with default'), (policy, way) => concerns(scene, policy, way, 'zone'),
    { theirs: (policy, way) => comesFrom(scene, policy, way, 'binding with default'), ours: (policy, way) => comesFrom(scene, policy, way, 'zone') }),

  /** firewalld 1.3.3: what no binding puts anywhere is in the default zone, but for policies in none. */
  'default zone in policies': (scene, packet, fates) => explains(scene, packet, fates,
    (policy, way) => concerns(scene, policy, way, 'binding'), (policy, way) => concerns(scene, policy, way, 'binding with default'),
    { theirs: (policy, way) => comesFrom(scene, policy, way, 'binding'), ours: (policy, way) => comesFrom(scene, policy, way, 'binding with default') }),

  /** The policies that concern the packet and are about a zone which lost a source since the last reload are not in force. */
  'policies gone with a source': (scene, packet, fates) => explains(scene, packet, fates,
    (policy, way) => concerns(scene, policy, way, 'zone') && ![...policy.ingress, ...policy.egress].some((zone) => scene.since.bereft.has(zone)), (policy, way) => concerns(scene, policy, way, 'zone'),
    { theirs: (policy, way) => comesFrom(scene, policy, way, 'zone'), ours: (policy, way) => comesFrom(scene, policy, way, 'zone') }),

  /** A policy that was given other zones since the last reload is not in force. */
  'policies with other zones': (scene, packet, fates) => explains(scene, packet, fates,
    (policy, way) => concerns(scene, policy, way, 'zone') && !scene.since.rezoned.has(policy.name), (policy, way) => concerns(scene, policy, way, 'zone'),
    { theirs: (policy, way) => comesFrom(scene, policy, way, 'zone'), ours: (policy, way) => comesFrom(scene, policy, way, 'zone') }),

  /** Two policies of one priority concern the packet. */
  'policies of one priority': (scene, packet, fates) => ways(scene, packet, fates).some((way) => {
    const priorities = scene.policies.filter((policy) => concerns(scene, policy, way, 'zone')).map(({ priority }) => priority)
    return new Set(priorities).size < priorities.length
  }),

  /** A zone with forward has a binding for where the packet goes, but another zone's comes first. */
  'forwarding to what is another zone\'s': (scene, packet, fates) => ways(scene, packet, fates).some((way) => {
    const [from, to] = [zoneOf(scene, 'ingress', way), zoneOf(scene, 'egress', way)]
    return from !== null && to !== null && from !== to && scene.forwards.has(from) && fitting(scene, 'egress', way).includes(from)
  }),

  /** One zone has the interface by its whole name, another by a pattern. */
  'interface by name and by pattern': (scene, packet, fates) =>
    ways(scene, packet, fates).some((way) => (['ingress', 'egress'] as readonly Side[]).some((side) => isNamedTwice(scene, side, way))),

  /** A direct rule denies packets of that protocol and port, in a chain of their way. */
  'denied by a direct rule': (scene, packet, fates) => isMetBy(scene.denials, scene, packet, fates),
  /** The same of one that accepts. */
  'accepted by a direct rule': (scene, packet, fates) => isMetBy(scene.admissions, scene, packet, fates),

  /** It went elsewhere than it was sent to, and there a direct rule denies it. */
  'translated and denied by a direct rule': (scene, packet, fates) => {
    const [end, port] = endOf(fates.firewalld, packet)
    return end !== null && (end !== formatAddr(packet.family, packet.destination) || port !== packet.destinationPort) && isMetBy(scene.denials, scene, packet, fates)
  },

  /** More than one rule that may fit it sets a mark, one of them under a mask, and nothing else differs. */
  'marked under a mask': (scene, packet, { firewalld, derpanetd }) => {
    const marks = scene.rich.flatMap(({ rule }) => (rule.action?.kind === 'mark' && mayFit(rule, packet) ? [rule.action.set] : []))
    const [theirs, ours] = [firewalld, derpanetd].map((fate) => fate.replace(/ mark .*$/, ''))
    return accepts(firewalld) && theirs === ours && marks.length > 1 && marks.some((set) => set.includes('/'))
  },

  /** No rule that may fit it names either of the ways in which it was rejected. */
  'rejected by nobody\'s choice': (scene, packet, fates) => !scene.rich.some(({ rule, of }) => {
    const { firewalld, derpanetd } = fates
    const type = rule.action?.kind === 'reject' ? rejectWords[packet.family][rule.action.type] : undefined
    const answer = type === undefined ? undefined : rejectAnswers[packet.family][type]
    const isAbout = ways(scene, packet, fates).some((way) => (typeof of === 'string' ? zoneOf(scene, 'ingress', way) === of
      : (['zone', 'binding', 'binding with default'] as const).some((by) => concerns(scene, of, way, by))))
    return answer !== undefined && isAbout && mayFit(rule, packet) && [firewalld, derpanetd].includes(`reject ${answer}`)
  }),

  /** Another zone would have it, were it not for the MAC address that it comes from. */
  'in a zone by its MAC address': (scene, packet) => {
    const bindings = scene.bindings.map((one) => ({ ...one, sources: one.sources.filter((text) => !isMac(text) && !isMacSet(scene, text)) }))
    return packet.direction === 'forward' && zoneOf({ ...scene, bindings }, 'ingress', packet) !== zoneOf(scene, 'ingress', packet)
  },

  /** Some zone has a MAC address, and more than one zone has something for the packet, the default zone always. */
  'in a zone while a MAC address is in one': (scene, packet) => packet.direction === 'forward' && new Set([...fitting(scene, 'ingress', packet), scene.defaultZone]).size > 1
    && scene.bindings.some(({ sources }) => sources.some((text) => isMac(text) || isMacSet(scene, text))),

  /** A policy is about what the host sends, and an answer to what connection tracking does not know is such a thing. */
  'answers under a policy from HOST': (scene) => scene.policies.some(({ ingress }) => ingress.includes('HOST')),

  /** A forward-port without an address fits it, and it was for another address than that of the interface it came in by. */
  'redirected here': (scene, packet) => isForAnother(packet) && scene.forwardPorts.some((one) => one.toAddr === '' && fitsPort(one, packet, packet.destinationPort)),

  panic: (scene) => scene.panic,
} as const satisfies Readonly<Record<string, Circumstance>>

export type CircumstanceName = keyof typeof circumstances

/** The same for answers to a question about the state, parsed. */
export const answerCircumstances = {
  /** What is more in force here are policies of the default zone, which has no binding. */
  'more policies, of the default zone': ({ defaultZone, bindings, policies }, theirs, ours) => {
    const [fewer, more] = [theirs, ours].map((answer) => new Map(Object.entries(answer as Record<string, unknown>)))
    if (fewer === undefined || more === undefined || bindings.some(({ zone }) => zone === defaultZone)) return false
    return [...fewer].every(([name, sides]) => JSON.stringify(more.get(name)) === JSON.stringify(sides)) && [...more.keys()].every((name) =>
      fewer.has(name) || policies.some((policy) => policy.name === name && [...policy.ingress, ...policy.egress].includes(defaultZone)))
  },
  /** The same entries, of which some name a prefix by another address in it. */
  'another address of the prefix': (_scene, theirs, ours) => {
    const canonical = (entries: unknown): string => JSON.stringify((entries as readonly string[]).map((entry) => entry.replaceAll('"', '').split(',').map((part) => {
      const prefix = part.includes('/') ? parsePrefix(part) : null
      return prefix === null ? part : formatPrefix(prefix)
    }).join(',')))
    return Array.isArray(theirs) && Array.isArray(ours) && [theirs, ours].every((entries) => entries.every((entry) => typeof entry === 'string')) && canonical(theirs) === canonical(ours)
  },
  /** Just after runtimeToPermanent theirs is ours with lists that are empty here. */
  'lists left behind': ({ isCopied }, theirs, ours) => {
    if (!isCopied) return false
    const [more, fewer] = [theirs, ours].map((answer) => Object.entries(answer as Record<string, unknown>))
    if (more === undefined || fewer === undefined || more.length <= fewer.length) return false
    const said = new Map(fewer.map(([key, value]) => [key, JSON.stringify(value)]))
    return more.every(([key, value]) => (said.has(key) ? said.get(key) === JSON.stringify(value) : Array.isArray(value))) && fewer.every(([key]) => more.some(([other]) => other === key))
  },
  /** The same ports, of which some are named twice or one beside the other. */
  'ports apart': (_scene, theirs, ours) => {
    const covered = (answer: unknown): string => JSON.stringify(answer, (key, value: unknown) => (key === 'ports' || key === 'source_ports' ? grownTogether(value as readonly (readonly [string, string])[]) : value))
    return covered(theirs) === covered(ours)
  },
  'another order': (_scene, theirs, ours) => [theirs, ours].every(Array.isArray) && JSON.stringify([...theirs as unknown[]].sort()) === JSON.stringify([...ours as unknown[]].sort()),
  /** Every name of firewalld's is among ours. */
  'more is shipped': (_scene, theirs, ours) => Array.isArray(theirs) && Array.isArray(ours) && theirs.every((name) => ours.includes(name)),
} as const satisfies Readonly<Record<string, (scene: Scene, theirs: unknown, ours: unknown) => boolean>>

export type AnswerCircumstanceName = keyof typeof answerCircumstances
