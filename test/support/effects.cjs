// Loaded before a program of ours (node --require): numbers every effect it has on the world outside of itself, and at a chosen
// one dies by SIGKILL or has it fail. It sits between the program and Node's own interface, so no effect can forget to be
// numbered, and the program knows nothing of it.
//
// Effects: starting a tool, writing files (open, write, rename, sync, remove, make), a request to netfilter by netlink, a write
// to a BPF map. Reading is none.
//
// DERPANET_EFFECTS names a folder. plan.json in it, {"name": "spawn ip -json", "nth": 1, "mode": "kill"}, is read at start and at
// each SIGUSR2, which begins the count anew. Each effect is one line in `trace`, its number and its name; effects are chosen by
// name, because those in the background come at another place each time. Modes:
//   none         only counts
//   kill         dies before the effect               kill-during  dies while the tool runs        kill-after  dies right after it
//   fail         it fails as such things do: a file on a full disk, a tool with status 1, the kernel with EPERM; nothing is done
//   fail-after   a tool does its work and then says it failed
//   hang         a tool never ends; time limits of tools (30 s and more) are thirty times shorter then
//   tool-killed  a tool dies by SIGKILL soon after its start
//   refuse       the kernel itself answers that the request is invalid
//   inside-kill, inside-fail   effect `inside` of the loader itself, which counts its own (effects-inside.c, built as inside.so in
//                the folder; in file `inside` one line each): the loader dies there, or the kernel refuses it
'use strict'
const childProcess = require('node:child_process')
const fs = require('node:fs')
const Module = require('node:module')
const path = require('node:path')

const folder = process.env.DERPANET_EFFECTS
// a worker only reads
if (folder !== undefined && require('node:worker_threads').isMainThread) install(folder)

function install(where) {
  const real = { writeSync: fs.writeSync, openSync: fs.openSync, readFileSync: fs.readFileSync, spawn: childProcess.spawn, setTimeout: globalThis.setTimeout }
  let plan = { mode: 'none' }
  let count = 0
  let sames = 0
  const trace = real.openSync(path.join(where, 'trace'), 'a')
  const read = () => {
    try {
      plan = JSON.parse(real.readFileSync(path.join(where, 'plan.json'), 'utf8'))
    } catch (error) {
      if (error.code !== 'ENOENT') throw error
      plan = { mode: 'none' }
    }
    count = 0
    sames = 0
    real.writeSync(trace, `plan ${plan.mode} ${plan.nth} ${plan.name}\n`)
  }
  const die = () => {
    process.kill(process.pid, 'SIGKILL')
    for (;;) ; // the signal is on its way
  }
  /** Is it this one's turn? Dies here where it is told to die before. */
  const reach = (name) => {
    count += 1
    real.writeSync(trace, `${count} ${name}\n`)
    if (name !== plan.name || ++sames !== plan.nth) return null
    if (plan.mode === 'kill') die()
    return plan.mode
  }
  const failure = (code, name) => Object.assign(new Error(`${code}: injected, ${name}`), { code, errno: -28, syscall: name.split(' ')[0] })
  const short = (file) => String(file).replace(/[0-9a-f]{16,}/g, 'H').replace(/\d+/g, 'N').slice(-60)

  // --- files
  const writes = (flags) => typeof flags === 'number' ? (flags & 3) !== 0 : /[wa+]/.test(String(flags ?? 'r'))
  const sync = (name, isEffect, label) => {
    const original = fs[name]
    fs[name] = function (...args) {
      if (!isEffect(args)) return original.apply(this, args)
      const what = `${name} ${label(args)}`
      const mode = reach(what)
      if (mode === 'fail') throw failure('ENOSPC', what)
      const result = original.apply(this, args)
      if (mode === 'kill-after') die()
      return result
    }
  }
  const always = () => true
  const first = (args) => short(args[0])
  sync('openSync', (args) => writes(args[1]), first)
  // standard output and error are for people
  sync('writeSync', (args) => args[0] > 2 && args[0] !== trace, () => 'fd')
  for (const name of ['writeFileSync', 'appendFileSync', 'renameSync', 'rmSync', 'unlinkSync', 'mkdirSync', 'fsyncSync', 'ftruncateSync']) sync(name, always, (args) => typeof args[0] === 'number' ? 'fd' : first(args))
  const asyncFs = (object, name, isEffect, label) => {
    const original = object[name]
    object[name] = async function (...args) {
      if (!isEffect(args)) return await original.apply(this, args)
      const what = `${name} ${label(args)}`
      const mode = reach(what)
      if (mode === 'fail') throw failure('ENOSPC', what)
      const result = await original.apply(this, args)
      if (mode === 'kill-after') die()
      return result
    }
  }
  asyncFs(fs.promises, 'open', (args) => writes(args[1]), first)
  for (const name of ['writeFile', 'appendFile', 'rename', 'rm', 'unlink', 'mkdir']) asyncFs(fs.promises, name, always, first)
  fs.promises.open('/dev/null', 'r').then(async (handle) => {
    const prototype = Object.getPrototypeOf(handle)
    for (const name of ['writeFile', 'write', 'sync', 'truncate']) asyncFs(prototype, name, always, () => 'handle')
    await handle.close()
  })

  // --- tools
  const insideEnv = (mode) => ({
    LD_PRELOAD: path.join(where, 'inside.so'), DERPANET_INSIDE: path.join(where, 'inside'), DERPANET_INSIDE_SPAWN: String(count),
    ...(mode === 'inside-kill' || mode === 'inside-fail' ? { DERPANET_INSIDE_AT: String(plan.inside), DERPANET_INSIDE_MODE: mode.slice(7) } : {}),
  })
  childProcess.spawn = function (file, args, options) {
    const what = `spawn ${path.basename(file)} ${args.slice(0, 2).map(short).join(' ')}`
    const mode = reach(what)
    const instead = (command, ...words) => real.spawn.call(this, command, [...words], options)
    if (mode === 'fail') return instead('/bin/sh', '-c', 'echo injected >&2; exit 1')
    if (mode === 'fail-after') return instead('/bin/sh', '-c', '"$@"; echo injected >&2; exit 1', 'sh', file, ...args)
    if (mode === 'hang') return instead('/bin/sleep', '1000')
    if (mode === 'tool-killed') return instead('/usr/bin/timeout', '-s', 'KILL', '0.003', file, ...args)
    const child = real.spawn.call(this, file, args, path.basename(file) === 'derpanet-load' ? { ...options, env: { ...options.env, ...insideEnv(mode) } } : options)
    // somewhere in it: tools take 5 to 50 ms
    if (mode === 'kill-during') real.setTimeout(die, 1 + (count * 7) % 12)
    if (mode === 'kill-after') child.on('exit', die)
    return child
  }
  globalThis.setTimeout = function (run, ms, ...rest) {
    return real.setTimeout(run, plan.mode === 'hang' && ms >= 30_000 ? ms / 30 : ms, ...rest)
  }
  Object.assign(globalThis.setTimeout, { [require('node:util').promisify.custom]: real.setTimeout[require('node:util').promisify.custom] })

  // --- the kernel
  const method = (prototype, name, label) => {
    const original = prototype[name]
    if (typeof original !== 'function') return
    prototype[name] = function (...args) {
      const what = label(args)
      const mode = reach(what)
      if (mode === 'fail') throw failure('EPERM', what)
      const result = original.apply(this, args)
      if (mode === 'kill-after') die()
      return result
    }
  }
  const patched = new Map()
  const load = Module._load
  Module._load = function (request, ...rest) {
    const loaded = load.call(this, request, ...rest)
    if (patched.has(loaded)) return patched.get(loaded)
    if ((request === 'bpf' || /netlink\/dist\/raw$/.test(request))) {
      patched.set(loaded, loaded)
      if (request === 'bpf') {
        for (const kind of ['RawMap', 'RawArrayMap']) for (const name of ['set', 'delete']) method(loaded[kind].prototype, name, () => `map ${name}`)
        // its exports are getters that cannot be replaced: a copy with another one
        const copy = { ...loaded }
        method(copy, 'createMap', () => 'map create')
        patched.set(loaded, copy)
        return copy
      } else {
        const send = loaded.RawNetlinkSocket.prototype.send
        loaded.RawNetlinkSocket.prototype.send = function (bytes, ...more) {
          // of ipset: create, destroy, flush, rename, swap, add, del
          const type = bytes[4] | (bytes[5] << 8)
          if (type >> 8 !== 6 || ![2, 3, 4, 5, 6, 9, 10].includes(type & 255)) return send.call(this, bytes, ...more)
          const what = `netlink ${type >> 8}/${type & 255}`
          const mode = reach(what)
          if (mode === 'fail') throw failure('EPERM', what)
          if (mode === 'refuse') {
            // a command that ipset does not have: the kernel's own answer to this message, with its number
            const unknown = Buffer.from(bytes)
            unknown[4] = 99
            return send.call(this, unknown, ...more)
          }
          const result = send.call(this, bytes, ...more)
          if (mode === 'kill-after') die()
          return result
        }
      }
    }
    return loaded
  }
  process.on('SIGUSR2', read)
  read()
}
