// The safety of the XDP program: what it drops, the oracle drops in every connection state; what the oracle drops early and
// the program can read, it drops by the same rule. 20,000 random (configuration, packet) pairs through the loaded program.
// DERPANET_SEED=N replays a run; DERPANET_TEST_FULL=1 runs ten times as many. TEST_TIMEOUT_SEC=900
import { pinDir, testLoader, whyNoXdpHost } from '../support/xdp-host.ts'
import t from 'tap'
import { compileEarly } from '../../src/compile/early.ts'
import { layout, reasons, records } from '../../src/compile/xdp/layout.ts'
import { Halves } from '../../src/kernel/xdp/halves.ts'
import { loadLibBpf } from '../../src/kernel/xdp/libbpf.ts'
import { openMaps } from '../../src/kernel/xdp/maps.ts'
import { families } from '../../src/model/addr.ts'
import type { Family, Prefix } from '../../src/model/addr.ts'
import type { Firewall, PortProtocol } from '../../src/model/firewall.ts'
import { discovery } from '../../src/model/stages.ts'
import { judge } from '../../src/model/oracle.ts'
import type { ConnectionState, Packet } from '../../src/model/packet.ts'
import { protocolNumbers } from '../../src/model/port.ts'
import { resolve } from '../../src/model/resolve.ts'
import { randomAddr, randomPrefix } from '../compile/xdp-support.ts'
import { asFragment4, withExtensions, withOptions, withTags } from '../packets/variants.ts'
import type { Extension } from '../packets/variants.ts'
import { addrOf, buildFrame, buildPacket } from '../support/frame.ts'
import { describeConfiguration, packList, randomConfiguration, world } from '../support/random-settings.ts'
import { createRandom, seedOfRun } from '../support/random.ts'
import type { Random } from '../support/random.ts'

const configurations = process.env['DERPANET_TEST_FULL'] === '1' ? 2000 : 200
const packetsEach = 100
const states: readonly ConnectionState[] = ['new', 'established', 'related', 'invalid', 'untracked']
const macs = { source: '02:00:5e:00:00:01', destination: '02:00:5e:00:00:02' }

interface Case {
  readonly packet: Packet
  readonly frame: Buffer
  /** The program must be able to read it whole. */
  readonly isReadable: boolean
  /** A fragment without ports. */
  readonly isHeadless: boolean
  readonly what: string
}

/** A configuration of the common generator, with larger and stranger lists than the ruleset tests need. */
function randomFirewall(random: Random): { readonly firewall: Firewall; readonly text: string } {
  const { runtime } = randomConfiguration(random)
  const { firewall, problems } = resolve(runtime)
  if (firewall === null) throw new Error(`the generator made an invalid configuration: ${JSON.stringify(problems)}`)
  const prefixes = (most: number): Prefix[] => Array.from({ length: random.between(0, most) }, () => randomPrefix(random, random.pick(families)))
  const big = random.chance(0.1)
  const blockLists = Array.from({ length: random.between(0, 3) }, (_, index) => packList(`list${index}`, prefixes(big ? 9000 : 40)))
  const origin = { layer: 'admin', text: 'never-block' } as const
  const changed: Firewall = {
    ...firewall,
    blockLists: [...firewall.blockLists, ...blockLists],
    neverBlock: [...firewall.neverBlock, ...(random.chance(0.5) ? prefixes(5).filter(({ length }) => length > 0).map((prefix) => ({ prefix, origin })) : [])],
    panic: firewall.panic || random.chance(0.1),
  }
  return { firewall: changed, text: describeConfiguration(runtime) }
}

function randomPacket(random: Random, firewall: Firewall): Packet {
  const family = random.pick(families)
  const protocol = random.pick([6, 6, 6, 17, 17, 132, 33, family === 'ipv4' ? 1 : 58, family === 'ipv4' ? 58 : 1, 47, 50, 59])
  const direction = random.chance(0.8) ? 'in' : 'forward'
  const failsafe = firewall.failsafePorts.flatMap(({ ports }) => [ports.first, ports.last, ports.last + 1])
  const port = (): number => random.pick([...failsafe, 22, 53, 67, 68, 80, 546, 547, 1024, 65535, random.between(0, 65535)]) & 0xffff
  const isIcmp = protocol === (family === 'ipv4' ? 1 : 58)
  return {
    direction, family, source: randomSource(random, firewall, family),
    destination: addrOf(direction === 'in' ? world.own[family].ext0 : random.pick(world.beyond[family].int0)),
    protocol, inInterface: 'ext0', ...(direction === 'forward' ? { outInterface: 'int0' } : {}),
    ...([6, 17, 33, 132].includes(protocol) ? { sourcePort: port(), destinationPort: port() } : {}),
    ...(isIcmp ? { icmpType: random.pick([0, 3, 8, 128, 129, 130, 134, 135, 136, 143, random.between(0, 255)]), icmpCode: 0 } : {}),
  }
}

/** Mostly addresses that some list or never-block prefix is about. */
function randomSource(random: Random, firewall: Firewall, family: Family): bigint {
  const list = firewall.blockLists.length > 0 ? random.pick(firewall.blockLists) : null
  const lengths = family === 'ipv4' ? list?.lengths4 : list?.lengths6
  if (list !== null && lengths !== undefined && lengths.length > 0 && random.chance(0.5)) {
    const at = random.between(0, lengths.length - 1)
    const first = family === 'ipv4'
      ? BigInt(list.addrs4[at]!)
      : [0, 1, 2, 3].reduce((sum, word) => (sum << 32n) | BigInt(list.addrs6[at * 4 + word]!), 0n)
    const hostBits = BigInt((family === 'ipv4' ? 32 : 128) - lengths[at]!)
    return first | (BigInt(random.between(0, 2 ** 31)) & ((1n << hostBits) - 1n))
  }
  return random.chance(0.3) ? addrOf(random.pick(world.sources[family])) : randomAddr(random, family)
}

function randomCase(random: Random, firewall: Firewall): Case {
  const packet = randomPacket(random, firewall)
  let bytes = buildPacket(packet, { marker: 1, payload: Buffer.alloc(random.between(0, 60)) })
  let isHeadless = false
  let isReadable = true
  const what: string[] = []
  const isFragment = random.chance(0.15)
  const offset = random.pick([0, 0, 1, 185])
  const more = offset === 0 ? random.chance(0.7) : random.chance(0.5)
  if (packet.family === 'ipv4') {
    if (random.chance(0.2)) bytes = withOptions(bytes, random.between(0, 10))
    if (isFragment) bytes = asFragment4(bytes, offset, more)
    if (isFragment) what.push(`fragment at ${offset}${more ? '+' : ''}`)
  } else if (isFragment || random.chance(0.3)) {
    const extensions: Extension[] = Array.from({ length: random.pick([1, 1, 2, 3, 6, 7]) }, (): Extension => (
      { kind: random.pick(['hopByHop', 'routing', 'authentication', 'destination'] as const), units: random.between(2, 5) }))
    if (isFragment) extensions[random.between(0, extensions.length - 1)] = { kind: 'fragment', offset, more }
    bytes = withExtensions(bytes, extensions)
    // whatever follows a later fragment's header is payload, so fewer headers are read
    const read = isFragment && offset > 0 ? extensions.findIndex(({ kind }) => kind === 'fragment') + 1 : extensions.length
    isReadable = read <= 6
    what.push(extensions.map((extension) => (extension.kind === 'fragment' ? `fragment at ${extension.offset}${extension.more ? '+' : ''}` : extension.kind)).join(' '))
  }
  if (isFragment && offset > 0) isHeadless = true
  let frame = buildFrame(packet.family, bytes, macs)
  const tags = random.chance(0.2) ? random.between(1, 3) : 0
  if (tags > 0) frame = withTags(frame, Array.from({ length: tags }, () => random.between(0, 4095)))
  if (tags > 2) isReadable = false
  if (random.chance(0.08)) {
    frame = frame.subarray(0, random.between(14, frame.length))
    isReadable = false
    what.push(`cut to ${frame.length}`)
  }
  return { packet, frame, isReadable, isHeadless, what: [`${tags} tags`, ...what].join(', ') }
}

/** DATAPLANE row 4: passes XDP although the ruleset may drop it. */
function isEssential({ packet: { family, protocol, sourcePort, destinationPort, icmpType } }: Case): boolean {
  if (protocol === 17) return family === 'ipv4' ? destinationPort === 68 : sourcePort === 547 && destinationPort === 546
  return family === 'ipv6' && protocol === 58 && icmpType !== undefined && ((icmpType >= 130 && icmpType <= 137) || icmpType === 143)
}

function hasFailsafePort(firewall: Firewall, { packet }: Case): boolean {
  return firewall.failsafePorts.some(({ protocol, ports }) => (
    protocolNumbers[protocol as PortProtocol] === packet.protocol && packet.destinationPort !== undefined
    && ports.first <= packet.destinationPort && packet.destinationPort <= ports.last))
}

/** The oracle drops it whatever connection tracking thinks. */
/** `isHeadless`: a later fragment. Of neighbour discovery there are none: hosts ignore fragmented ones (RFC 6980). */
function dropsAlways(firewall: Firewall, { packet, isHeadless }: { readonly packet: Packet; readonly isHeadless: boolean }): boolean {
  if (isHeadless && packet.family === 'ipv6' && packet.protocol === 58 && discovery.includes(packet.icmpType ?? -1)) return true
  return states.every((state) => judge(firewall, packet, state).verdict.kind === 'drop')
}

t.test('the program drops nothing that the oracle would let pass, and what it must', { skip: whyNoXdpHost ?? false }, async (t) => {
  const seed = seedOfRun()
  t.comment(`seed ${seed} (DERPANET_SEED=${seed} replays)`)
  const random = createRandom(seed)
  const libbpf = await loadLibBpf()
  const { version } = await testLoader().load()
  const maps = await openMaps(`${pinDir}/${version}`, libbpf)
  const prog = libbpf.openPin(`${pinDir}/${version}/prog`)
  const halves = new Halves(maps, random.between(0, 0xffffffff))
  maps.setLink(1, { flags: layout.LINK_ENFORCE, zone: 1 })
  t.teardown(async () => {
    libbpf.closePin(prog)
    maps.close()
    await testLoader().unload()
  })
  const metaBytes = records.dp_dry.size
  const ask = (frame: Buffer): { readonly drops: boolean; readonly reason: string; readonly rule: string | null } => {
    const input = Buffer.concat([Buffer.alloc(metaBytes), frame])
    input.writeUInt32LE(layout.DRY_MAGIC)
    const { verdict, output } = libbpf.testRun(prog, { input, metaBytes, ifindex: 0, repeat: 1 })
    const answer = new DataView(output.buffer)
    return { drops: verdict === 1, reason: reasons[answer.getUint32(records.dp_dry.reason, true)]!, rule: halves.ruleOf(answer.getUint32(records.dp_dry.slot, true)) }
  }

  const tally = { pairs: 0, drops: 0, mustDrop: 0, deferred: 0, reasons: new Map<string, number>() }
  let failures = 0
  const complain = (round: number, one: Case, text: string, configuration: string): void => {
    failures++
    if (failures > 5) return
    const { source, destination, ...rest } = one.packet
    t.fail(`configuration ${round}: ${text}: ${JSON.stringify({ ...rest, source: source.toString(16), destination: destination.toString(16) })} ${one.what}`, {
      frame: one.frame.toString('hex'), configuration,
    })
  }

  let previous: Firewall | null = null
  for (let round = 0; round < configurations; round++) {
    const { firewall, text } = randomFirewall(random)
    const early = compileEarly(firewall)
    await halves.stage(early)
    for (let number = 0; number < packetsEach / 4; number++) {
      const one = randomCase(random, number % 2 === 0 || previous === null ? firewall : previous)
      const { drops } = ask(one.frame)
      tally.pairs++
      if (!drops) continue
      tally.deferred++
      const both = previous !== null && dropsAlways(previous, one) && dropsAlways(firewall, one)
      if (!both) complain(round, one, 'dropped while the ruleset changes, but one side would let it pass', text)
    }
    halves.commit(early)
    for (let number = 0; number < (packetsEach * 3) / 4; number++) {
      const one = randomCase(random, firewall)
      const { drops, reason, rule } = ask(one.frame)
      tally.pairs++
      tally.reasons.set(reason, (tally.reasons.get(reason) ?? 0) + 1)
      if (drops) {
        tally.drops++
        if (!dropsAlways(firewall, one)) complain(round, one, 'dropped, but the oracle lets it pass', text)
      }
      const oracle = judge(firewall, one.packet, 'new')
      const isEarly = oracle.stage === 'panic' || oracle.stage === 'block-list'
      const mayPass = !one.isReadable || isEssential(one) || hasFailsafePort(firewall, one) || (one.isHeadless && firewall.failsafePorts.length > 0)
      if (!isEarly || mayPass) continue
      tally.mustDrop++
      if (!drops || rule !== oracle.rule) complain(round, one, `the oracle drops it by ${oracle.rule}, the program says ${reason} ${rule}`, text)
    }
    previous = firewall
  }
  t.comment(`${tally.pairs} pairs, ${tally.drops} drops, ${tally.mustDrop} had to, ${tally.deferred} while deferring; ${[...tally.reasons].map(([name, count]) => `${name} ${count}`).join(', ')}`)
  t.equal(failures, 0, 'no disagreement')
  t.equal(tally.pairs, configurations * packetsEach)
  t.ok(tally.mustDrop > tally.pairs / 20 && tally.deferred > tally.pairs / 100, 'enough packets were dropped for that to mean something')
  for (const reason of reasons) {
    if (!['link', 'defer', 'not-ip'].includes(reason)) t.ok((tally.reasons.get(reason) ?? 0) > 0, `${reason} was seen`)
  }
})
