// The boot file: whatever the compiler can say, derpanet-load takes; whatever else a file could say, it refuses.
import { createHash } from 'node:crypto'
import { execFile } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t from 'tap'
import { compile } from '../../src/compile/compile.ts'
import { bootContent, bootImage, type BootContent } from '../../src/kernel/boot.ts'
import { resolve } from '../../src/model/resolve.ts'
import { goldenNames, goldenRuntime } from '../support/golden.ts'
import { firewallOf } from '../support/configuration.ts'
import { randomConfiguration } from '../support/random-settings.ts'
import { createRandom, seedOfRun } from '../support/random.ts'

const loader = fileURLToPath(new URL('../../dist/derpanet-load', import.meta.url))
const folder = mkdtempSync(join(tmpdir(), 'derpanet-boot-'))
t.teardown(() => rmSync(folder, { recursive: true, force: true }))

function writeContent({ text, blobs }: BootContent, into = folder): void {
  mkdirSync(into, { recursive: true })
  for (const { name, parts } of blobs) writeFileSync(join(into, name), Buffer.concat(parts), { mode: 0o600 })
  writeFileSync(join(into, 'boot'), text, { mode: 0o600 })
}

/** "" = it would be restored; else why not. */
async function refusal(into = folder): Promise<string> {
  try {
    await promisify(execFile)(loader, ['restore', '--check', 'boot', '--boot', into])
    return ''
  } catch (error) {
    const { code, stdout } = error as { readonly code: number; readonly stdout: string }
    return code === 5 ? (JSON.parse(stdout) as { readonly error: string }).error : `exit status ${code}`
  }
}

function withDigest(lines: readonly string[]): string {
  const text = `${lines.join('\n')}\n`
  return `${text}end ${createHash('sha256').update(text).digest('hex')}\n`
}

const example = firewallOf({
  zones: { public: { ports: ['80/tcp'], sources: [] }, dmz: { interfaces: ['eth0'], target: 'DROP' } },
  lists: { bad: ['198.51.100.0/24', '203.0.113.9/32', '2001:db8:bad::/48', '0.0.0.0/8'] },
  main: { block: ['bad'] },
})

t.test('what every golden compiles to is accepted', async (t) => {
  for (const name of goldenNames) {
    const { firewall } = resolve(await goldenRuntime(name))
    if (firewall === null) continue
    writeContent(bootContent(compile(firewall), { generation: 7, variant: 'nft', xdp: null }))
    t.equal(await refusal(), '', name)
  }
})

t.test('what random configurations compile to is accepted', async (t) => {
  const random = createRandom(seedOfRun())
  t.comment(`DERPANET_SEED=${random.seed}`)
  for (let round = 0; round < 40; round++) {
    const { firewall } = resolve(randomConfiguration(random).runtime)
    if (firewall === null) continue
    const plan = compile(firewall)
    const image = await bootImage(plan.early, 1234)
    writeContent(bootContent(plan, { generation: round, variant: 'legacy', xdp: { image, links: [{ name: 'eth0', mode: 'native' }] } }))
    const why = await refusal()
    if (why !== '') return t.fail(`round ${round}: ${why}`)
  }
  t.pass('all of them')
})

t.test('equal plans give equal files', async (t) => {
  const plan = compile(example)
  const image = await bootImage(plan.early, 99)
  const facts = { generation: 3, variant: 'nft', xdp: { image, links: [] } } as const
  t.equal(bootContent(plan, facts).text, bootContent(compile(example), { ...facts, xdp: { image: await bootImage(plan.early, 99), links: [] } }).text)
})

t.test('every damaged byte is noticed, and every file cut short', async (t) => {
  const plan = compile(example)
  const content = bootContent(plan, { generation: 3, variant: 'nft', xdp: { image: await bootImage(plan.early, 5), links: [{ name: 'eth0', mode: 'generic' }] } })
  writeContent(content)
  t.equal(await refusal(), '', 'whole, it is accepted')
  const files = ['boot', ...content.blobs.map(({ name }) => name)]
  for (const file of files) {
    const path = join(folder, file)
    const bytes = readFileSync(path)
    const step = Math.max(1, Math.floor(bytes.length / 12))
    let accepted = 0
    for (let at = 0; at < bytes.length; at += step) {
      const damaged = Buffer.from(bytes)
      damaged[at] = (damaged[at] ?? 0) ^ 1
      writeFileSync(path, damaged)
      if ((await refusal()) === '') accepted++
      writeFileSync(path, bytes.subarray(0, at))
      if ((await refusal()) === '') accepted++
    }
    writeFileSync(path, bytes)
    t.equal(accepted, 0, file.replace(/^[0-9a-f]{64}/, 'SHA256'))
  }
})

t.test('with a right digest, only words of the grammar are accepted', async (t) => {
  const lines = bootContent(compile(example), { generation: 3, variant: 'nft', xdp: null }).text.split('\n').slice(0, -2)
  const content = bootContent(compile(example), { generation: 3, variant: 'nft', xdp: null })
  writeContent(content)
  const section = (name: string): number => lines.findIndex((line) => line.startsWith(`${name} `))
  const replaced = async (at: number, line: string): Promise<string> => {
    writeFileSync(join(folder, 'boot'), withDigest(lines.map((old, index) => (index === at ? line : old))))
    return refusal()
  }
  const chain = lines.find((line) => line.startsWith('-A DERPA_'))!.split(' ')[1]!
  const rule = lines.findIndex((line) => line.startsWith('-A DERPA_'))
  const jump = lines.findIndex((line) => line.startsWith('-I '))
  const set = lines.findIndex((line) => line.startsWith('create '))

  const rules: Readonly<Record<string, RegExp>> = {
    '-A INPUT -j ACCEPT': /not a rule of a chain of ours/,
    '-I INPUT 1 -j ACCEPT': /target is not known/,
    '-I INPUT 2 -j DERPA_INPUT': /not a jump/,
    '-D INPUT -j DROP': /command is not known/,
    '-F INPUT': /command is not known/,
    '-P INPUT ACCEPT': /command is not known/,
    ':INPUT ACCEPT [0:0]': /not a chain of ours/,
    [`-A ${chain} -M /tmp/evil -j ACCEPT`]: /option is not known/,
    [`-A ${chain} --modprobe=/tmp/evil -j ACCEPT`]: /option is not known/,
    [`-A ${chain} -m bpf --object-pinned /sys/fs/bpf/x -j ACCEPT`]: /match is not known/,
    [`-A ${chain} -m set --match-set foreign src -j ACCEPT`]: /not a set of ours/,
    [`-A ${chain} -j QUEUE`]: /target is not known/,
    [`-A ${chain} -j DOCKER`]: /target is not known/,
    [`-A ${chain} -g DOCKER`]: /not a chain of ours/,
    [`-A ${chain} -s -j`]: /option instead of a value|option without value/,
    [`-A ${chain} -m comment --comment "open`]: /quote/,
    [`-A ${chain}  -j DROP`]: /two spaces/,
    [`-A ${chain} -j DROP `]: /space at the end/,
    [`-A ${chain} -j LOG --log-prefix "\u00e9"`]: /printable ASCII/,
    '*broute': /command is not known/,
  }
  for (const [line, why] of Object.entries(rules)) t.match(await replaced(rule, line), why, line)
  t.equal(await replaced(rule, `-A ${chain} -m comment --comment "$(reboot)" -j DROP`), '', 'text is text: no shell ever reads it')
  t.match(await replaced(jump, '-I DOCKER-USER 1 -j DERPA_INPUT'), /not a jump/)
  t.match(await replaced(jump, '-I INPUT 1 -m mark --mark 1/1'), /leads nowhere of ours/)

  const sets: Readonly<Record<string, RegExp>> = {
    'create foreign hash:ip': /not a set of ours/,
    'create derpa-x list:set': /set type/,
    'create derpa-x hash:net family inet file /etc/passwd': /set option/,
    'flush derpa-x': /neither create nor add|too few/,
    'destroy derpa-x y': /neither create nor add/,
    'add derpa-x -exist': /not an element/,
    'add derpa-x 192.0.2.1 comment x': /more than an element/,
    'save derpa-x x': /neither/,
    'quit now please': /not a set/,
    'elements derpa-x inet 1 ../../etc/passwd': /not: elements/,
    [`elements derpa-x inet 1 ${'0'.repeat(64)}`]: /No such file/,
  }
  for (const [line, why] of Object.entries(sets)) t.match(await replaced(set, line), why, line)

  t.match(await replaced(0, 'derpanet-boot 2'), /format 1/)
  t.match(await replaced(section('variant'), 'variant /tmp/x'), /no variant/)
  t.match(await replaced(section('rules4'), 'rules4 99999'), /rules4 COUNT/)
  t.match(await replaced(section('created') + 1, '../x'), /not a chain|COUNT/)
  t.match(await replaced(section('state') + 1, 'true'), /not an object/)
  writeFileSync(join(folder, 'boot'), withDigest([...lines, 'run /bin/sh']))
  t.match(await refusal(), /not known/, 'nothing comes behind')
  writeFileSync(join(folder, 'boot'), withDigest([...lines, `xdp 1 ${'0'.repeat(64)}`, 'link ../x native']))
  t.match(await refusal(), /not an interface/)
})

t.test('a file that others may write is not believed, nor a link', async (t) => {
  const other = join(folder, 'other')
  writeContent(bootContent(compile(example), { generation: 3, variant: 'nft', xdp: null }), other)
  t.equal(await refusal(other), '')
  const { chmodSync, renameSync, symlinkSync } = await import('node:fs')
  chmodSync(join(other, 'boot'), 0o620)
  t.match(await refusal(other), /nobody else may write/)
  chmodSync(join(other, 'boot'), 0o600)
  renameSync(join(other, 'boot'), join(other, 'real'))
  symlinkSync('real', join(other, 'boot'))
  t.match(await refusal(other), /symbolic link|Too many levels/)
  symlinkSync(other, join(folder, 'way'))
  t.ok(existsSync(join(folder, 'way/real')))
  t.not(await refusal(join(folder, 'way')), '')
})
