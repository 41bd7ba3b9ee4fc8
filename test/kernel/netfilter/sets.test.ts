// Sets by netlink: what the kernel then holds is what the tool ipset would have made of the same words.
import t from 'tap'
import { formatSet } from '../../../src/compile/netfilter/ipset.ts'
import { elementSet, prefixSet, portSet, listSet } from '../../../src/compile/sets.ts'
import type { PlanSet } from '../../../src/compile/plan.ts'
import { createExec, execOk } from '../../../src/kernel/exec.ts'
import { KernelSets } from '../../../src/kernel/netfilter/kernel-sets.ts'
import { Nfnetlink } from '../../../src/kernel/netfilter/nfnetlink.ts'
import { parsePrefix } from '../../../src/model/addr.ts'
import { openSocketIn } from '../../support/netlink.ts'
import { whyNoPrivateHost } from '../../support/private-host.ts'
import { packList } from '../../support/random-settings.ts'

const prefixes = (...texts: readonly string[]): ReturnType<typeof parse>[] => texts.map(parse)
const all = (): string => 'somebody'
const parse = (text: string) => parsePrefix(text)!

function user(type: string, family: 'ipv4' | 'ipv6' | null, entries: readonly string[], options: Readonly<Record<string, string>> = {}): PlanSet {
  return { role: `ipset:${type}`, kind: 'user', family, digest: '', elements: { kind: 'text', entries }, user: { name: 'x', type, options } }
}

const sets: readonly PlanSet[] = [
  prefixSet('x', 'ipv4', prefixes('192.0.2.0/24', '198.51.100.7', '10.0.0.0/8')),
  prefixSet('x', 'ipv4', prefixes('0.0.0.0/0')),
  prefixSet('x', 'ipv6', prefixes('2001:db8::/32', 'fe80::1', '::/0')),
  portSet('x', [{ first: 22, last: 22, rule: 'a' }, { first: 6000, last: 6010, rule: 'b' }, { first: 65535, last: 65535, rule: 'c' }, { first: 0, last: 0, rule: 'd' }]),
  listSet(packList('x', prefixes('0.0.0.0/0', '192.0.2.0/25', '203.0.113.9', '::/0', '2001:db8:1::/48', '2001:db8::1')), 'ipv4'),
  listSet(packList('x', prefixes('0.0.0.0/0', '192.0.2.0/25', '203.0.113.9', '::/0', '2001:db8:1::/48', '2001:db8::1')), 'ipv6'),
  elementSet('x', 'prefix', 'ipv4', new Map([['192.0.2.0/24', 'a'], ['192.0.2.1', 'b']])),
  elementSet('x', 'prefix-port', 'ipv4', new Map([['192.0.2.0/24,tcp:80', 'a'], ['192.0.2.1,udp:53', 'b'], ['192.0.2.1,sctp:5', 'b']])),
  elementSet('x', 'prefix', 'ipv6', new Map([['2001:db8::/32', 'a'], ['::1', 'b']])),
  elementSet('x', 'prefix-port', 'ipv6', new Map([['2001:db8::/32,tcp:80', 'a'], ['::1,udp:53', 'b']])),
  user('hash:ip', 'ipv4', ['192.0.2.1', '192.0.2.8/29', '198.51.100.1-198.51.100.5'], { maxelem: '1000', timeout: '600' }),
  user('hash:ip', 'ipv6', ['2001:db8::1', '::1']),
  user('hash:net', 'ipv4', ['192.0.2.0/24', '198.51.100.1', '203.0.113.0-203.0.113.63'], { hashsize: '64' }),
  user('hash:net', 'ipv6', ['2001:db8::/33']),
  user('hash:ip,port', 'ipv4', ['192.0.2.1,tcp:80', '192.0.2.1,udp:53-55', '192.0.2.2,icmp:8/0', '192.0.2.3,gre:0', '192.0.2.4,443']),
  user('hash:ip,port', 'ipv6', ['2001:db8::1,sctp:80', '2001:db8::2,udp:53']),
  user('hash:ip,port,ip', 'ipv4', ['192.0.2.1,tcp:80,198.51.100.1']),
  user('hash:ip,port,net', 'ipv6', ['2001:db8::1,tcp:80,2001:db8:1::/48']),
  user('hash:ip,mark', 'ipv4', ['192.0.2.1,0x63', '192.0.2.1,7'], { markmask: '0xff' }),
  user('hash:net,net', 'ipv4', ['192.0.2.0/24,198.51.100.0/25']),
  user('hash:net,port', 'ipv4', ['192.0.2.0/24,udp:53', '198.51.100.1,tcp:1-3']),
  user('hash:net,port,net', 'ipv6', ['2001:db8::/32,tcp:80,2001:db8:1::/48']),
  user('hash:net,iface', 'ipv4', ['192.0.2.0/24,eth0', '192.0.2.0/24,physdev:eth1']),
  user('hash:mac', null, ['02:00:5e:10:00:01', '02:00:5E:10:00:AB']),
]

t.test('sets by netlink', { skip: whyNoPrivateHost() ?? false }, async (t) => {
  const namespace = `dp-sets-${process.pid}`
  const outer = createExec()
  await execOk(outer, { command: 'ip', args: ['netns', 'add', namespace] })
  t.teardown(async () => void (await outer({ command: 'ip', args: ['netns', 'del', namespace] })))
  const exec = createExec({ wrap: ['nsenter', `--net=/run/netns/${namespace}`] })
  const ipset = async (...args: readonly string[]): Promise<string> => (await execOk(exec, { command: 'ipset', args })).stdout
  const netlink = new Nfnetlink(() => openSocketIn(namespace))
  t.teardown(() => netlink.close())
  const kernel = new KernelSets(netlink)
  const lines = async (name: string): Promise<string[]> => (await ipset('save', name)).split('\n').sort()
    // the tool's and the kernel's random numbers
    .map((line) => line.replaceAll(name, 'N').replace(/ (initval|bucketsize) \S+/g, '').replace(/timeout 59\d/, 'timeout 600'))

  t.test('hold what the tool would have put into them', async (t) => {
    for (const [index, set] of sets.entries()) {
      const what = `${set.user?.type ?? set.kind} ${set.family ?? ''}`
      const text = [...formatSet(`tool-${index}`, set)].map((chunk) => Buffer.from(chunk).toString()).join('')
      const made = await exec({ command: 'ipset', args: ['restore'], input: text })
      if (made.exitCode !== 0 && /type not supported|family not supported/.test(made.stderr)) {
        await t.rejects(kernel.load(`wire-${index}`, set), { message: /the kernel has no sets of this type/ }, `${what}: this kernel has none`)
        continue
      }
      t.equal(made.exitCode, 0, `${what}: ${made.stderr}`)
      await kernel.load(`wire-${index}`, set)
      t.same(await lines(`wire-${index}`), await lines(`tool-${index}`), what)
      const entries = set.elements.kind === 'text' ? set.elements.entries : []
      if (entries.length === 0) continue
      await kernel.edit([{ name: `wire-${index}`, set, command: 'del', entries }])
      t.match(await ipset('list', '-t', `wire-${index}`), /Number of entries: 0\n/, `${what}: emptied again`)
      await kernel.edit([{ name: `wire-${index}`, set, command: 'del', entries }, { name: `wire-${index}`, set, command: 'add', entries }, { name: `wire-${index}`, set, command: 'add', entries }])
      t.same(await lines(`wire-${index}`), await lines(`tool-${index}`), `${what}: what is there, or gone, is no failure`)
    }
  })

  t.test('are listed with what counts', async (t) => {
    const seen = new Map((await kernel.list()).map((set) => [set.name, set]))
    t.same(seen.get('wire-0'), { name: 'wire-0', entries: 3, maxElements: 65536 })
    t.same(seen.get('wire-3'), { name: 'wire-3', entries: 14, maxElements: null })
    t.equal(seen.size, (await ipset('list', '-n')).trim().split('\n').length)
  })

  t.test('keep their counters until an element is added anew', async (t) => {
    await ipset('add', 'wire-3', '80', 'packets', '7', 'bytes', '1844674407370955161')
    t.same((await kernel.counts('wire-3', all)).get('80'), { packets: 7n, bytes: 1844674407370955161n })
    await kernel.edit([{ name: 'wire-3', set: sets[3]!, command: 'add', entries: ['80'] }])
    t.equal((await kernel.counts('wire-3', all)).get('80')?.packets, 7n)
    await kernel.edit([{ name: 'wire-3', set: sets[3]!, command: 'add', entries: ['79-81'], reset: true }])
    t.same((await kernel.counts('wire-3', all)).get('80'), { packets: 0n, bytes: 0n })
    t.equal((await kernel.counts('none', all)).size, 0)
    for (const [index, set] of sets.entries()) {
      if (set.owners === undefined) continue
      t.same([...(await kernel.counts(`wire-${index}`, all)).keys()].sort(), [...set.owners.keys()].sort(), 'elements are read as they were written')
    }
  })

  t.test('say what they refuse', async (t) => {
    const full = user('hash:ip', 'ipv4', Array.from({ length: 10 }, (_, index) => `192.0.2.${index + 1}`), { maxelem: '10', hashsize: '64' })
    await kernel.load('full', full)
    await t.rejects(kernel.edit([{ name: 'full', set: full, command: 'add', entries: ['192.0.2.1', '198.51.100.1', '198.51.100.2'] }]),
      { message: /^add to full: the set is full.*: 198\.51\.100\.[12]$/ }, 'with the element')
    await t.rejects(kernel.edit([{ name: 'nowhere', set: full, command: 'add', entries: ['192.0.2.1'] }]), { message: 'add to nowhere: the set does not exist' })
    await t.rejects(kernel.load('full', full), { message: 'create full: the set exists already' })
    await execOk(exec, { command: 'iptables-nft', args: ['-A', 'INPUT', '-m', 'set', '--match-set', 'full', 'src'] })
    t.same(await kernel.destroy(['full', 'nowhere', 'wire-0']), ['full'], 'in use')
    t.equal((await kernel.list()).some(({ name }) => name === 'wire-0'), false)
  })

  t.test('of a million prefixes stand in about a second, and others have their turn meanwhile', async (t) => {
    const count = 1_000_000
    const list = { name: 'x', file: '', digest: '', addrs4: Uint32Array.from({ length: count }, (_, index) => 0x0b00_0000 + index * 3), lengths4: new Uint8Array(count).fill(32), addrs6: new Uint32Array(), lengths6: new Uint8Array() }
    let turns = 0
    const timer = setInterval(() => { turns++ }, 1)
    const started = performance.now()
    await kernel.load('million', listSet(list, 'ipv4'))
    clearInterval(timer)
    t.comment(`${(performance.now() - started).toFixed(0)} ms, ${turns} turns of others`)
    t.match(await ipset('list', '-t', 'million'), /Number of entries: 1000000\n/)
    t.ok(turns > 20)
  })

  t.test('a socket that fails is replaced', async (t) => {
    const before = (await kernel.list()).length
    netlink.close()
    t.equal((await kernel.list()).length, before)
  })
})
