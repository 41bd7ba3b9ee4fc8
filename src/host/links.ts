// Says when network links appear, vanish or change their name. Names and meaning are the caller's business.
import { createRequire } from 'node:module'

/** The little of the module `netlink` that is used: it is loaded only when something watches links. */
interface LinkSocket {
  addMembership(group: 'LINK'): void
  on(event: 'message', listener: (parts: readonly { readonly kind: string }[]) => void): void
  on(event: 'invalid', listener: (error: unknown) => void): void
  readonly socket: { readonly socket: { close(): void } }
}

const quietMs = 50

/**
 * Calls `onChange` once things are quiet for 50 ms. Links of the network namespace of this process. Losing messages is
 * harmless: the caller reads the links anew each time. The result stops it.
 */
export function watchLinks(onChange: () => void): () => void {
  const require = createRequire(import.meta.url)
  const { createRtNetlink } = require('netlink') as { createRtNetlink(options: { ref: boolean }): LinkSocket }
  const socket = createRtNetlink({ ref: false })
  let quiet: NodeJS.Timeout | null = null
  const note = (): void => {
    if (quiet !== null) clearTimeout(quiet)
    quiet = setTimeout(onChange, quietMs)
    quiet.unref()
  }
  socket.on('message', (parts) => {
    if (parts.some((part) => part.kind === 'link')) note()
  })
  // A message the module cannot parse may still have been about a link.
  socket.on('invalid', note)
  socket.addMembership('LINK')
  return () => {
    if (quiet !== null) clearTimeout(quiet)
    socket.socket.socket.close()
  }
}
