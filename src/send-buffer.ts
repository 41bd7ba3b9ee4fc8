// The send buffer of a socket, through koffi: Node offers no way to make it smaller.
import { createRequire } from 'node:module'

const solSocket = 1
const soSndbuf = 7
/** The kernel doubles it and allows no less than 4608: of a Unix socket two pieces of 2 KiB then. */
const leastBytes = 2304

/** What is written into this socket and not read yet is a few KiB at most from now on. Throws when the kernel refuses. */
export function narrowSendBuffer(fd: number): void {
  const koffi = createRequire(import.meta.url)('koffi') as { load(path: string): { func(prototype: string): (...args: unknown[]) => number } }
  const setsockopt = koffi.load('libc.so.6').func('int setsockopt(int fd, int level, int name, const int *value, uint32_t length)')
  if (setsockopt(fd, solSocket, soSndbuf, [leastBytes], 4) !== 0) throw new Error(`the send buffer of descriptor ${fd} cannot be set`)
}
