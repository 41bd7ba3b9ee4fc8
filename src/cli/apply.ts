// derpanetctl apply, reload, confirm and undo: changes with a way back. Who calls is told to the daemon by the connection
// he hangs on, because only this process can see whose child it is.
import { DerpanetError, printable } from '../errors.ts'
import { sessionsOf } from '../host/connections.ts'
import { formatConnection } from '../model/connection.ts'
import type { ApplyResult, ServiceStatus } from '../service.ts'
import { callDaemon, callJson } from './client.ts'
import { out, outJson, type GlobalOptions } from './output.ts'

export type ChangeOptions = GlobalOptions & Readonly<Record<string, unknown>>

export async function apply(options: ChangeOptions): Promise<number> {
  const result = await explained(options, async () => callJson<ApplyResult>('Apply', options.bus, { signature: 'sa{sv}', body: ['', await applyOptions(options)] }))
  return show(options, result, `generation ${result.generation} is in force`)
}

export async function undo(options: ChangeOptions, generation: string | undefined): Promise<number> {
  const number = generation === undefined ? 0 : wholeNumber('generation', generation)
  const result = await explained(options, async () => callJson<ApplyResult>('Undo', options.bus, { signature: 'ia{sv}', body: [number, await applyOptions(options)] }))
  return show(options, result, `undone: generation ${result.generation} is in force`)
}

export async function confirm(options: GlobalOptions): Promise<number> {
  const [generation] = await callDaemon('Confirm', options.bus)
  if (options.json) outJson({ confirmed: Number(generation) })
  else out(`generation ${Number(generation)} stays`)
  return 0
}

type BusOptions = Readonly<Record<string, { readonly signature: string; readonly value: unknown }>>

async function applyOptions(options: ChangeOptions): Promise<BusOptions> {
  const { confirm: confirmSec, expect } = options
  return {
    sessions: { signature: 'as', value: (await sessionsOf(process.pid)).map(formatConnection) },
    ...(confirmSec === undefined ? {} : { confirm_sec: { signature: 'i', value: wholeNumber('--confirm', String(confirmSec)) } }),
    ...(expect === undefined ? {} : { expected_generation: { signature: 'i', value: wholeNumber('--expect', String(expect)) } }),
    ...(options['evenIfCutOff'] === true ? { even_if_cut_off: { signature: 'b', value: true } } : {}),
    ...(options['forceLists'] === true ? { force_lists: { signature: 'b', value: true } } : {}),
    ...(options['dryRun'] === true ? { dry_run: { signature: 'b', value: true } } : {}),
    ...(options['discardEdits'] === true ? { discard_edits: { signature: 'b', value: true } } : {}),
  }
}

/** The error of a refusal names the first mistake and not its text; status has all of them, for who may ask for it. */
async function explained<Result>(options: GlobalOptions, call: () => Promise<Result>): Promise<Result> {
  try {
    return await call()
  } catch (error) {
    if (error instanceof DerpanetError && error.code !== 'NOT_APPLIED' && !options.json) await printProblems(options)
    throw error
  }
}

async function printProblems(options: GlobalOptions): Promise<void> {
  try {
    const { problem } = await callJson<ServiceStatus>('Status', options.bus)
    for (const line of problem?.diagnostics ?? []) process.stderr.write(`${printable(line, 1000)}\n`)
  } catch {
    // whoever may not ask, or is not answered, still sees the error itself
  }
}

async function show(options: GlobalOptions, result: ApplyResult, done: string): Promise<number> {
  const { warnings = [] } = result.applied ? await callJson<ServiceStatus>('Status', options.bus) : {}
  if (options.json) {
    outJson({ ...result, warnings })
    return 0
  }
  for (const warning of warnings) process.stderr.write(`warning: ${printable(warning, 1000)}\n`)
  for (const line of result.differences) out(`  ${printable(line, 500)}`)
  for (const line of result.cutsOff) out(`  ${result.applied ? 'cuts off' : 'would cut off'}: ${printable(line, 500)}`)
  const count = result.differences.length === 1 ? '1 difference' : `${result.differences.length} differences`
  out(result.applied ? `${done}, ${count}` : `${count}; nothing was done`)
  if (result.confirmWithinSec !== null) out(`it is taken back in ${result.confirmWithinSec} s unless you say: derpanetctl confirm`)
  return 0
}

function wholeNumber(what: string, text: string): number {
  if (/^\d{1,9}$/.test(text)) return Number(text)
  throw new DerpanetError('INVALID_VALUE', `${what} takes a number, not '${printable(text)}'`)
}
