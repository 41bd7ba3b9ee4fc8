// The verdict oracle: what happens to this packet, and which line of the configuration decides. It reads the Firewall
// and nothing else; rulesets and XDP programs are tested against it, so it shares no code with what compiles them.
import { prefixHasAddr } from './addr.ts'
import { listContains } from './address-list.ts'
import { isDeciding } from './firewall.ts'
import type { Binding, DecidingRule, Firewall, PortMatch, Rule, Verdict } from './firewall.ts'
import { interfaceMatches } from './interface-name.ts'
import { fitsAddress, fitsMatch, inRange } from './oracle/match.ts'
import type { ConnectionState, Judgement, Packet, Stage } from './packet.ts'
import { protocolNumbers } from './port.ts'
import type { Origin } from './settings.ts'
import { blockListRule, discovery, essentials, failsafeRule, hiddenIpv4, neverBlockRule, reversePathExempt, stageRules, zoneForwardRule } from './stages.ts'
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
 * The judgement of a packet in a connection state. Destination NAT is not among the states yet.
 * `packet.destination` of direction `in` is an address of this host, whatever it is.
 */
export function judge(firewall: Firewall, packet: Packet, state: ConnectionState): Judgement {
  if (packet.direction === 'out') return judgeOutput(firewall, packet, state)
  const early = judgeEarly(firewall, packet)
  if (early !== null) return early
  const marked = { ...packet, mark: markOf(firewall, packet) }
  const judgement = judgeWayBack(firewall, packet) ?? (packet.direction === 'in' ? judgeInput(firewall, marked, state) : judgeForward(firewall, marked, state))
  return marked.mark === (packet.mark ?? 0) ? judgement : { ...judgement, mark: marked.mark }
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

/** The mark of a packet once its zone's marks were set. Known connections get them too, packet by packet. */
function markOf(firewall: Firewall, packet: Packet): number {
  let mark = packet.mark ?? 0
  for (const { match, verdict } of zoneOf(firewall, packet).marks ?? []) {
    if (verdict.kind !== 'mark' || !fitsMatch(match, { ...packet, mark }, firewall)) continue
    mark = ((mark & ~verdict.mask) ^ verdict.value) >>> 0
  }
  return mark
}

/** Before connection tracking: panic and block lists, and who passes them. null = goes on. */
function judgeEarly(firewall: Firewall, packet: Packet): Judgement | null {
  if (isDiscovery(packet) || failsafeOf(firewall, packet) !== null || neverBlockOf(firewall, packet, 'source') !== null) return null
  if (firewall.panic) return builtin(drop, 'panic', stageRules.panic, 'panic mode')
  const list = firewall.blockLists.find((candidate) => listContains(candidate, packet.family, packet.source))
  if (list === undefined) return null
  return written(drop, 'block-list', blockListRule(list.name), { layer: 'admin', file: list.file, text: `block list ${list.name}` })
}

function judgeInput(firewall: Firewall, packet: Packet, state: ConnectionState): Judgement {
  if (state === 'established' || state === 'related') return connection()
  if (packet.inInterface === 'lo') return builtin(accept, 'loopback', stageRules.loopback, 'loopback')
  const port = failsafeOf(firewall, packet)
  if (port !== null) return written(accept, 'failsafe', failsafeRule(port), port.origin)
  const friend = neverBlockOf(firewall, packet, 'source')
  if (friend !== null) return friend
  const essential = essentials.find((candidate) => fitsEssential(candidate, packet))
  if (essential !== undefined) return builtin(accept, 'essential', essential.id, 'IPv6 needs it')
  if (state === 'invalid') return invalid()
  const zone = zoneOf(firewall, packet)
  return inZone(zone.name, 'zone', decidingRule([...zone.rules, ...zone.targetRules], packet, firewall))
}

function judgeForward(firewall: Firewall, packet: Packet, state: ConnectionState): Judgement {
  if (state === 'established' || state === 'related') return connection()
  if (state === 'invalid') return invalid()
  const hidden = hidesIpv4(firewall, packet)
  if (hidden !== null) return hidden
  const zone = zoneOf(firewall, packet)
  if (zone.forwardRule.verdict.kind !== 'accept' && zone.forward && leavesBy(firewall, packet) === zone.name) {
    return { ...written(accept, 'forward', zoneForwardRule(zone.name), zone.origin), zone: zone.name }
  }
  return inZone(zone.name, 'forward', zone.forwardRule)
}

/** Nothing judges what this host sends, but panic and RFC 3964. */
function judgeOutput(firewall: Firewall, packet: Packet, state: ConnectionState): Judgement {
  const known = state === 'established' || state === 'related' || packet.outInterface === 'lo'
  const hidden = known ? null : hidesIpv4(firewall, packet)
  if (!firewall.panic || isDiscovery(packet)) return hidden ?? builtin(accept, 'output', 'output', 'packets of this host')
  const answers = ({ protocol, ports }: PortMatch): boolean => protocolNumbers[protocol] === packet.protocol && inRange(ports, packet.sourcePort)
  const port = firewall.failsafePorts.find(answers)
  const passes = port === undefined ? neverBlockOf(firewall, packet, 'destination') : written(accept, 'failsafe', failsafeRule(port), port.origin)
  return (passes !== null ? hidden ?? passes : null) ?? builtin(drop, 'panic', stageRules.panic, 'panic mode')
}

function isDiscovery(packet: Packet): boolean {
  return packet.family === 'ipv6' && packet.protocol === 58 && discovery.includes(packet.icmpType ?? -1)
}

function connection(): Judgement {
  return builtin(accept, 'connection', stageRules.established, 'known connection')
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

/** The zone a packet comes from: the first binding that fits; the default zone's last one fits everything. */
function zoneOf(firewall: Firewall, packet: Packet): NonNullable<ReturnType<Firewall['zones']['get']>> {
  const binding = firewall.ingress.find((candidate) => fitsIngress(candidate, packet, firewall))
  const zone = firewall.zones.get(binding?.zone ?? '')
  if (zone === undefined) throw new Error(`no zone for the packet: ${binding?.zone ?? 'no binding fits'}`)
  return zone
}

function fitsIngress({ kind, source, interface: match }: Binding, packet: Packet, firewall: Firewall): boolean {
  switch (kind) {
    case 'source': return source !== undefined && fitsAddress(source.match, packet, 'source', firewall)
    case 'interface': return match !== undefined && packet.inInterface !== undefined && interfaceMatches(match, packet.inInterface)
    case 'any': return true
  }
}

/** The zone that a forwarded packet's destination or outgoing interface is bound to; null when nothing binds it. */
function leavesBy(firewall: Firewall, packet: Packet): string | null {
  const fits = ({ kind, source, interface: match }: Binding): boolean => {
    switch (kind) {
      case 'source': return source !== undefined && fitsAddress(source.match, packet, 'destination', firewall)
      case 'interface': return match !== undefined && packet.outInterface !== undefined && interfaceMatches(match, packet.outInterface)
      case 'any': return false
    }
  }
  return firewall.egress.find(fits)?.zone ?? null
}

/** Rules with a limit are taken as if nothing had used it up; what only has an effect decides nothing. */
function decidingRule(rules: readonly Rule[], packet: Packet, firewall: Firewall): DecidingRule {
  const rule = rules.filter(isDeciding).find((candidate) => fitsMatch(candidate.match, packet, firewall))
  if (rule === undefined) throw new Error('a zone must end in a rule that fits everything')
  return rule
}
