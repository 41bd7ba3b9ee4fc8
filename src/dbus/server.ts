// The daemon's face on the bus, put together: connection, object tree, authorisation, signals, and the names last,
// because NetworkManager, libvirt and Docker act within milliseconds of seeing them.
import { existsSync, readFileSync } from 'node:fs'
import { createAuthority } from '../auth/authority.ts'
import type { FirewallService } from '../service.ts'
import { Dispatcher } from './dispatch.ts'
import type { HandlerContext } from './handlers/handler.ts'
import { memberTable, type Face } from './members.ts'
import { derpanetName } from './members/derpanet.ts'
import { firewalldName } from './members/firewalld.ts'
import { installedFace } from './installed-face.ts'
import { networkManagerInterfaces } from './network-manager.ts'
import { ObjectNumbers } from './objects.ts'
import { SignalMaker } from './signals.ts'
import { connect, type BusLog } from './transport.ts'
import { ObjectTree } from './tree.ts'
import { decodeBody } from './wire/decode.ts'
import { warmUp } from './warm-up.ts'

export interface BusOptions {
  readonly service: FirewallService
  /**
   * Resolves when rules are in force; the names are asked for only then, and owned when startBus resolves. Everything
   * before that is done meanwhile. Absent = they are in force already. A rejection is startBus's.
   */
  readonly inForce?: Promise<void>
  /** D-Bus address; without one DBUS_SYSTEM_BUS_ADDRESS, then the system bus. */
  readonly address?: string | undefined
  /** Makes the send buffer of a socket as small as can be; absent, or when it throws, an answer may wait behind some 200 KiB. */
  readonly narrow?: (fd: number) => void
  /** Called before hundreds of kilobytes of arguments are read. */
  readonly onBigCall?: () => void
  /** Which of firewalld's faces is shown; `auto` is what this host's clients know, `no` shows only our own interface. */
  readonly compat: Face | 'auto' | 'no'
  readonly log: BusLog
  /** Called with the names we want and do not own, at first and whenever that changes. */
  readonly onMissing?: (names: readonly string[]) => void
}

export interface BusServer {
  /** Well-known names we own. May be empty: another firewall daemon or the bus policy can refuse us any. */
  readonly names: readonly string[]
  /** Resolves with the reason when the bus goes away. Nothing of this server works then: stop it and start another, or exit. */
  readonly ended: Promise<Error>
  /** Gives the names back and disconnects. `ended` does not resolve then. */
  stop(): Promise<void>
}

function machineId(): string {
  for (const path of ['/etc/machine-id', '/var/lib/dbus/machine-id']) {
    if (existsSync(path)) return readFileSync(path, 'utf8').trim()
  }
  return ''
}

/** Rejects when the bus cannot be reached, and with whatever `inForce` rejects with. */
export async function startBus({ service, inForce, address, narrow, onBigCall, compat, log, onMissing = () => undefined }: BusOptions): Promise<BusServer> {
  const face: Face = compat === 'no' ? '2.5' : compat === 'auto' ? installedFace() : compat
  const withFirewalld = compat !== 'no'
  const numbers = new ObjectNumbers()
  const connecting = connect({ address, log, narrow })
  const context: HandlerContext = {
    service, face, numbers, hasIpv4: true, hasIpv6: existsSync('/proc/net/if_inet6'),
    foreignInterfaces: () => connecting.then(networkManagerInterfaces).catch((error: unknown) => {
      log.warn({ error: String(error) }, 'NetworkManager does not say which interfaces are its own')
      return new Set<string>()
    }),
  }
  const table = memberTable(face)
  const tree = new ObjectTree(table, context, withFirewalld)
  const transport = await connecting
  const authority = createAuthority({ bus: transport, log })
  const dispatcher = new Dispatcher({ tree, context, authority, out: transport, log, machineId: machineId(), onBigCall })
  const signals = new SignalMaker(table)

  transport.onCall((call) => dispatcher.handle(call))
  transport.onSignal((signal) => {
    if (signal.member !== 'NameOwnerChanged' || signal.sender !== 'org.freedesktop.DBus') return
    const [name, , newOwner] = decodeBody(signal)
    if (typeof name !== 'string' || newOwner !== '') return
    if (name.startsWith(':')) dispatcher.forget(name)
    else if (missing.has(name)) void ask(name)
  })
  /** Names that another program owns: taken when it leaves them. */
  const missing = new Set<string>()
  const names: string[] = []
  const ask = async (name: string): Promise<void> => {
    try {
      if (await transport.requestName(name)) {
        names.push(name)
        if (missing.delete(name)) log.info({ name }, 'bus name is ours now')
      } else if (!missing.has(name)) {
        missing.add(name)
        log.warn({ name }, 'bus name refused: another program owns it or the bus policy forbids it')
      }
    } catch (error) {
      // the connection is gone, or the bus does not answer: `ended` tells
      log.warn({ name, error: String(error) }, 'bus name could not be asked for')
    }
    onMissing([...missing])
  }
  /** firewalld 1.3 takes changed files into the permanent configuration by itself; 2.x waits for a reload. */
  const adopt = (): void => {
    if (!withFirewalld || face === '2.5') return
    service.adoptFiles({ name: 'watch' }).catch((error: unknown) => log.warn({ error: String(error) }, 'changed files are not taken'))
  }
  const unsubscribe = service.subscribe((event) => {
    if (event.kind === 'reloaded') numbers.renumber(service.permanent())
    if (event.kind === 'files-changed') return adopt()
    try {
      const shown = withFirewalld ? signals.firewalld(event, context) : []
      const told = [...shown, ...signals.derpanet(event)]
      // Reloaded, of which everybody looks at everything again, may come behind what has changed since
      if (event.kind === 'change') for (const one of told) transport.signal(one.path, one.interface, one.member, one.body)
      else dispatcher.announce(told)
      // after the last of several events: what was removed is known by its number until then
      if (event.kind === 'permanent') queueMicrotask(() => numbers.follow(service.permanent()))
    } catch (error) {
      // the change is in force whether it can be told or not
      log.error({ err: error, event: event.kind }, 'a signal could not be sent')
    }
  })
  try {
    await transport.addMatch("type='signal',sender='org.freedesktop.DBus',interface='org.freedesktop.DBus',member='NameOwnerChanged'")
    // While iptables works there is time for it.
    await warmUp(tree, context, log, { withFirewalld, inForce: inForce ?? Promise.resolve() })
    await inForce
    numbers.renumber(service.permanent())
    for (const name of withFirewalld ? [derpanetName, firewalldName] : [derpanetName]) await ask(name)
    log.info({ names: names.join(' '), face: withFirewalld ? face : 'none', unique: transport.name }, 'on the bus')
    return {
      names,
      ended: transport.ended,
      async stop() {
        unsubscribe()
        await transport.close()
      },
    }
  } catch (error) {
    unsubscribe()
    await transport.close()
    throw error
  }
}
