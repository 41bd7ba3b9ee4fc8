// Signals of which hundreds come at once: a reload tells of every permanent object, 55 KB. Written in one piece they would keep
// every answer waiting behind them for as many turns of the bus as introspection does; so they leave between answers.
import type { Signal } from './signals.ts'
import type { Outgoing } from './transport.ts'

/** So few leave at once when none waits. */
const few = 16

export class Announcements {
  private readonly out: Pick<Outgoing, 'signal'>
  private waiting: readonly Signal[] = []
  private sent = 0
  private readonly ends: (() => void)[] = []

  constructor(out: Pick<Outgoing, 'signal'>) {
    this.out = out
  }

  get isEmpty(): boolean {
    return this.sent === this.waiting.length
  }

  /** In this order, after those that wait. */
  add(signals: readonly Signal[]): void {
    const isFew = this.isEmpty && signals.length <= few
    this.waiting = [...this.waiting.slice(this.sent), ...signals]
    this.sent = 0
    if (isFew) while (this.sendNext());
  }

  /** False when none waits. */
  sendNext(): boolean {
    const signal = this.waiting[this.sent]
    if (signal === undefined) return false
    this.sent++
    if (this.isEmpty) {
      this.waiting = []
      this.sent = 0
      for (const end of this.ends.splice(0)) end()
    }
    this.out.signal(signal.path, signal.interface, signal.member, signal.body)
    return true
  }

  /** Resolves when none waits any more; null when none does. */
  gone(): Promise<void> | null {
    return this.isEmpty ? null : new Promise((resolve) => this.ends.push(resolve))
  }
}
