// The verbs and options of derpanetctl, with their help.
import { Argument, Command, Option } from 'commander'
import { version } from '../version.ts'
import { apply, confirm, undo } from './apply.ts'
import { check } from './check.ts'
import { counters } from './counters.ts'
import { exportTree, importTree } from './firewalld.ts'
import { diff, log } from './history.ts'
import type { GlobalOptions } from './output.ts'
import { plan } from './plan.ts'
import { status } from './status.ts'
import { zones } from './zones.ts'

const examples = `
Examples:
  derpanetctl status                     is it filtering, and with what?
  derpanetctl check && derpanetctl reload
                                         the safe way to change a configuration
  derpanetctl apply --confirm 60         the same on a host you can only reach through it; then: derpanetctl confirm
  derpanetctl undo                       back to the configuration before
  derpanetctl check ./new-config         check a folder before it goes to /etc/derpanet; needs no root
  derpanetctl plan | less                what would be programmed, rule by rule, and its counters' names
  derpanetctl zones public               what zone public lets in, now
  derpanetctl import firewalld           what firewalld was told on this host, as files of derpanet
  derpanetctl counters --json            packets and bytes by rule, for programs

Exit status: 0 done; 1 check, plan, import or export found mistakes or losses; 2 wrong usage; otherwise firewalld's numbers, of which
251 running but the configuration is broken, 252 derpanetd is not running, 253 not authorized.

Files: /etc/derpanet/derpanet.yaml, zones/NAME.yaml, services/NAME.yaml, ipsets/NAME.yaml, lists/NAME.list
       shipped definitions are in /usr/lib/derpanet. See derpanetctl(1), derpanetd(8).
`

/** `done` gets the exit status of the verb that ran. Usage errors, help and version are thrown as CommanderError. */
export function createProgram(done: (status: number) => void): Command {
  const program = new Command('derpanetctl')
    .description('Show, check and reload the derpanet firewall.')
    .version(`derpanetctl ${version}`, '-V, --version')
    .option('--json', 'write JSON instead of text')
    .addOption(new Option('--root <dir>', 'files are below this folder'))
    .option('--config-dir <dir>', 'configuration to look at (/etc/derpanet)')
    .option('--lib-dir <dir>', 'shipped definitions (/usr/lib/derpanet)')
    .option('--vendor-dir <dir>', 'definitions other packages ship (/usr/lib/firewalld)')
    .option('--bus <address>', 'D-Bus address of the daemon (the system bus)')
    .addHelpText('after', examples)
    .helpCommand(false)
    .showHelpAfterError('(derpanetctl --help shows every verb)')
    .exitOverride()
  const verb = (run: (options: GlobalOptions & Readonly<Record<string, unknown>>, ...args: (string | undefined)[]) => Promise<number>) =>
    async (...args: unknown[]): Promise<void> => {
      const command = args.at(-1) as Command
      done(await run(command.optsWithGlobals(), ...args.slice(0, -2) as (string | undefined)[]))
    }
  const add = (usage: string, text: string): Command => program.command(usage).description(text).option('--json', 'write JSON instead of text').exitOverride()

  add('status', 'state, generation, dataplanes and why, pending changes, problems').action(verb((options) => status(options)))
  add('zones [zone]', 'zones in force: bindings and what they let in').option('-a, --all', 'also zones that nothing is bound to').action(verb((options, zone) => zones(options, zone, options['all'] === true)))
  add('counters', 'packets and bytes by rule').option('-a, --all', 'also rules that never decided').action(verb((options) => counters(options, options['all'] === true)))
  const change = (usage: string, text: string): Command => add(usage, text)
    .option('--confirm <seconds>', 'taken back by itself unless `derpanetctl confirm` comes in time, even if the daemon dies')
    .option('--even-if-cut-off', 'do it although it would keep you from connecting again')
    .option('--dry-run', 'say what would change and do nothing')
    .option('--force-lists', 'also take lists that became empty or changed by more than half')
    .option('--expect <generation>', 'only if this generation is in force')
  change('reload', 'read the files and enforce them; on a mistake nothing changes').action(verb((options) => apply(options)))
  change('apply', 'the same as reload').action(verb((options) => apply(options)))
  add('confirm', 'keep the change that waits for it').action(verb((options) => confirm(options)))
  change('undo [generation]', 'take back what waits; else put the files of an earlier generation back and enforce them')
    .option('--discard-edits', 'overwrite files that were edited and are not in force').action(verb((options, generation) => undo(options, generation)))
  add('log', 'who changed what and when').option('-n, --lines <count>', 'so many, the newest last', '30').action(verb((options) => log(options)))
  add('diff [from] [to]', 'what differs between two generations, `now` and `files` (now files)').action(verb((options, from, to) => diff(options, from, to)))
  add('check [path]', 'find every mistake in a configuration folder or file; offline, without root').action(verb((options, path) => check(options, path)))
  add('plan [path]', 'what would be programmed from the files; offline, without root').action(verb((options, path) => plan(options, path)))
  const transfer = (usage: string, text: string): Command => add(usage, text).addArgument(new Argument('<what>', 'whose files').choices(['firewalld']))
    .option('--force', 'carry over the rest of what cannot be said whole, and overwrite what is there (kept as NAME.old)')
    .option('--dry-run', 'say what would be written and do nothing')
  transfer('import', 'take a configuration of firewalld (/etc/firewalld) over to /etc/derpanet; offline').argument('[folder]', 'where it is')
    .action(verb((options, _what, folder) => importTree(options, folder)))
  transfer('export', 'write the configuration as firewalld\'s files; offline').argument('<folder>', 'where to')
    .addOption(new Option('--for <version>', 'which firewalld will read it (the one installed here)').choices(['1.3', '2.5'])).option('--with-shipped', 'shipped definitions too')
    .action(verb((options, _what, folder) => exportTree(options, folder!)))
  return program
}
