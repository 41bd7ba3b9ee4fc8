// Is this item in this list? The question of every query member, runtime and permanent alike.
import { DerpanetError, printable } from '../../errors.ts'
import { parsePortRange } from '../../model/port.ts'
import type { PortSpec, Settings } from '../../model/settings.ts'
import type { ListField } from '../../settings/field.ts'

/** A port inside a range counts. Text that is no port is in no list, as firewalld has it. */
function hasPort(list: readonly PortSpec[], columns: readonly string[]): boolean {
  const asked = parsePortRange(columns[0] ?? '')
  if (asked === null) return false
  return list.some((spec) => {
    const range = parsePortRange(spec.port)
    return spec.protocol === columns[1] && range !== null && range.first <= asked.first && asked.last <= range.last
  })
}

/**
 * `columns` as the caller wrote them. Throws what the field's item throws, and INVALID_SERVICE or INVALID_ICMPTYPE for
 * a name that does not exist in `settings`: a client must be able to tell "not allowed" from "mistyped". In the permanent
 * world (null) firewalld does not ask that.
 */
export function hasItem(key: string, field: ListField<any>, list: readonly unknown[], columns: readonly string[], settings: Settings | null): boolean {
  const [name = ''] = columns
  if (key === 'ports' || key === 'sourcePorts') return hasPort(list as readonly PortSpec[], columns)
  if (key === 'services' && settings !== null && !settings.services.has(name)) throw new DerpanetError('INVALID_SERVICE', printable(name))
  if (key === 'icmpBlocks' && settings !== null && !settings.icmptypes.has(name)) throw new DerpanetError('INVALID_ICMPTYPE', printable(name))
  const wanted = field.item.toText(field.item.parse(columns))
  return list.some((item) => field.item.toText(item) === wanted)
}
