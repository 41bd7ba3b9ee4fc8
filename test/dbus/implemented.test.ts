// Every member that introspection shows does something, in both faces: nothing answers NotSupported.
import t from 'tap'
import { ObjectNumbers } from '../../src/dbus/objects.ts'
import { memberTable, type Face } from '../../src/dbus/members.ts'
import { configPath, firewalldPath } from '../../src/dbus/members/firewalld.ts'
import { ObjectTree } from '../../src/dbus/tree.ts'
import { fakeService } from './support/service.ts'

for (const face of ['2.5', '1.3'] as const satisfies readonly Face[]) {
  t.test(`face ${face}: every method has a handler, every property a reader, every writable one a writer`, (t) => {
    const table = memberTable(face)
    const context = {
      service: fakeService(), face, numbers: new ObjectNumbers(), hasIpv4: true, hasIpv6: true, foreignInterfaces: async () => new Set<string>(),
    }
    const tree = new ObjectTree(table, context, true)
    const paths = [firewalldPath, configPath, ...[...table.objects.keys()].map((kind) => `${configPath}/${kind}/0`)]
    let methods = 0
    for (const path of paths) {
      const objectClass = tree.find(path)?.objectClass
      if (objectClass === null || objectClass === undefined) {
        t.fail(`no object at ${path}`)
        continue
      }
      for (const target of objectClass.targets.values()) {
        if (target.builtIn) continue
        methods++
        if (target.handler === undefined) t.fail(`${target.interfaceName}.${target.row.name} has no handler`)
      }
      for (const [name, view] of objectClass.interfaces) {
        for (const row of view.properties.values()) {
          const handlers = objectClass.properties.get(name)
          if (handlers?.get[row.name] === undefined) t.fail(`${name}.${row.name} cannot be read`)
          if (row.access === 'readwrite' && handlers?.set?.[row.name] === undefined) t.fail(`${name}.${row.name} cannot be written`)
        }
      }
    }
    t.equal(methods, 368)
    t.end()
  })
}
