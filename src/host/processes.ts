// What /proc says about a process. Under a sandbox that hides other users' processes there is nothing to be seen.
import { readFileSync } from 'node:fs'

/** When it started, in clock ticks since boot, as text; with the pid it names one process for ever. null = there is none. */
export function startOf(pid: number): string | null {
  const stat = read(`/proc/${pid}/stat`)
  // the name in parentheses may hold anything, parentheses too
  return stat === null ? null : stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? null
}

/** systemd unit or session scope it runs in: `ssh.service`, `session-4.scope`. null where it cannot be seen. */
export function unitOf(pid: number): string | null {
  return /^0::.*?([^/]+\.(?:service|scope))(?:\/[^/]*)?$/m.exec(read(`/proc/${pid}/cgroup`) ?? '')?.[1] ?? null
}

function read(path: string): string | null {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    if (['ENOENT', 'ESRCH', 'EACCES', 'EPERM'].includes((error as NodeJS.ErrnoException).code ?? '')) return null
    throw error
  }
}
