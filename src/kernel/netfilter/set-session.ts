// Edits of live sets through one `ipset -` that stays: starting a program from a process of our size costs more (4 ms) than
// everything else a changed port costs.
import { CommandError, type OpenSession, type Session } from '../exec.ts'

/** Takes lines as `ipset restore` does; rejects with CommandError when one of them fails (the others may be done). */
export type EditLines = (lines: string) => Promise<void>

const timeoutMs = 120_000

export class SetSession {
  private session: Session | null = null
  private asked = 0

  constructor(private readonly open: OpenSession) {}

  /**
   * ipset says nothing after a success. So each block ends with a command it cannot know, whose error names our number.
   */
  async edit(lines: string): Promise<void> {
    if (this.session === null || !this.session.alive) this.session = this.open('ipset', ['-'])
    const end = `derpanet-end-${++this.asked}`
    const said = await this.session.ask(`${lines}${lines.endsWith('\n') ? '' : '\n'}create derpanet ${end}\n`, (line) => line.includes(`'${end}'`), timeoutMs)
    if (said.length > 0) throw new CommandError({ command: 'ipset', args: ['-'] }, 'refused', 1, said.join('\n'))
  }

  /** It remembers types of sets by name: to be called when sets came or went, before their names are used again. */
  forget(): void {
    this.session?.close()
    this.session = null
  }
}
