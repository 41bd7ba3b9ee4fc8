// What an import says besides its files: what the reader of firewalld's tree passed over, and where definitions that nobody
// copies are not the same on both sides. Pure.
import type { Settings } from '../../model/settings.ts'
import { parseRichRule } from '../../model/rich/index.ts'
import { differences, formatDifference } from '../../settings/difference.ts'
import { printable } from '../../errors.ts'
import type { Diagnostic } from '../diagnostic.ts'

/** Warnings of a reader after which the result says the same as the file. */
const harmless: ReadonlySet<Diagnostic['code']> = new Set(['ALREADY_ENABLED', 'ALREADY_SET', 'INVALID_FILENAME', 'INVALID_PRIORITY'])

/** firewalld passes it over, too; but somebody wrote it and meant something. */
export function isLoss({ severity, code, text }: Diagnostic): boolean {
  return severity === 'warning' && !harmless.has(code) && !text.startsWith('Ignoring deprecated attribute')
}

/** Names of services that something in force names, directly or by an include. */
function usedServices({ zones, policies, services }: Settings, isActive: (zone: string) => boolean): ReadonlySet<string> {
  const used = new Set<string>()
  const use = (name: string): void => {
    if (used.has(name)) return
    used.add(name)
    services.get(name)?.value.includes.forEach(use)
  }
  const users = [...[...zones].filter(([name]) => isActive(name)).map(([, { value }]) => value), ...[...policies.values()].map(({ value }) => value).filter(({ disable }) => !disable)]
  for (const { services: named, richRules } of users) {
    named.forEach(use)
    for (const text of richRules) {
      const { element } = parseRichRule(text)
      if (element?.kind === 'service') use(element.name)
    }
  }
  return used
}

/**
 * Shipped zones, policies and services that are in use and that say something else here than with that firewalld: one line
 * each. `ours`: the settings as they will be.
 */
export function shippedDifferences(theirs: Settings, ours: Settings): readonly string[] {
  const isActive = (name: string): boolean => {
    const zone = theirs.zones.get(name)?.value
    return name === theirs.main.value.defaultZone || (zone !== undefined && zone.interfaces.length + zone.sources.length > 0)
  }
  const services = usedServices(theirs, isActive)
  const isUsed = (object: string): boolean => {
    const [kind = '', name = ''] = object.split(' ')
    if (kind === 'service') return services.has(name) && theirs.services.get(name)?.layer !== 'admin'
    if (kind === 'zone') return isActive(name) && theirs.zones.get(name)?.layer !== 'admin'
    if (kind === 'policy') return theirs.policies.get(name)?.value.disable === false && theirs.policies.get(name)?.layer !== 'admin'
    return false
  }
  return differences(theirs, ours).filter(({ object, key }) => isUsed(object) && key !== 'short' && key !== 'description')
    .map((difference) => `derpanet ships another ${printable(formatDifference(difference))}`)
}
