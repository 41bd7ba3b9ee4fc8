// derpanetctl import and export: a host changes from firewalld to derpanet and back, by its own process.
import { execFile } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { buildSync } from 'esbuild'
import t, { type Test } from 'tap'

const repository = join(import.meta.dirname ?? new URL('.', import.meta.url).pathname, '../..')

interface Ran {
  readonly status: number
  readonly stdout: string
  readonly stderr: string
}

/** Many calls: compiled once. */
const program = join(t.testdir(), 'derpanetctl.cjs')
buildSync({
  entryPoints: [join(repository, 'src/cli/main.ts')], outfile: program, bundle: true, platform: 'node', format: 'cjs', target: 'node20', logLevel: 'warning', absWorkingDir: repository,
  external: ['usocket', 'x11', 'koffi', 'bpf', 'netlink', 'systemd-journald'], define: { 'import.meta.url': 'importMetaUrl' },
  banner: { js: 'const importMetaUrl = require("node:url").pathToFileURL(__filename).href;' },
})

function ctl(t: Test, etc: string, ...args: string[]): Promise<Ran> {
  const where = ['--config-dir', etc, '--lib-dir', join(repository, 'etc/lib'), '--vendor-dir', '/nonexistent']
  const command = [process.execPath, program, ...where, ...args]
  return new Promise((resolve) => {
    execFile('env', ['-i', `PATH=${process.env['PATH'] ?? ''}`, ...command], { cwd: repository }, (error, stdout, stderr) => {
      t.notMatch(stderr, /\n {4}at /, 'no stack trace')
      resolve({ status: error === null ? 0 : Number((error as { code?: unknown }).code ?? 255), stdout, stderr })
    })
  })
}

function place(root: string, files: Readonly<Record<string, string>>): string {
  mkdirSync(root, { recursive: true, mode: 0o755 })
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, name)), { recursive: true, mode: 0o755 })
    writeFileSync(join(root, name), text, { mode: 0o644 })
  }
  return root
}

const filesIn = (root: string): readonly string[] => (existsSync(root) ? (readdirSync(root, { recursive: true }) as string[]).filter((path) => /\.\w+$/.test(path)).sort() : [])
const read = (...path: readonly string[]): string => readFileSync(join(...path), 'utf8')

const office = '<?xml version="1.0" encoding="utf-8"?>\n<zone>\n  <short>Office</short>\n  <source address="192.0.2.0/24"/>\n  <service name="ssh"/>\n  <port port="8080" protocol="tcp"/>\n</zone>\n'

t.test('an import takes over what an administrator told firewalld, and a second one finds nothing to do', async (t) => {
  const dir = t.testdir()
  const etc = place(join(dir, 'derpanet'), { 'derpanet.yaml': '# mine\ndefault-zone: public\nfailsafe-ports: [22/tcp]\n', 'zones/lab.yaml': 'services: [http]\n' })
  const from = place(join(dir, 'firewalld'), {
    'firewalld.conf': 'DefaultZone=office\nCleanupOnExit=no\n', 'zones/office.xml': office,
    'direct.xml': '<direct><rule ipv="ipv4" table="filter" chain="INPUT" priority="0">-p tcp --dport 9 -j DROP</rule></direct>',
  })
  const dry = await ctl(t, etc, 'import', 'firewalld', from, '--dry-run')
  t.equal(dry.status, 0, dry.stderr)
  t.match(dry.stdout, /changed +derpanet\.yaml\nnew +direct\.yaml\nnew +zones\/office\.yaml\n3 files would be written below .*; nothing was\n$/)
  t.strictSame(filesIn(etc), ['derpanet.yaml', 'zones/lab.yaml'])

  const done = await ctl(t, etc, 'import', 'firewalld', from)
  t.equal(done.status, 0, done.stderr)
  t.match(done.stderr, /note: zones\/lab\.yaml stays as it is/)
  t.match(done.stdout, /3 files written below .*derpanetctl check/)
  t.equal(read(etc, 'derpanet.yaml'), '# mine\ndefault-zone: office\nfailsafe-ports: [22/tcp]\nfirewalld: {CleanupOnExit: no}\n')
  t.equal(read(etc, 'derpanet.yaml.old'), '# mine\ndefault-zone: public\nfailsafe-ports: [22/tcp]\n')
  t.equal(read(etc, 'zones/office.yaml'), 'short: Office\nservices: [ssh]\nports: [8080/tcp]\nsources: [192.0.2.0/24]\n')
  t.strictSame(filesIn(etc), ['derpanet.yaml', 'derpanet.yaml.old', 'direct.yaml', 'zones/lab.yaml', 'zones/office.yaml'])
  t.equal((await ctl(t, etc, 'check')).status, 0)

  const again = JSON.parse((await ctl(t, etc, 'import', 'firewalld', from, '--json')).stdout) as { done: boolean, files: readonly { change: string }[] }
  t.equal(again.done, true)
  t.ok(again.files.every(({ change }) => change === 'same'))
})

t.test('what cannot be carried over is said with its place, and keeps everything from being written', async (t) => {
  const dir = t.testdir()
  const etc = join(dir, 'derpanet')
  const zone = '<zone>\n  <service name="ssh"/>\n  <rule family="ipv4">\n    <source address="192.0.2.1"/>\n    <accept/>\n    <drop/>\n  </rule>\n  <rule><service name="http"/><accept/></rule>\n</zone>\n'
  const from = place(join(dir, 'firewalld'), { 'firewalld.conf': 'LogDenied=sometimes\n', 'zones/public.xml': zone, 'zones/home.xml': '<zone><service name="ssh"/><service name="ssh"/></zone>' })
  const refused = await ctl(t, etc, 'import', 'firewalld', from)
  t.equal(refused.status, 1)
  t.match(refused.stderr, new RegExp(`LOST ${from}/zones/public\\.xml:6:\\d+: .*more than one action`))
  t.match(refused.stderr, new RegExp(`LOST ${from}/firewalld\\.conf:1:\\d+: .*LogDenied`))
  t.match(refused.stderr, new RegExp(`note: ${from}/zones/home\\.xml:1:\\d+: 'ssh' already set`), 'the same is said twice: nothing is lost')
  t.match(refused.stdout, /nothing was written: 2 things cannot be carried over; --force/)
  t.notOk(existsSync(etc))
  const json = await ctl(t, etc, 'import', 'firewalld', from, '--json')
  t.equal(json.status, 1)
  t.match(JSON.parse(json.stdout), { done: false, refused: 'losses', lost: [{ file: join(from, 'firewalld.conf'), line: 1 }, { file: join(from, 'zones/public.xml'), line: 6 }] })

  const forced = await ctl(t, etc, 'import', 'firewalld', from, '--force')
  t.equal(forced.status, 0, forced.stderr)
  t.match(forced.stderr, /LOST /, 'as loud')
  t.equal(read(etc, 'zones/public.yaml'), 'services: [ssh]\nrich-rules:\n  - rule service name="http" accept\n')
})

t.test('nothing that is there is overwritten unless it is asked for', async (t) => {
  const dir = t.testdir()
  const mine = { 'derpanet.yaml': 'log-denied: all\n', 'zones/office.yaml': '# mine\nservices: [http]\n' }
  const etc = place(join(dir, 'derpanet'), mine)
  const from = place(join(dir, 'firewalld'), { 'zones/office.xml': office, 'firewalld.conf': 'DefaultZone=office\n' })
  const refused = await ctl(t, etc, 'import', 'firewalld', from)
  t.equal(refused.status, 1)
  t.match(refused.stderr, /conflict: zones\/office\.yaml is there already/)
  t.match(refused.stderr, /conflict: .*derpanet\.yaml: main: log-denied: all → off/)
  t.notMatch(refused.stderr, /default-zone/, 'nobody had chosen one')
  for (const [path, text] of Object.entries(mine)) t.equal(read(etc, path), text)
  t.equal((await ctl(t, etc, 'import', 'firewalld', from, '--force')).status, 0)
  t.equal(read(etc, 'zones/office.yaml.old'), mine['zones/office.yaml'])
  t.match(read(etc, 'zones/office.yaml'), /ports: \[8080\/tcp\]/)
})

t.test('a tree with mistakes, and one whose result would not be valid, are refused whole', async (t) => {
  const dir = t.testdir()
  const broken = place(join(dir, 'broken'), { 'zones/office.xml': office, 'zones/lab.xml': '<zone>\n  <port port="99999" protocol="tcp"/>\n</zone>' })
  const etc = join(dir, 'derpanet')
  const one = await ctl(t, etc, 'import', 'firewalld', broken, '--force')
  t.equal(one.status, 1)
  t.match(one.stdout, /lab\.xml:2:\d+: INVALID_PORT.*\n +2 \|/)
  t.match(one.stdout, /1 mistake; nothing was written/)
  t.notOk(existsSync(etc))

  const unfit = place(join(dir, 'unfit'), { 'zones/office.xml': office })
  place(etc, { 'zones/lab.yaml': 'sources: [192.0.2.0/24]\n' })
  const two = await ctl(t, etc, 'import', 'firewalld', unfit)
  t.equal(two.status, 1)
  t.match(two.stdout, /ZONE_CONFLICT/)
  t.strictSame(filesIn(etc), ['zones/lab.yaml'])

  const nothing = await ctl(t, etc, 'import', 'firewalld', etc.replace('derpanet', 'nowhere'))
  t.match(nothing.stderr, /INVALID_DIRECTORY: .*no configuration of firewalld is there/)
  t.match((await ctl(t, etc, 'import', 'firewalld', join(etc, 'zones/lab.yaml'))).stderr, /INVALID_DIRECTORY: .* cannot be read: ENOTDIR/)
  t.equal((await ctl(t, etc, 'import', 'ufw')).status, 2)
})

t.test('an export writes firewalld\'s files, says what they cannot say, and leaves nothing else in force there', async (t) => {
  const dir = t.testdir()
  const etc = place(join(dir, 'derpanet'), {
    'derpanet.yaml': 'default-zone: office\nblock: [bad]\n', 'lists/bad.list': '198.51.100.0/24\n', 'zones/office.yaml': 'services: [ssh]\nsources: [192.0.2.0/24, "list:bad"]\n',
  })
  const to = place(join(dir, 'firewalld'), { 'zones/old/part.xml': '<zone/>' })
  const refused = await ctl(t, etc, 'export', 'firewalld', to, '--for', '2.5')
  t.equal(refused.status, 1)
  t.match(refused.stderr, new RegExp(`LOST ${etc}/derpanet\\.yaml:2:1: block: bad`))
  t.match(refused.stderr, new RegExp(`LOST ${etc}/zones/office\\.yaml:2:\\d+: sources list:bad`))
  t.match(refused.stderr, /conflict: zones\/old\/part\.xml is there already and is not of this configuration/)
  t.strictSame(filesIn(to), ['zones/old/part.xml'])
  t.equal((await ctl(t, etc, 'export', 'firewalld', to, '--for', '2.5', '--force')).status, 0)
  t.strictSame(filesIn(to), ['firewalld.conf', 'zones/office.xml', 'zones/old/part.xml.old'])
  t.match(read(to, 'firewalld.conf'), /^DefaultZone=office$/m)

  const before = filesIn(etc)
  symlinkSync(etc, join(dir, 'link'))
  for (const own of [etc, join(etc, 'zones'), join(dir, 'link/fresh'), dir]) t.match((await ctl(t, etc, 'export', 'firewalld', own, '--force')).stderr, /INVALID_DIRECTORY: .*: derpanet's own files are there/)
  t.strictSame(filesIn(etc), before)

  const fresh = join(dir, 'fresh')
  place(etc, { 'derpanet.yaml': 'default-zone: office\n', 'zones/office.yaml': 'services: [ssh]\nsources: [192.0.2.0/24]\n' })
  t.equal((await ctl(t, etc, 'export', 'firewalld', fresh, '--for', '1.3')).status, 0)
  const back = join(dir, 'back')
  const imported = await ctl(t, back, 'import', 'firewalld', fresh)
  t.equal(imported.status, 0, imported.stderr)
  t.equal(read(back, 'zones/office.yaml'), read(etc, 'zones/office.yaml'))
  t.equal((await ctl(t, etc, 'export', 'firewalld', fresh, '--for', '9')).status, 2)
})
