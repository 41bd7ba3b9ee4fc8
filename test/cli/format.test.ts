// The text of derpanetctl's answers.
import t from 'tap'
import { columns } from '../../src/cli/output.ts'
import { formatStatus } from '../../src/cli/status.ts'
import { formatTable, formatZone, type ZoneSummary } from '../../src/cli/zones.ts'
import type { ServiceStatus } from '../../src/service.ts'

const status: ServiceStatus = {
  version: '1.2.3', state: 'RUNNING', generation: 7, source: 'files', panic: false, defaultZone: 'public',
  dataplanes: [{ name: 'netfilter', state: 'ok', details: [] }, { name: 'xdp', state: 'degraded', details: [{ subject: 'eth0', text: 'off: the driver is slow' }] }],
  pending: { changed: false, problem: null }, problem: null,
}
const zone: ZoneSummary = {
  name: 'public', isDefault: true, isActive: true, target: 'default', interfaces: ['eth0'], sources: [], services: ['ssh'], ports: ['80/tcp'], protocols: [], sourcePorts: [],
  icmpBlocks: [], icmpBlockInversion: false, masquerade: false, forward: true, forwardPorts: [], richRules: ['rule accept'], layer: 'shipped', file: '/usr/lib/derpanet/zones/public.yaml',
}

t.test('status names every dataplane with its reason', (t) => {
  t.equal(formatStatus(status), [
    'derpanetd 1.2.3: RUNNING', '  generation    7', '  configuration the files', '  default zone  public', '  panic         off',
    '  netfilter     ok', '  xdp           degraded', '    eth0: off: the driver is slow',
  ].join('\n'))
  t.end()
})

t.test('status shows panic, last known good, pending files, problems and warnings', (t) => {
  const text = formatStatus({
    ...status, state: 'FAILED', source: 'last-known-good', panic: true, pending: { changed: true, problem: { diagnostics: ['a.yaml:1:1: X: y'] } },
    problem: { diagnostics: ['b.yaml:2:2: P: q', 'b.yaml:3:3: R: s'] }, warnings: ['helper ftp'],
  })
  for (const part of ['FAILED', 'LAST KNOWN GOOD', 'ON: everything is dropped', 'have mistakes', 'a.yaml:1:1: X: y', 'b.yaml:2:2: P: q', 'b.yaml:3:3: R: s', 'helper ftp']) {
    t.ok(text.includes(part), part)
  }
  t.match(formatStatus({ ...status, pending: { changed: true, problem: null } }), /changed files wait: derpanetctl reload/)
  t.end()
})

t.test('foreign text in an answer cannot steer the terminal', (t) => {
  t.notMatch(formatStatus({ ...status, defaultZone: 'a\u001b[2Jb' }), /\u001b/)
  t.notMatch(formatZone({ ...zone, richRules: ['rule \u001b[31m'] }), /\u001b/)
  t.end()
})

t.test('zones: a table, and one zone whole without empty lines', (t) => {
  t.equal(formatTable([zone], 9), [
    'zone              target   interfaces and sources  lets in',
    'public (default)  default  eth0                    ssh 80/tcp',
    '8 more zones are bound to nothing: derpanetctl zones --all',
  ].join('\n'))
  t.equal(formatZone(zone), [
    'public (default, in use)', '  target      default', '  interfaces  eth0', '  services    ssh', '  ports       80/tcp', '  forward     yes', '  masquerade  no',
    '  file        /usr/lib/derpanet/zones/public.yaml', '  rich-rules', '    rule accept',
  ].join('\n'))
  t.end()
})

t.test('columns: numbers stand right, no trailing spaces', (t) => {
  t.equal(columns([['packets', 'rule'], ['7', 'a'], ['1000', 'long']]), 'packets  rule\n      7  a\n   1000  long')
  t.end()
})
