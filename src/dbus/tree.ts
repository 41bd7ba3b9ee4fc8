// The object tree: which path is which object, what it can do, and which children a walk finds.
import { actions, type ActionId } from '../auth/actions.ts'
import { configProperties } from './handlers/conf.ts'
import { configHandlers, configInterfaceName } from './handlers/config.ts'
import { derpanetHandlers } from './handlers/derpanet.ts'
import { permanentDirectHandlers, runtimeDirectHandlers } from './handlers/direct.ts'
import type { Call, Handler, HandlerContext, Handlers, PropertyHandlers } from './handlers/handler.ts'
import { ipsetHandlers } from './handlers/ipset.ts'
import { lockdownHandlers, permanentLockdownHandlers } from './handlers/lockdown.ts'
import { mainHandlers, mainProperties } from './handlers/main.ts'
import { objectHandlers, objectProperties } from './handlers/objects.ts'
import { policyHandlers } from './handlers/policy.ts'
import { zoneHandlers } from './handlers/zone.ts'
import { derpanetErrors, firewalldErrors, type ErrorStyle } from './errors.ts'
import { interfacesXml } from './introspect.ts'
import { standardInterfaces, type InterfaceView, type MemberTable, type MethodRow } from './members.ts'
import { derpanetName, derpanetPath } from './members/derpanet.ts'
import { configPath, firewalldName, firewalldPath, objectInterfaces, type ObjectKind } from './members/firewalld.ts'
import { objectKinds } from './objects.ts'

/** What a method call on an object leads to. */
export interface Target {
  readonly interfaceName: string
  readonly row: MethodRow
  readonly action: ActionId
  /** Absent: not implemented. */
  readonly handler: Handler | undefined
  /** A member every object has; the dispatcher answers it. */
  readonly builtIn: boolean
  /** Whoever calls it changes nothing, not even what polkit knows. */
  readonly onlyReads: boolean
}

/** What objects of one kind have in common. */
export interface ObjectClass {
  readonly style: ErrorStyle
  readonly interfaces: ReadonlyMap<string, InterfaceView>
  /** Key `interface` + NUL + `member`. */
  readonly targets: ReadonlyMap<string, Target>
  /** For calls that leave the interface out: the first interface that has the member. */
  readonly byMember: ReadonlyMap<string, Target>
  readonly properties: ReadonlyMap<string, PropertyHandlers>
  readonly xml: string
}

export interface Node {
  readonly path: string
  /** null for a path that only leads to others. */
  readonly objectClass: ObjectClass | null
  readonly object?: NonNullable<Call['object']>
  children(): readonly (string | number)[]
}

interface ClassRows {
  readonly style: ErrorStyle
  readonly interfaces: ReadonlyMap<string, InterfaceView>
  readonly handlers: Readonly<Record<string, Handlers>>
  readonly properties?: Readonly<Record<string, PropertyHandlers>>
  readonly introspectAction: ActionId
  readonly propertyAction: ActionId
}

function isGetter(member: string): boolean {
  return /^(get|list|query|is|check)/.test(member)
}

export function targetKey(interfaceName: string, member: string): string {
  return `${interfaceName}\0${member}`
}

function makeClass(rows: ClassRows): ObjectClass {
  const targets = new Map<string, Target>()
  const byMember = new Map<string, Target>()
  const add = (target: Target): void => {
    targets.set(targetKey(target.interfaceName, target.row.name), target)
    if (!byMember.has(target.row.name)) byMember.set(target.row.name, target)
  }
  for (const view of rows.interfaces.values()) {
    const handlers = rows.handlers[view.name] ?? {}
    const strangers = Object.keys(handlers).filter((name) => !view.methods.has(name))
    if (strangers.length > 0) throw new Error(`${view.name} has handlers but no rows for ${strangers.join(', ')}`)
    for (const row of view.methods.values()) {
      add({ interfaceName: view.name, row, action: row.action, handler: handlers[row.name], builtIn: false, onlyReads: isGetter(row.name) || row.action === actions.derpanetInfo })
    }
  }
  for (const view of standardInterfaces) {
    for (const row of view.methods.values()) {
      const action = row.name === 'Introspect' ? rows.introspectAction : rows.propertyAction
      add({ interfaceName: view.name, row, action, handler: undefined, builtIn: true, onlyReads: row.name !== 'Set' })
    }
  }
  const properties = new Map(Object.entries(rows.properties ?? {}))
  for (const [name, { get }] of properties) {
    const missing = [...(rows.interfaces.get(name)?.properties.keys() ?? [])].filter((property) => get[property] === undefined)
    if (missing.length > 0) throw new Error(`${name} has properties nobody reads: ${missing.join(', ')}`)
  }
  return { style: rows.style, interfaces: rows.interfaces, targets, byMember, properties, xml: interfacesXml(rows.interfaces.values()) }
}

/** One tree for one face; `withFirewalld` false leaves our own object alone. */
export class ObjectTree {
  private readonly context: HandlerContext
  private readonly fixed = new Map<string, Node>()
  private readonly kinds = new Map<string, ObjectClass>()

  constructor(table: MemberTable, context: HandlerContext, withFirewalld: boolean) {
    this.context = context
    const info = { introspectAction: actions.info, propertyAction: actions.config, style: firewalldErrors }
    if (withFirewalld) {
      this.add(firewalldPath, makeClass({
        ...info,
        interfaces: table.runtime,
        handlers: {
          [firewalldName]: mainHandlers,
          [`${firewalldName}.zone`]: zoneHandlers,
          [`${firewalldName}.policy`]: policyHandlers,
          [`${firewalldName}.ipset`]: ipsetHandlers,
          [`${firewalldName}.direct`]: runtimeDirectHandlers,
          [`${firewalldName}.policies`]: lockdownHandlers(table.face),
        },
        properties: { [firewalldName]: mainProperties },
      }))
      this.add(configPath, makeClass({
        ...info,
        interfaces: table.config,
        handlers: {
          [configInterfaceName]: configHandlers,
          [`${configInterfaceName}.direct`]: permanentDirectHandlers,
          [`${configInterfaceName}.policies`]: permanentLockdownHandlers(table.face),
        },
        properties: { [configInterfaceName]: configProperties },
      }))
      for (const kind of objectKinds) {
        const { name } = objectInterfaces[kind]
        const interfaces = table.objects.get(kind)
        if (interfaces === undefined) throw new Error(`no interfaces for ${kind}`)
        this.kinds.set(kind, makeClass({ ...info, interfaces, handlers: { [name]: objectHandlers(kind) }, properties: { [name]: objectProperties } }))
        this.add(`${configPath}/${kind}`, null)
      }
    }
    this.add(derpanetPath, makeClass({
      interfaces: table.derpanet,
      handlers: { [derpanetName]: derpanetHandlers },
      introspectAction: actions.derpanetInfo,
      propertyAction: actions.derpanetInfo,
      style: derpanetErrors,
    }))
  }

  /** Adds a node and the paths that lead to it. */
  private add(path: string, objectClass: ObjectClass | null): void {
    this.fixed.set(path, { path, objectClass, children: () => this.childrenOf(path) })
    for (let end = path.lastIndexOf('/'); end >= 0; end = end === 0 ? -1 : path.lastIndexOf('/', end - 1)) {
      const parent = end === 0 ? '/' : path.slice(0, end)
      if (!this.fixed.has(parent)) this.fixed.set(parent, { path: parent, objectClass: null, children: () => this.childrenOf(parent) })
    }
  }

  private childrenOf(path: string): readonly (string | number)[] {
    const prefix = path === '/' ? '/' : `${path}/`
    const names = [...this.fixed.keys()].filter((other) => other !== path && other.startsWith(prefix) && !other.slice(prefix.length).includes('/'))
      .map((other) => other.slice(prefix.length))
      // a kind without objects has no path, as in firewalld
      .filter((name) => path !== configPath || this.numbersOf(name).length > 0)
    if (path.startsWith(`${configPath}/`)) return this.numbersOf(path.slice(configPath.length + 1))
    return names.sort()
  }

  private numbersOf(kind: string): readonly number[] {
    const known = objectKinds.find((one) => one === kind)
    return known === undefined ? [] : this.context.numbers.numbers(this.context.service.permanent(), known)
  }

  /** null when nothing is there. */
  find(path: string): Node | null {
    const fixed = this.fixed.get(path)
    if (fixed !== undefined) return fixed
    if (!path.startsWith(configPath)) return null
    const [, kind, number] = /^\/([a-z]+)\/(0|[1-9][0-9]{0,8})$/.exec(path.slice(configPath.length)) ?? []
    const objectClass = kind === undefined ? undefined : this.kinds.get(kind)
    if (objectClass === undefined) return null
    const name = this.context.numbers.nameOf(this.context.service.permanent(), kind as ObjectKind, Number(number))
    return name === undefined ? null : { path, objectClass, object: { kind: kind as ObjectKind, name }, children: () => [] }
  }
}
