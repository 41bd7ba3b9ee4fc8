// Sets that the kernel has no type for, as rules.
import t from 'tap'
import { compile } from '../../src/compile/compile.ts'
import { formatPlan } from '../../src/compile/print.ts'
import { canSpellOut, spellOut } from '../../src/compile/spell-out.ts'
import type { PlanSet } from '../../src/compile/plan.ts'
import { renderFamily } from '../../src/compile/netfilter/render.ts'
import { firewallOf } from '../support/configuration.ts'

const ipset = (type: string, entries: readonly string[], options: Readonly<Record<string, string>> = {}) => ({ type, entries, options })
const roles = (...names: readonly string[]): ReadonlySet<string> => new Set(names.map((name) => `ipset:${name}`))

/** The rules of the chains whose names begin with `chain`, each with its chain. */
function rulesOf(text: string, chain: string): readonly string[] {
  let name = ''
  return text.split('\n').flatMap((line) => {
    if (!line.startsWith(' ')) name = line.replace(/^chain /, '').replace(/:$/, '')
    return line.startsWith(' ') && name.startsWith(chain) ? [`${name.slice(chain.length)} ${line.trim().replace(/ +# .*| +\[.*\]$/, '').replace(/ +/g, ' ')}`] : []
  })
}

t.test('a source that is a set becomes a rule for each entry', async (t) => {
  const plan = compile(firewallOf({
    zones: { home: { sources: ['ipset:m', 'ipset:a'], interfaces: [] } },
    ipsets: { m: ipset('hash:ip,mark', ['192.0.2.1,0x100', '192.0.2.2-192.0.2.5,7']), a: ipset('hash:mac', ['02:00:5E:10:00:01']) },
  }))
  const spelled = spellOut(plan, roles('m', 'a'))
  t.notOk(spelled.sets.some(({ role }) => role.startsWith('ipset:')))
  const rendered = renderFamily(spelled, 'ipv4', (role) => `SET-${role}`).find(({ table }) => table === 'mangle')!
  const lines = rendered.chains.flatMap(({ lines }) => lines)
  for (const match of ['-s 192.0.2.1 -m mark --mark 0x100', '-s 192.0.2.2/31 -m mark --mark 0x7', '-s 192.0.2.4/31 -m mark --mark 0x7', '-m mac --mac-source 02:00:5e:10:00:01']) {
    t.ok(lines.some((line) => line.startsWith(`${match} -g DERPA_`)), match)
  }
  t.notMatch(renderFamily(spelled, 'ipv6', (role) => role).flatMap(({ chains }) => chains.flatMap(({ lines }) => lines)).join('\n'), '--mark 0x7')
})

t.test('the verdict, its limit and its counter stand once, and what is not in the set goes round', async (t) => {
  const rule = 'rule family="ipv4" source NOT ipset="m" port port="80" protocol="tcp" accept limit value="2/m"'
  const plan = compile(firewallOf({ zones: { public: { richRules: [rule] } }, ipsets: { m: ipset('hash:ip,mark', ['192.0.2.1,1', '192.0.2.2,1']) } }))
  const spelled = spellOut(plan, roles('m'))
  const ids = spelled.chains.flatMap(({ rules }) => rules.filter(({ id }) => id === `zone/public/rich-rules=${rule}`))
  t.equal(ids.length, 1)
  t.match(ids[0]!.match.map(({ kind }) => kind), ['limit'])
  const shown = rulesOf(formatPlan(spelled), 'zone:public:input:entries')
  t.equal(shown.filter((line) => / return$/.test(line)).length, 2, shown.join('\n'))
  t.match(shown.find((line) => / goto /.test(line)), /goto zone:public:input:entries\d+:then/)
})

t.test('only what rules can say is written as rules', async (t) => {
  const set = (type: string, entries: readonly string[], options = {}): PlanSet => ({ role: 'x', kind: 'user', family: 'ipv4', digest: '', elements: { kind: 'text', entries }, user: { name: 'x', type, options } })
  t.ok(canSpellOut(set('hash:net,port', ['192.0.2.0/24,tcp:80'], { maxelem: '10' })))
  t.notOk(canSpellOut(set('hash:net,iface', ['192.0.2.0/24,eth0'])))
  t.notOk(canSpellOut(set('hash:net,net', ['192.0.2.0/24,192.0.2.0/24'])))
  t.ok(canSpellOut(set('hash:net,iface', [], { timeout: '60' })), 'nothing needs no words')
  t.notOk(canSpellOut(set('hash:ip', ['192.0.2.1'], { timeout: '60' })), 'a time to live is known to the kernel alone')
  t.notOk(canSpellOut(set('hash:mac', Array.from({ length: 1025 }, (_, at) => `02:00:00:00:${(at >> 8).toString(16).padStart(2, '0')}:${(at & 255).toString(16).padStart(2, '0')}`))))
  const plan = compile(firewallOf({ zones: {} }))
  t.equal(spellOut(plan, new Set()), plan)
})
