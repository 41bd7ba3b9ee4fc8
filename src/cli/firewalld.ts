// derpanetctl import and export: a whole configuration from firewalld's files to ours and back, offline. Nothing is written
// unless everything can be said, everything fits together and nothing is overwritten; --force lifts the first and the last.
import { existsSync, readdirSync, readFileSync, realpathSync } from 'node:fs'
import { basename, dirname, join, relative, resolve as absolute } from 'node:path'
import { isLoss, shippedDifferences } from '../config/firewalld/carried.ts'
import { exportFirewalld, importFirewalld, type Conversion, type ConversionNote } from '../config/firewalld/convert.ts'
import { combineZones, confFile, directFile, loadFirewalldTree, lockdownFile } from '../config/firewalld/tree.ts'
import { formatDiagnostic, hasErrors, type Diagnostic } from '../config/diagnostic.ts'
import { comparePlaces, placeFiles, type Placement } from '../config/place-files.ts'
import { createNativeStore, nativeFiles } from '../config/store/native.ts'
import { setAside } from '../config/store/files.ts'
import { withNativeFiles } from '../config/store/overlay.ts'
import type { Permanent, PermanentLoaded } from '../config/store/store.ts'
import { installedFace } from '../dbus/installed-face.ts'
import { DerpanetError, printable } from '../errors.ts'
import { resolve } from '../model/resolve.ts'
import { defaultMain, type Settings } from '../model/settings.ts'
import { shippedFolder } from '../options.ts'
import type { Face } from '../settings/dict.ts'
import { differences, formatDifference } from '../settings/difference.ts'
import { kinds } from '../settings/kinds.ts'
import { asDiagnostic } from './offline.ts'
import { out, outJson, type GlobalOptions } from './output.ts'

type TransferOptions = GlobalOptions & Readonly<Record<string, unknown>>

/** One thing that a person has to know, with its place in the files that were read. */
interface Said {
  readonly file: string | null
  readonly line: number | null
  readonly column: number | null
  readonly text: string
}

interface Transfer {
  readonly from: string
  readonly to: string
  readonly placements: readonly Placement[]
  /** What is not carried over. */
  readonly lost: readonly Said[]
  readonly notes: readonly Said[]
  /** What would be overwritten. */
  readonly conflicts: readonly string[]
  /** Files below `to` that would be in force besides; --force sets them aside. */
  readonly aside: readonly string[]
}

const notCarried = 1

/** Files of firewalld as ours. Exit status 0 = done (or, with --dry-run, could be), 1 = refused: mistakes, losses or conflicts. */
export async function importTree(options: TransferOptions, folder: string | undefined): Promise<number> {
  const from = absolute(folder ?? `${options.root ?? ''}/etc/firewalld`)
  const to = nativeFolder(options)
  needFirewalldTree(from)
  const loaded = await loadFirewalldTree({ system: from, defaults: vendorFolder(options), shipped: shipped(options), own: null }, '2.5')
  const { permanent } = loaded
  if (permanent === null) return refuse(options, loaded.diagnostics, from)
  const theirs = inForce({ ...permanent, settings: combineZones(permanent.settings) })
  const wrong = mistakesOf(theirs)
  if (wrong.length > 0) return refuse(options, wrong, from)

  const present = await loadNative(options)
  if (present.permanent === null) return refuse(options, present.diagnostics, to)
  const mainFile = join(to, nativeFiles.main)
  const conversion = importFirewalld(permanent, { main: existsSync(mainFile) ? readFileSync(mainFile, 'utf8') : null })
  const { permanent: merged, diagnostics } = withNativeFiles(present.permanent, to, conversion.files)
  const ours = inForce(merged)
  const misfits = hasErrors(diagnostics) ? diagnostics : mistakesOf(ours)
  if (hasErrors(misfits)) return refuse(options, misfits, to)

  const placements = await comparePlaces(to, conversion.files)
  const warnings = loaded.diagnostics.filter(({ file }) => file.startsWith(`${from}/`))
  const { lost, notes } = said(conversion)
  return finish(options, {
    from, to, placements,
    lost: [...warnings.filter(isLoss).map(saidByReader), ...lost],
    notes: [
      ...warnings.filter((warning) => !isLoss(warning)).map(saidByReader), ...notes,
      ...shippedDifferences(theirs, ours).map(plain), ...staying(present.permanent.settings, conversion).map(plain),
    ],
    conflicts: [...overwritten(placements, nativeFiles.main), ...changedKeys(present.permanent.settings, merged.settings, mainFile)], aside: [],
  }, 'derpanetctl check && derpanetctl apply --confirm 60')
}

/** Our files as firewalld's. Exit status as importTree. Throws INVALID_DIRECTORY for a folder in, or around, our own. */
export async function exportTree(options: TransferOptions, folder: string): Promise<number> {
  const from = nativeFolder(options)
  const to = absolute(folder)
  if (isWithin(to, from) || isWithin(from, to)) throw new DerpanetError('INVALID_DIRECTORY', `${printable(to, 4096)}: derpanet's own files are there: name another folder`)
  const { permanent, diagnostics } = await loadNative(options)
  if (permanent === null) return refuse(options, diagnostics, from)
  const face = (options['for'] as Face | undefined) ?? installedFace()
  const conversion = exportFirewalld(permanent, { face, withShipped: options['withShipped'] === true })
  const placements = await comparePlaces(to, conversion.files)
  const aside = strangers(to, conversion)
  return finish(options, {
    from, to, placements, ...said(conversion),
    conflicts: [...overwritten(placements), ...aside.map((path) => `${path} is there already and is not of this configuration`)], aside,
  }, `firewall-offline-cmd --system-config ${to} --check-config`)
}

// --- where things are ---

function nativeFolder(options: GlobalOptions): string {
  return absolute(options.configDir ?? `${options.root ?? ''}/etc/derpanet`)
}

/** Whether it is that folder or in it, whatever links lead there; it need not be there yet. Both are absolute. */
function isWithin(folder: string, outer: string): boolean {
  const real = (path: string): string => (existsSync(path) ? realpathSync(path) : join(real(dirname(path)), basename(path)))
  const way = relative(real(outer), real(folder))
  return way !== '..' && !way.startsWith('../')
}

const vendorFolder = (options: GlobalOptions): string => options.vendorDir ?? `${options.root ?? ''}/usr/lib/firewalld`

function shipped(options: GlobalOptions): string {
  const folder = options.libDir ?? shippedFolder(options.root ?? '', realpathSync(process.argv[1] ?? '.'))
  if (!existsSync(folder)) throw new DerpanetError('INVALID_DIRECTORY', `${printable(folder)}: the shipped definitions are not there (--lib-dir)`)
  return folder
}

function loadNative(options: GlobalOptions): Promise<PermanentLoaded> {
  return createNativeStore({ etc: nativeFolder(options), vendor: vendorFolder(options), shipped: shipped(options) }, '2.5').load()
}

/** Throws INVALID_DIRECTORY. */
function needFirewalldTree(folder: string): void {
  let names: readonly string[] = []
  try {
    names = readdirSync(folder)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code !== 'ENOENT') throw new DerpanetError('INVALID_DIRECTORY', `${printable(folder, 4096)} cannot be read: ${code}`, { cause: error })
  }
  const known: readonly string[] = [confFile, directFile, lockdownFile, ...Object.values(kinds).map((kind) => kind.folder)]
  if (!names.some((name) => known.includes(name))) throw new DerpanetError('INVALID_DIRECTORY', `${printable(folder, 4096)}: no configuration of firewalld is there`)
}

// --- what is said ---

function inForce({ settings, direct, lockdown }: Permanent): Settings {
  return { ...settings, direct, lockdown }
}

function mistakesOf(settings: Settings): readonly Diagnostic[] {
  return resolve({ settings, panic: false }).problems.map((problem) => asDiagnostic('error', problem))
}

const saidByReader = ({ file, line, column, text }: Diagnostic): Said => ({ file, line, column, text })
const plain = (text: string): Said => ({ file: null, line: null, column: null, text })

function said({ notes }: Conversion): Pick<Transfer, 'lost' | 'notes'> {
  const of = (severity: ConversionNote['severity']): readonly Said[] => notes.filter((note) => note.severity === severity)
    .map(({ path, text, from }) => (from === undefined ? plain(`${path}: ${text}`) : { ...from, text }))
  return { lost: of('lost'), notes: of('note') }
}

function overwritten(placements: readonly Placement[], besides?: string): readonly string[] {
  return placements.filter(({ path, change }) => change === 'changed' && path !== besides).map(({ path }) => `${path} is there already and says something else`)
}

/** derpanet.yaml keeps what it says besides; only a key that somebody set to something of their own is overwritten. */
function changedKeys(before: Settings, after: Settings, file: string): readonly string[] {
  const unset = { ...before, main: { ...before.main, value: defaultMain } }
  const decided = new Set(differences(unset, before).filter(({ object }) => object === 'main').map(({ key }) => key))
  return differences(before, after).filter(({ object, key }) => object === 'main' && decided.has(key)).map((difference) => `${file}: ${formatDifference(difference)}`)
}

/** What is in force afterwards and was never firewalld's. */
function staying(before: Settings, { files }: Conversion): readonly string[] {
  return Object.values(kinds).flatMap(({ folder }) => [...before[folder]]
    .filter(([name, { layer }]) => layer === 'admin' && !files.has(`${folder}/${name}.yaml`)).map(([name]) => `${folder}/${name}.yaml stays as it is`))
}

/** What firewalld would read there besides, below the folder. */
function strangers(to: string, { files }: Conversion): readonly string[] {
  if (!existsSync(to)) return []
  const read = [directFile, lockdownFile, ...Object.values(kinds).map(({ folder }) => `${folder}/`)]
  return (readdirSync(to, { recursive: true }) as string[]).filter((path) => path.endsWith('.xml') && !files.has(path) && read.some((start) => path.startsWith(start))).sort()
}

function refuse(options: TransferOptions, diagnostics: readonly Diagnostic[], where: string): number {
  const mistakes = diagnostics.filter(({ severity }) => severity === 'error')
  if (options.json) outJson({ done: false, refused: 'mistakes', mistakes })
  else {
    for (const diagnostic of mistakes) out(formatDiagnostic(diagnostic, { caret: true }))
    out(`${printable(where, 4096)}: ${mistakes.length === 1 ? '1 mistake' : `${mistakes.length} mistakes`}; nothing was written`)
  }
  return notCarried
}

async function finish(options: TransferOptions, transfer: Transfer, next: string): Promise<number> {
  const { from, to, placements, lost, notes, conflicts, aside } = transfer
  const force = options['force'] === true
  const dryRun = options['dryRun'] === true
  const refused = force ? null : lost.length > 0 ? 'losses' : conflicts.length > 0 ? 'conflicts' : null
  const done = refused === null && !dryRun
  if (done) {
    await placeFiles(to, placements)
    for (const path of aside) await setAside(join(to, path), 'any')
  }
  const files = placements.map(({ path, change }) => ({ path, change }))
  if (options.json) outJson({ done, refused, from, to, files, lost, notes, conflicts })
  else printTransfer(transfer, refused, done, next)
  return refused === null ? 0 : notCarried
}

function printTransfer({ to, placements, lost, notes, conflicts }: Transfer, refused: string | null, done: boolean, next: string): void {
  const warn = (text: string): void => void process.stderr.write(`${printable(text, 4096)}\n`)
  for (const one of lost) warn(`LOST ${place(one)}${one.text}`)
  for (const one of notes) warn(`note: ${place(one)}${one.text}`)
  for (const text of conflicts) warn(`${refused === null ? 'overwritten' : 'conflict'}: ${text}`)
  const changed = placements.filter(({ change }) => change !== 'same')
  for (const { path, change } of changed) out(`${change.padEnd(8)} ${printable(path)}`)
  const count = changed.length === 1 ? '1 file' : `${changed.length} files`
  const kept = changed.some(({ change }) => change === 'changed') ? '; what was there before ends in .old now' : ''
  if (done) out(`${count} written below ${printable(to, 4096)}${kept}. Next: ${next}`)
  else if (refused === null) out(`${count} would be written below ${printable(to, 4096)}; nothing was`)
  else out(`nothing was written: ${refused === 'losses' ? `${lost.length} thing${lost.length === 1 ? '' : 's'} cannot be carried over; --force carries over the rest` : '--force overwrites what is there, and keeps it as NAME.old'}`)
}

const place = ({ file, line, column }: Said): string => (file === null ? '' : `${file}:${line ?? 1}:${column ?? 1}: `)
