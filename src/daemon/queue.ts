// The one writer's queue. Everything that touches kernel or configuration waits here and runs alone.
//
// Order: as they came, except that
//  1. panic goes before everything that waits, because it is asked for in an emergency;
//  2. an unban goes before reloads, which may take long, but never before another change: a ban and the unban that
//     undoes it must not trade places;
//  3. a reload that waits serves everybody who asks for one meanwhile.

export type TaskKind = 'panic' | 'unban' | 'change' | 'reload' | 'repair'

interface Task {
  readonly kind: TaskKind
  run(): Promise<void>
}

export class WriterQueue {
  private readonly waiting: Task[] = []
  private waitingReload: Promise<unknown> | null = null
  private running: Promise<void> | null = null

  /** Resolves or rejects with what `run` does. */
  add<Result>(kind: Exclude<TaskKind, 'reload'>, run: () => Promise<Result>): Promise<Result> {
    return this.insert(kind, run)
  }

  /** Joins the reload that waits, if there is one; otherwise queues `run`. */
  addReload(run: () => Promise<void>): Promise<void> {
    if (this.waitingReload !== null) return this.waitingReload as Promise<void>
    const done = this.insert('reload', () => {
      this.waitingReload = null
      return run()
    })
    this.waitingReload = done
    return done
  }

  hasWaitingReload(): boolean {
    return this.waitingReload !== null
  }

  /** Resolves when nothing runs or waits. */
  async idle(): Promise<void> {
    while (this.running !== null) await this.running
  }

  private insert<Result>(kind: TaskKind, run: () => Promise<Result>): Promise<Result> {
    return new Promise<Result>((resolve, reject) => {
      const task = async (): Promise<void> => {
        // what `run` throws before it promises anything is the caller's too, and never the queue's
        try {
          resolve(await run())
        } catch (error) {
          reject(error)
        }
      }
      this.waiting.splice(this.placeFor(kind), 0, { kind, run: task })
      this.running ??= this.drain()
    })
  }

  private placeFor(kind: TaskKind): number {
    if (kind === 'panic') {
      const place = this.waiting.findIndex((task) => task.kind !== 'panic')
      return place < 0 ? this.waiting.length : place
    }
    let place = this.waiting.length
    if (kind === 'unban') while (place > 0 && this.waiting[place - 1]?.kind === 'reload') place--
    return place
  }

  private async drain(): Promise<void> {
    // A turn of the loop first, so that calls which arrive together are ordered before the first of them runs.
    await Promise.resolve()
    for (let task = this.waiting.shift(); task !== undefined; task = this.waiting.shift()) await task.run()
    this.running = null
  }
}
