// What happened → the signals clients wait for. Values are the caller's own spelling; names are real.
import type { ChangeEvent } from '../model/change.ts'
import type { ServiceEvent } from '../service.ts'
import { encodePartial } from '../settings/dict.ts'
import { fieldRows } from '../settings/field.ts'
import { zoneFields } from '../settings/zone.ts'
import type { HandlerContext } from './handlers/handler.ts'
import { derpanetName, derpanetPath } from './members/derpanet.ts'
import { configPath, firewalldName, firewalldPath, type ObjectKind } from './members/firewalld.ts'
import type { MemberTable } from './members.ts'
import { settingsKey, sortedNames } from './objects.ts'
import { emptyBody, encodeBody, type Body } from './wire/encode.ts'

export interface Signal {
  readonly path: string
  readonly interface: string
  readonly member: string
  readonly body: Body
}

const nouns: ReadonlyMap<string, string> = new Map(fieldRows(zoneFields).flatMap(([key, { noun }]) => (noun === undefined ? [] : [[key, noun]])))

/** Order in which firewalld tells of its objects after a reload. */
const reloadOrder: readonly (readonly [ObjectKind, string])[] = [
  ['ipset', 'IPSetAdded'], ['icmptype', 'IcmpTypeAdded'], ['service', 'ServiceAdded'], ['zone', 'ZoneAdded'], ['helper', 'HelperAdded'],
  ['policy', 'PolicyAdded'],
]

/** Makes signals of one face. Signatures come from the member table, so a signal always is what introspection says. */
export class SignalMaker {
  private readonly table: MemberTable

  constructor(table: MemberTable) {
    this.table = table
  }

  private make(suffix: string, member: string, values: readonly unknown[]): Signal {
    const name = suffix === '' ? firewalldName : `${firewalldName}.${suffix}`
    const isConfig = suffix === 'config'
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
      case 'zone-updated': return [this.make('zone', 'ZoneUpdated', [event.zone, encodePartial(zoneFields, event.settings, this.table.face)])]
      case 'ipset-entry-added': return [this.make('ipset', 'EntryAdded', [event.ipset, event.entry])]
      case 'ipset-entry-removed': return [this.make('ipset', 'EntryRemoved', [event.ipset, event.entry])]
      case 'default-zone-changed': return [this.make('', 'DefaultZoneChanged', [event.zone])]
      case 'log-denied-changed': return [this.make('', 'LogDeniedChanged', [event.value])]
      case 'panic-enabled': return [this.make('', 'PanicModeEnabled', [])]
      case 'panic-disabled': return [this.make('', 'PanicModeDisabled', [])]
    }
  }

  /** Every permanent object is announced again, then Reloaded: three programs redo all their rules on it. */
  private ofReload(context: HandlerContext): readonly Signal[] {
    const settings = context.service.permanent()
    const objects = reloadOrder.flatMap(([kind, member]) => sortedNames(settings[settingsKey[kind]]).map((name) => this.make('config', member, [name])))
    return [...objects, this.make('', 'Reloaded', [])]
  }

  /** In the order in which they are sent. */
  firewalld(event: ServiceEvent, context: HandlerContext): readonly Signal[] {
    return event.kind === 'change' ? this.ofChange(event.event) : this.ofReload(context)
  }

  derpanet(event: ServiceEvent): readonly Signal[] {
    return event.kind === 'reloaded' ? [{ path: derpanetPath, interface: derpanetName, member: 'Reloaded', body: emptyBody }] : []
  }
}
