// Direct configuration and the lockdown whitelist: what clients of firewalld store beside zones and policies.

/** ipv4, ipv6 or eb (bridges). */
export type DirectFamily = 'ipv4' | 'ipv6' | 'eb'

export interface DirectChain {
  readonly ipv: DirectFamily
  readonly table: string
  readonly chain: string
}

/** `args`: the arguments of iptables, one word each, at least one. Lower priorities come first. */
export interface DirectRule extends DirectChain {
  readonly priority: number
  readonly args: readonly string[]
}

export interface DirectPassthrough {
  readonly ipv: DirectFamily
  readonly args: readonly string[]
}

/** Lists keep the order of insertion and hold nothing twice. */
export interface DirectSettings {
  readonly chains: readonly DirectChain[]
  readonly rules: readonly DirectRule[]
  readonly passthroughs: readonly DirectPassthrough[]
}

/** Who may change the firewall while lockdown is on. A command may end in `*`: every command line that begins so. */
export interface LockdownSettings {
  readonly commands: readonly string[]
  readonly contexts: readonly string[]
  readonly users: readonly string[]
  readonly uids: readonly number[]
}

export const emptyDirect: DirectSettings = { chains: [], rules: [], passthroughs: [] }
export const emptyLockdown: LockdownSettings = { commands: [], contexts: [], users: [], uids: [] }

/** The tables a chain may be in. */
export const directTables: Readonly<Record<DirectFamily, readonly string[]>> = {
  ipv4: ['security', 'raw', 'mangle', 'nat', 'filter'],
  ipv6: ['security', 'raw', 'mangle', 'nat', 'filter'],
  eb: ['broute', 'nat', 'filter'],
}
