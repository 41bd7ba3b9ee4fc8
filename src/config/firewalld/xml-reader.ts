// XML text → elements with their place, and nothing else of XML: no DTD, no entities but the five of XML itself, bounded
// in size and depth. Children of the root are handed over one by one, so a set of many entries is never held as a tree.
import { SaxesParser } from 'saxes'
import { printable } from '../../errors.ts'
import type { Position } from '../../model/settings.ts'

export interface XmlAttribute {
  readonly value: string
  /** Where the value begins, behind its quote. */
  readonly position: Position
}

export interface XmlElement {
  readonly name: string
  readonly attributes: ReadonlyMap<string, XmlAttribute>
  /** All character data directly inside, in one piece. */
  readonly text: string
  readonly children: readonly XmlElement[]
  /** Where its `<` stands. */
  readonly position: Position
}

export interface XmlMistake {
  readonly position: Position
  /** One line for a person. */
  readonly text: string
}

export interface XmlLimits {
  /** UTF-16 units of the whole text. */
  readonly maxChars: number
  /** Nesting of elements; the root is 1. */
  readonly maxDepth: number
}

export const xmlLimits: XmlLimits = { maxChars: 1024 * 1024, maxDepth: 16 }

export interface XmlHandler {
  /** The start tag of the root, before any child. */
  root(element: XmlElement): void
  /** A child of the root with all that is in it. */
  child(element: XmlElement): void
}

/** Ends the parser from within; never leaves this file. */
class Stop extends Error {
  constructor(readonly offset: number, readonly text: string) {
    super(text)
  }
}

interface OpenElement {
  readonly name: string
  readonly attributes: Map<string, XmlAttribute>
  readonly texts: string[]
  readonly children: XmlElement[]
  readonly position: Position
}

/** null, or the first mistake; what was handed over before it stays handed over. Never throws for any text. */
export function readXml(source: string, handler: XmlHandler, limits: XmlLimits = xmlLimits): XmlMistake | null {
  const text = source.startsWith('\ufeff') ? source.slice(1) : source
  const positions = new Positions(text)
  if (text.length > limits.maxChars) return { position: { line: 1, column: 1 }, text: `the file is larger than ${limits.maxChars} characters` }
  // 1.1 would allow control characters as references.
  const parser = new SaxesParser({ xmlns: false, forceXMLVersion: true, defaultXMLVersion: '1.0' })
  const open: OpenElement[] = []
  parser.on('doctype', () => {
    throw new Stop(text.lastIndexOf('<!DOCTYPE', parser.position), 'a document type (DTD) is not allowed')
  })
  parser.on('error', (error) => {
    throw new Stop(parser.position - 1, error.message.replace(/^\d+:\d+: /, '').replace(/\.$/, ''))
  })
  parser.on('opentagstart', (tag) => {
    const offset = text.lastIndexOf('<', parser.position - 1)
    if (open.length >= limits.maxDepth) throw new Stop(offset, `nested deeper than ${limits.maxDepth} elements`)
    open.push({ name: tag.name, attributes: new Map(), texts: [], children: [], position: positions.at(offset) })
  })
  parser.on('attribute', ({ name, value }) => {
    const end = parser.position - 1
    const start = text.lastIndexOf(text[end] ?? '"', end - 1) + 1
    open.at(-1)?.attributes.set(name, { value, position: positions.at(start) })
  })
  parser.on('opentag', () => {
    const [root] = open
    if (open.length === 1 && root !== undefined) handler.root(finished(root))
  })
  parser.on('text', (found) => open.at(-1)?.texts.push(found))
  parser.on('cdata', (found) => open.at(-1)?.texts.push(found))
  parser.on('closetag', () => {
    const element = open.pop()
    const parent = open.at(-1)
    if (element === undefined || parent === undefined) return
    if (open.length === 1) handler.child(finished(element))
    else parent.children.push(finished(element))
  })
  try {
    parser.write(text).close()
    return null
  } catch (error) {
    if (!(error instanceof Stop)) throw error
    return { position: positions.at(Math.max(0, Math.min(error.offset, text.length))), text: printable(error.text) }
  }
}

function finished({ name, attributes, texts, children, position }: OpenElement): XmlElement {
  return { name, attributes, text: texts.join(''), children, position }
}

/** Offsets to lines and columns. */
class Positions {
  private readonly starts: number[] = [0]

  constructor(text: string) {
    for (let at = text.indexOf('\n'); at >= 0; at = text.indexOf('\n', at + 1)) this.starts.push(at + 1)
  }

  at(offset: number): Position {
    let low = 0
    let high = this.starts.length - 1
    while (low < high) {
      const middle = (low + high + 1) >> 1
      if (this.starts[middle]! <= offset) low = middle
      else high = middle - 1
    }
    return { line: low + 1, column: offset - this.starts[low]! + 1 }
  }
}

/** Encodings that firewalld's files have been seen in; everything else is refused by name. */
const encodings: Readonly<Record<string, 'utf8' | 'latin1'>> = { 'utf-8': 'utf8', utf8: 'utf8', 'us-ascii': 'utf8', ascii: 'utf8', 'iso-8859-1': 'latin1', latin1: 'latin1' }

/** The text of a file by its byte order mark or declaration, UTF-8 without either; or what is wrong with it. */
export function decodeXml(bytes: Uint8Array): string | XmlMistake {
  const start = { line: 1, column: 1 }
  const utf16 = bytes[0] === 0xff && bytes[1] === 0xfe ? 'utf-16le' : bytes[0] === 0xfe && bytes[1] === 0xff ? 'utf-16be' : null
  if (utf16 !== null) return decodeAs(utf16, bytes)
  const head = Buffer.from(bytes.subarray(0, 200)).toString('latin1')
  const declared = /^(?:\u00ef\u00bb\u00bf)?<\?xml[^>]*?\sencoding=["']([A-Za-z0-9._-]+)["']/.exec(head)?.[1]
  const encoding = declared === undefined ? 'utf8' : encodings[declared.toLowerCase()]
  if (encoding === undefined) return { position: start, text: `encoding ${printable(declared ?? '')} is not supported, write UTF-8` }
  return encoding === 'latin1' ? Buffer.from(bytes).toString('latin1') : decodeAs('utf-8', bytes)
}

function decodeAs(encoding: string, bytes: Uint8Array): string | XmlMistake {
  try {
    return new TextDecoder(encoding, { fatal: true }).decode(bytes)
  } catch {
    const lenient = new TextDecoder(encoding).decode(bytes)
    const offset = Math.max(0, lenient.indexOf('\ufffd'))
    return { position: new Positions(lenient).at(offset), text: `the text is not ${encoding.toUpperCase()}` }
  }
}
