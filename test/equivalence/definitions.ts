// What both ship: every service, ICMP type, helper, zone and policy that firewalld has says the same here, but for its texts.
import { formatCall, type Call } from './calls.ts'
import { excuseForAnswer, excuseForLine } from './deviations.ts'
import type { Difference, Pair } from './play.ts'
import { sceneOf } from './scene.ts'

const lists: readonly Call[] = [
  ['listServices'], ['listIcmpTypes'], ['getHelpers'], ['zone.getZones'], ['policy.getPolicies'], ['ipset.getIPSets'],
  ['config.getServiceNames'], ['config.getIcmpTypeNames'], ['config.getHelperNames'], ['config.getZoneNames'], ['config.getPolicyNames'], ['config.getIPSetNames'],
]
/** By the list that names the objects; both worlds. */
const details: Readonly<Record<string, readonly string[]>> = {
  'listServices': ['getServiceSettings2', 'permanent.service.getSettings2'],
  'listIcmpTypes': ['getIcmpTypeSettings', 'permanent.icmptype.getSettings'],
  'getHelpers': ['getHelperSettings', 'permanent.helper.getSettings'],
  'zone.getZones': ['zone.getZoneSettings2', 'permanent.zone.getSettings2'],
}

/** Asked of both as they were installed. */
export async function compareDefinitions(pair: Pair): Promise<{ readonly questions: number; readonly differences: readonly Difference[] }> {
  const differences: Difference[] = []
  const scene = await sceneOf(pair.backend, (call) => pair.derpanetd.call(call))
  let questions = 0
  const compare = async (call: Call): Promise<string> => {
    questions++
    const [theirs, ours] = (await Promise.all([pair.firewalld.call(call), pair.derpanetd.call(call)])).map(({ result }) => withoutTexts(result)) as [string, string]
    const line = `state ${formatCall(call)}: firewalld ${theirs}, derpanetd ${ours}`
    if (theirs !== ours) differences.push({ line, about: { kind: 'state' }, excuse: excuseForLine(pair.backend, line) ?? excuseForAnswer(call, theirs, ours, scene) })
    return theirs
  }
  for (const list of lists) {
    const names = JSON.parse((await compare(list)).slice('ok '.length)) as readonly string[]
    for (const member of details[list[0]] ?? []) await Promise.all(names.map((name) => compare([member, name])))
  }
  return { questions, differences }
}

/** Old structures of settings begin with version, name and description. The order of a list is nobody's promise. */
function withoutTexts(result: string): string {
  if (!result.startsWith('ok [')) return result
  const value = JSON.parse(result.slice('ok '.length)) as readonly unknown[]
  return `ok ${JSON.stringify(Array.isArray(value[3]) || Array.isArray(value[5]) ? value.slice(3) : [...value].sort())}`
}
