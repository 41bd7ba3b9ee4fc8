// Rules as elements of sets decide what the rules decide, one after the other: random lists, read by an interpreter of their own.
import t from 'tap'
import { keptRoles } from '../../src/compile/fold.ts'
import { compileRules } from '../../src/compile/rules.ts'
import type { PlanMatch, PlanRule } from '../../src/compile/plan.ts'
import { SetRegistry } from '../../src/compile/sets.ts'
import { formatPrefix, parsePrefix, prefixHasAddr } from '../../src/model/addr.ts'
import type { Family, Prefix } from '../../src/model/addr.ts'
import type { Effect, Rule, Verdict } from '../../src/model/firewall.ts'
import { chance, int, pick, random, seed } from '../model/random.ts'

const rnd = random(seed)
const prefixes = new Map<string, Prefix>()
function prefixOf(text: string): Prefix {
  let prefix = prefixes.get(text)
  if (prefix === undefined) prefixes.set(text, prefix = parsePrefix(text)!)
  return prefix
}

interface Packet {
  readonly family: Family
  readonly source: bigint
  readonly protocol: 'tcp' | 'udp'
  readonly port: number
}

const words: Readonly<Record<Family, readonly string[]>> = {
  ipv4: ['192.0.2.0/24', '192.0.2.0/25', '192.0.2.128/25', '192.0.2.1', '192.0.2.2', '192.0.2.129', '198.51.100.0/24', '198.51.100.1', '198.0.0.0/8', '0.0.0.0/0'],
  ipv6: ['2001:db8::/32', '2001:db8:1::/48', '2001:db8:1::1', '2001:db8:2::/48', '2001:db8:2::1', '::/0'],
}
const hosts: Readonly<Record<Family, readonly bigint[]>> = {
  ipv4: ['192.0.2.1', '192.0.2.2', '192.0.2.3', '192.0.2.129', '192.0.2.200', '198.51.100.1', '198.51.100.2', '198.1.1.1', '203.0.113.1'].map((text) => prefixOf(text).addr),
  ipv6: ['2001:db8:1::1', '2001:db8:1::2', '2001:db8:2::1', '2001:db8:3::1', '2001:db9::1'].map((text) => prefixOf(text).addr),
}
const verdicts: readonly Verdict[] = [{ kind: 'accept' }, { kind: 'drop' }, { kind: 'reject', type: 'admin-prohibited' }, { kind: 'reject', type: 'port-unreachable' }]
const log: Effect = { kind: 'log', prefix: '', level: '' }

/** With one verdict much more often than the others most rules find a group. */
function randomRule(index: number, often: Verdict): Rule {
  const among = [...verdicts, ...Array<Verdict>(12).fill(often)]
  const family = pick(rnd, ['ipv4', 'ipv4', 'ipv6'] as const)
  const origin = { layer: chance(rnd, 0.1) ? 'runtime' : 'admin', text: '' } as const
  const prefix = parsePrefix(pick(rnd, words[family]))!
  const source = chance(rnd, 0.9) ? { family, source: { kind: 'prefix', prefix, invert: chance(rnd, 0.05) } as const } : {}
  const first = pick(rnd, [22, 80, 80, 81, 443])
  const protocol = chance(rnd, 0.5)
    ? { protocol: { kind: 'port', protocol: pick(rnd, ['tcp', 'udp'] as const), ports: { first, last: chance(rnd, 0.8) ? first : first + pick(rnd, [1, 3, 40]) } } as const }
    : {}
  return {
    id: `r${index}`, match: { ...source, ...protocol }, origin, verdict: chance(rnd, 0.02) ? log : pick(rnd, among),
    ...(chance(rnd, 0.04) ? { limit: { count: 1, unit: 's', burst: null } as const } : {}),
  }
}

function ruleFits({ match: { family, source, protocol } }: Rule, packet: Packet): boolean {
  if (family !== undefined && family !== packet.family) return false
  if (source?.kind === 'prefix' && (source.prefix.family === packet.family && prefixHasAddr(source.prefix, packet.family, packet.source)) === source.invert) return false
  return protocol?.kind !== 'port' || (protocol.protocol === packet.protocol && protocol.ports.first <= packet.port && packet.port <= protocol.ports.last)
}

/** The element that the kernel would find: the longest prefix. null = none. */
function elementFor(match: Extract<PlanMatch, { kind: 'set' | 'port-set' }>, sets: SetRegistry, packet: Packet): string | null {
  const set = sets.get(match.role)!
  if (set.elements.kind !== 'text') throw new Error('a list')
  if (match.kind === 'port-set') {
    const part = match.protocol === packet.protocol ? set.portRules!.find(({ first, last }) => first <= packet.port && packet.port <= last) : undefined
    return part?.rule ?? null
  }
  if (set.family !== packet.family) return null
  const found = set.elements.entries.filter((entry) => {
    const [prefix = '', port] = entry.split(',')
    return prefixHasAddr(prefixOf(prefix), packet.family, packet.source) && (port === undefined || port === `${packet.protocol}:${packet.port}`)
  })
  const longest = found.sort((one, other) => prefixOf(other.split(',')[0]!).length - prefixOf(one.split(',')[0]!).length)[0]
  return longest === undefined ? null : set.owners!.get(longest)!
}

/** Whose packet it is and what becomes of it; `passed` are the effects and limits on the way. */
function judge(plan: readonly PlanRule[], sets: SetRegistry, packet: Packet): { readonly verdict: string; readonly owner: string; readonly passed: readonly string[] } {
  const passed: string[] = []
  for (const { id, match, verdict } of plan) {
    let owner = id
    const fits = match.every((one) => {
      switch (one.kind) {
        case 'family': return one.family === packet.family
        case 'source-prefix': return (one.prefix.family === packet.family && prefixHasAddr(one.prefix, packet.family, packet.source)) !== one.invert
        case 'port': return one.protocol === packet.protocol && one.ports.first <= packet.port && packet.port <= one.ports.last
        case 'limit': return true
        case 'set': case 'port-set': {
          const found = elementFor(one, sets, packet)
          owner = found ?? owner
          return found !== null
        }
        default: throw new Error(one.kind)
      }
    })
    if (!fits) continue
    if (verdict.kind === 'log' || match.some((one) => one.kind === 'limit')) passed.push(id)
    else return { verdict: JSON.stringify(verdict), owner, passed }
  }
  return { verdict: 'none', owner: '', passed }
}

/** A limit may be used up or not: here it always is, and each rule is asked. */
function judgeRules(rules: readonly Rule[], packet: Packet): { readonly verdict: string; readonly passed: readonly string[] } {
  const passed: string[] = []
  for (const rule of rules) {
    if (!ruleFits(rule, packet)) continue
    if (rule.verdict.kind === 'log' || rule.limit !== undefined) passed.push(rule.id)
    else return { verdict: JSON.stringify(rule.verdict), passed }
  }
  return { verdict: 'none', passed }
}

const packets: readonly Packet[] = (['ipv4', 'ipv6'] as const).flatMap((family) => hosts[family].flatMap((source) => (['tcp', 'udp'] as const)
  .flatMap((protocol) => [22, 80, 81, 82, 100, 443, 9].map((port): Packet => ({ family, source, protocol, port })))))

t.comment(`seed ${seed}`)
t.test('sets decide what their rules decide, and count for one that fits', (t) => {
  const lists = process.env['DERPANET_TEST_FULL'] === '1' ? 5000 : 600
  let folded = 0
  for (let run = 0; run < lists; run++) {
    const often = pick(rnd, verdicts)
    let rules: readonly Rule[] = Array.from({ length: pick(rnd, [3, 8, 20, 60]) }, (_, index) => randomRule(index, often))
    // and a few steps from there, as changes come: what is remembered must not be wrong
    let kept: ReadonlySet<string> = new Set()
    for (let step = 0; step < 3; step++) {
      const sets = new SetRegistry()
      const plan = compileRules('zone:x', rules, { sets, ipsets: new Map(), kept }, pick(rnd, ['always', 'many']))
      kept = keptRoles({ sets: sets.list() })
      folded += sets.list().reduce((sum, { owners }) => sum + (owners?.size ?? 0), 0)
      const byId = new Map(rules.map((rule) => [rule.id, rule]))
      for (const packet of packets) {
        const wanted = judgeRules(rules, packet)
        const { owner, ...found } = judge(plan, sets, packet)
        const fits = owner === '' || (ruleFits(byId.get(owner)!, packet) && JSON.stringify(byId.get(owner)!.verdict) === found.verdict)
        if (found.verdict === wanted.verdict && found.passed.join() === wanted.passed.join() && fits) continue
        t.same({ ...found, owner }, wanted, JSON.stringify({ seed, packet: { ...packet, source: String(packet.source) }, rules: rules.map(show) }))
        return t.end()
      }
      const at = int(rnd, 0, rules.length - 1)
      rules = chance(rnd, 0.5) ? rules.toSpliced(at, 1) : rules.toSpliced(at, 0, { ...randomRule(0, often), id: `new${run}-${step}` })
    }
  }
  t.ok(folded > 3 * lists, `and ${folded} are elements`)
  t.end()
})

function show({ id, match: { source, protocol }, verdict, limit }: Rule): string {
  const from = source?.kind === 'prefix' ? `${source.invert ? '!' : ''}${formatPrefix(source.prefix)}` : ''
  return `${id} ${from} ${protocol?.kind === 'port' ? `${protocol.protocol} ${protocol.ports.first}-${protocol.ports.last}` : ''} ${JSON.stringify(verdict)}${limit === undefined ? '' : ' limit'}`
}

t.test('the second rule of a kind that calls add and remove is an edit of a set, wherever its kind stands', (t) => {
  const rule = (id: string, source: string, verdict: Verdict, layer: 'admin' | 'runtime' = 'admin'): Rule => (
    { id, match: { family: 'ipv4', source: { kind: 'prefix', prefix: prefixOf(source), invert: false } }, verdict, origin: { layer, text: '' } })
  const port = (number: number): Rule => (
    { id: `p${number}`, match: { protocol: { kind: 'port', protocol: 'tcp', ports: { first: number, last: number } } }, verdict: { kind: 'accept' }, origin: { layer: 'admin', text: '' } })
  const gre: Rule = { id: 'gre', match: { protocol: { kind: 'protocol', number: 47 } }, verdict: { kind: 'accept' }, origin: { layer: 'admin', text: '' } }
  const denial = rule('file', '203.0.113.0/24', { kind: 'drop' })
  const [drop, accept] = [rule('new', '192.0.2.1', { kind: 'drop' }, 'runtime'), rule('new', '192.0.2.1', { kind: 'accept' }, 'runtime')]
  for (const [zone, added] of [
    [[port(22), gre], [drop, port(22), gre]], [[port(22), gre], [port(22), gre, accept]], [[gre], [gre, accept]], [[], [accept]], [[], [drop]],
    [[denial, port(22)], [denial, drop, port(22)]],
  ] satisfies readonly (readonly [readonly Rule[], readonly Rule[]])[]) {
    let kept: ReadonlySet<string> = new Set()
    const texts = [zone, added, zone, added].map((rules) => {
      const sets = new SetRegistry()
      const plan = compileRules('zone:y', rules, { sets, ipsets: new Map(), kept }, 'always')
      kept = keptRoles({ sets: sets.list() })
      return { plan: JSON.stringify(plan, (_, value: unknown) => (typeof value === 'bigint' ? String(value) : value)), roles: sets.list().map(({ role }) => role).join() }
    })
    t.not(texts[1]!.plan, texts[0]!.plan, 'the first is a change of rules')
    t.same(texts[2], texts[1])
    t.same(texts[3], texts[1])
  }
  t.end()
})
