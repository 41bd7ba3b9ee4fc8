// The command line of derpanetd: text to values. Decides where things are, nothing else.
import { existsSync, readlinkSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { parseArgs } from 'node:util'

export interface DaemonPaths {
  readonly etc: string
  readonly shipped: string
  /** What other packages ship for firewalld. */
  readonly vendor: string
  readonly state: string
  readonly run: string
  /** Pinned maps and programs: a bpffs of our own where there is one. */
  readonly pins: string
  readonly loader: string
  readonly object: string
}

export interface CommandLine {
  readonly action: 'run' | 'guard' | 'purge' | 'help' | 'version'
  readonly paths: DaemonPaths
  readonly busAddress: string | null
  readonly bus: boolean
  /** What `auto` in the configuration means; `off` whatever it says. */
  readonly xdp: 'auto' | 'native' | 'generic' | 'off'
  readonly variant: 'nft' | 'legacy' | null
  readonly logFormat: 'journald' | 'syslog' | 'json' | 'pretty' | null
  readonly logLevel: 'debug' | 'info' | 'warn' | 'error'
  /** Log lines go there too, as text; firewalld's --log-file. */
  readonly logFile: string | null
  /** firewalld's own tree as the permanent configuration; null = ours. */
  readonly firewalldTree: { readonly system: string; readonly defaults: string } | null
}

/** A command line that cannot be understood; exit status 2. */
export class UsageError extends Error {}

export const usage = `derpanetd — the derpanet firewall daemon

Usage: derpanetd [OPTION]…

Runs in the foreground until SIGTERM. SIGHUP reloads the configuration. Filtering stays in place when it
ends (on-stop: open in derpanet.yaml changes that).

Where things are:
  --root DIR          put DIR in front of all paths below that are not given themselves
  --config-dir DIR    configuration                        (/etc/derpanet)
  --lib-dir DIR       shipped zones, services, …           (/usr/lib/derpanet, else beside the program)
  --vendor-dir DIR    what other packages ship as XML      (/usr/lib/firewalld)
  --state-dir DIR     generations and last-known-good      (/var/lib/derpanet)
  --run-dir DIR       runtime journal and pins             (/run/derpanet; /run/derpanet/netns-N in a
                      network namespace other than the host's)
  --pin-dir DIR       pinned XDP maps, on a bpffs          (RUN-DIR/bpf)
  --loader FILE       XDP loader                           (derpanet-load beside the program)

What is done:
  --xdp MODE          native or generic: that is what auto in the configuration means; off: never attach XDP,
                      whatever it says, the ruleset decides alone             (auto)
  --variant nft|legacy   which iptables to use             (the one the host uses)
  --bus-address ADDR  D-Bus to serve                       (the system bus)
  --no-bus            serve no D-Bus at all
  --guard             watch a change that waits for its confirmation, take it back when its time is over, and end
  --purge             remove every rule, set, map and program of ours, and end
  --log FORMAT        journald, syslog, json or pretty     (what fits the output)
  --log-level LEVEL   debug, info, warn or error           (info)
  --help, --version

In the place of firewalld, on its files as they are:
  --system-config DIR   the configuration is DIR/firewalld.conf, DIR/zones/*.xml, …, as in /etc/firewalld
  --default-config DIR  definitions below it               (/usr/lib/firewalld, else those of --lib-dir)
  --log-file FILE       write the log there too
  --debug[=LEVEL]       as --log-level debug
  --nofork, --nopid     accepted: derpanetd does neither

Exit status: 0 ended by a signal; 1 nothing could be enforced, or a bug; 2 wrong usage; 3 another derpanetd
runs in this network namespace.

Examples:
  derpanetd                                        as systemd runs it
  derpanetd --root /tmp/try --no-bus               try a configuration in a namespace (ip netns exec …)
  derpanetctl check && systemctl reload derpanetd  the way to change a configuration
`

/** `program` is the file that runs: what is installed beside it is found without options. Throws UsageError. */
export function parseCommandLine(args: readonly string[], program: string): CommandLine {
  const { values } = parse(args)
  const root = values.root ?? ''
  const beside = dirname(program)
  const run = values['run-dir'] ?? runFolder(`${root}/run/derpanet`)
  return {
    action: values.help ? 'help' : values.version ? 'version' : values.purge ? 'purge' : values.guard ? 'guard' : 'run',
    firewalldTree: values['system-config'] === undefined && values['default-config'] === undefined ? null : {
      system: values['system-config'] ?? `${root}/etc/firewalld`, defaults: values['default-config'] ?? `${root}/usr/lib/firewalld`,
    },
    logFile: values['log-file'] ?? null,
    paths: {
      etc: values['config-dir'] ?? `${root}/etc/derpanet`,
      shipped: values['lib-dir'] ?? shippedFolder(root, program),
      vendor: values['vendor-dir'] ?? `${root}/usr/lib/firewalld`,
      state: values['state-dir'] ?? `${root}/var/lib/derpanet`,
      run,
      pins: values['pin-dir'] ?? join(run, 'bpf'),
      loader: values.loader ?? join(beside, 'derpanet-load'),
      object: join(dirname(values.loader ?? join(beside, 'derpanet-load')), 'derpanet.bpf.o'),
    },
    busAddress: values['bus-address'] ?? null,
    bus: values['no-bus'] !== true,
    xdp: oneOf('--xdp', values.xdp ?? 'auto', ['auto', 'native', 'generic', 'off'] as const),
    variant: values.variant === undefined ? null : oneOf('--variant', values.variant, ['nft', 'legacy'] as const),
    logFormat: values.log === undefined ? null : oneOf('--log', values.log, ['journald', 'syslog', 'json', 'pretty'] as const),
    logLevel: oneOf('--log-level', values['log-level'] ?? (values.debug === undefined ? 'info' : debugLevel(values.debug)), ['debug', 'info', 'warn', 'error']),
  }
}

/**
 * The host's own network namespace is that of process 1. A daemon in another one (ip netns exec …) has a folder of its own,
 * so that several never share a journal, pins or what they know of the kernel.
 */
function runFolder(folder: string): string {
  try {
    const own = readlinkSync('/proc/self/ns/net')
    if (own === readlinkSync('/proc/1/ns/net')) return folder
    return join(folder, `netns-${/\d+/.exec(own)?.[0] ?? 'other'}`)
  } catch {
    // an own user may not look at process 1: it is the service, and that one is the host's
    return folder
  }
}

/** The installed definitions, or, in a build that is not installed, those beside the program. */
export function shippedFolder(root: string, program: string): string {
  const installed = `${root}/usr/lib/derpanet`
  const beside = join(dirname(program), 'lib')
  return existsSync(join(installed, 'zones')) || !existsSync(beside) ? installed : beside
}

const optionTable = {
  root: { type: 'string' }, 'config-dir': { type: 'string' }, 'lib-dir': { type: 'string' }, 'state-dir': { type: 'string' },
  'run-dir': { type: 'string' }, 'pin-dir': { type: 'string' }, loader: { type: 'string' }, 'bus-address': { type: 'string' },
  'no-bus': { type: 'boolean' }, xdp: { type: 'string' }, variant: { type: 'string' }, purge: { type: 'boolean' }, guard: { type: 'boolean' }, log: { type: 'string' },
  'log-level': { type: 'string' }, 'vendor-dir': { type: 'string' }, 'system-config': { type: 'string' }, 'default-config': { type: 'string' },
  'log-file': { type: 'string' }, debug: { type: 'string' }, nofork: { type: 'boolean' }, nopid: { type: 'boolean' },
  help: { type: 'boolean', short: 'h' }, version: { type: 'boolean', short: 'V' },
} as const

/** For the manual's test. */
export const optionNames: readonly string[] = Object.keys(optionTable)

function parse(args: readonly string[]): ReturnType<typeof parseArgs<{ options: typeof optionTable; args: string[]; strict: true; allowPositionals: false }>> {
  try {
    // firewalld's --debug may stand alone
    return parseArgs({ args: args.map((arg) => (arg === '--debug' ? '--debug=1' : arg)), options: optionTable, strict: true, allowPositionals: false })
  } catch (error) {
    throw new UsageError((error as Error).message)
  }
}

/** firewalld's levels: 0 is none, every other one wants to know more. */
function debugLevel(level: string): 'debug' | 'info' {
  if (!/^\d{1,2}$/.test(level)) throw new UsageError(`--debug takes a number, not '${level}'`)
  return level === '0' ? 'info' : 'debug'
}

function oneOf<Word extends string>(option: string, value: string, words: readonly Word[]): Word {
  const found = words.find((word) => word === value)
  if (found === undefined) throw new UsageError(`${option} takes ${words.join(' or ')}, not '${value}'`)
  return found
}
