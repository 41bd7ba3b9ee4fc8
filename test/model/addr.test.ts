// Addresses as clients write them.
import t from 'tap'
import { formatPrefix, parseAddr6, parsePrefix } from '../../src/model/addr.ts'
import { parseRichRule } from '../../src/model/rich/index.ts'
import { parseZoneSource } from '../../src/model/source.ts'
import { forwardPortItem } from '../../src/settings/codec.ts'

t.test('an IPv6 address in brackets is that address, wherever firewalld takes one', (t) => {
  t.equal(parseAddr6('[::1234]'), 0x1234n)
  t.equal(formatPrefix(parsePrefix('[1234::]/64')!), '1234::/64')
  t.match(parseZoneSource('[1234::]/64'), { kind: 'prefix', text: '[1234::]/64' }, 'the text stays as it was typed')
  t.match(forwardPortItem.parse(['1234', 'tcp', '4321', '[::1234]']), { toAddr: '[::1234]' })
  t.match(parseRichRule('rule family=ipv6 source address=[::4321] forward-port port="1234" protocol=tcp to-port="4321" to-addr="[::1234]"'), { source: { text: '[::4321]' } })
  for (const text of ['[::1', '::1]', '[[::1]]', '[]', '[1.2.3.4]', '[::1]x', '[::1/64]']) t.equal(parsePrefix(text), null, text)
  t.end()
})
