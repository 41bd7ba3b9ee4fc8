// Which connection helpers this kernel has. It says so only when a rule asks for one, so a rule in a chain that nothing
// calls asks, once in a daemon's life.
import type { Plan } from '../../compile/plan.ts'
import { helperNames, withoutHelpers } from '../../compile/helpers.ts'
import { entryChainName } from '../../compile/netfilter/names.ts'
import { helperWord } from '../../compile/netfilter/words.ts'
import type { Exec } from '../exec.ts'
import type { Tools } from './tools.ts'

const probe = entryChainName('PROBE')

export class Helpers {
  private readonly present = new Map<string, boolean>()

  constructor(private readonly exec: Exec, private readonly log: (message: string, fields: Readonly<Record<string, unknown>>) => void) {}

  /** Names that the kernel was asked for in vain. */
  missing(): readonly string[] {
    return [...this.present].filter(([, present]) => !present).map(([name]) => name)
  }

  /** The plan without the helpers that this kernel does not have. */
  async possible(plan: Plan, tools: Tools): Promise<Plan> {
    for (const name of helperNames(plan)) {
      if (this.present.has(name)) continue
      const present = await this.ask(name, tools)
      this.present.set(name, present)
      if (!present) this.log('helper not in this kernel', { helper: name })
    }
    return withoutHelpers(plan, (name) => this.present.get(name) === false)
  }

  private async ask(name: string, tools: Tools): Promise<boolean> {
    for (const protocol of ['tcp', 'udp']) {
      const rules = [`*raw`, `:${probe} - [0:0]`, `-A ${probe} -p ${protocol} -j CT --helper ${helperWord(name)}`, 'COMMIT', '']
      const { exitCode } = await this.exec({ command: tools.restore.ipv4, args: ['--noflush', '-w', '5'], input: rules.join('\n') })
      if (exitCode !== 0) continue
      const gone = ['*raw', `-F ${probe}`, `-X ${probe}`, 'COMMIT', '']
      await this.exec({ command: tools.restore.ipv4, args: ['--noflush', '-w', '5'], input: gone.join('\n') })
      return true
    }
    return false
  }
}
