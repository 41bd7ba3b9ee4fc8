// From what the kernel holds to what it should hold: never more than needed, always exactly there.
import t from 'tap'
import { compile } from '../../src/compile/compile.ts'
import type { Plan } from '../../src/compile/plan.ts'
import { afterChanges, changesTables, diff, formatChangeSet, isEmptyChangeSet, maxLiveEdits } from '../../src/diff/diff.ts'
import { nothingObserved, type Observed } from '../../src/diff/observed.ts'
import { elementEdits } from '../../src/diff/sets.ts'
import { createMemory } from '../../src/kernel/memory/memory.ts'
import { portSet } from '../../src/compile/sets.ts'
import { resolve } from '../../src/model/resolve.ts'
import { firewallOf, type ConfigurationWords } from '../support/configuration.ts'
import { goldenNames, goldenRuntime } from '../support/golden.ts'
import { createRandom, seedOfRun } from '../support/random.ts'

const planOf = (words: ConfigurationWords): Plan => compile(firewallOf(words))
const held = (plan: Plan): Observed => afterChanges(nothingObserved, diff(plan, nothingObserved, null))
const open = (...ports: readonly string[]): Plan => planOf({ zones: { public: { ports } } })

t.test('the same plan needs nothing', async (t) => {
  const plan = open('22/tcp')
  t.ok(isEmptyChangeSet(diff(plan, held(plan), null)))
  t.ok(isEmptyChangeSet(diff(open('22/tcp'), held(plan), plan)), 'made anew')
})

t.test('from any golden to any other: exactly the goal, and nothing left over', async (t) => {
  const plans = (await Promise.all(goldenNames.map(async (name) => {
    const { firewall } = resolve(await goldenRuntime(name))
    return firewall === null ? [] : [compile(firewall)]
  }))).flat()
  t.ok(plans.length >= 8)
  for (const from of plans) {
    for (const to of plans) {
      const memory = createMemory()
      for (const plan of [from, to]) {
        await memory.apply(plan)
        const rest = diff(plan, memory.observed, null)
        if (!isEmptyChangeSet(rest)) t.fail(`not there: ${formatChangeSet(rest)}`)
        const wanted = new Set(plan.sets.map(({ digest }) => digest))
        const extra = [...memory.observed.sets.values()].filter(({ digest }) => digest === null || !wanted.has(digest))
        if (extra.length > 0) t.fail(`left over: ${extra.map(({ name }) => name).join(' ')}`)
      }
    }
  }
  t.pass(`${plans.length * plans.length} pairs`)
})

t.test('a plan that comes back names the sets where they are now', async (t) => {
  const first = open('22/tcp')
  let observed = held(first)
  for (const plan of [open('22/tcp', '80/tcp'), first]) {
    const changes = diff(plan, observed, null)
    observed = afterChanges(observed, changes)
    for (const { chains } of changes.rendered.ipv4) {
      const named = chains.flatMap(({ lines }) => lines).join(' ').match(/derpa-\S+/g) ?? []
      for (const name of named) t.ok(observed.sets.has(name), `${name} exists`)
    }
  }
})

t.test('one port more is one element of a live set', async (t) => {
  const before = open('22/tcp')
  const changes = diff(open('22/tcp', '80/tcp'), held(before), before)
  t.match(formatChangeSet(changes), /^edit set derpa-public-tcp-\S+-a \(zone:public:tcp\): add 80\n$/)
  t.notOk(changesTables(changes))
})

t.test('without knowing the elements that are loaded, the new content goes into the other slot', async (t) => {
  const before = open('22/tcp')
  const changes = diff(open('22/tcp', '80/tcp'), held(before), null)
  t.match(formatChangeSet(changes), /^load set derpa-public-tcp-\S+-b: zone:public:tcp, 2 elements\n/)
  t.match(formatChangeSet(changes), /\ndestroy set derpa-public-tcp-\S+-a\n$/)
  t.same(changes.tables.ipv4.map(({ table }) => table), ['mangle'])
})

t.test('many elements, or a chain that changes with them, never touch a live set', async (t) => {
  const before = open('22/tcp')
  const many = Array.from({ length: maxLiveEdits + 1 }, (_, i) => `${1000 + 2 * i}/tcp`)
  t.same(diff(open('22/tcp', ...many), held(before), before).edit, [])
  t.same(diff(planOf({ zones: { public: { ports: ['80/tcp'], protocols: ['gre'] } } }), held(before), before).edit, [])
})

t.test('a change of one zone leaves the chains and sets of the others alone', async (t) => {
  const words = (target: 'DROP' | 'default'): ConfigurationWords => ({
    zones: { public: { ports: ['22/tcp'] }, home: { sources: ['192.0.2.0/24'], target, ports: ['1/tcp'] } },
  })
  const before = planOf(words('default'))
  const text = formatChangeSet(diff(planOf(words('DROP')), held(before), before))
  t.notMatch(text, /public|set /)
  t.match(text, /write DERPA_IN_home_/)
})

t.test('a set that does not hold what we loaded is loaded again', async (t) => {
  const plan = open('22/tcp')
  const good = held(plan)
  const harmed = new Map([...good.sets].map(([name, set]) => [name, name.includes('-tcp-') ? { ...set, entries: 2 } : set]))
  t.match(formatChangeSet(diff(plan, { ...good, sets: harmed }, plan)), /^load set derpa-public-tcp-\S+-b/)
})

t.test('a foreign rule in front of our jump, a second jump, a chain with one rule more: put right', async (t) => {
  const plan = open('22/tcp')
  const good = held(plan)
  const mangle = good.families.ipv4.get('mangle')!
  const withMangle = (change: Partial<typeof mangle>): Observed => ({
    ...good, families: { ...good.families, ipv4: new Map([...good.families.ipv4, ['mangle', { ...mangle, ...change }]]) },
  })
  const behind = mangle.jumps.map((jump) => (jump.chain === 'INPUT' ? { ...jump, position: 1 } : jump))
  t.equal(formatChangeSet(diff(plan, withMangle({ jumps: behind }), plan)),
    'ipv4 mangle: take out of INPUT: -j DERPA_INPUT\nipv4 mangle: put first in INPUT: -j DERPA_INPUT\n')
  const twice = [...mangle.jumps, { chain: 'POSTROUTING', rule: '-j DERPA_INPUT', position: 4 }]
  t.equal(formatChangeSet(diff(plan, withMangle({ jumps: twice }), plan)), 'ipv4 mangle: take out of POSTROUTING: -j DERPA_INPUT\n')
  const longer = new Map([...mangle.chains].map(([name, lines]) => [name, name.startsWith('DERPA_IN_') ? ['-j ACCEPT', ...lines] : lines]))
  t.match(formatChangeSet(diff(plan, withMangle({ chains: longer }), plan)), /^ipv4 mangle: write DERPA_IN_public_\w+, 4 rules\n$/)
})

t.test('edits of port sets turn the one content into the other, port by port (random)', async (t) => {
  const random = createRandom(seedOfRun())
  const rules = () => Array.from({ length: random.between(0, 6) }, () => {
    const first = random.between(0, 40)
    return { first, last: Math.min(45, first + random.between(0, 10)), rule: random.pick(['a', 'b', 'c']) }
  })
  const expand = (entry: string): number[] => {
    const [first = 0, last = first] = entry.split('-').map(Number)
    return Array.from({ length: last - first + 1 }, (_, i) => first + i)
  }
  for (let round = 0; round < 500; round++) {
    const before = portSet('x', rules())
    const after = portSet('x', rules())
    const edits = elementEdits(before, after, Infinity)!
    const ports = new Map((before.portRules ?? []).flatMap((part) => expand(`${part.first}-${part.last}`).map((port) => [port, part.rule] as const)))
    const wanted = new Map((after.portRules ?? []).flatMap((part) => expand(`${part.first}-${part.last}`).map((port) => [port, part.rule] as const)))
    for (const port of edits.add.flatMap(expand)) ports.set(port, wanted.get(port)!)
    for (const port of edits.remove.flatMap(expand)) ports.delete(port)
    if (!t.same([...ports].sort(([a], [b]) => a - b), [...wanted].sort(([a], [b]) => a - b), `round ${round}`)) return
  }
})
