// Direct rules of both worlds: the same members, once on what runs and once on the files.
import {
  parseDirectChain, parseDirectPassthrough, parseDirectRule, requireDirectFamily, type DirectChange, type DirectRule, type DirectSettings,
} from '../../model/direct.ts'
import { directOf } from '../../model/query.ts'
import { directKey, rulesIn } from '../../model/reduce/direct.ts'
import { changedQuietly, integer, permanentSettings, runtimeSettings, text, texts, type Call, type Handlers } from './handler.ts'

interface World {
  readonly read: (call: Call) => DirectSettings
  readonly change: (call: Call, change: DirectChange) => Promise<void>
}

/** The calls that name a chain by its first three arguments. */
const chainArgs = (args: readonly unknown[]) => ({ ipv: text(args, 0), table: text(args, 1), chain: text(args, 2) })
const ruleArgs = (args: readonly unknown[]) => ({ ...chainArgs(args), priority: integer(args, 3), args: texts(args, 4) })
const passthroughArgs = (args: readonly unknown[]) => ({ ipv: text(args, 0), args: texts(args, 1) })

function chainOf(args: readonly unknown[]) {
  const { ipv, table, chain } = chainArgs(args)
  return parseDirectChain(ipv, table, chain)
}

function ruleOf(args: readonly unknown[]): DirectRule {
  const { ipv, table, chain, priority, args: words } = ruleArgs(args)
  return parseDirectRule(ipv, table, chain, String(priority), words)
}

/** As firewalld keeps them: chain by chain, in each as they came. */
function allRules(direct: DirectSettings): readonly DirectRule[] {
  const chains = new Map(direct.rules.map((rule) => [JSON.stringify([rule.ipv, rule.table, rule.chain]), rule]))
  return [...chains.values()].flatMap((chain) => rulesIn(direct, chain))
}

function directHandlers({ read, change }: World): Handlers {
  return {
    addChain: (call, args) => change(call, { kind: 'direct-chain-add', ...chainArgs(args) }),
    removeChain: (call, args) => change(call, { kind: 'direct-chain-remove', ...chainArgs(args) }),
    queryChain: (call, args) => {
      const key = directKey(chainOf(args))
      return read(call).chains.some((chain) => directKey(chain) === key)
    },
    getChains: (call, args) => {
      const { ipv, table } = parseDirectChain(text(args, 0), text(args, 1), '-')
      return read(call).chains.filter((chain) => chain.ipv === ipv && chain.table === table).map(({ chain }) => chain)
    },
    getAllChains: (call) => read(call).chains.map(({ ipv, table, chain }) => [ipv, table, chain]),
    addRule: (call, args) => change(call, { kind: 'direct-rule-add', ...ruleArgs(args) }),
    removeRule: (call, args) => change(call, { kind: 'direct-rule-remove', ...ruleArgs(args) }),
    removeRules: (call, args) => change(call, { kind: 'direct-rules-remove', ...chainArgs(args) }),
    queryRule: (call, args) => {
      const key = directKey(ruleOf(args))
      return read(call).rules.some((rule) => directKey(rule) === key)
    },
    getRules: (call, args) => rulesIn(read(call), chainOf(args)).map(({ priority, args: words }) => [priority, words]),
    getAllRules: (call) => allRules(read(call)).map(({ ipv, table, chain, priority, args }) => [ipv, table, chain, priority, args]),
    addPassthrough: (call, args) => change(call, { kind: 'direct-passthrough-add', ...passthroughArgs(args) }),
    removePassthrough: (call, args) => change(call, { kind: 'direct-passthrough-remove', ...passthroughArgs(args) }),
    queryPassthrough: (call, args) => {
      const key = directKey(parseDirectPassthrough(text(args, 0), texts(args, 1)))
      return read(call).passthroughs.some((passthrough) => directKey(passthrough) === key)
    },
    getPassthroughs: (call, args) => {
      const ipv = requireDirectFamily(text(args, 0))
      return read(call).passthroughs.filter((passthrough) => passthrough.ipv === ipv).map(({ args: words }) => words)
    },
    getAllPassthroughs: (call) => read(call).passthroughs.map(({ ipv, args }) => [ipv, args]),
  }
}

const runtimeWorld: World = { read: (call) => directOf(runtimeSettings(call)), change: changedQuietly }
const permanentWorld: World = {
  read: (call) => directOf(permanentSettings(call)),
  change: (call, change) => call.context.service.changePermanent(change, call.caller),
}

export const runtimeDirectHandlers: Handlers = {
  ...directHandlers(runtimeWorld),
  passthrough: (call, args) => call.context.service.passthrough(text(args, 0), texts(args, 1), call.caller),
  removeAllPassthroughs: (call) => changedQuietly(call, { kind: 'direct-passthroughs-clear' }),
}

type Tuple = readonly [
  readonly (readonly [string, string, string])[],
  readonly (readonly [string, string, string, number, readonly string[]])[],
  readonly (readonly [string, readonly string[]])[],
]

/** Nothing twice. */
function unique<T extends Parameters<typeof directKey>[0]>(items: readonly T[]): readonly T[] {
  return [...new Map(items.map((item) => [directKey(item), item])).values()]
}

/** Throws INVALID_IPV, INVALID_TABLE, INVALID_CHAIN, INVALID_PRIORITY, INVALID_COMMAND. */
function fromTuple([chains, rules, passthroughs]: Tuple): DirectSettings {
  return {
    chains: unique(chains.map(([ipv, table, chain]) => parseDirectChain(ipv, table, chain))),
    rules: unique(rules.map(([ipv, table, chain, priority, args]) => parseDirectRule(ipv, table, chain, String(priority), args))),
    passthroughs: unique(passthroughs.map(([ipv, args]) => parseDirectPassthrough(ipv, args))),
  }
}

export const permanentDirectHandlers: Handlers = {
  ...directHandlers(permanentWorld),
  getSettings: (call) => {
    const direct = permanentWorld.read(call)
    return [
      direct.chains.map(({ ipv, table, chain }) => [ipv, table, chain]),
      direct.rules.map(({ ipv, table, chain, priority, args }) => [ipv, table, chain, priority, args]),
      direct.passthroughs.map(({ ipv, args }) => [ipv, args]),
    ]
  },
  update: (call, args) => call.context.service.changePermanent({ kind: 'direct-update', settings: fromTuple(args[0] as Tuple) }, call.caller),
}
