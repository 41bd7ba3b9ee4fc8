// The written list of differences, and whether one of them accounts for a difference that was seen.
import { readFileSync } from 'node:fs'
import { formatAddr } from '../../src/model/addr.ts'
import type { PacketCase } from '../support/random-packets.ts'
import type { Call } from './calls.ts'
import { answerCircumstances, circumstances, type AnswerCircumstanceName, type CircumstanceName, type Fates } from './circumstances.ts'
import type { Scene } from './scene.ts'
import type { Backend } from './sides.ts'

/** One known difference: of lines, of spelling or of packets. All patterns are regular expressions. */
export interface Deviation {
  readonly name: string
  readonly reason: string
  /** Where it is written down: a statement of firewalld's semantics, an upstream issue, a decision record. */
  readonly source: string
  /** Only where firewalld has that backend. */
  readonly backend?: Backend
  /** The whole line of a call or of an answer about the state, as `Difference.line`. */
  readonly line?: string
  /** The call has several mistakes, and parts of it must show that each of both answers is one (mistakes.ts). */
  readonly mistakes?: true
  /** A question about the state, and the circumstance under which another answer is excused. */
  readonly answer?: { readonly to: string; readonly when: AnswerCircumstanceName }
  /** What one side spells otherwise in answers about the state; replaced on both sides before they are compared. `by` null = in capitals. */
  readonly respell?: readonly [pattern: string, by: string | null]
  /** What the packet is and what becomes of it, and the circumstance under which alone that is excused. */
  readonly packet?: PacketDeviation
  /** Why it is right that derpanetd accepts a packet which firewalld refuses. Without it that is never excused. */
  readonly opens?: string
  /** Commands that show it on their own; played to see that it still is so. */
  readonly example: readonly Call[]
}

export interface PacketDeviation {
  readonly firewalld: string
  readonly derpanetd: string
  /** Absent = `is` says it all. */
  readonly when?: CircumstanceName
  /** Of the packet's own: each that is given must be the same. */
  readonly is?: Readonly<Partial<Record<'direction' | 'source' | 'protocol' | 'sourcePort' | 'destinationPort', string | number>>> & { readonly icmpTypes?: readonly number[] }
}

export const deviations = JSON.parse(readFileSync(new URL('deviations.json', import.meta.url), 'utf8')) as readonly Deviation[]

export function excuseForLine(backend: Backend, line: string): Deviation | null {
  return deviations.find((one) => one.line !== undefined && (one.backend ?? backend) === backend && new RegExp(one.line).test(line)) ?? null
}

/** Of answers as `ok JSON`. */
export function excuseForAnswer([question]: Call, theirs: string, ours: string, scene: Scene): Deviation | null {
  if (!theirs.startsWith('ok ') || !ours.startsWith('ok ')) return null
  const [one, other] = [theirs, ours].map((text) => {
    const value = JSON.parse(text.slice('ok '.length)) as unknown
    // items of a list as texts that are spelt the same way
    return Array.isArray(value) ? value.map((item) => deviations.reduce((said, { respell }) => (respell === undefined ? said : respelling(said, respell)), JSON.stringify(item))) : value
  })
  return deviations.find(({ answer }) => answer !== undefined && new RegExp(`^(${answer.to})$`).test(question) && answerCircumstances[answer.when](scene, one, other)) ?? null
}

/** derpanetd lets in what firewalld does not. */
export function opens({ firewalld, derpanetd }: Fates): boolean {
  return derpanetd.startsWith('accept') && !firewalld.startsWith('accept')
}

export function excuseForPacket({ packet }: PacketCase, fates: Fates, scene: Scene): Deviation | null {
  return deviations.find(({ backend, packet: said, opens: why }) => {
    if (said === undefined || (backend ?? scene.backend) !== scene.backend || (opens(fates) && why === undefined)) return false
    const { icmpTypes, ...is } = said.is ?? {}
    return new RegExp(`^(${said.firewalld})`).test(fates.firewalld) && new RegExp(`^(${said.derpanetd})`).test(fates.derpanetd)
      && Object.entries(is).every(([key, value]) => (key === 'source' ? formatAddr(packet.family, packet.source) : packet[key as keyof typeof is]) === value) && (icmpTypes === undefined || icmpTypes.includes(packet.icmpType ?? -1))
      && (said.when === undefined || circumstances[said.when](scene, packet, fates))
  }) ?? null
}

function respelling(text: string, [pattern, by]: readonly [string, string | null]): string {
  return text.replace(new RegExp(pattern, 'g'), (match) => by ?? match.toUpperCase())
}

/** The last of the deviations that make both the same text; null = none does. */
export function respelled(theirs: string, ours: string): Deviation | null {
  const respells = deviations.filter(({ respell }) => respell !== undefined)
  const isSameBy = (count: number): boolean => speltBy(respells.slice(0, count), theirs) === speltBy(respells.slice(0, count), ours)
  // what is the same without them is no matter of spelling
  return isSameBy(0) ? null : respells.find((_, index) => isSameBy(index + 1)) ?? null
}

/** Items of lists as all these spell them, and once what is one thing then. In settings lists have no order. */
function speltBy(respells: readonly Deviation[], text: string): string {
  if (!text.startsWith('ok ')) return text
  return JSON.stringify(JSON.parse(text.slice('ok '.length)), (key, value: unknown) => {
    if (!Array.isArray(value)) return value
    const items = [...new Set(value.map((item) => respells.reduce((said, { respell }) => (respell === undefined ? said : respelling(said, respell)), JSON.stringify(item))))].filter((item) => item !== '')
    return key === '' ? items : items.sort()
  })
}
