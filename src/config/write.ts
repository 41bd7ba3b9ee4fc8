// Writes single keys of derpanet.yaml, so that everything else a person wrote stays as it is, byte for byte.
import { open } from 'node:fs/promises'
import { isMap, isScalar, parseDocument } from 'yaml'
import { DerpanetError, printable } from '../errors.ts'
import { readIfThere, writeAtomic } from '../state/atomic.ts'

/**
 * Sets `key` to the plain word `value`. Edits of a person that are not loaded yet stay in the file.
 * Throws PARSE_ERROR with the position when the file cannot be understood; it is untouched then.
 */
export async function writeMainKey(path: string, key: string, value: string): Promise<void> {
  const before = await readIfThere(path)
  const text = before === null ? '' : before.toString('utf8')
  await writeAtomic(path, replaceKey(text, key, value, path), before === null ? 0o644 : await modeOf(path))
}

/** Pure part of {@link writeMainKey}. `value` must need no quotes beyond what JSON gives it. */
export function replaceKey(text: string, key: string, value: string, path: string): string {
  const document = parseDocument(text)
  const mistake = document.errors[0]
  if (mistake !== undefined) {
    const { line, col } = mistake.linePos?.[0] ?? { line: 1, col: 1 }
    throw new DerpanetError('PARSE_ERROR', `${printable(path)}:${line}:${col}: not changed, because the file has mistakes`)
  }
  const word = /^[A-Za-z_][A-Za-z0-9_-]*$/.test(value) && !/^(true|false|null|yes|no|on|off|y|n)$/i.test(value) ? value : JSON.stringify(value)
  const map = document.contents
  if (map !== null && !(isMap(map) && !map.flow)) throw new DerpanetError('PARSE_ERROR', `${printable(path)}:1:1: not changed, because it is no block of keys`)
  const node = map?.get(key, true)
  if (isScalar(node) && node.range) return `${text.slice(0, node.range[0])}${word}${text.slice(node.range[1])}`
  return `${text}${text === '' || text.endsWith('\n') ? '' : '\n'}${key}: ${word}\n`
}

async function modeOf(path: string): Promise<number> {
  const file = await open(path, 'r')
  try {
    return (await file.stat()).mode & 0o777
  } finally {
    await file.close()
  }
}
