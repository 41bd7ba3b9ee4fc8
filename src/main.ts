// derpanetd: wires the edges to the one writer, listens to signals, ends with an exit status. Decides nothing.
import { makeRoomFor, makeRoomForCalls, packMemory } from './frugal.ts'
import { spawn } from 'node:child_process'
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, realpathSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { Daemon } from './daemon.ts'
import { BootWriter } from './daemon/boot.ts'
import { systemClock } from './daemon/clock.ts'
import { watchOver } from './daemon/guard.ts'
import { permanentFiles, type PermanentFiles } from './daemon/permanent.ts'
import { createFirewalldStore } from './config/store/firewalld.ts'
import { createNativeStore } from './config/store/native.ts'
import { watchFolders } from './config/watch.ts'
import { installedFace } from './dbus/installed-face.ts'
import { readTree, writeTree } from './config/tree-files.ts'
import { hostAddresses } from './host/addresses.ts'
import { unreadFirewalldFiles, unreadFirewalldText } from './host/firewalld-files.ts'
import { incomingConnections, locate } from './host/connections.ts'
import { startOf, unitOf } from './host/processes.ts'
import { enableForwarding } from './host/forwarding.ts'
import { watchLinks } from './host/links.ts'
import { takeLock } from './host/only-one.ts'
import { createDirect } from './kernel/direct.ts'
import { createExec, type Exec } from './kernel/exec.ts'
import { createTableInfo } from './kernel/netfilter/legacy-look.ts'
import { createNetfilter, type NetfilterDataplane } from './kernel/netfilter/netfilter.ts'
import { openRawSocket } from './kernel/netfilter/nfnetlink.ts'
import { createPassthrough } from './kernel/passthrough.ts'
import { createXdp, type XdpDataplane } from './kernel/xdp/xdp.ts'
import type { Dataplane } from './kernel/dataplane.ts'
import type { Settings } from './model/settings.ts'
import { createLog, type Log } from './log.ts'
import { lull } from './lull.ts'
import { createNotifier, type Notifier } from './notify.ts'
import { parseCommandLine, usage, UsageError, type CommandLine, type DaemonPaths } from './options.ts'
import type { WayBackEdges } from './daemon/way-back.ts'
import { narrowSendBuffer } from './send-buffer.ts'
import { GenerationStore } from './state/generations.ts'
import { History } from './state/history.ts'
import { RuntimeJournal } from './state/journal.ts'
import { Snapshots, snapshotLimitBytes } from './state/snapshots.ts'
import { RefusedFile, WayBackFile } from './state/way-back.ts'
import { version } from './version.ts'

type StartBus = typeof import('./dbus/server.ts').startBus

const exitStatus = { ended: 0, failed: 1, usage: 2, second: 3 } as const
const busRetryMs = 5000
/**
 * Early drops only take work off the ruleset: they may come that much later when the first clients keep the daemon busy. Less
 * than the second after which the next boot's file is written, so that it names the links that carry them.
 */
const followAtMostMs = 500
const packAtMostMs = 10_000
/** How often XDP is asked whether something is to be tried again. */
const retryLookMs = 1000
/** A guard is a process of Node's: on a slow machine with other work it takes its time. */
const guardStartMs = 10_000

async function main(): Promise<void> {
  const program = realpathSync(process.argv[1] ?? '.')
  const options = readCommandLine(program)
  if (options.action === 'help') return void process.stdout.write(usage)
  if (options.action === 'version') return void process.stdout.write(`derpanetd ${version}\n`)
  const log = createLog({
    level: options.logLevel, ...(options.logFormat === null ? {} : { format: options.logFormat }), ...(options.logFile === null ? {} : { file: options.logFile }),
  })
  endOnBugs(log)
  if (options.action === 'guard') return guard(options, log)
  if (!(await isOnlyOne(options.paths.run, log))) end(exitStatus.second, 'another derpanetd runs in this network namespace')
  for (const folder of [options.paths.run, options.paths.state]) makeFolder(folder, log)
  const dataplanes = createDataplanes(options, log)
  if (options.action === 'purge') return purge(dataplanes.all, log)
  await run(options, dataplanes, log)
}

function readCommandLine(program: string): CommandLine {
  try {
    return parseCommandLine(process.argv.slice(2), program)
  } catch (error) {
    if (error instanceof UsageError) end(exitStatus.usage, `${error.message}\nTry derpanetd --help`)
    throw error
  }
}

interface Dataplanes {
  readonly exec: Exec
  readonly all: readonly Dataplane[]
  readonly netfilter: NetfilterDataplane
  readonly xdp: XdpDataplane
}

function createDataplanes({ action, paths, variant, xdp: xdpMode }: CommandLine, log: Log): Dataplanes {
  const exec = createExec()
  const netfilter = createNetfilter({ exec, enableForwarding, openSocket: openRawSocket, tableInfo: createTableInfo(), stateDir: paths.run, log: (message, fields) => log.debug(fields ?? {}, message), warn: (message, fields) => log.warn(fields ?? {}, message), ...(variant === null ? {} : { variant }) })
  if (action === 'run') netfilter.lookAhead()
  const xdp = createXdp({ pinDir: paths.pins, loader: paths.loader, object: paths.object, exec, log, mode: xdpMode })
  const direct = createDirect({ run: createPassthrough(exec, variant), stateDir: paths.run, sign: (tables) => netfilter.sign(tables) })
  return { exec, all: [netfilter, direct, xdp], netfilter, xdp }
}

async function run(options: CommandLine, dataplanes: Dataplanes, log: Log): Promise<void> {
  const { paths } = options
  const notify = createNotifier(process.env)
  const generations = await GenerationStore.open(paths.state, (warning) => log.warn({ warning }, 'generation is left out'))
  const journal = new RuntimeJournal(join(paths.run, 'runtime.jsonl'), bootId())
  const stopping = { begun: false }
  const boot = new BootWriter({ folder: join(paths.state, 'boot'), loader: paths.loader, exec: dataplanes.exec, variant: options.variant, links: () => dataplanes.xdp.attached(), log })
  /** What systemd is told once the names on the bus are owned; null = it may be told at once. */
  let held: string | null = ''
  let bus: Promise<void> | null = null
  const daemon: Daemon = new Daemon({
    version, dataplanes: dataplanes.all, generations, journal, clock: systemClock, log, files: filesOf(options), passthrough: createPassthrough(dataplanes.exec, options.variant),
    wayBack: wayBackEdges(options, dataplanes.exec),
    // The bus, the biggest part of the program, gets ready while iptables works.
    onChosen: () => { if (options.bus) bus ??= startServing(daemon, options, log, stopping, inForce) },
    onPermanent: (plan, generation) => boot.put(() => dataplanes.netfilter.asEnforced(plan()), generation),
    tell: (phase, text) => {
      if (phase === 'reloading') notify.reloading()
      else if (held === null) notify.ready(text)
      else held = text
    },
  })
  listenToSignals(daemon, boot, notify, log, stopping)
  const folder = options.firewalldTree?.system ?? paths.etc
  const lookForFolder = (): void => daemon.notice('configuration', existsSync(folder) ? null : `${folder} is missing: what is shipped is in force, and nothing of your own`)
  lookForFolder()
  daemon.subscribe(({ kind }) => { if (kind === 'reloaded') lookForFolder() })
  const inForce: Promise<void> = Promise.resolve().then(() => daemon.start())
  await inForce
  await bus
  notify.ready(held)
  held = null
  log.info({ elapsedMs: Math.round(performance.now()) }, 'ready')
  watchFolders({
    folders: options.firewalldTree === null ? [paths.etc, paths.vendor, paths.shipped] : [options.firewalldTree.system, options.firewalldTree.defaults, paths.etc],
    onChange: (files) => void lookAt(daemon, files.filter(isConfiguration)).catch((error: unknown) => log.error({ error }, 'changed files could not be looked at')),
    onTrouble: (reason) => log.warn({ reason }, 'folder is not watched; changes there need a reload'),
  })
  beatForWatchdog(notify)
  await lull(followAtMostMs)
  if (stopping.begun) return
  await daemon.followUp()
  boot.linksChanged()
  followLinks(daemon, dataplanes.xdp, boot, log)
  daemon.watchDrift()
  dataplanes.netfilter.onCommit(() => daemon.hintDrift())
  await daemon.settle()
  if (options.firewalldTree === null) {
    const folder = join(dirname(paths.etc), 'firewalld')
    const look = (): void => daemon.notice('firewalld', unreadFirewalldText(folder, unreadFirewalldFiles(folder)))
    look()
    daemon.subscribe(({ kind }) => { if (kind === 'reloaded') look() })
  }
  const makeRoom = (): void => makeRoomFor(Math.max(0, ...[...daemon.runtime().settings.ipsets.values()].map(({ value }) => value.entries.length)))
  makeRoom()
  daemon.subscribe(({ kind }) => { if (kind === 'reloaded') makeRoom() })
  await lull(packAtMostMs)
  packMemory()
}

function bootId(): string {
  return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
}

function wayBackEdges(options: CommandLine, exec: Exec): WayBackEdges {
  const { paths, firewalldTree } = options
  const file = new WayBackFile(paths.run, bootId())
  const folder = firewalldTree === null ? paths.etc : firewalldTree.system
  return {
    file, refused: new RefusedFile(paths.state), history: new History(paths.state), snapshots: new Snapshots(paths.state),
    self: { pid: process.pid, started: startOf(process.pid) ?? '' },
    arm: ({ id }) => arm(paths, file, id),
    incoming: incomingConnections,
    locate: (connections) => locate(exec, connections),
    readFiles: () => readTree(folder, snapshotLimitBytes),
    writeFiles: (files) => writeTree(folder, files),
    unitOf,
  }
}

/**
 * Resolves when a guard watches. Under systemd it is a unit of its own that the note itself starts
 * (derpanet-guard.path): a child of this process would be killed with it.
 */
async function arm(paths: DaemonPaths, file: WayBackFile, id: string): Promise<void> {
  const isUnit = process.env['SYSTEMD_EXEC_PID'] === String(process.pid)
  if (!isUnit) startGuard(paths)
  const end = systemClock.monotonicMs() + guardStartMs
  while (!file.hasGuard(id)) {
    if (systemClock.monotonicMs() > end) throw new Error(isUnit ? 'no guard came; is derpanet-guard.path active?' : `no guard came; see ${join(paths.run, 'guard.log')}`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

function startGuard(paths: DaemonPaths): void {
  const log = openSync(join(paths.run, 'guard.log'), 'w', 0o600)
  const args = [...process.execArgv, ...process.argv.slice(1), '--guard']
  // Of its own session, and with no pipe of ours: what happens to us does not happen to it.
  spawn(process.execPath, args, { detached: true, stdio: ['ignore', log, log], cwd: '/' }).unref()
  closeSync(log)
}

/** Watches a change that waits for its confirmation from outside of the daemon that made it, and goes back in its place. */
async function guard(options: CommandLine, log: Log): Promise<void> {
  const { paths } = options
  const outcome = await watchOver({
    file: new WayBackFile(paths.run, bootId()), clock: systemClock, log, takeLock: lockOf(paths.run, log),
    kill({ pid, started }) {
      if (startOf(pid) === started) process.kill(pid, 'SIGKILL')
    },
    async goBack() {
      const dataplanes = createDataplanes({ ...options, action: 'guard' }, log)
      const generations = await GenerationStore.open(paths.state, (warning) => log.warn({ warning }, 'generation is left out'))
      const daemon = new Daemon({
        version, dataplanes: dataplanes.all, generations, journal: new RuntimeJournal(join(paths.run, 'runtime.jsonl'), bootId()), clock: systemClock, log,
        files: filesOf(options), wayBack: wayBackEdges(options, dataplanes.exec),
      })
      // A daemon's start takes back what was not confirmed. It is left as by a crash: the next one finds its journal.
      await daemon.start()
      await daemon.followUp()
      await daemon.settle()
    },
  })
  log.info({ outcome }, 'guard ends')
  process.exit(exitStatus.ended)
}

/** The log of a daemon on firewalld's tree may be in the tree, and it must not look at its own log lines. Names without an ending may be folders. */
function isConfiguration(path: string): boolean {
  return /\.(yaml|xml|list|conf)$/.test(path) || !basename(path).includes('.')
}

async function lookAt(daemon: Daemon, files: readonly string[]): Promise<void> {
  if (files.length > 0) await daemon.filesChanged(files)
}

async function startServing(daemon: Daemon, options: CommandLine, log: Log, stopping: { readonly begun: boolean }, inForce: Promise<void>): Promise<void> {
  const { startBus } = await import('./dbus/server.ts')
  await serveBus(daemon, startBus, options, log, stopping, inForce)
}

/** Our tree, or firewalld's as it is. What firewalld cannot say (lists, failsafe ports) is in ours in either case. */
function filesOf({ paths, firewalldTree }: CommandLine): PermanentFiles {
  return permanentFiles({
    face: installedFace(),
    loadOptions: () => ({ hostAddresses: hostAddresses() }),
    storeOf: (face) => firewalldTree === null
      ? createNativeStore({ etc: paths.etc, vendor: paths.vendor, shipped: paths.shipped }, face)
      : createFirewalldStore({ ...firewalldTree, shipped: paths.shipped, own: existsSync(paths.etc) ? paths.etc : null }, face),
  })
}

/** A host without a bus is still filtered. The bus may come later, or go and come back. */
async function serveBus(daemon: Daemon, startBus: StartBus, options: CommandLine, log: Log, stopping: { readonly begun: boolean }, inForce?: Promise<void>): Promise<void> {
  const again = (): void => {
    if (!stopping.begun) void serveBus(daemon, startBus, options, log, stopping)
  }
  try {
    const server = await startBus({
      service: daemon, log, narrow: narrowSendBuffer, onBigCall: makeRoomForCalls,
      // firewalld does not run without its own definitions; the rules of last resort are in force, but nobody is told that all is well
      compat: options.firewalldTree !== null && daemon.isShippedBroken() ? 'no' : daemon.runtime().settings.main.value.firewalldCompat,
      onMissing: (names) => daemon.notice('bus', names.length === 0 ? null
        : `${names.join(' and ')} on the bus belongs to another program: is firewalld running too? Two firewalls filter now, and its clients speak to the other one (systemctl disable --now firewalld)`),
      ...(options.busAddress === null ? {} : { address: options.busAddress }), ...(inForce === undefined ? {} : { inForce }),
    })
    void server.ended.then(async (reason) => {
      log.error({ reason: reason.message }, 'D-Bus is gone; filtering is not affected')
      await server.stop()
      again()
    })
  } catch (error) {
    log.error({ error: (error as Error).message, retryMs: busRetryMs }, 'D-Bus cannot be served yet; filtering is not affected')
    setTimeout(again, busRetryMs)
  }
}

function followLinks(daemon: Daemon, xdp: XdpDataplane, boot: BootWriter, log: Log): void {
  const follow = (work: () => Promise<void>): void => {
    daemon.alone(work).then(() => boot.linksChanged()).catch((error: unknown) => log.error({ error }, 'links could not be followed'))
  }
  setInterval(() => { if (xdp.isRetryDue()) follow(() => xdp.retry()) }, retryLookMs).unref()
  try {
    watchLinks(() => follow(() => xdp.refreshLinks()))
  } catch (error) {
    log.warn({ error: (error as Error).message }, 'links are not watched; XDP follows new interfaces at the next change')
  }
}

function listenToSignals(daemon: Daemon, boot: BootWriter, notify: Notifier, log: Log, stopping: { begun: boolean }): void {
  process.on('SIGHUP', () => {
    // The daemon has logged every mistake; nobody waits for an answer here.
    daemon.reload({ name: 'signal' }).catch((error: unknown) => log.error({ error: (error as Error).message }, 'reload by SIGHUP failed'))
  })
  const stop = (signal: string): void => {
    if (stopping.begun) process.exit(exitStatus.failed)
    stopping.begun = true
    log.info({ signal }, 'stopping')
    notify.stopping()
    daemon.stop().then(() => boot.flush()).then(
      () => process.exit(exitStatus.ended),
      (error: unknown) => {
        log.error({ error }, 'stop failed')
        process.exit(exitStatus.failed)
      },
    )
  }
  process.on('SIGTERM', () => stop('SIGTERM'))
  process.on('SIGINT', () => stop('SIGINT'))
}

function beatForWatchdog(notify: Notifier): void {
  if (notify.watchdogIntervalMs !== null) setInterval(() => notify.watchdog(), notify.watchdogIntervalMs)
}

async function purge(dataplanes: readonly Dataplane[], log: Log): Promise<void> {
  const failures: string[] = []
  for (const dataplane of [...dataplanes].reverse()) {
    try {
      await dataplane.purge()
    } catch (error) {
      failures.push(`${dataplane.name}: ${(error as Error).message}`)
    }
  }
  if (failures.length > 0) end(exitStatus.failed, `purge: ${failures.join('; ')}`)
  log.info({}, 'everything of derpanet is removed; the firewall is open')
  process.exit(exitStatus.ended)
}

/** While a guard takes an unconfirmed change back it is the writer, for a moment. */
async function isOnlyOne(runFolder: string, log: Log): Promise<boolean> {
  const file = new WayBackFile(runFolder, bootId())
  const end = systemClock.monotonicMs() + guardStartMs
  for (;;) {
    if (await lockOf(runFolder, log)()) {
      try {
        file.endWork()
      } catch (error) {
        log.error({ error: (error as Error).message }, 'the note of a guard that was at work cannot be removed')
      }
      return true
    }
    if (!file.mayBeGuarded() || systemClock.monotonicMs() > end) return false
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

function lockOf(folder: string, log: Log): () => Promise<boolean> {
  return () => takeLock({
    folder, onStranger: (uid) => log.error({ uid, socket: '@derpanetd' }, 'a stranger holds the name by which a second derpanetd is noticed; the run folder is asked instead'),
  })
}

/** A full or read-only disk must not keep the firewall from starting; who needs the folder says what is lost without it. */
function makeFolder(folder: string, log: Log): void {
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 })
  } catch (error) {
    log.error({ folder, error: (error as Error).message }, 'folder cannot be made')
  }
}

/** A bug must not leave a half-alive daemon: filtering stays in the kernel, systemd starts us again, the journal brings the runtime back. */
function endOnBugs(log: Log): void {
  const bug = (error: unknown): void => {
    log.fatal({ error }, 'bug: derpanetd ends; filtering stays in place')
    process.exit(exitStatus.failed)
  }
  process.on('uncaughtException', bug)
  process.on('unhandledRejection', bug)
}

function end(status: number, text: string): never {
  process.stderr.write(`derpanetd: ${text}\n`)
  process.exit(status)
}

main().catch((error: unknown) => end(exitStatus.failed, (error as Error).message))
