// The keys of direct configuration and of the lockdown whitelist. In YAML an item is one line of words:
// `ipv4 filter INPUT 0 -p tcp -j ACCEPT`, as `firewall-cmd --direct --get-all-rules` prints it.
import { DerpanetError, printable } from '../errors.ts'
import type { DirectChain, DirectPassthrough, DirectRule, DirectSettings, LockdownSettings } from '../model/direct.ts'
import { emptyDirect, emptyLockdown, parseDirectChain, parseDirectPassthrough, parseDirectRule } from '../model/direct.ts'
import { list, textItem } from './codec.ts'
import type { FieldTable, ItemCodec } from './field.ts'
import type { ObjectKind } from './kinds.ts'
import { joinWords, splitWords } from './words.ts'

export { parseDirectChain, parseDirectPassthrough, parseDirectRule, requireDirectFamily } from '../model/direct.ts'

/** An item of several words, the last of which may repeat. */
function wordsItem<T>(columns: readonly string[], parse: (words: readonly string[]) => T, format: (item: T) => readonly string[]): ItemCodec<T> {
  return { signature: `(${'s'.repeat(columns.length)})`, columns, parse, format, toText: (item) => joinWords(format(item)), fromText: (text) => parse(splitWords(text)) }
}

const chainItem = wordsItem<DirectChain>(['ipv', 'table', 'chain'], (words) => {
  if (words.length !== 3) throw new DerpanetError('INVALID_CHAIN', 'expected family, table and chain')
  return parseDirectChain(words[0]!, words[1]!, words[2]!)
}, ({ ipv, table, chain }) => [ipv, table, chain])

const ruleItem = wordsItem<DirectRule>(['ipv', 'table', 'chain', 'priority', 'args'], (words) => {
  if (words.length < 4) throw new DerpanetError('INVALID_RULE', 'expected family, table, chain, priority and arguments')
  return parseDirectRule(words[0]!, words[1]!, words[2]!, words[3]!, words.slice(4))
}, ({ ipv, table, chain, priority, args }) => [ipv, table, chain, String(priority), ...args])

const passthroughItem = wordsItem<DirectPassthrough>(['ipv', 'args'], (words) => {
  if (words.length === 0) throw new DerpanetError('INVALID_PASSTHROUGH', 'expected family and arguments')
  return parseDirectPassthrough(words[0]!, words.slice(1))
}, ({ ipv, args }) => [ipv, ...args])

export const directFields: FieldTable<DirectSettings> = {
  chains: list(chainItem, 'INVALID_CHAIN', {
    yaml: 'chains', runtime: 'plain', example: '[ipv4 filter my-chain]', doc: 'Chains of your own: family, table, name.',
  }),
  rules: list(ruleItem, 'INVALID_RULE', {
    yaml: 'rules', runtime: 'plain', example: '[ipv4 filter INPUT 0 -p tcp --dport 80 -j ACCEPT]',
    doc: 'Rules as iptables takes them: family, table, chain, priority (lower first), arguments.',
  }),
  passthroughs: list(passthroughItem, 'INVALID_PASSTHROUGH', {
    yaml: 'passthroughs', runtime: 'plain', example: '[ipv4 -t nat -A POSTROUTING -j MASQUERADE]', doc: 'Whole calls of iptables: family, arguments.',
  }),
}

export const directKind: ObjectKind<DirectSettings> = { kind: 'direct', fields: directFields, empty: emptyDirect, check: () => [] }

/** An absolute path with arguments, perhaps with a final `*`. Throws INVALID_COMMAND. */
export function requireCommand(command: string): string {
  if (!/^\/[^\u0000-\u001f\u007f"'\\;|]+$/.test(command) || command.length > 4096) throw new DerpanetError('INVALID_COMMAND', printable(command))
  return command
}

/** An SELinux context: user:role:type[:level]. Throws INVALID_CONTEXT. */
export function requireContext(context: string): string {
  const parts = context.split(':')
  const ok = parts.length >= 3 && parts.every((part) => part !== '') && !/[\s\u0000-\u001f\u007f]/.test(context) && context.length <= 4096
    && parts[0]!.endsWith('_u') && parts[1]!.endsWith('_r') && parts[2]!.endsWith('_t')
  if (!ok) throw new DerpanetError('INVALID_CONTEXT', printable(context))
  return context
}

/** Throws INVALID_USER. */
export function requireUser(user: string): string {
  if (!/^[A-Za-z_][A-Za-z0-9_.-]{0,31}\$?$/.test(user)) throw new DerpanetError('INVALID_USER', printable(user))
  return user
}

/** Throws INVALID_UID. */
export function requireUid(text: string): number {
  if (!/^\d{1,10}$/.test(text) || Number(text) >= 0x7fff_ffff) throw new DerpanetError('INVALID_UID', printable(text))
  return Number(text)
}

const uidItem: ItemCodec<number> = {
  signature: 'i',
  columns: ['uid'],
  parse: (columns) => requireUid(columns[0] ?? ''),
  format: (uid) => [String(uid)],
  toText: String,
  fromText: requireUid,
}

export const lockdownFields: FieldTable<LockdownSettings> = {
  commands: list(textItem('command', requireCommand), 'INVALID_COMMAND', {
    yaml: 'commands', noun: 'Command', runtime: 'plain', example: '[/usr/bin/python3 /usr/bin/firewall-config]', doc: 'Command lines; a final * stands for every ending.',
  }),
  contexts: list(textItem('context', requireContext), 'INVALID_CONTEXT', {
    yaml: 'contexts', noun: 'Context', runtime: 'plain', example: '["system_u:system_r:NetworkManager_t:s0"]', doc: 'SELinux contexts.',
  }),
  users: list(textItem('user', requireUser), 'INVALID_USER', { yaml: 'users', noun: 'User', runtime: 'plain', doc: 'Users by name.' }),
  uids: list(uidItem, 'INVALID_UID', { yaml: 'uids', noun: 'Uid', runtime: 'plain', example: '[0]', doc: 'Users by number.' }),
}

export const lockdownKind: ObjectKind<LockdownSettings> = { kind: 'lockdown', fields: lockdownFields, empty: emptyLockdown, check: () => [] }
