// TEST_TIMEOUT_SEC=120
// Random texts of rich rules, judged by python3-firewall's own parser: what it takes we take, what it refuses we refuse,
// and both print the same. Where we differ on purpose, a row below says so; each row is met by its own example, so that
// none outlives its reason. 20,000 texts, 200,000 with DERPANET_TEST_FULL.
import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { DerpanetError } from '../../src/errors.ts'
import { formatRichRule, parseRichRule } from '../../src/model/rich/index.ts'
import { createRandom, seedOfRun } from '../support/random.ts'
import { randomRichText } from './support/rich-texts.ts'

const isFull = process.env['DERPANET_TEST_FULL'] !== undefined
const count = isFull ? 200_000 : 20_000

interface Answer {
  readonly canonical?: string
  readonly code?: string
  readonly detail?: string
}
type Judge = (text: string) => Promise<Answer>

/** The parser of the python3-firewall that Debian 12 ships: 1.3.3. */
function startJudge(): { readonly ask: Judge; stop(): void } {
  const child = spawn('/usr/bin/python3', [fileURLToPath(new URL('support/rich-judge.py', import.meta.url))], { stdio: ['pipe', 'pipe', 'inherit'], env: { LC_ALL: 'C.UTF-8', PYTHONUNBUFFERED: '1' } })
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  return {
    async ask(text) {
      child.stdin.write(`${JSON.stringify(text)}\n`)
      const line = await lines.next()
      if (line.done === true) throw new Error('the judge left')
      return JSON.parse(line.value) as Answer
    },
    stop: () => child.stdin.end(),
  }
}

function ours(text: string): Answer {
  try {
    return { canonical: formatRichRule(parseRichRule(text)) }
  } catch (error) {
    if (!(error instanceof DerpanetError)) throw error
    return { code: error.code, detail: error.detail }
  }
}

/** Two prints of one rule: what has to be done to both before they are equal. */
interface FormRow {
  readonly because: string
  readonly example: string
  readonly same: (canonical: string) => string
}

const forms: readonly FormRow[] = [
  { because: '2.5 keeps a MAC as typed, 1.3 makes capitals', example: 'rule source mac=aa:bb:cc:dd:ee:ff accept', same: (text) => text.replace(/mac="[^"]*"/g, (mac) => mac.toUpperCase()) },
  { because: 'firewalld prints quotes and backslashes so that it cannot read them again', example: `rule service name=ssh log prefix='a"b' accept`, same: (text) => text.replace(/\\(["\\])/g, '$1') },
  { because: 'one number, one spelling', example: 'rule service name=ssh accept limit value=01/s', same: (text) => text.replace(/limit value="[+ ]?0*(\d+) ?\/ ?/g, 'limit value="$1/') },
]

/** One takes what the other refuses. */
interface VerdictRow {
  readonly because: string
  readonly example: string
  readonly holds: (text: string, our: Answer, their: Answer, judge: Judge) => boolean | Promise<boolean>
}

const isSameForm = (one: string, other: string): boolean => {
  const bare = (text: string): string => forms.reduce((found, { same }) => same(found), text)
  return bare(one) === bare(other)
}
/** We refuse, with that code and detail, what they take. */
const weRefuse = (code: string, detail: RegExp) => (_text: string, our: Answer, their: Answer): boolean =>
  our.code === code && detail.test(our.detail ?? '') && their.canonical !== undefined
/** Whether the judge has the same opinion about another text, but for what is explained. */
const agrees = async (text: string, judge: Judge): Promise<boolean> => {
  const { found } = await compare(text, judge)
  return found !== null && found !== 'both refuse'
}

const verdicts: readonly VerdictRow[] = [
  {
    because: '1.3 knows no burst; without it there is no difference', example: 'rule service name=ssh accept limit value=1/s burst=5',
    async holds(text, our, their, judge) {
      // what cannot be printed is no part of a rule, not even in the middle of a word
      const printed = text.replace(/[\0-\x08\x0e-\x1f\x7f]/g, '')
      // a letter may be written with a backslash
      const without = printed.replace(/\s+\\?b\\?u\\?r\\?s\\?t=("[^"]*"|'[^']*'|\S+)/g, '')
      return their.code === 'INVALID_RULE' && without !== printed && our.canonical !== undefined
        && ours(without).canonical === our.canonical.replace(/ burst=\d+/g, '') && await agrees(without, judge)
    },
  },
  {
    because: 'attributes of the rule may stand anywhere; with them in front there is no difference', example: 'rule port port=443 priority=3 protocol=sctp drop',
    holds: async (text, our, their, judge) => their.code === 'INVALID_RULE' && our.canonical !== undefined && /\s(family|priority)=/.test(text.replace(/[\0-\x08\x0e-\x1f\x7f]/g, '').replace(/^rule((\s+(family|priority)=\S+)*)/, ''))
      && our.canonical !== text && await agrees(our.canonical, judge),
  },
  {
    because: 'firewalld forgets a limit that does not stand right behind its part, and the rule is unlimited', example: 'rule service name=ssh mark set=1 priority=3 limit value=5/m',
    holds: async (_text, our, their, judge) => their.canonical !== undefined && our.canonical !== undefined
      && our.canonical.split(' limit ').length > their.canonical.split(' limit ').length && await agrees(our.canonical, judge),
  },
  {
    because: 'a limit is looked at wherever it stands', example: 'rule service name=ssh mark set=1 priority=3 limit value=pmtu',
    holds: (_text, our, their) => our.code === 'INVALID_LIMIT' && their.canonical !== undefined && !their.canonical.includes(` limit value="${our.detail?.split(' ')[0] ?? ''}"`),
  },
  {
    because: 'a name that no set can have is looked up later, and not found', example: `rule source ipset=${'x'.repeat(33)} accept`,
    holds: (_text, our, their) => their.code === 'INVALID_IPSET' && /ipset="[^"]{33,}"/u.test(our.canonical ?? ''),
  },
  { because: 'firewalld takes "no" for yes', example: 'rule family=ipv4 source address=192.0.2.1 invert=no accept', holds: weRefuse('INVALID_RULE', /^invert=/) },
  {
    because: 'firewalld forgets an element that tcp-mss-clamp follows', example: 'rule masquerade tcp-mss-clamp',
    holds: (text, our, their) => weRefuse('INVALID_RULE', /^more than one element\. .*'tcp-mss-clamp' in one rule/)(text, our, their) && / tcp-mss-clamp/.test(their.canonical ?? ''),
  },
  { because: 'TCP has no segment of that size', example: 'rule tcp-mss-clamp value=99999999', holds: weRefuse('INVALID_RULE', /^tcp-mss-clamp value '\d{7,}'/) },
  { because: 'no prefix, cannot be matched', example: 'rule family=ipv4 source address=10.0.0.0/255.0.255.0 accept', holds: weRefuse('INVALID_ADDR', /^[\d.]+\/[\d.]+$/) },
  { because: 'no port: a range without an end', example: 'rule port port=80- protocol=tcp accept', holds: weRefuse('INVALID_PORT', /^[^-]+-$/) },
  {
    because: 'no number that iptables reads: Python takes blanks, signs, underscores and other bases', example: 'rule service name=ssh mark set=1_0',
    holds: (_text, our, their) => /^INVALID_(PORT|PROTOCOL|PRIORITY|MARK|LIMIT|NFLOG_GROUP|NFLOG_QUEUE)$/.test(our.code ?? '') && their.canonical !== undefined && /\s\d|\d\s|\s\/|\/\s|_|\+|\b0[bo]/.test(our.detail ?? ''),
  },
  { because: 'firewalld forgets a limit that belongs to nothing', example: 'rule masquerade limit value=1/s', holds: weRefuse('INVALID_RULE', /^limit without/) },
  { because: '2.5 refuses what the kernel cannot count', example: 'rule service name=ssh accept limit value=10001/s', holds: weRefuse('INVALID_LIMIT', / too fast$/) },
  { because: 'no text is no rule; the parser alone takes it for one that is built later', example: '', holds: (text, our, their) => text === '' && their.canonical === 'rule' && our.code === 'INVALID_RULE' },
  {
    because: 'a tab is a blank; firewalld glues the words together', example: 'rule\tservice\tname=ssh\taccept',
    holds: async (text, our, _their, judge) => /[\t\r\n]/.test(text) && isSameVerdict(our, await judge(text.replace(/[\t\r\n]/g, ' '))),
  },
]

function isSameVerdict(one: Answer, other: Answer): boolean {
  return one.canonical === undefined || other.canonical === undefined ? one.canonical === other.canonical : isSameForm(one.canonical, other.canonical)
}

type Found = 'same' | 'both refuse' | VerdictRow | readonly FormRow[] | null

async function compare(text: string, judge: Judge): Promise<{ readonly found: Found; readonly our: Answer; readonly their: Answer }> {
  const our = ours(text)
  const their = await judge(text)
  if (our.canonical === undefined && their.canonical === undefined) return { found: 'both refuse', our, their }
  if (our.canonical === their.canonical) return { found: 'same', our, their }
  if (our.canonical !== undefined && their.canonical !== undefined) {
    const [one, other] = [our.canonical, their.canonical]
    if (isSameForm(one, other)) return { found: forms.filter(({ same }) => same(one) !== one || same(other) !== other), our, their }
  }
  for (const row of verdicts) if (await row.holds(text, our, their, judge)) return { found: row, our, their }
  return { found: null, our, their }
}

t.test('every difference that is explained exists', async (t) => {
  const judge = startJudge()
  t.teardown(() => judge.stop())
  for (const row of [...forms, ...verdicts]) {
    const { found, our, their } = await compare(row.example, judge.ask)
    t.ok(Array.isArray(found) ? found.includes(row) && found.length === 1 : found === row, `${row.because}: ${row.example}`, { our, their })
  }
})

const knownSeed = 1

t.test(`${count} random rich rules are taken, refused and printed as python3-firewall does`, async (t) => {
  // known texts, but where all are asked for: about one in 200,000 new ones shows a difference that nobody has explained yet
  const seed = isFull || process.env['DERPANET_SEED'] !== undefined ? seedOfRun() : knownSeed
  t.comment(`DERPANET_SEED=${seed}`)
  const random = createRandom(seed)
  const judge = startJudge()
  t.teardown(() => judge.stop())
  const tally = { taken: 0, refused: 0, sameCode: 0, explained: 0 }
  const unexplained: string[] = []
  for (let number = 0; number < count; number++) {
    const text = randomRichText(random)
    const { found, our, their } = await compare(text, judge.ask)
    if (found === 'same') tally.taken++
    else if (found === 'both refuse') tally[our.code === their.code ? 'sameCode' : 'refused']++
    else if (found !== null) tally.explained++
    else unexplained.push(`${JSON.stringify(text)}: ours ${JSON.stringify(our)}, theirs ${JSON.stringify(their)}`)
  }
  t.comment(`${tally.taken} taken alike, ${tally.sameCode} refused with the same code, ${tally.refused} with another one, ${tally.explained} differ for a reason below`)
  t.strictSame(unexplained.slice(0, 40), [], `${unexplained.length} differences without an explanation`)
  t.ok(tally.taken > count / 5 && tally.refused + tally.sameCode > count / 5, 'both happen')
})
