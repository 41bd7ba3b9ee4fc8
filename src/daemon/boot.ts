// Keeps on disk what derpanet-load restores at the next boot: the permanent configuration while it is good. Nobody waits
// for it; it follows a little later, and a newer configuration overtakes an older one that was not written yet.
//
//   boot/boot            in force at the next boot      boot/boot.previous   the one before, should that be damaged
//   boot/<sha256>.set    big lists, XDP maps, …         boot/salt            of the XDP tables: who does not know it cannot
//                                                                            make their lines long
// Only what derpanet-load itself has checked takes the place of what it would restore now.
import { randomBytes } from 'node:crypto'
import { access, mkdir, readdir, rename } from 'node:fs/promises'
import { join } from 'node:path'
import { imageKey } from '../compile/xdp/image.ts'
import type { Plan } from '../compile/plan.ts'
import { bootContent, bootImage, type BootContent, type BootImage, type BootLink } from '../kernel/boot.ts'
import type { Exec } from '../kernel/exec.ts'
import { findTools, type Variant } from '../kernel/netfilter/tools.ts'
import type { Log } from '../log.ts'
import { readIfThere, removeIfThere, syncFolder, writeAtomic } from '../state/atomic.ts'

export interface BootOptions {
  /** Made when missing, 0700. */
  readonly folder: string
  /** derpanet-load. */
  readonly loader: string
  readonly exec: Exec
  /** null = the host's own choice. */
  readonly variant: Variant | null
  /** Links that carry the program now; null = XDP is off. */
  readonly links: () => readonly BootLink[] | null
  readonly log: Log
  /** How long changes are waited for before writing. */
  readonly delayMs?: number
}

const defaultDelayMs = 1000
const checkTimeoutMs = 20_000

interface Wanted {
  /** What the permanent configuration compiles to, made only when it is written. */
  readonly plan: () => Plan
  readonly generation: number
}

export class BootWriter {
  private readonly options: BootOptions
  private wanted: Wanted | null = null
  private timer: NodeJS.Timeout | null = null
  private writing: Promise<void> = Promise.resolve()
  private image: { readonly key: string; readonly image: BootImage } | null = null
  /** The boot file on disk; null = not looked at yet. */
  private written: string | null = null

  constructor(options: BootOptions) {
    this.options = options
  }

  /** The permanent configuration is good and in force. */
  put(plan: () => Plan, generation: number): void {
    this.wanted = { plan, generation }
    this.schedule()
  }

  /** Links came, went or changed their mode. */
  linksChanged(): void {
    if (this.wanted !== null) this.schedule()
  }

  /** Resolves when what was put is on disk, or was refused. */
  async flush(): Promise<void> {
    if (this.timer !== null) this.begin()
    await this.writing
  }

  private schedule(): void {
    if (this.timer !== null) clearTimeout(this.timer)
    this.timer = setTimeout(() => this.begin(), this.options.delayMs ?? defaultDelayMs)
    this.timer.unref()
  }

  private begin(): void {
    if (this.timer !== null) clearTimeout(this.timer)
    this.timer = null
    const { log } = this.options
    this.writing = this.writing.then(() => this.write()).catch((error: unknown) => {
      log.error({ error }, 'boot file cannot be written; the next boot begins with an older configuration')
    })
  }

  private async write(): Promise<void> {
    const { wanted, options: { folder, log } } = this
    if (wanted === null) return
    const started = performance.now()
    await mkdir(folder, { recursive: true, mode: 0o700 })
    this.written ??= String((await readIfThere(join(folder, 'boot'))) ?? '')
    const content = await this.contentOf(wanted)
    if (content.text === this.written) return
    for (const { name, parts } of content.blobs) {
      if (!(await isThere(join(folder, name)))) await writeAtomic(join(folder, name), parts)
    }
    await writeAtomic(join(folder, 'boot.next'), content.text)
    await this.check()
    // between the two renames a boot restores the previous one
    if (this.written !== '') await rename(join(folder, 'boot'), join(folder, 'boot.previous'))
    await rename(join(folder, 'boot.next'), join(folder, 'boot'))
    await syncFolder(folder)
    this.written = content.text
    await this.removeUnused(content)
    // the bytes are on disk; from now on only their names matter
    if (this.image !== null) this.image = { ...this.image, image: { ...this.image.image, blobs: [] } }
    log.info({ generation: wanted.generation, sizeBytes: content.text.length, files: content.blobs.length, elapsedMs: Math.round(performance.now() - started) },
      'configuration is ready for the next boot')
  }

  private async contentOf({ plan: makePlan, generation }: Wanted): Promise<BootContent> {
    const { exec, variant } = this.options
    const plan = makePlan()
    const links = this.options.links()
    const tools = await findTools(exec, variant ?? undefined)
    const xdp = links === null ? null : { links, image: await this.imageOf(plan) }
    return bootContent(plan, { generation, variant: tools.variant, xdp })
  }

  private async imageOf(plan: Plan): Promise<BootImage> {
    const key = imageKey(plan.early)
    if (this.image?.key !== key) this.image = { key, image: await bootImage(plan.early, await this.salt()) }
    return this.image.image
  }

  /** The same as long as the folder lives: an image that does not change need not be written again. */
  private async salt(): Promise<number> {
    const path = join(this.options.folder, 'salt')
    const stored = await readIfThere(path)
    if (stored !== null && stored.length === 4) return stored.readUInt32LE()
    const fresh = randomBytes(4)
    await writeAtomic(path, fresh)
    return fresh.readUInt32LE()
  }

  /** What derpanet-load would refuse at boot, it refuses now; then the older file stays. */
  private async check(): Promise<void> {
    const { exec, loader, folder } = this.options
    const { exitCode, stdout } = await exec({ command: loader, args: ['restore', '--check', 'boot.next', '--boot', folder], timeoutMs: checkTimeoutMs })
    if (exitCode === 0) return
    await removeIfThere(join(folder, 'boot.next'))
    this.image = null
    throw new Error(`derpanet-load refuses it: ${stdout.trim()}`)
  }

  private async removeUnused(content: BootContent): Promise<void> {
    const { folder } = this.options
    const previous = String((await readIfThere(join(folder, 'boot.previous'))) ?? '')
    for (const name of await readdir(folder)) {
      const digest = /^([0-9a-f]{64})\.(set|xdp|pages)$/.exec(name)?.[1]
      if (digest !== undefined && !content.text.includes(digest) && !previous.includes(digest)) await removeIfThere(join(folder, name))
    }
  }
}

async function isThere(path: string): Promise<boolean> {
  try {
    await access(path)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false
    throw error
  }
}
