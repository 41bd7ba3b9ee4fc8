// The properties of /config: the keys of firewalld.conf, by their words, whatever the store calls them.
import { DerpanetError, printable } from '../../errors.ts'
import { confKeys, confValue, isYes, type ConfKey } from '../../settings/firewalld-conf.ts'
import { ArgumentError } from '../convert.ts'
import type { Face } from '../members.ts'
import { permanentSettings, type Call, type PropertyGetter, type PropertyHandlers, type PropertySetter } from './handler.ts'

/** Written by nobody: firewalld takes the value and forgets it. Lockdown came to that with 2.x. */
function isIgnored(name: string, face: Face): boolean {
  return name === 'MinimalMark' || name === 'AllowZoneDrifting' || name === 'AutomaticHelpers' || (face === '2.5' && name === 'Lockdown')
}

const rpfilter = 'IPv6_rpfilter'
const yesNo = (flag: boolean): string => (flag ? 'yes' : 'no')

/** The older property knows only whether there is a filter. */
function isFiltering(value: string): boolean {
  return value !== 'no' && value !== 'false'
}

/** What a property says. `IPv6_rpfilter2` has all the words of the key. */
export function confProperty(call: Call, name: string): string {
  const { face } = call.context
  const main = permanentSettings(call).main.value
  if (name === 'IPv6_rpfilter2') return confValue(main, rpfilter, face)
  if (name === rpfilter) return yesNo(isFiltering(confValue(main, rpfilter, face)))
  if (isIgnored(name, face) && name !== 'MinimalMark') return 'no'
  return confValue(main, name, face)
}

function setter(name: string, row: ConfKey): PropertySetter {
  return async (call, value) => {
    const { face, service } = call.context
    if (row.dbus === 'i') {
      if (typeof value !== 'number') throw new ArgumentError(`${name} is no number`)
      return
    }
    if (typeof value !== 'string') throw new ArgumentError(`${name} is no text`)
    if (isIgnored(name, face) && name !== 'Lockdown') return
    const isValid = name === rpfilter ? /^(yes|no|true|false)$/i.test(value) : row.isValid(value, face)
    if (!isValid) throw new DerpanetError('INVALID_VALUE', `'${printable(value)}' for ${name}`)
    if (isIgnored(name, face)) return
    await service.changePermanent({ kind: 'conf-set', key: row.name, value }, call.caller)
  }
}

const rows: readonly (readonly [string, ConfKey])[] = [
  ...confKeys.flatMap((row) => (row.dbus === null ? [] : [[row.name, row] as const])),
  ...confKeys.flatMap((row) => (row.name === rpfilter ? [['IPv6_rpfilter2', row] as const] : [])),
]

export const configProperties: PropertyHandlers = {
  get: Object.fromEntries(rows.map(([name, row]): [string, PropertyGetter] =>
    [name, (call) => (row.dbus === 'i' ? Number(confProperty(call, name)) : confProperty(call, name))])),
  // DefaultZone is changed by setDefaultZone alone; the dispatcher says so
  set: Object.fromEntries(rows.filter(([name]) => name !== 'DefaultZone').map(([name, row]) => [name, setter(name, row)])),
}

/** Properties that a changed key shows in, with what each says now. */
export function changedProperties(key: string, value: string, face: Face): readonly (readonly [string, string])[] {
  if (key !== rpfilter) return [[key, value]]
  return [[rpfilter, yesNo(isFiltering(value))], ...(face === '2.5' ? [['IPv6_rpfilter2', value] as const] : [])]
}

/** Is IPv6 traffic with a source that has no way back dropped, by the configuration in force? */
export function hasReversePathFilter(call: Call): boolean {
  const main = call.context.service.runtime().settings.main.value
  const word = confValue(main, rpfilter, call.context.face)
  return isYes(word) || isFiltering(word)
}
