// Plan → chains and rules of iptables, per family and table. Only text is made here; what of it the kernel already
// has, and what must go, is the diff's business.
//
// Where verdicts sit (docs/adr/0001): `mangle` holds the zones, so that our ACCEPT ends that table only and our DROP is
// final. REJECT works in `filter` alone: mangle marks the packet, the first rule of filter answers it, and `security`,
// which runs last, drops a marked packet that somebody accepted in between. `raw` holds what comes before connection tracking.
import type { Family } from '../../model/addr.ts'
import { rejectTypes } from '../../model/firewall.ts'
import type { RejectType } from '../../model/firewall.ts'
import type { Hook, Plan, PlanChain, PlanRule, PlanSet } from '../plan.ts'
import { chainName, entryChainName } from './names.ts'
import { concernsFamily, formatRule, rejectChain, rejectMark, rejectMarkMask, rejectMarkOf, rejectWith } from './rules.ts'
import type { RuleContext } from './rules.ts'

export type Table = 'raw' | 'mangle' | 'nat' | 'filter' | 'security'

/** The order of commits: whoever answers or stops a mark is there before anybody sets one, and who judges before who translates. */
export const tables: readonly Table[] = ['security', 'filter', 'raw', 'mangle', 'nat']

/** Named by its content. `lines` without `-A NAME`; `ruleIds` has one id per line, "" = not counted. */
export interface RenderedChain {
  readonly name: string
  readonly lines: readonly string[]
  readonly ruleIds: readonly string[]
}

/** A chain of constant name and of few lines, which one transaction points elsewhere. */
export interface EntryChain {
  readonly name: string
  readonly lines: readonly string[]
}

/** Our first rule in a chain of the kernel's. */
export interface Jump {
  readonly chain: string
  readonly rule: string
}

/** `chains` come callee first. */
export interface RenderedTable {
  readonly table: Table
  readonly chains: readonly RenderedChain[]
  readonly entries: readonly EntryChain[]
  readonly jumps: readonly Jump[]
}

/** One per table in the order of {@link tables}; a table of which we need nothing is empty but present. */
export type RenderedFamily = readonly RenderedTable[]

type JudgingTable = 'raw' | 'mangle' | 'nat'

interface HookPlace {
  readonly table: JudgingTable
  /** The kernel's chain. */
  readonly chain: string
  readonly entry: string
}

const hookPlaces: Readonly<Record<Hook, HookPlace>> = {
  'early-input': { table: 'raw', chain: 'PREROUTING', entry: 'EARLY_IN' },
  'early-output': { table: 'raw', chain: 'OUTPUT', entry: 'EARLY_OUT' },
  helpers: { table: 'raw', chain: 'PREROUTING', entry: 'HELPERS' },
  prerouting: { table: 'mangle', chain: 'PREROUTING', entry: 'PREROUTING' },
  input: { table: 'mangle', chain: 'INPUT', entry: 'INPUT' },
  forward: { table: 'mangle', chain: 'FORWARD', entry: 'FORWARD' },
  output: { table: 'mangle', chain: 'OUTPUT', entry: 'OUTPUT' },
  'nat-incoming': { table: 'nat', chain: 'PREROUTING', entry: 'NAT_IN' },
  'nat-local': { table: 'nat', chain: 'OUTPUT', entry: 'NAT_LOCAL' },
  'nat-leaving': { table: 'nat', chain: 'POSTROUTING', entry: 'NAT_OUT' },
}

const markMatch = `-m mark --mark 0x${rejectMark.toString(16)}/0x${rejectMarkMask.toString(16)}`

/**
 * With the sysctl fwmark_reflect our own ICMP error bears the mark of the packet it answers: nobody else sends marked packets,
 * and unmarked it passes.
 */
const unmark = `${markMatch} -j MARK --set-xmark 0x0/0xffffffff`

/** `setNameOf` gives the kernel's name of a role's set. Equal plans and names give equal text. */
export function renderFamily(plan: Plan, family: Family, setNameOf: (role: string) => string): RenderedFamily {
  // a hook that says nothing of this family costs its packets nothing
  const concerns = ({ match }: PlanRule): boolean => match.every((one) => one.kind !== 'family' || one.family === family)
  const speaking = new Set(plan.chains.filter(({ rules }) => rules.some(concerns)).map(({ name }) => name))
  const hooks = plan.hooks.filter(({ chain }) => speaking.has(chain)).map(({ hook, chain }) => ({ ...hookPlaces[hook], target: chain }))
  // nothing is rejected before routing
  const judged = hooks.filter(({ table, chain }) => table === 'mangle' && chain !== 'PREROUTING').map(({ chain }) => chain)
  const writer = new ChainWriter(plan, family, setNameOf)
  const hooked = (table: JudgingTable): RenderedTable => {
    // a table of nat that decides nothing in this family is not even touched: not every kernel has one for IPv6
    const own = hooks.filter((hook) => hook.table === table && !(table === 'nat' && writer.isIdle(hook.target)))
    const entries = own.map(({ chain, entry, target }) => (
      { name: entryChainName(entry), lines: [...(chain === 'OUTPUT' && table === 'mangle' ? [unmark] : []), `-g ${writer.chain(table, target)}`] }))
    return {
      table,
      chains: writer.written(table),
      entries,
      jumps: own.map(({ chain, entry }) => ({ chain, rule: `-j ${entryChainName(entry)}` })),
    }
  }
  const answers = answerChain(family)
  return [
    {
      table: 'security',
      chains: [],
      entries: [{ name: entryChainName('NET'), lines: ['-j DROP'] }],
      jumps: judged.map((chain) => ({ chain, rule: `${markMatch} -j ${entryChainName('NET')}` })),
    },
    {
      table: 'filter',
      chains: [answers],
      entries: [{ name: entryChainName('REJECT'), lines: [`-g ${answers.name}`] }],
      jumps: judged.map((chain) => ({ chain, rule: `${markMatch} -j ${entryChainName('REJECT')}` })),
    },
    hooked('raw'),
    hooked('mangle'),
    hooked('nat'),
  ]
}

/** Answers a marked packet. A reset asked for what is not TCP has no answer: dropped, as is any mark we do not know. */
function answerChain(family: Family): RenderedChain {
  const lines = rejectTypes.map((type) => {
    const protocol = type === 'tcp-reset' ? '-p tcp ' : ''
    return `${protocol}-m mark --mark ${rejectMarkOf(type)} -j REJECT --reject-with ${rejectWith[family][type]}`
  })
  lines.push('-j DROP')
  return { name: chainName('RE', 'answer', lines.join('\n')), lines, ruleIds: lines.map(() => '') }
}

/** A rendered chain, and under which names it knew the sets (with their shape) and chains that it refers to. */
interface Remembered {
  readonly rendered: RenderedChain
  readonly sets: ReadonlyMap<string, string>
  /** null = it was idle, and whoever jumps there does not. */
  readonly chains: ReadonlyMap<string, string | null>
}

/** By family and table. Chains that did not change are the same objects in the next plan. */
const rememberedChains = new WeakMap<PlanChain, Map<string, Remembered>>()

/** Writes chains as they are asked for, so that only what a hook reaches exists and a callee is named before its caller. */
class ChainWriter {
  private readonly plan: ReadonlyMap<string, PlanChain>
  private readonly sets: ReadonlyMap<string, PlanSet>
  private readonly done: Record<JudgingTable, Map<string, RenderedChain>> = { raw: new Map(), mangle: new Map(), nat: new Map() }
  private readonly idle = new Map<string, boolean>()

  constructor(plan: Plan, private readonly family: Family, private readonly setNameOf: (role: string) => string) {
    this.plan = new Map(plan.chains.map((chain) => [chain.name, chain]))
    this.sets = new Map(plan.sets.map((set) => [set.role, set]))
  }

  written(table: JudgingTable): readonly RenderedChain[] {
    return [...this.done[table].values()]
  }

  /** Kernel name of a logical chain, which is written if it was not yet. */
  chain(table: JudgingTable, logical: string): string {
    const present = this.done[table].get(logical)
    if (present !== undefined) return present.name
    const rendered = this.known(table, logical) ?? this.render(table, logical)
    this.done[table].set(logical, rendered)
    return rendered.name
  }

  /** Nothing that a packet of this family could meet in it has any effect. */
  isIdle(logical: string): boolean {
    const known = this.idle.get(logical)
    if (known !== undefined) return known
    const rules = this.plan.get(logical)?.rules
    const idle = rules !== undefined && rules.every(({ match, verdict }) => (
      verdict.kind === 'return' || !concernsFamily(match, verdict, { family: this.family, setOf: (role) => this.setOf(role) }) || ('chain' in verdict && this.isIdle(verdict.chain))))
    this.idle.set(logical, idle)
    return idle
  }

  /** What an earlier plan made of the same chain, if the sets and chains it names still have the same names. */
  private known(table: JudgingTable, logical: string): RenderedChain | null {
    const chain = this.plan.get(logical)
    const known = chain === undefined ? undefined : rememberedChains.get(chain)?.get(`${this.family} ${table}`)
    if (known === undefined) return null
    for (const [role, identity] of known.sets) if (!this.sets.has(role) || this.setIdentity(role) !== identity) return null
    for (const [name, kernelName] of known.chains) if (this.isIdle(name) ? kernelName !== null : this.chain(table, name) !== kernelName) return null
    return known.rendered
  }

  private setIdentity(role: string): string {
    const { kind, family, user } = this.setOf(role)
    return [this.setNameOf(role), kind, family ?? '', user?.type ?? ''].join(' ')
  }

  private render(table: JudgingTable, logical: string): RenderedChain {
    const reject = rejectTypes.find((type) => rejectChain(type) === logical)
    if (reject !== undefined) return markChain(reject)
    const chain = this.plan.get(logical)
    if (chain === undefined) throw new Error(`no chain ${logical} in the plan`)
    const sets = new Map<string, string>()
    const chains = new Map<string, string | null>()
    const remember = (role: string): void => {
      if (!sets.has(role)) sets.set(role, this.setIdentity(role))
    }
    const context: RuleContext = {
      family: this.family,
      setOf: (role) => {
        remember(role)
        return this.setOf(role)
      },
      setNameOf: (role) => {
        remember(role)
        return this.setNameOf(role)
      },
      chainNameOf: (name) => {
        const kernelName = this.chain(table, name)
        chains.set(name, kernelName)
        return kernelName
      },
    }
    const rendered = this.write(chain, context, (name) => chains.set(name, null))
    const remembered = rememberedChains.get(chain) ?? new Map<string, Remembered>()
    remembered.set(`${this.family} ${table}`, { rendered, sets, chains })
    rememberedChains.set(chain, remembered)
    return rendered
  }

  private write(chain: PlanChain, context: RuleContext, leaveOut: (chain: string) => void): RenderedChain {
    const logical = chain.name
    const written = chain.rules.flatMap((rule: PlanRule) => {
      if (rule.verdict.kind === 'jump' && this.isIdle(rule.verdict.chain)) {
        leaveOut(rule.verdict.chain)
        return []
      }
      const line = formatRule(rule, context)
      return line === null ? [] : [{ line, id: rule.id }]
    })
    const [kind, label] = kindAndLabel(logical)
    return {
      name: chainName(kind, label, [logical, ...written.map(({ line, id }) => `${line}\t${id}`)].join('\n')),
      lines: written.map(({ line }) => line),
      ruleIds: written.map(({ id }) => id),
    }
  }

  private setOf(role: string): PlanSet {
    const set = this.sets.get(role)
    if (set === undefined) throw new Error(`no set ${role} in the plan`)
    return set
  }
}

/** Sets the mark and leaves mangle; the zone's own rule has counted the packet. */
function markChain(type: RejectType): RenderedChain {
  const lines = [`-j MARK --set-xmark ${rejectMarkOf(type)}/0xffffffff`, '-j ACCEPT']
  return { name: chainName('RE', type, lines.join('\n')), lines, ruleIds: ['', ''] }
}

const zoneKinds: Readonly<Record<string, string>> = { input: 'IN', forward: 'FW', to: 'FW', rest: 'FW', published: 'PU', marks: 'MK', helpers: 'CT', dnat: 'DN', snat: 'SN' }

function kindAndLabel(logical: string): readonly [string, string] {
  const [, zone, part = ''] = /^zone:([^:]*):(\w+)/.exec(logical) ?? []
  if (zone !== undefined) return [zoneKinds[part] ?? 'Z', zone]
  const [, policy] = /^policy:([^:]*)/.exec(logical) ?? []
  if (policy !== undefined) return ['PO', policy]
  return ['H', logical.replace(/-.*-/, '')]
}
