// What a tool's complaint is about: the line number it names, turned into the rule that stood there.
import { printable } from '../../errors.ts'
import { CommandError } from '../exec.ts'

/** `iptables-restore …: exit status 2: …: line 118: -A DERPA_… `; `text` = what the tool read, null where it is too big to keep. */
export function describeFailure(error: unknown, text: string | null): string {
  const message = (error as Error).message
  if (!(error instanceof CommandError)) return message
  const number = /\bline:? (\d+)/i.exec(error.stderr)?.[1]
  if (number === undefined || text === null) return message
  const line = text.split('\n')[Number(number) - 1]
  return line === undefined || line === '' ? message : `${message}: line ${number} is: ${printable(line)}`
}
