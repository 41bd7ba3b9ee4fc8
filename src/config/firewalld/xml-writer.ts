// Elements → XML text in the layout of firewalld's own files: two blanks a level, one element a line.

export interface XmlNode {
  readonly name: string
  /** In this order. */
  readonly attributes?: readonly (readonly [string, string])[]
  /** Character data; a node has either text or children. */
  readonly text?: string
  readonly children?: readonly XmlNode[]
}

const declaration = '<?xml version="1.0" encoding="utf-8"?>\n'

/** The root always has an end tag of its own, as firewalld writes it. */
export function formatXml(root: XmlNode): string {
  const children = (root.children ?? []).map((child) => formatNode(child, '  ')).join('')
  return `${declaration}<${root.name}${formatAttributes(root)}>\n${children}</${root.name}>\n`
}

function formatNode(node: XmlNode, indent: string): string {
  const start = `${indent}<${node.name}${formatAttributes(node)}`
  if (node.text !== undefined) return `${start}>${escapeText(node.text)}</${node.name}>\n`
  if (node.children === undefined || node.children.length === 0) return `${start}/>\n`
  return `${start}>\n${node.children.map((child) => formatNode(child, `${indent}  `)).join('')}${indent}</${node.name}>\n`
}

function formatAttributes(node: XmlNode): string {
  return (node.attributes ?? []).map(([name, value]) => ` ${name}="${escapeAttribute(value)}"`).join('')
}

/** A carriage return would come back as a newline. */
function escapeText(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('\r', '&#13;')
}

/** Blanks other than the plain one would come back as plain ones. */
function escapeAttribute(text: string): string {
  return escapeText(text).replaceAll('"', '&quot;').replaceAll('\n', '&#10;').replaceAll('\t', '&#9;')
}
