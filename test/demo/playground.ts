// `npm run playground`: the demo's host with derpanetd running, and a shell on the firewall. `npm run dev` is the same.
// Without a terminal it runs the commands on its standard input. Everything is gone when the shell ends.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createDemoHost } from './host.ts'
import { startDaemon } from '../support/daemon.ts'
import { addresses, repository, whyNoPrivateHost } from '../support/private-host.ts'

const why = whyNoPrivateHost()
if (why !== null) throw new Error(`the playground cannot run here: ${why}`)

const { host } = await createDemoHost('playground')
// Ctrl-C belongs to what runs in the shell
process.on('SIGINT', () => { /* nothing to do: see above */ })
try {
  const daemon = await startDaemon(host, { args: ['--log', 'pretty'] })
  const probe = join(repository, 'test/support/probe-agent.py')
  const welcome = `
  This is a firewall between two nets, all of it private to this shell:
    outside ${addresses.outside.v4}, ${addresses.outside.v6}  —  ext0 [this host] int0  —  inside ${addresses.inside.v4}, ${addresses.inside.v6}

    firewall-cmd …, busctl …, derpanetctl …    talk to the derpanetd that runs here; its files are in /etc/derpanet
    outside COMMAND, inside COMMAND            run something on the other machines
    try tcp 22, try udp 53, try ping           knock at this host from outside
    log                                        what derpanetd has written
  Leave with exit; nothing stays.
`
  const rc = `
PS1='firewall# '
PATH=$PATH:/usr/sbin:/sbin
outside() { nsenter --net=/run/peers/outside -- "$@"; }
inside() { nsenter --net=/run/peers/inside -- "$@"; }
derpanetctl() { ${process.execPath} ${join(repository, 'dist/derpanetctl.js')} "$@"; }
derpanetd() { ${process.execPath} ${join(repository, 'dist/derpanetd.js')} --xdp native "$@"; }
log() { cat /run/derpanetd.log; }
try() {
  printf '{"id":1,"op":"probe","items":[{"kind":"%s","host":"%s","port":%s,"timeoutMs":1000}]}\\n' "$1" "\${3:-${addresses.firewall.ext4}}" "\${2:-0}" |
    outside /usr/bin/python3 ${probe} --finish | sed -n 's/.*"ok": \\["\\(.*\\)"\\].*/\\1/p'
}
`
  const logFile = host.path('/run/derpanetd.log')
  await writeFile(logFile, daemon.running.output())
  daemon.running.child.stdout?.on('data', () => void writeFile(logFile, daemon.running.output()))
  await writeFile(host.path('/run/playground.rc'), rc)
  const terminal = process.stdin.isTTY
  if (terminal) console.log(welcome)
  const [file = '', ...args] = [...host.firewall.prefix, 'bash', '--noprofile', ...(terminal ? ['--rcfile', '/run/playground.rc', '-i'] : ['-s'])]
  const shell = spawn(file, args, { stdio: 'inherit', cwd: '/', env: { ...process.env, LC_ALL: 'C.UTF-8', ...(terminal ? {} : { BASH_ENV: '/run/playground.rc' }) } })
  const [status] = await once(shell, 'exit') as [number | null]
  process.exitCode = status ?? 1
} finally {
  await host.stop()
}
