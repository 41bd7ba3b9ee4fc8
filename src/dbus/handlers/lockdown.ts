// Lockdown: works in the face of 1.3. In 2.x every call is accepted and does nothing, and every question is answered with
// nothing.
import type { LockdownSettings } from '../../model/direct.ts'
import { isLockedDown, lockdownOf } from '../../model/query.ts'
import { lockdownFields } from '../../settings/direct.ts'
import type { AnyField } from '../../settings/field.ts'
import { fieldRows } from '../../settings/field.ts'
import type { Face } from '../members.ts'
import { changedQuietly, permanentSettings, runtimeSettings, type Call, type Handlers } from './handler.ts'

type Key = keyof LockdownSettings
type Item = string | number

interface Row {
  readonly key: Key
  readonly noun: string
  readonly field: AnyField & { readonly shape: 'list' }
}

const rows: readonly Row[] = fieldRows(lockdownFields).flatMap(([key, field]) =>
  field.shape === 'list' && field.noun !== undefined ? [{ key, noun: field.noun, field }] : [])

/** Throws INVALID_COMMAND, INVALID_CONTEXT, INVALID_USER, INVALID_UID. */
function itemOf({ field }: Row, args: readonly unknown[]): Item {
  return field.item.parse([String(args[0])]) as Item
}

interface World {
  readonly read: (call: Call) => LockdownSettings
  readonly change: (call: Call, verb: 'add' | 'remove', field: Key, item: Item) => Promise<void>
}

const runtimeWorld: World = {
  read: (call) => lockdownOf(runtimeSettings(call)),
  change: (call, verb, field, item) => changedQuietly(call, { kind: `lockdown-item-${verb}`, field, item }),
}

const permanentWorld: World = {
  read: (call) => lockdownOf(permanentSettings(call)),
  change: (call, verb, field, item) => call.context.service.changePermanent({ kind: `lockdown-item-${verb}`, field, item }, call.caller),
}

function whitelistHandlers({ read, change }: World): Handlers {
  return Object.fromEntries(rows.flatMap((row) => {
    const { key, noun } = row
    return [
      [`addLockdownWhitelist${noun}`, (call: Call, args: readonly unknown[]) => change(call, 'add', key, itemOf(row, args))],
      [`removeLockdownWhitelist${noun}`, (call: Call, args: readonly unknown[]) => change(call, 'remove', key, itemOf(row, args))],
      [`queryLockdownWhitelist${noun}`, (call: Call, args: readonly unknown[]) => (read(call)[key] as readonly unknown[]).includes(args[0])],
      [`getLockdownWhitelist${noun}s`, (call: Call) => read(call)[key]],
    ]
  })) as Handlers
}

const nothing = (): readonly unknown[] => []
const no = (): boolean => false
const accepted = (): undefined => undefined

const idleWhitelist: Handlers = Object.fromEntries(rows.flatMap(({ noun }) => [
  [`addLockdownWhitelist${noun}`, accepted],
  [`removeLockdownWhitelist${noun}`, accepted],
  [`queryLockdownWhitelist${noun}`, no],
  [`getLockdownWhitelist${noun}s`, nothing],
]))

export function lockdownHandlers(face: Face): Handlers {
  if (face === '2.5') return { ...idleWhitelist, enableLockdown: accepted, disableLockdown: accepted, queryLockdown: no }
  return {
    ...whitelistHandlers(runtimeWorld),
    enableLockdown: (call) => changedQuietly(call, { kind: 'lockdown-set', on: true }),
    disableLockdown: (call) => changedQuietly(call, { kind: 'lockdown-set', on: false }),
    queryLockdown: (call) => isLockedDown(runtimeSettings(call)),
  }
}

/** The tuple of the older calls. */
type Tuple = readonly [readonly string[], readonly string[], readonly string[], readonly number[]]

function toTuple({ commands, contexts, users, uids }: LockdownSettings): Tuple {
  return [commands, contexts, users, uids]
}

function fromTuple(value: unknown): LockdownSettings {
  const columns = value as readonly (readonly Item[])[]
  const order: readonly Key[] = ['commands', 'contexts', 'users', 'uids']
  return Object.fromEntries(order.map((key, index) => {
    const row = rows.find((one) => one.key === key)!
    return [key, [...new Set((columns[index] ?? []).map((item) => itemOf(row, [item])))]]
  })) as unknown as LockdownSettings
}

export function permanentLockdownHandlers(face: Face): Handlers {
  // uid 0 is what firewalld 2 answers whatever was set
  if (face === '2.5') return { ...idleWhitelist, getLockdownWhitelist: () => [[], [], [], [0]], setLockdownWhitelist: accepted }
  return {
    ...whitelistHandlers(permanentWorld),
    getLockdownWhitelist: (call) => toTuple(permanentWorld.read(call)),
    setLockdownWhitelist: (call, args) =>
      call.context.service.changePermanent({ kind: 'lockdown-update', settings: fromTuple(args[0]) }, call.caller),
  }
}
