// A line of words as a shell splits and quotes it: how the arguments of direct rules are written in files.
import { DerpanetError, printable } from '../errors.ts'

/**
 * Words are separated by blanks; ' and " quote, a backslash takes the next character as it is (within " only before " and \).
 * Nothing is expanded. Throws INVALID_COMMAND for an open quote or a last backslash.
 */
export function splitWords(line: string): readonly string[] {
  const words: string[] = []
  let word: string | null = null
  let quote = ''
  for (let at = 0; at < line.length; at++) {
    const char = line[at]!
    if (quote === '' && /[ \t\r\n]/.test(char)) {
      if (word !== null) words.push(word)
      word = null
    } else if (quote === '' && (char === '"' || char === "'")) {
      quote = char
      word ??= ''
    } else if (quote !== '' && char === quote) {
      quote = ''
    } else if (char === '\\' && (quote === '' || (quote === '"' && /["\\]/.test(line[at + 1] ?? '')))) {
      at++
      if (at === line.length) throw new DerpanetError('INVALID_COMMAND', `'${printable(line)}' ends with a backslash`)
      word = (word ?? '') + line[at]!
    } else {
      word = (word ?? '') + char
    }
  }
  if (quote !== '') throw new DerpanetError('INVALID_COMMAND', `'${printable(line)}' has no closing quotation`)
  if (word !== null) words.push(word)
  return words
}

/** Inverse of {@link splitWords}. */
export function joinWords(words: readonly string[]): string {
  return words.map((word) => (/^[A-Za-z0-9_@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'"'"'`)}'`)).join(' ')
}
