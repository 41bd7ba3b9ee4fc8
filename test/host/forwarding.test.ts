// Forwarding is switched on where a configuration sends packets on to other hosts, and only there.
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { compile } from '../../src/compile/compile.ts'
import { createExec } from '../../src/kernel/exec.ts'
import { createNetfilter } from '../../src/kernel/netfilter/netfilter.ts'
import type { Family } from '../../src/model/addr.ts'
import { firewallOf, type ConfigurationWords } from '../support/configuration.ts'
import { openSocketIn } from '../support/netlink.ts'
import { createPrivateHost, runCommand, whyNoPrivateHost } from '../support/private-host.ts'

const module = fileURLToPath(new URL('../../src/host/forwarding.ts', import.meta.url))
const switches = '/proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv6/conf/all/forwarding'

t.test('the switches of this network namespace are turned on once, and what is on stays', { skip: whyNoPrivateHost() ?? false }, async (t) => {
  // a namespace of its own for the whole run: what is written here must not be this machine's
  const script = `const { enableForwarding } = await import(${JSON.stringify(module)}); const said = []
    for (const families of [[], ['ipv4'], ['ipv4', 'ipv6'], ['ipv4', 'ipv6']]) said.push(await enableForwarding(families)); console.log(JSON.stringify(said))`
  const { status, stdout, stderr } = await runCommand(['unshare', '-n', 'bash', '-c', `for file in ${switches}; do echo 0 >$file; done; "$0" --import=tsx --input-type=module -e "$1"; cat ${switches}`,
    process.execPath, script], { cwd: fileURLToPath(new URL('../..', import.meta.url)) })
  t.equal(status, 0, stderr)
  const [said = '', ...now] = stdout.trim().split('\n')
  t.same(JSON.parse(said), [[], ['ipv4'], ['ipv6'], []])
  t.same(now, ['1', '1'])
})

t.test('masquerade and a forward-port to another host turn forwarding on, a redirect does not', { skip: whyNoPrivateHost() ?? false }, async (t) => {
  const host = await createPrivateHost({ name: 'forwarding', bus: false })
  t.teardown(() => host.stop())
  let asked: readonly Family[] = []
  let refuses = false
  const netfilter = createNetfilter({
    exec: createExec({ wrap: host.firewall.prefix }), openSocket: () => openSocketIn(host.firewall.namespace), stateDir: t.testdir(), variant: 'nft', log: () => undefined,
    enableForwarding: async (families) => {
      if (refuses) throw new Error('switch on ipv4 forwarding: EROFS')
      asked = families
      return families
    },
  })
  const askedBy = async (words: ConfigurationWords): Promise<readonly Family[]> => {
    asked = []
    await netfilter.apply(compile(firewallOf(words)))
    return asked
  }
  const forward = (toAddr: string): ConfigurationWords => ({ zones: { public: { forwardPorts: [{ port: '80', protocol: 'tcp', toPort: '81', toAddr }] } } })
  t.same(await askedBy({ zones: { public: {} } }), [])
  t.same(await askedBy(forward('')), [])
  t.same(await askedBy(forward('198.51.100.2')), ['ipv4'])
  t.same(await askedBy(forward('2001:db8:2::2')), ['ipv6'])
  t.same(await askedBy({ zones: { public: { masquerade: true } } }), ['ipv4'])
  t.same(await askedBy({ zones: { public: { richRules: ['rule masquerade'] } } }), ['ipv4', 'ipv6'])
  refuses = true
  await t.rejects(askedBy({ zones: { public: { masquerade: true, ports: ['9/tcp'] } } }), /switch on ipv4 forwarding: EROFS/, 'what cannot be enforced is said')
})
