// Says when network links appear, vanish or change their name. Names and meaning are the caller's business.
import { createRequire } from 'node:module'

/** The little of the module `netlink` that is used; its parsers of attributes alone would be half a megabyte in memory. */
interface NetlinkSocket {
  addMembership(group: number): void
  on(event: 'message', listener: (messages: readonly { readonly type: number }[]) => void): void
  on(event: 'error', listener: (error: Error) => void): void
  readonly socket: { close(): void }
}

/** linux/netlink.h and linux/rtnetlink.h */
const netlinkRoute = 0
const groupLink = 1
const newLink = 16
const delLink = 17
const quietMs = 50

/**
 * Calls `onChange` once things are quiet for 50 ms. Links of the network namespace of this process. Losing messages is
 * harmless: the caller reads the links anew each time. The result stops it.
 */
export function watchLinks(onChange: () => void): () => void {
  const require = createRequire(import.meta.url)
  const { createNetlink } = require('netlink/dist/netlink') as { createNetlink(protocol: number, options: { ref: boolean }): NetlinkSocket }
  const socket = createNetlink(netlinkRoute, { ref: false })
  let quiet: NodeJS.Timeout | null = null
  const note = (): void => {
    if (quiet !== null) clearTimeout(quiet)
    quiet = setTimeout(onChange, quietMs)
    quiet.unref()
  }
  socket.on('message', (messages) => {
    if (messages.some(({ type }) => type === newLink || type === delLink)) note()
  })
  // ENOBUFS: too many at once, some are lost. Something has changed.
  socket.on('error', note)
  socket.addMembership(groupLink)
  return () => {
    if (quiet !== null) clearTimeout(quiet)
    socket.socket.close()
  }
}
