// The shape of a row of the member table, and the short forms the lonely rows are written in.
// What a member does is in handlers/; here is only what a caller can see and what it must be allowed.
import type { ActionId } from '../../auth/actions.ts'

/** Which version of firewalld's interface is shown. */
export type Face = '2.5' | '1.3'

export interface Arg {
  readonly name: string
  readonly type: string
}

/** A member that exists because a settings row exists: which one, and what is done to it. */
export interface FamilyUse {
  readonly verb: 'get' | 'set' | 'add' | 'remove' | 'query'
  /** Key in the settings type: `sourcePorts`. */
  readonly field: string
  readonly shape: 'scalar' | 'list' | 'flag' | 'dict'
}

export interface MethodRow {
  readonly kind: 'method'
  readonly name: string
  readonly in: readonly Arg[]
  /** D-Bus type of the one result, "" for none. firewalld names no results. */
  readonly out: string
  readonly action: ActionId
  readonly family?: FamilyUse
  readonly since?: '2.5'
}

export interface SignalRow {
  readonly kind: 'signal'
  readonly name: string
  readonly args: readonly Arg[]
  readonly since?: '2.5'
}

export interface PropertyRow {
  readonly kind: 'property'
  readonly name: string
  readonly type: string
  readonly access: 'read' | 'readwrite'
  readonly since?: '2.5'
}

export type MemberRow = MethodRow | SignalRow | PropertyRow

export interface InterfaceRow {
  readonly name: string
  /** Faces that mark all methods and signals of it as deprecated. */
  readonly deprecatedIn: readonly Face[]
  /** What Properties.Get, GetAll and Set on this interface take; Introspect takes `introspectAction`. */
  readonly propertyAction: ActionId
  readonly members: readonly MemberRow[]
}

/** `zone:s settings:a{sv}` → arguments. */
export function args(text: string): readonly Arg[] {
  if (text === '') return []
  return text.split(' ').map((word) => {
    const colon = word.indexOf(':')
    return { name: word.slice(0, colon), type: word.slice(colon + 1) }
  })
}

export function method(name: string, input: string, out: string, action: ActionId, family?: FamilyUse): MethodRow {
  return { kind: 'method', name, in: args(input), out, action, ...(family === undefined ? {} : { family }) }
}

export function signal(name: string, input = ''): SignalRow {
  return { kind: 'signal', name, args: args(input) }
}

export function property(name: string, type: string, access: PropertyRow['access'] = 'read', since?: '2.5'): PropertyRow {
  return { kind: 'property', name, type, access, ...(since === undefined ? {} : { since }) }
}
