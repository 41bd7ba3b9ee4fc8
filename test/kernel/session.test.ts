// Programs that stay: asked one thing after the other, killed when they hang, replaced when they end.
import t from 'tap'
import { createSessions } from '../../src/kernel/exec.ts'
import { SetSession } from '../../src/kernel/netfilter/set-session.ts'
import { createExec } from '../../src/kernel/exec.ts'

const echo = 'while read -r line; do case $line in slow) sleep 5;; quit) exit 3;; *) echo "said $line" >&2; echo end >&2;; esac; done'
const isEnd = (line: string): boolean => line === 'end'

t.test('a session answers one question after the other', async (t) => {
  const session = createSessions()('sh', ['-c', echo])
  t.teardown(() => session.close())
  t.strictSame(await session.ask('one\n', isEnd, 5000), ['said one'])
  t.strictSame(await session.ask('two\n', isEnd, 5000), ['said two'])
  t.equal(session.alive, true)
})

t.test('one that ends rejects with its exit status, one that hangs is killed', async (t) => {
  const ending = createSessions()('sh', ['-c', echo])
  await t.rejects(ending.ask('quit\n', isEnd, 5000), { name: 'CommandError', message: /exit status 3/ })
  t.equal(ending.alive, false)
  await t.rejects(ending.ask('one\n', isEnd, 5000), /is not running/)
  const hanging = createSessions()('sh', ['-c', echo])
  await t.rejects(hanging.ask('slow\n', isEnd, 100), /no answer after 100 ms, killed/)
  t.equal(hanging.alive, false)
  await t.rejects(createSessions()('derpanet-no-such-program', []).ask('x\n', isEnd, 1000), /cannot be started/)
})

t.test('sets are edited by one ipset that stays', { skip: process.getuid?.() === 0 ? false : 'needs root' }, async (t) => {
  // A namespace of its own, alive as long as this sleep is.
  const exec = createExec()
  const name = `session-${process.pid}`
  await exec({ command: 'ip', args: ['netns', 'add', name] })
  t.teardown(async () => void (await exec({ command: 'ip', args: ['netns', 'del', name] })))
  const wrap = ['nsenter', `--net=/run/netns/${name}`]
  const inside = createExec({ wrap })
  let opened = 0
  const sessions = createSessions({ wrap })
  const session = new SetSession((command, args) => {
    opened += 1
    return sessions(command, args)
  })
  t.teardown(() => session.forget())
  const members = async (): Promise<string[]> => (await inside({ command: 'ipset', args: ['save', 'ports'] })).stdout.split('\n').filter((line) => line.startsWith('add')).map((line) => line.split(' ')[2] ?? '')

  await inside({ command: 'ipset', args: ['create', 'ports', 'bitmap:port', 'range', '0-65535'] })
  await session.edit('add ports 80\nadd ports 90\n')
  await session.edit('del ports 90\n')
  t.strictSame(await members(), ['80'], 'it is in the kernel when edit() resolves')
  await t.rejects(session.edit('add ports 80\n'), { name: 'CommandError', message: /already added/ })
  await t.rejects(session.edit('add nonesuch 80'), /does not exist/)
  await session.edit('add ports 81\n')
  t.strictSame(await members(), ['80', '81'], 'after a refusal it goes on')
  t.equal(opened, 1)

  await inside({ command: 'ipset', args: ['destroy', 'ports'] })
  await inside({ command: 'ipset', args: ['create', 'ports', 'hash:ip'] })
  session.forget()
  await session.edit('add ports 192.0.2.1\n')
  t.strictSame(await members(), ['192.0.2.1'], 'told to forget, it learns the new type of a name')
  t.equal(opened, 2)
  t.end()
})
