// XML as a stranger writes it: what is refused, where, and that nothing of it makes the reader slow, big or fall over.
import t from 'tap'
import { decodeXml, readXml, xmlLimits, type XmlElement, type XmlMistake } from '../../../src/config/firewalld/xml-reader.ts'
import { createRandom, seedOfRun } from '../../support/random.ts'

interface Read {
  readonly mistake: XmlMistake | null
  readonly root: XmlElement | null
  readonly children: readonly XmlElement[]
}

function read(text: string, limits = xmlLimits): Read {
  let root: XmlElement | null = null
  const children: XmlElement[] = []
  const mistake = readXml(text, { root: (element) => { root = element }, child: (element) => children.push(element) }, limits)
  return { mistake, root, children }
}

const place = ({ mistake }: Read): string | null => mistake === null ? null : `${mistake.position.line}:${mistake.position.column} ${mistake.text}`

t.test('elements, attributes and text come with the place they stand at', (t) => {
  const { root, children, mistake } = read('<?xml version="1.0" encoding="utf-8"?>\r\n<!-- c -->\r\n<zone a="1"\n  b=\'x&amp;"y\'>\n <s>t&#65;&lt;x<![CDATA[<q>]]></s><e c=">"><f/></e></zone>\n')
  t.equal(mistake, null)
  t.match(root, { name: 'zone', position: { line: 3, column: 1 } })
  t.strictSame(root?.attributes.get('a'), { value: '1', position: { line: 3, column: 10 } })
  t.strictSame(root?.attributes.get('b'), { value: 'x&"y', position: { line: 4, column: 6 } })
  t.match(children[0], { name: 's', text: 'tA<x<q>', position: { line: 5, column: 2 } })
  t.match(children[1], { name: 'e', children: [{ name: 'f', position: { line: 5, column: 44 } }] })
  t.end()
})

t.test('a byte order mark does not move columns', (t) => {
  t.strictSame(read('\ufeff<a x="y"/>').root?.position, { line: 1, column: 1 })
  t.end()
})

for (const [title, text, expected] of [
  ['a document type with entities is refused before anything is expanded', '<!DOCTYPE a [<!ENTITY b "c">]>\n<a>&b;</a>', '1:1 a document type (DTD) is not allowed'],
  ['a document type of a system file is refused', '<?xml version="1.0"?><!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>', '1:22 a document type (DTD) is not allowed'],
  ['an entity nobody declared is refused', '<a>\n &foo;</a>', '2:6 undefined entity'],
  ['a NUL is refused', '<a>\n\0</a>', '2:1 disallowed character'],
  ['a control character is refused', '<a>\u0001</a>', '1:4 disallowed character'],
  ['a control character by reference is refused', '<a>&#1;</a>', '1:7 malformed character entity'],
  ['a control character by reference is refused in XML 1.1 too', '<?xml version="1.1"?><a>&#1;</a>', '1:28 malformed character entity'],
  ['an attribute twice is refused', '<a x="1" x="2"/>', '1:16 duplicate attribute: x'],
  ['a second root is refused', '<a/><b/>', '1:7 documents may contain only one root'],
  ['an open element is refused', '<a><b></a>', '1:10 unexpected close tag'],
  ['a text that ends early is refused', '<a', '1:2 document must contain a root element'],
  ['text before the root is refused', 'hello', null],
  ['an empty text is refused', '', '1:1 document must contain a root element'],
  ['a declaration that is not at the start is refused', '\n<?xml version="1.0"?><a/>', '2:6 an XML declaration must be at the start of the document'],
  ['an unquoted attribute is refused', '<a x=1/>', '1:6 unquoted attribute value'],
] as const) {
  t.test(title, (t) => {
    const found = place(read(text))
    t.not(found, null)
    if (expected !== null) t.equal(found, expected)
    t.end()
  })
}

t.test('nesting is refused at the element that is too deep', (t) => {
  const nest = (depth: number): string => '<a>'.repeat(depth) + '</a>'.repeat(depth)
  t.equal(read(nest(16)).mistake, null)
  t.equal(place(read(nest(17))), '1:49 nested deeper than 16 elements')
  t.equal(place(read('<a>'.repeat(300_000))), '1:49 nested deeper than 16 elements', 'however deep it goes on')
  t.end()
})

t.test('a text beyond the limit is refused without being read', (t) => {
  t.equal(place(read(`<a>${' '.repeat(1024 * 1024)}</a>`)), '1:1 the file is larger than 1048576 characters')
  t.equal(read(`<a>${' '.repeat(900_000)}</a>`).mistake, null)
  t.end()
})

t.test('hostile texts of full size are read or refused within seconds', (t) => {
  const size = 1024 * 1024 - 100
  const lol = `<!DOCTYPE l [<!ENTITY a "lol">${Array.from({ length: 9 }, (_, n) => `<!ENTITY ${'abcdefghij'[n + 1]} "${`&${'abcdefghij'[n]};`.repeat(10)}">`).join('')}]><l>&j;</l>`
  const texts = {
    'billion laughs': lol,
    'one huge attribute': `<a x="${'y'.repeat(size)}"/>`,
    'many attributes': `<a${Array.from({ length: 60_000 }, (_, n) => ` a${n}="1"`).join('')}/>`,
    'many elements': `<a>${'<b/>'.repeat(size / 4 - 4)}</a>`,
    'many references': `<a>${'&lt;'.repeat(size / 4 - 4)}</a>`,
    'many open brackets': '<'.repeat(size),
    'a long comment': `<a><!-- ${'- '.repeat(size / 2 - 20)} --></a>`,
    'a long name': `<${'a'.repeat(size - 10)}/>`,
    'a comment that never ends': `<a><!--${'x'.repeat(size - 20)}`,
    'many lines': `<a>${'\n'.repeat(size - 20)}</b>`,
  }
  for (const [title, text] of Object.entries(texts)) {
    const start = performance.now()
    const { mistake } = read(text)
    t.ok(performance.now() - start < 5000, `${title}: ${mistake?.text.slice(0, 60) ?? 'read'} in ${(performance.now() - start).toFixed(0)} ms`)
  }
  t.match(read(lol).mistake?.text, /not allowed/)
  t.end()
})

t.test('random damage to a good file never makes the reader throw', (t) => {
  const seed = seedOfRun()
  t.comment(`DERPANET_SEED=${seed}`)
  const random = createRandom(seed)
  const good = '<?xml version="1.0" encoding="utf-8"?>\n<zone target="DROP">\n  <short>a &amp; b</short>\n  <port port="80" protocol="tcp"/>\n  <rule family="ipv4"><source address="10.0.0.1" invert="True"/><accept/></rule>\n</zone>\n'
  const alphabet = [...'<>/&;"\'=!?-[]#x \n\0\ud800\ufffe', 'CDATA[', '<!', ']]>', '&#x0;', '<?', '<!--', '&#99999999;', '<!DOCTYPE a>']
  let refused = 0
  for (let round = 0; round < 5000; round++) {
    let text = good
    for (let edits = random.between(1, 4); edits > 0; edits--) {
      const at = random.between(0, text.length)
      text = text.slice(0, at) + (random.chance(0.7) ? random.pick(alphabet) : '') + text.slice(at + random.between(0, 3))
    }
    const { mistake } = read(text)
    if (mistake === null) continue
    refused++
    if (!(mistake.position.line >= 1 && mistake.position.column >= 1 && mistake.text !== '' && !/[\0\n]/.test(mistake.text))) t.fail(JSON.stringify([text, mistake]))
  }
  t.ok(refused > 1000, `${refused} of 5000 were refused`)
  t.end()
})

t.test('encodings: UTF-8 with and without mark, ISO-8859-1 and UTF-16 are read, others and broken ones are refused by name', (t) => {
  const bytes = (text: string, encoding: BufferEncoding): Uint8Array => Buffer.from(text, encoding)
  t.equal(decodeXml(bytes('<a>ü</a>', 'utf8')), '<a>ü</a>')
  t.equal(decodeXml(bytes('\ufeff<a>ü</a>', 'utf8')), '<a>ü</a>')
  t.equal(decodeXml(bytes('<?xml version="1.0" encoding="ISO-8859-1"?><a>ü</a>', 'latin1')), '<?xml version="1.0" encoding="ISO-8859-1"?><a>ü</a>')
  t.equal(decodeXml(bytes('\ufeff<a>ü</a>', 'utf16le')), '<a>ü</a>')
  t.equal(decodeXml(Buffer.from(bytes('\ufeff<a>ü</a>', 'utf16le')).swap16()), '<a>ü</a>')
  t.match(decodeXml(bytes('<?xml version="1.0" encoding="EBCDIC-US"?><a/>', 'utf8')), { text: 'encoding EBCDIC-US is not supported, write UTF-8' })
  t.match(decodeXml(bytes('<?xml version="1.0" encoding="utf-7"?><a/>', 'utf8')), { text: /utf-7/ })
  t.strictSame(decodeXml(bytes('<a>\n b\xfc</a>', 'latin1')), { position: { line: 2, column: 3 }, text: 'the text is not UTF-8' })
  t.end()
})
