// Copies shipped definitions and writes their snapshot beside them (src/config/definitions.ts), so that the daemon starts
// without parsing them. Fails on any mistake or warning in them. Usage: compile-lib.ts etc/lib dist/lib
import { copyFileSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { differing, encodeSnapshot, flattenPositions, sha256Of, snapshotName } from '../src/config/definitions.ts'
import type { SnapshotRecord } from '../src/config/definitions.ts'
import { formatDiagnostic } from '../src/config/diagnostic.ts'
import { parseSettings } from '../src/config/parse.ts'
import { kinds } from '../src/settings/kinds.ts'
import type { ObjectKind } from '../src/settings/kinds.ts'
import { requireName } from '../src/settings/names.ts'

const [from, to] = process.argv.slice(2)
if (from === undefined || to === undefined) throw new Error('usage: compile-lib.ts etc/lib dist/lib')

/** The same for every file and a whole number of seconds: all that packages keep of a time. */
const mtimeSec = Number(process.env['SOURCE_DATE_EPOCH'] ?? Math.floor(Date.now() / 1000))
const made = `${to}.new`
rmSync(made, { recursive: true, force: true })
mkdirSync(made, { recursive: true })
const snapshot = new Map<string, SnapshotRecord>()
let mistakes = 0
for (const kind of Object.values(kinds) as (ObjectKind<object> & { readonly kind: keyof typeof kinds; readonly folder: string })[]) {
  mkdirSync(join(made, kind.folder), { recursive: true })
  for (const name of readdirSync(join(from, kind.folder)).filter((file) => file.endsWith('.yaml')).sort()) {
    const relative = `${kind.folder}/${name}`
    requireName(kind.kind, name.slice(0, -'.yaml'.length))
    const bytes = readFileSync(join(from, relative))
    const { value, positions, diagnostics } = parseSettings(join(from, relative), bytes.toString('utf8'), kind)
    for (const diagnostic of diagnostics) process.stderr.write(`${formatDiagnostic(diagnostic, { caret: true })}\n`)
    mistakes += diagnostics.length
    if (value === null) continue
    copyFileSync(join(from, relative), join(made, relative))
    utimesSync(join(made, relative), mtimeSec, mtimeSec)
    snapshot.set(relative, {
      sizeBytes: bytes.length, mtimeSec, sha256: sha256Of(bytes), value: differing(kind.empty, value), positions: flattenPositions(positions),
    })
  }
}
if (mistakes > 0) {
  process.stderr.write(`compile-lib: ${mistakes} mistakes\n`)
  process.exit(1)
}
writeFileSync(join(made, snapshotName), encodeSnapshot(snapshot))
rmSync(to, { recursive: true, force: true })
renameSync(made, to)
process.stdout.write(`${to}: ${snapshot.size} definitions\n`)
