// One configuration in the other's files: what firewalld has written becomes our tree, and the other way round. Pure:
// a set of files comes out, and every word of what could not be taken over.
import type { Entry, MainSettings, PolicySettings, Position, Settings, ZoneSettings } from '../../model/settings.ts'
import { defaultMain, emptyZone } from '../../model/settings.ts'
import { formatRichRule, parseRichRule } from '../../model/rich/index.ts'
import type { RichLimit, RichRule } from '../../model/rich/index.ts'
import type { Face } from '../../settings/dict.ts'
import { directKind, lockdownKind } from '../../settings/direct.ts'
import { confKey, confPart, confWords } from '../../settings/firewalld-conf.ts'
import { kinds, mainKind, objectsOf } from '../../settings/kinds.ts'
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
  /** Where it was written that way; absent for what no file says. */
  readonly from?: { readonly file: string } & Position
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
function ownObjects<Kind extends KindName>(settings: Settings, kind: Kind): readonly (readonly [string, Entry<KindSettings[Kind]>])[] {
  return [...objectsOf(settings, kind)].filter(([, { layer }]) => layer === 'admin')
}

/** Where the first of `keys` that has a place was written (keys as Entry.positions has them), else the start of the file. */
function placeOf({ file, positions }: Entry<unknown>, keys: readonly string[]): Pick<ConversionNote, 'from'> {
  if (file === undefined) return {}
  const place = keys.map((key) => positions.get(key)).find((found) => found !== undefined)
  return { from: { file, ...(place ?? { line: 1, column: 1 }) } }
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
    notes.push({ severity: 'note', path: `zones/${head}.yaml`, text: `holds what was in ${name}.xml`, ...placeOf(permanent.settings.zones.get(name)!, []) })
  }
  for (const kind of kindNames) {
    for (const [name, entry] of ownObjects(settings, kind)) {
      files.set(`${kinds[kind].folder}/${name}.yaml`, formatYaml(kinds[kind] as unknown as NamedKind<typeof entry.value>, entry.value))
      if (kind === 'icmptype' && numbersOf(name).ipv4.length + numbersOf(name).ipv6.length === 0) {
        notes.push({ severity: 'note', path: `icmptypes/${name}.yaml`, text: 'nobody knows the numbers of this ICMP type: write them under ipv4 and ipv6, or no rule can match it', ...placeOf(entry, []) })
      }
    }
  }
  const wanted = confPart(settings.main.value)
  const main = options.main === null ? formatYaml(mainKind, { ...mainKind.empty, ...wanted }) : editYaml(mainKind, 'derpanet.yaml', options.main, mergeMain(options.main, wanted))
  files.set('derpanet.yaml', main)
  if (settings.main.value.onStop === 'open') notes.push({ severity: 'note', path: 'derpanet.yaml', text: 'CleanupOnExit=yes is not taken over: a stop keeps filtering; write on-stop: open to have it open everything', ...placeOf(settings.main, ['firewalld=CleanupOnExit']) })
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
    for (const [name, entry] of withShipped ? objectsOf(settings, kind) : ownObjects(settings, kind)) {
      const path = `${kinds[kind].folder}/${name}.xml`
      const fitting = fit(kind, name, entry.value, face, (severity, text, ...keys) => notes.push({ severity, path, text, ...placeOf(entry, keys) }))
      if (fitting !== null) files.set(path, formatXmlFile(kind, fitting as never))
    }
  }
  fitMain(settings.main.value, face, (severity, text, ...keys) => notes.push({ severity, path: confFile, text, ...placeOf(settings.main, keys) }))
  files.set(confFile, formatConf(confOfMain(settings.main.value, face), face))
  if (hasItems(permanent.direct.value)) files.set(directFile, formatDirectXml(permanent.direct.value))
  if (hasItems(permanent.lockdown.value)) files.set(lockdownFile, formatLockdownXml(permanent.lockdown.value))
  return { files: sortedFiles(files), notes }
}

/** `keys`: where in the object it was written, the best first; see {@link placeOf}. */
type Note = (severity: ConversionNote['severity'], text: string, ...keys: readonly string[]) => void

/** What no key of firewalld.conf says, and what this face has no word for. */
function fitMain(main: MainSettings, face: Face, note: Note): void {
  const ports = main.failsafePorts.map(({ port, protocol }) => `${port}/${protocol}`)
  if (main.block.length > 0) note('lost', `block: ${main.block.join(', ')}: firewalld has no lists`, 'block')
  if (main.neverBlock.length > 0) note('lost', `never-block: ${main.neverBlock.join(', ')}: firewalld lets nobody in past its zones`, 'neverBlock')
  if (ports.length > 0) note('lost', `failsafe-ports: ${ports.join(', ')}: firewalld has none`, 'failsafePorts')
  if (main.published !== defaultMain.published) note('lost', `published: ${main.published}: firewalld leaves published ports open`, 'published')
  for (const [name, value] of confWords(main, face)) {
    const key = confKey(name)
    const has = key?.defaults[face] !== undefined
    // what the other face does without being told is no loss
    if (has ? key.isValid(value, face) : Object.values(key?.defaults ?? {}).includes(value)) continue
    note('lost', `${name}=${value}: firewalld ${face} has no such ${has ? 'value' : 'key'}`, `firewalld=${name}`, key?.meaning?.key ?? 'firewalld')
  }
}

/** The part of a value that firewalld's files can say; null = nothing of it. */
function fit(kind: KindName, name: string, value: KindSettings[KindName], face: Face, note: Note): KindSettings[KindName] | null {
  if (/\n/.test(value.description + value.short)) note('note', 'line breaks of texts become blanks', 'description', 'short')
  switch (kind) {
    case 'zone': return fitZone(name, value as ZoneSettings, face, note)
    case 'policy': return fitPolicy(value as PolicySettings, face, note)
    case 'icmptype': {
      const known = numbersOf(name)
      const { ipv4, ipv6 } = value as KindSettings['icmptype']
      if (JSON.stringify([ipv4, ipv6]) !== JSON.stringify([known.ipv4, known.ipv6])) note('lost', 'firewalld knows ICMP types by name only: its own numbers count', 'ipv4', 'ipv6')
      return value
    }
    default: return value
  }
}

function fitZone(name: string, zone: ZoneSettings, face: Face, note: Note): ZoneSettings {
  const lists = zone.sources.filter((source) => source.startsWith('list:'))
  if (lists.length > 0) note('lost', `sources ${lists.join(', ')}: firewalld has no lists`, `sources=${lists[0]}`)
  const priorities = zone.ingressPriority !== emptyZone.ingressPriority || zone.egressPriority !== emptyZone.egressPriority
  if (priorities && face === '1.3') note('lost', 'firewalld 1.3 has no priorities of zones', 'ingressPriority', 'egressPriority')
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
    note('note', 'is left out: firewalld 1.3 cannot keep a policy without using it', 'disable')
    return null
  }
  return { ...policy, richRules: fitRules(policy.richRules, face, note) }
}

/** 1.3 knows no bursts. */
function fitRules(rules: readonly string[], face: Face, note: Note): readonly string[] {
  if (face !== '1.3') return rules
  return rules.map((text) => {
    const fitting = formatRichRule(withoutBurst(parseRichRule(text)))
    if (fitting !== text) note('lost', `firewalld 1.3 has no bursts of limits: ${text}`, `richRules=${text}`)
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
