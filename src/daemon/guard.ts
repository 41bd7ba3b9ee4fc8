// The guard of a change that waits for its confirmation: a process of its own, so that a daemon that died, hangs or was
// stopped takes nobody's way back with it. It knows nothing of firewalls: it watches a note and a lock.
import type { Log } from '../log.ts'
import type { PendingChange, WayBackFile } from '../state/way-back.ts'
import { pause, type Clock } from './clock.ts'

export interface GuardEdges {
  readonly file: WayBackFile
  readonly clock: Clock
  readonly log: Log
  /** Becomes the one writer of this network namespace, unless somebody else is. */
  takeLock(): Promise<boolean>
  /** Kills the daemon that made the change, if it is still that process. */
  kill(pending: PendingChange): void
  /** Brings back what was in force. Only with the lock. Rejects when it cannot, and is asked again. */
  goBack(): Promise<void>
}

const lookEveryMs = 50
/** A daemon that lives takes its change back itself, and needs so long at most. */
const graceMs = 800
const againMs = 1000

/** A note that cannot be understood would be looked at for ever. */
function readNote(file: WayBackFile, log: Log): PendingChange | null {
  try {
    return file.read()
  } catch (error) {
    log.error({ error }, 'the note about an unconfirmed change cannot be read and is removed')
    file.remove()
    return null
  }
}

/** Without it a daemon that starts now says that another one runs, instead of waiting. */
function beginWork(file: WayBackFile, log: Log): void {
  try {
    file.beginWork()
  } catch (error) {
    log.error({ error }, 'it cannot be written down that a guard is at work')
  }
}

/** Somebody waits to be let in again: what fails (a lock that another program holds, no memory) is tried until it works. */
async function insist(goBack: () => Promise<void>, clock: Clock, log: Log): Promise<void> {
  for (;;) {
    try {
      return await goBack()
    } catch (error) {
      log.error({ error }, 'the unconfirmed change cannot be taken back yet')
      await pause(clock, againMs)
    }
  }
}

/** Ends when the change is settled, by whomever. Resolves with what came of it. */
export async function watchOver({ file, clock, log, takeLock, kill, goBack }: GuardEdges): Promise<'nothing' | 'settled' | 'went back'> {
  const first = readNote(file, log)
  if (first === null) return 'nothing'
  file.writeGuard(first.id)
  log.info({ generation: first.generation, dueInMs: first.dueMs - clock.monotonicMs() }, 'guard watches a change that waits for its confirmation')
  let killed = false
  for (;;) {
    const pending = file.read()
    if (pending === null || pending.id !== first.id) return 'settled'
    const lateMs = clock.monotonicMs() - pending.dueMs
    if (lateMs >= 0 && await takeLock()) {
      // It may have been settled between looking and locking.
      if (file.read()?.id !== first.id) return 'settled'
      beginWork(file, log)
      log.warn({ generation: pending.generation }, 'guard takes an unconfirmed change back: no daemon does')
      await insist(goBack, clock, log)
      return 'went back'
    }
    if (lateMs >= graceMs && !killed) {
      log.warn({ generation: pending.generation, pid: pending.pid }, 'guard ends a daemon that does not take its change back')
      kill(pending)
      killed = true
    }
    await pause(clock, lookEveryMs)
  }
}
