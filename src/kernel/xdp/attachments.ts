// Which interfaces carry the program, and their rows in dp_links. An interface without a row is never dropped on, so rows
// go before the program does, and come after it.
import type { Plan } from '../../compile/plan.ts'
import { layout } from '../../compile/xdp/layout.ts'
import type { XdpMode } from '../../model/settings.ts'
import type { DataplaneStatus } from '../dataplane.ts'
import type { Exec } from '../exec.ts'
import { observeLinks, whyNot } from './links.ts'
import type { Link } from './links.ts'
import type { AttachMode, Loader } from './loader.ts'
import type { XdpMaps } from './maps.ts'
import type { XdpLog, ZoneIds } from './xdp.ts'

export interface AttachmentsOptions {
  readonly loader: Loader
  readonly exec: Exec
  readonly maps: XdpMaps
  readonly zones: ZoneIds
  /** `auto` = as the plan says. */
  readonly override: XdpMode
  readonly log: XdpLog
}

/** How an interface came out. Kept, so that one which refuses is not asked again at every change. */
interface Outcome {
  readonly ifindex: number
  readonly wanted: XdpMode
  readonly attached: AttachMode | null
  /** Why not; "" when attached. */
  readonly reason: string
}

/** Modes an interface may get. `auto`: native or nothing; its cost for accepted traffic is not measured yet. */
const attachModes: Readonly<Record<XdpMode, AttachMode | null>> = { auto: 'native', native: 'native', generic: 'generic', off: null }

export class Attachments {
  private readonly options: AttachmentsOptions
  private links: readonly Link[] | null = null
  private outcomes = new Map<string, Outcome>()
  private followed = ''

  constructor(options: AttachmentsOptions) {
    this.options = options
  }

  /** After a commit: interfaces are looked at the first time, later only when their zones or modes changed. Returns what changed, "" = nothing. */
  async follow(plan: Plan): Promise<string> {
    const key = JSON.stringify([plan.interfaces, plan.defaultZone, plan.xdp])
    if (this.links !== null && key === this.followed) return ''
    const changes = await this.reconcile(plan, this.links ?? (await observeLinks(this.options.exec)))
    this.followed = key
    return changes
  }

  /** After links changed. An interface that refused before is asked again only if it is a new one. */
  async refresh(plan: Plan): Promise<string> {
    return this.reconcile(plan, await observeLinks(this.options.exec))
  }

  /** Interfaces that should carry the program, with their index. */
  carrying(): readonly (readonly [name: string, ifindex: number])[] {
    return [...this.outcomes].flatMap(([name, { attached, ifindex }]) => (attached === null ? [] : [[name, ifindex] as const]))
  }

  /** Somebody took the program away: the next follow() looks at everything, and asks those that lost it again. */
  forget(lost: readonly string[]): void {
    this.links = null
    for (const name of lost) this.outcomes.delete(name)
  }

  /** What carries the program now. */
  attached(): readonly { readonly name: string; readonly mode: AttachMode }[] {
    return [...this.outcomes].flatMap(([name, { attached }]) => (attached === null ? [] : [{ name, mode: attached }]))
  }

  status(): Pick<DataplaneStatus, 'state' | 'details'> {
    const shown = [...this.outcomes].sort(([a], [b]) => (a < b ? -1 : 1))
    const details = shown.map(([subject, { attached, reason }]) => ({ subject, text: attached ?? `off: ${reason}` }))
    // with auto, "off" is an answer; asked for by name, it is a failure
    const failed = shown.some(([, { wanted, attached }]) => attached === null && (wanted === 'native' || wanted === 'generic'))
    const some = shown.some(([, { attached }]) => attached !== null)
    return { state: failed ? 'degraded' : some ? 'ok' : 'off', details }
  }

  private async reconcile(plan: Plan, links: readonly Link[]): Promise<string> {
    const { loader } = this.options
    const pinned = new Map((await loader.links()).map((pin) => [pin.interface, pin]))
    const outcomes = new Map<string, Outcome>()
    const attach: Record<AttachMode, Link[]> = { native: [], generic: [] }

    for (const link of links) {
      const wanted = this.modeFor(plan, link.name)
      const mode = attachModes[wanted]
      const before = this.outcomes.get(link.name)
      const pin = pinned.get(link.name)
      const isOn = pin?.state === 'attached' && pin.ifindex === link.ifindex
      const obstacle = whyNot(link, links)
      const keeps = isOn && obstacle === 'down' // what was attached stays when the link goes down for a while
      if (obstacle !== null && !keeps) {
        // ports, loopback and the like are not worth a line unless somebody named them in the configuration
        if (obstacle === 'down' || plan.xdp?.interfaces[link.name] !== undefined) {
          outcomes.set(link.name, { ifindex: link.ifindex, wanted, attached: null, reason: obstacle })
        }
      } else if (mode === null) {
        outcomes.set(link.name, { ifindex: link.ifindex, wanted, attached: null, reason: 'xdp: off' })
      } else if (isOn && pin.mode === mode) {
        outcomes.set(link.name, { ifindex: link.ifindex, wanted, attached: mode, reason: '' })
      } else if (before !== undefined && before.ifindex === link.ifindex && before.wanted === wanted && before.attached === null && before.reason !== 'down') {
        outcomes.set(link.name, before)
      } else {
        attach[mode].push(link)
      }
    }

    const kept = new Set([...outcomes].filter(([, { attached }]) => attached !== null).map(([name]) => name))
    const leaving = [...pinned.keys()].filter((name) => !kept.has(name) && !attach.native.concat(attach.generic).some((link) => link.name === name))
    const keptIndexes = new Set([...kept].map((name) => outcomes.get(name)!.ifindex))
    for (const ifindex of this.options.maps.links().keys()) if (!keptIndexes.has(ifindex)) this.options.maps.removeLink(ifindex)
    if (leaving.length > 0) await loader.detach(leaving)
    for (const mode of ['native', 'generic'] as const) await this.attach(plan, mode, attach[mode], outcomes)

    for (const [name, { attached, ifindex }] of outcomes) {
      if (attached !== null) this.options.maps.setLink(ifindex, { flags: layout.LINK_ENFORCE, zone: this.options.zones.idOf(zoneOf(plan, name)) })
    }
    const changes = describeChanges(this.outcomes, outcomes, leaving)
    this.links = links
    this.outcomes = outcomes
    return changes
  }

  private async attach(plan: Plan, mode: AttachMode, links: readonly Link[], outcomes: Map<string, Outcome>): Promise<void> {
    if (links.length === 0) return
    const results = await this.options.loader.attach(mode, links.map(({ name }) => name))
    for (const link of links) {
      const result = results.find((each) => each.interface === link.name)
      const attached = result?.state === 'attached' ? mode : null
      const reason = attached !== null ? '' : (result?.reason ?? 'the loader said nothing')
      const wanted = this.modeFor(plan, link.name)
      outcomes.set(link.name, { ifindex: link.ifindex, wanted, attached, reason })
      this.options.log.info({ interface: link.name, wanted, xdp: attached ?? 'off', ...(reason === '' ? {} : { reason }) }, 'XDP on an interface')
    }
  }

  private modeFor(plan: Plan, ifname: string): XdpMode {
    if (this.options.override !== 'auto') return this.options.override
    return plan.xdp?.interfaces[ifname] ?? plan.xdp?.mode ?? 'auto'
  }
}

/** The zone by interface: bound by name, by the first wildcard that fits, else the default one. */
export function zoneOf(plan: Plan, ifname: string): string {
  const exact = plan.interfaces.find(({ name, wildcard }) => !wildcard && name === ifname)
  const bound = exact ?? plan.interfaces.find(({ name, wildcard }) => wildcard && ifname.startsWith(name))
  return bound?.zone ?? plan.defaultZone
}

function describeChanges(before: ReadonlyMap<string, Outcome>, after: ReadonlyMap<string, Outcome>, left: readonly string[]): string {
  const came = [...after].filter(([name, { attached, ifindex }]) => {
    const old = before.get(name)
    return attached !== null && (old?.attached !== attached || old.ifindex !== ifindex)
  })
  return [
    ...(came.length === 0 ? [] : [`attached ${came.map(([name, { attached }]) => `${name} (${attached})`).join(', ')}`]),
    ...(left.length === 0 ? [] : [`detached ${left.join(', ')}`]),
  ].join('; ')
}
