// A configuration as it would be read once some files of the native tree were written: their text is read as it will be
// then, by the same rules, and everything is checked together.
import { join } from 'node:path'
import type { Entry, Settings } from '../../model/settings.ts'
import { directKind, lockdownKind } from '../../settings/direct.ts'
import { kinds, mainKind } from '../../settings/kinds.ts'
import type { NamedKind, ObjectKind } from '../../settings/kinds.ts'
import { isName, requireName } from '../../settings/names.ts'
import { DerpanetError } from '../../errors.ts'
import { sortDiagnostics } from '../diagnostic.ts'
import type { Diagnostic } from '../diagnostic.ts'
import { fileDiagnostic } from '../files.ts'
import { maxBytesOf } from '../layers.ts'
import { parseSettings } from '../parse.ts'
import { checkReferences } from '../references.ts'
import { maxFileBytes } from '../yaml.ts'
import { nativeFiles } from './native.ts'
import type { Permanent } from './store.ts'

export interface Overlaid {
  /** As far as it could be read. */
  readonly permanent: Permanent
  readonly diagnostics: readonly Diagnostic[]
}

/** `files`: path below `root` → text. */
export function withNativeFiles(before: Permanent, root: string, files: ReadonlyMap<string, string>): Overlaid {
  const diagnostics: Diagnostic[] = []
  const read = <S>(path: string, text: string, kind: ObjectKind<S>, present: Entry<S> | undefined): Entry<S> | null => {
    const file = join(root, path)
    const maxBytes = 'folder' in kind ? maxBytesOf(kind as NamedKind<S>) : maxFileBytes
    if (Buffer.byteLength(text) > maxBytes) {
      diagnostics.push(fileDiagnostic(file, 'INVALID_FILENAME', `would be larger than ${maxBytes} bytes`))
      return null
    }
    const parsed = parseSettings(file, text, kind)
    diagnostics.push(...parsed.diagnostics)
    if (parsed.value === null) return null
    const overrides = present !== undefined && (present.layer !== 'admin' || present.overrides === true)
    return { value: parsed.value, layer: 'admin', file, positions: parsed.positions, ...(overrides ? { overrides: true as const } : {}) }
  }
  let { settings, direct, lockdown } = before
  for (const [path, text] of files) {
    if (path === nativeFiles.main) settings = { ...settings, main: read(path, text, mainKind, settings.main) ?? settings.main }
    else if (path === nativeFiles.direct) direct = read(path, text, directKind, undefined) ?? direct
    else if (path === nativeFiles.lockdown) lockdown = read(path, text, lockdownKind, undefined) ?? lockdown
    else settings = withObject(settings, path, (kind, present) => read(path, text, kind, present), (diagnostic) => diagnostics.push({ ...diagnostic, file: join(root, path) }))
  }
  diagnostics.push(...checkReferences(settings, new Set()))
  return { permanent: { settings, direct, lockdown }, diagnostics: sortDiagnostics(diagnostics) }
}

type ReadObject = <S>(kind: ObjectKind<S>, present: Entry<S> | undefined) => Entry<S> | null

function withObject(settings: Settings, path: string, read: ReadObject, report: (diagnostic: Diagnostic) => void): Settings {
  const [folder = '', rest = ''] = path.split('/')
  const table = Object.values(kinds).find((kind) => kind.folder === folder) as NamedKind<object> | undefined
  if (table === undefined) throw new Error(`no kind of object in ${path}`)
  const name = rest.replace(/\.yaml$/, '')
  try {
    if (!isName(table.kind, name)) requireName(table.kind, name)
  } catch (error) {
    if (!(error instanceof DerpanetError)) throw error
    report(fileDiagnostic(path, error.code, error.detail))
    return settings
  }
  const present = settings[table.folder] as ReadonlyMap<string, Entry<object>>
  const entry = read(table, present.get(name))
  if (entry === null) return settings
  return { ...settings, [table.folder]: new Map([...present, [name, entry] as const].sort(([one], [other]) => (one < other ? -1 : 1))) }
}
