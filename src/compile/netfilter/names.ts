// Kernel names. Ours begin with DERPA_ and derpa-: that is the marker by which they are found and, at purge, removed.
import { createHash } from 'node:crypto'

/** iptables takes 28 characters, ipset 31. */
const maxChainName = 28
const maxSetName = 31

export const chainMarker = 'DERPA_'
export const setMarker = 'derpa-'

const alphabet = 'abcdefghijklmnopqrstuvwxyz234567'

/** Eight characters, 40 bits. */
export function shortHash(text: string): string {
  const digest = createHash('sha256').update(text).digest()
  let hash = ''
  for (let i = 0; i < 8; i++) hash += alphabet[digest[i]! & 31]
  return hash
}

/**
 * A chain named by its content: equal content has the equal name, so a chain that exists never needs writing and one
 * that changed is a new chain beside the old. `DERPA_IN_public_k3xq7a2b`; `label` is for the eyes only and cut to fit.
 */
export function chainName(kind: string, label: string, content: string): string {
  const clean = label.replace(/[^A-Za-z0-9]/g, '').slice(0, 9)
  return checked(`${chainMarker}${kind}_${clean === '' ? '' : `${clean}_`}${shortHash(content)}`, maxChainName)
}

/** A chain whose name never changes: what the kernel's own chains jump to. */
export function entryChainName(what: string): string {
  return checked(`${chainMarker}${what}`, maxChainName)
}

/** Which of a role's kernel sets. Two would do; more let a set whose destruction lags behind (nf_tables frees late) be passed over. */
export const slots = ['a', 'b', 'c', 'd'] as const
export type Slot = (typeof slots)[number]

/** They are asked for at every change, and a hash costs more than all the rest of it. */
const stems = new Map<string, string>()
const maxStems = 10_000

/** `derpa-public-tcp-k3xq7a2b-a`. */
export function setName(role: string, slot: Slot): string {
  let stem = stems.get(role)
  if (stem === undefined) {
    const clean = role.replace(/^(zone|list|ipset):/, '').replace(/[^A-Za-z0-9]+/g, '-').slice(0, 12)
    stem = checked(`${setMarker}${clean}-${shortHash(role)}-a`, maxSetName).slice(0, -1)
    if (stems.size >= maxStems) stems.clear()
    stems.set(role, stem)
  }
  return stem + slot
}

function checked(name: string, max: number): string {
  if (name.length > max || !/^[A-Za-z0-9_-]+$/.test(name)) throw new Error(`bad kernel name ${JSON.stringify(name)}`)
  return name
}
