// Direct rules with real tools and packets, both variants of iptables, both families.
// TEST_TIMEOUT_SEC=240
import t from 'tap'
import { compile } from '../../src/compile/compile.ts'
import { createDirect, stepsBetween } from '../../src/kernel/direct.ts'
import { createExec } from '../../src/kernel/exec.ts'
import { createPassthrough } from '../../src/kernel/passthrough.ts'
import { checkDirectRule, checkToolArgs } from '../../src/model/direct-args.ts'
import { emptyDirect, parseDirectPassthrough, parseDirectRule, type DirectFamily, type DirectRule, type DirectSettings } from '../../src/model/direct.ts'
import { firewallOf, type ConfigurationWords } from '../support/configuration.ts'
import { createNetfilterHost, variants } from '../support/netfilter-host.ts'
import { addresses, whyNoPrivateHost } from '../support/private-host.ts'
import { createRandom, seedOfRun } from '../support/random.ts'

const why = whyNoPrivateHost()
const { ext4, ext6 } = addresses.firewall
const families = ['ipv4', 'ipv6'] as const
/** getopt completes every beginning of them. */
const forbidden = ['--modprobe', '--wait', '--table', '--flush', '--atomic-file', '--append', '--delete']
const zone: ConfigurationWords = { zones: { public: { ports: ['22/tcp', '80/tcp'], interfaces: ['ext0'] } } }

function rule(ipv: DirectFamily, chain: string, priority: number, words: string, table = 'filter'): DirectRule {
  return { ipv, table, chain, priority, args: words.split(' ') }
}

for (const variant of variants) {
  t.test(variant, { skip: why ?? false }, async (t) => {
    const one = await createNetfilterHost('direct', variant, t.testdir())
    t.teardown(() => one.stop())
    await (await one.host.firewall.agent()).serve(['tcp:22', 'tcp:23', 'tcp:80'])
    const stateDir = t.testdir()
    const run = createPassthrough(createExec({ wrap: one.host.firewall.prefix }), variant)
    const plan = compile(firewallOf(zone))
    let direct = createDirect({ run, stateDir })
    const put = async (settings: Partial<DirectSettings>): Promise<void> => {
      const next = { ...plan, direct: { ...emptyDirect, ...settings } }
      await one.dataplane.apply(next)
      await direct.apply(next)
    }
    const probe = async (port: number): Promise<readonly string[]> =>
      (await one.probe(...[ext4, ext6].map((host) => ({ kind: 'tcp' as const, host, port })))).map((result) => result.replace(/^open .*/, 'open'))
    await one.apply(zone)

    t.test('a direct ACCEPT opens no port that the zone closes, in whatever table', async (t) => {
      const all = (['filter', 'mangle', 'raw', 'security'] as const).flatMap((table) => families.map((ipv) => rule(ipv, table === 'raw' ? 'PREROUTING' : 'INPUT', 0, '-j ACCEPT', table)))
      await put({ rules: all })
      t.same(await probe(23), ['reject icmp3/13', 'reject icmp1/1'])
      t.same(await probe(22), ['open', 'open'])
      await one.dataplane.apply({ ...plan, direct: { ...emptyDirect, rules: all } })
      t.same(await probe(23), ['reject icmp3/13', 'reject icmp1/1'], 'nor after another apply of our rules')
    })

    t.test('a direct DROP or REJECT denies what the zone opens; lower priorities come first', async (t) => {
      await put({ rules: families.flatMap((ipv) => [
        rule(ipv, 'INPUT', 5, '-p tcp --dport 80 -j DROP'),
        rule(ipv, 'INPUT', -1, '-p tcp --dport 80 -j REJECT --reject-with tcp-reset'),
        rule(ipv, 'INPUT', 0, '-p tcp --dport 22 -j DROP'),
      ]) })
      t.same(await probe(22), ['drop', 'drop'])
      t.same(await probe(80), ['closed', 'closed'])
      const listed = (await one.iptables('-S', 'INPUT_direct')).split('\n').filter((line) => line.startsWith('-A'))
      t.match(listed, [/REJECT/, /dport 22/, /dport 80 -j DROP/])
    })

    t.test('chains of clients exist by their names; a restart goes on from what is there; taking back leaves nothing', async (t) => {
      const settings = {
        chains: families.map((ipv) => ({ ipv, table: 'filter', chain: 'f2b-sshd' })),
        rules: families.flatMap((ipv) => [rule(ipv, 'INPUT', 0, '-p tcp --dport 22 -j f2b-sshd'), rule(ipv, 'f2b-sshd', 0, '-j DROP')]),
        passthroughs: families.map((ipv) => ({ ipv, args: ['-A', 'INPUT', '-p', 'tcp', '--dport', '80', '-m', 'comment', '--comment', 'two\nlines "quoted"', '-j', 'DROP'] })),
      }
      await put(settings)
      t.match(await one.iptables('-S', 'f2b-sshd'), /-A f2b-sshd -j DROP/)
      t.same([...await probe(22), ...await probe(80)], ['drop', 'drop', 'drop', 'drop'])
      direct = createDirect({ run, stateDir })
      await put(settings)
      t.equal((await one.iptables('-S', 'f2b-sshd')).split('\n').filter((line) => line.startsWith('-A')).length, 1, 'nothing twice')
      await direct.purge()
      t.same([...await probe(22), ...await probe(80)], ['open', 'open', 'open', 'open'])
      await one.apply(zone)
      t.notMatch(await one.tables(), /_direct|f2b/)
    })

    t.test('what others flush is missed, and put back in its order', async (t) => {
      let looks = 0
      direct = createDirect({
        run: (ipv, args) => {
          looks++
          return run(ipv, args)
        },
        stateDir, sign: variant === 'nft' ? (tables) => one.dataplane.sign(tables) : () => one.iptables('-S'),
      })
      const settings = {
        chains: families.map((ipv) => ({ ipv, table: 'filter', chain: 'f2b-sshd' })),
        rules: families.flatMap((ipv) => [
          rule(ipv, 'INPUT', 0, '-p tcp --dport 22 -j f2b-sshd'), rule(ipv, 'f2b-sshd', 0, '-j DROP'), rule(ipv, 'INPUT', -5, '-p tcp --dport 443 -j ACCEPT'),
        ]),
        passthroughs: families.map((ipv) => ({ ipv, args: ['-I', 'INPUT', '1', '-p', 'tcp', '--dport', '80', '-j', 'DROP'] })),
      }
      await put(settings)
      const whole = await one.iptables('-S')
      t.same(await direct.drift!(), { lines: [], by: null })
      looks = 0
      t.same(await direct.drift!(), { lines: [], by: null })
      t.equal(looks, 0, 'nothing is read again while nobody changes anything')
      for (const [damage, line] of [
        [['-F', 'f2b-sshd'], 'direct: 0 of 1 rules left in f2b-sshd of ipv4 filter'],
        [['-D', 'INPUT_direct', '1'], 'direct: 1 of 2 rules left in INPUT_direct of ipv4 filter'],
        [['-D', 'INPUT', '-j', 'INPUT_direct'], 'direct: 2 of 2 rules left in INPUT_direct of ipv4 filter, and nobody calls it'],
        [['-D', 'INPUT', '-p', 'tcp', '--dport', '80', '-j', 'DROP'], 'direct: ipv4 -I INPUT 1 -p tcp --dport 80 -j DROP is gone'],
      ] as const) {
        await one.iptables(...damage)
        t.same((await direct.drift!()).lines, [line])
        await put(settings)
        t.same((await direct.drift!()).lines, [], damage.join(' '))
        t.same([...await probe(22), ...await probe(80)], ['drop', 'drop', 'drop', 'drop'])
      }
      await one.iptables('-F')
      await one.iptables('-X')
      t.equal((await direct.drift!()).lines.length, 4)
      await put(settings)
      await one.dataplane.drift()
      await put(settings)
      t.same((await direct.drift!()).lines, [])
      t.same([...await probe(22), ...await probe(80)], ['drop', 'drop', 'drop', 'drop'])
      t.same((await one.iptables('-S')).split('\n').filter((line) => !line.includes('DERPA_')).sort(), whole.split('\n').filter((line) => !line.includes('DERPA_')).sort())
      await direct.purge()
    })

    t.test('bridges: ebtables takes direct rules too', async (t) => {
      if (await run('eb', ['-t', 'filter', '-L']).then(() => false, () => true)) return t.comment('this kernel has no tables for this ebtables')
      await put({ rules: [{ ipv: 'eb', table: 'filter', chain: 'INPUT', priority: 0, args: ['-p', 'ARP', '-j', 'ACCEPT'] }] })
      t.match(await run('eb', ['-t', 'filter', '-L']), /INPUT_direct[\s\S]*-p ARP -j ACCEPT/)
      await put({})
      t.notMatch(await run('eb', ['-t', 'filter', '-L']), /direct/)
      await direct.purge()
    })

    t.test('bridges: what others flush is missed, and put back', async (t) => {
      if (await run('eb', ['-t', 'filter', '-L']).then(() => false, () => true)) return t.comment('this kernel has no tables for this ebtables')
      direct = createDirect({ run, stateDir, sign: (tables) => one.dataplane.sign(tables) })
      const arp = (words: string): DirectRule => ({ ipv: 'eb', table: 'filter', chain: 'INPUT', priority: 0, args: ['-p', 'ARP', ...words.split(' ')] })
      const settings = { chains: [{ ipv: 'eb' as const, table: 'filter', chain: 'arps' }], rules: [arp('-j arps'), arp('-j ACCEPT')] }
      await put(settings)
      t.same(await direct.drift!(), { lines: [], by: null })
      const whole = await run('eb', ['-t', 'filter', '-L'])
      for (const [damage, ...lines] of [
        [[['-F', 'INPUT_direct']], 'direct: 0 of 2 rules left in INPUT_direct of eb filter'],
        [[['-D', 'INPUT', '-j', 'INPUT_direct']], 'direct: 2 of 2 rules left in INPUT_direct of eb filter, and nobody calls it'],
        [[['-F'], ['-X']], 'direct: chain arps in eb filter is gone', 'direct: 0 of 2 rules left in INPUT_direct of eb filter, and nobody calls it'],
      ] as const) {
        for (const args of damage) await run('eb', ['-t', 'filter', ...args])
        t.same((await direct.drift!()).lines, lines)
        await put(settings)
        t.same((await direct.drift!()).lines, [])
        t.equal(await run('eb', ['-t', 'filter', '-L']), whole)
      }
      await direct.purge()
    })

    t.test('a tool that refuses says so, and what was begun is taken back', async (t) => {
      const bad = { rules: [rule('ipv4', 'INPUT', 0, '-p tcp --dport 22 -j DROP'), rule('ipv4', 'INPUT', 1, '-j NOSUCHTARGET')] }
      await t.rejects(put(bad), { code: 'COMMAND_FAILED', message: /NOSUCHTARGET/ })
      t.same(await probe(22), ['open', 'open'])
      t.notMatch(await one.tables(), /_direct/)
    })
  })
}

t.test('a rule for INPUT and one for INPUT_direct stand in one chain, which goes with the last of them', (t) => {
  for (const ipv of ['ipv4', 'ipv6', 'eb'] as const) {
    const both = { ...emptyDirect, rules: [rule(ipv, 'INPUT', 1, '-j DROP'), rule(ipv, 'INPUT_direct', 2, '-j ACCEPT')] }
    const left = { ...emptyDirect, rules: both.rules.slice(1) }
    const words = (from: DirectSettings, to: DirectSettings): readonly string[] => stepsBetween(from, to).map(({ args }) => args.join(' '))
    const made = words(emptyDirect, both)
    t.equal(made.filter((line) => line.includes('-N INPUT_direct')).length, 1, `${ipv}: the chain is made once`)
    t.strictSame(made.slice(-2), ['-t filter -I INPUT_direct 1 -j DROP', '-t filter -I INPUT_direct 2 -j ACCEPT'])
    t.strictSame(words(both, left), ['-t filter -D INPUT_direct -j DROP'], 'the chain stays for the other')
    t.match(words(left, emptyDirect).at(-1), /-X INPUT_direct$/)
  }
  t.end()
})

t.test('no string of a client reaches a tool as a command, an option that loads or names files, or a second line', (t) => {
  const seed = seedOfRun()
  t.comment(`DERPANET_SEED=${seed}`)
  const random = createRandom(seed)
  const words = ['\n', '\0', '-', '--', '--mod', '-M', '-w', '--wait', '/sbin/modprobe', ' ', '=', '"', "'", '\\', '-t', 'nat', '-A', 'INPUT', '-j', 'ACCEPT', '--comment', 'x', '\t', '\u2028', '-m', '../../x',
    '-F', '--flush', '--ta', '-nL', '--atomic-f', '-X', 'ü', '\r', ';', '`id`', '$(id)', 'x'.repeat(10 * 1024)]
  const count = process.env['DERPANET_TEST_FULL'] === '1' ? 10_000 : 1000
  let passed = 0
  for (let number = 0; number < count; number++) {
    const args = Array.from({ length: random.between(1, 6) }, () => Array.from({ length: random.between(1, 3) }, () => random.pick(words)).join(random.chance(0.7) ? '' : ' '))
    try {
      const one = parseDirectRule('ipv4', 'filter', 'INPUT', '0', args)
      checkDirectRule(one)
      parseDirectPassthrough('ipv4', args)
      checkToolArgs('ipv4', args)
      passed++
      const steps = stepsBetween(emptyDirect, { ...emptyDirect, rules: [one] })
      const last = steps.at(-1)!.args
      if (JSON.stringify(last.slice(0, 5)) !== JSON.stringify(['-t', 'filter', '-I', 'INPUT_direct', '1']) || JSON.stringify(last.slice(5)) !== JSON.stringify(args)) return t.fail(`not word by word: ${JSON.stringify(last)}`)
      const bad = args.find((word) => /^-[46fnvx]*[MwtADIRNEPFZXLSC]/.test(word) || (word.length > 2 && word.startsWith('--') && forbidden.some((whole) => whole.startsWith(word.split('=')[0]!))) || word.includes('\0') || word === '--')
      if (bad !== undefined) return t.fail(`let through: ${JSON.stringify(args)}`)
    } catch (error) {
      if ((error as { code?: string }).code === undefined) throw error
    }
  }
  t.ok(passed > count / 20, `${passed} of ${count} were harmless`)
  t.end()
})
