// Two writers in one network namespace would undo each other: the lock that keeps the second out. An abstract socket: it
// belongs to the namespace and dies with its owner. Anybody may take that name, so who holds it is looked at: a stranger
// keeps nobody from starting, and then a socket in the run folder, where no stranger may write, is the lock.
import { mkdirSync, readFileSync, rmSync } from 'node:fs'
import { connect, createServer, type Server } from 'node:net'
import { createRequire } from 'node:module'
import { join } from 'node:path'

const name = 'derpanetd'
const user = 'derpanet'

export interface OnlyOneOptions {
  /** The run folder; made when a stranger holds the name. */
  readonly folder: string
  /** Told of a stranger: the id of the user. */
  readonly onStranger: (uid: number) => void
}

/** Takes the lock until this process ends. False: another derpanetd has it, or who has it cannot be found out. */
export async function takeLock({ folder, onStranger }: OnlyOneOptions): Promise<boolean> {
  const file = join(folder, 'lock')
  const lock = await listen(`\0${name}`)
  if (lock !== null) {
    if (!(await isAnswered(file))) return true
    lock.close()
    return false
  }
  const uids = await holdersOf(name)
  if (uids.length === 0 || uids.some(isOurs)) return false
  onStranger(uids[0] as number)
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  if (await listen(file) !== null) return true
  if (await isAnswered(file)) return false
  rmSync(file, { force: true }) // of one that was killed
  return await listen(file) !== null
}

function isOurs(uid: number): boolean {
  return uid === 0 || uid === process.geteuid?.() || uid === Number(new RegExp(`^${user}:[^:]*:(\\d+):`, 'm').exec(readFileSync('/etc/passwd', 'utf8'))?.[1])
}

function listen(path: string): Promise<Server | null> {
  const server = createServer((socket) => void socket.destroy())
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => (error.code === 'EADDRINUSE' ? resolve(null) : reject(error)))
    server.listen(path, () => resolve(server))
  })
}

/** Nobody is there, or nobody can be: a path too long for a socket. One that is too busy to answer is alive. */
const nobody: readonly (string | undefined)[] = ['ECONNREFUSED', 'ENOENT', 'ENOTDIR', 'EINVAL', 'ENAMETOOLONG']

function isAnswered(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path)
    const end = (answer: boolean): void => {
      socket.destroy()
      resolve(answer)
    }
    socket.once('connect', () => end(true))
    socket.once('error', (error: NodeJS.ErrnoException) => end(!nobody.includes(error.code)))
  })
}

/** linux/sock_diag.h, linux/unix_diag.h */
const netlinkSockDiag = 4
const sockDiagByFamily = 20
const showName = 0x1
const showUid = 0x40
const attributeName = 0
const attributeUid = 7
const headerBytes = 16
const socketBytes = 16
const typeError = 2
const typeDone = 3
const requestDump = 0x301
const timeoutMs = 2000

interface DiagSocket {
  on(event: 'message', listener: (bytes: Uint8Array) => void): void
  on(event: 'error', listener: (error: Error) => void): void
  send(bytes: Uint8Array): void
  close(): void
}

/**
 * The users who made sockets of that abstract name. Some versions of Node fill names up with zero bytes and some do not: two
 * names to the kernel, one here. None: there is no such socket any more, or the kernel does not say.
 */
export function holdersOf(abstractName: string): Promise<readonly number[]> {
  const { RawNetlinkSocket } = createRequire(import.meta.url)('netlink/dist/raw') as { RawNetlinkSocket: new (protocol: number) => DiagSocket }
  const socket = new RawNetlinkSocket(netlinkSockDiag)
  return new Promise((resolve) => {
    const found: number[] = []
    const end = (): void => {
      clearTimeout(timer)
      socket.close()
      resolve(found)
    }
    const timer = setTimeout(end, timeoutMs)
    socket.on('error', end)
    socket.on('message', (bytes) => {
      for (const { type, body } of messagesOf(bytes)) {
        if (type === typeDone || type === typeError) return end()
        const attributes = attributesOf(body.subarray(socketBytes))
        const uid = attributes.get(attributeUid)
        const its = Buffer.from(attributes.get(attributeName) ?? []).toString('latin1').replace(/\0+$/, '')
        if (uid !== undefined && its === `\0${abstractName}`) found.push(viewOf(uid).getUint32(0, true))
      }
    })
    const request = new Uint8Array(headerBytes + 24)
    const view = viewOf(request)
    view.setUint32(0, request.length, true)
    view.setUint16(4, sockDiagByFamily, true)
    view.setUint16(6, requestDump, true)
    view.setUint8(headerBytes, 1) // AF_UNIX
    view.setUint32(headerBytes + 4, 0xffffffff, true) // in whatever state
    view.setUint32(headerBytes + 12, showName | showUid, true)
    socket.send(request)
  })
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

function messagesOf(bytes: Uint8Array): readonly { readonly type: number; readonly body: Uint8Array }[] {
  const messages: { type: number; body: Uint8Array }[] = []
  for (let at = 0; at + headerBytes <= bytes.length;) {
    const length = viewOf(bytes).getUint32(at, true)
    if (length < headerBytes) break
    messages.push({ type: viewOf(bytes).getUint16(at + 4, true), body: bytes.subarray(at + headerBytes, at + length) })
    at += (length + 3) & ~3
  }
  return messages
}

function attributesOf(bytes: Uint8Array): ReadonlyMap<number, Uint8Array> {
  const attributes = new Map<number, Uint8Array>()
  for (let at = 0; at + 4 <= bytes.length;) {
    const length = viewOf(bytes).getUint16(at, true)
    if (length < 4) break
    attributes.set(viewOf(bytes).getUint16(at + 2, true), bytes.subarray(at + 4, at + length))
    at += (length + 3) & ~3
  }
  return attributes
}
