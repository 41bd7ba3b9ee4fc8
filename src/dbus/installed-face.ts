// Which face this host's clients know. firewall-cmd 1.x (Debian 12) dies on the settings keys that came with 2.x, so a
// fixed default would be wrong on one of them. The library's own version file tells; without it the newer face is right
// for everybody who asks the bus and not the library.
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Face } from './members.ts'

/** Folders below `libDir` where distributions put Python libraries. */
function libraryFolders(libDir: string): readonly string[] {
  let names: readonly string[]
  try {
    names = readdirSync(libDir)
  } catch {
    return [] // no such folder: no Python on this host
  }
  return names.filter((name) => /^python3(\.\d+)?$/.test(name)).flatMap((name) => [join(libDir, name, 'dist-packages'), join(libDir, name, 'site-packages')])
}

/** 1.3 when the installed firewalld client library is older than 2, else 2.5. */
export function installedFace(libDir = '/usr/lib'): Face {
  for (const folder of libraryFolders(libDir)) {
    let text: string
    try {
      text = readFileSync(join(folder, 'firewall/config/__init__.py'), 'utf8')
    } catch {
      continue // not there: look in the next folder
    }
    const major = /^VERSION\s*=\s*['"](\d+)\./m.exec(text)?.[1]
    if (major !== undefined) return Number(major) < 2 ? '1.3' : '2.5'
  }
  return '2.5'
}
