// Pages of the manual from the field tables: nobody can add a key without its description, or forget it in the manual.
import type { AnyField } from './field.ts'
import { fieldRows } from './field.ts'
import { kinds, mainKind } from './kinds.ts'
import type { NamedKind, ObjectKind } from './kinds.ts'

export interface ManualPage {
  /** `derpanet.zone.5`. */
  readonly file: string
  /** roff, with the man macros. */
  readonly text: string
}

interface PageText {
  /** After `NAME \- `. */
  readonly title: string
  readonly path: string
  /** Paragraphs. */
  readonly description: readonly string[]
  readonly example: string
}

type Kind = keyof typeof kinds | 'main'

const pages: Readonly<Record<Kind, PageText>> = {
  main: {
    title: 'settings of the derpanet firewall as a whole', path: '/etc/derpanet/derpanet.yaml',
    description: [
      'YAML with the keys below; each may be left out, and so may the file. A mistake in any file leaves what is enforced as it is.',
      'A list named in block is a file /etc/derpanet/lists/NAME.list with one address or prefix a line and # before comments. ' +
      'A list takes no prefix shorter than /8 (IPv6: /19) and no address of the host, its gateway or its name servers; one that became ' +
      'empty or changed by more than half leaves the list in force until it is forced.',
    ],
    example: 'default-zone: public\nblock: [spamhaus]\nnever-block: [192.0.2.10]',
  },
  zone: {
    title: 'a zone of the derpanet firewall', path: '/etc/derpanet/zones/NAME.yaml, /usr/lib/derpanet/zones/NAME.yaml',
    description: [
      'A zone says what the packets that belong to it may reach. A packet belongs to the zone that has its sender in sources, otherwise to the ' +
      'one that has its interface, otherwise to the default zone.',
      'The zone\'s name is the file\'s: letters, digits, _ and -. A file in /etc/derpanet replaces the whole zone of that name in /usr/lib/derpanet.',
    ],
    example: 'short: Office\ntarget: DROP\ninterfaces: [eth1]\nsources: [192.0.2.0/24, "list:partners"]\nservices: [ssh, dhcpv6-client]\nports: [8080/tcp]',
  },
  policy: {
    title: 'a policy of the derpanet firewall', path: '/etc/derpanet/policies/NAME.yaml, /usr/lib/derpanet/policies/NAME.yaml',
    description: ['A policy says what may pass from its ingress zones to its egress zones. Its name is the file\'s and not that of a zone.'],
    example: 'ingress-zones: [internal]\negress-zones: [external]\ntarget: ACCEPT',
  },
  service: {
    title: 'a service of the derpanet firewall', path: '/etc/derpanet/services/NAME.yaml, /usr/lib/derpanet/services/NAME.yaml',
    description: ['A service is a name for ports and protocols, for use in zones, policies and rich rules. Its name is the file\'s.'],
    example: 'short: Web\nports: [80/tcp, 443/tcp, 443/udp]',
  },
  ipset: {
    title: 'an ipset of the derpanet firewall', path: '/etc/derpanet/ipsets/NAME.yaml',
    description: [
      'An ipset is a set of addresses for use as the source of a zone (ipset:NAME) and in rich rules. Its name is the file\'s, at most 32 characters. ' +
      'Entries must not overlap. Lists of thousands are better kept as lists, see derpanet.yaml(5).',
    ],
    example: 'type: hash:net\noptions: {family: inet6}\nentries: ["2001:db8::/32"]',
  },
  icmptype: {
    title: 'an ICMP type of the derpanet firewall', path: '/etc/derpanet/icmptypes/NAME.yaml, /usr/lib/derpanet/icmptypes/NAME.yaml',
    description: ['A name for numbers of ICMP and ICMPv6, for use in icmp-blocks and rich rules. Its name is the file\'s.'],
    example: 'short: host-unreachable\ndestinations: [ipv4]\nipv4: [3/1]',
  },
  helper: {
    title: 'a connection helper of the derpanet firewall', path: '/etc/derpanet/helpers/NAME.yaml, /usr/lib/derpanet/helpers/NAME.yaml',
    description: ['A module of the kernel that finds the connections another connection brings about, for use in services. Its name is the file\'s.'],
    example: 'module: nf_conntrack_ftp\nports: [21/tcp]',
  },
}

/** Backslashes and dashes as roff wants them; a line that begins with a dot or quote is no request. */
function roff(text: string): string {
  return text.replaceAll('\\', '\\e').replaceAll('-', '\\-').replace(/^([.'])/gm, '\\&$1')
}

const typeNames: Readonly<Record<AnyField['shape'], string>> = { scalar: 'text', flag: 'true or false', list: 'list', dict: 'keys and values' }

function typeOf(field: AnyField): string {
  if (field.shape !== 'scalar') return typeNames[field.shape]
  return field.type === 'i' ? `number, ${field.values?.join(', ') ?? ''}` : field.values === undefined ? 'text' : field.values.map((value) => value || '(empty)').join(', ')
}

/** The value that holds without the key, as it would be written; null where that is nothing. */
function defaultOf(field: AnyField, value: unknown): string | null {
  if (field.shape === 'flag') return value === true ? 'yes' : 'no'
  if (field.shape === 'scalar') return value === '' ? null : String(value)
  return null
}

function keyText(field: AnyField, empty: unknown): string {
  const fallback = defaultOf(field, empty)
  const facts = [
    field.shape === 'dict' && field.keys !== null ? `Keys: ${field.keys.join(', ')}.` : '',
    fallback === null ? '' : `Default: ${fallback}.`,
    field.example === undefined ? '' : `Example: ${field.yaml}: ${field.example}`,
  ].filter((text) => text !== '')
  return ['.TP', `.BR ${roff(field.yaml)} " (${roff(typeOf(field))})"`, roff(field.doc), ...facts.map((text) => `.br\n${roff(text)}`)].join('\n')
}

function page(kind: Kind, described: ObjectKind<never>): ManualPage {
  const { title, path, description, example } = pages[kind]
  const name = kind === 'main' ? 'derpanet.yaml' : `derpanet.${kind}`
  const others = (Object.keys(pages) as Kind[]).filter((other) => other !== kind).map((other) => other === 'main' ? 'derpanet.yaml' : `derpanet.${other}`)
  const empty = described.empty as Readonly<Record<string, unknown>>
  const hasLong = fieldRows(described.fields).some(([, field]) => field.shape === 'list' && field.long === true)
  const lines = [
    '.\\" Made from the field tables by packaging/generate-man.ts; edit those.',
    `.TH ${name.toUpperCase()} 5 "" derpanet`,
    '.SH NAME', `${roff(name)} \\- ${roff(title)}`,
    '.SH SYNOPSIS', roff(path),
    '.SH DESCRIPTION', ...description.flatMap((paragraph, index) => [...(index === 0 ? [] : ['.PP']), roff(paragraph)]),
    '.SH KEYS', ...fieldRows(described.fields).map(([key, field]) => keyText(field, empty[key])),
    '.SH RULES FOR FILES',
    roff(`A file is UTF-8 YAML, one document, at most 1 MiB${hasLong ? ' (with one plain entry a line 16 MiB)' : ''} and 16 levels deep, without anchors, aliases, tags and merge keys. Unknown and repeated keys are ` +
      'errors. It has to be a regular file inside its folder and must not be writable by anybody but its owner and root. derpanetctl check names every mistake ' +
      'with file, line and column.'),
    '.SH EXAMPLE', '.nf', roff(example), '.fi',
    '.SH SEE ALSO', `${others.map((other) => `.BR ${roff(other)} (5)`).join(',\n')}`, '',
  ]
  return { file: `${name}.5`, text: lines.join('\n') }
}

/** Every page, in the order of pages. */
export function manualPages(): readonly ManualPage[] {
  const named = kinds as unknown as Readonly<Record<string, NamedKind<never>>>
  return (Object.keys(pages) as Kind[]).map((kind) => page(kind, kind === 'main' ? mainKind as unknown as ObjectKind<never> : named[kind]!))
}
