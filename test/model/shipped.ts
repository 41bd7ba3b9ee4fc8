// The shipped configuration, read once, as a start for tests of the model.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { loadConfiguration } from '../../src/config/load.ts'
import type { Entry, IpSetSettings, MainSettings, Runtime, Settings, ZoneSettings } from '../../src/model/settings.ts'
import { emptyIpSet, emptyZone } from '../../src/model/settings.ts'

export async function shippedSettings(): Promise<Settings> {
  const etc = await mkdtemp(join(tmpdir(), 'derpanet-model-'))
  try {
    const { settings, diagnostics } = await loadConfiguration({ etc, vendor: null, shipped: fileURLToPath(new URL('../../etc/lib', import.meta.url)) })
    if (settings === null) throw new Error(`shipped configuration: ${JSON.stringify(diagnostics)}`)
    return settings
  } finally {
    await rm(etc, { recursive: true, force: true })
  }
}

export function entryOf<T>(value: T, positions: Entry<T>['positions'] = new Map()): Entry<T> {
  return { value, layer: 'admin', file: '/etc/derpanet/test.yaml', positions }
}

export function withZones(settings: Settings, zones: Readonly<Record<string, Partial<ZoneSettings>>>): Settings {
  const changed = Object.entries(zones).map(([name, zone]) => [name, entryOf({ ...emptyZone, ...settings.zones.get(name)?.value, ...zone })] as const)
  return { ...settings, zones: new Map([...settings.zones, ...changed]) }
}

export function withIpSets(settings: Settings, ipsets: Readonly<Record<string, Partial<IpSetSettings>>>): Settings {
  const added = Object.entries(ipsets).map(([name, ipset]) => [name, entryOf({ ...emptyIpSet, ...ipset })] as const)
  return { ...settings, ipsets: new Map([...settings.ipsets, ...added]) }
}

export function withMain(settings: Settings, main: Partial<MainSettings>): Settings {
  return { ...settings, main: { ...settings.main, value: { ...settings.main.value, ...main } } }
}

export function running(settings: Settings): Runtime {
  return { settings, panic: false }
}
