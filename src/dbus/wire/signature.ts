// D-Bus signatures as trees, parsed once each. The same tree drives encoding, decoding and the conversion of arguments.

/** `code` is the type's letter; a struct has its members as children, an array one, a dictionary entry two. */
export interface TypeNode {
  readonly code: string
  readonly children: readonly TypeNode[]
  /** 1, 2, 4 or 8: where a value of this type may begin. */
  readonly alignment: number
  /** The signature this node was made from. */
  readonly text: string
}

const alignments: Readonly<Record<string, number>> = {
  y: 1, b: 4, n: 2, q: 2, i: 4, u: 4, x: 8, t: 8, d: 8, h: 4, s: 4, o: 4, g: 1, v: 1, a: 4, '(': 8, '{': 8,
}

const maxDepth = 64
const known = new Map<string, readonly TypeNode[]>()
/** A caller chooses the signatures it sends, so the cache is bounded. */
const maxKnown = 512

function parseOne(text: string, start: number, depth: number): { readonly node: TypeNode; readonly end: number } {
  const code = text[start]
  const alignment = code === undefined ? undefined : alignments[code]
  if (code === undefined || alignment === undefined || depth > maxDepth) throw new Error(`bad signature at ${start}`)
  const children: TypeNode[] = []
  let end = start + 1
  if (code === 'a') {
    const element = parseOne(text, end, depth + 1)
    children.push(element.node)
    end = element.end
  } else if (code === '(' || code === '{') {
    const close = code === '(' ? ')' : '}'
    while (text[end] !== close) {
      const member = parseOne(text, end, depth + 1)
      children.push(member.node)
      end = member.end
    }
    end++
    if (children.length === 0 || (code === '{' && children.length !== 2)) throw new Error(`bad signature at ${start}`)
  }
  return { node: { code, children, alignment, text: text.slice(start, end) }, end }
}

/** The complete types of a signature, in order. Throws for a text that is none. */
export function parseSignature(text: string): readonly TypeNode[] {
  const cached = known.get(text)
  if (cached !== undefined) return cached
  if (text.length > 255) throw new Error('signature longer than 255')
  const nodes: TypeNode[] = []
  for (let at = 0; at < text.length;) {
    const { node, end } = parseOne(text, at, 0)
    nodes.push(node)
    at = end
  }
  if (known.size >= maxKnown) known.clear()
  known.set(text, nodes)
  return nodes
}

export function isDict(node: TypeNode): boolean {
  return node.code === 'a' && node.children[0]?.code === '{'
}
