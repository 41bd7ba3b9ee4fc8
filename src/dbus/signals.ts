// What happened → the signals clients wait for. Values are the caller's own spelling; names are real.
import { maxEventsAtOnce, type AsWritten, type ChangeEvent } from '../model/change.ts'
import type { LockdownSettings } from '../model/direct.ts'
import type { PermanentEvent } from '../model/permanent.ts'
import type { ServiceEvent } from '../service.ts'
import { encodePartial, fieldSignature, type BusDict, type BusValue } from '../settings/dict.ts'
import { fieldRows, type FieldTable } from '../settings/field.ts'
import { policyFields } from '../settings/policy.ts'
import { zoneFields } from '../settings/zone.ts'
import { changedProperties } from './handlers/conf.ts'
import { kindWords } from './handlers/config.ts'
import type { HandlerContext } from './handlers/handler.ts'
import { derpanetName, derpanetPath } from './members/derpanet.ts'
import { configPath, firewalldName, firewalldPath, objectInterfaces, type ObjectKind } from './members/firewalld.ts'
import type { MemberTable } from './members.ts'
import { settingsKey, sortedNames } from './objects.ts'
import { emptyBody, encodeBody, Variant, type Body } from './wire/encode.ts'

export interface Signal {
  readonly path: string
  readonly interface: string
  readonly member: string
  readonly body: Body
}

const nouns: ReadonlyMap<string, string> = new Map(fieldRows(zoneFields).flatMap(([key, { noun }]) => (noun === undefined ? [] : [[key, noun]])))

const whitelistNouns: Readonly<Record<keyof LockdownSettings, string>> = { commands: 'Command', contexts: 'Context', users: 'User', uids: 'Uid' }

/** Order in which firewalld tells of its objects after a reload. */
const reloadOrder: readonly ObjectKind[] = ['ipset', 'icmptype', 'service', 'zone', 'helper', 'policy']

/** Makes signals of one face. Signatures come from the member table, so a signal always is what introspection says. */
export class SignalMaker {
  private readonly table: MemberTable

  constructor(table: MemberTable) {
    this.table = table
  }

  /** Of an object at /config/<kind>/<n>. */
  private ofObject(kind: ObjectKind, number: number, member: string, name: string): Signal {
    const row = objectInterfaces[kind]
    const body = encodeBody('s', [name])
    return { path: `${configPath}/${kind}/${number}`, interface: row.name, member, body }
  }

  /** Told after the files are written; `numbers` still knows what was removed, and does not know the new names of others. */
  private ofPermanent(event: PermanentEvent, context: HandlerContext): readonly Signal[] {
    const settings = context.service.permanent()
    switch (event.kind) {
      case 'object-added': return [this.make('config', `${kindWords[event.object].noun}Added`, [event.name])]
      case 'object-updated': {
        const number = context.numbers.lastNumberOf(event.object, event.name) ?? context.numbers.numberOf(settings, event.object, event.name)
        return number === undefined ? [] : [this.ofObject(event.object, number, 'Updated', event.name)]
      }
      case 'object-removed': {
        const number = context.numbers.lastNumberOf(event.object, event.name)
        return number === undefined ? [] : [this.ofObject(event.object, number, 'Removed', event.name)]
      }
      case 'object-renamed': {
        context.numbers.rename(event.object, event.from, event.name)
        const number = context.numbers.lastNumberOf(event.object, event.name)
        return number === undefined ? [] : [this.ofObject(event.object, number, 'Renamed', event.name)]
      }
      case 'direct-updated': return [this.make('config.direct', 'Updated', [])]
      case 'lockdown-updated': return [this.make('config.policies', 'LockdownWhitelistUpdated', [])]
      case 'conf-changed': return this.ofProperties(changedProperties(event.key, event.value, this.table.face))
    }
  }

  private ofProperties(changed: readonly (readonly [string, string])[]): readonly Signal[] {
    const values = new Map(changed.map(([name, value]) => [name, new Variant('s', value)]))
    const body = encodeBody('sa{sv}as', [`${firewalldName}.config`, values, []])
    return [{ path: configPath, interface: 'org.freedesktop.DBus.Properties', member: 'PropertiesChanged', body }]
  }

  private make(suffix: string, member: string, values: readonly unknown[]): Signal {
    const name = suffix === '' ? firewalldName : `${firewalldName}.${suffix}`
    const isConfig = suffix === 'config' || suffix.startsWith('config.')
    const row = (isConfig ? this.table.config : this.table.runtime).get(name)?.signals.get(member)
    if (row === undefined) throw new Error(`no signal ${name}.${member}`)
    const body = encodeBody(row.args.map((arg) => arg.type).join(''), values)
    return { path: isConfig ? configPath : firewalldPath, interface: name, member, body }
  }

  /** The timeout is told only where the member has one. */
  private added(field: string, zone: string, item: readonly string[], timeoutSec: number): readonly Signal[] {
    const noun = nouns.get(field)
    if (noun === undefined) return []
    const row = this.table.runtime.get(`${firewalldName}.zone`)?.signals.get(`${noun}Added`)
    const isTimed = row?.args.some((arg) => arg.name === 'timeout') === true
    return [this.make('zone', `${noun}Added`, [zone, ...item, ...(isTimed ? [timeoutSec] : [])])]
  }

  private removed(field: string, zone: string, item: readonly string[]): readonly Signal[] {
    const noun = nouns.get(field)
    return noun === undefined ? [] : [this.make('zone', `${noun}Removed`, [zone, ...item])]
  }

  private ofChange(event: ChangeEvent): readonly Signal[] {
    switch (event.kind) {
      case 'zone-item-added': return this.added(event.field, event.zone, event.item, event.timeoutSec)
      case 'zone-item-removed': return this.removed(event.field, event.zone, event.item)
      case 'zone-flag-added': return this.added(event.field, event.zone, [], event.timeoutSec)
      case 'zone-flag-removed': return this.removed(event.field, event.zone, [])
      case 'interface-added': return [this.make('zone', 'InterfaceAdded', [event.zone, event.interface])]
      case 'interface-removed': return [this.make('zone', 'InterfaceRemoved', [event.zone, event.interface])]
      // the old name first, then the new one: clients of both ages wait
      case 'interface-changed': return [
        this.make('zone', 'ZoneChanged', [event.zone, event.interface]),
        this.make('zone', 'ZoneOfInterfaceChanged', [event.zone, event.interface]),
      ]
      case 'source-added': return [this.make('zone', 'SourceAdded', [event.zone, event.source])]
      case 'source-removed': return [this.make('zone', 'SourceRemoved', [event.zone, event.source])]
      case 'source-changed': return [this.make('zone', 'ZoneOfSourceChanged', [event.zone, event.source])]
      case 'zone-updated': return [this.make('zone', 'ZoneUpdated', [event.zone, this.dict(zoneFields, event.settings, event.asWritten)])]
      case 'policy-updated': return [this.make('policy', 'PolicyUpdated', [event.policy, this.dict(policyFields, event.settings, event.asWritten)])]
      case 'ipset-entry-added': return [this.make('ipset', 'EntryAdded', [event.ipset, event.entry])]
      case 'ipset-entry-removed': return [this.make('ipset', 'EntryRemoved', [event.ipset, event.entry])]
      case 'default-zone-changed': return [this.make('', 'DefaultZoneChanged', [event.zone])]
      case 'log-denied-changed': return [this.make('', 'LogDeniedChanged', [event.value])]
      case 'panic-enabled': return [this.make('', 'PanicModeEnabled', [])]
      case 'panic-disabled': return [this.make('', 'PanicModeDisabled', [])]
      case 'lockdown-enabled': return [this.make('policies', 'LockdownEnabled', [])]
      case 'lockdown-disabled': return [this.make('policies', 'LockdownDisabled', [])]
      case 'lockdown-item-added': return [this.make('policies', `LockdownWhitelist${whitelistNouns[event.field]}Added`, [event.item])]
      case 'lockdown-item-removed': return [this.make('policies', `LockdownWhitelist${whitelistNouns[event.field]}Removed`, [event.item])]
      case 'direct-chain-added': return [this.make('direct', 'ChainAdded', [event.ipv, event.table, event.chain])]
      case 'direct-chain-removed': return [this.make('direct', 'ChainRemoved', [event.ipv, event.table, event.chain])]
      case 'direct-rule-added': return [this.make('direct', 'RuleAdded', [event.ipv, event.table, event.chain, event.priority, event.args])]
      case 'direct-rule-removed': return [this.make('direct', 'RuleRemoved', [event.ipv, event.table, event.chain, event.priority, event.args])]
      case 'direct-passthrough-added': return [this.make('direct', 'PassthroughAdded', [event.ipv, event.args])]
      case 'direct-passthrough-removed': return [this.make('direct', 'PassthroughRemoved', [event.ipv, event.args])]
    }
  }

  /** What a call gave is repeated in its own spelling; without that the settings are told as a getter tells them. */
  private dict<S>(fields: FieldTable<S>, settings: Partial<NoInfer<S>>, asWritten: AsWritten | undefined): BusDict {
    if (asWritten === undefined) return encodePartial(fields, settings, this.table.face, false)
    const types = new Map(fieldRows(fields).map(([, field]) => [field.dbus, fieldSignature(field)]))
    return Object.fromEntries(Object.entries(asWritten).map(([key, value]) => [key, { signature: types.get(key) ?? 'i', value: value as BusValue }]))
  }

  /**
   * Every permanent object is announced again, then Reloaded: three programs redo all their rules on it. Of more than
   * `maxEventsAtOnce` objects only Reloaded is told.
   */
  private ofReload(context: HandlerContext): readonly Signal[] {
    const settings = context.service.permanent()
    const names = reloadOrder.flatMap((kind) => sortedNames(settings[settingsKey[kind]]).map((name) => [kind, name] as const))
    const objects = names.length > maxEventsAtOnce ? [] : names.map(([kind, name]) => this.make('config', `${kindWords[kind].noun}Added`, [name]))
    return [...objects, this.make('', 'Reloaded', [])]
  }

  /** In the order in which they are sent. */
  firewalld(event: ServiceEvent, context: HandlerContext): readonly Signal[] {
    switch (event.kind) {
      case 'change': return this.ofChange(event.event)
      case 'permanent': return this.ofPermanent(event.event, context)
      case 'reloaded': return this.ofReload(context)
      case 'files-changed': return []
    }
  }

  derpanet(event: ServiceEvent): readonly Signal[] {
    return event.kind === 'reloaded' ? [{ path: derpanetPath, interface: derpanetName, member: 'Reloaded', body: emptyBody }] : []
  }
}
