// The BPF file system our pins live on: under systemd run-derpanet-bpf.mount makes it, elsewhere the daemon does.
import { mkdirSync, statfsSync } from 'node:fs'
import { printable } from '../errors.ts'
import { execOk, type Exec } from './exec.ts'

const bpfFsMagic = 0xcafe4a11

/**
 * Makes sure that `folder` is on a BPF file system, mounting one of our own, for root alone, where it is not. Returns why
 * it could not; then XDP stays off and the ruleset decides alone. A mount of ours outlives the daemon, as filtering does.
 */
export async function ensureBpffs(folder: string, exec: Exec): Promise<string | null> {
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 })
    if (statfsSync(folder).type === bpfFsMagic) return null
    await execOk(exec, { command: 'mount', args: ['-t', 'bpf', '-o', 'mode=0700,nosuid,nodev,noexec', 'bpf', folder], timeoutMs: 5000 })
    return null
  } catch (error) {
    return printable((error as Error).message)
  }
}
