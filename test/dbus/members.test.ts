// The member table against what firewalld 1.3.3 and 2.5.0 say of themselves, and against who may call what.
import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { interfacesXml, nodeXml } from '../../src/dbus/introspect.ts'
import { memberTable, standardInterfaces, type Face, type InterfaceView } from '../../src/dbus/members.ts'
import { nodeShape } from './support/xml.ts'

const dataDir = join(dirname(fileURLToPath(import.meta.url)), '../compat/data')
const faces: readonly (readonly [Face, string])[] = [['2.5', '2.5.0'], ['1.3', '1.3.3']]
const rootPath = '/org/fedoraproject/FirewallD1'

function recorded(version: string, file: string): string {
  return readFileSync(join(dataDir, 'introspection', version, file), 'utf8')
}

/** Every kind of object with the file its recording is in. */
function objectsOf(face: Face): readonly { readonly path: string; readonly file: string; readonly interfaces: readonly InterfaceView[] }[] {
  const table = memberTable(face)
  return [
    { path: rootPath, file: 'org_fedoraproject_FirewallD1.xml', interfaces: [...table.runtime.values()] },
    { path: `${rootPath}/config`, file: 'org_fedoraproject_FirewallD1_config.xml', interfaces: [...table.config.values()] },
    ...[...table.objects].map(([kind, views]) => ({
      path: `${rootPath}/config/${kind}/0`, file: `org_fedoraproject_FirewallD1_config_${kind}_N.xml`, interfaces: [...views.values()],
    })),
  ]
}

for (const [face, version] of faces) {
  for (const { path, file, interfaces } of objectsOf(face)) {
    t.test(`face ${face} shows ${path} exactly as firewalld ${version}: interfaces, members, argument names, deprecation`, (t) => {
      const want = nodeShape(recorded(version, file))
      const got = nodeShape(nodeXml(path, interfacesXml(interfaces), want.children))
      t.ok(Object.keys(want.interfaces).length >= 3, 'the recording is read')
      t.strictSame(Object.keys(got.interfaces), Object.keys(want.interfaces), 'the same interfaces')
      for (const [name, members] of Object.entries(want.interfaces)) t.strictSame(got.interfaces[name], members, name)
      t.equal(got.name, want.name, 'the node says its path')
      t.end()
    })
  }

  t.test(`face ${face} has 368 methods and 77 signals in 15 interfaces`, (t) => {
    const views = objectsOf(face).flatMap(({ interfaces }) => interfaces)
    const total = (pick: (view: InterfaceView) => number): number => views.reduce((sum, view) => sum + pick(view), 0)
    t.equal(new Set(views.map((view) => view.name)).size, 15)
    t.equal(total((view) => view.methods.size), 368)
    t.equal(total((view) => view.signals.size), 77)
    t.end()
  })

  t.test(`face ${face} asks for the action firewalld asks for, member by member`, (t) => {
    const polkit = JSON.parse(readFileSync(join(dataDir, 'polkit.json'), 'utf8')) as { readonly methods: Record<string, Record<string, string>> }
    const got = Object.fromEntries(objectsOf(face).flatMap(({ interfaces }) => interfaces).map((view) =>
      [view.name, Object.fromEntries([...view.methods.values()].map((row) => [row.name, row.action]))]))
    const want = Object.fromEntries(Object.entries(polkit.methods).filter(([name]) => !name.includes('@')))
    t.equal(Object.keys(want).length, 15, 'the recording is read')
    t.strictSame(got, want)
    t.end()
  })
}

t.test('five config properties are 2.5 only, everything else is in both faces', (t) => {
  const names = (face: Face): string[] => [...(memberTable(face).config.get('org.fedoraproject.FirewallD1.config')?.properties.keys() ?? [])]
  t.equal(names('2.5').length, 18)
  t.equal(names('1.3').length, 13)
  t.strictSame(names('2.5').filter((name) => !names('1.3').includes(name)).sort(),
    ['IPv6_rpfilter2', 'NftablesCounters', 'NftablesFlowtable', 'NftablesTableOwner', 'StrictForwardPorts'])
  t.end()
})

t.test('Properties and Introspectable ask for the recorded actions on every kind of object', (t) => {
  const polkit = JSON.parse(readFileSync(join(dataDir, 'polkit.json'), 'utf8')) as { readonly methods: Record<string, Record<string, string>> }
  const rows = Object.entries(polkit.methods).filter(([name]) => name.includes('@'))
  t.equal(rows.length, 16)
  for (const [name, want] of rows) {
    const view = standardInterfaces.find((standard) => name.startsWith(`${standard.name} @`))
    t.strictSame(Object.fromEntries([...(view?.methods.values() ?? [])].map((row) => [row.name, row.action])), want, name)
  }
  t.end()
})

t.test('a path that only has children shows them and no interface', (t) => {
  const shape = nodeShape(nodeXml('/org', interfacesXml([]), ['fedoraproject', 'derpanet']))
  t.strictSame(shape, { name: '/org', children: ['derpanet', 'fedoraproject'], interfaces: {} })
  t.end()
})
