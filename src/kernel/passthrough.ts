// One call of iptables, ip6tables or ebtables for a client: run as it is, its output given back. Arguments are checked
// before (model/direct-args.ts); nothing is remembered.
import type { DirectFamily } from '../model/direct.ts'
import { DerpanetError, printable } from '../errors.ts'
import type { Exec } from './exec.ts'

export type Passthrough = (ipv: DirectFamily, args: readonly string[]) => Promise<string>

const tools: Readonly<Record<DirectFamily, readonly [command: string, lock: readonly string[]]>> = {
  ipv4: ['iptables', ['-w', '10']],
  ipv6: ['ip6tables', ['-w', '10']],
  eb: ['ebtables', ['--concurrent']],
}

const timeoutMs = 30_000
/** A reply may be 16 MiB. */
const maxOutputBytes = 15 * 1024 * 1024

/** `variant`: the one our own rules use, where it was chosen. Rejects with COMMAND_FAILED and what the tool said. */
export function createPassthrough(exec: Exec, variant: 'nft' | 'legacy' | null = null): Passthrough {
  return async (ipv, args) => {
    const [command, lock] = tools[ipv]
    const program = variant === null ? command : `${command}-${variant}`
    let result
    try {
      result = await exec({ command: program, args: [...lock, ...args], timeoutMs, maxOutputBytes })
    } catch (error) {
      throw new DerpanetError('COMMAND_FAILED', (error as Error).message, { cause: error })
    }
    if (result.exitCode === 0) return result.stdout
    throw new DerpanetError('COMMAND_FAILED', printable(`'${program} ${[...lock, ...args].join(' ')}' failed: ${result.stderr.trim()}`, 1000))
  }
}
