// Names of network interfaces as zones hold them; a trailing `+` means every interface that begins so.
import { DerpanetError, printable } from '../errors.ts'

/** The kernel's IFNAMSIZ less the final zero. firewalld takes 16, which no interface can have. */
const maxChars = 15

/** Throws INVALID_INTERFACE: empty, longer than 15 (the `+` apart), or with a blank, `/`, `!`, `*`, quotes or non-ASCII. A `+` elsewhere is itself. */
export function checkInterfaceName(name: string): void {
  if (name === '') throw new DerpanetError('INVALID_INTERFACE')
  const bare = name.endsWith('+') ? name.slice(0, -1) : name
  const fits = bare.length <= maxChars && /^[\x21-\x7e]*$/.test(bare) && !/[/!*"'\\]/.test(bare)
  if (!fits || bare === '.' || bare === '..') throw new DerpanetError('INVALID_INTERFACE', printable(name))
}

/** `name` without the `+`. */
export function parseInterfaceName(name: string): { readonly name: string; readonly wildcard: boolean } {
  checkInterfaceName(name)
  return name.endsWith('+') ? { name: name.slice(0, -1), wildcard: true } : { name, wildcard: false }
}

export function interfaceMatches(match: { readonly name: string; readonly wildcard: boolean }, ifname: string): boolean {
  return match.wildcard ? ifname.startsWith(match.name) : ifname === match.name
}
