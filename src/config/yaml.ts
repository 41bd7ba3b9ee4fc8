// YAML text → one document tree without surprises: a single document, no anchors, aliases, tags, merge keys or directives,
// no duplicate keys, bounded in size and depth. Knows nothing of settings.
import { Composer, LineCounter, Parser, isAlias, isMap, isNode, isScalar, visit } from 'yaml'
import type { CST, Document, Node, ParsedNode } from 'yaml'
import type { ErrorCode } from '../errors.ts'
import type { Position } from '../model/settings.ts'
import type { Diagnostic } from './diagnostic.ts'

export const maxFileBytes = 1024 * 1024
/** Of a file with a list that may be long. */
export const maxLongFileBytes = 16 * 1024 * 1024
export const maxDepth = 16

/** A parsed file. `root` is null for an empty one, and where the text was too broken to go on. */
export interface YamlFile {
  readonly root: ParsedNode | null
  readonly diagnostics: Diagnostic[]
  /** Adds an error at a character offset. */
  report(offset: number, code: ErrorCode, text: string, severity?: Diagnostic['severity']): void
  reportAt(place: Position, code: ErrorCode, text: string, severity?: Diagnostic['severity']): void
  position(offset: number): Position
}

type Token = CST.Token

/** Nesting of collections in the token tree, without recursion: the text may nest as deep as it is long. */
function offsetBeyondDepth(token: Token, limit: number): number | null {
  const open: { readonly token: Token; readonly depth: number }[] = [{ token, depth: 0 }]
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const { token: current, depth } = next
    if (current.type === 'document') {
      if (current.value !== undefined) open.push({ token: current.value, depth })
      continue
    }
    if (!('items' in current)) continue
    if (depth + 1 > limit) return current.offset
    for (const item of current.items) {
      if ('key' in item && item.key) open.push({ token: item.key, depth: depth + 1 })
      if (item.value) open.push({ token: item.value, depth: depth + 1 })
    }
  }
  return null
}

/** The message of the yaml library in one line, without the position it appends. */
const oneLine = (message: string): string => (message.split('\n')[0] ?? '').replace(/ at line \d+, column \d+:?$/, '')

/**
 * `file` is only a name for the diagnostics, which show lines of `shown`: the file, where `text` is what is left of it. Never
 * throws for any text.
 */
export function readYaml(file: string, text: string, shown = text): YamlFile {
  const counter = new LineCounter()
  let lines: readonly string[] | null = null
  const diagnostics: Diagnostic[] = []
  const position = (offset: number): Position => {
    const { line, col } = counter.linePos(Math.min(offset, text.length))
    return { line: Math.max(1, line), column: Math.max(1, col) }
  }
  const reportAt: YamlFile['reportAt'] = ({ line, column }, code, message, severity = 'error') => {
    lines ??= shown.split('\n')
    const sourceLine = (lines[line - 1] ?? '').replace(/\r$/, '')
    diagnostics.push({ severity, code, file, line, column, text: message, sourceLine })
  }
  const report: YamlFile['report'] = (offset, code, message, severity) => reportAt(position(offset), code, message, severity)
  const result = (root: ParsedNode | null): YamlFile => ({ root, diagnostics, report, reportAt, position })

  if (text.length > maxFileBytes) {
    counter.addNewLine(0)
    report(0, 'PARSE_ERROR', `the file is larger than ${maxFileBytes} bytes`)
    return result(null)
  }
  const parser = new Parser(counter.addNewLine)
  const tokens = [...parser.parse(text)]
  const directive = tokens.find((token) => token.type === 'directive')
  if (directive !== undefined) report(directive.offset, 'PARSE_ERROR', 'directives are not allowed')
  for (const token of tokens) {
    const tooDeep = token.type === 'document' ? offsetBeyondDepth(token, maxDepth) : null
    if (tooDeep === null) continue
    report(tooDeep, 'PARSE_ERROR', `nested deeper than ${maxDepth} levels`)
    return result(null)
  }
  const composer = new Composer({ version: '1.2', schema: 'core', merge: false, uniqueKeys: true, prettyErrors: false, keepSourceTokens: false })
  const documents = [...composer.compose(tokens, true, text.length)] as Document.Parsed[]
  const second = documents[1]
  if (second !== undefined) report(second.range[0], 'PARSE_ERROR', 'a file holds one document, a second one begins here')
  const document = documents[0]
  if (document === undefined) return result(null)
  for (const problem of [...document.errors, ...document.warnings]) {
    if (problem.code === 'TAG_RESOLVE_FAILED' || (problem.code as string) === 'ALIAS_PROPS') continue
    report(problem.pos[0], 'PARSE_ERROR', problem.code === 'DUPLICATE_KEY' ? 'the same key twice' : oneLine(problem.message))
  }
  refuseReferences(document, report)
  return result(document.contents)
}

/** Anchors, aliases, tags and merge keys: each makes a file mean something else than it shows. */
function refuseReferences(document: Document.Parsed, report: YamlFile['report']): void {
  if (document.contents === null) return
  const offset = (node: Node): number => node.range?.[0] ?? 0
  visit(document.contents as Node, (_key, node) => {
    if (!isNode(node)) return
    if (isAlias(node)) {
      report(offset(node), 'PARSE_ERROR', 'aliases are not allowed, write the value again')
      return
    }
    if (node.anchor) report(offset(node), 'PARSE_ERROR', 'anchors are not allowed')
    if (node.tag) report(offset(node), 'PARSE_ERROR', 'tags are not allowed')
    if (!isMap(node)) return
    for (const { key } of node.items) {
      if (isScalar(key) && key.value === '<<') report(offset(key), 'PARSE_ERROR', 'merge keys are not allowed')
    }
  })
}
