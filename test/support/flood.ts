// A flood of callers on a private bus and an admin who asks meanwhile: what flood.c does, and what each process took for it.
import { execFileSync } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { pidOf, processorTimesMs, repository, type PrivateHost, type Running } from './private-host.ts'

/** Of a hundred callers, those of root and those of a user who may nothing: what `flood` takes as KIND:COUNT. */
export interface Flood {
  readonly asRoot: readonly string[]
  readonly asNobody?: readonly string[]
}

/** One sort of caller at a time, and all of them together. */
export const floods: Readonly<Record<string, Flood>> = {
  wait: { asRoot: ['wait:100'] },
  pipe: { asRoot: ['pipe:100'] },
  mute: { asRoot: ['mute:100'] },
  deaf: { asRoot: ['deaf:100'] },
  big: { asRoot: ['big:100'] },
  change: { asRoot: ['port:100'] },
  look: { asRoot: ['look:100'] },
  mix: {
    asRoot: ['getter:30', 'port:10', 'look:8', 'rule:2', 'big:8', 'introspect:8', 'mute:6', 'deaf:5', 'permanent:3', 'reload:1', 'unknown:4', 'names:5'],
    asNobody: ['getter:6', 'port:2', 'look:2'],
  },
}

export interface Admin {
  /** Microseconds. */
  readonly getter: readonly number[]
  readonly change: readonly number[]
  /** Microseconds that bus and service ran meanwhile. */
  readonly getterCpu: readonly number[]
  readonly changeCpu: readonly number[]
  readonly getterFailed: number
  readonly changeFailed: number
  /** 1: the last one was not answered ten seconds after the end, and counts as what it has waited by then. */
  readonly getterWaiting: number
  readonly changeWaiting: number
}

export type Told = Readonly<Record<string, { readonly sent: number; readonly answered: number; readonly refused: number }>>

export interface Flooded {
  readonly admin: Admin
  readonly told: readonly Told[]
  /** Share of one processor, in percent, while the admin asked. */
  readonly processors: Readonly<Record<'bus' | 'service' | 'callers', number>>
  /** Of the bus daemon, in MB, at the end. */
  readonly busMb: number
}

export function quantileMs(samples: readonly number[], share: number): number {
  const sorted = [...samples].sort((a, b) => a - b)
  return (sorted[Math.ceil(sorted.length * share) - 1] ?? Infinity) / 1000
}

/** Builds what floods into a folder that every user may enter. */
export function buildFlood(folder: string, source: 'flood' | 'null-service' = 'flood'): string {
  const program = join(folder, source)
  execFileSync('chmod', ['755', folder])
  execFileSync('gcc', ['-O2', '-Wall', '-o', program, join(repository, `test/support/${source}.c`), '-lsystemd'])
  return program
}

export async function askAsAdmin(host: PrivateHost, program: string, seconds: number, watched: readonly number[] = []): Promise<Admin> {
  return JSON.parse(await host.firewall.ok([program, String(seconds), 'admin', ...watched.map(String)], { timeoutMs: (seconds + 90) * 1000 })) as Admin
}

/** Pids inside the host, by the name of the program. */
export async function pidsOf(host: PrivateHost, name: string): Promise<readonly number[]> {
  const { stdout } = await host.firewall.run(['pidof', '-x', name])
  return stdout.trim().split(/\s+/).filter((pid) => pid !== '').map(Number)
}

/** Pid inside the host of what was started there. */
export async function innerPid(running: Running): Promise<number> {
  const status = await readFile(`/proc/${pidOf(running)}/status`, 'utf8')
  return Number(/^NSpid:.*\s(\d+)$/m.exec(status)?.[1])
}

/** Processor time so far in ms; without that of children that ended. */
async function processorMs(host: PrivateHost, pids: readonly number[]): Promise<number> {
  let sum = 0
  for (const pid of pids) {
    const [user = 0, system = 0] = processorTimesMs(await readFile(host.path(`/proc/${pid}/stat`), 'utf8'))
    sum += user + system
  }
  return sum
}

export async function statusMb(host: PrivateHost, pid: number, key: 'VmRSS' | 'VmHWM'): Promise<number> {
  return Number(new RegExp(`^${key}:\\s+(\\d+) kB`, 'm').exec(await readFile(host.path(`/proc/${pid}/status`), 'utf8'))?.[1]) / 1024
}

interface FloodOptions {
  readonly program: string
  /** Inside the host. */
  readonly servicePid: number
  readonly flood: Flood
  readonly seconds: number
  /** Calls a second of each of the two users; absent = as many as go. */
  readonly rate?: number
}

/** Floods for so long; the admin begins half a second later and ends half a second before. Rejects when a flood fails. */
export async function flood(host: PrivateHost, options: FloodOptions): Promise<Flooded> {
  const { program, servicePid, seconds, rate, flood: { asRoot, asNobody = [] } } = options
  const time = rate === undefined ? String(seconds) : `${seconds}@${rate}`
  const user = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups']
  const commands = [[program, time, ...asRoot], ...(asNobody.length === 0 ? [] : [[...user, program, time, ...asNobody]])]
  const flooding = commands.map((argv) => host.firewall.run(argv, { timeoutMs: (seconds + 120) * 1000 }))
  await new Promise((resolve) => setTimeout(resolve, 500))
  const groups = { bus: await pidsOf(host, 'dbus-daemon'), service: [servicePid], callers: await pidsOf(host, 'flood') }
  const took = async (): Promise<readonly number[]> => Promise.all(Object.values(groups).map((pids) => processorMs(host, pids)))
  const [begun, before] = [performance.now(), await took()]
  const asking = askAsAdmin(host, program, seconds - 1, [...groups.bus, servicePid])
  // before the callers end, who must still be there to be looked at
  await new Promise((resolve) => setTimeout(resolve, (seconds - 1.5) * 1000))
  const [elapsedMs, after] = [performance.now() - begun, await took()]
  const [bus] = groups.bus
  const busMb = bus === undefined ? NaN : await statusMb(host, bus, 'VmRSS')
  const admin = await asking
  const told = (await Promise.all(flooding)).map(({ status, stdout, stderr }) => {
    if (status !== 0) throw new Error(`a flood ended with ${status}: ${stderr}`)
    return JSON.parse(stdout) as Told
  })
  const share = (index: number): number => (((after[index] ?? NaN) - (before[index] ?? NaN)) / elapsedMs) * 100
  return { admin, told, processors: { bus: share(0), service: share(1), callers: share(2) }, busMb }
}
