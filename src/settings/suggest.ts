// "Did you mean": the nearest of the known words.

/** Edit distance with neighbouring letters swapped as one edit; `limit + 1` when it is more than `limit`. */
function distance(left: string, right: string, limit: number): number {
  if (Math.abs(left.length - right.length) > limit) return limit + 1
  let beforeLast: number[] = []
  let last = Array.from({ length: right.length + 1 }, (_, index) => index)
  for (let row = 1; row <= left.length; row++) {
    const current = [row]
    for (let column = 1; column <= right.length; column++) {
      const same = left[row - 1] === right[column - 1] ? 0 : 1
      let best = Math.min(last[column]! + 1, current[column - 1]! + 1, last[column - 1]! + same)
      if (row > 1 && column > 1 && left[row - 1] === right[column - 2] && left[row - 2] === right[column - 1]) {
        best = Math.min(best, beforeLast[column - 2]! + 1)
      }
      current.push(best)
    }
    beforeLast = last
    last = current
  }
  return last[right.length]!
}

const fold = (word: string): string => word.toLowerCase().replaceAll('_', '-')

/** The known word nearest to `word`, or null when none is near (more than a third of its letters, or three, differ). */
export function suggest(word: string, known: Iterable<string>): string | null {
  if (word.length > 64) return null
  const limit = Math.min(3, Math.max(1, Math.floor(word.length / 3)))
  let best: string | null = null
  let bestDistance = limit + 1
  for (const candidate of known) {
    const found = fold(candidate) === fold(word) ? 0 : distance(fold(word), fold(candidate), limit)
    if (found < bestDistance) {
      best = candidate
      bestDistance = found
    }
  }
  return best
}

/** `, did you mean 'x'?` or nothing: to be appended to a message. */
export function didYouMean(word: string, known: Iterable<string>): string {
  const found = suggest(word, known)
  return found === null ? '' : `, did you mean '${found}'?`
}
