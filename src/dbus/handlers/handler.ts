// What a handler is given and gives back. Handlers look at the runtime, the permanent settings or make a Change; they
// are called only after authorisation, with arguments of the declared types.
import { DerpanetError } from '../../errors.ts'
import type { Change } from '../../model/change.ts'
import type { Settings } from '../../model/settings.ts'
import type { Caller, FirewallService } from '../../service.ts'
import type { Face } from '../members.ts'
import type { ObjectKind } from '../members/firewalld.ts'
import type { ObjectNumbers } from '../objects.ts'
import { encodeBody, TooBigError, type Body } from '../wire/encode.ts'

/** What all handlers share. */
export interface HandlerContext {
  readonly service: FirewallService
  readonly face: Face
  readonly numbers: ObjectNumbers
  /** What the host can do; false where a family is switched off. */
  readonly hasIpv4: boolean
  readonly hasIpv6: boolean
  /** Interfaces that another program binds at every start: their bindings are not ours to write. */
  readonly foreignInterfaces: () => Promise<ReadonlySet<string>>
}

/** One call. */
export interface Call {
  readonly context: HandlerContext
  readonly caller: Caller
  /** The permanent object the path names. */
  readonly object?: { readonly kind: ObjectKind; readonly name: string }
}

/**
 * Returns the value of the member's one result, undefined for members without, or an encoded Body that is kept and sent
 * as it is. Throws or rejects with DerpanetError; getters answer at once, so that they never wait for a change.
 */
export type Handler = (call: Call, args: readonly unknown[]) => unknown

/** Member name → handler, for one interface. A member without one is not implemented. */
export type Handlers = Readonly<Record<string, Handler>>

/** A property's value, or a promise of it. Its type is in the member row. */
export type PropertyGetter = (call: Call) => unknown
export type PropertySetter = (call: Call, value: unknown) => unknown

export interface PropertyHandlers {
  readonly get: Readonly<Record<string, PropertyGetter>>
  /** Without an entry a writable property is not implemented. */
  readonly set?: Readonly<Record<string, PropertySetter>>
}

/** Argument `index` as text; the dispatcher has converted it. */
export function text(args: readonly unknown[], index: number): string {
  const value = args[index]
  if (typeof value !== 'string') throw new Error(`argument ${index} is no text`)
  return value
}

export function texts(args: readonly unknown[], index: number): readonly string[] {
  const value = args[index]
  if (!Array.isArray(value) || !value.every((item) => typeof item === 'string')) throw new Error(`argument ${index} is no list of texts`)
  return value as string[]
}

export function integer(args: readonly unknown[], index: number): number {
  const value = args[index]
  if (typeof value !== 'number') throw new Error(`argument ${index} is no number`)
  return value
}

/**
 * Enqueues the change and answers the real name of what it changed. With broken files 1.3 lets the runtime be changed and 2.x
 * refuses it, except for panic mode.
 */
export async function changed(call: Call, change: Change): Promise<string> {
  const { face, service } = call.context
  if (face === '2.5' && service.state() === 'FAILED' && change.kind !== 'panic-set') {
    throw new DerpanetError('RUNNING_BUT_FAILED', 'the configuration is broken: derpanetctl status')
  }
  const { name } = await service.change(change, call.caller)
  return name
}

/** As `changed`, for members that answer nothing. */
export async function changedQuietly(call: Call, change: Change): Promise<void> {
  await changed(call, change)
}

/**
 * Encodes once per object. Settings are immutable and unchanged parts keep their identity over generations, so the
 * same entry always has the same bytes. That an answer is too big is remembered too: finding out takes as long as
 * writing it, and whoever asks again must not hold up others again.
 */
export function memoised<Key extends object>(signature: string, valueOf: (key: Key) => unknown): (key: Key) => Body {
  const bodies = new WeakMap<Key, Body | TooBigError>()
  const encode = (key: Key): Body | TooBigError => {
    try {
      return encodeBody(signature, [valueOf(key)])
    } catch (error) {
      if (error instanceof TooBigError) return error
      throw error
    }
  }
  return (key) => {
    const body = bodies.get(key) ?? encode(key)
    bodies.set(key, body)
    if (body instanceof TooBigError) throw body
    return body
  }
}

/** Sorted names of a map of objects, encoded once. */
export const namesBody = memoised<ReadonlyMap<string, unknown>>('as', (objects) => [...objects.keys()].sort())

export function runtimeSettings(call: Call): Settings {
  return call.context.service.runtime().settings
}

export function permanentSettings(call: Call): Settings {
  return call.context.service.permanent()
}
