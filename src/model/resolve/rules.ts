// What zones and policies have in common: services, ports, protocols, ICMP types and rich rules, in the order in which
// they decide. What a packet of no rule meets is the caller's business.
import { families } from '../addr.ts'
import type { DecidingRule, Effect, Match, NatRule, Rule, Verdict } from '../firewall.ts'
import { requireProtocol } from '../protocol.ts'
import { parseRichRule, unenforcedElement } from '../rich/index.ts'
import type { RichRule } from '../rich/index.ts'
import type { Entry, Origin, PolicySettings, PortSpec, ZoneSettings } from '../settings.ts'
import type { Lookup } from './lookup.ts'
import { ItemMemory } from './memory.ts'
import { plainForwardPort, plainMasquerade, richTranslation } from './nat.ts'
import type { NatItem } from './nat.ts'
import { originOf, Problems } from './problem.ts'
import { deniedLog, deniedPrefix } from './denied.ts'
import { icmpMatches, richDecisions, richForwardEffects, richMarks, richRecords } from './rich.ts'
import { helperMatches, portMatch, serviceMatches } from './service.ts'

/** Keys that zones and policies share. */
type Elements = Pick<ZoneSettings & PolicySettings, 'services' | 'ports' | 'protocols' | 'sourcePorts' | 'icmpBlocks' | 'masquerade' | 'forwardPorts' | 'richRules'>

export const rejectProhibited: Verdict = { kind: 'reject', type: 'admin-prohibited' }

export interface Rich {
  readonly text: string
  readonly rule: RichRule
  readonly origin: Origin
}

/** Reads one zone or policy; lives as long as that takes. */
export class RuleReader {
  readonly problems = new Problems()
  readonly unenforced = new Problems()
  readonly warnings = new Problems()
  /** Sets that rules ask, by name. */
  readonly ipsets = new Set<string>()
  readonly rich: readonly Rich[]
  private readonly nat: readonly NatItem[]
  /** Items that were read before and did not change. */
  readonly memory: ItemMemory
  private ranked: readonly Rich[] | null = null

  constructor(
    private readonly kind: 'zone' | 'policy', private readonly name: string, private readonly entry: Entry<Elements>, readonly lookup: Lookup,
    /** Where its denials happen, for log-denied. */
    private readonly hook: 'IN' | 'FWD' | 'OUT' = 'IN',
  ) {
    this.memory = new ItemMemory(`${kind} ${name}`, entry, lookup, [this.problems, this.unenforced, this.warnings])
    this.rich = this.readRich()
    this.nat = this.readNat()
  }

  /**
   * First match decides: rich rules of negative priority, then what logs, what denies, what accepts, rich rules of positive priority.
   * `icmpVerdict` is what the types in icmp-blocks meet.
   */
  rules(icmpVerdict: Verdict = rejectProhibited): readonly Rule[] {
    const ranked = this.byPriority()
    const before = ranked.filter(({ rule }) => rule.priority < 0)
    const zero = ranked.filter(({ rule }) => rule.priority === 0)
    const middle = zero.flatMap((one) => this.decide(one))
    const after = ranked.filter(({ rule }) => rule.priority > 0)
    const accepts = (rule: Rule): boolean => rule.verdict.kind === 'accept'
    const icmp = this.icmpNamed(icmpVerdict)
    return [
      ...before.flatMap((one) => [...this.records(one), ...this.decide(one)]),
      ...zero.flatMap((one) => this.records(one)),
      ...icmp.filter((rule) => !accepts(rule)),
      ...middle.filter((rule) => !accepts(rule)),
      ...this.services(),
      ...this.ports('ports', 'port'),
      ...this.protocols(),
      ...this.ports('sourcePorts', 'source-port'),
      ...icmp.filter(accepts),
      ...middle.filter(accepts),
      ...after.flatMap((one) => [...this.records(one), ...this.decide(one)]),
    ]
  }

  /** First match translates: in the order of priorities, plain ones before rich ones. */
  translations(side: NatItem['side']): readonly NatRule[] {
    return this.nat.filter((item) => item.side === side).sort((one, other) => one.priority - other.priority).map(({ rule }) => rule)
  }

  /** Rich marks in the order of their priorities; for packets wherever they go. */
  marks(): readonly Rule[] {
    return this.byPriority().flatMap((one) => this.effects('marks', one, richMarks))
  }

  /** What rich rules do to packets that are forwarded. */
  forwardEffects(): readonly Rule[] {
    return this.byPriority().flatMap((one) => this.effects('forward effects', one, richForwardEffects))
  }

  private byPriority(): readonly Rich[] {
    return this.ranked ??= [...this.rich].sort((one, other) => one.rule.priority - other.rule.priority)
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

  reportUnenforced(): void {
    for (const { rule, origin } of this.rich) {
      const element = unenforcedElement(rule)
      if (element !== null) this.unenforced.notEnforced(`${element} in a rich rule`, origin)
    }
  }

  private services(): readonly Rule[] {
    return this.entry.value.services.flatMap((name) => {
      const origin = this.origin('services', name, 'service')
      const matches = this.problems.attempt(origin, () => serviceMatches(name, this.lookup)) ?? []
      return matches.map(({ id, match }): Rule => ({ id: this.id('services', name, id), match, verdict: { kind: 'accept' }, origin }))
    })
  }

  /** Helpers of the services that are let in, by the ports on which they listen in on connections. */
  helpers(): readonly Rule[] {
    const named = this.entry.value.services.map((name) => ({ name, origin: this.origin('services', name, 'service') }))
    const rich = this.rich.flatMap(({ rule, origin }) => (rule.element?.kind === 'service' && rule.action?.kind === 'accept' ? [{ name: rule.element.name, origin }] : []))
    const rules = [...named, ...rich].flatMap(({ name, origin }) => {
      // an unknown name is a problem already
      const found = new Problems().attempt(origin, () => helperMatches(name, this.lookup)) ?? []
      return found.flatMap(({ id, helper, match }): readonly Rule[] => {
        if (match !== null) return [{ id: this.id('services', name, `helper/${id}`), match, verdict: { kind: 'helper', name: helper }, origin }]
        this.warnings.notEnforced(`helper ${helper} of service ${name}`, origin)
        return []
      })
    })
    return [...new Map(rules.map((rule) => [rule.id, rule])).values()]
  }

  private ports(key: 'ports' | 'sourcePorts', kind: 'port' | 'source-port'): readonly Rule[] {
    const yaml = key === 'ports' ? 'ports' : 'source-ports'
    const item = ({ port, protocol }: PortSpec): string => `${port}/${protocol}`
    return this.entry.value[key].flatMap((spec) => this.memory.once(key, spec, () => `${key}=${item(spec)}`, (): readonly Rule[] => {
      const origin = this.origin(key, item(spec), kind === 'port' ? 'port' : 'source port')
      const protocol = this.problems.attempt(origin, () => portMatch(kind, spec))
      return protocol === null ? [] : [{ id: this.id(yaml, item(spec), ''), match: { protocol }, verdict: { kind: 'accept' }, origin }]
    }))
  }

  private protocols(): readonly Rule[] {
    return this.entry.value.protocols.flatMap((item) => {
      const origin = this.origin('protocols', item, 'protocol')
      const number = this.problems.attempt(origin, () => requireProtocol(item))
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
    for (const { text, rule, origin } of this.rich) {
      items.push(this.problems.attempt(origin, () => richTranslation(this.id('rich-rules', text, ''), rule, origin, this.lookup)))
    }
    return items.filter((item) => item !== null)
  }

  private readRich(): readonly Rich[] {
    return this.entry.value.richRules.flatMap((text) => this.memory.once('rich', text, () => `richRules=${text}`, (): readonly Rich[] => {
      const origin = this.origin('richRules', text, 'rich rule')
      const rule = this.problems.attempt(origin, () => parseRichRule(text))
      return rule === null ? [] : [{ text, rule, origin }]
    }))
  }

  private decide({ text, rule, origin }: Rich): readonly Rule[] {
    for (const side of [rule.source, rule.destination]) if (side?.kind === 'ipset') this.ipsets.add(side.text)
    return this.memory.once('decisions', text, () => `richRules=${text}`, () => {
      const decisions = this.problems.attempt(origin, () => richDecisions(rule, this.lookup)) ?? []
      return decisions.map(({ id, ...decision }): Rule => ({ id: this.id('rich-rules', text, id), ...decision, origin }))
    })
  }

  private records(one: Rich): readonly Rule[] {
    return this.effects('records', one, richRecords)
  }

  private effects(what: string, one: Rich, read: typeof richRecords): readonly Rule[] {
    return this.memory.once(what, one.text, () => `richRules=${one.text}`, () => this.readEffects(one, read))
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
