// The permanent configuration in firewalld's tree: a host can change the daemon without converting anything, and back.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { MainSettings, Position, ServiceSettings, ZoneSettings } from '../../model/settings.ts'
import type { Face } from '../../settings/dict.ts'
import { directKind, lockdownKind } from '../../settings/direct.ts'
import { confKeys, confWords } from '../../settings/firewalld-conf.ts'
import type { KindSettings } from '../../settings/kinds.ts'
import { kinds, mainKind } from '../../settings/kinds.ts'
import { listNested, openTree } from '../files.ts'
import { formatXmlFile, parseXml } from '../firewalld/codec.ts'
import { moduleName, xmlKinds } from '../firewalld/kinds.ts'
import { numbersOf } from '../firewalld/icmp-numbers.ts'
import { decodeConf, formatConf, mainOfConf, parseConf, replaceConfValue } from '../firewalld/conf.ts'
import { formatDirectXml, formatLockdownXml, parseDirectXml, parseLockdownXml } from '../firewalld/direct-xml.ts'
import { settleRule } from '../firewalld/rich-xml.ts'
import { mergePorts } from '../firewalld/rows.ts'
import { confFile, directFile, lockdownFile, loadFirewalldTree, openFirewalldLayers } from '../firewalld/tree.ts'
import type { FirewalldPaths } from '../firewalld/tree.ts'
import { replaceFile, setAside } from './files.ts'
import { readerOf } from './native.ts'
import { createStore } from './store.ts'
import type { ObjectKindName, PermanentStore, TreeFormat } from './store.ts'

/** `face`: which keys of firewalld.conf exist and what their defaults are. */
export function createFirewalldStore(paths: FirewalldPaths, face: Face): PermanentStore {
  const at = (name: string): string => join(paths.system, name)
  const format: TreeFormat = {
    tree: 'firewalld', root: paths.system, extension: 'xml', nested: true,
    folders: [paths.system, paths.defaults],
    load: (previous, options, only) => loadFirewalldTree(paths, face, previous, { ...options, ...(only === undefined ? {} : { only }) }),
    below: (loading) => openFirewalldLayers(loading, paths).below,
    formatObject: (kind, _path, value) => formatXmlFile(kind, value),
    parseObject: (kind, path, text, name) => parseXml(kind, path, text, name),
    settle,
    main: {
      path: at(confFile), kind: mainKind,
      format: (value, old, before) => changedConf(old ?? formatConf(new Map(), face), value, before, face),
      parse: (text, before) => {
        const { values, diagnostics } = parseConf(at(confFile), text, face)
        return { value: mainOfConf(values, face, before), positions: new Map<string, Position>(), diagnostics }
      },
    },
    direct: { path: at(directFile), kind: directKind, format: formatDirectXml, parse: (text) => parseDirectXml(at(directFile), text) },
    lockdown: { path: at(lockdownFile), kind: lockdownKind, format: formatLockdownXml, parse: (text) => parseLockdownXml(at(lockdownFile), text) },
    withConfKey: (main, key, value) => mainOfConf(new Map([...storedValues(main, face), [key, value]]), face, main),
    resetToDefaults: () => resetTree(paths, face),
  }
  // a set of half a million addresses is one file
  return createStore(format, face, readerOf(paths.system, decodeConf, xmlKinds.ipset.maxChars))
}

/** The value that comes back from a file: line breaks are blanks, ports that overlap are one, numbers follow from the name, modules have one name. */
export function settle<Kind extends ObjectKindName>(kind: Kind, name: string, value: KindSettings[Kind]): KindSettings[Kind] {
  const flat = (text: string): string => text.replaceAll('\n', ' ')
  const texts = { ...value, short: flat(value.short), description: flat(value.description) }
  if (kind === 'icmptype') return { ...texts, ...numbersOf(name) }
  if (kind === 'service') return { ...texts, modules: [...new Set((value as ServiceSettings).modules.map(moduleName))] }
  if (kind !== 'zone' && kind !== 'policy') return texts
  const { ports, sourcePorts, richRules } = value as ZoneSettings
  return { ...texts, ports: mergePorts(ports), sourcePorts: mergePorts(sourcePorts), richRules: richRules.map(settleRule) }
}

/** Every key as text, so that one can be exchanged. */
function storedValues(main: MainSettings, face: Face): ReadonlyMap<string, string> {
  return new Map([
    ...confWords(main, face),
    ...(main.firewalld['CleanupOnExit'] === undefined ? [['CleanupOnExit', main.onStop === 'open' ? 'yes' : 'no'] as const] : []),
  ])
}

/** The keys that differ, each in its line. */
function changedConf(text: string, value: MainSettings, before: MainSettings, face: Face): string {
  const now = storedValues(value, face)
  const then = storedValues(before, face)
  return confKeys.reduce((changed, { name, defaults }) => {
    const wanted = now.get(name) ?? defaults[face]
    return wanted === undefined || wanted === (then.get(name) ?? defaults[face]) ? changed : replaceConfValue(changed, name, wanted)
  }, text)
}

async function resetTree(paths: FirewalldPaths, face: Face): Promise<void> {
  const tree = openTree(paths.system, false)
  if (tree === null || 'trouble' in tree) return
  for (const { folder } of Object.values(kinds)) {
    for (const name of listNested(tree, folder, 'xml', true).names) await setAside(join(paths.system, folder, `${name}.xml`), 'any')
  }
  const direct = join(paths.system, directFile)
  if (readerOf(paths.system, decodeConf)(direct) !== null) await setAside(direct, 'any')
  await replaceFile(join(paths.system, confFile), shippedConf(paths.defaults) ?? formatConf(new Map(), face), 'any')
}

/** firewalld 2 ships a copy of its file; earlier ones do not. */
function shippedConf(defaults: string): string | null {
  try {
    return decodeConf(readFileSync(join(defaults, confFile)))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
    throw error
  }
}

