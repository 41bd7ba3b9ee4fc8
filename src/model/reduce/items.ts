// The lists of a zone that change one item at a time: what an item is, when it is there already, how it goes.
import { DerpanetError, printable } from '../../errors.ts'
import { parseAddr4, parseAddr6 } from '../addr.ts'
import type { ZoneItemField } from '../change.ts'
import { formatPortRange, isPortProtocol, parsePortRange, parsePortSpec, parseSinglePort } from '../port.ts'
import { requireProtocol } from '../protocol.ts'
import type { Lookup } from '../resolve/lookup.ts'
import { richDecisions } from '../resolve/rich.ts'
import { formatRichRule, parseRichRule } from '../rich/index.ts'
import type { ForwardPort, PortSpec, ZoneSettings } from '../settings.ts'
import { addPorts, coversPorts, removePorts } from './ports.ts'

type Item<Field extends ZoneItemField> = ZoneSettings[Field][number]

export interface ItemRule<T> {
  /** Canonical item of a call that adds. Throws what firewalld answers, unknown names included. */
  parse(item: readonly string[], lookup: Lookup): T
  /** The same for a call that removes: what cannot be in the list need not be refused, null says that it is not there. */
  parseRemoval(item: readonly string[], lookup: Lookup): T | null
  /** Canonical text, as positions and timers know it. */
  text(item: T): string
  /** As answers show it, from the caller's own columns. */
  shown(item: readonly string[]): string
  has(list: readonly T[], item: T): boolean
  add(list: readonly T[], item: T): readonly T[]
  /** All of it that is there; the same list when nothing is. */
  remove(list: readonly T[], item: T): readonly T[]
}

function plain<T>(rule: Pick<ItemRule<T>, 'parse' | 'text'> & Partial<ItemRule<T>>): ItemRule<T> {
  const is = (item: T) => (other: T): boolean => rule.text(other) === rule.text(item)
  return {
    parseRemoval: rule.parse,
    shown: (item) => printable(item.join(':')),
    has: (list, item) => list.some(is(item)),
    add: (list, item) => [...list, item],
    remove: (list, item) => (list.some(is(item)) ? list.filter((other) => !is(item)(other)) : list),
    ...rule,
  }
}

const column = (item: readonly string[], at: number): string => item[at] ?? ''

/** A bad port or protocol is not in the list; firewalld says so rather than calling it invalid. */
function portOrNull(item: readonly string[]): PortSpec | null {
  return parsePortRange(column(item, 0)) === null || !isPortProtocol(column(item, 1)) ? null : parsePortSpec(column(item, 0), column(item, 1))
}

const ports: ItemRule<PortSpec> = {
  parse: (item) => parseSinglePort(column(item, 0), column(item, 1)),
  parseRemoval: portOrNull,
  text: ({ port, protocol }) => `${port}/${protocol}`,
  shown: (item) => printable(item.join(':')),
  has: (list, { port, protocol }) => coversPorts(list, protocol, parsePortRange(port)!),
  add: (list, { port, protocol }) => addPorts(list, protocol, parsePortRange(port)!),
  remove: (list, { port, protocol }) => removePorts(list, protocol, parsePortRange(port)!),
}

function parseForwardPort(item: readonly string[]): ForwardPort {
  const [port = '', protocol = '', toPort = '', toAddr = ''] = item
  const from = parseSinglePort(port, protocol)
  const to = toPort === '' ? null : parsePortRange(toPort)
  if (toPort !== '' && to === null) throw new DerpanetError('INVALID_PORT', printable(toPort))
  if (toAddr !== '' && parseAddr4(toAddr) === null && parseAddr6(toAddr) === null) throw new DerpanetError('INVALID_ADDR', printable(toAddr))
  if (to === null && toAddr === '') throw new DerpanetError('INVALID_FORWARD', 'port-forwarding is missing to-port AND to-addr')
  return { ...from, toPort: to === null ? '' : formatPortRange(to), toAddr }
}

/** One row a field; the total record makes a missing one a compile error. */
export const itemRules: { readonly [Field in ZoneItemField]: ItemRule<Item<Field>> } = {
  services: plain<string>({
    parse(item, lookup) {
      lookup.service(column(item, 0))
      return column(item, 0)
    },
    text: (name) => name,
  }),
  ports,
  sourcePorts: ports,
  protocols: plain<string>({
    parse(item) {
      requireProtocol(column(item, 0))
      return column(item, 0)
    },
    text: (protocol) => protocol,
  }),
  icmpBlocks: plain<string>({
    parse(item, lookup) {
      lookup.icmpType(column(item, 0))
      return column(item, 0)
    },
    text: (name) => name,
    // firewalld lists them sorted
    add: (list, name) => [...list, name].sort(),
  }),
  forwardPorts: plain<ForwardPort>({
    parse: parseForwardPort,
    text: ({ port, protocol, toPort, toAddr }) => `${port}/${protocol}:${toPort}${toAddr === '' ? '' : `:${toAddr}`}`,
  }),
  richRules: plain<string>({
    parse(item, lookup) {
      const rule = parseRichRule(column(item, 0))
      richDecisions(rule, lookup)
      return formatRichRule(rule)
    },
    // a rule that names what is gone can still be taken out
    parseRemoval: (item) => formatRichRule(parseRichRule(column(item, 0))),
    text: (rule) => rule,
    shown: (item) => printable(formatRichRule(parseRichRule(column(item, 0)))),
  }),
}

/** The rule of a field, for code that works on all of them. */
export function itemRule(field: ZoneItemField): ItemRule<unknown> {
  return itemRules[field] as ItemRule<unknown>
}
