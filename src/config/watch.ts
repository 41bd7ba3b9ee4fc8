// Watches the configuration folders and says, once things are quiet, which files changed. Judges nothing.
import { readdirSync, watch, type FSWatcher } from 'node:fs'
import { join } from 'node:path'

export interface WatchOptions {
  readonly folders: readonly string[]
  /** Called with sorted absolute paths after `quietMs` without another change. */
  readonly onChange: (files: readonly string[]) => void
  /** A folder that cannot be watched (any more): it is looked for again every `retryMs`. */
  readonly onTrouble: (text: string) => void
  /** Editors write in several steps; default 100. */
  readonly quietMs?: number
  /** Default 2000. */
  readonly retryMs?: number
}

/** Files of editors and package managers, and our own temp files: their final names follow. */
const passing = /(^|\/)(\.[^/]*\.sw[px]|\.#[^/]*|4913)$|~$|\.(tmp|dpkg-new|dpkg-tmp|rpmnew)$/

/**
 * The result stops watching. A folder that does not exist yet is waited for. Folders below are watched one level deep:
 * that is all a configuration has. (Node's recursive watch holds a watch and four dates for every single file.)
 */
export function watchFolders(options: WatchOptions): () => void {
  const changed = new Set<string>()
  let quiet: NodeJS.Timeout | null = null
  const note = (path: string): void => {
    if (passing.test(path)) return
    changed.add(path)
    if (quiet !== null) clearTimeout(quiet)
    quiet = setTimeout(() => {
      quiet = null
      const files = [...changed].sort()
      changed.clear()
      options.onChange(files)
    }, options.quietMs ?? 100)
  }
  const trees = options.folders.map((folder) => new WatchedTree(folder, note, options.onTrouble, options.retryMs ?? 2000))
  for (const tree of trees) tree.start(true)
  return () => {
    if (quiet !== null) clearTimeout(quiet)
    for (const tree of trees) tree.stop()
  }
}

class WatchedTree {
  private readonly watchers = new Map<string, FSWatcher>()
  private retry: NodeJS.Timeout | null = null
  private stopped = false

  constructor(
    private readonly root: string,
    private readonly note: (path: string) => void,
    private readonly onTrouble: (text: string) => void,
    private readonly retryMs: number,
  ) {}

  start(first: boolean): void {
    try {
      this.add(this.root)
      this.followFolders(first)
      // It came (back) after it was missed: what is in it now may differ from what was loaded.
      if (!first) this.note(this.root)
    } catch (error) {
      this.closeAll()
      if (first || (error as NodeJS.ErrnoException).code !== 'ENOENT') this.onTrouble(`${this.root}: ${(error as Error).message}`)
      this.lookAgain()
    }
  }

  stop(): void {
    this.stopped = true
    if (this.retry !== null) clearTimeout(this.retry)
    this.closeAll()
  }

  private add(folder: string): void {
    const watcher = watch(folder, { persistent: false }, (_event, name) => this.onEvent(folder, name))
    watcher.on('error', (error) => this.lose(error))
    this.watchers.set(folder, watcher)
  }

  private onEvent(folder: string, name: string | null): void {
    if (this.stopped) return
    this.note(name === null ? folder : join(folder, name))
    if (folder !== this.root) return
    try {
      this.followFolders(false)
    } catch (error) {
      this.lose(error as Error)
    }
  }

  /** New folders come with files in them that nobody was watching yet: each is news. */
  private followFolders(first: boolean): void {
    const folders = readdirSync(this.root, { withFileTypes: true }).filter((entry) => entry.isDirectory()).map(({ name }) => join(this.root, name))
    for (const [folder, watcher] of this.watchers) {
      if (folder === this.root || folders.includes(folder)) continue
      watcher.close()
      this.watchers.delete(folder)
    }
    for (const folder of folders) {
      if (this.watchers.has(folder)) continue
      this.add(folder)
      if (!first) for (const name of readdirSync(folder)) this.note(join(folder, name))
    }
  }

  private lose(error: Error): void {
    this.closeAll()
    this.onTrouble(`${this.root}: ${error.message}`)
    this.lookAgain()
  }

  private lookAgain(): void {
    if (this.stopped) return
    this.retry = setTimeout(() => this.start(false), this.retryMs)
    this.retry.unref()
  }

  private closeAll(): void {
    for (const watcher of this.watchers.values()) watcher.close()
    this.watchers.clear()
  }
}
