// Changing files that people edit too: never what somebody changed since it was read, never half, and what was there
// before stays beside it as NAME.old.
import { lstatSync } from 'node:fs'
import { link, mkdir, readFile, rename, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { DerpanetError, printable } from '../../errors.ts'
import { removeIfThere, syncFolder, writeAtomic } from '../../state/atomic.ts'
import { peekStamp, sameStamp } from '../files.ts'
import type { FileStamp } from '../files.ts'

/** What the caller believes is there: a stamp of what was read, null = nothing, 'any' = whatever it is. */
export type Expected = FileStamp | null | 'any'

/** Throws COMMAND_FAILED when something else is there. */
export function requireUnchanged(path: string, expected: Expected): void {
  if (expected === 'any') return
  const found = peekStamp(path)
  if (expected === null ? found === null : found !== null && sameStamp(found, expected)) return
  const what = found === null ? 'is gone' : expected === null ? 'is there already' : 'was changed'
  throw new DerpanetError('COMMAND_FAILED', `${printable(path)} ${what} since the configuration was loaded; nothing was written, reload first`)
}

/**
 * Writes `path`, whose old content becomes `path`.old. Throws COMMAND_FAILED as {@link requireUnchanged}; nothing is
 * changed then. Resolves with the stamp of the new file, once it is on disk for good.
 */
export async function replaceFile(path: string, content: string, expected: Expected): Promise<FileStamp> {
  requireUnchanged(path, expected)
  const old = await keepOld(path)
  if (old === null) await makeFolder(dirname(path))
  // The shipped files are for everybody to read, so a copy of one is as well.
  await writeAtomic(path, content, old ?? 0o644)
  const written = peekStamp(path)
  if (written === null) throw new DerpanetError('COMMAND_FAILED', `${printable(path)} went away while it was written`)
  return written
}

/** Moves a file to NAME.old. Throws COMMAND_FAILED as {@link requireUnchanged}. */
export async function setAside(path: string, expected: Expected): Promise<void> {
  requireUnchanged(path, expected)
  await rename(path, `${path}.old`)
  await syncFolder(dirname(path))
}

/** Moves a file to another name, which must be free; a copy stays as NAME.old. Throws NAME_CONFLICT, COMMAND_FAILED. */
export async function moveFile(from: string, to: string, expected: Expected): Promise<FileStamp> {
  requireUnchanged(from, expected)
  await makeFolder(dirname(to))
  const temporary = `${to}.${process.pid}.tmp`
  await writeAtomic(temporary, await readFile(from), (await stat(from)).mode & 0o777)
  try {
    // Unlike rename, this never takes the place of another file.
    await link(temporary, to)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') throw new DerpanetError('NAME_CONFLICT', `${printable(to)} is there already`, { cause: error })
    throw error
  } finally {
    await removeIfThere(temporary)
  }
  await syncFolder(dirname(to))
  await rename(from, `${from}.old`)
  await syncFolder(dirname(from))
  const written = peekStamp(to)
  if (written === null) throw new DerpanetError('COMMAND_FAILED', `${printable(to)} went away while it was written`)
  return written
}

/** Gives the file the second name NAME.old, so that it survives being replaced. Its mode, null when there is no file. A failure changes nothing. */
export async function keepOld(path: string): Promise<number | null> {
  const found = lstatSync(path, { throwIfNoEntry: false })
  if (found === undefined) return null
  const aside = `${path}.${process.pid}.tmp`
  await removeIfThere(aside)
  const mode = found.isSymbolicLink() ? 0o644 : found.mode & 0o777
  // A link is replaced, and its target stays what it was.
  if (found.isSymbolicLink() || !await linked(path, aside)) await writeAtomic(aside, await readFile(path), mode)
  try {
    await rename(aside, `${path}.old`)
  } catch (error) {
    await removeIfThere(aside)
    throw error
  }
  return mode
}

/** False where the kernel does not let a file of somebody else have a second name (fs.protected_hardlinks), or the file system knows none. */
async function linked(path: string, name: string): Promise<boolean> {
  try {
    await link(path, name)
    return true
  } catch (error) {
    if (['EPERM', 'EACCES', 'ENOTSUP', 'EOPNOTSUPP', 'EXDEV', 'EMLINK', 'ENOSYS'].includes((error as NodeJS.ErrnoException).code ?? '')) return false
    throw error
  }
}

/** Folders of a new tree, readable for everybody as the shipped ones. */
async function makeFolder(path: string): Promise<void> {
  const made = await mkdir(path, { recursive: true, mode: 0o755 })
  if (made !== undefined) await syncFolder(dirname(made))
}

