// Arguments as callers really send them → the declared types. firewalld's Python looks at values, not signatures, and
// clients rely on it: Docker's library sends the settings tuple as `av`, others any width of integer. So members are
// found by name, variants are taken off wherever they are, and only a value that cannot be meant is refused.
import { printable } from '../errors.ts'
import type { Arg } from './members.ts'
import { Variant } from './wire/encode.ts'
import { isDict, parseSignature, type TypeNode } from './wire/signature.ts'

/** The call does not fit the member. Sent as firewalld's Exception without a code, as firewalld does. */
export class ArgumentError extends Error {
  override readonly name = 'ArgumentError'
}

function describe(value: unknown): string {
  if (Array.isArray(value)) return 'array'
  if (value instanceof Map) return 'dictionary'
  if (Buffer.isBuffer(value)) return 'bytes'
  return typeof value === 'bigint' || typeof value === 'number' ? 'number' : typeof value
}

const words: Readonly<Record<string, string>> = { s: 'string', o: 'string', i: 'integer', b: 'boolean', a: 'array', '(': 'structure' }

function refuse(where: string, node: TypeNode, value: unknown): never {
  const expected = isDict(node) ? 'dictionary' : words[node.code] ?? node.text
  const shown = typeof value === 'string' || typeof value === 'number' || typeof value === 'bigint' ? ` '${printable(String(value), 40)}'` : ''
  throw new ArgumentError(`${where}${shown} is of type ${describe(value)}, expected ${expected}`)
}

function unwrap(value: unknown): unknown {
  let inner = value
  while (inner instanceof Variant) inner = inner.value
  return inner
}

/** Plain values inside and out: variants off, dictionaries as records. */
function plain(value: unknown): unknown {
  const inner = unwrap(value)
  if (Array.isArray(inner)) return inner.map(plain)
  if (inner instanceof Map) {
    const record: Record<string, unknown> = Object.create(null) as Record<string, unknown>
    for (const [key, item] of inner) record[String(key)] = plain(item)
    return record
  }
  return inner
}

function convert(where: string, node: TypeNode, value: unknown): unknown {
  const inner = unwrap(value)
  switch (node.code) {
    case 's':
    case 'o':
      return typeof inner === 'string' ? inner : refuse(where, node, inner)
    case 'b':
      return typeof inner === 'boolean' ? inner : refuse(where, node, inner)
    case 'i': {
      const number = typeof inner === 'bigint' ? Number(inner) : inner
      if (typeof number !== 'number' || !Number.isInteger(number)) return refuse(where, node, inner)
      if (number < -0x80000000 || number > 0x7fffffff) throw new ArgumentError(`${where} ${number} does not fit into 32 bits`)
      return number
    }
    case 'v':
      return plain(inner)
    case '(': {
      if (!Array.isArray(inner)) return refuse(where, node, inner)
      if (inner.length !== node.children.length) {
        throw new ArgumentError(`${where} has ${inner.length} members, expected ${node.children.length}`)
      }
      return node.children.map((child, index) => convert(`${where}[${index}]`, child, inner[index]))
    }
    case 'a': {
      const element = node.children[0]
      if (element === undefined) return refuse(where, node, inner)
      if (isDict(node)) {
        // an empty dictionary of an untyped language arrives as an empty array
        if (Array.isArray(inner) && inner.length === 0) return {}
        if (!(inner instanceof Map)) return refuse(where, node, inner)
        const [keyNode, valueNode] = element.children
        if (keyNode === undefined || valueNode === undefined) return refuse(where, node, inner)
        const record: Record<string, unknown> = Object.create(null) as Record<string, unknown>
        for (const [key, item] of inner) {
          const name = convert(where, keyNode, key) as string
          record[name] = convert(`${where}['${printable(name, 40)}']`, valueNode, item)
        }
        return record
      }
      if (inner instanceof Map && inner.size === 0) return []
      if (!Array.isArray(inner)) return refuse(where, node, inner)
      // of a million texts no place is named in vain
      if (element.code === 's' && inner.every((item) => typeof item === 'string')) return inner
      return inner.map((item, index) => convert(`${where}[${index}]`, element, item))
    }
    default:
      return refuse(where, node, inner)
  }
}

/** Throws ArgumentError for too few or too many arguments and for values of another kind. */
export function convertArguments(declared: readonly Arg[], body: readonly unknown[]): readonly unknown[] {
  if (body.length !== declared.length) {
    const missing = declared.slice(body.length).map((arg) => arg.name)
    const detail = missing.length > 0 ? `missing ${missing.join(', ')}` : 'too many'
    throw new ArgumentError(`${body.length} arguments given, ${declared.length} expected (${detail})`)
  }
  return declared.map((arg, index) => {
    const [node] = parseSignature(arg.type)
    if (node === undefined) throw new Error(`argument ${arg.name} has no type`)
    return convert(arg.name, node, body[index])
  })
}
