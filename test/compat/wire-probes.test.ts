// TEST_TIMEOUT_SEC=300
// Every recorded call of real firewalld 1.3.3 and 2.5.0, in order, on a freshly started daemon over a private bus: replies,
// types, error names and codes, signals and files must be the recorded ones. What differs is in data/exceptions.json, each
// with its reason; one that does not differ any more fails, so that the list stays true.
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import t from 'tap'
import { BusError } from '../../src/auth/bus-client.ts'
import { createFirewalldStore } from '../../src/config/store/firewalld.ts'
import { Daemon } from '../../src/daemon.ts'
import { systemClock } from '../../src/daemon/clock.ts'
import { permanentFiles } from '../../src/daemon/permanent.ts'
import { startBus } from '../../src/dbus/server.ts'
import { decodeBody } from '../../src/dbus/wire/decode.ts'
import { Variant } from '../../src/dbus/wire/encode.ts'
import { createMemory } from '../../src/kernel/memory/memory.ts'
import { silentLog } from '../../src/log.ts'
import { fieldRows } from '../../src/settings/field.ts'
import { fieldSignature } from '../../src/settings/dict.ts'
import { kinds } from '../../src/settings/kinds.ts'
import { GenerationStore } from '../../src/state/generations.ts'
import { RuntimeJournal } from '../../src/state/journal.ts'
import { firewalld, quiet, startPrivateBus } from '../dbus/support/bus.ts'
import { answerOf, pathOf, probesOf, type Answer, type Probe, type RecordedSignal, type SequenceName } from './support/probes.ts'
import { writeShippedTree, writeSystemTree, type Version } from './support/tree.ts'
import { wayBackEdges } from '../support/way-back.ts'


const prefix = 'org.fedoraproject.FirewallD1'
const faces = { '2.5.0': '2.5', '1.3.3': '1.3' } as const
const repository = join(import.meta.dirname, '../..')

type Exceptions = Readonly<Record<Version, Readonly<Record<string, string>>>>
const exceptions = JSON.parse(readFileSync(new URL('data/exceptions.json', import.meta.url), 'utf8')) as Exceptions

/** Types of the values in dictionaries that the probes send. */
const valueTypes: Readonly<Record<string, string>> = {
  ...Object.fromEntries([kinds.policy, kinds.service, kinds.zone].flatMap((kind) =>
    fieldRows(kind.fields as never).map(([, field]) => [field.dbus ?? '', fieldSignature(field)]))),
  bogus: 's', timeout: 'i',
}

function sent(signature: string, value: unknown): unknown {
  if (signature === 'x' || signature === 't') return BigInt(Number(value))
  if (signature === 'v') return new Variant(typeof value === 'number' ? 'i' : 's', value)
  if (signature !== 'a{sv}') return value
  return Object.fromEntries(Object.entries(value as object).map(([key, one]) => [key, new Variant(typeof one === 'boolean' ? 'b' : valueTypes[key] ?? 's', one)]))
}

/** The whole types of a signature, one by one. */
function typesIn(signature: string): readonly string[] {
  const types: string[] = []
  for (let at = 0; at < signature.length;) {
    const start = at
    while (signature[at] === 'a') at++
    const opening = signature[at]
    if (opening === '(' || opening === '{') {
      let depth = 0
      do {
        if ('({'.includes(signature[at]!)) depth++
        if (')}'.includes(signature[at]!)) depth--
        at++
      } while (depth > 0)
    } else at++
    types.push(signature.slice(start, at))
  }
  return types
}

/** As JSON shows it; texts for people are not compared, folders by their place in the tree. */
function plain(value: unknown, folder: string): unknown {
  if (value instanceof Variant) return plain(value.value, folder)
  if (value instanceof Map) return Object.fromEntries([...value].map(([key, one]) => [key, key === 'description' ? '(text)' : plain(one, folder)]))
  if (Array.isArray(value)) return value.map((one: unknown) => plain(one, folder))
  if (typeof value === 'string') return value.replace(join(folder, 'etc'), '{ETC}').replace(join(folder, 'usr'), '{USR}')
  return value
}

/** What a dictionary says does not depend on its order; nor does which ICMP types there are. */
function comparable(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(comparable)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).sort(([one], [other]) => (one < other ? -1 : 1))
    .map(([key, one]) => [key, /^IPv[46]ICMPTypes$/.test(key) ? [...(one as string[])].sort() : comparable(one)]))
}

async function startDaemon(folder: string, version: Version): Promise<{ daemon: Daemon; generations: GenerationStore }> {
  writeShippedTree(join(folder, 'usr'), version)
  writeSystemTree(join(folder, 'etc'), version)
  const generations = await GenerationStore.open(join(folder, 'state'), () => {})
  const paths = { system: join(folder, 'etc'), defaults: join(folder, 'usr'), shipped: join(repository, 'etc/lib'), own: null }
  const daemon = new Daemon({
    version: 'test', clock: systemClock, log: silentLog, generations, dataplanes: [createMemory()],
    journal: new RuntimeJournal(join(folder, 'run/runtime.jsonl'), 'boot'),
    wayBack: wayBackEdges({ etc: join(folder, 'etc'), state: join(folder, 'state'), run: join(folder, 'run') }, 'boot'),
    files: permanentFiles({ face: faces[version], loadOptions: () => ({}), storeOf: (face) => createFirewalldStore(paths, face) }),
  })
  await daemon.start()
  return { daemon, generations }
}

interface Got {
  readonly reply?: unknown
  readonly type?: string
  readonly valueTypes?: Readonly<Record<string, string>>
  readonly error?: string
  readonly text?: string
}

/** What happened to the files between two calls of the recording. */
const brokenZone = 'zones/brokenzone.xml'
const between: Readonly<Record<string, (folder: string, daemon: Daemon) => Promise<void>>> = {
  'checkPermanentConfig broken': async (folder) => writeFileSync(join(folder, 'etc', brokenZone), '<zone><nonsense/></zone>\n', { mode: 0o644 }),
  'reload fixed': async (folder) => rmSync(join(folder, 'etc', brokenZone)),
  'file dropped into zones/ while running': async (folder, daemon) => {
    writeFileSync(join(folder, 'etc/zones/later.xml'), '<?xml version="1.0" encoding="utf-8"?>\n<zone>\n  <short>Later</short>\n</zone>\n', { mode: 0o644 })
    await daemon.filesChanged([join(folder, 'etc/zones/later.xml')])
  },
}

function filesIn(folder: string, below = ''): string[] {
  return readdirSync(join(folder, below)).flatMap((name) => {
    const path = join(below, name)
    return statSync(join(folder, path)).isDirectory() ? filesIn(folder, path) : [path]
  }).sort()
}

/** Every difference in words; none = equal. */
function compare(want: Answer, got: Got, signals: readonly RecordedSignal[]): readonly string[] {
  const found: string[] = []
  const differ = (what: string, wanted: unknown, was: unknown): void => {
    if (!isDeepStrictEqual(comparable(wanted), comparable(was))) found.push(`${what}: wanted ${JSON.stringify(wanted)}, got ${JSON.stringify(was)}`)
  }
  if (want.error !== undefined) {
    differ('error name', want.error.replace(/^FD1/, prefix), got.error)
    if (want.code_in_text !== undefined) differ('text', want.code_in_text, got.text?.split(':')[0])
    if (want.code?.startsWith('(') === true) {
      // firewalld's own failure, told as a Python text: ours has no code either
      if (want.error === 'FD1.Exception' && /^[A-Z][A-Z_]+(:|$)/.test(got.text ?? '')) found.push(`text: wanted no code, got ${got.text}`)
    } else if (want.code !== undefined) {
      const [code, ...rest] = (got.text ?? '').split(': ')
      differ('code', want.code, code)
      // the one word is what firewalld stumbled over; a sentence that names it is as good
      if (want.detail !== '(text)' && !rest.join(': ').split(/[\s']+/).includes(want.detail ?? '')) differ('detail', want.detail ?? '', rest.join(': '))
    }
    differ('signals', want.signals ?? [], signals)
    return found
  }
  if (got.error !== undefined) return [`wanted a reply, got ${got.error}: ${got.text}`]
  differ('reply', want.reply, got.reply)
  // the type of a property is that of its value, and a method's is in its introspection, which is compared elsewhere
  if (want.type !== undefined && got.type !== undefined) differ('type', want.type, got.type)
  if (want.value_types !== undefined) differ('types of values', want.value_types, got.valueTypes)
  if (want.signal_counts !== undefined) {
    const counts: Record<string, number> = {}
    for (const [, name] of signals) counts[name] = (counts[name] ?? 0) + 1
    differ('signal counts', want.signal_counts, counts)
    differ('last signal', want.last_signal, signals.at(-1)?.[1])
  } else if (want.signals_within_8s !== undefined) {
    differ('signals', want.signals_within_8s, signals.map(([path, name, , args]) => [path, name, args]))
  } else {
    differ('signals', want.signals ?? [], signals)
  }
  return found
}

for (const version of ['2.5.0', '1.3.3'] as const) {
  for (const sequence of ['sequence_a', 'sequence_b'] as const satisfies readonly SequenceName[]) {
    t.test(`${sequence} as recorded on firewalld ${version}`, async (t) => {
      const folder = mkdtempSync(join(tmpdir(), 'derpanet-probes-'))
      const bus = await startPrivateBus()
      const { daemon } = await startDaemon(folder, version)
      const server = await startBus({ service: daemon, address: bus.address, compat: faces[version], log: quiet })
      const client = await bus.client()
      t.teardown(async () => {
        await server.stop()
        await daemon.stop()
        await bus.stop()
        rmSync(folder, { recursive: true })
      })
      let signals: RecordedSignal[] = []
      await client.addMatch("type='signal',path_namespace='/org/fedoraproject'")
      client.onSignal((signal) => {
        const name = signal.interface.startsWith(prefix) ? `${signal.interface.slice(prefix.length)}.${signal.member}` : `${signal.interface}.${signal.member}`
        if (signal.path.startsWith(firewalld.path)) {
          signals.push([signal.path.slice(firewalld.path.length), name, signal.signature, plain(decodeBody(signal), folder) as readonly unknown[]])
        }
      })

      const send = async (path: string, method: string, signature: string, args: readonly unknown[]): Promise<Got> => {
        const dot = method.lastIndexOf('.')
        const types = typesIn(signature)
        try {
          const [raw = null, ...more] = await client.call({
            ...firewalld, path: `${firewalld.path}${path}`, interface: method.startsWith('.') ? `${prefix}${method.slice(0, dot)}` : method.slice(0, dot),
            member: method.slice(dot + 1), signature, body: args.map((value, index) => sent(types[index] ?? '', value)), timeoutMs: 30_000,
          })
          if (more.length > 0) throw new Error('more than one result')
          const inner = raw instanceof Variant ? raw.value : raw
          return {
            reply: plain(inner, folder),
            ...(raw instanceof Variant ? { type: raw.signature } : {}),
            ...(inner instanceof Map && [...inner.values()].every((one) => one instanceof Variant)
              ? { valueTypes: Object.fromEntries([...inner as Map<string, Variant>].map(([key, one]) => [key, one.signature])) } : {}),
          }
        } catch (error) {
          if (!(error instanceof BusError)) throw error
          return { error: error.errorName, text: error.message.slice(error.errorName.length + 2) }
        }
      }

      /** A signal that the answer waits for, and then a little longer for one too many. */
      const settle = async (want: Answer): Promise<void> => {
        const count = want.signal_counts === undefined ? (want.signals ?? want.signals_within_8s ?? []).length : Object.values(want.signal_counts).reduce((sum, one) => sum + one, 0)
        const end = Date.now() + 4_000
        while (signals.length < count && Date.now() < end) await new Promise((resolve) => setTimeout(resolve, 10))
        await send('', '.getDefaultZone', '', [])
      }

      const differences: [string, readonly string[]][] = []
      for (const probe of probesOf(sequence)) {
        const want = answerOf(probe, version)
        await between[probe.probe]?.(folder, daemon)
        if (probe.probe === 'timed port gone') await new Promise((resolve) => setTimeout(resolve, 2_200))
        signals = []
        const found: string[] = []
        if (probe.method === undefined) {
          await settle(want)
          found.push(...compare(want, {}, signals))
        } else {
          const path = pathOf(probe, version)
          const got = await send(path, probe.method, probe.in ?? '', probe.args ?? [])
          await settle(want)
          found.push(...compare(want, { ...got, reply: textsOf(probe, got.reply) }, inOrder(probe, signals, want)))
          if (want.canonical !== undefined) found.push(...await aboutRule(send, probe, want, got))
        }
        if (want.files_after !== undefined) {
          const files = filesIn(join(folder, 'etc'))
          if (!isDeepStrictEqual(files, want.files_after)) found.push(`files: ${JSON.stringify(files)}`)
        }
        if (found.length > 0) differences.push([`${sequence} ${probe.n}`, found])
      }

      const listed = exceptions[version]
      for (const [name, found] of differences) if (listed[name] === undefined) t.fail(`${name} ${titleOf(sequence, name)}: ${found.join('; ')}`)
      const differing = new Set(differences.map(([name]) => name))
      for (const name of Object.keys(listed).filter((one) => one.startsWith(sequence))) {
        t.ok(differing.has(name), `${name} is an exception (${listed[name]}) and differs`)
      }
      t.ok(differences.length <= 10, `${probesOf(sequence).length} calls, ${differences.length} answered differently`)
    })
  }
}

t.test('there are at most ten exceptions for each version, and each has a reason', (t) => {
  for (const version of ['2.5.0', '1.3.3'] as const) {
    const reasons = Object.values(exceptions[version])
    t.ok(reasons.length <= 10, `${reasons.length} for ${version}`)
    for (const reason of reasons) t.ok(reason.length > 20, reason)
  }
  t.end()
})

function titleOf(sequence: SequenceName, name: string): string {
  const probe = probesOf(sequence).find(({ n }) => name === `${sequence} ${n}`)
  return `${probe?.probe} ${probe?.method ?? ''} ${JSON.stringify(probe?.args ?? [])}`.slice(0, 120)
}

/** The third member of a tuple is a text for people. */
function textsOf(probe: Probe, reply: unknown): unknown {
  const isTuple = Array.isArray(reply) && /\.get(Zone|Service|IcmpType|Helper)Settings$|^\.config\.\w+\.getSettings$/.test(probe.method ?? '')
  return isTuple ? reply.map((one: unknown, index) => (index === 2 && one !== '' ? '(text)' : one)) : reply
}

/** What setEntries adds and removes comes from Python sets, in no order. */
function inOrder(probe: Probe, signals: readonly RecordedSignal[], want: Answer): readonly RecordedSignal[] {
  if (probe.method !== '.ipset.setEntries' || want.signals === undefined) return signals
  const key = (signal: RecordedSignal): string => JSON.stringify(signal)
  const wanted = want.signals.map(key)
  return [...signals].sort((one, other) => wanted.indexOf(key(one)) - wanted.indexOf(key(other)))
}

/** Each rule of the long list was looked at and taken out again. */
async function aboutRule(
  send: (path: string, method: string, signature: string, args: readonly unknown[]) => Promise<Got>, probe: Probe, want: Answer, got: Got,
): Promise<readonly string[]> {
  const found: string[] = []
  const [zone, rule] = probe.args ?? []
  const list = await send('', '.zone.getRichRules', 's', [zone])
  if (!isDeepStrictEqual(list.reply, want.canonical)) found.push(`canonical: wanted ${JSON.stringify(want.canonical)}, got ${JSON.stringify(list.reply)}`)
  const asked = await send('', '.zone.queryRichRule', 'ss', [zone, rule])
  const answer = asked.text === undefined ? asked.reply : asked.text.split(':')[0]
  if (answer !== want.queryRichRule) found.push(`queryRichRule: wanted ${String(want.queryRichRule)}, got ${String(answer)}`)
  if (got.error === undefined) await send('', '.zone.removeRichRule', 'ss', [zone, rule])
  return found
}
