import t from 'tap'
import { describeConnection, formatConnection, parseConnection, unmapped } from '../../src/model/connection.ts'

t.test('a connection is read as sshd writes it', (t) => {
  for (const text of ['192.0.2.2 51514 192.0.2.1 22', '2001:db8::2 1 2001:db8::1 65535']) t.equal(formatConnection(parseConnection(text)!), text)
  t.equal(formatConnection(parseConnection('fe80::2%eth0 1 fe80::1%eth0 22')!), 'fe80::2 1 fe80::1 22', 'a scope is left out')
  t.equal(formatConnection(parseConnection('::ffff:192.0.2.2 1 ::ffff:192.0.2.1 22')!), '192.0.2.2 1 192.0.2.1 22', 'a socket for both families')
  for (const text of ['', '192.0.2.2 1 192.0.2.1', '192.0.2.2 1 2001:db8::1 22', '192.0.2.0/24 1 192.0.2.1 22', '192.0.2.2 99999 192.0.2.1 22', '192.0.2.2 1 192.0.2.1 22 x', 'a b c d']) {
    t.equal(parseConnection(text), null, text)
  }
  t.equal(describeConnection(parseConnection('2001:db8::2 1 2001:db8::1 22')!), '[2001:db8::2]:1 → [2001:db8::1]:22')
  t.strictSame(unmapped('ipv6', 1n), { family: 'ipv6', addr: 1n })
  t.end()
})
