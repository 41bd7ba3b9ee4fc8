// What differs between two configurations, in the words of the files: for `diff`, for a dry run, and for the log.
import type { Entry, Settings } from '../model/settings.ts'
import { emptyDirect, emptyLockdown } from '../model/direct.ts'
import { directFields, lockdownFields } from './direct.ts'
import { fieldRows, type AnyField, type FieldTable } from './field.ts'
import { kinds } from './kinds.ts'
import { mainFields } from './main.ts'

/** `before` or `after` is null where there is no such thing on that side. One item of a list is one difference. */
export interface Difference {
  /** `zone public`, `list bad`, `main`. */
  readonly object: string
  /** Key of the YAML file; "" = the object as a whole. */
  readonly key: string
  readonly before: string | null
  readonly after: string | null
}

/** In the order of the files: main, zones, policies, …, lists. Origins and positions do not count. */
export function differences(before: Settings, after: Settings): readonly Difference[] {
  const found = inValue('main', mainFields, before.main.value, after.main.value)
  for (const { kind, folder, fields, empty } of Object.values(kinds)) {
    const old = before[folder] as ReadonlyMap<string, Entry<object>>
    const next = after[folder] as ReadonlyMap<string, Entry<object>>
    if (old === next) continue
    for (const name of [...new Set([...old.keys(), ...next.keys()])].sort()) {
      const from = old.get(name)
      const to = next.get(name)
      if (from === to) continue
      const object = `${kind} ${name}`
      if (from === undefined) found.push({ object, key: '', before: null, after: 'new' })
      if (to === undefined) found.push({ object, key: '', before: 'there', after: null })
      else found.push(...inValue(object, fields as unknown as FieldTable<object>, from?.value ?? empty, to.value))
    }
  }
  found.push(...inValue('direct', directFields, before.direct?.value ?? emptyDirect, after.direct?.value ?? emptyDirect))
  found.push(...inValue('lockdown', lockdownFields, before.lockdown?.value ?? emptyLockdown, after.lockdown?.value ?? emptyLockdown))
  for (const name of [...new Set([...before.lists.keys(), ...after.lists.keys()])].sort()) {
    const from = before.lists.get(name)
    const to = after.lists.get(name)
    if (from?.digest !== to?.digest) found.push({ object: `list ${name}`, key: '', before: sizeText(from), after: sizeText(to) })
  }
  return found
}

/** `zone public: ports: + 80/tcp`, `main: default-zone: public → home`. */
export function formatDifference({ object, key, before, after }: Difference): string {
  const what = before === null ? `+ ${after}` : after === null ? `- ${before}` : `${before} → ${after}`
  return key === '' ? `${object}: ${what}` : `${object}: ${key}: ${what}`
}

function inValue<S extends object>(object: string, fields: FieldTable<S>, before: S, after: S): Difference[] {
  if (before === after) return []
  return fieldRows(fields).flatMap(([name, field]) => inField(field, before[name], after[name]).map((one) => ({ object, key: field.yaml, ...one })))
}

function inField(field: AnyField, before: unknown, after: unknown): readonly Pick<Difference, 'before' | 'after'>[] {
  switch (field.shape) {
    case 'list': {
      const old = (before as readonly unknown[]).map((item) => field.item.toText(item as never))
      const next = (after as readonly unknown[]).map((item) => field.item.toText(item as never))
      const had = new Set(old)
      const has = new Set(next)
      return [
        ...old.filter((item) => !has.has(item)).map((item) => ({ before: item, after: null })),
        ...next.filter((item) => !had.has(item)).map((item) => ({ before: null, after: item })),
      ]
    }
    case 'dict': {
      const old = before as Readonly<Record<string, string>>
      const next = after as Readonly<Record<string, string>>
      return [...new Set([...Object.keys(old), ...Object.keys(next)])].sort().filter((key) => old[key] !== next[key]).map((key) => ({
        before: old[key] === undefined ? null : `${key}=${old[key]}`, after: next[key] === undefined ? null : `${key}=${next[key]}`,
      }))
    }
    default:
      return scalarText(before) === scalarText(after) ? [] : [{ before: scalarText(before), after: scalarText(after) }]
  }
}

function scalarText(value: unknown): string {
  if (typeof value === 'boolean') return value ? 'yes' : 'no'
  return value === '' ? "''" : typeof value === 'object' ? JSON.stringify(value) : String(value)
}

function sizeText(list: { readonly lengths4: Uint8Array; readonly lengths6: Uint8Array; readonly digest: string } | undefined): string | null {
  return list === undefined ? null : `${list.lengths4.length + list.lengths6.length} prefixes (${list.digest.slice(0, 8)})`
}
