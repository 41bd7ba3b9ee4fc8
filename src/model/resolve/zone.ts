// One zone: its rules for packets to this host in the order in which they decide, and what is wrong with it.
import { families, formatPrefix } from '../addr.ts'
import type { AddressMatch, InterfaceMatch, Match, Rule, SourceMatch, Verdict, Zone } from '../firewall.ts'
import { parseInterfaceName } from '../interface-name.ts'
import { requireProtocol } from '../protocol.ts'
import { parseRichRule, unenforcedElement } from '../rich/index.ts'
import type { RichRule } from '../rich/index.ts'
import type { Entry, Origin, Settings, ZoneSettings, ZoneTarget } from '../settings.ts'
import { parseZoneSource } from '../source.ts'
import { Lookup } from './lookup.ts'
import { originOf, Problems } from './problem.ts'
import type { Problem } from './problem.ts'
import { icmpMatches, richDecisions } from './rich.ts'
import { portMatch, serviceHelpers, serviceMatches } from './service.ts'

export interface ResolvedZone {
  readonly zone: Zone
  /** Wrong whether the zone is in use or not: names that nothing bears. */
  readonly problems: readonly Problem[]
  /** Wrong only when the zone is in use: what cannot be enforced yet. */
  readonly unenforced: readonly Problem[]
  /** Works, but less than it says. Shown when the zone is in use. */
  readonly warnings: readonly Problem[]
  /** Sets the zone asks, by name. */
  readonly ipsets: ReadonlySet<string>
}

interface Remembered {
  readonly name: string
  readonly lookup: Lookup
  readonly resolved: ResolvedZone
}

const remembered = new WeakMap<Entry<ZoneSettings>, Remembered>()

/** The same object again while the entry and everything it names stay the same. */
export function resolveZone(name: string, entry: Entry<ZoneSettings>, settings: Settings): ResolvedZone {
  const known = remembered.get(entry)
  if (known !== undefined && known.name === name && known.lookup.holds(settings)) return known.resolved
  const lookup = new Lookup(settings)
  const resolved = new ZoneResolver(name, entry, lookup).resolve()
  remembered.set(entry, { name, lookup, resolved })
  return resolved
}

const rejectProhibited: Verdict = { kind: 'reject', type: 'admin-prohibited' }
const targetVerdict: Readonly<Record<ZoneTarget, Verdict>> = {
  default: rejectProhibited, REJECT: rejectProhibited, ACCEPT: { kind: 'accept' }, DROP: { kind: 'drop' },
}

interface Rich {
  readonly text: string
  readonly rule: RichRule
  readonly origin: Origin
}

/** Builds one zone; lives as long as that takes. */
class ZoneResolver {
  private readonly name: string
  private readonly entry: Entry<ZoneSettings>
  private readonly settings: ZoneSettings
  private readonly lookup: Lookup
  private readonly problems = new Problems()
  private readonly unenforced = new Problems()
  private readonly warnings = new Problems()
  private readonly ipsets = new Set<string>()

  constructor(name: string, entry: Entry<ZoneSettings>, lookup: Lookup) {
    this.name = name
    this.entry = entry
    this.settings = entry.value
    this.lookup = lookup
  }

  resolve(): ResolvedZone {
    const { settings } = this
    const rich = this.richRules()
    const ranked = [...rich].sort((one, other) => one.rule.priority - other.rule.priority)
    const before = ranked.filter(({ rule }) => rule.priority < 0)
    const middle = ranked.filter(({ rule }) => rule.priority === 0).flatMap((one) => this.decide(one))
    const after = ranked.filter(({ rule }) => rule.priority > 0)
    const accepts = (rule: Rule): boolean => rule.verdict.kind === 'accept'
    const icmp = this.icmpNamed()
    const rules = [
      ...before.flatMap((one) => this.decide(one)),
      ...icmp.filter((rule) => !accepts(rule)),
      ...middle.filter((rule) => !accepts(rule)),
      ...this.services(),
      ...this.ports('ports', 'port'),
      ...this.protocols(),
      ...this.ports('sourcePorts', 'source-port'),
      ...icmp.filter(accepts),
      ...middle.filter(accepts),
      ...after.flatMap((one) => this.decide(one)),
      ...this.anyIcmp(),
      this.target('target', targetVerdict[settings.target]),
    ]
    this.reportUnenforced(rich)
    const zone: Zone = {
      name: this.name,
      target: settings.target,
      ingressPriority: settings.ingressPriority,
      egressPriority: settings.egressPriority,
      interfaces: this.interfaces(),
      sources: this.sources(),
      forward: settings.forward,
      rules,
      forwardRule: this.target('target#forward', targetVerdict[settings.target]),
      origin: originOf(this.entry, `zone ${this.name}`),
    }
    return {
      zone, problems: this.problems.found, unenforced: this.unenforced.found, warnings: this.warnings.found, ipsets: this.ipsets,
    }
  }

  private origin(key: string, item: string, what: string): Origin {
    return originOf(this.entry, `zone ${this.name}: ${what} ${item}`, key, item)
  }

  private id(key: string, item: string, part: string): string {
    return `zone/${this.name}/${key}=${item}${part === '' ? '' : `#${part}`}`
  }

  private target(id: string, verdict: Verdict, match: Match = {}): Rule {
    const origin = originOf(this.entry, `zone ${this.name}: target ${this.settings.target}`, 'target')
    return { id: `zone/${this.name}/${id}`, match, verdict, origin }
  }

  private services(): readonly Rule[] {
    return this.settings.services.flatMap((name) => {
      const origin = this.origin('services', name, 'service')
      const matches = this.problems.attempt(origin, () => serviceMatches(name, this.lookup)) ?? []
      this.warnAboutHelpers(name, origin)
      return matches.map(({ id, match }): Rule => ({ id: this.id('services', name, id), match, verdict: { kind: 'accept' }, origin }))
    })
  }

  /** The service's ports are open, but the connections its helper would announce are not recognised. */
  private warnAboutHelpers(name: string, origin: Origin): void {
    // an unknown name is a problem already
    const helpers = new Problems().attempt(origin, () => serviceHelpers(name, this.lookup)) ?? []
    for (const helper of helpers) this.warnings.notEnforced(`helper ${helper} of service ${name}`, origin)
  }

  private ports(key: 'ports' | 'sourcePorts', kind: 'port' | 'source-port'): readonly Rule[] {
    const yaml = key === 'ports' ? 'ports' : 'source-ports'
    return this.settings[key].flatMap((spec) => {
      const item = `${spec.port}/${spec.protocol}`
      const origin = this.origin(key, item, kind === 'port' ? 'port' : 'source port')
      const protocol = this.problems.attempt(origin, () => portMatch(kind, spec))
      return protocol === null ? [] : [{ id: this.id(yaml, item, ''), match: { protocol }, verdict: { kind: 'accept' }, origin } as const]
    })
  }

  private protocols(): readonly Rule[] {
    return this.settings.protocols.flatMap((item) => {
      const origin = this.origin('protocols', item, 'protocol')
      const number = this.problems.attempt(origin, () => requireProtocol(item))
      if (number === null) return []
      return [{ id: this.id('protocols', item, ''), match: { protocol: { kind: 'protocol', number } }, verdict: { kind: 'accept' }, origin } as const]
    })
  }

  /** The types in icmp-blocks: rejected, or with inversion let in. */
  private icmpNamed(): readonly Rule[] {
    const verdict: Verdict = this.settings.icmpBlockInversion ? { kind: 'accept' } : rejectProhibited
    return this.settings.icmpBlocks.flatMap((name) => {
      const origin = this.origin('icmpBlocks', name, 'icmp-block')
      const matches = this.problems.attempt(origin, () => icmpMatches(name, families, {}, this.lookup)) ?? []
      return matches.map(({ id, match }): Rule => ({ id: this.id('icmp-blocks', name, id), match, verdict, origin }))
    })
  }

  /** What becomes of ICMP that nothing named. A target that says it anyway needs no rule. */
  private anyIcmp(): readonly Rule[] {
    const { target, icmpBlockInversion } = this.settings
    const match: Match = { protocol: { kind: 'any-icmp' } }
    if (icmpBlockInversion && (target === 'default' || target === 'ACCEPT')) return [this.target('target#icmp', rejectProhibited, match)]
    return target === 'default' ? [this.target('target#icmp', { kind: 'accept' }, match)] : []
  }

  private richRules(): readonly Rich[] {
    return this.settings.richRules.flatMap((text) => {
      const origin = this.origin('richRules', text, 'rich rule')
      const rule = this.problems.attempt(origin, () => parseRichRule(text))
      return rule === null ? [] : [{ text, rule, origin }]
    })
  }

  private decide({ text, rule, origin }: Rich): readonly Rule[] {
    for (const side of [rule.source, rule.destination]) if (side?.kind === 'ipset') this.ipsets.add(side.text)
    const decisions = this.problems.attempt(origin, () => richDecisions(rule, this.lookup)) ?? []
    return decisions.map(({ id, match, verdict }): Rule => ({ id: this.id('rich-rules', text, id), match, verdict, origin }))
  }

  private interfaces(): readonly InterfaceMatch[] {
    return this.settings.interfaces.flatMap((text) => {
      const origin = this.origin('interfaces', text, 'interface')
      const parsed = this.problems.attempt(origin, () => parseInterfaceName(text))
      return parsed === null ? [] : [{ ...parsed, origin }]
    })
  }

  /** Two spellings of one address are one source. */
  private sources(): readonly SourceMatch[] {
    const seen = new Set<string>()
    return this.settings.sources.flatMap((text) => {
      const origin = this.origin('sources', text, 'source')
      const match = this.problems.attempt(origin, () => this.source(text))
      if (match === null || seen.has(sourceKey(match))) return []
      seen.add(sourceKey(match))
      return [{ match, origin }]
    })
  }

  private source(text: string): AddressMatch {
    const source = parseZoneSource(text)
    switch (source.kind) {
      case 'prefix': return { kind: 'prefix', prefix: source.prefix, invert: false }
      case 'mac': return { kind: 'mac', mac: source.mac, invert: false }
      case 'list': return { kind: 'list', list: this.lookup.list(source.name), invert: false }
      case 'ipset':
        this.ipsets.add(source.name)
        return { kind: 'ipset', name: this.lookup.sourceSet(source.name).name, invert: false }
    }
  }

  private reportUnenforced(rich: readonly Rich[]): void {
    const { masquerade, forwardPorts } = this.settings
    if (masquerade) this.unenforced.notEnforced('masquerade', originOf(this.entry, `zone ${this.name}: masquerade`, 'masquerade'))
    for (const { port, protocol, toPort, toAddr } of forwardPorts) {
      const item = `${port}/${protocol}:${toPort}${toAddr === '' ? '' : `:${toAddr}`}`
      this.unenforced.notEnforced(`forward-port ${item}`, this.origin('forwardPorts', item, 'forward-port'))
    }
    for (const { rule, origin } of rich) {
      const element = unenforcedElement(rule)
      if (element !== null) this.unenforced.notEnforced(`${element} in a rich rule`, origin)
    }
  }
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
