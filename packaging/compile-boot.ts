// Writes the boot file of the shipped configuration: what derpanet-load restores when the daemon has not written one yet, or
// both of its are damaged. Usage: compile-boot.ts dist/lib
import { mkdirSync, renameSync, writeFileSync } from 'node:fs'
import { join, resolve as absolute } from 'node:path'
import { compile } from '../src/compile/compile.ts'
import { formatDiagnostic } from '../src/config/diagnostic.ts'
import { loadConfiguration } from '../src/config/load.ts'
import { bootContent } from '../src/kernel/boot.ts'
import { resolve } from '../src/model/resolve.ts'

const [lib] = process.argv.slice(2)
if (lib === undefined) throw new Error('usage: compile-boot.ts dist/lib')

const { settings, diagnostics } = await loadConfiguration({ shipped: absolute(lib), vendor: null, etc: join(absolute(lib), 'no-configuration') })
for (const diagnostic of diagnostics) process.stderr.write(`${formatDiagnostic(diagnostic, { caret: true })}\n`)
if (settings === null) process.exit(1)
const { firewall, problems } = resolve({ settings, panic: false })
if (firewall === null) throw new Error(`the shipped configuration cannot be enforced: ${JSON.stringify(problems)}`)
const { text, blobs } = bootContent(compile(firewall), { generation: 0, variant: 'auto', xdp: null })
if (blobs.length > 0) throw new Error('the shipped configuration has lists')
mkdirSync(join(lib, 'boot'), { recursive: true })
writeFileSync(join(lib, 'boot/boot.new'), text, { mode: 0o644 })
renameSync(join(lib, 'boot/boot.new'), join(lib, 'boot/boot'))
