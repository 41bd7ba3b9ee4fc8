// The permanent configuration in our own tree: YAML below /etc/derpanet, over what packages ship. Changes keep what a
// person wrote around them.
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { DerpanetError, printable } from '../../errors.ts'
import type { Entry, MainSettings } from '../../model/settings.ts'
import { defaultMain } from '../../model/settings.ts'
import type { Face } from '../../settings/dict.ts'
import { directKind, lockdownKind } from '../../settings/direct.ts'
import { confKey, confPart } from '../../settings/firewalld-conf.ts'
import { kinds, mainKind } from '../../settings/kinds.ts'
import type { NamedKind, ObjectKind } from '../../settings/kinds.ts'
import { hasErrors, sortDiagnostics } from '../diagnostic.ts'
import { openFile, openTree, readAll } from '../files.ts'
import { loadEntry, openLayer, startLoading } from '../layers.ts'
import { loadConfiguration, openLayers } from '../load.ts'
import type { ConfigPaths, LoadOptions } from '../load.ts'
import { parseSettings } from '../parse.ts'
import { maxFileBytes, maxLongFileBytes } from '../yaml.ts'
import { replaceFile, setAside } from './files.ts'
import { createStore } from './store.ts'
import type { Permanent, PermanentLoaded, PermanentStore, ReadOld, SingleFile, TreeFormat } from './store.ts'
import { editYaml, formatYaml } from './yaml-edit.ts'

export const nativeFiles = { main: 'derpanet.yaml', direct: 'direct.yaml', lockdown: 'lockdown.yaml' } as const

/** `face`: which keys of firewalld.conf exist and what their defaults are. */
export function createNativeStore(paths: ConfigPaths, face: Face): PermanentStore {
  const single = <S>(name: string, kind: ObjectKind<S>): SingleFile<S> => {
    const path = join(paths.etc, name)
    return {
      path, kind,
      format: (value, old) => (old === null ? formatYaml(kind, value) : editYaml(kind, path, old, value)),
      parse: (text) => parseSettings(path, text, kind),
    }
  }
  const main = single(nativeFiles.main, mainKind)
  const direct = single(nativeFiles.direct, directKind)
  const lockdown = single(nativeFiles.lockdown, lockdownKind)
  // the entries of an ipset are one file
  const readOld = readerOf(paths.etc, decodeUtf8, maxLongFileBytes)
  const format: TreeFormat = {
    tree: 'native', root: paths.etc, extension: 'yaml', nested: false,
    folders: [paths.etc, ...(paths.vendor === null ? [] : [paths.vendor])],
    load: (previous, options, only) => loadNative(paths, previous, options, only),
    below: (loading) => openLayers(loading, paths).layers.filter(({ layer }) => layer !== 'admin'),
    formatObject: (kind, path, value, old) => {
      const table = kinds[kind] as unknown as NamedKind<typeof value>
      return old === null ? formatYaml(table, value) : editYaml(table, path, old, value)
    },
    parseObject: (kind, path, text) => parseSettings(path, text, kinds[kind] as unknown as NamedKind<never>),
    settle: (_kind, _name, value) => value,
    main: { ...main, format: (value, old, before) => (old === null ? formatYaml(mainKind, value) : editMain(main.path, old, value, before)) },
    direct, lockdown,
    withConfKey,
    resetToDefaults: () => resetNative(paths.etc, main, readOld),
  }
  return createStore(format, face, readOld)
}

async function loadNative(paths: ConfigPaths, previous: Permanent | undefined, options: LoadOptions, only?: 'shipped'): Promise<PermanentLoaded> {
  const nowhere = join(paths.shipped, 'no-such-folder')
  const { settings, diagnostics } = await loadConfiguration(only === 'shipped' ? { ...paths, etc: nowhere } : paths, previous?.settings, options)
  const loading = startLoading()
  const admin = only === 'shipped' ? null : openLayer(loading, paths.etc, 'admin')
  // What is wrong with the tree itself is in `diagnostics` already.
  loading.diagnostics.length = 0
  const one = <S>(name: string, kind: ObjectKind<S>, before: Entry<S> | undefined): Entry<S> => {
    const entry = admin === null ? null : loadEntry(loading, admin, name, kind, before)
    return entry ?? (before?.layer === 'builtin' ? before : { value: kind.empty, layer: 'builtin', positions: new Map() })
  }
  const direct = one(nativeFiles.direct, directKind, previous?.direct)
  const lockdown = one(nativeFiles.lockdown, lockdownKind, previous?.lockdown)
  const all = sortDiagnostics([...diagnostics, ...loading.diagnostics])
  return { permanent: settings === null || hasErrors(all) ? null : { settings, direct, lockdown }, diagnostics: all }
}

/** The text of a file by the rules of configuration files; null when there is none. Throws COMMAND_FAILED. */
export function readerOf(root: string, decode: (bytes: Uint8Array) => string = decodeUtf8, maxBytes = maxFileBytes): ReadOld {
  return (path) => {
    const tree = openTree(root, false)
    if (tree === null) return null
    const file = 'trouble' in tree ? tree : openFile(tree, path, maxBytes)
    if (file === null) return null
    const bytes = 'trouble' in file ? file : readAll(file, maxBytes)
    if ('trouble' in bytes) throw new DerpanetError('COMMAND_FAILED', `${printable(path)} ${bytes.trouble.text}`)
    return decode(bytes)
  }
}

function decodeUtf8(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch (cause) {
    throw new DerpanetError('COMMAND_FAILED', 'the text is not UTF-8', { cause })
  }
}

function withConfKey(main: MainSettings, key: string, value: string): MainSettings {
  return { ...main, ...(confKey(key)?.meaning?.read(value) ?? { firewalld: { ...main.firewalld, [key]: value } }) }
}

/** Only what differs from `before` is changed in the text: other edits of a person, not loaded yet, stay. */
function editMain(path: string, old: string, value: MainSettings, before: MainSettings): string {
  const found = parseSettings(path, old, mainKind).value
  if (found === null) throw new DerpanetError('COMMAND_FAILED', `${printable(path)} is not changed, because it has mistakes`)
  const merged: Record<string, unknown> = { ...found }
  for (const key of Object.keys(value) as (keyof MainSettings)[]) {
    if (key === 'firewalld') merged[key] = mergeDict(found.firewalld, value.firewalld, before.firewalld)
    else if (value[key] !== before[key]) merged[key] = value[key]
  }
  return editYaml(mainKind, path, old, merged as unknown as MainSettings)
}

type Dict = Readonly<Record<string, string>>

function mergeDict(found: Dict, value: Dict, before: Dict): Dict {
  const changed = Object.entries(value).filter(([name, text]) => before[name] !== text)
  const gone = Object.keys(before).filter((name) => !Object.hasOwn(value, name))
  return Object.fromEntries([...Object.entries(found).filter(([name]) => !gone.includes(name)), ...changed])
}

/**
 * Own objects go aside. Of derpanet.yaml only what firewalld has goes back to its default: a reset over the bus must
 * not take away failsafe ports, never-block or block lists.
 */
async function resetNative(etc: string, main: SingleFile<MainSettings>, readOld: ReadOld): Promise<void> {
  for (const { folder } of Object.values(kinds)) {
    for (const name of existsSync(join(etc, folder)) ? readdirSync(join(etc, folder)) : []) {
      if (name.endsWith('.yaml') && !name.startsWith('.')) await setAside(join(etc, folder, name), 'any')
    }
  }
  for (const name of [nativeFiles.direct, nativeFiles.lockdown]) {
    if (existsSync(join(etc, name))) await setAside(join(etc, name), 'any')
  }
  const old = readOld(main.path)
  if (old === null) return
  const found = parseSettings(main.path, old, mainKind).value
  // A file that nobody can read says nothing that could be kept in force.
  const text = found === null ? '' : editYaml(mainKind, main.path, old, { ...found, ...confPart(defaultMain) })
  if (text !== old) await replaceFile(main.path, text, 'any')
}

