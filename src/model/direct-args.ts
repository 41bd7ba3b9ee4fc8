// Which arguments of iptables, ip6tables and ebtables a client may give us: the daemon runs them with its own rights, so
// nothing may load code, name a file, wait for ever or leave the table's own commands.
//
// 1. Short options are known one by one; a cluster (-nvL) is read as getopt reads it.
// 2. Long options that load modules, name files or change how the tool locks are refused, in every abbreviation getopt
//    would complete to them. The other long ones belong to matches and targets, which only look at packets.
// 3. Names of matches, targets and tables are words: the tool makes file names of them.
import { DerpanetError, printable } from '../errors.ts'
import type { DirectChain, DirectFamily, DirectRule } from './direct.ts'
import { requireDirectFamily } from './direct.ts'

interface ToolOptions {
  /** Letters of options without a value. */
  readonly flags: string
  /** Letters of options with one: the rest of the word, or the next word. */
  readonly valued: string
  /** Letters whose value may be absent. */
  readonly optional: string
}

const ip: ToolOptions = { flags: 'nvx46hf', valued: 'ADIRNEPCtpsdiojgmc', optional: 'LSFZX' }
const options: Readonly<Record<DirectFamily, ToolOptions>> = {
  ipv4: ip,
  ipv6: ip,
  eb: { flags: 'hVvn', valued: 'ADPNECtpsdiojI', optional: 'LFZX' },
}

/** Long options nobody may give, whole or abbreviated: loading, files, locking, help of other programs. */
const refused: readonly string[] = [
  '--modprobe', '--wait', '--wait-interval', '--atomic-file', '--atomic-init', '--atomic-save', '--atomic-commit', '--init-table',
  '--among-dst-file', '--among-src-file', '--object-pinned', '--bytecode', '--test',
]

/** Options whose value becomes part of a file name. */
const named: ReadonlySet<string> = new Set(['m', 'j', 'g', 't', 'match', 'jump', 'goto', 'table'])

function refuse(word: string): never {
  throw new DerpanetError('INVALID_PASSTHROUGH', `argument '${printable(word)}' is not allowed`)
}

function requireWord(word: string | undefined): void {
  if (word !== undefined && !/^[\p{L}\p{N}_+.:-]+$/u.test(word)) refuse(word)
}

/**
 * `args` as a client gave them, checked. Throws INVALID_IPV, INVALID_COMMAND for none, INVALID_PASSTHROUGH for what may not be
 * said. Whether the tool understands them says the tool.
 */
export function checkToolArgs(ipv: string, args: readonly string[]): { readonly ipv: DirectFamily; readonly args: readonly string[] } {
  const family = requireDirectFamily(ipv)
  if (args.length === 0) throw new DerpanetError('INVALID_COMMAND', 'no arguments')
  args.forEach((word, index) => {
    if (/[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f]/.test(word)) refuse(word)
    if (word.startsWith('--')) checkLong(word, args[index + 1])
    else if (/^-[^0-9]/.test(word)) checkShort(options[family], word, args[index + 1])
    else if (word.includes('/../') || word.startsWith('../')) refuse(word)
  })
  return { ipv: family, args }
}

function checkLong(word: string, next: string | undefined): void {
  const [name = '', value = next] = word.split(/=(.*)/s)
  // `--` ends the options, and what follows would be read otherwise than here
  if (name === '--') refuse(word)
  if (refused.some((whole) => whole.startsWith(name))) refuse(word)
  if (named.has(name.slice(2))) requireWord(value)
}

function checkShort({ flags, valued, optional }: ToolOptions, word: string, next: string | undefined): void {
  for (let at = 1; at < word.length; at++) {
    const letter = word[at]!
    if (flags.includes(letter)) continue
    const rest = word.slice(at + 1)
    if (valued.includes(letter)) {
      if (named.has(letter)) requireWord(rest === '' ? next : rest)
      return
    }
    // -Ln: the letters after an optional value's option are its value for getopt, and options for whoever wrote them
    if (optional.includes(letter)) continue
    refuse(word)
  }
}

/** Words by which a tool is told what to do and where: a rule has none of its own. */
const commands: readonly string[] = [
  '--append', '--delete', '--insert', '--replace', '--list', '--list-rules', '--flush', '--zero', '--new-chain', '--delete-chain', '--policy', '--rename-chain',
  '--check', '--table', '--help', '--version',
]

/** As {@link checkToolArgs} for the words of a rule, and INVALID_PASSTHROUGH for a command or a table among them. */
export function checkDirectRule(rule: DirectRule): void {
  checkDirectChain(rule)
  for (const word of checkToolArgs(rule.ipv, rule.args).args) {
    const isShort = /^-[^-]/.test(word) && /^-[46fnvx]*[ADIRNEPFZXLSCthV]/.test(word) && !(rule.ipv === 'eb' && word === '-I')
    const [name = ''] = word.split('=')
    if (isShort || (name.length > 2 && commands.some((whole) => whole.startsWith(name)))) refuse(word)
  }
}

/** Throws INVALID_CHAIN for a name that no tool takes as one, or that is ours. */
export function checkDirectChain({ chain }: DirectChain): void {
  if (!/^[^\s!-]\S{0,30}$/u.test(chain) || chain.startsWith('DERPA_')) throw new DerpanetError('INVALID_CHAIN', `'${printable(chain)}' cannot be used`)
}

const readers: ReadonlySet<string> = new Set(['list', 'list-rules', 'check', 'help', 'version'])

/** Does it only look? What it prints is then all it does. */
export function onlyReads(args: readonly string[]): boolean {
  const commands = args.filter((word) => /^-[A-Za-z]*[ADIRNEPFZXLSC]/.test(word) || /^--(append|delete|insert|replace|new-chain|rename-chain|policy|flush|zero|delete-chain|list|list-rules|check)/.test(word))
  return commands.length > 0 && commands.every((word) => readers.has(word.slice(2)) || /^-[a-z0-9]*[LSC][a-z0-9]*$/.test(word))
}
