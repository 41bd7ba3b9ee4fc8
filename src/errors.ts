// The error every caller of derpanet can see, and the table of its codes.
// Codes and numbers are firewalld's (the exit status of firewall-cmd); bugs are plain Errors and never travel.

/** Code name → exit status of firewall-cmd. The number never travels over D-Bus, only the name before the first colon. */
export const errorCodes = {
  ALREADY_ENABLED: 11,
  NOT_ENABLED: 12,
  COMMAND_FAILED: 13,
  NO_IPV6_NAT: 14,
  PANIC_MODE: 15,
  ZONE_ALREADY_SET: 16,
  UNKNOWN_INTERFACE: 17,
  ZONE_CONFLICT: 18,
  BUILTIN_CHAIN: 19,
  EBTABLES_NO_REJECT: 20,
  NOT_OVERLOADABLE: 21,
  NO_DEFAULTS: 22,
  BUILTIN_ZONE: 23,
  BUILTIN_SERVICE: 24,
  BUILTIN_ICMPTYPE: 25,
  NAME_CONFLICT: 26,
  NAME_MISMATCH: 27,
  PARSE_ERROR: 28,
  ACCESS_DENIED: 29,
  UNKNOWN_SOURCE: 30,
  RT_TO_PERM_FAILED: 31,
  IPSET_WITH_TIMEOUT: 32,
  BUILTIN_IPSET: 33,
  ALREADY_SET: 34,
  MISSING_IMPORT: 35,
  DBUS_ERROR: 36,
  BUILTIN_HELPER: 37,
  NOT_APPLIED: 38,
  INVALID_ACTION: 100,
  INVALID_SERVICE: 101,
  INVALID_PORT: 102,
  INVALID_PROTOCOL: 103,
  INVALID_INTERFACE: 104,
  INVALID_ADDR: 105,
  INVALID_FORWARD: 106,
  INVALID_ICMPTYPE: 107,
  INVALID_TABLE: 108,
  INVALID_CHAIN: 109,
  INVALID_TARGET: 110,
  INVALID_IPV: 111,
  INVALID_ZONE: 112,
  INVALID_PROPERTY: 113,
  INVALID_VALUE: 114,
  INVALID_OBJECT: 115,
  INVALID_NAME: 116,
  INVALID_FILENAME: 117,
  INVALID_DIRECTORY: 118,
  INVALID_TYPE: 119,
  INVALID_SETTING: 120,
  INVALID_DESTINATION: 121,
  INVALID_RULE: 122,
  INVALID_LIMIT: 123,
  INVALID_FAMILY: 124,
  INVALID_LOG_LEVEL: 125,
  INVALID_AUDIT_TYPE: 126,
  INVALID_MARK: 127,
  INVALID_CONTEXT: 128,
  INVALID_COMMAND: 129,
  INVALID_USER: 130,
  INVALID_UID: 131,
  INVALID_MODULE: 132,
  INVALID_PASSTHROUGH: 133,
  INVALID_MAC: 134,
  INVALID_IPSET: 135,
  INVALID_ENTRY: 136,
  INVALID_OPTION: 137,
  INVALID_HELPER: 138,
  INVALID_PRIORITY: 139,
  INVALID_POLICY: 140,
  INVALID_LOG_PREFIX: 141,
  INVALID_NFLOG_GROUP: 142,
  INVALID_NFLOG_QUEUE: 143,
  INVALID_SOURCE: 144,
  MISSING_TABLE: 200,
  MISSING_CHAIN: 201,
  MISSING_PORT: 202,
  MISSING_PROTOCOL: 203,
  MISSING_ADDR: 204,
  MISSING_NAME: 205,
  MISSING_SETTING: 206,
  MISSING_FAMILY: 207,
  RUNNING_BUT_FAILED: 251,
  NOT_RUNNING: 252,
  NOT_AUTHORIZED: 253,
  UNKNOWN_ERROR: 254,
} as const

export type ErrorCode = keyof typeof errorCodes

/** Codes that clients treat as "already so": a warning and exit status 0. */
export const warningCodes: ReadonlySet<ErrorCode> = new Set(['ALREADY_ENABLED', 'NOT_ENABLED', 'ZONE_ALREADY_SET', 'ALREADY_SET'])

/**
 * A refusal with a code a client understands. `detail` is one line for a person; it never holds the text of a file.
 * `message` is what travels: `CODE` or `CODE: detail`.
 */
export class DerpanetError extends Error {
  readonly code: ErrorCode
  readonly detail: string

  constructor(code: ErrorCode, detail = '', options?: { readonly cause?: unknown }) {
    super(detail === '' ? code : `${code}: ${detail}`, options)
    this.name = 'DerpanetError'
    this.code = code
    this.detail = detail
  }

  get exitStatus(): number {
    return errorCodes[this.code]
  }
}

/** Marks a switch as total: the compiler refuses the call while a case is missing. */
export function unreachable(value: never): never {
  throw new Error(`unreachable: ${JSON.stringify(value)}`)
}

const unsafe = /[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g

/**
 * The one function every foreign string passes on its way to a terminal, log or error text:
 * control characters and direction overrides become \\xNN / \\uNNNN, and more than `maxChars` are cut with an ellipsis.
 */
export function printable(text: string, maxChars = 200): string {
  const escaped = text.replace(unsafe, (char) => {
    const code = char.charCodeAt(0)
    return code < 0x100 ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u${code.toString(16).padStart(4, '0')}`
  })
  return escaped.length > maxChars ? `${escaped.slice(0, maxChars)}…` : escaped
}
