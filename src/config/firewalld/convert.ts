// One configuration in the other's files: what firewalld has written becomes our tree, and the other way round. Pure:
// a set of files comes out, and every word of what could not be taken over.
import type { PolicySettings, Settings, ZoneSettings } from '../../model/settings.ts'
import { emptyZone } from '../../model/settings.ts'
import { formatRichRule, parseRichRule } from '../../model/rich/index.ts'
import type { RichLimit, RichRule } from '../../model/rich/index.ts'
import type { Face } from '../../settings/dict.ts'
import { directKind, lockdownKind } from '../../settings/direct.ts'
import { kinds, mainKind } from '../../settings/kinds.ts'
import type { KindSettings, NamedKind } from '../../settings/kinds.ts'
import { parseSettings } from '../parse.ts'
import type { Permanent } from '../store/store.ts'
import { editYaml, formatYaml } from '../store/yaml-edit.ts'
import { formatXmlFile } from './codec.ts'
import type { KindName } from './codec.ts'
import { confOfMain, formatConf } from './conf.ts'
import { formatDirectXml, formatLockdownXml } from './direct-xml.ts'
import { numbersOf } from './icmp-numbers.ts'
import { combineZones, confFile, directFile, lockdownFile } from './tree.ts'

export interface ConversionNote {
  /** `lost`: the result filters differently. `note`: it filters the same, but look at it. */
  readonly severity: 'lost' | 'note'
  /** The file of the result it is about, relative to its tree. */
  readonly path: string
  readonly text: string
}

export interface Conversion {
  /** Path below the tree → content; sorted by path. */
  readonly files: ReadonlyMap<string, string>
  readonly notes: readonly ConversionNote[]
}

export interface ImportOptions {
  /** derpanet.yaml as it is now; its own keys and comments stay. null = there is none. */
  readonly main: string | null
}

const kindNames = Object.keys(kinds) as KindName[]

/** The objects an administrator has; what packages ship is there without being copied. */
function ownObjects<Kind extends KindName>(settings: Settings, kind: Kind): readonly (readonly [string, KindSettings[Kind]])[] {
  return [...settings[kinds[kind].folder]].filter(([, entry]) => entry.layer === 'admin').map(([name, entry]) => [name, entry.value as unknown as KindSettings[Kind]])
}

const sortedFiles = (files: ReadonlyMap<string, string>): ReadonlyMap<string, string> => new Map([...files].sort(([a], [b]) => (a < b ? -1 : 1)))

/**
 * A firewalld tree as our own. Throws COMMAND_FAILED when `main` has mistakes.
 * A stop of the daemon keeps filtering in our tree; that a stop of firewalld did not is noted, never taken over.
 */
export function importFirewalld(permanent: Permanent, options: ImportOptions): Conversion {
  const files = new Map<string, string>()
  const notes: ConversionNote[] = []
  const settings = combineZones(permanent.settings)
  for (const name of [...permanent.settings.zones.keys()].filter((found) => found.includes('/'))) {
    const head = name.slice(0, name.indexOf('/'))
    notes.push({ severity: 'note', path: `zones/${head}.yaml`, text: `holds what was in ${name}.xml` })
  }
  for (const kind of kindNames) {
    for (const [name, value] of ownObjects(settings, kind)) {
      files.set(`${kinds[kind].folder}/${name}.yaml`, formatYaml(kinds[kind] as unknown as NamedKind<typeof value>, value))
      if (kind === 'icmptype' && numbersOf(name).ipv4.length + numbersOf(name).ipv6.length === 0) {
        notes.push({ severity: 'note', path: `icmptypes/${name}.yaml`, text: 'nobody knows the numbers of this ICMP type: write them under ipv4 and ipv6, or no rule can match it' })
      }
    }
  }
  const { defaultZone, logDenied, flushAllOnReload, firewalld, onStop } = settings.main.value
  const wanted = { defaultZone, logDenied, flushAllOnReload, firewalld }
  const main = options.main === null ? formatYaml(mainKind, { ...mainKind.empty, ...wanted }) : editYaml(mainKind, 'derpanet.yaml', options.main, mergeMain(options.main, wanted))
  files.set('derpanet.yaml', main)
  if (onStop === 'open') notes.push({ severity: 'note', path: 'derpanet.yaml', text: 'CleanupOnExit=yes is not taken over: a stop keeps filtering; write on-stop: open to have it open everything' })
  if (hasItems(permanent.direct.value)) files.set('direct.yaml', formatYaml(directKind, permanent.direct.value))
  if (hasItems(permanent.lockdown.value)) files.set('lockdown.yaml', formatYaml(lockdownKind, permanent.lockdown.value))
  return { files: sortedFiles(files), notes }
}

const hasItems = (value: object): boolean => Object.values(value).some((list) => (list as readonly unknown[]).length > 0)

function mergeMain(text: string, wanted: Partial<Settings['main']['value']>): Settings['main']['value'] {
  const found = parseSettings('derpanet.yaml', text, mainKind).value
  return { ...(found ?? mainKind.empty), ...wanted }
}

export interface ExportOptions {
  /** Which firewalld will read it: 1.3 refuses a whole configuration for one word of 2.5. */
  readonly face: Face
  /** Shipped objects too, for a reader that may not have them. Default false. */
  readonly withShipped?: boolean
}

/** Our tree as one of firewalld. */
export function exportFirewalld(permanent: Permanent, { face, withShipped = false }: ExportOptions): Conversion {
  const files = new Map<string, string>()
  const notes: ConversionNote[] = []
  const { settings } = permanent
  for (const kind of kindNames) {
    const objects = withShipped ? [...settings[kinds[kind].folder]].map(([name, { value }]) => [name, value] as const) : ownObjects(settings, kind)
    for (const [name, value] of objects) {
      const path = `${kinds[kind].folder}/${name}.xml`
      const fitting = fit(kind, name, value as KindSettings[KindName], face, (severity, text) => notes.push({ severity, path, text }))
      if (fitting !== null) files.set(path, formatXmlFile(kind, fitting as never))
    }
  }
  const main = settings.main.value
  files.set(confFile, formatConf(confOfMain(main, face), face))
  const keep = (lost: boolean, text: string): void => {
    if (lost) notes.push({ severity: 'lost', path: confFile, text })
  }
  keep(main.block.length > 0, `block: ${main.block.join(', ')}: firewalld has no lists`)
  keep(main.neverBlock.length > 0, `never-block: ${main.neverBlock.join(', ')}: firewalld lets nobody in past its zones`)
  keep(main.failsafePorts.length > 0, `failsafe-ports: ${main.failsafePorts.map(({ port, protocol }) => `${port}/${protocol}`).join(', ')}: firewalld has none`)
  if (hasItems(permanent.direct.value)) files.set(directFile, formatDirectXml(permanent.direct.value))
  if (hasItems(permanent.lockdown.value)) files.set(lockdownFile, formatLockdownXml(permanent.lockdown.value))
  return { files: sortedFiles(files), notes }
}

type Note = (severity: ConversionNote['severity'], text: string) => void

/** The part of a value that firewalld's files can say; null = nothing of it. */
function fit(kind: KindName, name: string, value: KindSettings[KindName], face: Face, note: Note): KindSettings[KindName] | null {
  if (/\n/.test(value.description + value.short)) note('note', 'line breaks of texts become blanks')
  switch (kind) {
    case 'zone': return fitZone(name, value as ZoneSettings, face, note)
    case 'policy': return fitPolicy(value as PolicySettings, face, note)
    case 'icmptype': {
      const known = numbersOf(name)
      const { ipv4, ipv6 } = value as KindSettings['icmptype']
      if (JSON.stringify([ipv4, ipv6]) !== JSON.stringify([known.ipv4, known.ipv6])) note('lost', 'firewalld knows ICMP types by name only: its own numbers count')
      return value
    }
    default: return value
  }
}

function fitZone(name: string, zone: ZoneSettings, face: Face, note: Note): ZoneSettings {
  const lists = zone.sources.filter((source) => source.startsWith('list:'))
  if (lists.length > 0) note('lost', `sources ${lists.join(', ')}: firewalld has no lists`)
  const priorities = zone.ingressPriority !== emptyZone.ingressPriority || zone.egressPriority !== emptyZone.egressPriority
  if (priorities && face === '1.3') note('lost', 'firewalld 1.3 has no priorities of zones')
  if (face === '1.3' && name.length > 17) note('lost', 'firewalld 1.3 refuses names of zones longer than 17 characters')
  return {
    ...zone,
    sources: zone.sources.filter((source) => !source.startsWith('list:')),
    richRules: fitRules(zone.richRules, face, note),
    ...(face === '1.3' ? { ingressPriority: 0, egressPriority: 0 } : {}),
  }
}

function fitPolicy(policy: PolicySettings, face: Face, note: Note): PolicySettings | null {
  if (face === '1.3' && policy.disable) {
    note('note', 'is left out: firewalld 1.3 cannot keep a policy without using it')
    return null
  }
  return { ...policy, richRules: fitRules(policy.richRules, face, note) }
}

/** 1.3 knows no bursts. */
function fitRules(rules: readonly string[], face: Face, note: Note): readonly string[] {
  if (face !== '1.3') return rules
  return rules.map((text) => {
    const fitting = formatRichRule(withoutBurst(parseRichRule(text)))
    if (fitting !== text) note('lost', `firewalld 1.3 has no bursts of limits: ${text}`)
    return fitting
  })
}

function withoutBurst(rule: RichRule): RichRule {
  const plain = (limit: RichLimit | null): RichLimit | null => (limit === null ? null : { ...limit, burst: null })
  return {
    ...rule,
    log: rule.log === null ? null : { ...rule.log, limit: plain(rule.log.limit) },
    audit: rule.audit === null ? null : { ...rule.audit, limit: plain(rule.audit.limit) },
    action: rule.action === null ? null : { ...rule.action, limit: plain(rule.action.limit) },
  }
}
