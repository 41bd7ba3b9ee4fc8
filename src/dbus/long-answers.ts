// When an answer may begin that keeps the bus busy for a while. The bus takes 4 KiB of ours in each of its turns, and a turn takes
// tens of milliseconds while others flood it: whoever comes behind 80 KiB that were begun waits half a second. So what that takes
// is learnt from the last ones, and while it is long and others ask for little, what is long has only a small part of the time.

/** Only answers above this say how fast the bus takes them: less has room in the socket. */
const tellingBytes = 8 * 1024
/** Others may have to wait so long because of one answer. */
const longMs = 25
/** After a long one others have so many times what it took, but at most so long: D-Bus callers wait 25 s for an answer. */
const restTimes = 100
const maxRestMs = 15_000
/** With nobody asking for so long there is nobody to keep waiting. */
const quietMs = 500

export class LongAnswers {
  private sending: { readonly bytes: number; readonly sinceMs: number } | null = null
  /** What the bus took for a byte of the last two. The faster one counts: once is an accident. */
  private last = 0
  private lastButOne = 0
  private nextMs = -Infinity
  private askedMs = -Infinity

  /** Somebody asks, and his answer is likely to have so many bytes. */
  isAsked(bytes: number, nowMs: number): void {
    if (bytes < tellingBytes) this.askedMs = nowMs
  }

  /** An answer of so many bytes begins to leave, with nothing before it. True when it will tell how fast the bus is: then say when there is room. */
  begins(bytes: number, nowMs: number): boolean {
    if (bytes < tellingBytes) return false
    this.sending ??= { bytes, sinceMs: nowMs }
    return true
  }

  /** Nothing waits in the socket any more. */
  hasRoom(nowMs: number): void {
    if (this.sending === null) return
    const { bytes, sinceMs } = this.sending
    this.sending = null
    this.lastButOne = this.last
    this.last = (nowMs - sinceMs) / bytes
    const tookMs = this.msPerByte * bytes
    this.nextMs = tookMs > longMs ? nowMs + Math.min(tookMs * restTimes, maxRestMs) : -Infinity
  }

  private get msPerByte(): number {
    return Math.min(this.last, this.lastButOne)
  }

  /** What may begin now has at most so many bytes. */
  mostBytes(nowMs: number): number {
    return nowMs >= this.nextMs || nowMs - this.askedMs > quietMs ? Infinity : longMs / this.msPerByte
  }
}

/** How long the longest answer of a member is remembered. */
const lengthMs = 30_000

/** The longest answer of a member lately: what the next one is expected to be. */
export class AnswerLengths<Member extends object> {
  private readonly known = new WeakMap<Member, { readonly bytes: number; readonly atMs: number }>()

  /** 0 when none was seen. */
  expected(member: Member): number {
    return this.known.get(member)?.bytes ?? 0
  }

  learn(member: Member, bytes: number, nowMs: number): void {
    const last = this.known.get(member)
    if (last === undefined || bytes >= last.bytes || nowMs - last.atMs > lengthMs) this.known.set(member, { bytes, atMs: nowMs })
  }
}
