// A service by name → the packets it stands for.
import { DerpanetError, printable } from '../../errors.ts'
import { families, parsePrefix } from '../addr.ts'
import { portProtocols } from '../port.ts'
import { parsePortRange } from '../port.ts'
import { requireMatchableProtocol } from '../protocol.ts'
import type { Match, PortProtocol, ProtocolMatch } from '../firewall.ts'
import type { PortSpec, ServiceSettings } from '../settings.ts'
import type { Lookup } from './lookup.ts'

/** One kind of packet of a service. `id` names it within the service: `tcp/22`, `source/udp/67`, `gre@ipv4`, `http:tcp/80` of an include. */
export interface ServiceMatch {
  readonly id: string
  readonly match: Match
}

/**
 * Ports, protocols and source ports, its includes after it, each once. A service with a destination is for that
 * destination only, and nothing in a family for which it names none. Throws INVALID_SERVICE for an unknown name.
 */
export function serviceMatches(name: string, lookup: Lookup): readonly ServiceMatch[] {
  const seen = new Set<string>()
  const walk = (current: string): readonly ServiceMatch[] => {
    if (seen.has(current)) return []
    seen.add(current)
    const service = lookup.service(current)
    const prefix = current === name ? '' : `${current}:`
    const own = ownMatches(service).map(({ id, match }) => ({ id: prefix + id, match }))
    return [...own, ...service.includes.flatMap(walk)]
  }
  return walk(name)
}

/** Helpers that a service wants and its includes too, each once. */
export function serviceHelpers(name: string, lookup: Lookup, seen = new Set<string>()): readonly string[] {
  if (seen.has(name)) return []
  seen.add(name)
  const service = lookup.service(name)
  return [...new Set([...service.helpers, ...service.modules, ...service.includes.flatMap((include) => serviceHelpers(include, lookup, seen))])]
}

export interface HelperMatch {
  /** `ftp@tcp/21`. */
  readonly id: string
  /** The kernel's name. */
  readonly helper: string
  /** null: there is no definition of it, so nobody knows where it would listen. */
  readonly match: Match | null
}

/** Where the helpers of a service listen. Throws INVALID_SERVICE, INVALID_PORT, INVALID_PROTOCOL. */
export function helperMatches(name: string, lookup: Lookup): readonly HelperMatch[] {
  return serviceHelpers(name, lookup).flatMap((wanted): readonly HelperMatch[] => {
    const own = lookup.helper(wanted)
    const names = own === null ? lookup.helpersOfModule(wanted) : [wanted]
    if (names.length === 0) return [{ id: wanted, helper: wanted, match: null }]
    return names.flatMap((one) => {
      const { family, module, ports } = lookup.helper(one)!
      // one module may bring several helpers under names of their own
      const helper = lookup.helpersOfModule(module).length > 1 ? one : module.replace(/^nf_conntrack_/, '').replaceAll('_', '-')
      return ports.map((port): HelperMatch => ({
        id: `${one}@${port.protocol}/${port.port}`,
        helper,
        match: { ...(family === 'ipv4' || family === 'ipv6' ? { family } : {}), protocol: portMatch('port', port) },
      }))
    })
  })
}

function ownMatches(service: ServiceSettings): readonly ServiceMatch[] {
  const protocols: { id: string; protocol: ProtocolMatch }[] = [
    ...service.ports.map((port) => ({ id: `${port.protocol}/${port.port}`, protocol: portMatch('port', port) })),
    ...service.protocols.map((text) => ({ id: text, protocol: { kind: 'protocol', number: requireMatchableProtocol(text) } as const })),
    ...service.sourcePorts.map((port) => ({ id: `source/${port.protocol}/${port.port}`, protocol: portMatch('source-port', port) })),
  ]
  const destinations = families.flatMap((family) => {
    const text = service.destination[family]
    const destination = text === undefined ? null : parsePrefix(text)
    if (text !== undefined && destination?.family !== family) throw new DerpanetError('INVALID_DESTINATION', printable(text))
    return destination === null ? [] : [destination]
  })
  if (destinations.length === 0) return protocols.map(({ id, protocol }) => ({ id, match: { protocol } }))
  return protocols.flatMap(({ id, protocol }) => destinations.map((prefix) => ({
    id: `${id}@${prefix.family}`,
    match: { family: prefix.family, destination: { kind: 'prefix', prefix, invert: false }, protocol } as const,
  })))
}

/** Throws INVALID_PORT, INVALID_PROTOCOL. */
export function portMatch(kind: 'port' | 'source-port', { port, protocol }: PortSpec): ProtocolMatch {
  const ports = parsePortRange(port)
  if (ports === null) throw new DerpanetError('INVALID_PORT', printable(port))
  if (!(portProtocols as readonly string[]).includes(protocol)) throw new DerpanetError('INVALID_PROTOCOL', printable(protocol))
  return { kind, protocol: protocol as PortProtocol, ports }
}
