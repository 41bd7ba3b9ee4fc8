// Introspection XML from the member table. Argument names matter: Cockpit's bridge and python-dbus encode calls from it.
import { standardInterfaces, type Arg, type InterfaceView } from './members.ts'

const doctype = '<!DOCTYPE node PUBLIC "-//freedesktop//DTD D-BUS Object Introspection 1.0//EN"\n'
  + ' "http://www.freedesktop.org/standards/dbus/1.0/introspect.dtd">\n'

const deprecation = '      <annotation name="org.freedesktop.DBus.Deprecated" value="true"/>\n'

function argument(arg: Arg, direction?: 'in' | 'out'): string {
  const name = arg.name === '' ? '' : ` name="${arg.name}"`
  const way = direction === undefined ? '' : ` direction="${direction}"`
  return `      <arg${way} type="${arg.type}"${name}/>\n`
}

function element(tag: 'method' | 'signal', name: string, body: string): string {
  // an element without arguments keeps its two lines: scripts compare the text
  return `    <${tag} name="${name}">\n${body}    </${tag}>\n`
}

/** One `<interface>` element. Nothing here needs escaping: names and types are ours, letters and brackets only. */
function interfaceXml(view: InterfaceView): string {
  const annotation = view.deprecated ? deprecation : ''
  let xml = `  <interface name="${view.name}">\n`
  for (const row of view.methods.values()) {
    const inputs = row.in.map((arg) => argument(arg, 'in')).join('')
    const output = row.out === '' ? '' : argument({ name: '', type: row.out }, 'out')
    xml += element('method', row.name, inputs + output + annotation)
  }
  for (const row of view.signals.values()) {
    xml += element('signal', row.name, row.args.map((arg) => argument(arg)).join('') + annotation)
  }
  for (const row of view.properties.values()) {
    xml += `    <property name="${row.name}" type="${row.type}" access="${row.access}"/>\n`
  }
  return `${xml}  </interface>\n`
}

/** The interface elements of an object: the standard ones and its own. "" for a path without an object. */
export function interfacesXml(interfaces: Iterable<InterfaceView>): string {
  const own = [...interfaces]
  return own.length === 0 ? '' : [...standardInterfaces, ...own].map(interfaceXml).join('')
}

/** The whole answer of Introspect, from what `interfacesXml` gave. */
export function nodeXml(path: string, interfaces: string, children: readonly (string | number)[]): string {
  const nodes = children.map((name) => `  <node name="${name}"/>\n`).join('')
  return `${doctype}<node name="${path}">\n${interfaces}${nodes}</node>\n`
}
