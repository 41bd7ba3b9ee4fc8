// Which caller's call is next, when more wait than can be answered at once. Three of four times whoever wants least: few calls,
// and cheap ones by what the last one cost; so a hundred callers who ask without a pause do not hold up the one who asks now,
// however slow the bus takes the answers. The fourth time whoever got least, so that nobody waits for ever. No clock: on a busy
// machine the time something took says more about the machine.

interface Flow<Item> {
  readonly items: { readonly item: Item; readonly cost: number }[]
  /** What it was charged, but what nobody asked for is not saved up: at least what the others had got when it came. */
  spent: number
  /** What was charged for its last one. */
  lastCost: number
  /** Its first call is being decided on; the later ones wait for that. */
  isBlocked: boolean
}

/** Senders remembered though they want nothing; beyond it they are forgotten. */
const maxIdle = 1024
/** Each so-many-th turn goes to whoever got least. */
const turnsOfLeast = 4

export class FairQueue<Item> {
  private readonly flows = new Map<string, Flow<Item>>()
  /** Those with something that may be taken; who was served last is at the end. */
  private readonly ready = new Set<Flow<Item>>()
  private readonly expected: (item: Item) => number
  private turn = 0
  /** What whoever got least of those that wait had got. */
  private least = 0

  /** `expected` is what a call will cost beyond what is known when it comes, as far as it can be guessed when it is its turn. */
  constructor(expected: (item: Item) => number = () => 0) {
    this.expected = expected
  }

  /** Whether what this sender sends now has to wait behind what it sent before. */
  isBusy(sender: string): boolean {
    const flow = this.flows.get(sender)
    return flow !== undefined && (flow.isBlocked || flow.items.length > 0)
  }

  /** Whether `next` would give something. */
  get hasReady(): boolean {
    return this.ready.size > 0
  }

  /** `cost` is what it will cost as far as that can be seen. */
  push(sender: string, item: Item, cost = 0): void {
    const flow = this.flowOf(sender)
    flow.items.push({ item, cost })
    this.enter(flow)
  }

  /** The sender's calls stay where they are until `unblock`. */
  block(sender: string): void {
    const flow = this.flowOf(sender)
    flow.isBlocked = true
    this.ready.delete(flow)
  }

  unblock(sender: string): void {
    const flow = this.flows.get(sender)
    if (flow === undefined) return
    flow.isBlocked = false
    this.enter(flow)
  }

  /** null when nothing waits that costs at most so much, and is expected to cost at most so much beyond that, or all of it is blocked. */
  next(maxCost = Infinity, maxExpected = Infinity): Item | null {
    const isOfLeast = ++this.turn % turnsOfLeast === 0
    let best: Flow<Item> | null = null
    let bestKey = Infinity
    for (const flow of this.ready) {
      const [head] = flow.items
      if (head === undefined || head.cost > maxCost) continue
      const expected = this.expected(head.item)
      if (expected > maxExpected) continue
      const key = isOfLeast ? flow.spent : flow.items.length * (head.cost + Math.max(expected, flow.lastCost))
      if (key < bestKey) {
        best = flow
        bestKey = key
      }
    }
    const taken = best?.items.shift()
    if (best === null || taken === undefined) return null
    if (isOfLeast) this.least = best.spent
    best.spent += taken.cost
    this.ready.delete(best)
    if (best.items.length > 0) this.ready.add(best)
    return taken.item
  }

  /** What a call of this sender has cost, beyond what was known when it came. */
  charge(sender: string, cost: number): void {
    const flow = this.flowOf(sender)
    flow.spent += cost
    flow.lastCost = cost
  }

  /** Drops everything of this sender and gives it back. */
  forget(sender: string): readonly Item[] {
    const flow = this.flows.get(sender)
    if (flow === undefined) return []
    this.ready.delete(flow)
    // while it is blocked somebody still unblocks it
    if (!flow.isBlocked) this.flows.delete(sender)
    return flow.items.splice(0).map(({ item }) => item)
  }

  private flowOf(sender: string): Flow<Item> {
    const known = this.flows.get(sender)
    if (known !== undefined) return known
    if (this.flows.size >= maxIdle) for (const [name, flow] of this.flows) if (!flow.isBlocked && flow.items.length === 0) this.flows.delete(name)
    const flow: Flow<Item> = { items: [], spent: this.least, lastCost: 0, isBlocked: false }
    this.flows.set(sender, flow)
    return flow
  }

  private enter(flow: Flow<Item>): void {
    if (flow.isBlocked || flow.items.length === 0 || this.ready.has(flow)) return
    flow.spent = Math.max(flow.spent, this.least)
    this.ready.add(flow)
  }
}
