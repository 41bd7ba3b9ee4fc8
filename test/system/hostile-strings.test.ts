// Strings that would like to be more than a value: newlines, NUL, leading dashes, quotes, options that load programs, 10 KiB of
// anything, in every place of addRichRule, addForwardPort and the direct calls, and every recorded call of these. Each is refused,
// or reaches the tools as the one word it is. 1,000 of them, and 100 that are put in force with the
// real tools if they are let through; with DERPANET_TEST_FULL=1 10,000 and 2,000. DERPANET_SEED replays.
// TEST_TIMEOUT_SEC=300 TEST_TIMEOUT_FULL_SEC=3600
import { existsSync, writeFileSync } from 'node:fs'
import { isIP } from 'node:net'
import { join } from 'node:path'
import t from 'tap'
import { families } from '../../src/model/addr.ts'
import { compile } from '../../src/compile/compile.ts'
import { formatSet } from '../../src/compile/netfilter/ipset.ts'
import { formatRestore } from '../../src/compile/netfilter/restore.ts'
import type { Plan } from '../../src/compile/plan.ts'
import { diff } from '../../src/diff/diff.ts'
import { nothingObserved } from '../../src/diff/observed.ts'
import { DerpanetError } from '../../src/errors.ts'
import { createDirect, stepsBetween } from '../../src/kernel/direct.ts'
import { createExec } from '../../src/kernel/exec.ts'
import { createPassthrough } from '../../src/kernel/passthrough.ts'
import type { Change } from '../../src/model/change.ts'
import { emptyDirect } from '../../src/model/direct.ts'
import { reduceRuntime } from '../../src/model/reduce.ts'
import { resolve } from '../../src/model/resolve.ts'
import type { Runtime } from '../../src/model/settings.ts'
import { probesOf } from '../compat/support/probes.ts'
import { runtimeOf } from '../support/configuration.ts'
import { createNetfilterHost } from '../support/netfilter-host.ts'
import { whyNoPrivateHost } from '../support/private-host.ts'
import { createRandom, seedOfRun, type Random } from '../support/random.ts'

const full = process.env['DERPANET_TEST_FULL'] === '1'
const count = full ? 10_000 : 1000
const why = whyNoPrivateHost()

const start: Runtime = runtimeOf({
  zones: { public: { interfaces: ['ext0'] } },
  services: { ssh: { ports: ['22/tcp'] }, http: { ports: ['80/tcp'] } },
  ipsets: { hosts: { type: 'hash:ip', entries: ['192.0.2.7'] } },
})

/** Where it would show that a tool had run something of ours. */
const bait = '/run/bait'
const seeds = ['\n', '\r', '\0', '\t', ' ', '-', '--', '-M', '--mod', `--modprobe=${bait}`, bait, '-w', '--wait', '-A INPUT -j ACCEPT', '-j', 'ACCEPT', 'COMMIT', '*filter', ':INPUT ACCEPT [0:0]',
  '"', '\'', '\\', '#', '!', ';', '$(id)', '`id`', '%s', '=', ',', '../..', 'ssh', 'x', '80', 'tcp', '192.0.2.1', '::1', 'ü', '\u2028', '\u202e', '\u0085', 'a'.repeat(10 * 1024), 'A'.repeat(200), '\n-A INPUT -j ACCEPT\n', '" -j ACCEPT --comment "', '\\" -j ACCEPT']

function hostile(random: Random): string {
  return Array.from({ length: random.between(1, 4) }, () => random.pick(seeds)).join(random.chance(0.7) ? '' : ' ')
}

const escaped = (text: string): string => text.replace(/[\\"]/g, '\\$&')

/** Every place of a rich rule; `%` is where the string goes. */
const richPlaces = [
  '%', 'rule %', 'rule family="%" accept', 'rule priority="%" accept', 'rule family="ipv4" source address="%" accept', 'rule source mac="%" accept', 'rule source ipset="%" accept',
  'rule family="ipv4" destination address="%" accept', 'rule family="ipv4" destination ipset="%" accept', 'rule service name="%" accept', 'rule port port="%" protocol="tcp" accept', 'rule port port="80" protocol="%" accept',
  'rule source-port port="%" protocol="udp" accept', 'rule protocol value="%" accept', 'rule icmp-block name="%"', 'rule icmp-type name="%" accept', 'rule family="ipv4" forward-port port="%" protocol="tcp" to-port="81"',
  'rule family="ipv4" forward-port port="80" protocol="%" to-port="81"', 'rule family="ipv4" forward-port port="80" protocol="tcp" to-port="%"', 'rule family="ipv4" forward-port port="80" protocol="tcp" to-addr="%"',
  'rule tcp-mss-clamp value="%"', 'rule service name="ssh" log prefix="%" accept', 'rule service name="ssh" log prefix="%" accept', 'rule service name="ssh" log prefix="%" accept', 'rule service name="ssh" nflog prefix="%" accept', 'rule service name="ssh" nflog prefix="%" accept',
  'rule service name="ssh" log level="%" accept', 'rule service name="ssh" nflog group="%" accept', 'rule service name="ssh" nflog queue-size="%" accept', 'rule service name="ssh" log limit value="%" accept',
  'rule service name="ssh" accept limit value="%"', 'rule service name="ssh" accept limit value="1/s" burst="%"', 'rule family="ipv4" service name="ssh" reject type="%"', 'rule service name="ssh" mark set="%"',
] as const

function richChange(text: string): Change {
  return { kind: 'zone-item-add', zone: 'public', field: 'richRules', item: [text], timeoutSec: 0 }
}

function changeFrom(random: Random): Change {
  const text = hostile(random)
  const kind = random.pick(['rich', 'rich', 'rich', 'forward', 'direct', 'direct'])
  if (kind === 'rich') return richChange(random.pick(richPlaces).replace('%', () => (random.chance(0.7) ? escaped(text) : text)))
  if (kind === 'forward') {
    const item = ['80', 'tcp', '81', '198.51.100.7']
    item[random.between(0, 3)] = text
    return { kind: 'zone-item-add', zone: 'public', field: 'forwardPorts', item, timeoutSec: 0 }
  }
  const ipv = random.chance(0.05) ? text : random.pick(['ipv4', 'ipv6', 'eb'])
  const table = random.chance(0.05) ? text : 'filter'
  const chain = random.chance(0.2) ? text : 'INPUT'
  const args = random.shuffle([...random.some(['-p', 'tcp', '-j', 'DROP', '-m', 'comment', '--comment'], 4), text, ...(random.chance(0.3) ? [hostile(random)] : [])])
  return random.pick<Change>([
    { kind: 'direct-rule-add', ipv, table, chain, priority: 0, args }, { kind: 'direct-rule-add', ipv, table, chain, priority: 0, args: ['-m', 'comment', '--comment', text, '-j', 'RETURN'] },
    { kind: 'direct-passthrough-add', ipv, args: ['-A', 'INPUT', ...args] }, { kind: 'direct-passthrough-add', ipv, args }, { kind: 'direct-chain-add', ipv, table, chain: text },
  ])
}

/** As the daemon does it: null = refused, with one of firewalld's codes. Anything else that is thrown is a bug. */
function planAfter(change: Change): { readonly plan: Plan; readonly world: Runtime } | null {
  try {
    const { world } = reduceRuntime(start, change)
    const { firewall } = resolve(world)
    return firewall === null ? null : { plan: compile(firewall), world }
  } catch (error) {
    if (error instanceof DerpanetError) return null
    throw error
  }
}

/** What the tools read, line by line. */
function linesOf(plan: Plan): readonly string[] {
  const { tables, load } = diff(plan, nothingObserved, null)
  const sets = load.map(({ name, set }) => [...formatSet(name, set)].map((chunk) => Buffer.from(chunk).toString()).join(''))
  return [...families.map((family) => formatRestore(tables[family])), ...sets].flatMap((text) => text.split('\n'))
}

/** As iptables-restore reads a line: words at blanks, double quotes hold them together, a backslash in them takes the next character. */
function wordsOf(line: string): readonly string[] | null {
  const words: string[] = []
  let word: string | null = null
  let quoted = false
  for (let at = 0; at < line.length; at++) {
    const char = line[at] as string
    if (quoted && char === '\\') word = (word ?? '') + (line[++at] ?? '')
    else if (char === '"') {
      quoted = !quoted
      word ??= ''
    } else if (!quoted && (char === ' ' || char === '\t')) {
      if (word !== null) words.push(word)
      word = null
    } else word = (word ?? '') + char
  }
  if (word !== null) words.push(word)
  return quoted ? null : words
}

/** Names made of contents, numbers and addresses are alike. */
const alike = (word: string): string => {
  const [address = ''] = word.replace(/^\[(.*)\](:[\d-]+)?$/, '$1').replace(/:\d+(-\d+)?$/, (port) => (word.includes('.') ? '' : port)).split('/')
  if (/^([0-9a-f]{2}:){5}[0-9a-f]{2}$/i.test(word)) return 'MAC'
  return isIP(address) !== 0 ? 'ADDRESS' : word.replace(/(DERPA_|derpa-)[\w.+-]+/g, '$1*').replace(/0x[0-9a-f]+|\d+/g, '0')
}

/** What tools get for innocent configurations of every kind. */
const innocentLines: readonly string[] = [
  start,
  ...['', 'log', 'log prefix="x" level="info" limit value="1/s" burst=2', `log prefix="${'x'.repeat(100)}"`, 'nflog prefix="x" group="2" queue-size="3"', 'audit'].flatMap((log) => ['accept', 'drop', 'reject', 'accept limit value="1/m"', 'accept limit value="1/h" burst=2', 'accept limit value="1/s" burst=2', 'accept limit value="2/d" burst=2'].map((action) => richChange(`rule service name="ssh" ${log} ${action}`))),
  ...['rule priority="-1" accept', 'rule priority="1" service name="http" drop', 'rule family="ipv4" source address="192.0.2.1" accept', 'rule family="ipv6" source address="2001:db8::/32" accept', 'rule family="ipv4" destination address="192.0.2.1" accept', 'rule source NOT address="192.0.2.1" family="ipv4" drop',
    'rule source mac="02:00:5e:00:01:02" accept', 'rule source ipset="hosts" accept', 'rule family="ipv4" destination ipset="hosts" accept', 'rule port port="80-90" protocol="udp" accept', 'rule port port="80" protocol="sctp" accept', 'rule port port="80" protocol="dccp" accept', 'rule source-port port="80" protocol="tcp" accept',
    'rule port port="80-90" protocol="udp" log accept', 'rule source-port port="80-90" protocol="tcp" log accept', 'rule family="ipv4" forward-port port="80-90" protocol="tcp" to-port="81-91"', 'rule family="ipv4" forward-port port="80-90" protocol="tcp" to-port="81-91" to-addr="192.0.2.1"',
    'rule icmp-block name="echo-request"', 'rule icmp-type name="timestamp-request" accept', 'rule masquerade', 'rule family="ipv4" forward-port port="80" protocol="tcp" to-port="81"', 'rule family="ipv4" forward-port port="80" protocol="udp" to-addr="192.0.2.1"', 'rule family="ipv6" forward-port port="80" protocol="udp" to-addr="::1"', 'rule tcp-mss-clamp', 'rule tcp-mss-clamp value="1400"',
    ...['tcp', 'udp', 'gre', 'esp', 'ah', '80', 'icmp', 'ipv6-icmp', 'sctp', 'dccp'].map((value) => `rule protocol value="${value}" accept`), ...['emerg', 'alert', 'crit', 'error', 'warning', 'notice', 'info', 'debug'].map((level) => `rule service name="ssh" log level="${level}" accept`),
    'rule service name="ssh" mark set="0x5/0xf"', ...['icmp-host-prohibited', 'icmp-port-unreachable', 'icmp-net-unreachable'].map((type) => `rule family="ipv4" reject type="${type}" source address="192.0.2.1"`), 'rule port port="80" protocol="tcp" reject type="tcp-reset" family="ipv4"'].map(richChange),
  { kind: 'zone-item-add', zone: 'public', field: 'forwardPorts', item: ['80', 'tcp', '81', '198.51.100.7'], timeoutSec: 0 } as Change,
].flatMap((one) => {
  const plan = 'kind' in one ? planAfter(one)?.plan : compile(mustResolve(one))
  if (plan === undefined) throw new Error(`not innocent: ${JSON.stringify(one)}`)
  return linesOf(plan)
})
const innocent: ReadonlySet<string> = new Set(innocentLines.flatMap((line) => wordsOf(line) ?? []).map(alike))
/** Whole lines that fill none of our chains or sets: tables, chains, jumps into ours. */
const isFilling = (line: string): boolean => /^(-A DERPA_|add derpa-)\S+ /.test(line)
const frame: ReadonlySet<string> = new Set(innocentLines.filter((line) => !isFilling(line)).map(alike))

function mustResolve(runtime: Runtime): NonNullable<ReturnType<typeof resolve>['firewall']> {
  const { firewall, problems } = resolve(runtime)
  if (firewall === null) throw new Error(JSON.stringify(problems))
  return firewall
}

/** Texts of a user that tools take as one word behind these options. */
const takesText: ReadonlySet<string> = new Set(['--log-prefix', '--nflog-prefix'])

/** A line or word that no innocent configuration brings about; null = none. */
function intruder(lines: readonly string[]): string | null {
  for (const line of lines) {
    if (!isFilling(line) && !frame.has(alike(line))) return `a line of its own: ${line}`
    const words = wordsOf(line)
    if (words === null) return `a quote stays open: ${line}`
    const found = words.findIndex((word, index) => !innocent.has(alike(word)) && !takesText.has(words[index - 1] ?? ''))
    if (found >= 0) return `${words[found]} in ${line}`
  }
  return null
}

/** Every recorded call of these members, as it was sent to firewalld. */
const recorded: readonly Change[] = (['sequence_a', 'sequence_b'] as const).flatMap(probesOf).flatMap(({ method = '', args = [] }): Change[] => {
  const [first, second, third, fourth, fifth] = args as string[]
  switch (method) {
    case '.zone.addRichRule': return [richChange(second ?? '')]
    case '.zone.addForwardPort': return [{ kind: 'zone-item-add', zone: 'public', field: 'forwardPorts', item: [second ?? '', third ?? '', fourth ?? '', fifth ?? ''], timeoutSec: 0 }]
    case '.direct.addRule': return [{ kind: 'direct-rule-add', ipv: first ?? '', table: second ?? '', chain: third ?? '', priority: Number(fourth), args: args[4] as string[] }]
    case '.direct.addPassthrough':
    case '.direct.passthrough': return [{ kind: 'direct-passthrough-add', ipv: first ?? '', args: args[1] as string[] }]
    case '.direct.addChain': return [{ kind: 'direct-chain-add', ipv: first ?? '', table: second ?? '', chain: third ?? '' }]
    default: return []
  }
})

function isDirect(change: Change): boolean {
  return change.kind.startsWith('direct-')
}

t.test('no string reaches a tool as an option or a second line', (t) => {
  t.ok(recorded.length >= 50, `${recorded.length} recorded calls`)
  const seed = seedOfRun()
  t.comment(`DERPANET_SEED=${seed}`)
  const random = createRandom(seed)
  const changes = [...recorded, ...Array.from({ length: count }, () => changeFrom(random))]
  let accepted = 0
  const bad: unknown[] = []
  for (const change of changes) {
    const after = planAfter(change)
    if (after === null) continue
    accepted++
    const found = intruder(linesOf(after.plan))
    if (found !== null) bad.push({ found: found.slice(0, 300), change: JSON.stringify(change).slice(0, 300) })
    // direct calls are vectors of arguments: the caller's words, one by one, behind ours
    for (const { args } of stepsBetween(emptyDirect, after.world.settings.direct?.value ?? emptyDirect)) {
      const loads = args.some((word) => word.includes('\0') || /^-[46fnvx]*M/.test(word) || /^--m/.test(word) && '--modprobe'.startsWith(word.split('=')[0] as string))
      if (loads) bad.push({ found: 'an option that loads programs', args: JSON.stringify(args).slice(0, 300) })
    }
  }
  t.strictSame(bad.slice(0, 5), [], 'no option and no line of its own')
  t.ok(accepted > changes.length / 50 && accepted < changes.length, `${changes.length} calls, ${accepted} of them let through as values`)
  for (const [line, why] of [['-A INPUT -j ACCEPT', 'a line of its own'], ['-A DERPA_IN_x -j LOG --log-prefix x y', 'y'], ['-A DERPA_IN_x -j LOG --log-prefix "x', 'a quote stays open'], ['*filter -M', 'a line of its own']] as const) {
    t.equal(intruder([line])?.startsWith(why), true, `the instrument notices: ${line}`)
  }
  t.end()
})

t.test('what is let through is put in force by the real tools, as values', { skip: why ?? false }, async (t) => {
  const seed = seedOfRun()
  t.comment(`DERPANET_SEED=${seed}`)
  const random = createRandom(seed)
  const changes = [...recorded, ...Array.from({ length: full ? 2000 : 100 }, () => changeFrom(random))]
  const one = await createNetfilterHost('hostile', 'nft', t.testdir())
  t.teardown(() => one.stop())
  writeFileSync(one.host.path(bait), `#!/bin/sh\ntouch ${bait}.taken\n`, { mode: 0o755 })
  await one.host.firewall.ok(['nft', 'add table inet sentinel'])
  const exec = createExec({ wrap: one.host.firewall.prefix })
  const run = createPassthrough(exec, 'nft')
  const plans = new Map<Change, { readonly plan: Plan; readonly world: Runtime }>()
  for (const change of changes) {
    const after = planAfter(change)
    if (after !== null) plans.set(change, after)
  }
  let [inForce, refused] = [0, 0]
  for (const [change, { plan, world }] of plans) {
    if (isDirect(change)) {
      const direct = createDirect({ run, stateDir: join(t.testdirName, `direct-${inForce + refused}`) })
      const next = { ...plan, direct: world.settings.direct?.value ?? emptyDirect }
      try {
        await direct.apply(next)
        inForce++
      } catch (error) {
        if ((error as { code?: string }).code !== 'COMMAND_FAILED') throw error
        refused++
      }
      await direct.purge()
      continue
    }
    try {
      await one.dataplane.apply(plan)
    } catch (error) {
      t.fail(`what resolve lets through is refused by the tools: ${String(error).slice(0, 500)}`, { change: JSON.stringify(change).slice(0, 500) })
      return
    }
    inForce++
  }
  t.ok(inForce > 0, `${plans.size} let through: ${inForce} in force, ${refused} direct ones the tools do not understand`)
  t.equal(existsSync(one.host.path(`${bait}.taken`)), false, 'nobody took the bait')
  await one.dataplane.purge()
  const left = await one.tables()
  t.match(left, /table inet sentinel/)
  t.notMatch(left, /DERPA|_direct|-j ACCEPT|counter accept/, 'nothing stays behind')
})
