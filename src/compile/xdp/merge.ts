// Allow prefixes and block lists → one list without overlaps that matter: of two prefixes that cover an address the
// longer one stays only if it decides (allow before every list, an earlier list before a later one).
// So a lookup may stop at the longest prefix it finds.

/** Prefixes of one priority class, sorted by (address, length). Priority is the place in the array given to merge. */
export interface Source4 {
  readonly addrs: Uint32Array
  readonly lengths: Uint8Array
}

/** As AddressList: four words an address. */
export interface Source6 {
  readonly words: Uint32Array
  readonly lengths: Uint8Array
}

/** `sources[i]` is the index of the source that entry i came from. Only the first `count` elements are valid. */
export interface Merged4 {
  readonly count: number
  readonly addrs: Uint32Array
  readonly lengths: Uint8Array
  readonly sources: Uint16Array
}

export interface Merged6 {
  readonly count: number
  readonly words: Uint32Array
  readonly lengths: Uint8Array
  readonly sources: Uint16Array
}

/** Entries between two chances for the caller to do something else. */
export const chunkEntries = 1 << 15

/** Throws an Error when a source is not sorted. Yields between chunks. */
export function* merge4(sources: readonly Source4[]): Generator<void, Merged4> {
  const total = sources.reduce((sum, source) => sum + source.lengths.length, 0)
  const addrs = new Uint32Array(total)
  const lengths = new Uint8Array(total)
  const from = new Uint16Array(total)
  const heads = new Uint32Array(sources.length)
  // open prefixes around the current address: last address and best source of each; one a length at most
  const openEnd = new Float64Array(34)
  const openSource = new Uint16Array(34)
  let open = 0
  let count = 0
  let lastAddr = 0
  let lastLength = 0

  for (let done = 0; done < total; done++) {
    if (done % chunkEntries === chunkEntries - 1) yield
    let source = -1
    let addr = 0
    let length = 0
    for (let index = 0; index < sources.length; index++) {
      const { addrs: theirs, lengths: theirLengths } = sources[index]!
      const head = heads[index]!
      if (head >= theirLengths.length) continue
      const theirAddr = theirs[head]!
      const theirLength = theirLengths[head]!
      if (source < 0 || theirAddr < addr || (theirAddr === addr && theirLength < length)) {
        source = index
        addr = theirAddr
        length = theirLength
      }
    }
    heads[source]!++
    if (addr < lastAddr || (addr === lastAddr && length < lastLength)) throw new Error(`address list ${source} is not sorted`)
    lastAddr = addr
    lastLength = length

    while (open > 0 && openEnd[open - 1]! < addr) open--
    if (open > 0 && openSource[open - 1]! <= source) continue
    openEnd[open] = addr + 2 ** (32 - length) - 1
    openSource[open] = source
    open++
    addrs[count] = addr
    lengths[count] = length
    from[count] = source
    count++
  }
  return { count, addrs, lengths, sources: from }
}

/** As {@link merge4}. */
export function* merge6(sources: readonly Source6[]): Generator<void, Merged6> {
  const total = sources.reduce((sum, source) => sum + source.lengths.length, 0)
  const words = new Uint32Array(total * 4)
  const lengths = new Uint8Array(total)
  const from = new Uint16Array(total)
  const heads = new Uint32Array(sources.length)
  const open: number[] = []
  let count = 0
  let last: { readonly words: Uint32Array; readonly at: number; readonly length: number } | null = null

  for (let done = 0; done < total; done++) {
    if (done % chunkEntries === chunkEntries - 1) yield
    let best = -1
    for (let index = 0; index < sources.length; index++) {
      if (heads[index]! >= sources[index]!.lengths.length) continue
      if (best < 0 || isBefore(sources[index]!, heads[index]!, sources[best]!, heads[best]!)) best = index
    }
    const source = sources[best]!
    const at = heads[best]!++
    const length = source.lengths[at]!
    const order = last === null ? -1 : compareWords(last.words, last.at, source.words, at)
    if (order > 0 || (order === 0 && last!.length > length)) throw new Error(`address list ${best} is not sorted`)
    last = { words: source.words, at, length }

    while (open.length > 0 && !covers(words, open.at(-1)!, lengths[open.at(-1)!]!, source.words, at)) open.pop()
    if (open.length > 0 && from[open.at(-1)!]! <= best) continue
    for (let word = 0; word < 4; word++) words[count * 4 + word] = source.words[at * 4 + word]!
    lengths[count] = length
    from[count] = best
    open.push(count)
    count++
  }
  return { count, words, lengths, sources: from }
}

function compareWords(a: Uint32Array, atA: number, b: Uint32Array, atB: number): number {
  for (let word = 0; word < 4; word++) {
    const order = a[atA * 4 + word]! - b[atB * 4 + word]!
    if (order !== 0) return order
  }
  return 0
}

function isBefore(a: Source6, atA: number, b: Source6, atB: number): boolean {
  const order = compareWords(a.words, atA, b.words, atB)
  return order !== 0 ? order < 0 : a.lengths[atA]! < b.lengths[atB]!
}

/** Whether the prefix at `outer` holds the address at `inner`. */
function covers(outerWords: Uint32Array, outer: number, length: number, innerWords: Uint32Array, inner: number): boolean {
  for (let word = 0, bits = length; word < 4 && bits > 0; word++, bits -= 32) {
    const different = outerWords[outer * 4 + word]! ^ innerWords[inner * 4 + word]!
    if (bits >= 32 ? different !== 0 : different >>> (32 - bits) !== 0) return false
  }
  return true
}
