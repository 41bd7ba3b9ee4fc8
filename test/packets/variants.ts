// Ways in which the same packet can lie on the wire: tags, IP options, extension headers, fragments, cuts. Each takes bytes
// (of an IP packet as test/support/frame.ts builds it, or of a frame) and gives new ones; lengths are kept right.

export const extensionTypes = { hopByHop: 0, routing: 43, fragment: 44, authentication: 51, destination: 60 } as const
export type Extension =
  | { readonly kind: 'hopByHop' | 'routing' | 'authentication' | 'destination'; readonly units: number }
  /** `offset` in 8-byte units. offset 0 without more = an atomic fragment. */
  | { readonly kind: 'fragment'; readonly offset: number; readonly more: boolean }

/** 802.1Q tags (802.1ad for all but the last), outer first, into a frame. */
export function withTags(frame: Uint8Array, ids: readonly number[], outerType = 0x88a8): Buffer {
  const tags = ids.map((id, index) => {
    const type = index === ids.length - 1 ? 0x8100 : outerType
    return Buffer.from([type >> 8, type & 255, 0xe0 | (id >> 8), id & 255])
  })
  return Buffer.concat([frame.subarray(0, 12), ...tags, frame.subarray(12)])
}

/** IPv4 with `words` 32-bit words of no-operation options (0–10). */
export function withOptions(packet: Uint8Array, words: number): Buffer {
  const result = Buffer.concat([packet.subarray(0, 20), Buffer.alloc(words * 4, 1), packet.subarray(20)])
  result[0] = 0x40 | (5 + words)
  result.writeUInt16BE(result.length, 2)
  return result
}

/** An IPv4 packet that says it is a fragment. `offset` in 8-byte units. */
export function asFragment4(packet: Uint8Array, offset: number, more: boolean): Buffer {
  const result = Buffer.from(packet)
  result.writeUInt16BE((more ? 0x2000 : 0) | offset, 6)
  return result
}

/** Extension headers between the IPv6 header and what follows it. `units`: size in units of 8 bytes (4 for authentication). */
export function withExtensions(packet: Uint8Array, extensions: readonly Extension[]): Buffer {
  let next = packet[6]!
  const headers: Buffer[] = []
  for (const extension of [...extensions].reverse()) {
    headers.unshift(extensionHeader(extension, next))
    next = extensionTypes[extension.kind]
  }
  const result = Buffer.concat([packet.subarray(0, 40), ...headers, packet.subarray(40)])
  result[6] = next
  result.writeUInt16BE(result.length - 40, 4)
  return result
}

function extensionHeader(extension: Extension, next: number): Buffer {
  switch (extension.kind) {
    case 'fragment': {
      const field = (extension.offset << 3) | (extension.more ? 1 : 0)
      return Buffer.from([next, 0, field >> 8, field & 255, 0, 0, 0, 7])
    }
    case 'authentication': return sized(next, extension.units * 4, extension.units - 2)
    default: return sized(next, extension.units * 8, extension.units - 1)
  }
}

function sized(next: number, bytes: number, length: number): Buffer {
  const header = Buffer.alloc(bytes)
  header[0] = next
  header[1] = length
  return header
}
