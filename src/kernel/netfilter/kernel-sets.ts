// The kernel's sets: what there is, and the few things that can be done with them. Which set holds what, and when, is the
// caller's business.
import { constants } from 'node:os'
import { printable } from '../../errors.ts'
import { addressBits, formatPrefix } from '../../model/addr.ts'
import { protocolNumbers } from '../../model/port.ts'
import type { PlanSet } from '../../compile/plan.ts'
import { setShape } from '../../compile/netfilter/ipset.ts'
import { attributes, createRequest, dataAttributes, destroyRequest, elementRequests, fillRequests, flushRequest, listRequest, setCommands, typeRequest } from '../../compile/netfilter/set-message.ts'
import type { SetRequest } from '../../compile/netfilter/set-message.ts'
import { netlinkFlags, eachAttribute, readAttributes, readBigNumber, readNumber, readText } from './nfnetlink.ts'
import type { NetlinkAnswer, NetlinkRequest, Nfnetlink } from './nfnetlink.ts'
import type { Count } from './observe.ts'

export interface KernelSet {
  readonly name: string
  readonly entries: number
  /** Room for elements; null for bitmaps. */
  readonly maxElements: number | null
}

/** What the kernel said no to. */
export class SetRefusal extends Error {
  /** errno, or ipset's own number. */
  readonly error: number

  constructor(action: string, error: number, entry: string | null) {
    super(`${action}: ${errorText(error)}${entry === null ? '' : `: ${printable(entry)}`}`)
    this.name = 'SetRefusal'
    this.error = error
  }
}

const subsystem = 6
/** linux/netfilter/ipset/ip_set.h; those from 4352 on mean something else in each kind of set. */
const ownErrors: Readonly<Record<number, string>> = {
  4097: 'the kernel speaks another version of ipset', 4098: 'the kernel has no sets of this type', 4099: 'no more sets possible', 4100: 'the set is in use',
  4102: 'the types of the sets differ', 4103: 'it exists already', 4104: 'wrong prefix length', 4105: 'wrong netmask', 4106: 'wrong family', 4107: 'the set has no timeouts',
  4108: 'the set is referred to', 4109: 'an IPv4 address is expected', 4110: 'an IPv6 address is expected', 4111: 'the set has no counters',
  4352: 'the set is full, or the element is out of its range', 4353: 'the element cannot be in the set',
}
const busy = new Set([4100, 4108])
const noSuchType = 4098

function errorText(error: number): string {
  if (error === constants.errno.ENOENT) return 'the set does not exist'
  if (error === constants.errno.EEXIST) return 'the set exists already'
  const name = Object.entries(constants.errno).find(([, number]) => number === error)?.[0]
  return ownErrors[error] ?? name ?? `error ${error}`
}

export class KernelSets {
  private readonly revisions = new Map<string, number>()

  constructor(private readonly netlink: Nfnetlink) {}

  /** Headers of all sets of the network namespace. */
  async list(): Promise<readonly KernelSet[]> {
    const answer = await this.one(listRequest(null), 'list sets', true)
    return answer.messages.map((message) => {
      const attribute = readAttributes(message)
      const data = readAttributes(attribute.get(attributes.data) ?? new Uint8Array())
      return {
        name: readText(attribute.get(attributes.setName)),
        entries: readNumber(data.get(dataAttributes.count)),
        maxElements: data.has(dataAttributes.maxelem) ? readNumber(data.get(dataAttributes.maxelem)) : null,
      }
    })
  }

  /** What each element that `owner` knows has counted, by its text in the set's words. A set that is gone has counted nothing. */
  async counts(name: string, owner: (element: string) => string | undefined): Promise<ReadonlyMap<string, Count>> {
    const [answer] = await this.netlink.ask([netlinkRequest(listRequest(name), true)])
    if (answer!.error === constants.errno.ENOENT) return new Map()
    if (answer!.error !== 0) throw new SetRefusal(`list ${name}`, answer!.error, null)
    const counts = new Map<string, Count>()
    for (const message of answer!.messages) {
      for (const [, element] of eachAttribute(readAttributes(message).get(attributes.elements) ?? new Uint8Array())) {
        // of a thousand ports one is asked for: the others are not worth taking apart
        const port = firstPort(element)
        if (port !== null && owner(port) === undefined) continue
        const data = readAttributes(element)
        const text = readElement(data)
        if (owner(text) === undefined) continue
        counts.set(text, { packets: readBigNumber(data.get(dataAttributes.packets)), bytes: readBigNumber(data.get(dataAttributes.bytes)) })
      }
    }
    return counts
  }

  /** Makes the set and fills it. A failure may leave a part of it. */
  async load(name: string, set: PlanSet): Promise<void> {
    const revision = await this.revisionFor(set)
    await this.one(createRequest(name, set, revision, Number(process.hrtime.bigint() / 1_000_000n)), `create ${name}`)
    // each message is some thousand elements: whoever else has work to do gets a turn in between
    for (const request of fillRequests(name, set)) await this.one(request, `add to ${name}`)
  }

  /** Elements that are there already, or gone already, are no failure. With `reset` the counters of added ones start anew. */
  async edit(edits: readonly { readonly name: string; readonly set: PlanSet; readonly command: 'add' | 'del'; readonly entries: readonly string[]; readonly reset?: boolean }[]): Promise<void> {
    const requests = edits.flatMap(({ command, name, set, entries, reset }) => [...elementRequests(command, name, set, entries, reset)].map((request) => ({ name, request })))
    if (requests.length === 0) return
    const answers = await this.netlink.ask(requests.map(({ request }) => netlinkRequest(request)))
    answers.forEach((answer, index) => {
      const { name, request } = requests[index]!
      if (answer.error !== 0) throw refusal(`${request.command === 'add' ? 'add to' : 'delete from'} ${name}`, request, answer)
    })
  }

  async flush(name: string): Promise<void> {
    await this.one(flushRequest(name), `flush ${name}`)
  }

  /** Returns those that something still refers to. What does not exist counts as destroyed. */
  async destroy(names: readonly string[]): Promise<readonly string[]> {
    if (names.length === 0) return []
    const answers = await this.netlink.ask(names.map((name) => netlinkRequest(destroyRequest(name))))
    return names.filter((name, index) => {
      const { error } = answers[index]!
      if (error === 0 || error === constants.errno.ENOENT) return false
      if (!busy.has(error)) throw new SetRefusal(`destroy ${name}`, error, null)
      return true
    })
  }

  /** Can the kernel hold a set of this type? It loads the module where it has one. */
  async hasType(set: PlanSet): Promise<boolean> {
    try {
      await this.revisionFor(set)
      return true
    } catch (error) {
      if (error instanceof SetRefusal && error.error === noSuchType) return false
      throw error
    }
  }

  private async revisionFor(set: PlanSet): Promise<number> {
    const request = typeRequest(set)
    const key = `${request.body}`
    const known = this.revisions.get(key)
    if (known !== undefined) return known
    const { messages } = await this.one(request, `${set.role} (${typeText(setShape(set).type)})`)
    const revision = readNumber(readAttributes(messages[0] ?? new Uint8Array()).get(attributes.revision))
    this.revisions.set(key, revision)
    return revision
  }

  private async one(request: SetRequest, action: string, dump = false): Promise<NetlinkAnswer> {
    const [answer] = await this.netlink.ask([netlinkRequest(request, dump)])
    if (answer!.error !== 0) throw refusal(action, request, answer!)
    return answer!
  }
}

function netlinkRequest({ command, exclusive, body }: SetRequest, dump = false): NetlinkRequest {
  return { type: (subsystem << 8) | setCommands[command], flags: dump ? netlinkFlags.dump : exclusive ? netlinkFlags.excl : 0, body }
}

/** ipset writes the number of the element that it refused into its copy of the request, in the bytes that we chose for it. */
function refusal(action: string, { entries }: SetRequest, { error, messages }: NetlinkAnswer): Error {
  const copy = messages.at(-1)
  const line = copy === undefined ? 0 : readNumber(readAttributes(copy).get(attributes.line))
  return new SetRefusal(action, error, entries?.[line - 1] ?? null)
}

/** With the option of the kernel's configuration that brings it: `hash:ip,mark, CONFIG_IP_SET_HASH_IPMARK`. */
function typeText(type: string): string {
  return `${type}, CONFIG_IP_SET_${type.replace(':', '_').replaceAll(',', '').toUpperCase()}`
}

/** The port of an element that begins with one, as bitmaps of ports do. */
function firstPort(element: Uint8Array): string | null {
  const isPort = element.length >= 6 && element[0] === 6 && ((element[2]! | (element[3]! << 8)) & 0x3fff) === dataAttributes.port
  return isPort ? String(element[4]! * 256 + element[5]!) : null
}

/** `80`, `192.0.2.0/24` or `2001:db8::1,tcp:80`, as the elements of our counting sets are written. */
function readElement(data: ReadonlyMap<number, Uint8Array>): string {
  const address = data.get(dataAttributes.ip)
  const port = data.get(dataAttributes.port)
  if (address === undefined) return String(readNumber(port))
  const [bytes] = [...eachAttribute(address)].map(([, value]) => value)
  const family = bytes?.length === 4 ? 'ipv4' : 'ipv6'
  const cidr = data.get(dataAttributes.cidr)
  const prefix = formatPrefix({ family, addr: readBigNumber(bytes), length: cidr === undefined ? addressBits(family) : readNumber(cidr) })
  if (port === undefined) return prefix
  const protocol = Object.entries(protocolNumbers).find(([, number]) => number === readNumber(data.get(dataAttributes.proto)))?.[0]
  return `${prefix},${protocol ?? ''}:${readNumber(port)}`
}
