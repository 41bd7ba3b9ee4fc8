// What zones and policies have in common: services, ports, protocols, ICMP types and rich rules, in the order in which
// they decide. What a packet of no rule meets is the caller's business.
import { printable } from '../../errors.ts'
import { families } from '../addr.ts'
import type { DecidingRule, Effect, Match, NatRule, Rule, Verdict } from '../firewall.ts'
import { requireMatchableProtocol } from '../protocol.ts'
import { parseRichRule } from '../rich/index.ts'
import type { RichRule } from '../rich/index.ts'
import type { Entry, Origin, PolicySettings, PortSpec, ZoneSettings } from '../settings.ts'
import type { Lookup } from './lookup.ts'
import { ItemMemory } from './memory.ts'
import { plainForwardPort, plainMasquerade, richTranslation } from './nat.ts'
import type { NatItem } from './nat.ts'
import { originOf, Problems } from './problem.ts'
import { deniedLog, deniedPrefix } from './denied.ts'
import { cutPrefix, icmpMatches, richDecisions, richForwardEffects, richMarks, richRecords } from './rich.ts'
import { helperMatches, portMatch, serviceMatches } from './service.ts'

/** Keys that zones and policies share. */
type Elements = Pick<ZoneSettings & PolicySettings, 'services' | 'ports' | 'protocols' | 'sourcePorts' | 'icmpBlocks' | 'masquerade' | 'forwardPorts' | 'richRules'>

export const rejectProhibited: Verdict = { kind: 'reject', type: 'admin-prohibited' }

export interface Rich {
  readonly text: string
  readonly rule: RichRule
  readonly origin: Origin
}

/** Everything that one rich rule says. */
interface RichItem extends Rich {
  readonly decisions: readonly Rule[]
  readonly records: readonly Rule[]
  readonly marks: readonly Rule[]
  readonly forwardEffects: readonly Rule[]
  readonly translation: NatItem | null
}

/** What rich rules say, by where it stands; those of priority 0 are sorted by what they do. */
interface RichRules {
  readonly before: readonly Rule[]
  readonly records: readonly Rule[]
  readonly denials: readonly Rule[]
  readonly accepts: readonly Rule[]
  readonly after: readonly Rule[]
  readonly marks: readonly Rule[]
  readonly forwardEffects: readonly Rule[]
  readonly translations: readonly NatItem[]
  /** Services that they accept. */
  readonly services: readonly { readonly name: string; readonly origin: Origin }[]
}

function accepts(rule: Rule): boolean {
  return rule.verdict.kind === 'accept'
}

function sortRich(items: readonly RichItem[]): RichRules {
  const isSorted = items.every(({ rule }, index) => index === 0 || items[index - 1]!.rule.priority <= rule.priority)
  const ranked = isSorted ? items : [...items].sort((one, other) => one.rule.priority - other.rule.priority)
  const sorted = {
    before: [] as Rule[], records: [] as Rule[], denials: [] as Rule[], accepts: [] as Rule[], after: [] as Rule[], marks: [] as Rule[], forwardEffects: [] as Rule[],
  }
  // there may be thousands, and this is done for each one that comes: no copies on the way
  for (const { rule: { priority }, records, decisions, marks, forwardEffects } of ranked) {
    const own = priority < 0 ? sorted.before : priority > 0 ? sorted.after : null
    for (const record of records) (own ?? sorted.records).push(record)
    for (const decision of decisions) (own ?? (accepts(decision) ? sorted.accepts : sorted.denials)).push(decision)
    for (const mark of marks) sorted.marks.push(mark)
    for (const effect of forwardEffects) sorted.forwardEffects.push(effect)
  }
  const services: { readonly name: string; readonly origin: Origin }[] = []
  const translations: NatItem[] = []
  for (const { rule: { element, action }, origin, translation } of items) {
    if (element?.kind === 'service' && action?.kind === 'accept') services.push({ name: element.name, origin })
    if (translation !== null) translations.push(translation)
  }
  return { ...sorted, services, translations }
}

/** Reads one zone or policy; lives as long as that takes. */
export class RuleReader {
  readonly problems = new Problems()
  readonly warnings = new Problems()
  private readonly nat: readonly NatItem[]
  /** Items that were read before and did not change. */
  readonly memory: ItemMemory
  private readonly rich: RichRules

  constructor(
    private readonly kind: 'zone' | 'policy', private readonly name: string, private readonly entry: Entry<Elements>, readonly lookup: Lookup,
    /** Where its denials happen, for log-denied. */
    private readonly hook: 'IN' | 'FWD' | 'OUT' = 'IN',
  ) {
    this.memory = new ItemMemory(`${kind} ${name}`, entry, lookup, [this.problems, this.warnings])
    this.rich = this.readRich()
    this.nat = this.readNat()
  }

  /**
   * First match decides: rich rules of negative priority, then what logs, what denies, what accepts, rich rules of positive priority.
   * `icmpVerdict` is what the types in icmp-blocks meet.
   */
  rules(icmpVerdict: Verdict = rejectProhibited): readonly Rule[] {
    const { rich } = this
    const icmp = this.icmpNamed(icmpVerdict)
    return [
      ...rich.before,
      ...rich.records,
      ...icmp.filter((rule) => !accepts(rule)),
      ...rich.denials,
      ...this.services(),
      ...this.ports('ports', 'port'),
      ...this.protocols(),
      ...this.ports('sourcePorts', 'source-port'),
      ...icmp.filter(accepts),
      ...rich.accepts,
      ...rich.after,
    ]
  }

  /** First match translates: in the order of priorities, plain ones before rich ones. */
  translations(side: NatItem['side']): readonly NatRule[] {
    return this.nat.filter((item) => item.side === side).sort((one, other) => one.priority - other.priority).map(({ rule }) => rule)
  }

  /** Rich marks in the order of their priorities; for packets wherever they go. */
  marks(): readonly Rule[] {
    return this.rich.marks
  }

  /** What rich rules do to packets that are forwarded. */
  forwardEffects(): readonly Rule[] {
    return this.rich.forwardEffects
  }

  origin(key: string, item: string, what: string): Origin {
    return originOf(this.entry, `${this.kind} ${this.name}: ${what} ${item}`, key, item)
  }

  /** `zone/public/services=ssh#tcp/22`. */
  id(key: string, item: string, part: string): string {
    return `${this.kind}/${this.name}/${key}=${item}${part === '' ? '' : `#${part}`}`
  }

  /** What becomes of packets that no rule decided. */
  target(id: string, target: string, verdict: Verdict, match: Match = {}): DecidingRule {
    const origin = originOf(this.entry, `${this.kind} ${this.name}: target ${target}`, 'target')
    return { id: `${this.kind}/${this.name}/${id}`, match, verdict, origin }
  }

  /** `rule` with what log-denied writes down before it. */
  withDeniedLog(rule: DecidingRule, what?: 'ICMP_BLOCK', hook = this.hook): readonly Rule[] {
    const { kind } = rule.verdict
    const effect = kind === 'accept' ? null : this.deniedEffect(what ?? (kind === 'drop' ? 'DROP' : 'REJECT'), hook)
    return effect === null ? [rule] : [{ ...rule, id: `${rule.id}#log`, verdict: effect }, rule]
  }

  private deniedEffect(what: 'ICMP_BLOCK' | 'DROP' | 'REJECT', hook = this.hook): Effect | null {
    return deniedLog(this.lookup.logDenied(), deniedPrefix(hook, this.kind === 'policy' ? `policy_${this.name}` : this.name, what))
  }

  private services(): readonly Rule[] {
    const read = this.memory.each('services', this.entry.value.services, (name) => `services=${name}`, (name) => {
      const origin = this.origin('services', name, 'service')
      const matches = this.problems.attempt(origin, () => serviceMatches(name, this.lookup)) ?? []
      return matches.map(({ id, match }): Rule => ({ id: this.id('services', name, id), match, verdict: { kind: 'accept' }, origin }))
    })
    return this.memory.of('services', [read], () => read.flat())
  }

  /** Helpers of the services that are let in, by the ports on which they listen in on connections. */
  helpers(): readonly Rule[] {
    const named = this.entry.value.services.map((name) => ({ name, origin: this.origin('services', name, 'service') }))
    const rich = this.rich.services
    const rules = [...named, ...rich].flatMap(({ name, origin }) => {
      // an unknown name is a problem already
      const found = new Problems().attempt(origin, () => helperMatches(name, this.lookup)) ?? []
      return found.flatMap(({ id, helper, match }): readonly Rule[] => {
        if (match !== null) return [{ id: this.id('services', name, `helper/${id}`), match, verdict: { kind: 'helper', name: helper }, origin }]
        this.warnings.add('INVALID_HELPER', `helper ${helper} of service ${name} has no definition: nobody knows where it would listen`, origin)
        return []
      })
    })
    return [...new Map(rules.map((rule) => [rule.id, rule])).values()]
  }

  private ports(key: 'ports' | 'sourcePorts', kind: 'port' | 'source-port'): readonly Rule[] {
    const yaml = key === 'ports' ? 'ports' : 'source-ports'
    const textOf = ({ port, protocol }: PortSpec): string => `${port}/${protocol}`
    const read = this.memory.each(key, this.entry.value[key], (spec) => `${key}=${textOf(spec)}`, (spec): Rule | null => {
      const item = textOf(spec)
      const origin = this.origin(key, item, kind === 'port' ? 'port' : 'source port')
      const protocol = this.problems.attempt(origin, () => portMatch(kind, spec))
      return protocol === null ? null : { id: this.id(yaml, item, ''), match: { protocol }, verdict: { kind: 'accept' }, origin }
    })
    return this.memory.of(key, [read], () => read.filter((rule) => rule !== null))
  }

  private protocols(): readonly Rule[] {
    return this.entry.value.protocols.flatMap((item) => {
      const origin = this.origin('protocols', item, 'protocol')
      const number = this.problems.attempt(origin, () => requireMatchableProtocol(item))
      if (number === null) return []
      return [{ id: this.id('protocols', item, ''), match: { protocol: { kind: 'protocol', number } }, verdict: { kind: 'accept' }, origin } as const]
    })
  }

  private icmpNamed(verdict: Verdict): readonly Rule[] {
    return this.entry.value.icmpBlocks.flatMap((name) => {
      const origin = this.origin('icmpBlocks', name, 'icmp-block')
      const matches = this.problems.attempt(origin, () => icmpMatches(name, families, {}, this.lookup)) ?? []
      const log = verdict.kind === 'accept' ? null : this.deniedEffect('ICMP_BLOCK')
      return matches.flatMap(({ id, match }): readonly Rule[] => {
        const rule: Rule = { id: this.id('icmp-blocks', name, id), match, verdict, origin }
        return log === null ? [rule] : [{ ...rule, id: `${rule.id}#log`, verdict: log }, rule]
      })
    })
  }

  private readNat(): readonly NatItem[] {
    const { masquerade, forwardPorts } = this.entry.value
    const items: (NatItem | null)[] = []
    if (masquerade) items.push(plainMasquerade(`${this.kind}/${this.name}/masquerade`, originOf(this.entry, `${this.kind} ${this.name}: masquerade`, 'masquerade')))
    for (const forward of forwardPorts) {
      const { port, protocol, toPort, toAddr } = forward
      const item = `${port}/${protocol}:${toPort}${toAddr === '' ? '' : `:${toAddr}`}`
      const origin = this.origin('forwardPorts', item, 'forward-port')
      items.push(this.problems.attempt(origin, () => plainForwardPort(this.id('forward-ports', item, ''), forward, origin)))
    }
    return [...items.filter((item) => item !== null), ...this.rich.translations]
  }

  private readRich(): RichRules {
    const read = this.memory.each('rich', this.entry.value.richRules, (text) => `richRules=${text}`, (text): RichItem | null => {
      const origin = this.origin('richRules', text, 'rich rule')
      const rule = this.problems.attempt(origin, () => parseRichRule(text))
      return rule === null ? null : this.readRichRule({ text, rule, origin })
    })
    return this.memory.of('rich', [read], () => sortRich(read.filter((item) => item !== null)))
  }

  private readRichRule(one: Rich): RichItem {
    const { text, rule, origin } = one
    const decisions = this.problems.attempt(origin, () => richDecisions(rule, this.lookup)) ?? []
    const cut = rule.log === null ? null : cutPrefix(rule.log)
    if (cut !== null) this.warnings.add('INVALID_LOG_PREFIX', `${cut.of} is written as '${printable(cut.to)}': the kernel takes ${cut.max} bytes of a prefix`, origin)
    return {
      ...one,
      decisions: decisions.map(({ id, ...decision }): Rule => ({ id: this.id('rich-rules', text, id), ...decision, origin })),
      records: this.readEffects(one, richRecords),
      marks: this.readEffects(one, richMarks),
      forwardEffects: this.readEffects(one, richForwardEffects),
      translation: this.problems.attempt(origin, () => richTranslation(this.id('rich-rules', text, ''), rule, origin, this.lookup)),
    }
  }

  private readEffects({ text, rule, origin }: Rich, read: typeof richRecords): readonly Rule[] {
    const wrong = new Problems()
    const found = wrong.attempt(origin, () => read(rule, this.lookup)) ?? []
    // most of what can be wrong was said when the rule's decisions were read
    const isSaid = (code: string, detail: string): boolean => this.problems.found.some((one) => one.origin === origin && one.code === code && one.detail === detail)
    this.problems.found.push(...wrong.found.filter(({ code, detail }) => !isSaid(code, detail)))
    return found.map(({ id, ...effect }): Rule => ({ id: this.id('rich-rules', text, id), ...effect, origin }))
  }
}
