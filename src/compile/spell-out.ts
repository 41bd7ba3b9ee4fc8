// Sets of a type that this kernel does not have, as rules: one for each entry. Slower, and the same packets. A kernel may be
// built without hash:ip,mark or hash:mac, and a zone whose sources are such a set has to be enforced there too.
//
//   match, set → verdict     becomes     match → jump A;   A: entry → goto B, …;   B: verdict
//
// and, where the set must not have the packet, A: entry → return, …, goto B. The verdict stands once: what counts, limits or
// logs does it once for a packet. A return and a goto are the exception: they end the chain that they stand in, so they stand there.
import { addressBits } from '../model/addr.ts'
import type { Family, Prefix } from '../model/addr.ts'
import { icmpProtocol } from '../model/icmp.ts'
import { parseEntryParts } from '../model/ipset-entry.ts'
import type { AddressRange, EntryPart } from '../model/ipset-entry.ts'
import { protocolNumbers } from '../model/port.ts'
import type { PortProtocol } from '../model/firewall.ts'
import type { Plan, PlanChain, PlanMatch, PlanRule, PlanSet } from './plan.ts'

/** A packet is compared with one entry after the other. */
export const maxSpelledEntries = 1024

/** Options that decide how much fits, not what an entry means. */
const sizes: readonly string[] = ['hashsize', 'maxelem']

/**
 * Can its entries be written as rules? None always can. A set with a timeout has none here: they come one by one, with a time
 * to live that only the kernel's set knows.
 */
export function canSpellOut({ user, elements }: PlanSet): boolean {
  if (user === undefined || elements.kind !== 'text') return false
  const count = elements.count ?? elements.entries.length
  if (count === 0) return true
  if (Object.entries(user.options).some(([option, value]) => !sizes.includes(option) && !(option === 'timeout' && value === '0'))) return false
  return /^hash:(mac|(ip|net)(,(port|mark))?)$/.test(user.type) && count <= maxSpelledEntries
}

/** Who asks for the set of this role, each once, in the words of the configuration and with its place. */
export function setUsers(plan: Plan, role: string): readonly string[] {
  const asking = plan.chains.flatMap(({ rules }) => rules.filter(({ match }) => match.some((one) => one.kind === 'set' && one.role === role)))
  return [...new Set(asking.map(({ origin, id }) => {
    if (origin === undefined) return id === '' ? 'a zone' : id
    const { file, position, text } = origin
    return file === undefined ? text : `${text} (${file}${position === undefined ? '' : `:${position.line}`})`
  }))]
}

/** The plan without the sets of these roles, all of which {@link canSpellOut}; the same object when there are none of them. */
export function spellOut(plan: Plan, roles: ReadonlySet<string>): Plan {
  if (roles.size === 0) return plan
  const sets = new Map(plan.sets.filter(({ role }) => roles.has(role)).map((set) => [set.role, set]))
  const chains = plan.chains.flatMap((chain) => spellChain(chain, sets))
  return { ...plan, sets: plan.sets.filter(({ role }) => !roles.has(role)), chains }
}

type SetMatch = Extract<PlanMatch, { readonly kind: 'set' }>

const asks = (match: PlanMatch, sets: ReadonlyMap<string, PlanSet>): match is SetMatch => match.kind === 'set' && sets.has(match.role)

function spellChain(chain: PlanChain, sets: ReadonlyMap<string, PlanSet>): readonly PlanChain[] {
  if (!chain.rules.some(({ match }) => match.some((one) => asks(one, sets)))) return [chain]
  const added: PlanChain[] = []
  const rules = chain.rules.flatMap((rule, index) => spellRule(rule, `${chain.name}:entries${index}`, sets, added))
  return [{ ...chain, rules }, ...added]
}

function spellRule(rule: PlanRule, name: string, sets: ReadonlyMap<string, PlanSet>, added: PlanChain[]): readonly PlanRule[] {
  const asked = rule.match.find((one): one is SetMatch => asks(one, sets))
  if (asked === undefined) return [rule]
  const set = sets.get(asked.role)!
  const entries = entriesOf(set).flatMap((parts) => matchesOf(parts, asked.side, set.family))
  const { kind } = rule.verdict
  if (kind === 'return' || (kind === 'goto' && !asked.invert)) {
    // from another chain neither would end this one, where what it leads to comes back
    if (asked.invert) throw new Error(`a return for what is not in set ${asked.role} cannot be written as rules`)
    const others = rule.match.filter((one) => one !== asked)
    return entries.flatMap((match) => spellRule({ ...rule, match: [...others, ...match] }, name, sets, added))
  }
  const before = rule.match.filter((one) => one !== asked && !isCounting(one) && !asks(one, sets))
  const then: PlanRule = { ...rule, match: rule.match.filter((one) => one !== asked && (isCounting(one) || asks(one, sets))) }
  const goOn: PlanRule = { id: '', match: [], verdict: { kind: 'goto', chain: `${name}:then` } }
  added.push({
    name,
    rules: asked.invert
      ? [...entries.map((match): PlanRule => ({ id: '', match, verdict: { kind: 'return' } })), goOn]
      : entries.map((match): PlanRule => ({ ...goOn, match })),
  })
  added.push({ name: `${name}:then`, rules: spellRule(then, `${name}:and`, sets, added) })
  // the set itself knows packets of its own family only
  const family: readonly PlanMatch[] = set.family === null || before.some(({ kind }) => kind === 'family') ? [] : [{ kind: 'family', family: set.family }]
  return [{ id: '', match: [...family, ...before], verdict: { kind: 'jump', chain: name }, ...(rule.origin === undefined ? {} : { origin: rule.origin }) }]
}

/** Asked once for a packet that everything else fits. */
const isCounting = ({ kind }: PlanMatch): boolean => kind === 'limit'

function entriesOf({ user, elements, family }: PlanSet): readonly (readonly EntryPart[])[] {
  if (user === undefined || elements.kind !== 'text') throw new Error('only sets of users are spelled out')
  // a plan's set has its family beside its options
  const options: Readonly<Record<string, string>> = family === 'ipv6' ? { family: 'inet6' } : {}
  return elements.entries.map((text) => parseEntryParts(user.type, options, text).parts)
}

/** One list of matches for each rule that an entry needs: a range of addresses may need several. */
function matchesOf(parts: readonly EntryPart[], side: 'source' | 'destination', family: Family | null): readonly (readonly PlanMatch[])[] {
  return parts.reduce<readonly (readonly PlanMatch[])[]>((rules, part) => {
    const ways = partMatches(part, side, family)
    return rules.flatMap((rule) => ways.map((way) => [...rule, ...way]))
  }, [[]])
}

function partMatches(part: EntryPart, side: 'source' | 'destination', family: Family | null): readonly (readonly PlanMatch[])[] {
  switch (part.kind) {
    case 'addresses': return prefixesOf(part.range, family ?? 'ipv4').map((prefix) => [{ kind: `${side}-prefix`, prefix, invert: false }])
    case 'mac': return [[{ kind: 'source-mac', mac: part.mac, invert: false }]]
    case 'mark': return [[{ kind: 'mark', value: part.mark }]]
    case 'port': return [portMatches(part, side, family)]
    case 'interface': throw new Error('sets with interfaces are not spelled out')
  }
}

function portMatches({ protocol, first, last }: Extract<EntryPart, { readonly kind: 'port' }>, side: 'source' | 'destination', family: Family | null): readonly PlanMatch[] {
  const name = (Object.keys(protocolNumbers) as PortProtocol[]).find((one) => protocolNumbers[one] === protocol)
  if (name !== undefined) return [{ kind: 'port', protocol: name, side, ports: { first, last } }]
  // the kernel keeps type and code there
  if (protocol === icmpProtocol[family ?? 'ipv4']) return [{ kind: 'icmp', type: first >> 8, code: first & 255 }]
  return [{ kind: 'protocol', number: protocol }]
}

/** The fewest prefixes that are just this range. */
function prefixesOf({ first, last }: AddressRange, family: Family): readonly Prefix[] {
  const bits = addressBits(family)
  const prefixes: Prefix[] = []
  for (let addr = first; addr <= last;) {
    let size = 0
    while (size < bits && (addr & ((2n << BigInt(size)) - 1n)) === 0n && addr + (2n << BigInt(size)) - 1n <= last) size++
    prefixes.push({ family, addr, length: bits - size })
    addr += 1n << BigInt(size)
  }
  return prefixes
}
