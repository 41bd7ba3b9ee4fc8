// Which interfaces NetworkManager looks after: it binds them to their zones at every start and after every reload, so a
// binding of its own must not become permanent.
import { BusError, type BusClient } from '../auth/bus-client.ts'
import { Variant } from './wire/encode.ts'

const service = 'org.freedesktop.NetworkManager'
const root = '/org/freedesktop/NetworkManager'
const timeoutMs = 5000
/** NM_ACTIVATION_STATE_FLAG_EXTERNAL: somebody else made it, NetworkManager only shows it. */
const external = 0x80

const notThere: ReadonlySet<string> = new Set(['org.freedesktop.DBus.Error.ServiceUnknown', 'org.freedesktop.DBus.Error.NameHasNoOwner'])

async function property(bus: BusClient, path: string, suffix: string, name: string): Promise<unknown> {
  const [value] = await bus.call({
    destination: service, path, interface: 'org.freedesktop.DBus.Properties', member: 'Get', signature: 'ss', body: [`${service}${suffix}`, name],
    timeoutMs, noAutoStart: true,
  })
  return value instanceof Variant ? value.value : value
}

async function interfaceOf(bus: BusClient, device: string): Promise<readonly string[]> {
  const active = await property(bus, device, '.Device', 'ActiveConnection')
  if (typeof active !== 'string' || active === '/') return []
  const flags = await property(bus, active, '.Connection.Active', 'StateFlags')
  if (typeof flags === 'number' && (flags & external) !== 0) return []
  const name = await property(bus, device, '.Device', 'Interface')
  return typeof name === 'string' ? [name] : []
}

/** Empty where NetworkManager does not run. Rejects with BusError when it does not answer. */
export async function networkManagerInterfaces(bus: BusClient): Promise<ReadonlySet<string>> {
  let devices: unknown
  try {
    devices = await property(bus, root, '', 'AllDevices')
  } catch (error) {
    if (error instanceof BusError && notThere.has(error.errorName)) return new Set()
    throw error
  }
  const found = await Promise.all((Array.isArray(devices) ? devices : []).map((device: unknown) => interfaceOf(bus, String(device)).catch((error: unknown) => {
    // it went away while we asked
    if (error instanceof BusError && error.errorName.endsWith('UnknownMethod')) return []
    throw error
  })))
  return new Set(found.flat())
}
