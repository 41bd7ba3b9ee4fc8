// A netlink socket in the network namespace of a private host: a thread may step into a namespace, make the socket there and
// step back; the socket stays where it was made.
import { closeSync, openSync } from 'node:fs'
import koffi from 'koffi'
import { openRawSocket, type RawSocket } from '../../src/kernel/netfilter/nfnetlink.ts'

const cloneNewNet = 0x4000_0000
const setns = koffi.load('libc.so.6').func('int setns(int fd, int type)') as (fd: number, type: number) => number

/** `namespace` is a name below /run/netns. Calls into koffi are made by this very thread, so nobody else is moved. */
export function openSocketIn(namespace: string): RawSocket {
  const here = openSync('/proc/thread-self/ns/net', 'r')
  const there = openSync(`/run/netns/${namespace}`, 'r')
  try {
    if (setns(there, cloneNewNet) !== 0) throw new Error(`setns to ${namespace} failed`)
    return openRawSocket()
  } finally {
    if (setns(here, cloneNewNet) !== 0) throw new Error('setns back failed')
    closeSync(there)
    closeSync(here)
  }
}
