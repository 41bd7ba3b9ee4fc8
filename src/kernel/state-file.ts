// Small files about what is in the kernel, in the run folder: replaced as a whole, read by the one program that holds the lock.
// Not synced: after a crash of the machine the kernel holds nothing of ours either.
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'

/**
 * null when there is no such file; throws other failures. What a program that died while it replaced the file left beside it
 * is removed, so this is for whoever replaces the file too.
 */
export async function readStateFile(path: string): Promise<string | null> {
  await rm(newOf(path), { force: true })
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
    throw error
  }
}

/** Makes the folder when it is not there. Throws; then the file is what it was, and nothing is beside it. */
export async function writeStateFile(path: string, text: string): Promise<void> {
  try {
    await writeFile(newOf(path), text, { mode: 0o600 }).catch(async (error: unknown) => {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
      await mkdir(dirname(path), { recursive: true, mode: 0o700 })
      await writeFile(newOf(path), text, { mode: 0o600 })
    })
    await rename(newOf(path), path)
  } catch (error) {
    await rm(newOf(path), { force: true })
    throw error
  }
}

function newOf(path: string): string {
  return `${path}.new`
}
