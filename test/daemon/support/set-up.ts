// A daemon on a temporary configuration with fake kernel, clock and log: everything else is real.
import { chmodSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { Test } from 'tap'
import { Daemon } from '../../../src/daemon.ts'
import { createNativeStore } from '../../../src/config/store/native.ts'
import { permanentFiles, type PermanentFiles } from '../../../src/daemon/permanent.ts'
import type { Log, LogFields } from '../../../src/log.ts'
import type { Change } from '../../../src/model/change.ts'
import type { ServiceEvent } from '../../../src/service.ts'
import { GenerationStore } from '../../../src/state/generations.ts'
import { RuntimeJournal } from '../../../src/state/journal.ts'
import type { Dataplane } from '../../../src/kernel/dataplane.ts'
import { fakeEdges, wayBackEdges, type FakeEdges } from '../../support/way-back.ts'
import { FakeClock } from './clock.ts'
import { FakeDataplane } from './dataplane.ts'

const shipped: Readonly<Record<string, string>> = {
  'zones/public.yaml': 'short: Public\nservices: [ssh]\nforward: true\n',
  'zones/home.yaml': 'short: Home\nservices: [ssh]\n',
  'zones/drop.yaml': 'short: Drop\ntarget: DROP\n',
  'zones/block.yaml': 'short: Block\ntarget: REJECT\n',
  'zones/trusted.yaml': 'short: Trusted\ntarget: ACCEPT\n',
  'services/ssh.yaml': 'short: SSH\nports: [22/tcp]\n',
  'services/http.yaml': 'short: HTTP\nports: [80/tcp]\n',
}

export interface LogLine {
  readonly level: string
  readonly message: string
  readonly fields: LogFields
}

export interface World {
  readonly root: string
  readonly clock: FakeClock
  readonly kernel: FakeDataplane
  readonly log: LogLine[]
  readonly events: ServiceEvent[]
  readonly told: string[]
  /** What the way back works through. */
  readonly edges: FakeEdges
  /** How often the files were read. */
  readonly loads: { count: number }
  /** The daemon that runs now. */
  daemon: Daemon
  write(name: string, text: string): void
  remove(name: string): void
  /** A new daemon on the same disk and kernel: after a crash when the old one was not stopped. */
  boot(options?: { readonly bootId?: string; readonly dataplanes?: readonly Dataplane[]; readonly limits?: { readonly count: number; readonly sizeBytes: number } }): Promise<Daemon>
}

/** `files` are below etc/. The daemon is started unless `start` is false. */
export async function setUp(t: Test, files: Readonly<Record<string, string>> = {}, start = true): Promise<World> {
  // Registered before the folder is: nothing may be on its way into it when it goes.
  t.teardown(async () => world.daemon?.settle())
  const folder = t.testdir()
  const clock = new FakeClock()
  const kernel = new FakeDataplane()
  const lines: LogLine[] = []
  const events: ServiceEvent[] = []
  const told: string[] = []
  const loads = { count: 0 }
  const edges = fakeEdges()
  const put = (base: string, name: string, text: string): void => {
    const path = join(folder, base, name)
    mkdirSync(dirname(path), { recursive: true, mode: 0o755 })
    writeFileSync(path, text, { mode: 0o644 })
    chmodSync(path, 0o644)
  }
  for (const [name, text] of Object.entries(shipped)) put('lib', name, text)
  mkdirSync(join(folder, 'etc'), { recursive: true, mode: 0o755 })
  for (const [name, text] of Object.entries(files)) put('etc', name, text)
  const note = (level: string) => (fields: LogFields, message: string): void => void lines.push({ level, message, fields })
  const log: Log = { debug: note('debug'), info: note('info'), warn: note('warn'), error: note('error'), fatal: note('fatal') }

  const world: World = {
    root: folder, clock, kernel, log: lines, events, told, loads, edges,
    daemon: undefined as unknown as Daemon,
    write: (name, text) => put('etc', name, text),
    remove: (name) => rmSync(join(folder, 'etc', name)),
    async boot({ bootId = 'boot-1', dataplanes = [kernel], limits } = {}) {
      const generations = await GenerationStore.open(join(folder, 'state'), (text) => void lines.push({ level: 'warn', message: text, fields: {} }), limits)
      const paths = { shipped: join(folder, 'lib'), vendor: null }
      world.daemon = new Daemon({
        version: 'test', clock, log, generations, dataplanes, journal: new RuntimeJournal(join(folder, 'run/runtime.jsonl'), bootId),
        files: counted(permanentFiles({
          face: '2.5', loadOptions: () => ({}), storeOf: (face) => createNativeStore({ ...paths, etc: join(folder, 'etc') }, face),
        }), loads),
        wayBack: wayBackEdges({ etc: join(folder, 'etc'), state: join(folder, 'state'), run: join(folder, 'run') }, bootId, edges),
        tell: (phase, text) => void told.push(`${phase}: ${text}`),
      })
      world.daemon.subscribe((event) => void events.push(event))
      await world.daemon.start()
      await world.daemon.followUp()
      await world.daemon.settle()
      return world.daemon
    },
  }
  if (start) await world.boot()
  return world
}

export const caller = { name: ':1.5', uid: 0 }

export function addPort(port: string, timeoutSec = 0, zone = 'public'): Change {
  return { kind: 'zone-item-add', zone, field: 'ports', item: [port, 'tcp'], timeoutSec }
}

export function removePort(port: string, zone = 'public'): Change {
  return { kind: 'zone-item-remove', zone, field: 'ports', item: [port, 'tcp'] }
}

/** Ports that a zone lets in at runtime, one by one: adjacent ones are kept as a range. */
export function portsOf(daemon: Daemon, zone = 'public'): readonly string[] {
  return (daemon.runtime().settings.zones.get(zone)?.value.ports ?? []).flatMap(({ port }) => {
    const [first, last = first] = port.split('-').map(Number) as [number, number?]
    return Array.from({ length: last - first + 1 }, (_, index) => String(first + index))
  })
}

/** Waits for everything that was set off without being awaited: timers, background writes. */
export async function quiet(daemon: Daemon): Promise<void> {
  for (let round = 0; round < 3; round++) {
    await new Promise((resolve) => setImmediate(resolve))
    await daemon.settle()
  }
}

function counted(files: PermanentFiles, loads: { count: number }): PermanentFiles {
  return {
    ...files,
    load: (previous, how) => {
      loads.count += 1
      return files.load(previous, how)
    },
  }
}
