// The files of a configuration folder as bytes: read whole and put back whole. What they say is not looked at.
import { mkdir, readdir, readFile, rename, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { writeAtomic } from '../state/atomic.ts'

const isConfiguration = (name: string): boolean => /^[A-Za-z0-9_@+-][A-Za-z0-9_.@+-]*\.(yaml|list|xml|conf)$/.test(name)

/** By path below `folder`, in order of path; null = bigger than `limitBytes`. A folder that is not there has no files. */
export async function readTree(folder: string, limitBytes: number): Promise<ReadonlyMap<string, Uint8Array | null>> {
  const found = new Map<string, Uint8Array | null>()
  for (const path of await configurationFiles(folder)) {
    const { size } = await stat(join(folder, path))
    found.set(path, size > limitBytes ? null : await readFile(join(folder, path)))
  }
  return found
}

/**
 * Makes the folder hold these files; null = as it is. A file that is not among them gets the suffix `.undone`, so that
 * nothing a person wrote is lost. Mode 0644. Throws the first failure: then some are written and some are not.
 */
export async function writeTree(folder: string, files: ReadonlyMap<string, Uint8Array | null>): Promise<void> {
  // What others name comes before what names it; the main file last.
  const ordered = [...files].sort(([a], [b]) => Number(a.includes('zones/') || !a.includes('/')) - Number(b.includes('zones/') || !b.includes('/')) || (a < b ? -1 : 1))
  for (const [path, content] of ordered) {
    if (content === null) continue
    const target = join(folder, path)
    const present = await readFile(target).catch(() => null)
    if (present !== null && present.equals(content)) continue
    await mkdir(dirname(target), { recursive: true, mode: 0o755 })
    await writeAtomic(target, content, 0o644)
  }
  for (const path of await configurationFiles(folder)) if (!files.has(path)) await rename(join(folder, path), join(folder, `${path}.undone`))
}

async function configurationFiles(folder: string): Promise<readonly string[]> {
  const found: string[] = []
  for (const entry of await list(folder)) {
    if (entry.isFile() && isConfiguration(entry.name)) found.push(entry.name)
    if (entry.isDirectory()) for (const inner of await list(join(folder, entry.name))) if (inner.isFile() && isConfiguration(inner.name)) found.push(join(entry.name, inner.name))
  }
  return found.sort()
}

async function list(folder: string): Promise<readonly { readonly name: string; isFile(): boolean; isDirectory(): boolean }[]> {
  try {
    return await readdir(folder, { withFileTypes: true })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw error
  }
}
