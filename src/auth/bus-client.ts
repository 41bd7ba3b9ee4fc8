// What authorisation needs of the bus: to call others. The transport implements it; tests give a function.

export interface BusRequest {
  readonly destination: string
  readonly path: string
  /** "" leaves it out of the message. */
  readonly interface: string
  readonly member: string
  readonly signature: string
  /** Plain values; a variant is `{ signature, value }`. */
  readonly body: readonly unknown[]
  readonly timeoutMs: number
  /** Do not start the service when nobody owns the name. */
  readonly noAutoStart?: boolean
}

/** An error reply, or our own `…Timeout` and `…Disconnected` when none comes. */
export class BusError extends Error {
  readonly errorName: string

  constructor(errorName: string, text: string) {
    super(`${errorName}: ${text}`)
    this.name = 'BusError'
    this.errorName = errorName
  }
}

export const busErrorNames = {
  noReply: 'org.freedesktop.DBus.Error.NoReply',
  disconnected: 'org.freedesktop.DBus.Error.Disconnected',
} as const

export interface BusClient {
  /** Resolves with the body of the reply; rejects with BusError, always within `timeoutMs`. */
  call(request: BusRequest): Promise<readonly unknown[]>
}
