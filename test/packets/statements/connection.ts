// What is decided before the zones.
import { addresses } from '../../support/private-host.ts'
import type { Case } from './words.ts'

const { outside, inside } = addresses
const dropAll = { public: { target: 'DROP', interfaces: ['ext0', 'int0'] } } as const
const takeAll = { public: { target: 'ACCEPT', interfaces: ['ext0', 'int0'] } } as const
const invalid = { flags: ['rst', 'syn-ack', 'fin-ack'] } as const

export const connectionCases: readonly Case[] = [
  {
    of: 'state.established', when: 'every zone drops', with: { zones: dropAll },
    then: {
      'host > outside tcp 443': 'open', 'host > outside udp 443': 'open', 'host > outside ping': 'open',
      'host > inside tcp 443': 'open', 'host > inside udp 443': 'open', 'host > inside ping': 'open',
    },
    crafted: [
      { from: 'host', to: 'outside', kind: 'udp', port: 1000, fate: 'accept', then: { reply: 'accept', error: 'accept' } },
      { from: 'host', to: 'inside', kind: 'icmp', fate: 'accept', then: { reply: 'accept' } },
    ],
  },
  {
    of: 'state.established', when: 'one zone drops, the other forwards to it',
    with: { zones: { drop: { target: 'DROP', interfaces: ['ext0'] }, trusted: { target: 'ACCEPT', interfaces: ['int0'] } } },
    then: { 'inside > outside tcp 443': 'open', 'inside > outside udp 443': 'open', 'inside > outside ping': 'open', 'inside tcp 443': 'drop', 'inside ping': 'drop' },
    crafted: [{ from: 'inside', to: 'outside', kind: 'udp', port: 1000, fate: 'accept', then: { reply: 'accept', error: 'accept' } }],
  },
  {
    of: 'state.invalid', when: 'every zone accepts', with: { zones: takeAll },
    crafted: [
      ...invalid.flags.flatMap((flags) => [
        { from: 'outside', to: 'host', kind: 'tcp', port: 22, flags, fate: 'drop' }, { from: 'outside', to: 'inside', kind: 'tcp', port: 22, flags, fate: 'drop' },
      ] as const),
      { from: 'outside', to: 'host', kind: 'icmp', number: [0, 129], fate: 'drop' },
      { from: 'outside', to: 'inside', kind: 'icmp', number: [0, 129], fate: 'drop' },
      { from: 'outside', to: 'host', kind: 'tcp', port: 22, fate: 'accept' },
      { from: 'outside', to: 'inside', kind: 'tcp', port: 22, fate: 'accept' },
    ],
  },
  {
    of: 'state.untracked', when: 'somebody exempts ports from connection tracking',
    with: { zones: { public: { ports: ['22/tcp', '53/udp'], interfaces: ['ext0'] } } },
    beside: ['tcp', 'udp'].flatMap((protocol) => [['-t', 'raw', '-A', 'PREROUTING', '-p', protocol, '-m', 'multiport', '--dports', '22,23,53,54', '-j', 'CT', '--notrack']]),
    then: { 'tcp 22': 'open', 'udp 53': 'open', 'tcp 23': 'prohibited', 'udp 54': 'prohibited' },
  },
  {
    of: 'state.loopback', when: 'a zone on lo drops', with: { zones: { drop: { target: 'DROP', interfaces: ['lo', 'ext0', 'int0'] } } },
    then: { 'host > itself tcp 22': 'open', 'host > itself udp 53': 'open', 'host > itself ping': 'open', 'host > tcp 22': 'open', 'tcp 22': 'drop' },
  },
  {
    of: 'state.loopback', when: 'a zone of the host\'s own addresses drops', with: { zones: { drop: { target: 'DROP', sources: ['127.0.0.0/8', '::1', '192.0.2.1', '2001:db8:1::1'] } } },
    then: { 'host > itself tcp 22': 'open', 'host > itself udp 53': 'open', 'host > itself ping': 'open', 'host > tcp 22': 'open' },
  },
  {
    of: 'panic', when: 'panic, and everything open', with: { zones: takeAll, panic: true },
    then: {
      'tcp 22': 'drop', 'udp 53': 'drop', 'ping': 'drop', 'inside tcp 80': 'drop', 'inside udp 80': 'drop', 'inside ping': 'drop', 'inside > outside tcp 443': 'drop',
      'host > outside tcp 443': 'denied here', 'host > outside udp 443': 'denied here', 'host > outside ping': 'denied here',
      'host > itself tcp 22': 'denied here', 'host > itself udp 53': 'denied here', 'host > itself ping': 'denied here',
    },
  },
  {
    of: 'panic', when: 'connections that are open when panic begins', with: { zones: takeAll, panic: true },
    around: async (one) => {
      await one.apply({ zones: takeAll })
      const within = await one.host.inside.agent()
      const ends = [
        { agent: one.outside, host: addresses.firewall.ext4, port: 22 }, { agent: one.outside, host: addresses.firewall.ext6, port: 22 },
        { agent: one.outside, host: inside.v4, port: 80 }, { agent: one.outside, host: inside.v6, port: 80 }, { agent: within, host: outside.v4, port: 443 },
      ]
      const held = await Promise.all(ends.map(async ({ agent, host, port }) => ({ agent, handle: await agent.hold(host, port) })))
      return async (fail) => {
        const said = await Promise.all(held.map(({ agent, handle }) => agent.say(handle, 'hello', 250)))
        if (said.some((text) => text !== 'silent')) fail(`they are silent, not ${said.join(', ')}`)
        await one.apply({ zones: takeAll })
        const again = await Promise.all(held.map(({ agent, handle }) => agent.say(handle, 'again', 5000)))
        if (again.some((text) => !/^(hello|again)$/.test(text))) fail(`they live on when it ends: ${again.join(', ')}`)
        await Promise.all(held.map(({ agent, handle }) => agent.release(handle)))
      }
    },
  },
]
