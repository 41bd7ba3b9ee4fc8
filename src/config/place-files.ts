// Several files into a tree of configuration, all or none of them: every byte is on disk beside its place before the first
// one is moved there. Whoever dies in between leaves each file either old or new, and doing the same again finishes it.
import { chownSync, existsSync, statSync } from 'node:fs'
import { mkdir, readFile, rename, rmdir } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { DerpanetError, printable } from '../errors.ts'
import { removeIfThere, syncFolder, writeAtomic } from '../state/atomic.ts'
import { peekStamp } from './files.ts'
import type { FileStamp } from './files.ts'
import { keepOld, requireUnchanged } from './store/files.ts'

export interface Placement {
  /** Below the tree. */
  readonly path: string
  readonly content: string
  readonly change: 'new' | 'changed' | 'same'
  /** What was there when it was compared; null = nothing. */
  readonly before: FileStamp | null
}

/** What putting these files there would change. `files`: path below the folder → content. Throws COMMAND_FAILED for what cannot be read. */
export async function comparePlaces(folder: string, files: ReadonlyMap<string, string>): Promise<readonly Placement[]> {
  const placements: Placement[] = []
  for (const [path, content] of files) {
    const target = join(folder, path)
    const before = peekStamp(target)
    const present = before === null ? null : await readFile(target, 'utf8').catch((error: NodeJS.ErrnoException) => refuse(`read ${target}`, error))
    placements.push({ path, content, before, change: present === null ? 'new' : present === content ? 'same' : 'changed' })
  }
  return placements
}

/**
 * Puts them there; what was in the place of one stays as NAME.old. Throws COMMAND_FAILED, and then everything (but an older
 * NAME.old) is as it was:
 * when a file is not what it was when it was compared, or when something cannot be written.
 */
export async function placeFiles(folder: string, placements: readonly Placement[]): Promise<void> {
  const wanted = placements.filter(({ change }) => change !== 'same').map((placement) => ({ ...placement, target: join(folder, placement.path) }))
  const folders: string[] = []
  const staged: string[] = []
  const placed: (typeof wanted)[number][] = []
  try {
    for (const { target, content } of wanted) {
      await makeFolders(dirname(target), folders)
      const mode = existsSync(target) ? statSync(target).mode & 0o777 : 0o644
      await writeAtomic(`${target}.new.tmp`, content, mode)
      staged.push(`${target}.new.tmp`)
    }
    for (const { target, before } of wanted) requireUnchanged(target, before)
    for (const one of wanted) {
      if (one.before !== null) await keepOld(one.target)
      await rename(`${one.target}.new.tmp`, one.target)
      placed.push(one)
    }
    for (const path of new Set(wanted.map(({ target }) => dirname(target)))) await syncFolder(path)
  } catch (error) {
    for (const { target, before } of placed.reverse()) await (before === null ? removeIfThere(target) : rename(`${target}.old`, target))
    for (const temporary of staged) await removeIfThere(temporary)
    // the innermost first; one that somebody put something into stays
    for (const path of folders.reverse()) await rmdir(path).catch(() => {})
    if (error instanceof DerpanetError) throw error
    return refuse('nothing was written', error as NodeJS.ErrnoException)
  }
}

/** Folders belong to whom the one above belongs to: the daemon writes into its own. */
async function makeFolders(path: string, made: string[]): Promise<void> {
  if (existsSync(path)) return
  const above = dirname(path)
  await makeFolders(above, made)
  await mkdir(path, { mode: 0o755 })
  made.push(path)
  const { uid, gid } = statSync(above)
  const own = statSync(path)
  if (own.uid !== uid || own.gid !== gid) chownSync(path, uid, gid)
  await syncFolder(above)
}

function refuse(what: string, cause: NodeJS.ErrnoException): never {
  throw new DerpanetError('COMMAND_FAILED', `${printable(what, 4096)}: ${cause.code === undefined ? printable(cause.message, 1000) : `${cause.code}${cause.path === undefined ? '' : ` ${printable(cause.path, 4096)}`}`}`, { cause })
}
