// Names and texts of errors on the wire. Callers see codes and our own words, never a stack.
import { CallerGoneError, NotAuthorizedError } from '../auth/authority.ts'
import { DerpanetError, printable } from '../errors.ts'
import { ArgumentError } from './convert.ts'
import { TooBigError } from './wire/encode.ts'

const standard = 'org.freedesktop.DBus.Error'

export interface WireError {
  readonly name: string
  readonly text: string
}

/** An answer that is an error by its own name: unknown members, properties, what is not implemented. */
export class CallError extends Error {
  readonly errorName: string

  constructor(errorName: string, text: string) {
    super(text)
    this.errorName = errorName
  }
}

/** Which names a refusal gets: firewalld's on its objects, ours on our own. */
export interface ErrorStyle {
  readonly exception: string
  readonly notAuthorized: string
  /** firewalld hides the standard name of property errors inside the text of a Python exception. */
  readonly propertyErrorName: string | null
}

export const firewalldErrors: ErrorStyle = {
  exception: 'org.fedoraproject.FirewallD1.Exception',
  notAuthorized: 'org.fedoraproject.FirewallD1.NotAuthorizedException',
  propertyErrorName: 'org.freedesktop.DBus.Python.dbus.exceptions.DBusException',
}

export const derpanetErrors: ErrorStyle = {
  exception: 'org.derpanet.Derpanet1.Error',
  // not the standard AccessDenied, whose text busctl hides
  notAuthorized: 'org.derpanet.Derpanet1.NotAuthorized',
  propertyErrorName: null,
}

export function notSupported(interfaceName: string, member: string): CallError {
  return new CallError(`${standard}.NotSupported`, `NOT_SUPPORTED: ${interfaceName}.${member} is not implemented in this version of derpanet`)
}

export function unknownMethod(interfaceName: string, member: string, path: string): CallError {
  const shown = interfaceName === '' ? member : `${interfaceName}.${member}`
  return new CallError(`${standard}.UnknownMethod`, `no method ${printable(shown)} at ${printable(path)}`)
}

export function limitsExceeded(text: string): CallError {
  return new CallError(`${standard}.LimitsExceeded`, text)
}

export type PropertyErrorKind = 'UnknownInterface' | 'InvalidArgs' | 'PropertyReadOnly'

export function propertyError(style: ErrorStyle, kind: PropertyErrorKind, text: string): CallError {
  const name = `${standard}.${kind}`
  return style.propertyErrorName === null ? new CallError(name, text) : new CallError(style.propertyErrorName, `${name}: ${text}`)
}

/** What the caller is told; null when there is nobody to tell. A bug is told apart by `isBug`, so that it can be logged. */
export function wireError(error: unknown, style: ErrorStyle): (WireError & { readonly isBug: boolean }) | null {
  if (error instanceof DerpanetError) return { name: style.exception, text: error.message, isBug: false }
  if (error instanceof CallError) return { name: error.errorName, text: error.message, isBug: false }
  if (error instanceof NotAuthorizedError) return { name: style.notAuthorized, text: error.message, isBug: false }
  if (error instanceof ArgumentError) return { name: style.exception, text: error.message, isBug: false }
  if (error instanceof TooBigError) return { name: `${standard}.LimitsExceeded`, text: 'the answer is longer than 16 MiB', isBug: false }
  if (error instanceof CallerGoneError) return null
  return { name: style.exception, text: 'UNKNOWN_ERROR: internal error, the journal has the details', isBug: true }
}
