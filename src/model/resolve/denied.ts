// log-denied: what the kernel log says of packets that a zone or policy denies at its end, in firewalld's words.
import type { Effect } from '../firewall.ts'
import type { LogDenied } from '../settings.ts'

/** What the kernel's log target takes. */
const maxBytes = 29

/** null = nothing is logged. */
export function deniedLog(which: LogDenied, prefix: string): Effect | null {
  if (which === 'off') return null
  return { kind: 'log', prefix, level: '', ...(which === 'all' ? {} : { packetType: which }) }
}

/** `filter_IN_public_REJECT: `. The name of the zone is cut where the kernel has no room for all of it. */
export function deniedPrefix(hook: 'IN' | 'FWD' | 'OUT', name: string, what: 'REJECT' | 'DROP' | 'ICMP_BLOCK'): string {
  const head = `filter_${hook}_`
  const tail = `_${what}: `
  return head + name.slice(0, maxBytes - head.length - tail.length) + tail
}
