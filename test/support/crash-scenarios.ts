// What a daemon does while it is made to die or fail, and packets by which its rules are judged before and after.
import type { Probe } from './agent.ts'
import type { Configuration, Lane } from './crash-lane.ts'

/** `count` made-up prefixes from the `first` on, and one address that probes come from. */
const list = (first: number, count: number): string => `203.0.113.5\n${Array.from({ length: count }, (_, index) => `10.${(first + index) >> 8}.${(first + index) & 255}.0/24\n`).join('')}`

/** Every table and kind of set takes part; XDP by name, so that no measurement decides against it. */
const old: Configuration = {
  'derpanet.yaml': 'default-zone: public\nblock: [bad]\nnever-block: [192.0.2.77]\nxdp: native\n',
  'zones/public.yaml': 'services: [ssh]\nports: [80/tcp]\nforward-ports: [{port: 2222, protocol: tcp, to-port: 22}]\n',
  'zones/home.yaml': 'services: [ssh]\nports: [81/tcp]\nsources: [192.0.2.3/32]\n', 'lists/bad.list': list(0, 600),
  'ipsets/office.yaml': 'type: hash:ip\nentries: [192.0.2.99]\n', 'zones/work.yaml': 'services: [ssh]\nsources: ["ipset:office"]\n',
}
const next: Configuration = {
  ...old, 'zones/public.yaml': 'services: [ssh]\nports: [82/tcp]\nforward-ports: [{port: 2222, protocol: tcp, to-port: 22}]\nrich-rules:\n  - rule family="ipv4" source address="198.51.100.0/24" drop\n',
  'zones/home.yaml': 'services: [ssh]\nports: [82/tcp]\nsources: [192.0.2.3/32, "2001:db8:1::3/128"]\n', 'lists/bad.list': list(100, 600),
}
const nextList: Configuration = { ...old, 'lists/bad.list': list(150, 600) }
const nextSet: Configuration = { ...old, 'ipsets/office.yaml': 'type: hash:ip\nentries: [192.0.2.98, 192.0.2.97]\n', 'zones/public.yaml': `target: DROP\n${old['zones/public.yaml']}` }

export const servedPorts = ['tcp:22', 'tcp:25', 'tcp:80-82']
const knock = (port: number, more: Partial<Probe> = {}): Probe => ({ kind: 'tcp', host: '192.0.2.1', port, timeoutMs: 200, ...more })
const v6 = { host: '2001:db8:1::1' }
export const probes: readonly Probe[] = [
  knock(22), knock(80), knock(81), knock(82), knock(25), knock(2222), knock(22, { src: '203.0.113.5' }), knock(80, { src: '203.0.113.5' }),
  knock(81, { src: '192.0.2.3' }), knock(82, { src: '192.0.2.3' }), knock(25, { src: '192.0.2.3' }), knock(22, v6), knock(80, v6), knock(82, v6), knock(25, v6),
  { kind: 'ping', host: '192.0.2.1', timeoutMs: 200 },
]
/** Passes; in the order of `probes`. */
export type Verdicts = readonly boolean[]
export const verdictsOf = async (lane: Lane): Promise<Verdicts> => (await lane.probe(probes)).map((result) => result === 'open')

export function describeProbe({ kind, host, port, src }: Probe): string {
  return `${src ?? 'outside'} → ${kind} [${host}]:${port ?? ''}`
}

/** One thing the daemon does. */
export interface Scenario {
  readonly name: string
  /** In force before it. */
  readonly from: Configuration
  /** What the files are from then on. */
  readonly to: Configuration
  /** Before it a daemon runs, has been killed, or nothing of ours was ever there. */
  readonly before: 'running' | 'killed' | 'nothing'
  /** Done before effects are counted. */
  setUp?(lane: Lane): Promise<unknown>
  /** The doing. `start` = start a daemon that counts. null = done, a text = refused with it, "" = nobody said. */
  run(lane: Lane, start: () => Promise<void>): Promise<string | null>
  /** Only the runtime changes: the next start may come to the one or the other, a reload takes it back. */
  readonly isRuntime?: true
  /** The daemon ends with it. */
  readonly ends?: true
}

const reload = (files: Configuration) => async (lane: Lane): Promise<string | null> => {
  await lane.write(files)
  return lane.call('reload')
}
const started = async (lane: Lane, start: () => Promise<void>): Promise<string | null> => {
  await start()
  const state = await lane.state()
  return state === 'RUNNING' ? null : state
}
const stopped = async (lane: Lane): Promise<string | null> => {
  await lane.terminate()
  return (await lane.ends(30_000)) ? null : 'does not end'
}
const open: Configuration = { ...old, 'derpanet.yaml': `${old['derpanet.yaml']}on-stop: open\n` }
const zoneChange = (member: string, signature: string, ...body: unknown[]) => (lane: Lane): Promise<string | null> => lane.zoneCall(member, signature, body)

export const scenarios: readonly Scenario[] = [
  { name: 'first start', from: old, to: old, before: 'nothing', run: started },
  { name: 'start after a crash', from: old, to: old, before: 'killed', run: started },
  { name: 'start after a crash, other files', from: old, to: next, before: 'killed', async run(lane, start) {
    await lane.write(next)
    return started(lane, start)
  } },
  { name: 'reload', from: old, to: next, before: 'running', run: reload(next) },
  { name: 'reload, target and set', from: old, to: nextSet, before: 'running', run: reload(nextSet) },
  { name: 'list swap', from: old, to: nextList, before: 'running', run: reload(nextList) },
  { name: 'one port', from: old, to: old, before: 'running', isRuntime: true, run: zoneChange('addPort', 'sssi', 'public', '82', 'tcp', 0) },
  { name: 'one source', from: old, to: old, before: 'running', isRuntime: true, run: zoneChange('addSource', 'ss', 'home', '2001:db8:1::2') },
  { name: 'one rich rule', from: old, to: old, before: 'running', isRuntime: true, run: zoneChange('addRichRule', 'ssi', 'public', 'rule family="ipv4" port port="80" protocol="tcp" reject', 0) },
  { name: 'panic', from: old, to: old, before: 'running', isRuntime: true, run: (lane) => lane.call('enablePanicMode') },
  { name: 'panic ends', from: old, to: old, before: 'running', isRuntime: true, setUp: (lane) => lane.call('enablePanicMode'), run: (lane) => lane.call('disablePanicMode') },
  { name: 'stop', from: old, to: old, before: 'running', ends: true, run: stopped },
  { name: 'stop, on-stop: open', from: open, to: open, before: 'running', ends: true, run: stopped },
]
