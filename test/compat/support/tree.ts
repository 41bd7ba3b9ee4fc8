// firewalld's shipped folder, written from the recorded data of a version: what a fresh firewalld starts with.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { formatXmlFile } from '../../../src/config/firewalld/codec.ts'
import { decodeSettings } from '../../../src/settings/dict.ts'
import { kinds, type KindSettings } from '../../../src/settings/kinds.ts'

export type Version = '1.3.3' | '2.5.0'

type Folder = (typeof kinds)[keyof typeof kinds]['folder']
type Shipped = Readonly<Record<Version, Readonly<Partial<Record<Folder, Readonly<Record<string, Readonly<Record<string, unknown>>>>>>>>>

const shipped = JSON.parse(readFileSync(new URL('../data/shipped.json', import.meta.url), 'utf8')) as Shipped

/** `folder`/zones/public.xml and so on; 0755 and 0644, as a package has them. */
export function writeShippedTree(folder: string, version: Version): void {
  for (const kind of Object.values(kinds)) {
    mkdirSync(join(folder, kind.folder), { recursive: true, mode: 0o755 })
    for (const [name, dict] of Object.entries(shipped[version][kind.folder] ?? {})) {
      const value = { ...kind.empty, ...(decodeSettings(kind.fields as never, dict) as object) }
      writeFileSync(join(folder, kind.folder, `${name}.xml`), formatXmlFile(kind.kind as keyof KindSettings, value as never), { mode: 0o644 })
    }
  }
}

/** The writable folder of a fresh installation. Only 1.3 ships a lockdown whitelist. */
export function writeSystemTree(folder: string, version: Version): void {
  mkdirSync(folder, { recursive: true, mode: 0o755 })
  const conf = ['DefaultZone=public', 'CleanupOnExit=yes', 'CleanupModulesOnExit=no', 'LogDenied=off', 'FirewallBackend=nftables', 'FlushAllOnReload=yes']
  writeFileSync(join(folder, 'firewalld.conf'), `# as installed\n${conf.join('\n')}\n`, { mode: 0o644 })
  if (version === '2.5.0') return
  writeFileSync(join(folder, 'lockdown-whitelist.xml'), `<?xml version="1.0" encoding="utf-8"?>
<whitelist>
  <command name="/usr/bin/python3 /usr/bin/firewall-config"/>
  <selinux context="system_u:system_r:NetworkManager_t:s0"/>
  <selinux context="system_u:system_r:virtd_t:s0-s0:c0.c1023"/>
  <user id="0"/>
</whitelist>
`, { mode: 0o644 })
}
