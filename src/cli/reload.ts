// derpanetctl reload: the files take effect, or nothing changes and the reason is shown.
import { DerpanetError, printable } from '../errors.ts'
import type { ServiceStatus } from '../service.ts'
import { callDaemon, callJson } from './client.ts'
import { out, outJson, type GlobalOptions } from './output.ts'

export async function reload(options: GlobalOptions, forceLists: boolean): Promise<number> {
  try {
    await callDaemon(forceLists ? 'ReloadForcingLists' : 'Reload', options.bus)
  } catch (error) {
    if (error instanceof DerpanetError && !options.json) await explain(options)
    throw error
  }
  const { warnings = [] } = await callJson<ServiceStatus>('Status', options.bus)
  if (options.json) outJson({ reloaded: true, warnings })
  else {
    out('the configuration is reloaded')
    for (const warning of warnings) process.stderr.write(`warning: ${printable(warning, 1000)}\n`)
  }
  return 0
}

/** The error names the first mistake and not its text; status has all of them, for who may ask for it. */
async function explain(options: GlobalOptions): Promise<void> {
  try {
    const { problem } = await callJson<ServiceStatus>('Status', options.bus)
    for (const line of problem?.diagnostics ?? []) process.stderr.write(`${printable(line, 1000)}\n`)
  } catch {
    // whoever may not ask, or is not answered, still sees the error itself
  }
}
