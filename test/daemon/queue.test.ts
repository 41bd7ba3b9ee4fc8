import t from 'tap'
import { WriterQueue, type TaskKind } from '../../src/daemon/queue.ts'

/** Queues the named tasks while the first blocks, then lets go; resolves with the order in which they ran. */
async function orderOf(...tasks: readonly (readonly [Exclude<TaskKind, 'reload'> | 'reload', string])[]): Promise<string[]> {
  const queue = new WriterQueue()
  const ran: string[] = []
  let release = (): void => {}
  const blocked = queue.add('change', () => new Promise<void>((resolve) => { release = resolve }))
  await new Promise((resolve) => setImmediate(resolve))
  const all = tasks.map(([kind, name]) => {
    const run = async (): Promise<void> => void ran.push(name)
    return kind === 'reload' ? queue.addReload(run) : queue.add(kind, run)
  })
  release()
  await Promise.all([blocked, ...all])
  return ran
}

t.test('tasks run one at a time and in the order they came', async (t) => {
  const queue = new WriterQueue()
  const log: string[] = []
  const slow = (name: string) => async (): Promise<void> => {
    log.push(`${name} begins`)
    await new Promise((resolve) => setTimeout(resolve, 2))
    log.push(`${name} ends`)
  }
  await Promise.all([queue.add('change', slow('a')), queue.add('change', slow('b')), queue.addReload(slow('c'))])
  t.strictSame(log, ['a begins', 'a ends', 'b begins', 'b ends', 'c begins', 'c ends'])
})

t.test('work that throws before it promises anything fails alone, and the next has its turn', async (t) => {
  const queue = new WriterQueue()
  const failed = queue.add('change', () => { throw new Error('at once') })
  const next = queue.add('change', async () => 'done')
  await t.rejects(failed, { message: 'at once' })
  t.equal(await next, 'done')
  await t.rejects(queue.addReload(() => { throw new Error('too') }), { message: 'too' })
  await queue.idle()
})

t.test('panic goes before everything that waits, and panics keep their order', async (t) => {
  t.strictSame(
    await orderOf(['change', 'port'], ['reload', 'reload'], ['panic', 'on'], ['change', 'port 2'], ['panic', 'off']),
    ['on', 'off', 'port', 'reload', 'port 2'])
})

t.test('an unban goes before reloads but never before another change', async (t) => {
  t.strictSame(await orderOf(['reload', 'reload'], ['unban', 'unban']), ['unban', 'reload'])
  t.strictSame(await orderOf(['reload', 'reload'], ['change', 'ban'], ['unban', 'unban']), ['reload', 'ban', 'unban'])
})

t.test('reloads that wait are one, a reload that runs is not joined', async (t) => {
  t.strictSame(await orderOf(['reload', 'first'], ['reload', 'second'], ['reload', 'third']), ['first'])
  const queue = new WriterQueue()
  const ran: string[] = []
  let release = (): void => {}
  const first = queue.addReload(() => new Promise<void>((resolve) => { ran.push('first'); release = resolve }))
  await new Promise((resolve) => setImmediate(resolve))
  t.equal(queue.hasWaitingReload(), false, 'it runs and waits no more')
  const second = queue.addReload(async () => void ran.push('second'))
  release()
  await Promise.all([first, second])
  t.strictSame(ran, ['first', 'second'])
})

t.test('a task that fails rejects its caller alone', async (t) => {
  const queue = new WriterQueue()
  const failing = queue.add('change', () => Promise.reject(new Error('no')))
  const after = queue.add('change', async () => 'still here')
  await t.rejects(failing, { message: 'no' })
  t.equal(await after, 'still here')
  await queue.idle()
})
