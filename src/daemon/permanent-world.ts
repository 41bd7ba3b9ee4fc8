// Changes of the permanent configuration: reduced, written to the files, remembered, told. Everything here runs alone in the
// writer's queue; what is enforced does not change by it.
import { DerpanetError } from '../errors.ts'
import type { Log } from '../log.ts'
import type { DirectChange } from '../model/direct.ts'
import type { PermanentChange, PermanentEffect, PermanentEvent } from '../model/permanent.ts'
import type { Runtime, Settings } from '../model/settings.ts'
import type { Caller, RuntimeToPermanentOptions } from '../service.ts'
import { reducePermanent } from '../settings/permanent.ts'
import { describeCaller } from './changes.ts'
import { asRefusal, describeEffect, differences, partsOfRuntime, type Loaded, type PermanentFiles } from './permanent.ts'

/** What the daemon does for it. */
export interface PermanentHost {
  readonly files: PermanentFiles
  readonly log: Log
  /** The permanent configuration as it was last read or written. */
  settings(): Settings
  /** Throws while a change waits for its confirmation. */
  requireSettled(): void
  /** Throws NOT_RUNNING. */
  requireRunning(): void
  /** Throws NOT_RUNNING, RUNNING_BUT_FAILED. */
  requireUsable(): void
  /** Throws the first mistake. */
  requireGood(loaded: Loaded): Settings
  /** The files as they are now, whether or not they are taken. */
  seen(settings: Settings): void
  /** Remembers it, begins the journal anew, tells the events. */
  take(settings: Settings, events: readonly PermanentEvent[]): void
}

export class PermanentWorld {
  private readonly host: PermanentHost

  constructor(host: PermanentHost) {
    this.host = host
  }

  async change(change: PermanentChange | DirectChange, caller: Caller): Promise<void> {
    this.host.requireSettled()
    this.host.requireUsable()
    const before = this.host.settings()
    const { effects, events } = reducePermanent(before, change)
    let settings = before
    for (const effect of effects) settings = await this.write(settings, effect)
    this.commit(settings, events, caller, effects)
  }

  /** What can be written is; throws RT_TO_PERM_FAILED with the rest. */
  async fromRuntime(runtime: Runtime, options: RuntimeToPermanentOptions, caller: Caller): Promise<void> {
    this.host.requireSettled()
    const written: { effect: PermanentEffect; event: PermanentEvent }[] = []
    const failed: string[] = []
    let settings = this.host.settings()
    for (const part of partsOfRuntime(runtime.settings, settings, options)) {
      try {
        settings = await this.write(settings, part.effect)
        written.push(part)
      } catch (error) {
        failed.push(`${describeEffect(part.effect)}: ${(error as Error).message}`)
      }
    }
    this.commit(settings, written.map(({ event }) => event), caller, written.map(({ effect }) => effect))
    if (failed.length === 0) return
    this.host.log.error({ failed }, 'parts of the runtime could not be written')
    throw new DerpanetError('RT_TO_PERM_FAILED', failed.join('; '))
  }

  async reset(reload: () => Promise<void>, caller: Caller): Promise<void> {
    this.host.requireSettled()
    this.host.requireRunning()
    try {
      await this.host.files.reset()
    } catch (error) {
      throw asRefusal(error)
    }
    this.host.log.warn({ by: describeCaller(caller) }, 'own configuration files are set aside')
    await reload()
  }

  /** The files were changed by hand: what they say becomes the permanent configuration, enforced or not. */
  async adoptFiles(caller: Caller): Promise<void> {
    this.host.requireSettled()
    const before = this.host.settings()
    const settings = this.host.requireGood(await this.host.files.load(before))
    const events = differences(before, settings)
    this.host.seen(settings)
    if (events.length === 0) return
    this.host.log.info({ changed: events.length, by: describeCaller(caller) }, 'changed files are part of the permanent configuration')
    this.host.take(settings, events)
  }

  private async write(settings: Settings, effect: PermanentEffect): Promise<Settings> {
    try {
      return await this.host.files.apply(settings, effect)
    } catch (error) {
      if (!(error instanceof DerpanetError)) this.host.log.error({ error, effect: describeEffect(effect) }, 'permanent configuration could not be written')
      throw asRefusal(error)
    }
  }

  private commit(settings: Settings, events: readonly PermanentEvent[], caller: Caller, effects: readonly PermanentEffect[]): void {
    this.host.log.info({ written: effects.map(describeEffect), by: describeCaller(caller) }, 'permanent configuration is written')
    this.host.take(settings, events)
  }
}
