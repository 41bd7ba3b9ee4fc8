// Watches the configuration folders and says, once things are quiet, which files changed. Judges nothing.
import { watch, type FSWatcher } from 'node:fs'
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

/** The result stops watching. A folder that does not exist yet is waited for. */
export function watchFolders(options: WatchOptions): () => void {
  const quietMs = options.quietMs ?? 100
  const retryMs = options.retryMs ?? 2000
  const changed = new Set<string>()
  const watchers = new Map<string, FSWatcher>()
  const retries = new Set<NodeJS.Timeout>()
  let quiet: NodeJS.Timeout | null = null
  let stopped = false

  const note = (path: string): void => {
    if (passing.test(path)) return
    changed.add(path)
    if (quiet !== null) clearTimeout(quiet)
    quiet = setTimeout(() => {
      quiet = null
      const files = [...changed].sort()
      changed.clear()
      options.onChange(files)
    }, quietMs)
  }

  const lookAgain = (folder: string): void => {
    if (stopped) return
    const retry = setTimeout(() => {
      retries.delete(retry)
      // It came back: what is in it now may differ from what was loaded.
      if (start(folder, false)) note(folder)
    }, retryMs)
    retry.unref()
    retries.add(retry)
  }

  const start = (folder: string, first: boolean): boolean => {
    try {
      const watcher = watch(folder, { recursive: true, persistent: false }, (_event, name) => note(name === null ? folder : join(folder, String(name))))
      watcher.on('error', (error) => {
        watcher.close()
        watchers.delete(folder)
        options.onTrouble(`${folder}: ${error.message}`)
        lookAgain(folder)
      })
      watchers.set(folder, watcher)
      return true
    } catch (error) {
      if (first || (error as NodeJS.ErrnoException).code !== 'ENOENT') options.onTrouble(`${folder}: ${(error as Error).message}`)
      lookAgain(folder)
      return false
    }
  }

  for (const folder of options.folders) start(folder, true)
  return () => {
    stopped = true
    if (quiet !== null) clearTimeout(quiet)
    for (const retry of retries) clearTimeout(retry)
    for (const watcher of watchers.values()) watcher.close()
  }
}
