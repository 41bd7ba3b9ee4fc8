// Whether this host's kernel sends packets on that are not for it. Switched on where a configuration needs it, never off:
// somebody else may need it too.
import { readFile, writeFile } from 'node:fs/promises'
import type { Family } from '../model/addr.ts'

/** Of the network namespace this process is in. */
const switches: Readonly<Record<Family, string>> = {
  ipv4: '/proc/sys/net/ipv4/ip_forward',
  ipv6: '/proc/sys/net/ipv6/conf/all/forwarding',
}

/** Returns the families in which it was off and is on now. Throws an Error naming the file that cannot be written. */
export async function enableForwarding(families: readonly Family[]): Promise<readonly Family[]> {
  const changed: Family[] = []
  for (const family of families) {
    const file = switches[family]
    try {
      if ((await readFile(file, 'utf8')).trim() !== '0') continue
      await writeFile(file, '1')
    } catch (error) {
      throw new Error(`switch on ${family} forwarding: ${(error as Error).message}`, { cause: error })
    }
    changed.push(family)
  }
  return changed
}
