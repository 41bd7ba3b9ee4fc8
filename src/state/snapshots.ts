// The files of a generation byte for byte, so that undoing brings comments and order back too. Big lists are left out:
// the generation store has their content, and comments in a list of a million lines are nobody's.
//   files/<number>.json   path → SHA-256 of the content      files/<sha256>   the content
import { createHash } from 'node:crypto'
import { mkdir, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { readIfThere, removeIfThere, writeAtomic } from './atomic.ts'
import { asDigest, asObject } from './codec.ts'

/** Content by path below the configuration folder; null = a file that is too big to be kept. */
export type FileContents = ReadonlyMap<string, Uint8Array | null>

/** Files above this are left out. */
export const snapshotLimitBytes = 256 * 1024

export class Snapshots {
  private readonly folder: string

  constructor(stateFolder: string) {
    this.folder = join(stateFolder, 'files')
  }

  /** Durable when it resolves. Afterwards only `keep` and this one are left. */
  async store(generation: number, files: FileContents, keep: readonly number[]): Promise<void> {
    await mkdir(this.folder, { recursive: true, mode: 0o700 })
    const index: Record<string, string | null> = {}
    for (const [path, content] of files) {
      const digest = content === null ? null : createHash('sha256').update(content).digest('hex')
      index[path] = digest
      if (digest !== null && content !== null && (await readIfThere(join(this.folder, digest))) === null) await writeAtomic(join(this.folder, digest), content)
    }
    await writeAtomic(this.indexPath(generation), `${JSON.stringify(index)}\n`)
    await this.evict(new Set([...keep, generation]))
  }

  /** null when there is none. Throws when it is damaged. */
  async load(generation: number): Promise<FileContents | null> {
    const text = await readIfThere(this.indexPath(generation))
    if (text === null) return null
    const found = new Map<string, Uint8Array | null>()
    for (const [path, stored] of Object.entries(asObject(JSON.parse(text.toString('utf8')), 'files'))) {
      if (!isRelative(path)) throw new Error('files: a path leads out of the configuration')
      if (stored === null) {
        found.set(path, null)
        continue
      }
      const digest = asDigest(stored)
      const content = await readIfThere(join(this.folder, digest))
      if (content === null || createHash('sha256').update(content).digest('hex') !== digest) throw new Error(`files: the content of ${path} is damaged`)
      found.set(path, content)
    }
    return found
  }

  private async evict(keep: ReadonlySet<number>): Promise<void> {
    const used = new Set<string>()
    const names = await readdir(this.folder)
    for (const name of names.filter((one) => /^\d{8}\.json$/.test(one))) {
      if (!keep.has(Number.parseInt(name, 10))) await removeIfThere(join(this.folder, name))
      else for (const digest of Object.values(asObject(JSON.parse(String(await readIfThere(join(this.folder, name)))), 'files'))) used.add(String(digest))
    }
    for (const name of names) if (/^[0-9a-f]{64}$/.test(name) && !used.has(name)) await removeIfThere(join(this.folder, name))
  }

  private indexPath(generation: number): string {
    return join(this.folder, `${String(generation).padStart(8, '0')}.json`)
  }
}

/** `zones/public.yaml`: no way out of the folder it is put into. */
function isRelative(path: string): boolean {
  return /^(?:[A-Za-z0-9_@+-][A-Za-z0-9_.@+-]*\/)?[A-Za-z0-9_@+-][A-Za-z0-9_.@+-]*$/.test(path)
}
