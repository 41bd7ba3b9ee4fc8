// Looking names up in a configuration, and remembering what was looked up: a resolved zone stays good
// as long as every answer it was built from stays the same.
import { DerpanetError, printable } from '../../errors.ts'
import { ipSetFamily, sourceTypes } from '../ipset-entry.ts'
import type { Family } from '../addr.ts'
import type { AddressList, HelperSettings, IcmpTypeSettings, LogDenied, ServiceSettings, Settings } from '../settings.ts'

export interface IpSetShape {
  readonly name: string
  readonly type: string
  readonly family: Family | null
}

export interface Answer {
  readonly read: (settings: Settings) => unknown
  readonly value: unknown
}

export class Lookup {
  private readonly settings: Settings
  private readonly answers: Answer[] = []

  constructor(settings: Settings) {
    this.settings = settings
  }

  /** Throws INVALID_SERVICE. */
  service(name: string): ServiceSettings {
    return this.ask((settings) => settings.services.get(name)?.value) ?? unknown('INVALID_SERVICE', name)
  }

  /** Throws INVALID_ICMPTYPE. */
  icmpType(name: string): IcmpTypeSettings {
    return this.ask((settings) => settings.icmptypes.get(name)?.value) ?? unknown('INVALID_ICMPTYPE', name)
  }

  /** null when there is none. */
  helper(name: string): HelperSettings | null {
    return this.ask((settings) => settings.helpers.get(name)?.value) ?? null
  }

  /** Helpers that a kernel module brings, by name. */
  helpersOfModule(module: string): readonly string[] {
    const names = this.ask((settings) => [...settings.helpers].filter(([, { value }]) => value.module === module).map(([name]) => name).join(' '))
    return names === '' ? [] : names.split(' ')
  }

  logDenied(): LogDenied {
    return this.ask((settings) => settings.main.value.logDenied)
  }

  /** A list of addresses. Throws INVALID_SOURCE. */
  list(name: string): AddressList {
    return this.ask((settings) => settings.lists.get(name)) ?? unknown('INVALID_SOURCE', `list:${name}`)
  }

  /**
   * A set that can say where a packet comes from or goes to. Its entries do not matter here.
   * Throws INVALID_IPSET when there is none, or its type says more than that.
   */
  sourceSet(name: string): IpSetShape {
    const type = this.ask((settings) => settings.ipsets.get(name)?.value.type) ?? unknown('INVALID_IPSET', name)
    const options = this.ask((settings) => settings.ipsets.get(name)?.value.options)!
    if (!sourceTypes.has(type)) throw new DerpanetError('INVALID_IPSET', printable(`ipset '${name}' with type '${type}' not usable as source`))
    return { name, type, family: ipSetFamily(type, options) }
  }

  /** How many answers were given so far. */
  get asked(): number {
    return this.answers.length
  }

  since(asked: number): readonly Answer[] {
    return this.answers.slice(asked)
  }

  /** Asks the same again. False when an answer is another one; then nothing counts as asked. */
  repeat(answers: readonly Answer[]): boolean {
    if (!answers.every(({ read, value }) => read(this.settings) === value)) return false
    this.answers.push(...answers)
    return true
  }

  /** Would `settings` give the same answers? */
  holds(settings: Settings): boolean {
    return this.answers.every(({ read, value }) => read(settings) === value)
  }

  private ask<T>(read: (settings: Settings) => T): T {
    const value = read(this.settings)
    this.answers.push({ read, value })
    return value
  }
}

function unknown(code: 'INVALID_SERVICE' | 'INVALID_ICMPTYPE' | 'INVALID_SOURCE' | 'INVALID_IPSET', name: string): never {
  throw new DerpanetError(code, printable(name))
}
