// Small settings and lists for tests of what is kept on disk.
import { createHash } from 'node:crypto'
import { builtinSettings } from '../../src/daemon/builtin.ts'
import { emptyZone, type AddressList, type Entry, type Settings, type ZoneSettings } from '../../src/model/settings.ts'

export function entry<T>(value: T, file = '/etc/derpanet/zones/x.yaml'): Entry<T> {
  return { value, layer: 'admin', file, positions: new Map([['ports=80/tcp', { line: 3, column: 5 }]]) }
}

export function list(name: string, addrs: readonly number[]): AddressList {
  const addrs4 = Uint32Array.from(addrs).sort()
  const digest = createHash('sha256').update(addrs4).digest('hex')
  return { name, file: `/etc/derpanet/lists/${name}.list`, digest, addrs4, lengths4: new Uint8Array(addrs4.length).fill(32), addrs6: new Uint32Array([1, 2, 3, 4]), lengths6: Uint8Array.of(128) }
}

/** The built-in settings with zone `office` letting these TCP ports in, and these lists. */
export function settingsWith(ports: readonly string[], lists: readonly AddressList[] = []): Settings {
  const office: ZoneSettings = {
    ...emptyZone, short: 'Office', target: 'DROP', ports: ports.map((port) => ({ port, protocol: 'tcp' })), sources: ['192.0.2.0/24'],
    forwardPorts: [{ port: '80', protocol: 'tcp', toPort: '8080', toAddr: '192.0.2.9' }], masquerade: true, ingressPriority: -5,
    richRules: ['rule family="ipv4" source address="203.0.113.0/24" accept'],
  }
  return {
    ...builtinSettings,
    zones: new Map([...builtinSettings.zones, ['office', entry(office)]]),
    ipsets: new Map([['banned', entry({ version: '', short: '', description: '', type: 'hash:ip', options: { family: 'inet', maxelem: '100' }, entries: ['198.51.100.1'] })]]),
    lists: new Map(lists.map((each) => [each.name, each])),
  }
}
