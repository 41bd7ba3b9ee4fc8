// The text of a list → a packed AddressList. One address or prefix a line, `#` begins a comment. Bytes are scanned in
// place: a line costs no string unless it is wrong or written in a rare way, because a list may have a million lines.
import { parsePrefix } from '../model/addr.ts'
import { words6 } from '../model/address-list.ts'
import type { Family } from '../model/addr.ts'
import type { AddressList, Position } from '../model/settings.ts'
import type { Diagnostic } from '../config/diagnostic.ts'
import { finishList, PrefixBuffer } from './packed.ts'

/** Shortest prefixes a list may hold: less would be a mistake that cuts off a good part of the world. */
export const shortestPrefix: Readonly<Record<Family, number>> = { ipv4: 8, ipv6: 19 }

/** That many mistakes are shown, the rest is counted. */
export const shownMistakes = 20

export interface ParsedList {
  /** null when a line is wrong. */
  readonly list: AddressList | null
  readonly diagnostics: readonly Diagnostic[]
}

const newline = 10
const hash = 0x23

/** By byte: the value of a hex digit, -1 for other bytes. */
const hexDigits = Int8Array.from({ length: 256 }, (_, code) => {
  const value = parseInt(String.fromCharCode(code), 16)
  return Number.isNaN(value) ? -1 : value
})

/** Scans a text piece by piece; pieces end at line ends (see ListScanner.scan). */
export class ListScanner {
  readonly buffer = new PrefixBuffer()
  private readonly mistakes: Diagnostic[] = []
  private wrongLines = 0
  private line = 0

  constructor(private readonly name: string, private readonly file: string, private readonly bytes: Uint8Array) {}

  /** Scans from `start` and stops at the first line that begins at or after `end`; returns where that is. */
  scan(start: number, end: number): number {
    const { bytes, buffer } = this
    const total = bytes.length
    const min4 = shortestPrefix.ipv4
    let at = start
    while (at < end) {
      const lineStart = at
      this.line++
      let code = bytes[at]!
      while (code === 0x20 || code === 9) code = at + 1 < total ? bytes[++at]! : newline
      // A dotted quad with an optional length: four numbers without leading zeros.
      let addr = 0
      let part = 0
      let good = false
      if (code >= 0x30 && code <= 0x39) {
        for (part = 0; part < 4; part++) {
          if (code < 0x30 || code > 0x39) break
          let byte = code - 0x30
          const zero = byte === 0
          code = ++at < total ? bytes[at]! : newline
          while (code >= 0x30 && code <= 0x39 && byte < 256 && !zero) {
            byte = byte * 10 + code - 0x30
            code = ++at < total ? bytes[at]! : newline
          }
          if (byte > 255) break
          addr = addr * 256 + byte
          if (part < 3) {
            if (code !== 0x2e) break
            code = ++at < total ? bytes[at]! : newline
          } else good = true
        }
      }
      let length = 32
      if (good && code === 0x2f) {
        code = ++at < total ? bytes[at]! : newline
        good = code >= 0x30 && code <= 0x39
        length = 0
        let digits = 0
        while (code >= 0x30 && code <= 0x39 && digits < 3) {
          length = length * 10 + code - 0x30
          digits++
          code = ++at < total ? bytes[at]! : newline
        }
        if (length > 32 || digits > 2) good = false
      }
      if (good) {
        while (code === 0x20 || code === 9 || code === 13) code = ++at < total ? bytes[at]! : newline
        if (code === hash) at = this.lineEnd(at)
        else if (code !== newline) good = false
      }
      if (good && length >= min4) {
        buffer.push4(length === 32 ? addr : (addr - addr % 2 ** (32 - length)), length)
      } else {
        at = this.lineEnd(at)
        if (good || !this.scan6(lineStart, at)) this.readSlowly(lineStart, at)
      }
      at++
    }
    return at
  }

  private lineEnd(at: number): number {
    const found = this.bytes.indexOf(newline, at)
    return found < 0 ? this.bytes.length : found
  }

  /** The usual ways to write an IPv6 prefix; false = read it slowly, nothing was taken. */
  private scan6(start: number, end: number): boolean {
    const { bytes } = this
    let at = start
    while (at < end && (bytes[at] === 0x20 || bytes[at] === 9)) at++
    const groups = this.groups
    let count = 0
    let gap = -1
    if (bytes[at] === 0x3a) {
      if (bytes[at + 1] !== 0x3a) return false
      gap = 0
      at += 2
    }
    while (at < end && count < 8) {
      let value = 0
      let digits = 0
      while (at < end) {
        const digit = hexDigits[bytes[at]!]!
        if (digit < 0) break
        value = value << 4 | digit
        digits++
        at++
      }
      if (digits === 0) break
      if (digits > 4) return false
      groups[count++] = value
      if (at >= end || bytes[at] !== 0x3a) break
      at++
      if (bytes[at] === 0x3a && at < end) {
        if (gap >= 0) return false
        gap = count
        at++
      } else if (at >= end || hexDigits[bytes[at]!]! < 0) return false
    }
    if (gap < 0 ? count !== 8 : count > 7) return false
    let length = 128
    if (at < end && bytes[at] === 0x2f) {
      at++
      length = 0
      let digits = 0
      while (at < end && bytes[at]! >= 0x30 && bytes[at]! <= 0x39) {
        length = length * 10 + bytes[at]! - 0x30
        digits++
        at++
      }
      if (digits === 0 || digits > 3 || length > 128) return false
    }
    while (at < end && (bytes[at] === 0x20 || bytes[at] === 9 || bytes[at] === 13)) at++
    if (at < end && bytes[at] !== hash) return false
    if (length < shortestPrefix.ipv6) return false
    if (gap >= 0) {
      for (let index = 7, from = count - 1; index >= gap; index--) groups[index] = from >= gap ? groups[from--]! : 0
    }
    for (let index = length + 15 >> 4; index < 8; index++) groups[index] = 0
    if (length % 16 !== 0) groups[length >> 4]! &= 0xffff << (16 - length % 16)
    this.buffer.push6(
      groups[0]! * 65536 + groups[1]!, groups[2]! * 65536 + groups[3]!, groups[4]! * 65536 + groups[5]!, groups[6]! * 65536 + groups[7]!, length)
    return true
  }

  private readonly groups = new Uint16Array(8)

  /** Blank lines, comments, dotted masks, embedded quads, and everything that is wrong. */
  private readSlowly(start: number, end: number): void {
    const whole = new TextDecoder().decode(this.bytes.subarray(start, Math.min(end, start + 500)))
    const text = whole.replace(/#.*$/s, '').trim()
    if (text === '') return
    const prefix = parsePrefix(text)
    if (prefix === null) this.refuse(whole, 'INVALID_ADDR', 'not an address or prefix')
    else if (prefix.length < shortestPrefix[prefix.family]) {
      this.refuse(whole, 'INVALID_ENTRY', `a list takes no prefix shorter than /${shortestPrefix[prefix.family]}`)
    } else if (prefix.family === 'ipv4') this.buffer.push4(Number(prefix.addr), prefix.length)
    else this.buffer.push6(...words6(prefix.addr), prefix.length)
  }

  private refuse(line: string, code: Diagnostic['code'], text: string): void {
    this.wrongLines++
    if (this.mistakes.length >= shownMistakes) return
    const column = line.length - line.trimStart().length + 1
    this.mistakes.push({ severity: 'error', code, file: this.file, line: this.line, column, text, sourceLine: line.replace(/\r$/, '') })
  }

  finish(): ParsedList {
    const rest = this.wrongLines - this.mistakes.length
    if (rest > 0) {
      const last = this.mistakes[this.mistakes.length - 1]!
      this.mistakes.push({ severity: 'error', code: 'PARSE_ERROR', file: this.file, line: last.line, column: last.column, text: `and ${rest} more wrong lines` })
    }
    if (this.mistakes.length > 0) return { list: null, diagnostics: this.mistakes }
    return { list: finishList(this.name, this.file, this.buffer), diagnostics: [] }
  }
}

/** Parses a whole text at once; about 0.1 s for a million lines. See worker.ts for what the daemon calls. */
export function parseList(name: string, file: string, bytes: Uint8Array): ParsedList {
  const scanner = new ListScanner(name, file, bytes)
  scanner.scan(0, bytes.length)
  return scanner.finish()
}

/** Where the first line is whose prefix contains the address: for telling a person which line to take out. */
export function locateAddress(bytes: Uint8Array, family: Family, addr: bigint): (Position & { readonly sourceLine: string }) | null {
  const lines = new TextDecoder().decode(bytes).split('\n')
  for (const [index, line] of lines.entries()) {
    const prefix = parsePrefix(line.replace(/#.*$/, '').trim())
    if (prefix === null || prefix.family !== family) continue
    const hostBits = BigInt((family === 'ipv4' ? 32 : 128) - prefix.length)
    if (prefix.addr >> hostBits !== addr >> hostBits) continue
    return { line: index + 1, column: line.length - line.trimStart().length + 1, sourceLine: line.replace(/\r$/, '') }
  }
  return null
}
