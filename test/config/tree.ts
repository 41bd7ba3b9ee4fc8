// A configuration tree in a temporary folder, with a small set of shipped definitions.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { formatDiagnostic } from '../../src/config/diagnostic.ts'
import { loadConfiguration } from '../../src/config/load.ts'
import type { ConfigPaths, Loaded, LoadOptions } from '../../src/config/load.ts'
import type { Settings } from '../../src/model/settings.ts'

const shippedFiles: Readonly<Record<string, string>> = {
  'zones/public.yaml': 'short: Public\nservices: [ssh]\nforward: true\n',
  'zones/drop.yaml': 'target: DROP\n',
  'services/ssh.yaml': 'ports: [22/tcp]\n',
  'services/http.yaml': 'ports: [80/tcp]\n',
  'icmptypes/echo-request.yaml': 'ipv4: [8]\nipv6: [128]\n',
  'helpers/ftp.yaml': 'module: nf_conntrack_ftp\nports: [21/tcp]\n',
}

export interface Tree {
  readonly paths: ConfigPaths
  /** Writes below etc, mode 0644; returns the absolute path. */
  write(relative: string, text: string | Uint8Array): string
  etc(relative: string): string
  load(previous?: Settings | null, options?: LoadOptions): Promise<Loaded>
  /** The lines a person gets, with the tree's folder as ETC and LIB. */
  complaints(previous?: Settings | null, options?: LoadOptions): Promise<readonly string[]>
  remove(): void
}

export function makeTree(files: Readonly<Record<string, string>> = {}, shipped = shippedFiles): Tree {
  const root = mkdtempSync(join(tmpdir(), 'derpanet-config-'))
  const paths = { etc: join(root, 'etc'), vendor: null, shipped: join(root, 'lib') }
  const put = (base: string, relative: string, text: string | Uint8Array): string => {
    const path = join(base, relative)
    mkdirSync(dirname(path), { recursive: true, mode: 0o755 })
    writeFileSync(path, text, { mode: 0o644 })
    return path
  }
  mkdirSync(paths.etc, { mode: 0o755 })
  for (const [name, text] of Object.entries(shipped)) put(paths.shipped, name, text)
  for (const [name, text] of Object.entries(files)) put(paths.etc, name, text)
  const load = (previous?: Settings | null, options?: LoadOptions): Promise<Loaded> => loadConfiguration(paths, previous ?? undefined, options)
  return {
    paths, load,
    write: (relative, text) => put(paths.etc, relative, text),
    etc: (relative) => join(paths.etc, relative),
    complaints: async (previous, options) => (await load(previous, options)).diagnostics
      .map((diagnostic) => formatDiagnostic(diagnostic).replaceAll(paths.etc, 'ETC').replaceAll(paths.shipped, 'LIB')),
    remove: () => rmSync(root, { recursive: true, force: true }),
  }
}
