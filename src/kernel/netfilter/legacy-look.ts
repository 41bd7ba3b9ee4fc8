// A cheap look at the legacy variant's tables: how many rules and bytes each has, and where its hooks begin. Nobody is told of
// changes there, and a process of iptables-legacy-save a second would be a hundred times dearer than these system calls.
import { createRequire } from 'node:module'
import type { Family } from '../../model/addr.ts'

/** Text that changes when rules come or go; null where it cannot be told (no such table, no right). */
export type ReadTableInfo = (family: Family, table: string) => string | null

/** IPT_SO_GET_INFO and IP6T_SO_GET_INFO are the same number, each on its own level. */
const getInfo = 64
/** struct ipt_getinfo: name[32], valid_hooks, hook_entry[5], underflow[5], num_entries, size. */
const infoBytes = 84
const nameBytes = 32
const levels: Readonly<Record<Family, { readonly domain: number; readonly level: number }>> = { ipv4: { domain: 2, level: 0 }, ipv6: { domain: 10, level: 41 } }
const socketRaw = 3
const protocolRaw = 255

/** For tables that exist: asking for one makes the kernel load it. Sockets belong to the network namespace of the first call. */
export function createTableInfo(): ReadTableInfo {
  const sockets: Partial<Record<Family, number>> = {}
  let libc: { socket(domain: number, type: number, protocol: number): number; getsockopt(fd: number, level: number, name: number, value: Uint8Array, length: Uint32Array): number } | null = null
  const load = (): NonNullable<typeof libc> => {
    const koffi = createRequire(import.meta.url)('koffi') as { load(path: string): { func(prototype: string): (...args: unknown[]) => number } }
    const library = koffi.load('libc.so.6')
    return {
      socket: library.func('int socket(int domain, int type, int protocol)') as (domain: number, type: number, protocol: number) => number,
      getsockopt: library.func('int getsockopt(int fd, int level, int name, _Inout_ void *value, _Inout_ uint32_t *length)') as NonNullable<typeof libc>['getsockopt'],
    }
  }
  return (family, table) => {
    libc ??= load()
    const { domain, level } = levels[family]
    const fd = sockets[family] ??= libc.socket(domain, socketRaw, protocolRaw)
    if (fd < 0) return null
    const info = Buffer.alloc(infoBytes)
    info.write(table, 0, nameBytes - 1, 'latin1')
    return libc.getsockopt(fd, level, getInfo, info, Uint32Array.of(infoBytes)) === 0 ? info.toString('base64', nameBytes) : null
  }
}
