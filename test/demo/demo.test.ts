// The demo and the playground are what newcomers run first: they must work.
// TEST_TIMEOUT_SEC=300
import t from 'tap'
import { join } from 'node:path'
import { repository, runCommand, whyNoPrivateHost } from '../support/private-host.ts'

const why = whyNoPrivateHost()
const tsx = [process.execPath, '--import=tsx']

t.test('every row of the demo is as it should be', { skip: why ?? false, timeout: 300_000 }, async (t) => {
  const ran = await runCommand([...tsx, join(repository, 'test/demo/demo.ts')], { cwd: repository, timeoutMs: 280_000 })
  t.equal(ran.status, 0, 'it ends with 0', { said: ran.stderr })
  t.strictSame(ran.stdout.split('\n').filter((line) => line.startsWith('FAIL')), [])
  t.equal(ran.stdout.split('\n').filter((line) => / ok  blocked.*dropped +XDP/.test(line)).length, 20, 'twenty sources of the list die in XDP')
})

t.test('the playground runs commands on a firewall', { skip: why ?? false, timeout: 60_000 }, async (t) => {
  const input = 'firewall-cmd --state\ntry tcp 22\ntry tcp 25\noutside ip -4 -br addr show eth0\nderpanetctl status | head -1\n'
  const ran = await runCommand([...tsx, join(repository, 'test/demo/playground.ts')], { cwd: repository, input, timeoutMs: 50_000 })
  t.equal(ran.status, 0, 'it ends with the status of the last command', { said: ran.stderr })
  t.match(ran.stdout, /^running\nopen 192\.0\.2\.2\nreject icmp3\/13\neth0\S+ +UP +192\.0\.2\.2\/24 .*\nderpanetd \S+: RUNNING\n$/)
})
