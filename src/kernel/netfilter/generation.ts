// nf_tables counts its commits. While the count stays the same nobody, whoever it is, has changed a rule, and nothing needs
// to be read again.
import type { Nfnetlink } from './nfnetlink.ts'
import { readAttributes, readNumber } from './nfnetlink.ts'

const subsystem = 10
const getGeneration = 16
const generationId = 1

/** null where the kernel has no nf_tables. */
export async function readGeneration(netlink: Nfnetlink): Promise<number | null> {
  const [answer] = await netlink.ask([{ type: (subsystem << 8) | getGeneration, flags: 0, body: new Uint8Array() }])
  const message = answer!.messages[0]
  return answer!.error !== 0 || message === undefined ? null : readNumber(readAttributes(message).get(generationId))
}
