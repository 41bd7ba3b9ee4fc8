// What the tools print, and what we keep of it: no kernel needed.
import { mkdirSync, writeFileSync } from 'node:fs'
import t from 'tap'
import { CommandError, type Exec } from '../../../src/kernel/exec.ts'
import { describeFailure } from '../../../src/kernel/netfilter/failure.ts'
import { parseSave } from '../../../src/kernel/netfilter/observe.ts'
import { emptyState, readState, writeState } from '../../../src/kernel/netfilter/state.ts'
import { findTools } from '../../../src/kernel/netfilter/tools.ts'

const version = (stdout: string): Exec => async () => ({ exitCode: 0, stdout, stderr: '', elapsedMs: 0 })

t.test('the variant is what iptables says it is, unless one is forced', async (t) => {
  t.match(await findTools(version('iptables v1.8.9 (nf_tables)\n'), undefined), { variant: 'nft', restore: { ipv4: 'iptables-restore', ipv6: 'ip6tables-restore' } })
  t.match(await findTools(version('iptables v1.8.9 (legacy)\n'), undefined), { variant: 'legacy' })
  t.match(await findTools(version('iptables v1.6.1\n'), undefined), { variant: 'legacy' })
  t.match(await findTools(version('not asked'), undefined, 'nft'), { variant: 'nft', save: { ipv4: 'iptables-save' } })
  t.match(await findTools(version(''), 'nft'), { variant: 'nft', save: { ipv4: 'iptables-nft-save' } })
})

t.test('of a listing only our chains and the rules that lead to them are seen', async (t) => {
  const saved = parseSave([
    '# Generated', '*mangle', ':INPUT ACCEPT [3:4]', ':FOREIGN - [0:0]', ':DERPA_INPUT - [0:0]',
    '[1:2] -A INPUT -m comment --comment "-j DERPA_INPUT" -j FOREIGN', '[5:6] -A INPUT -j DERPA_INPUT',
    '[7:8] -A FOREIGN -m comment --comment "x -g DERPA_Y" -j ACCEPT', '[18446744073709551615:9] -A DERPA_INPUT -g DERPA_H_x', 'COMMIT', '',
  ].join('\n'))
  const mangle = saved.get('mangle')!
  t.same(mangle.jumps, [{ chain: 'INPUT', rule: '-j DERPA_INPUT', position: 1 }])
  t.same([...mangle.chains], [['DERPA_INPUT', ['-g DERPA_H_x']]])
  t.same(mangle.counts.get('DERPA_INPUT'), [{ packets: 18446744073709551615n, bytes: 9n }])
  t.same([...mangle.base], [['INPUT', { policy: 'ACCEPT', rules: 2 }]])
  t.throws(() => parseSave('*mangle\nwhat is this\n'), /cannot read iptables-save/)
})

t.test('a comment with line ends is one rule: it can imitate none of ours', (t) => {
  const saved = parseSave([
    '*mangle', ':INPUT ACCEPT [0:0]', ':DERPA_INPUT - [0:0]', '[1:2] -A INPUT -m comment --comment "a \\"quoted\\"', '[0:0] -A DERPA_INPUT -j ACCEPT', '*raw', 'end" -j FOREIGN',
    '[5:6] -A INPUT -j DERPA_INPUT', 'COMMIT', '',
  ].join('\n'))
  t.same([...saved.keys()], ['mangle'])
  t.same(saved.get('mangle')?.jumps, [{ chain: 'INPUT', rule: '-j DERPA_INPUT', position: 1 }])
  t.same([...saved.get('mangle')!.chains], [['DERPA_INPUT', []]])
  t.end()
})

t.test('a complaint about a line is told with the line', async (t) => {
  const request = { command: 'iptables-restore', args: ['--noflush'] }
  const failed = (stderr: string): CommandError => new CommandError(request, 'exit status 2', 2, stderr)
  const text = '*mangle\n-A X -j \u001bbad\nCOMMIT\n'
  t.equal(describeFailure(failed('Error occurred at line: 2\n'), text),
    'iptables-restore --noflush: exit status 2: Error occurred at line: 2: line 2 is: -A X -j \\x1bbad')
  t.match(describeFailure(failed('iptables-restore: line 9 failed\n'), text), /line 9 failed$/)
  t.equal(describeFailure(new Error('other'), text), 'other')
})

t.test('the state survives a round trip; a damaged or foreign file is told and not used', async (t) => {
  const dir = `${t.testdir()}/deep/netfilter`
  t.same(await readState(dir), { state: emptyState(), problem: null })
  const state = { ...emptyState(), variant: 'nft' as const, counted: new Map([['a', { packets: 2n ** 64n, bytes: 1n }]]), created: new Set(['ip/raw']) }
  state.sets.set('derpa-p', { digest: 'x', ports: [{ first: 1, last: 2, rule: 'a' }] })
  await writeState(dir, state)
  t.same((await readState(dir)).state, state)
  for (const [text, problem] of [['{', /unreadable/], ['{"layout":99}', /layout 99/], ['{"layout":1}', /unreadable/]] as const) {
    mkdirSync(dir, { recursive: true })
    writeFileSync(`${dir}/netfilter.json`, text)
    const read = await readState(dir)
    t.same(read.state, emptyState())
    t.match(read.problem, problem)
  }
})
