// derpanetctl reload: the files take effect, or nothing changes and the reason is shown.
import { callDaemon } from './client.ts'
import { out, outJson, type GlobalOptions } from './output.ts'

export async function reload(options: GlobalOptions): Promise<number> {
  await callDaemon('Reload', options.bus)
  if (options.json) outJson({ reloaded: true })
  else out('the configuration is reloaded')
  return 0
}
