// Introspection XML as comparable data: just enough of a reader for the files firewalld and derpanet print.

export interface MemberShape {
  readonly args: readonly string[]
  readonly deprecated: boolean
}

export interface NodeShape {
  readonly name: string
  readonly children: readonly string[]
  /** `interface` → `method name` / `signal name` / `property name` → shape. Sorted by key. */
  readonly interfaces: Readonly<Record<string, Readonly<Record<string, MemberShape>>>>
}

interface Element {
  readonly tag: string
  readonly attributes: Readonly<Record<string, string>>
  readonly children: Element[]
}

function attributesOf(text: string): Record<string, string> {
  return Object.fromEntries([...text.matchAll(/([\w:]+)="([^"]*)"/g)].map((found) => [found[1] ?? '', found[2] ?? '']))
}

function parse(xml: string): Element {
  const body = xml.replace(/<\?[\s\S]*?\?>/g, '').replace(/<![\s\S]*?>/g, '')
  const root: Element = { tag: '', attributes: {}, children: [] }
  const stack = [root]
  for (const found of body.matchAll(/<(\/?)([\w]+)([^<>]*?)(\/?)>/g)) {
    const [, closing, tag, attributes, empty] = found
    const top = stack[stack.length - 1]
    if (top === undefined) throw new Error('unbalanced XML')
    if (closing === '/') {
      if (top.tag !== tag) throw new Error(`</${tag}> closes <${top.tag}>`)
      stack.pop()
      continue
    }
    const element: Element = { tag: tag ?? '', attributes: attributesOf(attributes ?? ''), children: [] }
    top.children.push(element)
    if (empty !== '/') stack.push(element)
  }
  const node = root.children[0]
  if (stack.length !== 1 || node === undefined) throw new Error('unbalanced XML')
  return node
}

function shapeOf(member: Element): MemberShape {
  const args = member.tag === 'property'
    ? [`${member.attributes['type']} ${member.attributes['access']}`]
    : member.children.filter((child) => child.tag === 'arg').map((arg) =>
        `${arg.attributes['direction'] ?? ''} ${arg.attributes['name'] ?? ''} ${arg.attributes['type']}`)
  const deprecated = member.children.some((child) =>
    child.tag === 'annotation' && child.attributes['name'] === 'org.freedesktop.DBus.Deprecated' && child.attributes['value'] === 'true')
  return { args, deprecated }
}

function sorted<T>(entries: readonly (readonly [string, T])[]): Record<string, T> {
  const keys = entries.map(([key]) => key)
  if (new Set(keys).size !== keys.length) throw new Error(`a name twice among ${keys.join(' ')}`)
  return Object.fromEntries([...entries].sort(([a], [b]) => (a < b ? -1 : 1)))
}

export function nodeShape(xml: string): NodeShape {
  const node = parse(xml)
  const interfaces = node.children.filter((child) => child.tag === 'interface').map((view) => [
    view.attributes['name'] ?? '',
    sorted(view.children.map((member) => [`${member.tag} ${member.attributes['name']}`, shapeOf(member)] as const)),
  ] as const)
  return {
    name: node.attributes['name'] ?? '',
    children: node.children.filter((child) => child.tag === 'node').map((child) => child.attributes['name'] ?? '').sort(),
    interfaces: sorted(interfaces),
  }
}
