// The XDP dataplane on real interfaces with real packets: attach, follow, adopt, go away; and everything that may be missing.
import { exec, paths, pinDir, run, testLoader, whyNoXdpHost } from '../support/xdp-host.ts'
import { execFile, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { copyFileSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import type { Test } from 'tap'
import { requirePrefix } from '../../src/model/addr.ts'
import type { EarlyPlan, Plan } from '../../src/compile/plan.ts'
import { layout } from '../../src/compile/xdp/layout.ts'
import { ZoneIds, createXdp } from '../../src/kernel/xdp/xdp.ts'
import type { XdpDataplane, XdpOptions } from '../../src/kernel/xdp/xdp.ts'
import { zoneOf } from '../../src/kernel/xdp/attachments.ts'
import type { DropEvent } from '../../src/kernel/xdp/events.ts'
import { whyNot, whyNotAuto } from '../../src/kernel/xdp/links.ts'
import type { Link } from '../../src/kernel/xdp/links.ts'
import { loadLibBpf } from '../../src/kernel/xdp/libbpf.ts'
import { openMaps } from '../../src/kernel/xdp/maps.ts'
import { allowOf, noEarly } from '../compile/xdp-support.ts'
import { addrOf, buildFrame, buildPacket } from '../support/frame.ts'
import { packList } from '../support/random-settings.ts'

const here = '192.0.2.1'
const peers = ['192.0.2.2', '192.0.2.3', '192.0.2.4'] as const
const silent = { info() {}, warn() {} }
const pingOnce = promisify(execFile)

/** Native, as nobody is asked for on devices of software but by name. */
function plan(early: Partial<EarlyPlan> = {}, rest: Partial<Plan> = {}): Plan {
  return { sets: [], chains: [], hooks: [], early: { ...noEarly, ...early }, interfaces: [], defaultZone: 'public', xdp: { mode: 'native', interfaces: {} }, ...rest }
}

function blocking(...sources: readonly string[]): Partial<EarlyPlan> {
  return { deny: [{ list: packList('bad', sources.map(requirePrefix)), rule: 'block/bad' }] }
}

function create(options: Partial<XdpOptions> = {}): XdpDataplane {
  return createXdp({ pinDir, loader: paths.loader, object: paths.object, exec, log: silent, ...options })
}

/** As the enforcer does it: narrow, (ruleset), follow. */
async function enforce(xdp: XdpDataplane, next: Plan): Promise<string> {
  await xdp.prepare(next)
  return (await xdp.apply(next)).summary
}

async function texts(xdp: XdpDataplane): Promise<Record<string, string>> {
  return Object.fromEntries((await xdp.status()).details.map(({ subject, text }) => [subject, text]))
}

/** Whether an echo from that address of the peer is answered. */
async function answers(source: string): Promise<boolean> {
  const ping = pingOnce('ip', ['netns', 'exec', 'peer', 'ping', '-c', '1', '-W', '1', '-I', source, here])
  return ping.then(() => true, () => false)
}

function attachedTo(ifname: string): string {
  return /prog\/xdp(generic)? id|xdp(generic)? /.exec(run('ip', '-d', 'link', 'show', 'dev', ifname))?.[0] ?? ''
}

const skip = whyNoXdpHost ?? false

t.before(() => {
  if (whyNoXdpHost !== null) return
  run('ip', 'netns', 'add', 'peer')
  run('ip', 'link', 'add', 'wan0', 'type', 'veth', 'peer', 'name', 'far0', 'netns', 'peer')
  run('ip', 'link', 'add', 'dmz.5', 'type', 'veth', 'peer', 'name', 'far5', 'netns', 'peer')
  run('ip', 'addr', 'add', `${here}/24`, 'dev', 'wan0')
  for (const peer of peers) run('ip', '-n', 'peer', 'addr', 'add', `${peer}/24`, 'dev', 'far0')
  for (const ifname of ['wan0', 'dmz.5']) run('ip', 'link', 'set', ifname, 'up')
  for (const ifname of ['far0', 'far5']) run('ip', '-n', 'peer', 'link', 'set', ifname, 'up')
})

t.test('a listed source dies in XDP on a real interface, everybody else does not', { skip }, async (t) => {
  const xdp = create({ events: { every: 1, perSec: 50 } })
  t.teardown(() => xdp.purge())
  const events: DropEvent[] = []
  t.same(await xdp.status(), { name: 'xdp', state: 'off', details: [{ subject: 'xdp', text: 'off: not started' }] })
  t.match(await enforce(xdp, plan()), /generation 0 → 1, 0 prefixes; attached dmz\.5 \(native\), wan0 \(native\)|attached wan0 \(native\), dmz\.5 \(native\)/)
  t.match(await texts(xdp), { wan0: 'native', 'dmz.5': 'native' })
  t.equal((await xdp.status()).state, 'ok')
  t.same(await Promise.all(peers.map(answers)), [true, true, true])

  const stop = xdp.onDrop((event) => events.push(event))
  const blocked = plan({ ...blocking('192.0.2.2', '192.0.2.4/31'), allow: [allowOf(requirePrefix('192.0.2.4'))] }, {
    interfaces: [{ name: 'wan', wildcard: true, zone: 'external' }],
  })
  t.equal(await enforce(xdp, blocked), 'generation 1 → 2, 3 prefixes')
  t.same(await Promise.all(peers.map(answers)), [false, true, true], 'blocked, not listed, never-block')
  t.ok((await xdp.counters()).get('block/bad')!.packets >= 1n)
  await new Promise((resolve) => setTimeout(resolve, 300))
  stop()
  t.match(events[0], { zone: 'external', rule: 'block/bad', source: '192.0.2.2', destination: here, protocol: 1, icmpType: 8, family: 'ipv4' })

  const ifindex = Number(/^(\d+):/.exec(run('ip', '-o', 'link', 'show', 'dev', 'wan0'))![1])
  const frame = (source: string): Uint8Array => buildFrame('ipv4', buildPacket({
    direction: 'in', family: 'ipv4', source: addrOf(source), destination: addrOf(here), protocol: 6, sourcePort: 40000, destinationPort: 80,
  }, { marker: 1 }), { source: '02:00:5e:00:00:01', destination: '02:00:5e:00:00:02' })
  t.same(await xdp.judgeFrame(frame('192.0.2.2'), ifindex), { verdict: 'drop', reason: 'list', rule: 'block/bad' })
  t.same(await xdp.judgeFrame(frame('192.0.2.4'), ifindex), { verdict: 'pass', reason: 'never-block', rule: null })
  t.same(await xdp.judgeFrame(frame('192.0.2.2'), 0), { verdict: 'pass', reason: 'link', rule: null }, 'loopback is never dropped on')

  t.equal(await enforce(xdp, plan()), 'generation 2 → 3, 0 prefixes')
  t.same(await Promise.all(peers.map(answers)), [true, true, true], 'an emptied list opens again')
  t.equal(await enforce(xdp, plan({ panic: true })), 'generation 3 → 4, 0 prefixes')
  t.equal(await answers(peers[1]), false, 'panic')
  await enforce(xdp, plan())
  t.equal(await answers(peers[1]), true)
})

t.test('the program outlives the daemon, and the next one adopts it with its counters', { skip }, async (t) => {
  const first = create()
  await enforce(first, plan(blocking('192.0.2.2')))
  t.equal(await answers('192.0.2.2'), false)
  const counted = (await first.counters()).get('block/bad')!.packets
  first.close()
  t.equal(await answers('192.0.2.2'), false, 'still dropped without a daemon')

  const pinnedBefore = await testLoader().links()
  const second = create()
  t.teardown(() => second.purge())
  await second.prepare(plan(blocking('192.0.2.3')))
  t.same(await Promise.all(peers.map(answers)), [true, true, true], 'between the two lists')
  await second.apply(plan(blocking('192.0.2.3')))
  t.same(await Promise.all(peers.map(answers)), [true, false, true])
  t.ok((await second.counters()).get('block/bad')!.packets > counted, 'the rule counts on')
  t.same(await testLoader().links(), pinnedBefore, 'nothing was attached again')

  const other = join(mkdtempSync(join(tmpdir(), 'derpanet-object-')), 'derpanet.bpf.o')
  t.teardown(() => rmSync(join(other, '..'), { recursive: true }))
  copyFileSync(paths.object, other)
  writeFileSync(other, Buffer.from('\n'), { flag: 'a' })
  second.close()
  const third = create({ object: other })
  await third.prepare(plan(blocking('192.0.2.3')))
  t.equal(await answers('192.0.2.3'), false, 'another build takes over links and maps without a gap')
  await third.apply(plan(blocking('192.0.2.3')))
  const versions = readdirSync(pinDir).filter((name) => /^v\d+-/.test(name))
  t.equal(versions.length, 1, 'the old version is gone')
  t.not((await testLoader(other).links()).map(({ state }) => state).join(), '')
  third.close()
})

t.test('interfaces come, go, change their name and become ports', { skip }, async (t) => {
  const xdp = create()
  t.teardown(() => xdp.purge())
  await enforce(xdp, plan(blocking('192.0.2.2')))
  const libbpf = await loadLibBpf()
  const maps = await openMaps(`${pinDir}/${readdirSync(pinDir).find((name) => /^v\d+-/.test(name))!}`, libbpf)
  t.teardown(() => maps.close())
  const before = maps.links().size

  run('ip', 'link', 'add', 'new0', 'type', 'veth', 'peer', 'name', 'new1')
  for (const ifname of ['new0', 'new1']) run('ip', 'link', 'set', ifname, 'up')
  await xdp.refreshLinks()
  t.match(await texts(xdp), { new0: 'native', new1: 'native' })
  t.equal(maps.links().size, before + 2)

  run('ip', 'link', 'set', 'new0', 'down')
  run('ip', 'link', 'set', 'new0', 'name', 'renamed0')
  run('ip', 'link', 'set', 'renamed0', 'up')
  await xdp.refreshLinks()
  t.match(await texts(xdp), { renamed0: 'native', new1: 'native' })
  t.notMatch(Object.keys(await texts(xdp)), ['new0'])
  t.same((await testLoader().links()).map(({ interface: pin }) => pin).sort(), ['dmz.5', 'new1', 'renamed0', 'wan0'])

  run('ip', 'link', 'add', 'br0', 'type', 'bridge')
  run('ip', 'link', 'set', 'renamed0', 'master', 'br0')
  await xdp.refreshLinks()
  t.equal((await texts(xdp))['renamed0'], undefined, 'bridged frames never meet the ruleset, so XDP must not drop them')
  t.equal(attachedTo('renamed0'), '')
  t.equal(maps.links().size, before + 1)
  run('ip', 'link', 'set', 'br0', 'up')
  await xdp.refreshLinks()
  t.match((await texts(xdp))['br0'], /^off: EOPNOTSUPP: the driver has no native XDP/)
  t.equal((await xdp.status()).state, 'degraded', 'asked for by name, refused')

  run('ip', 'link', 'del', 'new1')
  run('ip', 'link', 'del', 'br0')
  await xdp.refreshLinks()
  t.equal(maps.links().size, before)
  t.same((await testLoader().links()).map(({ interface: pin }) => pin).sort(), ['dmz.5', 'wan0'])
  t.equal(await answers('192.0.2.2'), false, 'the others go on')
})

t.test('modes: native, generic and off, by interface and by option', { skip }, async (t) => {
  const xdp = create()
  t.teardown(() => xdp.purge())
  const modes = (mode: 'native' | 'generic' | 'off', interfaces: Record<string, 'native' | 'off'> = {}): Plan => plan(blocking('192.0.2.2'), { xdp: { mode, interfaces } })
  await enforce(xdp, modes('generic'))
  t.match(await texts(xdp), { wan0: 'generic', 'dmz.5': 'generic' })
  t.match(attachedTo('wan0'), /xdpgeneric/)
  t.equal(await answers('192.0.2.2'), false)
  await enforce(xdp, modes('generic', { wan0: 'native' }))
  t.match(await texts(xdp), { wan0: 'native', 'dmz.5': 'generic' })
  t.equal(await answers('192.0.2.2'), false)
  await enforce(xdp, modes('native', { wan0: 'off' }))
  t.match(await texts(xdp), { wan0: 'off: xdp: off', 'dmz.5': 'native' })
  t.equal(attachedTo('wan0'), '')
  t.equal(await answers('192.0.2.2'), true)
  await enforce(xdp, modes('off'))
  t.equal((await xdp.status()).state, 'off')
  t.same(await testLoader().links(), [])
  await enforce(xdp, modes('native'))
  t.equal((await xdp.status()).state, 'ok')
  xdp.close()

  const off = create({ mode: 'off' })
  await off.prepare(plan())
  t.equal(attachedTo('wan0'), '', 'what an earlier daemon attached is removed before anything changes')
  t.match((await off.apply(plan())).summary, 'off: xdp: off')
})

t.test('auto: not on devices of software, which would lose speed, and says so; by name it is there all the same', { skip }, async (t) => {
  const xdp = create()
  t.teardown(() => xdp.purge())
  await enforce(xdp, plan(blocking('192.0.2.2'), { xdp: { mode: 'native', interfaces: {} } }))
  t.match(attachedTo('wan0'), /xdp/)
  await enforce(xdp, plan(blocking('192.0.2.2'), { xdp: { mode: 'auto', interfaces: { 'dmz.5': 'native' } } }))
  t.match(await texts(xdp), { wan0: /^off: auto: native XDP on a veth slows accepted traffic down/, 'dmz.5': 'native' })
  t.equal(attachedTo('wan0'), '', 'an earlier native one leaves')
  t.equal((await xdp.status()).state, 'ok', 'auto: off is an answer')
  t.equal(xdp.isRetryDue(), false)
  await enforce(xdp, plan(blocking('192.0.2.2'), { xdp: { mode: 'auto', interfaces: {} } }))
  t.equal((await xdp.status()).state, 'off')

  t.match(await testLoader().attach('auto', ['wan0']), [{ state: 'attached', mode: 'native' }], 'the loader looks only at what the driver would lose')
})

t.test('auto chooses by what a device is made of', (t) => {
  const link = (name: string, kind: string, master: string | null = null): Link => ({ name, ifindex: 1, isEthernet: true, isUp: true, isLoopback: false, kind, master, lower: null })
  const card = link('eth0', '')
  const ports = [link('eth1', '', 'bond0'), link('eth2', '', 'bond0')]
  t.equal(whyNotAuto(card, [card]), null, 'a card')
  for (const kind of ['veth', 'tun', 'bridge', 'dummy', 'vxlan', 'wireguard', 'team']) t.match(whyNotAuto(link('x0', kind), []), new RegExp(`^auto: native XDP on a ${kind} slows`))
  t.equal(whyNotAuto(link('bond0', 'bond'), [...ports, card]), null, 'a bond of cards')
  t.match(whyNotAuto(link('bond0', 'bond'), [...ports, link('v0', 'veth', 'bond0')]), /^auto: v0 is a veth, and native XDP/)
  t.end()
})

t.test('what could not be attached is tried again, ever more slowly, and at once when the link comes back', { skip }, async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'derpanet-foreign-'))
  t.teardown(() => rmSync(dir, { recursive: true }))
  writeFileSync(join(dir, 'foreign.c'), '__attribute__((section("xdp"), used)) int foreign(void *ctx) { return 2; }\nchar l[] __attribute__((section("license"), used)) = "GPL";\n')
  run('clang', '-O2', '-target', 'bpf', '-c', join(dir, 'foreign.c'), '-o', join(dir, 'foreign.o'))
  const occupy = (): string => run('ip', 'link', 'set', 'wan0', 'xdpdrv', 'obj', join(dir, 'foreign.o'), 'sec', 'xdp')
  const leave = (): string => run('ip', 'link', 'set', 'wan0', 'xdpdrv', 'off')
  let clock = 0
  const xdp = create({ now: () => clock })
  t.teardown(() => xdp.purge())
  occupy()
  await enforce(xdp, plan(blocking('192.0.2.2')))
  t.match((await texts(xdp))['wan0'], /^off: busy/)
  t.equal(xdp.isRetryDue(), false)
  const waits: number[] = []
  for (let tries = 0; tries < 10; tries++) {
    const begun = clock
    while (!xdp.isRetryDue()) clock += 500
    waits.push((clock - begun) / 1000)
    await xdp.retry()
    t.match((await texts(xdp))['wan0'], /^off: busy/)
  }
  t.same(waits, [2, 4, 8, 16, 32, 64, 128, 256, 300, 300], 'seconds')
  leave()
  await xdp.refreshLinks()
  t.match((await texts(xdp))['wan0'], /^off: busy/, 'events of other links do not bring the next try forward')
  clock += 300_000
  await xdp.retry()
  t.equal((await texts(xdp))['wan0'], 'native')
  t.equal(await answers('192.0.2.2'), false, 'and it drops')
  t.equal(xdp.isRetryDue(), false)

  // somebody takes ours off and puts another there: drift finds it, and it comes back when the other is gone
  rmSync(join(pinDir, 'links', 'wan0'))
  occupy()
  t.match((await xdp.drift()).lines, ['XDP: our program is gone from wan0'])
  await enforce(xdp, plan(blocking('192.0.2.2')))
  t.match((await texts(xdp))['wan0'], /^off: busy/)
  leave()
  run('ip', 'link', 'set', 'wan0', 'down')
  await xdp.refreshLinks()
  run('ip', 'link', 'set', 'wan0', 'up')
  await xdp.refreshLinks()
  t.equal((await texts(xdp))['wan0'], 'native', 'the link came back: no waiting')
})

t.test('a program that could not be loaded is tried again, ever more slowly', { skip }, async (t) => {
  const object = join(mkdtempSync(join(tmpdir(), 'derpanet-late-')), 'derpanet.bpf.o')
  t.teardown(() => rmSync(join(object, '..'), { recursive: true }))
  writeFileSync(object, 'no object')
  let clock = 0
  const xdp = create({ object, now: () => clock })
  t.teardown(() => xdp.purge())
  await enforce(xdp, plan(blocking('192.0.2.2')))
  t.match((await texts(xdp))['xdp'], /the kernel refused it/)
  clock = 9999
  t.equal(xdp.isRetryDue(), false)
  clock = 10_000
  await xdp.retry()
  t.match((await texts(xdp))['xdp'], /the kernel refused it/)
  copyFileSync(paths.object, object)
  clock = 29_999
  t.equal(xdp.isRetryDue(), false, 'twice as long')
  clock = 30_000
  await xdp.retry()
  t.equal((await texts(xdp))['wan0'], 'native')
  t.equal(await answers('192.0.2.2'), false, 'it drops')

  const off = create({ mode: 'off', now: () => clock })
  await enforce(off, plan())
  clock += 1e9
  t.equal(off.isRetryDue(), false, 'who wants it off is not asked')
})

t.test('modes are changed many times over, and each time it is what was asked for', { skip, timeout: 120_000 }, async (t) => {
  const xdp = create()
  t.teardown(() => xdp.purge())
  const modes = ['native', 'generic', 'off', 'generic', 'native', 'off'] as const
  for (let turn = 0; turn < 60; turn++) {
    const mode = modes[turn % modes.length]!
    await enforce(xdp, plan(blocking('192.0.2.2'), { xdp: { mode, interfaces: {} } }))
    const found = (await texts(xdp))['wan0']
    if (found !== (mode === 'off' ? 'off: xdp: off' : mode)) return t.fail(`turn ${turn}: ${mode} was asked for, it is ${found}`)
  }
  t.pass('60 turns')
})

t.test('a foreign program is never evicted', { skip }, async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'derpanet-foreign-'))
  t.teardown(() => rmSync(dir, { recursive: true }))
  writeFileSync(join(dir, 'foreign.c'), '__attribute__((section("xdp"), used)) int foreign(void *ctx) { return 2; }\nchar l[] __attribute__((section("license"), used)) = "GPL";\n')
  run('clang', '-O2', '-target', 'bpf', '-c', join(dir, 'foreign.c'), '-o', join(dir, 'foreign.o'))
  run('ip', 'link', 'set', 'dmz.5', 'xdpdrv', 'obj', join(dir, 'foreign.o'), 'sec', 'xdp')
  t.teardown(() => run('ip', 'link', 'set', 'dmz.5', 'xdpdrv', 'off'))
  const id = /id (\d+)/.exec(run('ip', '-d', 'link', 'show', 'dmz.5'))![1]!
  const xdp = create()
  t.teardown(() => xdp.purge())
  await enforce(xdp, plan({}, { xdp: { mode: 'auto', interfaces: { 'dmz.5': 'generic' } } }))
  t.equal((await texts(xdp))['dmz.5'], `off: busy: prog id ${id} by foreign (native)`)
  t.equal((await xdp.status()).state, 'degraded', 'asked for by name, refused')
  await xdp.refreshLinks()
  await enforce(xdp, plan())
  t.match(run('ip', '-d', 'link', 'show', 'dmz.5'), `id ${id} `, 'still there')
  await xdp.purge()
  t.match(run('ip', '-d', 'link', 'show', 'dmz.5'), `id ${id} `, 'and after purge')
  t.equal(attachedTo('wan0'), '')
})

t.test('whatever is missing, XDP is off with its reason and the change succeeds', { skip }, async (t) => {
  const broken = join(mkdtempSync(join(tmpdir(), 'derpanet-broken-')), 'derpanet.bpf.o')
  t.teardown(() => rmSync(join(broken, '..'), { recursive: true }))
  writeFileSync(broken, 'no object')
  const rows: readonly (readonly [string, Partial<XdpOptions>, RegExp])[] = [
    ['no loader', { loader: '/nonexistent/derpanet-load' }, /the loader \/nonexistent\/derpanet-load is missing/],
    ['no object', { object: '/nonexistent/derpanet.bpf.o' }, /No such file or directory/],
    ['an object that the kernel refuses', { object: broken }, /the kernel refused it/],
    ['no place for pins', { pinDir: '/proc/derpanet' }, /\/proc\/derpanet: No such file or directory/],
    ['pins on another file system', { pinDir: join(tmpdir()) }, /not on a BPF file system/],
    ['a relative path', { pinDir: 'bpf' }, /must be an absolute path/],
  ]
  for (const [what, options, reason] of rows) {
    const xdp = create(options)
    await xdp.prepare(plan())
    t.match((await xdp.apply(plan(blocking('192.0.2.2')))).summary, reason, what)
    t.equal((await xdp.status()).state, 'off')
    t.same([...(await xdp.counters())], [])
    await xdp.refreshLinks()
    await t.rejects(xdp.judgeFrame(new Uint8Array(60), 0), /XDP is off/)
  }
  const before = create()
  await enforce(before, plan(blocking('192.0.2.2')))
  before.close()
  const after = create({ object: broken })
  await enforce(after, plan())
  t.equal(await answers('192.0.2.2'), true, 'a program that cannot be steered any more is removed')
})

t.test('derpanet-load refuses what it must, and says so', { skip }, async (t) => {
  const load = (...args: readonly string[]): { readonly status: number | null; readonly stdout: string } => spawnSync(paths.loader, args, { encoding: 'utf8' })
  t.equal(load('--help').status, 0)
  for (const args of [[], ['load'], ['load', '--pin'], ['attach', '--pin', pinDir, 'wan0'], ['frobnicate', '--pin', pinDir], ['load', '--pin', pinDir, '--what']]) {
    t.equal(load(...args).status, 2, `usage: ${args.join(' ')}`)
  }
  const link = join(mkdtempSync(join(tmpdir(), 'derpanet-link-')), 'bpf')
  t.teardown(() => rmSync(join(link, '..'), { recursive: true }))
  run('ln', '-s', pinDir, link)
  t.match(load('status', '--pin', link), { status: 3, stdout: /symbolic link/ })
  t.match(load('attach', '--pin', pinDir, '--mode', 'native', 'wan0'), { status: 3, stdout: /no program is loaded/ })
  t.match(load('status', '--pin', pinDir), { status: 0, stdout: '{"version":null}\n' })
  await testLoader().load()
  t.match(await testLoader().attach('native', ['nope', '../wan0', 'a b']), [
    { state: 'refused', reason: 'no such interface' }, { state: 'refused', reason: 'not an interface name' }, { state: 'refused', reason: 'not an interface name' },
  ])
  run('chmod', '777', pinDir)
  t.match(load('status', '--pin', pinDir), { status: 3, stdout: /writable by others/ })
  run('chmod', '700', pinDir)
  t.match(await testLoader().detach(['wan0']), [{ state: 'detached' }], 'detaching what is not attached is fine')
  await testLoader().unload()
  t.same(readdirSync(pinDir).filter((name) => /^v|links/.test(name)), [])
})

const enoughFlips = 4

t.test('while configurations flip under full traffic, a source denied in both never passes', { skip, timeout: 60_000 }, async (t) => {
  const xdp = create({ mode: 'auto' })
  t.teardown(() => xdp.purge())
  await enforce(xdp, plan(blocking('198.51.100.1', '198.51.100.9')))
  const dir = `${pinDir}/${readdirSync(pinDir).find((name) => /^v\d+-/.test(name))!}`
  const libbpf = await loadLibBpf()
  const maps = await openMaps(dir, libbpf)
  t.teardown(() => maps.close())
  maps.setLink(1, { flags: layout.LINK_ENFORCE, zone: 1 })
  const flood = async (source: string, repeat: number): Promise<{ readonly drops: bigint; readonly passes: bigint; readonly flips: number; readonly sent: bigint }> => {
    const file = join(tmpdir(), `derpanet-flood-${process.pid}`)
    writeFileSync(file, buildFrame('ipv4', buildPacket({
      direction: 'in', family: 'ipv4', source: addrOf(source), destination: addrOf(here), protocol: 17, sourcePort: 1, destinationPort: 9,
    }, { marker: 1 }), { source: '02:00:5e:00:00:01', destination: '02:00:5e:00:00:02' }))
    const sum = (slots: readonly number[]): bigint => slots.reduce((total, slot) => total + maps.readCounter(slot).packets, 0n)
    const rules = Array.from({ length: 8 }, (_, index) => layout.SLOT_FIRST_RULE + index)
    const [dropped, passed] = [sum(rules), sum([layout.REASON_NO_MATCH, layout.REASON_DEFER])]
    let flips = 0
    let sent = 0n
    let running = false
    // again, on a machine that has no time for flips meanwhile
    const run = async (): Promise<void> => {
      const child = spawn('bpftool', ['prog', 'run', 'pinned', `${dir}/prog`, 'data_in', file, 'repeat', String(repeat)], { stdio: 'ignore' })
      running = true
      t.equal((await once(child, 'exit'))[0], 0, 'bpftool ran')
      sent += BigInt(repeat)
      if (flips <= enoughFlips && sent < BigInt(repeat) * 20n) await run()
      running = false
    }
    const ended = run()
    for (; running; flips++) {
      // three of them, so that a half is written anew at every flip
      const sources = [['198.51.100.1', '198.51.100.9'], ['198.51.100.0/29'], ['198.51.0.0/16', '203.0.113.7']][flips % 3]!
      await enforce(xdp, plan({ deny: [{ list: packList('flip', sources.map(requirePrefix)), rule: `block/${flips % 3}` }] }))
      await nextTurn()
    }
    await ended
    rmSync(file)
    return { drops: sum(rules) - dropped, passes: sum([layout.REASON_NO_MATCH, layout.REASON_DEFER]) - passed, flips, sent }
  }
  const both = await flood('198.51.100.1', 3_000_000)
  t.comment(both)
  t.equal(both.passes, 0n, 'denied in both: not one packet of millions')
  t.equal(both.drops, both.sent)
  t.ok(both.flips > enoughFlips, `${both.flips} flips`)
  const one = await flood('198.51.100.9', 2_000_000)
  t.comment(one)
  t.ok(one.passes > 0n && one.drops > 0n, 'denied in one: sometimes so, sometimes so')
  t.equal(one.passes + one.drops, one.sent, 'and counted exactly once each')
})

t.test('which links may carry the program is a matter of what the ruleset sees', async (t: Test) => {
  const link = (name: string, rest: Partial<Link> = {}): Link => (
    { name, ifindex: 9, isEthernet: true, isUp: true, isLoopback: false, kind: '', master: null, lower: null, ...rest })
  const eth = link('eth0')
  const rows: readonly (readonly [string, Link, readonly Link[], string | null])[] = [
    ['hardware', eth, [], null],
    ['a veth', link('veth1', { kind: 'veth' }), [], null],
    ['loopback', link('lo', { isLoopback: true, isEthernet: false }), [], 'loopback'],
    ['WireGuard', link('wg0', { kind: 'wireguard', isEthernet: false }), [], 'no Ethernet device'],
    ['a bridge port', link('veth2', { master: 'docker0' }), [], 'port of docker0'],
    ['a VLAN device', link('eth0.10', { kind: 'vlan', lower: 'eth0' }), [eth], 'judged on eth0'],
    ['a device with a VLAN on top', eth, [link('eth0.10', { kind: 'vlan', lower: 'eth0' })], null],
    ['a device with a macvlan on top', eth, [link('mac0', { kind: 'macvlan', lower: 'eth0' })], 'carries mac0 (macvlan)'],
    ['a link that is down', link('eth1', { isUp: false }), [], 'down'],
  ]
  for (const [what, one, others, expected] of rows) t.equal(whyNot(one, [one, ...others]), expected, `${what}: ${expected ?? 'yes'}`)

  const bound = plan({}, { interfaces: [{ name: 'eth', wildcard: true, zone: 'wild' }, { name: 'eth1', wildcard: false, zone: 'exact' }] })
  t.same(['eth0', 'eth1', 'wlan0'].map((ifname) => zoneOf(bound, ifname)), ['wild', 'exact', 'public'])
  const ids = new ZoneIds()
  t.same([ids.idOf('a'), ids.idOf('b'), ids.idOf('a'), ids.nameOf(2), ids.nameOf(7)], [1, 2, 1, 'b', null])
})
