// Files that are either the old or the new one, whatever happens in between.
import { open, readFile, rename, unlink } from 'node:fs/promises'
import { dirname } from 'node:path'

let lastTemporary = 0

/**
 * Replaces `path`: temp file beside it, fsync, rename, fsync of the directory. Mode 0600 unless given.
 * Throws the first failure; the temp file is gone then, `path` untouched.
 */
export async function writeAtomic(path: string, content: string | Uint8Array | readonly Uint8Array[], mode = 0o600): Promise<void> {
  const temporary = `${path}.${process.pid}.${++lastTemporary}.tmp`
  try {
    const file = await open(temporary, 'wx', mode)
    try {
      const parts = typeof content === 'string' || content instanceof Uint8Array ? [content] : content
      for (const part of parts) await file.writeFile(part)
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(temporary, path)
  } catch (cause) {
    await removeIfThere(temporary)
    throw new Error(`write ${path}: ${(cause as Error).message}`, { cause })
  }
  await syncFolder(dirname(path))
}

/** Makes renames and removals in it durable. */
export async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r')
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}

/** null when there is no such file; every other failure is thrown. */
export async function readIfThere(path: string): Promise<Buffer | null> {
  try {
    return await readFile(path)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
    throw error
  }
}

/** Removing what is already gone is fine: it went by a crash between two steps, or by an admin's hand. */
export async function removeIfThere(path: string): Promise<void> {
  try {
    await unlink(path)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
  }
}
