// The central property: for random configurations and random packets, the kernel does what the oracle says.
// Configurations follow each other in one ruleset without a purge between, so every change from one to the next is tested too.
// DERPANET_SEED=N replays a run, DERPANET_CASE=K only its K-th configuration; DERPANET_TEST_FULL=1 runs fifty times as many.
// TEST_TIMEOUT_SEC=900 TEST_TIMEOUT_FULL_SEC=7200
import t, { type Test } from 'tap'
import { compile } from '../../src/compile/compile.ts'
import { createExec } from '../../src/kernel/exec.ts'
import { openSocketIn } from '../support/netlink.ts'
import { createNetfilter } from '../../src/kernel/netfilter/netfilter.ts'
import { follow, type Journey } from '../../src/model/oracle.ts'
import { resolve } from '../../src/model/resolve.ts'
import type { DecidingRule, Firewall, NatRule, Policy, Rule, Zone } from '../../src/model/firewall.ts'
import type { ConnectionState, Packet } from '../../src/model/packet.ts'
import type { Runtime } from '../../src/model/settings.ts'
import { acceptedWith, createObservatory, type Observatory } from '../support/observatory.ts'
import { endsOf, privateRoute } from '../support/private-route.ts'
import { createPrivateHost, whyNoPrivateHost, type PrivateHost } from '../support/private-host.ts'
import { canBeAnswered, connectionState, describePacket, randomPackets, rejectAnswers, routeOf, type PacketCase } from '../support/random-packets.ts'
import { describeConfiguration, randomConfiguration, smallerConfigurations } from '../support/random-settings.ts'
import { createRandom, seedOfRun } from '../support/random.ts'

const seed = seedOfRun()
const only = process.env['DERPANET_CASE']
const factor = process.env['DERPANET_TEST_FULL'] === '1' ? 50 : 1
const limitSec = factor === 1 ? 900 : 7200
const packetsEach = 45
const why = whyNoPrivateHost()

type Judge = (firewall: Firewall, packet: Packet, state: ConnectionState) => Journey

const judge: Judge = (firewall, packet, state) => follow(firewall, packet, state, privateRoute)

/** What was seen of one configuration: kept to be judged again by wrong oracles. */
interface Recorded {
  readonly firewall: Firewall
  readonly cases: readonly PacketCase[]
  readonly observed: ReadonlyMap<number, string>
}

/** What must be seen of each case if `judgeWith` is right, and at which stage that was decided. */
function expectations(firewall: Firewall, cases: readonly PacketCase[], judgeWith: Judge): ReadonlyMap<number, { seen: string; stage: string }> {
  const expected = new Map<number, { seen: string; stage: string }>()
  for (const one of cases) {
    const passed = one.follows !== undefined && expected.get(one.follows.marker)?.seen.startsWith('accept') === true
    const state = connectionState(one, passed)
    const { judgement: { verdict, stage, rule, mark = 0 }, delivered, translated } = judgeWith(firewall, one.packet, state)
    const answer = verdict.kind === 'reject' ? rejectAnswers[one.packet.family][verdict.type] ?? `no ${verdict.type} in ${one.packet.family}` : ''
    const arrived = (passed ? one.follows?.returned : delivered) ?? one.packet
    const answered = verdict.kind === 'reject' && one.packet.direction !== 'out' && (answer === 'rst' || canBeAnswered(one.packet))
      && leaves(firewall, one.packet, answer, state, judgeWith)
    const seen = verdict.kind === 'accept' ? acceptedWith(endsOf(arrived, isAnyPort(translated.destination, one.packet)), mark) : answered ? `reject ${answer}` : 'drop'
    expected.set(one.marker, { seen, stage: `${stage}, ${rule}, ${state}` })
  }
  return expected
}

/** The answer of a reject is a packet of this host's own, and judged as one: under panic it dies on its way out. */
function leaves(firewall: Firewall, { family, protocol, source, destination, sourcePort, destinationPort }: Packet, answer: string, state: ConnectionState, judgeWith: Judge): boolean {
  const own = { direction: 'out', family, source: destination, destination: source, outInterface: routeOf(family, source) } as const
  const body = answer === 'rst' ? { protocol, sourcePort: destinationPort ?? 0, destinationPort: sourcePort ?? 0 }
    : { protocol: family === 'ipv4' ? 1 : 58, icmpType: family === 'ipv4' ? 3 : 1, icmpCode: 0 }
  return judgeWith(firewall, { ...own, ...body }, state === 'untracked' ? 'untracked' : 'related').judgement.verdict.kind === 'accept'
}

/** The kernel takes any port of a range that does not hold the packet's own. */
function isAnyPort(rule: NatRule | null, { destinationPort = 0 }: Packet): boolean {
  const ports = rule === null || rule.translation.kind === 'masquerade' ? null : rule.translation.ports
  return ports !== null && ports.first !== ports.last && (destinationPort < ports.first || destinationPort > ports.last)
}

function isSame(want: string | undefined, got: string | undefined): boolean {
  return want === got || (want?.includes(':*') === true && want === got?.replace(/:\d+( mark|$)/, ':*$1'))
}

function disagreements({ firewall, cases, observed }: Recorded, judgeWith: Judge = judge): string[] {
  const expected = expectations(firewall, cases, judgeWith)
  return cases.flatMap((one) => {
    const want = expected.get(one.marker)
    const got = observed.get(one.marker)
    return isSame(want?.seen, got) ? [] : [`${describePacket(one)}: oracle says ${want?.seen} (${want?.stage}), kernel did ${got}`]
  })
}

function mustResolve(runtime: Runtime): Firewall {
  const { firewall, problems } = resolve(runtime)
  if (firewall === null) throw new Error(`the generator made an invalid configuration: ${JSON.stringify(problems)}\n${describeConfiguration(runtime)}`)
  return firewall
}

function netfilterOf(host: PrivateHost, variant: 'nft' | 'legacy'): ReturnType<typeof createNetfilter> {
  return createNetfilter({ exec: createExec({ wrap: host.firewall.prefix }), openSocket: () => openSocketIn(host.firewall.namespace), stateDir: host.path('/run'), variant, log: () => { /* a test has no journal */ } })
}

/** The smallest configuration around here that still fails on its own; gives up after 90 s. */
async function shrink(runtime: Runtime, one: PacketCase, all: readonly PacketCase[], fails: (runtime: Runtime, cases: readonly PacketCase[]) => Promise<boolean>): Promise<Runtime | null> {
  const cases = all.filter(({ marker }) => marker === one.marker || marker === one.follows?.marker)
  if (!(await fails(runtime, cases))) return null
  const end = Date.now() + 90_000
  let smallest = runtime
  for (let again = true; again && Date.now() < end;) {
    again = false
    for (const smaller of smallerConfigurations(smallest)) {
      if (Date.now() > end || resolve(smaller).firewall === null || !(await fails(smaller, cases))) continue
      smallest = smaller
      again = true
      break
    }
  }
  return smallest
}

/** Mistakes that what was seen so far would not give away. */
function unnoticed(recorded: readonly Recorded[]): string[] {
  return Object.entries(wrongOracles).filter(([, wrong]) => !recorded.some((record) => disagreements(record, wrong).length > 0)).map(([mistake]) => mistake)
}

/** `before` = what the other variant was seen to do. */
async function runVariant(t: Test, variant: 'nft' | 'legacy', configurations: number, before: readonly Recorded[]): Promise<Recorded[]> {
  const host = await createPrivateHost({ name: `oracle-${variant}`, bus: false, boundSec: limitSec })
  t.teardown(() => host.stop())
  const observatory: Observatory = await createObservatory(host)
  const netfilter = netfilterOf(host, variant)
  const macSets = (await host.firewall.run(['ipset', 'create', 'probe', 'hash:mac'])).status === 0
  if (macSets) await host.firewall.ok(['ipset', 'destroy', 'probe'])
  else t.comment('this kernel has no sets of type hash:mac: none are tried')
  const recorded: Recorded[] = []
  const base = configurations * factor
  let pairs = 0
  // a run is long enough when it has also met every mistake an oracle could make; that it hardly ever takes longer is luck
  for (let number = only === undefined ? 0 : Number(only); number < base || (number < base + 300 && unnoticed([...before, ...recorded]).length > 0); number++) {
    if (only !== undefined && number !== Number(only)) break
    const random = createRandom(seed).fork(number)
    const { runtime } = randomConfiguration(random, { macSets })
    const firewall = mustResolve(runtime)
    const cases = randomPackets(random, runtime.settings, packetsEach, (packet, state) => judge(firewall, packet, state).delivered)
    const replay = `DERPANET_SEED=${seed} DERPANET_CASE=${number}`
    try {
      await netfilter.apply(compile(firewall))
    } catch (failure) {
      t.fail(`${replay} (${variant}): the ruleset is refused: ${String(failure)}`, { configuration: describeConfiguration(runtime) })
      return recorded
    }
    let record = { firewall, cases, observed: await observatory.observe(cases, 25) }
    // a busy machine may be late once; being wrong twice, the second time with patience, is being wrong
    if (disagreements(record).length > 0) record = { ...record, observed: await observatory.observe(cases, 500) }
    recorded.push(record)
    pairs += cases.length
    const wrong = disagreements(record)
    if (wrong.length === 0) continue

    const expected = expectations(firewall, cases, judge)
    const first = cases.find((one) => !isSame(expected.get(one.marker)?.seen, record.observed.get(one.marker))) as PacketCase
    const smallest = await shrink(runtime, first, cases, async (smaller, few) => {
      const other = mustResolve(smaller)
      await netfilter.purge()
      await netfilter.apply(compile(other))
      return disagreements({ firewall: other, cases: few, observed: await observatory.observe(few, 300) }).length > 0
    })
    t.fail(`oracle and kernel (${variant}) disagree; replay: ${replay} npx tap test/system/oracle.test.ts`, {
      disagreements: wrong.slice(0, 8),
      smallest: smallest === null ? `only after the configurations before it; the whole one:\n${describeConfiguration(runtime)}` : describeConfiguration(smallest),
    })
    return recorded
  }
  t.pass(`${pairs} pairs of (configuration, packet) agree`)
  if (only === undefined) t.ok(pairs >= base * packetsEach * 0.95, `enough pairs: ${pairs}`)
  await netfilter.purge()
  t.equal((await host.firewall.ok([`iptables-${variant}-save`])).includes('DERPA'), false, 'nothing of ours is left after purge')
  return recorded
}

function mapZones(firewall: Firewall, change: (zone: Zone) => Zone): Firewall {
  return { ...firewall, zones: new Map([...firewall.zones].map(([name, zone]) => [name, change(zone)])) }
}

function mapPolicies(firewall: Firewall, change: (policy: Policy) => Policy): Firewall {
  return { ...firewall, policies: firewall.policies.map(change) }
}

function mapRules(firewall: Firewall, change: (rule: Rule) => Rule): Firewall {
  return mapZones(mapPolicies(firewall, (policy) => ({ ...policy, rules: policy.rules.map(change) })), (zone) => ({ ...zone, rules: zone.rules.map(change), targetRules: zone.targetRules.map(change), forwardRule: { ...zone.forwardRule, ...change(zone.forwardRule) } as DecidingRule }))
}

const reversedButLast = <T extends { readonly kind: string }>(list: readonly T[]): T[] =>
  [...list.filter((one) => one.kind !== 'any').reverse(), ...list.filter((one) => one.kind === 'any')]

/** Oracles with one mistake each. If the experiment cannot tell them from the right one, it proves nothing. */
const wrongOracles: Readonly<Record<string, Judge>> = {
  'tries sources and interfaces in the opposite order': (firewall, packet, state) => judge({ ...firewall, ingress: reversedButLast(firewall.ingress) }, packet, state),
  'tries the outgoing zones in the opposite order': (firewall, packet, state) => judge({ ...firewall, egress: reversedButLast(firewall.egress) }, packet, state),
  'tries the rules of a zone in the opposite order': (firewall, packet, state) => judge(mapZones(firewall, (zone) => (
    { ...zone, rules: [...zone.rules].reverse() })), packet, state),
  'forgets never-block': (firewall, packet, state) => judge({ ...firewall, neverBlock: [] }, packet, state),
  'forgets failsafe ports': (firewall, packet, state) => judge({ ...firewall, failsafePorts: [] }, packet, state),
  'forgets block lists': (firewall, packet, state) => judge({ ...firewall, blockLists: [] }, packet, state),
  'forgets panic': (firewall, packet, state) => judge({ ...firewall, panic: false }, packet, state),
  'takes forward the wrong way round': (firewall, packet, state) => judge(mapZones(firewall, (zone) => ({ ...zone, forward: !zone.forward })), packet, state),
  'rejects where it should drop': (firewall, packet, state) => judge(mapRules(firewall, (rule) =>
    rule.verdict.kind === 'drop' ? { ...rule, verdict: { kind: 'reject', type: 'admin-prohibited' } } : rule), packet, state),
  'rejects with another answer': (firewall, packet, state) => judge(mapRules(firewall, (rule) =>
    rule.verdict.kind === 'reject' ? { ...rule, verdict: { kind: 'reject', type: rule.verdict.type === 'port-unreachable' ? 'admin-prohibited' : 'port-unreachable' } } : rule), packet, state),
  'is off by one at the start of a port range': (firewall, packet, state) => judge(mapRules(firewall, (rule) => {
    const { protocol } = rule.match
    return protocol?.kind !== 'port' && protocol?.kind !== 'source-port' ? rule
      : { ...rule, match: { ...rule.match, protocol: { ...protocol, ports: { first: protocol.ports.first + 1, last: protocol.ports.last } } } }
  }), packet, state),
  'does not see inversion': (firewall, packet, state) => judge(mapRules(firewall, (rule) => {
    const { source } = rule.match
    return source === undefined || !source.invert ? rule : { ...rule, match: { ...rule.match, source: { ...source, invert: false } } }
  }), packet, state),
  'takes a family-bound rule for both': (firewall, packet, state) => judge(mapRules(firewall, (rule) => {
    const { family: _family, ...match } = rule.match
    return { ...rule, match }
  }), packet, state),
  'takes established for new': (firewall, packet, state) => judge(firewall, packet, state === 'established' || state === 'related' ? 'new' : state),
  'takes invalid for new': (firewall, packet, state) => judge(firewall, packet, state === 'invalid' ? 'new' : state),
  'forgets the way back': (firewall, packet, state) => judge({ ...firewall, reversePath: 'off' }, packet, state),
  'forgets RFC 3964': (firewall, packet, state) => judge({ ...firewall, rejectHiddenIpv4: false }, packet, state),
  'forgets marks': (firewall, packet, state) => judge(mapZones(firewall, (zone) => ({ ...zone, marks: [] })), packet, state),
  'forgets masquerading': (firewall, packet, state) => judge(mapZones(firewall, (zone) => ({ ...zone, sourceNat: [] })), packet, state),
  'masquerades in both families': (firewall, packet, state) => judge(mapZones(firewall, (zone) => ({
    ...zone, sourceNat: zone.sourceNat.map(({ match: { family: _family, ...match }, ...rule }) => ({ ...rule, match })) })), packet, state),
  'masquerades by where packets come from': (firewall, packet, state) => judge({ ...firewall, egress: firewall.ingress }, packet, state),
  'forgets forward-ports': (firewall, packet, state) => judge(mapZones(firewall, (zone) => ({ ...zone, destinationNat: [] })), packet, state),
  'tries the forward-ports of every zone': (firewall, packet, state) => {
    const active = new Set(firewall.ingress.map(({ zone }) => zone))
    const all = [...firewall.zones.values()].filter(({ name }) => active.has(name)).flatMap(({ destinationNat }) => destinationNat)
    return judge(mapZones(firewall, (zone) => ({ ...zone, destinationNat: [...zone.destinationNat, ...all] })), packet, state)
  },
  'tries forward-ports in the opposite order': (firewall, packet, state) =>
    judge(mapZones(firewall, (zone) => ({ ...zone, destinationNat: [...zone.destinationNat].reverse() })), packet, state),
  'lets in whatever others published': (firewall, packet, state) => judge({ ...firewall, strictForwardPorts: false, published: 'open' }, packet, state),
  'judges published ports by where they lead': (firewall, packet, state) => judge({ ...firewall, strictForwardPorts: true, published: 'open' }, packet, state),
  'forgets policies': (firewall, packet, state) => judge({ ...firewall, policies: [] }, packet, state),
  'forgets what policies translate': (firewall, packet, state) => judge(mapPolicies(firewall, (policy) => ({ ...policy, sourceNat: [], destinationNat: [] })), packet, state),
  'takes policies in the opposite order': (firewall, packet, state) => judge({ ...firewall, policies: [...firewall.policies].reverse() }, packet, state),
  'takes every policy before the zone': (firewall, packet, state) => judge(mapPolicies(firewall, (policy) => ({ ...policy, priority: -1 })), packet, state),
  'takes every policy after the zone': (firewall, packet, state) => judge(mapPolicies(firewall, (policy) => ({ ...policy, priority: 1 })), packet, state),
  'does not ask where a policy leads to': (firewall, packet, state) =>
    judge(mapPolicies(firewall, (policy) => (policy.egress.kind === 'zones' ? { ...policy, egress: { kind: 'any' } } : policy)), packet, state),
  'does not ask where a policy comes from': (firewall, packet, state) =>
    judge(mapPolicies(firewall, (policy) => (policy.ingress.kind === 'zones' ? { ...policy, ingress: { kind: 'any' } } : policy)), packet, state),
  'ignores user ipsets': (firewall, packet, state) =>
    judge({ ...firewall, ipsets: new Map([...firewall.ipsets].map(([name, set]) => [name, { ...set, entries: [] }])) }, packet, state),
}

t.test('the kernel does what the oracle says', { skip: why ?? false, timeout: limitSec * 1000 }, async (t) => {
  t.comment(`DERPANET_SEED=${seed}`)
  const recorded: Recorded[] = []
  await t.test('with iptables on nf_tables', async (t) => { recorded.push(...await runVariant(t, 'nft', 32, [])) })
  await t.test('with legacy iptables', async (t) => { recorded.push(...await runVariant(t, 'legacy', 16, recorded)) })
  const stages = new Map<string, number>()
  for (const { firewall, cases } of recorded) {
    for (const { seen, stage } of expectations(firewall, cases, judge).values()) {
      const key = `${stage.split(',')[0]} ${seen.split(' ')[0]}`
      stages.set(key, (stages.get(key) ?? 0) + 1)
    }
  }
  t.comment([...stages].sort((a, b) => b[1] - a[1]).map(([key, count]) => `${key}: ${count}`).join(', '))
  if (only !== undefined) return
  await t.test('and the experiment notices an oracle that', (t) => {
    const missed = unnoticed(recorded)
    for (const mistake of Object.keys(wrongOracles)) t.notOk(missed.includes(mistake), mistake)
    t.end()
  })
})
