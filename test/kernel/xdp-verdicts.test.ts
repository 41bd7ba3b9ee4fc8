// Verdicts of the loaded program, frame by frame: every row that DATAPLANE's table has today, on BPF_PROG_TEST_RUN.
import { pinDir, run, testLoader, whyNoXdpHost } from '../support/xdp-host.ts'
import t from 'tap'
import { requirePrefix } from '../../src/model/addr.ts'
import type { EarlyPlan } from '../../src/compile/plan.ts'
import { layout, reasons, records } from '../../src/compile/xdp/layout.ts'
import { decodeEvent } from '../../src/kernel/xdp/events.ts'
import type { DropEvent } from '../../src/kernel/xdp/events.ts'
import { Halves } from '../../src/kernel/xdp/halves.ts'
import { loadLibBpf } from '../../src/kernel/xdp/libbpf.ts'
import { openMaps } from '../../src/kernel/xdp/maps.ts'
import type { Packet } from '../../src/model/packet.ts'
import { allowOf, noEarly } from '../compile/xdp-support.ts'
import { asFragment4, withExtensions, withOptions, withTags } from '../packets/variants.ts'
import type { Extension } from '../packets/variants.ts'
import { addrOf, buildFrame, buildPacket } from '../support/frame.ts'
import { packList } from '../support/random-settings.ts'

const macs = { source: '02:00:5e:00:00:01', destination: '02:00:5e:00:00:02' }
const loopback = 1

const tcp = { protocol: 6, sourcePort: 40000, destinationPort: 80 }
const udp = { protocol: 17, sourcePort: 40000, destinationPort: 53 }

/** IP packet from `source` to this host. */
function packetFrom(source: string, rest: Partial<Packet> = tcp): Buffer {
  const family = source.includes(':') ? 'ipv6' : 'ipv4'
  const destination = addrOf(family === 'ipv4' ? '192.0.2.1' : '2001:db8:1::1')
  return buildPacket({ direction: 'in', family, source: addrOf(source), destination, protocol: 6, ...rest }, { marker: 7, payload: Buffer.alloc(32, 7) })
}

function frame(packet: Uint8Array): Buffer {
  return buildFrame(packet[0]! >> 4 === 4 ? 'ipv4' : 'ipv6', packet, macs)
}

function frameFrom(source: string, rest?: Partial<Packet>): Buffer {
  return frame(packetFrom(source, rest))
}

function port(protocol: 'tcp' | 'udp' | 'sctp' | 'dccp', number: number): EarlyPlan['failsafePorts'][number] {
  return { protocol, ports: { first: number, last: number }, origin: { layer: 'admin', text: 'failsafe' } }
}

const badList = packList('bad', ['198.51.100.0/24', '203.0.113.7', '2001:db8:bad::/48', '2001:db8:2::7'].map(requirePrefix))
const blocking: EarlyPlan = {
  ...noEarly,
  allow: [allowOf(requirePrefix('198.51.100.64/26')), allowOf(requirePrefix('2001:db8:bad:1::/64'))],
  failsafePorts: [port('tcp', 22), port('udp', 4500), port('sctp', 22)],
  deny: [{ list: badList, rule: 'block/bad' }],
}

t.test('the loaded program', { skip: whyNoXdpHost ?? false }, async (t) => {
  const libbpf = await loadLibBpf()
  const { version } = await testLoader().load()
  const maps = await openMaps(`${pinDir}/${version}`, libbpf)
  const prog = libbpf.openPin(`${pinDir}/${version}/prog`)
  const halves = new Halves(maps, 0x1234)
  maps.setLink(loopback, { flags: layout.LINK_ENFORCE, zone: 3 })
  t.teardown(async () => {
    libbpf.closePin(prog)
    maps.close()
    await testLoader().unload()
  })

  const judge = (bytes: Uint8Array, dry = true): string => {
    const metaBytes = dry ? records.dp_dry.size : 0
    const input = Buffer.concat([Buffer.alloc(metaBytes), bytes])
    if (dry) input.writeUInt32LE(layout.DRY_MAGIC)
    const { verdict, output } = libbpf.testRun(prog, { input, metaBytes, ifindex: 0, repeat: 1 })
    if (!dry) return verdict === 1 ? 'drop' : 'pass'
    return `${verdict === 1 ? 'drop' : 'pass'} ${reasons[new DataView(output.buffer).getUint32(records.dp_dry.reason, true)]}`
  }
  const configure = async (early: EarlyPlan): Promise<void> => {
    await halves.stage(early)
    halves.commit(early)
  }

  t.equal(maps.readControl(layout.CONTROL_LAYOUT), layout.LAYOUT_VERSION, 'the loader wrote the layout version')
  t.equal(judge(frameFrom('198.51.100.1')), 'pass no-match', 'a program nobody configured drops nothing')

  await t.test('rows 1 and 2: what is not IP or cannot be read passes, also in panic', async (t) => {
    await configure({ ...blocking, panic: true })
    const arp = Buffer.concat([frameFrom('203.0.113.9').subarray(0, 12), Buffer.from([0x08, 0x06]), Buffer.alloc(40)])
    const v4 = packetFrom('198.51.100.1')
    const v6 = packetFrom('2001:db8:bad::1')
    const edit = (packet: Buffer, change: (bytes: Buffer) => void): Buffer => {
      const copy = Buffer.from(packet)
      change(copy)
      return frame(copy)
    }
    const seven = Array.from({ length: 7 }, (): Extension => ({ kind: 'destination', units: 1 }))
    const rows: readonly (readonly [string, Buffer, string])[] = [
      ['ARP', arp, 'pass not-ip'],
      ['PPPoE', Buffer.concat([arp.subarray(0, 12), Buffer.from([0x88, 0x64]), v4]), 'pass not-ip'],
      ['tagged ARP', withTags(arp, [5]), 'pass not-ip'],
      ['three tags', withTags(frame(v4), [1, 2, 3]), 'pass unreadable'],
      ['a frame that ends in a tag', withTags(frame(v4), [1, 2]).subarray(0, 17), 'pass unreadable'],
      ['IPv4 cut in its header', frame(v4).subarray(0, 33), 'pass unreadable'],
      ['IPv4 cut in its options', frame(withOptions(v4, 10)).subarray(0, 14 + 40), 'pass unreadable'],
      ['IPv4 cut in TCP', frame(v4).subarray(0, 14 + 20 + 19), 'pass unreadable'],
      ['IPv4 with header length 4', edit(v4, (bytes) => { bytes[0] = 0x44 }), 'pass unreadable'],
      ['IPv4 that says version 5', Buffer.concat([frame(v4).subarray(0, 14), Buffer.from([0x55]), v4.subarray(1)]), 'pass unreadable'],
      ['IPv4 shorter than its header', edit(v4, (bytes) => { bytes.writeUInt16BE(19, 2) }), 'pass unreadable'],
      ['IPv4 whose length leaves no room for TCP', edit(v4, (bytes) => { bytes.writeUInt16BE(39, 2) }), 'pass unreadable'],
      ['IPv6 cut in its header', frame(v6).subarray(0, 53), 'pass unreadable'],
      ['IPv6 cut in an extension', frame(withExtensions(v6, [{ kind: 'hopByHop', units: 4 }])).subarray(0, 14 + 40 + 7), 'pass unreadable'],
      ['IPv6 whose length ends inside an extension', edit(withExtensions(v6, [{ kind: 'hopByHop', units: 4 }]), (bytes) => { bytes.writeUInt16BE(31, 4) }), 'pass unreadable'],
      ['IPv6 with seven extensions', frame(withExtensions(v6, seven)), 'pass unreadable'],
    ]
    for (const [what, bytes, expected] of rows) t.equal(judge(bytes), expected, `${what}: ${expected}`)
  })

  await t.test('row 3: panic drops every IP packet but what is allowed and what a link needs', async (t) => {
    await configure({ ...blocking, panic: true })
    const rows: readonly (readonly [string, Buffer, string])[] = [
      ['TCP', frameFrom('203.0.113.9'), 'drop panic'],
      ['TCP over IPv6', frameFrom('2001:db8::9'), 'drop panic'],
      ['two tags', withTags(frameFrom('203.0.113.9'), [7, 8]), 'drop panic'],
      ['six extensions', frame(withExtensions(packetFrom('2001:db8::9'), [
        { kind: 'hopByHop', units: 1 }, { kind: 'destination', units: 3 }, { kind: 'routing', units: 2 },
        { kind: 'fragment', offset: 0, more: false }, { kind: 'authentication', units: 6 }, { kind: 'destination', units: 20 }])), 'drop panic'],
      ['IPv4 with ten words of options', frame(withOptions(packetFrom('203.0.113.9'), 10)), 'drop panic'],
      ['GRE', frameFrom('203.0.113.9', { protocol: 47 }), 'drop panic'],
      ['a ping', frameFrom('203.0.113.9', { protocol: 1, icmpType: 8 }), 'drop panic'],
      ['a ping over IPv6', frameFrom('2001:db8::9', { protocol: 58, icmpType: 128 }), 'drop panic'],
      ['a failsafe port', frameFrom('203.0.113.9', { ...tcp, destinationPort: 22 }), 'pass failsafe'],
      ['the same number in UDP', frameFrom('203.0.113.9', { ...udp, destinationPort: 22 }), 'drop panic'],
      ['a failsafe SCTP port', frameFrom('203.0.113.9', { ...tcp, protocol: 132, destinationPort: 22 }), 'pass failsafe'],
      ['a failsafe source port', frameFrom('203.0.113.9', { ...tcp, sourcePort: 22 }), 'drop panic'],
      ['a never-block source', frameFrom('198.51.100.70'), 'pass never-block'],
      ['a DHCPv4 reply', frameFrom('203.0.113.9', { ...udp, sourcePort: 67, destinationPort: 68 }), 'pass essential'],
      ['a DHCPv6 reply', frameFrom('fe80::1', { ...udp, sourcePort: 547, destinationPort: 546 }), 'pass essential'],
      ['no DHCPv6 reply', frameFrom('fe80::1', { ...udp, sourcePort: 53, destinationPort: 546 }), 'drop panic'],
      ...[130, 131, 132, 133, 134, 135, 136, 137, 143].map((type) => (
        [`ICMPv6 type ${type}`, frameFrom('fe80::1', { protocol: 58, icmpType: type }), 'pass essential'] as const)),
      ['MLD behind a hop-by-hop header', frame(withExtensions(packetFrom('fe80::1', { protocol: 58, icmpType: 143 }), [{ kind: 'hopByHop', units: 1 }])), 'pass essential'],
      ['packets are too big: the ruleset looks whose', frameFrom('203.0.113.9', { protocol: 1, icmpType: 3, icmpCode: 4 }), 'pass essential'],
      ['and over IPv6', frameFrom('2001:db8::9', { protocol: 58, icmpType: 2 }), 'pass essential'],
      ['said by who is listed', frameFrom('203.0.113.7', { protocol: 1, icmpType: 3, icmpCode: 4 }), 'drop list'],
      ['another error', frameFrom('203.0.113.9', { protocol: 1, icmpType: 3, icmpCode: 3 }), 'drop panic'],
      ['and over IPv6', frameFrom('2001:db8::9', { protocol: 58, icmpType: 1 }), 'drop panic'],
      ['type 2 of IPv4 ICMP', frameFrom('203.0.113.9', { protocol: 1, icmpType: 2 }), 'drop panic'],
      ['a listed source', frameFrom('203.0.113.7'), 'drop list'],
      ['type 135 of IPv4 ICMP', frameFrom('203.0.113.9', { protocol: 1, icmpType: 135 }), 'drop panic'],
      ['ICMPv6 inside IPv4', frameFrom('203.0.113.9', { protocol: 58, icmpType: 135 }), 'drop panic'],
    ]
    for (const [what, bytes, expected] of rows) t.equal(judge(bytes), expected, `${what}: ${expected}`)
  })

  await t.test('row 5: a source in a list is dropped, never-block and failsafe ports win', async (t) => {
    await configure(blocking)
    const rows: readonly (readonly [string, Buffer, string])[] = [
      ['a listed network', frameFrom('198.51.100.1'), 'drop list'],
      ['its last address', frameFrom('198.51.100.255'), 'drop list'],
      ['the address after it', frameFrom('198.51.101.0'), 'pass no-match'],
      ['a listed host', frameFrom('203.0.113.7', { protocol: 1, icmpType: 8 }), 'drop list'],
      ['its neighbour', frameFrom('203.0.113.8'), 'pass no-match'],
      ['a listed IPv6 network', frameFrom('2001:db8:bad:ffff::1'), 'drop list'],
      ['a listed IPv6 host', frameFrom('2001:db8:2::7'), 'drop list'],
      ['its neighbour', frameFrom('2001:db8:2::8'), 'pass no-match'],
      ['never-block inside a listed network', frameFrom('198.51.100.65'), 'pass never-block'],
      ['never-block of IPv6', frameFrom('2001:db8:bad:1::9'), 'pass never-block'],
      ['a failsafe port', frameFrom('198.51.100.1', { ...tcp, destinationPort: 22 }), 'pass failsafe'],
      ['a failsafe port over IPv6', frameFrom('2001:db8:bad::1', { ...udp, destinationPort: 4500 }), 'pass failsafe'],
      ['neighbour discovery', frameFrom('2001:db8:bad::1', { protocol: 58, icmpType: 135 }), 'pass essential'],
      ['TCP that is no SYN', frameFrom('198.51.100.1', { ...tcp }), 'drop list'],
      ['a tagged frame', withTags(frameFrom('198.51.100.1'), [100]), 'drop list'],
      ['a frame with padding', Buffer.concat([frameFrom('198.51.100.1', { protocol: 47 }), Buffer.alloc(12)]), 'drop list'],
    ]
    for (const [what, bytes, expected] of rows) t.equal(judge(bytes), expected, `${what}: ${expected}`)
  })

  await t.test('row 8: fragments of a listed source are dropped unless they may be for a failsafe port', async (t) => {
    const v4 = packetFrom('198.51.100.1')
    const v6 = packetFrom('2001:db8:bad::1')
    const first = frame(asFragment4(v4, 0, true))
    const later = frame(asFragment4(v4, 100, false))
    const later6 = frame(withExtensions(v6, [{ kind: 'fragment', offset: 100, more: true }]))
    const short = frame(asFragment4(v4.subarray(0, 28), 0, true))
    await configure(blocking)
    t.equal(judge(first), 'drop list', 'a first fragment shows its port')
    t.equal(judge(frame(asFragment4(packetFrom('198.51.100.1', { ...tcp, destinationPort: 22 }), 0, true))), 'pass failsafe')
    t.equal(judge(later), 'pass fragment', 'a later fragment does not')
    t.equal(judge(later6), 'pass fragment')
    t.equal(judge(short), 'pass fragment', 'nor does a first one without the whole header')
    await configure({ ...blocking, failsafePorts: [] })
    for (const bytes of [first, later, later6, short]) t.equal(judge(bytes), 'drop list', 'without failsafe ports all are dropped')
    t.equal(judge(frame(withExtensions(v6, [{ kind: 'fragment', offset: 0, more: false }]))), 'drop list', 'an atomic fragment is a whole packet')
    await configure({ ...blocking, failsafePorts: [], panic: true })
    t.equal(judge(frame(asFragment4(packetFrom('203.0.113.9'), 100, false))), 'drop panic')
  })

  await t.test('an interface without a row is never dropped on', async (t) => {
    await configure(blocking)
    maps.removeLink(loopback)
    t.equal(judge(frameFrom('198.51.100.1')), 'pass link')
    maps.setLink(loopback, { flags: 0, zone: 3 })
    t.equal(judge(frameFrom('198.51.100.1')), 'pass link')
    maps.setLink(loopback, { flags: layout.LINK_ENFORCE, zone: 3 })
    t.equal(judge(frameFrom('198.51.100.1')), 'drop list')
  })

  await t.test('a dry run leaves counters alone, a real one counts rule and bytes', async (t) => {
    await configure({ ...blocking, panic: true })
    const before = new Map(halves.counters())
    const bytes = frameFrom('198.51.100.1')
    for (let round = 0; round < 10; round++) judge(bytes)
    t.same(new Map(halves.counters()), before)
    t.equal(judge(frameFrom('203.0.113.9'), false), 'drop')
    t.same(halves.counters().get('panic'), { packets: (before.get('panic')?.packets ?? 0n) + 1n, bytes: (before.get('panic')?.bytes ?? 0n) + BigInt(bytes.length) })
    await configure(blocking)
    for (let round = 0; round < 3; round++) judge(bytes, false)
    const list = halves.counters().get('block/bad')
    t.same(list, { packets: 3n, bytes: BigInt(3 * bytes.length) })
    await configure({ ...noEarly, deny: [{ list: packList('other', [requirePrefix('203.0.113.200')]), rule: 'block/other' }] })
    await configure(blocking)
    t.same(halves.counters().get('block/bad'), list, 'counters survive a list that goes and comes back')
  })

  await t.test('sampled drops tell who was dropped and by what', async (t) => {
    await configure(blocking)
    const events: DropEvent[] = []
    const names = { zoneOf: (id: number) => (id === 3 ? 'public' : null), ruleOf: (slot: number) => halves.ruleOf(slot) }
    const ring = libbpf.openRing(maps.eventsFd, (record) => events.push(decodeEvent(record, names)))
    t.teardown(() => ring.close())
    ring.consume()
    events.length = 0
    const cpus = Number(run('nproc'))
    maps.writeControl(layout.CONTROL_EVENTS_PER_SEC, 1000)
    judge(frameFrom('198.51.100.1'), false)
    ring.consume()
    t.equal(events.length, 0, 'nobody listens: no events')
    maps.writeControl(layout.CONTROL_SAMPLE_EVERY, 1)
    judge(frameFrom('198.51.100.1'))
    judge(frameFrom('203.0.113.9'), false)
    judge(withTags(frameFrom('198.51.100.1'), [10, 20]), false)
    judge(frameFrom('2001:db8:bad::1', udp), false)
    ring.consume()
    t.equal(events.length, 2, 'passes and dry runs make none')
    t.match(events[0], {
      ifindex: loopback, zone: 'public', rule: 'block/bad', reason: 'list', verdict: 'drop', vlans: [10, 20], sourceMac: macs.source, destinationMac: macs.destination,
      ethertype: 0x0800, family: 'ipv4', source: '198.51.100.1', destination: '192.0.2.1', protocol: 6, sourcePort: 40000, destinationPort: 80, tcpFlags: 2, isFragment: false,
    })
    t.match(events[1], { ethertype: 0x86dd, family: 'ipv6', source: '2001:db8:bad::1', destination: '2001:db8:1::1', protocol: 17, destinationPort: 53, vlans: [] })
    events.length = 0
    maps.writeControl(layout.CONTROL_EVENTS_PER_SEC, 5)
    await new Promise((resolve) => setTimeout(resolve, 1100))
    for (let round = 0; round < 200; round++) judge(frameFrom('198.51.100.1'), false)
    ring.consume()
    t.ok(events.length >= 5 && events.length <= 10 * cpus, `${events.length} events of 200 drops with 5 a second and CPU`)
    maps.writeControl(layout.CONTROL_SAMPLE_EVERY, 0)
  })

  await t.test('while the ruleset changes, only what both configurations drop is dropped', async (t) => {
    const list = (name: string, ...sources: readonly string[]) => ({ list: packList(name, sources.map(requirePrefix)), rule: `block/${name}` })
    const old: EarlyPlan = { ...noEarly, deny: [list('old', '198.51.100.1', '198.51.100.2', '198.51.100.3', '2001:db8:2::1')] }
    const next: EarlyPlan = {
      ...noEarly, deny: [list('new', '198.51.100.2', '198.51.100.3', '198.51.100.4', '2001:db8:2::1')],
      allow: [allowOf(requirePrefix('198.51.100.3'))], failsafePorts: [port('tcp', 22)],
    }
    const seen = (): readonly string[] => ['198.51.100.1', '198.51.100.2', '198.51.100.3', '198.51.100.4', '2001:db8:2::1'].map((source) => judge(frameFrom(source)))
    await configure(old)
    t.same(seen(), ['drop list', 'drop list', 'drop list', 'pass no-match', 'drop list'])
    await halves.stage(next)
    t.same(seen(), ['pass defer', 'drop list', 'pass never-block', 'pass no-match', 'drop list'])
    t.equal(judge(frameFrom('198.51.100.2', { ...tcp, destinationPort: 22 })), 'pass failsafe', 'a failsafe port of either')
    halves.commit(next)
    t.same(seen(), ['pass no-match', 'drop list', 'pass never-block', 'drop list', 'drop list'])
    await halves.stage(old)
    await halves.stage({ ...old, deny: [list('third', '198.51.100.2')] })
    t.same(seen(), ['pass no-match', 'drop list', 'pass never-block', 'pass defer', 'pass defer'], 'a second change before the first is done')
    halves.commit(next)
    t.same(seen(), ['pass no-match', 'drop list', 'pass never-block', 'drop list', 'drop list'], 'going back')
    t.throws(() => halves.commit(old), /without stage/)
  })

  await t.test('panic ends before the ruleset opens and begins after it closed', async (t) => {
    await configure({ ...blocking, panic: true })
    await halves.stage(blocking)
    t.equal(judge(frameFrom('203.0.113.9')), 'pass no-match')
    t.equal(judge(frameFrom('198.51.100.1')), 'drop list', 'the list is the same and goes on')
    halves.commit(blocking)
    await halves.stage({ ...blocking, panic: true })
    t.equal(judge(frameFrom('203.0.113.9')), 'pass no-match')
    halves.commit({ ...blocking, panic: true })
    t.equal(judge(frameFrom('203.0.113.9')), 'drop panic')
  })

  await t.test('a crash between narrowing and commit leaves a program that the next daemon does not trust', async (t) => {
    await configure(blocking)
    await halves.stage({ ...blocking, deny: [] })
    const successor = new Halves(maps, 0x4321)
    await successor.stage(blocking)
    t.equal(judge(frameFrom('198.51.100.1')), 'pass no-match', 'the ruleset may hold either: lists wait')
    successor.commit(blocking)
    t.equal(judge(frameFrom('198.51.100.1')), 'drop list')
    t.equal(successor.ruleOf(layout.SLOT_FIRST_RULE), 'block/bad', 'and it finds the counters of its predecessor')
    const third = new Halves(maps, 0x4321)
    await third.stage({ ...noEarly, deny: [{ list: packList('other', [requirePrefix('203.0.113.200')]), rule: 'block/other' }] })
    t.equal(judge(frameFrom('198.51.100.1')), 'pass defer', 'after a clean end the old lists count')
    third.commit({ ...noEarly, deny: [{ list: packList('other', [requirePrefix('203.0.113.200')]), rule: 'block/other' }] })
  })
})
