// Writes etc/lib from a folder with firewalld's definitions as data (services.json, zones.json, …): names, ports and
// numbers are facts taken over, every description is our own. Usage: generate-lib.ts DATA-FOLDER [etc/lib]
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { serviceTexts } from './service-texts.ts'

const version = '2.5.0'

type Row = Readonly<Record<string, unknown>>
type Value = string | number | boolean | readonly string[] | Readonly<Record<string, string>>

const [folder, target = 'etc/lib'] = process.argv.slice(2)
if (folder === undefined) throw new Error('usage: generate-lib.ts DATA-FOLDER [etc/lib]')

const read = (name: string): Readonly<Record<string, Readonly<Record<string, Row>>>> =>
  JSON.parse(readFileSync(join(folder, `${name}.json`), 'utf8')) as Readonly<Record<string, Readonly<Record<string, Row>>>>

const texts = (row: Row, key: string): readonly string[] => (row[key] as readonly string[] | undefined) ?? []
const ports = (row: Row, key: string): readonly string[] => ((row[key] as readonly (readonly [string, string])[] | undefined) ?? []).map(([port, protocol]) => `${port}/${protocol}`)
const and = (items: readonly string[]): string => items.length < 2 ? items.join('') : `${items.slice(0, -1).join(', ')} and ${items[items.length - 1]}`

// --- YAML ---

/** `inList` = within brackets or braces, where commas separate. */
function scalar(value: string | number | boolean, inList = false): string {
  if (typeof value !== 'string') return String(value)
  const safe = inList ? /^[A-Za-z][A-Za-z0-9 _./+()'-]*$/ : /^[A-Za-z][A-Za-z0-9 _./+()',;-]*$/
  const plain = safe.test(value) && !/ $/.test(value) && !/^(true|false|null|yes|no|on|off|y|n)$/i.test(value)
  if (plain || /^\d+(-\d+)?\/[a-z]+$|^\d+(\/\d+)?$/.test(value)) return value
  return value.includes('"') && !value.includes("'") ? `'${value}'` : JSON.stringify(value)
}

/** One key a line; lists that fit on one in brackets. */
function document(values: Readonly<Record<string, Value>>): string {
  return Object.entries(values).map(([key, value]) => {
    if (typeof value !== 'object') return value === '' ? '' : `${key}: ${scalar(value)}\n`
    if (!Array.isArray(value)) {
      const pairs = Object.entries(value).map(([name, text]) => `${name}: ${scalar(text, true)}`)
      return pairs.length === 0 ? '' : `${key}: {${pairs.join(', ')}}\n`
    }
    const items = value.map((item: string) => scalar(item, true))
    if (items.length === 0) return ''
    const line = `${key}: [${items.join(', ')}]\n`
    return line.length <= 120 ? line : `${key}:\n${items.map((item) => `  - ${item}\n`).join('')}`
  }).join('')
}

function write(kind: string, objects: Readonly<Record<string, Readonly<Record<string, Value>>>>): void {
  rmSync(join(target, kind), { recursive: true, force: true })
  mkdirSync(join(target, kind), { recursive: true })
  for (const [name, values] of Object.entries(objects)) writeFileSync(join(target, kind, `${name}.yaml`), document(values))
  process.stdout.write(`${kind}: ${Object.keys(objects).length}\n`)
}

const each = (rows: Readonly<Record<string, Row>>, make: (row: Row, name: string) => Readonly<Record<string, Value>>): Readonly<Record<string, Readonly<Record<string, Value>>>> =>
  Object.fromEntries(Object.entries(rows).map(([name, row]) => [name, make(row, name)]))

// --- services ---

/** A name is a fact; what is longer than a name is somebody's sentence, and then the service's own name has to do. */
const shortName = (row: Row, name: string): string => typeof row['short'] === 'string' && row['short'].length <= 40 ? row['short'] : name

function service(row: Row, name: string): Readonly<Record<string, Value>> {
  const destination = (row['destination'] ?? {}) as Readonly<Record<string, string>>
  const opened = [...ports(row, 'ports'), ...texts(row, 'protocols').map((protocol) => `protocol ${protocol}`)]
  const limited = Object.values(destination)
  const sentences = [
    serviceTexts[name] ?? '',
    opened.length === 0 ? '' : `Opens ${and(opened)}${limited.length === 0 ? '' : `, only for packets to ${and(limited)}`}.`,
    ports(row, 'source_ports').length === 0 ? '' : `Lets in what is sent from ${and(ports(row, 'source_ports'))}.`,
    texts(row, 'includes').length === 0 ? '' : `Opens ${texts(row, 'includes').length === 1 ? 'the service' : 'the services'} ${and(texts(row, 'includes'))}${opened.length === 0 ? '' : ' too'}.`,
    texts(row, 'helpers').length === 0 ? '' : `Related connections are followed by the helper ${and(texts(row, 'helpers'))}.`,
  ]
  return {
    version: (row['version'] as string | undefined) ?? '', short: shortName(row, name), description: sentences.filter((text) => text !== '').join(' '),
    ports: ports(row, 'ports'), protocols: texts(row, 'protocols'), 'source-ports': ports(row, 'source_ports'), modules: texts(row, 'modules'),
    helpers: texts(row, 'helpers'), includes: texts(row, 'includes'), destination,
  }
}

const unknown = Object.keys(serviceTexts).filter((name) => !(name in (read('services')[version] ?? {})))
if (unknown.length > 0) throw new Error(`texts for services that nobody ships: ${unknown.join(', ')}`)

// --- zones and policies ---

const zoneTexts: Readonly<Record<string, readonly [string, string]>> = {
  block: ['Block', 'Nothing comes in. Whoever tries is told so; connections begun on this host work.'],
  dmz: ['DMZ', 'For hosts that the outside may reach and that reach little inside. Only ssh comes in.'],
  drop: ['Drop', 'Nothing comes in, and whoever tries gets no answer at all. Connections begun on this host work.'],
  external: ['External', 'For the outer side of a router: those inside go out under its address. Only ssh comes in.'],
  home: ['Home', 'For networks at home, whose machines are mostly known. Only the services listed come in.'],
  internal: ['Internal', 'For the inner side of a router, whose machines are mostly known. Only the services listed come in.'],
  public: ['Public', 'For networks of strangers. Only the services listed come in.'],
  trusted: ['Trusted', 'Everything comes in and passes through. For networks you would let do anything.'],
  work: ['Work', 'For networks at work, whose machines are mostly known. Only the services listed come in.'],
}

function zone(row: Row, name: string): Readonly<Record<string, Value>> {
  const [short, description] = zoneTexts[name] ?? [name, '']
  const target = String(row['target']).replaceAll('%', '')
  return {
    short, description, target: target === 'default' ? '' : target, services: texts(row, 'services'), ports: ports(row, 'ports'),
    protocols: texts(row, 'protocols'), 'source-ports': ports(row, 'source_ports'),
    ...(row['masquerade'] === true ? { masquerade: true } : {}), ...(row['forward'] === true ? { forward: true } : {}),
  }
}

const policyTexts: Readonly<Record<string, readonly [string, string]>> = {
  'allow-host-ipv6': ['Allow host IPv6', 'What IPv6 needs to work on a link comes in whatever the zones say: neighbours, routers, redirects and multicast membership.'],
  'gateway-dmz-to-HOST': ['Gateway DMZ to host', 'Lets the DMZ use this router for names and addresses.'],
  'gateway-lan-to-HOST': ['Gateway LAN to host', 'Lets the inner networks use this router for names, addresses and ssh.'],
  'gateway-lan-to-work': ['Gateway LAN to work', 'Lets the inner networks go through this router into the zone work.'],
  'gateway-lan-to-world': ['Gateway LAN to world', 'Lets the inner networks go through this router to the outside.'],
  'gateway-world-to-HOST': ['Gateway world to host', 'Lets this router get its own IPv6 address from the outside.'],
}

function richRule(rule: Row): string {
  const icmp = rule['icmp-type'] as { readonly name: string } | undefined
  if (icmp === undefined || rule['accept'] !== true) throw new Error(`a rule of an unknown shape: ${JSON.stringify(rule)}`)
  return `rule family="${String(rule['family'])}" icmp-type name="${icmp.name}" accept`
}

function policy(row: Row, name: string): Readonly<Record<string, Value>> {
  const [short, description] = policyTexts[name] ?? [name, '']
  const target = String(row['target'])
  return {
    short, description, target: target === 'CONTINUE' ? '' : target, priority: row['priority'] as number,
    'ingress-zones': texts(row, 'ingress_zones'), 'egress-zones': texts(row, 'egress_zones'), services: texts(row, 'services'),
    'rich-rules': ((row['rules'] as readonly Row[] | undefined) ?? []).map(richRule), ...(row['disable'] === true ? { disable: true } : {}),
  }
}

// --- ICMP types and helpers ---

type Numbers = Readonly<Record<string, readonly [number, number, boolean]>>

function icmpType(numbers: { readonly ipv4: Numbers; readonly ipv6: Numbers }) {
  return (row: Row, name: string): Readonly<Record<string, Value>> => {
    const found = (['ipv4', 'ipv6'] as const).map((family) => ({ family, number: numbers[family][name] })).filter(({ number }) => number !== undefined)
    if (found.length === 0) throw new Error(`ICMP type ${name} has no number`)
    const said = found.map(({ family, number }) => `${family === 'ipv4' ? 'ICMP' : 'ICMPv6'} type ${number![0]}${number![2] ? '' : ` code ${number![1]}`}`)
    // recorded where the kernel had no ip6tables, which takes IPv6 away: a type of both families names both or none
    const destinations = found.length === 2 && texts(row, 'destination').length === 0 ? [] : found.map(({ family }) => family)
    return {
      short: name, description: `${and(said)}.`, destinations,
      ...Object.fromEntries(found.map(({ family, number }) => [family, [number![2] ? `${number![0]}` : `${number![0]}/${number![1]}`]])),
    }
  }
}

function helper(row: Row, name: string): Readonly<Record<string, Value>> {
  const watched = ports(row, 'ports')
  return {
    short: name,
    description: `Follows connections that ${name} connections bring about${watched.length === 0 ? '' : `, seen on ${and(watched)}`}${row['family'] === undefined ? '' : ' (IPv4 only)'}.`,
    family: (row['family'] as string | undefined) ?? '', module: row['module'] as string, ports: watched,
  }
}

const icmptypes = read('icmptypes')
write('services', each(read('services')[version]!, service))
write('zones', each(read('zones')[version]!, zone))
write('policies', each(read('policies')[version]!, policy))
write('icmptypes', each(icmptypes[version]!, icmpType(icmptypes['numbers'] as unknown as { readonly ipv4: Numbers; readonly ipv6: Numbers })))
write('helpers', each(read('helpers')[version]!, helper))
mkdirSync(join(target, 'ipsets'), { recursive: true })
writeFileSync(join(target, 'ipsets', 'README'), 'No ipset is shipped. Files NAME.yaml here would be read like those in /etc/derpanet/ipsets.\n')
