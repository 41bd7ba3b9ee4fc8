// Splits the text of a rich rule into words and the words into clauses: `log prefix="x" limit value="3/m"` is the
// clause `log` followed by the clause `limit`. What clauses mean is not decided here.
import { refuse } from './types.ts'

/** A word without `=`, or `name=value`. */
export type Token =
  | { readonly kind: 'word'; readonly text: string }
  | { readonly kind: 'attribute'; readonly name: string; readonly value: string }

/** Longest text taken: the longest meaningful rule has some 700 characters. */
const maxChars = 4096

/**
 * Words are separated by blanks; values may be bare or quoted with ' or ", a backslash outside single quotes takes the
 * next character as it is. Throws INVALID_RULE for open quotes, empty values and a second `=`. Control characters are
 * passed over.
 */
export function tokens(text: string): readonly Token[] {
  if (text.length > maxChars) refuse('INVALID_RULE', `longer than ${maxChars} characters`)
  return splitWords(text).map((word) => {
    const equals = word.indexOf('=')
    if (equals < 0) return { kind: 'word', text: word }
    const name = word.slice(0, equals)
    const value = word.slice(equals + 1)
    // firewalld's reader knows no value with `=` in it, so neither may ours: a rule must mean the same in both
    if (name === '' || value === '' || value.includes('=')) refuse('INVALID_RULE', `bad attribute '${word}'`)
    return { kind: 'attribute', name, value }
  })
}

function splitWords(text: string): readonly string[] {
  const words: string[] = []
  let word: string | null = null
  let quote = ''
  for (let at = 0; at < text.length; at++) {
    const char = text[at]!
    const blank = quote === '' && /[ \t\r\n]/.test(char)
    if (blank) {
      if (word !== null) words.push(word)
      word = null
    } else if (char < ' ' || char === '\u007f') {
      // as firewalld: what nobody can see is no part of the rule
      continue
    } else if (quote === '' && (char === '"' || char === "'")) {
      quote = char
      word ??= ''
    } else if (quote !== '' && char === quote) {
      quote = ''
    } else if (char === '\\' && (quote === '' || (quote === '"' && /["\\]/.test(text[at + 1] ?? '')))) {
      at++
      if (at === text.length) refuse('INVALID_RULE', 'ends with a backslash')
      word = (word ?? '') + text[at]!
    } else {
      word = (word ?? '') + char
    }
  }
  if (quote !== '') refuse('INVALID_RULE', 'no closing quotation')
  if (word !== null) words.push(word)
  return words
}
