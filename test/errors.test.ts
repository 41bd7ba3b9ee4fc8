import t from 'tap'
import { DerpanetError, errorCodes, printable } from '../src/errors.ts'

t.test('an error travels as its code, or code and detail, and knows its exit status', (t) => {
  t.equal(new DerpanetError('INVALID_ZONE', 'nonesuch').message, 'INVALID_ZONE: nonesuch')
  t.equal(new DerpanetError('ALREADY_ENABLED').message, 'ALREADY_ENABLED')
  t.equal(new DerpanetError('INVALID_ZONE').exitStatus, 112)
  t.end()
})

t.test('every code has its own exit status', (t) => {
  const numbers = Object.values(errorCodes)
  t.equal(new Set(numbers).size, numbers.length)
  t.ok(numbers.every((number) => number > 2 && number < 256), 'none collides with success, a usage error or a signal')
  t.end()
})

t.test('foreign text cannot move the cursor, break a line, reverse direction or flood', (t) => {
  t.equal(printable('a\u001b[2Jb\nc'), 'a\\x1b[2Jb\\x0ac')
  t.equal(printable('\u202eabc\u2066'), '\\u202eabc\\u2066')
  t.equal(printable('\u0085\u2028'), '\\x85\\u2028')
  t.equal(printable('x'.repeat(500), 10), `${'x'.repeat(10)}…`)
  t.equal(printable('straße ☃'), 'straße ☃', 'ordinary Unicode stays')
  t.end()
})
