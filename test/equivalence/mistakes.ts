// Settings with several mistakes are refused with one of them as the reason. Which one is nobody's promise; that each is a mistake of
// its own, which both sides refuse for the same reason, is shown by playing parts of the settings.
import type { Call, Result } from './calls.ts'

/** The results of a call that stand: that of both, or each side's where a written deviation says why they differ. None else. */
export type Standing = (call: Call) => Promise<readonly Result[]>

type Dictionary = Readonly<Record<string, unknown>>

/**
 * True when some part of the call's settings is refused with firewalld's reason, and some part with ours. Changes what it plays
 * on: parts without a mistake are taken.
 */
export async function isEachAMistake(standing: Standing, call: Call, codes: readonly [string, string]): Promise<boolean> {
  const missing = new Set(codes)
  let number = 0
  for (const part of partsOf(call.at(-1) as Dictionary)) {
    const [member, name, ...rest] = call
    const results = await standing([member, member.startsWith('config.add') ? `probe${number++}` : name, ...rest.slice(0, -1), part])
    for (const result of results) missing.delete(result)
    if (missing.size === 0) return true
  }
  return false
}

/** Without one of the values, of the list items too; then with one setting or one of its items only, beside the zones of a policy, or others. */
function* partsOf(settings: Dictionary): Generator<Dictionary> {
  const without = (key: string): Dictionary => Object.fromEntries(Object.entries(settings).filter(([name]) => name !== key))
  for (const [key, value] of Object.entries(settings)) {
    yield without(key)
    if (Array.isArray(value) && value.length > 1) yield* value.map((_, index) => ({ ...settings, [key]: value.filter((_, at) => at !== index) }))
  }
  const isNeeded = (key: string): boolean => key === 'ingress_zones' || key === 'egress_zones'
  for (const [key, value] of Object.entries(settings)) {
    const only = Object.fromEntries(Object.entries(settings).filter(([name]) => name === key || isNeeded(name)))
    yield only
    if (Array.isArray(value) && value.length > 1) yield* value.map((item) => ({ ...only, [key]: [item] }))
    // between zones that are no mistake
    if (!isNeeded(key) && settings['ingress_zones'] !== undefined) yield { ingress_zones: ['ANY'], egress_zones: ['HOST'], [key]: value }
  }
}
