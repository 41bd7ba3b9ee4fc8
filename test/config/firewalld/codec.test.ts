// firewalld's files ↔ settings. The rows of `mistakes` were tried on Debian's firewalld 1.3.3 (firewall-offline-cmd
// --check-config): what it refuses is refused with its code, what it only warns of is only a warning.
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { formatXmlFile, parseXml, type KindName } from '../../../src/config/firewalld/codec.ts'
import { formatDirectXml, formatLockdownXml, parseDirectXml, parseLockdownXml } from '../../../src/config/firewalld/direct-xml.ts'
import { icmpNumbersByName } from '../../../src/config/firewalld/icmp-numbers.ts'
import { formatDiagnostic } from '../../../src/config/diagnostic.ts'
import { parseSettings } from '../../../src/config/parse.ts'
import type { IpSetSettings, PolicySettings, ServiceSettings, ZoneSettings } from '../../../src/model/settings.ts'
import { kinds } from '../../../src/settings/kinds.ts'
import { createRandom, seedOfRun } from '../../support/random.ts'
import { randomDirect, randomLockdown, randomObjects } from './random-objects.ts'

const head = '<?xml version="1.0" encoding="utf-8"?>\n'
const kindNames = Object.keys(kinds) as KindName[]
const zone = (body: string, attributes = ''): ReturnType<typeof parseXml<'zone'>> => parseXml('zone', 'foo.xml', `${head}<zone${attributes}>${body}</zone>`, 'foo')
const rule = (body: string, attributes = '') => zone(`<rule${attributes}>${body}</rule>`)

const shipped = '/usr/lib/firewalld'

t.test('every file of the installed firewalld is read without a word and means the same when written and read again', { skip: existsSync(shipped) ? false : 'firewalld is not installed' }, (t) => {
  let files = 0
  for (const kind of kindNames) {
    for (const file of readdirSync(join(shipped, kinds[kind].folder)).filter((name) => name.endsWith('.xml'))) {
      const name = file.slice(0, -4)
      const { value, diagnostics, positions } = parseXml(kind, file, readFileSync(join(shipped, kinds[kind].folder, file), 'utf8'), name)
      files++
      if (value === null || diagnostics.length > 0) {
        t.fail(`${file}: ${diagnostics.map((found) => formatDiagnostic(found)).join('; ')}`)
        continue
      }
      if (positions.size === 0) t.fail(`${file} has no positions`)
      const again = parseXml(kind, file, formatXmlFile(kind, value), name)
      if (JSON.stringify(again.value) !== JSON.stringify(value) || again.diagnostics.length > 0) t.strictSame(again.value, value, file)
    }
  }
  t.ok(files > 280, `${files} files`)
  t.end()
})

t.test('random settings of every kind come back from XML', (t) => {
  const seed = seedOfRun()
  t.comment(`DERPANET_SEED=${seed}`)
  const random = createRandom(seed)
  for (let round = 0; round < 300; round++) {
    for (const kind of kindNames) {
      const value = randomObjects[kind](random)
      const text = formatXmlFile(kind, value as never)
      const found = parseXml(kind, 'x.xml', text, 'x')
      if (JSON.stringify(found.value) !== JSON.stringify(value) || found.diagnostics.length > 0) {
        t.strictSame(found, { value, diagnostics: [] }, `${kind}, round ${round}: ${text}`)
        return t.end()
      }
    }
    const direct = randomDirect(random)
    const lockdown = randomLockdown(random)
    if (JSON.stringify(parseDirectXml('d', formatDirectXml(direct)).value) !== JSON.stringify(direct)) t.strictSame(parseDirectXml('d', formatDirectXml(direct)), direct)
    if (JSON.stringify(parseLockdownXml('l', formatLockdownXml(lockdown)).value) !== JSON.stringify(lockdown)) t.strictSame(parseLockdownXml('l', formatLockdownXml(lockdown)), lockdown)
  }
  t.pass('300 rounds')
  t.end()
})

t.test('families of an ICMP type keep the order in which a client named them', (t) => {
  for (const destinations of [['ipv6', 'ipv4'], ['ipv4', 'ipv6']] as const) {
    t.strictSame(parseXml('icmptype', 'x', formatXmlFile('icmptype', { ...kinds.icmptype.empty, destinations }), 'x').value?.destinations, destinations)
  }
  t.end()
})

t.test('a zone is written as firewalld writes it, byte by byte', (t) => {
  const text = `${head}<zone target="%%REJECT%%" ingress-priority="-5">
  <short>S &lt;a&gt; &amp; "q"</short>
  <description>D 'x</description>
  <service name="ssh"/>
  <port port="100-200" protocol="udp"/>
  <protocol value="gre"/>
  <icmp-block name="echo-request"/>
  <masquerade/>
  <forward-port port="80" protocol="tcp" to-port="81" to-addr="10.0.0.1"/>
  <forward-port port="82" protocol="tcp" to-addr="10.0.0.1"/>
  <source-port port="5" protocol="udp"/>
  <rule family="ipv4">
    <source address="10.0.0.1" invert="True"/>
    <destination address="10.0.0.2"/>
    <service name="ssh"/>
    <log prefix="x y" level="info">
      <limit value="3/m"/>
    </log>
    <audit>
      <limit value="1/h"/>
    </audit>
    <accept>
      <limit value="2/s" burst="9"/>
    </accept>
  </rule>
  <rule priority="-5">
    <drop/>
  </rule>
  <rule>
    <source ipset="x"/>
    <service name="ssh"/>
    <nflog group="3" prefix="a" queue-size="4"/>
    <accept/>
  </rule>
  <interface name="eth7"/>
  <source address="10.0.0.0/8"/>
  <source address="AA:BB:CC:DD:EE:FF"/>
  <source ipset="x"/>
  <icmp-block-inversion/>
  <forward/>
</zone>
`
  const { value, diagnostics, positions } = parseXml('zone', 'foo.xml', text, 'foo')
  t.strictSame(diagnostics, [])
  t.equal(formatXmlFile('zone', value!), text)
  t.strictSame(positions.get('services=ssh'), { line: 5, column: 3 })
  t.strictSame(positions.get('target'), { line: 2, column: 15 })
  t.strictSame(positions.get('richRules=rule priority="-5" drop'), { line: 27, column: 3 })
  t.strictSame(positions.get('sources=ipset:x'), { line: 39, column: 3 })
  t.end()
})

t.test('what has no XML form of its own is read in the form firewalld gives it', (t) => {
  t.equal(rule('<tcp-mss-clamp/>').value?.richRules[0], 'rule tcp-mss-clamp value="pmtu"')
  t.equal(zone('<description>\n  two\n  lines</description>').value?.description, '   two   lines')
  t.strictSame(zone('<source mac="aa:bb:cc:dd:ee:ff"/>').value?.sources, ['AA:BB:CC:DD:EE:FF'])
  t.strictSame(zone('<port port=" 90-80 " protocol="tcp"/>').value?.ports, [{ port: '80-90', protocol: 'tcp' }])
  t.equal(zone('').value?.forward, false, 'a zone file without <forward/> does not forward')
  t.strictSame(zone('<rule family="ipv4"><accept/><service name="ssh"/><source address="10.0.0.1"/></rule>').value?.richRules,
    ['rule family="ipv4" source address="10.0.0.1" service name="ssh" accept'], 'parts of a rule stand in any order')
  const service = parseXml('service', 's.xml', '<service><port port="" protocol="gre"/><module name="nf_conntrack_netbios_ns"/><module name="nf_nat_ftp"/></service>', 's').value as ServiceSettings
  t.match(service, { ports: [], protocols: ['gre'], modules: ['netbios-ns', 'nf_nat_ftp'] })
  t.equal((parseXml('policy', 'p.xml', '<policy target="DROP" priority="0"><disable/></policy>', 'p').value as PolicySettings).priority, -1)
  t.end()
})

t.test('ranges of ports that overlap become one', (t) => {
  const ports = (...texts: string[]) => zone(texts.map((port) => `<port port="${port}" protocol="tcp"/>`).join(''))
  t.strictSame(ports('1024-65535', '1234', '2000-3000').value?.ports, [{ port: '1024-65535', protocol: 'tcp' }])
  t.strictSame(ports('1024-65535', '1234').diagnostics.map((found) => `${found.code}: ${found.text}`), ["ALREADY_ENABLED: '1234:tcp' already in 'foo'"])
  t.strictSame(ports('1024-2000', '1500-2500').value?.ports, [{ port: '1024-2500', protocol: 'tcp' }])
  t.strictSame(ports('1024-2000', '1500-2500').diagnostics, [])
  t.strictSame(ports('1-2', '3').value?.ports.map(({ port }) => port), ['1-2', '3'], 'neighbours stay two')
  t.strictSame([...ports('80', '70-90').positions.keys()], ['ports', 'ports=70-90/tcp'])
  t.end()
})

t.test('entries of a set that do not fit are passed over, one by one, and the set stays what it was', (t) => {
  const set = (body: string, type = 'hash:net') => parseXml('ipset', 's.xml', `<ipset type="${type}">${body}</ipset>`, 's')
  const { value, diagnostics } = set('<entry>10.1.0.0/16</entry><entry>10.0.0.0/8</entry><entry>1.2.3.400</entry><entry>::1</entry><entry>192.0.2.7/24</entry><entry>192.0.2.0/24</entry>')
  t.strictSame((value as IpSetSettings).entries, ['10.0.0.0/8', '192.0.2.0/24'])
  t.strictSame(diagnostics.map(({ severity, code }) => `${severity} ${code}`),
    ['warning INVALID_ENTRY', 'warning INVALID_ENTRY', 'warning ALREADY_ENABLED', 'warning INVALID_ENTRY'])
  t.strictSame((set('<entry>::1</entry><option name="family" value="inet6"/>', 'hash:ip').value as IpSetSettings).entries, ['::1'], 'options may follow')
  t.strictSame((set('<entry>1.2.3.4</entry><option name="timeout" value="5"/>', 'hash:ip').value as IpSetSettings).entries, [])
  const big = Array.from({ length: 60_000 }, (_, n) => `<entry>10.${n >> 16}.${(n >> 8) & 255}.${n & 255}</entry>`).join('\n')
  t.equal((set(big, 'hash:ip').value as IpSetSettings).entries.length, 60_000)
  t.end()
})

/** [kind, body, attributes of the root, what is said about it; `!` in front of a warning] */
type Row = readonly [title: string, kind: KindName, attributes: string, body: string, ...said: string[]]

const source = '<source address="10.0.0.1"/>'
const family = ' family="ipv4"'
const ruleRow = (title: string, attributes: string, body: string, ...said: string[]): Row => [title, 'zone', '', `<rule${attributes}>${body}</rule>`, ...said]
const ip = ' type="hash:ip"'
const ftp = ' module="nf_conntrack_ftp"'
const pass = ' target="CONTINUE"'

const mistakes: readonly Row[] = [
  ['an unknown attribute', 'zone', ' bogus="1"', '', 'PARSE_ERROR'],
  ['the name, which the file already says', 'zone', ' name="x"', '', '!INVALID_OPTION'],
  ['immutable, which nothing is any more', 'zone', ' immutable="x"', '', '!INVALID_OPTION'],
  ['a version', 'zone', ' version="2"', ''],
  ['target REJECT without its percent signs', 'zone', ' target="REJECT"', '', 'INVALID_TARGET'],
  ['an unknown target', 'zone', ' target="BAD"', '', 'INVALID_TARGET'],
  ['target default by name', 'zone', ' target="default"', ''],
  ['an unknown element', 'zone', '', '<wat/>', 'PARSE_ERROR'],
  ['an element inside a text', 'zone', '', '<short>a<wat/></short>', 'PARSE_ERROR'],
  ['an unknown attribute of an element', 'zone', '', '<service name="ssh" foo="1"/>', 'PARSE_ERROR'],
  ['a service without name', 'zone', '', '<service/>', 'PARSE_ERROR'],
  ['a service twice', 'zone', '', '<service name="ssh"/><service name="ssh"/>', '!ALREADY_ENABLED'],
  ['a port twice', 'zone', '', '<port port="80" protocol="tcp"/><port port="80" protocol="tcp"/>', '!ALREADY_ENABLED'],
  ['a port without protocol', 'zone', '', '<port port="80"/>', 'PARSE_ERROR'],
  ['a port that is none', 'zone', '', '<port port="80x" protocol="tcp"/>', 'INVALID_PORT'],
  ['a port beyond the last', 'zone', '', '<port port="65536" protocol="tcp"/>', 'INVALID_PORT'],
  ['an empty port', 'zone', '', '<port port="" protocol="tcp"/>', 'INVALID_PORT'],
  ['a port of an unknown protocol', 'zone', '', '<port port="80" protocol="xx"/>', 'INVALID_PROTOCOL'],
  ['an unknown protocol', 'zone', '', '<protocol value="nope"/>', 'INVALID_PROTOCOL'],
  ['an ICMP type outside of a rule', 'zone', '', '<icmp-type name="echo-request"/>', '!INVALID_RULE'],
  ['an action outside of a rule', 'zone', '', '<accept/><log/><limit value="1/s"/>', '!INVALID_RULE', '!INVALID_RULE', '!INVALID_RULE'],
  ['masquerade twice, and its old attribute', 'zone', '', '<masquerade enabled="no"/><masquerade/>', '!ALREADY_ENABLED'],
  ['an attribute of forward', 'zone', '', '<forward enabled="no"/>', 'PARSE_ERROR'],
  ['a forward-port to nowhere', 'zone', '', '<forward-port port="80" protocol="tcp"/>', 'INVALID_FORWARD'],
  ['a forward-port to no address', 'zone', '', '<forward-port port="80" protocol="tcp" to-addr="x"/>', 'INVALID_ADDR'],
  ['an interface that cannot be', 'zone', '', '<interface name="a b"/>', 'INVALID_INTERFACE'],
  ['a source that is no address', 'zone', '', '<source address="x"/>', 'INVALID_ADDR'],
  ['a source of a set, written as address', 'zone', '', '<source address="ipset:foo"/>', 'INVALID_ADDR'],
  ['a list of ours, which firewalld does not know', 'zone', '', '<source address="list:foo"/>', 'INVALID_ADDR'],
  ['an empty source', 'zone', '', '<source/>', '!INVALID_SOURCE'],
  ['a source with its old family', 'zone', '', '<source family="ipv4" address="10.0.0.1"/>', '!INVALID_OPTION'],
  ['an inverted source', 'zone', '', '<source address="10.0.0.1" invert="True"/>', '!INVALID_SOURCE'],
  ['an attribute of short', 'zone', '', '<short lang="de">a</short>', 'PARSE_ERROR'],
  ruleRow('an unknown attribute of a rule', `${family} x="1"`, `${source}<accept/>`, 'PARSE_ERROR'),
  ruleRow('an unknown element of a rule', '', '<service name="ssh"/><wat/><accept/>', 'PARSE_ERROR'),
  ruleRow('a missing attribute in a rule', '', '<service/><accept/>', 'PARSE_ERROR'),
  ruleRow('an unknown attribute in a rule', '', '<service name="ssh"/><accept x="1"/>', 'PARSE_ERROR'),
  ruleRow('a mark without a value', '', '<service name="ssh"/><mark/>', 'PARSE_ERROR'),
  ruleRow('a source of nothing', family, '<source/><accept/>', 'INVALID_RULE'),
  ruleRow('a destination of nothing', family, '<destination/><accept/>', 'INVALID_RULE'),
  ruleRow('a priority that is no number', `${family} priority="x"`, `${source}<accept/>`, 'INVALID_PRIORITY'),
  ruleRow('a priority out of range', `${family} priority="99999"`, `${source}<accept/>`, '!INVALID_PRIORITY'),
  ruleRow('a family that is none', ' family="x"', `${source}<accept/>`, '!INVALID_RULE'),
  ruleRow('no family', '', `${source}<accept/>`, '!MISSING_FAMILY'),
  ruleRow('two kinds of source', family, '<source address="10.0.0.1" mac="aa:bb:cc:dd:ee:ff"/><accept/>', '!INVALID_RULE'),
  ruleRow('two sources', family, `${source}${source}<accept/>`, '!INVALID_RULE'),
  ruleRow('two elements', '', '<service name="ssh"/><port port="80" protocol="tcp"/><accept/>', '!INVALID_RULE'),
  ruleRow('two actions', '', '<service name="ssh"/><accept/><drop/>', '!INVALID_RULE'),
  ruleRow('two audits', '', '<service name="ssh"/><audit/><audit/><accept/>', '!INVALID_RULE'),
  ruleRow('no action', '', '<service name="ssh"/>', '!INVALID_RULE'),
  ruleRow('nothing at all', '', '', '!INVALID_RULE'),
  ruleRow('masquerade with an action', '', '<masquerade/><accept/>', '!INVALID_RULE'),
  ruleRow('a limit twice', '', '<service name="ssh"/><accept><limit value="2/m"/><limit value="3/m"/></accept>', '!INVALID_RULE'),
  ruleRow('a limit of the rule itself', '', '<service name="ssh"/><accept/><limit value="2/m"/>', '!INVALID_RULE'),
  ruleRow('a limit that is none', '', '<service name="ssh"/><accept><limit value="2/x"/></accept>', '!INVALID_LIMIT'),
  ruleRow('an unknown log level', '', '<service name="ssh"/><log level="err"/><accept/>', '!INVALID_LOG_LEVEL'),
  ruleRow('an unknown reject type', family, '<service name="ssh"/><reject type="x"/>', '!INVALID_RULE'),
  ruleRow('an interface inside', '', '<interface name="eth0"/><service name="ssh"/><accept/>', '!INVALID_RULE'),
  ['an unknown attribute', 'service', ' bogus="1"', '', 'PARSE_ERROR'],
  ['a module twice', 'service', '', '<module name="nf_conntrack_ftp"/><module name="ftp"/>', '!ALREADY_ENABLED'],
  ['a destination of the other family', 'service', '', '<destination ipv4="::1"/>', 'INVALID_ADDR'],
  ['a destination of no family', 'service', '', '<destination ipv5="x"/>', 'PARSE_ERROR'],
  ['two destinations of one family', 'service', '', '<destination ipv4="10.0.0.1"/><destination ipv4="10.0.0.2"/>', '!ALREADY_ENABLED'],
  ['two destinations of two families', 'service', '', '<destination ipv4="10.0.0.1"/><destination ipv6="::1"/>'],
  ['no target', 'policy', '', '', 'PARSE_ERROR'],
  ['a target of zones', 'policy', ' target="default"', '', 'INVALID_TARGET'],
  ['a priority out of range', 'policy', `${pass} priority="40000"`, '', 'INVALID_PRIORITY'],
  ['priority 0', 'policy', `${pass} priority="0"`, '', '!INVALID_PRIORITY'],
  ['ANY beside a zone', 'policy', pass, '<ingress-zone name="ANY"/><ingress-zone name="home"/>', 'INVALID_ZONE'],
  ['HOST on both sides', 'policy', pass, '<ingress-zone name="HOST"/><egress-zone name="HOST"/>', 'INVALID_ZONE'],
  ['masquerade to the host', 'policy', pass, '<ingress-zone name="ANY"/><egress-zone name="HOST"/><masquerade/>', 'INVALID_ZONE'],
  ['a zone twice', 'policy', pass, '<ingress-zone name="ANY"/><ingress-zone name="ANY"/><egress-zone name="HOST"/>', '!ALREADY_ENABLED'],
  ['an element of zones', 'policy', pass, '<interface name="x"/>', 'PARSE_ERROR'],
  ['no type', 'ipset', '', '', 'PARSE_ERROR'],
  ['an unknown type', 'ipset', ' type="bitmap:port"', '', 'INVALID_TYPE'],
  ['an unknown option', 'ipset', ip, '<option name="nope" value="1"/>', 'INVALID_OPTION'],
  ['an option without value', 'ipset', ip, '<option name="maxelem"/>', 'INVALID_OPTION'],
  ['a negative option', 'ipset', ip, '<option name="maxelem" value="-1"/>', 'INVALID_VALUE'],
  ['an unknown family', 'ipset', ip, '<option name="family" value="x"/>', 'INVALID_FAMILY'],
  ['an option twice', 'ipset', ip, '<option name="maxelem" value="5"/><option name="maxelem" value="6"/>', '!ALREADY_ENABLED'],
  ['MAC addresses of a family', 'ipset', ' type="hash:mac"', '<option name="family" value="inet6"/>', 'INVALID_OPTION'],
  ['an attribute of an entry', 'ipset', ip, '<entry x="1">1.2.3.4</entry>', 'PARSE_ERROR'],
  ['no module', 'helper', '', '', 'PARSE_ERROR'],
  ['a module of another kind', 'helper', ' module="ftp"', '', 'INVALID_MODULE'],
  ['a family that is none', 'helper', `${ftp} family="x"`, '', 'INVALID_IPV'],
  ['an empty family', 'helper', `${ftp} family=""`, '', 'INVALID_IPV'],
  ['an empty port', 'helper', ftp, '<port port="" protocol="tcp"/>', 'INVALID_PORT'],
  ['an unknown attribute', 'icmptype', ' x="1"', '', 'PARSE_ERROR'],
  ['an unknown element', 'icmptype', '', '<type value="8"/>', 'PARSE_ERROR'],
  ['an unknown attribute of destination', 'icmptype', '', '<destination x="1"/>', 'PARSE_ERROR'],
  ['another root', 'icmptype', '><bad_element/></icmptype><icmptype', '', 'INVALID_ICMPTYPE', 'PARSE_ERROR'],
]

t.test('mistakes in files have the codes and the weight that firewalld gives them', (t) => {
  for (const [title, kind, attributes, body, ...said] of mistakes) {
    const root = kind
    const { value, diagnostics } = parseXml(kind, 'foo.xml', `${head}<${root}${attributes}>${body}</${root}>\n`, 'foo')
    t.strictSame(diagnostics.map(({ severity, code }) => `${severity === 'warning' ? '!' : ''}${code}`).sort(), [...said].sort(), `${kind}: ${title}`)
    t.equal(value === null, said.some((word) => !word.startsWith('!')), `${kind}: ${title}: ${said.length === 0 ? 'fine' : said.join(', ')}`)
  }
  t.end()
})

t.test('a rule that is passed over leaves the others, a second log or destination leaves the rule', (t) => {
  t.strictSame(zone('<rule><service name="ssh"/></rule><rule><service name="http"/><accept/></rule>').value?.richRules, ['rule service name="http" accept'])
  t.strictSame(rule('<service name="ssh"/><log/><nflog/><accept/>').value?.richRules, ['rule service name="ssh" log accept'])
  t.strictSame(rule('<destination address="10.0.0.1"/><destination address="10.0.0.2"/><accept/>', family).value?.richRules,
    ['rule family="ipv4" destination address="10.0.0.1" accept'])
  for (const [word, inverted] of [['True', true], ['yes', true], ['no', false], ['1', false], ['zz', false]] as const) {
    t.equal(rule(`<source address="10.0.0.1" invert="${word}"/><accept/>`, family).value?.richRules[0]?.includes('NOT'), inverted, word)
  }
  t.end()
})

t.test('what is no XML at all has the code of its kind', (t) => {
  const codes = { zone: 'INVALID_ZONE', policy: 'INVALID_POLICY', service: 'INVALID_SERVICE', ipset: 'INVALID_IPSET', icmptype: 'INVALID_ICMPTYPE', helper: 'INVALID_HELPER' }
  for (const kind of kindNames) t.equal(parseXml(kind, 'x.xml', 'x', 'x').diagnostics[0]?.code, codes[kind])
  t.equal(parseDirectXml('direct.xml', 'x').diagnostics[0]?.code, 'INVALID_TYPE')
  t.equal(parseLockdownXml('lockdown.xml', 'x').diagnostics[0]?.code, 'INVALID_TYPE')
  t.end()
})

t.test('a mistake is shown in its line with a caret', (t) => {
  const { diagnostics } = parseXml('zone', 'zones/foo.xml', `${head}<zone>\n  <port port="80" protocol="tcp"/>\n  <port port="90x" protocol="tcp"/>\n</zone>\n`, 'foo')
  t.equal(diagnostics.map((found) => formatDiagnostic(found, { caret: true })).join('\n'),
    'zones/foo.xml:4:3: INVALID_PORT: 90x\n     4 |   <port port="90x" protocol="tcp"/>\n       |   ^')
  t.end()
})

t.test('direct.xml and the lockdown whitelist: mistakes', (t) => {
  const direct = (body: string) => parseDirectXml('direct.xml', `${head}<direct>${body}</direct>`)
  const codes = (found: { readonly diagnostics: readonly { readonly severity: string; readonly code: string }[] }): string[] =>
    found.diagnostics.map(({ severity, code }) => `${severity === 'warning' ? '!' : ''}${code}`)
  t.strictSame(direct('<rule ipv="ipv4" table="filter" chain="INPUT" priority="-5">  -m comment --comment "a b"\n -j ACCEPT </rule>').value?.rules,
    [{ ipv: 'ipv4', table: 'filter', chain: 'INPUT', priority: -5, args: ['-m', 'comment', '--comment', 'a b', '-j', 'ACCEPT'] }])
  t.strictSame(codes(direct('<chain table="filter" ipv="ipv7" chain="x"/>')), ['INVALID_IPV'])
  t.strictSame(codes(direct('<chain table="x" ipv="ipv4" chain="x"/>')), ['INVALID_TABLE'])
  t.strictSame(codes(direct('<chain table="raw" ipv="eb" chain="x"/>')), ['INVALID_TABLE'])
  t.strictSame(codes(direct('<rule/>')), ['PARSE_ERROR'])
  t.strictSame(codes(direct('<x/>')), ['PARSE_ERROR'])
  t.strictSame(codes(direct('<rule ipv="ipv4" table="filter" chain="x" priority="x">-j ACCEPT</rule>')), ['INVALID_PRIORITY'])
  t.strictSame(codes(direct('<rule ipv="ipv4" table="filter" chain="x" priority="0">"a</rule>')), ['INVALID_COMMAND'])
  t.strictSame(codes(direct('<passthrough ipv="ipv4"></passthrough>')), ['!INVALID_RULE'])
  t.strictSame(codes(direct('<passthrough ipv="ipv4">-A x</passthrough><passthrough ipv="ipv4">-A  x</passthrough>')), ['!ALREADY_ENABLED'])
  const lockdown = (body: string) => parseLockdownXml('l.xml', `${head}<whitelist>${body}</whitelist>`)
  t.strictSame(codes(lockdown('<command name="/x"/><user id="0"/><user name="root"/><selinux context="system_u:system_r:virtd_t:s0-s0:c0.c1023"/>')), [])
  t.strictSame(codes(lockdown('<user uid="666"/>')), ['PARSE_ERROR'])
  t.strictSame(codes(lockdown('<uid id="666"/>')), ['PARSE_ERROR'])
  t.strictSame(codes(lockdown('<group name="foobar"/>')), ['PARSE_ERROR'])
  t.strictSame(codes(lockdown('<user id="-1"/>')), ['INVALID_UID'])
  t.strictSame(codes(lockdown('<user name="a b"/>')), ['INVALID_USER'])
  t.strictSame(codes(lockdown('<selinux context="a"/>')), ['INVALID_CONTEXT'])
  t.strictSame(codes(lockdown('<command name="x y"/>')), ['INVALID_COMMAND'])
  t.strictSame(codes(lockdown('<command name="/x"/><command name="/x"/>')), ['ALREADY_ENABLED'])
  t.end()
})

t.test('the numbers of ICMP types are those of the shipped definitions', (t) => {
  const folder = join(import.meta.dirname, '../../../etc/lib/icmptypes')
  const names = readdirSync(folder).map((file) => file.replace('.yaml', ''))
  t.strictSame(Object.keys(icmpNumbersByName).sort(), names.sort())
  for (const name of names) {
    const value = parseSettings(name, readFileSync(join(folder, `${name}.yaml`), 'utf8'), kinds.icmptype).value
    t.strictSame(icmpNumbersByName[name], [value?.ipv4, value?.ipv6], name)
  }
  t.strictSame((parseXml('icmptype', 'x', '<icmptype/>', 'echo-request').value as { ipv4: unknown }).ipv4, [[8, null]])
  t.strictSame((parseXml('icmptype', 'x', '<icmptype/>', 'constructor').value as { ipv4: unknown }).ipv4, [])
  t.end()
})

t.test('a zone keeps the type of every value it does not mention', (t) => {
  t.strictSame(zone('').value, kinds.zone.empty satisfies ZoneSettings)
  t.end()
})
