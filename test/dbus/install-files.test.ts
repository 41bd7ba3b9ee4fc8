// What is installed for the bus and polkit says the same as the code and the recording.
import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { actions } from '../../src/auth/actions.ts'

const repository = join(dirname(fileURLToPath(import.meta.url)), '../..')
const read = (path: string): string => readFileSync(join(repository, path), 'utf8')

interface Action {
  readonly allow_any: string
  readonly allow_inactive: string
  readonly allow_active: string
  readonly imply: readonly string[]
}

function actionsOf(path: string): Readonly<Record<string, Action>> {
  const found = [...read(path).matchAll(/<action id="([^"]+)">([\s\S]*?)<\/action>/g)].map(([, id = '', body = '']) => {
    const value = (tag: string): string => new RegExp(`<${tag}>([^<]*)</${tag}>`).exec(body)?.[1] ?? ''
    const imply = /policykit\.imply">([^<]*)</.exec(body)?.[1]?.split(' ') ?? []
    return [id, { allow_any: value('allow_any'), allow_inactive: value('allow_inactive'), allow_active: value('allow_active'), imply }] as const
  })
  return Object.fromEntries(found)
}

const ours = actionsOf('systemd/org.derpanet.Derpanet1.policy')
const firewalld = actionsOf('systemd/org.derpanet.FirewallD1.policy')

t.test('every action the code asks for is installed, and no other', (t) => {
  t.strictSame([...Object.keys(ours), ...Object.keys(firewalld)].sort(), Object.values(actions).sort())
  t.end()
})

t.test('firewalld\'s actions have its server defaults', (t) => {
  const recorded = JSON.parse(read('test/compat/data/polkit.json')) as { readonly actions_server: Readonly<Record<string, Action>> }
  t.strictSame(firewalld, recorded.actions_server)
  t.end()
})

t.test('only root and the daemon\'s user may own the names, anybody may send', (t) => {
  for (const name of ['org.derpanet.Derpanet1', 'org.fedoraproject.FirewallD1']) {
    const policies = [...read(`systemd/${name}.conf`).matchAll(/<policy ([^>]+)>([\s\S]*?)<\/policy>/g)].map(([, who = '', rules = '']) => `${who}: ${rules.trim()}`)
    t.strictSame(policies, [`user="root": <allow own="${name}"/>`, `user="derpanet": <allow own="${name}"/>`, `context="default": <allow send_destination="${name}"/>`])
  }
  t.end()
})
