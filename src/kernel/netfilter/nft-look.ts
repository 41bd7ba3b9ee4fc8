// A cheap look at our rules in nf_tables: what stands in our chains, and what is first in each of the kernel's chains that we
// jump from, as a digest of the kernel's own words. And who commits: the kernel tells every listener.
import { createHash } from 'node:crypto'
import { constants } from 'node:os'
import type { Family } from '../../model/addr.ts'
import { families } from '../../model/addr.ts'
import type { RenderedFamily } from '../../compile/netfilter/render.ts'
import { chainKey } from './counters.ts'
import { eachAttribute, netlinkFlags, readAttributes, readNumber, readText } from './nfnetlink.ts'
import type { Nfnetlink, RawSocket } from './nfnetlink.ts'

const subsystem = 10
const getRule = 7
const newGeneration = 15
const familyNumbers: Readonly<Record<Family, number>> = { ipv4: 2, ipv6: 10 }
const ruleAttributes = { table: 1, chain: 2, handle: 3, expressions: 4 } as const
const expressionAttributes = { name: 1 } as const
/** NFNLGRP_NFTABLES */
const groupTables = 7
const headerBytes = 16
const netfilterHeaderBytes = 4

/** Digests by `ipv4/mangle/CHAIN`; of the kernel's own chains the first rules alone. A chain without rules, or that is gone, has "". */
export type Signs = ReadonlyMap<string, string>

/** One dump a chain: foreign rules, however many, are not read. */
export async function readSigns(netlink: Nfnetlink, rendered: Readonly<Record<Family, RenderedFamily>>): Promise<Signs> {
  const found = new Map<string, string>()
  for (const family of families) {
    for (const { table, chains, entries, jumps } of rendered[family]) {
      for (const { name } of [...chains, ...entries]) found.set(chainKey(family, table, name), (await rulesOf(netlink, family, table, name)).join(' '))
      for (const chain of new Set(jumps.map((jump) => jump.chain))) {
        const count = jumps.filter((jump) => jump.chain === chain).length
        found.set(chainKey(family, table, chain), (await rulesOf(netlink, family, table, chain)).slice(0, count).join(' '))
      }
    }
  }
  return found
}

async function rulesOf(netlink: Nfnetlink, family: Family, table: string, chain: string): Promise<readonly string[]> {
  const body = Buffer.concat([text(ruleAttributes.table, table), text(ruleAttributes.chain, chain)])
  const [answer] = await netlink.ask([{ type: (subsystem << 8) | getRule, flags: netlinkFlags.dump, family: familyNumbers[family], body }])
  // what is gone has no rules
  if (answer!.error !== 0 && answer!.error !== constants.errno.ENOENT) throw new Error(`look at ${table} ${chain}: error ${answer!.error}`)
  return answer!.messages.map(readAttributes).flatMap((attributes) => (
    // older kernels filter by table only
    readText(attributes.get(ruleAttributes.chain)) === chain ? [digestOf(attributes)] : []))
}

/** Without its counters. The handle alone would not do: a rule that replaces another takes it over. */
function digestOf(attributes: ReadonlyMap<number, Uint8Array>): string {
  const hash = createHash('sha1').update(attributes.get(ruleAttributes.handle) ?? '')
  for (const [, expression] of eachAttribute(attributes.get(ruleAttributes.expressions) ?? new Uint8Array())) {
    if (readText(readAttributes(expression).get(expressionAttributes.name)) !== 'counter') hash.update(expression)
  }
  return hash.digest('base64')
}

function text(type: number, value: string): Buffer {
  const bytes = Buffer.alloc((4 + value.length + 1 + 3) & ~3)
  bytes.writeUInt16LE(4 + value.length + 1, 0)
  bytes.writeUInt16LE(type, 2)
  bytes.write(value, 4, 'latin1')
  return bytes
}

/** A commit, by whomever. */
export interface Commit {
  readonly generation: number
  readonly pid: number
  readonly name: string
}

const generationAttributes = { id: 1, pid: 2, name: 3 } as const

/**
 * Calls back for every commit of this network namespace. When too many come at once some are lost; the count of commits
 * (generation.ts) tells. Returns the stopper.
 */
export function listenToCommits(socket: RawSocket, onCommit: (commit: Commit) => void): () => void {
  socket.on('message', (bytes) => {
    const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    for (let at = 0; at + headerBytes <= view.length;) {
      const length = view.readUInt32LE(at)
      if (length < headerBytes || at + length > view.length) return
      if (view.readUInt16LE(at + 4) === ((subsystem << 8) | newGeneration)) onCommit(readCommit(view.subarray(at + headerBytes + netfilterHeaderBytes, at + length)))
      at += (length + 3) & ~3
    }
  })
  socket.on('error', () => { /* ENOBUFS: some were lost */ })
  socket.addMembership?.(groupTables)
  socket.unref()
  return () => socket.close()
}

function readCommit(bytes: Uint8Array): Commit {
  const attributes = new Map(eachAttribute(bytes))
  return {
    generation: readNumber(attributes.get(generationAttributes.id)), pid: readNumber(attributes.get(generationAttributes.pid)),
    name: readText(attributes.get(generationAttributes.name)),
  }
}
