// What an administrator once told firewalld on this host: with derpanet's own files in force nobody reads it, and the person
// who wrote it should hear so.
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

const folders = ['zones', 'policies', 'services', 'ipsets', 'icmptypes', 'helpers']

/** Files below `folder` (/etc/firewalld) that say something of their own. Names without the folder, sorted; none when it cannot be read. */
export function unreadFirewalldFiles(folder: string): readonly string[] {
  const objects = folders.flatMap((name) => names(join(folder, name)).filter((file) => file.endsWith('.xml')).map((file) => `${name}/${file}`))
  const direct = existsSync(join(folder, 'direct.xml')) ? ['direct.xml'] : []
  const zone = /^DefaultZone=(.*)$/m.exec(text(join(folder, 'firewalld.conf')))?.[1]?.trim() ?? 'public'
  return [...objects, ...direct, ...(zone === 'public' ? [] : ['firewalld.conf'])].sort()
}

export function unreadFirewalldText(folder: string, files: readonly string[]): string | null {
  if (files.length === 0) return null
  const shown = files.slice(0, 3).join(', ')
  const more = files.length > 3 ? ` and ${files.length - 3} more` : ''
  return `${folder} holds settings that are not in force (${shown}${more}): carry them over with derpanetctl import firewalld, or start derpanetd with --system-config ${folder}`
}

function names(folder: string): readonly string[] {
  try {
    return readdirSync(folder)
  } catch {
    // none there, or not for us: then there is nothing to tell
    return []
  }
}

function text(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}
