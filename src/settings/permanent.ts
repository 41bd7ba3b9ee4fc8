// (permanent settings, change) → what is to be written and told: the only place where a client's change of the permanent
// world is checked. One object is judged against all others, as firewalld does; whether the ruleset can enforce it is not
// asked, because files may hold what is not in force. Pure.
import { DerpanetError, printable, unreachable } from '../errors.ts'
import type { ErrorCode } from '../errors.ts'
import type { DirectChange } from '../model/direct.ts'
import type { PermanentChange, PermanentEffect, PermanentKind, PermanentObjects, PermanentReduced } from '../model/permanent.ts'
import { directOf, lockdownOf } from '../model/query.ts'
import { reduceDirect } from '../model/reduce/direct.ts'
import { reduceWhitelist } from '../model/reduce/lockdown.ts'
import type { Entry, Settings } from '../model/settings.ts'
import { fieldRows, type AnyField } from './field.ts'
import { kinds, objectsOf, type NamedKind } from './kinds.ts'
import { requireName } from './names.ts'
import { addToList, addToDict, removeFromDict, removeFromList, tidyLists } from './permanent/lists.ts'
import { checkObject } from './permanent/references.ts'

type Value = Readonly<Record<string, unknown>>
type Of<Kind extends PermanentChange['kind']> = Extract<PermanentChange, { readonly kind: Kind }>

/** What a name that does not exist is called, by kind. */
export const unknownCodes: Readonly<Record<PermanentKind, ErrorCode>> = {
  zone: 'INVALID_ZONE', service: 'INVALID_SERVICE', ipset: 'INVALID_IPSET', icmptype: 'INVALID_ICMPTYPE', helper: 'INVALID_HELPER', policy: 'INVALID_POLICY',
}

/** firewalld has no code of its own for policies. */
const builtinCodes: Readonly<Record<PermanentKind, ErrorCode>> = {
  zone: 'BUILTIN_ZONE', service: 'BUILTIN_SERVICE', ipset: 'BUILTIN_IPSET', icmptype: 'BUILTIN_ICMPTYPE', helper: 'BUILTIN_HELPER', policy: 'BUILTIN_ZONE',
}

export function kindOf(object: PermanentKind): NamedKind<any> {
  return kinds[object] as unknown as NamedKind<any>
}

/** Throws DerpanetError as firewalld 2.5 would answer; then nothing is to be done. */
export function reducePermanent(settings: Settings, change: PermanentChange | DirectChange): PermanentReduced {
  switch (change.kind) {
    case 'object-add': return addObject(settings, change)
    case 'object-update': return write(settings, change, { ...current(settings, change), ...change.settings })
    case 'object-item-add': return edit(settings, change, addToList)
    case 'object-item-remove': return edit(settings, change, removeFromList)
    case 'object-flag-add': return setFlag(settings, change, true)
    case 'object-flag-remove': return setFlag(settings, change, false)
    case 'object-key-add': return edit(settings, change, addToDict)
    case 'object-key-remove': return edit(settings, change, removeFromDict)
    case 'object-remove': {
      requireOwn(settings, change)
      const { effects, events } = withoutUses(settings, change)
      return { effects: [...effects, { kind: 'remove', ...which(change) }], events: [...events, { kind: 'object-removed', ...which(change) }] }
    }
    case 'object-rename': return rename(settings, change)
    case 'object-defaults': {
      if (entryOf(settings, change).overrides !== true) throw new DerpanetError('NO_DEFAULTS', printable(change.name))
      return { effects: [{ kind: 'defaults', ...which(change) }], events: [{ kind: 'object-updated', ...which(change) }] }
    }
    case 'direct-update':
      return { effects: [{ kind: 'direct', value: change.settings }], events: [{ kind: 'direct-updated' }] }
    case 'lockdown-update':
      return { effects: [{ kind: 'lockdown', value: change.settings }], events: [{ kind: 'lockdown-updated' }] }
    case 'lockdown-item-add':
    case 'lockdown-item-remove': {
      const verb = change.kind === 'lockdown-item-add' ? 'add' : 'remove'
      const value = reduceWhitelist(lockdownOf(settings), verb, change.field, change.item)
      return { effects: [{ kind: 'lockdown', value }], events: [{ kind: 'lockdown-updated' }] }
    }
    case 'conf-set': {
      const { key, value } = change
      return { effects: [{ kind: 'conf', key, value }], events: [{ kind: 'conf-changed', key, value }] }
    }
    case 'direct-chain-add':
    case 'direct-chain-remove':
    case 'direct-rule-add':
    case 'direct-rule-remove':
    case 'direct-rules-remove':
    case 'direct-passthrough-add':
    case 'direct-passthrough-remove':
    case 'direct-passthroughs-clear':
      return { effects: [{ kind: 'direct', value: reduceDirect(directOf(settings), change).direct }], events: [{ kind: 'direct-updated' }] }
    default: return unreachable(change)
  }
}

interface Which {
  readonly object: PermanentKind
  readonly name: string
}

function which({ object, name }: Which): Which {
  return { object, name }
}

/** Throws INVALID_<KIND>. */
function entryOf(settings: Settings, { object, name }: Which): Entry<any> {
  const entry = objectsOf(settings, object).get(name)
  if (entry === undefined) throw new DerpanetError(unknownCodes[object], printable(name))
  return entry
}

function current(settings: Settings, of: Which): Value {
  return entryOf(settings, of).value as Value
}

/** Throws what the whole object breaks: kinds.ts has the rules of each kind, references.ts those between objects. */
export function checkedValue<Kind extends PermanentKind>(settings: Settings, object: Kind, name: string, value: Value): PermanentObjects[Kind] {
  const kind = kindOf(object)
  const tidy = tidyLists(object, kind, value)
  const [mistake] = kind.check(tidy)
  if (mistake !== undefined) throw mistake.error
  const canonical = kind.canonical === undefined ? tidy : kind.canonical(tidy) as Value
  checkObject(settings, object, name, canonical)
  return canonical as unknown as PermanentObjects[Kind]
}

function write(settings: Settings, of: Which, value: Value, event: 'object-added' | 'object-updated' = 'object-updated'): PermanentReduced {
  const effect = { kind: 'write', ...which(of), value: checkedValue(settings, of.object, of.name, value) } as PermanentEffect
  return { effects: [effect], events: [{ kind: event, ...which(of) }] }
}

function addObject(settings: Settings, change: Of<'object-add'>): PermanentReduced {
  const { object, name } = change
  requireFree(settings, object, name)
  // a zone made by a call forwards within itself; one in a file has to say so
  const defaults: Value = object === 'zone' ? { ...kinds.zone.empty, forward: true } : kindOf(object).empty as Value
  return write(settings, change, { ...defaults, ...change.settings }, 'object-added')
}

/** Throws NAME_CONFLICT, INVALID_NAME. */
function requireFree(settings: Settings, object: PermanentKind, name: string): void {
  if (objectsOf(settings, object).has(name)) throw new DerpanetError('NAME_CONFLICT', `new_${object}(): '${printable(name)}'`)
  requireName(object, name)
  const other = object === 'policy' ? settings.zones : object === 'zone' ? settings.policies : null
  if (other?.has(name) === true) throw new DerpanetError('NAME_CONFLICT', `'${printable(name)}' is the name of a ${object === 'policy' ? 'zone' : 'policy'}`)
}

/** Throws BUILTIN_<KIND> for what a lower layer has: it would come back. */
function requireOwn(settings: Settings, of: Which): void {
  const entry = entryOf(settings, of)
  if (entry.layer !== 'admin' || entry.overrides === true) {
    throw new DerpanetError(builtinCodes[of.object], `'${printable(of.name)}' is built-in ${of.object}`)
  }
}

const usedAs = { service: 'services', icmptype: 'icmpBlocks' } as const

/**
 * Services and ICMP types that go are taken out of the zones and policies that name them, as in firewalld: the next reload would
 * fail over the name. A name in a rich rule stays, and the reload tells.
 */
function withoutUses(settings: Settings, { object, name: gone }: Which): PermanentReduced {
  if (object !== 'service' && object !== 'icmptype') return { effects: [], events: [] }
  const key = usedAs[object]
  const users = (['zone', 'policy'] as const).flatMap((kind) =>
    [...objectsOf(settings, kind)].filter(([, { value }]) => value[key].includes(gone)).map(([name, { value }]) => ({ kind, name, value })))
  return {
    effects: users.map(({ kind, name, value }) =>
      ({ kind: 'write', object: kind, name, value: { ...value, [key]: value[key].filter((item: string) => item !== gone) } }) as PermanentEffect),
    events: users.map(({ kind, name }) => ({ kind: 'object-updated', object: kind, name })),
  }
}

function rename(settings: Settings, change: Of<'object-rename'>): PermanentReduced {
  requireOwn(settings, change)
  requireFree(settings, change.object, change.to)
  return {
    effects: [{ kind: 'rename', ...which(change), to: change.to }],
    events: [{ kind: 'object-renamed', object: change.object, name: change.to, from: change.name }],
  }
}

interface OneField extends Which {
  readonly field: string
}

/** Throws what `work` throws: it gets the field's row, its value and the object, and gives the new value. */
function edit<Change extends OneField>(
  settings: Settings, change: Change, work: (field: AnyField, value: unknown, object: Value, change: Change) => unknown,
): PermanentReduced {
  const object = current(settings, change)
  return write(settings, change, { ...object, [change.field]: work(rowOf(change), object[change.field], object, change) })
}

function rowOf({ object, field }: OneField): AnyField {
  const row = fieldRows(kindOf(object).fields).find(([key]) => key === field)
  if (row === undefined) throw new Error(`${object} has no field ${field}`)
  return row[1]
}

function setFlag(settings: Settings, change: Of<'object-flag-add' | 'object-flag-remove'>, on: boolean): PermanentReduced {
  const object = current(settings, change)
  if (object[change.field] === on) throw new DerpanetError(on ? 'ALREADY_ENABLED' : 'NOT_ENABLED', rowOf(change).yaml)
  return write(settings, change, { ...object, [change.field]: on })
}
