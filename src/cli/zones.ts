// derpanetctl zones: what is in force, zone by zone.
import { DerpanetError, printable } from '../errors.ts'
import { callJson } from './client.ts'
import { columns, out, outJson, type GlobalOptions } from './output.ts'

/** One zone as org.derpanet.Derpanet1.Zones answers it. */
export interface ZoneSummary {
  readonly name: string
  readonly isDefault: boolean
  readonly isActive: boolean
  readonly target: string
  readonly interfaces: readonly string[]
  readonly sources: readonly string[]
  readonly services: readonly string[]
  readonly ports: readonly string[]
  readonly protocols: readonly string[]
  readonly sourcePorts: readonly string[]
  readonly icmpBlocks: readonly string[]
  readonly icmpBlockInversion: boolean
  readonly masquerade: boolean
  readonly forward: boolean
  readonly forwardPorts: readonly string[]
  readonly richRules: readonly string[]
  readonly layer: string
  readonly file: string | null
}

/** Without a name a table of the zones in use, or of `all`; with a name everything about one. Throws INVALID_ZONE. */
export async function zones(options: GlobalOptions, name: string | undefined, all: boolean): Promise<number> {
  const found = await callJson<readonly ZoneSummary[]>('Zones', options.bus)
  const shown = found.filter((zone) => (name === undefined ? all || zone.isActive || zone.isDefault : zone.name === name))
  if (name !== undefined && shown.length === 0) throw new DerpanetError('INVALID_ZONE', printable(name))
  if (options.json) outJson(name === undefined ? shown : shown[0])
  else if (name === undefined) out(formatTable(shown, found.length))
  else for (const zone of shown) out(formatZone(zone))
  return 0
}

export function formatTable(shown: readonly ZoneSummary[], total: number): string {
  const rows = shown.map((zone) => [
    zone.isDefault ? `${zone.name} (default)` : zone.name, zone.target, [...zone.interfaces, ...zone.sources].join(' ') || '-',
    [...zone.services, ...zone.ports].join(' ') || '-',
  ].map((cell) => printable(cell, 100)))
  const hidden = total - shown.length
  const hint = hidden > 0 ? `\n${hidden} more ${hidden === 1 ? 'zone is' : 'zones are'} bound to nothing: derpanetctl zones --all` : ''
  return `${columns([['zone', 'target', 'interfaces and sources', 'lets in'], ...rows])}${hint}`
}

export function formatZone(zone: ZoneSummary): string {
  const rows: (readonly [string, string])[] = [
    ['target', zone.target], ['interfaces', zone.interfaces.join(' ')], ['sources', zone.sources.join(' ')], ['services', zone.services.join(' ')],
    ['ports', zone.ports.join(' ')], ['protocols', zone.protocols.join(' ')], ['source-ports', zone.sourcePorts.join(' ')],
    ['icmp-blocks', `${zone.icmpBlocks.join(' ')}${zone.icmpBlockInversion ? ' (inverted: only these pass)' : ''}`.trim()],
    ['forward', zone.forward ? 'yes' : 'no'], ['masquerade', zone.masquerade ? 'yes' : 'no'], ['forward-ports', zone.forwardPorts.join(' ')],
    ['file', zone.file ?? `none (${zone.layer})`],
  ]
  const notes = [zone.isDefault ? 'default' : '', zone.isActive ? 'in use' : 'not in use'].filter((note) => note !== '').join(', ')
  const shown = rows.filter(([, text]) => text !== '').map(([key, text]) => [`  ${key}`, printable(text, 2000)])
  const rules = zone.richRules.map((rule) => `    ${printable(rule, 1000)}`)
  return [`${printable(zone.name)} (${notes})`, columns(shown), ...(rules.length === 0 ? [] : ['  rich-rules', ...rules])].join('\n')
}
