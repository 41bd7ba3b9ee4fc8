// The host of demo and playground: a private host with servers on all sides, the demo's configuration with a list of
// 100,000 lines, a Docker and libvirt desktop's rules already there, and the real derpanetd.
import { readFile, writeFile, mkdir, cp } from 'node:fs/promises'
import { join } from 'node:path'
import { installConfiguration } from '../support/daemon.ts'
import { createPrivateHost, repository, type PrivateHost } from '../support/private-host.ts'
import { createRandom } from '../support/random.ts'

export const listLines = 100_000
/** A prefix of the list with a never-block address inside. */
export const blockedNeighbourhood = '203.0.113.64/26'

/** 100,000 lines: 98,000 addresses, prefixes, and some IPv6; deterministic. Addresses of benchmarking and documentation nets and 10/8. */
export function blockListLines(): string[] {
  const random = createRandom(20_25)
  const lines = new Set<string>([blockedNeighbourhood, '2001:db8:dead::/48'])
  while (lines.size < 98_000) lines.add(`10.${random.between(0, 255)}.${random.between(0, 255)}.${random.between(1, 254)}`)
  while (lines.size < 99_000) lines.add(`198.18.${random.between(0, 255)}.${random.between(0, 15) * 16}/28`)
  while (lines.size < listLines) lines.add(`2001:db8:${random.between(0x1000, 0x8fff).toString(16)}:${random.between(1, 0xffff).toString(16)}::/64`)
  return [...lines]
}

export interface DemoHost {
  readonly host: PrivateHost
  readonly list: readonly string[]
}

export async function createDemoHost(name: string): Promise<DemoHost> {
  const host = await createPrivateHost({ name, boundSec: 24 * 3600 })
  await (await host.firewall.agent()).serve(['tcp:22', 'tcp:25', 'tcp:80', 'tcp:8080', 'tcp:9000', 'udp:53'])
  await (await host.outside.agent()).serve(['tcp:80', 'udp:53'])
  await (await host.inside.agent()).serve(['tcp:80'])
  await installConfiguration(host)
  await cp(join(repository, 'test/demo/etc'), host.path('/etc/derpanet'), { recursive: true })
  const list = blockListLines()
  await mkdir(host.path('/etc/derpanet/lists'), { recursive: true })
  await writeFile(host.path('/etc/derpanet/lists/bad.list'), `# addresses that nobody wants to hear from\n${list.join('\n')}\n`)
  return { host, list }
}

const fixture = join(repository, 'test/netns/fixtures/docker-libvirt-desktop.restore')

/** Loads a Docker and libvirt desktop's rules into the host's iptables, as found on a real machine. */
export async function loadForeignRules(host: PrivateHost): Promise<void> {
  await host.firewall.ok(['iptables-restore'], { input: await readFile(fixture, 'utf8') })
}

/**
 * Every rule and set that is not ours, as text, without counters. A table that holds nothing but empty built-in chains counts as
 * absent: with the nft variant it comes into being by being looked at.
 */
export async function foreignRules(host: PrivateHost): Promise<string> {
  const saved: string[] = []
  for (const tool of ['iptables-save', 'ip6tables-save', 'ebtables-save']) {
    for (const table of (await host.firewall.ok([tool])).split(/^(?=\*)/m)) {
      const lines = table.split('\n').filter((line) => line !== '' && !line.startsWith('#') && !/DERPA_|derpa-/.test(line))
        .map((line) => line.replace(/\[\d+:\d+\]/, ''))
      if (lines.some((line) => line.startsWith('-A') || /^:\S+ (-|DROP)/.test(line))) saved.push(`${tool}\n${lines.join('\n')}`)
    }
  }
  const sets = (await host.firewall.ok(['ipset', 'save'])).split('\n').filter((line) => line !== '' && !line.includes('derpa-'))
  return [...saved, ['ipset', ...sets].join('\n')].join('\n\n')
}
