// From one settings row to the members every client knows: getPorts, addPort, queryPort, PortAdded …
// The row's shape decides the verbs, the world (permanent object or runtime zone) decides the arguments.
import { actions } from '../../auth/actions.ts'
import { fieldRows, type AnyField, type FieldTable, type ListField } from '../../settings/field.ts'
import { args, method, signal, type Arg, type FamilyUse, type MemberRow } from './row.ts'

/** Where firewalld's argument names do not follow from the row. Clients see them in introspection. */
export interface ArgNames {
  /** Names of an item's columns in add, remove and query. */
  readonly item?: Readonly<Record<string, readonly string[]>>
  /** Name of the one argument of set. */
  readonly set?: Readonly<Record<string, string>>
  /** Rows without members on this object: lonely rows take their place, or firewalld has none. */
  readonly omit?: readonly string[]
}

function pluralOf(field: AnyField): string {
  return field.plural ?? `${field.noun ?? ''}s`
}

function text(list: readonly Arg[]): string {
  return list.map((arg) => `${arg.name}:${arg.type}`).join(' ')
}

function itemArgs(key: string, field: ListField<any>, names: ArgNames): string {
  return text((names.item?.[key] ?? field.item.columns).map((name) => ({ name, type: 's' })))
}

/** Members of a permanent object: every verb, no zone argument, no signal (Updated tells). All need `config`. */
export function permanentFamily<S>(table: FieldTable<S>, names: ArgNames): readonly MemberRow[] {
  const rows: MemberRow[] = []
  for (const [key, field] of fieldRows(table)) {
    if (field.noun === undefined || names.omit?.includes(key) === true) continue
    const noun = field.noun
    const setName = names.set?.[key] ?? key
    const use = (verb: FamilyUse['verb']): FamilyUse => ({ verb, field: key, shape: field.shape })
    const row = (name: string, input: string, out: string, verb: FamilyUse['verb']): void => {
      rows.push(method(name, input, out, actions.config, use(verb)))
    }
    switch (field.shape) {
      case 'scalar':
        row(`get${noun}`, '', field.type, 'get')
        row(`set${noun}`, `${setName}:${field.type}`, '', 'set')
        if (field.query === true) row(`query${noun}`, `${setName}:${field.type}`, 'b', 'query')
        break
      case 'flag':
        row(`get${noun}`, '', 'b', 'get')
        row(`set${noun}`, `${setName}:b`, '', 'set')
        row(`add${noun}`, '', '', 'add')
        row(`remove${noun}`, '', '', 'remove')
        row(`query${noun}`, '', 'b', 'query')
        break
      case 'list': {
        const type = `a${field.item.signature}`
        const item = itemArgs(key, field, names)
        row(`get${pluralOf(field)}`, '', type, 'get')
        row(`set${pluralOf(field)}`, `${setName}:${type}`, '', 'set')
        row(`add${noun}`, item, '', 'add')
        row(`remove${noun}`, item, '', 'remove')
        row(`query${noun}`, item, 'b', 'query')
        break
      }
      case 'dict':
        row(`get${pluralOf(field)}`, '', 'a{ss}', 'get')
        row(`set${pluralOf(field)}`, `${setName}:a{ss}`, '', 'set')
        row(`add${noun}`, 'key:s value:s', '', 'add')
        row(`remove${noun}`, 'key:s', '', 'remove')
        row(`query${noun}`, 'key:s value:s', 'b', 'query')
        break
    }
  }
  return rows
}

/**
 * Members of the runtime `.zone` interface: the zone comes first, add takes a timeout where the row is timed, changes
 * answer the zone's name. Lists of several columns are `aas` here, not `a(ss)`.
 */
export function runtimeFamily<S>(table: FieldTable<S>, names: ArgNames): readonly MemberRow[] {
  const rows: MemberRow[] = []
  for (const [key, field] of fieldRows(table)) {
    if (field.noun === undefined || field.runtime === 'no' || names.omit?.includes(key) === true) continue
    if (field.shape !== 'list' && field.shape !== 'flag') continue
    const noun = field.noun
    const item = field.shape === 'list' ? itemArgs(key, field, names) : ''
    const subject = item === '' ? 'zone:s' : `zone:s ${item}`
    const timed = field.runtime === 'timed' ? `${subject} timeout:i` : subject
    const use = (verb: FamilyUse['verb']): FamilyUse => ({ verb, field: key, shape: field.shape })
    rows.push(
      method(`add${noun}`, timed, 's', actions.config, use('add')),
      method(`remove${noun}`, subject, 's', actions.config, use('remove')),
      method(`query${noun}`, subject, 'b', actions.configInfo, use('query')),
    )
    if (field.shape === 'list') {
      rows.push(method(`get${pluralOf(field)}`, 'zone:s', args(item).length > 1 ? 'aas' : 'as', actions.configInfo, use('get')))
    }
    rows.push(signal(`${noun}Added`, timed), signal(`${noun}Removed`, subject))
  }
  return rows
}
