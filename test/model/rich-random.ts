// Makes random rich rules that the grammar allows.
import type { RichAction, RichAddress, RichElement, RichLimit, RichLog, RichRule } from '../../src/model/rich/index.ts'
import { rejectWords } from '../../src/model/rich/index.ts'
import { chance, int, pick } from './random.ts'
import type { Random } from './random.ts'

const addresses = { ipv4: ['192.0.2.1', '198.51.100.0/24', '203.0.113.5/255.255.255.0'], ipv6: ['2001:db8::1', '2001:DB8::/32', '::1/128'] } as const
const prefixes = ['x', 'a b', 'web: ', "it's", 'say "no"', 'back\\slash', 'é', ' ']

export function randomRichRule(rnd: Random): RichRule {
  const family = chance(rnd, 0.7) ? pick(rnd, ['ipv4', 'ipv6'] as const) : null
  const address = (side: 'source' | 'destination'): RichAddress => {
    const kinds = side === 'source' ? (['address', 'mac', 'ipset'] as const) : (['address', 'ipset'] as const)
    const kind = family === null ? pick(rnd, ['mac', 'ipset'] as const) : pick(rnd, kinds)
    const text = kind === 'mac' ? pick(rnd, ['aa:bb:cc:dd:ee:0f', '00:00:5E:00:53:01']) : kind === 'ipset' ? 'office' : pick(rnd, addresses[family!])
    return { kind, text, invert: chance(rnd, 0.3) }
  }
  const limit = (): RichLimit | null => (chance(rnd, 0.7) ? null : {
    count: int(rnd, 2, 9000), unit: pick(rnd, ['s', 'm', 'h', 'd'] as const), burst: chance(rnd, 0.5) ? null : int(rnd, 1, 10_000_000),
  })
  const element = chance(rnd, 0.8) ? randomElement(rnd, family) : null
  const actionless = element !== null && ['masquerade', 'icmp-block', 'forward-port', 'tcp-mss-clamp'].includes(element.kind)
  const action = actionless ? null : randomAction(rnd, family, limit)
  const source = chance(rnd, 0.5) && element?.kind !== 'masquerade' ? address('source') : null
  const destination = family !== null && chance(rnd, 0.3) ? address('destination') : null
  const needsPriority = element === null && source === null && destination === null
  return {
    priority: needsPriority || chance(rnd, 0.3) ? pick(rnd, [-32768, -1, 1, 32767]) : 0,
    family, source, destination, element,
    log: chance(rnd, 0.3) ? randomLog(rnd, limit) : null,
    audit: action !== null && action.kind !== 'mark' && chance(rnd, 0.2) ? { limit: limit() } : null,
    action,
  }
}

function randomElement(rnd: Random, family: RichRule['family']): RichElement {
  const ports = { port: pick(rnd, ['80', '6000-6010', '443']), protocol: pick(rnd, ['tcp', 'udp', 'sctp', 'dccp']) }
  const choices: RichElement[] = [
    { kind: 'service', name: 'ssh' }, { kind: 'port', ...ports }, { kind: 'source-port', ...ports },
    { kind: 'protocol', value: pick(rnd, ['gre', '47']) }, { kind: 'icmp-block', name: 'echo-request' }, { kind: 'icmp-type', name: 'redirect' },
    { kind: 'masquerade' }, { kind: 'tcp-mss-clamp', value: pick(rnd, ['', 'pmtu', '536', '1400']) },
  ]
  if (family !== null) {
    const toAddr = family === 'ipv4' ? '192.0.2.9' : '2001:db8::9'
    choices.push(pick(rnd, [
      { kind: 'forward-port', ...ports, toPort: '8080', toAddr: '' }, { kind: 'forward-port', ...ports, toPort: '', toAddr },
      { kind: 'forward-port', ...ports, toPort: '1-9', toAddr },
    ]))
  }
  return pick(rnd, choices)
}

function randomLog(rnd: Random, limit: () => RichLimit | null): RichLog {
  const prefix = chance(rnd, 0.5) ? '' : pick(rnd, prefixes)
  return chance(rnd, 0.5)
    ? { kind: 'log', prefix, level: pick(rnd, ['', 'info', 'emerg']), limit: limit() }
    : { kind: 'nflog', prefix, group: pick(rnd, ['', '0', '65535']), queueSize: pick(rnd, ['', '1']), limit: limit() }
}

function randomAction(rnd: Random, family: RichRule['family'], limit: () => RichLimit | null): RichAction {
  const kind = pick(rnd, ['accept', 'drop', 'reject', 'mark'] as const)
  if (kind === 'mark') return { kind, set: pick(rnd, ['1', '0x10', '0x10/0xff', '4294967295']), limit: limit() }
  if (kind !== 'reject') return { kind, limit: limit() }
  return { kind, type: family === null || chance(rnd, 0.4) ? '' : pick(rnd, Object.keys(rejectWords[family])), limit: limit() }
}
