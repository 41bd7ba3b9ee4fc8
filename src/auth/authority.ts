// Who may do what. The action comes from the member table; the answer from polkit, asked about the caller's unique bus
// name, or, where there is no polkit, from the uid alone. Whatever is not answered with yes is no.
//
// 1. uid 0 is never asked about: polkit always says yes to it, and a call of firewall-cmd would wait 40 ms for that.
// 2. Nothing polkit says is remembered: it keeps its own record of who authenticated when.
// 3. The uid of a unique name is remembered until the bus says the name is gone; such names are never used twice.
import { BusError, busErrorNames, type BusClient } from './bus-client.ts'
import type { ActionId } from './actions.ts'

/** A caller as the bus daemon vouches for it. */
export interface Subject {
  /** Unique bus name. */
  readonly name: string
  readonly uid: number
  /** Absent where the bus daemon does not know it. */
  readonly pid?: number
}

/** The refusal a caller sees. `message` is firewalld's text. */
export class NotAuthorizedError extends Error {
  readonly action: ActionId

  constructor(action: ActionId, by: 'polkit' | 'uid') {
    super(`Not Authorized(${by}): ${action}`)
    this.name = 'NotAuthorizedError'
    this.action = action
  }
}

/** The caller left before it could be looked up: there is nobody to answer. */
export class CallerGoneError extends Error {
  override readonly name = 'CallerGoneError'
}

export interface AuthorityLog {
  info(fields: Readonly<Record<string, unknown>>, message: string): void
  warn(fields: Readonly<Record<string, unknown>>, message: string): void
}

export interface Authority {
  /** The subject when the caller may, at once where no question is needed. Rejects or throws NotAuthorizedError, CallerGoneError. */
  authorise(sender: string, action: ActionId): Subject | Promise<Subject>
  /** The bus says the name has no owner any more. */
  forget(sender: string): void
}

/** A person may be typing a password. */
export const polkitTimeoutMs = 60_000
const lookUpTimeoutMs = 25_000

/** Answers that mean "there is no polkit", as against "polkit did not answer". */
const absentNames: ReadonlySet<string> = new Set([
  'org.freedesktop.DBus.Error.ServiceUnknown',
  'org.freedesktop.DBus.Error.NameHasNoOwner',
  'org.freedesktop.DBus.Error.Spawn.ServiceNotFound',
  'org.freedesktop.DBus.Error.Spawn.FileInvalid',
  'org.freedesktop.DBus.Error.Spawn.ExecFailed',
])

interface Options {
  readonly bus: BusClient
  readonly log: AuthorityLog
  /** Callers remembered; beyond it the oldest are looked up again. */
  readonly maxSubjects?: number
}

function numberOf(credentials: unknown, key: string): number | undefined {
  const entry: unknown = credentials instanceof Map ? credentials.get(key) : undefined
  const value: unknown = typeof entry === 'object' && entry !== null && 'value' in entry ? entry.value : undefined
  return typeof value === 'number' ? value : undefined
}

export function createAuthority({ bus, log, maxSubjects = 4096 }: Options): Authority {
  const subjects = new Map<string, Subject | Promise<Subject>>()
  let saidAbsent = false

  async function lookUp(sender: string): Promise<Subject> {
    const [credentials] = await bus.call({
      destination: 'org.freedesktop.DBus', path: '/org/freedesktop/DBus', interface: 'org.freedesktop.DBus',
      member: 'GetConnectionCredentials', signature: 's', body: [sender], timeoutMs: lookUpTimeoutMs,
    }).catch((cause: unknown) => {
      throw new CallerGoneError(`no credentials of ${sender}`, { cause })
    })
    const uid = numberOf(credentials, 'UnixUserID')
    if (uid === undefined) throw new CallerGoneError(`the bus knows no uid of ${sender}`)
    const pid = numberOf(credentials, 'ProcessID')
    return { name: sender, uid, ...(pid === undefined ? {} : { pid }) }
  }

  function subjectOf(sender: string): Subject | Promise<Subject> {
    const known = subjects.get(sender)
    if (known !== undefined) return known
    const found = lookUp(sender).then((subject) => {
      // unless forgotten meanwhile
      if (subjects.get(sender) === found) subjects.set(sender, subject)
      return subject
    }, (error: unknown) => {
      if (subjects.get(sender) === found) subjects.delete(sender)
      throw error
    })
    if (subjects.size >= maxSubjects) {
      const [oldest] = subjects.keys()
      if (oldest !== undefined) subjects.delete(oldest)
    }
    subjects.set(sender, found)
    return found
  }

  /** Throws NotAuthorizedError unless polkit says yes. */
  async function askPolkit(subject: Subject, action: ActionId): Promise<Subject> {
    let reply: readonly unknown[]
    try {
      reply = await bus.call({
        destination: 'org.freedesktop.PolicyKit1', path: '/org/freedesktop/PolicyKit1/Authority',
        interface: 'org.freedesktop.PolicyKit1.Authority', member: 'CheckAuthorization', signature: '(sa{sv})sa{ss}us',
        // 1 = the caller may be asked for a password
        body: [['system-bus-name', { name: { signature: 's', value: subject.name } }], action, {}, 1, ''],
        timeoutMs: polkitTimeoutMs,
      })
    } catch (error) {
      if (!(error instanceof BusError)) throw error
      if (absentNames.has(error.errorName)) {
        if (!saidAbsent) log.info({ error: error.errorName }, 'no polkit on the bus: only uid 0 is allowed anything')
        saidAbsent = true
        throw new NotAuthorizedError(action, 'uid')
      }
      const why = error.errorName === busErrorNames.noReply ? 'polkit did not answer in time' : 'polkit answered with an error'
      log.warn({ action, caller: subject.name, uid: subject.uid, error: error.message }, why)
      throw new NotAuthorizedError(action, 'polkit')
    }
    const [result] = reply
    if (!Array.isArray(result) || result[0] !== true) throw new NotAuthorizedError(action, 'polkit')
    return subject
  }

  return {
    authorise(sender, action) {
      const subject = subjectOf(sender)
      if (subject instanceof Promise) return subject.then((found) => (found.uid === 0 ? found : askPolkit(found, action)))
      return subject.uid === 0 ? subject : askPolkit(subject, action)
    },
    forget(sender) {
      subjects.delete(sender)
    },
  }
}
