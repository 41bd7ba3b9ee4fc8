// The configurations of test/golden, read as the daemon reads /etc/derpanet.
import { existsSync, readdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { formatDiagnostic } from '../../src/config/diagnostic.ts'
import { loadConfiguration } from '../../src/config/load.ts'
import type { Runtime } from '../../src/model/settings.ts'

export const goldens = fileURLToPath(new URL('../golden', import.meta.url))
export const goldenNames: readonly string[] = readdirSync(goldens).sort()
const shipped = fileURLToPath(new URL('../../etc/lib', import.meta.url))

/** A file `panic` in the folder switches panic on. Throws with the diagnostics when the folder does not load. */
export async function goldenRuntime(name: string): Promise<Runtime> {
  const folder = `${goldens}/${name}`
  const { settings, diagnostics } = await loadConfiguration({ etc: folder, vendor: null, shipped })
  if (settings === null) throw new Error(diagnostics.map((one) => formatDiagnostic(one, { caret: true })).join('\n'))
  return { settings, panic: existsSync(`${folder}/panic`) }
}
