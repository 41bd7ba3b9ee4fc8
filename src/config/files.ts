// Bytes of the configuration on disk, and the rules a file has to keep before a word of it is believed: regular, inside
// its tree, and not writable by anybody whom the tree's owner did not choose. What the bytes mean is for others.
import {
  closeSync, constants, fstatSync, lstatSync, openSync, readdirSync, readSync, realpathSync, statSync,
} from 'node:fs'
import type { BigIntStats } from 'node:fs'
import { join, sep } from 'node:path'
import type { ErrorCode } from '../errors.ts'
import { printable } from '../errors.ts'
import type { Diagnostic } from './diagnostic.ts'

/** Equal stamps are the same content with the same owner and mode: every write, chmod and rename changes one of them. */
export interface FileStamp {
  readonly dev: bigint
  readonly ino: bigint
  readonly sizeBytes: number
  readonly mtimeNs: bigint
  readonly ctimeNs: bigint
}

export function sameStamp(a: FileStamp, b: FileStamp): boolean {
  return a.ino === b.ino && a.ctimeNs === b.ctimeNs && a.mtimeNs === b.mtimeNs && a.sizeBytes === b.sizeBytes && a.dev === b.dev
}

/** A folder tree whose files are read under one set of rules. */
export interface FileTree {
  /** As given: names in diagnostics begin with it. */
  readonly root: string
  /** With links resolved: what "inside" means. */
  readonly realRoot: string
  /** Users who may own or write a file; null = nobody asks, because whoever writes there writes the program itself. */
  readonly owners: ReadonlySet<number> | null
}

export type FileTrouble = { readonly trouble: Diagnostic }

export const fileDiagnostic = (file: string, code: ErrorCode, text: string, severity: Diagnostic['severity'] = 'error'): Diagnostic =>
  ({ severity, code, file, line: 1, column: 1, text })

const errnoOf = (error: unknown): string => (error as NodeJS.ErrnoException).code ?? 'unknown error'

/** null when there is no such folder: an empty tree. `trusted` trees come with the program. */
export function openTree(root: string, trusted: boolean): FileTree | FileTrouble | null {
  let stat
  let realRoot
  try {
    realRoot = realpathSync.native(root)
    stat = statSync(realRoot)
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return null
    return { trouble: fileDiagnostic(root, 'INVALID_DIRECTORY', `cannot be read: ${errnoOf(error)}`) }
  }
  if (!stat.isDirectory()) return { trouble: fileDiagnostic(root, 'INVALID_DIRECTORY', 'is not a folder') }
  const tree: FileTree = { root, realRoot, owners: trusted ? null : new Set([0, process.geteuid?.() ?? 0, stat.uid]) }
  const writable = writableByOthers(tree, stat)
  return writable === null ? tree : { trouble: fileDiagnostic(root, 'INVALID_DIRECTORY', writable) }
}

function writableByOthers(tree: FileTree, stat: { readonly mode: number | bigint; readonly uid: number | bigint; readonly gid: number | bigint }): string | null {
  if (tree.owners === null) return null
  const mode = Number(stat.mode)
  if (!tree.owners.has(Number(stat.uid))) return `belongs to user ${stat.uid}, who is neither root nor the owner of ${tree.root}`
  if ((mode & 0o002) !== 0) return `is writable by everybody (mode ${(mode & 0o7777).toString(8)})`
  if ((mode & 0o020) !== 0 && Number(stat.gid) !== 0) return `is writable by group ${stat.gid} (mode ${(mode & 0o7777).toString(8)})`
  return null
}

/** The path without links, when it stays inside the tree; a diagnostic otherwise. */
function resolveInside(tree: FileTree, path: string): string | FileTrouble | null {
  let real
  try {
    real = realpathSync.native(path)
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink()
      ? { trouble: fileDiagnostic(path, 'INVALID_FILENAME', 'is a link to nothing') } : null
    return { trouble: fileDiagnostic(path, 'INVALID_FILENAME', `cannot be read: ${errnoOf(error)}`) }
  }
  if (real === tree.realRoot || real.startsWith(tree.realRoot + sep)) return real
  return { trouble: fileDiagnostic(path, 'INVALID_FILENAME', `is a link out of ${tree.root}`) }
}

export interface Listing {
  /** Names without the extension, sorted. */
  readonly names: readonly string[]
  readonly diagnostics: readonly Diagnostic[]
}

/** Leftovers of editors, package managers and `derpanetctl undo`, and hidden files. */
const passedOver = /^\.|~$|^#.*#$|\.(swp|bak|old|undone|orig|tmp|rpmsave|rpmnew|rpmorig|dpkg-(old|new|dist|tmp|bak)|ucf-(old|new|dist))$|^README/

/** Files `NAME.extension` of a folder of the tree; other files are named in a warning, folders are errors. */
export function listFolder(tree: FileTree, folder: string, extension: string): Listing {
  const path = join(tree.root, folder)
  const names: string[] = []
  const diagnostics: Diagnostic[] = []
  let real: string | FileTrouble | null = null
  let entries
  try {
    real = resolveInside(tree, path)
    if (real === null) return { names, diagnostics }
    if (typeof real !== 'string') return { names, diagnostics: [real.trouble] }
    const writable = writableByOthers(tree, statSync(real))
    if (writable !== null) diagnostics.push(fileDiagnostic(path, 'INVALID_DIRECTORY', writable))
    entries = readdirSync(real, { withFileTypes: true })
  } catch (error) {
    return { names, diagnostics: [fileDiagnostic(path, 'INVALID_DIRECTORY', `cannot be read: ${errnoOf(error)}`)] }
  }
  for (const entry of entries) {
    if (passedOver.test(entry.name)) continue
    const file = join(path, entry.name)
    if (entry.isDirectory()) diagnostics.push(fileDiagnostic(file, 'INVALID_DIRECTORY', `folders within ${folder} (combined zones of firewalld) are not supported yet`))
    else if (entry.name.endsWith(`.${extension}`)) names.push(entry.name.slice(0, -extension.length - 1))
    else diagnostics.push(fileDiagnostic(file, 'INVALID_FILENAME', `is not read: names here end in .${extension}`, 'warning'))
  }
  return { names: names.sort(), diagnostics }
}

/**
 * Paths below a folder of the tree of files `NAME.extension`, without the extension, in firewalld's way: everything else
 * is nobody's business. Folders are looked into only when `nested`.
 */
export function listNested(tree: FileTree, folder: string, extension: string, nested: boolean): Listing {
  const names: string[] = []
  const diagnostics: Diagnostic[] = []
  const look = (below: string, depth: number): void => {
    const path = join(tree.root, folder, below)
    try {
      const real = resolveInside(tree, path)
      if (real === null) return
      if (typeof real !== 'string') {
        diagnostics.push(real.trouble)
        return
      }
      const writable = writableByOthers(tree, statSync(real))
      if (writable !== null) diagnostics.push(fileDiagnostic(path, 'INVALID_DIRECTORY', writable))
      for (const entry of readdirSync(real, { withFileTypes: true })) {
        const name = below === '' ? entry.name : `${below}/${entry.name}`
        if (passedOver.test(entry.name)) continue
        if (entry.isDirectory()) {
          if (nested && depth < maxFolderDepth) look(name, depth + 1)
        } else if (entry.name.endsWith(`.${extension}`)) names.push(name.slice(0, -extension.length - 1))
      }
    } catch (error) {
      diagnostics.push(fileDiagnostic(path, 'INVALID_DIRECTORY', `cannot be read: ${errnoOf(error)}`))
    }
  }
  look('', 0)
  return { names: names.sort(), diagnostics }
}

const maxFolderDepth = 8

export interface OpenFile {
  /** As given, for diagnostics. */
  readonly path: string
  readonly fd: number
  readonly stamp: FileStamp
}

const stampOf = (stat: BigIntStats): FileStamp =>
  ({ dev: stat.dev, ino: stat.ino, sizeBytes: Number(stat.size), mtimeNs: stat.mtimeNs, ctimeNs: stat.ctimeNs })

/** The stamp of what `path` is now, links followed; null when there is nothing. Cheap: for asking whether it is still the same. */
export function peekStamp(path: string): FileStamp | null {
  const stat = statSync(path, { bigint: true, throwIfNoEntry: false })
  return stat === undefined ? null : stampOf(stat)
}

/** Opens a file by the rules; null when it does not exist. The caller closes the descriptor. */
export function openFile(tree: FileTree, path: string, maxBytes: number): OpenFile | FileTrouble | null {
  const real = resolveInside(tree, path)
  if (real === null || typeof real !== 'string') return real
  let fd
  try {
    // Without links and without waiting for the other end of a pipe; what is opened is judged by its descriptor.
    fd = openSync(real, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK | constants.O_NOCTTY)
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return null
    return { trouble: fileDiagnostic(path, 'INVALID_FILENAME', `cannot be read: ${errnoOf(error)}`) }
  }
  const stat = fstatSync(fd, { bigint: true })
  const wrong = !stat.isFile() ? 'is not a regular file' : writableByOthers(tree, stat) ??
    (stat.size > BigInt(maxBytes) ? `is larger than ${maxBytes} bytes` : null)
  if (wrong === null) return { path, fd, stamp: stampOf(stat) }
  closeSync(fd)
  return { trouble: fileDiagnostic(path, 'INVALID_FILENAME', wrong) }
}

/** The whole content; at most `maxBytes + 1` are read, should the file have grown since it was opened. Closes it. */
export function readAll(file: OpenFile, maxBytes: number): Uint8Array | FileTrouble {
  try {
    const bytes = new Uint8Array(Math.min(file.stamp.sizeBytes, maxBytes) + 1)
    let length = 0
    for (let got = -1; got !== 0 && length < bytes.length; length += got) got = readSync(file.fd, bytes, length, bytes.length - length, null)
    if (length === bytes.length) return { trouble: fileDiagnostic(file.path, 'INVALID_FILENAME', 'is being written, try again') }
    return bytes.subarray(0, length)
  } catch (error) {
    return { trouble: fileDiagnostic(file.path, 'INVALID_FILENAME', `cannot be read: ${errnoOf(error)}`) }
  } finally {
    closeSync(file.fd)
  }
}

/** Text of a file; a diagnostic at the line of the first byte that is no UTF-8. */
export function decodeText(path: string, bytes: Uint8Array): string | FileTrouble {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    const lenient = new TextDecoder().decode(bytes)
    const lines = lenient.slice(0, lenient.indexOf('\ufffd')).split('\n')
    const column = (lines[lines.length - 1] ?? '').length + 1
    return { trouble: { severity: 'error', code: 'PARSE_ERROR', file: printable(path, 4096), line: lines.length, column, text: 'the text is not UTF-8' } }
  }
}
