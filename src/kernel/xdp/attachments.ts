// Which interfaces carry the program, and their rows in dp_links. An interface without a row is never dropped on, so rows
// go before the program does, and come after it.
import type { Plan } from '../../compile/plan.ts'
import { layout } from '../../compile/xdp/layout.ts'
import type { XdpMode } from '../../model/settings.ts'
import type { DataplaneStatus } from '../dataplane.ts'
import type { Exec } from '../exec.ts'
import { observeLinks, whyNot, whyNotAuto } from './links.ts'
import type { Link } from './links.ts'
import type { AskedMode, AttachMode, Loader } from './loader.ts'
import type { XdpMaps } from './maps.ts'
import type { XdpLog, ZoneIds } from './xdp.ts'

export interface AttachmentsOptions {
  readonly loader: Loader
  readonly exec: Exec
  readonly maps: XdpMaps
  readonly zones: ZoneIds
  /** What `auto` in the plan means; `off` whatever the plan says. */
  readonly override: XdpMode
  readonly log: XdpLog
  /** Milliseconds that only grow. */
  readonly now: () => number
}

/** How an interface came out. Kept, so that one which refuses is not asked again at every change. */
interface Outcome {
  readonly ifindex: number
  readonly wanted: XdpMode
  readonly attached: AttachMode | null
  /** Why not; "" when attached. */
  readonly reason: string
  /** When it is asked again, on the clock of {@link AttachmentsOptions.now}; null = not before it is another one or was down. */
  readonly retry: { readonly atMs: number; readonly tries: number } | null
}

const askedModes = ['native', 'generic', 'auto'] as const
/** What a driver does not have does not come by waiting. */
const isLasting = /^(EOPNOTSUPP|auto): /
const firstRetryMs = 2000
const longestRetryMs = 300_000

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

  /** Is an interface that could not take the program to be asked again? {@link refresh} does it. */
  isRetryDue(): boolean {
    return [...this.outcomes.values()].some(({ retry }) => this.isDue(retry))
  }

  /** After links changed. An interface that refused before is asked again if it is a new one, was down, or its time has come. */
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
    const attach: Record<AskedMode, Link[]> = { native: [], generic: [], auto: [] }

    for (const link of links) {
      const { name, ifindex } = link
      const wanted = this.modeFor(plan, name)
      const before = this.outcomes.get(name)
      const pin = pinned.get(name)
      const isOn = pin?.state === 'attached' && pin.ifindex === ifindex
      const obstacle = whyNot(link, links)
      const keeps = isOn && obstacle === 'down' // what was attached stays when the link goes down for a while
      const stays = (attached: AttachMode | null, reason = ''): void => void outcomes.set(name, { ifindex, wanted, attached, reason, retry: null })
      const slow = wanted === 'auto' ? whyNotAuto(link, links) : null
      if (obstacle !== null && !keeps) {
        // ports, loopback and the like are not worth a line unless somebody named them in the configuration
        if (obstacle === 'down' || plan.xdp?.interfaces[name] !== undefined) stays(null, obstacle)
      } else if (wanted === 'off') stays(null, 'xdp: off')
      else if (slow !== null) stays(null, slow)
      else if (isOn && pin.mode === modeOf(wanted)) stays(modeOf(wanted))
      else if (before?.attached === null && before.ifindex === ifindex && before.wanted === wanted && before.reason !== 'down' && !this.isDue(before.retry)) outcomes.set(name, before)
      else attach[wanted].push(link)
    }

    const kept = new Set([...outcomes].filter(([, { attached }]) => attached !== null).map(([name]) => name))
    const leaving = [...pinned.keys()].filter((name) => !kept.has(name) && !askedModes.some((asked) => attach[asked].some((link) => link.name === name)))
    const keptIndexes = new Set([...kept].map((name) => outcomes.get(name)!.ifindex))
    for (const ifindex of this.options.maps.links().keys()) if (!keptIndexes.has(ifindex)) this.options.maps.removeLink(ifindex)
    if (leaving.length > 0) await loader.detach(leaving)
    for (const asked of askedModes) await this.attach(plan, asked, attach[asked], outcomes)

    for (const [name, { attached, ifindex }] of outcomes) {
      if (attached !== null) this.options.maps.setLink(ifindex, { flags: layout.LINK_ENFORCE, zone: this.options.zones.idOf(zoneOf(plan, name)) })
    }
    const changes = describeChanges(this.outcomes, outcomes, leaving)
    this.links = links
    this.outcomes = outcomes
    return changes
  }

  private async attach(plan: Plan, asked: AskedMode, links: readonly Link[], outcomes: Map<string, Outcome>): Promise<void> {
    if (links.length === 0) return
    const results = await this.options.loader.attach(asked, links.map(({ name }) => name))
    for (const link of links) {
      const result = results.find((each) => each.interface === link.name)
      const attached = result?.state === 'attached' ? modeOf(asked) : null
      const reason = attached !== null ? '' : (result?.reason ?? 'the loader said nothing')
      const wanted = this.modeFor(plan, link.name)
      const tries = (this.outcomes.get(link.name)?.retry?.tries ?? 0) + 1
      const waitMs = Math.min(longestRetryMs, firstRetryMs * 2 ** Math.min(tries - 1, 16))
      const retry = attached !== null || isLasting.test(reason) ? null : { atMs: this.options.now() + waitMs, tries }
      outcomes.set(link.name, { ifindex: link.ifindex, wanted, attached, reason, retry })
      this.options.log.info({ interface: link.name, wanted, xdp: attached ?? 'off', ...(reason === '' ? {} : { reason }) }, 'XDP on an interface')
    }
  }

  private isDue(retry: Outcome['retry']): boolean {
    return retry !== null && retry.atMs <= this.options.now()
  }

  private modeFor(plan: Plan, ifname: string): XdpMode {
    const asked = plan.xdp?.interfaces[ifname] ?? plan.xdp?.mode ?? 'auto'
    return asked === 'auto' || this.options.override === 'off' ? this.options.override : asked
  }
}

/** What is attached when that is asked for: auto is native, or nothing. */
function modeOf(asked: AskedMode): AttachMode {
  return asked === 'generic' ? 'generic' : 'native'
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
