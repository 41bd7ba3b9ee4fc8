// `accept`, `drop`, `reject type="…"`, `mark set=…`.
import type { Family } from '../addr.ts'
import type { RejectType } from '../firewall.ts'
import { formatLimit } from './limit.ts'
import type { Attributes, RichAction, RichLimit, RichRule } from './types.ts'
import { quoted, refuse } from './types.ts'

export type ActionKind = RichAction['kind']

export const actionAttributes: Readonly<Record<ActionKind, readonly string[]>> = { accept: [], drop: [], reject: ['type'], mark: ['set'] }

/** What may be written after `type=`, with the answer it stands for. */
export const rejectWords: Readonly<Record<Family, Readonly<Record<string, RejectType>>>> = {
  ipv4: {
    'icmp-host-prohibited': 'host-prohibited', 'host-prohib': 'host-prohibited',
    'icmp-net-unreachable': 'net-unreachable', 'net-unreach': 'net-unreachable',
    'icmp-host-unreachable': 'host-unreachable', 'host-unreach': 'host-unreachable',
    'icmp-port-unreachable': 'port-unreachable', 'port-unreach': 'port-unreachable',
    'icmp-proto-unreachable': 'proto-unreachable', 'proto-unreach': 'proto-unreachable',
    'icmp-net-prohibited': 'net-prohibited', 'net-prohib': 'net-prohibited',
    'tcp-reset': 'tcp-reset', 'tcp-rst': 'tcp-reset',
    'icmp-admin-prohibited': 'admin-prohibited', 'admin-prohib': 'admin-prohibited',
  },
  ipv6: {
    'icmp6-adm-prohibited': 'admin-prohibited', 'adm-prohibited': 'admin-prohibited',
    'icmp6-no-route': 'no-route', 'no-route': 'no-route',
    'icmp6-addr-unreachable': 'addr-unreachable', 'addr-unreach': 'addr-unreachable',
    'icmp6-port-unreachable': 'port-unreachable', 'port-unreach': 'port-unreachable',
    'tcp-reset': 'tcp-reset',
  },
}

export function parseAction(kind: ActionKind, attributes: Attributes, limit: RichLimit | null): RichAction {
  if (kind === 'reject') return { kind, type: attributes.get('type') ?? '', limit }
  if (kind === 'mark') return { kind, set: attributes.get('set') ?? '', limit }
  return { kind, limit }
}

/** Throws INVALID_RULE for a bad reject type, INVALID_MARK for a bad mark. */
export function checkAction(rule: RichRule): void {
  const { action, family } = rule
  if (action?.kind === 'reject' && action.type !== '') {
    if (family === null) return refuse('INVALID_RULE', 'When using reject type you must specify also rule family.')
    if (!Object.hasOwn(rejectWords[family], action.type)) {
      refuse('INVALID_RULE', `Wrong reject type ${action.type}. Use one of: ${Object.keys(rejectWords[family]).join(', ')}.`)
    }
  }
  if (action?.kind === 'mark') {
    if (action.set === '') refuse('INVALID_MARK', 'no value set')
    const parts = action.set.split('/')
    if (parts.length > 2 || !parts.every(isU32)) refuse('INVALID_MARK', action.set)
  }
}

function isU32(text: string): boolean {
  return /^(0[xX][0-9a-fA-F]+|0|[1-9]\d*)$/.test(text) && text.length <= 12 && Number(text) <= 0xffff_ffff
}

/** With a leading blank; "" for none. */
export function formatAction(action: RichAction | null): string {
  if (action === null) return ''
  const type = action.kind === 'reject' && action.type !== '' ? ` type=${quoted(action.type)}` : ''
  const set = action.kind === 'mark' ? ` set=${action.set}` : ''
  return ` ${action.kind}${type}${set}${formatLimit(action.limit)}`
}
