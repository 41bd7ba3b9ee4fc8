// Direct configuration: bookkeeping of chains, rules and passthroughs, for both worlds. What the tools make of the
// arguments is not known here.
import { DerpanetError, printable } from '../../errors.ts'
import type { Reduced } from '../change.ts'
import { builtinChains, parseDirectChain, parseDirectPassthrough, parseDirectRule } from '../direct.ts'
import type { DirectChain, DirectChange, DirectEvent, DirectPassthrough, DirectRule, DirectSettings } from '../direct.ts'
import { directOf } from '../query.ts'
import type { Runtime } from '../settings.ts'
import { reduced, withSettings } from './world.ts'

export interface DirectReduced {
  readonly direct: DirectSettings
  readonly events: readonly DirectEvent[]
}

/** Equal keys are the same thing. */
export function directKey({ ipv, ...rest }: DirectChain | DirectRule | DirectPassthrough): string {
  const { table = '', chain = '', priority = '', args = [] } = rest as Partial<DirectRule>
  return JSON.stringify([ipv, table, chain, priority, args])
}

function has<T extends DirectChain | DirectPassthrough>(list: readonly T[], item: T): boolean {
  const key = directKey(item)
  return list.some((other) => directKey(other) === key)
}

function without<T extends DirectChain | DirectPassthrough>(list: readonly T[], item: T): readonly T[] {
  const key = directKey(item)
  return list.filter((other) => directKey(other) !== key)
}

const shownChain = ({ ipv, table, chain }: DirectChain): string => printable(`${ipv}:${table}:${chain}`)
const shownArgs = (args: readonly string[]): string => printable(args.join(' '))

/** Throws what the item's parser throws, ALREADY_ENABLED, NOT_ENABLED. */
export function reduceDirect(direct: DirectSettings, change: DirectChange): DirectReduced {
  switch (change.kind) {
    case 'direct-chain-add': {
      const chain = parseDirectChain(change.ipv, change.table, change.chain)
      if (has(direct.chains, chain)) throw new DerpanetError('ALREADY_ENABLED', `chain '${printable(chain.chain)}' already is in '${chain.ipv}:${chain.table}'`)
      return { direct: { ...direct, chains: [...direct.chains, chain] }, events: [{ kind: 'direct-chain-added', ...chain }] }
    }
    case 'direct-chain-remove': {
      const chain = parseDirectChain(change.ipv, change.table, change.chain)
      if (!has(direct.chains, chain)) throw new DerpanetError('NOT_ENABLED', `chain '${printable(chain.chain)}' is not in '${chain.ipv}:${chain.table}'`)
      return { direct: { ...direct, chains: without(direct.chains, chain) }, events: [{ kind: 'direct-chain-removed', ...chain }] }
    }
    case 'direct-rule-add': {
      const rule = parseDirectRule(change.ipv, change.table, change.chain, String(change.priority), change.args)
      if (has(direct.rules, rule)) throw new DerpanetError('ALREADY_ENABLED', `rule '${shownArgs(rule.args)}' already is in '${shownChain(rule)}'`)
      return { direct: { ...direct, rules: [...direct.rules, rule] }, events: [{ kind: 'direct-rule-added', ...rule }] }
    }
    case 'direct-rule-remove': {
      const rule = parseDirectRule(change.ipv, change.table, change.chain, String(change.priority), change.args)
      if (!has(direct.rules, rule)) throw new DerpanetError('NOT_ENABLED', `rule '${shownArgs(rule.args)}' is not in '${shownChain(rule)}'`)
      return { direct: { ...direct, rules: without(direct.rules, rule) }, events: [{ kind: 'direct-rule-removed', ...rule }] }
    }
    case 'direct-rules-remove': {
      const chain = parseDirectChain(change.ipv, change.table, change.chain)
      const gone = rulesIn(direct, chain)
      if (gone.length === 0) return { direct, events: [] }
      return {
        direct: { ...direct, rules: direct.rules.filter((rule) => !gone.includes(rule)) },
        events: gone.map((rule) => ({ kind: 'direct-rule-removed', ...rule })),
      }
    }
    case 'direct-passthrough-add': {
      const passthrough = parseDirectPassthrough(change.ipv, change.args)
      if (has(direct.passthroughs, passthrough)) throw new DerpanetError('ALREADY_ENABLED', `passthrough '${passthrough.ipv}', '${shownArgs(passthrough.args)}'`)
      return { direct: { ...direct, passthroughs: [...direct.passthroughs, passthrough] }, events: [{ kind: 'direct-passthrough-added', ...passthrough }] }
    }
    case 'direct-passthrough-remove': {
      const passthrough = parseDirectPassthrough(change.ipv, change.args)
      if (!has(direct.passthroughs, passthrough)) throw new DerpanetError('NOT_ENABLED', `passthrough '${passthrough.ipv}', '${shownArgs(passthrough.args)}'`)
      return { direct: { ...direct, passthroughs: without(direct.passthroughs, passthrough) }, events: [{ kind: 'direct-passthrough-removed', ...passthrough }] }
    }
    case 'direct-passthroughs-clear':
      return {
        direct: direct.passthroughs.length === 0 ? direct : { ...direct, passthroughs: [] },
        events: direct.passthroughs.map((passthrough) => ({ kind: 'direct-passthrough-removed', ...passthrough })),
      }
  }
}

/** As they came. */
export function rulesIn(direct: DirectSettings, { ipv, table, chain }: DirectChain): readonly DirectRule[] {
  return direct.rules.filter((rule) => rule.ipv === ipv && rule.table === table && rule.chain === chain)
}

/** As {@link reduceDirect}, and what the kernel would refuse: BUILTIN_CHAIN, and COMMAND_FAILED for a chain that still has rules. */
export function changeDirect(runtime: Runtime, change: DirectChange): Reduced<Runtime> {
  const before = directOf(runtime.settings)
  if (change.kind === 'direct-chain-add' || change.kind === 'direct-chain-remove') {
    const chain = parseDirectChain(change.ipv, change.table, change.chain)
    if (builtinChains[chain.ipv][chain.table]?.includes(chain.chain) === true) {
      throw new DerpanetError('BUILTIN_CHAIN', `chain '${printable(chain.chain)}' is built-in chain`)
    }
    if (/^(DERPA|derpa)[_-]/.test(chain.chain)) throw new DerpanetError('BUILTIN_CHAIN', `chain '${printable(chain.chain)}' is reserved`)
    if (change.kind === 'direct-chain-remove' && has(before.chains, chain) && rulesIn(before, chain).length > 0) {
      throw new DerpanetError('COMMAND_FAILED', `chain '${printable(chain.chain)}' still has rules`)
    }
  }
  const { direct, events } = reduceDirect(before, change)
  if (direct === before) return reduced(runtime, '', [])
  const entry = runtime.settings.direct ?? { layer: 'runtime' as const, positions: new Map() }
  return reduced(withSettings(runtime, { direct: { ...entry, value: direct } }), '', events)
}
