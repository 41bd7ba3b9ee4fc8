// Before the oracle is compared with the kernel, the instruments are: what random-packets.ts says of connection tracking must be
// what the kernel's tracking says, and every fate of a packet must be told apart.
import t from 'tap'
import { createObservatory } from './observatory.ts'
import { privateRoute } from './private-route.ts'
import { createPrivateHost, whyNoPrivateHost } from './private-host.ts'
import { canBeAnswered, connectionState, describePacket, randomPackets } from './random-packets.ts'
import { randomConfiguration } from './random-settings.ts'
import { createRandom, seedOfRun } from './random.ts'
import type { ConnectionState } from '../../src/model/packet.ts'

t.test('the observatory sees what plain iptables rules do to random packets', { skip: whyNoPrivateHost() ?? false }, async (t) => {
  const seed = seedOfRun()
  t.comment(`DERPANET_SEED=${seed}`)
  const random = createRandom(seed)
  // what somebody else's rules translate takes another way than plain rules say; the oracle's test judges that
  const all = randomPackets(random, randomConfiguration(random).runtime.settings, 300)
  const translated = new Set(all.filter(({ packet }) => privateRoute.foreign?.(packet) != null).map(({ marker }) => marker))
  const cases = all.filter(({ marker, follows }) => !translated.has(marker) && !(follows !== undefined && translated.has(follows.marker)))
  const host = await createPrivateHost({ name: 'observatory', bus: false })
  t.teardown(() => host.stop())
  const observatory = await createObservatory(host)
  const both = async (argv: readonly string[]): Promise<void> => {
    for (const tool of ['iptables', 'ip6tables']) await host.firewall.ok([tool, ...argv])
  }
  /** Nothing here translates addresses, so where a packet arrived does not matter. */
  const fateOf = (observed: ReadonlyMap<number, string>, marker: number): string | undefined =>
    observed.get(marker)?.replace(/^accept .*/, 'accept')
  const wrong = (observed: ReadonlyMap<number, string>, want: (one: (typeof cases)[number]) => string): string[] =>
    cases.filter((one) => fateOf(observed, one.marker) !== want(one)).map((one) => `${describePacket(one)}: ${observed.get(one.marker)} instead of ${want(one)}`)

  t.strictSame(wrong(await observatory.observe(cases, 50), () => 'accept'), [], 'without rules everything passes')
  // the kernel's echo replies and resets bear the question's DSCP and any identification, which may be another packet's marker
  t.ok(cases.some(({ packet }) => packet.direction === 'in' && [8, 128].includes(packet.icmpType ?? -1)), 'the host is asked for echo replies')
  for (const set of ['seen4', 'seen6']) {
    const { nftables } = JSON.parse(await host.firewall.ok(['nft', '-j', 'list', 'set', 'inet', 'probe', set])) as { nftables: { set?: { elem: { concat: [number] }[] } }[] }
    const strangers = nftables.flatMap(({ set }) => set?.elem ?? []).filter(({ concat: [marker] }) => !cases.some((one) => one.marker === marker))
    t.strictSame(strangers, [], `and of what the kernel answers by itself nothing is taken for ours: ${set}`)
  }

  const stateOf = (one: (typeof cases)[number]): ConnectionState => connectionState(one, true)
  for (const state of ['new', 'established', 'related', 'invalid', 'untracked'] as const) {
    for (const hook of ['INPUT', 'FORWARD']) {
      await both(['-t', 'mangle', '-A', hook, '-m', 'conntrack', '--ctstate', state.toUpperCase(), '-m', 'comment', '--comment', state, '-j', 'DROP'])
    }
    // what is dropped cannot be followed: followers are only judged where the first one passes
    const observed = await observatory.observe(cases, 50)
    const judged = cases.filter((one) => one.follows === undefined || fateOf(observed, one.follows.marker) === 'accept')
    const bad = judged.filter((one) => one.packet.direction !== 'out' && fateOf(observed, one.marker) !== (stateOf(one) === state ? 'drop' : 'accept'))
    t.strictSame(bad.map((one) => `${describePacket(one)}: ${observed.get(one.marker)}`), [], `connection tracking takes for ${state} what we expect`)
    t.ok(cases.some((one) => stateOf(one) === state), `and there are such packets`)
    await both(['-t', 'mangle', '-F'])
  }

  await both(['-A', 'INPUT', '-j', 'REJECT'])
  await both(['-A', 'FORWARD', '-p', 'tcp', '-j', 'REJECT', '--reject-with', 'tcp-reset'])
  const rejected = await observatory.observe(cases, 50)
  t.strictSame(wrong(rejected, (one) => {
    const tcpReset = one.packet.direction === 'forward' && one.packet.protocol === 6
    if (tcpReset) return (one.tcpFlags ?? 0) & 4 ? 'drop' : 'reject rst'
    if (one.packet.direction !== 'in') return 'accept'
    return canBeAnswered(one.packet) ? `reject icmp${one.packet.family === 'ipv4' ? '3/3' : '1/4'}` : 'drop'
  }), [], 'rejects are seen with their type')
})
