// The verdict oracle: what happens to this packet, and which line of the configuration decides. It reads the Firewall
// and nothing else; rulesets and XDP programs are tested against it, so it shares no code with what compiles them.
import { prefixHasAddr } from './addr.ts'
import type { Family } from './addr.ts'
import { listContains } from './address-list.ts'
import { isDeciding } from './firewall.ts'
import type { DecidingRule, Firewall, NatRule, PortMatch, PortRange, Rule, Verdict, Zone } from './firewall.ts'
import { fitsMatch, inRange } from './oracle/match.ts'
import { hostTranslation, incomingMarks, incomingTranslation, leavingTranslation } from './oracle/nat.ts'
import { outgoingZone, sideHas, zoneOf } from './oracle/zones.ts'
import type { ConnectionState, Judgement, Packet, Stage } from './packet.ts'
import { protocolNumbers } from './port.ts'
import type { Origin } from './settings.ts'
import { blockListRule, discovery, essentials, failsafeRule, hiddenIpv4, neverBlockRule, outgoingEssentials, reversePathExempt, stageRules, tooBig, zoneForwardRule } from './stages.ts'
import type { Essential } from './stages.ts'

const accept: Verdict = { kind: 'accept' }
const drop: Verdict = { kind: 'drop' }

/** Decisions of the program itself, which no file can change. */
function builtin(verdict: Verdict, stage: Stage, rule: string, text: string): Judgement {
  return { verdict, stage, rule, origin: { layer: 'builtin', text } }
}

function written(verdict: Verdict, stage: Stage, rule: string, origin: Origin): Judgement {
  return { verdict, stage, rule, origin }
}

/**
 * The judgement of a packet in a connection state, as it is: nothing is translated (see {@link follow}), but
 * `packet.original` says that something was. `packet.destination` of direction `in` is an address of this host, whatever it is.
 */
export function judge(firewall: Firewall, packet: Packet, state: ConnectionState): Judgement {
  const early = judgeEarly(firewall, packet)
  if (early !== null) return early
  const marked = mark(firewall, packet)
  return withMark(judgeWayBack(firewall, packet) ?? judgeLate(firewall, marked, state), packet, marked)
}

function withMark(judgement: Judgement, before: Packet, { mark = 0 }: Packet): Judgement {
  return mark === (before.mark ?? 0) ? judgement : { ...judgement, mark }
}

/** null = the sender can be answered, or nobody asks. */
function judgeWayBack({ reversePath = 'off', ...firewall }: Firewall, packet: Packet): Judgement | null {
  const { wayBack = 'same' } = packet
  const isFine = reversePath === 'off' || wayBack === 'same' || (reversePath === 'loose' && wayBack === 'other')
  if (isFine || packet.family !== 'ipv6' || packet.inInterface === 'lo') return null
  if (failsafeOf(firewall, packet) !== null || neverBlockOf(firewall, packet, 'source') !== null) return null
  if (packet.protocol === 58 && reversePathExempt.includes(packet.icmpType ?? -1)) return null
  return builtin(drop, 'route', stageRules.reversePath, 'no way back to the sender')
}

function hidesIpv4({ rejectHiddenIpv4 = false }: Firewall, packet: Packet): Judgement | null {
  if (!rejectHiddenIpv4 || !hiddenIpv4.some((prefix) => prefixHasAddr(prefix, packet.family, packet.destination))) return null
  return builtin({ kind: 'reject', type: 'addr-unreachable' }, 'route', stageRules.hiddenIpv4, 'an IPv6 address that hides an IPv4 address')
}

/** With the mark that its zone gives it. Known connections get them too, packet by packet; what this host sends does not. */
function mark(firewall: Firewall, packet: Packet): Packet {
  if (packet.direction === 'out') return packet
  let mark = packet.mark ?? 0
  for (const { match, verdict } of incomingMarks(firewall, packet)) {
    if (verdict.kind !== 'mark' || !fitsMatch(match, { ...packet, mark }, firewall)) continue
    mark = ((mark & ~verdict.mask) ^ verdict.value) >>> 0
  }
  return { ...packet, mark }
}

/** What the oracle cannot know of the host. */
export interface Host {
  /** Where it sends packets for that destination; null = nowhere. */
  route(family: Family, destination: bigint): 'local' | { readonly interface: string } | null
  /** The first address of an interface; null = it has none in the family. */
  addressOf(family: Family, ifname: string): bigint | null
  /** What somebody else's rules, which come after ours, make of the destination of a new connection; null = they leave it. */
  foreign?(packet: Packet): { readonly destination: bigint; readonly destinationPort?: number } | null
}

/** A packet's whole way. */
export interface Journey {
  readonly judgement: Judgement
  /** As its receiver sees it; null when it does not arrive. */
  readonly delivered: Packet | null
  /** The rules that translated it, if any did. */
  readonly translated: { readonly destination: NatRule | null; readonly source: NatRule | null }
}

/**
 * Follows a packet through this host: early decisions, the destination's translation, routing, judgement, the sender's
 * translation. Only a new connection is translated; what belongs to a known one has the addresses the kernel gives back to it.
 * A port out of a range is shown as the range's first.
 */
export function follow(firewall: Firewall, packet: Packet, state: ConnectionState, host: Host): Journey {
  const untranslated = { destination: null, source: null }
  const early = judgeEarly(firewall, packet)
  if (early?.verdict.kind === 'drop') return { judgement: early, delivered: null, translated: untranslated }
  const isNew = state === 'new'
  if (packet.direction === 'out') {
    const judgement = early ?? judgeLate(firewall, packet, state)
    if (judgement.verdict.kind !== 'accept') return { judgement, delivered: null, translated: untranslated }
    const destination = isNew ? hostTranslation(firewall, packet) : null
    const sent = destination === null ? packet : routed(translate(packet, destination, host), host)
    return leave(firewall, sent, judgement, destination, isNew, host)
  }
  const marked = mark(firewall, packet)
  const lost = judgeWayBack(firewall, packet)
  if (lost !== null) return { judgement: withMark(lost, packet, marked), delivered: null, translated: untranslated }
  const destination = isNew && failsafeOf(firewall, packet) === null ? incomingTranslation(firewall, marked) : null
  const foreign = isNew && destination === null ? host.foreign?.(packet) ?? null : null
  const arrived = destination !== null ? routed(translate(marked, destination, host), host)
    : foreign === null ? marked : routed(rewritten(marked, foreign, false), host)
  const judgement = withMark(judgeLate(firewall, arrived, state), packet, marked)
  if (judgement.verdict.kind !== 'accept') return { judgement, delivered: null, translated: { destination, source: null } }
  if (arrived.direction === 'in') return { judgement, delivered: arrived, translated: { destination, source: null } }
  return leave(firewall, arrived, judgement, destination, isNew, host)
}

function leave(firewall: Firewall, packet: Packet, judgement: Judgement, destination: NatRule | null, isNew: boolean, host: Host): Journey {
  const source = isNew ? leavingTranslation(firewall, packet) : null
  const address = source === null || packet.outInterface === undefined ? null : host.addressOf(packet.family, packet.outInterface)
  return { judgement, delivered: address === null ? packet : { ...packet, source: address }, translated: { destination, source } }
}

function translate(packet: Packet, { translation }: NatRule, host: Host): Packet {
  switch (translation.kind) {
    case 'masquerade':
      return packet
    case 'redirect': {
      const destination = host.addressOf(packet.family, packet.inInterface ?? 'lo')
      return rewritten(packet, { destination: destination ?? packet.destination, ...portTo(packet, translation.ports) }, true)
    }
    case 'destination':
      return rewritten(packet, { destination: translation.addr, ...portTo(packet, translation.ports) }, true)
  }
}

function portTo(packet: Packet, ports: PortRange | null): { readonly destinationPort?: number } {
  if (packet.destinationPort === undefined) return {}
  return { destinationPort: ports === null || inRange(ports, packet.destinationPort) ? packet.destinationPort : ports.first }
}

function rewritten(packet: Packet, to: { readonly destination: bigint; readonly destinationPort?: number }, own: boolean): Packet {
  const { destination, destinationPort } = packet
  // where it was going anyway: to the kernel that is no translation
  if (to.destination === destination && (to.destinationPort ?? destinationPort) === destinationPort) return packet
  return { ...packet, ...to, original: { destination, ...(destinationPort === undefined ? {} : { destinationPort }), own } }
}

/** Its direction after its destination changed. */
function routed(packet: Packet, host: Host): Packet {
  const route = host.route(packet.family, packet.destination)
  const { outInterface: _, ...rest } = packet
  if (packet.direction === 'out') return { ...rest, outInterface: route === null || route === 'local' ? 'lo' : route.interface }
  if (route === null || route === 'local') return { ...rest, direction: 'in' }
  return { ...rest, direction: 'forward', outInterface: route.interface }
}

/** Before connection tracking: panic and block lists, and who passes them. null = goes on. */
function judgeEarly(firewall: Firewall, packet: Packet): Judgement | null {
  if (packet.direction === 'out') return judgeEarlyOutput(firewall, packet)
  if (isDiscovery(packet) || failsafeOf(firewall, packet) !== null || neverBlockOf(firewall, packet, 'source') !== null) return null
  const list = firewall.blockLists.find((candidate) => listContains(candidate, packet.family, packet.source))
  if (list !== undefined) return written(drop, 'block-list', blockListRule(list.name), { layer: 'admin', file: list.file, text: `block list ${list.name}` })
  if (!firewall.panic || isAboutWhatPasses(firewall, packet)) return null
  return builtin(drop, 'panic', stageRules.panic, 'panic mode')
}

/** In a panic: a router says that something this host sent is too big, and there is something it may send. */
function isAboutWhatPasses({ failsafePorts, neverBlock }: Firewall, packet: Packet): boolean {
  const { type, code } = tooBig[packet.family]
  return packet.direction === 'in' && failsafePorts.length + neverBlock.length > 0
    && packet.protocol === (packet.family === 'ipv4' ? 1 : 58) && packet.icmpType === type && (code === null || packet.icmpCode === code)
}

/** Only panic stops what leaves, but for the answers of failsafe ports and never-block destinations. */
function judgeEarlyOutput(firewall: Firewall, packet: Packet): Judgement | null {
  if (!firewall.panic || isDiscovery(packet) || panicPass(firewall, packet) !== null) return null
  return builtin(drop, 'panic', stageRules.panic, 'panic mode')
}

function panicPass(firewall: Firewall, packet: Packet): Judgement | null {
  if (!firewall.panic) return null
  const answers = ({ protocol, ports }: PortMatch): boolean => protocolNumbers[protocol] === packet.protocol && inRange(ports, packet.sourcePort)
  const port = firewall.failsafePorts.find(answers)
  if (port !== undefined) return written(accept, 'failsafe', failsafeRule(port), port.origin)
  return neverBlockOf(firewall, packet, 'destination')
}

function judgeLate(firewall: Firewall, packet: Packet, state: ConnectionState): Judgement {
  switch (packet.direction) {
    case 'in': return judgeInput(firewall, packet, state)
    case 'forward': return judgeForward(firewall, packet, state)
    case 'out': return judgeOutput(firewall, packet, state)
  }
}

function judgeInput(firewall: Firewall, packet: Packet, state: ConnectionState): Judgement {
  if (state === 'established' || state === 'related') return connection()
  if (isLetInAsTranslated(firewall, packet)) return translatedConnection()
  if (packet.inInterface === 'lo') return builtin(accept, 'loopback', stageRules.loopback, 'loopback')
  const port = failsafeOf(firewall, packet)
  if (port !== null) return written(accept, 'failsafe', failsafeRule(port), port.origin)
  const friend = neverBlockOf(firewall, packet, 'source')
  if (friend !== null) return friend
  const essential = essentials.find((candidate) => fitsEssential(candidate, packet))
  if (essential !== undefined) return builtin(accept, 'essential', essential.id, 'IPv6 needs it')
  if (state === 'invalid') return invalid()
  return judgeForHost(firewall, zoneOf(firewall, packet), asPublished(firewall, packet) ?? packet)
}

function judgeForward(firewall: Firewall, packet: Packet, state: ConnectionState): Judgement {
  if (state === 'established' || state === 'related') return connection()
  if (isLetInAsTranslated(firewall, packet)) return translatedConnection()
  if (state === 'invalid') return invalid()
  const hidden = hidesIpv4(firewall, packet)
  if (hidden !== null) return hidden
  const zone = zoneOf(firewall, packet)
  const published = asPublished(firewall, packet)
  if (published !== null) return judgeForHost(firewall, zone, published)
  const out = outgoingZone(firewall, packet)
  const inner = (): Judgement | null => (
    zone.forward && out.isBound && out.zone === zone ? { ...written(accept, 'forward', zoneForwardRule(zone.name), zone.origin), zone: zone.name } : null)
  return judgeByPolicies(firewall, packet, zone.name, out.zone.name, 'before', 'forward')
    ?? inner()
    ?? judgeByPolicies(firewall, packet, zone.name, out.zone.name, 'after', 'forward')
    ?? inZone(zone.name, 'forward', zone.forwardRule)
}

/** What a zone and the policies to HOST say of a packet for this host, or of one that was for it before it was translated. */
function judgeForHost(firewall: Firewall, zone: Zone, packet: Packet): Judgement {
  const rule = (rules: readonly Rule[]): Judgement | null => {
    const found = decidingRule(rules, packet, firewall)
    return found === null ? null : inZone(zone.name, packet.direction === 'in' ? 'zone' : 'forward', found)
  }
  const judgement = judgeByPolicies(firewall, packet, zone.name, null, 'before', 'zone')
    ?? rule(zone.rules)
    ?? judgeByPolicies(firewall, packet, zone.name, null, 'after', 'zone')
    ?? rule(zone.targetRules)
  if (judgement === null) throw new Error('a zone must end in a rule that fits everything')
  return judgement
}

/** RFC 3964, and policies with an ingress side of HOST, in whatever state but known connections. */
function judgeOutput(firewall: Firewall, packet: Packet, state: ConnectionState): Judgement {
  const free = panicPass(firewall, packet) ?? builtin(accept, 'output', stageRules.output, 'packets of this host')
  const known = state === 'established' || state === 'related' || packet.outInterface === 'lo'
  const hidden = known ? null : hidesIpv4(firewall, packet)
  if (hidden !== null) return hidden
  if (known || firewall.policies.every(({ ingress }) => ingress.kind !== 'host')) return free
  const essential = outgoingEssentials.find((candidate) => fitsEssential(candidate, packet))
  if (essential !== undefined) return builtin(accept, 'essential', essential.id, 'IPv6 needs it')
  const goes = outgoingZone(firewall, packet).zone.name
  return judgeByPolicies(firewall, packet, null, goes, 'before', 'output') ?? judgeByPolicies(firewall, packet, null, goes, 'after', 'output') ?? free
}

/** `from` and `to` null = this host. */
function judgeByPolicies(firewall: Firewall, packet: Packet, from: string | null, to: string | null, when: 'before' | 'after', stage: Stage): Judgement | null {
  for (const policy of firewall.policies) {
    if ((policy.priority < 0) !== (when === 'before') || !sideHas(policy.ingress, from) || !sideHas(policy.egress, to)) continue
    const rule = decidingRule(policy.rules, packet, firewall)
    if (rule === null) continue
    return { ...written(rule.verdict, stage, rule.id, rule.origin), policy: policy.name, ...(from === null ? {} : { zone: from }) }
  }
  return null
}

/** Rules with a limit are taken as if nothing had used it up; what only has an effect decides nothing. */
function decidingRule(rules: readonly Rule[], packet: Packet, firewall: Firewall): DecidingRule | null {
  return rules.filter(isDeciding).find((candidate) => fitsMatch(candidate.match, packet, firewall)) ?? null
}

/** Where nobody is strict, whatever was translated is let in; else only what our own forward-ports translated. */
function isLetInAsTranslated({ strictForwardPorts, published }: Firewall, { original }: Packet): boolean {
  return original !== undefined && (original.own || (!strictForwardPorts && published === 'open'))
}

/** A packet that others translated, as it was sent, where the zone is to judge that; else null. */
function asPublished({ published }: Firewall, packet: Packet): Packet | null {
  const { original, ...rest } = packet
  if (published !== 'zone' || original === undefined || original.own) return null
  const { destination, destinationPort } = original
  return { ...rest, destination, ...(destinationPort === undefined ? {} : { destinationPort }) }
}

function isDiscovery(packet: Packet): boolean {
  return packet.family === 'ipv6' && packet.protocol === 58 && discovery.includes(packet.icmpType ?? -1)
}

function connection(): Judgement {
  return builtin(accept, 'connection', stageRules.established, 'known connection')
}

function translatedConnection(): Judgement {
  return builtin(accept, 'connection', stageRules.dnat, 'its destination was translated')
}

function invalid(): Judgement {
  return builtin(drop, 'connection', stageRules.invalid, 'belongs to no connection')
}

function inZone(zone: string, stage: Stage, rule: DecidingRule): Judgement {
  return { verdict: rule.verdict, stage, zone, rule: rule.id, origin: rule.origin }
}

/** Ports of this host only: the same number of another host is none of the failsafe's business. */
function failsafeOf(firewall: Firewall, packet: Packet): PortMatch | null {
  if (packet.direction !== 'in') return null
  const fits = ({ protocol, ports }: PortMatch): boolean => protocolNumbers[protocol] === packet.protocol && inRange(ports, packet.destinationPort)
  return firewall.failsafePorts.find(fits) ?? null
}

function neverBlockOf(firewall: Firewall, packet: Packet, side: 'source' | 'destination'): Judgement | null {
  const found = firewall.neverBlock.find(({ prefix }) => prefixHasAddr(prefix, packet.family, packet[side]))
  return found === undefined ? null : written(accept, 'never-block', neverBlockRule(found.prefix), found.origin)
}

function fitsEssential({ family, source, protocol }: Essential, packet: Packet): boolean {
  if (family !== packet.family || (source !== undefined && !prefixHasAddr(source, packet.family, packet.source))) return false
  return protocol.kind === 'icmp'
    ? packet.protocol === 58 && packet.icmpType === protocol.type
    : packet.protocol === protocolNumbers.udp && packet.sourcePort === protocol.sourcePort && packet.destinationPort === protocol.destinationPort
}
