// firewalld.conf: nothing in it is an error, and writing one key leaves everything else as a person wrote it.
import { existsSync, readFileSync } from 'node:fs'
import t from 'tap'
import { confOfMain, formatConf, mainOfConf, parseConf, replaceConfValue } from '../../../src/config/firewalld/conf.ts'
import type { MainSettings } from '../../../src/model/settings.ts'
import { defaultMain } from '../../../src/model/settings.ts'
import { confKeys, confValue } from '../../../src/settings/firewalld-conf.ts'
import { mainFields } from '../../../src/settings/main.ts'
import type { DictField } from '../../../src/settings/field.ts'

const warnings = (text: string, face: '1.3' | '2.5' = '2.5'): string[] =>
  parseConf('firewalld.conf', text, face).diagnostics.map(({ severity, line, column, text: said }) => `${severity} ${line}:${column} ${said}`)

t.test('what is not understood is a warning and the default holds', (t) => {
  const base = 'DefaultZone=home\n'
  const rows: readonly (readonly [text: string, ...said: string[]])[] = [
    [base],
    [`${base}; c\n# d\n  # e\n\n`],
    [' DefaultZone = home \r\n'],
    [`${base}Foo=1\n`, "warning 2:1 Invalid option: 'Foo=1'"],
    [`${base}DefaultZone=work\n`, "warning 2:1 Duplicate option definition: 'DefaultZone=work'"],
    [`${base}LogDenied=x\n`, "warning 2:11 LogDenied 'x' is not valid, using default value 'off'"],
    [`${base}LogDenied=\n`, "warning 2:1 Missing value: 'LogDenied='"],
    [`${base}LogDenied\n`, "warning 2:1 Invalid option definition: 'LogDenied'"],
    [`${base}LogDenied=a=b\n`, "warning 2:1 Invalid option definition: 'LogDenied=a=b'"],
    [`${base}LogDenied=\0\n`, "warning 2:11 LogDenied '\\x00' is not valid, using default value 'off'"],
    [`${base}MinimalMark=x\n`, "warning 2:13 MinimalMark 'x' is not valid, using default value '100'"],
    [`${base}FirewallBackend=x\n`, "warning 2:17 FirewallBackend 'x' is not valid, using default value 'nftables'"],
    [`${base}CleanupOnExit=maybe\n`, "warning 2:15 CleanupOnExit 'maybe' is not valid, using default value 'yes'"],
    [`${base}constructor=1\n`, "warning 2:1 Invalid option: 'constructor=1'"],
  ]
  for (const [text, ...said] of rows) {
    t.strictSame(warnings(text), said, JSON.stringify(text))
    t.equal(mainOfConf(parseConf('f', text, '2.5').values, '2.5').defaultZone, 'home', 'and the rest is read')
  }
  t.end()
})

t.test('keys and values of the newer firewalld are none of the older one', (t) => {
  t.strictSame(warnings('IPv6_rpfilter=strict\n', '1.3'), ["warning 1:15 IPv6_rpfilter 'strict' is not valid, using default value 'yes'"])
  t.strictSame(warnings('IPv6_rpfilter=strict\n', '2.5'), [])
  t.strictSame(warnings('NftablesFlowtable=eth0 eth1\nReloadPolicy=INPUT:DROP,OUTPUT:ACCEPT\n', '2.5'), [])
  t.equal(warnings('NftablesFlowtable=off\nReloadPolicy=DROP\n', '1.3').length, 2)
  t.end()
})

t.test('keys with a meaning become ours, others are stored, and all are answered', (t) => {
  const main = mainOfConf(parseConf('f', 'DefaultZone=work\nLogDenied=all\nCleanupOnExit=no\nFlushAllOnReload=False\nFirewallBackend=iptables\nIndividualCalls=no\n', '2.5').values, '2.5')
  t.match(main, { defaultZone: 'work', logDenied: 'all', onStop: 'keep', flushAllOnReload: false })
  t.strictSame(main.firewalld, { CleanupOnExit: 'no', FirewallBackend: 'iptables' })
  t.strictSame(['DefaultZone', 'LogDenied', 'CleanupOnExit', 'FlushAllOnReload', 'FirewallBackend', 'MinimalMark', 'NftablesFlowtable'].map((key) => confValue(main, key, '2.5')),
    ['work', 'all', 'no', 'no', 'iptables', '100', 'off'])
  t.equal(confValue(main, 'NftablesFlowtable', '1.3'), '')
  t.equal(mainOfConf(new Map(), '2.5').onStop, 'open', 'firewalld opens everything at a stop unless told otherwise')
  t.strictSame([...confOfMain(main, '2.5')].sort(), [['CleanupOnExit', 'no'], ['DefaultZone', 'work'], ['FirewallBackend', 'iptables'], ['FlushAllOnReload', 'no'], ['LogDenied', 'all']])
  t.strictSame([...confOfMain({ ...defaultMain, onStop: 'open' }, '2.5')], [])
  t.end()
})

t.test('what our own file has a key for is that key, in both directions and both versions', (t) => {
  const rows: readonly (readonly [word: string, main: Partial<MainSettings>, back?: string | null, older?: string | null])[] = [
    ['IPv6_rpfilter=yes', { ipv6Rpfilter: 'strict' }, null, null],
    ['IPv6_rpfilter=False', { ipv6Rpfilter: 'no' }, 'no', 'no'],
    ['IPv6_rpfilter=strict', { ipv6Rpfilter: 'strict' }, null, null],
    ['IPv6_rpfilter=loose', { ipv6Rpfilter: 'loose' }, 'loose', null],
    ['IPv6_rpfilter=strict-forward', { ipv6Rpfilter: 'strict-forward' }, 'strict-forward', null],
    ['RFC3964_IPv4=no', { rfc3964Ipv4: false }, 'no', 'no'],
    ['RFC3964_IPv4=TRUE', { rfc3964Ipv4: true }, null, null],
    ['StrictForwardPorts=yes', { strictForwardPorts: true }, 'yes', null],
    ['Lockdown=yes', { lockdown: true }, 'yes', 'yes'],
    ['FlushAllOnReload=no', { flushAllOnReload: false }, 'no', 'no'],
  ]
  for (const [word, wanted, back = null, older = null] of rows) {
    const name = word.split('=')[0]!
    const main = mainOfConf(parseConf('f', `${word}\n`, '2.5').values, '2.5')
    t.match(main, wanted, word)
    t.strictSame(main.firewalld, {}, `${word} is stored once`)
    t.equal(confOfMain(main, '2.5').get(name) ?? null, back, `${word} written again`)
    t.equal(confOfMain(main, '1.3').get(name) ?? null, older, `${word} written for 1.3`)
  }
  t.strictSame((['strict', 'loose', 'no'] as const).map((ipv6Rpfilter) => confValue({ ...defaultMain, ipv6Rpfilter }, 'IPv6_rpfilter', '1.3')), ['yes', 'loose', 'no'])
  t.match(mainOfConf(new Map([['IPv6_rpfilter', 'no']]), '1.3', { ...defaultMain, strictForwardPorts: true }), { ipv6Rpfilter: 'no', strictForwardPorts: true },
    'what the older one has no word for stays as it is')
  t.end()
})

t.test('one key is replaced in its line and everything else stays as it is', (t) => {
  const text = '# head\r\nDefaultZone=public\n; c\nBad line\n  LogDenied = all  \nLogDenied=off\nFoo=1\nLockdown=\n# tail'
  t.equal(replaceConfValue(text, 'DefaultZone', 'home'), text.replace('=public', '=home'))
  t.equal(replaceConfValue(text, 'LogDenied', 'off'), text.replace('= all', '= off'), 'the first definition counts, so it is the one that changes')
  t.equal(replaceConfValue(text, 'Lockdown', 'yes'), text.replace('Lockdown=', 'Lockdown=yes'))
  t.equal(replaceConfValue(text, 'CleanupOnExit', 'no'), `${text}\nCleanupOnExit=no\n`)
  t.equal(replaceConfValue('', 'DefaultZone', 'home'), 'DefaultZone=home\n')
  for (const key of ['DefaultZone', 'LogDenied', 'Lockdown', 'CleanupOnExit']) {
    const value = { DefaultZone: 'work', LogDenied: 'unicast', Lockdown: 'no', CleanupOnExit: 'no' }[key]!
    t.equal(parseConf('f', replaceConfValue(text, key, value), '1.3').values.get(key), value, `${key} is read back`)
  }
  t.end()
})

t.test('a file written anew is without warning and means what it was written from', (t) => {
  for (const face of ['1.3', '2.5'] as const) {
    const values = new Map([['DefaultZone', 'home'], ['AutomaticHelpers', 'system']])
    const found = parseConf('f', formatConf(values, face), face)
    t.strictSame(found.diagnostics, [])
    t.equal(found.values.get('DefaultZone'), 'home')
    t.equal(found.values.get('AutomaticHelpers'), 'system')
    for (const key of confKeys.filter((row) => row.shipped.includes(face) && row.name !== 'DefaultZone')) t.equal(found.values.get(key.name), key.defaults[face], key.name)
  }
  t.end()
})

t.test('the installed firewalld.conf is read without a word', { skip: existsSync('/etc/firewalld/firewalld.conf') ? false : 'firewalld is not installed' }, (t) => {
  t.strictSame(warnings(readFileSync('/etc/firewalld/firewalld.conf', 'utf8'), '1.3'), [])
  t.end()
})

t.test('every key of firewalld.conf is one of ours or can be stored', (t) => {
  const { keys, elsewhere } = mainFields.firewalld as DictField
  const stored = keys ?? []
  t.strictSame([...elsewhere ?? []].sort(), confKeys.flatMap(({ name, meaning }) => (meaning === undefined ? [] : [[name, mainFields[meaning.key].yaml]])).sort())
  t.strictSame(confKeys.filter((key) => key.meaning === undefined).map((key) => key.name).sort(), [...stored].sort())
  t.end()
})
