// A Plan as text for people: goldens, `derpanetctl plan`, test failures.
import { formatAddr, formatPrefix } from '../model/addr.ts'
import { formatPortRange } from '../model/port.ts'
import { unreachable } from '../errors.ts'
import type { Plan, PlanChain, PlanMatch, PlanSet, PlanVerdict } from './plan.ts'

const maxShownEntries = 24

/** Ends in a newline. Equal plans give equal text; big sets show their size and digest only. */
export function formatPlan(plan: Plan): string {
  const blocks = [
    plan.hooks.map(({ hook, chain }) => `hook ${hook}: ${chain}`).join('\n'),
    ...plan.chains.map(formatChain),
    plan.sets.map(formatSet).join('\n'),
    formatEarly(plan),
    (plan.forwarding ?? []).map((family) => `forwarding: ${family}`).join('\n'),
  ]
  return `${blocks.filter((block) => block !== '').join('\n\n')}\n`
}

function formatChain({ name, rules }: PlanChain): string {
  const lines = rules.map(({ id, match, verdict }) => {
    const what = [...match.map(formatMatch), formatVerdict(verdict)].join(' ')
    return id === '' ? `  ${what}` : `  ${what.padEnd(70)}  # ${id}`
  })
  return [`chain ${name}`, ...lines].join('\n')
}

export function formatVerdict(verdict: PlanVerdict): string {
  switch (verdict.kind) {
    case 'accept':
    case 'drop':
    case 'return':
      return verdict.kind
    case 'reject':
      return `reject ${verdict.type}`
    case 'goto':
    case 'jump':
      return `${verdict.kind} ${verdict.chain}`
    case 'redirect':
      return `redirect to port ${formatPortRange(verdict.ports)}`
    case 'destination-nat':
      return `send to ${formatAddr(verdict.family, verdict.addr)}${verdict.ports === null ? '' : ` port ${formatPortRange(verdict.ports)}`}`
    case 'masquerade':
      return 'masquerade'
    case 'log': return `log ${JSON.stringify(verdict.prefix)}${verdict.level === '' ? '' : ` level ${verdict.level}`}`
    case 'nflog': return `nflog group ${verdict.group} ${JSON.stringify(verdict.prefix)}${verdict.threshold === null ? '' : ` threshold ${verdict.threshold}`}`
    case 'audit': return `audit ${verdict.decision}`
    case 'mark': return `mark 0x${verdict.value.toString(16)}/0x${verdict.mask.toString(16)}`
    case 'helper': return `helper ${verdict.name}`
    case 'tcp-mss': return `tcp segments ${verdict.bytes === null ? 'as the path takes them' : `of at most ${verdict.bytes}`}`
    default:
      return unreachable(verdict)
  }
}

export function formatMatch(match: PlanMatch): string {
  const not = 'invert' in match && match.invert ? 'not ' : ''
  const plus = 'wildcard' in match && match.wildcard ? '+' : ''
  switch (match.kind) {
    case 'family': return match.family
    case 'in-interface': return `in ${match.name}${plus}`
    case 'out-interface': return `out ${match.name}${plus}`
    case 'source-prefix': return `${not}from ${formatPrefix(match.prefix)}`
    case 'destination-prefix': return `${not}to ${formatPrefix(match.prefix)}`
    case 'source-mac': return `${not}from mac ${match.mac}`
    case 'set': return `${not}${match.side === 'source' ? 'from' : 'to'} set ${match.role}`
    case 'port-set': return `${match.protocol} ${match.side === 'source' ? 'from' : 'to'} ports of ${match.role}`
    case 'port': return `${match.protocol} ${match.side === 'source' ? 'from' : 'to'} port ${formatPortRange(match.ports)}`
    case 'protocol': return `protocol ${match.number}`
    case 'icmp': return `icmp type ${match.type}${match.code === null ? '' : ` code ${match.code}`}`
    case 'any-icmp': return 'icmp'
    case 'state': return `state ${match.states.join(',')}`
    case 'dnat': return 'destination rewritten'
    case 'original-destination': return `${not}originally to ${formatPrefix(match.prefix)}`
    case 'original-port': return `originally ${match.protocol} to port ${formatPortRange(match.ports)}`
    case 'interface-set': return `${match.side === 'source' ? 'in' : 'out'} one of ${match.role}`
    case 'local-destination': return 'to this host'
    case 'local-source': return 'from this host'
    case 'limit': return `at most ${match.limit.count}/${match.limit.unit}${match.limit.burst === null ? '' : ` after ${match.limit.burst}`}`
    case 'packet-type': return match.type
    case 'mark': return `mark 0x${match.value.toString(16)}`
    case 'tcp-syn': return 'tcp syn'
    case 'no-way-back': return `no way back${match.loose ? ' by any interface' : ''}`
    default: return unreachable(match)
  }
}

function formatSet({ role, kind, family, digest, elements, portRules, owners, user }: PlanSet): string {
  const what = user === undefined ? kind : `${user.type}${Object.entries(user.options).map(([key, value]) => ` ${key} ${value}`).join('')}`
  const head = `set ${role} (${what}${family === null ? '' : ` ${family}`})`
  if (elements.kind === 'list') {
    const { list } = elements
    return `${head}: ${(family === 'ipv4' ? list.lengths4 : list.lengths6).length} entries of list ${list.name}, ${digest.slice(0, 12)}`
  }
  if (portRules !== undefined && portRules.length > 0) {
    return [`${head}:`, ...portRules.map((part) => `  ${formatPortRange(part).padEnd(14)}# ${part.rule}`)].join('\n')
  }
  const { entries } = elements
  if (owners !== undefined && entries.length <= maxShownEntries) {
    return [`${head}:`, ...entries.map((entry) => `  ${entry.padEnd(24)}  # ${owners.get(entry) ?? ''}`)].join('\n')
  }
  if (entries.length > maxShownEntries) return `${head}: ${entries.length} entries, ${digest.slice(0, 12)}`
  return entries.length === 0 ? `${head}: empty` : `${head}: ${entries.join(' ')}`
}

function formatEarly({ early, interfaces }: Plan): string {
  const lines = [
    `early: panic ${early.panic ? 'on' : 'off'}`,
    ...early.allow.map(({ prefix, rule }) => `  allow from ${formatPrefix(prefix)}  # ${rule}`),
    ...early.failsafePorts.map(({ protocol, ports }) => `  allow ${protocol} to port ${formatPortRange(ports)}`),
    ...early.deny.map(({ list, rule }) => `  drop from list ${list.name}  # ${rule}`),
    ...interfaces.map(({ name, wildcard, zone }) => `interface ${name}${wildcard ? '+' : ''}: ${zone}`),
  ]
  return lines.join('\n')
}
