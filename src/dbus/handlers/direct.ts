// Direct rules and lockdown. Nothing of direct can be set yet, so there is nothing to list; changes are not implemented
// and say so. Lockdown does nothing in firewalld 2, and that is complete here.
import type { Face } from '../members.ts'
import type { Handlers } from './handler.ts'

const nothing = (): readonly unknown[] => []
const no = (): boolean => false
const accepted = (): undefined => undefined

export const directReaders: Handlers = {
  queryChain: no,
  getChains: nothing,
  getAllChains: nothing,
  queryRule: no,
  getRules: nothing,
  getAllRules: nothing,
  queryPassthrough: no,
  getPassthroughs: nothing,
  getAllPassthroughs: nothing,
}

export const permanentDirectReaders: Handlers = { ...directReaders, getSettings: () => [[], [], []] }

const whitelistNouns = ['Command', 'Uid', 'User', 'Context'] as const

const lockdownReaders: Handlers = {
  queryLockdown: no,
  ...Object.fromEntries(whitelistNouns.flatMap((noun) => [
    [`queryLockdownWhitelist${noun}`, no],
    [`getLockdownWhitelist${noun}s`, nothing],
  ])),
}

/** In face 1.3 lockdown would have to work, so there the changes are not implemented. */
export function lockdownHandlers(face: Face): Handlers {
  if (face === '1.3') return lockdownReaders
  return {
    ...lockdownReaders,
    enableLockdown: accepted,
    disableLockdown: accepted,
    ...Object.fromEntries(whitelistNouns.flatMap((noun) => [
      [`addLockdownWhitelist${noun}`, accepted],
      [`removeLockdownWhitelist${noun}`, accepted],
    ])),
  }
}

export function permanentLockdownHandlers(face: Face): Handlers {
  const { enableLockdown: _enable, disableLockdown: _disable, queryLockdown: _query, ...rest } = lockdownHandlers(face)
  return {
    ...rest,
    // uid 0 is what firewalld 2 answers whatever was set
    getLockdownWhitelist: () => [[], [], [], [0]],
    ...(face === '2.5' ? { setLockdownWhitelist: accepted } : {}),
  }
}
