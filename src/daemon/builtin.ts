// The configuration of last resort, in the program itself: used when neither files nor any stored generation can be
// read. It lets the administrator in by ssh and refuses the rest, so that a broken disk neither opens nor locks a host.
import { defaultMain, emptyService, emptyZone, type Entry, type Settings, type ServiceSettings, type ZoneSettings } from '../model/settings.ts'

function entry<T>(value: T): Entry<T> {
  return { value, layer: 'builtin', positions: new Map() }
}

const zones: Readonly<Record<string, ZoneSettings>> = {
  block: { ...emptyZone, short: 'Block', target: 'REJECT', forward: true },
  drop: { ...emptyZone, short: 'Drop', target: 'DROP', forward: true },
  public: { ...emptyZone, short: 'Public', services: ['ssh', 'dhcpv6-client'], forward: true },
  trusted: { ...emptyZone, short: 'Trusted', target: 'ACCEPT', forward: true },
}

const services: Readonly<Record<string, ServiceSettings>> = {
  'dhcpv6-client': { ...emptyService, short: 'DHCPv6 client', ports: [{ port: '546', protocol: 'udp' }], destination: { ipv6: 'fe80::/64' } },
  ssh: { ...emptyService, short: 'SSH', ports: [{ port: '22', protocol: 'tcp' }] },
}

export const builtinSettings: Settings = {
  main: entry(defaultMain),
  zones: new Map(Object.entries(zones).map(([name, zone]) => [name, entry(zone)])),
  services: new Map(Object.entries(services).map(([name, service]) => [name, entry(service)])),
  policies: new Map(),
  ipsets: new Map(),
  icmptypes: new Map(),
  helpers: new Map(),
  lists: new Map(),
}
