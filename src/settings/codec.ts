// Item and scalar codecs: how one value is checked, made canonical, and written as text or as the columns of a bus call.
import { DerpanetError, printable } from '../errors.ts'
import type { ErrorCode } from '../errors.ts'
import { formatPrefix, parseAddr4, parseAddr6, parsePrefix } from '../model/addr.ts'
import { parsePortRange, parsePortSpec, parseSinglePort, formatPortRange } from '../model/port.ts'
import { checkInterfaceName } from '../model/interface-name.ts'
import { parseZoneSource } from '../model/source.ts'
import { parseProtocol } from '../model/protocol.ts'
import { formatRichRule, parseRichRule } from '../model/rich/index.ts'
import type { ForwardPort, PortSpec } from '../model/settings.ts'
import type { DictField, FlagField, ItemCodec, ListField, ScalarField } from './field.ts'
import { isName } from './names.ts'
import type { KindName } from './names.ts'
import { didYouMean } from './suggest.ts'

type Common = Pick<FlagField, 'yaml' | 'doc' | 'runtime'> &
  Partial<Pick<FlagField, 'dbus' | 'noun' | 'plural' | 'since' | 'example'>>

export const flag = (row: Common): FlagField => ({ shape: 'flag', ...row })

export const list = <T>(item: ItemCodec<T>, code: ErrorCode, row: Common): ListField<T> => ({ shape: 'list', item, code, ...row })

export const dict = (row: Common & Pick<DictField, 'keys' | 'elsewhere' | 'parse' | 'code'>): DictField => ({ shape: 'dict', ...row })

// --- scalars ---

function requireText(value: unknown, code: ErrorCode): string {
  if (typeof value === 'string') return value
  throw new DerpanetError(code, `expected text, got ${value === null ? 'nothing' : typeof value}`)
}

/** Free text for people: no control characters but newline and tab. */
export function text(row: Common & { readonly query?: true }): ScalarField<string> {
  const parse = (value: unknown): string => {
    const found = requireText(value, 'INVALID_VALUE')
    if (/[\u0000-\u0008\u000b-\u001f\u007f]/.test(found)) throw new DerpanetError('INVALID_VALUE', 'control characters are not allowed')
    return found
  }
  return { shape: 'scalar', type: 's', code: 'INVALID_VALUE', parse, ...row }
}

/**
 * One of a few words. `bus` gives the spelling of the bus where it differs: there no other is taken, in files both are.
 * `also`: words that old clients and files say for one of them.
 */
export function word<T extends string>(
  values: readonly T[], code: ErrorCode,
  row: Common & { readonly query?: true; readonly bus?: Partial<Record<T, string>>; readonly also?: Readonly<Record<string, T>> },
): ScalarField<T> {
  const { bus, also = {}, ...rest } = row
  const parse = (value: unknown): T => {
    const found = requireText(value, code)
    const match = Object.hasOwn(also, found) ? also[found] : values.find((candidate) => candidate === found || bus?.[candidate] === found)
    return match ?? refuse(found)
  }
  const refuse = (found: string, taken: readonly string[] = values): never => {
    const shown = taken.map((candidate) => candidate === '' ? '""' : candidate).join(', ')
    throw new DerpanetError(code, `'${printable(found)}' is none of ${shown}${didYouMean(found, taken)}`)
  }
  const toBus = (value: T): string => bus?.[value] ?? value
  const fromBus = (value: unknown): T => {
    const found = requireText(value, code)
    return bus !== undefined && Object.hasOwn(bus, found) ? refuse(found, values.map(toBus)) : parse(found)
  }
  return { shape: 'scalar', type: 's', code, parse, values, ...(bus === undefined ? {} : { toBus, fromBus }), ...rest }
}

/** A whole number within inclusive bounds; `refused` are values inside them that mean nothing. */
export function integer(
  bounds: { readonly min: number; readonly max: number; readonly refused?: readonly number[] }, code: ErrorCode, row: Common,
): ScalarField<number> {
  const parse = (value: unknown): number => {
    const found = typeof value === 'bigint' ? Number(value) : typeof value === 'string' && /^-?\d{1,9}$/.test(value) ? Number(value) : value
    if (typeof found !== 'number' || !Number.isInteger(found)) throw new DerpanetError(code, 'expected a whole number')
    if (found < bounds.min || found > bounds.max || bounds.refused?.includes(found)) {
      const except = bounds.refused === undefined ? '' : `, not ${bounds.refused.join(' or ')}`
      throw new DerpanetError(code, `${found} is not within ${bounds.min} to ${bounds.max}${except}`)
    }
    return found
  }
  return { shape: 'scalar', type: 'i', code, parse, values: [`${bounds.min}..${bounds.max}`], ...row }
}

// --- items ---

/** An item that is one text. `check` returns the canonical text and throws DerpanetError. */
export function textItem(column: string, check: (text: string) => string): ItemCodec<string> {
  return {
    signature: 's',
    columns: [column],
    parse: (columns) => check(onlyColumn(columns)),
    format: (item) => [item],
    toText: (item) => item,
    fromText: check,
  }
}

function onlyColumn(columns: readonly string[]): string {
  if (columns.length !== 1) throw new DerpanetError('INVALID_TYPE', `expected one text, got ${columns.length}`)
  return columns[0] ?? ''
}

/** The name of another object; whether it exists is for those to check who see the whole configuration. */
export function nameItem(column: string, kind: KindName, code: ErrorCode): ItemCodec<string> {
  return textItem(column, (name) => {
    if (!isName(kind, name)) throw new DerpanetError(code, printable(name))
    return name
  })
}

export const portItem: ItemCodec<PortSpec> = {
  signature: '(ss)',
  columns: ['port', 'protocol'],
  yamlKeys: ['port', 'protocol'],
  parse: (columns) => {
    if (columns.length !== 2) throw new DerpanetError('INVALID_TYPE', `expected port and protocol, got ${columns.length} texts`)
    return parsePortSpec(columns[0] ?? '', columns[1] ?? '')
  },
  format: (item) => [item.port, item.protocol],
  toText: (item) => `${item.port}/${item.protocol}`,
  fromText: (found) => {
    const slash = found.indexOf('/')
    if (slash < 0) {
      const hint = parsePortRange(found) === null ? '' : ` has no protocol, write ${found}/tcp or ${found}/udp`
      throw new DerpanetError('INVALID_PORT', `${printable(found)}${hint}`)
    }
    return parseSinglePort(found.slice(0, slash), found.slice(slash + 1))
  },
}

function parseForward(port: string, protocol: string, toPort: string, toAddr: string): ForwardPort {
  const from = parsePortSpec(port, protocol)
  const range = toPort === '' ? null : parsePortRange(toPort)
  if (toPort !== '' && range === null) throw new DerpanetError('INVALID_PORT', printable(toPort))
  if (toAddr !== '' && parseAddr4(toAddr) === null && parseAddr6(toAddr) === null) throw new DerpanetError('INVALID_ADDR', printable(toAddr))
  if (toPort === '' && toAddr === '') throw new DerpanetError('INVALID_FORWARD', 'neither to-port nor to-addr is given')
  return { ...from, toPort: range === null ? '' : formatPortRange(range), toAddr }
}

/** Text: `80/tcp:8080`, `80/tcp::10.0.0.2`, `80/tcp:8080:2001:db8::2`. */
export const forwardPortItem: ItemCodec<ForwardPort> = {
  signature: '(ssss)',
  columns: ['port', 'protocol', 'toport', 'toaddr'],
  yamlKeys: ['port', 'protocol', 'to-port', 'to-addr'],
  parse: (columns) => {
    if (columns.length !== 4) throw new DerpanetError('INVALID_TYPE', `expected port, protocol, toport and toaddr, got ${columns.length} texts`)
    return parseForward(columns[0] ?? '', columns[1] ?? '', columns[2] ?? '', columns[3] ?? '')
  },
  format: (item) => [item.port, item.protocol, item.toPort, item.toAddr],
  toText: (item) => `${item.port}/${item.protocol}:${item.toPort}${item.toAddr === '' ? '' : `:${item.toAddr}`}`,
  fromText: (found) => {
    const match = /^([^/:]*)\/([^:]*):([^:]*)(?::(.*))?$/.exec(found)
    if (match === null) throw new DerpanetError('INVALID_FORWARD', `'${printable(found)}' is not like 80/tcp:8080 or 80/tcp:8080:192.0.2.1`)
    return parseForward(match[1] ?? '', match[2] ?? '', match[3] ?? '', match[4] ?? '')
  },
}

/** A protocol by name or number, kept as written. */
export const protocolItem: ItemCodec<string> = textItem('protocol', (found) => {
  if (parseProtocol(found) === null) throw new DerpanetError('INVALID_PROTOCOL', printable(found))
  return found
})

export const interfaceItem: ItemCodec<string> = textItem('interface', (name) => {
  checkInterfaceName(name)
  return name
})

/** Address, prefix (dotted mask too), MAC in upper case, ipset:NAME or list:NAME. Addresses stay as written; see sourceKey for comparing. */
export const sourceItem: ItemCodec<string> = textItem('source', (text) => {
  const source = parseZoneSource(text)
  if (source.kind === 'ipset' && !isName('ipset', source.name)) throw new DerpanetError('INVALID_IPSET', printable(source.name))
  if (source.kind === 'list' && !isName('list', source.name)) throw new DerpanetError('INVALID_SOURCE', printable(source.name))
  return source.text
})

/** Equal keys are the same source, however it was written: `192.0.2.1/24` and `192.0.2.0/255.255.255.0`. */
export function sourceKey(source: string): string {
  const prefix = parsePrefix(source)
  return prefix === null ? source : formatPrefix(prefix)
}

/** Canonical address or prefix. */
export const prefixItem: ItemCodec<string> = textItem('address', (found) => {
  const prefix = parsePrefix(found)
  if (prefix === null) throw new DerpanetError('INVALID_ADDR', printable(found))
  return formatPrefix(prefix)
})

export const richRuleItem: ItemCodec<string> = textItem('rule', (found) => formatRichRule(parseRichRule(found)))

export const familyItem = (column: string): ItemCodec<string> => textItem(column, (found) => {
  if (found !== 'ipv4' && found !== 'ipv6') throw new DerpanetError('INVALID_DESTINATION', `'${printable(found)}' is neither ipv4 nor ipv6`)
  return found
})

/** A kernel module, with or without the nf_conntrack_ of connection helpers. */
export const moduleItem: ItemCodec<string> = textItem('module', (found) => {
  if (!/^[A-Za-z0-9_-]{1,64}$/.test(found)) throw new DerpanetError('INVALID_MODULE', printable(found))
  return found
})

/** `8` = every code of type 8, `3/1` = that code alone. */
export const icmpNumberItem: ItemCodec<readonly [number, number | null]> = {
  signature: '(ss)',
  columns: ['type', 'code'],
  parse: (columns) => parseIcmpNumber(columns[1] === undefined || columns[1] === '' ? columns[0] ?? '' : `${columns[0]}/${columns[1]}`),
  format: (item) => [String(item[0]), item[1] === null ? '' : String(item[1])],
  toText: (item) => item[1] === null ? String(item[0]) : `${item[0]}/${item[1]}`,
  fromText: parseIcmpNumber,
}

function parseIcmpNumber(found: string): readonly [number, number | null] {
  const match = /^(\d{1,3})(?:\/(\d{1,3}))?$/.exec(found)
  const type = Number(match?.[1])
  const code = match?.[2] === undefined ? null : Number(match[2])
  if (match === null || type > 255 || (code ?? 0) > 255) throw new DerpanetError('INVALID_ICMPTYPE', `'${printable(found)}' is not TYPE or TYPE/CODE`)
  return [type, code]
}

