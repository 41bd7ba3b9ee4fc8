// Random texts of rich rules: whole ones in any order and quoting, nearly right ones, and ones that only look alike.
import type { Random } from '../../support/random.ts'

const addresses = ['192.0.2.1', '198.51.100.0/24', '203.0.113.5/255.255.255.0', '0.0.0.0/0', '2001:db8::1', '2001:DB8::/32', '::/0', '::ffff:192.0.2.1']
const badAddresses = ['192.0.2.300', '192.0.2.1/33', '192.0.2', '2001:db8::1/129', '2001:db8:::1', 'localhost', '10.0.0.0/255.0.255.0', '[::1]', '1.2.3.4/', '01.2.3.4', ' 1.2.3.4', 'fe80::1%eth0']
const macs = ['00:00:5e:00:53:01', 'AA:BB:CC:DD:EE:FF', 'aa-bb-cc-dd-ee-ff', '00:00:5e:00:53', '00:00:5e:00:53:0g']
const names = ['ssh', 'http', 'office', 'nosuch', 'a b', 'x'.repeat(40), 'echo-request', 'redirect', 'é']
const ports = ['80', '6000-6010', '0', '65535', '443', 'ssh']
const badPorts = ['65536', '80-', '-80', '80:90', '90-80', '', 'eighty', '080', ' 80', '1-2-3', '99999999999999999999', '80,81', '+80']
const protocols = ['tcp', 'udp', 'sctp', 'dccp']
const badProtocols = ['TCP', 'icmp', '6', '', 'tcp ', 'nosuch']
const ipProtocols = ['gre', '47', 'GRE', 'ah', '255', 'icmp', 'ipv6-icmp']
const badIpProtocols = ['256', 'nosuch', '-1', '', '0x2f', '4 7']
const limits = ['3/m', '1/s', '100/h', '2/d', '5/minute', '9/second', '7/hour', '8/day', '10000/s']
const badLimits = ['0/s', '1/d', '3', '3/', '/m', '3/x', '-3/m', '10001/s', '01/s', '+1/s', '1 /s', '3/M', '3/m/s', '1.5/s']
const bursts = ['1', '5', '10000000']
const badBursts = ['0', '-1', '10000001', 'x', '']
const levels = ['emerg', 'alert', 'crit', 'error', 'warning', 'notice', 'info', 'debug']
const badLevels = ['err', 'warn', 'INFO', '7', 'panic']
const prefixes = ['x', 'a b', 'web: ', "it's", 'say "no"', 'back\\slash', 'é', 'x'.repeat(127), 'x'.repeat(128), 'x=y', '$(id)', '%s']
const numbers = ['0', '1', '65535']
const badNumbers = ['65536', '-1', 'x', '', '01', '1.0']
const priorities = ['-32768', '-1', '0', '1', '32767', '+5']
const badPriorities = ['-32769', '32768', 'x', '', '1.5', '1e3', '--1', '0x10', '007']
const families = ['ipv4', 'ipv6']
const badFamilies = ['ipv5', 'IPv4', '', 'inet', 'eb']
const rejects = ['icmp-host-prohibited', 'host-prohib', 'icmp-net-unreachable', 'icmp-port-unreachable', 'tcp-reset', 'tcp-rst', 'icmp6-adm-prohibited', 'adm-prohibited', 'no-route', 'icmp6-addr-unreachable', 'icmp-admin-prohibited', 'admin-prohib']
const badRejects = ['icmp-nonsense', 'ICMP-HOST-PROHIBITED', 'default', '']
const marks = ['1', '0x10', '0x10/0xff', '4294967295', '1/1', '0']
const badMarks = ['4294967296', '-1', 'x', '', '1/2/3', '0b1', '1_0', '1/', '/1', '0x', '010']
const clamps = ['pmtu', '536', '1400', '65535']
const badClamps = ['535', '0', 'PMTU', 'x', '', '-1', '99999999']
const inverts = ['true', 'True', 'yes', '1']
const badInverts = ['no', 'false', '0', 'maybe', '']

type Values = readonly [good: readonly string[], bad: readonly string[]]

const address: Values = [addresses, badAddresses]
const any: Values = [names, ['', 'x y', '%%', 'a/b', '-x', 'x'.repeat(300)]]
const port: Values = [ports, badPorts]
const protocol: Values = [protocols, badProtocols]

/** The attributes of each part, and what may and may not stand in them. */
const parts: Readonly<Record<string, Readonly<Record<string, Values>>>> = {
  source: { address, mac: [macs.slice(0, 2), macs.slice(2)], ipset: any, invert: [inverts, badInverts] },
  destination: { address, ipset: any, invert: [inverts, badInverts] },
  service: { name: any }, port: { port, protocol }, 'source-port': { port, protocol },
  protocol: { value: [ipProtocols, badIpProtocols] }, 'icmp-block': { name: any }, 'icmp-type': { name: any }, masquerade: {},
  'forward-port': { port, protocol, 'to-port': port, 'to-addr': address },
  'tcp-mss-clamp': { value: [clamps, badClamps] },
  log: { prefix: [prefixes, ['']], level: [levels, badLevels] },
  nflog: { group: [numbers, badNumbers], prefix: [prefixes, ['']], 'queue-size': [numbers, badNumbers] },
  audit: {}, accept: {}, drop: {}, reject: { type: [rejects, badRejects] }, mark: { set: [marks, badMarks] },
}
const limit = { value: [limits, badLimits], burst: [bursts, badBursts] } as const
const elements = ['service', 'port', 'source-port', 'protocol', 'icmp-block', 'icmp-type', 'masquerade', 'forward-port', 'tcp-mss-clamp']
const actions = ['accept', 'drop', 'reject', 'mark']
const words = [...Object.keys(parts), 'rule', 'limit', 'NOT', 'not', 'family=ipv4', 'priority=3', 'value=1/s', 'name=x', 'bogus', 'bogus=1', '=', 'x=', '=x', '"', "'", '\\']

/** One text. Four of five are rules that somebody could have meant, the others are those after an accident. */
export function randomRichText(random: Random): string {
  const text = written(random, random.chance(0.5) ? 0 : 0.12)
  return random.chance(0.2) ? spoiled(random, text) : text
}

/** `error` = how often each single thing is wrong. */
function written(random: Random, error: number): string {
  const wrong = (): boolean => error > 0 && random.chance(error)
  const family = random.chance(0.6) ? random.pick(families) : null
  const value = ([good, bad]: Values): string => {
    if (wrong()) return random.pick(bad)
    // an address mostly fits the family
    const fitting = good === addresses && family !== null ? good.filter((one) => one.includes(':') === (family === 'ipv6')) : good
    return random.pick(fitting)
  }
  const attribute = (name: string, values: Values): string => `${name}=${quoted(random, value(values))}`
  const limited = (): string[] => (random.chance(0.25)
    ? ['limit', ...(wrong() ? [] : [attribute('value', limit.value)]), ...(random.chance(0.4) ? [attribute('burst', limit.burst)] : [])] : [])
  const part = (word: string): string[] => {
    const names = Object.keys(parts[word] ?? {})
    const chosen = word === 'source' || word === 'destination'
      ? [...random.some(names.filter((name) => name !== 'invert'), 1), ...(random.chance(0.1) ? ['invert'] : [])]
      : names.filter((name) => random.chance(['prefix', 'level', 'group', 'queue-size', 'type', 'to-port', 'to-addr'].includes(name) ? 0.6 : wrong() ? 0 : 0.97))
    if (chosen.length === 0 && (word === 'source' || word === 'destination') && !wrong()) chosen.push(names.includes('mac') && family === null ? 'mac' : 'address')
    if (wrong() && names.length > 0) chosen.push(random.pick(names))
    const ordered = random.chance(0.3) ? random.shuffle(chosen) : chosen
    const not = (word === 'source' || word === 'destination') && random.chance(0.15) ? [random.pick(['NOT', 'not'])] : []
    return [word, ...not, ...ordered.map((name) => attribute(name, parts[word]?.[name] ?? any))]
  }
  const head = [
    ...(random.chance(0.25) ? [`priority=${quoted(random, value([priorities, badPriorities]))}`] : []),
    ...(family !== null ? [`family=${quoted(random, wrong() ? random.pick(badFamilies) : family)}`] : []),
  ]
  const element = random.chance(0.85) ? random.pick(elements) : null
  const isAction = element !== null && ['masquerade', 'icmp-block', 'forward-port', 'tcp-mss-clamp'].includes(element)
  const clauses = [
    ...(random.chance(0.5) ? [part('source')] : []),
    ...(random.chance(family === null ? 0.05 : 0.3) ? [part('destination')] : []),
    ...(element === null ? [] : [part(element)]),
    ...(random.chance(0.25) ? [[...part(random.pick(['log', 'nflog'])), ...limited()]] : []),
    ...(random.chance(0.15) ? [[...part('audit'), ...limited()]] : []),
    ...(isAction !== wrong() ? [] : [[...part(random.pick(actions)), ...limited()]]),
    ...(wrong() ? [part(random.pick(Object.keys(parts)))] : []),
  ]
  const ordered = random.chance(0.2) ? random.shuffle(clauses) : clauses
  const all = ['rule', ...(random.chance(0.3) ? random.shuffle(head) : head), ...ordered.flat()]
  if (wrong()) all.splice(random.between(0, all.length), 0, random.pick(words))
  return all.join(random.chance(0.9) ? ' ' : random.pick(['  ', ' \t ', '\n ']))
}

/** The value as a shell would take it: bare where that is possible, else in quotes. */
function quoted(random: Random, value: string): string {
  if (value.includes('"')) return value.includes("'") ? value : `'${value}'`
  const bare = !/[\s'\\]/.test(value) && value !== ''
  const style = random.between(0, 3)
  if (bare && style === 0) return value
  if (style === 1 && !value.includes("'")) return `'${value}'`
  return `"${value}"`
}

function spoiled(random: Random, text: string): string {
  const tokens = text.split(' ')
  for (let left = random.between(1, 3); left > 0; left--) {
    const at = random.between(0, Math.max(0, tokens.length - 1))
    switch (random.between(0, 6)) {
      case 0: tokens.splice(at, 1); break
      case 1: tokens.splice(at, 0, random.pick(words)); break
      case 2: tokens.splice(at, 0, tokens[random.between(0, tokens.length - 1)] ?? ''); break
      case 3: [tokens[at], tokens[0]] = [tokens[0] ?? '', tokens[at] ?? '']; break
      case 4: tokens[at] = damaged(random, tokens[at] ?? ''); break
      case 5: tokens[at] = (tokens[at] ?? '').toUpperCase(); break
      case 6: tokens.push(...tokens.slice(at, at + 3)); break
    }
  }
  return tokens.join(' ')
}

function damaged(random: Random, token: string): string {
  const at = random.between(0, token.length)
  const letters = ['"', "'", '\\', '=', ' ', '\t', '\u0000', '\u0007', 'é', '0', '-', '/', ':', 'x', '\u202e', '\u00a0']
  return random.chance(0.5) ? token.slice(0, at) + random.pick(letters) + token.slice(at) : token.slice(0, at) + token.slice(at + 1)
}
