// Direct configuration and the lockdown whitelist: what clients of firewalld store beside zones and policies. Their shapes,
// how a client writes them, and what changes them.
import { DerpanetError, printable } from '../errors.ts'

/** ipv4, ipv6 or eb (bridges). */
export type DirectFamily = 'ipv4' | 'ipv6' | 'eb'

export interface DirectChain {
  readonly ipv: DirectFamily
  readonly table: string
  readonly chain: string
}

/** `args`: the arguments of iptables, one word each, at least one. Lower priorities come first. */
export interface DirectRule extends DirectChain {
  readonly priority: number
  readonly args: readonly string[]
}

export interface DirectPassthrough {
  readonly ipv: DirectFamily
  readonly args: readonly string[]
}

/** Lists keep the order of insertion and hold nothing twice. */
export interface DirectSettings {
  readonly chains: readonly DirectChain[]
  readonly rules: readonly DirectRule[]
  readonly passthroughs: readonly DirectPassthrough[]
}

/** Who may change the firewall while lockdown is on. A command may end in `*`: every command line that begins so. */
export interface LockdownSettings {
  readonly commands: readonly string[]
  readonly contexts: readonly string[]
  readonly users: readonly string[]
  readonly uids: readonly number[]
}

export const emptyDirect: DirectSettings = { chains: [], rules: [], passthroughs: [] }
export const emptyLockdown: LockdownSettings = { commands: [], contexts: [], users: [], uids: [] }
/** Where no file says otherwise. Without root in it, lockdown could not be switched off again. */
export const defaultLockdown: LockdownSettings = { ...emptyLockdown, uids: [0] }

/** The tables a chain may be in. */
export const directTables: Readonly<Record<DirectFamily, readonly string[]>> = {
  ipv4: ['security', 'raw', 'mangle', 'nat', 'filter'],
  ipv6: ['security', 'raw', 'mangle', 'nat', 'filter'],
  eb: ['broute', 'nat', 'filter'],
}

const ipChains: Readonly<Record<string, readonly string[]>> = {
  security: ['INPUT', 'OUTPUT', 'FORWARD'],
  raw: ['PREROUTING', 'OUTPUT'],
  mangle: ['PREROUTING', 'POSTROUTING', 'INPUT', 'OUTPUT', 'FORWARD'],
  nat: ['PREROUTING', 'POSTROUTING', 'INPUT', 'OUTPUT'],
  filter: ['INPUT', 'OUTPUT', 'FORWARD'],
}

/** The kernel's own chains of each table. */
export const builtinChains: Readonly<Record<DirectFamily, Readonly<Record<string, readonly string[]>>>> = {
  ipv4: ipChains,
  ipv6: ipChains,
  eb: { broute: ['BROUTING'], nat: ['PREROUTING', 'POSTROUTING', 'OUTPUT'], filter: ['INPUT', 'OUTPUT', 'FORWARD'] },
}

/** What a call says, unchecked: the same in both worlds. */
export type DirectChange =
  | { readonly kind: 'direct-chain-add' | 'direct-chain-remove'; readonly ipv: string; readonly table: string; readonly chain: string }
  | {
      readonly kind: 'direct-rule-add' | 'direct-rule-remove'
      readonly ipv: string; readonly table: string; readonly chain: string; readonly priority: number; readonly args: readonly string[]
    }
  /** All rules of a chain; none is fine. */
  | { readonly kind: 'direct-rules-remove'; readonly ipv: string; readonly table: string; readonly chain: string }
  | { readonly kind: 'direct-passthrough-add' | 'direct-passthrough-remove'; readonly ipv: string; readonly args: readonly string[] }
  | { readonly kind: 'direct-passthroughs-clear' }

export type DirectEvent =
  | ({ readonly kind: 'direct-chain-added' | 'direct-chain-removed' } & DirectChain)
  | ({ readonly kind: 'direct-rule-added' | 'direct-rule-removed' } & DirectRule)
  | ({ readonly kind: 'direct-passthrough-added' | 'direct-passthrough-removed' } & DirectPassthrough)

/** Throws INVALID_IPV. */
export function requireDirectFamily(ipv: string): DirectFamily {
  if (Object.hasOwn(directTables, ipv)) return ipv as DirectFamily
  throw new DerpanetError('INVALID_IPV', `'${printable(ipv)}' not in '${Object.keys(directTables).join("', '")}'`)
}

/** Throws INVALID_IPV, INVALID_TABLE, INVALID_CHAIN. Chain names are not limited here: the tools say how long they may be. */
export function parseDirectChain(ipv: string, table: string, chain: string): DirectChain {
  const family = requireDirectFamily(ipv)
  if (!directTables[family].includes(table)) {
    throw new DerpanetError('INVALID_TABLE', `'${printable(table)}' not in '${directTables[family].join("', '")}'`)
  }
  if (chain === '') throw new DerpanetError('INVALID_CHAIN', 'a chain needs a name')
  refuseControls(chain)
  return { ipv: family, table, chain }
}

/** Throws like {@link parseDirectChain}, INVALID_PRIORITY, INVALID_COMMAND. */
export function parseDirectRule(ipv: string, table: string, chain: string, priority: string, args: readonly string[]): DirectRule {
  if (!/^[+-]?\d{1,10}$/.test(priority) || Math.abs(Number(priority)) > 0x7fff_ffff) {
    throw new DerpanetError('INVALID_PRIORITY', `'${printable(priority)}' is not a valid priority`)
  }
  return { ...parseDirectChain(ipv, table, chain), priority: Number(priority) || 0, args: requireArgs(args) }
}

/** Throws INVALID_IPV, INVALID_COMMAND. */
export function parseDirectPassthrough(ipv: string, args: readonly string[]): DirectPassthrough {
  return { ipv: requireDirectFamily(ipv), args: requireArgs(args) }
}

function requireArgs(args: readonly string[]): readonly string[] {
  if (args.length === 0) throw new DerpanetError('INVALID_COMMAND', 'no arguments')
  for (const arg of args) refuseControls(arg)
  return args
}

/** Words of a command line; a newline in a comment is legal for iptables and kept. */
function refuseControls(word: string): void {
  if (/[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f]/.test(word)) throw new DerpanetError('INVALID_COMMAND', `control character in '${printable(word)}'`)
}
