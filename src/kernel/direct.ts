// Direct chains, rules and passthroughs of firewalld's clients as a Dataplane: a third class of kernel objects, neither ours
// nor foreign. What was put there is written down, so that a restart goes on from it and purge takes it away.
//
// A rule for one of the kernel's chains stands in NAME_direct, which is called right behind our own jumps: our verdict on the
// packet is given in an earlier table (docs/adr/0001), so what a direct rule accepts was let in already, and what it denies is
// denied. Everything goes to the tools as single arguments of single calls; no text is put together that a tool would split.
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { Family, Plan } from '../compile/plan.ts'
import { DerpanetError, printable } from '../errors.ts'
import { builtinChains, emptyDirect } from '../model/direct.ts'
import type { DirectChain, DirectFamily, DirectPassthrough, DirectRule, DirectSettings } from '../model/direct.ts'
import type { ApplyReport, Counters, Dataplane, DataplaneStatus, Drift } from './dataplane.ts'
import { keyOf, missingOf, type Home, type Missing } from './direct-look.ts'
import type { Passthrough } from './passthrough.ts'
import { readStateFile, writeStateFile } from './state-file.ts'

export interface DirectOptions {
  /** Runs one tool; rejects with COMMAND_FAILED and what it said. */
  readonly run: Passthrough
  /** Text that changes when somebody changes rules of these tables; null = nobody can tell. Absent = nothing is looked at. */
  readonly sign?: (tables: readonly (readonly [Family, string])[]) => Promise<string | null>
  /** A directory of our own that does not outlive the kernel's tables; created when missing. */
  readonly stateDir: string
}

interface Step {
  readonly ipv: DirectFamily
  readonly args: readonly string[]
  /** What takes it back; null = nothing does. */
  readonly undo: readonly string[] | null
  /** It is about to go: that it is gone already is as good. */
  readonly removes?: true
}

const fileName = 'direct.json'
/** Where nobody can tell whether something changed, and for bridges: their tool may be of another variant than ours. */
const lookEveryMs = 30_000
const nothingDrifted: Drift = { lines: [], by: null }
const layout = 1

export function createDirect(options: DirectOptions): Dataplane {
  return new Direct(options)
}

class Direct implements Dataplane {
  readonly name = 'direct'
  private present: DirectSettings | null = null
  private problem: string | null = null
  /** What others took away, until it is put back. */
  private missing: Missing | null = null
  /** When everything was there last. */
  private seen: { readonly sign: string | null; readonly atMs: number } | null = null

  constructor(private readonly options: DirectOptions) {}

  async apply(plan: Plan): Promise<ApplyReport> {
    const started = performance.now()
    const before = await this.known()
    const wanted = plan.direct ?? emptyDirect
    if (before === wanted && this.missing === null) return { summary: 'nothing to do', elapsedMs: performance.now() - started }
    try {
      const count = await this.change(await this.whatIsLeft(before), wanted)
      this.missing = null
      this.problem = null
      return { summary: `${count} calls`, elapsedMs: performance.now() - started }
    } catch (error) {
      this.problem = (error as Error).message
      throw error
    }
  }

  async drift(): Promise<Drift> {
    const { present, options: { sign } } = this
    if (present === null || sign === undefined || present.chains.length + present.rules.length + present.passthroughs.length === 0) return nothingDrifted
    const now = await sign(tablesOf(present))
    const isRecent = this.seen !== null && performance.now() - this.seen.atMs < lookEveryMs
    const isSame = now === null ? isRecent : now === this.seen?.sign && (isRecent || !hasBridgeRules(present))
    if (isSame) return nothingDrifted
    const missing = await missingOf(present, homeOfRule, this.options.run)
    if (missing.lines.length === 0) {
      this.seen = { sign: now, atMs: performance.now() }
      return nothingDrifted
    }
    this.missing = missing
    return { lines: missing.lines, by: null }
  }

  /** Takes away what is left of chains that others damaged, so that they can be written anew. */
  private async whatIsLeft(before: DirectSettings): Promise<DirectSettings> {
    const { missing } = this
    if (missing === null) return before
    const damaged = new Set(missing.homes.map(keyOf))
    const gone = new Set(missing.chains.map(keyOf))
    const lost = new Set(missing.passthroughs.map((one) => JSON.stringify(one)))
    for (const { ipv, table, chain, hook } of missing.homes) {
      const leftovers = hook === null ? [['-F', chain]] : [['-D', hook, '-j', chain], ['-F', chain], ['-X', chain]]
      for (const words of leftovers) await this.take({ ipv, args: ['-t', table, ...words], undo: null, removes: true })
    }
    return {
      chains: before.chains.filter((chain) => !gone.has(keyOf(chain))),
      rules: before.rules.filter((rule) => !damaged.has(keyOf(homeOfRule(rule)))),
      passthroughs: before.passthroughs.filter((one) => !lost.has(JSON.stringify(one))),
    }
  }

  counters(): Promise<Counters> {
    return Promise.resolve(new Map())
  }

  async status(): Promise<DataplaneStatus> {
    const { chains, rules, passthroughs } = await this.known()
    const count = chains.length + rules.length + passthroughs.length
    const details = count === 0 ? [] : [{ subject: 'direct', text: `${chains.length} chains, ${rules.length} rules, ${passthroughs.length} passthroughs` }]
    if (this.problem !== null) return { name: this.name, state: 'degraded', details: [...details, { subject: 'last failure', text: this.problem }] }
    return { name: this.name, state: count === 0 ? 'off' : 'ok', details }
  }

  async purge(): Promise<void> {
    await this.change(await this.known(), emptyDirect)
    await rm(join(this.options.stateDir, fileName), { force: true })
  }

  /** Number of calls. After a failure what was done is taken back, the last first. */
  private async change(before: DirectSettings, wanted: DirectSettings): Promise<number> {
    const steps = stepsBetween(before, wanted)
    const done: Step[] = []
    try {
      for (const step of steps) {
        await this.take(step)
        done.push(step)
      }
    } catch (error) {
      const failures: string[] = []
      for (const { ipv, undo } of done.reverse()) {
        if (undo !== null) await this.options.run(ipv, undo).catch((failure: Error) => failures.push(failure.message))
      }
      if (failures.length > 0) throw new DerpanetError('COMMAND_FAILED', `${(error as Error).message}; and not taken back: ${failures.join('; ')}`, { cause: error })
      throw error
    }
    if (steps.length > 0) await this.write(wanted)
    this.present = wanted
    return steps.length
  }

  private async take({ ipv, args, removes }: Step): Promise<void> {
    try {
      await this.options.run(ipv, isHook(args) ? await this.behindOurs(ipv, args) : args)
    } catch (error) {
      if (removes === true && /matching rule exist|No chain|does not exist|doesn't exist|Bad rule|not found|no such file|couldn't load target/i.test((error as Error).message)) return
      throw error
    }
  }

  /** The jump into a direct chain comes right behind the jumps into ours. */
  private async behindOurs(ipv: DirectFamily, args: readonly string[]): Promise<readonly string[]> {
    if (ipv === 'eb') return args
    const [, table = '', , chain = '', , ...rest] = args
    const listed = (await this.options.run(ipv, ['-t', table, '-S', chain])).split('\n').filter((line) => line.startsWith('-A '))
    const foreign = listed.findIndex((line) => !/ -[jg] DERPA_\S+$/.test(line))
    return ['-t', table, '-I', chain, String((foreign < 0 ? listed.length : foreign) + 1), ...rest]
  }

  private async known(): Promise<DirectSettings> {
    this.present ??= await this.read()
    return this.present
  }

  private async read(): Promise<DirectSettings> {
    const text = await readStateFile(join(this.options.stateDir, fileName))
    if (text === null) return emptyDirect
    const file = JSON.parse(text) as { layout: number; direct: DirectSettings }
    if (file.layout !== layout) throw new Error(`direct.json has layout ${file.layout}, not ${layout}`)
    return file.direct
  }

  private async write(direct: DirectSettings): Promise<void> {
    await writeStateFile(join(this.options.stateDir, fileName), JSON.stringify({ layout, direct }))
  }
}

/** What has to go goes first, callers before what they call; what comes the other way round. */
export function stepsBetween(before: DirectSettings, wanted: DirectSettings): readonly Step[] {
  const gone = <T>(old: readonly T[], next: readonly T[]): readonly T[] => {
    const kept = new Set(next.map((one) => JSON.stringify(one)))
    return old.filter((one) => !kept.has(JSON.stringify(one)))
  }
  const rulesLeft = before.rules.filter((rule) => !gone(before.rules, wanted.rules).includes(rule))
  const steps: Step[] = []
  for (const { ipv, args } of [...gone(before.passthroughs, wanted.passthroughs)].reverse()) {
    const undo = reversed(args)
    if (undo !== null) steps.push({ ipv, args: undo, undo: args, removes: true })
  }
  for (const rule of gone(before.rules, wanted.rules)) steps.push(removal(rule, rulesLeft))
  for (const [chain, hooked] of hooksOf(before.rules)) {
    if (!hooksOf(wanted.rules).has(chain)) steps.push(...hookSteps(hooked).map(invert).reverse())
  }
  for (const chain of [...gone(before.chains, wanted.chains)].reverse()) steps.push(invert(newChain(chain, chain.chain)))
  for (const chain of gone(wanted.chains, before.chains)) steps.push(newChain(chain, chain.chain))
  for (const [chain, hooked] of hooksOf(wanted.rules)) if (!hooksOf(before.rules).has(chain)) steps.push(...hookSteps(hooked))
  const standing = [...rulesLeft]
  for (const rule of gone(wanted.rules, before.rules)) {
    steps.push(addition(rule, standing))
    standing.push(rule)
  }
  for (const { ipv, args } of gone(wanted.passthroughs, before.passthroughs)) steps.push(passing({ ipv, args }))
  return steps
}

function passing({ ipv, args }: DirectPassthrough): Step {
  return { ipv, args, undo: reversed(args) }
}

function invert({ ipv, args, undo }: Step): Step {
  return { ipv, args: undo ?? [], undo: args, removes: true }
}

/** The kernel's chain a rule is for, named so or by its NAME_direct, which clients of firewalld know; null = another chain. */
function hookOf({ ipv, table, chain }: DirectChain): string | null {
  return builtinChains[ipv][table]?.find((name) => chain === name || chain === `${name}_direct`) ?? null
}

/** The chain a rule really stands in. */
function homeOf(rule: DirectChain): string {
  const hook = hookOf(rule)
  return hook === null ? rule.chain : `${hook}_direct`
}

function homeOfRule(rule: DirectRule): Home {
  return { ipv: rule.ipv, table: rule.table, chain: homeOf(rule), hook: hookOf(rule) }
}

/** Those that can be looked at. */
function tablesOf({ chains, rules, passthroughs }: DirectSettings): readonly (readonly [Family, string])[] {
  const named = [...chains, ...rules, ...passthroughs.map(({ ipv, args }) => ({ ipv, table: tableOf(args) }))]
  return [...new Set(named.flatMap(({ ipv, table }) => (ipv === 'eb' ? [] : [`${ipv} ${table}`])))].map((text) => text.split(' ') as [Family, string])
}

function hasBridgeRules({ chains, rules }: DirectSettings): boolean {
  return [...chains, ...rules].some(({ ipv }) => ipv === 'eb')
}

function tableOf(args: readonly string[]): string {
  const at = args.findIndex((word) => word === '-t' || word === '--table')
  return at < 0 ? 'filter' : args[at + 1] ?? 'filter'
}

/** The kernel's chains that rules are for, each once. */
function hooksOf(rules: readonly DirectRule[]): ReadonlyMap<string, DirectChain> {
  return new Map(rules.flatMap(({ ipv, table, chain }) => {
    const hook = hookOf({ ipv, table, chain })
    return hook === null ? [] : [[JSON.stringify([ipv, table, hook]), { ipv, table, chain: hook }] as const]
  }))
}

function hookSteps(of: DirectChain): readonly Step[] {
  const { ipv, table, chain } = of
  const jump = ['-j', homeOf(of)]
  return [newChain(of, homeOf(of)), { ipv, args: ['-t', table, '-I', chain, '1', ...jump], undo: ['-t', table, '-D', chain, ...jump] }]
}

function isHook(args: readonly string[]): boolean {
  return args.length === 7 && args[2] === '-I' && args[5] === '-j' && args[6] === `${args[3]}_direct`
}

/** A chain of ebtables ends in ACCEPT unless told otherwise. */
function newChain({ ipv, table }: DirectChain, name: string): Step {
  return { ipv, args: ['-t', table, '-N', name, ...(ipv === 'eb' ? ['-P', 'RETURN'] : [])], undo: ['-t', table, '-X', name] }
}

/** Behind those of its chain that have its priority or a smaller one. */
function addition(rule: DirectRule, standing: readonly DirectRule[]): Step {
  const { ipv, table, args } = rule
  const at = placeOf(rule, standing)
  return { ipv, args: ['-t', table, '-I', homeOf(rule), String(at), ...args], undo: ['-t', table, '-D', homeOf(rule), ...args] }
}

function removal(rule: DirectRule, staying: readonly DirectRule[]): Step {
  const { args, undo, ipv } = addition(rule, staying)
  return { ipv, args: undo ?? [], undo: args, removes: true }
}

function placeOf(rule: DirectRule, standing: readonly DirectRule[]): number {
  const before = standing.filter((one) => one.ipv === rule.ipv && one.table === rule.table && homeOf(one) === homeOf(rule) && one.priority <= rule.priority)
  return before.length + 1
}

const inverse: Readonly<Record<string, string>> = {
  '-A': '-D', '--append': '-D', '-I': '-D', '--insert': '-D', '-N': '-X', '--new-chain': '-X',
}

/** The call that takes this one back; null = there is none. */
function reversed(args: readonly string[]): readonly string[] | null {
  const at = args.findIndex((word) => Object.hasOwn(inverse, word))
  if (at < 0) return null
  const isNumbered = (args[at] === '-I' || args[at] === '--insert') && /^\d+$/.test(args[at + 2] ?? '')
  return [...args.slice(0, at), inverse[args[at]!]!, ...args.slice(at + 1, at + 2), ...args.slice(at + (isNumbered ? 3 : 2))]
}
