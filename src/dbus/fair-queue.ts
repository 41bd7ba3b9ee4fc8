// Which caller's call is next, when more wait than can be answered at once. Whoever used little lately goes first, the others
// take turns, and what a turn costs (time, bytes sent) is counted against whoever it was for: deficit round robin with new
// flows first, as in fq_codel (RFC 8290). So a hundred callers who ask without a pause do not hold up the one who asks now.

interface Flow<Item> {
  readonly sender: string
  readonly items: { readonly item: Item; readonly cost: number }[]
  /** Cost units it may still use before others have their turn; negative = it owes. */
  credit: number
  /** When it last was without anything waiting. */
  idleSinceMs: number
  place: 'fresh' | 'old' | 'idle'
  /** Its first call is being decided on; the later ones wait for that. */
  isBlocked: boolean
}

interface Options {
  /** Milliseconds; never goes back. */
  readonly clock: () => number
  /** What one turn may cost, and what somebody who was quiet may use before those who take turns. */
  readonly quantum?: number
  /** Credit given back a millisecond without calls: about the share of one among a hundred. */
  readonly recovery?: number
}

/** Senders kept only because they owe; beyond it they are forgiven. */
const maxIdle = 1024

export class FairQueue<Item> {
  private readonly flows = new Map<string, Flow<Item>>()
  private readonly fresh: Flow<Item>[] = []
  private readonly old: Flow<Item>[] = []
  private readonly clock: () => number
  private readonly quantum: number
  private readonly recovery: number

  constructor({ clock, quantum = 0.2, recovery = 0.01 }: Options) {
    this.clock = clock
    this.quantum = quantum
    this.recovery = recovery
  }

  /** Whether what this sender sends now has to wait behind what it sent before. */
  isBusy(sender: string): boolean {
    const flow = this.flows.get(sender)
    return flow !== undefined && (flow.isBlocked || flow.items.length > 0)
  }

  /** Whether `next` would give something. */
  get hasReady(): boolean {
    return this.fresh.length > 0 || this.old.length > 0
  }

  /** `cost` is what it will cost as far as that can be seen; it is charged at once, so that what is dear goes behind what is not. */
  push(sender: string, item: Item, cost = 0): void {
    const flow = this.flowOf(sender)
    flow.items.push({ item, cost })
    this.enter(flow)
    if (cost === 0) return
    flow.credit -= cost
    if (flow.place === 'fresh' && flow.credit <= 0) this.move(flow)
  }

  /** The sender's calls stay where they are until `unblock`. */
  block(sender: string): void {
    const flow = this.flowOf(sender)
    flow.isBlocked = true
    this.leave(flow)
  }

  unblock(sender: string): void {
    const flow = this.flows.get(sender)
    if (flow === undefined) return
    flow.isBlocked = false
    this.enter(flow)
  }

  /** null when nothing waits that costs at most so much, or everything that waits is blocked. */
  next(maxCost = Infinity): Item | null {
    for (let passed = 0; passed <= this.fresh.length + this.old.length;) {
      const flow = this.fresh[0] ?? this.old[0]
      if (flow === undefined) return null
      const [head] = flow.items
      if (head === undefined) this.leave(flow) // it keeps its credit: coming back at once gives no second first turn
      else if (head.cost > maxCost) {
        this.move(flow)
        passed++
      } else if (flow.credit <= 0) {
        flow.credit += this.quantum
        this.move(flow)
      } else {
        flow.items.shift()
        return head.item
      }
    }
    return null
  }

  /** What a call of this sender has cost, beyond what was charged with it. */
  charge(sender: string, cost: number): void {
    const flow = this.flowOf(sender)
    flow.credit -= cost
  }

  /** Drops everything of this sender and gives it back. */
  forget(sender: string): readonly Item[] {
    const flow = this.flows.get(sender)
    if (flow === undefined) return []
    this.leave(flow)
    // while it is blocked somebody still unblocks it
    if (!flow.isBlocked) this.flows.delete(sender)
    return flow.items.splice(0).map(({ item }) => item)
  }

  private flowOf(sender: string): Flow<Item> {
    const known = this.flows.get(sender)
    if (known !== undefined) return known
    if (this.flows.size >= maxIdle) for (const [name, flow] of this.flows) if (flow.place === 'idle' && !flow.isBlocked && flow.items.length === 0) this.flows.delete(name)
    const flow: Flow<Item> = { sender, items: [], credit: this.quantum, idleSinceMs: this.clock(), place: 'idle', isBlocked: false }
    this.flows.set(sender, flow)
    return flow
  }

  private enter(flow: Flow<Item>): void {
    if (flow.isBlocked || flow.place !== 'idle' || flow.items.length === 0) return
    flow.credit = Math.min(this.quantum, flow.credit + (this.clock() - flow.idleSinceMs) * this.recovery)
    flow.place = flow.credit > 0 ? 'fresh' : 'old'
    this[flow.place].push(flow)
  }

  private leave(flow: Flow<Item>): void {
    if (flow.place === 'idle') return
    const ring = this[flow.place]
    ring.splice(ring.indexOf(flow), 1)
    flow.place = 'idle'
    flow.idleSinceMs = this.clock()
  }

  /** To the end of those that take turns. */
  private move(flow: Flow<Item>): void {
    const ring = flow.place === 'fresh' ? this.fresh : this.old
    ring.splice(ring.indexOf(flow), 1)
    flow.place = 'old'
    this.old.push(flow)
  }
}
