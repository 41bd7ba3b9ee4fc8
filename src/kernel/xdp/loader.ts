// derpanet-load as a function: runs it and reads its JSON lines. What the lines mean for a plan is xdp.ts's business.
import { existsSync } from 'node:fs'
import { printable } from '../../errors.ts'
import type { XdpMode } from '../../model/settings.ts'
import type { Exec } from '../exec.ts'

export type AttachMode = 'native' | 'generic'
/** auto: native, refused where the device would do less for accepted traffic with it. */
export type AskedMode = Exclude<XdpMode, 'off'>

/** One interface as attach and detach answer. */
export interface AttachResult {
  readonly interface: string
  readonly state: 'attached' | 'detached' | 'busy' | 'refused'
  readonly mode?: AttachMode
  readonly reason?: string
}

/** One pinned link. `ifindex` 0 and `state` gone: its interface was removed. `name` is what the interface is called now. */
export interface PinnedLink {
  readonly interface: string
  readonly ifindex: number
  readonly state: 'attached' | 'gone'
  readonly mode: string
  readonly name: string
}

export interface Loader {
  /** Loads or adopts. Returns the version directory's name. Throws an Error whose message is the reason for a person. */
  load(): Promise<{ readonly version: string; readonly adopted: boolean }>
  attach(mode: AskedMode, ifnames: readonly string[]): Promise<readonly AttachResult[]>
  detach(ifnames: readonly string[]): Promise<readonly AttachResult[]>
  links(): Promise<readonly PinnedLink[]>
  unload(): Promise<void>
}

export interface LoaderOptions {
  readonly pinDir: string
  readonly path: string
  readonly object: string
  readonly exec: Exec
}

/** The verifier takes its time on a slow machine, but not for ever. */
const timeoutMs = 60_000

type Line = Readonly<Record<string, unknown>>

export function createLoader({ pinDir, path, object, exec }: LoaderOptions): Loader {
  const run = async (command: string, ...args: readonly string[]): Promise<readonly Line[]> => {
    if (!existsSync(path)) throw new Error(`the loader ${path} is missing`)
    const result = await exec({ command: path, args: [command, '--pin', pinDir, ...args], timeoutMs })
    const lines = result.stdout.split('\n').filter((line) => line !== '').map((line) => JSON.parse(line) as Line)
    const error = lines.find((line) => 'error' in line && !('interface' in line))
    if (error !== undefined) throw new Error(reasonOf(error))
    if (result.exitCode > 1) throw new Error(`derpanet-load ${command}: exit status ${result.exitCode}: ${printable(result.stderr)}`)
    return lines
  }
  const perInterface = (lines: readonly Line[]): AttachResult[] => lines.filter((line) => 'state' in line) as unknown as AttachResult[]

  return {
    async load() {
      const line = (await run('load', '--object', object, '--mount')).find((each) => 'version' in each)
      if (line === undefined) throw new Error('derpanet-load load: no answer')
      return { version: String(line['version']), adopted: line['adopted'] === true }
    },
    attach: async (mode, ifnames) => perInterface(await run('attach', '--mode', mode, ...ifnames)),
    detach: async (ifnames) => perInterface(await run('detach', ...ifnames)),
    links: async () => (await run('status', '--json')).filter((line) => 'ifindex' in line) as unknown as PinnedLink[],
    unload: async () => void (await run('unload')),
  }
}

/** libbpf's log goes with it in one line: the last words of the verifier are the reason. */
function reasonOf(line: Line): string {
  const libbpf = typeof line['libbpf'] === 'string' ? line['libbpf'].trim().split('\n').slice(-3).join(' | ') : ''
  return printable(`${String(line['error'])}${libbpf === '' ? '' : ` (${libbpf})`}`, 500)
}
