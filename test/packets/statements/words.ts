// The words in which a case of a statement is told: what is configured, which packets are sent, what becomes of them.
import { addresses } from '../../support/private-host.ts'
import type { Probe } from '../../support/agent.ts'
import type { ConfigurationWords } from '../../support/configuration.ts'
import type { NetfilterHost } from '../../support/netfilter-host.ts'
import type { StatementId } from './list.ts'

/**
 * `open`, `open ADDRESS` (whom the receiver saw), `drop`, `closed` (reset; for UDP port unreachable), `prohibited`
 * (administratively, in the family's way), `reject icmpT/C`, `denied here` (the sender's own system says no).
 */
export type Fate = string
/** One for both families, or one each; null = not sent. */
export type Fates = Fate | readonly [ipv4: Fate | null, ipv6: Fate | null]

/**
 * `[FROM >] [TO] KIND [PORT] [from PORT]`, e.g. `tcp 22`, `inside ping`, `inside > outside udp 443`, `second > tcp 80`, `udp 53 from 2000`.
 * FROM: outside (unless said), second (its other address), inside, host. TO: host (unless said), inside, outside, itself.
 */
export type PacketWords = string

/** A packet that no program sends by itself. */
export interface Crafted {
  readonly from: 'outside' | 'inside' | 'host'
  readonly to: 'host' | 'inside' | 'outside' | readonly [ipv4: string | null, ipv6: string | null]
  readonly kind: 'tcp' | 'udp' | 'icmp' | 'protocol'
  /** TCP. Default SYN. */
  readonly flags?: 'rst' | 'syn-ack' | 'fin-ack'
  /** ICMP type by family, default echo request; or the number of the protocol. */
  readonly number?: number | readonly [ipv4: number, ipv6: number]
  readonly port?: number
  readonly source?: readonly [ipv4: string | null, ipv6: string | null]
  /** As well as the packet itself: an answer to it, or an ICMP error about it, from where it went. */
  readonly then?: { readonly reply?: Fates; readonly error?: Fates }
  /** `accept`, or a {@link Fate} of denial. `accept mark 0x5` = with that mark. */
  readonly fate: Fates
}

export interface Case {
  readonly of: StatementId
  /** What is configured, in a few words; unique within the statement. */
  readonly when: string
  readonly with: ConfigurationWords
  readonly then?: Readonly<Record<PacketWords, Fates>>
  readonly crafted?: readonly Crafted[]
  /** How many packets the log is told of under each prefix; prefixes that are not named must stay silent. */
  readonly logged?: Readonly<Record<string, number>>
  /** What others do beside us, for this case alone: arguments of both families' iptables; taken back by `-D` for `-A`. */
  readonly beside?: readonly (readonly string[])[]
  /** The same for one family. */
  readonly beside4?: readonly (readonly string[])[]
  readonly beside6?: readonly (readonly string[])[]
  /** Before the configuration is applied, once everything else stands; its result is called at the end. */
  readonly around?: (one: NetfilterHost) => Promise<(fail: (what: string) => void) => Promise<void>>
}

export const families = ['ipv4', 'ipv6'] as const
export type Family = (typeof families)[number]

const { firewall, outside, inside } = addresses
const targets: Readonly<Record<string, readonly [string, string]>> = {
  host: [firewall.ext4, firewall.ext6], inside: [inside.v4, inside.v6], outside: [outside.v4, outside.v6], itself: ['127.0.0.1', '::1'],
}
const senders: Readonly<Record<string, { readonly side: Side; readonly src?: readonly [string, string] }>> = {
  outside: { side: 'outside' }, second: { side: 'outside', src: [outside.second4, outside.second6] }, inside: { side: 'inside' }, host: { side: 'host' },
}
export type Side = 'outside' | 'inside' | 'host'

export interface Sent {
  readonly side: Side
  readonly family: Family
  readonly probe: Probe
  readonly fate: Fate
  readonly words: string
}

const grammar = /^(?:(outside|second|inside|host) > ?)?(?:(host|inside|outside|itself) ?)?(tcp|udp|ping)(?: (\d+))?(?: from (\d+))?$/

/** Throws on words that say nothing. */
export function packetsOf(then: Readonly<Record<PacketWords, Fates>>): readonly Sent[] {
  return Object.entries(then).flatMap(([words, fates]) => {
    const [, from = 'outside', to = 'host', kind, port, sport] = grammar.exec(words) ?? []
    const sender = senders[from]!
    if (kind === undefined || (kind === 'ping') !== (port === undefined)) throw new Error(`no packets: ${words}`)
    return families.flatMap((family, index): readonly Sent[] => {
      const fate = fateOf(fates, index)
      if (fate === null) return []
      return [{
        side: sender.side, family, fate: fate === 'prohibited' ? prohibited[index]! : fate, words,
        probe: {
          kind: kind as Probe['kind'], host: targets[to]![index]!, ...(port === undefined ? {} : { port: Number(port) }),
          ...(sender.src === undefined ? {} : { src: sender.src[index]! }), ...(sport === undefined ? {} : { sport: Number(sport) }),
          // what is to be answered may take its time on a busy machine; what is not is waited for in vain
          timeoutMs: fate === 'drop' || fate === 'denied here' ? 250 : 3000,
        },
      }]
    })
  })
}

export const prohibited = ['reject icmp3/13', 'reject icmp1/1'] as const

export function fateOf(fates: Fates, index: number): Fate | null {
  return typeof fates === 'string' ? fates : fates[index]!
}

/** What a probe says, in the words of {@link Fate}: as much of it as `fate` asks for. */
export function told(result: string, fate: Fate): string {
  if (fate === 'denied here') return result === 'drop local' || result === 'drop' || /^error E(PERM|ACCES|HOSTUNREACH)$/.test(result) ? fate : result
  return fate.startsWith('open ') ? result : result.replace(/^open .*/, 'open')
}
