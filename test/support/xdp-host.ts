// Runs the importing test file again inside an own network and mount namespace with an own BPF file system, because the
// program is tested in-process. Must be the first import of the file. Without root nothing is started, and whyNoXdpHost says why.
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { createExec } from '../../src/kernel/exec.ts'
import { createLoader } from '../../src/kernel/xdp/loader.ts'
import type { Loader } from '../../src/kernel/xdp/loader.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const inside = process.env['DERPANET_XDP_HOST']

export const whyNoXdpHost: string | null = process.getuid?.() === 0 ? null : 'needs root: loads BPF programs'
export const pinDir = `${inside ?? '/nonexistent'}/bpf`
export const paths = { loader: join(root, 'dist/derpanet-load'), object: join(root, 'dist/derpanet.bpf.o') } as const
export const exec = createExec()

export function testLoader(object: string = paths.object): Loader {
  return createLoader({ pinDir, path: paths.loader, object, exec })
}

/** A command of this namespace, insisting on success. */
export function run(command: string, ...args: readonly string[]): string {
  return execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
}

if (whyNoXdpHost === null && inside === undefined) {
  execFileSync('flock', [root, 'make', '-s', '-C', join(root, 'bpf'), 'OUT=../dist'], { stdio: ['ignore', 'ignore', 'inherit'] })
  const dir = mkdtempSync(join(tmpdir(), 'derpanet-xdp-'))
  // /run/netns is ours as well, so that `ip netns` leaves nothing behind
  const prepare = `set -e
    mkdir -p "$0/bpf" /run/netns
    mount -t bpf -o mode=700 bpf "$0/bpf"
    mount -t tmpfs tmpfs /run/netns
    ip link set lo up
    exec "$@"`
  const args = ['--net', '--mount', '--propagation', 'private', '--', 'bash', '-c', prepare, dir, process.execPath, ...process.execArgv, ...process.argv.slice(1)]
  const { status } = spawnSync('unshare', args, { stdio: 'inherit', env: { ...process.env, DERPANET_XDP_HOST: dir } })
  rmSync(dir, { recursive: true, force: true })
  process.exit(status ?? 1)
}
