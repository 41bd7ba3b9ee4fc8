// The permanent world without a disk: what a store does to files, done to a value. What is there at the beginning and is
// not the administrator's is what loadDefaults brings back.
import type { PermanentFiles } from '../../src/daemon/permanent.ts'
import type { PermanentEffect } from '../../src/model/permanent.ts'
import type { Entry, Settings } from '../../src/model/settings.ts'
import { confKey } from '../../src/settings/firewalld-conf.ts'
import { kindOf } from '../../src/settings/permanent.ts'
import { objectsOf } from '../../src/settings/kinds.ts'

export function applyInMemory(before: Settings, effect: PermanentEffect, shipped: Settings): Settings {
  switch (effect.kind) {
    case 'conf': {
      const { main } = before
      const change = confKey(effect.key)?.meaning?.read(effect.value) ?? { firewalld: { ...main.value.firewalld, [effect.key]: effect.value } }
      return { ...before, main: { ...main, value: { ...main.value, ...change } } }
    }
    case 'direct': return { ...before, direct: { value: effect.value, layer: 'admin', positions: new Map() } }
    case 'lockdown': return { ...before, lockdown: { value: effect.value, layer: 'admin', positions: new Map() } }
    default: break
  }
  const { object, name } = effect
  const { folder } = kindOf(object)
  const objects = new Map<string, Entry<any>>(objectsOf(before, object))
  const lower = objectsOf(shipped, object).get(name)
  const file = (of: string): string => `/etc/derpanet/${folder}/${of}.yaml`
  switch (effect.kind) {
    case 'write':
      objects.set(name, { value: effect.value, layer: 'admin', file: file(name), positions: new Map(), ...(lower === undefined ? {} : { overrides: true as const }) })
      break
    case 'remove': objects.delete(name); break
    case 'defaults': objects.set(name, lower!); break
    case 'rename': {
      const old = objects.get(name)!
      objects.delete(name)
      objects.set(effect.to, { ...old, file: file(effect.to) })
      break
    }
  }
  return { ...before, [folder]: new Map([...objects].sort(([one], [other]) => (one < other ? -1 : 1))) }
}

export function memoryFiles(initial: Settings): PermanentFiles {
  let current = initial
  return {
    load: async () => ({ settings: current, diagnostics: [] }),
    loadShipped: async () => ({ settings: initial, diagnostics: [] }),
    isKnown: () => false,
    apply: async (before, effect) => {
      current = applyInMemory(before, effect, initial)
      return current
    },
    reset: async () => { current = initial },
  }
}
