import t from 'tap'
import { unreadFirewalldFiles, unreadFirewalldText } from '../../src/host/firewalld-files.ts'

t.test('what the package of firewalld installs says nothing', (t) => {
  const folder = t.testdir({ 'firewalld.conf': '# comment\nDefaultZone=public\n', 'lockdown-whitelist.xml': '<whitelist/>', zones: { 'public.xml.old': '' } })
  t.strictSame(unreadFirewalldFiles(folder), [])
  t.strictSame(unreadFirewalldFiles(`${folder}/nothing`), [])
  t.equal(unreadFirewalldText('/etc/firewalld', []), null)
  t.end()
})

t.test('what a person told firewalld is named, and what to do', (t) => {
  const folder = t.testdir({ 'firewalld.conf': 'DefaultZone=home\n', 'direct.xml': '', zones: { 'public.xml': '' }, services: { 'mine.xml': '' } })
  const files = unreadFirewalldFiles(folder)
  t.strictSame(files, ['direct.xml', 'firewalld.conf', 'services/mine.xml', 'zones/public.xml'])
  t.match(unreadFirewalldText('/etc/firewalld', files), /not in force \(direct\.xml, firewalld\.conf, services\/mine\.xml and 1 more\).*--system-config \/etc\/firewalld/)
  t.end()
})
