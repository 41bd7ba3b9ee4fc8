// derpanetctl without a daemon: what it prints and how it ends, as its own process and without root.
import { execFile } from 'node:child_process'
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import { networkInterfaces } from 'node:os'
import { dirname, join } from 'node:path'
import t, { type Test } from 'tap'

const repository = join(import.meta.dirname ?? new URL('.', import.meta.url).pathname, '../..')

interface Ran {
  readonly status: number
  readonly stdout: string
  readonly stderr: string
}

/** access(2) forgets capabilities of everybody but root, unless told not to fix anything up. */
const mayRead = ['--securebits=+no_setuid_fixup', ...['--inh-caps', '--ambient-caps', '--bounding-set'].map((set) => `${set}=-all,+dac_read_search`)]

/**
 * As user nobody when this is root: nothing offline may need more; it may read everywhere, because a clone may lie in /root.
 * A clean environment also keeps tap's hooks out.
 */
function ctl(t: Test, ...args: string[]): Promise<Ran> {
  const environment = ['-i', `PATH=${process.env['PATH'] ?? ''}`, 'TSX_DISABLE_CACHE=1', 'COLUMNS=120']
  const nobody = process.getuid?.() === 0 ? ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', ...mayRead] : []
  const command = [process.execPath, '--import', 'tsx', join(repository, 'src/cli/main.ts'), '--lib-dir', join(repository, 'etc/lib'), '--vendor-dir', '/nonexistent', ...args]
  return new Promise((resolve) => {
    execFile('env', [...environment, ...nobody, ...command], { cwd: repository }, (error, stdout, stderr) => {
      const status = error === null ? 0 : Number((error as { code?: unknown }).code ?? 255)
      t.notMatch(stderr, /\n {4}at /, 'no stack trace')
      resolve({ status, stdout, stderr })
    })
  })
}

function folder(t: Test, files: Readonly<Record<string, string>>): string {
  const root = t.testdir()
  chmodSync(root, 0o755)
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, name)), { recursive: true, mode: 0o755 })
    writeFileSync(join(root, name), text, { mode: 0o644 })
  }
  return root
}

t.test('check prints every mistake with file, line, column and a caret, and ends with 1', async (t) => {
  const root = folder(t, { 'zones/public.yaml': 'services: [ssh]\nports: [80/tcp, 99999/tcp]\nservises: [http]\n', 'zones/home.yaml': 'target: PERHAPS\n' })
  const { status, stdout } = await ctl(t, 'check', root)
  t.equal(status, 1)
  const lines = stdout.split('\n')
  t.match(lines[0], `${root}/zones/home.yaml:1:9: `)
  const port = lines.findIndex((line) => line.startsWith(`${root}/zones/public.yaml:2:17: INVALID_PORT: `))
  t.not(port, -1, stdout)
  t.equal(lines[port + 1], '     2 | ports: [80/tcp, 99999/tcp]')
  t.equal(lines[port + 2], '       |                 ^')
  t.ok(lines.some((line) => line.includes('public.yaml:3:1: ') && line.includes("did you mean 'services'")))
  t.match(lines.at(-2), `${root}: 3 mistakes; this configuration would be refused`)
})

t.test('check finds what no dataplane can enforce, and warns of what works less than it says', async (t) => {
  const root = folder(t, { 'zones/public.yaml': 'services: [ssh, odd]\nrich-rules: [rule family=ipv4 port port=1 protocol=udp reject type=tcp-reset]\n', 'services/odd.yaml': 'ports: [1/tcp]\nmodules: [nf_conntrack_odd]\n' })
  const { status, stdout } = await ctl(t, 'check', root)
  t.equal(status, 1)
  t.match(stdout, /public\.yaml:2:\d+: .*tcp-reset is for TCP only\n {5}2 \| rich-rules: .*\n {7}\| +\^/)
  t.match(stdout, /public\.yaml:1:\d+: warning: .*odd/)
  t.match(stdout, /1 mistake, 1 warning/)
})

t.test('check of a good folder says what is in it and ends with 0', async (t) => {
  const root = folder(t, { 'zones/office.yaml': 'sources: [192.0.2.0/24]\n', 'lists/bad.list': '198.51.100.0/24\n' })
  const { status, stdout } = await ctl(t, 'check', root)
  t.equal(status, 0)
  t.match(stdout, /is valid: \d+ zones, \d+ services, 0 ipsets, 1 list\n$/)
})

t.test('check of one file shows its mistakes alone, and says when others are broken', async (t) => {
  const root = folder(t, { 'zones/public.yaml': 'ports: [1/tcp]\n', 'zones/home.yaml': 'target: PERHAPS\n' })
  const good = await ctl(t, 'check', join(root, 'zones/public.yaml'))
  t.equal(good.status, 0)
  t.match(good.stdout, /is valid; but other files have mistakes/)
  const bad = await ctl(t, 'check', join(root, 'zones/home.yaml'))
  t.equal(bad.status, 1)
})

t.test('check --json is one object with all mistakes', async (t) => {
  const root = folder(t, { 'zones/public.yaml': 'ports: [99999/tcp]\n' })
  const { status, stdout } = await ctl(t, 'check', '--json', root)
  t.equal(status, 1)
  t.match(JSON.parse(stdout), { valid: false, folder: root, mistakes: [{ severity: 'error', code: 'INVALID_PORT', file: join(root, 'zones/public.yaml'), line: 1, column: 9 }] })
})

t.test('plan shows what would be programmed; equal files give equal text', async (t) => {
  const root = folder(t, { 'zones/public.yaml': 'services: [ssh]\nports: [8080/tcp]\n', 'derpanet.yaml': 'block: [bad]\n', 'lists/bad.list': '198.51.100.0/24\n203.0.113.7\n' })
  const { status, stdout } = await ctl(t, 'plan', root)
  t.equal(status, 0)
  t.match(stdout, /hook input: input/)
  t.match(stdout, /chain zone:public:input/)
  t.match(stdout, /8080 +# zone\/public\/ports=8080\/tcp/)
  t.match(stdout, /2 entries of list bad/)
  t.equal((await ctl(t, 'plan', root)).stdout, stdout)
  const json = JSON.parse((await ctl(t, 'plan', '--json', root)).stdout) as { chains: readonly { name: string }[]; defaultZone: string }
  t.equal(json.defaultZone, 'public')
  t.ok(json.chains.some(({ name }) => name === 'zone:public:input'))
})

t.test('plan of a broken folder shows the mistakes and ends with 1', async (t) => {
  const root = folder(t, { 'zones/public.yaml': 'ports: [99999/tcp]\n' })
  const { status, stdout } = await ctl(t, 'plan', root)
  t.equal(status, 1)
  t.match(stdout, /public\.yaml:1:9: INVALID_PORT/)
})

t.test('wrong usage ends with 2 and points to the help; help and version end with 0', async (t) => {
  for (const args of [[], ['frobnicate'], ['check', '--nonsense'], ['status', 'too', 'many']]) {
    const { status, stderr } = await ctl(t, ...args)
    t.equal(status, 2, args.join(' '))
    t.match(stderr, /Usage|--help/)
  }
  const help = await ctl(t, '--help')
  t.equal(help.status, 0)
  for (const verb of ['status', 'zones', 'counters', 'reload', 'check', 'plan']) t.match(help.stdout, new RegExp(`^ {2}${verb}\\b`, 'm'))
  t.match(help.stdout, /Examples:[^]*Exit status:/)
  t.match((await ctl(t, '--version')).stdout, /^derpanetctl \d+\.\d+\.\d+\n$/)
})

t.test('a folder that is not there, and a bus that is not there, are named', async (t) => {
  const missing = await ctl(t, 'check', '/nonexistent')
  t.equal(missing.status, 118)
  t.match(missing.stderr, /INVALID_DIRECTORY: \/nonexistent/)
  const bus = await ctl(t, 'status', '--bus', 'unix:path=/nonexistent')
  t.equal(bus.status, 252)
  t.match(bus.stderr, /the system bus cannot be reached/)
  const json = await ctl(t, 'status', '--json', '--bus', 'unix:path=/nonexistent')
  t.match(JSON.parse(json.stdout), { error: { code: 'NOT_RUNNING', exitStatus: 252 } })
})

t.test('check refuses a list that holds an address of this host, as a reload would', async (t) => {
  const { address = '' } = Object.values(networkInterfaces()).flat().find((one) => one?.internal === false && one.family === 'IPv4') ?? {}
  if (address === '') return t.pass('this host has no address')
  const root = folder(t, { 'derpanet.yaml': 'block: [bad]\n', 'lists/bad.list': `198.51.100.7\n${address}\n` })
  const checked = await ctl(t, 'check', root)
  t.equal(checked.status, 1)
  t.match(checked.stdout, /bad\.list:2:1: INVALID_ENTRY: .*this host's own address/)
})
