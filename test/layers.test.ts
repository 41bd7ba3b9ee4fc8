// Who may import whom, as data. A row lists everything a folder may import; each has the reason why not more.
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { dirname, join, relative, resolve, sep } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'

const root = resolve(dirname(fileURLToPath(import.meta.url)), '..')

interface Layer {
  /** A folder or file below src; the longest match is a file's layer. */
  readonly layer: string
  /** Folders or files below src, or package names; `node:` = every node module, `node:crypto` = that one. */
  readonly may: readonly string[]
  readonly because: string
}

const everythingBelowTheDaemon = [
  'model', 'settings', 'config', 'compile', 'diff', 'kernel', 'dbus', 'auth', 'state', 'lists', 'host', 'errors.ts', 'log.ts', 'service.ts',
]

const layers: readonly Layer[] = [
  { layer: 'main.ts', may: [...everythingBelowTheDaemon, 'daemon', 'daemon.ts', 'frugal.ts', 'lull.ts', 'notify.ts', 'options.ts', 'send-buffer.ts', 'version.ts', 'node:', 'koffi'],
    because: 'it wires edges together and decides nothing, so nothing may import it' },
  { layer: 'frugal.ts', may: ['node:'], because: 'memory is the runtime\'s business, not the program\'s' },
  { layer: 'options.ts', may: ['node:'], because: 'a command line is text and paths' },
  { layer: 'version.ts', may: ['../package.json'], because: 'one place says which version this is' },
  { layer: 'notify.ts', may: ['errors.ts', 'node:', 'koffi'], because: 'sd_notify is one edge of its own; only main.ts wires it' },
  { layer: 'lull.ts', may: ['node:'], because: 'when there is time for something is the runtime\'s knowledge' },
  { layer: 'send-buffer.ts', may: ['node:', 'koffi'], because: 'one socket option that Node has no word for; the connection to the bus gets it as an argument' },
  { layer: 'daemon.ts', may: [...everythingBelowTheDaemon, 'daemon', 'node:'], because: 'the one writer knows every layer but no wire format' },
  { layer: 'daemon', may: [...everythingBelowTheDaemon, 'daemon', 'node:'], because: 'parts of the one writer' },
  { layer: 'service.ts', may: ['model', 'kernel/dataplane.ts'], because: 'the contract between the daemon and its faces is types only' },
  { layer: 'errors.ts', may: [], because: 'every layer uses it' },
  { layer: 'log.ts', may: ['errors.ts', 'pino', 'systemd-journald', 'node:'], because: 'logging must not know what is logged' },
  { layer: 'model', may: ['model', 'errors.ts'], because: 'what a firewall is can be tested without a machine: no input, no output, no clock' },
  { layer: 'settings', may: ['settings', 'model', 'errors.ts'], because: 'a setting is described once, in terms of the model' },
  { layer: 'config/yaml.ts', may: ['config/diagnostic.ts', 'model', 'errors.ts', 'yaml'], because: 'what YAML may be is decided without knowing a setting' },
  { layer: 'config/parse.ts', may: ['config/diagnostic.ts', 'config/yaml.ts', 'config/plain-list.ts', 'settings', 'model', 'errors.ts', 'yaml'], because: 'text to settings is pure, so every mistake in a file is a table test' },
  { layer: 'config/diagnostic.ts', may: ['model', 'errors.ts'], because: 'a diagnostic is data and its text' },
  { layer: 'config/firewalld/xml-reader.ts', may: ['model', 'errors.ts', 'saxes'], because: 'what XML may be is decided without knowing a setting' },
  { layer: 'config', may: ['config', 'state/atomic.ts', 'lists', 'settings', 'model', 'errors.ts', 'yaml', 'node:'], because: 'bytes on disk become settings here and nowhere else' },
  { layer: 'compile', may: ['compile', 'model', 'errors.ts', 'node:crypto'], because: 'one pure function from firewall to plan; crypto only for content addresses' },
  { layer: 'diff', may: ['diff', 'compile', 'errors.ts'], because: 'what to change is computed from two values, without looking at the kernel' },
  { layer: 'kernel', may: ['kernel', 'compile', 'diff', 'model', 'errors.ts', 'node:', 'bpf', 'koffi', 'netlink'], because: 'effects at the edge: it applies plans and never reads configuration' },
  { layer: 'dbus', may: ['dbus', 'auth', 'model', 'settings', 'service.ts', 'errors.ts', 'dbus-next', 'node:'], because: 'a face turns calls into changes and queries; it holds no rules' },
  { layer: 'auth', may: ['auth', 'model', 'errors.ts', 'dbus-next', 'node:'], because: 'who may do what is decided in one place, without knowing what is done' },
  { layer: 'state', may: ['state', 'model', 'settings', 'compile/plan.ts', 'service.ts', 'errors.ts', 'node:'], because: 'what is kept across restarts is data, not behaviour' },
  { layer: 'lists', may: ['lists', 'model', 'compile/xdp', 'config/diagnostic.ts', 'errors.ts', 'node:'], because: 'big lists are read and packed off the main loop' },
  { layer: 'host', may: ['host', 'model', 'errors.ts', 'kernel/exec.ts', 'netlink', 'node:'], because: 'it looks at the host and never at our rules' },
  { layer: 'cli', may: ['cli', 'config', 'settings', 'compile', 'diff', 'host', 'model', 'dbus/transport.ts', 'dbus/installed-face.ts', 'auth/bus-client.ts', 'errors.ts', 'options.ts', 'service.ts', 'version.ts', 'commander', 'node:'],
    because: 'derpanetctl works offline from files or asks the daemon over the bus; it never touches the kernel' },
]

function sourceFiles(folder: string): string[] {
  return readdirSync(folder).flatMap((name) => {
    const path = join(folder, name)
    if (statSync(path).isDirectory()) return sourceFiles(path)
    return path.endsWith('.ts') ? [path] : []
  })
}

/** What a file imports, statically or by import(), as paths below src or package names. */
function importsOf(path: string): string[] {
  const text = readFileSync(path, 'utf8').replace(/\/\*[\s\S]*?\*\//g, '').replace(/^\s*\/\/.*$/gm, '')
  const specifiers = [...text.matchAll(/(?:^|[\s;}])(?:import|export)\s(?:[^'";]*?\sfrom\s*)?['"]([^'"]+)['"]|\bimport\(\s*['"]([^'"]+)['"]\s*\)|\brequire\(\s*['"]([^'"]+)['"]\s*\)/gm)]
  return specifiers.map((found) => {
    const specifier = found[1] ?? found[2] ?? found[3] ?? ''
    if (!specifier.startsWith('.')) return specifier
    return relative(join(root, 'src'), resolve(dirname(path), specifier)).split(sep).join('/')
  })
}

function isBelow(target: string, allowed: string): boolean {
  if (allowed === 'node:') return target.startsWith('node:')
  return target === allowed || target.startsWith(`${allowed}/`)
}

/** A scoped or deep import belongs to its package: `dbus-next/lib/x` is `dbus-next`. */
function mayImport(layer: Layer, target: string): boolean {
  return layer.may.some((allowed) => isBelow(target, allowed))
}

t.test('every source file belongs to a layer and imports only what its layer may', (t) => {
  const files = sourceFiles(join(root, 'src'))
  t.ok(files.length > 10, 'the tree is found')
  for (const file of files) {
    const name = relative(join(root, 'src'), file).split(sep).join('/')
    const layer = layers.filter((row) => isBelow(name, row.layer)).sort((a, b) => b.layer.length - a.layer.length)[0]
    if (layer === undefined) {
      t.fail(`src/${name} is in no layer: add a row to test/layers.test.ts with its reason`)
      continue
    }
    const wrong = importsOf(file).filter((target) => !mayImport(layer, target))
    t.strictSame(wrong, [], `src/${name} may import only ${layer.may.join(', ') || 'nothing'}, because ${layer.because}`)
  }
  t.end()
})

t.test('the check sees every form of import', (t) => {
  const seen = importsOf(join(root, 'test/layers.test.ts'))
  t.ok(seen.includes('node:fs') && seen.includes('tap'), 'static imports of this file are found')
  t.equal(mayImport({ layer: 'x', may: ['model'], because: '' }, 'modelling/a.ts'), false, 'a folder is not a prefix of another word')
  t.equal(mayImport({ layer: 'x', may: ['dbus-next'], because: '' }, 'dbus-next/lib/constants.js'), true, 'a deep import belongs to its package')
  t.end()
})
