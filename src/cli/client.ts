// Calls to the daemon over the bus, with answers a person understands when there is none.
import { DerpanetError, errorCodes, type ErrorCode } from '../errors.ts'
import { BusError } from '../auth/bus-client.ts'
import { connect, type BusLog } from '../dbus/transport.ts'

const service = { destination: 'org.derpanet.Derpanet1', path: '/org/derpanet/Derpanet1', interface: 'org.derpanet.Derpanet1' } as const
/** A reload with large lists may take its time. */
const callTimeoutMs = 120_000

const quiet: BusLog = { debug() {}, info() {}, warn() {}, error() {} }

/** Arguments of a call. In `body` a variant is `{ signature, value }`. */
export interface Arguments {
  readonly signature: string
  readonly body: readonly unknown[]
}

const noArguments: Arguments = { signature: '', body: [] }

/** Calls one member of org.derpanet.Derpanet1. Throws DerpanetError only. */
export async function callDaemon(member: string, address: string | undefined, { signature, body }: Arguments = noArguments): Promise<readonly unknown[]> {
  const transport = await connect({ address, log: quiet }).catch((error: unknown) => {
    throw new DerpanetError('NOT_RUNNING', `the system bus cannot be reached (${(error as Error).message}); is dbus running?`, { cause: error })
  })
  try {
    return await transport.call({ ...service, member, signature, body, timeoutMs: callTimeoutMs, noAutoStart: true })
  } catch (error) {
    throw explain(error)
  } finally {
    await transport.close()
  }
}

/** A call whose answer is one JSON text. */
export async function callJson<Answer>(member: string, address: string | undefined, given: Arguments = noArguments): Promise<Answer> {
  const [text] = await callDaemon(member, address, given)
  return JSON.parse(String(text)) as Answer
}

function explain(error: unknown): unknown {
  if (!(error instanceof BusError)) return error
  const text = error.message.slice(error.errorName.length + 2)
  switch (error.errorName) {
    case 'org.freedesktop.DBus.Error.ServiceUnknown':
    case 'org.freedesktop.DBus.Error.NameHasNoOwner':
      return new DerpanetError('NOT_RUNNING', 'derpanetd is not running: systemctl start derpanetd', { cause: error })
    case 'org.freedesktop.DBus.Error.AccessDenied':
      return new DerpanetError('NOT_AUTHORIZED', text, { cause: error })
    case 'org.freedesktop.DBus.Error.NoReply':
      return new DerpanetError('DBUS_ERROR', 'derpanetd does not answer', { cause: error })
    default:
      return withCode(text, error)
  }
}

/** Our errors travel as `CODE: detail`, or as the code alone. */
function withCode(text: string, cause: BusError): DerpanetError {
  const code = /^[A-Z0-9_]+/.exec(text)?.[0] ?? ''
  if (Object.hasOwn(errorCodes, code)) return new DerpanetError(code as ErrorCode, text.slice(code.length).replace(/^: /, ''), { cause })
  if (/NotAuthorized/.test(cause.errorName)) return new DerpanetError('NOT_AUTHORIZED', text, { cause })
  return new DerpanetError('DBUS_ERROR', cause.message, { cause })
}
