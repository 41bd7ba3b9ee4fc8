// sd_notify: tells systemd what the daemon is doing. Silent and free when no NOTIFY_SOCKET was given.
import { createRequire } from 'node:module'

export interface Notifier {
  /** Rules are in force. */
  ready(status: string): void
  /** A reload begins; ready() ends it. */
  reloading(): void
  stopping(): void
  status(text: string): void
  /** Milliseconds between two watchdog() calls, or null when systemd does not watch. */
  readonly watchdogIntervalMs: number | null
  watchdog(): void
}

/** `send` is replaced in tests; by default libsystemd's sd_notify through koffi, loaded only when needed. */
export function createNotifier(env: NodeJS.ProcessEnv, send: ((state: string) => void) | null = null): Notifier {
  const wanted = env['NOTIFY_SOCKET'] !== undefined && env['NOTIFY_SOCKET'] !== ''
  const notify = wanted ? (send ?? loadSdNotify()) : () => {}
  const oneLine = (text: string): string => text.replace(/\s+/g, ' ')
  return {
    ready: (status) => notify(`READY=1\nSTATUS=${oneLine(status)}`),
    // systemd 253 asks for the time of a reload's beginning, older ones ignore it.
    reloading: () => notify(`RELOADING=1\nMONOTONIC_USEC=${process.hrtime.bigint() / 1000n}`),
    stopping: () => notify('STOPPING=1'),
    status: (text) => notify(`STATUS=${oneLine(text)}`),
    watchdogIntervalMs: wanted ? watchdogIntervalMs(env) : null,
    watchdog: () => notify('WATCHDOG=1'),
  }
}

/** A third of the limit: two beats may be late before systemd acts. */
function watchdogIntervalMs(env: NodeJS.ProcessEnv): number | null {
  const limitUsec = Number(env['WATCHDOG_USEC'] ?? '')
  const forUs = env['WATCHDOG_PID'] === undefined || env['WATCHDOG_PID'] === String(process.pid)
  return forUs && Number.isFinite(limitUsec) && limitUsec > 0 ? Math.max(100, Math.floor(limitUsec / 3000)) : null
}

function loadSdNotify(): (state: string) => void {
  const koffi = createRequire(import.meta.url)('koffi') as { load(path: string): { func(prototype: string): (unset: number, state: string) => number } }
  const sdNotify = koffi.load('libsystemd.so.0').func('int sd_notify(int unset_environment, const char *state)')
  return (state) => {
    const result = sdNotify(0, state)
    if (result < 0) throw new Error(`sd_notify: errno ${-result}`)
  }
}
