// Long lists in YAML, one item a line and nothing else in it: the form in which this program writes the entries of an ipset.
// They are cut by lines; a YAML parser takes a second and 200 MB for what takes 20 ms so. Everything else in the file, and every
// list that is written in another way, is read as YAML.

/** Fewer lines are read as YAML, like everything. */
const minLines = 500

/** What YAML and a line mean alike: no quotes, no comment, and nothing that could be a key; with a digit, so no truth value and not null. */
const plainLine = /^ {2}- (?=\D*\d)([0-9A-Za-z:][0-9A-Za-z.:,/_-]*[0-9A-Za-z])$/

export interface PlainList {
  /** Key of the list as it is written. */
  readonly key: string
  readonly items: readonly string[]
  /** 1-based line of the first item; they are all in column 5. */
  readonly line: number
  /** Offsets of the first item's line and of the end of the last one's. */
  readonly start: number
  readonly end: number
}

/** The first long plain list of the text under one of `keys`; null = none. */
export function findPlainList(text: string, keys: readonly string[]): PlainList | null {
  for (const key of keys) {
    const head = text.startsWith(`${key}:\n`) ? 0 : text.indexOf(`\n${key}:\n`) + 1
    if (head === 0 && !text.startsWith(`${key}:\n`)) continue
    const start = head + key.length + 2
    const items: string[] = []
    let end = start
    while (end < text.length) {
      const newline = text.indexOf('\n', end)
      const next = newline < 0 ? text.length : newline
      const item = plainLine.exec(text.slice(end, next))?.[1]
      if (item === undefined) break
      items.push(item)
      end = Math.min(next + 1, text.length)
    }
    // what is indented goes on with the list: a comment, a quoted item, an item in several lines
    if (items.length < minLines || /^[ \t-]/.test(text.slice(end, end + 1))) continue
    return { key, items, line: countLines(text, start) + 1, start, end }
  }
  return null
}

/** The text with the items of the list left out; what follows them stays in its line. */
export function withoutItems(text: string, { start, end, items }: PlainList): string {
  return end === text.length ? text.slice(0, start) : `${text.slice(0, start)}${'\n'.repeat(items.length)}${text.slice(end)}`
}

export const isPlainItem = (text: string): boolean => plainLine.test(`  - ${text}`)

function countLines(text: string, end: number): number {
  let lines = 0
  for (let at = text.indexOf('\n'); at >= 0 && at < end; at = text.indexOf('\n', at + 1)) lines++
  return lines
}
