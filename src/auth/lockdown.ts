// Lockdown of firewalld 1.3: besides being allowed, whoever changes the firewall must be on a list, by command line, uid,
// user name or SELinux context. What cannot be found out about a caller matches nothing.
import { readFileSync } from 'node:fs'
import type { LockdownSettings } from '../model/direct.ts'
import type { Subject } from './authority.ts'

/** Text of a file of /proc, null when the process is gone or the kernel does not have it. */
function read(path: string): string | null {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return null // gone, or no SELinux: matches nothing
  }
}

/** The command line as one text: firewalld joins the words with blanks. */
function commandOf(pid: number): string | null {
  const text = read(`/proc/${pid}/cmdline`)
  return text === null ? null : text.split('\0').filter((word, at, words) => word !== '' || at < words.length - 1).join(' ')
}

function userOf(uid: number): string | null {
  const line = (read('/etc/passwd') ?? '').split('\n').find((one) => one.split(':')[2] === String(uid))
  return line?.split(':')[0] ?? null
}

/** Is `command` one of `patterns`, which may end in `*`? */
export function matchesCommand(patterns: readonly string[], command: string): boolean {
  return patterns.some((pattern) => (pattern.endsWith('*') ? command.startsWith(pattern.slice(0, -1)) : command === pattern))
}

export function isOnWhitelist(list: LockdownSettings, { uid, pid }: Subject): boolean {
  if (list.uids.includes(uid)) return true
  const user = list.users.length === 0 ? null : userOf(uid)
  if (user !== null && list.users.includes(user)) return true
  if (pid === undefined) return false
  const command = list.commands.length === 0 ? null : commandOf(pid)
  if (command !== null && matchesCommand(list.commands, command)) return true
  const context = list.contexts.length === 0 ? null : read(`/proc/${pid}/attr/current`)?.replace(/\0.*$/s, '').trim()
  return context !== null && context !== undefined && list.contexts.includes(context)
}
