// The socket table of this network namespace: which connections others have to this host, by which interface they come,
// and which of them a process hangs on. Reads /proc and asks `ip`; what a connection may do is not its business.
import { readdir, readFile, readlink } from 'node:fs/promises'
import { formatAddr, type Family } from '../model/addr.ts'
import { isSameConnection, parseConnection, unmapped, type Connection, type SeenConnection } from '../model/connection.ts'
import { execOk, type Exec } from '../kernel/exec.ts'

interface Socket extends Connection {
  readonly inode: string
}

const tables: readonly (readonly [Family, string])[] = [['ipv4', '/proc/net/tcp'], ['ipv6', '/proc/net/tcp6']]
const stateEstablished = '01'
const stateListen = '0A'
/** Whoever has more peers than this sees those only that are asked for by name. */
const maxConnections = 500

/** Established connections to a port that somebody listens on; without `ip`'s knowledge of the way. Loopback is left out. */
export async function incomingConnections(): Promise<readonly Connection[]> {
  const { established, listening } = await readSockets()
  return established.filter((socket) => listening.has(socket.localPort) && !isLoopback(socket))
}

/** Where packets of these connections come in, by the route back: the same for both ways on every host but few. */
export async function locate(exec: Exec, connections: readonly Connection[]): Promise<readonly SeenConnection[]> {
  const wanted = connections.slice(0, maxConnections)
  if (wanted.length === 0) return []
  const [interfaces, macs] = await Promise.all([routes(exec, wanted), neighbours(exec)])
  return wanted.flatMap((connection, index) => {
    const mac = macs.get(formatAddr(connection.family, connection.peer))
    return (interfaces[index] ?? []).map((name) => ({ ...connection, interface: name, ...(mac === undefined ? {} : { mac }) }))
  })
}

/** Link-local peers can be behind any interface. */
async function routes(exec: Exec, connections: readonly Connection[]): Promise<readonly (readonly string[])[]> {
  const { stdout: links } = await execOk(exec, { command: 'ip', args: ['-json', 'link', 'show', 'up'] })
  const all = (JSON.parse(links) as { ifname: string; link_type: string }[]).filter(({ link_type }) => link_type !== 'loopback').map(({ ifname }) => ifname)
  const found = new Map<string, string>()
  const peers = [...new Set(connections.filter((one) => !isLinkLocal(one)).map(({ family, peer }) => formatAddr(family, peer)))]
  const { stdout } = await exec({ command: 'ip', args: ['-oneline', '-force', '-batch', '-'], input: peers.map((peer) => `route get ${peer}\n`).join('') })
  for (const line of stdout.split('\n')) {
    const [, peer, device] = /^(\S+) .*?\bdev (\S+)/.exec(line) ?? []
    if (peer !== undefined && device !== undefined) found.set(peer, device)
  }
  return connections.map((one) => {
    const device = found.get(formatAddr(one.family, one.peer))
    return device === undefined ? all : [device]
  })
}

async function neighbours(exec: Exec): Promise<ReadonlyMap<string, string>> {
  const { stdout } = await execOk(exec, { command: 'ip', args: ['-json', 'neigh', 'show'] })
  const rows = JSON.parse(stdout === '' ? '[]' : stdout) as { dst: string; lladdr?: string }[]
  return new Map(rows.flatMap(({ dst, lladdr }) => (lladdr === undefined ? [] : [[dst, lladdr.toLowerCase()]])))
}

/**
 * The connections that the process `pid` and its ancestors hang on: sockets that one of them has open, and what sshd wrote
 * into their environment. In tmux or screen, whose server is nobody's child, also every other connection to the same port.
 * What this process may not read of others is not found.
 */
export async function sessionsOf(pid: number): Promise<readonly Connection[]> {
  const { established } = await readSockets()
  const byInode = new Map(established.filter((socket) => !isLoopback(socket)).map((socket) => [socket.inode, socket]))
  const found: Connection[] = []
  let detached = false
  for (const ancestor of await ancestry(pid)) {
    for (const inode of await socketInodes(ancestor)) {
      const socket = byInode.get(inode)
      if (socket !== undefined) found.push(socket)
    }
    const environment = (await readIfAllowed(`/proc/${ancestor}/environ`)).split('\0')
    const ssh = environment.find((word) => word.startsWith('SSH_CONNECTION='))
    const connection = ssh === undefined ? null : parseConnection(ssh.slice('SSH_CONNECTION='.length))
    if (connection !== null) found.push(connection)
    detached ||= environment.some((word) => word.startsWith('TMUX=') || word.startsWith('STY='))
  }
  if (detached) {
    const ports = new Set(found.length === 0 ? [22] : found.map(({ localPort }) => localPort))
    found.push(...established.filter((socket) => ports.has(socket.localPort) && !isLoopback(socket)))
  }
  return found.filter((one, index) => found.findIndex((other) => isSameConnection(one, other)) === index)
    .map(({ family, peer, peerPort, local, localPort }) => ({ family, peer, peerPort, local, localPort }))
}

/** `pid` and its parents up to process 1, which is nobody's session. */
async function ancestry(pid: number): Promise<readonly number[]> {
  const found: number[] = []
  for (let current = pid; current > 1 && !found.includes(current) && found.length < 64;) {
    found.push(current)
    const stat = await readIfAllowed(`/proc/${current}/stat`)
    // the name in parentheses may hold anything, parentheses too
    current = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1] ?? 0)
  }
  return found
}

async function socketInodes(pid: number): Promise<readonly string[]> {
  const folder = `/proc/${pid}/fd`
  const names = await readdir(folder).catch(absent<string[]>([]))
  const targets = await Promise.all(names.map((name) => readlink(`${folder}/${name}`).catch(absent(''))))
  return targets.flatMap((target) => /^socket:\[(\d+)\]$/.exec(target)?.[1] ?? [])
}

async function readIfAllowed(path: string): Promise<string> {
  return readFile(path, 'utf8').catch(absent(''))
}

/** A process that ended meanwhile, or one of another user. */
function absent<T>(instead: T): (error: unknown) => T {
  return (error) => {
    if (['ENOENT', 'ESRCH', 'EACCES', 'EPERM'].includes((error as NodeJS.ErrnoException).code ?? '')) return instead
    throw error
  }
}

async function readSockets(): Promise<{ readonly established: readonly Socket[]; readonly listening: ReadonlySet<number> }> {
  const established: Socket[] = []
  const listening = new Set<number>()
  for (const [family, path] of tables) {
    const text = await readFile(path, 'utf8').catch(absent('')) // a host without IPv6 has no such table
    for (const line of text.split('\n').slice(1)) {
      const [, local = '', peer = '', state, , , , , , inode = ''] = line.trim().split(/\s+/)
      if (state === stateListen) listening.add(portOf(local))
      if (state !== stateEstablished) continue
      const from = unmapped(family, addrOf(peer))
      const to = unmapped(family, addrOf(local))
      established.push({ family: from.family, peer: from.addr, peerPort: portOf(peer), local: to.addr, localPort: portOf(local), inode })
    }
  }
  return { established, listening }
}

/** `0100007F:0016`: words of 32 bits in the byte order of the machine, the port as a number. */
function addrOf(text: string): bigint {
  const words = (text.split(':')[0] ?? '').match(/.{8}/g) ?? []
  return words.reduce((sum, word) => (sum << 32n) | BigInt(Buffer.from(word, 'hex').readUInt32LE(0)), 0n)
}

function portOf(text: string): number {
  return Number.parseInt(text.split(':')[1] ?? '0', 16)
}

function isLoopback({ family, peer }: Connection): boolean {
  return family === 'ipv4' ? peer >> 24n === 127n : peer === 1n
}

function isLinkLocal({ family, peer }: Connection): boolean {
  return family === 'ipv6' && peer >> 118n === 0xfe80n >> 6n
}
