// One zone: its rules for packets to this host in the order in which they decide, and what is wrong with it.
import { formatPrefix } from '../addr.ts'
import type { AddressMatch, DecidingRule, InterfaceMatch, Match, Rule, SourceMatch, Verdict, Zone } from '../firewall.ts'
import { parseInterfaceName } from '../interface-name.ts'
import type { Entry, Settings, ZoneSettings, ZoneTarget } from '../settings.ts'
import { parseZoneSource } from '../source.ts'
import type { Lookup } from './lookup.ts'
import { originOf } from './problem.ts'
import type { Problem } from './problem.ts'
import { rememberEntries } from './remember.ts'
import { rejectProhibited, RuleReader } from './rules.ts'

/** What becomes of a zone or policy, and what is wrong with it. */
export interface Findings {
  /** Wrong whether it is in use or not: names that nothing bears. */
  readonly problems: readonly Problem[]
  /** Works, but less than it says. Shown when it is in use. */
  readonly warnings: readonly Problem[]
}

export interface ResolvedZone extends Findings {
  readonly zone: Zone
}

/** The same object again while the entry and everything it names stay the same. */
export const resolveZone = rememberEntries((name: string, entry: Entry<ZoneSettings>, lookup: Lookup): ResolvedZone => new ZoneResolver(name, entry, lookup).resolve())

const targetVerdict: Readonly<Record<ZoneTarget, Verdict>> = {
  default: rejectProhibited, REJECT: rejectProhibited, ACCEPT: { kind: 'accept' }, DROP: { kind: 'drop' },
}

/** Builds one zone; lives as long as that takes. */
class ZoneResolver {
  private readonly name: string
  private readonly entry: Entry<ZoneSettings>
  private readonly settings: ZoneSettings
  private readonly reader: RuleReader

  constructor(name: string, entry: Entry<ZoneSettings>, lookup: Lookup) {
    this.name = name
    this.entry = entry
    this.settings = entry.value
    this.reader = new RuleReader('zone', name, entry, lookup)
  }

  resolve(): ResolvedZone {
    const { settings, reader } = this
    const rules = reader.rules(settings.icmpBlockInversion ? { kind: 'accept' } : rejectProhibited)
    const forwardRule = this.target('target#forward', targetVerdict[settings.target])
    const [forwardLog] = reader.withDeniedLog(forwardRule, undefined, 'FWD')
    const zone: Zone = {
      name: this.name,
      target: settings.target,
      ingressPriority: settings.ingressPriority,
      egressPriority: settings.egressPriority,
      interfaces: this.interfaces(),
      sources: this.sources(),
      forward: settings.forward,
      rules,
      targetRules: [...this.anyIcmp(), ...reader.withDeniedLog(this.target('target', targetVerdict[settings.target]))],
      forwardRule,
      ...(forwardLog === undefined || forwardLog === forwardRule ? {} : { forwardLog }),
      forwardEffects: reader.forwardEffects(),
      marks: reader.marks(),
      helpers: reader.helpers(),
      destinationNat: reader.translations('destination'),
      sourceNat: reader.translations('source'),
      origin: originOf(this.entry, `zone ${this.name}`),
    }
    const { problems, warnings } = reader
    return { zone, problems: problems.found, warnings: warnings.found }
  }

  private target(id: string, verdict: Verdict, match: Match = {}): DecidingRule {
    return this.reader.target(id, this.settings.target, verdict, match)
  }

  /** What becomes of ICMP that nothing named. A target that says it anyway needs no rule. */
  private anyIcmp(): readonly Rule[] {
    const { target, icmpBlockInversion } = this.settings
    const match: Match = { protocol: { kind: 'any-icmp' } }
    if (icmpBlockInversion && (target === 'default' || target === 'ACCEPT')) return this.reader.withDeniedLog(this.target('target#icmp', rejectProhibited, match), 'ICMP_BLOCK')
    return target === 'default' ? [this.target('target#icmp', { kind: 'accept' }, match)] : []
  }

  private interfaces(): readonly InterfaceMatch[] {
    const { memory, problems } = this.reader
    const read = memory.each('interfaces', this.settings.interfaces, (text) => `interfaces=${text}`, (text): InterfaceMatch | null => {
      const origin = this.reader.origin('interfaces', text, 'interface')
      const parsed = problems.attempt(origin, () => parseInterfaceName(text))
      return parsed === null ? null : { ...parsed, origin }
    })
    return memory.of('interfaces', [read], () => read.filter((match) => match !== null))
  }

  private sources(): readonly SourceMatch[] {
    const { memory, problems } = this.reader
    const read = memory.each('sources', this.settings.sources, (text) => `sources=${text}`, (text): SourceMatch | null => {
      const origin = this.reader.origin('sources', text, 'source')
      const match = problems.attempt(origin, () => this.source(text))
      return match === null ? null : { match, origin }
    })
    return memory.of('sources', [read], () => eachOnce(read.filter((source) => source !== null)))
  }

  private source(text: string): AddressMatch {
    const { lookup } = this.reader
    const source = parseZoneSource(text)
    switch (source.kind) {
      case 'prefix': return { kind: 'prefix', prefix: source.prefix, invert: false }
      case 'mac': return { kind: 'mac', mac: source.mac, invert: false }
      case 'list': return { kind: 'list', list: lookup.list(source.name), invert: false }
      case 'ipset': return { kind: 'ipset', name: lookup.sourceSet(source.name).name, invert: false }
    }
  }
}

/** Two spellings of one address are one source. */
function eachOnce(sources: readonly SourceMatch[]): readonly SourceMatch[] {
  const seen = new Set<string>()
  return sources.filter(({ match }) => {
    const key = sourceKey(match)
    return !seen.has(key) && seen.add(key)
  })
}

/** Equal keys are the same source, however it was written. */
export function sourceKey(match: AddressMatch): string {
  switch (match.kind) {
    case 'prefix': return formatPrefix(match.prefix)
    case 'mac': return match.mac
    case 'ipset': return `ipset:${match.name}`
    case 'list': return `list:${match.list.name}`
  }
}
