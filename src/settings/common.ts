// Rows that several kinds of objects share.
import { text } from './codec.ts'
import type { ScalarField } from './field.ts'

/** Version, short and description: for people and for firewalld's clients; nothing depends on them. */
export const about = {
  version: text({ yaml: 'version', dbus: 'version', noun: 'Version', runtime: 'no', doc: 'Version of the file, free text for people.' }),
  short: text({ yaml: 'short', dbus: 'short', noun: 'Short', runtime: 'no', doc: 'Display name.' }),
  description: text({ yaml: 'description', dbus: 'description', noun: 'Description', runtime: 'no', doc: 'What it is for.' }),
} satisfies Record<string, ScalarField<string>>

/** The same without a family of bus members: policies are read and written whole. */
export const aboutWhole = {
  version: text({ yaml: 'version', dbus: 'version', runtime: 'no', doc: 'Version of the file, free text for people.' }),
  short: text({ yaml: 'short', dbus: 'short', runtime: 'no', doc: 'Display name.' }),
  description: text({ yaml: 'description', dbus: 'description', runtime: 'no', doc: 'What it is for.' }),
} satisfies Record<string, ScalarField<string>>
